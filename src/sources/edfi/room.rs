//! How many bytes of pages one run holds in memory, those that are worked on and those that were
//! read ahead of them.
//!
//! The one thing to know: whoever holds a page never waits here, so everyone who waits is let in in
//! the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::Window;

/// What the pages of a run may hold together. One that is larger is read alone.
const BYTES: usize = 12 << 20;
/// The unit of the semaphore behind it.
const UNIT: usize = 1 << 10;
/// What a first page is taken for.
const FIRST_PAGE: usize = 1 << 20;
/// The same of a window with a lower edge: nearly all of them have a few items or none, and all are
/// asked for at once. As soon as one of them is larger the others are taken for that.
const FIRST_PAGE_OF_CHANGES: usize = 64 << 10;

/// Clones share the room.
#[derive(Clone, Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    of_changes: Arc<AtomicUsize>,
}

/// Room that a page has taken; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Taken {
    units: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(super) fn new() -> Room {
        Room {
            units: Arc::new(Semaphore::new(BYTES / UNIT)),
            of_changes: Arc::new(AtomicUsize::new(FIRST_PAGE_OF_CHANGES)),
        }
    }

    pub(super) fn of_a_first_page(&self, window: Window) -> usize {
        match window.after {
            None => FIRST_PAGE,
            Some(_) => self.of_changes.load(Ordering::Relaxed),
        }
    }

    /// A page of changes had so many bytes.
    pub(super) fn saw_changes(&self, bytes: usize) {
        self.of_changes.fetch_max(bytes.min(FIRST_PAGE), Ordering::Relaxed);
    }

    /// Waits until there is room for so many bytes.
    pub(super) async fn take(&self, bytes: usize) -> Taken {
        let held = Arc::clone(&self.units).acquire_many_owned(units(bytes)).await;
        let held = held.expect("the semaphore of a room is never closed");
        Taken { units: Arc::clone(&self.units), held: Some(held) }
    }
}

impl Taken {
    /// The page turned out to have so many bytes. What there is no room for is not waited for: the
    /// page is here already, and the next one is asked for with what is known now.
    pub(super) fn is_really(&mut self, bytes: usize) {
        let Some(held) = &mut self.held else { return };
        let (wanted, has) = (units(bytes) as usize, held.num_permits());
        if wanted < has {
            held.split(has - wanted);
        } else if let Ok(more) =
            Arc::clone(&self.units).try_acquire_many_owned((wanted - has) as u32)
        {
            held.merge(more);
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from((bytes / UNIT).clamp(1, BYTES / UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_until_a_page_is_done() {
        let room = Room::new();
        let first = room.take(BYTES - UNIT).await;
        let mut second = pin!(room.take(2 * UNIT));
        assert!(timeout(Duration::from_secs(60), &mut second).await.is_err());

        drop(first);

        second.await;
    }

    #[tokio::test]
    async fn a_page_that_is_larger_than_all_room_is_read_alone() {
        let room = Room::new();

        let taken = room.take(10 * BYTES).await;

        assert_eq!(room.units.available_permits(), 0);
        drop(taken);
        assert_eq!(room.units.available_permits(), BYTES / UNIT);
    }

    #[tokio::test]
    async fn what_a_page_does_not_need_is_given_back_and_what_it_needs_more_is_taken() {
        let room = Room::new();
        let mut taken = room.take(FIRST_PAGE).await;

        taken.is_really(10 * UNIT);
        assert_eq!(room.units.available_permits(), BYTES / UNIT - 10);

        taken.is_really(30 * UNIT);
        assert_eq!(room.units.available_permits(), BYTES / UNIT - 30);
    }
}
