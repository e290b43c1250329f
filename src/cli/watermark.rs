//! `tidemark watermark`: how far pairs are, and how to make them go on from elsewhere.

use serde::Serialize;

use crate::desk::{Moved, PairCondition, PairStatus};
use crate::domain::ChangeVersion;

use super::arguments::{Output, Selector, WatermarkCommand, WatermarkMove, WatermarkTo};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

pub(super) async fn run(context: &Context, command: WatermarkCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        WatermarkCommand::Show(selector) => show(context, &selector).await,
        WatermarkCommand::Set(arguments) => {
            let to = wanted(&arguments.to);
            change(context, &arguments.moving, to, "`watermark set`").await
        }
        WatermarkCommand::Reset(moving) => {
            change(context, &moving, Moved::Reset, "`watermark reset`").await
        }
    }
}

fn wanted(to: &WatermarkTo) -> Moved {
    match to.to {
        Some(version) => Moved::To(ChangeVersion(version)),
        None => Moved::Before(to.before.expect("the command line wants one of them")),
    }
}

#[derive(Serialize)]
struct Shown {
    publication: String,
    target: String,
    watermark: Option<ChangeVersion>,
}

async fn show(context: &Context, selector: &Selector) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    let mut pairs = at.pairs(selector).await?;
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    print(context, pairs)
}

async fn change(
    context: &Context,
    moving: &WatermarkMove,
    to: Moved,
    what: &str,
) -> Result<Exit, Failure> {
    let reason = moving.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let Some(reason) = reason else {
        return Err(Failure::usage(format!(
            "{what} wants a `--reason TEXT`: whoever asks later sees it"
        )));
    };
    let at = at_desk::desk(context).await?;
    let pairs = at.pairs_to_change(&moving.selector, moving.yes, what).await?;
    if !moving.yes {
        return Err(Failure::usage(format!(
            "{what} would change {}: add `--yes` if that is meant",
            show::few(&pairs.iter().map(PairStatus::id).collect::<Vec<_>>())
        )));
    }
    let mut moved = Vec::new();
    for pair in &pairs {
        moved.push(at.desk.move_watermark(&at.by, &pair.id(), to, None, reason).await?);
    }
    print(context, moved)
}

fn print(context: &Context, pairs: Vec<PairStatus>) -> Result<Exit, Failure> {
    let watermarks: Vec<Shown> = pairs
        .into_iter()
        .map(|PairStatus { publication, target, watermark, .. }| Shown {
            publication,
            target,
            watermark,
        })
        .collect();
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
