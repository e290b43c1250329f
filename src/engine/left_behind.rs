//! Target ids that items had before they were written under other keys, where no feed told of it
//! (R7).
//!
//! The one thing to know: an id is no key, so nothing at rest tells what it was called. What it
//! shows now is asked, and goes unless it lives at the source (R5).

use std::sync::Arc;

use crate::domain::{NaturalKey, ParkReason, ResourcePath, Stage, Tally};
use crate::sources::Lookup;
use crate::state::{LeftBehind, Operation};
use crate::targets::{Deleted, Disposition, WriteError};

use super::apply::Settled;
use super::parked::Parking;
use super::under_way::Run;
use super::{Publish, RunError, remembered};

pub(super) async fn delete(run: &Arc<Run>, resource: &ResourcePath) -> Result<(), RunError> {
    if run.pair.policy.key_changes == Publish::Skip {
        return Ok(());
    }
    let left = run.store().left_behind(&run.pair.id).await.map_err(RunError::State)?;
    for left in left.iter().filter(|left| left.resource == *resource) {
        run.check_stop()?;
        run.take_up(Stage::Deletes, 1);
        let settled = agree_that_gone(run, left).await?;
        let seen = Tally { read: 1, ..Tally::default() };
        run.count(Stage::Deletes, resource, settled, seen);
    }
    Ok(())
}

async fn agree_that_gone(run: &Arc<Run>, left: &LeftBehind) -> Result<Settled, RunError> {
    let LeftBehind { resource, target_id, .. } = left;
    let shown = match run.target(|target| target.get(resource, target_id)).await {
        Ok(found) => found.and_then(|found| found.key),
        Err(error) if error.refusal().is_some() => None,
        Err(error) => return Err(RunError::Target(error)),
    };
    let Some(key) = shown else { return Ok(Settled::Skipped) };
    match run.reader.find(resource, &key).await.map_err(RunError::Source)? {
        Lookup::Absent => {}
        Lookup::Lives(_) | Lookup::Hidden => return Ok(Settled::Skipped),
    }
    remembered::deleted(run, resource, target_id).await?;
    match run.target(|target| target.delete(resource, target_id)).await {
        Ok(Deleted::Deleted) => Ok(Settled::Applied),
        Ok(Deleted::AlreadyGone) => Ok(Settled::Skipped),
        Err(error) => park(run, left, key, error),
    }
}

/// Refused: it waits as any other name for a deletion does, by the id that was remembered.
fn park(
    run: &Run,
    left: &LeftBehind,
    key: NaturalKey,
    error: WriteError,
) -> Result<Settled, RunError> {
    let refusal = error.refusal().cloned().unwrap_or_default();
    let reason = match error.disposition() {
        Disposition::FailRun => return Err(RunError::Target(error)),
        Disposition::CloseResource => {
            run.close(&left.resource, refusal)?;
            return Ok(Settled::Parked);
        }
        Disposition::AwaitDeletes(reason) | Disposition::Park(reason) => reason,
        Disposition::AwaitAssociation => ParkReason::Forbidden,
        Disposition::ResolveReference => ParkReason::UnresolvedReference,
        Disposition::PlainAgreement => ParkReason::Invalid,
        Disposition::ReadAgain => ParkReason::Contended,
    };
    run.park(Parking {
        resource: left.resource.clone(),
        source_id: Some(left.id.clone()),
        key: Some(key),
        operation: Operation::Delete,
        reason,
        refusal,
        waits_for: None,
        named_for_deletion: true,
        target_id: Some(left.target_id.clone()),
        hash: None,
        news: false,
    })?;
    Ok(Settled::Parked)
}
