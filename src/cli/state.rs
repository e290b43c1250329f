//! `tidemark state`: what is remembered, as a list and as text: backup, repair, another store, a
//! renamed publication.
//!
//! What lives here: the files. What does not: who may overwrite what (the desk), the form of the text
//! (`state/text.rs`), and what another program's configuration says (`state/api_publisher.rs`).

mod api_publisher;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::desk::{DeskError, PairCondition, PairStatus};
use crate::domain::ChangeVersion;
use crate::state::{Draft, LastRun, PairId};

use super::arguments::{
    ImportForm, Output, StateCommand, StateForgetArguments, StateImportArguments,
    StateMoveArguments,
};
use super::at_desk::{self, AtDesk};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

pub(super) async fn run(context: &Context, command: StateCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        StateCommand::Export(arguments) => export(context, arguments.to.as_deref()).await,
        StateCommand::Import(arguments) => import(context, &arguments).await,
        StateCommand::List => list(context).await,
        StateCommand::Move(arguments) => rename(context, &arguments).await,
        StateCommand::Forget(arguments) => forget(context, &arguments).await,
    }
}

async fn export(context: &Context, to: Option<&Path>) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    let text = at.desk.export(&at.by).await?;
    match to {
        None => {
            let mut out = io::stdout().lock();
            let written = out.write_all(&text).and_then(|()| out.flush());
            written.map_err(|error| {
                Failure::failed(format!(
                    "cannot write the export: {error}; what was written of it is of no use, and the \
                     state is as it was"
                ))
            })?;
        }
        Some(path) => {
            let draft = Draft::beside(path).map_err(|error| unwritten(path, &error))?;
            draft.file().write_all(&text).map_err(|error| unwritten(path, &error))?;
            draft.becomes(path).map_err(|error| unwritten(path, &error))?;
        }
    }
    Ok(Exit::Done)
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write {}: {error}; a file that was there before is as it was",
        path.display()
    ))
}

async fn import(context: &Context, arguments: &StateImportArguments) -> Result<Exit, Failure> {
    let file = &arguments.file;
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}; nothing was imported", file.display()))
    })?;
    let text = match arguments.from {
        None => text,
        Some(ImportForm::ApiPublisher) => of_the_api_publisher(context, file, &text)?,
    };
    let at = at_desk::desk(context).await?;
    let imported = at.desk.import(&at.by, &text, arguments.yes).await;
    let pairs = imported.map_err(|error| match error {
        DeskError::Refused(what) => Failure::usage(format!("{}: {what}", file.display())),
        other => other.into(),
    })?;
    print(context, &at, Some(pairs)).await
}

/// Its watermarks, as the lines that an import knows.
fn of_the_api_publisher(context: &Context, file: &Path, text: &str) -> Result<String, Failure> {
    let config = context.config()?;
    let found = api_publisher::watermarks(text, &config).map_err(|what| {
        Failure::usage(format!("{}: {what}; nothing was imported", file.display()))
    })?;
    for line in &found.unmapped {
        show::warning(line);
    }
    let line = |(pair, watermark): (PairId, ChangeVersion)| {
        let PairId { publication, target } = pair;
        let line = serde_json::json!({
            "publication": publication, "target": target, "watermark": watermark,
        });
        format!("{line}\n")
    };
    Ok(found.watermarks.into_iter().map(line).collect())
}

#[derive(Serialize)]
struct Listed {
    publication: String,
    target: String,
    /// `orphaned` for one that the configuration no longer names, else `configured`.
    state: &'static str,
    watermark: Option<ChangeVersion>,
    parked: u64,
    dead: u64,
    last_run: Option<LastRun>,
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    print(context, &at, None).await
}

/// These pairs, or every one that has state.
async fn print(context: &Context, at: &AtDesk, only: Option<Vec<PairId>>) -> Result<Exit, Failure> {
    let mut pairs = at.desk.with_state(&at.by).await?;
    if let Some(only) = only {
        let only: BTreeSet<PairId> = only.into_iter().collect();
        pairs.retain(|pair| only.contains(&pair.id()));
    }
    let listed: Vec<Listed> = pairs.into_iter().map(one).collect();
    match context.output() {
        Output::Json => show::json_list(&listed)?,
        Output::Text if listed.is_empty() => show::answer("no pair has state")?,
        Output::Text => show::answer(&table(&listed))?,
    }
    Ok(Exit::Done)
}

fn one(pair: PairStatus) -> Listed {
    let orphaned = pair.state == PairCondition::Orphaned;
    Listed {
        publication: pair.publication,
        target: pair.target,
        state: if orphaned { "orphaned" } else { "configured" },
        watermark: pair.watermark,
        parked: pair.parked,
        dead: pair.dead,
        last_run: pair.last_run,
    }
}

fn table(listed: &[Listed]) -> String {
    let columns = [
        Column::Text("publication"),
        Column::Text("target"),
        Column::Text("state"),
        Column::Number("watermark"),
        Column::Number("parked"),
        Column::Number("dead"),
        Column::Text("last run"),
    ];
    let row = |pair: &Listed| {
        vec![
            pair.publication.clone(),
            pair.target.clone(),
            pair.state.to_owned(),
            pair.watermark.map_or("none".to_owned(), |at| at.to_string()),
            show::number(pair.parked),
            show::number(pair.dead),
            show::or_dash(pair.last_run.as_ref().map(|run| run.ended_at.format("%Y-%m-%d %H:%M"))),
        ]
    };
    show::table(&columns, listed.iter().map(row).collect())
}

/// A publication has another name now: its state follows.
async fn rename(context: &Context, arguments: &StateMoveArguments) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    let moved = at.desk.move_state(&at.by, &arguments.old, &arguments.new).await?;
    print(context, &at, Some(moved)).await
}

async fn forget(context: &Context, arguments: &StateForgetArguments) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    let pairs = to_forget(&at, &arguments.pair).await?;
    let ids: Vec<PairId> = pairs.iter().map(PairStatus::id).collect();
    let reason = arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let configured = pairs.iter().filter(|pair| pair.state != PairCondition::Orphaned);
    let configured: Vec<PairId> = configured.map(PairStatus::id).collect();
    if !configured.is_empty() && reason.is_none() {
        return Err(Failure::usage(format!(
            "the configuration names {}: its next run would publish everything again, and what was parked is gone; `state forget` wants a `--reason TEXT` then: whoever asks later sees it",
            show::few(&configured)
        )));
    }
    if !arguments.yes {
        return Err(Failure::usage(format!(
            "`state forget` would remove everything that is known of {}: add `--yes` if that is meant",
            show::few(&ids)
        )));
    }
    for id in &ids {
        at.desk.forget_state(&at.by, id, reason).await?;
    }
    show::answer(&format!("forgot {}", show::few(&ids)))?;
    Ok(Exit::Done)
}

/// The pairs with state that `PUBLICATION[/TARGET]` names.
async fn to_forget(at: &AtDesk, named: &str) -> Result<Vec<PairStatus>, Failure> {
    let (publication, target) = match named.split_once('/') {
        Some((publication, target)) => (publication, Some(target)),
        None => (named, None),
    };
    let mut pairs = at.desk.with_state(&at.by).await?;
    pairs.retain(|pair| {
        pair.publication == publication && target.is_none_or(|target| pair.target == target)
    });
    match pairs.is_empty() {
        true => Err(Failure::usage(format!(
            "`{named}` has no state: `tidemark state list` shows what has"
        ))),
        false => Ok(pairs),
    }
}
