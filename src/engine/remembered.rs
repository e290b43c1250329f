//! What a run remembers for the windows that reach back over its own (R7, R16): how items were
//! written, which tombstones are dealt with, which target ids were left behind.
//!
//! What lives here: what is kept until the next step is committed, and what is asked of the store.
//! What does not: where an overlap begins ([`super::overlap`]), key changes
//! ([`super::key_changes`]). The one thing to know: a hash is believed only if no run was broken off
//! since it was kept, and no PUT has moved keys at the target; a target id is believed always,
//! because what it shows is looked at before anything is done about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::domain::scan::{Scanner, is_name};
use crate::domain::{ChangeVersion, Item, ResourcePath, SourceId, TargetId, Tombstone};
use crate::sources::Lookup;
use crate::state::{Forgotten, LeftBehind, SettledTombstone, Step, Written};
use crate::targets::Upserted;

use super::RunError;
use super::under_way::{Run, lock};

/// What was learnt since the last step.
#[derive(Default)]
pub(super) struct Learnt {
    written: BTreeMap<(ResourcePath, SourceId), Written>,
    /// The items of `written` by the ids that the target gave them.
    written_as: HashMap<(ResourcePath, TargetId), SourceId>,
    forgotten: BTreeSet<(ResourcePath, SourceId)>,
    pub(super) left_behind: Vec<LeftBehind>,
    tombstones: Vec<SettledTombstone>,
}

impl Learnt {
    /// Adds it to a step, and begins anew.
    pub(super) fn take_into(&mut self, step: &mut Step) -> bool {
        let Learnt { written, written_as: _, forgotten, left_behind, tombstones } =
            std::mem::take(self);
        if written.is_empty()
            && forgotten.is_empty()
            && left_behind.is_empty()
            && tombstones.is_empty()
        {
            return false;
        }
        step.written = written.into_values().collect();
        step.forget = Forgotten { written: forgotten.into_iter().collect(), ..step.forget.clone() };
        step.left_behind = left_behind;
        step.tombstones = tombstones;
        true
    }

    fn forget(&mut self, resource: &ResourcePath, id: &SourceId) {
        let slot = (resource.clone(), id.clone());
        if let Some(written) = self.written.remove(&slot) {
            self.written_as.remove(&(resource.clone(), written.target_id));
        }
        self.forgotten.insert(slot);
    }

    fn keep(&mut self, written: Written) {
        let slot = (written.resource.clone(), written.id.clone());
        let target_slot = (written.resource.clone(), written.target_id.clone());
        self.written_as.insert(target_slot, written.id.clone());
        self.written.insert(slot, written);
    }
}

/// Sixteen hexadecimal digits of the source's bytes as read, `id`, `_etag` and `_lastModifiedDate`
/// included.
pub(super) fn hash_of(item: &Item) -> String {
    let digest = Sha256::digest(item.body.bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Which items of a page were written with these very bytes before (R16).
pub(super) async fn unchanged(
    run: &Run,
    resource: &ResourcePath,
    page: &[Item],
) -> Result<BTreeSet<SourceId>, RunError> {
    let mut unchanged = BTreeSet::new();
    if !run.looks_back(resource) {
        return Ok(unchanged);
    }
    let ids = page.iter().map(|item| item.id.clone()).collect();
    let written = run.store().written(&run.pair.id, resource, ids).await;
    let mut hashes: HashMap<SourceId, String> = HashMap::new();
    for written in written.map_err(RunError::State)? {
        if written.broken_off == run.broken_off() {
            hashes.insert(written.id, written.hash);
        }
    }
    for item in page {
        if hashes.get(&item.id).is_some_and(|hash| *hash == hash_of(item)) {
            unchanged.insert(item.id.clone());
        }
    }
    Ok(unchanged)
}

/// The target took `item` and answered as `upserted` says.
pub(super) async fn wrote(
    run: &Run,
    resource: &ResourcePath,
    item: &Item,
    upserted: Upserted,
) -> Result<(), RunError> {
    if !run.looks_back(resource) {
        return Ok(());
    }
    let before = last_written(run, resource, &item.id).await?;
    let Some(target_id) = upserted.id else {
        if before.is_some() {
            lock(&run.learnt).forget(resource, &item.id);
        }
        return Ok(());
    };
    let other = item_behind(run, resource, &target_id).await?;
    let keep = is_worth_remembering(run, resource, item)
        || upserted.created
        || may_have_moved(run, before.as_ref(), &target_id);
    let mut learnt = lock(&run.learnt);
    if let Some(other) = other.filter(|other| *other != item.id) {
        learnt.forget(resource, &other); // Its key is this item's by now.
    }
    if let Some(before) = &before
        && before.target_id != target_id
    {
        // It was written under another key, which nothing else may tell (R7).
        learnt.left_behind.push(LeftBehind {
            resource: resource.clone(),
            id: item.id.clone(),
            target_id: before.target_id.clone(),
            lived_as: None,
        });
    }
    if keep {
        learnt.keep(Written {
            resource: resource.clone(),
            id: item.id.clone(),
            target_id,
            hash: hash_of(item),
            through: run.window.through,
            broken_off: run.broken_off(),
        });
    } else if before.is_some() {
        learnt.forget(resource, &item.id);
    }
    Ok(())
}

/// What this target id showed is gone, or about to be.
pub(super) async fn deleted(
    run: &Run,
    resource: &ResourcePath,
    target_id: &TargetId,
) -> Result<(), RunError> {
    if !run.looks_back(resource) {
        return Ok(());
    }
    let Some(id) = item_behind(run, resource, target_id).await? else { return Ok(()) };
    let last = last_written(run, resource, &id).await?;
    if last.is_some_and(|last| last.target_id == *target_id) {
        lock(&run.learnt).forget(resource, &id);
    }
    Ok(())
}

/// Leaves out the tombstones that a committed run has dealt with, unless this one deals again with
/// such versions: what was deleted may have been written since from an older view (R11).
pub(super) async fn unsettled(
    run: &Run,
    resource: &ResourcePath,
    tombstones: Vec<Tombstone>,
) -> Result<Vec<Tombstone>, RunError> {
    if !run.looks_back(resource) || tombstones.is_empty() {
        return Ok(tombstones);
    }
    let asked = tombstones.iter().map(|t| (t.id.clone(), t.version)).collect();
    let settled = run.store().settled_tombstones(&run.pair.id, resource, asked).await;
    let settled: BTreeSet<(SourceId, ChangeVersion)> = settled
        .map_err(RunError::State)?
        .into_iter()
        .filter(|tombstone| tombstone.commits < run.commits())
        .filter(|tombstone| !run.deals_again_with(tombstone.version))
        .map(|tombstone| (tombstone.id, tombstone.version))
        .collect();
    let is_new =
        |tombstone: &Tombstone| !settled.contains(&(tombstone.id.clone(), tombstone.version));
    Ok(tombstones.into_iter().filter(is_new).collect())
}

/// A tombstone of the window was dealt with. One beyond it comes again, and is looked at again.
pub(super) fn settled_tombstone(
    run: &Run,
    resource: &ResourcePath,
    id: &SourceId,
    version: ChangeVersion,
) {
    if !run.looks_back(resource) || version > run.window.through {
        return;
    }
    lock(&run.learnt).tombstones.push(SettledTombstone {
        resource: resource.clone(),
        id: id.clone(),
        version,
        commits: run.commits(),
    });
}

/// Where the target has what was last written of the item, if that is remembered.
pub(super) async fn target_id_of(
    run: &Run,
    resource: &ResourcePath,
    id: &SourceId,
) -> Result<Option<TargetId>, RunError> {
    if !run.looks_back(resource) {
        return Ok(None);
    }
    Ok(last_written(run, resource, id).await?.map(|written| written.target_id))
}

/// The same, if this window has written nothing of the item: what it has written lives.
pub(super) async fn target_id_of_a_former_window(
    run: &Run,
    resource: &ResourcePath,
    id: &SourceId,
) -> Result<Option<TargetId>, RunError> {
    if !run.looks_back(resource) {
        return Ok(None);
    }
    let last = last_written(run, resource, id).await?;
    let last = last.filter(|written| written.through != run.window.through);
    Ok(last.map(|written| written.target_id))
}

/// What the item was written as last, and under which target id, where that is remembered.
pub(super) async fn last_written(
    run: &Run,
    resource: &ResourcePath,
    id: &SourceId,
) -> Result<Option<Written>, RunError> {
    let slot = (resource.clone(), id.clone());
    {
        let learnt = lock(&run.learnt);
        if let Some(written) = learnt.written.get(&slot) {
            return Ok(Some(written.clone()));
        }
        if learnt.forgotten.contains(&slot) {
            return Ok(None);
        }
    }
    let written = run.store().written(&run.pair.id, resource, vec![id.clone()]).await;
    Ok(written.map_err(RunError::State)?.pop())
}

/// The item that was written last under this target id. It may have been written under another one
/// since: then this id is left behind.
pub(super) async fn item_behind(
    run: &Run,
    resource: &ResourcePath,
    target_id: &TargetId,
) -> Result<Option<SourceId>, RunError> {
    let slot = (resource.clone(), target_id.clone());
    if !run.looks_back(resource) {
        return Ok(None);
    }
    if let Some(id) = lock(&run.learnt).written_as.get(&slot) {
        return Ok(Some(id.clone()));
    }
    run.store().written_as(&run.pair.id, resource, target_id).await.map_err(RunError::State)
}

/// The item that was written last under this target id, and under no other since, if it lives. Without
/// a snapshot it may have been renamed a moment ago: then the key that the id shows lives no more, and
/// the id is all that the target has of it (I8).
pub(super) async fn living_item_behind(
    run: &Run,
    resource: &ResourcePath,
    target_id: &TargetId,
) -> Result<Option<SourceId>, RunError> {
    let Some(owner) = last_behind(run, resource, target_id).await? else { return Ok(None) };
    match run.reader.get(resource, &owner).await.map_err(RunError::Source)? {
        Lookup::Absent => Ok(None),
        Lookup::Lives(_) | Lookup::Hidden => Ok(Some(owner)),
    }
}

/// The item whose last write was under this target id; if none is remembered, the one that this run has
/// seen under it, moved there by a rename.
async fn last_behind(
    run: &Run,
    resource: &ResourcePath,
    target_id: &TargetId,
) -> Result<Option<SourceId>, RunError> {
    if let Some(owner) = item_behind(run, resource, target_id).await? {
        let last = last_written(run, resource, &owner).await?;
        if last.is_some_and(|last| last.target_id == *target_id) {
            return Ok(Some(owner));
        }
    }
    let Some(moved) = run.renamed_behind(resource, target_id) else { return Ok(None) };
    let last = last_written(run, resource, &moved).await?;
    Ok(last.is_none_or(|last| last.target_id == *target_id).then_some(moved))
}

/// Bounded space: only what the next window may bring again has a hash. That is what changed within
/// the overlap, and what a rename moved, which leaves its date alone. See also [`may_have_moved`].
fn is_worth_remembering(run: &Run, resource: &ResourcePath, item: &Item) -> bool {
    let Some(since) = run.worth_remembering_since else { return false };
    if lock(&run.moved_by_renames).contains(resource) {
        return true;
    }
    last_modified(item).is_some_and(|modified| modified >= since)
}

/// Whether the item may have been renamed after its feed of key changes was read, which leaves its date
/// alone: what it is called now is an old key of it, if it is renamed on and the feed folds both (R7).
/// Under an upper edge such an item comes only where it is missing, and is created.
fn may_have_moved(run: &Run, before: Option<&Written>, target_id: &TargetId) -> bool {
    match before {
        Some(before) => before.target_id != *target_id,
        None => !run.reader.isolation().bounds_upserts(),
    }
}

/// When the source says that it last changed the item, where it says so.
pub(super) fn last_modified(item: &Item) -> Option<Timestamp> {
    let mut scanner = Scanner::new(item.body.bytes());
    let mut more = scanner.enter_object().ok()?;
    while more {
        let name = scanner.name().ok()?;
        let value = scanner.value().ok()?;
        if is_name(name, "_lastModifiedDate") {
            return moment(&serde_json::from_slice::<String>(value).ok()?);
        }
        more = scanner.next_member().ok()?;
    }
    None
}

/// Hosts write it with and without an offset; without one it is UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let with_offset = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    with_offset.or_else(|_| text.parse::<chrono::NaiveDateTime>().map(|t| t.and_utc())).ok()
}
