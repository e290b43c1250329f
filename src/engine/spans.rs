//! The spans around what is logged: which pair, run, stage and resource it is about.
//!
//! The one thing to know: they name resources and runs, never items. They are of the highest level, so
//! that a warning says what it is about however little else is logged.

use tracing::Span;

use crate::domain::{ResourcePath, Stage};
use crate::state::PairId;

pub(super) fn of_pair(pair: &PairId) -> Span {
    tracing::error_span!("pair", publication = pair.publication, target = pair.target)
}

/// Its outcome is recorded when it has one.
pub(super) fn of_run(id: &str) -> Span {
    tracing::error_span!("run", run = id, outcome = tracing::field::Empty)
}

pub(super) fn of_stage(stage: Stage) -> Span {
    tracing::error_span!("stage", stage = stage.as_str())
}

pub(super) fn of_resource(resource: &ResourcePath) -> Span {
    tracing::error_span!("resource", resource = resource.as_str())
}
