//! What a pair remembers of versions at and below its watermark, for as long as an overlap reaches
//! back to them (R7, R14 to R16).
//!
//! What lives here: the records. What does not: where an overlap begins and when it is read once
//! more, which is `engine/overlap.rs`. The one thing to know: natural keys are in
//! [`RememberedKeyChange`] alone; everything else is ids, versions and short hashes.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, KeyChange, ResourcePath, SourceId, TargetId};

/// When which version was the newest, and what of the overlap is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overlap {
    /// Newest versions of the live source as triggers saw them, ascending.
    pub seen: Vec<Seen>,
    /// The first watermark, below which there is no history (R14).
    pub first: Option<FirstWatermark>,
    /// Commits of the pair. A key change or tombstone that was remembered under fewer is settled.
    pub commits: u64,
    /// Runs that ended without a commit. A hash that was kept under fewer is not believed.
    pub broken_off: u64,
    /// When the last run began that read the overlap and was committed.
    pub read_at: Option<Timestamp>,
    /// The overlap of this watermark was read once more after it had passed (R15).
    pub settled: bool,
    /// The run after so many commits deals again with what was settled before: a snapshot was read
    /// from after one that was not read to the end, and may have been the older of the two (R11).
    pub again_after: Option<u64>,
}

/// One newest version of the live source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub newest: ChangeVersion,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// Where the history of a pair begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstWatermark {
    pub version: ChangeVersion,
    pub at: Timestamp,
    /// How far back its successor reaches (`first_overlap_versions`).
    pub floor: ChangeVersion,
    /// The successor has been there.
    pub succeeded: bool,
}

/// A record of the key-change feed, on disk before the target is touched: both keys count as old
/// keys of the item until the overlap has passed them (R7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedKeyChange {
    pub resource: ResourcePath,
    pub change: KeyChange,
    /// See [`Overlap::commits`].
    pub commits: u64,
}

/// A tombstone that was dealt with: it is not acted on twice (R16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledTombstone {
    pub resource: ResourcePath,
    pub id: SourceId,
    pub version: ChangeVersion,
    /// See [`Overlap::commits`].
    pub commits: u64,
}

/// An item as it was written last: what comes again with the same bytes needs nothing (R16), and
/// what comes under another target id has left one behind (R7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub resource: ResourcePath,
    pub id: SourceId,
    /// What the target answered. Stands for the key under which the item was written, without
    /// being one.
    pub target_id: TargetId,
    /// Of the source's bytes as read, `id`, `_etag` and `_lastModifiedDate` included.
    pub hash: String,
    /// The upper edge of the run that wrote it.
    pub through: ChangeVersion,
    /// See [`Overlap::broken_off`].
    pub broken_off: u64,
}

/// A target id that an item had before it was written under another key: what it shows now goes,
/// unless it lives at the source (R5, R7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    pub resource: ResourcePath,
    pub id: SourceId,
    pub target_id: TargetId,
    /// The item that lived at the source under the key that it showed, when the run before looked at it.
    /// It is looked at once more, and again only while that item is being renamed.
    #[serde(default)]
    pub lived_as: Option<SourceId>,
}

/// What of the overlap goes in one step.
#[derive(Clone, Debug, Default)]
pub struct Forgotten {
    /// Of these items what was written.
    pub written: Vec<(ResourcePath, SourceId)>,
    /// Of these resources everything with a version below this one: the overlap has passed it.
    pub below: Option<(ChangeVersion, Vec<ResourcePath>)>,
    /// Everything of the pair: its watermark was moved, or an end is not what it was.
    pub all: bool,
}
