//! Why a pair does nothing until a person has decided.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::ResourcePath;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub cause: BlockCause,
    /// What was found and what to do, in a sentence.
    pub reason: String,
    pub since: Timestamp,
    /// What would have been deleted: a person allows exactly that, or does not (R27).
    #[serde(default)]
    pub deletes: Option<Deletes>,
}

/// So many items of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletes {
    pub resource: ResourcePath,
    pub count: u64,
}

/// What a person has to decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockCause {
    /// Newest is below the watermark: the source was restored, or is another one (R18).
    SourceRegressed,
    /// The source no longer tells deletes and renames from the watermark on: its history was purged.
    HistoryPurged,
    /// The target's own newest version went back: it was restored (R18).
    TargetRegressed,
    /// The source does not tell the old records any more that it must still have: restored to
    /// before them, or replaced, with higher versions than before (R20, S14).
    HistoryChanged,
    /// The source's credentials reach less than before (S19).
    ScopeNarrowed,
    /// Another database behind the same name (R19).
    SourceChanged,
    TargetChanged,
    /// A run would delete more than the brake allows (R27).
    Deletes,
    /// A new pair between the ends of one that the configuration no longer names: renamed, as a
    /// rule. Looked at again at each run.
    Orphan,
}

impl BlockCause {
    /// As the state and the metric labels spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockCause::SourceRegressed => "source-regressed",
            BlockCause::HistoryPurged => "history-purged",
            BlockCause::TargetRegressed => "target-regressed",
            BlockCause::HistoryChanged => "history-changed",
            BlockCause::ScopeNarrowed => "scope-narrowed",
            BlockCause::SourceChanged => "source-changed",
            BlockCause::TargetChanged => "target-changed",
            BlockCause::Deletes => "deletes",
            BlockCause::Orphan => "orphan",
        }
    }
}
