//! From the merged tree to types: one reader per mapping, which goes on after a mistake so that
//! all of them are reported at once.
//!
//! The one thing to know: a key is known because somebody asked for it. What was not asked for
//! when a mapping is finished is an unknown key, and the keys asked for are also what environment
//! variables may override.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::{Map, Value, ValueKind};

use super::not_yet;
use super::problem::{Place, Problem, hint, nearest, shown};
use super::secret::{Secret, SecretOrigin};
use super::yaml::join;

/// What the decoding of a whole tree finds out.
pub(super) struct Report<'t> {
    /// Where each key was written.
    keys: &'t BTreeMap<Vec<String>, Place>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// The path of every leaf that the configuration may set; of none where nobody asks for them.
    pub(super) known: BTreeSet<Vec<String>>,
    notes_known: bool,
}

impl<'t> Report<'t> {
    pub(super) fn new(keys: &'t BTreeMap<Vec<String>, Place>) -> Report<'t> {
        let (problems, warnings) = (Vec::new(), Vec::new());
        Report { keys, problems, warnings, known: BTreeSet::new(), notes_known: true }
    }

    /// For whoever wants the values alone: with a thousand publications, the paths of everything
    /// that they do not say take longer than what they say.
    pub(super) fn of_values(keys: &'t BTreeMap<Vec<String>, Place>) -> Report<'t> {
        Report { notes_known: false, ..Report::new(keys) }
    }

    fn note_known(&mut self, path: impl FnOnce() -> Vec<String>) {
        if self.notes_known {
            self.known.insert(path());
        }
    }

    pub(super) fn problem(&mut self, path: &[String], place: Option<Place>, message: String) {
        self.problems.push(Problem { key_path: join(path), place, message });
    }

    pub(super) fn warning(&mut self, path: &[String], place: Option<Place>, message: String) {
        self.warnings.push(Problem { key_path: join(path), place, message });
    }

    /// Where the key of this path was written, or the nearest mapping around it.
    pub(super) fn key_place(&self, path: &[String]) -> Option<Place> {
        (1..=path.len()).rev().find_map(|length| self.keys.get(&path[..length])).cloned()
    }
}

pub(super) fn place_of(value: &Value) -> Option<Place> {
    value.origin().map(Place::from_origin)
}

/// A text of the configuration, parsed, and where it stands.
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) path: Vec<String>,
    pub(super) place: Option<Place>,
}

/// One mapping whose keys are known beforehand.
pub(super) struct Fields<'r, 't> {
    pub(super) report: &'r mut Report<'t>,
    path: Vec<String>,
    table: Option<&'t Map<String, Value>>,
    /// Something else than a mapping stands there, which was said already.
    is_broken: bool,
    asked: Vec<&'static str>,
    /// `defaults` hold parts of entries: nothing is required there.
    is_partial: bool,
}

impl<'r, 't> Fields<'r, 't> {
    pub(super) fn open(
        report: &'r mut Report<'t>,
        path: Vec<String>,
        value: Option<&'t Value>,
    ) -> Fields<'r, 't> {
        let table = table_of(report, &path, value);
        let is_null = value.is_none_or(|value| matches!(value.kind, ValueKind::Nil));
        let is_broken = table.is_none() && !is_null;
        Fields { report, path, table, is_broken, asked: Vec::new(), is_partial: false }
    }

    pub(super) fn partial(mut self) -> Fields<'r, 't> {
        self.is_partial = true;
        self
    }

    /// The mapping under `key`, empty when it is absent.
    pub(super) fn nested(&mut self, key: &'static str) -> Fields<'_, 't> {
        let path = self.ask(key);
        let value = self.table.and_then(|table| table.get(key));
        Fields::open(self.report, path, value)
    }

    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: fn(&str) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        self.require(key);
        self.placed(key, parse)
    }

    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        Some(self.placed(key, parse)?.value)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        let Some(found) = self.placed(key, |text| Ok(text.to_owned())) else {
            return default;
        };
        let text = found.value;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
            return *meant;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let later = not_yet::VALUES.iter().find(|(of, _)| *of == key).map_or(&[][..], |(_, v)| v);
        let message = if later.contains(&text.as_str()) {
            format!("not in this version: `{text}`; write {}", alternatives(&known))
        } else if let Some(near) = nearest(&text, known.iter().copied()) {
            format!("unknown: {}; did you mean `{near}`?", shown(&text))
        } else {
            format!("unknown: {}; write {}", shown(&text), alternatives(&known))
        };
        self.report.problem(&found.path, found.place, message);
        default
    }

    pub(super) fn placed<T>(
        &mut self,
        key: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        self.ask_leaf(key);
        let value = self.found(key)?;
        parsed(self.report, self.path_to(key), value, parse)
    }

    /// A list; from a variable, separated by commas. Its elements are parsed one by one.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Vec<Placed<T>> {
        self.ask_leaf(key);
        let Some(value) = self.found(key) else {
            return Vec::new();
        };
        let path = self.path_to(key);
        let place = place_of(value);
        match &value.kind {
            ValueKind::Array(items) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    let mut path = path.clone();
                    path.push(format!("[{index}]"));
                    parsed(self.report, path, item, parse)
                })
                .collect(),
            ValueKind::String(text) if matches!(place, Some(Place::Variable(_))) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .filter_map(|item| match parse(item) {
                    Ok(value) => Some(Placed { value, path: path.clone(), place: place.clone() }),
                    Err(message) => {
                        self.report.problem(&path, place.clone(), message);
                        None
                    }
                })
                .collect(),
            _ => {
                let message = "a list is due here: write it as `[one, two]`".to_owned();
                self.report.problem(&path, place, message);
                Vec::new()
            }
        }
    }

    /// A list of mappings, each with its path.
    pub(super) fn mappings(&mut self, key: &'static str) -> Vec<(Vec<String>, &'t Value)> {
        self.ask_leaf(key);
        let Some(value) = self.found(key) else {
            return Vec::new();
        };
        let path = self.path_to(key);
        let ValueKind::Array(items) = &value.kind else {
            let place = place_of(value).or_else(|| self.report.key_place(&path));
            let message = "a list is due here: write it as `[{…}, {…}]`".to_owned();
            self.report.problem(&path, place, message);
            return Vec::new();
        };
        let place = |index| {
            let mut path = path.clone();
            path.push(format!("[{index}]"));
            path
        };
        items.iter().enumerate().map(|(index, item)| (place(index), item)).collect()
    }

    /// Names and texts that the user invents, such as labels.
    pub(super) fn texts(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let path = self.ask(key);
        let value = self.table.and_then(|table| table.get(key));
        let Some(table) = table_of(self.report, &path, value) else {
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (name, value) in table {
            let mut path = path.clone();
            path.push(name.clone());
            self.report.note_known(|| path.clone());
            if let ValueKind::Nil = value.kind {
                let message = "a text is due here: put it in quotes".to_owned();
                self.report.problem(&path, place_of(value), message);
            } else if let Some(found) = parsed(self.report, path, value, |text| Ok(text.to_owned()))
            {
                texts.insert(name.clone(), found.value);
            }
        }
        texts
    }

    /// A literal, `{env: NAME}` or `{file: PATH}`; where there is none, the file `<beside>-<key>`.
    /// No message here repeats what was written.
    pub(super) fn secret(&mut self, key: &'static str, beside: Option<&Path>) -> Option<Secret> {
        if beside.is_none() {
            self.require(key);
        }
        self.ask_leaf(key);
        let path = self.path_to(key);
        for form in ["env", "file"] {
            let of_form = || [path.as_slice(), &[form.to_owned()]].concat();
            self.report.note_known(of_form);
        }
        let Some(value) = self.found(key) else {
            let mut file = beside?.as_os_str().to_owned();
            file.push(format!("-{key}"));
            let place = self.report.key_place(&self.path);
            return Some(Secret::new(SecretOrigin::File(file.into()), place));
        };
        let place = place_of_secret(value).or_else(|| self.report.key_place(&path));
        match secret_origin(value) {
            Ok(origin) => {
                if matches!((&origin, &place), (SecretOrigin::Literal(_), Some(Place::File { .. })))
                {
                    let message = "a secret stands in the file as it is: use `{env: NAME}` or \
                                   `{file: PATH}`";
                    self.report.warning(&path, place.clone(), message.to_owned());
                }
                Some(Secret::new(origin, place))
            }
            Err(message) => {
                self.report.problem(&path, place, message.to_owned());
                None
            }
        }
    }

    /// The same where there need be none.
    pub(super) fn optional_secret(&mut self, key: &'static str) -> Option<Secret> {
        if self.has(key) {
            return self.secret(key, None);
        }
        self.ask_leaf(key);
        None
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.found(key).is_some()
    }

    pub(super) fn path_to(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    /// Reports what nobody asked for. Must be called last.
    pub(super) fn finish(self) {
        let Some(table) = self.table else {
            return;
        };
        for (name, value) in table {
            if !self.asked.contains(&name.as_str()) {
                let path = self.path_to(name);
                let place = self.place_of_key(&path, value);
                let message = format!("unknown key{}", hint(name, &self.asked));
                self.report.problem(&path, place, message);
            }
        }
    }

    pub(super) fn require(&mut self, key: &'static str) {
        if self.is_broken || self.is_partial || self.found(key).is_some() {
            return;
        }
        let place = self.report.key_place(&self.path);
        let path = self.path_to(key);
        self.report.problem(&path, place, "missing: add it".to_owned());
    }

    /// Where a key was written, be it as a variable.
    fn place_of_key(&self, path: &[String], value: &Value) -> Option<Place> {
        match place_of(value) {
            Some(Place::Variable(name)) => Some(Place::Variable(name)),
            Some(Place::File { .. }) | None => self.report.key_place(path),
        }
    }

    /// The value of a key; null is absent.
    fn found(&self, key: &str) -> Option<&'t Value> {
        let value = self.table?.get(key)?;
        (!matches!(value.kind, ValueKind::Nil)).then_some(value)
    }

    fn ask_leaf(&mut self, key: &'static str) {
        self.note_asked(key);
        let path = &self.path;
        self.report.note_known(|| [path.as_slice(), &[key.to_owned()]].concat());
    }

    fn ask(&mut self, key: &'static str) -> Vec<String> {
        self.note_asked(key);
        self.path_to(key)
    }

    fn note_asked(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }
}

/// The mapping that a value holds; absent and null are empty, anything else is a mistake.
pub(super) fn table_of<'t>(
    report: &mut Report<'_>,
    path: &[String],
    value: Option<&'t Value>,
) -> Option<&'t Map<String, Value>> {
    let value = value?;
    match &value.kind {
        ValueKind::Table(table) => Some(table),
        ValueKind::Nil => None,
        _ => {
            let message = "keys with values are due here: write `key: value` on the lines below";
            report.problem(path, place_of(value), message.to_owned());
            None
        }
    }
}

fn parsed<T>(
    report: &mut Report<'_>,
    path: Vec<String>,
    value: &Value,
    parse: fn(&str) -> Result<T, String>,
) -> Option<Placed<T>> {
    let place = place_of(value).or_else(|| report.key_place(&path));
    let outcome = match &value.kind {
        ValueKind::String(text) => parse(text),
        _ => Err("a single value is due here, not a list, a mapping or nothing".to_owned()),
    };
    match outcome {
        Ok(value) => Some(Placed { value, path, place }),
        Err(message) => {
            report.problem(&path, place, message);
            None
        }
    }
}

fn secret_origin(value: &Value) -> Result<SecretOrigin, &'static str> {
    const FORMS: &str = "a secret is a text in quotes, `{env: NAME}` or `{file: PATH}`";
    match &value.kind {
        ValueKind::String(text) if text.is_empty() => {
            Err("the secret is empty: use `{env: NAME}` or `{file: PATH}`")
        }
        ValueKind::String(text) => Ok(SecretOrigin::Literal(text.clone().into())),
        ValueKind::Table(table) if table.len() == 1 => {
            match (text_in(table, "env"), text_in(table, "file")) {
                (Some(name), _) if is_variable_name(name) => {
                    Ok(SecretOrigin::Environment(name.to_owned()))
                }
                (Some(_), _) => Err("`env` takes the name of a variable, such as DISTRICT_KEY"),
                (None, Some("")) => Err("`file` takes the path of the file that holds the secret"),
                (None, Some(path)) => Ok(SecretOrigin::File(path.into())),
                (None, None) => Err(FORMS),
            }
        }
        _ => Err(FORMS),
    }
}

/// The `config` crate keeps no place for a mapping; the name or path inside has one.
fn place_of_secret(value: &Value) -> Option<Place> {
    match &value.kind {
        ValueKind::Table(table) => table.values().find_map(place_of),
        _ => place_of(value),
    }
}

fn text_in<'t>(table: &'t Map<String, Value>, key: &str) -> Option<&'t str> {
    match &table.get(key)?.kind {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}

fn is_variable_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `` `a` ``, `` `a` or `b` ``, `` `a`, `b` or `c` ``.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
