//! Which pairs are to run now: ticks, second attempts, parked items that are due, what a person asked
//! for; and what keeps a pair that is due from running.
//!
//! What lives here: the decisions, as a table without I/O whose time is passed in. What does not:
//! timetables (`schedule.rs`), the running itself (`serve.rs`), where plans are kept (`plans.rs`).
//! The one thing to know: a pair is due or it is not, so however many ticks passed while it ran,
//! waited or was paused, it runs once for all of them, and never beside itself.

mod holds;
mod pairs;
#[cfg(test)]
mod tests;
mod wishes;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::config::ClosedHours;
use crate::schedule::{Schedule, Timetable};
use crate::state::{ComparedWhole, PairId, Pause, Plan, Unlike};

use pairs::Pairs;
pub use wishes::{Wanted, Wish};

/// The longest wait before a failed run is started again (contract, "Configuration").
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 60);

/// What is due, and what runs.
pub struct Agenda {
    ticks: Schedule,
    comparisons: Schedule,
    publications: BTreeMap<String, Terms>,
    pairs: Pairs,
    max_running: usize,
    /// By connection.
    closed: BTreeMap<String, Vec<ClosedHours>>,
    /// Connections whose secrets cannot be read, and why.
    locked: BTreeMap<String, String>,
}

/// How the pairs of a publication are to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    pub timetable: Timetable,
    /// The timetable as a text, by which a plan of before is known to be of it.
    pub schedule: String,
    pub spread: Duration,
    pub comparisons: Timetable,
    pub verify_schedule: String,
    /// Publications whose runs of the same tick must have ended.
    pub after: Vec<String>,
    pub source: String,
    /// The wait before a failed run is started again; doubles from there.
    pub first_delay: Duration,
}

impl Terms {
    /// A publication of this source that nothing starts.
    pub fn manual(source: &str) -> Terms {
        Terms {
            timetable: Timetable::Never,
            schedule: String::new(),
            spread: Duration::ZERO,
            comparisons: Timetable::Never,
            verify_schedule: String::new(),
            after: Vec::new(),
            source: source.to_owned(),
            first_delay: Duration::from_secs(60),
        }
    }
}

/// What is remembered of a pair before anything ran.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub id: PairId,
    /// `None` where no daemon has planned anything for it.
    pub plan: Option<Plan>,
    pub last_ended_at: Option<Timestamp>,
    /// The last run failed: without a plan it is started again after the first delay.
    pub failed: bool,
    pub parked_due_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Entry {
    running: Option<Job>,
    /// Since when what runs was due: it is missed if the process ends now.
    unserved: Option<Timestamp>,
    due: Option<Due>,
    comparison_due: Option<Timestamp>,
    /// A person wants one, beside whatever the schedule does.
    comparison_wanted: Option<Timestamp>,
    /// Runs that failed since the last tick or the last one that did not.
    failures: u32,
    again_at: Option<Timestamp>,
    parked_due_at: Option<Timestamp>,
    wanted: Option<(Timestamp, Wanted)>,
    paused: Option<Pause>,
    compared: Option<ComparedWhole>,
    /// The plan is another than the one that is kept.
    has_changed: bool,
    /// The configuration no longer names it: gone when its run has ended.
    is_leaving: bool,
}

/// Since when a pair is to run, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    since: Timestamp,
    why: Why,
    /// The tick that it belongs to, however late in its spread.
    tick: Option<Timestamp>,
}

/// Why a pair is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Tick,
    /// The last run failed for what may pass, or was stopped by closed hours.
    Again,
    /// A parked item is due.
    Parked,
    Wanted,
}

/// What a pair does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Run(Option<Wanted>),
    Compare,
}

/// Pairs of one publication that begin together and share a view of their source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub publication: String,
    pub job: Job,
    pub pairs: Vec<PairId>,
}

/// How a run ended, as far as the next one is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did what there was to do. The earliest parked item is due at the moment, if there is one.
    Done { parked_due_at: Option<Timestamp> },
    /// It failed, and trying again by itself may help.
    MayPass,
    /// It failed, or the pair is blocked: nothing before the next tick.
    NeedsAPerson,
    /// A connection closed: it goes on when that opens.
    Closed,
    /// The process ends: what was planned stays planned.
    Stopped,
    /// A comparison ended; `None` when it could not be made, or was of a part.
    Compared(Option<Found>),
}

/// What a comparison of all resources found. Items may wait though nothing else is unlike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub equal: bool,
    pub unlike: Unlike,
}

impl Agenda {
    /// At most `max_running` pairs run at once.
    pub fn new(max_running: usize) -> Agenda {
        Agenda {
            ticks: Schedule::new(),
            comparisons: Schedule::new(),
            publications: BTreeMap::new(),
            pairs: Pairs::default(),
            max_running: max_running.max(1),
            closed: BTreeMap::new(),
            locked: BTreeMap::new(),
        }
    }

    pub fn set_max_running(&mut self, max_running: usize) {
        self.max_running = max_running.max(1);
    }

    /// When which connection is left alone.
    pub fn set_closed(&mut self, closed: BTreeMap<String, Vec<ClosedHours>>) {
        self.closed = closed;
    }

    /// Connections whose secrets cannot be read now, each with why.
    pub fn set_locked(&mut self, locked: BTreeMap<String, String>) {
        self.locked = locked;
    }

    /// Puts a publication on the agenda, or changes how it runs. What it has planned stays where
    /// its schedule does; what was missed is due at once, and once.
    pub fn add(
        &mut self,
        publication: &str,
        terms: Terms,
        newcomers: Vec<Newcomer>,
        now: Timestamp,
    ) {
        let before = self.publications.insert(publication.to_owned(), terms.clone());
        let is_same = |same: fn(&Terms, &Terms) -> bool| {
            before.as_ref().is_some_and(|before| same(before, &terms))
        };
        let same_ticks = is_same(|one, other| {
            one.schedule == other.schedule && one.spread.is_zero() == other.spread.is_zero()
        });
        let same_comparisons = is_same(|one, other| one.verify_schedule == other.verify_schedule);
        let mut by_slot: BTreeMap<String, Vec<&Newcomer>> = BTreeMap::new();
        for newcomer in &newcomers {
            by_slot.entry(slot(&newcomer.id, terms.spread)).or_default().push(newcomer);
            let name = newcomer.id.to_string();
            if !(same_comparisons && self.comparisons.has(&name)) {
                self.plan_comparisons(&name, &terms, newcomer, now);
            }
        }
        for (name, pairs) in by_slot {
            if !(same_ticks && self.ticks.has(&name)) {
                self.plan_ticks(&name, &terms, &pairs, before.is_some(), now);
            }
        }
        for newcomer in newcomers {
            let known = self.pairs.get(&newcomer.id).is_some();
            let entry = self.pairs.get_or_add(&newcomer.id);
            entry.is_leaving = false;
            entry.has_changed |= !same_ticks || !same_comparisons;
            if !known {
                entry.remember(newcomer, &terms, now);
            }
        }
    }

    fn plan_ticks(
        &mut self,
        name: &str,
        terms: &Terms,
        pairs: &[&Newcomer],
        was_changed: bool,
        now: Timestamp,
    ) {
        let plans = || pairs.iter().filter_map(|pair| pair.plan.as_ref());
        let of_this = plans().filter(|plan| plan.schedule == terms.schedule);
        let (timetable, spread) = (terms.timetable.clone(), terms.spread);
        // The one that is furthest behind says what was missed.
        if let Some(planned) = of_this.filter_map(|plan| plan.next_tick).min() {
            return self.ticks.resume(name, timetable, spread, planned, now);
        }
        let is_cron = matches!(timetable, Timetable::Cron(_));
        let is_another = was_changed || plans().any(|plan| !plan.schedule.is_empty());
        // A night of another schedule was not missed.
        let last = match is_cron && is_another {
            true => None,
            false => pairs.iter().filter_map(|pair| pair.last_ended_at).min(),
        };
        self.ticks.set(name, timetable, spread, last, now);
    }

    fn plan_comparisons(&mut self, name: &str, terms: &Terms, pair: &Newcomer, now: Timestamp) {
        let (timetable, spread) = (terms.comparisons.clone(), terms.spread);
        let plan = pair.plan.as_ref().filter(|plan| plan.verify_schedule == terms.verify_schedule);
        match plan.and_then(|plan| plan.next_verify) {
            Some(planned) => self.comparisons.resume(name, timetable, spread, planned, now),
            None => self.comparisons.set(name, timetable, spread, None, now),
        }
    }

    /// Takes every pair off the agenda that `stays` does not name; what runs ends first.
    pub fn keep_only(&mut self, stays: impl Fn(&PairId) -> bool) {
        self.pairs.keep_only(stays);
        let pairs = &self.pairs;
        let is_left = |publication: &String| {
            pairs.of_publication(publication).any(|(_, entry)| !entry.is_leaving)
        };
        let gone: Vec<String> =
            self.publications.keys().filter(|name| !is_left(name)).cloned().collect();
        for publication in gone {
            self.publications.remove(&publication);
            self.ticks.remove(&publication);
        }
    }

    /// Everything that begins now, longest due first. What is returned counts as running until
    /// [`Agenda::ended`] is told of it.
    pub fn start_due(&mut self, now: Timestamp) -> Vec<Start> {
        self.look(now);
        self.begin(now)
    }

    /// Notes what has fallen due; nothing begins yet.
    pub fn look(&mut self, now: Timestamp) {
        self.tick(now);
        self.pairs.let_sleep();
        self.pairs.change_awake(|entry| {
            entry.end_pause(now);
            entry.become_due(now);
        });
    }

    fn tick(&mut self, now: Timestamp) {
        for (name, tick) in self.ticks.due_with_ticks(now) {
            for id in self.pairs_at(&name) {
                if let Some(entry) = self.pairs.get_mut(&id) {
                    entry.tick(now, tick);
                }
            }
        }
        for name in self.comparisons.due(now) {
            if let Some(entry) = self.pairs.get_mut_by_name(&name) {
                entry.comparison_due.get_or_insert(now);
            }
        }
    }

    /// Whose place in the timetable has the name (see [`slot`]).
    fn pairs_at(&self, name: &str) -> Vec<PairId> {
        let own = self.pairs.id_by_name(name).filter(|id| !self.spread_of(id).is_zero());
        let together = match self.publications.get(name) {
            Some(terms) if terms.spread.is_zero() => Some(self.pairs.of_publication(name)),
            Some(_) | None => None,
        };
        own.into_iter().chain(together.into_iter().flatten().map(|(id, _)| id)).cloned().collect()
    }

    fn spread_of(&self, id: &PairId) -> Duration {
        self.publications.get(&id.publication).map_or(Duration::ZERO, |terms| terms.spread)
    }

    fn begin(&mut self, now: Timestamp) -> Vec<Start> {
        let mut waiting: Vec<(Timestamp, PairId, Job)> = Vec::new();
        for (id, entry) in self.pairs.awake() {
            if let Some((since, job)) = entry.next_job()
                && self.held(id, now).is_none()
            {
                waiting.push((since, id.clone(), job));
            }
        }
        waiting.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let free = self.max_running.saturating_sub(self.running());
        let mut starts: Vec<Start> = Vec::new();
        for (_, id, job) in waiting.into_iter().take(free) {
            let entry = self.pairs.get_mut(&id).expect("it was found in this table");
            entry.start(job);
            let mut together = starts.iter_mut();
            match together.find(|start| start.publication == id.publication && start.job == job) {
                Some(start) => start.pairs.push(id),
                None => {
                    let publication = id.publication.clone();
                    starts.push(Start { publication, job, pairs: vec![id] });
                }
            }
        }
        starts
    }

    fn running(&self) -> usize {
        self.pairs.awake().filter(|(_, entry)| entry.running.is_some()).count()
    }

    pub fn ended(&mut self, id: &PairId, ending: Ending, now: Timestamp) {
        let terms = self.publications.get(&id.publication);
        let runs_by_itself = terms.is_some_and(|terms| terms.timetable != Timetable::Never);
        let first_delay = terms.map_or(Duration::ZERO, |terms| terms.first_delay);
        let Some(entry) = self.pairs.get_mut(id) else { return };
        entry.running = None;
        if ending != Ending::Stopped {
            entry.unserved = None;
        }
        if entry.is_leaving {
            self.pairs.remove(id);
            return;
        }
        if !matches!(ending, Ending::Closed | Ending::Stopped | Ending::Compared(_)) {
            entry.wanted = None;
        }
        entry.has_changed |= ending != Ending::Stopped;
        match ending {
            Ending::Done { parked_due_at } => {
                entry.failures = 0;
                // Due already, though the run has just looked at it: later, or it would run on and on.
                let not_before = later(now, first_delay);
                entry.parked_due_at =
                    parked_due_at.map(|due| if due <= now { not_before } else { due });
            }
            Ending::MayPass if runs_by_itself => entry.fail(now, first_delay),
            Ending::Closed => entry.fall_due(Due { since: now, why: Why::Again, tick: None }),
            Ending::Compared(found) => {
                entry.compared = found
                    .map(|Found { equal, unlike }| ComparedWhole { at: now, equal, unlike })
                    .or(entry.compared.take());
            }
            Ending::MayPass | Ending::NeedsAPerson | Ending::Stopped => {}
        }
    }

    /// Nothing of the pair begins before `pause` is over. What runs goes on: cancel it.
    pub fn pause(&mut self, id: &PairId, pause: Pause) -> bool {
        self.change(id, |entry| entry.paused = Some(pause))
    }

    /// What fell due meanwhile is due now, and once.
    pub fn resume(&mut self, id: &PairId) -> bool {
        self.change(id, |entry| entry.paused = None)
    }

    /// A parked item of the pair is due at the moment.
    pub fn parked_due(&mut self, id: &PairId, at: Timestamp) -> bool {
        self.change(id, |entry| {
            entry.parked_due_at = Some(entry.parked_due_at.map_or(at, |before| before.min(at)));
        })
    }

    fn change(&mut self, id: &PairId, change: impl FnOnce(&mut Entry)) -> bool {
        let Some(entry) = self.pairs.get_mut(id).filter(|entry| !entry.is_leaving) else {
            return false;
        };
        change(entry);
        entry.has_changed = true;
        true
    }

    pub fn is_running(&self, id: &PairId) -> bool {
        self.pairs.get(id).is_some_and(|entry| entry.running.is_some())
    }

    pub fn paused(&self, id: &PairId, now: Timestamp) -> Option<Pause> {
        let entry = self.pairs.get(id)?;
        entry.paused.clone().filter(|_| entry.is_paused(now))
    }

    /// When a pair comes next, whatever starts it; `None` when nothing will.
    pub fn next_of(&self, id: &PairId, now: Timestamp) -> Option<Timestamp> {
        let entry = self.pairs.get(id)?;
        let due = entry.due.map(|due| due.since);
        let tick = self.ticks.next_of(&slot(id, self.spread_of(id)));
        let next = [due, tick, entry.again_at, entry.parked_due_at].into_iter().flatten().min();
        match entry.paused.as_ref().filter(|_| entry.is_paused(now)) {
            Some(pause) => pause.until.zip(next).map(|(until, next)| until.max(next)),
            None => next,
        }
    }

    /// Whether there is a plan to be kept.
    pub fn has_changed(&self) -> bool {
        self.pairs.awake().any(|(_, entry)| entry.has_changed)
    }

    /// The plans that are others than those that were taken before, for whoever keeps them.
    pub fn take_changed(&mut self) -> Vec<(PairId, Plan)> {
        let is_changed = |entry: &Entry| entry.has_changed && !entry.is_leaving;
        let changed = self.pairs.awake().filter(|(_, entry)| is_changed(entry));
        let plans = changed.filter_map(|(id, _)| Some((id.clone(), self.plan_of(id)?))).collect();
        self.pairs.change_awake(|entry| entry.has_changed = false);
        plans
    }

    fn plan_of(&self, id: &PairId) -> Option<Plan> {
        let (entry, terms) = (self.pairs.get(id)?, self.publications.get(&id.publication)?);
        let is_due = entry.due.filter(|due| due.why == Why::Tick).map(|due| due.since);
        let unserved = entry.unserved.or(is_due);
        Some(Plan {
            schedule: terms.schedule.clone(),
            next_tick: unserved.or_else(|| self.ticks.next_of(&slot(id, terms.spread))),
            failures: entry.failures,
            again_at: entry.again_at,
            wanted_at: entry.wanted.map(|(at, _)| at),
            paused: entry.paused.clone(),
            verify_schedule: terms.verify_schedule.clone(),
            next_verify: entry.comparison_due.or_else(|| self.comparisons.next_of(&id.to_string())),
            compared: entry.compared.clone(),
        })
    }
}

/// Pairs that start together share a place in the timetable; with a spread each has its own.
fn slot(id: &PairId, spread: Duration) -> String {
    if spread.is_zero() { id.publication.clone() } else { id.to_string() }
}

impl Entry {
    fn remember(&mut self, newcomer: Newcomer, terms: &Terms, now: Timestamp) {
        let has_no_plan = newcomer.plan.is_none();
        let plan = newcomer.plan.unwrap_or_default();
        self.has_changed = true;
        self.paused = plan.paused;
        self.compared = plan.compared;
        if let Some(at) = plan.wanted_at {
            self.wanted = Some((at, Wanted::default()));
            self.fall_due(Due { since: at, why: Why::Wanted, tick: None });
        }
        // What no schedule starts is left to the one who starts it.
        if terms.timetable == Timetable::Never {
            return;
        }
        self.parked_due_at = newcomer.parked_due_at;
        self.failures = plan.failures;
        self.again_at = plan.again_at;
        if newcomer.failed && has_no_plan {
            self.fail(now, terms.first_delay);
        }
    }

    /// A tick takes over from whatever was planned.
    fn tick(&mut self, now: Timestamp, tick: Option<Timestamp>) {
        self.failures = 0;
        self.again_at = None;
        self.fall_due(Due { since: now, why: Why::Tick, tick });
    }

    fn become_due(&mut self, now: Timestamp) {
        if self.running.is_some() {
            return;
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.fall_due(Due { since: now, why: Why::Again, tick: None });
        }
        if self.parked_due_at.is_some_and(|at| at <= now) {
            self.fall_due(Due { since: now, why: Why::Parked, tick: None });
        }
    }

    fn fall_due(&mut self, due: Due) {
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// A run comes before a comparison, which then sees what it has brought.
    fn next_job(&self) -> Option<(Timestamp, Job)> {
        if self.running.is_some() || self.is_leaving {
            return None;
        }
        let run = self.due.map(|due| (due.since, Job::Run(self.wanted.map(|(_, wanted)| wanted))));
        let compare = self.comparison_wanted.or(self.comparison_due);
        run.or_else(|| Some((compare?, Job::Compare)))
    }

    /// One run serves everything that was due and planned.
    fn start(&mut self, job: Job) {
        self.running = Some(job);
        match job {
            Job::Run(_) => {
                self.unserved = self.due.take().map(|due| due.since);
                self.again_at = None;
                self.parked_due_at = None;
            }
            Job::Compare => {
                if self.comparison_wanted.take().is_none() {
                    self.comparison_due = None;
                }
            }
        }
    }

    fn fail(&mut self, now: Timestamp, first_delay: Duration) {
        let doublings = self.failures.min(31);
        let delay = first_delay.saturating_mul(1 << doublings).min(LONGEST_DELAY);
        self.failures += 1;
        self.again_at = Some(later(now, delay));
    }

    /// Whether nothing can become of it before its next tick, or before somebody touches it.
    fn sleeps(&self) -> bool {
        let Entry { running, unserved: _, due, comparison_due, comparison_wanted, .. } = self;
        let Entry { failures: _, again_at, parked_due_at, wanted, paused, compared: _, .. } = self;
        let has_nothing_to_do = running.is_none() && due.is_none() && wanted.is_none();
        let is_not_compared = comparison_due.is_none() && comparison_wanted.is_none();
        let waits_for_nothing = again_at.is_none() && parked_due_at.is_none() && paused.is_none();
        let is_settled = !self.has_changed && !self.is_leaving;
        has_nothing_to_do && is_not_compared && waits_for_nothing && is_settled
    }

    fn is_paused(&self, now: Timestamp) -> bool {
        let until = self.paused.as_ref().map(|pause| pause.until);
        until.is_some_and(|until| until.is_none_or(|until| now < until))
    }

    fn end_pause(&mut self, now: Timestamp) {
        if self.paused.is_some() && !self.is_paused(now) {
            self.paused = None;
            self.has_changed = true;
        }
    }
}

fn later(now: Timestamp, delay: Duration) -> Timestamp {
    let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(delay).unwrap_or(Timestamp::MAX_UTC)
}
