//! The report of a run, as `run --output json` prints it (contract).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::{Outcome, Stages, Window};

use super::RunError;
use super::stopping::Interruption;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub id: String,
    pub publication: String,
    pub target: String,
    pub outcome: Outcome,
    /// `null` when the run failed before it had a window, or had nothing to do at a pair that
    /// never ran.
    pub window: Option<Window>,
    pub resumed: bool,
    pub started_at: Timestamp,
    pub duration_seconds: f64,
    pub stages: Stages,
    pub requests: Requests,
    pub error: Option<ReportedError>,
    /// Parked and dead items of the pair when the run had ended. Not part of the printed report.
    #[serde(skip)]
    pub parked: u64,
    #[serde(skip)]
    pub dead: u64,
    /// Deleted people that the target did not show, among the skipped (R26).
    #[serde(skip)]
    pub not_visible: u64,
    /// What a person should know beside the outcome, a sentence each.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// The failure may pass by itself: a scheduler starts the run again.
    #[serde(skip)]
    pub may_pass: bool,
    /// It was stopped, alone.
    #[serde(skip)]
    pub stopped: Option<Interruption>,
}

impl RunReport {
    /// It ended because it was told to, by its deadline, by a person, by closed hours or with the
    /// process, and not for a fault: the next run goes on from there.
    pub fn was_stopped(&self) -> bool {
        let kind = self.error.as_ref().map(|error| error.kind.as_str());
        self.stopped.is_some() || kind == Some(RunError::Interrupted.kind())
    }
}

/// Requests that the run sent, retries included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    pub source: u64,
    pub target: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedError {
    pub kind: String,
    pub message: String,
}

/// The exit status of several reports: of 1, 3 and 0 the worst pair counts, and of a pair the last
/// run (contract, "Exit status").
pub fn exit_status(reports: &[RunReport]) -> u8 {
    let mut last = BTreeMap::new();
    for report in reports {
        last.insert((&report.publication, &report.target), report.outcome);
    }
    if last.values().any(|outcome| *outcome == Outcome::Failed) {
        return 1;
    }
    if last.values().any(|outcome| *outcome == Outcome::Parked) {
        return 3;
    }
    0
}
