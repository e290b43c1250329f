//! Backups of the state while the daemon runs: when the next one is due, and what is said of it.
//!
//! What lives here: the times. What does not: the files (`state/backup.rs`). The one thing to know:
//! a backup that fails is a line in the log and a number for an alert, and nothing else: runs go
//! on, and it is tried again.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::metrics::Metrics;
use crate::state::StateStore;
use crate::state::backup::Backups;
use crate::telemetry;

/// Between two looks at the clock on the wall, which may be set in between.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// After a backup that failed, unless the next one comes sooner.
const TRY_AGAIN: Duration = Duration::from_secs(15 * 60);

/// What it takes to make a backup every so often.
pub struct BackupRound {
    pub backups: Backups,
    /// At least a second.
    pub every: Duration,
    pub store: Arc<dyn StateStore>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl BackupRound {
    /// Makes backups until `stop`. The newest file says when the last one was made, so that a
    /// daemon that is started often makes them as often as any other.
    pub async fn go_on(self, stop: CancellationToken) {
        let mut last = self.newest().await;
        self.metrics.backed_up(last);
        let mut wait = self.every;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            if is_due(last, wait, now) {
                (last, wait) = self.attempt(last, now).await;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_AGAIN.min(wait)) => {}
            }
        }
    }

    async fn newest(&self) -> Option<Timestamp> {
        let backups = self.backups.clone();
        let newest = tokio::task::spawn_blocking(move || backups.newest()).await;
        match newest.expect("looking for backups does not panic") {
            Ok(newest) => newest,
            Err(error) => {
                // The attempt that is due now says more of it, if it stays so.
                tracing::debug!(error = telemetry::chain(&error), "no backup was found");
                None
            }
        }
    }

    /// The moment from which the next wait counts, and how long it is.
    async fn attempt(
        &self,
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> (Option<Timestamp>, Duration) {
        match self.backups.write(&self.store, now).await {
            Ok(Some(path)) => {
                tracing::info!(path = %path.display(), "state backed up");
                self.metrics.backed_up(Some(now));
                (Some(now), self.every)
            }
            // There is nothing yet that could be lost.
            Ok(None) => (last, self.every),
            Err(error) => {
                tracing::warn!(
                    error = telemetry::chain(&error),
                    "no backup of the state was made: runs go on, and it is tried again"
                );
                self.metrics.backup_failed();
                (Some(now), TRY_AGAIN.min(self.every))
            }
        }
    }
}

/// P11: a clock that went back makes nothing wait for the day that it came from.
fn is_due(last: Option<Timestamp>, wait: Duration, now: Timestamp) -> bool {
    let Some(last) = last else { return true };
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    last > now || now.signed_duration_since(last) >= wait
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::state::{MemoryStore, PairId, PairState, Step};
    use crate::tasks::Tasks;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A round whose clock is in the test's hand, beside tokio's own, which is paused.
    struct Held {
        clock: Clock,
        metrics: Arc<Metrics>,
        tasks: Tasks,
    }

    async fn store() -> Arc<dyn StateStore> {
        let store = MemoryStore::new();
        let pair = PairId { publication: "a".to_owned(), target: "state".to_owned() };
        let step = Step { state: Some(PairState::default()), ..Step::default() };
        store.commit(&pair, step).await.unwrap();
        Arc::new(store)
    }

    impl Held {
        async fn start(directory: &Path, every: Duration, clock: &Clock) -> Held {
            let metrics = Arc::new(Metrics::new(&[], &[], 0));
            let tasks = Tasks::new();
            let round = BackupRound {
                backups: Backups { directory: directory.join("backups"), keep: 3 },
                every,
                store: store().await,
                clock: clock.clone(),
                metrics: Arc::clone(&metrics),
            };
            tasks.spawn("backups", round.go_on(tasks.stop_token()));
            let held = Held { clock: clock.clone(), metrics, tasks };
            held.pass(1).await;
            held
        }

        /// So many minutes, on the wall and in the process.
        async fn pass(&self, minutes: u32) {
            for _ in 0..minutes {
                self.clock.advance(TimeDelta::from_std(MINUTE).unwrap());
                tokio::time::sleep(MINUTE).await;
            }
        }

        fn sample(&self, name: &str) -> i64 {
            let text = self.metrics.text();
            let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        }
    }

    /// The minutes after the beginning at which there are backups.
    fn minutes(directory: &Path) -> Vec<i64> {
        let mut minutes: Vec<i64> = std::fs::read_dir(directory.join("backups"))
            .unwrap()
            .map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let moment =
                    chrono::NaiveDateTime::parse_from_str(&name, "tidemark-%Y%m%dT%H%M%SZ.jsonl");
                (moment.unwrap().and_utc() - beginning()).num_minutes()
            })
            .collect();
        minutes.sort_unstable();
        minutes
    }

    fn beginning() -> Timestamp {
        "2026-01-31T10:00:00Z".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn backups_are_made_every_so_often_and_the_newest_kept() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::held_at(beginning());

        let held = Held::start(directory.path(), 30 * MINUTE, &clock).await;
        let first = minutes(directory.path());
        held.pass(28).await;
        let not_yet = minutes(directory.path());
        held.pass(100).await;
        held.tasks.stop().await;

        assert_eq!((first.len(), not_yet.len()), (1, 1));
        let there = minutes(directory.path());
        let apart: Vec<i64> = there.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(apart, [30, 30], "{there:?}");
        let last = held.sample("tidemark_last_backup_timestamp_seconds");
        assert_eq!(last, beginning().timestamp() + there[2] * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_starts_again_goes_by_the_newest_file() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::held_at(beginning());
        Held::start(directory.path(), 60 * MINUTE, &clock).await.tasks.stop().await;
        let first = minutes(directory.path());

        for _ in 0..5 {
            let again = Held::start(directory.path(), 60 * MINUTE, &clock).await;
            again.pass(8).await;
            again.tasks.stop().await;
        }
        let before = minutes(directory.path());
        let last = Held::start(directory.path(), 60 * MINUTE, &clock).await;
        let told = last.sample("tidemark_last_backup_timestamp_seconds");
        last.pass(15).await;
        last.tasks.stop().await;

        assert_eq!(before, first, "five starts within the hour make no backup");
        assert_eq!(told, beginning().timestamp() + first[0] * 60);
        let there = minutes(directory.path());
        assert_eq!(there.len(), 2, "{there:?}");
        assert!((60..=61).contains(&(there[1] - there[0])), "{there:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_backup_that_fails_is_counted_and_tried_again_soon() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::held_at(beginning());
        let in_the_way = directory.path().join("backups");
        std::fs::write(&in_the_way, b"a file").unwrap();

        let held = Held::start(directory.path(), 24 * 60 * MINUTE, &clock).await;
        let failed = held.sample("tidemark_failed_backups_total");
        std::fs::remove_file(&in_the_way).unwrap();
        held.pass(16).await;
        held.tasks.stop().await;

        assert_eq!(failed, 1);
        assert_eq!(held.sample("tidemark_failed_backups_total"), 1);
        assert_eq!(minutes(directory.path()).len(), 1, "a quarter of an hour later");
    }

    /// P11.
    #[test]
    fn a_clock_that_went_back_makes_nothing_wait_for_the_day_it_came_from() {
        let at = |minutes| beginning() + TimeDelta::minutes(minutes);
        for (case, last, now, expected) in [
            ("never", None, at(0), true),
            ("just now", Some(at(0)), at(0), false),
            ("not yet", Some(at(0)), at(59), false),
            ("now", Some(at(0)), at(60), true),
            ("from the future", Some(at(600)), at(0), true),
        ] {
            assert_eq!(is_due(last, 60 * MINUTE, now), expected, "{case}");
        }
    }
}
