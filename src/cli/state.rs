//! `tidemark state`: what is remembered, as a list and as text: backup, repair, another store, a
//! renamed publication.
//!
//! What lives here: who may overwrite what, and the files. What does not: the form of the text
//! (`state/text.rs`), and what another program's configuration says (`state/api_publisher.rs`).
//! The one thing to know: everything is looked at before anything is changed, and a pair is
//! changed in one step.

mod api_publisher;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::daemon;
use crate::domain::ChangeVersion;
use crate::state::text::{self, ExportError, Text};
use crate::state::{self, BlockCause, Draft, PairId, StateStore, Step};

use super::arguments::{
    ImportForm, Output, StateCommand, StateForgetArguments, StateImportArguments,
    StateMoveArguments,
};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};
use super::watermark;

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

/// The state, and the pairs that the configuration names.
struct Opened {
    store: Arc<dyn StateStore>,
    configured: BTreeSet<PairId>,
}

fn opened(context: &Context) -> Result<Opened, Failure> {
    let config = context.config()?;
    let store = daemon::open_state(&config)?;
    Ok(Opened { store, configured: configured(&config) })
}

fn configured(config: &Config) -> BTreeSet<PairId> {
    daemon::pair_ids(config).into_iter().collect()
}

async fn export(context: &Context, to: Option<&Path>) -> Result<Exit, Failure> {
    let opened = opened(context)?;
    let now = context.clock.now();
    match to {
        None => {
            let mut out = BufWriter::new(io::stdout());
            text::export(&*opened.store, now, &mut out).await.map_err(not_exported)?;
        }
        Some(path) => {
            let draft = Draft::beside(path).map_err(|error| unwritten(path, &error))?;
            let mut out = BufWriter::new(draft.file());
            text::export(&*opened.store, now, &mut out).await.map_err(not_exported)?;
            drop(out);
            draft.becomes(path).map_err(|error| unwritten(path, &error))?;
        }
    }
    Ok(Exit::Done)
}

fn not_exported(error: ExportError) -> Failure {
    match error {
        ExportError::State(error) => Failure::from(error),
        ExportError::Write(_) => Failure::failed(error.to_string()),
    }
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
    if let Some(ImportForm::ApiPublisher) = arguments.from {
        let config = context.config()?;
        let found = api_publisher::watermarks(&text, &config).map_err(|what| {
            Failure::usage(format!("{}: {what}; nothing was imported", file.display()))
        })?;
        for line in &found.unmapped {
            show::warning(line);
        }
        return import_watermarks(context, found.watermarks, arguments.yes).await;
    }
    match text::read(&text) {
        Err(error) => Err(Failure::usage(format!(
            "{} cannot be imported: {error}; nothing was imported",
            file.display()
        ))),
        Ok(Text::Watermarks(watermarks)) => {
            import_watermarks(context, watermarks, arguments.yes).await
        }
        Ok(Text::Export(steps)) => {
            let opened = opened(context)?;
            let pairs: BTreeSet<PairId> = steps.keys().cloned().collect();
            may_replace(&*opened.store, &pairs, arguments.yes).await?;
            state::import(&*opened.store, steps).await?;
            for PairId { publication, target } in &pairs {
                tracing::info!(publication, target, "state imported");
            }
            print(context, &opened, &pairs).await
        }
    }
}

/// Tells each pair how far another program had brought it. Both ends are asked what there is: the
/// watermark speaks for every selected resource (R17).
async fn import_watermarks(
    context: &Context,
    watermarks: BTreeMap<PairId, ChangeVersion>,
    yes: bool,
) -> Result<Exit, Failure> {
    let assembly = context.assembly()?;
    let unknown: Vec<&PairId> =
        watermarks.keys().filter(|id| assembly.pair(id).is_none()).collect();
    if !unknown.is_empty() {
        return Err(Failure::usage(format!(
            "the configuration has no {}; nothing was imported",
            show::few(&unknown)
        )));
    }
    let pairs: BTreeSet<PairId> = watermarks.keys().cloned().collect();
    may_replace(&*assembly.store, &pairs, yes).await?;
    let mut steps = BTreeMap::new();
    for (id, to) in watermarks {
        let pair = assembly.pair(&id).expect("every pair was found above");
        steps.insert(id, watermark::moved(&assembly, pair, Some(to)).await?);
    }
    commit_all(&*assembly.store, steps).await?;
    let configured = configured(&assembly.config);
    let opened = Opened { store: Arc::clone(&assembly.store), configured };
    print(context, &opened, &pairs).await
}

async fn may_replace(
    store: &dyn StateStore,
    pairs: &BTreeSet<PairId>,
    yes: bool,
) -> Result<(), Failure> {
    let there: Vec<PairId> =
        store.pairs().await?.into_iter().filter(|pair| pairs.contains(pair)).collect();
    if there.is_empty() || yes {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "there is state already of {}: {}; the import would replace it: add `--yes` if that is meant",
        show::count(show::many(there.len()), "pair"),
        show::few(&there)
    )))
}

/// One atomic step a pair. What fails in the middle leaves whole pairs, and importing again is safe.
async fn commit_all(store: &dyn StateStore, steps: BTreeMap<PairId, Step>) -> Result<(), Failure> {
    for (pair, step) in steps {
        store.commit(&pair, step).await?;
        let (publication, target) = (&pair.publication, &pair.target);
        tracing::info!(publication, target, "state imported");
    }
    Ok(())
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
    runs: usize,
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let opened = opened(context)?;
    let pairs = opened.store.pairs().await?.into_iter().collect();
    print(context, &opened, &pairs).await
}

async fn print(
    context: &Context,
    opened: &Opened,
    pairs: &BTreeSet<PairId>,
) -> Result<Exit, Failure> {
    let mut listed = Vec::new();
    for pair in pairs {
        listed.push(listed_pair(opened, pair).await?);
    }
    match context.output() {
        Output::Json => show::json_list(&listed)?,
        Output::Text if listed.is_empty() => show::answer("no pair has state")?,
        Output::Text => show::answer(&table(&listed))?,
    }
    Ok(Exit::Done)
}

async fn listed_pair(opened: &Opened, pair: &PairId) -> Result<Listed, Failure> {
    let state = opened.store.load(pair).await?.unwrap_or_default();
    let counts = opened.store.parked_counts(pair).await?;
    let runs = opened.store.runs(pair, usize::MAX).await?;
    let configured = opened.configured.contains(pair);
    Ok(Listed {
        publication: pair.publication.clone(),
        target: pair.target.clone(),
        state: if configured { "configured" } else { "orphaned" },
        watermark: state.watermark.map(|watermark| watermark.change_version()),
        parked: counts.parked,
        dead: counts.dead,
        runs: runs.len(),
    })
}

fn table(listed: &[Listed]) -> String {
    let columns = [
        Column::Text("publication"),
        Column::Text("target"),
        Column::Text("state"),
        Column::Number("watermark"),
        Column::Number("parked"),
        Column::Number("dead"),
        Column::Number("runs"),
    ];
    let row = |pair: &Listed| {
        vec![
            pair.publication.clone(),
            pair.target.clone(),
            pair.state.to_owned(),
            pair.watermark.map_or("none".to_owned(), |at| at.to_string()),
            show::number(pair.parked),
            show::number(pair.dead),
            show::number(show::many(pair.runs)),
        ]
    };
    show::table(&columns, listed.iter().map(row).collect())
}

/// A publication has another name now: its state follows.
async fn rename(context: &Context, arguments: &StateMoveArguments) -> Result<Exit, Failure> {
    let (old, new) = (&arguments.old, &arguments.new);
    let opened = opened(context)?;
    let known = opened.store.pairs().await?;
    let moving: Vec<PairId> =
        known.iter().filter(|pair| pair.publication == *old).cloned().collect();
    if moving.is_empty() {
        return Err(Failure::usage(format!(
            "publication `{old}` has no state: `tidemark state list` shows what has"
        )));
    }
    let renamed = |pair: &PairId| PairId { publication: new.clone(), target: pair.target.clone() };
    let mut taken = Vec::new();
    for pair in moving.iter().map(renamed).filter(|pair| known.contains(pair)) {
        if !waits_for_an_orphan(&*opened.store, &pair).await? {
            taken.push(pair);
        }
    }
    if !taken.is_empty() {
        return Err(Failure::usage(format!(
            "{} has state already; nothing was moved. If that state is of no use, `tidemark state forget` it first",
            show::few(&taken)
        )));
    }
    if !opened.configured.iter().any(|pair| pair.publication == *new) {
        return Err(Failure::usage(format!(
            "the configuration has no publication `{new}`; nothing was moved. Rename it there first"
        )));
    }
    let mut now = BTreeSet::new();
    for pair in moving {
        let to = renamed(&pair);
        let (publication, target) = (to.publication.clone(), to.target.clone());
        let step = Step { forget_all: true, taken_from: Some(pair), ..Step::default() };
        opened.store.commit(&to, step).await?;
        tracing::info!(publication, target, from = old, "state moved");
        now.insert(to);
    }
    print(context, &opened, &now).await
}

/// A pair that did nothing but be blocked until its state is moved.
async fn waits_for_an_orphan(store: &dyn StateStore, pair: &PairId) -> Result<bool, Failure> {
    let state = store.load(pair).await?.unwrap_or_default();
    let waits = state.blocked.is_some_and(|block| block.cause == BlockCause::Orphan);
    Ok(waits && state.watermark.is_none())
}

async fn forget(context: &Context, arguments: &StateForgetArguments) -> Result<Exit, Failure> {
    let opened = opened(context)?;
    let (publication, target) = match arguments.pair.split_once('/') {
        Some((publication, target)) => (publication, Some(target)),
        None => (arguments.pair.as_str(), None),
    };
    let mut pairs = opened.store.pairs().await?;
    pairs.retain(|pair| {
        pair.publication == publication && target.is_none_or(|target| pair.target == target)
    });
    if pairs.is_empty() {
        return Err(Failure::usage(format!(
            "`{}` has no state: `tidemark state list` shows what has",
            arguments.pair
        )));
    }
    let reason = arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let configured: Vec<&PairId> =
        pairs.iter().filter(|pair| opened.configured.contains(*pair)).collect();
    if !configured.is_empty() && reason.is_none() {
        return Err(Failure::usage(format!(
            "the configuration names {}: its next run would publish everything again, and what was parked is gone; `state forget` wants a `--reason TEXT` then: whoever asks later sees it",
            show::few(&configured)
        )));
    }
    if !arguments.yes {
        return Err(Failure::usage(format!(
            "`state forget` would remove everything that is known of {}: add `--yes` if that is meant",
            show::few(&pairs)
        )));
    }
    for pair in &pairs {
        opened.store.commit(pair, Step { forget_all: true, ..Step::default() }).await?;
        let (publication, target) = (&pair.publication, &pair.target);
        tracing::info!(publication, target, reason, "state forgotten");
    }
    show::answer(&format!("forgot {}", show::few(&pairs)))?;
    Ok(Exit::Done)
}
