//! What the server is told, whatever phase the daemon is in.

use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;

use super::Assembly;
use super::at_work::AtWork;
use super::desk::{FleetDesk, Written};
use super::planning::timetable;
use crate::certificate;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::desk::{Caller, Desk, PairCondition, PairStatus};
use crate::metrics::{PairFigures, ProcessFigures};
use crate::server::Answers;
use crate::state::{BlockCause, PairId, Room, room};
use crate::telemetry;

/// More closed hours of two ends in a row than this are not looked at.
const MOST_JOINED: usize = 100;

#[derive(Default)]
pub(super) struct Front {
    phase: Mutex<Phase>,
    /// Where the configuration is read again.
    written: OnceLock<Written>,
}

#[derive(Clone, Default)]
pub(super) enum Phase {
    #[default]
    WaitingForState,
    AtWork(Arc<AtWork>),
    Stopping,
}

impl Front {
    pub(super) fn enter(&self, phase: Phase) {
        *self.phase.lock().expect("nothing panics while it holds the phase") = phase;
    }

    /// Said once, before anybody asks.
    pub(super) fn is_written(&self, written: Written) {
        let _known = self.written.set(written);
    }

    fn phase(&self) -> Phase {
        self.phase.lock().expect("nothing panics while it holds the phase").clone()
    }

    pub(super) fn at_work(&self) -> Option<Arc<AtWork>> {
        match self.phase() {
            Phase::AtWork(at_work) => Some(at_work),
            Phase::WaitingForState | Phase::Stopping => None,
        }
    }

    /// Made anew for each question, so that it knows the configuration in force.
    fn fleet(&self) -> Option<FleetDesk> {
        let at_work = self.at_work()?;
        let desk = FleetDesk::new(at_work.assembly(), Some(at_work));
        Some(desk.written(self.written.get().cloned()))
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

    fn notice(&self) -> Option<&'static str> {
        self.at_work()?.refused_configuration().map(|_| {
            "the configuration on disk is refused, and the last good one is in force: `tidemark \
             status` says why"
        })
    }

    async fn metrics(&self) -> Option<String> {
        let at_work = self.at_work()?;
        let assembly = at_work.assembly();
        let metrics = &assembly.metrics;
        match at_work.status().await {
            Ok(pairs) => {
                for pair in pairs.iter().filter(|pair| pair.state != PairCondition::Orphaned) {
                    let id = PairId {
                        publication: pair.publication.clone(),
                        target: pair.target.clone(),
                    };
                    metrics.show(&id, &figures(pair, &assembly));
                }
            }
            Err(error) => tracing::error!(%error, "the metrics of pairs are those of before"),
        }
        metrics.show_process(&process_figures(&assembly.config).await);
        Some(metrics.text())
    }

    fn desk(&self) -> Option<Arc<dyn Desk>> {
        Some(Arc::new(self.fleet()?))
    }

    fn sees(&self, by: &Caller, pair: &PairId) -> bool {
        self.fleet().is_some_and(|desk| desk.sees(by, pair))
    }
}

pub(super) fn figures(pair: &PairStatus, assembly: &Assembly) -> PairFigures {
    let publication = assembly.config.publications.get(pair.publication.as_str());
    let times = publication.and_then(|publication| timetable(publication).ok());
    let tick_after = |moment| times.as_ref().and_then(|times| times.next_after(moment));
    let next = tick_after(assembly.clock.now());
    let measured = &pair.measured;
    PairFigures {
        state: pair.state.as_str(),
        blocked_by: measured.blocked_by.map(BlockCause::as_str),
        watermark: pair.watermark,
        newest: pair.newest,
        lag_versions: pair.lag_versions,
        parked: pair.parked,
        dead: pair.dead,
        waiting_by_reason: measured.waiting_by_reason.clone(),
        oldest_waiting: measured.oldest_waiting,
        failed_runs: pair.failed_runs,
        last_success: pair.caught_up_at,
        fresh_until: pair
            .caught_up_at
            .and_then(tick_after)
            .map(|tick| once_open(tick, &pair.id(), &assembly.config)),
        schedule_interval: next.and_then(|next| Some(tick_after(next)? - next)),
        next_run: pair.next_run_at,
        compared: measured.compared.clone(),
    }
}

/// A run that is due in the closed hours of one of its connections begins when they have ended.
fn once_open(tick: Timestamp, pair: &PairId, config: &Config) -> Timestamp {
    let publication = config.publications.get(pair.publication.as_str());
    let source = publication.map(|publication| publication.source.as_str());
    let ends = source.into_iter().chain([pair.target.as_str()]);
    let hours: Vec<_> = ends
        .filter_map(|name| config.connections.get(name))
        .flat_map(|connection| &connection.closed)
        .collect();
    let mut opens = tick;
    // Each end may close before the other has opened; hours that never end promise nothing more.
    for _ in 0..MOST_JOINED {
        match hours.iter().filter_map(|hours| hours.closed_until(opens)).max() {
            Some(later) if later > opens => opens = later,
            Some(_) | None => break,
        }
    }
    opens
}

async fn process_figures(config: &Config) -> ProcessFigures {
    let state = config.state.path.clone();
    let certificate = config.server.tls.as_ref().map(|tls| tls.certificate.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let Room { taken, free } = room(&state);
        ProcessFigures {
            state_bytes: taken,
            free_bytes: free,
            lost_log_records: telemetry::lost_records(),
            certificate_ends: certificate.as_deref().and_then(certificate::first_to_end),
        }
    });
    looking.await.expect("looking at files does not panic")
}
