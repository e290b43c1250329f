//! The engine itself, through what a history does to it. Everything that is wrong is a sentence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tidemark::clock::Clock;
use tidemark::domain::{NaturalKey, Outcome, ParkReason, ResourcePath, Selection};
use tidemark::engine::observe::Observers;
use tidemark::engine::report::RunReport;
use tidemark::engine::run::Surroundings;
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::engine::{FirstOverlap, Pair, Policy};
use tidemark::sandbox::{Database, SandboxOptions, View};
use tidemark::sources::Isolation;
use tidemark::state::text::{self, Text};
use tidemark::state::{
    MemoryStore, PairId, ParkStatus, Parked, StateStore, StateView, Step as Commit,
};

use super::district::District;
use super::elsewhere::{self, Elsewhere};
use super::ends::{self, GRAPH};
use super::machine::{Frame, Refused, State, Transition, Trouble};
use super::script::{Script, What, Written};
use super::source::ModelSource;
use super::target::ModelTarget;
use super::{oracle, people};
use crate::scene;
use crate::simulation::district::{self, COLLECTIONS};
use crate::simulation::history::{Step, Thing};

/// Runs without faults after which a target has to agree.
const RUNS_TO_AGREE: usize = 8;

/// Images of the source, and states, that are kept to come back to.
const KEPT: usize = 4;

/// A key of a resource.
pub(super) type Slot = (ResourcePath, NaturalKey);

/// The engine between two databases, and what is known of it.
pub(super) struct Play {
    pub(super) frame: Frame,
    pub(super) source: Arc<Database>,
    pub(super) target: Arc<Database>,
    pub(super) store: Arc<MemoryStore>,
    clock: Clock,
    /// What the source showed when a snapshot was taken, newest first.
    images: VecDeque<View>,
    /// The state as it was after a run, newest first.
    exports: VecDeque<Arc<MemoryStore>>,
    pub(super) elsewhere: Option<Elsewhere>,
    /// What the pair wrote last under a key.
    pub(super) wrote: BTreeMap<Slot, Arc<str>>,
    /// Which item of the source it wrote last under a target id, by resource and that id.
    pub(super) wrote_for: BTreeMap<(ResourcePath, String), String>,
    /// Keys of which nobody may remember for which item they were written last: a first run keeps no
    /// history, one that was broken off may not have kept its last, an import has none (R14).
    pub(super) forgotten: BTreeSet<Slot>,
    refuses: Vec<Refused>,
    /// Versions of the transactions that go on, oldest first.
    slow: VecDeque<Vec<i64>>,
    /// Keys that a slow transaction has touched: their versions may lie below the watermark.
    pub(super) late: BTreeSet<Slot>,
    /// Keys that a run has written of which nothing is committed, and which was served an older
    /// image in its middle: what it wrote before it noticed goes again in the next one (R11).
    pub(super) stale: BTreeSet<Slot>,
    pub(super) watermark: Option<i64>,
    /// Where answers of key changes begin to fold. A first run keeps no history, and an export has
    /// none: what was renamed before is told hop by hop, or thousands of key changes hide it.
    folds_above: Option<i64>,
    /// The run before this one left nothing to do, and nothing late has come since.
    was_settled: bool,
    runs: usize,
    /// Writes and look-ups of the last run.
    asked_of_target: u16,
}

/// Plays a history; the error is what was wrong with it. `did` hears of every step before it.
pub(super) async fn play(
    state: &State,
    history: &[Transition],
    mut did: impl FnMut(),
) -> Result<(), String> {
    let mut play = Play::new(state.frame);
    for transition in history {
        did();
        play.step(transition).await?;
    }
    let reference = history.iter().fold(state.clone(), |state, transition| {
        use proptest_state_machine::ReferenceStateMachine;
        super::machine::Machine::apply(state, transition)
    });
    play.compare(&reference)?;
    play.come_to_rest().await
}

impl Play {
    fn new(frame: Frame) -> Play {
        let clock = Clock::held_at(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap());
        let options = SandboxOptions { clock: clock.clone(), ..SandboxOptions::default() };
        let source = Arc::new(ends::source(&options));
        let target = Arc::new(ends::target(&options, frame.people));
        Play {
            frame,
            images: VecDeque::from([source.view()]),
            exports: VecDeque::new(),
            elsewhere: frame.elsewhere.then(|| Elsewhere::new(&options)),
            wrote: BTreeMap::new(),
            wrote_for: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            source,
            target,
            store: Arc::new(MemoryStore::new()),
            clock,
            refuses: Vec::new(),
            slow: VecDeque::new(),
            late: BTreeSet::new(),
            stale: BTreeSet::new(),
            watermark: None,
            folds_above: None,
            was_settled: false,
            runs: 0,
            asked_of_target: 0,
        }
    }

    async fn step(&mut self, transition: &Transition) -> Result<(), String> {
        match transition {
            Transition::Edit(steps) => self.edit(steps),
            Transition::Begin(versions) => {
                self.slow.push_back(self.source.reserve_versions(*versions));
            }
            Transition::End(steps) => self.end_transaction(steps),
            Transition::RollBack(versions) => self.source.burn_versions(*versions),
            Transition::Refuse(refused) => self.refuses.push(*refused),
            Transition::Repair => self.repair().await,
            Transition::Run(troubles) => self.run(troubles).await?,
            Transition::Import(back) => self.import(*back).await,
            Transition::EditElsewhere(steps) => {
                self.elsewhere.iter().for_each(|other| other.edit(steps));
            }
            Transition::RunElsewhere(troubles) => elsewhere::run(self, troubles).await?,
        }
        Ok(())
    }

    fn edit(&self, steps: &[Step]) {
        for step in steps {
            district::edit(&self.source, step);
        }
    }

    fn end_transaction(&mut self, steps: &[Step]) {
        self.was_settled = false;
        let before = self.source.view();
        let versions = self.slow.pop_front().unwrap_or_default();
        self.source.commit_late(versions, || self.edit(steps));
        let after = self.source.view();
        for resource in GRAPH.resources() {
            let changed = ends::differences(&before, &after, resource).into_iter();
            self.late.extend(changed.map(|one| (resource.clone(), one.key)));
            // The same content may be another item by now.
            let anew = ends::keys_of_other_items(&before, &after, resource).into_iter();
            self.late.extend(anew.map(|key| (resource.clone(), key)));
        }
    }

    /// One run with its troubles, and what has to hold whatever they are.
    async fn run(&mut self, troubles: &[Trouble]) -> Result<(), String> {
        self.runs += 1;
        // No transaction is open for longer than an overlap reaches back (R14); what lies between
        // two runs is shorter or longer than that.
        self.clock.advance(match (self.slow.is_empty(), self.runs % 3) {
            (false, _) => TimeDelta::seconds(30),
            (true, 0) => TimeDelta::minutes(20),
            (true, _) => TimeDelta::minutes(10),
        });
        if self.watermark.is_none() {
            self.end_what_the_first_overlap_does_not_reach(self.source.newest());
        }
        self.take_snapshot(troubles);
        let images = self.images.iter().cloned().collect();
        let script = Arc::new(Script::new(troubles, Arc::clone(&self.source), images));
        let before = self.target.view();

        let pair = self.pair(troubles, &script);
        let other = elsewhere::pair_to_ask(self, troubles);
        let reports = self.run_through(pair, other, troubles, &script).await;
        script.catch_up();
        for image in script.snapshots().into_iter().skip(1) {
            self.keep_image(image);
        }
        note_written(&mut self.wrote, &script);
        let is_whole = reports.last().is_some_and(|report| report.outcome != Outcome::Failed);
        let remembers = self.watermark.is_some() && is_whole;
        for Written { resource, key, id, of, .. } in script.written() {
            let Some(of) = of else { continue };
            self.wrote_for.insert((resource.clone(), id), of);
            let slot = (resource, key);
            match remembers {
                true => self.forgotten.remove(&slot),
                false => self.forgotten.insert(slot),
            };
        }
        self.asked_of_target = script.asked_of_target();
        if self.store.journal(&pair_id()).await.unwrap().is_none() {
            self.stale.clear();
        } else if troubles.iter().any(|trouble| matches!(trouble, Trouble::PutBack(..))) {
            let written = script.written().into_iter();
            self.stale.extend(written.map(|written| (written.resource, written.key)));
        }

        let outcome = reports.last().map_or("crashed", |report| report.outcome.as_str());
        let said = |why: String| format!("run {} ({outcome}): {why}", self.runs);
        for report in &reports {
            oracle::check_report(report, troubles).map_err(said)?;
        }
        oracle::check_writes(self.frame, &script).map_err(said)?;
        elsewhere::check_writes(self, &script).map_err(said)?;
        oracle::check_state(self).await.map_err(said)?;
        oracle::check_renamed(self, &script).await.map_err(said)?;
        if outcome == Outcome::Complete.as_str() && !self.frame.elsewhere {
            oracle::check_torn(self, &script).map_err(said)?;
        }
        if self.was_settled && troubles.is_empty() && self.refuses.is_empty() {
            people::check_clean_run(self, &before).await.map_err(said)?;
            // What hangs on a person whom the target does not show is there unseen (R26), and
            // stands against the delete of what it refers to.
            if !self.frame.people
                && let Some(refused) = script.first_refused()
            {
                return Err(said(format!("{refused} was refused in a clean run (I20)")));
            }
        }
        let before = self.watermark;
        self.watermark = self.committed_watermark().await;
        if before.is_none() {
            // What was edited before the first view was opened took versions as well; one that was broken
            // off is gone on with at the edge that it had.
            let journal = self.store.journal(&pair_id()).await.unwrap();
            let edge = self.watermark.or(journal.map(|journal| journal.window.through.0));
            self.end_what_the_first_overlap_does_not_reach(edge.unwrap_or(0));
        }
        // A first run may have written what is newer than its watermark, and keeps no history of it.
        self.folds_above = self.folds_above.or(self.watermark.map(|_| self.source.newest()));
        if !is_whole && self.frame.isolation != Isolation::Snapshot {
            // One that was broken off may have written what is newer than what its feed told, too.
            self.folds_above = self.folds_above.map(|_| self.source.newest());
        }
        self.was_settled = is_whole && self.parked().await.is_empty() && !was_partial(troubles);
        Ok(())
    }

    /// The contract of `first_overlap_versions`: no transaction goes on while the sequence gives
    /// out more versions than that. One that does is rolled back, and done again when it ends.
    fn end_what_the_first_overlap_does_not_reach(&mut self, newest: i64) {
        let FirstOverlap::Versions(versions) = self.frame.first_overlap else { return };
        let reached = newest - i64::try_from(versions).unwrap();
        for reserved in &mut self.slow {
            if reserved.first().is_some_and(|first| *first <= reached) {
                reserved.clear();
            }
        }
    }

    /// What is served as the snapshot of this run comes first.
    fn take_snapshot(&mut self, troubles: &[Trouble]) {
        let old = troubles.iter().find_map(|trouble| match trouble {
            Trouble::OldSnapshot(back) => Some(usize::from(*back)),
            _ => None,
        });
        match old {
            None => self.keep_image(self.source.view()),
            Some(back) => {
                let back = back.min(self.images.len() - 1);
                let image = self.images.remove(back).expect("there is one so far back");
                self.images.push_front(image);
            }
        }
    }

    fn keep_image(&mut self, image: View) {
        self.images.push_front(image);
        self.images.truncate(KEPT);
    }

    /// The reports of a run, or none if its process ended.
    pub(super) async fn run_through(
        &mut self,
        pair: Pair,
        other: Option<Pair>,
        troubles: &[Trouble],
        script: &Arc<Script>,
    ) -> Vec<RunReport> {
        for trouble in troubles {
            if let Trouble::FullDisk(commits) = trouble {
                self.store.break_after(u64::from(*commits));
            }
        }
        let around = Surroundings {
            store: Arc::clone(&self.store) as Arc<dyn StateStore>,
            clock: self.clock.clone(),
            observers: Observers::default(),
            stop: script.stop.clone(),
            configured: other.map(|other| [pair.clone(), other].into()),
        };
        let options = RunOptions {
            allow_deletes: false,
            all_parked: !troubles.contains(&Trouble::Scheduled),
        };
        let runner = Runner::new(around);
        let mut reports = Vec::new();
        let run = runner.run_each(vec![pair], &options, |report| reports.push(report));
        let has_crashed = tokio::select! {
            biased;
            () = script.crash() => true,
            () = run => false,
        };
        if has_crashed {
            reports.clear();
        }
        // A new process: what it finds is what was committed.
        let store = Arc::new(self.store.reopened());
        self.exports.push_front(std::mem::replace(&mut self.store, store));
        self.exports.truncate(KEPT);
        reports
    }

    /// A state that was exported before is imported, in the form of a text.
    async fn import(&mut self, back: u8) {
        let Some(older) = self.exports.get(usize::from(back)) else { return };
        let (older, mut exported) = (older.reopened(), Vec::new());
        text::export(&older, self.clock.now(), &mut exported).await.unwrap();
        let Ok(Text::Export(pairs)) = text::read(std::str::from_utf8(&exported).unwrap()) else {
            panic!("what was exported can be imported");
        };
        tidemark::state::import(&*self.store, pairs).await.unwrap();
        self.watermark = self.committed_watermark().await;
        self.folds_above = self.watermark.map(|_| self.source.newest());
        self.forgotten.extend(self.wrote.keys().cloned());
        self.was_settled = false;
        if self.watermark.is_none() {
            self.begin_anew();
        }
        if let Some(other) = &mut self.elsewhere {
            other.watermark = None;
        }
    }

    /// The next run is a first one again, and what `first_overlap_versions` promises holds for its view as
    /// well: none is served to it from a time at which a transaction went on for longer.
    fn begin_anew(&mut self) {
        let FirstOverlap::Versions(versions) = self.frame.first_overlap else { return };
        self.end_what_the_first_overlap_does_not_reach(self.source.newest());
        let now = self.source.view();
        let promised = i64::try_from(versions).unwrap();
        self.images.retain(|image| !ends::hides_what_came_late(image, &now, promised));
        if self.images.is_empty() {
            self.images.push_front(now);
        }
    }

    pub(super) fn pair(&self, troubles: &[Trouble], script: &Arc<Script>) -> Pair {
        let published = GRAPH.resources().filter(|resource| self.is_published(resource));
        let mut selection = Selection {
            descriptors: self.frame.descriptors,
            include_only: published.map(|resource| resource.collection().to_owned()).collect(),
            ..Selection::default()
        };
        for trouble in troubles {
            if let Trouble::Without(collection) = trouble {
                selection.exclude_only.push((*collection).to_owned());
            }
        }
        Pair {
            id: pair_id(),
            source: Arc::new(ModelSource {
                database: Arc::clone(&self.source),
                name: "district",
                frame: self.frame,
                folds_above: self.folds_above.filter(|_| self.frame.folds),
                script: Arc::clone(script),
            }),
            target: self.target_of(script),
            policy: Arc::new(self.policy(selection)),
        }
    }

    pub(super) fn target_of(&self, script: &Arc<Script>) -> Arc<ModelTarget> {
        Arc::new(ModelTarget {
            database: Arc::clone(&self.target),
            refuses: self.refuses.clone(),
            script: Arc::clone(script),
        })
    }

    pub(super) fn policy(&self, selection: Selection) -> Policy {
        Policy {
            isolation: self.frame.isolation,
            selection,
            overlap: Duration::from_secs(15 * 60),
            first_overlap: self.frame.first_overlap,
            sole_writer: !self.frame.elsewhere,
            shared: elsewhere::shared(self.frame),
            ..scene::policy()
        }
    }

    pub(super) fn is_published(&self, resource: &ResourcePath) -> bool {
        self.frame.descriptors || !resource.is_descriptor()
    }

    pub(super) async fn parked(&self) -> Vec<Parked> {
        self.parked_of(&pair_id()).await
    }

    pub(super) async fn parked_of(&self, pair: &PairId) -> Vec<Parked> {
        self.store.parked(pair, None, 10_000).await.unwrap()
    }

    pub(super) async fn committed_watermark(&self) -> Option<i64> {
        self.watermark_of(&pair_id()).await
    }

    pub(super) async fn watermark_of(&self, pair: &PairId) -> Option<i64> {
        let state = self.store.load(pair).await.unwrap().unwrap_or_default();
        state.watermark.map(|watermark| watermark.change_version().0)
    }

    /// The target takes everything again, and a person has said so.
    async fn repair(&mut self) {
        self.refuses.clear();
        self.repair_pair(&pair_id()).await;
        if self.elsewhere.is_some() {
            self.repair_pair(&elsewhere::pair_id()).await;
        }
    }

    async fn repair_pair(&self, pair: &PairId) {
        let mut commit = Commit::default();
        for mut record in self.parked_of(pair).await {
            if record.reason == ParkReason::ResourceClosed {
                commit.settle.push(record.id);
                let mut state = self.store.load(pair).await.unwrap().unwrap_or_default();
                state.selection = None;
                commit.state = Some(state);
            } else {
                record.status = ParkStatus::Parked;
                record.attempts = 0;
                record.early_attempts = 0;
                commit.park.push(record);
            }
        }
        self.store.commit(pair, commit).await.unwrap();
    }

    /// The simulated source has done what the edits say: a mistake in either would otherwise go
    /// by unnoticed at both ends.
    fn compare(&self, reference: &State) -> Result<(), String> {
        compare(&self.source, &reference.district)?;
        self.elsewhere.as_ref().map_or(Ok(()), |other| compare(&other.source, &reference.elsewhere))
    }

    /// Nothing goes wrong any more: the target has to come to agree (I6).
    async fn come_to_rest(&mut self) -> Result<(), String> {
        if self.frame.people {
            // Who is not enrolled cannot be updated by anyone.
            for n in 0..3 {
                let student = Thing::Student(n);
                if self.source.item(&student.path(), &student.key()).is_some() {
                    self.edit(&[Step::Put(Thing::Enrolment(n), 0)]);
                }
            }
        }
        let mut why = String::new();
        for _ in 0..RUNS_TO_AGREE {
            // Under snapshots the overlap is read once more a day (R15).
            self.clock.advance(TimeDelta::hours(25));
            self.repair().await;
            self.run(&[]).await?;
            if self.elsewhere.is_some() {
                elsewhere::run(self, &[]).await?;
            }
            match oracle::check_agreement(self).await {
                Ok(()) => return self.has_nothing_to_do().await,
                Err(reason) => why = reason,
            }
        }
        Err(format!("no agreement after {RUNS_TO_AGREE} runs: {why}"))
    }

    /// I10, R16: the overlap of what was written last is read once more (R15), now and then, and
    /// the target is neither written to nor asked for anything by name.
    async fn has_nothing_to_do(&mut self) -> Result<(), String> {
        const RUNS_TO_SETTLE: usize = 5;
        let mut asked = 0;
        for _ in 0..RUNS_TO_SETTLE {
            self.clock.advance(TimeDelta::hours(25));
            self.run(&[]).await?;
            asked = self.asked_of_target;
            if asked == 0 || self.frame.people {
                return Ok(());
            }
        }
        Err(format!("the target was asked {asked} things again and again though all agreed"))
    }
}

fn compare(database: &Database, district: &District) -> Result<(), String> {
    let source = database.view();
    let mut known: BTreeMap<ResourcePath, BTreeSet<NaturalKey>> = BTreeMap::new();
    for thing in district.things() {
        let key = serde_json::from_value(thing.key()).unwrap();
        known.entry(scene::path(thing.collection())).or_default().insert(key);
    }
    for collection in COLLECTIONS {
        let path = scene::path(collection);
        let mut lives = ends::keys(&source, &path);
        lives.retain(is_of_histories);
        let expected = known.remove(&path).unwrap_or_default();
        if lives != expected {
            let differ: Vec<String> = lives.symmetric_difference(&expected).map(told).collect();
            return Err(format!("source and reference differ in {collection}: {differ:?}"));
        }
    }
    Ok(())
}

/// What took effect, by key.
pub(super) fn note_written(wrote: &mut BTreeMap<Slot, Arc<str>>, script: &Script) {
    for written in script.written() {
        if let What::Body(body) | What::Renamed(body, _) = written.what {
            wrote.insert((written.resource, written.key), body);
        }
    }
}

/// A run after which something may have to be done again.
fn was_partial(troubles: &[Trouble]) -> bool {
    let partial = |trouble: &Trouble| {
        matches!(
            trouble,
            Trouble::Without(_)
                | Trouble::Meanwhile(..)
                | Trouble::Renewed(..)
                | Trouble::PutBack(..)
                | Trouble::OldSnapshot(_)
        )
    };
    troubles.iter().any(partial)
}

pub(super) fn pair_id() -> PairId {
    PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
}

/// Descriptors that both ends have had from the start are no part of a history.
fn is_of_histories(key: &NaturalKey) -> bool {
    key.get("codeValue").is_none_or(|code| code.starts_with("Custom"))
}

/// A key as a person reads it; there is nobody behind the names of histories.
pub(super) fn told(key: &NaturalKey) -> String {
    let parts: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join("&")
}
