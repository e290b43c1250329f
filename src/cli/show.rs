//! How answers look on a terminal: JSON, tables that fit it, paragraphs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::domain::{Stage, Stages};

pub(super) use crate::desk::wording::{
    ago, count, csv, few, many, moment, number, seconds, until, window, word,
};

use super::failure::Failure;

/// Prints to standard output. A reader that has gone away, such as `head`, is no failure.
pub(super) fn answer(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object with one member, as the contract shapes answers.
pub(super) fn json<T: Serialize>(name: &str, value: &T) -> Result<(), Failure> {
    json_object(&BTreeMap::from([(name, value)]))
}

/// Prints a list: `{"items":[…],"next":null}`.
pub(super) fn json_list<T: Serialize>(items: &[T]) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct List<'a, T> {
        items: &'a [T],
        /// Lists are whole in this version.
        next: Option<String>,
    }
    json_object(&List { items, next: None })
}

pub(super) fn json_object<T: Serialize>(object: &T) -> Result<(), Failure> {
    answer(&pretty(object)?)
}

/// What [`json_object`] prints, to be printed later.
pub(super) fn json_object_text<T: Serialize>(object: &T) -> Result<String, Failure> {
    pretty(object)
}

fn pretty<T: Serialize>(object: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(object)
        .map_err(|error| Failure::failed(format!("cannot write the answer: {error}")))
}

/// Says on standard error why the command did not do what it was asked.
pub(super) fn error(message: &str) {
    note(&format!("error: {message}"));
}

pub(super) fn warning(message: &str) {
    note(&format!("warning: {message}"));
}

/// One line on standard error. There is nowhere left to report that it could not be written.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Width of paragraphs, in characters; a narrower terminal narrows them.
const TEXT_WIDTH: usize = 96;

/// Columns of a table: a name, and numbers stand to the right.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table as wide as the terminal at most.
pub(super) fn table(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    // A program that reads the table wants a row in a line.
    table.set_content_arrangement(if io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table.set_header(columns.iter().map(|column| {
        let (Column::Text(name) | Column::Number(name)) = column;
        Cell::new(name.to_uppercase()).set_alignment(alignment(*column))
    }));
    for row in rows {
        table.add_row(
            row.into_iter()
                .zip(columns)
                .map(|(text, column)| Cell::new(text).set_alignment(alignment(*column))),
        );
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn alignment(column: Column) -> CellAlignment {
    match column {
        Column::Text(_) => CellAlignment::Left,
        Column::Number(_) => CellAlignment::Right,
    }
}

/// The tallies of a run.
pub(super) fn stages(stages: &Stages) -> String {
    let columns = [
        Column::Text("  stage"),
        Column::Number("read"),
        Column::Number("applied"),
        Column::Number("skipped"),
        Column::Number("parked"),
    ];
    let row = |stage: Stage| {
        let tally = stages.of(stage);
        let mut row = vec![format!("  {stage}")];
        row.extend([tally.read, tally.applied, tally.skipped, tally.parked].map(number));
        row
    };
    table(&columns, Stage::ALL.map(row).to_vec())
}

/// A paragraph of lines that read well, with a margin before the first and before the others.
pub(super) fn wrapped(text: &str, first: &str, next: &str) -> String {
    let terminal = Table::new().width().map_or(TEXT_WIDTH, usize::from);
    let width = TEXT_WIDTH.min(terminal);
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut margin = first.chars().count();
    for word in text.split_whitespace() {
        let length = line.chars().count();
        if length > margin && length + 1 + word.chars().count() > width {
            lines.push_str(&line);
            lines.push('\n');
            line = next.to_owned();
            margin = next.chars().count();
        }
        if line.chars().count() > margin {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// Things that happened to pairs, each told once with the pairs that it happened to.
pub(super) fn told_once(happened: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for (pair, what) in happened {
        match told.iter_mut().find(|(known, _)| *known == what) {
            Some((_, pairs)) => pairs.push(pair),
            None => told.push((what, vec![pair])),
        }
    }
    told.into_iter().map(|(what, pairs)| (few(&pairs), what)).collect()
}

/// `-` for what is not there.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_breaks_between_words_and_keeps_its_margin() {
        let text = "word ".repeat(40);

        let told = wrapped(&text, "  - ", "    ");

        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT_WIDTH), "{told}");
        assert!(lines[0].starts_with("  - word word"));
        assert!(lines[1].starts_with("    word word"));
        assert_eq!(told.split_whitespace().filter(|word| *word == "word").count(), 40);
    }
}
