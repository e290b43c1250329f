//! Writing: the [`Target`] seam.
//!
//! What lives here: what the engine may ask of any target and how a target's refusals are
//! classified. What does not: request paths and error bodies (`edfi/`). The one thing to know:
//! retries of what passes are spent below this seam; what comes up is final for this attempt, and
//! [`WriteError::disposition`] says what the engine does next (agreement, "Answers of a target").

pub mod edfi;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Body, ChangeVersion, Fingerprint, Item, KeyShape, NaturalKey, ParkReason, Position,
    ResourceGraph, ResourcePath, TargetId,
};

/// What one target is and can do.
#[derive(Clone, Debug)]
pub struct TargetCapabilities {
    pub api_version: String,
    pub fingerprint: Fingerprint,
}

/// One API that is written to.
#[async_trait]
pub trait Target: Send + Sync {
    async fn capabilities(&self) -> Result<Arc<TargetCapabilities>, WriteError>;

    /// The target's resources and which must be there before which: the order of every stage.
    async fn resources(&self) -> Result<Arc<ResourceGraph>, WriteError>;

    /// The target's own newest change version, where it offers one (R18).
    async fn newest(&self) -> Result<Option<ChangeVersion>, WriteError>;

    /// POST: creates or replaces the item with this natural key. What a target must not see is
    /// cut out of the bytes here; all other bytes arrive as the source sent them.
    async fn upsert(&self, resource: &ResourcePath, item: &Item) -> Result<Upserted, WriteError>;

    /// PUT by id with a whole item under its new key. Behind one function on purpose (R6).
    async fn rename(
        &self,
        resource: &ResourcePath,
        id: &TargetId,
        item: &Item,
    ) -> Result<(), WriteError>;

    /// DELETE by id; already gone is success.
    async fn delete(&self, resource: &ResourcePath, id: &TargetId) -> Result<Deleted, WriteError>;

    /// The item that has exactly this key (R2, R4): every field of what came back was compared.
    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Match, WriteError>;

    /// What this id shows now: its present key, or `None` when it is gone.
    async fn get(
        &self,
        resource: &ResourcePath,
        id: &TargetId,
    ) -> Result<Option<Found>, WriteError>;

    /// How many items the credentials see.
    async fn count(&self, resource: &ResourcePath) -> Result<u64, WriteError>;

    /// Everything of one resource, for `verify`: offsets or cursors, on live data.
    fn pages(&self, resource: &ResourcePath) -> Box<dyn FoundPages>;

    /// The same from the page that begins at `position` on; `None` where nothing can begin there. The
    /// server may still refuse it with the first page.
    fn pages_from(
        &self,
        _resource: &ResourcePath,
        _position: &Position,
    ) -> Option<Box<dyn FoundPages>> {
        None
    }

    /// See [`crate::sources::Reader::key_shape`].
    async fn key_shape(&self, resource: &ResourcePath)
    -> Result<Option<Arc<KeyShape>>, WriteError>;

    /// The same target for one run: its requests are counted from nothing and carry the run's id,
    /// and no wait outlasts `stop`.
    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Target>;

    /// Requests sent so far, retries included.
    fn requests(&self) -> u64;

    /// How many requests are sent at once now at most: more that are begun would only wait. A target
    /// that does not know says nothing.
    fn at_once(&self) -> usize {
        usize::MAX
    }
}

#[derive(Clone, Debug)]
pub struct Upserted {
    /// What the answer's `Location` named; absent where a host sends none.
    pub id: Option<TargetId>,
    pub created: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Deleted,
    AlreadyGone,
}

/// One item of a target.
#[derive(Clone, Debug)]
pub struct Found {
    pub id: TargetId,
    /// `None` when the shape of the key is not known.
    pub key: Option<NaturalKey>,
    pub body: Body,
}

/// What a look-up by key found (R4: one match, all fields equal, or no delete and no rename).
#[derive(Clone, Debug)]
pub enum Match {
    One(Found),
    None,
    /// Something came back that is not surely the item: more than one, or a field that differs or
    /// cannot be compared. `members` names the fields in doubt.
    Doubtful {
        members: Vec<String>,
    },
}

#[async_trait]
pub trait FoundPages: Send {
    async fn next(&mut self) -> Result<Option<Vec<Found>>, WriteError>;

    /// Where the page that came last begins, so that reading from there brings it again; `None` where
    /// only the beginning of all is such a place.
    fn position(&self) -> Option<Position> {
        None
    }
}

/// What the engine does about a target's answer (agreement, "Answers of a target").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The pair cannot go on: source unread, watermark unmoved.
    FailRun,
    /// Park the item with this reason.
    Park(ParkReason),
    /// Fetch what is referred to and publish it first, then park (R24).
    ResolveReference,
    /// Wait for the association, then park as forbidden.
    AwaitAssociation,
    /// The whole resource is refused: close it for the run (R23a).
    CloseResource,
    /// Once more after the deletes, then park (R25; deletes: at the end of the deletes).
    AwaitDeletes(ParkReason),
    /// A rename that cannot be: plain agreement (R6).
    PlainAgreement,
    /// Read again and try once.
    ReadAgain,
}

/// What of a refusal may be kept: status, type, names of the failing members and a text whose
/// quoted values and digits were replaced by `…` (contract, `items[].error`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    pub status: u16,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub members: Vec<String>,
    pub detail: Option<String>,
    /// Collections that the refusal names as missing, when it tells: the entity names, as sent
    /// (`Student`). Empty when the whole body has to be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Why a target would not or could not answer as hoped.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{doing} at connection `{connection}`")]
    Http {
        connection: String,
        doing: String,
        #[source]
        source: Box<crate::http::HttpError>,
    },

    #[error(
        "{doing} at connection `{connection}`: {what}; check that its `url` is the API itself and not a sign-in page or a proxy"
    )]
    Shape { connection: String, doing: String, what: String },

    #[error("connection `{connection}`: {what}")]
    Unusable { connection: String, what: String },

    #[error("{doing} was refused by connection `{connection}` with status {}", .refusal.status)]
    Refused { connection: String, doing: String, disposition: Disposition, refusal: Box<Refusal> },
}

impl WriteError {
    /// What the engine does next. Exhaustive on purpose.
    pub fn disposition(&self) -> Disposition {
        match self {
            WriteError::Http { .. } | WriteError::Shape { .. } | WriteError::Unusable { .. } => {
                Disposition::FailRun
            }
            WriteError::Refused { disposition, .. } => *disposition,
        }
    }

    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            WriteError::Refused { refusal, .. } => Some(refusal),
            WriteError::Http { .. } | WriteError::Shape { .. } | WriteError::Unusable { .. } => {
                None
            }
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            WriteError::Http { source, .. } => source.kind(),
            WriteError::Shape { .. } => "unexpected-answer",
            WriteError::Unusable { .. } => "unusable",
            WriteError::Refused { .. } => "refused",
        }
    }
}
