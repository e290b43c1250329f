//! How many bytes of pages all runs of the process hold in memory, those that are worked on and those
//! that were read ahead of them.
//!
//! One room for the process ([`PageRoom`]), and in it a share for each run in flight ([`Room`]). A run
//! alone may fill the room. Of several each may hold an equal part of it, as far as there is room, and
//! two common pages always, or one page of any size: that much nobody can take from it, so no run waits
//! for another that stands still, and a target that stalls holds up nobody but itself.
//!
//! The one thing to know: whoever holds a page never waits here, nor for anybody who does. So within a
//! run every page that is held is given back in the end, and who waits first is let in first. What holds
//! a page and would wait for more (the first pages of several stretches, all wanted at once) is a circle:
//! each stretch therefore begins by itself ([`crate::engine`], `pages.rs`).

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::domain::{ResourcePath, Window};

/// What the pages of all runs may hold together, beyond what each of them may hold always.
const BYTES: usize = 12 << 20;
/// What a run may hold whatever others hold: a page of 500 items of 3 KB that is worked on, and the
/// one ahead of it.
const ALWAYS: usize = 3 << 20;
/// What a first page is taken for.
const FIRST_PAGE: usize = 1 << 20;
/// The same of a window with a lower edge: nearly all of them have a few items or none, and all are
/// asked for at once. As soon as one of them is larger the others are taken for that.
const FIRST_PAGE_OF_CHANGES: usize = 64 << 10;

/// The room of a process. Clones are the same room.
#[derive(Clone, Debug, Default)]
pub struct PageRoom {
    process: Arc<Process>,
}

#[derive(Debug, Default)]
struct Process {
    held: Mutex<Held>,
    /// Somebody gave something back, or a run ended.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    /// What each run holds that has asked for a page and has not ended.
    by_run: BTreeMap<u64, usize>,
    together: usize,
    runs_before: u64,
}

/// The share of one run. Clones are the same share.
#[derive(Clone, Debug)]
pub(super) struct Room {
    share: Arc<Share>,
}

#[derive(Debug)]
struct Share {
    run: u64,
    process: Arc<Process>,
    /// Who waits stands in line here: first come, first let in.
    line: tokio::sync::Mutex<()>,
    of_changes: AtomicUsize,
    /// How large pages are of the resources that have larger ones than [`FIRST_PAGE`].
    larger: Mutex<BTreeMap<ResourcePath, usize>>,
}

/// Room that a page has taken; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Taken {
    share: Arc<Share>,
    bytes: usize,
}

impl PageRoom {
    pub fn new() -> PageRoom {
        PageRoom::default()
    }

    pub(super) fn of_a_run(&self) -> Room {
        let mut held = self.process.held();
        held.runs_before += 1;
        let share = Share {
            run: held.runs_before,
            process: Arc::clone(&self.process),
            line: tokio::sync::Mutex::default(),
            of_changes: AtomicUsize::new(FIRST_PAGE_OF_CHANGES),
            larger: Mutex::default(),
        };
        Room { share: Arc::new(share) }
    }
}

impl Room {
    /// What a page is taken for of which nothing is known, or of which others of its resource are: where
    /// a large resource is read in parts, each part has a first page.
    pub(super) fn of_a_first_page(&self, resource: &ResourcePath, window: Window) -> usize {
        let larger = self.share.larger().get(resource).copied();
        larger.unwrap_or_else(|| match window.after {
            None => FIRST_PAGE,
            Some(_) => self.share.of_changes.load(Ordering::Relaxed),
        })
    }

    /// A page had so many bytes.
    pub(super) fn saw_page(&self, resource: &ResourcePath, window: Window, bytes: usize) {
        if window.after.is_some() {
            self.share.of_changes.fetch_max(bytes.min(FIRST_PAGE), Ordering::Relaxed);
        }
        if bytes > FIRST_PAGE {
            self.share.larger().insert(resource.clone(), bytes);
        }
    }

    /// Waits until there is room for so many bytes.
    pub(super) async fn take(&self, bytes: usize) -> Taken {
        let share = &self.share;
        let _first_in_line = share.line.lock().await;
        loop {
            let mut freed = pin!(share.process.freed.notified());
            // From here on nothing that is given back goes unnoticed.
            freed.as_mut().enable();
            if share.process.held().take(share.run, bytes) {
                return Taken { share: Arc::clone(share), bytes };
            }
            freed.await;
        }
    }
}

impl Taken {
    /// The page turned out to have so many bytes. What there is no room for is not waited for: the
    /// page is here already, and the next one waits until there is room again.
    pub(super) fn is_really(&mut self, bytes: usize) {
        self.share.process.change(self.share.run, self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.share.process.change(self.share.run, self.bytes, 0);
    }
}

impl Share {
    fn larger(&self) -> MutexGuard<'_, BTreeMap<ResourcePath, usize>> {
        self.larger.lock().expect("nothing panics while it holds these")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.process.held().by_run.remove(&self.run);
        self.process.freed.notify_waiters();
    }
}

impl Process {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while it holds what is held")
    }

    fn change(&self, run: u64, before: usize, now: usize) {
        let mut held = self.held();
        held.together = held.together - before + now;
        if let Some(of_run) = held.by_run.get_mut(&run) {
            *of_run = *of_run - before + now;
        }
        drop(held);
        if now < before {
            self.freed.notify_waiters();
        }
    }
}

impl Held {
    fn take(&mut self, run: u64, bytes: usize) -> bool {
        let before = *self.by_run.entry(run).or_default();
        let of_run = before + bytes;
        let is_always_let_in = before == 0 || of_run <= ALWAYS;
        let is_within_share = of_run <= BYTES / self.by_run.len();
        let has_room = is_within_share && self.together + bytes <= BYTES;
        if !(is_always_let_in || has_room) {
            return false;
        }
        self.by_run.insert(run, of_run);
        self.together += bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::domain::ChangeVersion;

    const PAGE: usize = ALWAYS / 2;

    fn held(room: &PageRoom) -> usize {
        room.process.held().together
    }

    /// Takes pages until there is no room for another.
    async fn fill(run: &Room) -> Vec<Taken> {
        let mut all = Vec::new();
        while let Ok(taken) = timeout(Duration::from_secs(60), run.take(PAGE)).await {
            all.push(taken);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_until_a_page_is_done() {
        let run = PageRoom::new().of_a_run();
        let first = run.take(BYTES - 1).await;
        let mut second = pin!(run.take(2));
        assert!(timeout(Duration::from_secs(60), &mut second).await.is_err());

        drop(first);

        second.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_larger_than_all_room_is_read_alone() {
        let room = PageRoom::new();
        let (run, other) = (room.of_a_run(), room.of_a_run());
        let others = fill(&other).await;

        let taken = run.take(10 * BYTES).await;

        assert!(timeout(Duration::from_secs(60), run.take(1)).await.is_err());
        drop((taken, others));
        assert_eq!(held(&room), 0);
    }

    #[tokio::test]
    async fn what_a_page_does_not_need_is_given_back_and_what_it_needs_more_is_taken() {
        let room = PageRoom::new();
        let mut taken = room.of_a_run().take(FIRST_PAGE).await;

        taken.is_really(10);
        assert_eq!(held(&room), 10);

        taken.is_really(30);
        assert_eq!(held(&room), 30);
    }

    #[test]
    fn the_parts_of_a_resource_are_taken_for_what_its_pages_have() {
        let run = PageRoom::new().of_a_run();
        let [large, other] =
            ["/ed-fi/students", "/ed-fi/grades"].map(|name| ResourcePath::parse(name).unwrap());
        let whole = Window { after: None, through: ChangeVersion(7) };

        run.saw_page(&large, whole, 3 * FIRST_PAGE);
        run.saw_page(&other, whole, 10);

        assert_eq!(run.of_a_first_page(&large, whole), 3 * FIRST_PAGE);
        assert_eq!(run.of_a_first_page(&other, whole), FIRST_PAGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_alone_may_fill_the_room_and_several_share_it_evenly() {
        let room = PageRoom::new();

        let alone = fill(&room.of_a_run()).await;
        assert_eq!(alone.len() * PAGE, BYTES);
        drop(alone);

        let runs = [room.of_a_run(), room.of_a_run()];
        let mut first = vec![runs[0].take(PAGE).await];
        let second = fill(&runs[1]).await;
        first.extend(fill(&runs[0]).await);
        assert_eq!((first.len() * PAGE, second.len() * PAGE), (BYTES / 2, BYTES / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_came_first_and_stands_still_starves_nobody() {
        let room = PageRoom::new();
        let stalled = room.of_a_run();
        let _stalled = fill(&stalled).await;

        for _ in 0..7 {
            let run = room.of_a_run();
            let pages = fill(&run).await;
            assert_eq!(pages.len() * PAGE, ALWAYS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_runs_together_hold_the_room_and_no_more_than_two_pages_each_beyond_it() {
        let room = PageRoom::new();
        let runs: Vec<Room> = (0..20).map(|_| room.of_a_run()).collect();
        let mut pages = Vec::new();

        for run in &runs {
            pages.push(fill(run).await);
        }

        assert!(held(&room) <= BYTES + (runs.len() - 1) * ALWAYS, "{}", held(&room));
        drop(pages);
        drop(runs);
        assert_eq!(fill(&room.of_a_run()).await.len() * PAGE, BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_first_is_let_in_first_however_small_what_others_want() {
        let run = PageRoom::new().of_a_run();
        let all = run.take(BYTES).await;
        let mut large = Box::pin(run.take(BYTES));
        let mut small = Box::pin(run.take(1));
        assert!(timeout(Duration::from_secs(60), &mut large).await.is_err());
        assert!(timeout(Duration::from_secs(60), &mut small).await.is_err());

        drop(all);

        let large = large.await;
        assert!(timeout(Duration::from_secs(60), &mut small).await.is_err());
        drop(large);
        small.await;
    }
}
