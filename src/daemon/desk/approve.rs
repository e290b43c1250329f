//! A person decides about a pair that is blocked (R18, R19, R27).

use super::{FleetDesk, of_run, of_state};
use crate::desk::{Approval, Caller, Decided, DeskError, wording};
use crate::domain::Fingerprint;
use crate::engine::{Pair, RunError};
use crate::state::{Block, BlockCause, Deletes, PairState, Step};

impl FleetDesk {
    /// Whether the pair is blocked by something of the kind that is decided.
    pub(super) async fn is_about(
        &self,
        pair: &Pair,
        approval: &Approval,
    ) -> Result<bool, DeskError> {
        let state = self.assembly.store.load(&pair.id).await.map_err(of_state)?;
        let Some(block) = state.and_then(|state| state.blocked) else { return Ok(false) };
        let of_deletes = block.cause == BlockCause::Deletes;
        Ok(match approval {
            Approval::Deletes { resource } => of_deletes && is_of(&block, resource.as_deref()),
            Approval::SameData | Approval::StartOver => !of_deletes,
        })
    }

    /// What a yes would do, and nothing is done.
    pub async fn would_decide(
        &self,
        pair: &Pair,
        approval: &Approval,
    ) -> Result<(Decided, Step), DeskError> {
        let state = self.assembly.store.load(&pair.id).await.map_err(of_state)?;
        let state = state.unwrap_or_default();
        let Some(block) = state.blocked.clone() else {
            return Err(DeskError::Conflict(format!("{} is not blocked", pair.id)));
        };
        match (approval, block.cause) {
            (Approval::Deletes { resource }, BlockCause::Deletes) => {
                deletes(pair, state, block, resource.as_deref())
            }
            (Approval::Deletes { .. }, _) => Err(DeskError::Conflict(format!(
                "{} is not blocked by deletes: {}",
                pair.id, block.reason
            ))),
            (Approval::SameData | Approval::StartOver, BlockCause::Deletes) => {
                Err(DeskError::Conflict(format!(
                    "{} is blocked by deletes, not by who its ends are: {}",
                    pair.id, block.reason
                )))
            }
            (Approval::SameData, _) => same_data(pair, state, block).await,
            (Approval::StartOver, _) => {
                let now = "no watermark: the next run publishes everything".to_owned();
                Ok((decided(pair, block.reason, now), self.moved(pair, None).await?))
            }
        }
    }

    pub(super) async fn decide(
        &self,
        by: &Caller,
        pair: &Pair,
        approval: &Approval,
        reason: &str,
    ) -> Result<Decided, DeskError> {
        self.refuse_while_running(&pair.id)?;
        let (decided, mut step) = self.would_decide(pair, approval).await?;
        let action = match approval {
            Approval::Deletes { .. } => "approve deletes",
            Approval::SameData => "approve identity, same data",
            Approval::StartOver => "approve identity, start over",
        };
        let what = decided.now.clone();
        step.audit = Some(self.record(by, action, Some(&pair.id), what, Some(reason)));
        self.assembly.store.commit(&pair.id, step).await.map_err(of_state)?;
        Ok(decided)
    }
}

/// A block that an older version wrote names no resource, and says so when it is decided.
fn is_of(block: &Block, wanted: Option<&str>) -> bool {
    let Some(Deletes { resource, .. }) = &block.deletes else { return true };
    wanted.is_none_or(|name| name == resource.as_str() || name == resource.collection())
}

fn deletes(
    pair: &Pair,
    state: PairState,
    block: Block,
    wanted: Option<&str>,
) -> Result<(Decided, Step), DeskError> {
    // A block that an older version wrote names no number.
    let Some(Deletes { resource, count }) = block.deletes else {
        return Err(DeskError::Conflict(format!(
            "{} was blocked by an older version, which did not keep the number: run it again",
            pair.id
        )));
    };
    if wanted.is_some_and(|name| name != resource.as_str() && name != resource.collection()) {
        return Err(DeskError::Conflict(format!(
            "{} is blocked by deletes of `{resource}`",
            pair.id
        )));
    }
    let items = wording::count(count, "item");
    let now = format!("the next run may delete up to {items} of `{resource}`, once");
    let mut allowed_deletes = state.allowed_deletes.clone();
    allowed_deletes.insert(resource, count);
    let state = PairState { blocked: None, allowed_deletes, ..state };
    let step = Step { state: Some(state), ..Step::default() };
    Ok((decided(pair, block.reason, now), step))
}

/// The ends as they are now are the ones that the watermark speaks of.
async fn same_data(
    pair: &Pair,
    state: PairState,
    block: Block,
) -> Result<(Decided, Step), DeskError> {
    match block.cause {
        BlockCause::SourceChanged
        | BlockCause::TargetChanged
        | BlockCause::HistoryChanged
        | BlockCause::ScopeNarrowed => {}
        BlockCause::Orphan => {
            return Err(DeskError::Conflict(format!(
                "{} never ran, so there is nothing to go on from: `tidemark state move OLD {}` gives it the state of the publication that it was, or start over. What was found: {}",
                pair.id, pair.id.publication, block.reason
            )));
        }
        BlockCause::HistoryPurged => {
            return Err(DeskError::Conflict(format!(
                "{}: the source has forgotten what was deleted and renamed, so it cannot be gone on with: start over. What was found: {}",
                pair.id, block.reason
            )));
        }
        BlockCause::SourceRegressed | BlockCause::TargetRegressed | BlockCause::Deletes => {
            return Err(DeskError::Conflict(format!(
                "{}: versions went back at one end, so it is not the same data: `tidemark watermark set` to a version from before the backup, or start over. What was found: {}",
                pair.id, block.reason
            )));
        }
    }
    let source = pair.source.capabilities().await.map_err(RunError::Source).map_err(of_run)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target).map_err(of_run)?;
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
    Ok((decided(pair, block.reason, now), step))
}

/// `http://…/data/v3 (Ed-Fi 5.2.0, TPDM 1.1.0)`
fn told(fingerprint: &Fingerprint) -> String {
    let models: Vec<String> =
        fingerprint.data_models.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!("{} ({})", fingerprint.data_url, models.join(", "))
}

fn decided(pair: &Pair, was: String, now: String) -> Decided {
    let (publication, target) = (pair.id.publication.clone(), pair.id.target.clone());
    Decided { publication, target, was, now }
}
