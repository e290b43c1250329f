//! The daemon: runs every publication when it is due, and answers for it, until it is told to stop.
//!
//! What lives here: the life of the process. What does not: the loop that runs what is due
//! (`at_work.rs`), what is due (`agenda.rs`), what a run does (`engine/`). The one thing to know: it
//! answers before its state is open and until its last run has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::at_work::AtWork;
use super::backups::BackupRound;
use super::desk::Written;
use super::front::{Front, Phase};
use super::reload::Reloader;
#[cfg(feature = "otlp")]
use super::traces::Traces;
use super::verbosity::Verbosity;
use super::{Assembly, AssemblyError, Prepared, open_state, prepare, spool_directory};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::verify::discard_what_nobody_needs;
use crate::schedule::{Bell, ScheduleError};
use crate::server::{Answers, Progress, Server, ServerError};
use crate::state::backup::Backups;
use crate::state::{StateError, StateStore};
use crate::tasks::Tasks;
use crate::telemetry::Telling;

pub use super::reload::Reloading;

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
    reloading: Reloading,
    telling: Telling,
    wait_for_state: Duration,
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    let env = reloading.env.clone();
    let daemon = Daemon::listen(config).await?.reloading(reloading).telling(telling);
    daemon.run(&env, wait_for_state, stop).await
}

/// A daemon that can be asked how it is, before and while it runs.
pub struct Daemon {
    config: Config,
    front: Arc<Front>,
    progress: Arc<Progress>,
    server: Arc<Server>,
    reloading: Option<Reloading>,
    telling: Mutex<Option<Telling>>,
}

/// Leads to a daemon that runs, from when its state is open until it stops.
#[derive(Clone)]
pub struct Handle {
    front: Arc<Front>,
}

impl Handle {
    /// `None` while the state is not open, and when the daemon stops.
    pub fn at_work(&self) -> Option<Arc<AtWork>> {
        self.front.at_work()
    }
}

impl Daemon {
    pub async fn listen(config: Config) -> Result<Daemon, DaemonError> {
        let front = Arc::new(Front::default());
        let answers = Arc::clone(&front) as Arc<dyn Answers>;
        let progress = Arc::new(Progress::default());
        let server = Server::start(&config.server, answers, Arc::clone(&progress)).await;
        let server = Arc::new(server.map_err(DaemonError::Server)?);
        tracing::info!(address = %server.address(), "listening");
        Ok(Daemon { config, front, progress, server, reloading: None, telling: Mutex::default() })
    }

    /// Takes another configuration when there is one.
    pub fn reloading(self, reloading: Reloading) -> Daemon {
        let Reloading { path, env, .. } = reloading.clone();
        self.front.is_written(Written { path, env });
        Daemon { reloading: Some(reloading), ..self }
    }

    /// How much is logged can be changed while it runs, and traces can be sent.
    pub fn telling(self, telling: Telling) -> Daemon {
        Daemon { telling: Mutex::new(Some(telling)), ..self }
    }

    /// To ask it for something while it runs.
    pub fn handle(&self) -> Handle {
        Handle { front: Arc::clone(&self.front) }
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
        let prepared = self.prepare(env, &stop);
        let Some(store) = self.wait_for_state(wait_for_state, &stop).await? else {
            return Ok(());
        };
        let prepared = prepared.await.expect("preparing does not panic");
        let assembly = Arc::new(prepared.map_err(DaemonError::Assembly)?.on(store));
        discard_old_comparisons(&assembly).await?;
        let progress = Arc::clone(&self.progress);
        let telling = self.telling.lock().expect("nothing panics while it holds these").take();
        let switch = telling.as_ref().map(|telling| telling.switch.clone());
        let verbosity = Verbosity::new(switch, assembly.clock.clone());
        let at_work = AtWork::new(Arc::clone(&assembly), progress, verbosity, &stop).await?;
        let at_work = Arc::new(at_work);
        let bell = Bell::start().await.map_err(DaemonError::Bell)?;
        self.front.enter(Phase::AtWork(Arc::clone(&at_work)));
        tracing::info!(
            publications = assembly.pairs.len(),
            pairs = assembly.all_pairs().count(),
            "ready"
        );
        let beside = start_backups(&assembly);
        #[cfg(feature = "otlp")]
        start_traces(&beside, &assembly, telling)?;
        let (quiet, until) = (Arc::clone(&at_work), beside.stop_token());
        beside.spawn("log level", async move { quiet.verbosity().go_on(until).await });
        if let Some(reloading) = self.reloading.clone() {
            let server = Arc::clone(&self.server);
            let reloader = Reloader::new(reloading, Arc::clone(&at_work), server);
            beside.spawn("reloading", reloader.go_on(beside.stop_token()));
        }
        let ended = at_work.run(&bell, &stop).await;
        beside.stop().await;
        bell.stop().await;
        ended
    }

    /// Begins at once, on a thread of its own: a state takes as long to open.
    fn prepare(
        &self,
        env: &BTreeMap<String, String>,
        stop: &CancellationToken,
    ) -> JoinHandle<Result<Prepared, AssemblyError>> {
        let (config, env, stop) = (self.config.clone(), env.clone(), stop.clone());
        tokio::task::spawn_blocking(move || prepare(config, &env, Clock::system(), &stop))
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

/// Traces are sent where the configuration says so.
#[cfg(feature = "otlp")]
fn start_traces(
    beside: &Tasks,
    assembly: &Assembly,
    telling: Option<Telling>,
) -> Result<(), DaemonError> {
    let (Some(endpoint), Some(telling)) = (&assembly.config.otlp, telling) else { return Ok(()) };
    let traces = Traces::to(endpoint, telling.spans, assembly.clock.clone());
    let traces = traces.map_err(|source| {
        let connection = "telemetry.otlp".to_owned();
        DaemonError::Assembly(AssemblyError::Connection { connection, source })
    })?;
    beside.spawn("traces", traces.go_on(beside.stop_token()));
    Ok(())
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
