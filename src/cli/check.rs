//! `tidemark check`: reaches every connection and says what each can do, what the credentials may
//! do, and what a target lacks. It needs no state, so it asks by the configuration that is here,
//! whether a daemon runs or not; with `--server` the daemon there does it.

use std::sync::Arc;

use crate::daemon::desk::FleetDesk;
use crate::desk::{Check, CheckStatus, Checks};

use super::arguments::{CheckArguments, Output};
use super::at_desk::{self, AtDesk};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;

pub(super) async fn run(context: &Context, arguments: &CheckArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let at = match context.server()? {
        Some(_) => at_desk::desk(context).await?,
        None => {
            let assembly = Arc::new(context.assembly_without_state()?);
            AtDesk::here(context, FleetDesk::new(assembly, None))
        }
    };
    let which = choose::selectors(&arguments.selector)?;
    let Checks { checks } = at.desk.check(&at.by, &which).await?;

    let is_error = checks.iter().any(|check| check.status == CheckStatus::Error);
    match context.output() {
        Output::Json => show::json("checks", &checks)?,
        Output::Text => show::answer(&text(&checks))?,
    }
    Ok(if is_error { Exit::Failed } else { Exit::Done })
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
            CheckStatus::Ok => "ok",
            CheckStatus::Warning => "WARNING",
            CheckStatus::Error => "ERROR",
        };
        text.push_str(&format!("  {mark:<8} {:<15} {}\n", check.check, check.message));
        if let Some(action) = &check.action {
            text.push_str(&format!("  {:<8} {:<15} → {action}\n", "", ""));
        }
    }
    let count = |status| show::many(checks.iter().filter(|check| check.status == status).count());
    text.push_str(&format!(
        "\n{}, {}\n",
        show::count(count(CheckStatus::Error), "error"),
        show::count(count(CheckStatus::Warning), "warning")
    ));
    text
}
