//! What is wrong with a configuration: which key, where it was written, and what to do.

use std::fmt;

/// Where something was written. Lines and columns count from one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    File {
        file: String,
        line: usize,
        column: usize,
    },
    /// The environment variable of this name.
    Variable(String),
}

impl Place {
    /// Reads back what `Display` wrote: the `config` crate carries places as text, as the origin
    /// of each value.
    pub(super) fn from_origin(origin: &str) -> Place {
        let mut parts = origin.rsplitn(3, ':');
        let column = parts.next().and_then(|text| text.parse().ok());
        let line = parts.next().and_then(|text| text.parse().ok());
        match (parts.next(), line, column) {
            (Some(file), Some(line), Some(column)) => {
                Place::File { file: file.to_owned(), line, column }
            }
            _ => Place::Variable(origin.to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
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
        let place = Place::File { file, line: 1, column: 1 };
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
/// said once, under the first path that named it.
pub(super) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| (problem.place.is_none(), problem.place.clone()));
    let mut told: Vec<Problem> = Vec::new();
    for problem in problems {
        let again = told
            .iter()
            .rev()
            .take_while(|earlier| earlier.place.is_some() && earlier.place == problem.place)
            .any(|earlier| {
                earlier.message == problem.message && last_key(earlier) == last_key(&problem)
            });
        if !again {
            told.push(problem);
        }
    }
    told
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
