//! What connections are and can do, what their credentials may do, and what a target lacks. It reads
//! and never writes.

mod connection;
mod pair;

use std::error::Error;

use futures_util::StreamExt;
use futures_util::stream;

use super::Assembly;
use crate::desk::{Check, CheckStatus};
use crate::engine::Pair;
use crate::http::HttpError;

/// Connections looked at at once.
const AT_ONCE: usize = 16;

/// The findings about one connection, in the order in which they were made.
struct Findings {
    connection: String,
    checks: Vec<Check>,
}

impl Findings {
    fn of(connection: &str) -> Findings {
        Findings { connection: connection.to_owned(), checks: Vec::new() }
    }

    fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(check, CheckStatus::Ok, message.into(), None);
    }

    fn warning(&mut self, check: &str, message: impl Into<String>, action: impl Into<String>) {
        self.add(check, CheckStatus::Warning, message.into(), Some(action.into()));
    }

    fn error(&mut self, check: &str, message: impl Into<String>, action: impl Into<String>) {
        self.add(check, CheckStatus::Error, message.into(), Some(action.into()));
    }

    /// An error whose message ends in what to do, as those of the APIs do: it is parted there.
    fn failed(&mut self, check: &str, error: &(dyn Error + 'static)) {
        let (message, action) = parted(&sentence(error));
        self.add(check, CheckStatus::Error, message, action);
    }

    fn add(&mut self, check: &str, status: CheckStatus, message: String, action: Option<String>) {
        let (connection, check) = (self.connection.clone(), check.to_owned());
        self.checks.push(Check { connection, check, status, message, action });
    }
}

/// What was being done and what came of it, down to our own words: what lies behind an
/// [`HttpError`] is told in it already.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error;
    while !at.is::<HttpError>()
        && let Some(cause) = at.source()
    {
        text.push_str(&format!(": {cause}"));
        at = cause;
    }
    text
}

/// `what happened; what to do` in two; also where the second stands in brackets.
fn parted(sentence: &str) -> (String, Option<String>) {
    let Some((message, action)) = sentence.rsplit_once("; ") else {
        return (sentence.to_owned(), None);
    };
    let is_open = message.matches('(').count() > message.matches(')').count();
    match action.strip_suffix(')') {
        Some(action) if is_open => (format!("{message})"), Some(action.to_owned())),
        _ => (message.to_owned(), Some(action.to_owned())),
    }
}

/// The connections that `pairs` use, or every one, and then the pairs whose ends were both reached.
pub(super) async fn check_all(assembly: &Assembly, pairs: &[Pair], everything: bool) -> Vec<Check> {
    let connections = assembly.connections.iter().filter(|(name, _)| {
        everything || pairs.iter().any(|pair| connection::uses(assembly, pair, name))
    });
    let looking = connections.map(|(name, api)| connection::check(assembly, pairs, name, api));
    let found: Vec<Findings> =
        stream::iter(looking.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
    let mut checks: Vec<Check> = found.into_iter().flat_map(|findings| findings.checks).collect();

    let unreachable = |name: &str| {
        checks.iter().any(|check| {
            check.connection == name
                && check.check != "snapshots"
                && check.status == CheckStatus::Error
        })
    };
    let comparable = pairs.iter().filter(|pair| {
        let source = connection::source_of(assembly, pair);
        !unreachable(&pair.id.target) && !source.is_some_and(unreachable)
    });
    let comparing = comparable.map(|pair| pair::check(assembly, pair));
    let compared: Vec<Findings> =
        stream::iter(comparing.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
    checks.extend(compared.into_iter().flat_map(|findings| findings.checks));
    // Stable: what a target lacks follows what it is.
    checks.sort_by(|one, other| one.connection.cmp(&other.connection));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_and_what_to_do_are_told_apart() {
        for (sentence, message, action) in [
            ("it is gone", "it is gone", None),
            ("it is gone; look for it", "it is gone", Some("look for it")),
            ("refused (401; check `key`)", "refused (401)", Some("check `key`")),
            ("a; b; c (d)", "a; b", Some("c (d)")),
        ] {
            assert_eq!(parted(sentence), (message.to_owned(), action.map(str::to_owned)));
        }
    }
}
