//! What moves: items, key changes and tombstones, each named by the source's own id.
//!
//! Bodies are bytes and stay bytes. Nothing here parses one; nothing here can print one.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::key::NaturalKey;
use super::window::ChangeVersion;

/// The id that the source gave an item. Never the target's: the two differ for the same key
/// (`edfi-wire §0`, fact 10).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub String);

/// The id that a target gave an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(pub String);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One JSON object as it was received, a slice of its page. Has no `Debug` that shows content:
/// student data must not reach a log by accident (I18).
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub Bytes);

impl Body {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// A live item of the source as one view shows it.
#[derive(Clone, Debug)]
pub struct Item {
    pub id: SourceId,
    /// The bytes as read, `id`, `_etag` and links included. What a target must not see is cut out
    /// by that target.
    pub body: Body,
}

/// One record of the key-change feed: within the range that was asked for, the first old key and
/// the last new key of an item (`edfi-wire §5`). `old == new` is a record like any other (R7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    pub id: SourceId,
    pub version: ChangeVersion,
    pub old: NaturalKey,
    pub new: NaturalKey,
}

/// One record of the deletes feed. `key` is what the item was called last; a source that does not
/// tell it is refused by the engine unless deletes are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub id: SourceId,
    pub version: ChangeVersion,
    pub key: Option<NaturalKey>,
}
