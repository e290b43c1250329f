//! How much is logged for a while: somebody says so, and it goes back by itself.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::desk::LogLevelShown;
use crate::telemetry::{LogLevel, LogSwitch};

pub(super) struct Verbosity {
    /// `None` where the process logs through something else.
    switch: Option<LogSwitch>,
    clock: Clock,
    now: Mutex<Option<ForAWhile>>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct ForAWhile {
    level: LogLevel,
    until: Timestamp,
    ends: Instant,
}

impl Verbosity {
    pub(super) fn new(switch: Option<LogSwitch>, clock: Clock) -> Verbosity {
        Verbosity { switch, clock, now: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn shown(&self) -> Option<LogLevelShown> {
        let usual = self.switch.as_ref()?.usual();
        let now = *self.now();
        let level = now.map_or(usual, |now| now.level).to_string();
        Some(LogLevelShown { level, until: now.map(|now| now.until) })
    }

    /// `false` where nobody can.
    pub(super) fn set(&self, level: LogLevel, lasting: Duration) -> bool {
        let Some(switch) = &self.switch else { return false };
        let until = TimeDelta::from_std(lasting).ok();
        let until = until.and_then(|lasting| self.clock.now().checked_add_signed(lasting));
        let until = until.unwrap_or(Timestamp::MAX_UTC);
        *self.now() = Some(ForAWhile { level, until, ends: Instant::now() + lasting });
        switch.set(level);
        tracing::info!(%level, %until, "another log level for a while");
        self.changed.notify_one();
        true
    }

    /// Sees to it that it goes back, until `stop`.
    pub(super) async fn go_on(&self, stop: CancellationToken) {
        loop {
            let ends = self.now().map(|now| now.ends);
            let over = async {
                match ends {
                    Some(ends) => tokio::time::sleep_until(ends).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                () = over => self.back(),
            }
        }
    }

    fn back(&self) {
        let Some(switch) = &self.switch else { return };
        *self.now() = None;
        switch.set(switch.usual());
        tracing::info!(level = %switch.usual(), "the log level is what it was");
    }

    fn now(&self) -> MutexGuard<'_, Option<ForAWhile>> {
        self.now.lock().expect("nothing panics while it holds the log level")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_back_by_itself_and_the_last_word_counts() {
        let clock = Clock::held_at(Timestamp::UNIX_EPOCH);
        let verbosity = Verbosity::new(Some(LogSwitch::of_nothing(LogLevel::default())), clock);
        let level = || verbosity.shown().unwrap().level;
        let stop = CancellationToken::new();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);

        let watched = async {
            assert_eq!(level(), "info");
            assert!(verbosity.set("debug".parse().unwrap(), minutes(1)));
            tokio::time::sleep(minutes(1) - Duration::from_secs(1)).await;
            assert_eq!(level(), "debug");
            assert!(verbosity.set("trace".parse().unwrap(), minutes(10)));
            tokio::time::sleep(minutes(9)).await;
            assert_eq!(level(), "trace", "the first word is no longer kept");
            tokio::time::sleep(minutes(2)).await;
            assert_eq!(level(), "info");
            stop.cancel();
        };
        tokio::join!(verbosity.go_on(stop.clone()), watched);

        assert_eq!(verbosity.shown().unwrap().until, None);
    }
}
