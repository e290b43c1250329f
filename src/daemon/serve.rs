//! The daemon: runs every publication when it is due, and answers for it, until it is told to stop.
//!
//! What lives here: the life of the process. What does not: what is due (`agenda.rs`), what a run
//! does (`engine/`). The one thing to know: one loop owns the agenda; it never waits for anything
//! but the bell, a run that ends, and the order to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Ending, Newcomer, Start};
use super::backups::BackupRound;
use super::desk::{FleetDesk, RunControl};
use super::status::{self, LivePair, LivePairs};
use super::watch::{RunLog, Watch};
use super::{Assembly, AssemblyError, assemble_until, open_state, spool_directory};
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, PublicationConfig, Trigger};
use crate::desk::{Caller, Desk, DeskError, PairCondition, PairStatus, RunShown, Started};
use crate::domain::{Outcome, ParkReason};
use crate::engine::Pair;
use crate::engine::observe::Observer;
use crate::engine::report::RunReport;
use crate::engine::runner::{RunOptions, Runner};
use crate::engine::verify::discard_what_nobody_needs;
use crate::metrics::PairFigures;
use crate::schedule::{Bell, ScheduleError, Timetable};
use crate::server::{Answers, Progress, Server, ServerError};
use crate::state::backup::Backups;
use crate::state::{PairId, ParkStatus, StateError, StateStore};
use crate::tasks::Tasks;

/// How long `serve` waits for a state that another process holds, unless told otherwise.
pub const WAIT_FOR_STATE: Duration = Duration::from_secs(5 * 60);
/// Between two looks at a state that another process holds.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why the daemon could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("the daemon cannot be reached")]
    Server(#[source] ServerError),

    #[error("the state cannot be opened")]
    State(#[source] StateError),

    /// After opening: the store writes nothing more, so nothing more can be published.
    #[error("the state failed while the daemon ran: {message}; start it again")]
    StateFailed { message: String },

    #[error("the configuration cannot be used")]
    Assembly(#[source] AssemblyError),

    #[error("publication `{publication}` cannot be scheduled")]
    Schedule {
        publication: String,
        #[source]
        source: ScheduleError,
    },

    #[error("nothing can be scheduled")]
    Bell(#[source] ScheduleError),
}

impl DaemonError {
    /// The exit status (contract, "Exit status").
    pub fn exit_status(&self) -> u8 {
        match self {
            DaemonError::State(StateError::Locked { .. }) => 4,
            DaemonError::State(
                StateError::Unreadable { .. }
                | StateError::Newer { .. }
                | StateError::Failed { .. },
            ) => 5,
            DaemonError::Schedule { .. } => 2,
            DaemonError::Server(_)
            | DaemonError::StateFailed { .. }
            | DaemonError::Assembly(_)
            | DaemonError::Bell(_) => 1,
        }
    }
}

/// Listens, waits for the state, and runs what is due until `stop`; `Ok` when it was told to stop.
pub async fn serve(
    config: Config,
    env: &BTreeMap<String, String>,
    wait_for_state: Duration,
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    Daemon::listen(config).await?.run(env, wait_for_state, stop).await
}

/// A daemon that can be asked how it is, before and while it runs.
pub struct Daemon {
    config: Config,
    front: Arc<Front>,
    progress: Arc<Progress>,
    server: Server,
}

impl Daemon {
    pub async fn listen(config: Config) -> Result<Daemon, DaemonError> {
        let front = Arc::new(Front::default());
        let answers = Arc::clone(&front) as Arc<dyn Answers>;
        let progress = Arc::new(Progress::default());
        let server = Server::start(&config.server, answers, Arc::clone(&progress)).await;
        let server = server.map_err(DaemonError::Server)?;
        tracing::info!(address = %server.address(), "listening");
        Ok(Daemon { config, front, progress, server })
    }

    /// Where it listens: the port is known even when any was asked for.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    pub async fn run(
        self,
        env: &BTreeMap<String, String>,
        wait_for_state: Duration,
        stop: CancellationToken,
    ) -> Result<(), DaemonError> {
        self.server.admit(&self.config.server, env);
        let ended = self.run_until_stopped(env, wait_for_state, stop).await;
        self.front.enter(Phase::Stopping);
        self.server.stop().await;
        ended
    }

    async fn run_until_stopped(
        &self,
        env: &BTreeMap<String, String>,
        wait_for_state: Duration,
        stop: CancellationToken,
    ) -> Result<(), DaemonError> {
        let Some(store) = self.wait_for_state(wait_for_state, &stop).await? else {
            return Ok(());
        };
        let clock = Clock::system();
        let assembly = assemble_until(self.config.clone(), env, store, clock, &stop)
            .map_err(DaemonError::Assembly)?;
        let assembly = Arc::new(assembly);
        discard_old_comparisons(&assembly).await?;
        let agenda = agenda(&assembly).await?;
        let at_work = Arc::new(AtWork {
            assembly: Arc::clone(&assembly),
            agenda: Mutex::new(agenda),
            watch: Arc::new(Watch::new(assembly.clock.clone())),
            progress: Arc::clone(&self.progress),
        });
        let bell = Bell::start().await.map_err(DaemonError::Bell)?;
        self.front.enter(Phase::AtWork(Arc::clone(&at_work)));
        tracing::info!(
            publications = assembly.pairs.len(),
            pairs = assembly.all_pairs().count(),
            "ready"
        );
        let backups = start_backups(&assembly);
        let ended = at_work.run(&bell, &stop).await;
        backups.stop().await;
        bell.stop().await;
        ended
    }

    /// `None` when it was told to stop before the state was free.
    async fn wait_for_state(
        &self,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Arc<dyn StateStore>>, DaemonError> {
        let patience = tokio::time::Instant::now() + wait;
        let mut said = false;
        loop {
            let config = self.config.clone();
            let opened = tokio::task::spawn_blocking(move || open_state(&config)).await;
            let error = match opened.expect("opening the state does not panic") {
                Ok(store) => return Ok(Some(store)),
                Err(error @ StateError::Locked { .. }) => error,
                Err(error) => return Err(DaemonError::State(error)),
            };
            if tokio::time::Instant::now() >= patience {
                return Err(DaemonError::State(error));
            }
            if !said {
                tracing::warn!(%error, "waiting for the state");
                said = true;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

/// What a `verify` left that was killed and that nobody can go on with.
async fn discard_old_comparisons(assembly: &Assembly) -> Result<(), DaemonError> {
    let directory = spool_directory(&assembly.config);
    let now = assembly.clock.now();
    let discarded = discard_what_nobody_needs(&*assembly.store, now, &directory).await;
    discarded.map_err(DaemonError::State)
}

/// Backups go on beside the runs until their tasks are stopped.
fn start_backups(assembly: &Assembly) -> Tasks {
    let tasks = Tasks::new();
    if let Some(backup) = &assembly.config.state.backup {
        let round = BackupRound {
            backups: Backups { directory: backup.path.clone(), keep: backup.keep },
            every: backup.every,
            store: Arc::clone(&assembly.store),
            clock: assembly.clock.clone(),
            metrics: Arc::clone(&assembly.metrics),
        };
        tasks.spawn("backups", round.go_on(tasks.stop_token()));
    }
    tasks
}

/// What is due, from the configuration and what is remembered of every pair.
async fn agenda(assembly: &Assembly) -> Result<Agenda, DaemonError> {
    let now = assembly.clock.now();
    let mut agenda = Agenda::new(assembly.config.server.max_running);
    for (name, publication) in &assembly.config.publications {
        let timetable = timetable(publication)
            .map_err(|source| DaemonError::Schedule { publication: name.to_string(), source })?;
        let mut last: Option<Timestamp> = None;
        let mut newcomers = Vec::new();
        for pair in assembly.pairs.get(name.as_str()).into_iter().flatten() {
            let state = assembly.store.load(&pair.id).await.map_err(DaemonError::State)?;
            let state = state.unwrap_or_default();
            let run = state.last_run;
            // The one that is furthest behind says what was missed.
            if let Some(run) = &run {
                last = Some(last.map_or(run.ended_at, |last| last.min(run.ended_at)));
            }
            let failed = run.is_some_and(|run| run.outcome == Outcome::Failed);
            let due_at = parked_due_at(&*assembly.store, &pair.id).await;
            newcomers.push(Newcomer {
                id: pair.id.clone(),
                first_delay: pair.policy.retry.first_delay,
                failed: failed && state.blocked.is_none(),
                parked_due_at: due_at.map_err(DaemonError::State)?,
            });
        }
        agenda.add(name.as_str(), timetable, newcomers, last, now);
    }
    Ok(agenda)
}

fn timetable(publication: &PublicationConfig) -> Result<Timetable, ScheduleError> {
    match &publication.trigger {
        Trigger::Manual => Ok(Timetable::Never),
        Trigger::Every(interval) => Timetable::every(*interval),
        Trigger::Cron(cron) => Timetable::cron(cron.as_str(), publication.time_zone.name()),
    }
}

/// When the earliest parked item of a pair is due: not one that is dead, nor a closed resource.
async fn parked_due_at(
    store: &dyn StateStore,
    pair: &PairId,
) -> Result<Option<Timestamp>, StateError> {
    const PAGE: usize = 1000;
    let mut earliest: Option<Timestamp> = None;
    let mut after: Option<String> = None;
    loop {
        let page = store.parked(pair, after.as_deref(), PAGE).await?;
        for item in &page {
            if item.status == ParkStatus::Parked && item.reason != ParkReason::ResourceClosed {
                let due = item.next_attempt_at;
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
        }
        if page.len() < PAGE {
            return Ok(earliest);
        }
        after = page.last().map(|item| item.id.clone());
    }
}

/// A daemon with its state open.
struct AtWork {
    assembly: Arc<Assembly>,
    agenda: Mutex<Agenda>,
    watch: Arc<Watch>,
    progress: Arc<Progress>,
}

/// How the runs of a group ended, or what the store said when it was asked.
type GroupEnded = Result<Vec<(PairId, Ending)>, DaemonError>;

impl AtWork {
    async fn run(&self, bell: &Bell, stop: &CancellationToken) -> Result<(), DaemonError> {
        // Runs are told to stop by a token of their own, so that a failure can stop them too.
        let stop_runs = stop.child_token();
        let observers: Vec<Arc<dyn Observer>> =
            vec![Arc::clone(&self.watch) as _, Arc::clone(&self.progress) as _, Arc::new(RunLog)];
        let runner = Arc::new(self.assembly.runner(observers, stop_runs.clone()));
        let tasks = Tasks::new();
        let (early, mut ended_early) = mpsc::unbounded_channel();
        let mut running = FuturesUnordered::new();
        let mut ended = Ok(());
        while ended.is_ok() && !stop.is_cancelled() {
            for start in self.agenda().start_due(self.assembly.clock.now()) {
                running.push(self.begin(start, &runner, &tasks, &early));
            }
            tokio::select! {
                () = bell.rung() => {}
                Some((id, ending)) = ended_early.recv() => self.note_one(&id, ending),
                Some(group) = running.next() => ended = self.note(group),
                () = stop.cancelled() => {}
            }
        }
        stop_runs.cancel();
        while let Some(group) = running.next().await {
            ended = ended.and(self.note(group));
        }
        tasks.stop().await;
        ended
    }

    fn begin(
        &self,
        start: Start,
        runner: &Arc<Runner>,
        tasks: &Tasks,
        early: &mpsc::UnboundedSender<(PairId, Ending)>,
    ) -> BoxFuture<'static, GroupEnded> {
        let group = Group {
            assembly: Arc::clone(&self.assembly),
            runner: Arc::clone(runner),
            early: early.clone(),
            start: start.clone(),
        };
        let ended = tasks.spawn("run", group.run());
        Box::pin(async move {
            match ended.await {
                Ok(Some(ended)) => ended,
                // It panicked, which `tasks` has said: the pairs are not lost with it.
                Ok(None) | Err(_) => {
                    Ok(start.pairs.into_iter().map(|id| (id, Ending::MayPass)).collect())
                }
            }
        })
    }

    fn note(&self, group: GroupEnded) -> Result<(), DaemonError> {
        let now = self.assembly.clock.now();
        let mut agenda = self.agenda();
        for (id, ending) in group? {
            agenda.ended(&id, ending, now);
        }
        Ok(())
    }

    fn note_one(&self, id: &PairId, ending: Ending) {
        self.agenda().ended(id, ending, self.assembly.clock.now());
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().expect("nothing panics while it holds the agenda")
    }

    async fn status(&self) -> Result<Vec<PairStatus>, StateError> {
        status::status(&self.assembly, self).await
    }
}

impl LivePairs for AtWork {
    fn live(&self, pair: &PairId) -> Option<LivePair> {
        self.assembly.pair(pair)?;
        let seen = self.watch.of(pair);
        let agenda = self.agenda();
        let waits_for = agenda
            .is_waiting(pair)
            .then(|| "as many pairs run as `server.max_running` allows".to_owned());
        Some(LivePair {
            run_id: seen.run_id,
            newest: seen.newest,
            waits_for,
            next_run_at: agenda.next_of(pair),
        })
    }
}

#[async_trait]
impl RunControl for AtWork {
    fn live_pairs(&self) -> &dyn LivePairs {
        self
    }

    fn is_running(&self, pair: &PairId) -> bool {
        self.watch.of(pair).run_id.is_some()
    }

    fn under_way(&self, pair: &PairId) -> Option<RunShown> {
        self.watch.under_way(pair)
    }

    async fn start(&self, _: &[PairId], _: bool) -> Result<Started, DeskError> {
        Err(not_yet())
    }

    async fn cancel(&self, _: &PairId) -> Result<(), DeskError> {
        Err(not_yet())
    }

    async fn pause(
        &self,
        _: &PairId,
        _: Option<Timestamp>,
        _: Option<&str>,
    ) -> Result<(), DeskError> {
        Err(not_yet())
    }

    async fn resume(&self, _: &PairId) -> Result<(), DeskError> {
        Err(not_yet())
    }

    /// They are read again in the next run of the pair, whenever that is.
    fn parked_due(&self, _: &PairId) {}
}

fn not_yet() -> DeskError {
    DeskError::Conflict("runs begin and end by their schedule alone in this version".to_owned())
}

/// Pairs of one publication that start together. Each is told of when it has ended, so that a slow
/// target does not hold up the next run of the others.
struct Group {
    assembly: Arc<Assembly>,
    runner: Arc<Runner>,
    early: mpsc::UnboundedSender<(PairId, Ending)>,
    start: Start,
}

impl Group {
    async fn run(self) -> GroupEnded {
        let mut endings = Vec::new();
        let mut pairs = Vec::new();
        for id in &self.start.pairs {
            let state = self.assembly.store.load(id).await.map_err(state_failed)?;
            // It has been said when it was blocked, and stays so until a person has decided.
            if state.is_some_and(|state| state.blocked.is_some()) {
                endings.push((id.clone(), Ending::NeedsAPerson));
            } else {
                pairs.extend(self.assembly.pair(id).cloned());
            }
        }
        let mut silent: BTreeSet<PairId> =
            pairs.iter().map(|pair: &Pair| pair.id.clone()).collect();
        let (told, mut reports) = mpsc::unbounded_channel();
        let options = RunOptions::default();
        // The channel is closed with the last run, which ends the noting.
        let runs = self.runner.run_each(pairs, &options, move |report| {
            told.send(report).expect("who notes waits for the last run");
        });
        let noting = async {
            while let Some(report) = reports.recv().await {
                let id = PairId {
                    publication: report.publication.clone(),
                    target: report.target.clone(),
                };
                silent.remove(&id);
                let ending = self.ending(&id, &report).await?;
                if self.early.send((id.clone(), ending)).is_err() {
                    endings.push((id, ending)); // The daemon is stopping and counts the rest.
                }
            }
            Ok(())
        };
        let ((), noted) = tokio::join!(runs, noting);
        noted?;
        endings.extend(silent.into_iter().map(|id| (id, Ending::MayPass)));
        Ok(endings)
    }

    async fn ending(&self, id: &PairId, report: &RunReport) -> Result<Ending, DaemonError> {
        if let Some(error) = report.error.as_ref().filter(|error| error.kind == "state") {
            return Err(DaemonError::StateFailed { message: error.message.clone() });
        }
        match report.outcome {
            Outcome::Failed if report.may_pass => Ok(Ending::MayPass),
            Outcome::Failed => Ok(Ending::NeedsAPerson),
            Outcome::Complete | Outcome::NothingToDo => Ok(Ending::Done { parked_due_at: None }),
            Outcome::Parked => {
                let due = parked_due_at(&*self.assembly.store, id).await;
                Ok(Ending::Done { parked_due_at: due.map_err(state_failed)? })
            }
        }
    }
}

fn state_failed(error: StateError) -> DaemonError {
    DaemonError::StateFailed { message: error.to_string() }
}

/// What the server is told, whatever phase the daemon is in.
#[derive(Default)]
struct Front {
    phase: Mutex<Phase>,
}

#[derive(Clone, Default)]
enum Phase {
    #[default]
    WaitingForState,
    AtWork(Arc<AtWork>),
    Stopping,
}

impl Front {
    fn enter(&self, phase: Phase) {
        *self.phase.lock().expect("nothing panics while it holds the phase") = phase;
    }

    fn phase(&self) -> Phase {
        self.phase.lock().expect("nothing panics while it holds the phase").clone()
    }

    fn at_work(&self) -> Option<Arc<AtWork>> {
        match self.phase() {
            Phase::AtWork(at_work) => Some(at_work),
            Phase::WaitingForState | Phase::Stopping => None,
        }
    }

    fn fleet(&self) -> Option<FleetDesk> {
        let at_work = self.at_work()?;
        Some(FleetDesk::new(Arc::clone(&at_work.assembly), Some(at_work)))
    }
}

#[async_trait]
impl Answers for Front {
    fn missing(&self) -> Option<String> {
        match self.phase() {
            Phase::WaitingForState => Some("the state is not open".to_owned()),
            Phase::AtWork(_) => None,
            Phase::Stopping => Some("it is stopping".to_owned()),
        }
    }

    async fn metrics(&self) -> Option<String> {
        let at_work = self.at_work()?;
        let metrics = &at_work.assembly.metrics;
        match at_work.status().await {
            Ok(pairs) => {
                for pair in pairs.iter().filter(|pair| pair.state != PairCondition::Orphaned) {
                    let id = PairId {
                        publication: pair.publication.clone(),
                        target: pair.target.clone(),
                    };
                    metrics.show(&id, &figures(pair, &at_work.assembly));
                }
            }
            Err(error) => tracing::error!(%error, "the metrics of pairs are those of before"),
        }
        Some(metrics.text())
    }

    fn desk(&self) -> Option<Arc<dyn Desk>> {
        Some(Arc::new(self.fleet()?))
    }

    fn sees(&self, by: &Caller, pair: &PairId) -> bool {
        self.fleet().is_some_and(|desk| desk.sees(by, pair))
    }
}

fn figures(pair: &PairStatus, assembly: &Assembly) -> PairFigures {
    let publication = assembly.config.publications.get(pair.publication.as_str());
    let times = publication.and_then(|publication| timetable(publication).ok());
    let tick_after = |moment| times.as_ref().and_then(|times| times.next_after(moment));
    let next = tick_after(assembly.clock.now());
    PairFigures {
        state: pair.state.as_str(),
        watermark: pair.watermark,
        newest: pair.newest,
        lag_versions: pair.lag_versions,
        parked: pair.parked,
        dead: pair.dead,
        failed_runs: pair.failed_runs,
        last_success: pair.caught_up_at,
        fresh_until: pair.caught_up_at.and_then(tick_after),
        schedule_interval: next.and_then(|next| Some(tick_after(next)? - next)),
        next_run: pair.next_run_at,
    }
}
