//! What a root document says, made into addresses that can be asked.

use url::Url;

use super::dialect::Dialect;
use crate::domain::{Fingerprint, ResourcePath};

/// The root document, as far as it is of use (`edfi-wire §1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub version: String,
    /// Name and version, in the document's order.
    pub data_models: Vec<(String, String)>,
    /// `Year Specific` and others, before 7.0.
    pub api_mode: Option<String>,
}

/// One API, understood.
#[derive(Clone, Debug)]
pub struct Discovery {
    pub root: Root,
    pub dialect: &'static Dialect,
    /// Data management; ends with `/`.
    pub data: Url,
    /// Change queries; ends with `/`.
    pub change_queries: Url,
    pub dependencies: Option<Url>,
    pub open_api: Option<Url>,
    pub token: Url,
    pub fingerprint: Fingerprint,
}

impl Discovery {
    /// `…/data/v3/ed-fi/students`
    pub fn collection(&self, resource: &ResourcePath) -> Url {
        below(&self.data, &[resource.schema(), resource.collection()])
    }

    /// `…/data/v3/ed-fi/students/{id}`
    pub fn item(&self, resource: &ResourcePath, id: &str) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), id])
    }

    pub fn deletes(&self, resource: &ResourcePath) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), "deletes"])
    }

    pub fn key_changes(&self, resource: &ResourcePath) -> Url {
        below(&self.data, &[resource.schema(), resource.collection(), "keyChanges"])
    }

    pub fn available_change_versions(&self) -> Url {
        below(&self.change_queries, &["availableChangeVersions"])
    }

    /// Where versions before 7 list their snapshots.
    pub fn snapshots(&self) -> Url {
        below(&self.change_queries, &["snapshots"])
    }

    /// The version of the `Ed-Fi` data model: `5.2.0`.
    pub fn data_standard(&self) -> Option<&str> {
        let ed_fi = self.root.data_models.iter().find(|(name, _)| name == "Ed-Fi");
        ed_fi.map(|(_, version)| version.as_str())
    }
}

/// Segments are escaped, so an id can never lead to another address.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut()
        .expect("discovery admits only http and https addresses")
        .pop_if_empty()
        .extend(segments);
    url
}
