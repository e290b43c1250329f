//! Who owns what of a target (R28a): what others write too, and what belongs to somebody else.
//!
//! The one thing to know: in neither is anything renamed or deleted, because what this source does
//! not have may be another's. In the second, what is there stays as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{Item, ParkReason, ResourceGraph, ResourcePath, SelectionError, named};
use crate::state::Operation;
use crate::targets::{Match, Refusal};

use super::apply::Settled;
use super::parked::Parking;
use super::remembered::hash_of;
use super::under_way::Run;
use super::{Policy, RunError};

/// What a pair may do to the resources of its target.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership {
    shared: BTreeSet<ResourcePath>,
    create_only: BTreeSet<ResourcePath>,
}

impl Ownership {
    /// Reads the names of the policy; `resources` knows those of both ends.
    pub(super) fn of(
        policy: &Policy,
        resources: &ResourceGraph,
    ) -> Result<Ownership, SelectionError> {
        Ok(Ownership {
            shared: named("shared", &policy.shared, resources)?,
            create_only: named("create_only", &policy.create_only, resources)?,
        })
    }

    /// Nothing of it is renamed or deleted unless this pair alone writes it.
    pub(super) fn is_own(&self, resource: &ResourcePath) -> bool {
        !self.shared.contains(resource) && !self.is_create_only(resource)
    }

    pub(super) fn is_create_only(&self, resource: &ResourcePath) -> bool {
        self.create_only.contains(resource)
    }
}

/// Whether the target's item stays as it is, because it is there and belongs to somebody else.
/// What is doubtful is not written either: it is parked.
pub(super) async fn left_alone(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
) -> Result<Option<Settled>, RunError> {
    if !run.ownership.is_create_only(resource) {
        return Ok(None);
    }
    let key = run.key_of(resource, item).await?;
    let members = match &key {
        None => Vec::new(),
        Some(key) => {
            match run.target(|target| target.find(resource, key)).await.map_err(RunError::Target)? {
                Match::None => return Ok(None),
                Match::One(_) => {
                    run.book().settle(resource, &item.id, Some(key));
                    return Ok(Some(Settled::Skipped));
                }
                Match::Doubtful { members } => members,
            }
        }
    };
    run.park(Parking {
        resource: resource.clone(),
        source_id: Some(item.id.clone()),
        key,
        operation: Operation::Upsert,
        reason: ParkReason::Doubtful,
        refusal: Refusal { members, ..Refusal::default() },
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: Some(hash_of(item)),
        news: false,
    })?;
    Ok(Some(Settled::Parked))
}
