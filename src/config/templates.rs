//! Templates: entries for each row of a table, made before anything is merged.
//!
//! The one thing to know: `${column}` is put into scalars and names, nothing more. What a template
//! makes is an entry like any other, whose every value knows the line of the template and the row.
//! A scalar that comes out empty is left out, as a key without a value is in YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use config::{Map, Value, ValueKind};

use super::decode::place_of;
use super::problem::{Place, Problem, Row, hint, shown};
use super::rows::{self, Rows};
use super::yaml::{Document, join};

/// The sections that a template makes entries of.
const MAKES: [&str; 2] = ["connections", "publications"];
const KEYS: [&str; 3] = ["for_each", "connections", "publications"];

/// What the templates of all files made.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) entries: Document,
    /// Files of rows that were read.
    pub(super) files: Vec<PathBuf>,
    pub(super) warnings: Vec<Problem>,
}

/// Takes the templates out of `files` and makes their entries.
pub(super) fn expand(files: &mut [Document], problems: &mut Vec<Problem>) -> Made {
    let mut names: BTreeMap<Vec<String>, Place> = BTreeMap::new();
    for file in files.iter() {
        let entries = file
            .keys
            .iter()
            .filter(|(path, _)| path.len() == 2 && MAKES.contains(&path[0].as_str()));
        names.extend(entries.map(|(path, place)| (path.clone(), place.clone())));
    }
    let mut made = Made::default();
    for file in files {
        let Some(templates) = file.root.remove("templates") else { continue };
        let mut making = Making { document: file, names: &mut names, made: &mut made, problems };
        making.all(&templates);
    }
    made
}

struct Making<'a> {
    document: &'a Document,
    /// Where every entry was defined, so that none is made twice.
    names: &'a mut BTreeMap<Vec<String>, Place>,
    made: &'a mut Made,
    problems: &'a mut Vec<Problem>,
}

impl Making<'_> {
    fn all(&mut self, templates: &Value) {
        let path = vec!["templates".to_owned()];
        let table = match &templates.kind {
            ValueKind::Table(table) => table,
            ValueKind::Nil => return,
            _ => return self.complain(&path, "templates with names are due here"),
        };
        for (name, template) in table.iter().collect::<BTreeMap<_, _>>() {
            self.one(name, template);
        }
    }

    fn one(&mut self, name: &str, template: &Value) {
        let path = vec!["templates".to_owned(), name.to_owned()];
        let ValueKind::Table(template) = &template.kind else {
            return self
                .complain(&path, "`for_each`, `connections` and `publications` are due here");
        };
        for key in template.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let message = format!("unknown key{}", hint(key, &KEYS));
            self.complain(&extended(&path, key), &message);
        }
        let Some(for_each) = template.get("for_each") else {
            return self.complain(&path, "`for_each` is missing: name the rows");
        };
        let Some(rows) = rows::read(self.document, name, for_each, self.problems) else { return };
        let mut entries = Vec::new();
        for section in MAKES {
            match template.get(section).map(|value| &value.kind) {
                None | Some(ValueKind::Nil) => {}
                Some(ValueKind::Table(table)) => {
                    entries.extend(table.iter().map(|(name, body)| (section, name, body)));
                }
                Some(_) => {
                    self.complain(&extended(&path, section), "entries with names are due here");
                }
            }
        }
        self.made.files.extend(rows.file.clone());
        self.doubt(&path, &rows, entries.is_empty());
        if self.columns_are_known(&path, &rows.columns, &entries) {
            for (section, name, body) in entries {
                self.entries(&path, section, name, body, &rows);
            }
        }
    }

    fn doubt(&mut self, path: &[String], rows: &Rows, makes_nothing: bool) {
        let message = match (makes_nothing, rows.rows.is_empty()) {
            (true, _) => "makes nothing: give it `connections` or `publications`",
            (false, true) => "makes nothing: there is no row",
            (false, false) => return,
        };
        let place = self.document.keys.get(path).cloned();
        let message = message.to_owned();
        self.made.warnings.push(Problem { key_path: join(path), place, message });
    }

    /// Said once, for the template: a column is missing in every row.
    fn columns_are_known(
        &mut self,
        path: &[String],
        columns: &BTreeSet<String>,
        entries: &[(&str, &String, &Value)],
    ) -> bool {
        let said = self.problems.len();
        for (section, name, body) in entries {
            let path = extended(&extended(path, section), name);
            let place = self.document.keys.get(&path).cloned();
            self.check_text(&path, place, name, columns);
            self.check_value(path, body, columns);
        }
        self.problems.len() == said
    }

    fn check_value(&mut self, path: Vec<String>, value: &Value, columns: &BTreeSet<String>) {
        match &value.kind {
            ValueKind::Table(table) => {
                for (key, value) in table {
                    let path = extended(&path, key);
                    let place = self.document.keys.get(&path).cloned();
                    self.check_text(&path, place, key, columns);
                    self.check_value(path, value, columns);
                }
            }
            ValueKind::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.check_value(extended(&path, &format!("[{index}]")), item, columns);
                }
            }
            ValueKind::String(text) => self.check_text(&path, place_of(value), text, columns),
            _ => {}
        }
    }

    fn check_text(
        &mut self,
        path: &[String],
        place: Option<Place>,
        text: &str,
        columns: &BTreeSet<String>,
    ) {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        for piece in pieces(text) {
            let message = match piece {
                Piece::Text(_) => continue,
                Piece::Column(name) if columns.contains(&name) => continue,
                Piece::Column(name) => {
                    format!("no row has a column {}{}", shown(name), hint(name, &columns))
                }
                Piece::Open => "a `${` without its `}`: write `${column}`".to_owned(),
            };
            let place = place.clone();
            self.problems.push(Problem { key_path: join(path), place, message });
        }
    }

    /// The entries that one name of the template makes, one a row.
    fn entries(&mut self, path: &[String], section: &str, name: &str, body: &Value, rows: &Rows) {
        let of_template = extended(&extended(path, section), name);
        let places: Vec<(&[String], &Place)> = self
            .document
            .keys
            .range(of_template.clone()..)
            .take_while(|(path, _)| path.starts_with(&of_template))
            .map(|(path, place)| (&path[of_template.len()..], place))
            .collect();
        for (row, cells) in &rows.rows {
            let filled = fill(name, cells);
            let path = vec![section.to_owned(), filled.clone()];
            let place = places.first().map(|(_, place)| place.of_row(row));
            if let (Some(earlier), Some(place)) = (self.names.get(&path), &place) {
                self.problems.push(Problem {
                    key_path: join(&path),
                    place: Some(place.clone()),
                    message: format!("defined twice; it is first defined at {earlier}"),
                });
                continue;
            }
            self.names.extend(place.map(|place| (path.clone(), place)));
            for (rest, place) in &places {
                let mut path = path.clone();
                path.extend(rest.iter().map(|key| fill(key, cells)));
                self.made.entries.keys.insert(path, place.of_row(row));
            }
            let section = self
                .made
                .entries
                .root
                .entry(section.to_owned())
                .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
            if let ValueKind::Table(section) = &mut section.kind {
                section.insert(filled, filled_value(body, row, cells));
            }
        }
    }

    fn complain(&mut self, path: &[String], message: &str) {
        let lengths = (1..=path.len()).rev();
        let place = lengths.filter_map(|length| self.document.keys.get(&path[..length])).next();
        let (place, message) = (place.cloned(), message.to_owned());
        self.problems.push(Problem { key_path: join(path), place, message });
    }
}

fn extended(path: &[String], key: &str) -> Vec<String> {
    let mut path = path.to_vec();
    path.push(key.to_owned());
    path
}

fn filled_value(value: &Value, row: &Row, cells: &BTreeMap<String, String>) -> Value {
    let kind = match &value.kind {
        ValueKind::String(text) => match fill(text, cells) {
            empty if empty.is_empty() && !text.is_empty() => ValueKind::Nil,
            filled => ValueKind::String(filled),
        },
        ValueKind::Array(items) => ValueKind::Array(
            items
                .iter()
                .map(|item| filled_value(item, row, cells))
                .filter(|item| item.kind != ValueKind::Nil)
                .collect(),
        ),
        ValueKind::Table(table) => {
            let filled = |(key, value): (&String, &Value)| {
                let made = filled_value(value, row, cells);
                let came_out_empty = made.kind == ValueKind::Nil && value.kind != ValueKind::Nil;
                (!came_out_empty).then(|| (fill(key, cells), made))
            };
            ValueKind::Table(table.iter().filter_map(filled).collect())
        }
        other => other.clone(),
    };
    let origin = place_of(value).map(|place| place.of_row(row).to_origin());
    Value::new(origin.as_ref(), kind)
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Column(&'t str),
    /// A `${` that nothing closes.
    Open,
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        pieces.push(Piece::Text(before));
        let Some((column, after)) = after.split_once('}') else {
            pieces.push(Piece::Open);
            return pieces;
        };
        pieces.push(Piece::Column(column));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// A row of a list may leave out what other rows have: that is empty.
fn fill(text: &str, cells: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Column(name) => filled.push_str(cells.get(name).map_or("", String::as_str)),
            Piece::Open => {}
        }
    }
    filled
}
