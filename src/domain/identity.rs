//! What a person would call "the same database" (R19).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
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
}
