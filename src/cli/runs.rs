//! `tidemark runs`: what ran, how it ended, and what it moved.

use crate::desk::RunShown;
use crate::domain::{Stage, Tally};

use super::arguments::{Output, RunsCommand, RunsListArguments, RunsShowArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};
use super::{at_desk, choose};

pub(super) async fn run(context: &Context, command: RunsCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        RunsCommand::List(arguments) => list(context, &arguments).await,
        RunsCommand::Show(arguments) => show_some(context, &arguments).await,
    }
}

async fn list(context: &Context, arguments: &RunsListArguments) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    let which = choose::selectors(&arguments.selector)?;
    let runs = at.runs(&which, arguments.limit).await?;
    match context.output() {
        Output::Json => show::json_list(&runs)?,
        Output::Text if runs.is_empty() => show::answer("nothing has run")?,
        Output::Text => {
            let now = context.clock.now();
            show::answer(&table(&runs, |run| show::ago(now, run.started_at)))?;
        }
    }
    Ok(Exit::Done)
}

/// Each whole, or where there are many a row each.
pub(super) fn told(runs: &[RunShown]) -> String {
    const WHOLE: usize = 4;
    match runs.len() {
        0 => "no pair was run".to_owned(),
        1..=WHOLE => runs.iter().map(one).collect::<Vec<_>>().join("\n"),
        _ => table(runs, |run| show::moment(run.started_at)),
    }
}

fn table(runs: &[RunShown], began: impl Fn(&RunShown) -> String) -> String {
    let columns = [
        Column::Text("id"),
        Column::Text("pair"),
        Column::Text("outcome"),
        Column::Text("began"),
        Column::Number("took"),
        Column::Number("read"),
        Column::Number("applied"),
        Column::Number("parked"),
    ];
    let row = |run: &RunShown| {
        let all = total(run);
        vec![
            run.id.get(..8).unwrap_or(&run.id).to_owned(),
            format!("{} → {}", run.publication, run.target),
            outcome(run).to_owned(),
            began(run),
            show::or_dash(run.duration_seconds.map(show::seconds)),
            show::number(all.read),
            show::number(all.applied),
            show::number(all.parked),
        ]
    };
    show::table(&columns, runs.iter().map(row).collect())
}

fn outcome(run: &RunShown) -> &'static str {
    run.outcome.map_or("running", |outcome| outcome.as_str())
}

fn total(run: &RunShown) -> Tally {
    let mut all = Tally::default();
    for stage in Stage::ALL {
        all.add(*run.stages.of(stage));
    }
    all
}

async fn show_some(context: &Context, arguments: &RunsShowArguments) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    let mut runs = Vec::new();
    for id in &arguments.ids {
        let run = at.desk.run(&at.by, id).await;
        runs.push(run.map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message.push_str("; see `tidemark runs list`");
            failure
        })?);
    }
    match context.output() {
        Output::Json => show::json_list(&runs)?,
        Output::Text => show::answer(&runs.iter().map(one).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Exit::Done)
}

fn one(run: &RunShown) -> String {
    let mut lines = vec![
        ("id", run.id.clone()),
        ("pair", format!("{} → {}", run.publication, run.target)),
        ("outcome", outcome(run).to_owned()),
    ];
    lines.extend(run.window.as_ref().map(|window| ("window", show::window(window))));
    lines.push(("began", show::moment(run.started_at)));
    lines.extend(run.ended_at.map(|ended| ("ended", show::moment(ended))));
    lines.extend(run.duration_seconds.map(|seconds| ("took", show::seconds(seconds))));
    lines.extend(run.error.as_ref().map(|error| ("error", error.kind.clone())));
    lines.extend(run.error.as_ref().map(|error| ("", error.message.clone())));
    let margin = " ".repeat(9);
    let mut text: String = lines
        .into_iter()
        .map(|(name, value)| show::wrapped(&value, &format!("{name:<8} "), &margin))
        .collect();
    if total(run).read > 0 {
        text.push('\n');
        text.push_str(&show::stages(&run.stages));
    }
    text
}
