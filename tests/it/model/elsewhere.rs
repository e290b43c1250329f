//! The other district, which publishes to the same target: people, descriptors and class periods by
//! the names that ours has (R28a).
//!
//! The one thing to know: the last writer wins, so what both have is right when each pair has written
//! what lives at its own source. What is said to be shared is never renamed or deleted; what is not is
//! by whoever loses it last.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark::domain::{ResourcePath, Selection};
use tidemark::engine::Pair;
use tidemark::sandbox::{Database, SandboxOptions, View};
use tidemark::state::{PairId, StateView};

use super::ends::{self, Difference};
use super::machine::{Frame, Trouble};
use super::oracle;
use super::play::{Play, Slot, note_written, told};
use super::script::{Script, What, Written};
use super::source::ModelSource;
use crate::simulation::district;
use crate::simulation::history::Step;

/// What both districts write, by name.
const SHARED: [&str; 3] = ["people", "descriptors", "classPeriods"];
/// The same, collection by collection.
const COLLECTIONS: [&str; 3] = ["students", "gradeLevelDescriptors", "classPeriods"];
/// Published by both, and the same at both.
const ABOVE: [&str; 2] = ["localEducationAgencies", "schools"];

pub(super) struct Elsewhere {
    pub(super) source: Arc<Database>,
    pub(super) watermark: Option<i64>,
    /// What its pair wrote last under a key.
    wrote: BTreeMap<Slot, Arc<str>>,
}

impl Elsewhere {
    pub(super) fn new(options: &SandboxOptions) -> Elsewhere {
        let source = Arc::new(ends::source_elsewhere(options));
        Elsewhere { source, watermark: None, wrote: BTreeMap::new() }
    }

    pub(super) fn edit(&self, steps: &[Step]) {
        for step in steps {
            district::edit(&self.source, step);
        }
    }
}

pub(super) fn pair_id() -> PairId {
    PairId { publication: "elsewhere-to-state".to_owned(), target: "state".to_owned() }
}

/// What a pair of this frame may upsert and nothing else.
pub(super) fn shared(frame: Frame) -> Vec<String> {
    match frame.shared {
        true => SHARED.map(str::to_owned).to_vec(),
        false => Vec::new(),
    }
}

/// Both districts write it.
fn is_both(resource: &ResourcePath) -> bool {
    COLLECTIONS.contains(&resource.collection())
}

/// The other pair, as a run of ours asks it what it has (R28a).
pub(super) fn pair_to_ask(play: &Play, troubles: &[Trouble]) -> Option<Pair> {
    let other = play.elsewhere.as_ref()?;
    let script = Arc::new(Script::of_the_other(troubles, Arc::clone(&other.source)));
    Some(pair(play, Arc::clone(&other.source), &script))
}

fn pair(play: &Play, source: Arc<Database>, script: &Arc<Script>) -> Pair {
    let include_only = COLLECTIONS.iter().chain(&ABOVE).map(|name| (*name).to_owned()).collect();
    let selection = Selection { descriptors: true, include_only, ..Selection::default() };
    Pair {
        id: pair_id(),
        source: Arc::new(ModelSource {
            database: source,
            name: "elsewhere",
            frame: play.frame,
            folds_above: None,
            script: Arc::clone(script),
        }),
        target: play.target_of(script),
        policy: Arc::new(play.policy(selection)),
    }
}

/// One run of the other district, and what has to hold after it.
pub(super) async fn run(play: &mut Play, troubles: &[Trouble]) -> Result<(), String> {
    let Some(source) = play.elsewhere.as_ref().map(|other| Arc::clone(&other.source)) else {
        return Ok(());
    };
    let script = Arc::new(Script::new(troubles, Arc::clone(&source), vec![source.view()]));
    let asked = Arc::new(Script::of_the_other(troubles, Arc::clone(&play.source)));
    let (pair, ours) = (pair(play, source, &script), play.pair(&[], &asked));

    let reports = play.run_through(pair, Some(ours), troubles, &script).await;

    let said = |why: String| format!("elsewhere: {why}");
    for report in &reports {
        oracle::check_report(report, troubles).map_err(said)?;
    }
    oracle::check_writes(play.frame, &script).map_err(said)?;
    check_what_went(play.frame, &script, &play.source.view(), &play.wrote).map_err(said)?;
    let watermark = play.watermark_of(&pair_id()).await;
    let Some(other) = &mut play.elsewhere else { return Ok(()) };
    if watermark < other.watermark {
        return Err(said(format!(
            "the watermark went from {:?} to {watermark:?} (I2)",
            other.watermark
        )));
    }
    other.watermark = watermark;
    note_written(&mut other.wrote, &script);
    Ok(())
}

/// R28a after a run of ours.
pub(super) fn check_writes(play: &Play, script: &Script) -> Result<(), String> {
    let Some(other) = &play.elsewhere else { return Ok(()) };
    check_what_went(play.frame, script, &other.source.view(), &other.wrote)
}

/// R28a: nothing of what is shared is deleted or renamed, and nothing that the other pair has written
/// and its source still has.
fn check_what_went(
    frame: Frame,
    script: &Script,
    others: &View,
    others_wrote: &BTreeMap<Slot, Arc<str>>,
) -> Result<(), String> {
    for Written { resource, key, what, .. } in script.written() {
        let gone = match what {
            What::Body(_) => continue,
            What::Deleted => Some(key),
            What::Renamed(_, old) => old,
        };
        let Some(gone) = gone.filter(|_| is_both(&resource)) else { continue };
        if frame.shared {
            return Err(format!(
                "{resource} {} is shared, and was not upserted (R28a)",
                told(&gone)
            ));
        }
        let has = others.find(resource.as_str(), &ends::parts(&gone)).is_some();
        if has && others_wrote.contains_key(&(resource.clone(), gone.clone())) {
            return Err(format!("{resource} {} went, and the other has it (R28a)", told(&gone)));
        }
    }
    Ok(())
}

/// Whether the other pair has not come to rest: what it has lost may still be there, and what it had begun
/// to write when it was shut out.
pub(super) async fn goes_on(play: &Play) -> bool {
    let Some(other) = &play.elsewhere else { return false };
    let coverage = play.store.coverage(&pair_id()).await.unwrap();
    other.watermark != Some(other.source.newest())
        || !coverage.left.is_empty()
        || !coverage.begun.is_empty()
        || !play.parked_of(&pair_id()).await.is_empty()
}

/// Whether a difference of what both write is as it may be: what ours does not have may be the
/// other's, and what ours has written the other may have written since.
pub(super) fn accepts(
    play: &Play,
    resource: &ResourcePath,
    difference: &Difference,
    others_go_on: bool,
) -> bool {
    let Some(other) = &play.elsewhere else { return false };
    let is_left_over = difference.ours.is_none() && difference.theirs.is_some();
    is_both(resource)
        && ((is_left_over && others_go_on)
            || may_differ(
                play.frame,
                &play.wrote,
                &other.wrote,
                &other.source.view(),
                resource,
                difference,
            ))
}

/// What one district wrote and has, and what the other wrote and has.
fn may_differ(
    frame: Frame,
    wrote: &BTreeMap<Slot, Arc<str>>,
    others_wrote: &BTreeMap<Slot, Arc<str>>,
    others: &View,
    resource: &ResourcePath,
    difference: &Difference,
) -> bool {
    let slot = (resource.clone(), difference.key.clone());
    let is = |wrote: &BTreeMap<Slot, Arc<str>>, body: &Arc<str>| wrote.get(&slot) == Some(body);
    match (&difference.ours, &difference.theirs) {
        (_, None) => false,
        (None, Some(_)) => {
            frame.shared || others.find(resource.as_str(), &ends::parts(&difference.key)).is_some()
        }
        (Some(own), Some(there)) => is(wrote, own.body()) && is(others_wrote, there.body()),
    }
}

/// The other district's share of I6: what lives there is at the target, unless ours has written it
/// since, and nothing of it is parked.
pub(super) async fn check_agreement(play: &Play) -> Result<(), String> {
    let Some(other) = &play.elsewhere else { return Ok(()) };
    let (source, target) = (other.source.view(), play.target.view());
    let ours = play.source.view();
    for collection in COLLECTIONS {
        let resource = crate::scene::path(collection);
        for one in ends::differences(&source, &target, &resource) {
            if !may_differ(play.frame, &other.wrote, &play.wrote, &ours, &resource, &one) {
                return Err(format!("elsewhere: {resource} {} differs (I6)", told(&one.key)));
            }
        }
    }
    match play.parked_of(&pair_id()).await.first() {
        None => Ok(()),
        Some(parked) => {
            Err(format!("elsewhere: still parked: {} {:?}", parked.resource, parked.reason))
        }
    }
}
