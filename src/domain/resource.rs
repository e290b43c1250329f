//! The name of a resource: `/ed-fi/students`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Schema and collection, as the dependency document spells them: `/ed-fi/students`. Cheap to
/// clone; compared to the letter.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourcePath(Arc<str>);

impl ResourcePath {
    /// `None` unless the text is `/schema/collection`.
    pub fn parse(text: &str) -> Option<ResourcePath> {
        let (schema, collection) = text.strip_prefix('/')?.split_once('/')?;
        let plain = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        (plain(schema) && plain(collection)).then(|| ResourcePath(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `ed-fi`, `tpdm`, an extension.
    pub fn schema(&self) -> &str {
        self.0[1..].split_once('/').expect("parse admits only /schema/collection").0
    }

    /// `students`.
    pub fn collection(&self) -> &str {
        self.0[1..].split_once('/').expect("parse admits only /schema/collection").1
    }

    pub fn is_descriptor(&self) -> bool {
        self.collection().ends_with("Descriptors")
    }
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
