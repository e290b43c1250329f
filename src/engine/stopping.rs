//! How one run is stopped while others go on, and why it was.
//!
//! The one thing to know: a run that is stopped ends at its next item and keeps what it has settled,
//! page by page; the next one goes on from there (R12).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Why a run ended before it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// It lasted longer than it may.
    Deadline,
    /// A person wanted it to end.
    Cancelled,
    /// A connection of this name is left alone from now on, for hours.
    Closed { connection: String },
}

impl Interruption {
    /// `error.kind` of the report.
    pub fn kind(&self) -> &'static str {
        match self {
            Interruption::Deadline => "deadline",
            Interruption::Cancelled => "cancelled",
            Interruption::Closed { .. } => "closed",
        }
    }
}

/// Stops one run; clones stop the same one.
#[derive(Clone, Debug)]
pub struct StopSwitch {
    token: CancellationToken,
    why: Arc<OnceLock<Interruption>>,
    deadline: Option<Duration>,
}

impl StopSwitch {
    /// Also stops when `all` does, which has no reason of its own.
    pub fn below(all: &CancellationToken) -> StopSwitch {
        StopSwitch { token: all.child_token(), why: Arc::default(), deadline: None }
    }

    /// Stops when the run has lasted so long; zero: never.
    pub fn after(self, deadline: Duration) -> StopSwitch {
        StopSwitch { deadline: (!deadline.is_zero()).then_some(deadline), ..self }
    }

    /// The first reason counts.
    pub fn stop(&self, why: Interruption) {
        self.why.get_or_init(|| why);
        self.token.cancel();
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) fn why(&self) -> Option<Interruption> {
        self.why.get().cloned()
    }
}
