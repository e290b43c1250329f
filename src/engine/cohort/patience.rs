//! How long those who are ahead wait for those behind them.
//!
//! Members that are equally fast drift apart, and whoever is left behind reads alone from there; a
//! moment later it would have come. One that is slow must not slow the others (I13). What tells them
//! apart is how long they are waited for: the one thing to know is that all waiting of a cohort,
//! whoever waits and for whom, is a moment and a small part of the time for which it has read without.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// However short the time for which they have read: what a page takes that is nearly done.
const A_MOMENT: Duration = Duration::from_millis(100);

/// Beyond that: for so many seconds of reading, one of waiting.
const FOR_ONE_OF_WAITING: u32 = 32;

/// At one time, however long they have read: who takes no page for so long stands still.
const LONGEST: Duration = Duration::from_secs(30);

/// What the members of a cohort have waited for each other.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    /// When it was first asked for.
    began: Option<Instant>,
    /// How many wait now, and since when anybody does.
    here: usize,
    since: Option<Instant>,
    /// Before that. Several who waited at one moment have waited once: no member was held up longer.
    waited: Duration,
}

/// Somebody waits until this is dropped.
pub(super) struct Waiting<'a> {
    patience: &'a Patience,
}

impl Patience {
    /// How long somebody who waits from now on may do so.
    pub(super) fn left(&self) -> Duration {
        let now = Instant::now();
        let mut waits = self.waits();
        let began = *waits.began.get_or_insert(now);
        let this_time = waits.since.map_or(Duration::ZERO, |since| now - since);
        let waited = waits.waited + this_time;
        let read = (now - began).saturating_sub(waited);
        let in_all = (A_MOMENT + read / FOR_ONE_OF_WAITING).saturating_sub(waited);
        in_all.min(LONGEST.saturating_sub(this_time))
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        let mut waits = self.waits();
        waits.here += 1;
        waits.since.get_or_insert_with(Instant::now);
        Waiting { patience: self }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().expect("nothing panics while it holds the waits")
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waits = self.patience.waits();
        waits.here -= 1;
        if waits.here == 0
            && let Some(since) = waits.since.take()
        {
            waits.waited += since.elapsed();
        }
    }
}
