//! Whether both ends are still who they were: asked before anything is written, and answered by
//! blocking the pair in doubt (R18, R19, I22).

use crate::domain::ChangeVersion;
use crate::sources::Reader;
use crate::state::{BlockCause, PairState, StateView};

use super::{Pair, Publish, RunError};

/// A person knows what it is; the program does not.
fn another_database(pair: &Pair, end: &str, cause: BlockCause, difference: &str) -> RunError {
    let publication = &pair.id.publication;
    let reason = format!(
        "the {end} of {} is another database than before ({difference}). If it is the same data under another name, say so with `tidemark approve identity {publication} --same-data`; if it is other data, publish everything again with `tidemark approve identity {publication} --start-over`; then `tidemark verify --repair`",
        pair.id
    );
    RunError::Blocked { cause, reason, deletes: None }
}

/// R19 and R18 for the source. Costs a request only when newest is below the watermark.
pub(super) async fn check_source(
    pair: &Pair,
    state: &PairState,
    reader: &dyn Reader,
) -> Result<(), RunError> {
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    if let Some(before) = &state.source
        && let Some(difference) = source.fingerprint.differs_from(before)
    {
        return Err(another_database(pair, "source", BlockCause::SourceChanged, &difference));
    }
    if pair.policy.deletes == Publish::Publish && !source.deletes {
        return Err(RunError::CannotTell { what: "the keys of deleted items", key: "deletes" });
    }
    if pair.policy.key_changes == Publish::Publish && !source.key_changes {
        return Err(RunError::CannotTell { what: "key changes", key: "key_changes" });
    }

    let Some(watermark) = state.watermark.as_ref().map(|w| w.change_version()) else {
        return Ok(());
    };
    check_history(pair, reader, watermark)?;
    if reader.newest() >= watermark {
        return Ok(());
    }
    // Under a snapshot that may only mean that the snapshot is old.
    let live = pair.source.live_newest().await.map_err(RunError::Source)?;
    if live >= watermark {
        tracing::info!(
            publication = pair.id.publication,
            target = pair.id.target,
            "the snapshot is older than the watermark: nothing new to publish"
        );
        return Ok(());
    }
    let reason = format!(
        "the source of {} reports version {live}, below the watermark {watermark}: it was restored or replaced. Set the watermark to a version from before the backup with `tidemark watermark set`, or publish everything again with `tidemark approve identity {} --start-over`; then `tidemark verify --repair`",
        pair.id, pair.id.publication
    );
    Err(RunError::Blocked { cause: BlockCause::SourceRegressed, reason, deletes: None })
}

/// The feeds of deletes and renames must reach back to the watermark (S15).
fn check_history(
    pair: &Pair,
    reader: &dyn Reader,
    watermark: ChangeVersion,
) -> Result<(), RunError> {
    let oldest = reader.oldest();
    let wanted =
        pair.policy.deletes == Publish::Publish || pair.policy.key_changes == Publish::Publish;
    if !wanted || oldest.0 <= watermark.0 + 1 {
        return Ok(());
    }
    let reason = format!(
        "the source of {} tells deletes and renames from version {oldest} on only, and the watermark is {watermark}: its history was purged, and what went in between is not known. Publish everything again with `tidemark approve identity {} --start-over`; then `tidemark verify --repair --delete-extra` finds what is gone",
        pair.id, pair.id.publication
    );
    Err(RunError::Blocked { cause: BlockCause::HistoryPurged, reason, deletes: None })
}

/// R19 and R18 for the target, before the first write of a run, and before it says that nothing is
/// to do.
pub(super) async fn check_target(pair: &Pair, state: &PairState) -> Result<(), RunError> {
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    if let Some(before) = &state.target
        && let Some(difference) = target.fingerprint.differs_from(before)
    {
        return Err(another_database(pair, "target", BlockCause::TargetChanged, &difference));
    }
    let Some(before) = state.target_newest else { return Ok(()) };
    let newest = pair.target.newest().await.map_err(RunError::Target)?;
    match newest {
        Some(now) if now < before => {
            let reason = format!(
                "the target of {} reports version {now}, below the {before} of the last run: it was restored. Set the watermark to a version from before the backup with `tidemark watermark set --to VERSION`, or publish everything again with `tidemark approve identity {} --start-over`",
                pair.id, pair.id.publication
            );
            Err(RunError::Blocked { cause: BlockCause::TargetRegressed, reason, deletes: None })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the target has another version, or other models, than at the last commit: it may take now
/// what it refused for good (R22).
pub(super) async fn is_another_target(pair: &Pair, state: &PairState) -> Result<bool, RunError> {
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    Ok(state.target.as_ref().is_some_and(|before| *before != target.fingerprint))
}

/// Whether anything of either end is not as it was at the last commit, so that no hash is to be
/// believed (R16).
pub(super) async fn is_another_end(pair: &Pair, state: &PairState) -> Result<bool, RunError> {
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    Ok(state.source.as_ref() != Some(&source.fingerprint)
        || state.target.as_ref() != Some(&target.fingerprint))
}

/// A pair without watermark between the ends of one that has one and that the configuration no
/// longer names: a publication that was renamed would publish everything again, and delete nothing
/// of what went meanwhile. A person says whether it was.
pub(super) async fn check_orphans(
    store: &dyn StateView,
    pair: &Pair,
    state: &PairState,
    configured: &[Pair],
) -> Result<(), RunError> {
    if state.watermark.is_some() || state.started_over {
        return Ok(());
    }
    for orphan in store.pairs().await.map_err(RunError::State)? {
        if configured.iter().any(|pair| pair.id == orphan) {
            continue;
        }
        let before = store.load(&orphan).await.map_err(RunError::State)?.unwrap_or_default();
        if !is_between_the_ends_of(pair, &before).await? {
            continue;
        }
        let publication = &pair.id.publication;
        let reason = format!(
            "{} never ran, and {orphan}, which the configuration no longer names, has published between the same two. If it was renamed, go on where it was with `tidemark state move {} {publication}`; if not, publish everything with `tidemark approve identity {publication} --start-over`",
            pair.id, orphan.publication
        );
        return Err(RunError::Blocked { cause: BlockCause::Orphan, reason, deletes: None });
    }
    Ok(())
}

/// Whether another pair published between the addresses that this one has now.
async fn is_between_the_ends_of(pair: &Pair, other: &PairState) -> Result<bool, RunError> {
    let (Some(_), Some(source), Some(target)) = (&other.watermark, &other.source, &other.target)
    else {
        return Ok(false);
    };
    let our_source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let our_target = pair.target.capabilities().await.map_err(RunError::Target)?;
    Ok(our_source.fingerprint.data_url == source.data_url
        && our_target.fingerprint.data_url == target.data_url)
}
