//! Whether it is worth it to send an origin more at once.
//!
//! What lives here: what a larger limit brought, and that it is given back where it brought nothing.
//! What does not: refusals and slowness ([`super::concurrency`]). The one thing to know: on one machine,
//! or behind a server with few processors, answers come a little later for each request more and no
//! faster; what waits there holds a connection, buffers and a body, up to 100 KiB a request (ADR 0027).

use std::time::Duration;

use tokio::time::Instant;

/// What is known of the limits from [`Worth::FREE`] on.
#[derive(Debug)]
pub(super) struct Worth {
    /// The limit is not raised beyond this before it is known what it brought.
    step: f64,
    /// The step before, and how long its answers took in the mean, in seconds.
    before: Option<(f64, f64)>,
    /// More was tried, and brought nothing.
    holds_until: Option<Instant>,
    seen: Seen,
}

/// The answers to what was sent since the limit is where it is.
#[derive(Debug)]
struct Seen {
    since: Instant,
    total: Duration,
    answers: u32,
}

impl Worth {
    /// So many at once need not prove anything: they are few, and less would leave gaps.
    const FREE: f64 = 64.0;
    const STEP: f64 = 1.5;
    /// A step that brings less than this share of what it adds is taken back.
    const SHARE: f64 = 0.25;
    /// Every request that fits is answered so often, before its answers are believed.
    const ANSWERS: f64 = 4.0;
    const LEAST: Duration = Duration::from_millis(50);
    const HOLDS: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Worth {
        Worth::beginning_at(Worth::FREE, Instant::now())
    }

    fn beginning_at(step: f64, now: Instant) -> Worth {
        Worth { step, before: None, holds_until: None, seen: Seen::since(now) }
    }

    /// One answer took so long.
    pub(super) fn add(&mut self, began: Instant, took: Duration) {
        if began >= self.seen.since {
            self.seen.total += took;
            self.seen.answers += 1;
        }
    }

    /// What comes after this limit, where `wanted` would if all that is more were worth it.
    pub(super) fn next(&mut self, limit: f64, wanted: f64, now: Instant) -> f64 {
        if limit > self.step {
            *self = Worth::beginning_at(limit, now);
        }
        if limit < self.step {
            self.seen = Seen::since(now);
            return wanted.min(self.step);
        }
        if let Some(until) = self.holds_until {
            if now >= until {
                *self = Worth::beginning_at(limit, now);
            }
            return limit;
        }
        let Some(mean) = self.seen.mean(limit, now) else { return limit };
        match self.before {
            Some((less, mean_then)) if !was_worth_it((less, mean_then), (limit, mean)) => {
                *self = Worth::beginning_at(less, now);
                self.holds_until = Some(now + Worth::HOLDS);
                less
            }
            Some(_) | None => {
                self.before = Some((limit, mean));
                self.step = limit * Worth::STEP;
                self.seen = Seen::since(now);
                wanted.min(self.step)
            }
        }
    }
}

impl Seen {
    fn since(now: Instant) -> Seen {
        Seen { since: now, total: Duration::ZERO, answers: 0 }
    }

    /// In seconds; nothing before enough was seen of this limit.
    fn mean(&self, limit: f64, now: Instant) -> Option<f64> {
        let answers = f64::from(self.answers);
        let is_enough = answers >= limit * Worth::ANSWERS && now - self.since >= Worth::LEAST;
        is_enough.then(|| self.total.as_secs_f64() / answers)
    }
}

/// Each with its limit and the mean of its answers: so many at once, each of which takes so long, are
/// so many a second.
fn was_worth_it(before: (f64, f64), now: (f64, f64)) -> bool {
    let answered = |(limit, mean): (f64, f64)| limit / mean.max(f64::EPSILON);
    answered(now) >= answered(before) * (1.0 + (now.0 / before.0 - 1.0) * Worth::SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// The limit after so many rounds, and the largest, of an origin whose answers take `took` at a
    /// limit. Every round raises it by a quarter where it may be raised.
    async fn after(rounds: u32, took: impl Fn(f64) -> Duration) -> (f64, f64) {
        let mut worth = Worth::new();
        let (mut limit, mut largest) = (8.0_f64, 8.0_f64);
        for _ in 0..rounds {
            let (began, took) = (Instant::now(), took(limit));
            tokio::time::advance(took).await;
            for _ in 0..limit as usize {
                worth.add(began, took);
            }
            limit = worth.next(limit, (limit * 1.25).min(512.0), Instant::now());
            largest = largest.max(limit);
        }
        (limit, largest)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_as_fast_however_much_is_sent_grows_to_the_ceiling() {
        let (limit, _) = after(100, |_| 20 * MILLI).await;

        assert_eq!(limit, 512.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_brings_nothing_is_given_back_and_not_tried_again_at_once() {
        // A processor that is busy with 64: whoever is one more makes all of them wait.
        let busy = |limit: f64| MILLI.mul_f64((limit / 64.0).max(1.0));

        let (limit, largest) = after(5_000, busy).await;

        assert_eq!((limit, largest), (64.0, 96.0));
    }

    #[tokio::test(start_paused = true)]
    async fn more_is_tried_again_after_a_while() {
        let began = Instant::now();
        let becomes_able = |limit: f64| match began.elapsed() < Duration::from_secs(5) {
            true => MILLI.mul_f64((limit / 64.0).max(1.0)),
            false => MILLI,
        };

        let (limit, _) = after(20_000, becomes_able).await;

        assert_eq!(limit, 512.0);
    }
}
