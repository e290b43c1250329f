//! What is wrong with a configuration: which key, where it was written, and what to do.

use std::collections::BTreeMap;
use std::fmt;

/// Where something was written. Lines and columns count from one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    File {
        file: String,
        line: usize,
        column: usize,
        /// The row that a template made it from.
        row: Option<Box<Row>>,
    },
    /// The environment variable of this name.
    Variable(String),
}

/// A row of a template: of a CSV file, or of a list in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub template: String,
    pub file: String,
    pub line: usize,
}

/// Between what an origin tells of a place and what it tells of its row: no path has it.
const ROW_FOLLOWS: char = '\u{1f}';

impl Place {
    /// As [`Place::from_origin`] reads it back.
    pub(super) fn to_origin(&self) -> String {
        match self {
            Place::File { file, line, column, row: Some(row) } => format!(
                "{file}:{line}:{column}{ROW_FOLLOWS}{}{ROW_FOLLOWS}{}{ROW_FOLLOWS}{}",
                row.template, row.file, row.line
            ),
            Place::File { .. } | Place::Variable(_) => self.to_string(),
        }
    }

    /// The same place, as the row of a template that made it.
    pub(super) fn of_row(&self, of: &Row) -> Place {
        match self {
            Place::File { file, line, column, .. } => Place::File {
                file: file.clone(),
                line: *line,
                column: *column,
                row: Some(Box::new(of.clone())),
            },
            Place::Variable(_) => self.clone(),
        }
    }

    /// Where it stands in the files, whichever row it was made for.
    fn without_row(&self) -> Place {
        match self {
            Place::File { file, line, column, .. } => {
                Place::File { file: file.clone(), line: *line, column: *column, row: None }
            }
            Place::Variable(_) => self.clone(),
        }
    }

    /// Reads back what `to_origin` wrote: the `config` crate carries places as text, as the origin
    /// of each value.
    pub(super) fn from_origin(origin: &str) -> Place {
        let mut parts = origin.split(ROW_FOLLOWS);
        let place = parts.next().unwrap_or_default();
        let row = match (parts.next(), parts.next(), parts.next().map(str::parse)) {
            (Some(template), Some(file), Some(Ok(line))) => {
                Some(Box::new(Row { template: template.to_owned(), file: file.to_owned(), line }))
            }
            _ => None,
        };
        let mut parts = place.rsplitn(3, ':');
        let column = parts.next().and_then(|text| text.parse().ok());
        let line = parts.next().and_then(|text| text.parse().ok());
        match (parts.next(), line, column) {
            (Some(file), Some(line), Some(column)) => {
                Place::File { file: file.to_owned(), line, column, row }
            }
            _ => Place::Variable(origin.to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column, row } => {
                write!(f, "{file}:{line}:{column}")?;
                let Some(row) = row else { return Ok(()) };
                let Row { template, file, line } = &**row;
                write!(f, " (template `{template}`, row {file}:{line})")
            }
            Place::Variable(name) => f.write_str(name),
        }
    }
}

/// One mistake, or one warning. The message says what to do next and never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `publications.district-to-state.page_size`; empty where no key is meant.
    pub key_path: String,
    pub place: Option<Place>,
    pub message: String,
}

impl Problem {
    pub(super) fn of_file(file: String, message: String) -> Problem {
        let place = Place::File { file, line: 1, column: 1, row: None };
        Problem { key_path: String::new(), place: Some(place), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.key_path.is_empty() {
            write!(f, "{}: ", self.key_path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, in the order in which it was written; one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigProblems(pub Vec<Problem>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// Sorts by place. A mistake under `defaults` shows again in every entry that takes it: it is
/// said once, under the first path that named it. One of a template shows again in every row: it
/// is said for the first, with the number of the others.
pub(super) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_cached_key(|problem| (problem.place.is_none(), problem.place.clone()));
    let mut told: Vec<(Problem, usize)> = Vec::new();
    let mut seen: BTreeMap<(Place, String, String), usize> = BTreeMap::new();
    for problem in problems {
        let Some(place) = &problem.place else {
            told.push((problem, 0));
            continue;
        };
        let last_key = last_key(&problem).to_owned();
        let what = (place.without_row(), problem.message.clone(), last_key);
        match seen.get(&what) {
            Some(first) => told[*first].1 += usize::from(*place != place.without_row()),
            None => {
                seen.insert(what, told.len());
                told.push((problem, 0));
            }
        }
    }
    told.into_iter().map(|(problem, again)| with_rows(problem, again)).collect()
}

fn with_rows(mut problem: Problem, again: usize) -> Problem {
    if again > 0 {
        let rows = if again == 1 { "row" } else { "rows" };
        problem.message.push_str(&format!(" (and for {again} more {rows})"));
    }
    problem
}

fn last_key(problem: &Problem) -> &str {
    problem.key_path.rsplit('.').next().unwrap_or_default()
}

/// The known name that a misspelt one most likely meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let tolerated = (name.chars().count() / 3).min(3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// More names than this do not fit a line that somebody reads.
const MOST_SHOWN: usize = 30;

/// `; did you mean …?`, or what is known where nothing is near.
pub(super) fn hint(name: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("; did you mean `{near}`?");
    }
    if known.is_empty() || known.len() > MOST_SHOWN {
        return String::new();
    }
    let mut names: Vec<&str> = known.to_vec();
    names.sort_unstable();
    format!("; known here: {}", names.join(", "))
}

/// A short text of the configuration as a message may show it: one line, cut when long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let plain: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() { format!("`{plain}…`") } else { format!("`{plain}`") }
}
