//! The configuration, value by value, for whoever looks.
//!
//! The one thing to know: it is read from where it was written, at each question, and compared with
//! what is in force: of several hundred districts it is too large to be kept twice.

use std::collections::BTreeSet;

use super::{FleetDesk, Written};
use crate::config::{self, Config, Loaded, Origin, ShownValue};
use crate::desk::{Caller, DeskError, Selectors, Setting, Settings};

impl FleetDesk {
    pub(super) async fn settings(
        &self,
        by: &Caller,
        name: Option<&str>,
    ) -> Result<Settings, DeskError> {
        let names = self.names_for(by)?;
        if let Some(name) = name.filter(|name| !names.contains(*name)) {
            return Err(DeskError::NotThere(format!("nothing is called `{name}`")));
        }
        let Some(Written { path, env }) = self.written.clone() else {
            return Err(DeskError::NotNow("the configuration was not read from a file".to_owned()));
        };
        let asked = name.map(str::to_owned);
        let reading = tokio::task::spawn_blocking(move || {
            config::load_and_show(&path, &env, asked.as_deref())
        });
        let read = reading.await.expect("reading a configuration does not panic");
        let (loaded, values) = match read {
            Ok(read) => read,
            Err(problems) => {
                let refused = Some(format!(
                    "the configuration on disk has mistakes, so the last good one is in force and \
                     its values are not shown: {problems}"
                ));
                return Ok(Settings {
                    refused,
                    names: names.into_iter().collect(),
                    settings: Vec::new(),
                });
            }
        };
        let settings = values.into_iter().filter(|value| is_for(by, &names, value)).map(shown);
        Ok(Settings {
            settings: settings.collect(),
            refused: self.is_another(&loaded),
            names: names.into_iter().collect(),
        })
    }

    /// What the caller may ask for by name: whoever sees all pairs, everything.
    fn names_for(&self, by: &Caller) -> Result<BTreeSet<String>, DeskError> {
        let Config { connections, publications, limits, .. } = &self.assembly.config;
        if by.labels.is_empty() {
            let names = connections.keys().map(ToString::to_string);
            let names = names.chain(publications.keys().map(ToString::to_string));
            let names = names.chain(limits.keys().map(ToString::to_string));
            return Ok(names.chain(["state".to_owned(), "server".to_owned()]).collect());
        }
        let mut names = BTreeSet::new();
        for pair in self.chosen(by, &Selectors::default())? {
            if let Some(publication) = publications.get(pair.id.publication.as_str()) {
                names.insert(publication.source.to_string());
            }
            names.insert(pair.id.publication);
            names.insert(pair.id.target);
        }
        Ok(names)
    }

    /// Why what is on disk is not what is in force; `None` where it is.
    fn is_another(&self, loaded: &Loaded) -> Option<String> {
        let (there, here) = (&loaded.config, &self.assembly.config);
        let is_same = there.publications == here.publications
            && there.connections == here.connections
            && there.limits == here.limits;
        (!is_same).then(|| {
            "these are the values on disk, and another configuration is in force: it is taken \
             within seconds, or the log says why not"
                .to_owned()
        })
    }
}

fn is_for(by: &Caller, names: &BTreeSet<String>, value: &ShownValue) -> bool {
    if by.labels.is_empty() {
        return true;
    }
    let mut parts = value.key.split('.');
    let is_entry = matches!(parts.next(), Some("connections" | "publications"));
    is_entry && parts.next().is_some_and(|name| names.contains(name))
}

fn shown(value: ShownValue) -> Setting {
    let ShownValue { key, value, origin } = value;
    let origin = match origin {
        Origin::Default => None,
        Origin::Written(place) => Some(place.to_string()),
    };
    Setting { key, value, origin }
}
