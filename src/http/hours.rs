//! Hours in which a connection is left alone: no request is sent before they are over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{ApiClient, HttpError};

/// The wall clock may be set while somebody waits by it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Tells until when a connection is closed that is closed at a moment.
pub type ClosedUntil = Arc<dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>> + Send + Sync>;

/// When a connection may be asked.
#[derive(Default)]
pub(super) struct Hours {
    closed_until: Option<ClosedUntil>,
    /// That somebody waits has been said.
    was_said: AtomicBool,
}

impl Hours {
    pub(super) fn new(closed_until: Option<ClosedUntil>) -> Hours {
        Hours { closed_until, was_said: AtomicBool::new(false) }
    }

    /// Waits until the connection is open, or the client is stopped.
    pub(super) async fn open(&self, client: &ApiClient) -> Result<(), HttpError> {
        let Some(closed_until) = &self.closed_until else { return Ok(()) };
        while let Some(until) = closed_until(client.wall_time()) {
            if !self.was_said.swap(true, Ordering::Relaxed) {
                let connection = client.name();
                tracing::warn!(connection, %until, "closed: no request is sent before it opens");
            }
            let left = (until - client.wall_time()).to_std().unwrap_or_default();
            let wait = left.clamp(Duration::from_millis(1), LOOK_AGAIN);
            client.until_stopped(tokio::time::sleep(wait)).await?;
        }
        self.was_said.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hours").finish_non_exhaustive()
    }
}
