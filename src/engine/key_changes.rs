//! The first stage: renames. By PUT where every guard of R6 allows it, which keeps the target's id
//! and spares its dependents; by plain agreement everywhere else, which is always right.
//!
//! The one thing to know: before the first PUT the target id of *every name* is looked up and
//! journalled (R5), because a parent's rename moves its dependents' keys at the target, not their
//! ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use tracing::Instrument;

use crate::domain::{
    ChangeVersion, NaturalKey, ParkReason, ResourcePath, SourceId, Stage, Tally, TargetId,
};
use crate::sources::{Isolation, Lookup};
use crate::targets::{Disposition, Match, Upserted};

use super::apply::Settled;
use super::history::{self, Renamed};
use super::names::Of;
use super::observe::Event;
use super::others::Elsewhere;
use super::under_way::{Run, lock};
use super::{Publish, RunError, ahead, names, others, references, remembered, spans};

/// Items looked at together.
const AT_ONCE: usize = 100;

pub(super) async fn publish(run: &Arc<Run>) -> Result<(), RunError> {
    if run.pair.policy.key_changes == Publish::Skip {
        return Ok(());
    }
    let order = run.graph.in_order();
    let renameable = Renameable::of_source(run).await?;
    let changed = journal_old_keys(run, &order, &renameable).await?;
    if changed.is_empty() {
        return Ok(());
    }
    lock(&run.with_key_changes).extend(changed.iter().cloned());
    run.tell(&Event::StageStarted { pair: &run.pair.id, stage: Stage::KeyChanges });
    journal_tombstones(run, &order, &renameable, &changed).await?;
    journal_parked(run, &changed, &renameable).await?;
    let mut held = Held::default();
    for resource in order.iter().filter(|resource| changed.contains(*resource)) {
        let by_put = may_rename_by_put(run, resource, &renameable).await?;
        let renaming = rename_resource(run, resource, by_put.then_some(&mut held));
        renaming.instrument(spans::of_resource(resource)).await?;
    }
    run.commit_parked().await
}

/// Which resources can have key changes at all: those whose key a PUT may change, and those whose
/// key contains such a key, directly or through others.
struct Renameable {
    /// Resource → the renameable resources whose key is part of its own, itself included. Only
    /// resources that can have key changes are in it, whether selected or not.
    through: BTreeMap<ResourcePath, BTreeSet<ResourcePath>>,
}

impl Renameable {
    async fn of_source(run: &Run) -> Result<Renameable, RunError> {
        let source = run.pair.source.resources().await.map_err(RunError::Source)?;
        let mut through: BTreeMap<ResourcePath, BTreeSet<ResourcePath>> = BTreeMap::new();
        // Parents come first in this order, so what their keys contain is known already.
        for resource in source.in_order() {
            if resource.is_descriptor() {
                continue; // `edfi-wire §5`: key changes of derived resources are always empty.
            }
            let mut own = BTreeSet::new();
            match run.reader.key_shape(&resource).await.map_err(RunError::Source)? {
                // Nothing is known of it: it is asked.
                None => {
                    own.insert(resource.clone());
                }
                Some(shape) => {
                    if shape.key_is_updatable {
                        own.insert(resource.clone());
                    }
                    for reference in shape.references.iter().filter(|r| r.in_key) {
                        let parents = reference.resources.iter().filter_map(|r| through.get(r));
                        own.extend(parents.flatten().cloned());
                    }
                }
            }
            if !own.is_empty() {
                through.insert(resource, own);
            }
        }
        Ok(Renameable { through })
    }

    fn contains(&self, resource: &ResourcePath) -> bool {
        self.through.contains_key(resource)
    }

    /// Whether the key of `resource` contains the key of one of `changed`.
    fn contains_key_of(&self, resource: &ResourcePath, changed: &BTreeSet<ResourcePath>) -> bool {
        self.through.get(resource).is_some_and(|through| !through.is_disjoint(changed))
    }
}

/// Reads every key-change feed, and looks up the old keys. Returns who had any.
async fn journal_old_keys(
    run: &Arc<Run>,
    order: &[ResourcePath],
    renameable: &Renameable,
) -> Result<BTreeSet<ResourcePath>, RunError> {
    let mut asking = Vec::new();
    for resource in order.iter().filter(|resource| renameable.contains(resource)) {
        asking.push(async move {
            let told = journal_old_keys_of(run, resource).await;
            told.map(|told| told.then(|| resource.clone()))
        });
    }
    let mut asked = futures_util::stream::iter(asking).buffer_unordered(ahead::FEEDS_AT_ONCE);

    let mut changed = BTreeSet::new();
    while let Some(told) = asked.next().await {
        run.check_stop()?;
        changed.extend(told?);
    }
    Ok(changed)
}

/// What joins has nothing at the target that could be renamed or gone.
async fn remember_old_keys_of(
    run: &Run,
    resource: &ResourcePath,
    after: ChangeVersion,
) -> Result<(), RunError> {
    let mut feed = history::feed(run, resource, after);
    while feed.next().await?.is_some() {}
    Ok(())
}

/// Without a snapshot what joins may have been renamed between its feed and its items: it was written
/// under a name that the feed of the next window may fold away, so that its feed is remembered as it is
/// once the items are read (R7).
pub(super) async fn remember_those_of_joiners(run: &Run) -> Result<(), RunError> {
    if run.pair.policy.key_changes == Publish::Skip || run.reader.isolation() == Isolation::Snapshot
    {
        return Ok(());
    }
    let mut joiners = run.graph.in_order();
    joiners.retain(|resource| run.remembers_after(resource).is_some());
    if joiners.is_empty() {
        return Ok(());
    }
    let renameable = Renameable::of_source(run).await?;
    for resource in joiners.iter().filter(|resource| renameable.contains(resource)) {
        let Some(after) = run.remembers_after(resource) else { continue };
        let mut feed = history::feed_now(run, resource, after);
        while feed.next().await?.is_some() {}
    }
    Ok(())
}

/// Whether the feed of the resource told anything new.
async fn journal_old_keys_of(run: &Arc<Run>, resource: &ResourcePath) -> Result<bool, RunError> {
    if let Some(after) = run.remembers_after(resource) {
        remember_old_keys_of(run, resource, after).await?;
    }
    let Some(after) = run.feeds_after(resource) else { return Ok(false) };
    let (mut feed, mut told) = (history::feed(run, resource, after), false);
    while let Some(items) = feed.next().await? {
        told = true;
        for id in &items {
            let item = history::of_item(run, resource, id).await?;
            let olds = item.map(|item| item.olds).unwrap_or_default();
            let olds = olds.into_iter().map(|old| (old, Some(id.clone())));
            names::look_up(run, resource, olds, Of::OldKeys).await?;
        }
    }
    Ok(told)
}

/// Tombstones of resources whose key contains a renamed one: once the parent is renamed at the
/// target, they are there under a key that no tombstone tells.
async fn journal_tombstones(
    run: &Arc<Run>,
    order: &[ResourcePath],
    renameable: &Renameable,
    changed: &BTreeSet<ResourcePath>,
) -> Result<(), RunError> {
    if run.pair.policy.deletes == Publish::Skip {
        return Ok(());
    }
    for resource in order.iter().filter(|r| renameable.contains_key_of(r, changed)) {
        lock(&run.moved_by_renames).insert(resource.clone());
        let Some(mut pages) = run.tombstones(resource) else { continue };
        while let Some(page) = pages.next().await.map_err(RunError::Source)? {
            let keys = page.into_iter().filter_map(|t| Some((t.key?, Some(t.id))));
            names::look_up(run, resource, keys, Of::Deleted).await?;
        }
    }
    Ok(())
}

/// Keys, each with the item that was called so.
type Names = Vec<(NaturalKey, Option<SourceId>)>;

/// Records parked for deletion, for the same reason.
async fn journal_parked(
    run: &Arc<Run>,
    changed: &BTreeSet<ResourcePath>,
    renameable: &Renameable,
) -> Result<(), RunError> {
    let mut keys: BTreeMap<(ResourcePath, Of), Names> = BTreeMap::new();
    for record in run.book().named_for_deletion() {
        if let Some(key) = record.key
            && record.target_id.is_none()
            && renameable.contains_key_of(&record.resource, changed)
        {
            // The old item is all that the target has of it (R6).
            let waits = record.reason == ParkReason::WaitsForNewKey;
            let of = if waits { Of::OldKeys } else { Of::Deleted };
            keys.entry((record.resource, of)).or_default().push((key, record.source_id));
        }
    }
    for ((resource, of), keys) in keys {
        names::look_up(run, &resource, keys, of).await?;
    }
    Ok(())
}

async fn rename_resource(
    run: &Arc<Run>,
    resource: &ResourcePath,
    mut by_put: Option<&mut Held>,
) -> Result<(), RunError> {
    run.tell(&Event::ResourceStarted {
        pair: &run.pair.id,
        stage: Stage::KeyChanges,
        resource,
        expected: None,
    });
    let mut touched = history::touched(run, resource);
    while let Some(items) = touched.next().await? {
        run.take_up(Stage::KeyChanges, items.iter().map(|item| item.records).sum());
        for items in items.chunks(AT_ONCE) {
            run.check_stop()?;
            rename_all(run, resource, items, by_put.as_deref_mut()).await?;
        }
    }
    run.tell(&Event::ResourceFinished { pair: &run.pair.id, stage: Stage::KeyChanges, resource });
    Ok(())
}

/// Whether the source still is what the run has opened. A snapshot is, while it is served; a source
/// without one is while its newest version stays what it was.
#[derive(Default)]
struct Held {
    has_moved: bool,
}

impl Held {
    /// Asked before each PUT, after everything that speaks for it was read. Feeds, tombstones and
    /// guards are answers of different moments: what was renamed, deleted or came back between two of
    /// them, a PUT would move at the target where nothing names it (R5, R6, ADR 13).
    async fn still(&mut self, run: &Run) -> Result<bool, RunError> {
        if run.reader.isolation() == Isolation::Snapshot {
            run.confirm_what_came().await?;
            return Ok(true);
        }
        if !self.has_moved {
            let newest = run.pair.source.live_newest().await.map_err(RunError::Source)?;
            self.has_moved = newest != run.reader.newest();
        }
        Ok(!self.has_moved)
    }
}

/// Looking is done at once, renaming one by one: a PUT may free the key of the next.
async fn rename_all(
    run: &Arc<Run>,
    resource: &ResourcePath,
    items: &[Renamed],
    mut by_put: Option<&mut Held>,
) -> Result<(), RunError> {
    let looks = items.iter().map(|item| what_old_names_show(run, resource, item));
    let shown = futures_util::future::try_join_all(looks).await?;
    for (renamed, shown) in items.iter().zip(shown) {
        let settled = rename(run, resource, renamed, shown, by_put.as_deref_mut()).await?;
        // Records that one rename settled together: all but one needed nothing of their own.
        let more = renamed.records - 1;
        let seen = Tally { read: renamed.records, skipped: more, ..Tally::default() };
        run.count(Stage::KeyChanges, resource, settled, seen);
    }
    Ok(())
}

/// The guards of R6 that hold for a whole resource: the server changes such keys, and every
/// resource whose key contains this one, itself among them, is in the run and not others' too
/// (R28a). One that is read from its beginning, or closed, is not in the run in this sense.
async fn may_rename_by_put(
    run: &Run,
    resource: &ResourcePath,
    renameable: &Renameable,
) -> Result<bool, RunError> {
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    if !shape.is_some_and(|shape| shape.key_is_updatable) {
        return Ok(false);
    }
    let own = BTreeSet::from([resource.clone()]);
    let mut dependents =
        renameable.through.keys().filter(|other| renameable.contains_key_of(other, &own));
    Ok(dependents.all(|other| {
        run.graph.contains(other) && run.feeds_after(other).is_some() && run.ownership.is_own(other)
    }))
}

/// Renames one item at the target, or leaves it to plain agreement.
async fn rename(
    run: &Arc<Run>,
    resource: &ResourcePath,
    renamed: &Renamed,
    shown: Option<(TargetId, NaturalKey)>,
    by_put: Option<&mut Held>,
) -> Result<Settled, RunError> {
    let Some((target_id, shown)) = shown else { return Ok(Settled::Skipped) };
    if shown.is(&renamed.new) {
        // The rename of what it refers to has moved it, or an earlier attempt has.
        run.note_renamed(resource, &renamed.id, &target_id);
        return Ok(Settled::Skipped);
    }
    let Some(held) = by_put else { return Ok(Settled::Skipped) };
    if held.has_moved || !guards_allow(run, resource, renamed, &target_id, &shown).await? {
        return Ok(Settled::Skipped);
    }
    let item = match run.reader.get(resource, &renamed.id).await.map_err(RunError::Source)? {
        Lookup::Lives(item) => item,
        Lookup::Absent | Lookup::Hidden => return Ok(Settled::Skipped),
    };
    let read_key = run.key_of(resource, &item).await?;
    if !read_key.is_some_and(|key| key.is(&renamed.new)) {
        return Ok(Settled::Skipped); // It has another key by now; the next window tells.
    }
    if !references::all_at_target(run, resource, &item).await? {
        // Nothing of the window is created yet: a parent that is new, or whose own rename was left
        // to plain agreement, is not there, and the PUT would be refused.
        return Ok(Settled::Skipped);
    }
    // As `apply::upsert_out_of_turn`: no page may come to mend it.
    if !held.still(run).await? {
        return Ok(Settled::Skipped);
    }
    run.keys_are_about_to_move().await?;
    match run.target(|target| target.rename(resource, &target_id, &item)).await {
        Ok(()) => {
            run.note_renamed(resource, &renamed.id, &target_id);
            let renamed = Upserted { id: Some(target_id), created: false };
            remembered::wrote(run, resource, &item, renamed).await?;
            run.agreed(resource, &item).await?;
            Ok(Settled::Applied)
        }
        Err(error) => match error.disposition() {
            Disposition::FailRun => Err(RunError::Target(error)),
            // Whatever a PUT is refused for, plain agreement is always right (R6).
            Disposition::Park(_)
            | Disposition::ResolveReference
            | Disposition::AwaitAssociation
            | Disposition::CloseResource
            | Disposition::AwaitDeletes(_)
            | Disposition::PlainAgreement
            | Disposition::ReadAgain => Ok(Settled::Skipped),
        },
    }
}

/// The one target id that the old names of the item had, and the key that it shows now. Guards,
/// PUT and deletes go by id (R5).
async fn what_old_names_show(
    run: &Arc<Run>,
    resource: &ResourcePath,
    renamed: &Renamed,
) -> Result<Option<(TargetId, NaturalKey)>, RunError> {
    let mut ids = BTreeSet::new();
    for old in &renamed.olds {
        ids.extend(run.journalled(resource, old).await?.flatten());
    }
    let (Some(id), None) = (ids.pop_first(), ids.pop_first()) else { return Ok(None) };
    let found = run.target(|target| target.get(resource, &id)).await;
    match found {
        Ok(found) => Ok(found.and_then(|found| Some((id, found.key?)))),
        Err(error) if error.refusal().is_some() => Ok(None),
        Err(error) => Err(RunError::Target(error)),
    }
}

/// The guards of R6 that hold for one item.
async fn guards_allow(
    run: &Arc<Run>,
    resource: &ResourcePath,
    renamed: &Renamed,
    target_id: &TargetId,
    shown: &NaturalKey,
) -> Result<bool, RunError> {
    let owner = remembered::item_behind(run, resource, target_id).await?;
    if owner.is_some_and(|owner| owner != renamed.id) {
        return Ok(false); // It was written since for another item.
    }
    let new = run.target(|target| target.find(resource, &renamed.new)).await;
    let new_is_free = match new {
        Ok(Match::None) => true,
        Ok(Match::One(found)) => found.id == *target_id,
        // To such a server old and new may be one key: only then is it the same item (R2).
        Ok(Match::Doubtful { .. }) => !shown.surely_differs_from(&renamed.new),
        Err(error) if error.refusal().is_some() => false,
        Err(error) => return Err(RunError::Target(error)),
    };
    if !new_is_free {
        return Ok(false);
    }
    for names in [&renamed.olds[..], std::slice::from_ref(shown)] {
        if !nobody_else_has(run, resource, &renamed.id, names).await? {
            return Ok(false);
        }
    }
    // What another pair has under that name stays there (R28a).
    Ok(others::who_has_or_hangs_on(run, resource, shown).await? == Elsewhere::Absent)
}

/// Whether no item of the source but this one is called one of these.
async fn nobody_else_has(
    run: &Run,
    resource: &ResourcePath,
    id: &SourceId,
    names: &[NaturalKey],
) -> Result<bool, RunError> {
    for name in names {
        match run.reader.find(resource, name).await.map_err(RunError::Source)? {
            Lookup::Absent => {}
            // The same key to the source, which finds the renamed item itself (R2).
            Lookup::Lives(item) if item.id == *id => {}
            Lookup::Lives(_) | Lookup::Hidden => return Ok(false),
        }
    }
    Ok(true)
}
