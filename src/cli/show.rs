//! How answers look: JSON, tables that fit the terminal, numbers that people read.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::clock::Timestamp;
pub(super) use crate::desk::words::{count, few, many, number};
use crate::domain::{Stage, Stages, Window};

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

/// Comma-separated values with a header, as RFC 4180 has them.
pub(super) fn csv(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let header = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(header).chain(rows) {
        let fields: Vec<String> = row.into_iter().map(csv_field).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

fn csv_field(text: String) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
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

/// `0.4 s`, `3 min 20 s`, `2 h 5 min`
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::from_secs_f64(seconds).as_secs();
    if whole < 3600 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{} h {} min", whole / 3600, whole % 3600 / 60)
}

/// `everything through version 230`, `versions 101 through 230`: what is read, both edges in.
pub(super) fn window(window: &Window) -> String {
    let max = window.max_change_version();
    match window.min_change_version() {
        None => format!("everything through version {max}"),
        Some(min) if min > max => format!("nothing newer than version {max}"),
        Some(min) => format!("versions {min} through {max}"),
    }
}

/// `2026-01-31 10:00:00Z`
pub(super) fn moment(moment: Timestamp) -> String {
    moment.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `just now`, `12 min ago`, `3 days ago`
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    let gone = now.signed_duration_since(then);
    match gone.num_seconds() {
        ..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", gone.num_minutes()),
        3600..172_800 => format!("{} h ago", gone.num_hours()),
        _ => format!("{} days ago", gone.num_days()),
    }
}

/// `now`, `in 12 min`, `in 3 h`
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    let left = then.signed_duration_since(now);
    match left.num_seconds() {
        ..=0 => "now".to_owned(),
        1..60 => "in 1 min".to_owned(),
        60..7200 => format!("in {} min", left.num_minutes()),
        _ => format!("in {} h", left.num_hours()),
    }
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
    fn numbers_are_grouped_by_thousands() {
        for (plain, shown) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (34288, "34,288"), (1_234_567, "1,234,567")]
        {
            assert_eq!(number(plain), shown);
        }
    }

    #[test]
    fn a_window_that_holds_nothing_is_no_range() {
        use crate::domain::ChangeVersion;
        for (after, through, shown) in [
            (None, 9, "everything through version 9"),
            (Some(7), 9, "versions 8 through 9"),
            (Some(9), 9, "nothing newer than version 9"),
        ] {
            let after = after.map(ChangeVersion);
            assert_eq!(window(&Window { after, through: ChangeVersion(through) }), shown);
        }
    }

    #[test]
    fn durations_lose_what_nobody_reads() {
        assert_eq!(seconds(0.44), "0.4 s");
        assert_eq!(seconds(200.9), "3 min 20 s");
        assert_eq!(seconds(7500.0), "2 h 5 min");
    }

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
