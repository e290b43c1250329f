//! Comparisons of both ends of a pair: asked for, under way and ended. No natural keys are in them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RunFault;
use crate::clock::Timestamp;

/// What a person wants of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparing {
    /// Only these, by path or by collection alone; empty: every selected resource.
    pub resources: Vec<String>,
    /// Compare the bodies too.
    pub content: bool,
    /// Publish what is missing or different.
    pub repair: bool,
    /// Delete what only the target has: sole writer only (R3).
    pub delete_extra: bool,
    /// The delete brake was looked at by a person (R27).
    pub allow_deletes: bool,
}

/// A comparison that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComparisonShown {
    pub id: String,
    pub publication: String,
    pub target: String,
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// What holds it; `null` once it has begun.
    pub waits_for: Option<String>,
    /// Resources that are compared already.
    pub compared: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// When the comparison began that this one went on with.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub goes_on_from: Option<Timestamp>,
    /// What it found; `null` until it has ended, and when it failed.
    pub found: Option<VerificationShown>,
    /// Why it ended without.
    pub error: Option<RunFault>,
}

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
