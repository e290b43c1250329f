//! `tidemark approve`: a person decides about a pair that is blocked (R18, R19, R27).
//!
//! What was and what is are shown first; nothing changes without a yes and a reason.

use crate::desk::{self, Decided};
use crate::state::PairId;

use super::arguments::{Approval, ApproveCommand, Output};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;

pub(super) async fn run(context: &Context, command: ApproveCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        ApproveCommand::Deletes(arguments) => {
            let of = arguments.resource.as_ref().map(|name| format!(" of `{name}`"));
            let by_what = format!("deletes{}", of.unwrap_or_default());
            let wanted = desk::Approval::Deletes { resource: arguments.resource };
            decide(context, &arguments.approval, wanted, "`approve deletes`", &by_what).await
        }
        ApproveCommand::Identity(arguments) => {
            let wanted = match arguments.meaning.same_data {
                true => desk::Approval::SameData,
                false => desk::Approval::StartOver,
            };
            let by_what = "who its ends are";
            decide(context, &arguments.approval, wanted, "`approve identity`", by_what).await
        }
    }
}

/// Shows what was and what a yes makes of it, then does it.
async fn decide(
    context: &Context,
    approval: &Approval,
    wanted: desk::Approval,
    what: &str,
    by_what: &str,
) -> Result<Exit, Failure> {
    let reason = approval.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let Some(reason) = reason else {
        return Err(Failure::usage(format!(
            "{what} wants a `--reason TEXT`: whoever asks later sees it"
        )));
    };
    let at = at_desk::desk(context).await?;
    let pairs = at.pairs_to_change(&approval.selector, approval.yes, what).await?;
    let ids: Vec<PairId> = pairs.iter().map(desk::PairStatus::id).collect();
    let mut decisions = Vec::new();
    for id in &ids {
        let decision = at.desk.would_approve(&at.by, id, &wanted).await?;
        decisions.extend(decision.map(|decided| (id, decided)));
    }
    if decisions.is_empty() {
        return Err(Failure::usage(format!(
            "{what}: none of {} is blocked by {by_what}; `tidemark status` shows what is",
            show::few(&ids)
        )));
    }
    if !approval.yes {
        let shown: Vec<Decided> = decisions.into_iter().map(|(_, decided)| decided).collect();
        return Err(Failure::usage(format!(
            "{what} would change {}; add `--yes` if that is meant\n{}",
            show::count(show::many(shown.len()), "pair"),
            text(&shown)
        )));
    }
    let mut decided = Vec::new();
    for (id, _) in decisions {
        decided.push(at.desk.approve(&at.by, id, &wanted, reason).await?);
    }
    match context.output() {
        Output::Json => show::json_list(&decided)?,
        Output::Text => show::answer(&text(&decided))?,
    }
    Ok(Exit::Done)
}

fn text(decisions: &[Decided]) -> String {
    let mut text = String::new();
    for Decided { publication, target, was, now } in decisions {
        text.push_str(&format!("{publication} → {target}\n"));
        text.push_str(&show::wrapped(was, "  was: ", "       "));
        text.push_str(&show::wrapped(now, "  now: ", "       "));
    }
    text
}
