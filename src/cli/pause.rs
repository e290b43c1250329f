//! `tidemark pause`, `resume` and `cancel`: orders to the daemon about schedules and runs.

use crate::desk::PairStatus;

use super::arguments::{CancelArguments, Output, PauseArguments, ResumeArguments};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;

pub(super) async fn pause(context: &Context, arguments: &PauseArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let now = context.clock.now();
    if arguments.until.is_some_and(|until| until <= now) {
        return Err(Failure::usage("`--until` has passed already"));
    }
    let at = at_desk::desk(context).await?;
    let pairs = at.pairs_to_change(&arguments.selector, arguments.yes, "`pause`").await?;
    let reason = arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let mut paused = Vec::new();
    for pair in &pairs {
        paused.push(at.desk.pause(&at.by, &pair.id(), arguments.until, reason).await?);
    }
    let until = arguments.until.map(|until| format!(" until {}", show::moment(until)));
    print(context, &paused, &format!("paused{}", until.unwrap_or_default()))
}

pub(super) async fn resume(
    context: &Context,
    arguments: &ResumeArguments,
) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let at = at_desk::desk(context).await?;
    let pairs = at.pairs_to_change(&arguments.selector, arguments.yes, "`resume`").await?;
    let mut resumed = Vec::new();
    for pair in &pairs {
        resumed.push(at.desk.resume(&at.by, &pair.id()).await?);
    }
    print(context, &resumed, "resumed")
}

/// Tells the runs of the chosen pairs to save their progress and end.
pub(super) async fn cancel(
    context: &Context,
    arguments: &CancelArguments,
) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let at = at_desk::desk(context).await?;
    let mut pairs = at.pairs_to_change(&arguments.selector, arguments.yes, "`cancel`").await?;
    pairs.retain(|pair| pair.run_id.is_some());
    if pairs.is_empty() {
        return Err(Failure::usage("none of them is running: `tidemark status` shows what is"));
    }
    for run in pairs.iter().filter_map(|pair| pair.run_id.as_deref()) {
        at.desk.cancel(&at.by, run).await?;
    }
    print(context, &pairs, "told to save its progress and end")
}

fn print(context: &Context, pairs: &[PairStatus], what: &str) -> Result<Exit, Failure> {
    match context.output() {
        Output::Json => show::json("pairs", &pairs)?,
        Output::Text => {
            let ids: Vec<_> = pairs.iter().map(PairStatus::id).collect();
            let count = show::count(show::many(pairs.len()), "pair");
            show::answer(&format!("{count} {what}: {}", show::few(&ids)))?;
        }
    }
    Ok(Exit::Done)
}
