//! Completeness, for the one who owns the data. No natural key is in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// How much of its source the target of one pair has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub publication: String,
    pub target: String,
    /// `null` where the ends were never compared.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    /// The source's version that was compared.
    pub version: Option<i64>,
    pub resources: Vec<ReportedResource>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedResource {
    pub resource: String,
    /// `null` where it was not counted.
    pub source: Option<u64>,
    pub target: Option<u64>,
    pub parked: u64,
    pub dead: u64,
    /// It is not selected.
    pub excluded: bool,
}
