//! Plays a history and says what was wrong with it: an invariant that a run broke, or a target
//! that did not come to agree although nothing was wrong any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidemark::clock::Clock;
use tidemark::domain::{Outcome, ParkReason, Selection};
use tidemark::engine::observe::Observers;
use tidemark::engine::report::RunReport;
use tidemark::engine::run::Surroundings;
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::engine::{FirstOverlap, Pair, Policy};
use tidemark::sandbox::{Fault, Gate, Harm, LoggedRequest, Part, Refusal, Sandbox};
use tidemark::sources::Isolation;
use tidemark::sources::edfi::{EdfiSource, PageRoom};
use tidemark::state::{
    MemoryStore, Operation, PairId, ParkStatus, Parked, StateStore, StateView, Step as Commit,
};
use tidemark::targets::edfi::EdfiTarget;
use tokio_util::sync::CancellationToken;

use super::district::{self, BESIDE, COLLECTIONS};
use super::history::{Frame, History, Hurt, Side, Step, Thing, Trouble};
use super::stage::{End, Ends, Everything, written};
use crate::scene::policy;

/// Runs without faults after which a target has to agree.
const RUNS_TO_AGREE: usize = 8;

/// Plays a history; the error is what was wrong with it.
pub(super) async fn play(ends: &mut Ends, history: &History) -> Result<(), String> {
    let (source, target) = ends.take(&history.frame).await;
    let mut play = Play {
        frame: history.frame,
        source,
        target,
        store: Arc::new(MemoryStore::new()),
        clock: Clock::held_at(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap()),
        kept: Mutex::new(vec![Everything::new()]),
        views: Mutex::default(),
        watermark: None,
        was_settled: false,
        runs: 0,
    };
    let verdict = play.all(&history.steps).await;
    ends.give_back(&history.frame, play.source, play.target);
    verdict
}

struct Play {
    frame: Frame,
    source: End,
    target: End,
    store: Arc<MemoryStore>,
    clock: Clock,
    /// What the source showed when each snapshot that it keeps was taken, the oldest first.
    kept: Mutex<Vec<Everything>>,
    /// The snapshots that the run may have read from.
    views: Mutex<Vec<Everything>>,
    watermark: Option<i64>,
    /// The run before this one left nothing to do.
    was_settled: bool,
    runs: usize,
}

impl Play {
    async fn all(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            match step {
                Step::Run(troubles) => self.run(troubles).await?,
                edit => district::edit(&self.source.sandbox, edit),
            }
        }
        self.come_to_rest().await
    }

    /// One run with its troubles, and what has to hold whatever they are.
    async fn run(&mut self, troubles: &[Trouble]) -> Result<(), String> {
        self.runs += 1;
        self.clock.advance(TimeDelta::minutes(10));
        if !troubles.contains(&Trouble::OldSnapshot) {
            self.take_snapshot();
        }
        *self.views.lock().unwrap() =
            self.kept.lock().unwrap().last().cloned().into_iter().collect();
        let before = self.source.everything();
        self.target.sandbox.clear_requests();
        let moments = self.set_up(troubles);

        let report = self.run_through(troubles, moments).await;

        self.source.sandbox.repair_all();
        self.target.sandbox.repair_all();
        let outcome = match &report {
            Some(report) => report.outcome.as_str(),
            None => {
                self.source.connect_anew();
                self.target.connect_anew();
                "crashed"
            }
        };
        let run = format!("run {} ({outcome})", self.runs);
        let said = |why: String| format!("{run}: {why}");
        if let Some(report) = &report {
            check_report(report, troubles).map_err(said)?;
        }
        self.check_watermark().await.map_err(said)?;
        self.check_writes(&before, troubles).map_err(said)?;
        let parked = self.parked().await;
        self.was_settled = parked.is_empty()
            && report.is_some_and(|report| {
                matches!(report.outcome, Outcome::Complete | Outcome::NothingToDo)
            })
            && !troubles.iter().any(|trouble| {
                matches!(
                    trouble,
                    Trouble::Without(_)
                        | Trouble::Meanwhile(..)
                        | Trouble::Renewed(..)
                        | Trouble::PutBack(_)
                )
            });
        Ok(())
    }

    fn take_snapshot(&self) {
        /// The sandbox keeps no more.
        const KEPT: usize = 8;
        self.source.sandbox.take_snapshot();
        let mut kept = self.kept.lock().unwrap();
        kept.push(self.source.everything());
        if kept.len() > KEPT {
            kept.remove(0);
        }
    }

    fn renew_snapshot(&self) {
        self.source.sandbox.drop_snapshot();
        self.kept.lock().unwrap().clear();
        self.take_snapshot();
        self.views.lock().unwrap().extend(self.kept.lock().unwrap().last().cloned());
    }

    fn put_snapshot_back(&self) {
        self.source.sandbox.put_back_oldest_snapshot();
        let mut kept = self.kept.lock().unwrap();
        kept.truncate(1);
        self.views.lock().unwrap().extend(kept.last().cloned());
    }

    /// Puts the troubles in place. Returns the moments at which something else is to happen.
    fn set_up(&self, troubles: &[Trouble]) -> Vec<(Gate, Trouble)> {
        let refuse =
            || Harm::Refuse(Refusal::Validation("a value of it is not allowed".to_owned()));
        let target = &self.target.sandbox;
        let mut moments = Vec::new();
        for trouble in troubles {
            match trouble {
                Trouble::Harm(side, hurt, after, times) => {
                    let fault = Fault::everywhere(harm(*hurt));
                    self.side(*side)
                        .fault(fault.after(usize::from(*after)).times(usize::from(*times)));
                }
                Trouble::Poison(collection) => {
                    let fault = Fault::on(&format!("/ed-fi/{collection}"), refuse());
                    target.fault(fault.method("POST").part(Part::Items));
                }
                Trouble::NoRename => {
                    target.fault(Fault::everywhere(refuse()).method("PUT").part(Part::Items));
                }
                Trouble::Close(collection) => {
                    let harm = Harm::Refuse(Refusal::ResourceClosed);
                    let fault = Fault::on(&format!("/ed-fi/{collection}"), harm);
                    target.fault(fault.method("POST").part(Part::Items));
                }
                Trouble::Fail(collection) => {
                    let fault = Fault::on(&format!("/ed-fi/{collection}"), harm(Hurt::Redirect));
                    target.fault(fault.method("POST").part(Part::Items));
                }
                Trouble::Stop(side, after) | Trouble::Crash(side, after) => {
                    moments.push((self.hold(*side, *after), trouble.clone()));
                }
                Trouble::Meanwhile(after, _)
                | Trouble::Renewed(after, _)
                | Trouble::PutBack(after) => {
                    moments.push((self.hold(Side::Source, *after), trouble.clone()));
                }
                Trouble::Without(_) | Trouble::OldSnapshot | Trouble::Scheduled => {}
            }
        }
        moments
    }

    fn hold(&self, side: Side, after: u8) -> Gate {
        let gate = Gate::new();
        let fault = Fault::everywhere(Harm::Hold(gate.clone()));
        self.side(side).fault(fault.after(usize::from(after)).times(1));
        gate
    }

    fn side(&self, side: Side) -> &Sandbox {
        match side {
            Side::Source => &self.source.sandbox,
            Side::Target => &self.target.sandbox,
        }
    }

    /// The report of the run, or nothing if its process ended.
    async fn run_through(
        &self,
        troubles: &[Trouble],
        moments: Vec<(Gate, Trouble)>,
    ) -> Option<RunReport> {
        let stop = CancellationToken::new();
        let around = Surroundings {
            store: Arc::clone(&self.store) as Arc<dyn StateStore>,
            clock: self.clock.clone(),
            observers: Observers::default(),
            stop: stop.clone(),
            configured: None,
        };
        let options = RunOptions {
            allow_deletes: false,
            all_parked: !troubles.contains(&Trouble::Scheduled),
        };
        let runner = Runner::new(around);
        let mut run = Box::pin(runner.run_publication(vec![self.pair(troubles)], &options));
        let mut moments: FuturesUnordered<_> = moments
            .into_iter()
            .map(|(gate, trouble)| async move {
                gate.reached_by(1).await;
                (gate, trouble)
            })
            .collect();
        loop {
            tokio::select! {
                reports = &mut run => return reports.into_iter().last(),
                Some((gate, trouble)) = moments.next() => match trouble {
                    // The request that is held never gets through: its process is gone.
                    Trouble::Crash(..) => return None,
                    Trouble::Stop(..) => {
                        stop.cancel();
                        gate.open();
                    }
                    Trouble::Meanwhile(_, edits) => {
                        for step in &edits {
                            district::edit(&self.source.sandbox, step);
                        }
                        gate.open();
                    }
                    Trouble::Renewed(_, edits) => {
                        for step in &edits {
                            district::edit(&self.source.sandbox, step);
                        }
                        self.renew_snapshot();
                        gate.open();
                    }
                    Trouble::PutBack(_) => {
                        self.put_snapshot_back();
                        gate.open();
                    }
                    other => panic!("{other:?} has no moment"),
                },
            }
        }
    }

    fn pair(&self, troubles: &[Trouble]) -> Pair {
        let mut selection =
            Selection { descriptors: self.frame.descriptors, ..Selection::default() };
        for collection in COLLECTIONS.iter().chain(&BESIDE) {
            if self.frame.descriptors || !collection.ends_with("Descriptors") {
                selection.include_only.push((*collection).to_owned());
            }
        }
        for trouble in troubles {
            if let Trouble::Without(collection) = trouble {
                selection.exclude_only.push((*collection).to_owned());
            }
        }
        let source =
            EdfiSource::new(Arc::clone(&self.source.api), self.frame.page_size, PageRoom::new());
        Pair {
            id: pair_id(),
            source: Arc::new(source),
            target: Arc::new(EdfiTarget::new(Arc::clone(&self.target.api))),
            policy: Arc::new(Policy {
                isolation: self.frame.isolation,
                selection,
                overlap: Duration::from_secs(15 * 60),
                first_overlap: FirstOverlap::Versions(100_000),
                ..policy()
            }),
        }
    }

    async fn parked(&self) -> Vec<Parked> {
        self.store.parked(&pair_id(), None, 10_000).await.unwrap()
    }

    /// I2.
    async fn check_watermark(&mut self) -> Result<(), String> {
        let state = self.store.load(&pair_id()).await.unwrap().unwrap_or_default();
        let watermark = state.watermark.map(|watermark| watermark.change_version().0);
        if watermark < self.watermark {
            return Err(format!("the watermark went from {:?} to {watermark:?}", self.watermark));
        }
        self.watermark = watermark;
        Ok(())
    }

    /// I8 and I20.
    fn check_writes(&self, before: &Everything, troubles: &[Trouble]) -> Result<(), String> {
        let after = self.source.everything();
        for request in self.target.sandbox.requests().iter().filter(|r| r.method == "DELETE") {
            let Some((collection, key)) = written(request) else { continue };
            let key = (collection, key);
            let lives = match self.frame.isolation {
                Isolation::Snapshot => {
                    self.views.lock().unwrap().iter().all(|view| holds(view, &key))
                }
                Isolation::Bounded | Isolation::Open | Isolation::Combined => {
                    holds(before, &key) && holds(&after, &key)
                }
            };
            if lives {
                return Err(format!("DELETE of {} {}, which lives at the source", key.0, key.1));
            }
        }
        if self.was_settled && troubles.is_empty() {
            let requests = self.target.sandbox.requests();
            if let Some(conflict) = requests.iter().find(|request| is_conflict(request)) {
                return Err(format!(
                    "{} {} was answered 409 in a clean run",
                    conflict.method, conflict.path
                ));
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more: the target has to come to agree.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        if self.frame.people {
            // Who is not enrolled cannot be updated by anyone.
            for n in 0..3 {
                let student = Thing::Student(n);
                if self.source.sandbox.item(&student.path(), &student.key()).is_some() {
                    district::edit(&self.source.sandbox, &Step::Put(Thing::Enrolment(n), 0));
                }
            }
        }
        let mut why = String::new();
        for _ in 0..RUNS_TO_AGREE {
            self.revive_the_dead().await;
            self.run(&[]).await?;
            match self.agrees().await {
                Ok(()) => return self.has_nothing_to_do().await,
                Err(reason) => why = reason,
            }
        }
        Err(format!("no agreement after {RUNS_TO_AGREE} runs: {why}"))
    }

    /// I10.
    async fn has_nothing_to_do(&mut self) -> Result<(), String> {
        // The overlap of what was written last is read once more (R15), and then no more.
        const RUNS_TO_SETTLE: usize = 5;
        let mut last = String::new();
        for _ in 0..RUNS_TO_SETTLE {
            self.run(&[]).await?;
            let requests = self.target.sandbox.requests();
            match requests.iter().find(|request| request.is_write() && !self.frame.people) {
                Some(write) => last = format!("{} {} though all agreed", write.method, write.path),
                None => return Ok(()),
            }
        }
        Err(last)
    }

    /// What a person does with `parked retry` when the cause is mended.
    async fn revive_the_dead(&self) {
        let mut commit = Commit::default();
        for mut record in self.parked().await {
            if record.reason == ParkReason::ResourceClosed {
                commit.settle.push(record.id);
                let mut state = self.store.load(&pair_id()).await.unwrap().unwrap_or_default();
                state.selection = None;
                commit.state = Some(state);
            } else if record.status == ParkStatus::Dead {
                record.status = ParkStatus::Parked;
                record.attempts = 0;
                commit.park.push(record);
            }
        }
        self.store.commit(&pair_id(), commit).await.unwrap();
    }

    /// I6: same items, same content, nothing parked, and the watermark at the newest version.
    async fn agrees(&self) -> Result<(), String> {
        let parked = self.parked().await;
        let (source, target) = (self.source.everything(), self.target.everything());
        for (key, body) in &source {
            match target.get(key) {
                None if self.is_published(key.0) => {
                    return Err(format!("missing at the target: {} {}", key.0, key.1));
                }
                Some(theirs) if theirs != body && self.is_published(key.0) => {
                    return Err(format!("other content at the target: {} {}", key.0, key.1));
                }
                None | Some(_) => {}
            }
        }
        for key in target.keys().filter(|key| !source.contains_key(*key)) {
            if self.is_published(key.0)
                && !self.is_unreachable_person(key.0, &target, &key.1)
                && !is_circle_at_the_target(key.0, &parked)
            {
                return Err(format!("extra at the target: {} {}", key.0, key.1));
            }
        }
        for record in &parked {
            let collection = record.resource.collection();
            let accepted = (self.frame.people
                && collection == "students"
                && record.operation == Operation::Delete)
                || is_circle_at_the_target(collection, &parked);
            if !accepted {
                return Err(format!(
                    "still parked: {} {:?} {:?} {:?}",
                    record.resource, record.operation, record.reason, record.error
                ));
            }
        }
        let newest = self.source.sandbox.newest();
        if self.watermark != Some(newest) {
            return Err(format!("the watermark is {:?}, newest {newest}", self.watermark));
        }
        Ok(())
    }

    fn is_published(&self, collection: &str) -> bool {
        self.frame.descriptors || !collection.ends_with("Descriptors")
    }

    /// R26: whose association is gone is not visible, and may stay.
    fn is_unreachable_person(&self, collection: &str, target: &Everything, key: &str) -> bool {
        self.frame.people
            && collection == "students"
            && !target.keys().any(|(other, theirs)| {
                *other == "studentSchoolAssociations" && theirs.ends_with(key)
            })
    }
}

fn pair_id() -> PairId {
    PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
}

fn harm(hurt: Hurt) -> Harm {
    match hurt {
        Hurt::Error => Harm::Refuse(Refusal::Status(500)),
        Hurt::FailAfterWriting => Harm::FailAfterWriting,
        Hurt::DropAfterWriting => Harm::DropAfterWriting,
        Hurt::Drop => Harm::Drop,
        Hurt::Throttle => Harm::Throttle { retry_after: Some(0) },
        Hurt::ExpireTokens => Harm::ExpireTokens,
        Hurt::Redirect => Harm::Redirect("http://127.0.0.1:1/".to_owned()),
    }
}

fn holds(all: &Everything, key: &(&str, String)) -> bool {
    all.keys().any(|(collection, own)| *collection == key.0 && *own == key.1)
}

/// R28 resolves those of resources that refer to themselves.
fn is_conflict(request: &LoggedRequest) -> bool {
    request.status == 409 && request.resource.as_deref() != Some("/ed-fi/learningStandards")
}

/// The accepted case: two that refer to each other only at the target, both deleted.
fn is_circle_at_the_target(collection: &str, parked: &[Parked]) -> bool {
    let mut standards = parked.iter().filter(|r| r.resource.collection() == "learningStandards");
    collection == "learningStandards"
        && standards.clone().count() > 1
        && standards
            .all(|r| r.operation == Operation::Delete && r.reason == ParkReason::StillReferenced)
}

/// I14, and no failure that the troubles do not explain.
fn check_report(report: &RunReport, troubles: &[Trouble]) -> Result<(), String> {
    let Some(error) = &report.error else {
        return match report.stages.is_conserved() {
            true => Ok(()),
            false => Err(format!("the stages do not add up: {:?}", report.stages)),
        };
    };
    let harmless = |trouble: &Trouble| {
        matches!(
            trouble,
            Trouble::NoRename
                | Trouble::Without(_)
                | Trouble::Scheduled
                | Trouble::Poison(_)
                | Trouble::Close(_)
        )
    };
    let is_never = ["not-conserved", "blocked", "unknown-key", "cannot-tell", "missing-at-target"]
        .contains(&error.kind.as_str());
    if is_never || troubles.iter().all(harmless) {
        return Err(format!("it failed: {} ({})", error.message, error.kind));
    }
    Ok(())
}
