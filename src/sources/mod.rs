//! Reading: the [`Source`] seam and the [`Reader`] of one view of it.
//!
//! What lives here: what the engine may ask of any source. What does not: how a protocol spells
//! it (`edfi/`), throttling, tokens and retries (`http/`). The one thing to know: a reader stands
//! for *one view*; every answer of it comes from there, and [`Reader::confirm`] says whether the
//! view was still the same at the end (R11).

pub mod edfi;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Canary, ChangeVersion, Fingerprint, Item, KeyChange, KeyShape, NaturalKey, Position,
    ResourceGraph, ResourcePath, Scope, SourceId, Tombstone, Window,
};

/// How a window is held still while it is read (contract, "Isolation").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Every read of the run carries the source's snapshot header.
    Snapshot,
    /// Both edges are asked for; what changes meanwhile comes next time.
    Bounded,
    /// The lower edge alone; what changes meanwhile comes now, and again next time.
    Open,
    /// Upserts as `Open`, deletes as `Bounded`.
    Combined,
}

impl Isolation {
    /// Whether live items are asked for up to the window's upper edge alone. Key changes never
    /// have one (R8).
    pub fn bounds_upserts(self) -> bool {
        match self {
            Isolation::Snapshot | Isolation::Bounded => true,
            Isolation::Open | Isolation::Combined => false,
        }
    }

    /// The same of tombstones. A snapshot is edge enough (R8).
    pub fn bounds_deletes(self) -> bool {
        match self {
            Isolation::Bounded | Isolation::Combined => true,
            Isolation::Snapshot | Isolation::Open => false,
        }
    }
}

/// What one source can tell, as `check` shows it and the engine relies on it.
#[derive(Clone, Debug)]
pub struct SourceCapabilities {
    /// `7.3`, as the root document says.
    pub api_version: String,
    pub fingerprint: Fingerprint,
    /// Whether the version has snapshots at all; whether one is there now is another question.
    pub snapshots: bool,
    /// Tombstones carry key values.
    pub deletes: bool,
    pub key_changes: bool,
    pub cursor_paging: bool,
    /// The deletes feed hides keys that live again for every resource; where it does not, the
    /// source is asked first (R29).
    pub hides_recreated: bool,
}

/// One API that is read from.
#[async_trait]
pub trait Source: Send + Sync {
    /// What this source is and can do. Costs the discovery requests once a process.
    async fn capabilities(&self) -> Result<Arc<SourceCapabilities>, SourceError>;

    /// Every resource the source has, and which refers to which.
    async fn resources(&self) -> Result<Arc<ResourceGraph>, SourceError>;

    /// The newest change version of the live database, whatever snapshot there is.
    async fn live_newest(&self) -> Result<ChangeVersion, SourceError>;

    /// What the credentials reach, in one request (S19); `None` where the API does not tell.
    async fn scope(&self) -> Result<Option<Scope>, SourceError>;

    /// Takes a view and reads its newest version under it. A snapshot that is missing is
    /// [`SourceError::SnapshotMissing`], before anything else was read.
    async fn open(&self, isolation: Isolation) -> Result<Arc<dyn Reader>, SourceError>;

    /// The same source for one run: its requests are counted from nothing and carry the run's id,
    /// and no wait outlasts `stop`.
    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Source>;

    /// Requests sent so far, retries included.
    fn requests(&self) -> u64;
}

/// One view of a source. Cheap to share: the pairs of a publication read through one.
#[async_trait]
pub trait Reader: Send + Sync {
    /// The newest version of the view when it was opened: the run's `through`.
    fn newest(&self) -> ChangeVersion;

    /// The oldest version of which the view still tells deletes and key changes; 0 where nothing
    /// was ever purged.
    fn oldest(&self) -> ChangeVersion {
        ChangeVersion(0)
    }

    fn isolation(&self) -> Isolation;

    /// Live items whose change version lies in `window`, page by page, in a way in which a moving
    /// collection cannot make an item fall between two pages (R9). What changed after the window
    /// is told too where the isolation does not bound upserts.
    fn upserts(&self, resource: &ResourcePath, window: Window) -> Box<dyn ItemPages>;

    /// The same from the page that begins at `position` on; `None` where that is a place in another
    /// view, or in another window (R11, R12). The server may still refuse it with the first page:
    /// [`SourceError::is_refused_question`].
    fn upserts_from(
        &self,
        resource: &ResourcePath,
        window: Window,
        position: &Position,
    ) -> Option<Box<dyn ItemPages>>;

    /// Where parts of the same begin that can be read at once, each to its own end, with
    /// [`Reader::upserts_from`]; for a window whose first page of [`Reader::upserts`] has `first`
    /// items. Empty where the source cannot cut it up, or where that is not worth it.
    async fn parts_of_upserts(
        &self,
        _resource: &ResourcePath,
        _window: Window,
        _first: usize,
    ) -> Result<Vec<Position>, SourceError> {
        Ok(Vec::new())
    }

    /// Key changes after `after`, never with an upper edge (R8), ascending by version; complete
    /// though the feed collapses what lies inside one answer.
    fn key_changes(&self, resource: &ResourcePath, after: ChangeVersion)
    -> Box<dyn KeyChangePages>;

    /// The same, asked now: never what was read for others a moment ago.
    fn key_changes_now(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn KeyChangePages> {
        self.key_changes(resource, after)
    }

    /// Tombstones of `window`, ascending by version; without its upper edge where the isolation
    /// does not bound deletes (R8).
    fn tombstones(&self, resource: &ResourcePath, window: Window) -> Box<dyn TombstonePages>;

    /// The same without an upper edge, whatever the isolation: for resources whose keys a rename of
    /// this run moves at the target, though they were deleted after the window (R5, R8).
    fn tombstones_after(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn TombstonePages>;

    /// How many tombstones [`Reader::tombstones`] would tell, in one request.
    async fn count_tombstones(
        &self,
        resource: &ResourcePath,
        window: Window,
    ) -> Result<u64, SourceError>;

    /// How many live items [`Reader::upserts`] would tell now, in one request; without a window,
    /// how many there are.
    async fn count(
        &self,
        resource: &ResourcePath,
        window: Option<Window>,
    ) -> Result<u64, SourceError>;

    /// The item with this id, if the view has it and shows it.
    async fn get(&self, resource: &ResourcePath, id: &SourceId) -> Result<Lookup, SourceError>;

    /// Whether the view still tells this very record, in one request (R20).
    async fn tells(&self, canary: &Canary) -> Result<bool, SourceError>;

    /// "Does this key live at the source?" Any item that comes back counts unless its key surely
    /// differs (R2).
    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Lookup, SourceError>;

    /// What the key of this resource is called and where it is in a body (R1); `None` when neither
    /// the API's OpenAPI document nor the built-in table knows the resource.
    async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, SourceError>;

    /// Fails unless the view is still the one that was opened (R11). Without a snapshot it
    /// always is.
    async fn confirm(&self) -> Result<(), SourceError>;

    /// The same view for one run; see [`Source::for_run`].
    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Reader>;

    /// Requests sent so far, retries included.
    fn requests(&self) -> u64;

    /// Whether nobody else waits for the pages that are read here.
    fn reads_alone(&self) -> bool {
        true
    }
}

/// What a look at one item found.
#[derive(Clone, Debug)]
pub enum Lookup {
    Lives(Item),
    Absent,
    /// 403: it may be there; the credentials do not show it. Not a deletion (R3).
    Hidden,
}

/// Pages of live items. Dropping it ends the reading.
#[async_trait]
pub trait ItemPages: Send {
    /// The next page, never empty; `None` at the true end of the feed (R10).
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError>;

    /// Where the page that came last begins, so that reading from there brings it again; `None`
    /// where nothing can begin there but from the beginning of all.
    fn position(&self) -> Option<Position>;
}

/// Key changes, so many at once as may be held in memory (R30).
#[async_trait]
pub trait KeyChangePages: Send {
    async fn next(&mut self) -> Result<Option<Vec<KeyChange>>, SourceError>;
}

/// Pages of tombstones.
#[async_trait]
pub trait TombstonePages: Send {
    async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, SourceError>;
}

/// Why a source could not be read. Every one of them fails the run: nothing moves on a guess.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "the snapshot of connection `{connection}` is missing: create one at the source (its `Snapshots` feature), or set `on_missing_snapshot: bounded`"
    )]
    SnapshotMissing { connection: String },

    #[error(
        "the snapshot of connection `{connection}` was replaced while it was read: nothing was moved; run again, and schedule the source's snapshots outside the publication's hours"
    )]
    SnapshotReplaced { connection: String },

    #[error("{reading} of connection `{connection}`")]
    Http {
        connection: String,
        reading: String,
        /// Boxed: it is by far the largest, and every result would carry its size.
        #[source]
        source: Box<crate::http::HttpError>,
    },

    /// The answer was not what the protocol promises: HTML, a truncated page, invalid UTF-8, an
    /// object where an array was due.
    #[error(
        "{reading} of connection `{connection}`: {what}; check that its `url` is the API itself and not a sign-in page or a proxy"
    )]
    Shape { connection: String, reading: String, what: String },

    #[error("{reading} of connection `{connection}` was refused with status {status}{advice}")]
    Refused { connection: String, reading: String, status: u16, advice: String },

    /// Discovery or metadata that cannot be used: a missing URL, a cycle, an unsupported version.
    #[error("connection `{connection}`: {what}")]
    Unusable { connection: String, what: String },
}

impl SourceError {
    /// The server was reached and does not take the question: an old cursor, where it held one.
    pub fn is_refused_question(&self) -> bool {
        matches!(self, SourceError::Refused { status: 400, .. })
    }

    /// A short, stable name for `error.kind` in reports and for metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            SourceError::SnapshotMissing { .. } => "snapshot-missing",
            SourceError::SnapshotReplaced { .. } => "snapshot-replaced",
            SourceError::Http { source, .. } => source.kind(),
            SourceError::Shape { .. } => "unexpected-answer",
            SourceError::Refused { .. } => "refused",
            SourceError::Unusable { .. } => "unusable",
        }
    }
}
