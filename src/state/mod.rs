//! Remembering: the [`StateStore`] seam, the read-only [`StateView`], and what is kept per pair.
//!
//! What lives here: the records and the one way to write them. What does not: what a step comes to
//! (`records.rs`), how records are encoded (`codec.rs`), the stores (`sled.rs`, `memory.rs`), state
//! as text that leaves the store (`text.rs`), and where that text is kept (`backup.rs`).
//! The one thing to know: [`StateStore::commit`] is the only
//! writer; one [`Step`] is one atomic batch, and it is on disk when `commit` returns `Ok` (I3, I4).
//!
//! At rest are names, versions, counts, places in a source's pages and, in parked and journal records
//! alone, natural keys. No body, no access token, no secret of a connection.

mod sled;
mod memory;
mod records;
mod readable;
mod room;
mod remembered;
mod overlap;
mod block;
mod comparison;
mod erasure;
mod plan;
mod codec;
mod marker;
mod migrate;
mod lock;
mod draft;
pub mod backup;
mod import;
pub mod text;

#[cfg(test)]
mod conformance;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::domain::{
    Canary, ChangeVersion, Fingerprint, NaturalKey, Organizations, Outcome, ParkReason, Position,
    Reference, ResourcePath, Scope, SourceId, Stages, Tally, TargetId, Watermark, Window,
};

pub use self::block::{Block, BlockCause, Deletes};
pub use self::comparison::{Compared, Comparison, Looked, ResourceUnderWay, SpoolKey, SpooledSide};
pub use self::draft::Draft;
pub use self::erasure::ErasedKey;
pub use self::import::import;
pub use self::memory::MemoryStore;
pub use self::overlap::{
    FirstWatermark, Forgotten, LeftBehind, Overlap, RememberedKeyChange, Seen, SettledTombstone,
    Written,
};
pub use self::plan::{ComparedWhole, Outline, Pause, Plan, Unlike};
pub use self::records::{RUNS_KEPT, examine};
pub use self::room::{Room, room};
pub use self::sled::open;

/// A pair by the names of its publication and target: what state belongs to (contract).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct PairId {
    pub publication: String,
    pub target: String,
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.publication, self.target)
    }
}

/// What is remembered of a pair, the parked items, the journal and the history of runs apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PairState {
    /// `None` before the first complete run.
    pub watermark: Option<Watermark>,
    /// Set when the pair may do nothing until a person has decided (R18, R19, R27).
    pub blocked: Option<Block>,
    pub source: Option<Fingerprint>,
    pub target: Option<Fingerprint>,
    /// The target's own newest version at the last commit (R18).
    pub target_newest: Option<ChangeVersion>,
    /// Hash of the selection and policies that the watermark was reached with: when it changes,
    /// "newest equals the watermark" is not "nothing to do" (R17).
    pub selection: Option<String>,
    /// The source's newest version as the last run saw it: with the watermark, the lag that
    /// `status` shows when nobody has looked since.
    pub newest_seen: Option<ChangeVersion>,
    pub caught_up_at: Option<Timestamp>,
    pub last_run: Option<LastRun>,
    /// Runs that failed since the last one that did not.
    pub failed_runs: u32,
    /// What a person allowed the next run that ends to delete of a resource (R27).
    pub allowed_deletes: BTreeMap<ResourcePath, u64>,
    /// What runs were told to leave out and nothing has made up for since (R17).
    pub left_out: LeftOut,
    pub overlap: Overlap,
    /// At most two old records that the source must still tell (R20).
    pub canaries: Vec<Canary>,
    /// What the source's credentials reached; `None` where the source does not tell (S19).
    pub scope: Option<Scope>,
    /// The newest version through which anything was done whose names and target ids are still in the
    /// journal. They stay until a window reaches it: through an older view nothing tells what they are
    /// of (R5, R11). `None` when there are none.
    pub names_through: Option<ChangeVersion>,
    /// A person said that having no watermark is meant, until a run has given it one.
    pub started_over: bool,
}

impl PairState {
    /// The newest version through which anything of the pair was done, committed or not.
    pub fn acted_through(&self) -> Option<ChangeVersion> {
        let watermark = self.watermark.as_ref().map(Watermark::change_version);
        self.names_through.max(watermark)
    }
}

/// Feeds that were not published (`key_changes: skip`, `deletes: skip`). The watermark has passed what
/// they told, so only a comparison of both ends finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    pub key_changes: bool,
    pub deletes: bool,
}

/// What the last comparison of both ends found of one resource, for the report to whoever owns the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    #[schema(value_type = String)]
    pub resource: ResourcePath,
    /// When the comparison had ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Which version of this program compared.
    pub program: String,
    /// Hash of the selection and policies that it was compared under.
    pub configuration: String,
    /// The pair's own then.
    pub watermark: Option<ChangeVersion>,
    /// Bodies were compared too.
    pub content: bool,
    pub source: u64,
    pub target: u64,
    pub missing: u64,
    /// `None` where others write to the same data: extras are not looked for.
    pub extra: Option<u64>,
    pub different: u64,
    pub parked: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastRun {
    pub id: String,
    pub outcome: Outcome,
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
}

/// Which resources the watermark speaks for (R17). Its own record, written only when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Read through the watermark.
    pub spoken_for: BTreeSet<ResourcePath>,
    /// Left the selection, or were closed: how far each had been read.
    pub left: BTreeMap<ResourcePath, ChangeVersion>,
    /// Are being read from their beginning, by runs of which none was committed yet: the newest
    /// version when the first of them began. What it wrote may have gone or got another key since,
    /// and the feeds tell so from there on.
    #[serde(default)]
    pub begun: BTreeMap<ResourcePath, ChangeVersion>,
    /// Education organizations of the source, every one that what is spoken for has; `None` where
    /// that was not followed from the beginning.
    #[serde(default)]
    pub organizations: Option<Organizations>,
}

/// A change that waits, by key and never by content (R21).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Stable: made from pair, resource, source id or key, so that parking twice is parking once.
    pub id: String,
    pub resource: ResourcePath,
    pub source_id: Option<SourceId>,
    /// `None` where it is not known.
    pub key: Option<NaturalKey>,
    pub operation: Operation,
    pub status: ParkStatus,
    pub reason: ParkReason,
    /// Status, type, members and a cleaned text; never what was sent.
    pub error: RefusalRecord,
    /// Made when they were due, since the item or its refusal changed.
    pub attempts: u32,
    /// Made before, because somebody ran the pair (R22).
    #[serde(default)]
    pub early_attempts: u32,
    pub first_seen_at: Timestamp,
    pub next_attempt_at: Timestamp,
    /// `None` when nothing is known that would let it through.
    #[serde(default, deserialize_with = "known_cause")]
    pub waits_for: Option<WaitsFor>,
    /// A tombstone or a key change named this key: it may be deleted at the target (R3, R21).
    pub named_for_deletion: bool,
    /// The id that the target had for it when it was looked up, before its name could move (R5, R26).
    pub target_id: Option<TargetId>,
    /// Of the source's bytes that the target refused: while they are the same and no attempt is
    /// due, a feed that brings them again changes nothing (R22).
    #[serde(default)]
    pub hash: Option<String>,
}

/// What a parked item refers to and the target does not have: it is tried as soon as that was
/// applied (R22).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitsFor {
    /// Where it may live: several where a reference is to any of a kind.
    #[schema(value_type = Vec<String>)]
    pub resources: Vec<ResourcePath>,
    /// By the names of the reference.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub key: NaturalKey,
}

impl From<Reference> for WaitsFor {
    fn from(reference: Reference) -> WaitsFor {
        WaitsFor { resources: reference.resources, key: reference.key }
    }
}

/// The first format told the resource alone, which says too little: such a record is tried when it
/// is due, and learns then what it waits for.
fn known_cause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WaitsFor>, D::Error> {
    let told: Option<Box<RawValue>> = Deserialize::deserialize(deserializer)?;
    match told.filter(|told| !told.get().starts_with('"')) {
        Some(told) => serde_json::from_str(told.get()).map_err(serde::de::Error::custom),
        None => Ok(None),
    }
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    KeyChange,
    Upsert,
    Delete,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ParkStatus {
    Parked,
    /// Its attempts are used up: it waits for a change of it, of its cause, or for a person (R22).
    Dead,
}

/// The kept part of a target's refusal (contract, `items[].error`); see `targets::Refusal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalRecord {
    pub status: u16,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub members: Vec<String>,
    pub detail: Option<String>,
}

/// A run that has begun and not been committed: what must survive a crash before the target is
/// touched (R5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunJournal {
    pub run_id: String,
    pub window: Window,
    /// The version after which the window reads, overlap included.
    #[serde(default)]
    pub reach: Option<ChangeVersion>,
    pub began_at: Timestamp,
    /// Who both ends were and what was asked for: a run goes on from another only between the
    /// same two, with the same question (R12).
    #[serde(default)]
    pub source: Option<Fingerprint>,
    #[serde(default)]
    pub target: Option<Fingerprint>,
    #[serde(default)]
    pub selection: String,
    /// What the source's credentials reached, as a short text (S19).
    #[serde(default)]
    pub scope: Option<String>,
}

/// A resource of which a run that is not committed yet has settled every upsert (R12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub resource: ResourcePath,
    /// The upper edge of the run: what another window has finished says nothing here.
    pub through: ChangeVersion,
    /// What became of its upserts, for the report of the whole run.
    pub tally: Tally,
    /// The target's own newest version afterwards: below it, the target was restored since.
    pub target_newest: ChangeVersion,
}

/// How far a run that is not committed yet has come in a resource: every item of the pages before
/// `position` is settled, durably (R12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub resource: ResourcePath,
    /// As in [`Finished`].
    pub through: ChangeVersion,
    pub position: Position,
    /// Where the other stretches of a resource go on that is read in several at once; what lies
    /// between is settled.
    #[serde(default)]
    pub others: Vec<Position>,
    /// What became of the resource's upserts so far.
    pub tally: Tally,
    /// As in [`Finished`].
    pub target_newest: ChangeVersion,
}

/// A name of the journal: the target id that a key had before anything of the run moved (R5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalledName {
    pub resource: ResourcePath,
    pub key: NaturalKey,
    /// `None`: looked up and not there.
    pub target_id: Option<TargetId>,
    /// It named an item that was deleted: what the target id shows goes, though the key may live
    /// again by then.
    #[serde(default)]
    pub deleted: bool,
}

/// A run that ended, for `status` and the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: String,
    pub outcome: Outcome,
    pub window: Option<Window>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub stages: Stages,
    /// Kind and message of what failed it.
    pub error: Option<(String, String)>,
}

/// Something that a person did or read, kept apart from the pairs so that it outlives them. No
/// natural key is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    pub id: String,
    pub at: Timestamp,
    /// Who: `token oncall`, `user root`.
    pub by: String,
    /// Such as `watermark set`.
    pub action: String,
    /// `None` where it was about several pairs, or about none.
    pub pair: Option<PairId>,
    /// What of it, in a few words: `to 230`, `3 items`.
    pub what: String,
    pub reason: Option<String>,
}

/// One atomic batch for one pair. Everything in it becomes visible and durable together. What it
/// removes goes first: an item that it settles and parks stays parked, a journal that it ends and
/// begins is the new one.
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub state: Option<PairState>,
    pub coverage: Option<Coverage>,
    pub park: Vec<Parked>,
    /// Ids of parked records that are settled.
    pub settle: Vec<String>,
    pub journal: Option<RunJournal>,
    pub plan: Option<Plan>,
    pub names: Vec<JournalledName>,
    /// Each takes the place of the resource's progress.
    pub finished: Vec<Finished>,
    pub progress: Vec<Progress>,
    pub key_changes: Vec<RememberedKeyChange>,
    pub tombstones: Vec<SettledTombstone>,
    pub written: Vec<Written>,
    pub left_behind: Vec<LeftBehind>,
    pub comparison: Option<Comparison>,
    /// Removes what is remembered of a comparison.
    pub end_comparison: bool,
    /// Each takes the place of what was found of its resource before.
    pub verified: Vec<Verified>,
    /// Every record with one of these keys in it goes; what waits for one waits for nothing known.
    pub erase: Vec<ErasedKey>,
    /// What of the overlap goes.
    pub forget: Forgotten,
    /// Removes the run journal, every journalled name, every finished resource, all progress and
    /// what was left behind.
    pub end_journal: bool,
    /// Of these resources the journalled names stay when the journal ends.
    pub keep_names_of: BTreeSet<ResourcePath>,
    /// Removes every finished resource and all progress: they speak of a run that this one does not
    /// go on from, and a later run must not either.
    pub begin_anew: bool,
    pub run: Option<RunRecord>,
    /// Runs that ended long ago, from an export; the oldest go beyond [`RUNS_KEPT`].
    pub history: Vec<RunRecord>,
    /// Removes everything of the pair before the rest of the step is written.
    pub forget_all: bool,
    /// Takes over everything that another pair has, which has nothing afterwards: a renamed
    /// publication. Written before the rest of the step.
    pub taken_from: Option<PairId>,
    /// Who wanted this step, and why.
    pub audit: Option<AuditRecord>,
}

/// Is told how long a step took to be on disk; must be quick.
pub type CommitWatcher = Arc<dyn Fn(Duration) + Send + Sync>;

/// Why a call can fail after opening: what the disk or the database engine said, or what they gave back
/// is not what was written.
pub const FAULTS: [&str; 2] = ["engine", "damaged"];

/// Is told of each call that failed, by the word for why; must be quick.
pub type FaultWatcher = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Where state is written. One suite of conformance tests holds every implementation to this.
#[async_trait]
pub trait StateStore: StateView {
    /// Whole or not at all; on disk when it returns `Ok`. Any error poisons the store: later calls
    /// fail too, and the process should end (design.md section 5).
    async fn commit(&self, pair: &PairId, step: Step) -> Result<(), StateError>;

    /// Writes down what is planned for many pairs, in one step: with a thousand of them, a flush for
    /// each would be most of what a daemon does that has nothing to do.
    async fn keep_plans(&self, plans: Vec<(PairId, Plan)>) -> Result<(), StateError>;

    /// Is told from now on how long each step took to be on disk. A store without a disk has nothing
    /// to tell.
    fn watch_commits(&self, _told: CommitWatcher) {}

    /// Is told from now on of every call that fails. The first one ends the store, and in time the
    /// process.
    fn watch_faults(&self, _told: FaultWatcher) {}

    /// Writes down what changed no pair: who read, or did something to many. Records of before
    /// `forget_before` go.
    async fn note(
        &self,
        record: AuditRecord,
        forget_before: Option<Timestamp>,
    ) -> Result<(), StateError>;
}

/// Where state is read, by the engine and for people.
#[async_trait]
pub trait StateView: Send + Sync {
    /// `None` for a pair that was never seen.
    async fn load(&self, pair: &PairId) -> Result<Option<PairState>, StateError>;
    async fn coverage(&self, pair: &PairId) -> Result<Coverage, StateError>;
    async fn journal(&self, pair: &PairId) -> Result<Option<RunJournal>, StateError>;
    /// `None` for a pair that no daemon has seen and nobody has paused.
    async fn plan(&self, pair: &PairId) -> Result<Option<Plan>, StateError>;
    /// What is remembered of each of these pairs, asked for at once, in their order.
    async fn outlines(&self, pairs: Vec<PairId>) -> Result<Vec<Outline>, StateError>;
    async fn names(&self, pair: &PairId) -> Result<Vec<JournalledName>, StateError>;
    /// At most `limit` journalled names after `after`, in no order of their own (R30).
    async fn names_after(
        &self,
        pair: &PairId,
        after: Option<&JournalledName>,
        limit: usize,
    ) -> Result<Vec<JournalledName>, StateError>;
    /// The name with this key, if it is journalled.
    async fn name(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        key: &NaturalKey,
    ) -> Result<Option<JournalledName>, StateError>;
    /// Key changes of a resource in order of item and version, beginning after the item `after`: at
    /// most `limit` and those that complete the last item.
    async fn key_changes(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        after: Option<&SourceId>,
        limit: usize,
    ) -> Result<Vec<RememberedKeyChange>, StateError>;
    async fn key_changes_of(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        id: &SourceId,
    ) -> Result<Vec<RememberedKeyChange>, StateError>;
    /// Those of these tombstones that were dealt with.
    async fn settled_tombstones(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        tombstones: Vec<(SourceId, ChangeVersion)>,
    ) -> Result<Vec<SettledTombstone>, StateError>;
    /// How these items were written last, where that is known.
    async fn written(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        ids: Vec<SourceId>,
    ) -> Result<Vec<Written>, StateError>;
    /// The item that was written last under this id of the target.
    async fn written_as(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        id: &TargetId,
    ) -> Result<Option<SourceId>, StateError>;
    async fn left_behind(&self, pair: &PairId) -> Result<Vec<LeftBehind>, StateError>;
    async fn finished(&self, pair: &PairId) -> Result<Vec<Finished>, StateError>;
    async fn progress(&self, pair: &PairId) -> Result<Vec<Progress>, StateError>;
    /// The comparison of both ends that has begun and not ended.
    async fn comparison(&self, pair: &PairId) -> Result<Option<Comparison>, StateError>;
    /// What the last comparisons found, in order of resource.
    async fn verified(&self, pair: &PairId) -> Result<Vec<Verified>, StateError>;
    /// How many records of the pair an erasure of this key would change or remove.
    async fn records_with(&self, pair: &PairId, key: &ErasedKey) -> Result<u64, StateError>;
    /// Parked and dead items of a pair in order of id, at most `limit` after `after`.
    async fn parked(
        &self,
        pair: &PairId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Parked>, StateError>;
    async fn parked_counts(&self, pair: &PairId) -> Result<ParkedCounts, StateError>;
    /// Newest first.
    async fn runs(&self, pair: &PairId, limit: usize) -> Result<Vec<RunRecord>, StateError>;
    /// Those whose ids begin with `id`, newest first: usually one or none, so this is cheap.
    async fn runs_named(&self, pair: &PairId, id: &str) -> Result<Vec<RunRecord>, StateError> {
        let mut runs = self.runs(pair, usize::MAX).await?;
        runs.retain(|run| run.id.starts_with(id));
        Ok(runs)
    }
    /// Everything of a pair as it is between two steps, as the step that replaces whatever a pair
    /// has: for a backup while runs go on.
    async fn whole(&self, pair: &PairId) -> Result<Step, StateError>;
    /// Every pair with any state, configured or not.
    async fn pairs(&self) -> Result<Vec<PairId>, StateError>;
    /// The audit, newest first: at most `limit` records before the one called `before`, and none
    /// that is older than `since`.
    async fn audit(
        &self,
        since: Option<Timestamp>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StateError>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedCounts {
    pub parked: u64,
    pub dead: u64,
    /// Both, by why.
    pub by_reason: BTreeMap<ParkReason, u64>,
    /// When the oldest of both was first seen.
    pub oldest: Option<Timestamp>,
}

/// Why state could not be read or written. Exit code 4 is [`StateError::Locked`] alone, 5 the rest
/// at opening (contract, "Exit status").
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(
        "another process holds the state at {path}{holder}: stop it first, or ask it through `server.listen`"
    )]
    Locked { path: String, holder: String },

    #[error("the state at {path} cannot be read: {what}; nothing was changed. {repair}")]
    Unreadable { path: String, what: String, repair: String },

    #[error(
        "the state at {path} was written by a newer version (format {found}, this program reads up to {known}): run the newer program, or restore a backup"
    )]
    Newer { path: String, found: u8, known: u8 },

    #[error(
        "{doing} in the state at {path}: {what}; the process ends, and the next start goes on from the last complete step"
    )]
    Failed { path: String, doing: &'static str, what: String },
}
