//! `tidemark config`: says what is wrong with a configuration, or prints an example of one.

use serde_json::json;

use crate::config;

use super::arguments::{ConfigCommand, Output};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::{not_yet, show};

pub(super) fn run(context: &Context, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check => check(context),
        ConfigCommand::Example => show::answer(config::example()).map(|()| Exit::Done),
        ConfigCommand::Show(_) => not_yet::command("config show"),
        ConfigCommand::Schema(_) => not_yet::command("config schema"),
    }
}

/// Everything at once: mistakes, warnings, and secrets that cannot be read.
fn check(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let connections = config.connections.iter();
    let unreadable: Vec<String> =
        connections.flat_map(|(name, connection)| context.unreadable(name, connection)).collect();
    if !unreadable.is_empty() {
        return Err(Failure::usage(unreadable.join("\n")));
    }
    let pairs: usize = config.publications.values().map(|p| p.targets.len()).sum();
    let (connections, publications) = (config.connections.len(), config.publications.len());
    match context.output() {
        Output::Json => show::json_object(&json!({
            "ok": true, "connections": connections, "publications": publications, "pairs": pairs,
        }))?,
        Output::Text => {
            let count = |many: usize, one| show::count(show::many(many), one);
            show::answer(&format!(
                "the configuration is right: {}, {}, {}; `tidemark check` reaches the APIs",
                count(connections, "connection"),
                count(publications, "publication"),
                count(pairs, "pair")
            ))?;
        }
    }
    Ok(Exit::Done)
}
