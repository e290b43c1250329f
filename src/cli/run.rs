//! `tidemark run`: publishes now, in the foreground, then ends.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::daemon::Assembly;
use crate::desk::ParkedItem;
use crate::engine::Pair;
use crate::engine::report::{RunReport, exit_status};
use crate::engine::runner::{RunOptions, Runner};
use crate::state::{PairId, StateView};

use super::arguments::{Output, RunArguments};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::progress::Progress;
use super::signals::Signals;
use super::{at_desk, run_report, run_there, show};

pub(super) async fn run(context: &Context, arguments: RunArguments) -> Result<Exit, Failure> {
    let progress = Progress::start(context)?;
    let signals = Signals::listen()?;
    if context.server()?.is_some() {
        let at = at_desk::desk(context).await?;
        return run_there::run(context, &at, &arguments, signals).await;
    }
    let assembly = match context.assembly() {
        Ok(assembly) => assembly,
        Err(locked) if locked.exit == Exit::Locked => {
            let at = at_desk::of_the_daemon(context, locked).await?;
            return run_there::run(context, &at, &arguments, signals).await;
        }
        Err(failure) => return Err(failure),
    };
    let mut pairs = choose::by_publication(&assembly, &arguments.selector)?;
    context.require_secrets(&assembly.config, &pairs.concat())?;
    if arguments.first {
        pairs = never_published(&assembly, pairs).await?;
    }
    let max_running = arguments.max_running.and_then(|max| usize::try_from(max).ok());
    let at_once = max_running.unwrap_or(assembly.config.server.max_running);

    let stop = CancellationToken::new();
    let runner = assembly.runner(vec![progress.observer()], stop.clone());
    let options = RunOptions { allow_deletes: arguments.allow_deletes, all_parked: true };
    let wanted: usize = pairs.iter().map(Vec::len).sum();
    progress.begin();
    let work = run_all(&runner, pairs, &options, at_once, &stop);
    let reports = signals.heeding(&stop, || progress.stopping(), work).await;
    progress.finish();

    match context.output() {
        Output::Json => show::json("runs", &reports)?,
        Output::Text => run_report::print(&reports, &parked_of(&*assembly.store, &reports).await?)?,
    }
    if reports.len() < wanted {
        let left = show::count(show::many(wanted - reports.len()), "pair");
        show::error(&format!("interrupted: {left} had not begun; run again to publish the rest"));
        return Ok(Exit::Failed);
    }
    Ok(Exit::of_code(exit_status(&reports)))
}

/// What waits, pair by pair.
async fn parked_of(
    state: &dyn StateView,
    reports: &[RunReport],
) -> Result<Vec<Vec<ParkedItem>>, Failure> {
    let mut parked = Vec::new();
    for report in reports.iter().filter(|report| report.parked + report.dead > 0) {
        let id = PairId { publication: report.publication.clone(), target: report.target.clone() };
        let items = state.parked(&id, None, usize::MAX).await?;
        parked.push(items.into_iter().map(|item| ParkedItem::new(&id, item)).collect());
    }
    Ok(parked)
}

async fn never_published(
    assembly: &Assembly,
    publications: Vec<Vec<Pair>>,
) -> Result<Vec<Vec<Pair>>, Failure> {
    let mut left = Vec::new();
    for pairs in publications {
        let mut new = Vec::new();
        for pair in pairs {
            let state = assembly.store.load(&pair.id).await?.unwrap_or_default();
            if state.watermark.is_none() {
                new.push(pair);
            }
        }
        left.push(new);
    }
    Ok(left)
}

/// Runs every publication, `at_once` pairs at a time.
async fn run_all(
    runner: &Runner,
    publications: Vec<Vec<Pair>>,
    options: &RunOptions,
    at_once: usize,
    stop: &CancellationToken,
) -> Vec<RunReport> {
    let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(at_once));
    let runs = publications.iter().flat_map(|pairs| pairs.chunks(at_once)).map(|pairs| {
        let places = Arc::clone(&places);
        async move {
            let wanted = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
            let _places = places.acquire_many(wanted).await.expect("the semaphore is never closed");
            // Pairs that had not begun are left as they are.
            if stop.is_cancelled() {
                return Vec::new();
            }
            runner.run_publication(pairs.to_vec(), options).await
        }
    });
    join_all(runs).await.into_iter().flatten().collect()
}
