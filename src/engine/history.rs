//! Which keys an item had: what the key-change feeds told, on disk before the target is touched
//! (R7).
//!
//! What lives here: remembering a feed and reading it back item by item. What does not: what is
//! done about it ([`super::key_changes`], [`super::upserts`], [`super::deletes`]). The one thing to
//! know: feeds are read before anything is written (those of joiners once more after they were read).
//! Every later question is answered from the disk, so that all stages act on the same names, and a
//! resource whose every key changed needs no more memory than another (R30).

use std::collections::BTreeSet;

use crate::domain::{
    Canary, CanaryKind, ChangeVersion, KeyChange, NaturalKey, ResourcePath, SourceId,
};
use crate::sources::KeyChangePages;
use crate::state::{RememberedKeyChange, Step};

use super::RunError;
use super::under_way::Run;

/// Key changes of one resource held in memory (R30).
const HELD: usize = 50_000;

/// Everything that was told of the keys of one item, as far back as the overlap reaches.
pub(super) struct Renamed {
    pub(super) id: SourceId,
    /// Every key it had; its present one too if it came back to it: what the target had under that
    /// before may have been moved since (R5, R7).
    pub(super) olds: Vec<NaturalKey>,
    pub(super) new: NaturalKey,
    /// Records that no committed run has dealt with.
    pub(super) records: u64,
    pub(super) version: ChangeVersion,
}

/// The key-change feed of a resource, being read and remembered before the target is touched.
pub(super) struct Feed<'a> {
    run: &'a Run,
    resource: &'a ResourcePath,
    pages: Box<dyn KeyChangePages>,
}

pub(super) fn feed<'a>(run: &'a Run, resource: &'a ResourcePath, after: ChangeVersion) -> Feed<'a> {
    Feed { run, resource, pages: run.reader.key_changes(resource, after) }
}

/// The same once more, as it is now.
pub(super) fn feed_now<'a>(
    run: &'a Run,
    resource: &'a ResourcePath,
    after: ChangeVersion,
) -> Feed<'a> {
    Feed { run, resource, pages: run.reader.key_changes_now(resource, after) }
}

impl Feed<'_> {
    /// The items of the next part about which it told anything new; they are on disk by then.
    pub(super) async fn next(&mut self) -> Result<Option<BTreeSet<SourceId>>, RunError> {
        while let Some(page) = self.pages.next().await.map_err(RunError::Source)? {
            self.run.check_stop()?;
            let mut items = BTreeSet::new();
            let mut key_changes = Vec::new();
            for change in page {
                self.run.note_told(Canary {
                    resource: self.resource.clone(),
                    kind: CanaryKind::KeyChange,
                    id: change.id.clone(),
                    version: change.version,
                });
                if !was_dealt_with(self.run, self.resource, &change).await? {
                    items.insert(change.id.clone());
                    let (resource, commits) = (self.resource.clone(), self.run.commits());
                    key_changes.push(RememberedKeyChange { resource, change, commits });
                }
            }
            if !items.is_empty() {
                self.run.write(Step { key_changes, ..Step::default() }).await?;
                return Ok(Some(items));
            }
        }
        Ok(None)
    }
}

/// By a run that was committed: it is not acted on twice, unless a newer record of the item brings
/// its keys again (R16), or the run deals again with such versions.
async fn was_dealt_with(
    run: &Run,
    resource: &ResourcePath,
    change: &KeyChange,
) -> Result<bool, RunError> {
    if run.deals_again_with(change.version) {
        return Ok(false);
    }
    let known = run.store().key_changes_of(&run.pair.id, resource, &change.id).await;
    Ok(known
        .map_err(RunError::State)?
        .into_iter()
        .any(|known| known.change.version == change.version && known.commits < run.commits()))
}

/// What was told of resources that this run leaves behind, because they are not selected or the
/// target has closed them: it stays to be dealt with, however many runs are committed before they
/// join again (R17, R23a).
pub(super) async fn of_left(run: &Run) -> Result<Vec<RememberedKeyChange>, RunError> {
    const UNTIL_IT_IS_TOLD_AGAIN: u64 = u64::MAX;
    let mut open = Vec::new();
    for resource in run.left() {
        let mut after = None;
        loop {
            let page = run.store().key_changes(&run.pair.id, &resource, after.as_ref(), HELD).await;
            let page = page.map_err(RunError::State)?;
            let Some(last) = page.last() else { break };
            after = Some(last.change.id.clone());
            // What a newer view told that was lost is open however many commits it is old (R11).
            let untouched = page.into_iter().filter(|known| {
                known.commits >= run.commits() || run.deals_again_with(known.change.version)
            });
            open.extend(
                untouched
                    .map(|known| RememberedKeyChange { commits: UNTIL_IT_IS_TOLD_AGAIN, ..known }),
            );
        }
    }
    Ok(open)
}

/// What is remembered of one item.
pub(super) async fn of_item(
    run: &Run,
    resource: &ResourcePath,
    id: &SourceId,
) -> Result<Option<Renamed>, RunError> {
    let known = run.store().key_changes_of(&run.pair.id, resource, id).await;
    Ok(renamed(run, &known.map_err(RunError::State)?))
}

/// Whether an item that is parked under its new key was called this: then what the target has under
/// the old one is all that it has of it (R6). What it was called before it was last written is not, nor
/// what another item was written under since.
pub(super) async fn is_old_key_of_a_parked_item(
    run: &Run,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<bool, RunError> {
    let refused = run.book().refused_items(resource);
    for id in refused {
        let known = run.store().key_changes_of(&run.pair.id, resource, &id).await;
        let known = known.map_err(RunError::State)?;
        let is_open = known.iter().any(|known| known.commits >= run.commits());
        let was_called_this =
            known.iter().any(|known| known.change.old.is(key) || known.change.new.is(key));
        if was_called_this && (is_open || run.book().keeps_old_key(resource, &id, key)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The items of a resource whose keys this run has to do with, so many at once as may be held in
/// memory, in the order of their last records.
pub(super) struct Touched<'a> {
    run: &'a Run,
    resource: &'a ResourcePath,
    after: Option<SourceId>,
    ended: bool,
}

pub(super) fn touched<'a>(run: &'a Run, resource: &'a ResourcePath) -> Touched<'a> {
    Touched { run, resource, after: None, ended: false }
}

impl Touched<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Renamed>>, RunError> {
        while !self.ended {
            let (pair, after) = (&self.run.pair.id, self.after.as_ref());
            let page = self.run.store().key_changes(pair, self.resource, after, HELD).await;
            let page = page.map_err(RunError::State)?;
            self.ended = page.len() < HELD;
            self.after = page.last().map(|last| last.change.id.clone());
            let mut items: Vec<Renamed> = page
                .chunk_by(|one, next| one.change.id == next.change.id)
                .filter_map(|records| renamed(self.run, records))
                .collect();
            items.sort_by_key(|item| item.version);
            if !items.is_empty() {
                return Ok(Some(items));
            }
        }
        Ok(None)
    }
}

/// The records of one item, ascending by version; `None` when all of them were dealt with.
fn renamed(run: &Run, records: &[RememberedKeyChange]) -> Option<Renamed> {
    let last = &records.last()?.change;
    let open = records.iter().filter(|record| record.commits >= run.commits()).count();
    if open == 0 {
        return None;
    }
    let news = records.iter().map(|record| &record.change.new).filter(|new| !new.is(&last.new));
    let olds: BTreeSet<NaturalKey> =
        records.iter().map(|record| &record.change.old).chain(news).cloned().collect();
    Some(Renamed {
        id: last.id.clone(),
        olds: olds.into_iter().collect(),
        new: last.new.clone(),
        records: u64::try_from(open).unwrap_or(u64::MAX),
        version: last.version,
    })
}
