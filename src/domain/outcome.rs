//! What became of changes: stages, tallies that must add up, reasons for parking.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The three stages of a run, in the order in which they happen.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    KeyChanges,
    Upserts,
    Deletes,
}

impl Stage {
    pub const ALL: [Stage; 3] = [Stage::KeyChanges, Stage::Upserts, Stage::Deletes];

    /// As the contract and the metric labels spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::KeyChanges => "key_changes",
            Stage::Upserts => "upserts",
            Stage::Deletes => "deletes",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

/// `read = applied + skipped + parked`, for every stage of every run (I14). `read` counts what was
/// taken up, whatever named it; the others count what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    pub read: u64,
    pub applied: u64,
    pub skipped: u64,
    pub parked: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.read += other.read;
        self.applied += other.applied;
        self.skipped += other.skipped;
        self.parked += other.parked;
    }

    /// True when nothing that was taken up is unaccounted for.
    pub fn is_conserved(&self) -> bool {
        self.read == self.applied + self.skipped + self.parked
    }
}

/// The tallies of the three stages of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stages {
    pub key_changes: Tally,
    pub upserts: Tally,
    pub deletes: Tally,
}

impl Stages {
    pub fn of(&self, stage: Stage) -> &Tally {
        match stage {
            Stage::KeyChanges => &self.key_changes,
            Stage::Upserts => &self.upserts,
            Stage::Deletes => &self.deletes,
        }
    }

    pub fn of_mut(&mut self, stage: Stage) -> &mut Tally {
        match stage {
            Stage::KeyChanges => &mut self.key_changes,
            Stage::Upserts => &mut self.upserts,
            Stage::Deletes => &mut self.deletes,
        }
    }

    pub fn is_conserved(&self) -> bool {
        Stage::ALL.iter().all(|stage| self.of(*stage).is_conserved())
    }
}

/// How a run ended (contract, `run --output json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Complete,
    /// Complete, but parked or dead items remain, new or old.
    Parked,
    NothingToDo,
    Failed,
}

impl Outcome {
    pub const ALL: [Outcome; 4] =
        [Outcome::Complete, Outcome::Parked, Outcome::NothingToDo, Outcome::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Parked => "parked",
            Outcome::NothingToDo => "nothing-to-do",
            Outcome::Failed => "failed",
        }
    }
}

/// Why an item waits (contract, `items[].reason`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ParkReason {
    /// 400 or 422: the target will not take this content.
    Invalid,
    /// 403 of a relationship: no association with the caller's organizations yet.
    Forbidden,
    /// 409: something it refers to is not at the target.
    UnresolvedReference,
    /// The same, and what it refers to is outside the selection (R24).
    ReferenceOutsideSelection,
    /// 409 on DELETE: something at the target still refers to it.
    StillReferenced,
    /// 409 on POST: its key or a unique value is taken (R25).
    Taken,
    /// 413, 414.
    TooLarge,
    /// 412, or 409 of several users, twice.
    Contended,
    /// More than one match, a field that differs, or a key that is not known (R1, R4).
    Doubtful,
    /// The whole resource is refused (R23a): one dead record for it.
    ResourceClosed,
    /// An old key that may not go while the item under its new key is parked (R6).
    WaitsForNewKey,
}

impl ParkReason {
    pub const ALL: [ParkReason; 11] = [
        ParkReason::Invalid,
        ParkReason::Forbidden,
        ParkReason::UnresolvedReference,
        ParkReason::ReferenceOutsideSelection,
        ParkReason::StillReferenced,
        ParkReason::Taken,
        ParkReason::TooLarge,
        ParkReason::Contended,
        ParkReason::Doubtful,
        ParkReason::ResourceClosed,
        ParkReason::WaitsForNewKey,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ParkReason::Invalid => "invalid",
            ParkReason::Forbidden => "forbidden",
            ParkReason::UnresolvedReference => "unresolved-reference",
            ParkReason::ReferenceOutsideSelection => "reference-outside-selection",
            ParkReason::StillReferenced => "still-referenced",
            ParkReason::Taken => "taken",
            ParkReason::TooLarge => "too-large",
            ParkReason::Contended => "contended",
            ParkReason::Doubtful => "doubtful",
            ParkReason::ResourceClosed => "resource-closed",
            ParkReason::WaitsForNewKey => "waits-for-new-key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_that_lost_an_item_is_not_conserved() {
        let whole = Tally { read: 3, applied: 1, skipped: 1, parked: 1 };
        let lossy = Tally { read: 4, ..whole };

        assert!(whole.is_conserved());
        assert!(!lossy.is_conserved());
    }

    #[test]
    fn names_in_json_are_the_names_in_text() {
        for outcome in Outcome::ALL {
            assert_eq!(
                serde_json::to_string(&outcome).unwrap(),
                format!("\"{}\"", outcome.as_str())
            );
        }
    }
}
