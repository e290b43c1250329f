//! Source and target compared, key by key and, if asked, body by body.
//!
//! What lives here: what is asked, when a comparison goes on from one that stopped, and what repairs
//! what it finds. What does not: how a resource is compared (`verify/compare.rs`), what two bodies
//! must share to be equal (`verify/meaning.rs`), and the files in between (`verify/spool.rs`). The one
//! thing to know: a difference is looked at once more at both ends before it counts, because both are
//! read while they live.

mod compare;
mod meaning;
mod spool;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::domain::{ResourcePath, Scope, SourceId, Stage, TargetId};
use crate::sources::{Isolation, Reader};
use crate::state::{Comparison, LeftOut, PairState, SpoolKey, StateError, StateStore, Step};

use super::apply::{self, Settled, Turn};
use super::run::{Surroundings, selection_fingerprint};
use super::runner::{RunOptions, interrupted, open_view, stop_and_grace};
use super::under_way::Run;
use super::{Pair, RunError, verified};
use compare::{Comparing, extra_file, is_extra, unlike_file};
use spool::Spool;

pub use crate::state::Compared;
pub use spool::SpoolError;

/// What was compared longer ago says too little of now: such a comparison begins anew.
const STALE: TimeDelta = TimeDelta::days(1);

/// What a person asks of `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Only these; empty: every selected resource.
    pub resources: Vec<ResourcePath>,
    /// Compare the bodies too.
    pub content: bool,
    /// Publish what is missing or different.
    pub repair: bool,
    /// Delete what only the target has: sole writer only (R3).
    pub delete_extra: bool,
    /// The delete brake was looked at by a person (R27).
    pub allow_deletes: bool,
}

/// The comparison of one pair (contract, `{"verify":[…]}`).
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    pub publication: String,
    pub target: String,
    pub equal: bool,
    pub resources: Vec<Compared>,
    /// When the comparison began that this one went on with.
    #[serde(skip)]
    pub goes_on_from: Option<Timestamp>,
    /// Entries of the source that were in memory at once, at most: it does not grow with the source
    /// (R30).
    #[serde(skip)]
    pub most_held: usize,
}

impl Compared {
    fn is_equal(&self) -> bool {
        self.missing == 0 && self.extra.unwrap_or(0) == 0 && self.different == 0 && self.parked == 0
    }
}

/// Compares `pair`; with `repair`, publishes what is missing or different and compares again. Keyed
/// hashes are spooled to files under `directory`, which should be of the state's.
///
/// Whoever was killed or interrupted is gone on with by the next one that asks the same of the same
/// two ends above the same watermark.
pub async fn verify(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
    directory: &Path,
) -> Result<Verification, RunError> {
    if options.delete_extra && !pair.policy.sole_writer {
        return Err(RunError::NotSoleWriter { publication: pair.id.publication.clone() });
    }
    let pair = &pair.for_run(&new_id(), &around.stop);
    tokio::select! {
        verified = verify_until_told(around, pair, options, directory) => {
            verified.map_err(interrupted)
        }
        () = stop_and_grace(around) => Err(RunError::Interrupted),
    }
}

async fn verify_until_told(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
    directory: &Path,
) -> Result<Verification, RunError> {
    let reader = open_view(&*pair.source, &pair.policy).await.map_err(RunError::Source)?;
    let question = question(around, pair, options, &*reader).await?;
    let before = around.store.comparison(&pair.id).await.map_err(RunError::State)?;
    let mut goes_on_from = None;
    let mut comparison = match before {
        Some(before) if fits(around, pair, &before, &question, &*reader).await? => {
            goes_on_from = Some(before.began_at);
            before
        }
        Some(_) | None => begin(around, pair, question.clone(), &*reader, false).await?,
    };
    let discarded = discard_what_nobody_needs(&*around.store, around.clock.now(), directory).await;
    discarded.map_err(RunError::State)?;

    let mut most_held = 0;
    let mut reader = reader;
    loop {
        let spool = Spool::open(directory, &comparison.id, comparison.key.clone())?;
        let run = open(around, pair, options, reader, &comparison).await?;
        let mut comparing = Comparing {
            around,
            run: &run,
            options,
            spool: &spool,
            comparison: &mut comparison,
            most_held: &mut most_held,
        };
        compare_all(&mut comparing).await?;
        let is_equal = comparison.compared.iter().all(Compared::is_equal);
        let wants_repair = options.repair || options.delete_extra;
        if is_equal || !wants_repair || comparison.is_after_repair {
            end(around, pair, &spool, is_equal && options.resources.is_empty()).await?;
            let verification = Verification {
                publication: pair.id.publication.clone(),
                target: pair.id.target.clone(),
                equal: is_equal,
                resources: comparison.compared,
                goes_on_from,
                most_held,
            };
            verified::keep(around, pair, options.content, &verification).await?;
            return Ok(verification);
        }
        distrust_hashes(around, pair).await?;
        repair(around, pair, options, &spool, &comparison).await?;
        reader = open_view(&*pair.source, &pair.policy).await.map_err(RunError::Source)?;
        comparison = begin(around, pair, question.clone(), &*reader, true).await?;
        spool.discard();
    }
}

/// What is asked, of whom, and above which watermark, as a short text.
async fn question(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
    reader: &dyn Reader,
) -> Result<String, RunError> {
    use sha2::{Digest, Sha256};
    // Whether a person has looked at what would be deleted changes nothing of what is compared.
    let VerifyOptions { resources, content, repair, delete_extra, allow_deletes: _ } = options;
    let policy = &pair.policy;
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    // Not every source tells.
    let scope = pair.source.scope().await.unwrap_or_default();
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
    let asked = serde_json::json!({
        "options": (resources, content, repair, delete_extra),
        "selection": selection_fingerprint(pair),
        "writers": (policy.sole_writer, &policy.shared, &policy.create_only),
        "isolation": format!("{:?}", reader.isolation()),
        "source": source.fingerprint,
        "target": target.fingerprint,
        "scope": scope.as_ref().map(Scope::hash),
        "watermark": state.watermark,
    });
    let hash = Sha256::digest(asked.to_string().as_bytes());
    Ok(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Whether `before` can be gone on with. Another snapshot shows other items; a live source that went
/// on still has what was read of it, and one that went back has not (R18). So has a target.
async fn fits(
    around: &Surroundings,
    pair: &Pair,
    before: &Comparison,
    question: &str,
    reader: &dyn Reader,
) -> Result<bool, RunError> {
    if before.question != question || is_stale(around.clock.now(), before) {
        return Ok(false);
    }
    let is_same_view = match reader.isolation() {
        Isolation::Snapshot => reader.newest() == before.through,
        Isolation::Bounded | Isolation::Open | Isolation::Combined => {
            reader.newest() >= before.through
        }
    };
    let target_newest = pair.target.newest().await.map_err(RunError::Target)?;
    Ok(is_same_view && target_newest >= before.target_newest)
}

fn is_stale(now: Timestamp, comparison: &Comparison) -> bool {
    now >= comparison.began_at + STALE
}

/// A comparison with a key of its own. It is durable before a file is there.
async fn begin(
    around: &Surroundings,
    pair: &Pair,
    question: String,
    reader: &dyn Reader,
    is_after_repair: bool,
) -> Result<Comparison, RunError> {
    let comparison = Comparison {
        id: new_id(),
        question,
        began_at: around.clock.now(),
        through: reader.newest(),
        target_newest: pair.target.newest().await.map_err(RunError::Target)?,
        is_after_repair,
        key: SpoolKey(rand::random()),
        compared: Vec::new(),
        under_way: None,
    };
    let step = Step { comparison: Some(comparison.clone()), ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)?;
    Ok(comparison)
}

fn new_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Removes the files of comparisons that no record speaks of any more: of a process that was killed, or
/// of a question that is not asked again. For the beginning of a process too.
pub async fn discard_what_nobody_needs(
    store: &dyn StateStore,
    now: Timestamp,
    directory: &Path,
) -> Result<(), StateError> {
    // Looked for first: a comparison is on record before it has files, so whoever begins meanwhile
    // is not among them or is found needed.
    let there = spool::there(directory);
    if there.is_empty() {
        return Ok(());
    }
    let mut needed = BTreeSet::new();
    for pair in store.pairs().await? {
        let comparison = store.comparison(&pair).await?;
        let comparison = comparison.filter(|comparison| !is_stale(now, comparison));
        needed.extend(comparison.map(|comparison| comparison.id));
    }
    for id in there.iter().filter(|id| !needed.contains(*id)) {
        spool::discard(directory, id);
    }
    Ok(())
}

async fn open(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
    reader: Arc<dyn Reader>,
    comparison: &Comparison,
) -> Result<Arc<Run>, RunError> {
    let run_options = RunOptions { allow_deletes: options.allow_deletes, all_parked: false };
    Run::to_look(around, pair, reader, comparison.through, &run_options).await
}

/// Every resource that is asked for and not done yet, in the target's order.
async fn compare_all(comparing: &mut Comparing<'_>) -> Result<(), RunError> {
    let run = Arc::clone(comparing.run);
    let asked = &comparing.options.resources;
    for resource in run.graph.in_order() {
        let is_asked = asked.is_empty() || asked.contains(&resource);
        let is_done = comparing.comparison.compared.iter().any(|done| done.resource == resource);
        if is_asked && !is_done {
            run.check_stop()?;
            comparing.resource(&resource).await?;
        }
    }
    run.reader.confirm().await.map_err(RunError::Source)
}

/// Nothing is left of the comparison but its answer. Where both ends agree, whatever runs had skipped
/// is made up for (R17).
async fn end(
    around: &Surroundings,
    pair: &Pair,
    spool: &Spool,
    nothing_is_left_out: bool,
) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?;
    let state = state
        .filter(|state| nothing_is_left_out && state.left_out != LeftOut::default())
        .map(|state| PairState { left_out: LeftOut::default(), ..state });
    let step = Step { state, end_comparison: true, ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)?;
    spool.discard();
    Ok(())
}

/// What is repaired is not what runs had written (R16): said before it is.
async fn distrust_hashes(around: &Surroundings, pair: &Pair) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?;
    let mut state = state.unwrap_or_default();
    state.overlap.broken_off += 1;
    let step = Step { state: Some(state), ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)
}

/// Publishes what is missing or different in the target's order, and deletes extras in reverse. Who is
/// killed here does it again.
async fn repair(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
    spool: &Spool,
    comparison: &Comparison,
) -> Result<(), RunError> {
    let reader = open_view(&*pair.source, &pair.policy).await.map_err(RunError::Source)?;
    let run = open(around, pair, options, reader, comparison).await?;
    if options.repair {
        for (number, compared) in comparison.compared.iter().enumerate() {
            publish_unlike(&run, &compared.resource, spool, number).await?;
        }
        for compared in &comparison.compared {
            for id in run.take_refused_people(&compared.resource) {
                apply::upsert_by_id(&run, &compared.resource, &id, Turn::AfterAssociation).await?;
            }
        }
    }
    if options.delete_extra {
        for (number, compared) in comparison.compared.iter().enumerate().rev() {
            let extra = compared.extra.unwrap_or(0);
            super::brake::check_count(&run, &compared.resource, extra).await?;
            delete_extra(&run, &compared.resource, spool, number).await?;
        }
    }
    run.commit_parked().await
}

async fn publish_unlike(
    run: &Arc<Run>,
    resource: &ResourcePath,
    spool: &Spool,
    number: usize,
) -> Result<(), RunError> {
    for entry in spool.whole(&unlike_file(number))? {
        run.check_stop()?;
        run.take_up(Stage::Upserts, 1);
        let id = SourceId(entry?.id);
        let settled = apply::upsert_by_id(run, resource, &id, Turn::Retry).await?;
        if settled == Settled::Deferred {
            // A person before its association, which comes later in this order.
            continue;
        }
    }
    run.commit_parked().await
}

/// Looks at each once more: it may be long since it was found (R3, I8).
async fn delete_extra(
    run: &Arc<Run>,
    resource: &ResourcePath,
    spool: &Spool,
    number: usize,
) -> Result<(), RunError> {
    for entry in spool.whole(&extra_file(number))? {
        let id = TargetId(entry?.id);
        if !is_extra(run, resource, &id).await? {
            continue;
        }
        // What is refused stays extra, and the second comparison says so.
        match run.target(|target| target.delete(resource, &id)).await {
            Err(error) if error.refusal().is_none() => return Err(RunError::Target(error)),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
