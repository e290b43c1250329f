//! One item, one target: make it agree, or park its key, or say why the run cannot go on.
//!
//! The table "Answers of a target" of the agreement is [`refused`]. Transport retries are spent
//! below the target's seam; what arrives here is an answer.

use std::sync::Arc;

use crate::domain::{Item, ParkReason, ResourcePath, SourceId};
use crate::sources::Lookup;
use crate::state::{Operation, WaitsFor};
use crate::targets::{Disposition, Refusal, WriteError};

use super::RunError;
use super::observe::Noted;
use super::parked::Parking;
use super::under_way::Run;
use super::{ownership, references, remembered};

/// What became of an item that was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Applied,
    Skipped,
    Parked,
    /// It waits for its association or for the deletes of this run, and is counted then.
    Deferred,
}

impl Settled {
    /// As a tally counts it; `None` for what is not settled yet.
    pub(super) fn as_str(self) -> Option<&'static str> {
        match self {
            Settled::Applied => Some("applied"),
            Settled::Skipped => Some("skipped"),
            Settled::Parked => Some("parked"),
            Settled::Deferred => None,
        }
    }
}

/// Why an item is being written: which refusals are final depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A feed brought it.
    Feed,
    /// It was parked before; refusing it again says nothing about the target as a whole (R23).
    Retry,
    /// A person, once more after its association.
    AfterAssociation,
    /// Once more after the deletes (R25).
    AfterDeletes,
    /// Fetched because something refers to it; how many references deep (R24).
    Referenced(u8),
}

/// References of references of references are fetched; what is deeper is parked.
const DEEPEST_REFERENCE: u8 = 3;
/// A host tells one missing reference at a time; an item with more waits for the next run.
const RESOLUTIONS_PER_ITEM: u8 = 4;

/// Whether somebody else wrote the item at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contention {
    NotYet,
    /// Once: it was read again since, and is tried no more.
    Seen,
}

/// Upserts an item of a page, publishing first what it refers to where that is missing. What a page
/// showed is read again until the view was looked at after it (R11).
pub(super) async fn upsert(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
    turn: Turn,
) -> Result<Settled, RunError> {
    write(run, resource, item, turn, Contention::NotYet).await
}

/// Upserts an item that no page brought. Its own page may be done, in an earlier run of this window
/// too, and is not read again: what a snapshot shows that took the place of the opened one is not
/// written (R11, R12).
pub(super) async fn upsert_out_of_turn(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
    turn: Turn,
) -> Result<Settled, RunError> {
    run.confirm_what_came().await?;
    write(run, resource, item, turn, Contention::NotYet).await
}

async fn write(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
    turn: Turn,
    contention: Contention,
) -> Result<Settled, RunError> {
    if run.is_closed(resource) {
        return Ok(Settled::Skipped);
    }
    if let Some(settled) = ownership::left_alone(run, resource, item).await? {
        return Ok(settled);
    }
    let mut resolutions = 0;
    loop {
        run.check_stop()?;
        let error = match run.target(|target| target.upsert(resource, item)).await {
            Ok(upserted) => {
                note_arrival(run, resource, item);
                run.agreed(resource, item).await?;
                remembered::wrote(run, resource, item, upserted).await?;
                return Ok(Settled::Applied);
            }
            Err(error) => error,
        };
        match error.disposition() {
            Disposition::ResolveReference if resolutions < RESOLUTIONS_PER_ITEM => {
                resolutions += 1;
                let refusal = error.refusal().cloned().unwrap_or_default();
                let missing = Box::pin(references::publish_missing(
                    run,
                    resource,
                    item,
                    &refusal,
                    depth(turn),
                ))
                .await?;
                if missing.published {
                    continue;
                }
                let reason = if missing.outside_selection {
                    ParkReason::ReferenceOutsideSelection
                } else {
                    ParkReason::UnresolvedReference
                };
                return park(run, resource, item, reason, refusal, missing.waits_for, turn).await;
            }
            // 412, or 409 of several users: read again and tried once (agreement, "Answers of a
            // target").
            Disposition::ReadAgain if contention == Contention::NotYet => {
                return Box::pin(read_and_write(run, resource, &item.id, turn, Contention::Seen))
                    .await;
            }
            disposition => return refused(run, resource, item, turn, disposition, error).await,
        }
    }
}

/// Of a change, not of what is published because it was never read: that is as old as it happens to be.
fn note_arrival(run: &Run, resource: &ResourcePath, item: &Item) {
    let is_change = run.window_of(resource).is_some_and(|window| window.after.is_some());
    if !is_change || !run.ages_are_wanted() {
        return;
    }
    if let Some(modified) = remembered::last_modified(item) {
        // Its clock may be ahead of ours.
        let after = (run.now() - modified).to_std().unwrap_or_default();
        run.note(Noted::Arrived { after });
    }
}

/// Reads the item with this id again and upserts it: for what is known by its id alone.
pub(super) async fn upsert_by_id(
    run: &Arc<Run>,
    resource: &ResourcePath,
    id: &SourceId,
    turn: Turn,
) -> Result<Settled, RunError> {
    read_and_write(run, resource, id, turn, Contention::NotYet).await
}

async fn read_and_write(
    run: &Arc<Run>,
    resource: &ResourcePath,
    id: &SourceId,
    turn: Turn,
    contention: Contention,
) -> Result<Settled, RunError> {
    match run.reader.get(resource, id).await.map_err(RunError::Source)? {
        Lookup::Lives(item) => {
            run.confirm_what_came().await?;
            write(run, resource, &item, turn, contention).await
        }
        // Deleted since: its tombstone says so, in this window or the next one.
        Lookup::Absent => Ok(Settled::Skipped),
        Lookup::Hidden => {
            let refusal = Refusal { status: 403, ..Refusal::default() };
            run.park(Parking {
                resource: resource.clone(),
                source_id: Some(id.clone()),
                key: None,
                operation: Operation::Upsert,
                reason: ParkReason::Forbidden,
                refusal,
                waits_for: None,
                named_for_deletion: false,
                target_id: None,
                hash: None,
                news: false,
            })?;
            Ok(Settled::Parked)
        }
    }
}

async fn refused(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
    turn: Turn,
    disposition: Disposition,
    error: WriteError,
) -> Result<Settled, RunError> {
    let refusal = error.refusal().cloned().unwrap_or_default();
    let reason = match disposition {
        Disposition::FailRun => return Err(RunError::Target(error)),
        Disposition::Park(reason) => reason,
        Disposition::ResolveReference => ParkReason::UnresolvedReference,
        Disposition::AwaitAssociation if waits_for_association(run, resource, turn) => {
            // Who waits already is tried again once, and counted then (I14).
            let is_first = run.defer_person(resource, &item.id);
            return Ok(if is_first { Settled::Deferred } else { Settled::Skipped });
        }
        Disposition::AwaitAssociation => ParkReason::Forbidden,
        Disposition::CloseResource => {
            run.close(resource, refusal)?;
            return Ok(Settled::Parked);
        }
        Disposition::AwaitDeletes(_) if turn != Turn::AfterDeletes => {
            run.defer_until_deleted(resource, &item.id);
            return Ok(Settled::Deferred);
        }
        Disposition::AwaitDeletes(reason) => reason,
        // Said of a PUT; on a POST it can only mean that the content is not taken.
        Disposition::PlainAgreement => ParkReason::Invalid,
        Disposition::ReadAgain => ParkReason::Contended,
    };
    park(run, resource, item, reason, refusal, None, turn).await
}

fn waits_for_association(run: &Run, resource: &ResourcePath, turn: Turn) -> bool {
    let first = matches!(turn, Turn::Feed | Turn::Retry | Turn::Referenced(_));
    let associations = run.graph.people().get(resource);
    first && associations.is_some_and(|them| !them.is_empty()) && !run.people_were_retried(resource)
}

async fn park(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
    reason: ParkReason,
    refusal: Refusal,
    waits_for: Option<WaitsFor>,
    turn: Turn,
) -> Result<Settled, RunError> {
    let waiting_reference =
        matches!(reason, ParkReason::UnresolvedReference | ParkReason::ReferenceOutsideSelection);
    if turn != Turn::Retry && !waiting_reference {
        run.count_refusal()?;
    }
    let key = run.key_of(resource, item).await?;
    run.park(Parking {
        resource: resource.clone(),
        source_id: Some(item.id.clone()),
        key,
        operation: Operation::Upsert,
        reason,
        refusal,
        waits_for,
        named_for_deletion: false,
        target_id: None,
        hash: Some(remembered::hash_of(item)),
        news: turn == Turn::Feed,
    })?;
    Ok(Settled::Parked)
}

fn depth(turn: Turn) -> u8 {
    match turn {
        Turn::Referenced(depth) => depth,
        Turn::Feed | Turn::Retry | Turn::AfterAssociation | Turn::AfterDeletes => 0,
    }
}

/// Whether a reference at this depth may still be fetched.
pub(super) fn may_go_deeper(depth: u8) -> bool {
    depth < DEEPEST_REFERENCE
}
