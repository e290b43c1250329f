//! What is planned for a pair, so that a restart forgets nothing of it.
//!
//! The one thing to know: a run never writes it, and whoever plans writes nothing else, so that the
//! two do not take each other's word back.

use serde::{Deserialize, Serialize};

use super::LastRun;
use crate::clock::Timestamp;

/// When a pair runs next, and whether it may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The schedule by which `next_tick` was worked out, as a text: by another it is worked out anew.
    pub schedule: String,
    /// A moment that has passed is a tick that was missed.
    pub next_tick: Option<Timestamp>,
    /// Runs that failed since the last tick, for the wait before the next attempt.
    pub failures: u32,
    /// When a run that failed is started again.
    pub again_at: Option<Timestamp>,
    /// When a person asked for a run that has not ended yet.
    pub wanted_at: Option<Timestamp>,
    pub paused: Option<Pause>,
    /// As `next_tick`, of `verify.schedule`.
    pub verify_schedule: String,
    pub next_verify: Option<Timestamp>,
    /// What the last comparison of all resources found, by schedule or because somebody asked for it.
    pub compared: Option<ComparedWhole>,
}

/// What a daemon has to know of a pair to plan for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    pub last_run: Option<LastRun>,
    /// A person has to decide something first.
    pub is_blocked: bool,
    /// As [`super::StateView::plan`].
    pub plan: Option<Plan>,
    pub has_parked: bool,
}

/// Somebody does not want the pair to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: Timestamp,
    /// Then it is over by itself; `None`: when somebody resumes it.
    pub until: Option<Timestamp>,
    pub reason: Option<String>,
}

/// A comparison that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedWhole {
    pub at: Timestamp,
    pub equal: bool,
    #[serde(default)]
    pub unlike: Unlike,
}

/// Items in which two ends differ, of all resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unlike {
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
}
