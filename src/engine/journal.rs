//! What a run writes down of itself before and while it touches the target: itself, the names it
//! looked up (R5), what it has finished (R12), what the overlap may believe (R16).
//!
//! What lives here: the writing. What does not: what a later run makes of it (`resume.rs`,
//! `left_behind.rs`).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use crate::domain::{NaturalKey, ResourcePath, Scope, Tally, TargetId};
use crate::state::{JournalledName, LeftBehind, Overlap, PairState, RunJournal, Step};

use super::RunError;
use super::under_way::{Run, lock};

/// Resources that were finished since the view was last looked at.
pub(super) struct Unconfirmed {
    pub(super) finished: Vec<(ResourcePath, Tally)>,
    pub(super) looked_at: Instant,
}

impl Run {
    /// The run in the journal, before the target is touched.
    pub(super) async fn journal(
        &self,
        run_id: &str,
        selection: String,
        state: &PairState,
    ) -> Result<(), RunError> {
        let source = self.pair.source.capabilities().await.map_err(RunError::Source)?;
        let target = self.pair.target.capabilities().await.map_err(RunError::Target)?;
        let journal = RunJournal {
            run_id: run_id.to_owned(),
            window: self.window,
            reach: self.reach,
            began_at: self.read_since,
            source: Some(source.fingerprint.clone()),
            target: Some(target.fingerprint.clone()),
            selection,
            scope: state.scope.as_ref().map(Scope::hash),
        };
        let begun = self.coverage_with_begun();
        let coverage = (begun != self.coverage).then_some(begun);
        self.write(Step {
            state: Some(state.clone()),
            journal: Some(journal),
            coverage,
            // What another run did before something was restored must not come back with a later
            // run, when what was restored has grown again (R18).
            begin_anew: !self.before.is_gone_on_from(),
            ..Step::default()
        })
        .await
    }

    /// Adds one; all of them when it is time to look at the view again, which is a request.
    pub(super) fn finished_since_the_last_look(
        &self,
        resource: &ResourcePath,
        tally: Tally,
    ) -> Option<Vec<(ResourcePath, Tally)>> {
        let mut unconfirmed = lock(&self.unconfirmed);
        unconfirmed.finished.push((resource.clone(), tally));
        if unconfirmed.looked_at.elapsed() < self.pair.policy.look_again_after {
            return None;
        }
        unconfirmed.looked_at = Instant::now();
        Some(std::mem::take(&mut unconfirmed.finished))
    }

    /// The target id that a name had before anything of the run moved; `None`: never looked up.
    /// Names are on disk alone (R30).
    pub(super) async fn journalled(
        &self,
        resource: &ResourcePath,
        key: &NaturalKey,
    ) -> Result<Option<Option<TargetId>>, RunError> {
        Ok(self.journalled_name(resource, key).await?.map(|name| name.target_id))
    }

    pub(super) async fn journalled_name(
        &self,
        resource: &ResourcePath,
        key: &NaturalKey,
    ) -> Result<Option<JournalledName>, RunError> {
        self.store().name(&self.pair.id, resource, key).await.map_err(RunError::State)
    }

    /// The resources whose names outlive the commit. Where another run had a newer view, what was
    /// renamed through that is what later tombstones name by its old key; and a resource that this run
    /// leaves behind was moved by its renames all the same (R5, R17, R23a).
    pub(super) fn keep_names_of(&self, is_older_than_names: bool) -> BTreeSet<ResourcePath> {
        let mut kept = self.left();
        if is_older_than_names {
            kept.extend(self.graph.resources().cloned());
        }
        kept
    }

    /// Remembers names durably before the first PUT (R5), and what nothing else names.
    pub(super) async fn journal_names(
        &self,
        names: Vec<JournalledName>,
        left_behind: Vec<LeftBehind>,
    ) -> Result<(), RunError> {
        if names.is_empty() && left_behind.is_empty() {
            return Ok(());
        }
        self.write(Step { names, left_behind, ..Step::default() }).await
    }

    /// Commits of the pair before this run.
    pub(super) fn commits(&self) -> u64 {
        lock(&self.overlap).commits
    }

    pub(super) fn broken_off(&self) -> u64 {
        lock(&self.overlap).broken_off
    }

    pub(super) fn overlap(&self) -> Overlap {
        lock(&self.overlap).clone()
    }

    /// Before the first PUT: it moves keys of dependents at the target, so that nothing that was
    /// written before is surely where it was (R16).
    pub(super) async fn keys_are_about_to_move(&self) -> Result<(), RunError> {
        if self.pair.policy.overlap.is_zero() || self.moved_keys.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        lock(&self.overlap).broken_off += 1;
        let state = self.store().load(&self.pair.id).await.map_err(RunError::State)?;
        let state = PairState { overlap: self.overlap(), ..state.unwrap_or_default() };
        self.write(Step { state: Some(state), ..Step::default() }).await
    }
}
