//! Target ids that no feed tells of any more: what each shows now goes, unless it lives at the
//! source (R5, R7).
//!
//! An item that was written under another key left its old id behind. An item that was deleted had
//! its id journalled before a rename moved it; when its key lives again, the feed hides its
//! tombstone, and the id is all that is left. The one thing to know: an id is no key, so the target
//! is asked what it is called now.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{NaturalKey, ParkReason, ResourcePath, SourceId, Stage, Tally, TargetId};
use crate::sources::{Isolation, Lookup};
use crate::state::{JournalledName, LeftBehind, Operation};
use crate::targets::{Deleted, Disposition, Match, Refusal, WriteError};

use super::apply::Settled;
use super::others::Elsewhere;
use super::parked::Parking;
use super::under_way::{Run, lock};
use super::{Publish, RunError, history, others, remembered};

/// Keys are read so many at once; what is kept of them is ids (R30).
const NAMES_AT_ONCE: usize = 1_000;

/// One id, and the item that had it, where that is known.
pub(super) struct Left {
    pub(super) resource: ResourcePath,
    pub(super) id: Option<SourceId>,
    pub(super) target_id: TargetId,
    /// See [`LeftBehind::lived_as`].
    pub(super) lived_as: Option<SourceId>,
}

/// Everything that was left behind in this run, or in one of this window that was broken off. An older
/// view shows too little of what a newer one has moved: it waits for a view that reaches it (I8).
pub(super) async fn all(run: &Run) -> Result<Vec<Left>, RunError> {
    let mut all = Vec::new();
    if run.pair.policy.key_changes == Publish::Skip || run.is_older_than_names {
        return Ok(all);
    }
    for left in run.store().left_behind(&run.pair.id).await.map_err(RunError::State)? {
        let LeftBehind { resource, id, target_id, lived_as } = left;
        all.push(Left { resource, id: Some(id), target_id, lived_as });
    }
    let mut after: Option<JournalledName> = None;
    loop {
        let page = run.store().names_after(&run.pair.id, after.as_ref(), NAMES_AT_ONCE).await;
        let page = page.map_err(RunError::State)?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.clone());
        for name in page.into_iter().filter(|name| name.deleted) {
            let JournalledName { resource, target_id, .. } = name;
            let left = |target_id| Left { resource, id: None, target_id, lived_as: None };
            all.extend(target_id.map(left));
        }
    }
}

pub(super) async fn delete(
    run: &Arc<Run>,
    resource: &ResourcePath,
    left: &[Left],
) -> Result<(), RunError> {
    for left in left.iter().filter(|left| left.resource == *resource) {
        run.check_stop()?;
        let Some(settled) = delete_if_dead(run, left).await? else { continue };
        run.take_up(Stage::Deletes, 1);
        let seen = Tally { read: 1, ..Tally::default() };
        run.count(Stage::Deletes, resource, settled, seen);
    }
    Ok(())
}

/// Nothing where what the id shows lives at the source, or is not shown at all.
pub(super) async fn delete_if_dead(
    run: &Arc<Run>,
    left: &Left,
) -> Result<Option<Settled>, RunError> {
    match dead_key(run, left).await? {
        Some(key) => delete_one(run, left, key).await.map(Some),
        None => Ok(None),
    }
}

/// What the id shows now, if that does not live at the source.
async fn dead_key(run: &Arc<Run>, left: &Left) -> Result<Option<NaturalKey>, RunError> {
    let Left { resource, target_id, .. } = left;
    let shown = match run.target(|target| target.get(resource, target_id)).await {
        Ok(found) => found.and_then(|found| found.key),
        Err(error) if error.refusal().is_some() => None,
        Err(error) => return Err(RunError::Target(error)),
    };
    let Some(key) = shown else { return Ok(None) };
    match run.reader.find(resource, &key).await.map_err(RunError::Source)? {
        Lookup::Absent => {}
        Lookup::Hidden => return Ok(None),
        Lookup::Lives(item) => {
            look_once_more(run, left, &item.id).await?;
            return Ok(None);
        }
    }
    if remembered::living_item_behind(run, resource, target_id).await?.is_some()
        || is_all_that_is_there_of_a_living_item(run, left).await?
    {
        return Ok(None);
    }
    let waits = history::is_old_key_of_a_parked_item(run, resource, &key).await?;
    Ok((!waits).then_some(key))
}

/// What the target has under a key that lives again stands for the item that lives: if nothing comes to
/// write that, the next run looks at it (R7).
pub(super) async fn look_at_name_once_more(
    run: &Arc<Run>,
    resource: &ResourcePath,
    name: Option<(&NaturalKey, &SourceId)>,
    living: &SourceId,
) -> Result<(), RunError> {
    let Some((key, id)) = name else { return Ok(()) };
    if run.reader.isolation() == Isolation::Snapshot {
        return Ok(());
    }
    let found = match run.target(|target| target.find(resource, key)).await {
        Ok(Match::One(found)) => found,
        Ok(Match::None | Match::Doubtful { .. }) => return Ok(()),
        Err(error) if error.refusal().is_some() => return Ok(()),
        Err(error) => return Err(RunError::Target(error)),
    };
    let (resource, id) = (resource.clone(), Some(id.clone()));
    let left = Left { resource, id, target_id: found.id, lived_as: None };
    look_once_more(run, &left, living).await
}

/// Without a snapshot that item may have come to its key when this run had read its feeds. If it is
/// renamed on before the next run reads them, the source folds both renames into one, which does not
/// name the key (R7). What it was written under by this run needs nothing: that is remembered.
async fn look_once_more(run: &Run, left: &Left, living: &SourceId) -> Result<(), RunError> {
    let Left { resource, target_id, lived_as, .. } = left;
    if lived_as.is_some() || run.reader.isolation() == Isolation::Snapshot {
        return Ok(());
    }
    if remembered::item_behind(run, resource, target_id).await?.as_ref() == Some(living) {
        return Ok(());
    }
    keep_for_the_next_run(run, left, living);
    Ok(())
}

fn keep_for_the_next_run(run: &Run, left: &Left, living: &SourceId) {
    let Left { resource, id, target_id, .. } = left;
    lock(&run.lives_again).push(LeftBehind {
        resource: resource.clone(),
        id: id.clone().unwrap_or_else(|| living.clone()),
        target_id: target_id.clone(),
        lived_as: Some(living.clone()),
    });
}

/// The item that lived under what this id shows is renamed since a moment ago, and was not written under
/// its new key yet. Its key change comes to the next run, which may fold it with another and not name
/// this key: that run looks once more (R7, R8).
async fn is_all_that_is_there_of_a_living_item(run: &Run, left: &Left) -> Result<bool, RunError> {
    let Left { resource, target_id, lived_as: Some(living), .. } = left else { return Ok(false) };
    if let Lookup::Absent = run.reader.get(resource, living).await.map_err(RunError::Source)? {
        return Ok(false);
    }
    let written = remembered::last_written(run, resource, living).await?;
    if written.is_some_and(|written| written.target_id != *target_id) {
        return Ok(false);
    }
    keep_for_the_next_run(run, left, living);
    Ok(true)
}

/// What outlives the commit of the run: what the next one looks at once more, and what this one could not
/// tell of the resources whose names are kept.
pub(super) async fn for_the_next_run(
    run: &Run,
    keep_names_of: &BTreeSet<ResourcePath>,
) -> Result<Vec<LeftBehind>, RunError> {
    let mut kept = std::mem::take(&mut *lock(&run.lives_again));
    let stored = run.store().left_behind(&run.pair.id).await.map_err(RunError::State)?;
    kept.extend(stored.into_iter().filter(|stored| keep_names_of.contains(&stored.resource)));
    Ok(kept)
}

async fn delete_one(run: &Arc<Run>, left: &Left, key: NaturalKey) -> Result<Settled, RunError> {
    let Left { resource, target_id, .. } = left;
    run.confirm_what_came().await?;
    match others::who_has(run, resource, &key).await? {
        Elsewhere::Absent => {}
        Elsewhere::Lives => return Ok(Settled::Skipped),
        Elsewhere::Unknown => {
            return park(run, left, key, ParkReason::Doubtful, Refusal::default());
        }
    }
    remembered::deleted(run, resource, target_id).await?;
    match run.target(|target| target.delete(resource, target_id)).await {
        Ok(Deleted::Deleted) => Ok(Settled::Applied),
        Ok(Deleted::AlreadyGone) => Ok(Settled::Skipped),
        Err(error) => refused(run, left, key, error),
    }
}

fn refused(
    run: &Run,
    left: &Left,
    key: NaturalKey,
    error: WriteError,
) -> Result<Settled, RunError> {
    let refusal = error.refusal().cloned().unwrap_or_default();
    let reason = match error.disposition() {
        Disposition::FailRun => return Err(RunError::Target(error)),
        Disposition::CloseResource => {
            run.close(&left.resource, refusal)?;
            return Ok(Settled::Parked);
        }
        Disposition::AwaitDeletes(reason) | Disposition::Park(reason) => reason,
        Disposition::AwaitAssociation => ParkReason::Forbidden,
        Disposition::ResolveReference => ParkReason::UnresolvedReference,
        Disposition::PlainAgreement => ParkReason::Invalid,
        Disposition::ReadAgain => ParkReason::Contended,
    };
    park(run, left, key, reason, refusal)
}

/// It waits as any other name for a deletion does, by the id that was remembered.
fn park(
    run: &Run,
    left: &Left,
    key: NaturalKey,
    reason: ParkReason,
    refusal: Refusal,
) -> Result<Settled, RunError> {
    run.park(Parking {
        resource: left.resource.clone(),
        source_id: left.id.clone(),
        key: Some(key),
        operation: Operation::Delete,
        reason,
        refusal,
        waits_for: None,
        named_for_deletion: true,
        target_id: Some(left.target_id.clone()),
        hash: None,
        news: false,
    })?;
    Ok(Settled::Parked)
}
