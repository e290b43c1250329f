//! `tidemark watermark`: how far pairs are, and how to make them go on from elsewhere.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::daemon::Assembly;
use crate::domain::{ChangeVersion, Watermark};
use crate::engine::{Pair, RunError, newest_before};
use crate::state::{BlockCause, Coverage, Forgotten, Overlap, PairState, RUNS_KEPT, Step};

use super::arguments::{Output, Selector, WatermarkCommand, WatermarkMove};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

pub(super) async fn run(context: &Context, command: WatermarkCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        WatermarkCommand::Show(selector) => show(context, &selector).await,
        WatermarkCommand::Set(arguments) => {
            let to = match (arguments.to.to, arguments.to.before) {
                (_, Some(time)) => To::Before(time),
                (Some(version), None) => To::Version(ChangeVersion(version)),
                (None, None) => To::Nothing,
            };
            change(context, &arguments.moving, to, "`watermark set`").await
        }
        WatermarkCommand::Reset(moving) => {
            change(context, &moving, To::Nothing, "`watermark reset`").await
        }
    }
}

#[derive(Serialize)]
struct Shown {
    publication: String,
    target: String,
    watermark: Option<ChangeVersion>,
}

async fn show(context: &Context, selector: &Selector) -> Result<Exit, Failure> {
    let assembly = context.assembly()?;
    let pairs = choose::pairs(&assembly, selector)?;
    print(context, &assembly, &pairs).await
}

/// Where a watermark goes.
#[derive(Clone, Copy)]
enum To {
    Version(ChangeVersion),
    /// As far back as is surely before this moment.
    Before(Timestamp),
    /// Away: the next run is a first one.
    Nothing,
}

/// Moves the watermark of every chosen pair, or of none.
async fn change(
    context: &Context,
    moving: &WatermarkMove,
    to: To,
    what: &str,
) -> Result<Exit, Failure> {
    let reason = moving.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let Some(reason) = reason else {
        return Err(Failure::usage(format!(
            "{what} wants a `--reason TEXT`: whoever asks later sees it"
        )));
    };
    let assembly = context.assembly()?;
    let pairs = choose::pairs_to_change(&assembly, &moving.selector, moving.yes, what)?;
    if !moving.yes {
        return Err(Failure::usage(format!(
            "{what} would change {}: add `--yes` if that is meant",
            pairs.iter().map(|pair| pair.id.to_string()).collect::<Vec<_>>().join(", ")
        )));
    }
    let mut moves = Vec::new();
    for pair in &pairs {
        moves.push((pair, version(&assembly, pair, to).await?));
    }
    for (pair, to) in moves {
        let step = moved(&assembly, pair, to).await?;
        assembly.store.commit(&pair.id, step).await?;
        let (publication, target) = (&pair.id.publication, &pair.id.target);
        tracing::info!(publication, target, to = to.map(|to| to.0), reason, "watermark moved");
    }
    print(context, &assembly, &pairs).await
}

async fn version(
    assembly: &Assembly,
    pair: &Pair,
    to: To,
) -> Result<Option<ChangeVersion>, Failure> {
    match to {
        To::Version(version) => Ok(Some(version)),
        To::Nothing => Ok(None),
        To::Before(time) => before(assembly, pair, time).await.map(Some),
    }
}

/// Never above the watermark: what lies between was not published.
async fn before(
    assembly: &Assembly,
    pair: &Pair,
    time: Timestamp,
) -> Result<ChangeVersion, Failure> {
    let state = assembly.store.load(&pair.id).await?.unwrap_or_default();
    let shown = time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    if state.blocked.as_ref().is_some_and(|block| block.cause == BlockCause::SourceChanged) {
        return Err(Failure::usage(format!(
            "{}: its source is another database than before, so that what was known of its versions says nothing now; give a version with `--to`, or `tidemark watermark reset {}`. No watermark was moved",
            pair.id, pair.id.publication
        )));
    }
    let runs = assembly.store.runs(&pair.id, RUNS_KEPT).await?;
    let Some(version) = newest_before(&state.overlap, &runs, time) else {
        return Err(Failure::usage(format!(
            "{}: what is remembered of its source does not reach back to {shown}; give a version with `--to`, or `tidemark watermark reset {}`, which publishes everything again. No watermark was moved",
            pair.id, pair.id.publication
        )));
    };
    let watermark = state.watermark.map(|watermark| watermark.change_version());
    Ok(watermark.map_or(version, |watermark| watermark.min(version)))
}

/// The state of a pair that goes on from `to`. What it knew of both ends is forgotten with what
/// blocked it: the next run takes them as they are then.
pub(super) async fn moved(
    assembly: &Assembly,
    pair: &Pair,
    to: Option<ChangeVersion>,
) -> Result<Step, Failure> {
    let state = assembly.store.load(&pair.id).await?.unwrap_or_default();
    let coverage = assembly.store.coverage(&pair.id).await?;
    let coverage = match to {
        None => Some(Coverage::default()),
        Some(_) if coverage == Coverage::default() => Some(everything_selected(pair).await?),
        Some(_) => None,
    };
    let state = PairState {
        watermark: to.map(Watermark::ChangeVersion),
        blocked: None,
        source: None,
        target: None,
        target_newest: None,
        selection: None,
        allowed_deletes: BTreeMap::new(),
        started_over: to.is_none(),
        // What was remembered was remembered of another watermark (R16).
        overlap: Overlap::default(),
        canaries: Vec::new(),
        scope: None,
        ..state
    };
    let forget = Forgotten { all: true, ..Forgotten::default() };
    Ok(Step { state: Some(state), coverage, end_journal: true, forget, ..Step::default() })
}

/// A pair that never ran is told that its target has everything through the version: the watermark
/// speaks for every selected resource (R17), or each would be read from its beginning.
async fn everything_selected(pair: &Pair) -> Result<Coverage, Failure> {
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let both = target.joined_with(&source);
    let selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    let spoken_for = selected.into_iter().filter(|resource| source.contains(resource)).collect();
    Ok(Coverage { spoken_for, ..Coverage::default() })
}

async fn print(context: &Context, assembly: &Assembly, pairs: &[Pair]) -> Result<Exit, Failure> {
    let mut watermarks = Vec::new();
    for pair in pairs {
        let state = assembly.store.load(&pair.id).await?.unwrap_or_default();
        watermarks.push(Shown {
            publication: pair.id.publication.clone(),
            target: pair.id.target.clone(),
            watermark: state.watermark.map(|watermark| watermark.change_version()),
        });
    }
    match context.output() {
        Output::Json => show::json_list(&watermarks)?,
        Output::Text => {
            let columns =
                [Column::Text("publication"), Column::Text("target"), Column::Number("watermark")];
            let row = |shown: &Shown| {
                let watermark = shown.watermark.map_or("none".to_owned(), |at| at.to_string());
                vec![shown.publication.clone(), shown.target.clone(), watermark]
            };
            show::answer(&show::table(&columns, watermarks.iter().map(row).collect()))?;
        }
    }
    Ok(Exit::Done)
}
