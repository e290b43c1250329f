//! What the server is told, whatever phase the daemon is in.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::at_work::AtWork;
use super::status::{self, PairStatus, StatusReport};
use crate::metrics::PairFigures;
use crate::server::Answers;
use crate::state::PairId;

#[derive(Default)]
pub(super) struct Front {
    phase: Mutex<Phase>,
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

    fn phase(&self) -> Phase {
        self.phase.lock().expect("nothing panics while it holds the phase").clone()
    }

    pub(super) fn at_work(&self) -> Option<Arc<AtWork>> {
        match self.phase() {
            Phase::AtWork(at_work) => Some(at_work),
            Phase::WaitingForState | Phase::Stopping => None,
        }
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
                for pair in
                    pairs.iter().filter(|pair| pair.state != status::PairCondition::Orphaned)
                {
                    let id = PairId {
                        publication: pair.publication.clone(),
                        target: pair.target.clone(),
                    };
                    metrics.show(&id, &figures(pair));
                }
            }
            Err(error) => tracing::error!(%error, "the metrics of pairs are those of before"),
        }
        Some(metrics.text())
    }

    async fn pairs(&self) -> Result<serde_json::Value, String> {
        let Some(at_work) = self.at_work() else {
            return Err(self.missing().unwrap_or_default());
        };
        let pairs = at_work.status().await.map_err(|error| error.to_string())?;
        serde_json::to_value(StatusReport { pairs }).map_err(|error| error.to_string())
    }
}

fn figures(pair: &PairStatus) -> PairFigures {
    PairFigures {
        state: pair.state.as_str(),
        watermark: pair.watermark,
        newest: pair.newest,
        lag_versions: pair.lag_versions,
        parked: pair.parked,
        dead: pair.dead,
        failed_runs: pair.failed_runs,
        last_success: pair.caught_up_at,
        next_run: pair.next_run_at,
        compared_equal: pair.compared_equal,
    }
}
