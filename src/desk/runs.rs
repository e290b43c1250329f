//! Runs, as the history tells them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::domain::{Outcome, Stages, Window};
use crate::state::{PairId, RunRecord};

/// One run, ended or under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunShown {
    pub id: String,
    pub publication: String,
    pub target: String,
    /// `None` while it goes on.
    pub outcome: Option<Outcome>,
    pub window: Option<Window>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    pub duration_seconds: Option<f64>,
    pub stages: Stages,
    pub error: Option<RunFault>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunFault {
    pub kind: String,
    pub message: String,
}

impl RunShown {
    pub fn ended(pair: &PairId, run: RunRecord) -> RunShown {
        let duration = (run.ended_at - run.started_at).as_seconds_f64();
        RunShown {
            id: run.id,
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            outcome: Some(run.outcome),
            window: run.window,
            started_at: run.started_at,
            ended_at: Some(run.ended_at),
            duration_seconds: Some(duration),
            stages: run.stages,
            error: run.error.map(|(kind, message)| RunFault { kind, message }),
        }
    }
}

/// What became of an order to run (contract, `POST publications/{publication}/runs`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Started {
    pub runs: Vec<String>,
    /// Ids of runs that went on already.
    pub already_running: Vec<String>,
    /// Targets whose runs begin as soon as nothing holds them.
    #[serde(default)]
    pub waiting: Vec<String>,
}
