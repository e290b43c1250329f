//! The other district, which publishes to the same target: people, descriptors and class periods by
//! the names that ours has (R28a).
//!
//! The one thing to know: the last writer wins, so what is shared is right when each pair has
//! written what lives at its own source, and nothing of it was ever renamed or deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark::domain::{ResourcePath, Selection};
use tidemark::engine::Pair;
use tidemark::sandbox::{Database, SandboxOptions};
use tidemark::state::PairId;

use super::ends::{self, Difference};
use super::machine::{Frame, Trouble};
use super::oracle;
use super::play::{Play, Slot, note_written, told};
use super::script::Script;
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
    match frame.elsewhere {
        true => SHARED.map(str::to_owned).to_vec(),
        false => Vec::new(),
    }
}

pub(super) fn is_shared(frame: Frame, resource: &ResourcePath) -> bool {
    frame.elsewhere && COLLECTIONS.contains(&resource.collection())
}

/// One run of the other district, and what has to hold after it.
pub(super) async fn run(play: &mut Play, troubles: &[Trouble]) -> Result<(), String> {
    let Some(source) = play.elsewhere.as_ref().map(|other| Arc::clone(&other.source)) else {
        return Ok(());
    };
    let script = Arc::new(Script::new(troubles, Arc::clone(&source), vec![source.view()]));
    let include_only = COLLECTIONS.iter().chain(&ABOVE).map(|name| (*name).to_owned()).collect();
    let selection = Selection { descriptors: true, include_only, ..Selection::default() };
    let pair = Pair {
        id: pair_id(),
        source: Arc::new(ModelSource {
            database: source,
            name: "elsewhere",
            frame: play.frame,
            folds_above: None,
            script: Arc::clone(&script),
        }),
        target: play.target_of(&script),
        policy: Arc::new(play.policy(selection)),
    };

    let reports = play.run_through(pair, troubles, &script).await;

    let said = |why: String| format!("elsewhere: {why}");
    for report in &reports {
        oracle::check_report(report, troubles).map_err(said)?;
    }
    oracle::check_writes(play.frame, &script).map_err(said)?;
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

/// Whether a difference of what is shared is as it may be: what ours does not have may be the
/// other's, and what ours has written the other may have written since.
pub(super) fn accepts(play: &Play, resource: &ResourcePath, difference: &Difference) -> bool {
    let Some(other) = &play.elsewhere else { return false };
    is_shared(play.frame, resource)
        && is_the_others(&play.wrote, &other.wrote, resource, difference)
}

fn is_the_others(
    ours: &BTreeMap<Slot, Arc<str>>,
    others: &BTreeMap<Slot, Arc<str>>,
    resource: &ResourcePath,
    difference: &Difference,
) -> bool {
    let slot = (resource.clone(), difference.key.clone());
    let is = |wrote: &BTreeMap<Slot, Arc<str>>, body: &Arc<str>| wrote.get(&slot) == Some(body);
    match (&difference.ours, &difference.theirs) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(own), Some(there)) => is(ours, own.body()) && is(others, there.body()),
    }
}

/// The other district's share of I6: what lives there is at the target, unless ours has written it
/// since, and nothing of it is parked.
pub(super) async fn check_agreement(play: &Play) -> Result<(), String> {
    let Some(other) = &play.elsewhere else { return Ok(()) };
    let (source, target) = (other.source.view(), play.target.view());
    for collection in COLLECTIONS {
        let resource = crate::scene::path(collection);
        for one in ends::differences(&source, &target, &resource) {
            if !is_the_others(&other.wrote, &play.wrote, &resource, &one) {
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
