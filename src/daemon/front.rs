//! What the server is told, whatever phase the daemon is in.

use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;

use super::Assembly;
use super::at_work::AtWork;
use super::desk::{FleetDesk, Written};
use super::planning::timetable;
use crate::desk::{Caller, Desk, PairCondition, PairStatus};
use crate::metrics::PairFigures;
use crate::server::Answers;
use crate::state::PairId;

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
        compared_equal: pair.compared_equal,
    }
}
