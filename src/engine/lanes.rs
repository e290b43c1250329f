//! The items of a page, written side by side by a few tasks that each take one after the other.
//!
//! What lives here: who takes which item, and how many are begun at once. What does not: what becomes
//! of an item ([`super::apply`]). The one thing to know: who is told of an answer goes on with the
//! next item by itself. Were one task to watch over all of them, every answer would wake another
//! thread for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::domain::{Item, ResourcePath, Stage, Tally};

use super::RunError;
use super::apply::{self, Turn};
use super::under_way::Run;

/// So many tasks a page may always have, however many others are at work: what much waits for is not
/// to wait for the rest.
const ALWAYS: usize = 8;

/// One item that was taken up.
const ONE: Tally = Tally { read: 1, applied: 0, skipped: 0, parked: 0 };

struct Work {
    run: Arc<Run>,
    resource: ResourcePath,
    items: Vec<Item>,
    /// How many of them somebody has taken.
    taken: AtomicUsize,
    /// Another task would be of use.
    more: Notify,
}

/// Writes every item, begun in their order. Tells what became of them.
///
/// The first error drops the others in the middle: what a target acknowledged is only ever done
/// again.
pub(super) async fn publish(
    run: &Arc<Run>,
    resource: &ResourcePath,
    items: Vec<Item>,
) -> Result<Tally, RunError> {
    let work = Arc::new(Work {
        run: Arc::clone(run),
        resource: resource.clone(),
        items,
        taken: AtomicUsize::new(0),
        more: Notify::new(),
    });
    let mut lanes = JoinSet::new();
    let mut tally = Tally::default();
    loop {
        while lanes.len() < work.left() && work.another_is_of_use(lanes.len()) {
            let Some(place) = work.place(lanes.is_empty()).await else { break };
            let work = Arc::clone(&work);
            lanes.spawn(async move { work.go_along(place).await }.in_current_span());
        }
        let ended = tokio::select! {
            ended = lanes.join_next() => ended,
            () = work.more.notified() => continue,
        };
        match ended {
            Some(Ok(Ok(settled))) => tally.add(settled),
            Some(Ok(Err(error))) => {
                lanes.shutdown().await;
                return Err(error);
            }
            // A panic in a stage is a defect; it ends its run as a panic would.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => return Ok(tally),
        }
    }
}

impl Work {
    fn left(&self) -> usize {
        self.items.len().saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// Beside `here` tasks of this page. A few more than the target is sent at once, so that somebody
    /// waits for a place there while the limit may still grow.
    fn another_is_of_use(&self, here: usize) -> bool {
        let at_once = self.run.pair.target.at_once();
        let worth = at_once.saturating_add(at_once / 4 + 4);
        here < ALWAYS || self.run.items_begun() < worth
    }

    /// A place among all items that the run has begun. Nobody waits for one who holds another: what
    /// refers to an item writes that one without.
    async fn place(&self, may_wait: bool) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.run.begun);
        if may_wait {
            return Some(places.acquire_owned().await.expect("the semaphore is never closed"));
        }
        places.try_acquire_owned().ok()
    }

    /// One item after the other, as long as there are any.
    async fn go_along(&self, _place: OwnedSemaphorePermit) -> Result<Tally, RunError> {
        let Work { run, resource, .. } = self;
        let mut tally = Tally::default();
        while let Some(item) = self.items.get(self.taken.fetch_add(1, Ordering::Relaxed)) {
            let settled = apply::upsert(run, resource, item, Turn::Feed).await?;
            tally.add(run.count(Stage::Upserts, resource, settled, ONE));
            let places = run.begun.available_permits();
            if places > 0 && self.left() > 0 && self.another_is_of_use(ALWAYS) {
                self.more.notify_one();
            }
        }
        Ok(tally)
    }
}
