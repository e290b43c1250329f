//! What a run would do. No natural keys are in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Window;

/// The plan of one pair (contract, `{"plan":[…]}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanShown {
    pub publication: String,
    pub target: String,
    pub window: Window,
    /// Of a first run: how long it takes if the target goes on answering as it did just now.
    pub estimate_seconds: Option<u64>,
    /// Parked items, which are in no feed and are tried again all the same.
    pub parked: u64,
    /// In the target's order; resources without changes are left out.
    pub resources: Vec<ResourcePlanned>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourcePlanned {
    pub resource: String,
    pub key_changes: u64,
    pub upserts: u64,
    pub deletes: u64,
}
