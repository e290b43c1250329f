//! `tidemark approve`: a person decides about a pair that is blocked (R18, R19, R27).
//!
//! What was and what is are shown first; nothing changes without a yes and a reason.

use serde::Serialize;

use crate::daemon::Assembly;
use crate::domain::Fingerprint;
use crate::engine::{Pair, RunError};
use crate::state::{Block, BlockCause, Deletes, PairState, Step};

use super::arguments::{
    Approval, ApproveCommand, ApproveDeletesArguments, ApproveIdentityArguments, Output,
};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::{show, watermark};

pub(super) async fn run(context: &Context, command: ApproveCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        ApproveCommand::Deletes(arguments) => deletes(context, &arguments).await,
        ApproveCommand::Identity(arguments) => identity(context, &arguments).await,
    }
}

/// One pair with what a person is asked about it and what a yes does.
#[derive(Serialize)]
struct Decision {
    publication: String,
    target: String,
    was: String,
    now: String,
    #[serde(skip)]
    step: Step,
}

async fn deletes(context: &Context, arguments: &ApproveDeletesArguments) -> Result<Exit, Failure> {
    let what = "`approve deletes`";
    let assembly = context.assembly()?;
    let pairs = chosen(&assembly, &arguments.approval, what)?;
    let mut decisions = Vec::new();
    for pair in &pairs {
        let state = assembly.store.load(&pair.id).await?.unwrap_or_default();
        let Some(block) = state.blocked.clone() else { continue };
        // A block that an older version wrote names no number.
        let (BlockCause::Deletes, Some(Deletes { resource, count })) = (block.cause, block.deletes)
        else {
            continue;
        };
        if arguments
            .resource
            .as_deref()
            .is_some_and(|name| name != resource.as_str() && name != resource.collection())
        {
            continue;
        }
        let now = format!(
            "the next run may delete up to {} of `{resource}`, once",
            show::count(count, "item")
        );
        let mut allowed_deletes = state.allowed_deletes.clone();
        allowed_deletes.insert(resource, count);
        let state = PairState { blocked: None, allowed_deletes, ..state };
        let step = Step { state: Some(state), ..Step::default() };
        decisions.push(decision(pair, block.reason, now, step));
    }
    if decisions.is_empty() {
        return Err(Failure::usage(format!(
            "{what}: none of {} is blocked by deletes{}; `tidemark status` shows what is",
            show::few(&pairs.iter().map(|pair| &pair.id).collect::<Vec<_>>()),
            arguments.resource.as_ref().map_or(String::new(), |name| format!(" of `{name}`"))
        )));
    }
    decide(context, &assembly, decisions, &arguments.approval, what).await
}

async fn identity(
    context: &Context,
    arguments: &ApproveIdentityArguments,
) -> Result<Exit, Failure> {
    let what = "`approve identity`";
    let assembly = context.assembly()?;
    let pairs = chosen(&assembly, &arguments.approval, what)?;
    let mut decisions = Vec::new();
    for pair in &pairs {
        let state = assembly.store.load(&pair.id).await?.unwrap_or_default();
        let Some(block) = state.blocked.clone() else { continue };
        if block.cause == BlockCause::Deletes {
            continue;
        }
        decisions.push(if arguments.meaning.same_data {
            same_data(pair, state, block).await?
        } else {
            start_over(&assembly, pair, block).await?
        });
    }
    if decisions.is_empty() {
        return Err(Failure::usage(format!(
            "{what}: none of {} is blocked by who its ends are; `tidemark status` shows what is",
            show::few(&pairs.iter().map(|pair| &pair.id).collect::<Vec<_>>())
        )));
    }
    decide(context, &assembly, decisions, &arguments.approval, what).await
}

/// The ends as they are now are the ones that the watermark speaks of.
async fn same_data(pair: &Pair, state: PairState, block: Block) -> Result<Decision, Failure> {
    match block.cause {
        BlockCause::SourceChanged
        | BlockCause::TargetChanged
        | BlockCause::HistoryChanged
        | BlockCause::ScopeNarrowed => {}
        BlockCause::Orphan => {
            return Err(Failure::usage(format!(
                "{} never ran, so there is nothing to go on from: `tidemark state move OLD {}` gives it the state of the publication that it was, or `--start-over`. What was found: {}",
                pair.id, pair.id.publication, block.reason
            )));
        }
        BlockCause::HistoryPurged => {
            return Err(Failure::usage(format!(
                "{}: the source has forgotten what was deleted and renamed, so it cannot be gone on with: `--start-over`. What was found: {}",
                pair.id, block.reason
            )));
        }
        BlockCause::SourceRegressed | BlockCause::TargetRegressed | BlockCause::Deletes => {
            return Err(Failure::usage(format!(
                "{}: versions went back at one end, so it is not the same data: `tidemark watermark set` to a version from before the backup, or `--start-over`. What was found: {}",
                pair.id, block.reason
            )));
        }
    }
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    let now = format!(
        "the source is {}, the target is {}, and the pair goes on from its watermark",
        told(&source.fingerprint),
        told(&target.fingerprint)
    );
    let state = PairState {
        blocked: None,
        source: Some(source.fingerprint.clone()),
        target: Some(target.fingerprint.clone()),
        // What is there now is what later runs are held to (R20).
        canaries: Vec::new(),
        scope: None,
        ..state
    };
    let step = Step { state: Some(state), ..Step::default() };
    Ok(decision(pair, block.reason, now, step))
}

async fn start_over(assembly: &Assembly, pair: &Pair, block: Block) -> Result<Decision, Failure> {
    let now = "no watermark: the next run publishes everything".to_owned();
    let step = watermark::moved(assembly, pair, None).await?;
    Ok(decision(pair, block.reason, now, step))
}

/// `http://…/data/v3 (Ed-Fi 5.2.0, TPDM 1.1.0)`
fn told(fingerprint: &Fingerprint) -> String {
    let models: Vec<String> =
        fingerprint.data_models.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!("{} ({})", fingerprint.data_url, models.join(", "))
}

fn decision(pair: &Pair, was: String, now: String, step: Step) -> Decision {
    let (publication, target) = (pair.id.publication.clone(), pair.id.target.clone());
    Decision { publication, target, was, now, step }
}

fn chosen(assembly: &Assembly, approval: &Approval, what: &str) -> Result<Vec<Pair>, Failure> {
    if reason(approval).is_none() {
        return Err(Failure::usage(format!(
            "{what} wants a `--reason TEXT`: whoever asks later sees it"
        )));
    }
    choose::pairs_to_change(assembly, &approval.selector, approval.yes, what)
}

fn reason(approval: &Approval) -> Option<&str> {
    approval.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty())
}

/// Shows what was and what a yes makes of it, then does it.
async fn decide(
    context: &Context,
    assembly: &Assembly,
    decisions: Vec<Decision>,
    approval: &Approval,
    what: &str,
) -> Result<Exit, Failure> {
    if !approval.yes {
        return Err(Failure::usage(format!(
            "{what} would change {}; add `--yes` if that is meant\n{}",
            show::count(show::many(decisions.len()), "pair"),
            text(&decisions)
        )));
    }
    for decision in &decisions {
        let Decision { publication, target, .. } = decision;
        let pair =
            crate::state::PairId { publication: publication.clone(), target: target.clone() };
        assembly.store.commit(&pair, decision.step.clone()).await?;
        tracing::info!(
            publication,
            target,
            reason = reason(approval),
            "approved: {}",
            decision.now
        );
    }
    match context.output() {
        Output::Json => show::json_list(&decisions)?,
        Output::Text => show::answer(&text(&decisions))?,
    }
    Ok(Exit::Done)
}

fn text(decisions: &[Decision]) -> String {
    let mut text = String::new();
    for Decision { publication, target, was, now, .. } in decisions {
        text.push_str(&format!("{publication} → {target}\n"));
        text.push_str(&show::wrapped(was, "  was: ", "       "));
        text.push_str(&show::wrapped(now, "  now: ", "       "));
    }
    text
}
