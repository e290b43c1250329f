//! A run under way: what its stages share, tell it and ask it.
//!
//! What lives here: the run's counters, its parked book, its journalled names, what it has closed
//! and what it has deferred. What does not: the order of things, which is `run.rs`.
//!
//! Past 600 lines because everything here is one value that each stage asks: what could be told
//! apart (coverage, journal, organizations) has files of its own already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::domain::{
    Canary, ChangeVersion, Item, NaturalKey, ParkReason, ResourceGraph, ResourcePath, SourceId,
    Stage, Stages, Tally, TargetId, Window,
};
use crate::sources::{Reader, TombstonePages};
use crate::state::{
    Coverage, LeftBehind, LeftOut, Operation, Overlap, PairState, Progress, StateStore, Step,
};
use crate::targets::{Refusal, Target, WriteError};

use super::ahead::Ahead;
use super::apply::Settled;
use super::canaries::Told;
use super::cohort::confirmation::Confirmation;
use super::journal::Unconfirmed;
use super::noted_organizations::NotedOrganizations;
use super::observe::{Event, Noted};
use super::others::Others;
use super::overlap;
use super::ownership::Ownership;
use super::parked::{ParkedBook, Parking};
use super::remembered::Learnt;
use super::resume::{Before, Beginning};
use super::run::{Surroundings, load_parked};
use super::runner::RunOptions;
use super::{Pair, RunError};

/// Writes that must have been answered before a share of refusals says anything (R23).
const BREAKER_FLOOR: u64 = 100;

/// Renames of a run that are held in memory (R30).
const RENAMED_KEPT: usize = 50_000;

/// A run under way: what its stages share.
pub(super) struct Run {
    pub(super) pair: Pair,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) window: Window,
    /// The version after which this window reads: below the watermark by the overlap (R14).
    pub(super) reach: Option<ChangeVersion>,
    /// Where the overlap begins, whether or not this run reads it: what leaves keeps it (R17).
    pub(super) lower_edge: Option<ChangeVersion>,
    /// When the first of what it commits was read; before it began, where it goes on from another.
    pub(super) read_since: Timestamp,
    /// The selected resources, in the target's order.
    pub(super) graph: ResourceGraph,
    /// Every resource that the target has.
    target_resources: Arc<ResourceGraph>,
    pub(super) ownership: Ownership,
    pub(super) others: Others,
    /// Selected resources for which the watermark does not speak, with the version after which
    /// each is read (R17).
    joiners: BTreeMap<ResourcePath, Option<ChangeVersion>>,
    /// What other runs began to read from its beginning and none has finished, with the version
    /// after which it may have changed at the source since.
    pub(super) begun_before: BTreeMap<ResourcePath, ChangeVersion>,
    pub(super) coverage: Coverage,
    pub(super) organizations: NotedOrganizations,
    /// What another run of this window has done (R12).
    pub(super) before: Before,
    /// A run was broken off since the last commit, or before it and that was of what may have been
    /// an older view: nothing counts as dealt with (see [`Beginning`]).
    deals_again: bool,
    /// Its view is older than one that names in the journal are of.
    pub(super) is_older_than_names: bool,
    pub(super) unconfirmed: Mutex<Unconfirmed>,
    confirmation: Confirmation,
    /// What became of the upserts of each resource in this run.
    pub(super) upserts: Mutex<BTreeMap<ResourcePath, Tally>>,
    pub(super) options: RunOptions,
    around: Surroundings,
    stages: Mutex<Stages>,
    book: Mutex<ParkedBook>,
    /// What the overlap remembers of the pair.
    pub(super) overlap: Mutex<Overlap>,
    pub(super) learnt: Mutex<Learnt>,
    told: Mutex<Told>,
    /// See [`overlap::worth_remembering_since`].
    pub(super) worth_remembering_since: Option<Timestamp>,
    pub(super) closed: Mutex<BTreeSet<ResourcePath>>,
    people: Mutex<People>,
    after_deletes: Mutex<Vec<(ResourcePath, SourceId)>>,
    /// Items whose key change is settled: renamed by PUT, or found under the new key. At most
    /// [`RENAMED_KEPT`]; one that is not in it costs an upsert more.
    renamed: Mutex<BTreeSet<(ResourcePath, SourceId)>>,
    /// The same by the ids under which the target shows them.
    renamed_as: Mutex<BTreeMap<(ResourcePath, TargetId), SourceId>>,
    /// A PUT of this run has moved keys at the target.
    pub(super) moved_keys: AtomicBool,
    pub(super) with_key_changes: Mutex<BTreeSet<ResourcePath>>,
    /// Resources whose key contains that of one with key changes: a rename at the target moves
    /// their keys there.
    pub(super) moved_by_renames: Mutex<BTreeSet<ResourcePath>>,
    /// What the next run looks at once more (R7).
    pub(super) lives_again: Mutex<Vec<LeftBehind>>,
    /// What earlier runs were told to leave out (R17).
    pub(super) left_out_before: LeftOut,
    not_visible: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    writes: Semaphore,
    /// What was read before its turn.
    pub(super) ahead: Ahead,
    /// Items of pages that are being written, those that wait for a permit included: each takes a
    /// few kilobytes, however many stretches of pages are under way.
    pub(super) begun: Arc<Semaphore>,
    /// Held from when something is taken to be put on disk until it is there.
    saving: tokio::sync::Mutex<()>,
}

/// People whose update was refused before their association existed, by source id (R30).
#[derive(Default)]
struct People {
    refused: BTreeMap<ResourcePath, BTreeSet<SourceId>>,
    retried: BTreeSet<ResourcePath>,
}

impl Run {
    pub(super) async fn prepare(
        around: &Surroundings,
        pair: &Pair,
        reader: Arc<dyn Reader>,
        options: &RunOptions,
        beginning: Beginning,
        book: ParkedBook,
        state: &PairState,
    ) -> Result<Arc<Run>, RunError> {
        let Beginning { window, reach, read_since, mut before, is_after_a_broken_run } = beginning;
        let target_resources = pair.target.resources().await.map_err(RunError::Target)?;
        let source_resources = pair.source.resources().await.map_err(RunError::Source)?;
        let both = target_resources.joined_with(&source_resources);
        let mut selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
        let ownership = Ownership::of(&pair.policy, &both).map_err(RunError::Selection)?;
        // What the source does not have has no items; what the target does not have must have none.
        selected.retain(|resource| source_resources.contains(resource));
        let coverage = around.store.coverage(&pair.id).await.map_err(RunError::State)?;
        let lacking: Vec<_> =
            selected.iter().filter(|r| !target_resources.contains(r)).cloned().collect();
        for resource in &lacking {
            selected.remove(resource);
        }
        refuse_if_source_has(&*reader, &lacking, &coverage, window).await?;

        let closed = book.closed_resources();
        let joiners = selected
            .iter()
            .filter(|resource| window.after.is_some() && !coverage.spoken_for.contains(*resource))
            .map(|resource| (resource.clone(), coverage.left.get(resource).copied()))
            .collect();
        let lower_edge = window
            .after
            .map(|after| overlap::reach(&state.overlap, after, &pair.policy).min(after))
            .min(reach);
        // An import knows no more of it than its watermark, which has an overlap as well (R14).
        let mut begun_before = coverage.begun.clone();
        for since in begun_before.values_mut() {
            *since = (*since).min(lower_edge.unwrap_or(*since));
        }
        let begins_anew = window.after.is_none() && !before.is_gone_on_from();
        let organizations = NotedOrganizations::begin(&coverage, begins_anew);
        before.retain(&selected);
        let mut stages = Stages::default();
        for tally in before.finished.values() {
            stages.upserts.add(*tally);
        }

        Ok(Arc::new(Run {
            before,
            deals_again: is_after_a_broken_run
                || state.overlap.again_after == Some(state.overlap.commits),
            is_older_than_names: state.names_through > Some(reader.newest()),
            unconfirmed: Mutex::new(Unconfirmed {
                finished: Vec::new(),
                looked_at: Instant::now(),
            }),
            confirmation: Confirmation::default(),
            upserts: Mutex::default(),
            graph: target_resources.restricted_to(&selected),
            target_resources,
            ownership,
            others: Others::default(),
            joiners,
            begun_before,
            organizations,
            coverage,
            pair: pair.clone(),
            reader,
            window,
            reach,
            lower_edge,
            read_since,
            options: options.clone(),
            around: around.clone(),
            stages: Mutex::new(stages),
            book: Mutex::new(book),
            worth_remembering_since: overlap::worth_remembering_since(
                &state.overlap,
                window.through,
                &pair.policy,
            ),
            overlap: Mutex::new(state.overlap.clone()),
            learnt: Mutex::default(),
            told: Mutex::default(),
            closed: Mutex::new(closed),
            people: Mutex::default(),
            after_deletes: Mutex::default(),
            renamed: Mutex::default(),
            renamed_as: Mutex::default(),
            moved_keys: AtomicBool::new(false),
            with_key_changes: Mutex::default(),
            moved_by_renames: Mutex::default(),
            lives_again: Mutex::default(),
            left_out_before: state.left_out,
            not_visible: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            writes: Semaphore::new(pair.policy.max_in_flight.max(1)),
            ahead: Ahead::default(),
            begun: Arc::new(Semaphore::new(pair.policy.max_in_flight.max(1))),
            saving: tokio::sync::Mutex::default(),
        }))
    }

    /// A run that only looks at what there is through a version, or mends what a look found: no
    /// journal, no commit.
    pub(super) async fn to_look(
        around: &Surroundings,
        pair: &Pair,
        reader: Arc<dyn Reader>,
        through: ChangeVersion,
        options: &RunOptions,
    ) -> Result<Arc<Run>, RunError> {
        let window = Window { after: None, through };
        let book = load_parked(around, pair).await?;
        let beginning = Beginning::anew(window, None, around.clock.now());
        Run::prepare(around, pair, reader, options, beginning, book, &PairState::default()).await
    }

    /// How many deletes of a resource a person has allowed to this run (R27). Asked for only where
    /// many are about to happen.
    pub(super) async fn allowed_deletes(&self, resource: &ResourcePath) -> Result<u64, RunError> {
        let state = self.around.store.load(&self.pair.id).await.map_err(RunError::State)?;
        let allowed = state.and_then(|state| state.allowed_deletes.get(resource).copied());
        Ok(allowed.unwrap_or(0))
    }

    /// The window in which `resource` is read; `None` when there is nothing to read.
    pub(super) fn window_of(&self, resource: &ResourcePath) -> Option<Window> {
        let after = match self.joiners.get(resource) {
            Some(edge) => *edge,
            None => self.reach,
        };
        let window = Window { after, through: self.window.through };
        (after.is_none_or(|after| after < window.through)).then_some(window)
    }

    /// The version after which key changes and tombstones of `resource` are read; `None` for what
    /// is read from its beginning for the first time, where nothing at the target can be gone or
    /// renamed.
    pub(super) fn feeds_after(&self, resource: &ResourcePath) -> Option<ChangeVersion> {
        let window = self.window_of(resource)?;
        if self.is_closed(resource) {
            return None;
        }
        window.after.or_else(|| self.begun_before.get(resource).copied())
    }

    /// The version after which the key changes of a joiner are remembered and no more: the next window
    /// reaches back to there, and its feed may fold away the name that this run writes (R7).
    pub(super) fn remembers_after(&self, resource: &ResourcePath) -> Option<ChangeVersion> {
        let joins = self.window_of(resource).is_some() && self.feeds_after(resource).is_none();
        self.reach.filter(|_| joins && !self.is_closed(resource))
    }

    /// The deletes of `resource`; `None` where nothing at the target can be gone. Beyond the window
    /// too if a rename of this run moves keys of it: a later run would not find them under the name
    /// that their tombstone tells (R5, R8).
    pub(super) fn tombstones(&self, resource: &ResourcePath) -> Option<Box<dyn TombstonePages>> {
        let after = self.feeds_after(resource)?;
        if lock(&self.moved_by_renames).contains(resource) {
            return Some(self.reader.tombstones_after(resource, after));
        }
        let window = Window { after: Some(after), through: self.window.through };
        Some(self.reader.tombstones(resource, window))
    }

    pub(super) fn stages(&self) -> Stages {
        *lock(&self.stages)
    }

    // What the stages tell the run.

    pub(super) fn take_up(&self, stage: Stage, items: u64) {
        lock(&self.stages).of_mut(stage).read += items;
    }

    /// Accounts for one item that was taken up, and tells who watches. `seen` carries what was
    /// taken up with it. Gives what of it is settled.
    pub(super) fn count(
        &self,
        stage: Stage,
        resource: &ResourcePath,
        settled: Settled,
        seen: Tally,
    ) -> Tally {
        let mut tally = seen;
        match settled {
            Settled::Applied => tally.applied += 1,
            Settled::Skipped => tally.skipped += 1,
            Settled::Parked => tally.parked += 1,
            Settled::Deferred => {}
        }
        let settled = Tally { read: tally.applied + tally.skipped + tally.parked, ..tally };
        {
            if stage == Stage::Upserts {
                let mut upserts = lock(&self.upserts);
                match upserts.get_mut(resource) {
                    Some(of_resource) => of_resource.add(settled),
                    None => drop(upserts.insert(resource.clone(), settled)),
                }
            }
            let mut stages = lock(&self.stages);
            let of = stages.of_mut(stage);
            of.applied += tally.applied;
            of.skipped += tally.skipped;
            of.parked += tally.parked;
        }
        self.tell(&Event::Settled { pair: &self.pair.id, stage, resource, tally });
        settled
    }

    /// The target agrees about `item`: whatever was parked for it is settled, and what waits for it
    /// is due (R22).
    pub(super) async fn agreed(
        &self,
        resource: &ResourcePath,
        item: &Item,
    ) -> Result<(), RunError> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if !self.book().concerns(resource) {
            return Ok(());
        }
        let key = self.key_of(resource, item).await?;
        let now = self.now();
        let mut book = self.book();
        let left = key.as_ref().map(|key| book.left_under(resource, &item.id, key));
        book.settle(resource, &item.id, key.as_ref());
        if let Some(key) = &key {
            book.call_who_waits_for(resource, key, now);
        }
        drop(book);
        // A rename above it may have moved what waited there to a key that nothing names (R5).
        for (id, target_id) in left.unwrap_or_default() {
            let resource = resource.clone();
            let left = LeftBehind { resource, id, target_id, lived_as: None };
            lock(&self.learnt).left_behind.push(left);
        }
        Ok(())
    }

    /// One more refusal for good; fails the run when most of what was sent came back (R23).
    pub(super) fn count_refusal(&self) -> Result<(), RunError> {
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if answered >= BREAKER_FLOOR && refused * 2 > answered {
            return Err(RunError::MostlyRefused { refused, answered });
        }
        Ok(())
    }

    pub(super) fn park(&self, parking: Parking) -> Result<(), RunError> {
        let now = self.now();
        let mut book = self.book();
        book.park(parking, now);
        let max = self.pair.policy.retry.max_parked;
        if book.len() > max {
            return Err(RunError::TooManyParked { max });
        }
        Ok(())
    }

    /// Puts on disk what was parked, settled and learnt since the last call: before the watermark
    /// passes it (I4).
    pub(super) async fn commit_parked(&self) -> Result<(), RunError> {
        self.commit_parked_with(None).await
    }

    /// The same with word of how far a resource has come, in one step. When it returns, what
    /// another task had taken before is on disk too.
    pub(super) async fn commit_parked_with(
        &self,
        progress: Option<Progress>,
    ) -> Result<(), RunError> {
        let _saving = self.saving.lock().await;
        let step = self.take_step(progress);
        let Some(written) = step.map(|step| self.write(step)) else { return Ok(()) };
        written.await
    }

    /// What is to be put on disk; nothing, where nothing is.
    fn take_step(&self, progress: Option<Progress>) -> Option<Step> {
        let parked = self.book().take_step();
        let is_empty = parked.is_none() && progress.is_none();
        let mut step = parked.unwrap_or_default();
        step.progress.extend(progress);
        if !lock(&self.learnt).take_into(&mut step) && is_empty {
            return None;
        }
        Some(step)
    }

    /// Something of `resource` was taken up and is settled later in the run.
    pub(super) fn waits_for_later(&self, resource: &ResourcePath) -> bool {
        lock(&self.people).refused.get(resource).is_some_and(|ids| !ids.is_empty())
            || lock(&self.after_deletes).iter().any(|(other, _)| other == resource)
    }

    /// What became of upserts in the run that this one goes on from.
    pub(super) fn take_over(&self, resource: &ResourcePath, tally: Tally) {
        lock(&self.upserts).entry(resource.clone()).or_default().add(tally);
        lock(&self.stages).upserts.add(tally);
    }

    /// Closes a resource that the target refuses as a whole: one dead record, no further write.
    pub(super) fn close(&self, resource: &ResourcePath, refusal: Refusal) -> Result<(), RunError> {
        if !lock(&self.closed).insert(resource.clone()) {
            return Ok(());
        }
        self.park(Parking {
            resource: resource.clone(),
            source_id: None,
            key: None,
            operation: Operation::Upsert,
            reason: ParkReason::ResourceClosed,
            refusal,
            waits_for: None,
            named_for_deletion: false,
            target_id: None,
            hash: None,
            news: false,
        })
    }

    pub(super) fn is_closed(&self, resource: &ResourcePath) -> bool {
        lock(&self.closed).contains(resource)
    }

    /// False if it waits already: a feed brought it, and something referred to it.
    pub(super) fn defer_person(&self, resource: &ResourcePath, id: &SourceId) -> bool {
        lock(&self.people).refused.entry(resource.clone()).or_default().insert(id.clone())
    }

    pub(super) fn people_were_retried(&self, resource: &ResourcePath) -> bool {
        lock(&self.people).retried.contains(resource)
    }

    /// The refused people of `resource`, once: from now on a refusal is final.
    pub(super) fn take_refused_people(&self, resource: &ResourcePath) -> BTreeSet<SourceId> {
        let mut people = lock(&self.people);
        people.retried.insert(resource.clone());
        people.refused.remove(resource).unwrap_or_default()
    }

    /// A person to be deleted that the target does not show and of whom no id is remembered (R26).
    pub(super) fn note_not_visible(&self) {
        self.not_visible.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn not_visible(&self) -> u64 {
        self.not_visible.load(Ordering::Relaxed)
    }

    pub(super) fn defer_until_deleted(&self, resource: &ResourcePath, id: &SourceId) {
        lock(&self.after_deletes).push((resource.clone(), id.clone()));
    }

    pub(super) fn take_deferred_until_deleted(&self) -> Vec<(ResourcePath, SourceId)> {
        std::mem::take(&mut lock(&self.after_deletes))
    }

    // What the stages ask the run.

    pub(super) fn book(&self) -> MutexGuard<'_, ParkedBook> {
        lock(&self.book)
    }

    pub(super) fn was_parked_now(&self, resource: &ResourcePath, key: &NaturalKey) -> bool {
        self.book().was_parked_now(resource, key)
    }

    pub(super) fn target_has(&self, resource: &ResourcePath) -> bool {
        self.target_resources.contains(resource)
    }

    /// Fails unless everything that was read so far came from the view that the run has opened (R11).
    /// Those who ask at once share a look.
    pub(super) async fn confirm_what_came(&self) -> Result<(), RunError> {
        let came = self.confirmation.note();
        self.confirmation.of(&*self.reader, came).await.map_err(RunError::Source)
    }

    /// The natural key of an item, where its shape is known (R1).
    pub(super) async fn key_of(
        &self,
        resource: &ResourcePath,
        item: &Item,
    ) -> Result<Option<NaturalKey>, RunError> {
        let shape = self.reader.key_shape(resource).await.map_err(RunError::Source)?;
        Ok(shape.and_then(|shape| shape.key_of(&item.body)))
    }

    /// One request to the target, with at most `max_in_flight` of them at once.
    pub(super) async fn target<'a, T, F>(
        &'a self,
        request: impl FnOnce(&'a dyn Target) -> F,
    ) -> Result<T, WriteError>
    where
        F: Future<Output = Result<T, WriteError>>,
    {
        let _permit = self.writes.acquire().await.expect("the semaphore is never closed");
        request(&*self.pair.target).await
    }

    /// How many items of pages are being written now, those that wait for a permit included.
    pub(super) fn items_begun(&self) -> usize {
        self.pair.policy.max_in_flight.max(1).saturating_sub(self.begun.available_permits())
    }

    pub(super) fn store(&self) -> &dyn StateStore {
        &*self.around.store
    }

    /// Every pair of the configuration, where it is known.
    pub(super) fn configured(&self) -> &[Pair] {
        self.around.configured.as_deref().unwrap_or_default()
    }

    pub(super) fn stop(&self) -> CancellationToken {
        self.around.stop.clone()
    }

    /// Whether windows reach back over this one for the resource, so that it is worth remembering
    /// what became of its changes. What reads a resource for the first time has no history (R14); what
    /// reads nothing and writes what waited has.
    pub(super) fn looks_back(&self, resource: &ResourcePath) -> bool {
        if self.pair.policy.overlap.is_zero() || self.is_closed(resource) {
            return false;
        }
        self.window_of(resource).is_none() || self.feeds_after(resource).is_some()
    }

    /// Whether what a feed tells of a version is acted on though a committed run has dealt with it:
    /// it lies above the watermark, which a person or an older view has put back, or what that run
    /// did may be undone (R11).
    pub(super) fn deals_again_with(&self, version: ChangeVersion) -> bool {
        self.deals_again || self.window.after.is_none_or(|watermark| version > watermark)
    }

    /// A feed told a record that may be remembered (R20).
    pub(super) fn note_told(&self, canary: Canary) {
        lock(&self.told).note(canary, self.window.through);
    }

    /// What the source must still tell once this run is committed.
    pub(super) fn canaries(&self, before: &[Canary]) -> Vec<Canary> {
        lock(&self.told).chosen(before)
    }

    /// The target shows the item under its new key.
    pub(super) fn note_renamed(&self, resource: &ResourcePath, id: &SourceId, shown: &TargetId) {
        let mut renamed = lock(&self.renamed);
        if renamed.len() < RENAMED_KEPT {
            renamed.insert((resource.clone(), id.clone()));
            lock(&self.renamed_as).insert((resource.clone(), shown.clone()), id.clone());
        }
    }

    pub(super) fn was_renamed(&self, resource: &ResourcePath, id: &SourceId) -> bool {
        lock(&self.renamed).contains(&(resource.clone(), id.clone()))
    }

    /// The item that this target id shows since its rename.
    pub(super) fn renamed_behind(
        &self,
        resource: &ResourcePath,
        target_id: &TargetId,
    ) -> Option<SourceId> {
        lock(&self.renamed_as).get(&(resource.clone(), target_id.clone())).cloned()
    }

    pub(super) fn check_stop(&self) -> Result<(), RunError> {
        if self.around.stop.is_cancelled() { Err(RunError::Interrupted) } else { Ok(()) }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.around.clock.now()
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        self.around.observers.tell(event);
    }

    /// Something for the metrics alone.
    pub(super) fn note(&self, noted: Noted) {
        self.tell(&Event::Noted { pair: &self.pair.id, noted });
    }

    pub(super) fn ages_are_wanted(&self) -> bool {
        self.around.observers.want_ages()
    }

    pub(super) fn totals_are_wanted(&self) -> bool {
        self.around.observers.want_totals()
    }

    /// A step is large, and what waits for its turn would each have room for one: it has a box.
    pub(super) fn write(&self, mut step: Step) -> BoxFuture<'_, Result<(), RunError>> {
        Box::pin(async move {
            let _turn = self.organizations.join(&mut step, || self.coverage_with_begun()).await;
            self.around.store.commit(&self.pair.id, step).await.map_err(RunError::State)
        })
    }
}

/// Selected resources that the target lacks fail the run before any write, if the source has
/// items of them.
async fn refuse_if_source_has(
    reader: &dyn Reader,
    lacking: &[ResourcePath],
    coverage: &Coverage,
    window: Window,
) -> Result<(), RunError> {
    let mut missing = Vec::new();
    for resource in lacking {
        let unread = !coverage.spoken_for.contains(resource);
        let window = if unread { window.from_the_beginning() } else { window };
        if reader.count(resource, Some(window)).await.map_err(RunError::Source)? > 0 {
            missing.push(resource.clone());
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(RunError::MissingAtTarget { resources: missing }) }
}

/// A lock that no panic can leave in the middle of a change: every section is a few assignments.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
