//! `tidemark check`: reaches every connection and says what each can do, what the credentials may
//! do, and what a target lacks. It reads and never writes.

mod connection;
mod pair;

use std::error::Error;

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;

use crate::daemon::Assembly;
use crate::engine::Pair;
use crate::http::HttpError;

use super::arguments::{CheckArguments, Output};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;

/// Connections looked at at once.
const AT_ONCE: usize = 16;

/// One finding (contract, `{"checks":[…]}`).
#[derive(Clone, Debug, Serialize)]
struct Check {
    connection: String,
    check: &'static str,
    status: Status,
    message: String,
    /// What to do about it; `null` where there is nothing to do.
    action: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Error,
}

/// The findings about one connection, in the order in which they were made.
struct Findings {
    connection: String,
    checks: Vec<Check>,
}

impl Findings {
    fn of(connection: &str) -> Findings {
        Findings { connection: connection.to_owned(), checks: Vec::new() }
    }

    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Status::Ok, message.into(), None);
    }

    fn warning(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(check, Status::Warning, message.into(), Some(action.into()));
    }

    fn error(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(check, Status::Error, message.into(), Some(action.into()));
    }

    /// An error whose message ends in what to do, as those of the APIs do: it is parted there.
    fn failed(&mut self, check: &'static str, error: &(dyn Error + 'static)) {
        let (message, action) = parted(&sentence(error));
        self.add(check, Status::Error, message, action);
    }

    fn add(
        &mut self,
        check: &'static str,
        status: Status,
        message: String,
        action: Option<String>,
    ) {
        let connection = self.connection.clone();
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

pub(super) async fn run(context: &Context, arguments: &CheckArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let assembly = context.assembly_without_state()?;
    let pairs = if assembly.pairs.is_empty() {
        Vec::new()
    } else {
        choose::pairs(&assembly, &arguments.selector)?
    };
    let everything = choose::says_nothing(&arguments.selector) || arguments.selector.narrow.all;
    let checks = check_all(context, &assembly, &pairs, everything).await;

    let is_error = checks.iter().any(|check| check.status == Status::Error);
    match context.output() {
        Output::Json => show::json("checks", &checks)?,
        Output::Text => show::answer(&text(&checks))?,
    }
    Ok(if is_error { Exit::Failed } else { Exit::Done })
}

/// Every connection first, then the pairs whose ends were both reached.
async fn check_all(
    context: &Context,
    assembly: &Assembly,
    pairs: &[Pair],
    everything: bool,
) -> Vec<Check> {
    let connections = assembly.connections.iter().filter(|(name, _)| {
        everything || pairs.iter().any(|pair| connection::uses(assembly, pair, name))
    });
    let looking =
        connections.map(|(name, api)| connection::check(context, assembly, pairs, name, api));
    let found: Vec<Findings> =
        stream::iter(looking.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
    let mut checks: Vec<Check> = found.into_iter().flat_map(|findings| findings.checks).collect();

    let unreachable = |name: &str| {
        checks.iter().any(|check| {
            check.connection == name && check.check != "snapshots" && check.status == Status::Error
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

fn text(checks: &[Check]) -> String {
    let mut text = String::new();
    let mut connection = None;
    for check in checks {
        if connection != Some(&check.connection) {
            if connection.is_some() {
                text.push('\n');
            }
            text.push_str(&format!("{}\n", check.connection));
            connection = Some(&check.connection);
        }
        let mark = match check.status {
            Status::Ok => "ok",
            Status::Warning => "WARNING",
            Status::Error => "ERROR",
        };
        text.push_str(&format!("  {mark:<8} {:<15} {}\n", check.check, check.message));
        if let Some(action) = &check.action {
            text.push_str(&format!("  {:<8} {:<15} → {action}\n", "", ""));
        }
    }
    let count = |status| show::many(checks.iter().filter(|check| check.status == status).count());
    text.push_str(&format!(
        "\n{}, {}\n",
        show::count(count(Status::Error), "error"),
        show::count(count(Status::Warning), "warning")
    ));
    text
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
