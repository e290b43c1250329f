//! What a person would call "the same database" (R19), an old record by which it is known (R20),
//! and how much of it the credentials show.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ChangeVersion, ResourcePath, SourceId};

/// The identity of one end of a pair, kept in the pair's state and compared at every run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The resolved data management URL; tenant and context segments are part of it.
    pub data_url: String,
    pub school_year: Option<String>,
    pub instance: Option<String>,
    /// Name to version: `Ed-Fi` → `5.2.0`.
    pub data_models: BTreeMap<String, String>,
    /// The host's own version: recorded and shown, never a reason to block.
    pub api_version: String,
}

impl Fingerprint {
    /// Why `self`, seen now, may not be the database that `before` was; `None` when it surely is.
    /// A newer host, a new extension or a minor version of a model is no reason (R19).
    pub fn differs_from(&self, before: &Fingerprint) -> Option<String> {
        if self.data_url != before.data_url {
            return Some(format!(
                "its data address was {} and is {}",
                before.data_url, self.data_url
            ));
        }
        if self.school_year != before.school_year {
            return Some("another school year".to_owned());
        }
        if self.instance != before.instance {
            return Some("another instance".to_owned());
        }
        for (name, old) in &before.data_models {
            let Some(new) = self.data_models.get(name) else {
                return Some(format!("the data model {name} is gone"));
            };
            if major(old) != major(new) {
                return Some(format!("the data model {name} was {old} and is {new}"));
            }
        }
        None
    }

    /// Whether both are found at one address: what one writes there the other sees.
    pub fn is_same_place(&self, other: &Fingerprint) -> bool {
        self.data_url == other.data_url
            && self.school_year == other.school_year
            && self.instance == other.instance
    }
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

/// An old record of a feed that a database which went on still tells (R20). Names no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    pub resource: ResourcePath,
    pub kind: CanaryKind,
    pub id: SourceId,
    /// The record is told when exactly this version is asked for.
    pub version: ChangeVersion,
}

/// Which feed tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryKind {
    /// Nothing but a purge of the history makes it vanish.
    KeyChange,
    /// Not told while its key lives again (`edfi-wire §5`).
    Tombstone,
}

/// What credentials reach (S19), as short hashes: enough to say that something went or joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    pub education_organizations: BTreeSet<String>,
    pub namespaces: BTreeSet<String>,
}

impl Scope {
    /// Of education organization ids and prefixes of namespaces.
    pub fn of(
        education_organizations: impl IntoIterator<Item = String>,
        namespaces: impl IntoIterator<Item = String>,
    ) -> Scope {
        Scope {
            education_organizations: education_organizations.into_iter().map(mark).collect(),
            namespaces: namespaces.into_iter().map(mark).collect(),
        }
    }

    /// Whether something that `before` reached is not reached now.
    pub fn lacks_some_of(&self, before: &Scope) -> bool {
        !before.education_organizations.is_subset(&self.education_organizations)
            || !before.namespaces.is_subset(&self.namespaces)
    }

    /// The whole of it as a short text, to be compared.
    pub fn hash(&self) -> String {
        let of = |marks: &BTreeSet<String>| marks.iter().cloned().collect::<Vec<_>>().join(",");
        mark(format!("{}/{}", of(&self.education_organizations), of(&self.namespaces)))
    }

    /// `education organizations: 2, namespaces: 3`, for people.
    pub fn counts(&self) -> String {
        format!(
            "education organizations: {}, namespaces: {}",
            self.education_organizations.len(),
            self.namespaces.len()
        )
    }
}

fn mark(text: String) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(url: &str, models: &[(&str, &str)]) -> Fingerprint {
        Fingerprint {
            data_url: url.to_owned(),
            school_year: None,
            instance: None,
            data_models: models.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            api_version: "7.3".to_owned(),
        }
    }

    #[test]
    fn r19_only_what_a_person_would_call_another_database_differs() {
        let before = seen("http://a/data/v3", &[("Ed-Fi", "5.2.0")]);

        for (case, now, differs) in [
            ("the same", before.clone(), false),
            ("a minor version", seen("http://a/data/v3", &[("Ed-Fi", "5.3.0")]), false),
            (
                "a new extension",
                seen("http://a/data/v3", &[("Ed-Fi", "5.2.0"), ("TPDM", "1.1.0")]),
                false,
            ),
            (
                "a newer host",
                Fingerprint { api_version: "7.4".to_owned(), ..before.clone() },
                false,
            ),
            ("another address", seen("http://b/data/v3", &[("Ed-Fi", "5.2.0")]), true),
            ("another major version", seen("http://a/data/v3", &[("Ed-Fi", "6.0.0")]), true),
            ("a model that is gone", seen("http://a/data/v3", &[]), true),
            (
                "another year",
                Fingerprint { school_year: Some("2026".to_owned()), ..before.clone() },
                true,
            ),
        ] {
            assert_eq!(now.differs_from(&before).is_some(), differs, "{case}");
        }
    }

    #[test]
    fn s19_a_scope_knows_what_went_from_what_joined() {
        let scope = |organizations: &[&str], namespaces: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
            Scope::of(own(organizations), own(namespaces))
        };
        let before = scope(&["1", "2"], &["uri://a"]);

        for (case, now, lacks, same) in [
            ("the same in another order", scope(&["2", "1"], &["uri://a"]), false, true),
            ("one joined", scope(&["1", "2", "3"], &["uri://a"]), false, false),
            ("one went", scope(&["1"], &["uri://a"]), true, false),
            ("one went and two joined", scope(&["1", "3", "4"], &["uri://a"]), true, false),
            ("a namespace went", scope(&["1", "2"], &[]), true, false),
            ("one became the other", scope(&["1", "2", "uri://a"], &[]), true, false),
        ] {
            assert_eq!(now.lacks_some_of(&before), lacks, "{case}");
            assert_eq!(now.hash() == before.hash(), same, "{case}");
        }
    }
}
