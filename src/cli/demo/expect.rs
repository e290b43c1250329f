//! What must have come of a command for the story to go on.

use crate::domain::Outcome;
use crate::sandbox::Sandbox;
use crate::state::RunRecord;

use super::super::failure::{Exit, Failure};

/// The command ended as it should.
pub(super) fn exit(command: &str, ended: Exit, wanted: Exit) -> Result<(), Failure> {
    holds(ended == wanted, || {
        let (ended, wanted) = (ended.code(), wanted.code());
        format!("`tidemark {command}` should have ended with {wanted}, and ended with {ended}")
    })
}

/// The run ended as it should, and can say what became of everything that it took up.
pub(super) fn outcome(target: &str, run: &RunRecord, wanted: Outcome) -> Result<(), Failure> {
    let (ended, wanted) = (run.outcome.as_str(), wanted.as_str());
    holds(ended == wanted && run.stages.is_conserved(), || {
        format!("the run to `{target}` should have ended `{wanted}`, and ended `{ended}`")
    })
}

pub(super) fn count(what: &str, counted: u64, wanted: u64) -> Result<(), Failure> {
    holds(counted == wanted, || format!("{what} should be {wanted}, and are {counted}"))
}

pub(super) fn at_least(what: &str, counted: u64, wanted: u64) -> Result<(), Failure> {
    holds(counted >= wanted, || format!("{what} should be {wanted} or more, and are {counted}"))
}

/// The sandboxes themselves agree, without Tidemark's word for it: the same resources, keys and
/// bodies.
pub(super) fn same_content(source: &Sandbox, name: &str, target: &Sandbox) -> Result<(), Failure> {
    let (ours, theirs) = (source.all(), target.all());
    for (resource, items) in &ours {
        let same = theirs.get(resource) == Some(items);
        holds(same, || format!("{resource} is not the same at the source and at `{name}`"))?;
    }
    holds(ours.len() == theirs.len(), || format!("`{name}` has resources that the source has not"))
}

pub(super) fn holds(it_does: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if it_does {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the demo did not go as its story says: {}; please report this",
        otherwise()
    )))
}
