//! Which pairs are to run now: ticks, second attempts, parked items that are due, and the limit of
//! pairs at once.
//!
//! What lives here: the decisions, as a table without I/O whose time is passed in. What does not:
//! timetables (`schedule.rs`), the running itself (`serve.rs`). The one thing to know: a pair is
//! due or it is not, so however many ticks passed while it ran or waited, it runs once for all of
//! them, and never beside itself.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::schedule::{Schedule, Timetable};
use crate::state::PairId;

/// The longest wait before a failed run is started again (contract, "Configuration").
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 60);

/// What is due, and what runs.
pub struct Agenda {
    schedule: Schedule,
    pairs: BTreeMap<PairId, Entry>,
    max_running: usize,
}

/// What the agenda is told of a pair before anything ran.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub id: PairId,
    /// The wait before a failed run is started again; doubles from there.
    pub first_delay: Duration,
    /// The last run failed: it is started again after the first delay.
    pub failed: bool,
    pub parked_due_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    first_delay: Duration,
    running: bool,
    /// Since when it is to run, and why.
    due: Option<(Timestamp, Why)>,
    /// Runs that failed since the last tick or the last one that did not.
    failures: u32,
    again_at: Option<Timestamp>,
    parked_due_at: Option<Timestamp>,
}

/// Why a pair is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    Tick,
    /// The last run failed for what may pass.
    Again,
    /// A parked item is due.
    Parked,
}

/// Pairs of one publication that begin together and share a view of their source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub publication: String,
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
}

impl Agenda {
    /// At most `max_running` pairs run at once.
    pub fn new(max_running: usize) -> Agenda {
        Agenda {
            schedule: Schedule::new(),
            pairs: BTreeMap::new(),
            max_running: max_running.max(1),
        }
    }

    /// Puts a publication on the agenda. `last` is when it last ran: what was missed since then is
    /// due at once, and once.
    pub fn add(
        &mut self,
        publication: &str,
        timetable: Timetable,
        pairs: Vec<Newcomer>,
        last: Option<Timestamp>,
        now: Timestamp,
    ) {
        let runs_by_itself = timetable != Timetable::Never;
        self.schedule.set(publication, timetable, Duration::ZERO, last, now);
        for pair in pairs {
            let mut entry = Entry {
                first_delay: pair.first_delay,
                running: false,
                due: None,
                failures: 0,
                again_at: None,
                parked_due_at: None,
            };
            // What no schedule starts is left to the one who starts it.
            if runs_by_itself {
                entry.parked_due_at = pair.parked_due_at;
                if pair.failed {
                    entry.fail(now);
                }
            }
            self.pairs.insert(pair.id, entry);
        }
    }

    /// Everything that begins now, longest due first. What is returned counts as running until
    /// [`Agenda::ended`] is told of it.
    pub fn start_due(&mut self, now: Timestamp) -> Vec<Start> {
        for publication in self.schedule.due(now) {
            for (id, entry) in &mut self.pairs {
                if id.publication == publication {
                    entry.tick(now);
                }
            }
        }
        for entry in self.pairs.values_mut() {
            entry.become_due(now);
        }
        self.begin()
    }

    fn begin(&mut self) -> Vec<Start> {
        let mut waiting: Vec<(Timestamp, PairId)> = Vec::new();
        let mut free = self.max_running;
        for (id, entry) in &self.pairs {
            match entry.due {
                _ if entry.running => free = free.saturating_sub(1),
                Some((since, _)) => waiting.push((since, id.clone())),
                None => {}
            }
        }
        waiting.sort();
        let mut starts: Vec<Start> = Vec::new();
        for (_, id) in waiting.into_iter().take(free) {
            let entry = self.pairs.get_mut(&id).expect("it was found in this table");
            entry.start();
            match starts.iter_mut().find(|start| start.publication == id.publication) {
                Some(start) => start.pairs.push(id),
                None => starts.push(Start { publication: id.publication.clone(), pairs: vec![id] }),
            }
        }
        starts
    }

    pub fn ended(&mut self, id: &PairId, ending: Ending, now: Timestamp) {
        let runs_by_itself = self.schedule.next_of(&id.publication).is_some();
        let Some(entry) = self.pairs.get_mut(id) else { return };
        entry.running = false;
        match ending {
            Ending::Done { parked_due_at } => {
                entry.failures = 0;
                // Due already, though the run has just looked at it: later, or it would run on and on.
                let not_before = later(now, entry.first_delay);
                entry.parked_due_at =
                    parked_due_at.map(|due| if due <= now { not_before } else { due });
            }
            Ending::MayPass if runs_by_itself => entry.fail(now),
            Ending::MayPass | Ending::NeedsAPerson => {}
        }
    }

    pub fn is_running(&self, id: &PairId) -> bool {
        self.pairs.get(id).is_some_and(|entry| entry.running)
    }

    /// Due, and held by the limit of pairs at once.
    pub fn is_waiting(&self, id: &PairId) -> bool {
        self.pairs.get(id).is_some_and(|entry| entry.due.is_some() && !entry.running)
    }

    /// When a pair comes next, whatever starts it; `None` when nothing will.
    pub fn next_of(&self, id: &PairId) -> Option<Timestamp> {
        let entry = self.pairs.get(id)?;
        let due = entry.due.map(|(since, _)| since);
        let tick = self.schedule.next_of(&id.publication);
        [due, tick, entry.again_at, entry.parked_due_at].into_iter().flatten().min()
    }
}

impl Entry {
    /// A tick takes over from whatever was planned.
    fn tick(&mut self, now: Timestamp) {
        self.failures = 0;
        self.again_at = None;
        self.fall_due(now, Why::Tick);
    }

    fn become_due(&mut self, now: Timestamp) {
        if self.running {
            return;
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.fall_due(now, Why::Again);
        }
        if self.parked_due_at.is_some_and(|at| at <= now) {
            self.fall_due(now, Why::Parked);
        }
    }

    fn fall_due(&mut self, now: Timestamp, why: Why) {
        self.due = Some(self.due.map_or((now, why), |before| before.min((now, why))));
    }

    /// One run serves everything that was due and planned.
    fn start(&mut self) {
        self.running = true;
        self.due = None;
        self.again_at = None;
        self.parked_due_at = None;
    }

    fn fail(&mut self, now: Timestamp) {
        let doublings = self.failures.min(31);
        let delay = self.first_delay.saturating_mul(1 << doublings).min(LONGEST_DELAY);
        self.failures += 1;
        self.again_at = Some(later(now, delay));
    }
}

fn later(now: Timestamp, delay: Duration) -> Timestamp {
    let delay = TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(delay).unwrap_or(Timestamp::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        "2026-01-31T10:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::minutes(minutes)
    }

    fn pair(publication: &str, target: &str) -> PairId {
        PairId { publication: publication.to_owned(), target: target.to_owned() }
    }

    fn newcomer(id: PairId) -> Newcomer {
        Newcomer { id, first_delay: Duration::from_secs(60), failed: false, parked_due_at: None }
    }

    fn every(minutes: u64) -> Timetable {
        Timetable::every(Duration::from_secs(minutes * 60)).unwrap()
    }

    /// One publication `p` to `t`, every hour, that has just run.
    fn hourly() -> Agenda {
        let mut agenda = Agenda::new(10);
        agenda.add("p", every(60), vec![newcomer(pair("p", "t"))], Some(at(0)), at(0));
        agenda
    }

    const DONE: Ending = Ending::Done { parked_due_at: None };

    #[test]
    fn pairs_of_a_publication_begin_together() {
        let mut agenda = Agenda::new(10);
        let pairs = vec![newcomer(pair("p", "t")), newcomer(pair("p", "u"))];

        agenda.add("p", every(60), pairs, None, at(0));

        let start =
            Start { publication: "p".to_owned(), pairs: vec![pair("p", "t"), pair("p", "u")] };
        assert_eq!(agenda.start_due(at(0)), [start]);
        assert_eq!(agenda.start_due(at(1)), []);
    }

    #[test]
    fn p12_ticks_that_were_missed_while_a_run_lasted_come_once_and_never_beside_it() {
        let mut agenda = hourly();
        assert_eq!(agenda.start_due(at(60)).len(), 1);

        for minute in [120, 180, 240] {
            assert_eq!(agenda.start_due(at(minute)), [], "it still runs at {minute}");
        }
        agenda.ended(&pair("p", "t"), DONE, at(250));

        assert_eq!(agenda.start_due(at(250)).len(), 1, "once for the three");
        agenda.ended(&pair("p", "t"), DONE, at(251));
        assert_eq!(agenda.start_due(at(252)), []);
    }

    #[test]
    fn a_failed_run_is_started_again_at_doubling_delays_until_the_tick_takes_over() {
        let mut agenda = hourly();
        let mut starts = Vec::new();

        for minute in 60..=125 {
            if !agenda.start_due(at(minute)).is_empty() {
                starts.push(minute);
                agenda.ended(&pair("p", "t"), Ending::MayPass, at(minute));
            }
        }

        assert_eq!(starts, [60, 61, 63, 67, 75, 91, 120, 121, 123]);
    }

    #[test]
    fn the_delay_stops_growing_at_half_an_hour() {
        let mut agenda = Agenda::new(1);
        let nightly = Timetable::cron("0 0 9 * * *", "UTC").unwrap();
        let failed = Newcomer { failed: true, ..newcomer(pair("p", "t")) };
        agenda.add("p", nightly, vec![failed], Some(at(-60)), at(0));
        let mut starts = Vec::new();

        for minute in 0..=150 {
            if !agenda.start_due(at(minute)).is_empty() {
                starts.push(minute);
                agenda.ended(&pair("p", "t"), Ending::MayPass, at(minute));
            }
        }

        assert_eq!(starts, [1, 3, 7, 15, 31, 61, 91, 121]);
    }

    #[test]
    fn a_run_that_ends_well_ends_the_attempts() {
        let mut agenda = hourly();
        agenda.start_due(at(60));
        agenda.ended(&pair("p", "t"), Ending::MayPass, at(60));
        agenda.start_due(at(61));

        agenda.ended(&pair("p", "t"), DONE, at(61));

        assert_eq!(agenda.start_due(at(119)), []);
        assert_eq!(agenda.next_of(&pair("p", "t")), Some(at(120)));
    }

    #[test]
    fn what_needs_a_person_waits_for_the_tick() {
        let mut agenda = hourly();
        agenda.start_due(at(60));

        agenda.ended(&pair("p", "t"), Ending::NeedsAPerson, at(60));

        assert_eq!(agenda.start_due(at(119)), []);
        assert_eq!(agenda.start_due(at(120)).len(), 1);
    }

    #[test]
    fn a_parked_item_that_is_due_before_the_tick_starts_a_run_of_its_pair_alone() {
        let mut agenda = Agenda::new(10);
        let pairs = vec![newcomer(pair("p", "t")), newcomer(pair("p", "u"))];
        agenda.add("p", every(60), pairs, Some(at(0)), at(0));
        agenda.start_due(at(60));

        agenda.ended(&pair("p", "t"), Ending::Done { parked_due_at: Some(at(70)) }, at(60));
        agenda.ended(&pair("p", "u"), DONE, at(60));

        assert_eq!(agenda.next_of(&pair("p", "t")), Some(at(70)));
        assert_eq!(agenda.start_due(at(69)), []);
        let start = Start { publication: "p".to_owned(), pairs: vec![pair("p", "t")] };
        assert_eq!(agenda.start_due(at(70)), [start]);
    }

    #[test]
    fn a_parked_item_that_stays_due_does_not_make_its_pair_run_on_and_on() {
        let mut agenda = hourly();
        agenda.start_due(at(60));

        agenda.ended(&pair("p", "t"), Ending::Done { parked_due_at: Some(at(0)) }, at(60));

        assert_eq!(agenda.start_due(at(60)), []);
        assert_eq!(agenda.start_due(at(61)).len(), 1);
    }

    #[test]
    fn no_more_pairs_than_allowed_run_at_once_and_who_waits_longest_is_next() {
        let mut agenda = Agenda::new(2);
        for name in ["a", "b", "c", "d"] {
            agenda.add(name, every(1), vec![newcomer(pair(name, "t"))], None, at(0));
        }

        let first = agenda.start_due(at(0));
        assert_eq!(names(&first), ["a", "b"]);
        assert!(agenda.is_waiting(&pair("c", "t")));
        agenda.ended(&pair("a", "t"), DONE, at(1));

        // `a` is due again by now, but `c` and `d` have waited longer.
        assert_eq!(names(&agenda.start_due(at(1))), ["c"]);
        assert!(agenda.is_waiting(&pair("a", "t")));
    }

    #[test]
    fn a_publication_without_a_schedule_never_starts_by_itself() {
        let mut agenda = Agenda::new(2);
        let due = Newcomer { failed: true, parked_due_at: Some(at(0)), ..newcomer(pair("p", "t")) };

        agenda.add("p", Timetable::Never, vec![due], Some(at(0)), at(0));

        assert_eq!(agenda.start_due(at(10_000)), []);
        assert_eq!(agenda.next_of(&pair("p", "t")), None);
    }

    fn names(starts: &[Start]) -> Vec<&str> {
        starts.iter().map(|start| start.publication.as_str()).collect()
    }
}
