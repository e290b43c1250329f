//! `tidemark run` while a daemon holds the state: the runs are started there, and followed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::desk::{PairCondition, PairStatus, RunShown};
use crate::domain::Outcome;

use super::arguments::{Output, RunArguments};
use super::at_desk::AtDesk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::signals::Signals;
use super::{runs, show};

/// From one question about a run to the next.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(
    context: &Context,
    at: &AtDesk,
    arguments: &RunArguments,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    if arguments.max_running.is_some() {
        return Err(Failure::usage(
            "a daemon holds the state, and it runs as many pairs at once as its \
             `server.max_running` says: leave `--max-running` out",
        ));
    }
    let started = start(at, arguments).await?;
    let mut ended = Vec::new();
    for id in &started {
        tokio::select! {
            run = follow(at, id) => ended.push(run?),
            () = signals.received() => {
                show::error(
                    "no longer followed: the runs go on in the daemon; `tidemark cancel` ends them",
                );
                return Ok(Exit::Failed);
            }
        }
    }
    match context.output() {
        Output::Json => show::json("runs", &ended)?,
        Output::Text => show::answer(&runs::told(&ended))?,
    }
    Ok(worst(&ended))
}

/// The ids of the runs that began now, and of those that went on already.
async fn start(at: &AtDesk, arguments: &RunArguments) -> Result<Vec<String>, Failure> {
    let mut pairs = at.pairs(&arguments.selector).await?;
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    if arguments.first {
        pairs.retain(|pair| pair.watermark.is_none());
    }
    let mut targets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for PairStatus { publication, target, .. } in pairs {
        targets.entry(publication).or_default().push(target);
    }
    let mut ids = Vec::new();
    for (publication, targets) in targets {
        let allow = arguments.allow_deletes;
        let started = at.desk.start(&at.by, &publication, &targets, allow).await?;
        for id in started.already_running {
            show::note(&format!("{publication}: run {id} went on already, and is followed"));
            ids.push(id);
        }
        ids.extend(started.runs);
    }
    Ok(ids)
}

async fn follow(at: &AtDesk, id: &str) -> Result<RunShown, Failure> {
    loop {
        let run = at.desk.run(&at.by, id).await?;
        if run.outcome.is_some() {
            return Ok(run);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Of 1, 3 and 0 the worst (contract, "Exit status").
fn worst(runs: &[RunShown]) -> Exit {
    let any = |outcome| runs.iter().any(|run| run.outcome == Some(outcome));
    if any(Outcome::Failed) {
        return Exit::Failed;
    }
    if any(Outcome::Parked) { Exit::Parked } else { Exit::Done }
}
