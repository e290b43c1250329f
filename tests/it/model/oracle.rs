//! What has to hold after every run, however it ended, and what has to hold in the end.
//!
//! The one thing to know: a key in which the two ends differ must be accounted for. It is parked,
//! or a change that names it lies above the watermark and will be read, or its target id is
//! journalled, or left behind, by a run that has not come to its commit. Everything else was passed by (I1).

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use tidemark::domain::{NaturalKey, ParkReason, ResourcePath};
use tidemark::engine::report::RunReport;
use tidemark::sandbox::{Shown, View};
use tidemark::sources::Isolation;
use tidemark::state::{Operation, Parked, StateView};

use super::ends::{self, Difference, GRAPH};
use super::machine::{Frame, Trouble};
use super::play::{Play, Slot, pair_id, told};
use super::script::{Script, What};
use super::{elsewhere, people};

/// I14, and no failure that the troubles do not explain.
pub(super) fn check_report(report: &RunReport, troubles: &[Trouble]) -> Result<(), String> {
    let Some(error) = &report.error else {
        return match report.stages.is_conserved() {
            true => Ok(()),
            false => Err(format!("the stages do not add up (I14): {:?}", report.stages)),
        };
    };
    let may_fail = |trouble: &Trouble| match trouble {
        Trouble::Crash(..)
        | Trouble::Fail(..)
        | Trouble::Lost(_)
        | Trouble::Stop(..)
        | Trouble::FullDisk(_)
        | Trouble::PutBack(..) => true,
        Trouble::Repeated(_)
        | Trouble::Meanwhile(..)
        | Trouble::Renewed(..)
        | Trouble::Without(_)
        | Trouble::OldSnapshot(_)
        | Trouble::Scheduled
        | Trouble::Silent => false,
    };
    let is_never =
        ["not-conserved", "blocked", "unknown-key", "cannot-tell", "missing-at-target", "defect"]
            .contains(&error.kind.as_str());
    if is_never || !troubles.iter().any(may_fail) {
        return Err(format!("it failed: {} ({})", error.message, error.kind));
    }
    Ok(())
}

/// I8 and I9: nothing is deleted that lives at the source, and nothing is written that it never
/// showed to the run.
pub(super) fn check_writes(frame: Frame, script: &Script) -> Result<(), String> {
    let moments = moments(frame, script);
    for written in script.written() {
        let (resource, key) = (&written.resource, &written.key);
        let shows = |view: &View| view.find(resource.as_str(), &ends::parts(key));
        match &written.what {
            What::Deleted if moments.iter().all(|view| shows(view).is_some()) => {
                return Err(format!("{resource} {} was deleted, and lives (I8)", told(key)));
            }
            What::Body(body) | What::Renamed(body, _)
                if !moments
                    .iter()
                    .any(|view| shows(view).is_some_and(|shown| shown.body() == body)) =>
            {
                return Err(format!("{resource} {} was written as it never was (I9)", told(key)));
            }
            What::Deleted | What::Body(_) | What::Renamed(..) => {}
        }
    }
    Ok(())
}

/// Everything of the source that the run may have seen.
fn moments(frame: Frame, script: &Script) -> Vec<View> {
    match frame.isolation == Isolation::Snapshot {
        true => script.snapshots(),
        false => script.moments(),
    }
}

/// I1 and I2.
pub(super) async fn check_state(play: &Play) -> Result<(), String> {
    let watermark = play.committed_watermark().await;
    if watermark < play.watermark {
        return Err(format!("the watermark went from {:?} to {watermark:?} (I2)", play.watermark));
    }
    let Some(watermark) = watermark else { return Ok(()) };
    let coverage = play.store.coverage(&pair_id()).await.unwrap();
    let account = Account::of(play, watermark).await;
    let (source, target) = (play.source.view(), play.target.view().of_everyone());
    for resource in GRAPH.resources().filter(|resource| play.is_published(resource)) {
        if !coverage.spoken_for.contains(resource) {
            continue; // It is read again from where it was left, or from its beginning (R17).
        }
        for one in ends::differences(&source, &target, resource) {
            if !account.knows(play, resource, &one) {
                return Err(format!(
                    "{resource} {} is {} at the target, not parked, and nothing above the watermark {watermark} names it (I1)",
                    told(&one.key),
                    said(&one)
                ));
            }
        }
    }
    Ok(())
}

fn said(difference: &Difference) -> &'static str {
    match (&difference.ours, &difference.theirs) {
        (Some(_), None) => "missing",
        (None, _) => "left over",
        (Some(_), Some(_)) => "not what it is",
    }
}

/// What accounts for a difference.
struct Account {
    parked: Vec<Parked>,
    journalled: HashSet<String>,
    /// Keys that tombstones and key changes above the watermark name.
    named: HashSet<Slot>,
    /// What nobody can delete.
    kept: BTreeSet<Slot>,
    /// The other district has not come to rest.
    others_go_on: bool,
    watermark: i64,
}

impl Account {
    async fn of(play: &Play, watermark: i64) -> Account {
        let names = play.store.names(&pair_id()).await.unwrap();
        let ids = names.into_iter().filter_map(|name| name.target_id).map(|id| id.0);
        let left_behind = play.store.left_behind(&pair_id()).await.unwrap();
        let ids = ids.chain(left_behind.into_iter().map(|left| left.target_id.0));
        let now = play.source.view();
        let mut named = HashSet::new();
        for resource in GRAPH.resources() {
            for entry in now.deletes(resource.as_str(), watermark + 1, i64::MAX) {
                named.extend(keys_of(&entry).into_iter().map(|key| (resource.clone(), key)));
            }
            for entry in now.key_changes(resource.as_str(), watermark + 1, i64::MAX) {
                named.extend(keys_of(&entry).into_iter().map(|key| (resource.clone(), key)));
            }
        }
        let (parked, kept) = (play.parked().await, people::kept(play));
        let others_go_on = elsewhere::goes_on(play).await;
        Account { parked, journalled: ids.collect(), named, kept, others_go_on, watermark }
    }

    fn knows(&self, play: &Play, resource: &ResourcePath, difference: &Difference) -> bool {
        let Difference { key, ours, theirs } = difference;
        let our_id = ours.as_ref().map(Shown::id);
        let their_id = theirs.as_ref().map(Shown::id);
        let is_parked = |record: &Parked| {
            let source_id = record.source_id.as_ref().map(|id| &id.0);
            let target_id = record.target_id.as_ref().map(|id| &id.0);
            record.resource == *resource
                && (record.key.as_ref() == Some(key)
                    || (our_id.is_some() && source_id == our_id.as_ref())
                    || (their_id.is_some() && target_id == their_id.as_ref()))
        };
        let slot = (resource.clone(), key.clone());
        ours.as_ref().is_some_and(|ours| ours.version() > self.watermark)
            || self.named.contains(&slot)
            || play.late.contains(&slot)
            || play.stale.contains(&slot)
            || their_id.as_ref().is_some_and(|id| self.journalled.contains(id))
            || self.parked.iter().any(is_parked)
            || (ours.is_none() && self.kept.contains(&slot))
            || elsewhere::accepts(play, resource, difference, self.others_go_on)
    }
}

/// Every key that an entry of a feed names.
fn keys_of(entry: &str) -> Vec<NaturalKey> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        key_values: Option<NaturalKey>,
        old_key_values: Option<NaturalKey>,
        new_key_values: Option<NaturalKey>,
    }
    let told: Told = serde_json::from_str(entry).unwrap();
    [told.key_values, told.old_key_values, told.new_key_values].into_iter().flatten().collect()
}

/// R6: the old item is all that the target has of a renamed one whose new key is parked.
pub(super) async fn check_renamed(play: &Play, script: &Script) -> Result<(), String> {
    let deleted: Vec<_> =
        script.written().into_iter().filter(|one| matches!(one.what, What::Deleted)).collect();
    if deleted.is_empty() {
        return Ok(());
    }
    let parked = play.parked().await;
    let (source, target) = (play.source.view(), play.target.view().of_everyone());
    for gone in deleted {
        let resource = gone.resource.as_str();
        let names = |entry: &String| keys_of(entry).contains(&gone.key);
        if was_deleted(&source, script, resource, &gone.key) {
            continue; // Another item of that name was.
        }
        let last = play.wrote_for.get(&(gone.resource.clone(), gone.id.clone()));
        for record in parked.iter().filter(|record| is_upsert_of(record, &gone.resource)) {
            let Some(id) = &record.source_id else { continue };
            if last.is_some_and(|last| *last != id.0) {
                continue; // What was under that id was another one's: a rename above it moved it there.
            }
            let Some(Ok(renamed)) = source.item(resource, &id.0) else { continue };
            let changes = source.key_changes(resource, 0, i64::MAX);
            let (own, others): (Vec<_>, Vec<_>) =
                changes.iter().filter(|entry| names(entry)).partition(|e| e.contains(&id.0));
            if !others.is_empty() {
                continue; // The old name of another item as well, whose new key may be taken.
            }
            let new = ends::key_of(&gone.resource, renamed.body());
            if !own.is_empty() && target.find(resource, &ends::parts(&new)).is_none() {
                return Err(format!(
                    "{resource} {} was deleted while its new key is parked (R6)",
                    told(&gone.key)
                ));
            }
        }
    }
    Ok(())
}

/// R8: of an item that is renamed while a run goes on, the run does not delete the old name and leave
/// the new one to the next: as long as it lives, the target has it under one of its names.
pub(super) fn check_torn(play: &Play, script: &Script) -> Result<(), String> {
    let (source, target) = (play.source.view(), play.target.view().of_everyone());
    for gone in script.written() {
        if !matches!(gone.what, What::Deleted) {
            continue;
        }
        let resource = gone.resource.as_str();
        let names = |entry: &String| keys_of(entry).contains(&gone.key);
        if was_deleted(&source, script, resource, &gone.key) {
            continue; // Another item of that name was.
        }
        let changes = source.key_changes(resource, 0, i64::MAX);
        let slot = (gone.resource.clone(), gone.key.clone());
        let last = play.wrote_for.get(&(gone.resource.clone(), gone.id.clone()));
        for change in changes.iter().filter(|entry| names(entry)) {
            let mut others = changes.iter().filter(|other| id_of(other) != id_of(change));
            let is_shown_late = play.frame.isolation != Isolation::Snapshot;
            if is_shown_late && play.forgotten.contains(&slot) && others.any(names) {
                continue; // Nobody knows whose it was (R14): what was torn comes anew (R8).
            }
            if last.is_some_and(|last| *last != id_of(change)) {
                continue; // What was under that id was another one's.
            }
            // To a view that was put back it may be one that never was.
            let mut moments = moments(play.frame, script).into_iter();
            if !moments.all(|view| view.item(resource, &id_of(change)).is_some()) {
                continue;
            }
            let Some(Ok(renamed)) = source.item(resource, &id_of(change)) else { continue };
            let now = ends::key_of(&gone.resource, renamed.body());
            let own = changes.iter().filter(|other| id_of(other) == id_of(change));
            let mut keys = own.flat_map(|other| keys_of(other)).chain([now]);
            if !keys.any(|key| target.find(resource, &ends::parts(&key)).is_some()) {
                let name = told(&gone.key);
                return Err(format!("{resource} {name} was deleted and has no other name (R8)"));
            }
        }
    }
    Ok(())
}

/// Whether a tombstone names the key, now or in what the run was shown: the feed hides it while the key
/// lives again.
fn was_deleted(now: &View, script: &Script, resource: &str, key: &NaturalKey) -> bool {
    let shown = script.snapshots().into_iter().chain(script.moments()).chain([now.clone()]);
    let mut told = shown.flat_map(|view| view.deletes(resource, 0, i64::MAX));
    told.any(|entry| keys_of(&entry).contains(key))
}

fn id_of(entry: &str) -> String {
    #[derive(Deserialize)]
    struct Told {
        id: String,
    }
    let told: Told = serde_json::from_str(entry).unwrap();
    told.id
}

fn is_upsert_of(record: &Parked, resource: &ResourcePath) -> bool {
    record.operation == Operation::Upsert && record.resource == *resource
}

/// I6: same items, same content, nothing parked, and the watermark at the newest version.
pub(super) async fn check_agreement(play: &Play) -> Result<(), String> {
    let parked = play.parked().await;
    let kept = people::kept(play);
    let (source, target) = (play.source.view(), play.target.view().of_everyone());
    for resource in GRAPH.resources().filter(|resource| play.is_published(resource)) {
        for one in ends::differences(&source, &target, resource) {
            let is_kept = kept.contains(&(resource.clone(), one.key.clone()))
                || is_circle_at_the_target(resource, &parked);
            let accepted =
                (one.ours.is_none() && is_kept) || elsewhere::accepts(play, resource, &one, false);
            if !accepted {
                return Err(format!(
                    "{} at the target: {resource} {} (I6)",
                    said(&one),
                    told(&one.key)
                ));
            }
        }
    }
    for record in &parked {
        // By its id too: a rename above it may have moved its key since it was parked.
        let shown = record.target_id.as_ref().and_then(|id| {
            let found = target.item(record.resource.as_str(), &id.0)?.ok()?;
            Some(ends::key_of(&record.resource, found.body()))
        });
        let mut keys = record.key.iter().chain(&shown);
        let is_of_kept = keys.any(|key| kept.contains(&(record.resource.clone(), key.clone())));
        let accepted = (is_of_kept && record.operation == Operation::Delete)
            || is_circle_at_the_target(&record.resource, &parked);
        if !accepted {
            return Err(format!(
                "still parked: {} {:?} {:?} {:?}",
                record.resource, record.operation, record.reason, record.error
            ));
        }
    }
    elsewhere::check_agreement(play).await?;
    let newest = play.source.newest();
    let watermark = play.committed_watermark().await;
    if watermark != Some(newest) {
        return Err(format!("the watermark is {watermark:?}, newest {newest}"));
    }
    Ok(())
}

/// The accepted case: two that refer to each other only at the target, both deleted.
fn is_circle_at_the_target(resource: &ResourcePath, parked: &[Parked]) -> bool {
    let of_standards = |record: &&Parked| record.resource.collection() == "learningStandards";
    let standards: Vec<&Parked> = parked.iter().filter(of_standards).collect();
    let is_held = |record: &&Parked| {
        record.operation == Operation::Delete && record.reason == ParkReason::StillReferenced
    };
    resource.collection() == "learningStandards"
        && standards.len() > 1
        && standards.iter().all(is_held)
}
