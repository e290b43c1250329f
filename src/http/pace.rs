//! A ceiling on requests per second, as evenly spaced moments on tokio's clock.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Hands out the next free moment; at most so many of them fall into any second.
#[derive(Debug)]
pub(super) struct Pace {
    /// The distance between two moments; none where there is no ceiling.
    spacing: Option<Duration>,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// `per_second` of 0 means no ceiling.
    pub(super) fn new(per_second: u32) -> Pace {
        let spacing = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        Pace { spacing, next: Mutex::new(None) }
    }

    /// The moment at which the caller may send: now, or later.
    pub(super) fn take_turn(&self) -> Option<Instant> {
        let spacing = self.spacing?;
        let now = Instant::now();
        let mut next = self.next.lock().expect("nothing panics while it holds the pace");
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + spacing);
        (turn > now).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_a_spacing_apart() {
        let pace = Pace::new(10);
        let began = Instant::now();

        for _ in 0..21 {
            if let Some(turn) = pace.take_turn() {
                tokio::time::sleep_until(turn).await;
            }
        }

        assert_eq!(began.elapsed().as_millis(), 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_used_is_not_saved_up() {
        let pace = Pace::new(10);
        pace.take_turn();
        tokio::time::advance(Duration::from_secs(60)).await;

        assert_eq!(pace.take_turn(), None);
        assert_eq!(pace.take_turn(), Some(Instant::now() + Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_ceiling_nobody_waits() {
        let pace = Pace::new(0);

        assert!((0..1000).all(|_| pace.take_turn().is_none()));
    }
}
