//! `tidemark verify` while a daemon holds the state: it compares there, and is followed from here.

use std::io::IsTerminal;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::desk::{ComparisonShown, DeskError, PairCondition, PairStatus, VerificationShown};
use crate::state::PairId;

use super::arguments::VerifyArguments;
use super::at_desk::AtDesk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::signals::Signals;
use super::{choose, show, verify};

/// From one question about a comparison to the next.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions at once; how many pairs are compared at once is for the daemon to say.
const AT_ONCE: usize = 32;

pub(super) async fn run(
    context: &Context,
    at: &AtDesk,
    arguments: &VerifyArguments,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    let mut pairs = if arguments.writes() && !choose::says_nothing(&arguments.selector) {
        at.pairs_to_change(&arguments.selector, arguments.yes, "`verify --repair`").await?
    } else {
        at.pairs(&arguments.selector).await?
    };
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    verify::refuse_to_write_to_many(arguments, pairs.len())?;
    let ids: Vec<PairId> = pairs.iter().map(PairStatus::id).collect();
    tokio::select! {
        verified = compare_all(at, &ids, arguments) => verify::answer(context, &verified?, ids.len()),
        () = signals.received() => {
            show::error(
                "no longer followed: the comparisons go on in the daemon, and the same command finds \
                 them there",
            );
            Ok(Exit::Failed)
        }
    }
}

/// Asks for all of them first, so that the daemon compares as many at once as it may; told of in
/// order. A pair that cannot be compared is said so and left out.
async fn compare_all(
    at: &AtDesk,
    ids: &[PairId],
    arguments: &VerifyArguments,
) -> Result<Vec<VerificationShown>, Failure> {
    let wanted = arguments.comparing();
    let asking = ids.iter().map(|id| at.desk.compare(&at.by, id, &wanted));
    let begun: Vec<_> = stream::iter(asking).buffered(AT_ONCE).collect().await;
    let mut verified = Vec::new();
    for (id, begun) in ids.iter().zip(begun) {
        let ended = match begun {
            Ok(begun) => follow(at, id, begun).await?,
            // It is about this pair alone.
            Err(error @ (DeskError::Conflict(_) | DeskError::Failed(_))) => {
                show::error(&format!("{id}: {error}"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match (ended.found, ended.error) {
            (Some(found), _) => {
                verify::went_on(id, ended.goes_on_from);
                verified.push(found);
            }
            (None, Some(error)) => show::error(&format!("{id}: {}", error.message)),
            (None, None) => show::error(&format!("{id}: it ended without a result")),
        }
    }
    Ok(verified)
}

/// Until it has ended. On a terminal it is said what it waits for and how far it is.
async fn follow(
    at: &AtDesk,
    id: &PairId,
    mut comparison: ComparisonShown,
) -> Result<ComparisonShown, Failure> {
    let is_watched = std::io::stderr().is_terminal();
    let mut said = String::new();
    while comparison.ended_at.is_none() {
        let now = progress(&comparison);
        if is_watched && now != said {
            show::note(&format!("{id}: {now}"));
            said = now;
        }
        tokio::time::sleep(ASK_EVERY).await;
        comparison = at.desk.comparison(&at.by, &comparison.id).await?;
    }
    Ok(comparison)
}

fn progress(comparison: &ComparisonShown) -> String {
    match &comparison.waits_for {
        Some(what) => format!("waits: {what}"),
        None => format!("{} compared", show::count(comparison.compared, "resource")),
    }
}
