//! Which pairs somebody means: by name, glob, label, connection and target.

use std::collections::BTreeMap;

use super::Assembly;
use crate::config::{ConnectionName, PublicationConfig};
use crate::engine::Pair;

/// What selects pairs; every given part narrows. Nothing given is every pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Names or globs (`*`, `?`) of publications.
    pub publications: Vec<String>,
    /// Labels that a publication must have, each with this value.
    pub labels: Vec<(String, String)>,
    /// Pairs that read from or write to it.
    pub connection: Option<String>,
    pub target: Option<String>,
}

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
            if !selectors.mean_publication(name.as_str(), publication) {
                continue;
            }
            let pairs = self.pairs.get(name.as_str()).into_iter().flatten();
            let pairs: Vec<Pair> =
                pairs.filter(|pair| selectors.mean_target(pair, publication)).cloned().collect();
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

impl Selectors {
    fn mean_publication(&self, name: &str, publication: &PublicationConfig) -> bool {
        let named = self.publications.is_empty()
            || self.publications.iter().any(|wanted| fits(wanted, name));
        named && self.labels.iter().all(|(key, value)| publication.labels.get(key) == Some(value))
    }

    fn mean_target(&self, pair: &Pair, publication: &PublicationConfig) -> bool {
        let is_source = |name: &String| ConnectionName::as_str(&publication.source) == name;
        let connected =
            self.connection.as_ref().is_none_or(|name| is_source(name) || pair.id.target == *name);
        connected && self.target.as_ref().is_none_or(|target| pair.id.target == *target)
    }
}

/// Whether a name is what a glob describes: `*` is anything, `?` any one character.
fn fits(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || *wanted == name[read] => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                // The last star takes one character more.
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            }
        }
    }
    glob[at..].iter().all(|rest| *rest == b'*')
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let close = |other: &&String| strsim::jaro_winkler(name, other) > 0.8;
    known
        .filter(close)
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_fits_what_it_describes() {
        for (glob, name, expected) in [
            ("district-1", "district-1", true),
            ("district-1", "district-11", false),
            ("district-*", "district-11", true),
            ("*-to-state", "a-to-b-to-state", true),
            ("*-to-state", "a-to-state-b", false),
            ("d?strict", "district", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(fits(glob, name), expected, "{glob} on {name}");
        }
    }
}
