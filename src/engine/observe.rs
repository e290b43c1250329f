//! What happens during a run, as it happens: for progress bars, metrics and logs.
//!
//! Events name resources and counts, never items.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::domain::{ResourcePath, Stage, Tally, Window};
use crate::state::PairId;

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
    RunEnded {
        pair: &'a PairId,
        report: &'a RunReport,
    },
}

/// Watches runs. Called from many tasks at once; must not block.
pub trait Observer: Send + Sync {
    fn observe(&self, event: &Event<'_>);

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

    pub fn want_totals(&self) -> bool {
        self.0.iter().any(|observer| observer.wants_totals())
    }
}
