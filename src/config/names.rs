//! The names of connections and publications. State belongs to these names, so they are plain:
//! lower-case letters, digits and `-`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The name of a connection: `district`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ConnectionName(Arc<str>);

/// The name of a publication: `district-to-state`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PublicationName(Arc<str>);

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

impl ConnectionName {
    /// `None` unless the text is lower-case letters, digits and `-`.
    pub fn parse(text: &str) -> Option<ConnectionName> {
        is_plain(text).then(|| ConnectionName(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PublicationName {
    /// `None` unless the text is lower-case letters, digits and `-`.
    pub fn parse(text: &str) -> Option<PublicationName> {
        is_plain(text).then(|| PublicationName(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ConnectionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PublicationName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for PublicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PublicationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
