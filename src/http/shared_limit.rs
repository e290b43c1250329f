//! What connections share that name one limit: requests in flight and requests a second, whichever
//! origins they go to.
//!
//! It lies below the ceilings of the connections and beside the adaptive limits of the origins: the
//! lowest counts. Nothing adapts it: a person has agreed upon it with whoever runs the host. The one
//! thing to know: nobody holds a permit of it while waiting for an origin, so that one origin that
//! stands still does not hold up the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::concurrency::Permit;
use super::origin::Origin;
use super::pace::Pace;
use super::{ApiClient, HttpError};

/// A pool that several connections take from.
#[derive(Debug)]
pub struct SharedLimit {
    permits: Option<Arc<Semaphore>>,
    pace: Pace,
    /// By origin: whoever is next there.
    next: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl SharedLimit {
    /// At most so many requests in flight (`None`: no ceiling) and so many a second (0: no rate).
    pub fn new(max_concurrency: Option<usize>, max_requests_per_second: u32) -> SharedLimit {
        let permits = max_concurrency.map(|most| most.clamp(1, Semaphore::MAX_PERMITS));
        SharedLimit {
            permits: permits.map(|most| Arc::new(Semaphore::new(most))),
            pace: Pace::new(max_requests_per_second),
            next: Mutex::default(),
        }
    }

    /// Waits for a turn at an origin and here, first come, first served. What it gives is held while
    /// a request is in flight.
    ///
    /// The origin's comes first, and of those who want both, one at a time waits here with it: others
    /// who share the origin and not this limit lose no more than that one permit to them.
    pub(super) async fn turn(
        &self,
        client: &ApiClient,
        origin: &Origin,
    ) -> Result<(Permit, Option<OwnedSemaphorePermit>), HttpError> {
        let next = self.next_at(origin);
        let _next = client.until_stopped(next.lock()).await?;
        let permit = client.until_stopped(origin.limiter.permit()).await?;
        let shared = match &self.permits {
            Some(permits) => {
                let shared = client.until_stopped(Arc::clone(permits).acquire_owned()).await?;
                Some(shared.expect("the semaphore of a shared limit is never closed"))
            }
            None => None,
        };
        if let Some(turn) = self.pace.take_turn() {
            client.until_stopped(tokio::time::sleep_until(turn)).await?;
        }
        Ok((permit, shared))
    }

    fn next_at(&self, origin: &Origin) -> Arc<tokio::sync::Mutex<()>> {
        let mut next = self.next.lock().expect("nothing panics while it holds who is next");
        Arc::clone(next.entry(origin.name.clone()).or_default())
    }
}
