//! Completeness, for the one who owns the data. No natural key is in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, ResourcePath};
use crate::state::{LastRun, Verified};

/// How much of its source the target of one pair has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub publication: String,
    pub target: String,
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
    /// Hash of the selection and policies in force.
    pub configuration: String,
    pub watermark: Option<ChangeVersion>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub caught_up_at: Option<Timestamp>,
    pub last_run: Option<LastRun>,
    /// Every resource of the source, in the target's order.
    pub resources: Vec<ReportedResource>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedResource {
    #[schema(value_type = String)]
    pub resource: ResourcePath,
    /// `None` where the credentials may not read it.
    pub source: Option<u64>,
    /// The same; also `None` where the target does not have it, or where it is excluded.
    pub target: Option<u64>,
    pub parked: u64,
    pub dead: u64,
    /// Items of the source that the configuration leaves out.
    pub excluded: u64,
    /// What the last comparison found, and when, with which version and under which configuration.
    pub verified: Option<Verified>,
}

impl Report {
    /// Those that the configuration selects.
    pub fn selected(&self) -> impl Iterator<Item = &ReportedResource> {
        self.resources.iter().filter(|resource| !resource.is_excluded())
    }
}

impl ReportedResource {
    pub fn is_excluded(&self) -> bool {
        self.excluded > 0
    }

    /// Both ends count the same, and nothing waits.
    pub fn is_whole(&self) -> bool {
        self.source == self.target && self.parked + self.dead == 0
    }

    /// Nothing to tell of it: no item at either end.
    pub fn is_empty(&self) -> bool {
        let nothing = |count: Option<u64>| count.unwrap_or(0) == 0;
        nothing(self.source) && nothing(self.target) && self.parked + self.dead == 0
    }

    /// What the last comparison said; `None` where there was none.
    pub fn was_equal(&self) -> Option<bool> {
        self.verified.as_ref().map(|found| {
            found.missing + found.extra.unwrap_or(0) + found.different + found.parked == 0
        })
    }
}
