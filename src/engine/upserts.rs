//! The second stage: every touched key that lives is written, what it depends on first.
//!
//! For each resource: what the feed brings, then what was renamed and not by PUT, then what is
//! parked and due. When the associations of people are finished, the people that were refused
//! before are tried once more, and only they.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::domain::{Item, KeyShape, NaturalKey, ResourcePath, SourceId, Stage, Tally};
use crate::sources::Lookup;
use crate::state::{Operation, Parked};

use super::RunError;
use super::apply::{self, Settled, Turn};
use super::observe::{Event, Noted};
use super::order;
use super::under_way::{Run, lock};
use super::{ahead, history, lanes, pages, remembered, resume};

/// Items that are read one by one and tried together.
const AT_ONCE: usize = 100;

/// One item that was taken up.
const ONE: Tally = Tally { read: 1, applied: 0, skipped: 0, parked: 0 };

pub(super) async fn publish(run: &Arc<Run>) -> Result<(), RunError> {
    run.tell(&Event::StageStarted { pair: &run.pair.id, stage: Stage::Upserts });
    // Members of a cohort have a page once: who gave one back could not ask for it together again.
    if run.reader.reads_alone() {
        ahead::read(run).await?;
    }
    let finished = Arc::new(Mutex::new(BTreeSet::new()));
    order::visit(&run.graph, |resource| {
        let (run, finished) = (Arc::clone(run), Arc::clone(&finished));
        async move {
            publish_resource(&run, &resource).await?;
            run.commit_parked().await?;
            resume::journal_finished(&run, &resource).await?;
            for person in people_now_reachable(&run, &finished, resource) {
                retry_people(&run, &person).await?;
                run.commit_parked().await?;
                resume::journal_finished(&run, &person).await?;
            }
            Ok(())
        }
    })
    .await
}

async fn publish_resource(run: &Arc<Run>, resource: &ResourcePath) -> Result<(), RunError> {
    if run.is_closed(resource) {
        return Ok(());
    }
    if resume::was_finished(run, resource) {
        // The key-change feed has no upper edge: it may tell more than it did to the run that
        // finished the resource, and an old key must not go before the new one is there.
        return publish_renamed(run, resource).await;
    }
    let window = run.window_of(resource);
    let mut expected = None;
    if let Some(window) = window
        && window.after.is_none()
        && run.totals_are_wanted()
    {
        expected = Some(run.reader.count(resource, Some(window)).await.map_err(RunError::Source)?);
    }
    run.tell(&Event::ResourceStarted {
        pair: &run.pair.id,
        stage: Stage::Upserts,
        resource,
        expected,
    });
    if let Some(window) = window {
        pages::publish(run, resource, window).await?;
    }
    publish_renamed(run, resource).await?;
    publish_parked(run, resource).await?;
    run.tell(&Event::ResourceFinished { pair: &run.pair.id, stage: Stage::Upserts, resource });
    Ok(())
}

/// The items of a page, many at once; parents before children where a resource refers to itself (R28).
/// Tells what became of them.
pub(super) async fn publish_page(
    run: &Arc<Run>,
    resource: &ResourcePath,
    page: Vec<Item>,
) -> Result<Tally, RunError> {
    run.take_up(Stage::Upserts, page.len().try_into().unwrap_or(u64::MAX));
    let mut tally = Tally::default();
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    if let Some(shape) = shape.as_deref().filter(|shape| shape.is_organization()) {
        run.organizations.note(resource, shape, &page);
    }
    let page = leave_out_what_needs_nothing(run, resource, page, &mut tally).await?;
    let generations = match &shape {
        Some(shape) if shape.refers_to(resource) => parents_first(shape, resource, page),
        _ => vec![page],
    };
    for items in generations {
        tally.add(lanes::publish(run, resource, items).await?);
    }
    Ok(tally)
}

/// What the target took with these very bytes (R16), and what it refused with these very bytes and
/// is not due (R22).
async fn leave_out_what_needs_nothing(
    run: &Arc<Run>,
    resource: &ResourcePath,
    page: Vec<Item>,
    tally: &mut Tally,
) -> Result<Vec<Item>, RunError> {
    let unchanged = remembered::unchanged(run, resource, &page).await?;
    let (now, all) = (run.now(), run.options.all_parked);
    let mut left = Vec::with_capacity(page.len());
    for item in page {
        if unchanged.contains(&item.id) {
            tally.add(run.count(Stage::Upserts, resource, Settled::Skipped, ONE));
        } else if run.book().still_refuses(resource, &item, now, all) {
            tally.add(run.count(Stage::Upserts, resource, Settled::Parked, ONE));
        } else {
            left.push(item);
        }
    }
    Ok(left)
}

/// Splits a page into generations: items whose parent is not in the page, then their children,
/// and so on. Items that refer to each other in a circle come last; the target decides.
fn parents_first(shape: &KeyShape, resource: &ResourcePath, page: Vec<Item>) -> Vec<Vec<Item>> {
    let mut waiting: Vec<(Option<NaturalKey>, Vec<NaturalKey>, Item)> = Vec::new();
    for item in page {
        let key = shape.key_of(&item.body);
        let own = |reference: &crate::domain::Reference| reference.resources.contains(resource);
        let parents = shape.references_of(&item.body).into_iter().filter(own).map(|r| r.key);
        waiting.push((key, parents.collect(), item));
    }
    let mut generations = Vec::new();
    while !waiting.is_empty() {
        let here: BTreeSet<NaturalKey> =
            waiting.iter().filter_map(|(key, _, _)| key.clone()).collect();
        let (later, now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(key, parents, _)| {
            parents.iter().any(|parent| here.contains(parent) && Some(parent) != key.as_ref())
        });
        if now.is_empty() {
            generations.push(later.into_iter().map(|(_, _, item)| item).collect());
            break;
        }
        generations.push(now.into_iter().map(|(_, _, item)| item).collect());
        waiting = later;
    }
    generations
}

/// Items whose key changed and that no PUT renamed: plain agreement upserts them under their new
/// key, whether or not their row lies in this window (a torn rename, R8).
async fn publish_renamed(run: &Arc<Run>, resource: &ResourcePath) -> Result<(), RunError> {
    if !lock(&run.with_key_changes).contains(resource) {
        return Ok(());
    }
    let mut touched = history::touched(run, resource);
    while let Some(items) = touched.next().await? {
        let mut ids: Vec<SourceId> = items.into_iter().map(|item| item.id).collect();
        ids.retain(|id| !run.was_renamed(resource, id));
        for ids in ids.chunks(AT_ONCE) {
            run.check_stop()?;
            publish_by_id(run, resource, ids).await?;
        }
    }
    Ok(())
}

async fn publish_by_id(
    run: &Arc<Run>,
    resource: &ResourcePath,
    ids: &[SourceId],
) -> Result<(), RunError> {
    let mut writes = FuturesUnordered::new();
    for id in ids {
        run.take_up(Stage::Upserts, 1);
        writes.push(apply::upsert_by_id(run, resource, id, Turn::Feed));
    }
    while let Some(settled) = writes.next().await {
        run.count(Stage::Upserts, resource, settled?, ONE);
    }
    Ok(())
}

/// Parked upserts in their resource's turn: read again by id *and* by key, each settled for
/// itself (R21).
async fn publish_parked(run: &Arc<Run>, resource: &ResourcePath) -> Result<(), RunError> {
    let now = run.now();
    let due = run.book().due(resource, Operation::Upsert, now, run.options.all_parked);
    for records in due.chunks(AT_ONCE) {
        run.check_stop()?;
        let mut tries = FuturesUnordered::new();
        for record in records {
            run.take_up(Stage::Upserts, 1);
            tries.push(retry_parked(run, record));
        }
        while let Some(settled) = tries.next().await {
            run.count(Stage::Upserts, resource, settled?, ONE);
        }
    }
    Ok(())
}

async fn retry_parked(run: &Arc<Run>, record: &Parked) -> Result<Settled, RunError> {
    let settled = try_parked(run, record).await?;
    if let Some(outcome) = settled.as_str() {
        run.note(Noted::Retried { outcome });
    }
    Ok(settled)
}

async fn try_parked(run: &Arc<Run>, record: &Parked) -> Result<Settled, RunError> {
    let by_id = match &record.source_id {
        Some(id) => run.reader.get(&record.resource, id).await.map_err(RunError::Source)?,
        None => Lookup::Absent,
    };
    let by_key = match &record.key {
        Some(key) => run.reader.find(&record.resource, key).await.map_err(RunError::Source)?,
        None => Lookup::Absent,
    };
    let mut found: BTreeMap<SourceId, Item> = BTreeMap::new();
    let hidden = matches!(by_id, Lookup::Hidden) || matches!(by_key, Lookup::Hidden);
    for lookup in [by_id, by_key] {
        if let Lookup::Lives(item) = lookup {
            found.insert(item.id.clone(), item);
        }
    }
    if found.is_empty() && hidden {
        // 403: it may be there. Still parked, and not a deletion (R3).
        run.book().keep_parked(&record.id, run.now());
        return Ok(Settled::Parked);
    }
    if found.is_empty() {
        // Absent and not named: nothing to write, and nothing may be deleted (R3). A snapshot that took
        // the place of the one that was opened may be from before the item (R11).
        run.confirm_what_came().await?;
        run.book().settle_record(&record.id);
        return Ok(Settled::Skipped);
    }
    let mut settled = Settled::Skipped;
    for item in found.into_values() {
        settled = apply::upsert_out_of_turn(run, &record.resource, &item, Turn::Retry).await?;
    }
    // It lives, and only a closed resource is skipped: its record waits with it (R23a).
    Ok(if settled == Settled::Skipped { Settled::Parked } else { settled })
}

/// People whose associations have all finished with `resource`.
fn people_now_reachable(
    run: &Run,
    finished: &Mutex<BTreeSet<ResourcePath>>,
    resource: ResourcePath,
) -> Vec<ResourcePath> {
    let mut finished = lock(finished);
    finished.insert(resource.clone());
    let reachable = |associations: &BTreeSet<ResourcePath>| {
        associations.contains(&resource) && associations.is_subset(&finished)
    };
    let people = run.graph.people().iter().filter(|(_, associations)| reachable(associations));
    people.map(|(person, _)| person.clone()).collect()
}

/// Only what was refused is tried again, by id: the body is read anew (R30).
async fn retry_people(run: &Arc<Run>, person: &ResourcePath) -> Result<(), RunError> {
    for id in run.take_refused_people(person) {
        run.check_stop()?;
        let settled = apply::upsert_by_id(run, person, &id, Turn::AfterAssociation).await?;
        run.count(Stage::Upserts, person, settled, Tally::default());
    }
    Ok(())
}

/// What could only be written now: upserts that were refused because a key or value was taken, once
/// more after the deletes (R25), and what waited for something that came after its own turn (R22).
/// Each may bring what another waits for.
pub(super) async fn publish_what_waited(run: &Arc<Run>) -> Result<(), RunError> {
    loop {
        let after_deletes = run.take_deferred_until_deleted();
        let called = run.book().take_called();
        if after_deletes.is_empty() && called.is_empty() {
            return run.commit_parked().await;
        }
        for (resource, id) in after_deletes {
            run.check_stop()?;
            let settled = apply::upsert_by_id(run, &resource, &id, Turn::AfterDeletes).await?;
            run.count(Stage::Upserts, &resource, settled, Tally::default());
        }
        for record in called {
            run.check_stop()?;
            run.take_up(Stage::Upserts, 1);
            let settled = retry_parked(run, &record).await?;
            run.count(Stage::Upserts, &record.resource, settled, ONE);
        }
    }
}
