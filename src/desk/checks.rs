//! What a look at connections and pairs found.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The findings, connection by connection (contract, `{"checks":[…]}`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checks {
    pub checks: Vec<Check>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    pub connection: String,
    /// What was looked at, such as `snapshots`.
    pub check: String,
    pub status: CheckStatus,
    pub message: String,
    /// What to do about it; `null` where there is nothing to do.
    pub action: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    Ok,
    Warning,
    Error,
}
