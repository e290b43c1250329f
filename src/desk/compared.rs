//! How complete a pair is: the last comparison of its ends, and what may be told of it to the one
//! who owns the data. No natural keys are in either.

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

/// `tidemark report` of one pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompletenessReport {
    pub publication: String,
    pub target: String,
    /// `null` where the ends were never compared.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    /// The source's version that was compared.
    pub version: Option<i64>,
    pub resources: Vec<ResourceReported>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResourceReported {
    pub resource: String,
    /// `null` where it was not counted.
    pub source: Option<u64>,
    pub target: Option<u64>,
    pub parked: u64,
    pub dead: u64,
    /// It is not selected.
    pub excluded: bool,
}
