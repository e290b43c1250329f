//! What was done, by whom and why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::state::AuditRecord;

/// One line of the audit. Natural keys are never in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub by: String,
    /// Such as `watermark set`.
    pub action: String,
    /// `None` where it was about several pairs, which `what` counts.
    pub publication: Option<String>,
    pub target: Option<String>,
    /// What of it, in a few words: `to 230`, `3 items`.
    pub what: String,
    pub reason: Option<String>,
}

impl From<AuditRecord> for AuditEntry {
    fn from(record: AuditRecord) -> AuditEntry {
        let (publication, target) = record.pair.map(|pair| (pair.publication, pair.target)).unzip();
        AuditEntry {
            id: record.id,
            at: record.at,
            by: record.by,
            action: record.action,
            publication,
            target,
            what: record.what,
            reason: record.reason,
        }
    }
}
