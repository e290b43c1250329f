//! What a pair does that has no watermark and of which nobody has said that this is meant (contract,
//! `first_run`).
//!
//! The one thing to know: a lost state looks like a pair that is new. A person who took the watermark
//! away (`watermark reset`, `approve identity --start-over`) has said what is to happen: everything is
//! published, whatever the configuration says of pairs that are new.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::domain::{Outcome, Stages, Watermark, Window};
use crate::sources::Reader;
use crate::state::{Coverage, FirstWatermark, LastRun, Overlap, PairState, Seen, Step};

use super::run::{Ended, Surroundings, selection_fingerprint};
use super::{FirstRun, Pair, RunError, identity, scope};

/// Whether the run is the first of its pair.
pub(super) fn is_first(state: &PairState) -> bool {
    state.watermark.is_none() && !state.started_over
}

/// Fails where a first run is refused, before anything is asked of the target.
pub(super) fn check(pair: &Pair, state: &PairState) -> Result<(), RunError> {
    match pair.policy.first_run {
        FirstRun::Refuse if is_first(state) => {
            Err(RunError::FirstRun { publication: pair.id.publication.clone() })
        }
        FirstRun::Refuse | FirstRun::Full | FirstRun::FromNow => Ok(()),
    }
}

/// Whether the run of `pair` reads nothing and begins at what is newest.
pub(super) fn begins_from_now(pair: &Pair, state: &PairState) -> bool {
    match pair.policy.first_run {
        FirstRun::FromNow => is_first(state),
        FirstRun::Full | FirstRun::Refuse => false,
    }
}

/// Takes the view's newest version for the watermark. It speaks for every selected resource that both
/// ends have, so that none of them is a joiner (R17), and no window ever reaches below it (R14).
pub(super) async fn from_now(
    around: &Surroundings,
    pair: &Pair,
    reader: &dyn Reader,
    mut state: PairState,
    told: &scope::ToldScope,
    run_id: &str,
    now: Timestamp,
) -> Result<Ended, RunError> {
    identity::check_target(pair, &state).await?;
    scope::check(around, pair, &mut state, None, told).await?;
    let window = Window { after: None, through: reader.newest() };
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    let target_newest = pair.target.newest().await.map_err(RunError::Target)?;
    reader.confirm().await.map_err(RunError::Source)?;
    let state = PairState {
        watermark: Some(Watermark::ChangeVersion(window.through)),
        blocked: None,
        source: Some(source.fingerprint.clone()),
        target: Some(target.fingerprint.clone()),
        target_newest,
        selection: Some(selection_fingerprint(pair)),
        newest_seen: Some(window.through),
        caught_up_at: Some(now),
        last_run: Some(LastRun {
            id: run_id.to_owned(),
            outcome: Outcome::Complete,
            ended_at: now,
        }),
        failed_runs: 0,
        allowed_deletes: BTreeMap::new(),
        overlap: beginning_at(window, &state.overlap, now),
        canaries: Vec::new(),
        ..state
    };
    let step = Step {
        state: Some(state),
        coverage: Some(everything_selected(pair).await?),
        end_journal: true,
        ..Step::default()
    };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)?;
    tracing::info!(
        publication = pair.id.publication,
        target = pair.id.target,
        from = window.through.0,
        "`first_run: from-now`: nothing that is there was published"
    );
    Ok(Ended { outcome: Outcome::Complete, window: Some(window), stages: Stages::default() })
}

/// For the report of that run.
pub(super) fn note(pair: &Pair, window: Window) -> String {
    format!(
        "`first_run: from-now`: what the source had through version {} was not read and not published; what changes from there on is. `tidemark verify {} --repair` publishes the rest",
        window.through, pair.id.publication
    )
}

/// A history that begins here: what earlier attempts saw of the source lies below.
fn beginning_at(window: Window, before: &Overlap, now: Timestamp) -> Overlap {
    let version = window.through;
    let newest = before.seen.last().map_or(version, |seen| seen.newest.max(version));
    Overlap {
        seen: vec![Seen { newest, first_at: now, last_at: now }],
        first: Some(FirstWatermark { version, at: now, floor: version, succeeded: false }),
        commits: before.commits + 1,
        broken_off: before.broken_off,
        read_at: Some(now),
        settled: false,
        again_after: None,
    }
}

/// What only one end has joins when both have it, and is read from its beginning then.
async fn everything_selected(pair: &Pair) -> Result<Coverage, RunError> {
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let both = target.joined_with(&source);
    let mut spoken_for = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    spoken_for.retain(|resource| source.contains(resource) && target.contains(resource));
    Ok(Coverage { spoken_for, ..Coverage::default() })
}
