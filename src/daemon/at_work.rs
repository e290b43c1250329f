//! The daemon with its state open: one loop that owns the agenda, and what people ask of it.
//!
//! The one thing to know: the loop never waits for anything but the bell, a run that ends, somebody
//! who changed the agenda, and the order to stop. What people ask is on disk before it is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Assembly;
use super::agenda::{Agenda, Ending, Job, Start, Wanted, Wish};
use super::comparisons::{self, Comparisons};
use super::group::{Group, GroupEnded, state_failed};
use super::planning::Planned;
use super::serve::DaemonError;
use super::status::{self, LivePair, LivePairs};
use super::verbosity::Verbosity;
use super::watch::{RunLog, Watch};
use crate::clock::Timestamp;
use crate::desk::{
    ComparisonShown, ConfigurationProblem, DeskError, PairStatus, RefusedConfiguration,
};
use crate::engine::observe::Observer;
use crate::engine::runner::Runner;
use crate::engine::stopping::{Interruption, StopSwitch};
use crate::engine::verify::VerifyOptions;
use crate::schedule::Bell;
use crate::server::Progress;
use crate::state::{PairId, Pause, StateError};
use crate::tasks::Tasks;

/// A run's plan is on disk so long after its end at the latest, with those of whoever ended
/// meanwhile. A process that is killed before that finds the run missed, and the next one runs it.
/// What the run itself did is on disk before it has ended.
const KEEP_WITHIN: Duration = Duration::from_secs(1);

pub struct AtWork {
    /// What is in force now, and what runs by it. A run that began under another ends under that.
    in_force: RwLock<InForce>,
    agenda: Mutex<Agenda>,
    watch: Arc<Watch>,
    progress: Arc<Progress>,
    comparisons: Arc<Comparisons>,
    /// Of the runs that are under way.
    switches: Mutex<BTreeMap<PairId, StopSwitch>>,
    /// The agenda has changed: somebody may have to begin.
    changed: Notify,
    /// Whoever holds it writes plans down.
    keeping: tokio::sync::Mutex<()>,
    stop_runs: CancellationToken,
    /// Connections whose secrets cannot be read, as was said in the log.
    locked: Mutex<BTreeMap<String, String>>,
    refused: Mutex<Option<RefusedConfiguration>>,
    verbosity: Verbosity,
}

#[derive(Clone)]
struct InForce {
    assembly: Arc<Assembly>,
    runner: Arc<Runner>,
}

impl AtWork {
    /// Reads what is remembered of every pair.
    pub(super) async fn new(
        assembly: Arc<Assembly>,
        progress: Arc<Progress>,
        verbosity: Verbosity,
        stop: &CancellationToken,
    ) -> Result<AtWork, DaemonError> {
        let planned = Planned::read(Arc::clone(&assembly)).await?;
        let mut agenda = Agenda::new(assembly.config.server.max_running);
        planned.put_on(&mut agenda, assembly.clock.now());
        let watch = Arc::new(Watch::new(assembly.clock.clone()));
        // Runs are told to stop by a token of their own, so that a failure can stop them too.
        let stop_runs = stop.child_token();
        let runner = Arc::new(assembly.runner(observers(&watch, &progress), stop_runs.clone()));
        Ok(AtWork {
            in_force: RwLock::new(InForce { assembly, runner }),
            agenda: Mutex::new(agenda),
            watch,
            progress,
            comparisons: Arc::default(),
            switches: Mutex::default(),
            changed: Notify::new(),
            keeping: tokio::sync::Mutex::default(),
            stop_runs,
            locked: Mutex::default(),
            refused: Mutex::default(),
            verbosity,
        })
    }

    /// Runs what is due until `stop`, or until the state fails.
    pub(super) async fn run(
        &self,
        bell: &Bell,
        stop: &CancellationToken,
    ) -> Result<(), DaemonError> {
        let tasks = Tasks::new();
        let (early, mut ended_early) = mpsc::unbounded_channel();
        let mut running = FuturesUnordered::new();
        let mut ended = self.keep_plans().await;
        let mut keep_at: Option<Instant> = None;
        while ended.is_ok() && !stop.is_cancelled() {
            self.stop_what_closed();
            self.look_for_secrets().await;
            let starts = self.agenda().start_due(self.now());
            for start in starts {
                running.push(self.begin(start, &tasks, &early));
            }
            let mut keep_within = KEEP_WITHIN;
            tokio::select! {
                () = bell.rung() => {}
                () = self.changed.notified() => {}
                Some((id, ending)) = ended_early.recv() => {
                    if matches!(ending, Ending::Compared(_)) {
                        keep_within = Duration::ZERO; // It is shown by what is on disk.
                    }
                    self.note_one(&id, ending);
                }
                Some(group) = running.next() => ended = self.note(group),
                () = at(keep_at) => {}
                () = stop.cancelled() => {}
            }
            if self.agenda().has_changed() {
                let latest = Instant::now() + keep_within;
                keep_at = Some(keep_at.map_or(latest, |at| at.min(latest)));
            }
            if ended.is_ok() && keep_at.take_if(|at| *at <= Instant::now()).is_some() {
                ended = self.keep_plans().await;
            }
        }
        self.stop_runs.cancel();
        while let Some(group) = running.next().await {
            ended = ended.and(self.note(group));
        }
        while let Ok((id, ending)) = ended_early.try_recv() {
            self.note_one(&id, ending);
        }
        tasks.stop().await;
        match ended {
            Ok(()) => self.keep_plans().await,
            failed => failed,
        }
    }

    fn begin(
        &self,
        start: Start,
        tasks: &Tasks,
        early: &mpsc::UnboundedSender<(PairId, Ending)>,
    ) -> BoxFuture<'static, GroupEnded> {
        let InForce { assembly, runner } = self.in_force();
        let publication = assembly.config.publications.get(start.publication.as_str());
        let deadline = match (start.job, publication) {
            (Job::Run(_), Some(publication)) => publication.deadline,
            (Job::Run(_) | Job::Compare, _) => Duration::ZERO,
        };
        let mut switches = Vec::new();
        for id in &start.pairs {
            let switch = StopSwitch::below(&self.stop_runs).after(deadline);
            self.switches().insert(id.clone(), switch.clone());
            switches.push(switch);
        }
        let (early, comparisons) = (early.clone(), Arc::clone(&self.comparisons));
        let group = Group { assembly, runner, comparisons, early, start: start.clone(), switches };
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
        for (id, ending) in group? {
            self.note_one(&id, ending);
        }
        Ok(())
    }

    fn note_one(&self, id: &PairId, ending: Ending) {
        self.switches().remove(id);
        self.comparisons.left(id, self.now());
        self.agenda().ended(id, ending, self.now());
    }

    /// A run whose connection has closed stops, and goes on when that opens.
    fn stop_what_closed(&self) {
        let to_stop = self.agenda().to_stop(self.now());
        for (id, connection) in to_stop {
            if let Some(switch) = self.switches().get(&id) {
                switch.stop(Interruption::Closed { connection });
            }
        }
    }

    /// A secret that cannot be read holds the pairs of its connection and nobody else, until it can.
    async fn look_for_secrets(&self) {
        let needed = {
            let mut agenda = self.agenda();
            agenda.look(self.now());
            agenda.needed()
        };
        if needed.is_empty() {
            return;
        }
        let assembly = self.assembly();
        // A thread is woken for files alone: this is done before each run.
        let (in_files, at_hand): (Vec<String>, Vec<String>) =
            needed.into_iter().partition(|name| assembly.has_secrets_in_files(name));
        let mut locked = locked_of(&assembly, at_hand);
        if !in_files.is_empty() {
            let looking = tokio::task::spawn_blocking(move || locked_of(&assembly, in_files));
            locked.extend(looking.await.expect("reading secrets does not panic"));
        }
        let mut said = self.locked.lock().expect("nothing panics while it holds what is locked");
        for (connection, why) in locked.iter().filter(|(name, _)| !said.contains_key(*name)) {
            tracing::error!(connection, why, "a secret cannot be read: its pairs wait for it");
        }
        said.clone_from(&locked);
        self.agenda().set_locked(locked);
    }

    /// From now on runs begin under this configuration. What runs ends under its own.
    pub(super) async fn put_in_force(&self, assembly: Arc<Assembly>) -> Result<(), DaemonError> {
        let planned = Planned::read(Arc::clone(&assembly)).await?;
        let surroundings =
            assembly.surroundings(observers(&self.watch, &self.progress), self.stop_runs.clone());
        let before = {
            let mut in_force =
                self.in_force.write().expect("nothing panics while it holds what is in force");
            let runner = Arc::new(in_force.runner.with(surroundings));
            std::mem::replace(&mut *in_force, InForce { assembly: Arc::clone(&assembly), runner })
        };
        planned.put_on(&mut self.agenda(), assembly.clock.now());
        for pair in before.assembly.all_pairs() {
            if assembly.pair(&pair.id).is_none() {
                assembly.metrics.forget_pair(&pair.id);
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    /// What is wrong with the configuration on disk, where another is in force.
    pub fn refused_configuration(&self) -> Option<RefusedConfiguration> {
        self.refused.lock().expect("nothing panics while it holds what was refused").clone()
    }

    /// `None` where it was mended.
    pub(super) fn refuse_configuration(&self, problems: Option<Vec<ConfigurationProblem>>) {
        let since = self.now();
        let mut refused =
            self.refused.lock().expect("nothing panics while it holds what was refused");
        *refused = problems.map(|problems| RefusedConfiguration { since, problems });
    }

    /// Writes down every plan that has changed, in one step; on disk when it returns.
    async fn keep_plans(&self) -> Result<(), DaemonError> {
        let _turn = self.keeping.lock().await;
        let changed = self.agenda().take_changed();
        if changed.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.assembly().store);
        store.keep_plans(changed).await.map_err(state_failed)
    }

    /// Nothing of these pairs begins before `until`, or before somebody resumes them; what runs goes
    /// on. Tells how many there are on the agenda.
    pub async fn pause(
        &self,
        pairs: &[PairId],
        until: Option<Timestamp>,
        reason: Option<String>,
    ) -> Result<usize, DaemonError> {
        let since = self.now();
        self.change(pairs, |agenda, id| {
            agenda.pause(id, Pause { since, until, reason: reason.clone() })
        })
        .await
    }

    /// What fell due meanwhile is due now, and once.
    pub async fn resume(&self, pairs: &[PairId]) -> Result<usize, DaemonError> {
        self.change(pairs, |agenda, id| agenda.resume(id)).await
    }

    async fn change(
        &self,
        pairs: &[PairId],
        change: impl Fn(&mut Agenda, &PairId) -> bool,
    ) -> Result<usize, DaemonError> {
        let changed = {
            let mut agenda = self.agenda();
            pairs.iter().filter(|id| change(&mut agenda, id)).count()
        };
        self.keep_plans().await?;
        self.changed.notify_one();
        Ok(changed)
    }

    /// Runs these pairs now, or as soon as nothing holds them; on disk when it returns, so that a
    /// restart does not forget it.
    pub async fn run_now(
        &self,
        pairs: &[PairId],
        wanted: Wanted,
    ) -> Result<Vec<(PairId, Wish)>, DaemonError> {
        let wishes = {
            let (mut agenda, now) = (self.agenda(), self.now());
            pairs.iter().map(|id| (id.clone(), agenda.want(id, wanted, now))).collect()
        };
        self.keep_plans().await?;
        self.changed.notify_one();
        Ok(wishes)
    }

    /// Compares both ends of the pair as soon as nothing holds it.
    pub(super) fn compare_now(
        &self,
        pair: &PairId,
        options: &VerifyOptions,
    ) -> Result<ComparisonShown, DeskError> {
        let now = self.now();
        let asked = self.comparisons.ask(pair, options, now)?;
        let refused = |why: String| {
            self.comparisons.end(&asked.id, comparisons::fault("refused", &why), now);
            Err(DeskError::Conflict(why))
        };
        // One that has begun already is not begun once more.
        if self.comparisons.find(&asked.id).is_some_and(|(_, _, has_begun)| has_begun) {
            return Ok(asked);
        }
        match self.agenda().want_comparison(pair, now) {
            Wish::Granted | Wish::AlreadyRunning => {}
            Wish::Paused => return refused(format!("{pair} is paused: resume it first")),
            Wish::Unknown => {
                return refused(format!("the configuration no longer names {pair}"));
            }
        }
        self.changed.notify_one();
        Ok(asked)
    }

    /// A comparison that somebody asked for, and what holds it.
    pub(super) fn comparison(&self, id: &str) -> Option<(PairId, ComparisonShown)> {
        let (pair, mut shown, has_begun) = self.comparisons.find(id)?;
        if !has_begun && shown.ended_at.is_none() {
            let held = self.agenda().waits_for(&pair, self.now());
            shown.waits_for = Some(held.unwrap_or_else(|| "the run of the pair".to_owned()));
        }
        Some((pair, shown))
    }

    /// Tells a comparison to end, begun or not; `false` where it has.
    pub(super) fn cancel_comparison(&self, id: &str) -> bool {
        let Some((pair, shown, has_begun)) = self.comparisons.find(id) else { return false };
        if shown.ended_at.is_some() {
            return false;
        }
        if has_begun {
            return !self.cancel(&[pair]).is_empty();
        }
        self.agenda().unwant_comparison(&pair);
        let why = comparisons::fault("cancelled", "it was cancelled before it began");
        self.comparisons.end(&shown.id, why, self.now());
        true
    }

    /// Parked items of this pair are due now: somebody has said so.
    pub async fn parked_due(&self, pair: &PairId) -> Result<(), DaemonError> {
        let now = self.now();
        self.change(std::slice::from_ref(pair), |agenda, id| agenda.parked_due(id, now)).await?;
        Ok(())
    }

    /// Stops what these pairs run; the next tick goes on with it. Tells which ran.
    pub fn cancel(&self, pairs: &[PairId]) -> Vec<PairId> {
        let switches = self.switches();
        let stopped = pairs.iter().filter(|id| {
            let switch = switches.get(id);
            switch.inspect(|switch| switch.stop(Interruption::Cancelled)).is_some()
        });
        stopped.cloned().collect()
    }

    /// The configuration in force.
    pub fn assembly(&self) -> Arc<Assembly> {
        self.in_force().assembly
    }

    pub(super) fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether the pair runs or is compared.
    pub(super) fn runs(&self, pair: &PairId) -> bool {
        self.switches().contains_key(pair)
    }

    pub(super) async fn status(&self) -> Result<Vec<PairStatus>, StateError> {
        status::status(&self.assembly(), self).await
    }

    fn in_force(&self) -> InForce {
        self.in_force.read().expect("nothing panics while it holds what is in force").clone()
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().expect("nothing panics while it holds the agenda")
    }

    fn switches(&self) -> MutexGuard<'_, BTreeMap<PairId, StopSwitch>> {
        self.switches.lock().expect("nothing panics while it holds the switches")
    }

    fn now(&self) -> Timestamp {
        self.in_force().assembly.clock.now()
    }
}

/// Those of these connections whose secrets cannot be read, each with why.
fn locked_of(assembly: &Assembly, connections: Vec<String>) -> BTreeMap<String, String> {
    let why = |name: String| assembly.locked(&name).map(|why| (name, why));
    connections.into_iter().filter_map(why).collect()
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn observers(watch: &Arc<Watch>, progress: &Arc<Progress>) -> Vec<Arc<dyn Observer>> {
    vec![Arc::clone(watch) as _, Arc::clone(progress) as _, Arc::new(RunLog)]
}

impl LivePairs for AtWork {
    fn live(&self, pair: &PairId) -> Option<LivePair> {
        self.assembly().pair(pair)?;
        let seen = self.watch.of(pair);
        let (agenda, now) = (self.agenda(), self.now());
        Some(LivePair {
            run_id: seen.run_id,
            newest: seen.newest,
            waits_for: agenda.waits_for(pair, now),
            next_run_at: agenda.next_of(pair, now),
        })
    }
}
