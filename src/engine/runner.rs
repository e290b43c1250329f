//! From a trigger to runs: one view for all pairs of a publication (R13), never two runs of a pair
//! at once, and a report whatever happened.
//!
//! Past 600 lines because whatever way a run ends, it is told, remembered and gone on with in one place.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, Outcome, Stages};
use crate::sources::{Isolation, Reader, Source, SourceError};
use crate::state::{Block, BlockCause, LastRun, Overlap, PairId, Step};

use super::cohort::{self, CohortPlace};
use super::observe::{Anomaly, Event, Noted};
use super::report::{ReportedError, Requests, RunReport};
use super::run::{self, ReadThrough, RunProgress, Surroundings};
use super::scope::ToldScope;
use super::spans;
use super::stopping::{Interruption, StopSwitch};
use super::under_way::lock;
use super::verify::{Verification, VerifyOptions, verify};
use super::{FirstOverlap, Pair, Policy, RunError, identity};

/// What a person or a schedule wants of a run beyond the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// The delete brake was looked at by a person (R27).
    pub allow_deletes: bool,
    /// Every parked item that is not dead is tried, due or not (R22): `run` does, a schedule not.
    pub all_parked: bool,
}

/// Runs pairs. One for the process.
pub struct Runner {
    around: Surroundings,
    running: Arc<Mutex<BTreeSet<PairId>>>,
}

impl Runner {
    pub fn new(around: Surroundings) -> Runner {
        Runner { around, running: Arc::default() }
    }

    pub fn is_running(&self, pair: &PairId) -> bool {
        lock(&self.running).contains(pair)
    }

    /// Publishes to all `pairs` of one publication and waits for all of them. A pair that is
    /// running already is left out.
    pub async fn run_publication(&self, pairs: Vec<Pair>, options: &RunOptions) -> Vec<RunReport> {
        let targets: Vec<String> = pairs.iter().map(|pair| pair.id.target.clone()).collect();
        let mut reports = Vec::new();
        self.run_each(pairs, options, |report| reports.push(report)).await;
        reports.sort_by_key(|report| targets.iter().position(|target| *target == report.target));
        reports
    }

    /// The same, telling of each run when it has ended (a pair that went on from another run may
    /// have two): a pair is free again by then, so that one
    /// that is slow does not hold up the next run of the others.
    pub async fn run_each(
        &self,
        pairs: Vec<Pair>,
        options: &RunOptions,
        ended: impl FnMut(RunReport),
    ) {
        let switch = || StopSwitch::below(&self.around.stop);
        let pairs = pairs.into_iter().map(|pair| (pair, switch())).collect();
        self.run_each_until(pairs, options, ended).await;
    }

    /// The same, where each run can be stopped by itself.
    pub async fn run_each_until(
        &self,
        pairs: Vec<(Pair, StopSwitch)>,
        options: &RunOptions,
        mut ended: impl FnMut(RunReport),
    ) {
        let claims: Vec<Claim> = pairs
            .into_iter()
            .filter_map(|(pair, stop)| Claim::of(&self.running, pair, stop))
            .collect();
        let Some(first) = claims.first() else { return };
        // One view for all of them; opening it is part of every run that reads through it.
        let is_alone = claims.len() == 1;
        let stop = if is_alone { first.stop.token() } else { &self.around.stop };
        let around = Surroundings { stop: stop.clone(), ..self.around.clone() };
        let opening = first.pair.source.for_run(&new_run_id(), around.stop.clone());
        let view = View::open(&*opening, &first.pair.policy, &around).await;
        let pairs: Vec<&PairId> = claims.iter().map(|claim| &claim.pair.id).collect();
        let places = cohort::places(&*around.store, &pairs).await;

        let mut runs = JoinSet::new();
        for (claim, place) in claims.into_iter().zip(places) {
            let around = Surroundings { stop: claim.stop.token().clone(), ..self.around.clone() };
            let options = options.clone();
            let view = view.as_seen_from(place.as_ref());
            let span = spans::of_pair(&claim.pair.id);
            let run = async move {
                // It is left however the run ends: nobody keeps pages for who has gone.
                let _place = place;
                let runs = run_claimed(&around, &claim, view, &options);
                until_deadline(&claim.stop, runs).await
            };
            runs.spawn(run.instrument(span));
        }
        while let Some(report) = runs.join_next().await {
            match report {
                Ok(reports) => reports.into_iter().for_each(&mut ended),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}

impl Runner {
    /// Compares both ends of a pair; `None` when it is running.
    pub async fn compare(
        &self,
        pair: Pair,
        options: &VerifyOptions,
        directory: &Path,
        stop: StopSwitch,
    ) -> Option<Result<Verification, RunError>> {
        let claim = Claim::of(&self.running, pair, stop)?;
        let around = Surroundings { stop: claim.stop.token().clone(), ..self.around.clone() };
        let comparing = verify(&around, &claim.pair, options, directory);
        let compared = comparing.instrument(spans::of_pair(&claim.pair.id)).await;
        Some(compared.map_err(|error| interruption(error, &claim.stop)))
    }

    /// The same runs, told to others: what runs keeps its claim.
    pub fn with(&self, around: Surroundings) -> Runner {
        Runner { around, running: Arc::clone(&self.running) }
    }
}

/// Waits for `runs`, and stops them when they have lasted as long as they may.
async fn until_deadline<T>(stop: &StopSwitch, runs: impl Future<Output = T>) -> T {
    let Some(deadline) = stop.deadline() else { return runs.await };
    let mut runs = std::pin::pin!(runs);
    tokio::select! {
        ended = &mut runs => return ended,
        () = tokio::time::sleep(deadline) => stop.stop(Interruption::Deadline),
    }
    runs.await
}

/// Holds a pair for one run and lets go of it however the run ends.
struct Claim {
    running: Arc<Mutex<BTreeSet<PairId>>>,
    pair: Pair,
    stop: StopSwitch,
}

impl Claim {
    fn of(running: &Arc<Mutex<BTreeSet<PairId>>>, pair: Pair, stop: StopSwitch) -> Option<Claim> {
        let is_free = lock(running).insert(pair.id.clone());
        is_free.then(|| Claim { running: Arc::clone(running), pair, stop })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.pair.id);
    }
}

/// One run; and one more through the same view if the first went on from a run with an older upper
/// edge, so that who waited for a night does not wait for another. A pair that is to be read twice
/// at first (`first_overlap_versions: all`) has its second run at once.
async fn run_claimed(
    around: &Surroundings,
    claim: &Claim,
    mut view: View,
    options: &RunOptions,
) -> Vec<RunReport> {
    let report = run_caught(around, claim, &mut view, options).await;
    let ended = matches!(report.outcome, Outcome::Complete | Outcome::Parked);
    let through = report.window.map(|window| window.through);
    let newest = view.opened.as_ref().ok().map(|opened| opened.reader.newest());
    let is_first = report.window.is_some_and(|window| window.after.is_none());
    if ended && is_first && claim.pair.policy.first_overlap == FirstOverlap::All {
        let opening = claim.pair.source.for_run(&report.id, around.stop.clone());
        view = View::open(&*opening, &claim.pair.policy, around).await;
    } else if !(report.resumed && ended && through < newest) {
        return vec![report];
    }
    vec![report, run_caught(around, claim, &mut view, options).await]
}

/// A panic is a defect of this program; it ends its run and nobody else's.
async fn run_caught(
    around: &Surroundings,
    claim: &Claim,
    view: &mut View,
    options: &RunOptions,
) -> RunReport {
    let id = new_run_id();
    let started_at = around.clock.now();
    let span = spans::of_run(&id);
    let run = run_pair(around, claim, view, options, &id).instrument(span.clone());
    if let Ok(report) = AssertUnwindSafe(run).catch_unwind().await {
        span.record("outcome", report.outcome.as_str());
        return report;
    }

    let error = RunError::Defect;
    let report = RunReport {
        id,
        publication: claim.pair.id.publication.clone(),
        target: claim.pair.id.target.clone(),
        outcome: Outcome::Failed,
        window: None,
        resumed: false,
        started_at,
        duration_seconds: (around.clock.now() - started_at).as_seconds_f64(),
        stages: Stages::default(),
        requests: Requests::default(),
        error: Some(ReportedError { kind: error.kind().to_owned(), message: error.message() }),
        parked: 0,
        dead: 0,
        not_visible: 0,
        notes: Vec::new(),
        may_pass: error.may_pass(),
        stopped: None,
    };
    let remembering = remember(around, &claim.pair, &report, Some(&error), None);
    let remembered = remembering.instrument(span.clone()).await;
    span.record("outcome", report.outcome.as_str());
    span.in_scope(|| {
        if let Err(unwritten) = remembered {
            tracing::error!(error = unwritten.message(), "a failed run could not be written down");
        }
        around.observers.tell(&Event::RunEnded { pair: &claim.pair.id, report: &report });
    });
    report
}

/// The view that all pairs of a publication read through; another isolation only where the
/// configuration says so.
pub(super) async fn open_view(
    source: &dyn Source,
    policy: &Policy,
) -> Result<Arc<dyn Reader>, SourceError> {
    match source.open(policy.isolation).await {
        Err(SourceError::SnapshotMissing { connection }) => match policy.on_missing_snapshot {
            Some(isolation) => {
                tracing::warn!(
                    connection,
                    "the snapshot is missing: reading without one, as `on_missing_snapshot` says"
                );
                source.open(isolation).await
            }
            None => Err(SourceError::SnapshotMissing { connection }),
        },
        opened => opened,
    }
}

/// The view that the pairs of a publication share, and what opening it cost. A pair that lost it
/// goes on with another of its own.
#[derive(Clone)]
struct View {
    opened: Result<Opened, Arc<SourceError>>,
    requests: u64,
}

#[derive(Clone)]
struct Opened {
    reader: Arc<dyn Reader>,
    /// The live source's newest version, and when it told it (R14).
    seen: (ChangeVersion, Timestamp),
    scope: Arc<ToldScope>,
}

impl View {
    async fn open(source: &dyn Source, policy: &Policy, around: &Surroundings) -> View {
        let opened = open_and_look(source, policy, around).await.map_err(Arc::new);
        View { opened, requests: source.requests() }
    }

    fn as_seen_from(&self, place: Option<&CohortPlace>) -> View {
        let mut view = self.clone();
        if let (Some(place), Ok(opened)) = (place, &mut view.opened) {
            opened.reader = place.view(Arc::clone(&opened.reader));
        }
        view
    }
}

/// Under a snapshot the live newest is read as well: a snapshot tells nothing of its own age (R14).
async fn open_and_look(
    source: &dyn Source,
    policy: &Policy,
    around: &Surroundings,
) -> Result<Opened, SourceError> {
    let reader = open_view(source, policy).await?;
    let is_still = reader.isolation() == Isolation::Snapshot;
    let newest = match is_still && !policy.overlap.is_zero() {
        true => source.live_newest().await?,
        false => reader.newest(),
    };
    Ok(Opened { reader, seen: (newest, around.clock.now()), scope: Arc::default() })
}

async fn run_pair(
    around: &Surroundings,
    claim: &Claim,
    view: &mut View,
    options: &RunOptions,
    id: &str,
) -> RunReport {
    let pair = &claim.pair.for_run(id, &around.stop);
    let shared = view
        .opened
        .clone()
        .map(|opened| Opened { reader: opened.reader.for_run(id, around.stop.clone()), ..opened });
    let mut opened = shared.clone();
    let started_at = around.clock.now();
    let started = tokio::time::Instant::now();
    let progress = RunProgress::default();

    let ended = attempt(around, pair, &mut opened, options, id, &progress).await;
    let ended = ended.map_err(|error| interruption(error, &claim.stop));
    view.opened = opened;

    let (parked, dead) = progress.parked();
    let mut report = RunReport {
        id: id.to_owned(),
        publication: pair.id.publication.clone(),
        target: pair.id.target.clone(),
        outcome: Outcome::Failed,
        window: progress.window(),
        resumed: progress.is_resumed(),
        started_at,
        duration_seconds: started.elapsed().as_secs_f64(),
        stages: progress.stages(),
        requests: Requests {
            source: view.requests
                + pair.source.requests()
                + progress.asked_of_others()
                + shared.map_or(0, |opened| opened.reader.requests()),
            target: pair.target.requests(),
        },
        error: None,
        parked,
        dead,
        not_visible: progress.not_visible(),
        notes: progress.notes(),
        may_pass: false,
        stopped: None,
    };
    let failure = match ended {
        Ok(ended) => {
            report.outcome = ended.outcome;
            report.window = ended.window;
            report.stages = progress.in_all(ended.stages);
            None
        }
        Err(error) => {
            report.may_pass = error.may_pass();
            report.stopped = claim.stop.why().filter(|_| matches!(error, RunError::Stopped(_)));
            report.error =
                Some(ReportedError { kind: error.kind().to_owned(), message: error.message() });
            Some(error)
        }
    };
    let seen = progress.seen();
    if let Err(error) = remember(around, pair, &report, failure.as_ref(), seen).await {
        // What was published is published; that it cannot be written down must not pass silently.
        report.outcome = Outcome::Failed;
        report.error =
            Some(ReportedError { kind: error.kind().to_owned(), message: error.message() });
    }
    around.observers.tell(&Event::RunEnded { pair: &pair.id, report: &report });
    report
}

/// Fails while a person has to decide first.
async fn may_run(around: &Surroundings, pair: &Pair, options: &RunOptions) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
    if let Some(block) = &state.blocked
        && block.cause != BlockCause::Orphan
        && !(block.cause == BlockCause::Deletes && options.allow_deletes)
    {
        let Block { cause, reason, deletes, .. } = block.clone();
        return Err(RunError::Blocked { cause, reason, deletes });
    }
    match around.configured.as_deref() {
        Some(configured) => identity::check_orphans(&*around.store, pair, &state, configured).await,
        None => Ok(()),
    }
}

async fn attempt(
    around: &Surroundings,
    pair: &Pair,
    opened: &mut Result<Opened, Arc<SourceError>>,
    options: &RunOptions,
    run_id: &str,
    progress: &RunProgress,
) -> Result<run::Ended, RunError> {
    may_run(around, pair, options).await?;
    let ended = match opened {
        Ok(opened) => {
            if went_without_snapshot(&*opened.reader, &pair.policy) {
                note(around, pair, Anomaly::SnapshotMissing);
            }
            tokio::select! {
                ended = publish(around, pair, opened, options, run_id, progress) => ended,
                () = stop_and_grace(around) => Err(RunError::Interrupted),
            }
        }
        Err(error) => Err(RunError::View(Arc::clone(error))),
    };
    if let Err(error) = &ended {
        if let Some(anomaly) = Anomaly::behind(error) {
            note(around, pair, anomaly);
        }
        progress.keep_parked().await?;
    }
    ended
}

/// There was none, and the policy says what to do then.
fn went_without_snapshot(reader: &dyn Reader, policy: &Policy) -> bool {
    policy.isolation == Isolation::Snapshot && reader.isolation() != Isolation::Snapshot
}

/// Tells once what a person may have to look at: a pair that was blocked by it tells no more.
fn note(around: &Surroundings, pair: &Pair, anomaly: Anomaly) {
    let noted = Noted::Anomaly(anomaly);
    around.observers.tell(&Event::Noted { pair: &pair.id, noted });
}

/// A source that replaces its snapshot more often than this within one run replaces it too often
/// for any run.
const VIEWS_OF_A_RUN: u32 = 4;

/// Publishes through `reader`, and goes on through a new view when the source has replaced its
/// snapshot: what is not finished is read again, what is stands, and the run commits the smallest
/// newest version that it has seen (R11).
async fn publish(
    around: &Surroundings,
    pair: &Pair,
    opened: &mut Opened,
    options: &RunOptions,
    run_id: &str,
    progress: &RunProgress,
) -> Result<run::Ended, RunError> {
    let Opened { reader, seen, scope } = opened;
    let mut through = reader.newest();
    let mut views = 1;
    loop {
        let view = ReadThrough {
            reader: Arc::clone(reader),
            through,
            seen: *seen,
            scope: Arc::clone(scope),
        };
        let ended = run::publish(around, pair, view, options, run_id, progress).await;
        let Err(error) = ended else { return ended };
        if views == VIEWS_OF_A_RUN || !lost_its_snapshot(&error, &**reader) {
            return Err(error);
        }
        views += 1;
        progress.keep_parked().await?;
        progress.lost_view();
        *reader = pair.source.open(Isolation::Snapshot).await.map_err(RunError::Source)?;
        through = through.min(reader.newest());
        if progress.has_begun() {
            refuse_older_than_watermark(around, pair, through, error).await?;
        }
        note(around, pair, Anomaly::SnapshotReplaced);
        tracing::warn!(
            publication = pair.id.publication,
            target = pair.id.target,
            newest = reader.newest().0,
            "the snapshot was replaced while it was read: going on through the new one"
        );
    }
}

fn lost_its_snapshot(error: &RunError, reader: &dyn Reader) -> bool {
    let is_lost = matches!(
        error,
        RunError::Source(
            SourceError::SnapshotReplaced { .. } | SourceError::SnapshotMissing { .. }
        )
    );
    is_lost && reader.isolation() == Isolation::Snapshot
}

/// A run that has begun cannot end with nothing to do, and through a snapshot from before its
/// watermark it cannot go on (R18); a later run can.
async fn refuse_older_than_watermark(
    around: &Surroundings,
    pair: &Pair,
    through: ChangeVersion,
    lost: RunError,
) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
    let watermark = state.watermark.as_ref().map(|watermark| watermark.change_version());
    if watermark.is_none_or(|watermark| watermark <= through) {
        return Ok(());
    }
    // A live source below the watermark blocks the pair; this one may do so as well.
    let live = pair.source.live_newest().await.map_err(RunError::Source)?;
    if watermark.is_some_and(|watermark| live < watermark) { Ok(()) } else { Err(lost) }
}

/// A request that was not sent because the run was to stop is no fault of an API.
pub(super) fn interrupted(error: RunError) -> RunError {
    if error.kind() == "stopped" { RunError::Interrupted } else { error }
}

/// The same, by whom that is known.
fn interruption(error: RunError, stop: &StopSwitch) -> RunError {
    match interrupted(error) {
        RunError::Interrupted => stop.why().map_or(RunError::Interrupted, RunError::Stopped),
        other => other,
    }
}

/// A run that is asked to stop ends at its next item. One that waits for a server longer than that
/// is dropped: what was acknowledged is only ever done again.
pub(super) async fn stop_and_grace(around: &Surroundings) {
    const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
    around.stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Writes down how the run ended: for `status`, for the history, and the block if there is one.
async fn remember(
    around: &Surroundings,
    pair: &Pair,
    report: &RunReport,
    failure: Option<&RunError>,
    overlap: Option<Overlap>,
) -> Result<(), RunError> {
    if matches!(failure, Some(RunError::State(_))) {
        return Ok(()); // The store has said that it cannot be written.
    }
    let now = around.clock.now();
    let mut state = around.store.load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
    // Hours in which nobody may be asked are no failure of anybody.
    let was_closed = matches!(failure, Some(RunError::Stopped(Interruption::Closed { .. })));
    if !was_closed {
        state.last_run =
            Some(LastRun { id: report.id.clone(), outcome: report.outcome, ended_at: now });
    }
    let through = report.window.map(|window| window.through);
    state.newest_seen = state.newest_seen.max(through);
    if let Some(overlap) = overlap.filter(|overlap| overlap.commits == state.overlap.commits) {
        state.overlap.seen = overlap.seen;
        state.overlap.first = overlap.first;
    }
    match failure {
        None => {
            state.failed_runs = 0;
            state.caught_up_at = Some(now);
        }
        // The next run goes on from there: nothing has failed.
        Some(RunError::Stopped(_) | RunError::Interrupted) => {}
        Some(error) => {
            state.failed_runs = state.failed_runs.saturating_add(1);
            let before = state.blocked.filter(|block| block.cause != BlockCause::Orphan);
            state.blocked = blocked_by(error, now).or(before);
        }
    }
    let history = (report.outcome != Outcome::NothingToDo).then(|| run::record(report, now));
    let step = Step { state: Some(state), run: history, ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)
}

fn blocked_by(error: &RunError, now: Timestamp) -> Option<Block> {
    match error {
        RunError::Blocked { cause, reason, deletes } => Some(Block {
            cause: *cause,
            reason: reason.clone(),
            since: now,
            deletes: deletes.clone(),
        }),
        RunError::View(_)
        | RunError::Source(_)
        | RunError::Target(_)
        | RunError::State(_)
        | RunError::FirstRun { .. }
        | RunError::Selection(_)
        | RunError::MissingAtTarget { .. }
        | RunError::CannotTell { .. }
        | RunError::MostlyRefused { .. }
        | RunError::TooManyParked { .. }
        | RunError::UnknownKey { .. }
        | RunError::NotSoleWriter { .. }
        | RunError::Spool(_)
        | RunError::Interrupted
        | RunError::Stopped(_)
        | RunError::Defect
        | RunError::NotConserved => None,
    }
}

/// Sixteen hexadecimal digits; also sent to both APIs as correlation id.
pub(super) fn new_run_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}
