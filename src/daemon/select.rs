//! Which pairs somebody means: by name, glob, label, connection and target.

use std::collections::BTreeMap;

use super::Assembly;
use crate::config::{ConnectionName, PublicationConfig};
use crate::desk::{Selectors, fits};
use crate::engine::Pair;

/// A selection that means no pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("no publication is called `{name}`{}", did_you_mean(.nearest))]
    UnknownPublication { name: String, nearest: Option<String> },

    #[error("no connection is called `{name}`{}", did_you_mean(.nearest))]
    UnknownConnection { name: String, nearest: Option<String> },

    #[error("no pair fits all of that: `tidemark status` lists what there is")]
    Nothing,

    #[error("the configuration has no publication: add one under `publications`")]
    NoPublications,
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl Assembly {
    /// The pairs that `selectors` mean, by publication.
    pub fn pairs_of(
        &self,
        selectors: &Selectors,
    ) -> Result<BTreeMap<String, Vec<Pair>>, SelectError> {
        if self.pairs.is_empty() {
            return Err(SelectError::NoPublications);
        }
        self.refuse_unknown(selectors)?;
        let mut selected = BTreeMap::new();
        for (name, publication) in &self.config.publications {
            if !mean_publication(selectors, name.as_str(), publication) {
                continue;
            }
            let pairs = self.pairs.get(name.as_str()).into_iter().flatten();
            let pairs: Vec<Pair> =
                pairs.filter(|pair| mean_target(selectors, pair, publication)).cloned().collect();
            if !pairs.is_empty() {
                selected.insert(name.to_string(), pairs);
            }
        }
        if selected.is_empty() { Err(SelectError::Nothing) } else { Ok(selected) }
    }

    fn refuse_unknown(&self, selectors: &Selectors) -> Result<(), SelectError> {
        for wanted in &selectors.publications {
            if !self.pairs.keys().any(|name| fits(wanted, name)) {
                let nearest = nearest(wanted, self.pairs.keys());
                return Err(SelectError::UnknownPublication { name: wanted.clone(), nearest });
            }
        }
        for wanted in selectors.connection.iter().chain(&selectors.target) {
            if !self.connections.contains_key(wanted) {
                let nearest = nearest(wanted, self.connections.keys());
                return Err(SelectError::UnknownConnection { name: wanted.clone(), nearest });
            }
        }
        Ok(())
    }
}

fn mean_publication(selectors: &Selectors, name: &str, publication: &PublicationConfig) -> bool {
    let named = selectors.publications.is_empty()
        || selectors.publications.iter().any(|wanted| fits(wanted, name));
    let labels = &publication.labels;
    named && selectors.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn mean_target(selectors: &Selectors, pair: &Pair, publication: &PublicationConfig) -> bool {
    let is_source = |name: &String| ConnectionName::as_str(&publication.source) == name;
    let connected =
        selectors.connection.as_ref().is_none_or(|name| is_source(name) || pair.id.target == *name);
    connected && selectors.target.as_ref().is_none_or(|target| pair.id.target == *target)
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let close = |other: &&String| strsim::jaro_winkler(name, other) > 0.8;
    known
        .filter(close)
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .cloned()
}
