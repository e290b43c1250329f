//! One run of one pair, from its state to its commit. [`publish`] is the specification.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::clock::{Clock, Timestamp};
use crate::domain::{ChangeVersion, Outcome, Scope, Stage, Stages, Tally, Watermark, Window};
use crate::sources::{Isolation, Reader};
use crate::state::{Forgotten, LastRun, LeftOut, Overlap, PairState, RunRecord, StateStore, Step};

use super::observe::{Event, Observers};
use super::parked::ParkedBook;
use super::runner::RunOptions;
use super::scope::ToldScope;
use super::spans;
use super::under_way::{Run, lock};
use super::{
    Pair, Publish, RunError, canaries, deletes, first_run, history, identity, key_changes,
    left_behind, overlap, resume, scope, upserts,
};

/// What a run of a pair needs beside the pair.
#[derive(Clone)]
pub struct Surroundings {
    pub store: Arc<dyn StateStore>,
    pub clock: Clock,
    pub observers: Observers,
    pub stop: CancellationToken,
    /// Every pair of the configuration: others with state are orphans, and a new pair between the
    /// same ends waits for a person; those that publish to the same target are asked before
    /// something goes (R28a). `None`: nothing is taken for an orphan, and nobody is asked.
    pub configured: Option<Arc<[Pair]>>,
}

/// What a run reads through.
pub(super) struct ReadThrough {
    pub(super) reader: Arc<dyn Reader>,
    /// What the view has newest, or the smallest newest of the views that this run has read from
    /// (R11).
    pub(super) through: ChangeVersion,
    /// The live source's newest version, and when it told it (R14).
    pub(super) seen: (ChangeVersion, Timestamp),
    pub(super) scope: Arc<ToldScope>,
}

/// How a run that did not fail ended.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) window: Option<Window>,
    pub(super) stages: Stages,
}

/// Publishes to `pair` everything that the source has gained since the pair's watermark, as
/// the view shows it.
pub(super) async fn publish(
    around: &Surroundings,
    pair: &Pair,
    view: ReadThrough,
    options: &RunOptions,
    run_id: &str,
    progress: &RunProgress,
) -> Result<Ended, RunError> {
    let ReadThrough { reader, through, seen, scope: told } = view;
    let mut state = load(around, pair).await?;
    let began = around.clock.now();
    look_at_versions(&mut state, pair, seen, began);
    progress.saw(&state);
    first_run::check(pair, &state)?;
    identity::check_source(pair, &state, &*reader).await?;
    if first_run::begins_from_now(pair, &state) {
        let ended =
            first_run::from_now(around, pair, &*reader, state, &told, run_id, began).await?;
        progress.note(ended.window.map(|window| first_run::note(pair, window)));
        return Ok(ended);
    }
    let mut book = load_parked(around, pair).await?;
    let window = Window { after: state.watermark.as_ref().map(|w| w.change_version()), through };
    if !progress.has_begun() && nothing_to_do(around, pair, &state, &book, window, options) {
        // A restored target lacks something though the source is silent (R18).
        identity::check_target(pair, &state).await?;
        let outcome = if book.len() > 0 { Outcome::Parked } else { Outcome::NothingToDo };
        progress.note_parked(&book);
        let stages = Stages::default();
        return Ok(Ended { outcome, window: Some(window), stages });
    }

    let broken_off = was_broken_off(around, pair).await?;
    let reach = reach(pair, &state, window, broken_off, began);
    if window.after != Some(window.through) {
        // Newest moved (R20).
        let note = scope::check(around, pair, &mut state, reach, &told).await?;
        progress.note(note);
        canaries::check(pair, &mut state, &*reader).await?;
    }
    identity::check_target(pair, &state).await?;
    if identity::is_another_target(pair, &state).await? {
        book.renew_dead(around.clock.now());
    }
    let asked = resume::Asked { window, reach, scope: state.scope.as_ref().map(Scope::hash) };
    let beginning = resume::beginning(around, pair, reader.isolation(), asked, began).await?;
    if broken_off || identity::is_another_end(pair, &state).await? {
        state.overlap.broken_off += 1;
    }
    // Which of two snapshots is the older one their newest versions do not surely tell.
    if beginning.is_after_a_broken_run && reader.isolation() == Isolation::Snapshot {
        state.overlap.again_after = Some(state.overlap.commits + 1);
    }
    let window = beginning.window;
    let run = Run::prepare(around, pair, reader, options, beginning, book, &state).await?;
    if !progress.has_begun() {
        run.tell(&Event::RunStarted {
            pair: &pair.id,
            run: run_id,
            window,
            at: around.clock.now(),
        });
    }
    progress.began(&run);
    // A run that is gone on with may be shown, and rename, what is newer than its window.
    let shown_through = run.reader.newest().max(window.through);
    state.names_through = state.names_through.max(Some(shown_through));
    run.journal(run_id, selection_fingerprint(pair), &state).await?;

    key_changes::publish(&run).instrument(spans::of_stage(Stage::KeyChanges)).await?;
    upserts::publish(&run).instrument(spans::of_stage(Stage::Upserts)).await?;
    key_changes::remember_those_of_joiners(&run).await?;
    deletes::publish(&run).instrument(spans::of_stage(Stage::Deletes)).await?;
    upserts::publish_what_waited(&run).await?;

    run.reader.confirm().await.map_err(RunError::Source)?;
    commit(&run, run_id, state).await
}

/// The version after which the window reads: below the watermark by the overlap (R14). A run for
/// parked items or joiners alone reads nothing again.
fn reach(
    pair: &Pair,
    state: &PairState,
    window: Window,
    broken_off: bool,
    began: Timestamp,
) -> Option<ChangeVersion> {
    let after = window.after?;
    let nothing_is_newer = after == window.through;
    let pass_is_due = overlap::pass_is_due(&state.overlap, after, &pair.policy, began);
    if nothing_is_newer && !pass_is_due && !broken_off {
        return Some(after);
    }
    Some(overlap::reach(&state.overlap, after, &pair.policy))
}

/// Whether a run of the pair has begun since the last commit: it may have written anything.
async fn was_broken_off(around: &Surroundings, pair: &Pair) -> Result<bool, RunError> {
    let journal = around.store.journal(&pair.id).await.map_err(RunError::State)?;
    Ok(journal.is_some())
}

/// Notes the source's newest version, by which the overlap is measured (R14).
fn look_at_versions(
    state: &mut PairState,
    pair: &Pair,
    (newest, at): (ChangeVersion, Timestamp),
    now: Timestamp,
) {
    let watermark = state.watermark.as_ref().map(Watermark::change_version);
    overlap::saw(&mut state.overlap, watermark, newest, at);
    if let (Some(watermark), None) = (watermark, state.overlap.first) {
        // Set by a person, or by a program that kept no history.
        overlap::begin_at(&mut state.overlap, watermark, &pair.policy, now);
    }
}

async fn load(around: &Surroundings, pair: &Pair) -> Result<PairState, RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?;
    Ok(state.unwrap_or_default())
}

pub(super) async fn load_parked(
    around: &Surroundings,
    pair: &Pair,
) -> Result<ParkedBook, RunError> {
    const PAGE: usize = 1000;
    let mut records = Vec::new();
    loop {
        let after = records.last().map(|record: &crate::state::Parked| record.id.clone());
        let page = around.store.parked(&pair.id, after.as_deref(), PAGE).await;
        let page = page.map_err(RunError::State)?;
        let ended = page.len() < PAGE;
        records.extend(page);
        if ended {
            return Ok(ParkedBook::new(pair.id.clone(), pair.policy.retry, records));
        }
    }
}

/// Nothing new, nothing parked that is due, and the same question as last time (R17).
fn nothing_to_do(
    around: &Surroundings,
    pair: &Pair,
    state: &PairState,
    book: &ParkedBook,
    window: Window,
    options: &RunOptions,
) -> bool {
    // A snapshot older than the watermark shows nothing new (R18), and what it shows of parked
    // items or of joiners is older than what was published (I7). `identity` has made sure that
    // the live source is not older.
    if window.after.is_some_and(|after| window.through < after) {
        return true;
    }
    let now = around.clock.now();
    window.after == Some(window.through)
        && !overlap::pass_is_due(&state.overlap, window.through, &pair.policy, now)
        && state.selection.as_deref() == Some(selection_fingerprint(pair).as_str())
        && book.resources_with_due(now, options.all_parked).is_empty()
}

/// What the watermark was reached with, as a short text: when it changes, resources may join.
pub(super) fn selection_fingerprint(pair: &Pair) -> String {
    use sha2::{Digest, Sha256};
    let policy = &pair.policy;
    let asked = serde_json::json!({
        "selection": policy.selection,
        "key_changes": policy.key_changes == Publish::Publish,
        "deletes": policy.deletes == Publish::Publish,
    });
    Sha256::digest(asked.to_string().as_bytes())
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The one commit that moves the watermark: everything of the window is applied, unneeded or
/// durably parked (I1).
async fn commit(run: &Run, run_id: &str, before: PairState) -> Result<Ended, RunError> {
    let stages = run.stages();
    if !stages.is_conserved() {
        return Err(RunError::NotConserved);
    }
    run.commit_parked().await?;
    let target_newest = run.pair.target.newest().await.map_err(RunError::Target)?;
    let source = run.pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = run.pair.target.capabilities().await.map_err(RunError::Target)?;
    let outcome = if run.book().len() > 0 { Outcome::Parked } else { Outcome::Complete };
    let now = run.now();
    let (window, policy) = (run.window, &run.pair.policy);
    let (mut overlap, mut forget) = (run.overlap(), Forgotten::default());
    if run.looked_back() {
        let Window { after, through } = window;
        overlap = overlap::after_commit(overlap, after, through, policy, run.read_since);
        forget = run.passed_by(overlap::reach(&overlap, through, policy));
    }
    let state = PairState {
        overlap,
        canaries: run.canaries(&before.canaries),
        scope: before.scope,
        watermark: Some(Watermark::ChangeVersion(run.window.through)),
        blocked: None,
        source: Some(source.fingerprint.clone()),
        target: Some(target.fingerprint.clone()),
        target_newest: target_newest.or(before.target_newest),
        selection: Some(selection_fingerprint(&run.pair)),
        newest_seen: Some(run.reader.newest()),
        caught_up_at: Some(now),
        last_run: Some(LastRun { id: run_id.to_owned(), outcome, ended_at: now }),
        failed_runs: 0,
        // What was allowed was allowed to this run.
        allowed_deletes: BTreeMap::new(),
        left_out: left_out(run, before.left_out),
        names_through: before.names_through.filter(|through| *through > window.through),
        started_over: false,
    };
    let keep_names_of = run.keep_names_of(state.names_through.is_some());
    let step = Step {
        state: Some(state),
        coverage: run.changed_coverage(),
        forget,
        key_changes: history::of_left(run).await?,
        left_behind: left_behind::for_the_next_run(run, &keep_names_of).await?,
        end_journal: true,
        keep_names_of,
        ..Step::default()
    };
    run.write(step).await?;
    Ok(Ended { outcome, window: Some(run.window), stages })
}

/// What the runs of the pair were told to leave out, this one included (R17). A first run leaves
/// nothing behind: what it writes is what lives.
fn left_out(run: &Run, before: LeftOut) -> LeftOut {
    let is_first = run.window.after.is_none();
    let policy = &run.pair.policy;
    LeftOut {
        key_changes: !is_first && (before.key_changes || policy.key_changes == Publish::Skip),
        deletes: !is_first && (before.deletes || policy.deletes == Publish::Skip),
    }
}

/// What outlives a run that failed, or a view that it lost, for its report.
#[derive(Default)]
pub(super) struct RunProgress {
    began: Mutex<Option<Arc<Run>>>,
    lost: Mutex<LostView>,
    seen: Mutex<Option<Overlap>>,
    /// What was found out before the run began.
    notes: Mutex<Vec<String>>,
    parked: AtomicU64,
    dead: AtomicU64,
}

/// What a run had done when it lost its view and went on with another.
#[derive(Clone, Copy, Default)]
struct LostView {
    /// Whether the run had gone on from another run in the first place.
    was_resumed: Option<bool>,
    /// Renames and deletes that the target acknowledged. They are agreed upon again through the
    /// next view, which finds them done. What was finished of the upserts is in the journal.
    acknowledged: Stages,
}

impl RunProgress {
    fn began(&self, run: &Arc<Run>) {
        *lock(&self.began) = Some(Arc::clone(run));
    }

    /// Whether the run has touched the target, through this view or another.
    pub(super) fn has_begun(&self) -> bool {
        lock(&self.began).is_some()
    }

    /// The view is lost, and the run goes on with another (R11).
    pub(super) fn lost_view(&self) {
        let Some(run) = lock(&self.began).clone() else { return };
        let mut lost = lock(&self.lost);
        lost.was_resumed.get_or_insert(run.before.is_gone_on_from());
        for stage in [Stage::KeyChanges, Stage::Deletes] {
            let applied = run.stages().of(stage).applied;
            let acknowledged = Tally { read: applied, applied, ..Tally::default() };
            lost.acknowledged.of_mut(stage).add(acknowledged);
        }
    }

    /// What the whole run did, when its last view has seen `stages`.
    pub(super) fn in_all(&self, stages: Stages) -> Stages {
        let mut all = stages;
        let acknowledged = lock(&self.lost).acknowledged;
        for stage in [Stage::KeyChanges, Stage::Deletes] {
            all.of_mut(stage).add(*acknowledged.of(stage));
        }
        all
    }

    fn note_parked(&self, book: &ParkedBook) {
        self.parked.store(book.len() - book.dead(), Ordering::Relaxed);
        self.dead.store(book.dead(), Ordering::Relaxed);
    }

    /// Parked and dead items of the pair, as far as the run got.
    pub(super) fn parked(&self) -> (u64, u64) {
        if let Some(run) = &*lock(&self.began) {
            self.note_parked(&run.book());
        }
        (self.parked.load(Ordering::Relaxed), self.dead.load(Ordering::Relaxed))
    }

    pub(super) fn window(&self) -> Option<Window> {
        lock(&self.began).as_ref().map(|run| run.window)
    }

    pub(super) fn is_resumed(&self) -> bool {
        let was_resumed = lock(&self.lost).was_resumed;
        let began = lock(&self.began);
        let goes_on = || began.as_ref().is_some_and(|run| run.before.is_gone_on_from());
        was_resumed.unwrap_or_else(goes_on)
    }

    pub(super) fn stages(&self) -> Stages {
        self.in_all(lock(&self.began).as_ref().map(|run| run.stages()).unwrap_or_default())
    }

    fn saw(&self, state: &PairState) {
        *lock(&self.seen) = Some(state.overlap.clone());
    }

    /// What the source told of its versions, for the state of a run that was not committed.
    pub(super) fn seen(&self) -> Option<Overlap> {
        lock(&self.seen).clone()
    }

    pub(super) fn not_visible(&self) -> u64 {
        lock(&self.began).as_ref().map_or(0, |run| run.not_visible())
    }

    /// Requests sent to the sources of other pairs (R28a).
    pub(super) fn asked_of_others(&self) -> u64 {
        lock(&self.began).as_ref().map_or(0, |run| run.others.requests())
    }

    /// What a person should know beside the outcome.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut all = lock(&self.notes).clone();
        all.extend(lock(&self.began).as_ref().map_or_else(Vec::new, |run| notes(run)));
        all
    }

    fn note(&self, note: Option<String>) {
        lock(&self.notes).extend(note);
    }

    /// Puts what was parked on disk though the run failed: it stays parked (R23).
    pub(super) async fn keep_parked(&self) -> Result<(), RunError> {
        let began = lock(&self.began).clone();
        match began {
            Some(run) => run.commit_parked().await,
            None => Ok(()),
        }
    }
}

fn notes(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    let hidden = run.not_visible();
    if hidden > 0 {
        notes.push(format!(
            "not visible: skipped {hidden} of the deleted people, whom the target does not show; if they are there, its credentials do not reach them"
        ));
    }
    let kept = run.others.kept();
    if kept > 0 {
        notes.push(format!(
            "kept for others: left {kept} of the deleted or renamed items at the target under the name of before, which lives at the source of another publication that writes there"
        ));
    }
    let policy = &run.pair.policy;
    let again = [
        ("key_changes", run.left_out_before.key_changes, policy.key_changes),
        ("deletes", run.left_out_before.deletes, policy.deletes),
    ];
    for (what, was_left_out, now) in again {
        if was_left_out && now == Publish::Publish {
            notes.push(format!(
                "`{what}` was `skip` and is published from here on; what was skipped is still at the target until `tidemark verify {} --repair --delete-extra --yes`",
                run.pair.id.publication
            ));
        }
    }
    notes
}

/// The record of a run for the history.
pub(super) fn record(report: &super::report::RunReport, ended_at: Timestamp) -> RunRecord {
    RunRecord {
        id: report.id.clone(),
        outcome: report.outcome,
        window: report.window,
        started_at: report.started_at,
        ended_at,
        stages: report.stages,
        error: report.error.as_ref().map(|e| (e.kind.clone(), e.message.clone())),
    }
}
