//! What happens during a run, as it happens: for progress bars, metrics and logs.
//!
//! Events name resources and counts, never items.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::{ResourcePath, Stage, Tally, Window};
use crate::sources::SourceError;
use crate::state::{BlockCause, PairId};

use super::RunError;
use super::report::RunReport;

/// Something that happened in a run of `pair`.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    RunStarted {
        pair: &'a PairId,
        run: &'a str,
        window: Window,
        at: Timestamp,
    },
    StageStarted {
        pair: &'a PairId,
        stage: Stage,
    },
    /// `expected` items, when somebody asked for totals and the source told.
    ResourceStarted {
        pair: &'a PairId,
        stage: Stage,
        resource: &'a ResourcePath,
        expected: Option<u64>,
    },
    /// `tally` is what was settled since the last event of this resource.
    Settled {
        pair: &'a PairId,
        stage: Stage,
        resource: &'a ResourcePath,
        tally: Tally,
    },
    ResourceFinished {
        pair: &'a PairId,
        stage: Stage,
        resource: &'a ResourcePath,
    },
    /// For metrics alone: no bar and no line of a log moves by it.
    Noted {
        pair: &'a PairId,
        noted: Noted,
    },
    RunEnded {
        pair: &'a PairId,
        report: &'a RunReport,
    },
}

/// What is worth a count and no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The target has taken a change so long after the source says that it was made.
    Arrived {
        after: Duration,
    },
    /// A parked item was tried again, in one of the words of the tally.
    Retried {
        outcome: &'static str,
    },
    Anomaly(Anomaly),
}

/// A source that was not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    SnapshotMissing,
    SnapshotReplaced,
    /// What a proxy or a sign-in page answers, a page that was cut off, another shape.
    UnexpectedAnswer,
    SourceRegressed,
    HistoryPurged,
    HistoryChanged,
    SourceChanged,
    ScopeNarrowed,
    ScopeWidened,
}

impl Anomaly {
    pub const ALL: [Anomaly; 9] = [
        Anomaly::SnapshotMissing,
        Anomaly::SnapshotReplaced,
        Anomaly::UnexpectedAnswer,
        Anomaly::SourceRegressed,
        Anomaly::HistoryPurged,
        Anomaly::HistoryChanged,
        Anomaly::SourceChanged,
        Anomaly::ScopeNarrowed,
        Anomaly::ScopeWidened,
    ];

    /// As the metric labels spell it: as errors and blocks do, where there is one.
    pub fn as_str(self) -> &'static str {
        match self {
            Anomaly::SnapshotMissing => "snapshot-missing",
            Anomaly::SnapshotReplaced => "snapshot-replaced",
            Anomaly::UnexpectedAnswer => "unexpected-answer",
            Anomaly::SourceRegressed => BlockCause::SourceRegressed.as_str(),
            Anomaly::HistoryPurged => BlockCause::HistoryPurged.as_str(),
            Anomaly::HistoryChanged => BlockCause::HistoryChanged.as_str(),
            Anomaly::SourceChanged => BlockCause::SourceChanged.as_str(),
            Anomaly::ScopeNarrowed => BlockCause::ScopeNarrowed.as_str(),
            Anomaly::ScopeWidened => "scope-widened",
        }
    }

    /// The one that a run failed by, if it did.
    pub(super) fn behind(error: &RunError) -> Option<Anomaly> {
        match error {
            RunError::Source(error) => Anomaly::of_source(error),
            RunError::View(error) => Anomaly::of_source(error),
            RunError::Blocked { cause, .. } => Anomaly::of_block(*cause),
            RunError::Target(_)
            | RunError::State(_)
            | RunError::FirstRun { .. }
            | RunError::Selection(_)
            | RunError::MissingAtTarget { .. }
            | RunError::CannotTell { .. }
            | RunError::MostlyRefused { .. }
            | RunError::TooManyParked { .. }
            | RunError::UnknownKey { .. }
            | RunError::NotSoleWriter { .. }
            | RunError::Spool(_)
            | RunError::Interrupted
            | RunError::Stopped(_)
            | RunError::Defect
            | RunError::NotConserved => None,
        }
    }

    fn of_source(error: &SourceError) -> Option<Anomaly> {
        match error {
            SourceError::SnapshotMissing { .. } => Some(Anomaly::SnapshotMissing),
            SourceError::SnapshotReplaced { .. } => Some(Anomaly::SnapshotReplaced),
            SourceError::Shape { .. } => Some(Anomaly::UnexpectedAnswer),
            SourceError::Http { .. }
            | SourceError::Refused { .. }
            | SourceError::Unusable { .. } => None,
        }
    }

    fn of_block(cause: BlockCause) -> Option<Anomaly> {
        match cause {
            BlockCause::SourceRegressed => Some(Anomaly::SourceRegressed),
            BlockCause::HistoryPurged => Some(Anomaly::HistoryPurged),
            BlockCause::HistoryChanged => Some(Anomaly::HistoryChanged),
            BlockCause::SourceChanged => Some(Anomaly::SourceChanged),
            BlockCause::ScopeNarrowed => Some(Anomaly::ScopeNarrowed),
            BlockCause::TargetRegressed
            | BlockCause::TargetChanged
            | BlockCause::Deletes
            | BlockCause::Orphan => None,
        }
    }
}

/// Watches runs. Called from many tasks at once; must not block.
pub trait Observer: Send + Sync {
    fn observe(&self, event: &Event<'_>);

    /// True when somebody wants to know how old changes are when they arrive.
    fn wants_ages(&self) -> bool {
        false
    }

    /// True when somebody looks at an estimate: a first run then asks the source for totals.
    fn wants_totals(&self) -> bool {
        false
    }
}

/// Everyone who watches.
#[derive(Clone, Default)]
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observers {
    pub fn tell(&self, event: &Event<'_>) {
        for observer in &self.0 {
            observer.observe(event);
        }
    }

    pub fn want_ages(&self) -> bool {
        self.0.iter().any(|observer| observer.wants_ages())
    }

    pub fn want_totals(&self) -> bool {
        self.0.iter().any(|observer| observer.wants_totals())
    }
}
