//! `tidemark log-level`: the daemon logs more or less for a while, and then as before.

use crate::desk::ProcessStatus;

use super::arguments::{LogLevelArguments, Output};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;

pub(super) async fn run(context: &Context, arguments: &LogLevelArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let at = at_desk::desk(context).await?;
    let process = match &arguments.level {
        Some(level) => at.desk.set_log_level(&at.by, &level.to_string(), arguments.lasting).await?,
        None => at.desk.process(&at.by).await?,
    };
    match context.output() {
        Output::Json => show::json("log_level", &process.log_level)?,
        Output::Text => show::answer(&text(&process))?,
    }
    Ok(Exit::Done)
}

fn text(process: &ProcessStatus) -> String {
    match &process.log_level {
        None => "no daemon holds this state: `tidemark serve --log-level` says how much it logs"
            .to_owned(),
        Some(shown) => match shown.until {
            None => shown.level.clone(),
            Some(until) => {
                format!("{} until {}", shown.level, until.format("%Y-%m-%d %H:%M:%S UTC"))
            }
        },
    }
}
