//! The third stage: what was named and does not live goes, dependents first.
//!
//! Names are tombstones, old keys of key changes, and parked records that something named (R3).
//! Each is found at the target by its journalled id or by its key, compared field by field (R4),
//! and sent only if the source's view holds no live item under it (I8), nor that of another pair of
//! the target (R28a).
//!
//! Past 600 lines because naming, asking, deleting and looking once more are one agreement about a key.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::domain::{
    ChangeVersion, NaturalKey, ParkReason, ResourcePath, SourceId, Stage, Tally, TargetId,
};
use crate::sources::{Isolation, Lookup};
use crate::state::{Operation, Parked};
use crate::targets::{Deleted, Disposition, Match, Refusal, WriteError};

use super::apply::{self, Settled, Turn};
use super::brake::{self, Told};
use super::left_behind::Left;
use super::names::Of;
use super::observe::{Event, Noted};
use super::others::Elsewhere;
use super::parked::Parking;
use super::under_way::{Run, lock};
use super::{RunError, history, left_behind, names, order, others, remembered};

/// Names looked at together.
const AT_ONCE: usize = 500;

/// One key that something named for deletion.
#[derive(Clone)]
struct Named {
    id: Option<SourceId>,
    key: Option<NaturalKey>,
    version: ChangeVersion,
    by: NamedBy,
}

#[derive(Clone)]
enum NamedBy {
    Tombstone,
    /// A key change; the item is called this now.
    OldKey {
        new: NaturalKey,
    },
    Parked(Box<Parked>),
}

/// What became of one name.
enum Gone {
    Settled(Settled),
    /// Something at the target still refers to it: once more at the end of the deletes.
    StillReferenced,
}

pub(super) async fn publish(run: &Arc<Run>) -> Result<(), RunError> {
    let mut told = brake::tombstones(run).await?;
    let parked = run.book().named_for_deletion();
    let left = Arc::new(left_behind::all(run).await?);
    if told.is_empty()
        && parked.is_empty()
        && left.is_empty()
        && lock(&run.with_key_changes).is_empty()
    {
        return Ok(());
    }
    run.tell(&Event::StageStarted { pair: &run.pair.id, stage: Stage::Deletes });
    look_up_people(run, &told, &parked).await?;

    let once_more = Arc::new(std::sync::Mutex::new(Vec::new()));
    order::visit(&run.graph.reversed(), |resource| {
        let (run, once_more) = (Arc::clone(run), Arc::clone(&once_more));
        let (told, left) = (told.remove(&resource), Arc::clone(&left));
        async move {
            let waiting = delete_resource(&run, &resource, told).await?;
            if !run.is_closed(&resource) && run.ownership.is_own(&resource) {
                left_behind::delete(&run, &resource, &left).await?;
            }
            lock(&once_more).extend(waiting.into_iter().map(|named| (resource.clone(), named)));
            run.commit_parked().await
        }
    })
    .await?;

    // Bound first: the lock must not be held while the target is asked.
    let once_more = std::mem::take(&mut *lock(&once_more));
    for (resource, named) in once_more {
        run.check_stop()?;
        let gone = agree_that_gone(run, &resource, &named, Look::Last).await?;
        let settled = match gone {
            Gone::Settled(settled) => settled,
            Gone::StillReferenced => {
                park(run, &resource, &named, ParkReason::StillReferenced, Refusal::default(), None)?
            }
        };
        note_settled(run, &resource, &named, settled);
        run.count(Stage::Deletes, &resource, settled, Tally::default());
    }
    run.commit_parked().await
}

/// Once an association is gone, the person behind it is not visible any more (R26).
async fn look_up_people(
    run: &Arc<Run>,
    told: &std::collections::BTreeMap<ResourcePath, Told>,
    parked: &[Parked],
) -> Result<(), RunError> {
    for person in run.graph.people().keys() {
        let mut keys: Vec<NaturalKey> = Vec::new();
        match told.get(person) {
            Some(Told::All(tombstones)) => {
                keys.extend(tombstones.iter().filter_map(|t| t.key.clone()))
            }
            Some(Told::Many) => {
                let Some(mut pages) = run.tombstones(person) else { continue };
                while let Some(page) = pages.next().await.map_err(RunError::Source)? {
                    let keys = page.into_iter().filter_map(|t| Some((t.key?, None)));
                    names::look_up(run, person, keys, Of::OldKeys).await?;
                }
            }
            None => {}
        }
        let remembered = parked.iter().filter(|r| r.resource == *person && r.target_id.is_none());
        keys.extend(remembered.filter_map(|record| record.key.clone()));
        let keys = keys.into_iter().map(|key| (key, None));
        names::look_up(run, person, keys, Of::OldKeys).await?;
    }
    Ok(())
}

/// Deletes what is named of one resource. Returns what is still referred to.
async fn delete_resource(
    run: &Arc<Run>,
    resource: &ResourcePath,
    told: Option<Told>,
) -> Result<Vec<Named>, RunError> {
    if run.is_closed(resource) {
        return Ok(Vec::new());
    }
    if !run.ownership.is_own(resource) {
        // What was to be deleted before it was others' too is to be deleted no more.
        for named in parked_names(run, resource) {
            settle(run, resource, &named, named.key.as_ref());
        }
        return Ok(Vec::new());
    }
    let mut waiting = delete_old_keys(run, resource).await?;
    let mut named = parked_names(run, resource);
    match told {
        Some(Told::All(tombstones)) => named.extend(tombstones.into_iter().map(from_tombstone)),
        Some(Told::Many) => {
            let Some(mut pages) = run.tombstones(resource) else { return Ok(waiting) };
            while let Some(page) = pages.next().await.map_err(RunError::Source)? {
                let page = remembered::unsettled(run, resource, page).await?;
                let page = page.into_iter().map(from_tombstone).collect();
                waiting.extend(delete_all(run, resource, page).await?);
            }
        }
        None => {}
    }
    waiting.extend(delete_all(run, resource, named).await?);
    Ok(waiting)
}

/// Applied, skipped or parked: a window that reaches back over this one need not ask again (R16).
fn note_settled(run: &Run, resource: &ResourcePath, named: &Named, settled: Settled) {
    if let (NamedBy::Parked(_), Some(outcome)) = (&named.by, settled.as_str()) {
        run.note(Noted::Retried { outcome });
    }
    if let (NamedBy::Tombstone, Some(id)) = (&named.by, &named.id)
        && !run.is_closed(resource)
    {
        remembered::settled_tombstone(run, resource, id, named.version);
    }
}

fn from_tombstone(tombstone: crate::domain::Tombstone) -> Named {
    Named {
        id: Some(tombstone.id),
        key: tombstone.key,
        version: tombstone.version,
        by: NamedBy::Tombstone,
    }
}

/// Every old key of the items whose keys this run has to do with, a part at a time (R7, R30).
async fn delete_old_keys(run: &Arc<Run>, resource: &ResourcePath) -> Result<Vec<Named>, RunError> {
    let mut waiting = Vec::new();
    if !lock(&run.with_key_changes).contains(resource) {
        return Ok(waiting);
    }
    let mut touched = history::touched(run, resource);
    while let Some(items) = touched.next().await? {
        let mut named = Vec::new();
        for item in items {
            for old in item.olds {
                named.push(Named {
                    id: Some(item.id.clone()),
                    key: Some(old),
                    version: item.version,
                    by: NamedBy::OldKey { new: item.new.clone() },
                });
            }
        }
        waiting.extend(delete_all(run, resource, named).await?);
    }
    Ok(waiting)
}

fn parked_names(run: &Run, resource: &ResourcePath) -> Vec<Named> {
    let now = run.now();
    let due = run.book().due(resource, Operation::Delete, now, run.options.all_parked);
    let named = due.into_iter().map(|record| Named {
        id: record.source_id.clone(),
        key: record.key.clone(),
        version: ChangeVersion(0),
        by: NamedBy::Parked(Box::new(record)),
    });
    named.collect()
}

/// All names at once; one after the other in ascending version where a resource refers to itself,
/// because the source deleted children first (R28).
async fn delete_all(
    run: &Arc<Run>,
    resource: &ResourcePath,
    mut named: Vec<Named>,
) -> Result<Vec<Named>, RunError> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    run.check_stop()?;
    run.tell(&Event::ResourceStarted {
        pair: &run.pair.id,
        stage: Stage::Deletes,
        resource,
        expected: u64::try_from(named.len()).ok(),
    });
    run.take_up(Stage::Deletes, named.len().try_into().unwrap_or(u64::MAX));
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    let one_by_one = shape.is_none_or(|shape| shape.refers_to(resource));
    named.sort_by_key(|named| named.version);
    let at_once = if one_by_one { 1 } else { AT_ONCE };

    let mut waiting = Vec::new();
    for batch in named.chunks(at_once) {
        let mut deletes = FuturesUnordered::new();
        for named in batch {
            deletes.push(async move {
                (named, agree_that_gone(run, resource, named, Look::First).await)
            });
        }
        while let Some((named, gone)) = deletes.next().await {
            let (settled, seen) = match gone? {
                Gone::Settled(settled) => {
                    note_settled(run, resource, named, settled);
                    (settled, Tally { read: 1, ..Tally::default() })
                }
                Gone::StillReferenced => {
                    waiting.push(named.clone());
                    (Settled::Deferred, Tally { read: 1, ..Tally::default() })
                }
            };
            run.count(Stage::Deletes, resource, settled, seen);
        }
    }
    run.tell(&Event::ResourceFinished { pair: &run.pair.id, stage: Stage::Deletes, resource });
    Ok(waiting)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    Last,
}

async fn agree_that_gone(
    run: &Arc<Run>,
    resource: &ResourcePath,
    named: &Named,
    look: Look,
) -> Result<Gone, RunError> {
    let Some(key) = &named.key else {
        // Named by a source id alone, which says nothing at the target (R1).
        return park(run, resource, named, ParkReason::Doubtful, Refusal::default(), None)
            .map(Gone::Settled);
    };
    if must_ask_source(run, resource, named).await? {
        match run.reader.find(resource, key).await.map_err(RunError::Source)? {
            Lookup::Lives(item) => {
                return lives_again(run, resource, named, &item).await;
            }
            Lookup::Hidden => {
                return park(run, resource, named, ParkReason::Forbidden, Refusal::default(), None)
                    .map(Gone::Settled);
            }
            Lookup::Absent => {}
        }
    }
    if new_key_is_parked(run, resource, named) {
        // The old item is all that the target has of it (R6); a rename above it may have moved it to
        // a key that nothing names (R5), or it was written under one that the feed folds away (R7).
        let id = match remembered_id(run, resource, named, key).await? {
            Some(id) => Some(id),
            None => id_it_was_written_under(run, resource, named).await?,
        };
        return park(run, resource, named, ParkReason::WaitsForNewKey, Refusal::default(), id)
            .map(Gone::Settled);
    }
    if matches!(named.by, NamedBy::OldKey { .. })
        && history::is_old_key_of_a_parked_item(run, resource, key).await?
    {
        // Another item had that name as well, and waits for its new key: its own record names it.
        return Ok(Gone::Settled(Settled::Skipped));
    }
    let mut beside = None;
    let (ids, settles) = match find_at_target(run, resource, named, key).await? {
        AtTarget::Ids(ids) => (ids, Some(key)),
        AtTarget::BesideAnothers { ids, other, stays } => {
            beside = Some((other, stays));
            (ids, None)
        }
        AtTarget::Doubtful(members) => {
            let refusal = Refusal { members, ..Refusal::default() };
            return park(run, resource, named, ParkReason::Doubtful, refusal, None)
                .map(Gone::Settled);
        }
    };
    if ids.is_empty() && run.graph.is_person(resource) {
        run.note_not_visible();
    }
    if !ids.is_empty() {
        // A snapshot that took the place of the one that was opened may show nothing of what lives,
        // and of what a journal calls finished (I8, R12).
        run.confirm_what_came().await?;
    }
    let mut settled = Settled::Skipped;
    for (id, shown) in ids {
        match others::who_has(run, resource, &shown).await? {
            Elsewhere::Absent => {}
            // It is theirs from now on, and goes when they lose it (R28a).
            Elsewhere::Lives => continue,
            Elsewhere::Unknown => {
                let doubt = ParkReason::Doubtful;
                return park(run, resource, named, doubt, Refusal::default(), Some(id))
                    .map(Gone::Settled);
            }
        }
        remembered::deleted(run, resource, &id).await?;
        match run.target(|target| target.delete(resource, &id)).await {
            Ok(Deleted::Deleted) => settled = Settled::Applied,
            Ok(Deleted::AlreadyGone) => {}
            Err(error) => return refused(run, resource, named, id, look, error),
        }
    }
    settle(run, resource, named, settles);
    match beside {
        Some((other, stays)) if run.book().holds_upsert(resource, &other) => {
            // All that the target has of an item that it refuses under its new key (R6). Whoever lived
            // under this one meanwhile is gone: from here on the record of the other names it.
            let of_other = Named { id: Some(other), ..named.clone() };
            let waits = ParkReason::WaitsForNewKey;
            park(run, resource, &of_other, waits, Refusal::default(), Some(stays))
                .map(Gone::Settled)
        }
        _ => Ok(Gone::Settled(settled)),
    }
}

/// The feed hides what lives again, under a snapshot and for most resources; everything else is
/// asked for (R29, I8).
async fn must_ask_source(
    run: &Run,
    resource: &ResourcePath,
    named: &Named,
) -> Result<bool, RunError> {
    if run.reader.isolation() != Isolation::Snapshot || resource.is_descriptor() {
        return Ok(true);
    }
    match named.by {
        NamedBy::OldKey { .. } | NamedBy::Parked(_) => return Ok(true),
        NamedBy::Tombstone => {}
    }
    if !run.pair.source.capabilities().await.map_err(RunError::Source)?.hides_recreated {
        return Ok(true);
    }
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    Ok(shape.is_none_or(|shape| shape.keyed_by_descriptor))
}

/// The key lives at the source: nothing of that name goes. A parked record is brought into agreement
/// by an upsert (R21); the others were, or will be, by their feed.
async fn lives_again(
    run: &Arc<Run>,
    resource: &ResourcePath,
    named: &Named,
    item: &crate::domain::Item,
) -> Result<Gone, RunError> {
    let name = named.key.as_ref().zip(named.id.as_ref());
    match &named.by {
        NamedBy::Tombstone => {
            left_behind::look_at_name_once_more(run, resource, name, &item.id).await?;
            Ok(Gone::Settled(Settled::Skipped))
        }
        NamedBy::OldKey { .. } => {
            left_behind::look_at_name_once_more(run, resource, name, &item.id).await?;
            delete_what_moved_on(run, resource, named).await
        }
        NamedBy::Parked(record) => {
            let settled =
                apply::upsert_out_of_turn(run, resource, item, Turn::AfterDeletes).await?;
            if settled == Settled::Skipped {
                // Closed: its record waits with it (R23a).
                return Ok(Gone::Settled(Settled::Parked));
            }
            if record.target_id.is_some() && new_key_is_parked(run, resource, named) {
                return Ok(Gone::Settled(Settled::Parked)); // It waits on for that item (R6).
            }
            run.book().settle_record(&record.id);
            match delete_what_moved_on(run, resource, named).await? {
                Gone::Settled(Settled::Parked) => Ok(Gone::Settled(Settled::Parked)),
                Gone::Settled(_) | Gone::StillReferenced => Ok(Gone::Settled(settled)),
            }
        }
    }
}

/// The old key lives again as another item. The id that the name had is not that item's: a rename
/// above it may have moved it to a key that nothing names (R5). Nor is the id under which the item was
/// written while it had a name that the feed folds away (R7).
async fn delete_what_moved_on(
    run: &Arc<Run>,
    resource: &ResourcePath,
    named: &Named,
) -> Result<Gone, RunError> {
    let mut settled = Settled::Skipped;
    if new_key_is_parked(run, resource, named) {
        return Ok(Gone::Settled(settled)); // The old item is all that the target has of it (R6).
    }
    let Some(key) = &named.key else { return Ok(Gone::Settled(settled)) };
    let mut ids = BTreeSet::from_iter(remembered_id(run, resource, named, key).await?);
    ids.extend(id_it_was_written_under(run, resource, named).await?);
    for target_id in ids {
        let (resource, id) = (resource.clone(), named.id.clone());
        let left = Left { resource, id, target_id, lived_as: None };
        let gone = left_behind::delete_if_dead(run, &left).await?.unwrap_or(Settled::Skipped);
        if settled != Settled::Parked && gone != Settled::Skipped {
            settled = gone;
        }
    }
    Ok(Gone::Settled(settled))
}

fn new_key_is_parked(run: &Run, resource: &ResourcePath, named: &Named) -> bool {
    let renamed = match &named.by {
        NamedBy::OldKey { .. } => true,
        NamedBy::Parked(record) => record.reason == ParkReason::WaitsForNewKey,
        NamedBy::Tombstone => false,
    };
    let Some(id) = &named.id else { return false };
    renamed && run.book().holds_upsert(resource, id)
}

enum AtTarget {
    /// With the key that each shows.
    Ids(Vec<(TargetId, NaturalKey)>),
    /// The same, and under the key itself, or its id, what stands for another item and stays.
    BesideAnothers {
        ids: Vec<(TargetId, NaturalKey)>,
        other: SourceId,
        stays: TargetId,
    },
    Doubtful(Vec<String>),
}

/// By the id that the name had before anything moved, and then by key as well: an id that moved
/// on leaves a newcomer under the old key (R5).
async fn find_at_target(
    run: &Arc<Run>,
    resource: &ResourcePath,
    named: &Named,
    key: &NaturalKey,
) -> Result<AtTarget, RunError> {
    let (mut ids, mut beside) = (Vec::new(), None);
    if let Some(id) = remembered_id(run, resource, named, key).await? {
        match what_may_go_by_id(run, resource, named, &id, key).await? {
            Some(shown) => ids.push((id, shown)),
            None => beside = living_item_behind(run, resource, named, &id).await?.zip(Some(id)),
        }
    }
    let found = match run.target(|target| target.find(resource, key)).await {
        Ok(found) => found,
        Err(error) if error.refusal().is_some() && !ids.is_empty() => {
            return Ok(AtTarget::Ids(ids));
        }
        Err(error) if error.refusal().is_some() => return Ok(AtTarget::Doubtful(Vec::new())),
        Err(error) => return Err(RunError::Target(error)),
    };
    match found {
        Match::One(found) if ids.iter().any(|(id, _)| *id == found.id) => {}
        Match::One(found) => {
            if is_one_key_with_the_new(run, resource, named, key, &found.id).await? {
                return Ok(AtTarget::Ids(ids));
            }
            if let Some(other) = living_item_behind(run, resource, named, &found.id).await? {
                return Ok(AtTarget::BesideAnothers { ids, other, stays: found.id });
            }
            ids.push((found.id, key.clone()));
        }
        Match::None => {}
        Match::Doubtful { members } if ids.is_empty() => return Ok(AtTarget::Doubtful(members)),
        Match::Doubtful { .. } => {}
    }
    if let Some(id) = id_it_was_written_under(run, resource, named).await?
        && ids.iter().all(|(found, _)| *found != id)
        && let Some(shown) = what_may_go_by_id(run, resource, named, &id, key).await?
    {
        ids.push((id, shown));
    }
    Ok(match beside {
        Some((other, stays)) => AtTarget::BesideAnothers { ids, other, stays },
        None => AtTarget::Ids(ids),
    })
}

/// What is deleted may have been written under a key that it had for a while and that no feed tells
/// any more (R7); what is renamed may have been deleted since, and its tombstone be hidden by another
/// that has its key.
async fn id_it_was_written_under(
    run: &Run,
    resource: &ResourcePath,
    named: &Named,
) -> Result<Option<TargetId>, RunError> {
    match (&named.by, &named.id) {
        (NamedBy::Tombstone, Some(id)) => remembered::target_id_of(run, resource, id).await,
        (NamedBy::OldKey { .. }, Some(id)) if !run.was_renamed(resource, id) => {
            remembered::target_id_of_a_former_window(run, resource, id).await
        }
        (NamedBy::Tombstone | NamedBy::OldKey { .. } | NamedBy::Parked(_), _) => Ok(None),
    }
}

async fn remembered_id(
    run: &Run,
    resource: &ResourcePath,
    named: &Named,
    key: &NaturalKey,
) -> Result<Option<TargetId>, RunError> {
    if let (NamedBy::OldKey { .. }, Some(id)) = (&named.by, &named.id)
        && run.was_renamed(resource, id)
    {
        return Ok(None); // That id carries the new key now.
    }
    if let NamedBy::Parked(record) = &named.by
        && record.target_id.is_some()
    {
        return Ok(record.target_id.clone());
    }
    Ok(run.journalled(resource, key).await?.flatten())
}

/// What that id shows now goes, unless it lives at the source (R5); nothing if it does.
async fn what_may_go_by_id(
    run: &Arc<Run>,
    resource: &ResourcePath,
    named: &Named,
    id: &TargetId,
    key: &NaturalKey,
) -> Result<Option<NaturalKey>, RunError> {
    let shown = match run.target(|target| target.get(resource, id)).await {
        Ok(Some(found)) => found.key,
        Ok(None) => return Ok(None),
        // A person whose association is gone is not shown; the id was theirs, and keys of people
        // cannot be changed (R26).
        Err(error) if error.refusal().is_some() => {
            return Ok(run.graph.is_person(resource).then(|| key.clone()));
        }
        Err(error) => return Err(RunError::Target(error)),
    };
    let Some(shown) = shown else { return Ok(None) };
    if living_item_behind(run, resource, named, id).await?.is_some() {
        return Ok(None);
    }
    if shown.is(key) {
        return Ok(Some(shown));
    }
    match run.reader.find(resource, &shown).await.map_err(RunError::Source)? {
        Lookup::Absent => {}
        Lookup::Lives(_) | Lookup::Hidden => return Ok(None),
    }
    // Another item may wait under that name for its new key.
    let waits = history::is_old_key_of_a_parked_item(run, resource, &shown).await?;
    Ok((!waits).then_some(shown))
}

/// The item that lives under another key and of which this id is all that the target has: it was
/// renamed a moment ago, or in a view that was lost, or is refused under the other. Its own key change
/// names what it is called now (R6, R8, R11).
async fn living_item_behind(
    run: &Run,
    resource: &ResourcePath,
    named: &Named,
    target_id: &TargetId,
) -> Result<Option<SourceId>, RunError> {
    let owner = remembered::living_item_behind(run, resource, target_id).await?;
    Ok(owner.filter(|owner| {
        !(matches!(named.by, NamedBy::Tombstone) && named.id.as_ref() == Some(owner))
    }))
}

/// Old and new key differ in case, width or trailing space alone, and no other item has the new
/// one: to that server they are one key, and the item found is the one that lives (R2).
async fn is_one_key_with_the_new(
    run: &Arc<Run>,
    resource: &ResourcePath,
    named: &Named,
    key: &NaturalKey,
    found: &TargetId,
) -> Result<bool, RunError> {
    let NamedBy::OldKey { new } = &named.by else { return Ok(false) };
    if key.surely_differs_from(new) {
        return Ok(false);
    }
    match run.target(|target| target.find(resource, new)).await {
        Ok(Match::One(newer)) => Ok(newer.id == *found),
        Ok(Match::None | Match::Doubtful { .. }) => {
            // It may have been deleted after it was renamed, and then nothing lives under either.
            let lives = run.reader.find(resource, new).await.map_err(RunError::Source)?;
            Ok(!matches!(lives, Lookup::Absent))
        }
        Err(error) if error.refusal().is_some() => Ok(true),
        Err(error) => Err(RunError::Target(error)),
    }
}

fn refused(
    run: &Run,
    resource: &ResourcePath,
    named: &Named,
    id: TargetId,
    look: Look,
    error: WriteError,
) -> Result<Gone, RunError> {
    let refusal = error.refusal().cloned().unwrap_or_default();
    let reason = match error.disposition() {
        Disposition::FailRun => return Err(RunError::Target(error)),
        Disposition::AwaitDeletes(_) if look == Look::First => return Ok(Gone::StillReferenced),
        Disposition::AwaitDeletes(reason) => reason,
        Disposition::CloseResource => {
            run.close(resource, refusal)?;
            return Ok(Gone::Settled(Settled::Parked));
        }
        Disposition::Park(reason) => reason,
        Disposition::AwaitAssociation => ParkReason::Forbidden,
        Disposition::ResolveReference => ParkReason::UnresolvedReference,
        Disposition::PlainAgreement => ParkReason::Invalid,
        Disposition::ReadAgain => ParkReason::Contended,
    };
    park(run, resource, named, reason, refusal, Some(id)).map(Gone::Settled)
}

fn park(
    run: &Run,
    resource: &ResourcePath,
    named: &Named,
    reason: ParkReason,
    refusal: Refusal,
    target_id: Option<TargetId>,
) -> Result<Settled, RunError> {
    run.park(Parking {
        resource: resource.clone(),
        source_id: named.id.clone(),
        key: named.key.clone(),
        operation: Operation::Delete,
        reason,
        refusal,
        waits_for: None,
        named_for_deletion: true,
        target_id,
        hash: None,
        news: false,
    })?;
    Ok(Settled::Parked)
}

/// The name is settled, and whatever waited for the item under it; under its key as well, unless that is
/// another item's, of which something may wait there.
fn settle(run: &Run, resource: &ResourcePath, named: &Named, key: Option<&NaturalKey>) {
    match (&named.by, &named.id) {
        (NamedBy::Parked(record), _) => run.book().settle_record(&record.id),
        (NamedBy::Tombstone, Some(id)) => run.book().settle(resource, id, key),
        (NamedBy::Tombstone | NamedBy::OldKey { .. }, _) => {}
    }
}
