//! Which pairs a command is about: names, globs, labels, connections and targets.

use crate::daemon::Assembly;
use crate::desk::Selectors;
use crate::engine::Pair;

use super::arguments::{Narrow, Selector};
use super::failure::Failure;
use super::show;

/// The chosen pairs, those of a publication together, in order of name. A selector that says
/// nothing chooses every pair.
///
/// # Errors
/// A name that nothing has, with the nearest that something has; a choice that leaves nothing.
pub(super) fn by_publication(
    assembly: &Assembly,
    selector: &Selector,
) -> Result<Vec<Vec<Pair>>, Failure> {
    let chosen = assembly.pairs_of(&selectors(selector)?);
    Ok(chosen.map_err(|error| Failure::usage(error.to_string()))?.into_values().collect())
}

/// What was typed, understood.
pub(super) fn selectors(selector: &Selector) -> Result<Selectors, Failure> {
    if selector.narrow.all && !selector.publications.is_empty() {
        return Err(Failure::usage("give a PUBLICATION or `--all`, not both"));
    }
    Ok(Selectors {
        publications: selector.publications.clone(),
        labels: labels(&selector.narrow)?,
        connection: selector.narrow.connection.clone(),
        target: selector.narrow.target.clone(),
    })
}

/// A command that changes something has to be told of which pairs.
pub(super) fn refuse_unsaid(selector: &Selector, what: &str) -> Result<(), Failure> {
    match says_nothing(selector) {
        true => Err(Failure::usage(format!(
            "which pairs? {what} wants a PUBLICATION, `-l`, `--connection`, `--target` or `--all`"
        ))),
        false => Ok(()),
    }
}

pub(super) fn pairs(assembly: &Assembly, selector: &Selector) -> Result<Vec<Pair>, Failure> {
    Ok(by_publication(assembly, selector)?.into_iter().flatten().collect())
}

/// The same for a command that changes something: it has to say what, and `--yes` to more than
/// one pair.
pub(super) fn pairs_to_change(
    assembly: &Assembly,
    selector: &Selector,
    yes: bool,
    what: &str,
) -> Result<Vec<Pair>, Failure> {
    refuse_unsaid(selector, what)?;
    let chosen = pairs(assembly, selector)?;
    if chosen.len() > 1 && !yes {
        return Err(Failure::usage(format!(
            "{what} would change {}: {}; add `--yes` if that is meant",
            show::count(show::many(chosen.len()), "pair"),
            show::few(&chosen.iter().map(|pair| &pair.id).collect::<Vec<_>>())
        )));
    }
    Ok(chosen)
}

pub(super) fn says_nothing(selector: &Selector) -> bool {
    let Narrow { labels, connection, target, all } = &selector.narrow;
    selector.publications.is_empty()
        && labels.is_empty()
        && connection.is_none()
        && target.is_none()
        && !all
}

fn labels(narrow: &Narrow) -> Result<Vec<(String, String)>, Failure> {
    let mut labels = Vec::new();
    for label in &narrow.labels {
        let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("`{label}` is no label: write `-l key=value`")));
        };
        labels.push((key.to_owned(), value.to_owned()));
    }
    Ok(labels)
}
