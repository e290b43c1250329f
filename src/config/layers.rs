//! The layers of a configuration and how they lie over each other: `defaults`, then the files in
//! order of name, then environment variables. Values are the `config` crate's, which know where they
//! were written; what a layer does to the ones below is decided here: mappings merge, everything else replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::{Map, Value, ValueKind};

use super::entries::SECTIONS;
use super::problem::{Place, Problem, hint, nearest};
use super::yaml::{self, Document, join};

/// What every variable of ours begins with.
const PREFIX: &str = "TIDEMARK__";

/// Sections whose keys are names that must be given once.
const NAMED: &[&str] = &["connections", "publications", "limits", "templates"];

/// Keys of which an entry has one: the upper layer's takes the place of both below.
const ALTERNATIVES: &[(&str, &str)] = &[("schedule", "every"), ("every", "schedule")];

/// Values that may be written as a mapping, and still are one value.
const WHOLE_VALUES: &[&str] = &["key", "secret"];

/// Reads a file, or the `*.yaml` of a directory in order of name.
pub(super) fn read_files(
    path: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Result<(Vec<Document>, Vec<PathBuf>), ()> {
    let files = match files_of(path, warnings) {
        Ok(files) => files,
        Err(problem) => {
            problems.push(problem);
            return Err(());
        }
    };
    let mut documents = Vec::new();
    let mut is_whole = true;
    for file in &files {
        match read_file(file, problems) {
            Ok(document) => documents.push(document),
            Err(problem) => {
                problems.push(problem);
                is_whole = false;
            }
        }
    }
    report_names_given_twice(&documents, problems);
    // With a file missing, what the others refer to would seem to be missing too.
    if is_whole { Ok((documents, files)) } else { Err(()) }
}

pub(super) fn files_of(path: &Path, warnings: &mut Vec<Problem>) -> Result<Vec<PathBuf>, Problem> {
    let shown = path.display().to_string();
    let problem = |message: String| Problem { key_path: String::new(), place: None, message };
    let unreadable =
        |error: std::io::Error| problem(format!("cannot read the configuration {shown}: {error}"));
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_hidden =
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") if !is_hidden && !file.is_dir() => files.push(file),
            Some("yml") if !is_hidden => warnings.push(Problem::of_file(
                file.display().to_string(),
                "not read: rename it so that it ends in .yaml".to_owned(),
            )),
            _ => {}
        }
    }
    if files.is_empty() {
        return Err(problem(format!("the directory {shown} holds no file that ends in .yaml")));
    }
    files.sort();
    Ok(files)
}

fn read_file(file: &Path, problems: &mut Vec<Problem>) -> Result<Document, Problem> {
    let shown = file.display().to_string();
    let bytes = std::fs::read(file)
        .map_err(|error| Problem::of_file(shown.clone(), format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Problem::of_file(shown.clone(), "not UTF-8 text: save it as UTF-8".to_owned())
    })?;
    read_text(&shown, &text, problems)
}

pub(super) fn read_text(
    file: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Result<Document, Problem> {
    let mut document = yaml::read(file, text, problems)?;
    // Unknown sections end here: the crate would read a `.` in their names as a path.
    document.root.retain(|section, _| {
        let is_known = SECTIONS.contains(&section.as_str());
        if !is_known {
            let place = document.keys.get([section.clone()].as_slice()).cloned();
            let message = format!("unknown section{}", hint(section, SECTIONS));
            problems.push(Problem { key_path: section.clone(), place, message });
        }
        is_known
    });
    Ok(document)
}

fn report_names_given_twice(documents: &[Document], problems: &mut Vec<Problem>) {
    let mut first: BTreeMap<&[String], &Place> = BTreeMap::new();
    for document in documents {
        for (path, place) in &document.keys {
            if path.len() != 2 || !NAMED.contains(&path[0].as_str()) {
                continue;
            }
            if let Some(earlier) = first.get(path.as_slice()) {
                problems.push(Problem {
                    key_path: join(path),
                    place: Some(place.clone()),
                    message: format!("defined twice; it is first defined at {earlier}"),
                });
            } else {
                first.insert(path, place);
            }
        }
    }
}

/// The variables of ours that name a known key, as a layer. The others are mistakes: a variable
/// overrides what there is and never creates an entry.
pub(super) fn environment(
    env: &BTreeMap<String, String>,
    known: &BTreeSet<Vec<String>>,
    problems: &mut Vec<Problem>,
) -> Document {
    let by_variable: BTreeMap<String, &Vec<String>> =
        known.iter().map(|path| (variable_of(path), path)).collect();
    let mut document = Document::default();
    for (variable, text) in env.iter().filter(|(name, _)| is_ours(name)) {
        let Some(path) = by_variable.get(variable) else {
            let hint = nearest(variable, by_variable.keys().map(String::as_str))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            problems.push(Problem {
                key_path: String::new(),
                place: Some(Place::Variable(variable.clone())),
                message: format!(
                    "this variable names no key of the configuration (a variable overrides an \
                     entry and never creates one){hint}"
                ),
            });
            continue;
        };
        set(&mut document.root, path, Value::new(Some(variable), text.as_str()));
    }
    document
}

pub(super) fn is_ours(variable: &str) -> bool {
    variable.starts_with(PREFIX)
}

/// `TIDEMARK__CONNECTIONS__DISTRICT_ONE__MAX_CONCURRENCY`.
fn variable_of(path: &[String]) -> String {
    let parts: Vec<String> =
        path.iter().map(|part| part.to_uppercase().replace(['-', '.'], "_")).collect();
    format!("{PREFIX}{}", parts.join("__"))
}

fn set(table: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let inner = table
        .entry(first.clone())
        .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
    if !matches!(inner.kind, ValueKind::Table(_)) {
        inner.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(inner) = &mut inner.kind {
        set(inner, rest, value);
    }
}

/// What `defaults` puts under every entry, as the lowest layer.
pub(super) fn defaults(layers: &[Layer]) -> Document {
    let mut document = Document::default();
    if !layers.iter().any(|Layer(layer)| layer.contains_key("defaults")) {
        return document;
    }
    let root = &stack(layers.iter().cloned());
    for (kind, section) in [("connection", "connections"), ("publication", "publications")] {
        let Some(defaults) = child(root, "defaults").and_then(|all| child(all, kind)) else {
            continue;
        };
        let Some(ValueKind::Table(entries)) = child(root, section).map(|value| &value.kind) else {
            continue;
        };
        for name in entries.keys() {
            set(&mut document.root, &[section.to_owned(), name.clone()], defaults.clone());
        }
    }
    document
}

fn child<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match &value.kind {
        ValueKind::Table(table) => table.get(key),
        _ => None,
    }
}

/// What a document says.
#[derive(Clone, Debug)]
pub(super) struct Layer(Map<String, Value>);

impl From<Document> for Layer {
    fn from(document: Document) -> Layer {
        Layer(document.root)
    }
}

/// One layer over the other, the lowest first. The `config` crate would stack them as well, and copy
/// everything once for each level of mappings around it: with a thousand publications, that takes as
/// long as reading them.
pub(super) fn stack(layers: impl IntoIterator<Item = Layer>) -> Value {
    let mut stacked = Map::new();
    for Layer(layer) in layers {
        lay_over(&mut stacked, layer);
    }
    Value::new(None, ValueKind::Table(stacked))
}

fn lay_over(below: &mut Map<String, Value>, above: Map<String, Value>) {
    for (given, replaced) in ALTERNATIVES {
        let gives = |key: &str| above.get(key).is_some_and(|value| value.kind != ValueKind::Nil);
        if gives(given) && !gives(replaced) {
            below.remove(*replaced);
        }
    }
    for (key, value) in above {
        let is_whole = WHOLE_VALUES.contains(&key.as_str());
        match (below.get_mut(&key).map(|value| &mut value.kind), value) {
            (Some(ValueKind::Table(below)), Value { kind: ValueKind::Table(above), .. })
                if !is_whole =>
            {
                lay_over(below, above)
            }
            (Some(ValueKind::Table(_)), Value { kind: ValueKind::Nil, .. }) if !is_whole => {}
            (_, value) => {
                below.insert(key, without_place(value));
            }
        }
    }
}

/// A mapping is where its key is, whichever layers it was put together from.
fn without_place(value: Value) -> Value {
    let ValueKind::Table(table) = value.kind else { return value };
    let mut placeless = Map::with_capacity(table.len());
    placeless.extend(table.into_iter().map(|(key, value)| (key, without_place(value))));
    Value::new(None, ValueKind::Table(placeless))
}
