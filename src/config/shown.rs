//! The configuration in force, value by value, with where each came from.
//!
//! The one thing to know: what nobody wrote is shown too, with the default that
//! `config/reference.yaml` has for it. No secret is shown, only where it is kept.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Value, ValueKind};

use super::decode::place_of;
use super::problem::{ConfigProblems, Place, Problem, hint};
use super::yaml::{self, join};
use super::{Loaded, Merged, Want, example, load_merged};

/// One value of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownValue {
    /// `connections.district.timeout`.
    pub key: String,
    /// As it was written; lists in brackets, secrets hidden.
    pub value: String,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    Written(Place),
}

/// Every value, or those of the connections, publications, limits or sections that are called
/// `name`.
///
/// # Errors
/// Every mistake of the configuration; or that nothing has this name.
pub fn show(
    path: &Path,
    env: &BTreeMap<String, String>,
    name: Option<&str>,
) -> Result<Vec<ShownValue>, ConfigProblems> {
    Ok(load_and_show(path, env, name)?.1)
}

/// The same, with the configuration that the values are of.
pub fn load_and_show(
    path: &Path,
    env: &BTreeMap<String, String>,
    name: Option<&str>,
) -> Result<(Loaded, Vec<ShownValue>), ConfigProblems> {
    let merged = load_merged(path, env, Want::Known)?;
    let defaults = Defaults::of_reference();
    let mut values = Vec::new();
    let written_once = |path: &&Vec<String>| path.first().is_none_or(|first| first != "defaults");
    for path in merged.known.iter().filter(written_once) {
        if name.is_none_or(|name| is_called(path, name)) {
            values.extend(shown(&merged, path, &defaults));
        }
    }
    match name {
        Some(name) if values.is_empty() => Err(nothing_is_called(&merged, name)),
        _ => Ok((merged.loaded, values)),
    }
}

fn is_called(path: &[String], name: &str) -> bool {
    let has_entries = path.first().is_some_and(|section| is_section_of_entries(section));
    path.get(usize::from(has_entries)).is_some_and(|found| found == name)
}

fn is_section_of_entries(section: &str) -> bool {
    matches!(section, "connections" | "publications" | "limits")
}

fn nothing_is_called(merged: &Merged, name: &str) -> ConfigProblems {
    let config = &merged.loaded.config;
    let connections = config.connections.keys().map(|name| name.as_str());
    let publications = config.publications.keys().map(|name| name.as_str());
    let limits = config.limits.keys().map(|name| name.as_str());
    let mut known: Vec<&str> = connections.chain(publications).chain(limits).collect();
    known.extend(["state", "server"]);
    let message = format!("nothing is called `{name}`{}", hint(name, &known));
    ConfigProblems(vec![Problem { key_path: String::new(), place: None, message }])
}

/// `None` for what is a part of another value, and for a key of which nobody wrote anything and
/// which has no default.
fn shown(merged: &Merged, path: &[String], defaults: &Defaults) -> Option<ShownValue> {
    let (key, before) = path.split_last()?;
    if before.last().is_some_and(|last| is_secret(last)) {
        return None;
    }
    let value = at(&merged.tree, path).filter(|value| value.kind != ValueKind::Nil);
    let Some(value) = value else {
        let value = defaults.of(path).or_else(|| kept_in_the_directory(merged, path))?;
        return Some(ShownValue { key: join(path), value, origin: Origin::Default });
    };
    let origin = match place_in(value).or_else(|| place_of_key(merged, path)) {
        Some(place) => Origin::Written(place),
        None => Origin::Default,
    };
    Some(ShownValue { key: join(path), value: text_of(key, value), origin })
}

/// What holds a secret wherever it stands, also within an entry of a list.
fn is_secret(key: &str) -> bool {
    matches!(key, "key" | "secret" | "token" | "admin_token")
}

/// Where a secret is kept may be seen, a literal one may not.
fn text_of(key: &str, value: &Value) -> String {
    match value.kind {
        ValueKind::Table(_) | ValueKind::Nil => text(value),
        _ if is_secret(key) => "***".to_owned(),
        _ => text(value),
    }
}

fn at<'v>(tree: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(tree, |value, key| match &value.kind {
        ValueKind::Table(table) => table.get(key),
        _ => None,
    })
}

/// The crate keeps no place for what is not a scalar; what is inside has one.
fn place_in(value: &Value) -> Option<Place> {
    match &value.kind {
        ValueKind::Table(table) => table.values().filter_map(place_in).min(),
        ValueKind::Array(items) => items.iter().filter_map(place_in).min(),
        _ => place_of(value),
    }
}

fn place_of_key(merged: &Merged, path: &[String]) -> Option<Place> {
    merged.written.get(path).cloned()
}

fn text(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "null".to_owned(),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        ValueKind::Table(table) => {
            let members: BTreeMap<&String, String> =
                table.iter().map(|(key, value)| (key, text_of(key, value))).collect();
            let members: Vec<String> =
                members.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// A connection without a key or a secret of its own.
fn kept_in_the_directory(merged: &Merged, path: &[String]) -> Option<String> {
    let folder = merged.loaded.config.state.secrets_dir.as_ref()?;
    match path {
        [section, name, key] if section == "connections" && (key == "key" || key == "secret") => {
            Some(format!("{{file: {}}}", folder.join(format!("{name}-{key}")).display()))
        }
        _ => None,
    }
}

/// The defaults of every key, as the reference has them.
struct Defaults(Value);

impl Defaults {
    fn of_reference() -> Defaults {
        let mut problems = Vec::new();
        let document = yaml::read("reference.yaml", example(), &mut problems);
        let root = document.map(|document| document.root).unwrap_or_default();
        Defaults(Value::new(None, ValueKind::Table(root)))
    }

    fn of(&self, path: &[String]) -> Option<String> {
        let mut path = path.to_vec();
        match path.first().map(String::as_str) {
            Some("connections") => "district".clone_into(path.get_mut(1)?),
            Some("publications") => "district-to-state".clone_into(path.get_mut(1)?),
            _ => {}
        }
        let is_required = path.first().is_some_and(|section| section == "connections")
            && matches!(path.last().map(String::as_str), Some("key" | "secret"));
        if is_required {
            return None;
        }
        at(&self.0, &path).map(text)
    }
}
