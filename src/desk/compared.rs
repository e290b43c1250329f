//! The last comparison of both ends of a pair. No natural keys are in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// A comparison of source and target (contract, `{"verify":[…]}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerificationShown {
    pub publication: String,
    pub target: String,
    pub equal: bool,
    #[schema(value_type = String, format = DateTime)]
    pub verified_at: Timestamp,
    pub resources: Vec<ResourceCompared>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceCompared {
    pub resource: String,
    pub source: u64,
    pub target: u64,
    pub missing: u64,
    /// `null` where others write to the same data: extras are not looked for.
    pub extra: Option<u64>,
    pub different: u64,
    /// Missing or different, and parked or dead.
    pub parked: u64,
}
