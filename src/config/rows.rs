//! The rows of a template: of a CSV file with a header, or of a list in the configuration.
//!
//! The one thing to know: cells are texts, as everything is until its type is known; space around
//! them does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::{Map, Value, ValueKind};
use csv::{ReaderBuilder, StringRecord, Trim};

use super::decode::place_of;
use super::problem::{Place, Problem, Row, hint, shown};
use super::yaml::{Document, join};

/// Far above any list of districts; a path that names something else is not read into memory.
const LARGEST_FILE: u64 = 64 << 20;

/// What a template is put together for.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Every column that any row has.
    pub(super) columns: BTreeSet<String>,
    pub(super) rows: Vec<(Row, BTreeMap<String, String>)>,
    /// The file that they were read from.
    pub(super) file: Option<PathBuf>,
}

/// Reads what `for_each` names. Nothing when that is a mistake, which is in `problems` then.
pub(super) fn read(
    document: &Document,
    template: &str,
    for_each: &Value,
    problems: &mut Vec<Problem>,
) -> Option<Rows> {
    let path = ["templates", template, "for_each"].map(str::to_owned).to_vec();
    let mut reading = Reading { document, template, path, problems };
    match &for_each.kind {
        ValueKind::Array(items) => reading.of_list(items),
        ValueKind::Table(table) => reading.of_file(table),
        _ => {
            let place = place_of(for_each);
            reading.complain(place, "write `{file: districts.csv}` or a list of rows".to_owned());
            None
        }
    }
}

struct Reading<'a> {
    document: &'a Document,
    template: &'a str,
    path: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn of_list(&mut self, items: &[Value]) -> Option<Rows> {
        let said = self.problems.len();
        let mut rows = Rows::default();
        for (index, item) in items.iter().enumerate() {
            self.path.push(format!("[{index}]"));
            rows.rows.extend(self.row_of_list(item));
            self.path.pop();
        }
        rows.columns = rows.rows.iter().flat_map(|(_, cells)| cells.keys().cloned()).collect();
        (self.problems.len() == said).then_some(rows)
    }

    fn row_of_list(&mut self, item: &Value) -> Option<(Row, BTreeMap<String, String>)> {
        let ValueKind::Table(table) = &item.kind else {
            let place = place_of(item).or_else(|| self.key_place());
            self.complain(place, "a row is written as `{column: value, …}`".to_owned());
            return None;
        };
        let mut cells = BTreeMap::new();
        for (column, value) in table {
            let text = match &value.kind {
                ValueKind::String(text) => text.trim().to_owned(),
                ValueKind::Nil => String::new(),
                _ => {
                    let message = format!("{} of a row must be a single value", shown(column));
                    self.complain(self.document.keys.get(&self.path_to(column)).cloned(), message);
                    continue;
                }
            };
            cells.insert(column.clone(), text);
        }
        let places = table.keys().filter_map(|key| self.document.keys.get(&self.path_to(key)));
        let Some(Place::File { file, line, .. }) = places.min() else {
            self.complain(self.key_place(), "a row without a column".to_owned());
            return None;
        };
        let row = Row { template: self.template.to_owned(), file: file.clone(), line: *line };
        Some((row, cells))
    }

    fn of_file(&mut self, table: &Map<String, Value>) -> Option<Rows> {
        for key in table.keys().filter(|key| *key != "file") {
            let place = self.document.keys.get(&self.path_to(key)).cloned();
            let path = self.path_to(key);
            let message = format!("unknown key{}", hint(key, &["file"]));
            self.problems.push(Problem { key_path: join(&path), place, message });
        }
        let Some((ValueKind::String(name), value)) = table.get("file").map(|v| (&v.kind, v)) else {
            let place = self.key_place();
            self.complain(place, "write `{file: districts.csv}` or a list of rows".to_owned());
            return None;
        };
        let place = place_of(value);
        let path = beside(place.as_ref(), name);
        let found = read_text(&path)
            .and_then(|text| rows_of_csv(self.template, &path.display().to_string(), &text));
        match found {
            Ok(rows) => Some(Rows { file: Some(path), ..rows }),
            Err(Mistake { line: None, message }) => {
                self.complain(place, format!("{}: {message}", path.display()));
                None
            }
            Err(Mistake { line: Some(line), message }) => {
                let file = path.display().to_string();
                let place = Place::File { file, line, column: 1, row: None };
                self.complain(Some(place), message);
                None
            }
        }
    }

    fn path_to(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    /// Where the row, or the list around it, begins.
    fn key_place(&self) -> Option<Place> {
        let lengths = (1..=self.path.len()).rev();
        lengths.filter_map(|length| self.document.keys.get(&self.path[..length])).next().cloned()
    }

    fn complain(&mut self, place: Option<Place>, message: String) {
        self.problems.push(Problem { key_path: join(&self.path), place, message });
    }
}

/// A file of rows is named as seen from the file that names it: the two travel together.
fn beside(place: Option<&Place>, name: &str) -> PathBuf {
    match place {
        Some(Place::File { file, .. }) => match Path::new(file).parent() {
            Some(folder) => folder.join(name),
            None => PathBuf::from(name),
        },
        Some(Place::Variable(_)) | None => PathBuf::from(name),
    }
}

/// What is wrong with a file of rows, and in which line of it.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: Option<usize>,
    message: String,
}

impl Mistake {
    fn at(line: u64, message: impl Into<String>) -> Mistake {
        Mistake { line: usize::try_from(line).ok(), message: message.into() }
    }

    fn of_file(message: impl Into<String>) -> Mistake {
        Mistake { line: None, message: message.into() }
    }
}

fn read_text(path: &Path) -> Result<String, Mistake> {
    let unreadable = |error: std::io::Error| Mistake::of_file(format!("cannot be read: {error}"));
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(Mistake::of_file("not a file: name a file of rows"));
    }
    if found.len() > LARGEST_FILE {
        return Err(Mistake::of_file("larger than 64 MiB: name a file of rows"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| Mistake::of_file("not UTF-8 text: save it as UTF-8"))
}

fn rows_of_csv(template: &str, file: &str, text: &str) -> Result<Rows, Mistake> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        ReaderBuilder::new().trim(Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| Mistake::of_file(error.to_string()))?.clone();
    check_header(&header)?;
    let columns = header.iter().map(str::to_owned).collect();
    let mut rows = Rows { columns, ..Rows::default() };
    for record in reader.records() {
        let record = record.map_err(|error| Mistake::of_file(error.to_string()))?;
        let line = record.position().map_or(1, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue; // Spreadsheets leave rows of separators behind.
        }
        if record.len() != header.len() {
            let (has, wants) = (record.len(), header.len());
            return Err(Mistake::at(
                line,
                format!(
                    "this row has {has} cells and the header {wants}: put a cell that holds a \
                     comma in quotes"
                ),
            ));
        }
        let cells = header.iter().map(str::to_owned).zip(record.iter().map(str::to_owned));
        let line = usize::try_from(line).unwrap_or(usize::MAX);
        let row = Row { template: template.to_owned(), file: file.to_owned(), line };
        rows.rows.push((row, cells.collect()));
    }
    Ok(rows)
}

fn check_header(header: &StringRecord) -> Result<(), Mistake> {
    if header.is_empty() {
        return Err(Mistake::of_file("empty: the first line names the columns"));
    }
    let separated = |by: char| header.len() == 1 && header.iter().all(|name| name.contains(by));
    if separated(';') || separated('\t') {
        return Err(Mistake::at(1, "save it with commas between the columns"));
    }
    let mut seen = BTreeSet::new();
    for name in header {
        if name.is_empty() || name.contains(['$', '{', '}']) {
            let message = format!("{} cannot be the name of a column: rename it", shown(name));
            return Err(Mistake::at(1, message));
        }
        if !seen.insert(name) {
            return Err(Mistake::at(1, format!("two columns are called {}", shown(name))));
        }
    }
    Ok(())
}
