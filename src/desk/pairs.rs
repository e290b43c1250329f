//! Pairs: how they are, and which of them somebody means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, ParkReason};
use crate::state::{BlockCause, ComparedWhole, LastRun, PairId};

/// What selects pairs; every given part narrows. Nothing given is every pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Names or globs (`*`, `?`) of publications.
    pub publications: Vec<String>,
    /// Labels that a publication must have, each with this value.
    pub labels: Vec<(String, String)>,
    /// Pairs that read from or write to it.
    pub connection: Option<String>,
    pub target: Option<String>,
}

/// `{"pairs":[…]}` of the contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    pub pairs: Vec<PairStatus>,
    /// What `after` is to be for the next part; `None` after the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// One pair, as `status --output json` and the admin API show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PairStatus {
    pub publication: String,
    pub target: String,
    pub labels: BTreeMap<String, String>,
    pub state: PairCondition,
    /// Why it is blocked, failing or waiting, or why its last run was stopped, in a sentence.
    pub reason: Option<String>,
    pub watermark: Option<ChangeVersion>,
    /// What the source last said; `None` unless a run of this process asked it.
    pub newest: Option<ChangeVersion>,
    pub lag_versions: Option<i64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub caught_up_at: Option<Timestamp>,
    /// Of the run that is under way.
    pub run_id: Option<String>,
    /// Runs that failed since the last one that did not.
    pub failed_runs: u32,
    pub last_run: Option<LastRun>,
    pub parked: u64,
    pub dead: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run_at: Option<Timestamp>,
    /// Not part of what is shown.
    #[serde(skip)]
    pub measured: Measured,
}

/// What is told of a pair by metrics alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    pub blocked_by: Option<BlockCause>,
    /// Parked and dead items, by why.
    pub waiting_by_reason: BTreeMap<ParkReason, u64>,
    /// When the oldest of them was first seen.
    pub oldest_waiting: Option<Timestamp>,
    /// What the last comparison of all resources found.
    pub compared: Option<ComparedWhole>,
}

impl PairStatus {
    pub fn id(&self) -> PairId {
        PairId { publication: self.publication.clone(), target: self.target.clone() }
    }

    /// Something is remembered of it, as far as its status tells.
    pub fn has_a_past(&self) -> bool {
        self.state == PairCondition::Orphaned
            || self.watermark.is_some()
            || self.last_run.is_some()
            || self.parked + self.dead > 0
    }
}

/// The first that holds, in this order (contract, "The other commands").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PairCondition {
    Paused,
    Blocked,
    Failing,
    Running,
    Waiting,
    Degraded,
    Ok,
    Orphaned,
}

impl PairCondition {
    /// How much a pair in it wants a person; the smaller the more.
    pub fn badness(self) -> u8 {
        match self {
            PairCondition::Blocked => 0,
            PairCondition::Failing => 1,
            PairCondition::Degraded => 2,
            PairCondition::Orphaned => 3,
            PairCondition::Waiting => 4,
            PairCondition::Paused => 5,
            PairCondition::Running => 6,
            PairCondition::Ok => 7,
        }
    }

    /// As the contract and the metric labels spell them.
    pub const WORDS: [&str; 8] =
        ["paused", "blocked", "failing", "running", "waiting", "degraded", "ok", "orphaned"];

    pub fn as_str(self) -> &'static str {
        match self {
            PairCondition::Paused => "paused",
            PairCondition::Blocked => "blocked",
            PairCondition::Failing => "failing",
            PairCondition::Running => "running",
            PairCondition::Waiting => "waiting",
            PairCondition::Degraded => "degraded",
            PairCondition::Ok => "ok",
            PairCondition::Orphaned => "orphaned",
        }
    }
}

/// Whether a name is what a glob describes: `*` is anything, `?` any one character.
pub fn fits(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[read] => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                // The last star takes one character more.
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            }
        }
    }
    glob[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_fits_what_it_describes() {
        for (glob, name, expected) in [
            ("district-1", "district-1", true),
            ("district-1", "district-11", false),
            ("district-*", "district-11", true),
            ("*-to-state", "a-to-b-to-state", true),
            ("*-to-state", "a-to-state-b", false),
            ("d?strict", "district", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(fits(glob, name), expected, "{glob} on {name}");
        }
    }
}
