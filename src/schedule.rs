//! Cron text to triggers: when is a publication due?
//!
//! What lives here: timetables, the table of what is due, and the bell that says "look again". What
//! does not: who runs, and whether it still does. The one thing to know: the cron crate only rings
//! the bell, once a second for everybody. Due times are worked out here, from the wall time that is
//! passed in: the crate drops ticks when many jobs are due at once, forgets daylight saving, and
//! lets a job overlap itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::clock::Timestamp;

/// When something happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Timetable {
    Cron(Box<CronTimes>),
    /// So long after the last time, at least a second.
    Every(Duration),
    Never,
}

/// A cron text with seconds, read in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct CronTimes {
    cron: Cron,
    zone: Tz,
}

/// Why a schedule cannot be used. The message is for the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "`{text}` is not a cron text with seconds: {what}; six fields are wanted, as in `0 */15 * * * *` for every quarter of an hour"
    )]
    NotCron { text: String, what: String },

    #[error("`{text}` never comes: no such date exists in any year")]
    NeverComes { text: String },

    #[error(
        "`{zone}` is not a time zone: write a name of the tz database such as `America/Chicago`, or `UTC`"
    )]
    UnknownZone { zone: String },

    #[error("`every` is shorter than a second: write `1s` or more")]
    TooOften,

    #[error("the clock that rings every second could not be started: {what}")]
    NoBell { what: String },
}

impl Timetable {
    /// `text` has six fields, seconds first, or seven with a year; `zone` is a name of the tz
    /// database.
    pub fn cron(text: &str, zone: &str) -> Result<Timetable, ScheduleError> {
        let zone: Tz =
            zone.parse().map_err(|_| ScheduleError::UnknownZone { zone: zone.to_owned() })?;
        let cron = CronParser::builder().seconds(Seconds::Required).build().parse(text).map_err(
            |error| ScheduleError::NotCron {
                text: text.to_owned(),
                what: error.to_string().trim_end_matches('.').to_owned(),
            },
        )?;
        let times = CronTimes { cron, zone };
        // 30 February parses; better said now than waited for.
        if times.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(ScheduleError::NeverComes { text: text.to_owned() });
        }
        Ok(Timetable::Cron(Box::new(times)))
    }

    pub fn every(interval: Duration) -> Result<Timetable, ScheduleError> {
        if interval < Duration::from_secs(1) {
            return Err(ScheduleError::TooOften);
        }
        Ok(Timetable::Every(interval))
    }

    /// The first moment after `moment`; `None` when there is none.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Timetable::Cron(times) => times.next_after(moment),
            Timetable::Every(interval) => {
                moment.checked_add_signed(TimeDelta::from_std(*interval).ok()?)
            }
            Timetable::Never => None,
        }
    }
}

impl CronTimes {
    /// A time that the clocks skip comes at the moment to which they jump; a time of day that they
    /// repeat comes once, the first time; a pattern of every so many minutes goes on through both.
    fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let local = moment.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(next.to_utc())
    }
}

/// Our own table of what is due.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<String, Entry>,
    /// Every entry that comes, by when: a look costs what is due, however many stand on the table.
    queue: BTreeSet<(Timestamp, String)>,
    /// The last look, if nothing was put on the table since: until the clock goes back, no entry has
    /// to be looked at before it comes.
    looked_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Entry {
    timetable: Timetable,
    /// How long after each cron time its own moment comes.
    offset: TimeDelta,
    next: Option<Timestamp>,
}

impl Schedule {
    pub fn new() -> Schedule {
        Schedule::default()
    }

    /// Puts `name` on the table, in place of what stood there under it. `spread`: each name has its
    /// own fixed moment within so long after every cron time. `last` is when it started last: what
    /// was missed since then is due at once, and once. What never started waits for its first cron
    /// time, or begins at its moment within the spread where it is to happen every so often.
    pub fn set(
        &mut self,
        name: &str,
        timetable: Timetable,
        spread: Duration,
        last: Option<Timestamp>,
        now: Timestamp,
    ) {
        let mut entry = Entry { timetable, offset: offset_of(name, spread), next: None };
        entry.next = match (&entry.timetable, last) {
            (Timetable::Every(_), None) => now.checked_add_signed(entry.offset),
            (_, last) => entry.next_after(last.unwrap_or(now)),
        };
        self.put(name, entry);
    }

    /// Puts `name` on the table as it was planned before a restart. What was planned for a moment
    /// that has passed is due at once; what is farther away than the timetable says was planned by
    /// a clock that was wrong.
    pub fn resume(
        &mut self,
        name: &str,
        timetable: Timetable,
        spread: Duration,
        planned: Timestamp,
        now: Timestamp,
    ) {
        let mut entry = Entry { timetable, offset: offset_of(name, spread), next: None };
        let next = entry.next_after(now);
        entry.next = next.map(|next| next.min(planned));
        self.put(name, entry);
    }

    fn put(&mut self, name: &str, entry: Entry) {
        self.remove(name);
        self.queue.extend(entry.next.map(|next| (next, name.to_owned())));
        self.entries.insert(name.to_owned(), entry);
        self.looked_at = None;
    }

    /// The tick to which the next moment of `name` belongs: the moment less the name's own place
    /// in the spread.
    pub fn tick_of(&self, name: &str) -> Option<Timestamp> {
        let entry = self.entries.get(name)?;
        match entry.timetable {
            Timetable::Cron(_) => entry.next?.checked_sub_signed(entry.offset),
            Timetable::Every(_) | Timetable::Never => entry.next,
        }
    }

    pub fn remove(&mut self, name: &str) {
        let Some(entry) = self.entries.remove(name) else { return };
        if let Some(next) = entry.next {
            self.queue.remove(&(next, name.to_owned()));
        }
    }

    /// When `name` comes next, for people to see.
    pub fn next_of(&self, name: &str) -> Option<Timestamp> {
        self.entries.get(name)?.next
    }

    /// Whether `name` stands on the table.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Everything that is due, in order of name, each once however many of its times have passed
    /// (P12). What is returned is no longer due: whoever asks decides what to do when it still runs.
    pub fn due(&mut self, now: Timestamp) -> Vec<String> {
        self.due_with_ticks(now).into_iter().map(|(name, _)| name).collect()
    }

    /// The same, each with the tick that it belonged to.
    pub fn due_with_ticks(&mut self, now: Timestamp) -> Vec<(String, Option<Timestamp>)> {
        if self.looked_at.is_none_or(|before| now < before) {
            self.mind_a_clock_that_went_back(now);
        }
        self.looked_at = Some(now);
        let mut due = Vec::new();
        while self.queue.first().is_some_and(|(next, _)| *next <= now) {
            let (_, name) = self.queue.pop_first().expect("there is a first one");
            due.push((name.clone(), self.tick_of(&name)));
        }
        due.sort();
        for (name, _) in &due {
            let entry = self.entries.get_mut(name).expect("whatever is in the queue has an entry");
            entry.next = entry.next_when_due(now);
            self.queue.extend(entry.next.map(|next| (next, name.clone())));
        }
        due
    }

    fn mind_a_clock_that_went_back(&mut self, now: Timestamp) {
        for (name, entry) in &mut self.entries {
            let before = entry.next;
            entry.mind_a_clock_that_went_back(now);
            if entry.next == before {
                continue;
            }
            self.queue.extend(entry.next.map(|next| (next, name.clone())));
            if let Some(before) = before {
                self.queue.remove(&(before, name.clone()));
            }
        }
    }
}

impl Entry {
    fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self.timetable {
            Timetable::Cron(_) => {
                let earlier = moment.checked_sub_signed(self.offset)?;
                self.timetable.next_after(earlier)?.checked_add_signed(self.offset)
            }
            Timetable::Every(_) | Timetable::Never => self.timetable.next_after(moment),
        }
    }

    /// An interval is counted from when it was due, not from when somebody looked, or every look
    /// would make it longer; from now where whole intervals were missed.
    fn next_when_due(&self, now: Timestamp) -> Option<Timestamp> {
        let on_time = match self.timetable {
            Timetable::Every(_) => self.next.and_then(|next| self.timetable.next_after(next)),
            Timetable::Cron(_) | Timetable::Never => None,
        };
        on_time.filter(|next| *next > now).or_else(|| self.next_after(now))
    }

    /// An interval never waits longer than itself (P11). A cron time that has been does not come
    /// again: running a nightly job twice is worse than running it when it is next due.
    fn mind_a_clock_that_went_back(&mut self, now: Timestamp) {
        if let (Timetable::Every(_), Some(latest)) =
            (&self.timetable, self.timetable.next_after(now))
        {
            self.next = self.next.min(Some(latest));
        }
    }
}

/// The same for a name wherever and whenever it is asked, so that a pair keeps its place in the
/// night.
fn offset_of(name: &str, spread: Duration) -> TimeDelta {
    let spread = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
    if spread == 0 {
        return TimeDelta::zero();
    }
    let hash = Sha256::digest(name.as_bytes());
    let (first, _) = hash.split_first_chunk::<8>().expect("a SHA-256 hash has 32 bytes");
    let millis = u64::from_be_bytes(*first) % spread;
    i64::try_from(millis).ok().and_then(TimeDelta::try_milliseconds).unwrap_or_default()
}

/// Rings once a second. It says "look again", never what is due.
pub struct Bell {
    scheduler: JobScheduler,
    rings: Arc<Notify>,
}

impl Bell {
    pub async fn start() -> Result<Bell, ScheduleError> {
        let rings = Arc::new(Notify::new());
        let scheduler = JobScheduler::new().await.map_err(|error| no_bell(&error))?;
        let ringing = Arc::clone(&rings);
        // Not repeated and not in a zone: both of those are broken in the crate.
        let job = Job::new("* * * * * *", move |_, _| ringing.notify_one())
            .map_err(|error| no_bell(&error))?;
        scheduler.add(job).await.map_err(|error| no_bell(&error))?;
        scheduler.start().await.map_err(|error| no_bell(&error))?;
        Ok(Bell { scheduler, rings })
    }

    /// Waits for the next ring. Rings that nobody waited for count as one.
    pub async fn rung(&self) {
        self.rings.notified().await;
    }

    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "the clock that rings every second did not stop in order");
        }
    }
}

fn no_bell(error: &tokio_cron_scheduler::JobSchedulerError) -> ScheduleError {
    ScheduleError::NoBell { what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn times(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let timetable = Timetable::cron(text, zone).unwrap();
        let mut moment = at(from);
        let mut times = Vec::new();
        for _ in 0..count {
            moment = timetable.next_after(moment).unwrap();
            times.push(moment.format("%m-%dT%H:%M:%SZ").to_string());
        }
        times
    }

    #[test]
    fn cron_times_follow_the_clocks_on_the_wall() {
        for (case, text, zone, from, expected) in [
            (
                "every quarter of an hour",
                "0 */15 * * * *",
                "UTC",
                "2026-01-31T10:07:30Z",
                ["01-31T10:15:00Z", "01-31T10:30:00Z", "01-31T10:45:00Z"],
            ),
            (
                "Berlin at eight in the evening, summer beginning",
                "0 0 20 * * *",
                "Europe/Berlin",
                "2026-03-27T20:00:00Z",
                ["03-28T19:00:00Z", "03-29T18:00:00Z", "03-30T18:00:00Z"],
            ),
            (
                "Chicago at eight in the evening, summer ending",
                "0 0 20 * * *",
                "America/Chicago",
                "2026-10-30T12:00:00Z",
                ["10-31T01:00:00Z", "11-01T01:00:00Z", "11-02T02:00:00Z"],
            ),
            (
                "Berlin, a time that the clocks skip comes when they have jumped",
                "0 30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T00:00:00Z",
                ["03-28T01:30:00Z", "03-29T01:00:00Z", "03-30T00:30:00Z"],
            ),
            (
                "Chicago, a time that the clocks skip comes when they have jumped",
                "0 30 2 * * *",
                "America/Chicago",
                "2026-03-07T00:00:00Z",
                ["03-07T08:30:00Z", "03-08T08:00:00Z", "03-09T07:30:00Z"],
            ),
            (
                "Berlin, a time that the clocks repeat comes once",
                "0 30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T00:00:00Z",
                ["10-24T00:30:00Z", "10-25T00:30:00Z", "10-26T01:30:00Z"],
            ),
            (
                "Chicago, a time that the clocks repeat comes once",
                "0 30 1 * * *",
                "America/Chicago",
                "2026-10-31T00:00:00Z",
                ["10-31T06:30:00Z", "11-01T06:30:00Z", "11-02T07:30:00Z"],
            ),
            (
                "Berlin, every half hour goes on through the repeated hour",
                "0 */30 * * * *",
                "Europe/Berlin",
                "2026-10-25T00:15:00Z",
                ["10-25T00:30:00Z", "10-25T01:00:00Z", "10-25T01:30:00Z"],
            ),
            (
                "Berlin, every half hour goes on over the skipped hour",
                "0 */30 * * * *",
                "Europe/Berlin",
                "2026-03-29T00:15:00Z",
                ["03-29T00:30:00Z", "03-29T01:00:00Z", "03-29T01:30:00Z"],
            ),
        ] {
            assert_eq!(times(text, zone, from, 3), expected, "{case}");
        }
    }

    #[test]
    fn a_leap_day_is_waited_for() {
        let timetable = Timetable::cron("0 0 0 29 2 *", "UTC").unwrap();

        assert_eq!(
            timetable.next_after(at("2026-01-01T00:00:00Z")),
            Some(at("2028-02-29T00:00:00Z"))
        );
    }

    #[test]
    fn a_year_that_has_passed_does_not_come_again() {
        let timetable = Timetable::cron("0 0 0 1 1 * 2020", "UTC").unwrap();

        assert_eq!(timetable.next_after(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn what_cannot_be_a_schedule_is_refused_with_the_way_out() {
        for (case, refused, says) in [
            ("five fields", Timetable::cron("*/15 * * * *", "UTC"), "six fields are wanted"),
            ("nonsense", Timetable::cron("at noon", "UTC"), "six fields are wanted"),
            ("out of range", Timetable::cron("0 61 * * * *", "UTC"), "six fields are wanted"),
            ("no such date", Timetable::cron("0 0 0 31 2 *", "UTC"), "never comes"),
            (
                "no such zone",
                Timetable::cron("0 0 0 * * *", "Berlin"),
                "`Berlin` is not a time zone",
            ),
            ("too often", Timetable::every(Duration::from_millis(10)), "`1s` or more"),
        ] {
            let message = refused.expect_err(case).to_string();

            assert!(message.contains(says), "{case}: {message}");
        }
    }

    #[test]
    fn missed_times_come_once() {
        let mut schedule = Schedule::new();
        let start = at("2026-01-31T10:00:00Z");
        schedule.set(
            "a",
            Timetable::cron("0 */15 * * * *", "UTC").unwrap(),
            Duration::ZERO,
            None,
            start,
        );
        schedule.set(
            "b",
            Timetable::every(Duration::from_secs(60)).unwrap(),
            Duration::ZERO,
            Some(start),
            start,
        );

        let late = at("2026-01-31T12:07:00Z");

        assert_eq!(schedule.due(late), ["a", "b"]);
        assert_eq!(schedule.due(late), [""; 0]);
        assert_eq!(schedule.next_of("a"), Some(at("2026-01-31T12:15:00Z")));
        assert_eq!(schedule.next_of("b"), Some(at("2026-01-31T12:08:00Z")));
    }

    #[test]
    fn an_interval_is_not_made_longer_by_late_looks() {
        let mut schedule = Schedule::new();
        let start = at("2026-01-31T10:00:00Z");
        let often = Timetable::every(Duration::from_secs(2)).unwrap();
        schedule.set("it", often, Duration::ZERO, None, start);

        let mut came = 0;
        for second in 0..60 {
            let look =
                start + TimeDelta::seconds(second) + TimeDelta::milliseconds(second * 37 % 500);
            came += schedule.due(look).len();
        }

        assert_eq!(came, 30);
    }

    #[test]
    fn a_new_entry_is_due_when_its_history_says_so() {
        let now = at("2026-01-31T10:00:00Z");
        let nightly = || Timetable::cron("0 0 20 * * *", "UTC").unwrap();
        let often = || Timetable::every(Duration::from_secs(600)).unwrap();
        for (case, timetable, last, due) in [
            ("nightly, never ran", nightly(), None, false),
            ("nightly, ran last night", nightly(), Some("2026-01-30T20:00:01Z"), false),
            ("nightly, missed last night", nightly(), Some("2026-01-29T20:00:01Z"), true),
            ("every ten minutes, never ran", often(), None, true),
            ("every ten minutes, ran just now", often(), Some("2026-01-31T09:55:00Z"), false),
            ("every ten minutes, ran long ago", often(), Some("2026-01-31T09:45:00Z"), true),
            ("never", Timetable::Never, Some("2026-01-01T00:00:00Z"), false),
        ] {
            let mut schedule = Schedule::new();

            schedule.set("it", timetable, Duration::ZERO, last.map(at), now);

            assert_eq!(!schedule.due(now).is_empty(), due, "{case}");
        }
    }

    #[test]
    fn what_was_planned_before_a_restart_is_kept_unless_the_clock_was_wrong() {
        let now = at("2026-01-31T21:00:00Z");
        let nightly = || Timetable::cron("0 0 20 * * *", "UTC").unwrap();
        let often = || Timetable::every(Duration::from_secs(600)).unwrap();
        for (case, timetable, planned, next) in [
            ("missed tonight", nightly(), "2026-01-31T20:00:00Z", "2026-01-31T20:00:00Z"),
            ("missed three nights", nightly(), "2026-01-29T20:00:00Z", "2026-01-29T20:00:00Z"),
            ("tomorrow", nightly(), "2026-02-01T20:00:00Z", "2026-02-01T20:00:00Z"),
            ("planned in a year", nightly(), "2027-01-31T20:00:00Z", "2026-02-01T20:00:00Z"),
            ("in five minutes", often(), "2026-01-31T21:05:00Z", "2026-01-31T21:05:00Z"),
            ("planned in an hour", often(), "2026-01-31T22:00:00Z", "2026-01-31T21:10:00Z"),
        ] {
            let mut schedule = Schedule::new();

            schedule.resume("it", timetable, Duration::ZERO, at(planned), now);

            assert_eq!(schedule.next_of("it"), Some(at(next)), "{case}");
            assert_eq!(schedule.due(now).len(), usize::from(at(next) <= now), "{case}");
            assert_eq!(schedule.due(now), [""; 0], "{case}: once");
        }
    }

    #[test]
    fn a_moment_within_the_spread_knows_its_tick() {
        let mut schedule = Schedule::new();
        let nightly = Timetable::cron("0 0 20 * * *", "UTC").unwrap();
        let spread = Duration::from_secs(4 * 3600);

        schedule.set("it", nightly, spread, None, at("2026-01-31T12:00:00Z"));

        assert_eq!(schedule.tick_of("it"), Some(at("2026-01-31T20:00:00Z")));
        assert_ne!(schedule.next_of("it"), schedule.tick_of("it"));
    }

    #[test]
    fn p11_a_clock_that_goes_back_neither_stalls_an_interval_nor_repeats_a_night() {
        let mut schedule = Schedule::new();
        let before = at("2026-01-31T20:30:00Z");
        schedule.set(
            "often",
            Timetable::every(Duration::from_secs(60)).unwrap(),
            Duration::ZERO,
            None,
            before,
        );
        schedule.set(
            "nightly",
            Timetable::cron("0 0 20 * * *", "UTC").unwrap(),
            Duration::ZERO,
            None,
            before,
        );
        schedule.due(before);

        let an_hour_back = at("2026-01-31T19:30:00Z");

        assert_eq!(schedule.due(an_hour_back), [""; 0]);
        assert_eq!(schedule.next_of("often"), Some(at("2026-01-31T19:31:00Z")));
        assert_eq!(schedule.due(at("2026-01-31T20:00:00Z")), ["often"]);
    }

    #[test]
    fn what_is_put_on_the_table_again_comes_when_it_was_put_last() {
        let mut schedule = Schedule::new();
        let now = at("2026-01-31T10:00:00Z");
        let every = |minutes: u64| Timetable::every(Duration::from_secs(minutes * 60)).unwrap();
        for name in ["often", "gone", "often"] {
            schedule.set(name, every(10), Duration::ZERO, Some(now), now);
        }
        schedule.set("often", every(20), Duration::ZERO, Some(now), now);
        schedule.remove("gone");

        assert_eq!(schedule.due(at("2026-01-31T10:15:00Z")), [""; 0]);
        let came = schedule.due_with_ticks(at("2026-01-31T10:20:00Z"));
        assert_eq!(came, [("often".to_owned(), Some(at("2026-01-31T10:20:00Z")))]);
        assert_eq!(schedule.due(at("2026-01-31T10:40:00Z")), ["often"]);
    }

    #[test]
    fn a_spread_gives_each_name_its_own_fixed_moment_after_the_tick() {
        let spread = Duration::from_secs(4 * 3600);
        let nightly = Timetable::cron("0 0 20 * * *", "UTC").unwrap();
        let now = at("2026-01-31T21:00:00Z");
        let last_night = at("2026-01-30T20:00:00Z");
        let mut moments = std::collections::BTreeSet::new();

        for number in 0..50 {
            let name = format!("pair-{number}");
            let mut schedule = Schedule::new();
            schedule.set(&name, nightly.clone(), spread, None, last_night - TimeDelta::hours(1));
            let moment = schedule.next_of(&name).unwrap();
            schedule.set(&name, nightly.clone(), spread, Some(moment), now);

            let offset = moment - last_night;
            assert!(offset < TimeDelta::hours(4), "{name} comes {offset} after the tick");
            assert_eq!(schedule.next_of(&name), Some(moment + TimeDelta::days(1)), "{name}");
            moments.insert(moment);
        }

        assert!(moments.len() > 40, "{} moments for 50 names", moments.len());
    }

    #[tokio::test]
    async fn the_bell_rings_until_it_is_stopped() {
        let bell = Bell::start().await.unwrap();

        for ring in 1..=2 {
            let rung = tokio::time::timeout(Duration::from_secs(30), bell.rung()).await;

            assert!(rung.is_ok(), "ring {ring} did not come");
        }
        bell.stop().await;
    }

    #[test]
    fn five_thousand_at_one_second_are_all_due() {
        let mut schedule = Schedule::new();
        let now = at("2026-01-31T10:00:00Z");
        let tick = Timetable::cron("0 */15 * * * *", "UTC").unwrap();
        for number in 0..5000 {
            schedule.set(&format!("pair-{number}"), tick.clone(), Duration::ZERO, None, now);
        }

        let due = schedule.due(at("2026-01-31T10:15:00Z"));

        assert_eq!(due.len(), 5000);
    }
}
