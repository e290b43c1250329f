//! Pages that were read for several, kept until the last of them has taken its own copy or there is
//! no more room.
//!
//! The one thing to know: a feed is read by whoever needs its next page first. When that one fails,
//! or is dropped in the middle, the feed is nobody's any more, and everyone goes on alone. So it is
//! when the last who was at it goes before its end: what it has read ahead takes room from whoever
//! began it (`sources/edfi/room.rs`), and who did not begin yet may be waiting for just that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::confirmation::Confirmation;
use super::patience::Patience;
use crate::domain::{ChangeVersion, Position, ResourcePath, Window};
use crate::sources::SourceError;

/// A feed of the source, page by page.
#[async_trait]
pub(super) trait Feed<T>: Send {
    async fn next(&mut self) -> Result<Option<Vec<T>>, SourceError>;

    /// Where the page that came last begins; see [`crate::sources::ItemPages::position`].
    fn position(&self) -> Option<Position>;
}

/// What a page is made of.
pub(super) trait Record: Clone + Send + Sync + 'static {
    /// Bytes that keeping it costs, about.
    fn size(&self) -> usize;

    /// The same record, as it was.
    fn is(&self, other: &Self) -> bool;

    /// In feeds that come in order of it.
    fn version(&self) -> Option<ChangeVersion>;
}

/// What a feed was asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    kind: Kind,
    resource: ResourcePath,
    after: Option<ChangeVersion>,
    through: Option<ChangeVersion>,
    /// Where the part begins that is read; `None` for all of it.
    part: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Upserts,
    KeyChanges,
    Tombstones,
    TombstonesAfter,
}

impl Question {
    pub(super) fn of(kind: Kind, resource: &ResourcePath, window: Window) -> Question {
        let Window { after, through } = window;
        Question { kind, resource: resource.clone(), after, through: Some(through), part: None }
    }

    /// The same of one part.
    pub(super) fn of_part(self, part: &Position) -> Question {
        Question { part: Some(part.clone()), ..self }
    }

    pub(super) fn after(kind: Kind, resource: &ResourcePath, after: ChangeVersion) -> Question {
        let resource = resource.clone();
        Question { kind, resource, after: Some(after), through: None, part: None }
    }
}

/// The feeds of one kind that are being read for several members.
pub(super) struct Shelf<T> {
    held: Mutex<Held<T>>,
    /// Bytes that may be kept.
    room: usize,
    /// Somebody has taken a page, or takes no more.
    moved: Notify,
    patience: Arc<Patience>,
    confirmation: Arc<Confirmation>,
}

struct Held<T> {
    members: BTreeSet<usize>,
    /// Who was waited for long enough, and has read nothing first since: nobody waits for them.
    left_behind: BTreeSet<usize>,
    feeds: BTreeMap<Question, Kept<T>>,
    /// Pages in the order in which they came: the oldest give way first.
    order: VecDeque<Question>,
    size: usize,
}

/// What is kept of one feed.
struct Kept<T> {
    reading: Arc<Reading<T>>,
    /// How many places there are at it now.
    here: usize,
    /// Who has not come to its end yet, and who did not begin.
    awaited: BTreeSet<usize>,
    /// The number of the first page that is kept.
    first: usize,
    pages: VecDeque<Page<T>>,
    /// The number of the answer that there is no more.
    ended: Option<u64>,
}

/// `None` while somebody reads, once it has failed, and when whoever read was dropped.
type Reading<T> = tokio::sync::Mutex<Option<Front<T>>>;

/// Where a feed is read on.
struct Front<T> {
    feed: Box<dyn Feed<T>>,
    /// What came last, while who read it waits for room. It outlasts them.
    come: Option<Come<T>>,
}

/// An answer, which may be that there is no more.
struct Come<T> {
    records: Option<Vec<T>>,
    position: Option<Position>,
    size: usize,
    /// The number of the answer; see [`Confirmation`].
    read: u64,
}

struct Page<T> {
    records: Vec<T>,
    position: Option<Position>,
    size: usize,
    /// The number of the answer that it came with; see [`Confirmation`].
    read: u64,
    /// Who has not taken it yet.
    awaited: BTreeSet<usize>,
}

/// What a member is told when it asks for its next page.
pub(super) enum Next<T> {
    Page {
        records: Vec<T>,
        position: Option<Position>,
        /// The number of the answer that it came with; see [`Confirmation`].
        read: u64,
    },
    End {
        read: u64,
    },
    /// It is too far behind, or nobody reads the feed any more: it goes on alone.
    Left,
}

impl<T: Record> Shelf<T> {
    pub(super) fn for_members(
        members: usize,
        room: usize,
        patience: &Arc<Patience>,
        confirmation: &Arc<Confirmation>,
    ) -> Arc<Shelf<T>> {
        let held = Held {
            members: (0..members).collect(),
            left_behind: BTreeSet::new(),
            feeds: BTreeMap::new(),
            order: VecDeque::new(),
            size: 0,
        };
        Arc::new(Shelf {
            held: Mutex::new(held),
            room,
            moved: Notify::new(),
            patience: Arc::clone(patience),
            confirmation: Arc::clone(confirmation),
        })
    }

    /// A place at the beginning of a feed; `None` where the member reads alone: nobody else will
    /// ask the same, or its beginning has gone already.
    pub(super) fn join(
        self: &Arc<Self>,
        question: Question,
        member: usize,
        stop: &CancellationToken,
        begin: impl FnOnce() -> Box<dyn Feed<T>>,
    ) -> Option<Place<T>> {
        let mut held = self.held();
        if !held.members.contains(&member) {
            return None;
        }
        match held.feeds.get(&question) {
            Some(kept) if kept.awaited.contains(&member) && kept.first == 0 => {}
            Some(_) => {
                held.is_done(&question, member);
                drop(held);
                self.moved.notify_waiters();
                return None;
            }
            None if held.members.len() == 1 => return None,
            None => {
                let kept = Kept {
                    reading: Arc::new(Reading::new(Some(Front { feed: begin(), come: None }))),
                    here: 0,
                    awaited: held.members.clone(),
                    first: 0,
                    pages: VecDeque::new(),
                    ended: None,
                };
                held.feeds.insert(question.clone(), kept);
            }
        }
        if let Some(kept) = held.feeds.get_mut(&question) {
            kept.here += 1;
        }
        Some(Place { shelf: Arc::clone(self), question, member, next: 0, stop: stop.clone() })
    }

    /// Nothing is kept for the member any more.
    pub(super) fn leave(&self, member: usize) {
        let mut held = self.held();
        held.members.remove(&member);
        let questions: Vec<Question> = held.feeds.keys().cloned().collect();
        for question in questions {
            held.is_done(&question, member);
        }
        drop(held);
        self.moved.notify_waiters();
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().expect("nothing panics while it holds the shelf")
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.held().size
    }
}

impl<T: Record> Held<T> {
    /// The member takes nothing more of the feed.
    fn is_done(&mut self, question: &Question, member: usize) {
        let Some(kept) = self.feeds.get_mut(question) else { return };
        kept.awaited.remove(&member);
        for page in &mut kept.pages {
            page.awaited.remove(&member);
        }
        self.let_go(question);
    }

    /// A place is given up. Gives the feed where nobody is at it any more, to be dropped.
    fn left_by(&mut self, question: &Question) -> Option<Front<T>> {
        let kept = self.feeds.get_mut(question)?;
        kept.here -= 1;
        if kept.here > 0 {
            return None;
        }
        // Nobody is there who could be reading.
        kept.reading.try_lock().ok()?.take()
    }

    /// Whether so much can be kept without leaving somebody behind who was not before.
    fn has_room(&mut self, size: usize, room: usize) -> bool {
        while self.size + size > room {
            let of_nobody_else = |question: &&Question| {
                let first = self.feeds.get(question).and_then(|kept| kept.pages.front());
                first.is_some_and(|page| page.awaited.is_subset(&self.left_behind))
            };
            let Some(question) = self.order.iter().find(of_nobody_else).cloned() else {
                return false;
            };
            self.drop_in_order(&question);
        }
        true
    }

    fn put(&mut self, question: &Question, member: usize, mut page: Page<T>, room: usize) {
        let Some(kept) = self.feeds.get_mut(question) else { return };
        page.awaited.clone_from(&kept.awaited);
        self.left_behind.remove(&member);
        while !self.has_room(page.size, room)
            && let Some(oldest) = self.order.front().cloned()
        {
            let first = self.feeds.get(&oldest).and_then(|kept| kept.pages.front());
            self.left_behind.extend(first.iter().flat_map(|page| &page.awaited));
            self.drop_in_order(&oldest);
        }
        let Some(kept) = self.feeds.get_mut(question) else { return };
        self.size += page.size;
        kept.pages.push_back(page);
        self.order.push_back(question.clone());
    }

    /// A page came for which there is no room, and those before it are of no use without it.
    fn pass_over(&mut self, question: &Question) {
        while self.feeds.get(question).is_some_and(|kept| !kept.pages.is_empty()) {
            self.drop_in_order(question);
        }
        if let Some(kept) = self.feeds.get_mut(question) {
            kept.first += 1;
        }
    }

    /// Pages that everyone has taken go, and so does a feed that nobody waits for.
    fn let_go(&mut self, question: &Question) {
        while self.feeds.get(question).is_some_and(Kept::first_was_taken) {
            self.drop_in_order(question);
        }
        if self.feeds.get(question).is_some_and(|kept| kept.awaited.is_empty()) {
            self.feeds.remove(question);
        }
    }

    fn drop_in_order(&mut self, question: &Question) {
        // The first place of a feed in the order is that of its first page.
        if let Some(at) = self.order.iter().position(|other| other == question) {
            self.order.remove(at);
        }
        self.drop_first(question);
    }

    fn drop_first(&mut self, question: &Question) {
        let Some(kept) = self.feeds.get_mut(question) else { return };
        let Some(page) = kept.pages.pop_front() else { return };
        kept.first += 1;
        self.size -= page.size;
    }
}

impl<T> Kept<T> {
    fn first_was_taken(&self) -> bool {
        self.pages.front().is_some_and(|page| page.awaited.is_empty())
    }
}

/// Where one member is in a feed. Dropping it is taking nothing more of it.
pub(super) struct Place<T: Record> {
    shelf: Arc<Shelf<T>>,
    question: Question,
    member: usize,
    /// The number of the page that comes next.
    next: usize,
    stop: CancellationToken,
}

impl<T: Record> Place<T> {
    /// The next page: a kept one, or one that is read now for everybody.
    pub(super) async fn next(&mut self) -> Result<Next<T>, SourceError> {
        loop {
            let reading = match self.look() {
                Look::Told(next) => return Ok(next),
                Look::Read(reading) => reading,
            };
            let mut reading = tokio::select! {
                reading = reading.lock() => reading,
                // Who reads may be waiting for others. Alone it is told that it has to stop.
                () = self.stop.cancelled() => return Ok(Next::Left),
            };
            // Somebody else may have read it meanwhile.
            if let Look::Told(next) = self.look() {
                return Ok(next);
            }
            let Some(mut front) = reading.take() else { return Ok(Next::Left) };
            if front.come.is_none() {
                let records = front.feed.next().await?;
                let position = front.feed.position();
                let size = records.iter().flatten().map(Record::size).sum();
                let read = self.shelf.confirmation.note();
                front.come = Some(Come { records, position, size, read });
            }
            let front = reading.insert(front);
            self.wait_for_those_behind(front.come.as_ref().map_or(0, |come| come.size)).await;
            let page = front.come.take().and_then(|come| self.keep(come));
            if let Some(page) = page {
                return Ok(page);
            }
        }
    }

    /// Until so much can be kept without leaving anybody behind, or nobody has patience any more.
    async fn wait_for_those_behind(&self, size: usize) {
        let Shelf { room, moved, patience, .. } = &*self.shelf;
        if size > *room {
            return;
        }
        let mut waiting = None;
        loop {
            let mut moved = pin!(moved.notified());
            // From here on nothing that is taken goes unnoticed.
            moved.as_mut().enable();
            let left = patience.left();
            if self.shelf.held().has_room(size, *room) || left.is_zero() {
                return;
            }
            waiting.get_or_insert_with(|| patience.wait());
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep(left) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Puts what was read where everybody finds it, this member too. Comes back with a page that
    /// there is no room for, which is this member's all the same.
    fn keep(&mut self, come: Come<T>) -> Option<Next<T>> {
        let Come { records, position, size, read } = come;
        let mut held = self.shelf.held();
        let Some(records) = records else {
            held.feeds.get_mut(&self.question)?.ended = Some(read);
            return None;
        };
        if size > self.shelf.room {
            // Nobody else finds it: they leave, and read it for themselves.
            held.pass_over(&self.question);
            self.next += 1;
            return Some(Next::Page { records, position, read });
        }
        let page = Page { records, position, size, read, awaited: BTreeSet::new() };
        held.put(&self.question, self.member, page, self.shelf.room);
        None
    }

    fn look(&mut self) -> Look<T> {
        let mut held = self.shelf.held();
        let Some(kept) = held.feeds.get_mut(&self.question) else {
            return Look::Told(Next::Left);
        };
        let Some(at) = self.next.checked_sub(kept.first) else { return Look::Told(Next::Left) };
        let Some(page) = kept.pages.get_mut(at) else {
            return match kept.ended {
                Some(read) => Look::Told(Next::End { read }),
                None => Look::Read(Arc::clone(&kept.reading)),
            };
        };
        page.awaited.remove(&self.member);
        let (records, position, read) = (page.records.clone(), page.position.clone(), page.read);
        self.next += 1;
        held.let_go(&self.question);
        drop(held);
        self.shelf.moved.notify_waiters();
        Look::Told(Next::Page { records, position, read })
    }
}

enum Look<T> {
    Told(Next<T>),
    Read(Arc<Reading<T>>),
}

impl<T: Record> Drop for Place<T> {
    fn drop(&mut self) {
        let mut held = self.shelf.held();
        let feed = held.left_by(&self.question);
        held.is_done(&self.question, self.member);
        drop(held);
        drop(feed);
        self.shelf.moved.notify_waiters();
    }
}
