//! Wall time as a parameter. What a person cares about (`started_at`, `next_attempt_at`) comes
//! from a [`Clock`]; durations and waits come from `tokio::time`, which tests can pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// A moment of wall time, in UTC.
pub type Timestamp = DateTime<Utc>;

/// Where the moments come from: the system, or a test's hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds since the epoch, when a test holds the clock.
    held: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The clock on the wall.
    pub fn system() -> Clock {
        Clock { held: None }
    }

    /// A clock that moves only when told to.
    pub fn held_at(moment: Timestamp) -> Clock {
        Clock { held: Some(Arc::new(AtomicI64::new(moment.timestamp_millis()))) }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the wall is looked at")]
    pub fn now(&self) -> Timestamp {
        match &self.held {
            None => Utc::now(),
            Some(millis) => DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst))
                .expect("a held clock holds a moment that was one"),
        }
    }

    /// Moves a held clock; a system clock goes its own way.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(millis) = &self.held {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}
