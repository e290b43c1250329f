//! Watermarks that a person moves.

use std::collections::{BTreeMap, BTreeSet};

use super::{FleetDesk, of_run, of_state};
use crate::clock::Timestamp;
use crate::desk::{Caller, DeskError, Moved};
use crate::domain::{ChangeVersion, ResourcePath, Watermark};
use crate::engine::{Pair, RunError, newest_before};
use crate::state::{
    BlockCause, Coverage, Forgotten, JournalledName, Overlap, PairId, PairState, RUNS_KEPT,
    StateError, StateView, Step,
};

impl FleetDesk {
    pub(super) async fn set_watermark(
        &self,
        by: &Caller,
        pair: &Pair,
        to: Moved,
        if_at: Option<Option<ChangeVersion>>,
        reason: &str,
    ) -> Result<(), DeskError> {
        let state = self.assembly.store.load(&pair.id).await.map_err(of_state)?;
        let state = state.unwrap_or_default();
        let stands_at = state.watermark.as_ref().map(Watermark::change_version);
        if if_at.is_some_and(|expected| expected != stands_at) {
            return Err(DeskError::Conflict(format!(
                "the watermark of {} has moved since: it is {}",
                pair.id,
                stands_at.map_or("none".to_owned(), |version| version.to_string())
            )));
        }
        let to = match to {
            Moved::To(version) => Some(version),
            Moved::Reset => None,
            Moved::Before(moment) => Some(self.before(pair, &state, moment).await?),
        };
        let mut step = self.moved(pair, to).await?;
        let what = to.map_or("taken away".to_owned(), |to| format!("to {to}"));
        let action = if to.is_some() { "watermark set" } else { "watermark reset" };
        step.audit = Some(self.record(by, action, Some(&pair.id), what, Some(reason)));
        self.assembly.store.commit(&pair.id, step).await.map_err(of_state)
    }

    /// The highest version that is known to have been newest before the moment: what was committed
    /// after it has a higher one. Never above the watermark: what lies between was not published.
    async fn before(
        &self,
        pair: &Pair,
        state: &PairState,
        moment: Timestamp,
    ) -> Result<ChangeVersion, DeskError> {
        let (id, publication) = (&pair.id, &pair.id.publication);
        if state.blocked.as_ref().is_some_and(|block| block.cause == BlockCause::SourceChanged) {
            return Err(DeskError::Refused(format!(
                "{id}: its source is another database than before, so that what was known of its versions says nothing now; give a version with `--to`, or `tidemark watermark reset {publication}`. The watermark was not moved"
            )));
        }
        let runs = self.assembly.store.runs(id, RUNS_KEPT).await.map_err(of_state)?;
        let Some(version) = newest_before(&state.overlap, &runs, moment) else {
            let shown = moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            return Err(DeskError::Refused(format!(
                "{id}: what is remembered of its source does not reach back to {shown}; give a version with `--to`, or `tidemark watermark reset {publication}`, which publishes everything again. The watermark was not moved"
            )));
        };
        let watermark = state.watermark.as_ref().map(Watermark::change_version);
        Ok(watermark.map_or(version, |watermark| watermark.min(version)))
    }

    /// The state of a pair that goes on from `to`. What it knew of both ends is forgotten with what
    /// blocked it: the next run takes them as they are then. What no feed tells a second time stays:
    /// target ids that were journalled or left behind before a rename moved what had them (R5, R7),
    /// unless one of the ends is another database, in which they name nothing.
    pub(super) async fn moved(
        &self,
        pair: &Pair,
        to: Option<ChangeVersion>,
    ) -> Result<Step, DeskError> {
        let store = &self.assembly.store;
        let state = store.load(&pair.id).await.map_err(of_state)?.unwrap_or_default();
        let coverage = store.coverage(&pair.id).await.map_err(of_state)?;
        let coverage = match to {
            None => Some(Coverage::default()),
            Some(_) if coverage == Coverage::default() => {
                Some(everything_selected(pair).await.map_err(of_run)?)
            }
            // What is left out may be of organizations that nobody has noted (R28a).
            Some(version)
                if state.watermark.as_ref().is_none_or(|w| w.change_version() < version) =>
            {
                Some(Coverage { organizations: None, ..coverage })
            }
            Some(_) => None,
        };
        let (left_behind, keep_names_of, names_through) = match is_another_database(&state) {
            true => Default::default(),
            false => (
                store.left_behind(&pair.id).await.map_err(of_state)?,
                resources_with_names(&**store, &pair.id).await.map_err(of_state)?,
                state.acted_through(),
            ),
        };
        let state = PairState {
            watermark: to.map(Watermark::ChangeVersion),
            blocked: None,
            source: None,
            target: None,
            target_newest: None,
            selection: None,
            allowed_deletes: BTreeMap::new(),
            names_through,
            started_over: to.is_none(),
            // What was remembered was remembered of another watermark (R16).
            overlap: Overlap::default(),
            canaries: Vec::new(),
            scope: None,
            ..state
        };
        let forget = Forgotten { all: true, ..Forgotten::default() };
        Ok(Step {
            state: Some(state),
            coverage,
            end_journal: true,
            keep_names_of,
            left_behind,
            forget,
            ..Step::default()
        })
    }
}

fn is_another_database(state: &PairState) -> bool {
    state.blocked.as_ref().is_some_and(|block| {
        matches!(block.cause, BlockCause::SourceChanged | BlockCause::TargetChanged)
    })
}

async fn resources_with_names(
    store: &dyn StateView,
    pair: &PairId,
) -> Result<BTreeSet<ResourcePath>, StateError> {
    const PAGE: usize = 1_000;
    let mut resources = BTreeSet::new();
    let mut after: Option<JournalledName> = None;
    loop {
        let page = store.names_after(pair, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(resources) };
        after = Some(last.clone());
        resources.extend(page.into_iter().map(|name| name.resource));
    }
}

/// A pair that never ran is told that its target has everything through the version: the watermark
/// speaks for every selected resource (R17), or each would be read from its beginning.
async fn everything_selected(pair: &Pair) -> Result<Coverage, RunError> {
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let both = target.joined_with(&source);
    let selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    let spoken_for = selected.into_iter().filter(|resource| source.contains(resource)).collect();
    Ok(Coverage { spoken_for, ..Coverage::default() })
}
