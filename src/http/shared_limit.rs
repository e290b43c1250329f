//! What connections share that name one limit: requests in flight and requests a second, whichever
//! origins they go to.
//!
//! It lies below the ceilings of the connections and beside the adaptive limits of the origins: the
//! lowest counts. Nothing adapts it: a person has agreed upon it with whoever runs the host.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pace::Pace;
use super::{ApiClient, HttpError};

/// A pool that several connections take from.
#[derive(Debug)]
pub struct SharedLimit {
    permits: Option<Arc<Semaphore>>,
    pace: Pace,
}

impl SharedLimit {
    /// At most so many requests in flight (`None`: no ceiling) and so many a second (0: no rate).
    pub fn new(max_concurrency: Option<usize>, max_requests_per_second: u32) -> SharedLimit {
        let permits = max_concurrency.map(|most| most.clamp(1, Semaphore::MAX_PERMITS));
        SharedLimit {
            permits: permits.map(|most| Arc::new(Semaphore::new(most))),
            pace: Pace::new(max_requests_per_second),
        }
    }

    /// Waits for a turn, first come, first served. What it gives is held while a request is in
    /// flight.
    pub(super) async fn turn(
        &self,
        client: &ApiClient,
    ) -> Result<Option<OwnedSemaphorePermit>, HttpError> {
        let permit = match &self.permits {
            Some(permits) => {
                let permit = client.until_stopped(Arc::clone(permits).acquire_owned()).await?;
                Some(permit.expect("the semaphore of a shared limit is never closed"))
            }
            None => None,
        };
        if let Some(turn) = self.pace.take_turn() {
            client.until_stopped(tokio::time::sleep_until(turn)).await?;
        }
        Ok(permit)
    }
}
