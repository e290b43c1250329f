//! Pairs of one publication that read together: what one of them reads of the source, the others
//! are handed.
//!
//! What lives here: the view that the members of a cohort share ([`Cohort`], a [`Reader`] for each).
//! What does not: keeping what was read (`cohort/shelf.rs`), how long it is waited for those behind
//! (`cohort/patience.rs`), and the runs, which do not know of each other (I13). The one thing to know: a
//! member that is ahead reads on, after a little patience; one that falls further behind than may be kept
//! goes on by itself, from the page that it had last.
//!
//! Feeds are shared, because their number is that of the resources and their size that of the window.
//! Looks at single items are not: each target asks for its own reasons.

pub(super) mod confirmation;
mod patience;
mod shelf;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Canary, ChangeVersion, Item, KeyChange, KeyShape, NaturalKey, Position, ResourcePath, SourceId,
    Tombstone, Watermark, Window,
};
use crate::sources::{
    Isolation, ItemPages, KeyChangePages, Lookup, Reader, SourceError, TombstonePages,
};

use crate::state::{PairId, StateView};

use confirmation::Confirmation;
use patience::Patience;
use shelf::{Feed, Kind, Next, Place, Question, Record, Shelf};

/// What may be kept for members that are behind, for each member beside the first (design.md §2:
/// memory is bounded by the number of runs).
const KEPT_FOR_EACH: usize = 4 * 1024 * 1024;

/// What is kept of several parts of a feed while members are a page apart in each of them. With less
/// room they would leave each other behind, and read more instead of sooner.
const PARTS_TAKE: usize = 12 * 1024 * 1024;

/// What the members of a cohort share.
struct Cohort {
    /// Bytes of items that may be kept.
    kept: usize,
    items: Arc<Shelf<Item>>,
    key_changes: Arc<Shelf<KeyChange>>,
    tombstones: Arc<Shelf<Tombstone>>,
    /// Into which parts a feed was cut, by whoever asked first: parts of another cut overlap.
    parts: Mutex<BTreeMap<Question, Arc<OnceCell<Parts>>>>,
    confirmation: Arc<Confirmation>,
}

/// Where the parts of a feed begin, and the number of the answer that told.
struct Parts {
    begin: Vec<Position>,
    read: u64,
}

impl Cohort {
    /// A cohort of so many members, numbered from nought.
    fn of(members: usize) -> Arc<Cohort> {
        let kept = KEPT_FOR_EACH.saturating_mul(members.saturating_sub(1));
        let confirmation = Arc::<Confirmation>::default();
        let patience = Arc::<Patience>::default();
        Arc::new(Cohort {
            kept,
            items: Shelf::for_members(members, kept, &patience, &confirmation),
            key_changes: Shelf::for_members(members, kept / 8, &patience, &confirmation),
            tombstones: Shelf::for_members(members, kept / 8, &patience, &confirmation),
            parts: Mutex::default(),
            confirmation,
        })
    }

    /// The view that all members read through, for one of them.
    fn member(self: &Arc<Self>, number: usize, view: Arc<dyn Reader>) -> Arc<dyn Reader> {
        let read = Arc::default();
        let stop = CancellationToken::new();
        Arc::new(Member { cohort: Arc::clone(self), number, view, stop, read })
    }

    fn parts_of(&self, question: &Question) -> Arc<OnceCell<Parts>> {
        let mut parts = self.parts.lock().expect("nothing panics while it holds the parts");
        Arc::clone(parts.entry(question.clone()).or_default())
    }

    /// Whether a feed was cut up, and one of its parts begins here.
    fn has_part(&self, question: &Question, position: &Position) -> bool {
        self.parts_of(question).get().is_some_and(|parts| parts.begin.contains(position))
    }

    /// Nothing is kept for this member any more.
    fn leave(&self, number: usize) {
        self.items.leave(number);
        self.key_changes.leave(number);
        self.tombstones.leave(number);
    }
}

/// Where a pair reads together with others.
pub(super) struct CohortPlace {
    cohort: Arc<Cohort>,
    number: usize,
}

impl CohortPlace {
    /// The view that all members read through, from here.
    pub(super) fn view(&self, view: Arc<dyn Reader>) -> Arc<dyn Reader> {
        self.cohort.member(self.number, view)
    }
}

impl Drop for CohortPlace {
    fn drop(&mut self) {
        self.cohort.leave(self.number);
    }
}

/// Pairs that stand at the same watermark form a cohort (design.md §2): they will ask for the same
/// window. A pair whose state cannot be read fails by itself, when it runs.
pub(super) async fn places(store: &dyn StateView, pairs: &[&PairId]) -> Vec<Option<CohortPlace>> {
    if pairs.len() < 2 {
        return pairs.iter().map(|_| None).collect();
    }
    let mut watermarks = Vec::new();
    for pair in pairs {
        let state = store.load(pair).await.ok().flatten().unwrap_or_default();
        watermarks.push(state.watermark);
    }
    let mut cohorts: Vec<(Option<Watermark>, Arc<Cohort>, usize)> = Vec::new();
    let mut places = Vec::new();
    for watermark in &watermarks {
        let members = watermarks.iter().filter(|other| *other == watermark).count();
        if members == 1 {
            places.push(None);
            continue;
        }
        let known = cohorts.iter().position(|(other, ..)| other == watermark);
        let at = known.unwrap_or_else(|| {
            cohorts.push((watermark.clone(), Cohort::of(members), 0));
            cohorts.len() - 1
        });
        let (_, cohort, taken) = &mut cohorts[at];
        places.push(Some(CohortPlace { cohort: Arc::clone(cohort), number: *taken }));
        *taken += 1;
    }
    places
}

/// The shared view as one member reads it.
struct Member {
    cohort: Arc<Cohort>,
    number: usize,
    view: Arc<dyn Reader>,
    /// No wait outlasts it.
    stop: CancellationToken,
    read: Arc<ReadUpTo>,
}

/// The number of the last answer of the view that a member has seen.
type ReadUpTo = AtomicU64;

impl Member {
    /// An answer to this member alone came.
    fn noted<T>(&self, answer: Result<T, SourceError>) -> Result<T, SourceError> {
        self.read.fetch_max(self.cohort.confirmation.note(), Ordering::SeqCst);
        answer
    }

    /// A feed from its beginning, with the others where they ask the same.
    fn shared<T: Record>(
        &self,
        shelf: &Arc<Shelf<T>>,
        question: Question,
        open: impl Fn(&dyn Reader, Option<&Position>) -> Box<dyn Feed<T>> + Send + 'static,
    ) -> Shared<T> {
        let place = shelf.join(question, self.number, &self.stop, || open(&*self.view, None));
        let way = match place {
            Some(place) => Way::Together(place),
            None => Way::Alone(open(&*self.view, None)),
        };
        self.on(way, open)
    }

    fn on<T: Record>(
        &self,
        way: Way<T>,
        open: impl Fn(&dyn Reader, Option<&Position>) -> Box<dyn Feed<T>> + Send + 'static,
    ) -> Shared<T> {
        Shared {
            view: Arc::clone(&self.view),
            open: Box::new(open),
            way,
            position: None,
            last: Vec::new(),
            confirmation: Arc::clone(&self.cohort.confirmation),
            read: Arc::clone(&self.read),
        }
    }
}

/// How the items of a window are read, from the page at a position on where that can be.
fn items_of(
    resource: &ResourcePath,
    window: Window,
) -> impl Fn(&dyn Reader, Option<&Position>) -> Box<dyn Feed<Item>> + Send + 'static {
    let resource = resource.clone();
    move |view, position| {
        let there = position.and_then(|at| view.upserts_from(&resource, window, at));
        Box::new(Items(there.unwrap_or_else(|| view.upserts(&resource, window))))
    }
}

#[async_trait]
impl Reader for Member {
    fn newest(&self) -> ChangeVersion {
        self.view.newest()
    }

    fn oldest(&self) -> ChangeVersion {
        self.view.oldest()
    }

    fn isolation(&self) -> Isolation {
        self.view.isolation()
    }

    fn upserts(&self, resource: &ResourcePath, window: Window) -> Box<dyn ItemPages> {
        let question = Question::of(Kind::Upserts, resource, window);
        Box::new(self.shared(&self.cohort.items, question, items_of(resource, window)))
    }

    /// A part is read together. Who goes on from an earlier run is at a place of its own.
    fn upserts_from(
        &self,
        resource: &ResourcePath,
        window: Window,
        position: &Position,
    ) -> Option<Box<dyn ItemPages>> {
        let there = self.view.upserts_from(resource, window, position)?;
        let question = Question::of(Kind::Upserts, resource, window);
        if self.cohort.has_part(&question, position) {
            let (items, part) = (items_of(resource, window), position.clone());
            let open = move |view: &dyn Reader, at: Option<&Position>| {
                items(view, Some(at.unwrap_or(&part)))
            };
            let question = question.of_part(position);
            return Some(Box::new(self.shared(&self.cohort.items, question, open)));
        }
        let way = Way::Alone(Box::new(Items(there)));
        Some(Box::new(self.on(way, items_of(resource, window))))
    }

    async fn parts_of_upserts(
        &self,
        resource: &ResourcePath,
        window: Window,
        first: usize,
    ) -> Result<Vec<Position>, SourceError> {
        if self.cohort.kept < PARTS_TAKE {
            return Ok(Vec::new());
        }
        let question = Question::of(Kind::Upserts, resource, window);
        let parts = self.cohort.parts_of(&question);
        let ask = async || {
            let begin = self.view.parts_of_upserts(resource, window, first).await?;
            Ok(Parts { begin, read: self.cohort.confirmation.note() })
        };
        let parts = parts.get_or_try_init(ask).await?;
        self.read.fetch_max(parts.read, Ordering::SeqCst);
        Ok(parts.begin.clone())
    }

    fn key_changes(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn KeyChangePages> {
        let question = Question::after(Kind::KeyChanges, resource, after);
        let resource = resource.clone();
        Box::new(self.shared(&self.cohort.key_changes, question, move |view, _| {
            Box::new(KeyChanges(view.key_changes(&resource, after)))
        }))
    }

    fn key_changes_now(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn KeyChangePages> {
        let resource = resource.clone();
        let open = move |view: &dyn Reader, _: Option<&Position>| -> Box<dyn Feed<KeyChange>> {
            Box::new(KeyChanges(view.key_changes(&resource, after)))
        };
        Box::new(self.on(Way::Alone(open(&*self.view, None)), open))
    }

    fn tombstones(&self, resource: &ResourcePath, window: Window) -> Box<dyn TombstonePages> {
        let question = Question::of(Kind::Tombstones, resource, window);
        let resource = resource.clone();
        Box::new(self.shared(&self.cohort.tombstones, question, move |view, _| {
            Box::new(Tombstones(view.tombstones(&resource, window)))
        }))
    }

    fn tombstones_after(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn TombstonePages> {
        let question = Question::after(Kind::TombstonesAfter, resource, after);
        let resource = resource.clone();
        Box::new(self.shared(&self.cohort.tombstones, question, move |view, _| {
            Box::new(Tombstones(view.tombstones_after(&resource, after)))
        }))
    }

    async fn count_tombstones(
        &self,
        resource: &ResourcePath,
        window: Window,
    ) -> Result<u64, SourceError> {
        self.noted(self.view.count_tombstones(resource, window).await)
    }

    async fn count(
        &self,
        resource: &ResourcePath,
        window: Option<Window>,
    ) -> Result<u64, SourceError> {
        self.noted(self.view.count(resource, window).await)
    }

    async fn get(&self, resource: &ResourcePath, id: &SourceId) -> Result<Lookup, SourceError> {
        self.noted(self.view.get(resource, id).await)
    }

    async fn tells(&self, canary: &Canary) -> Result<bool, SourceError> {
        self.noted(self.view.tells(canary).await)
    }

    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Lookup, SourceError> {
        self.noted(self.view.find(resource, key).await)
    }

    async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, SourceError> {
        self.view.key_shape(resource).await
    }

    async fn confirm(&self) -> Result<(), SourceError> {
        self.cohort.confirmation.of(&*self.view, self.read.load(Ordering::SeqCst)).await
    }

    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Reader> {
        Arc::new(Member {
            cohort: Arc::clone(&self.cohort),
            number: self.number,
            view: self.view.for_run(run, stop.clone()),
            stop,
            read: Arc::clone(&self.read),
        })
    }

    fn requests(&self) -> u64 {
        self.view.requests()
    }

    fn reads_alone(&self) -> bool {
        false
    }
}

/// A feed that a member reads with the others for as long as it keeps up.
struct Shared<T: Record> {
    view: Arc<dyn Reader>,
    open: Open<T>,
    way: Way<T>,
    /// Of the page that came last.
    position: Option<Position>,
    /// The page that came last while it was read together: alone it comes once more.
    last: Vec<T>,
    confirmation: Arc<Confirmation>,
    read: Arc<ReadUpTo>,
}

/// Begins the same feed alone, from a position on where it has them.
type Open<T> = Box<dyn Fn(&dyn Reader, Option<&Position>) -> Box<dyn Feed<T>> + Send>;

enum Way<T: Record> {
    Together(Place<T>),
    Alone(Box<dyn Feed<T>>),
}

impl<T: Record> Shared<T> {
    async fn next_page(&mut self) -> Result<Option<Vec<T>>, SourceError> {
        if let Way::Together(place) = &mut self.way {
            match place.next().await? {
                Next::Page { records, position, read } => {
                    self.read.fetch_max(read, Ordering::SeqCst);
                    self.position = position;
                    self.last.clone_from(&records);
                    return Ok(Some(records));
                }
                Next::End { read } => {
                    self.read.fetch_max(read, Ordering::SeqCst);
                    return Ok(None);
                }
                Next::Left => {
                    let alone = (self.open)(&*self.view, self.position.as_ref());
                    self.way = Way::Alone(alone);
                }
            }
        }
        self.next_alone().await
    }

    /// Without what came before. A feed of items begins with the page that came last, of which what
    /// moved meanwhile is new (R9); one of keys begins anew, and is in order of version.
    async fn next_alone(&mut self) -> Result<Option<Vec<T>>, SourceError> {
        let Way::Alone(feed) = &mut self.way else { return Ok(None) };
        let told = self.last.last().and_then(Record::version);
        loop {
            let page = feed.next().await?;
            self.read.fetch_max(self.confirmation.note(), Ordering::SeqCst);
            let Some(mut records) = page else { return Ok(None) };
            self.position = feed.position();
            let last = &self.last;
            records.retain(|record| {
                let is_new = record.version() > told;
                is_new || (record.version() == told && !last.iter().any(|had| had.is(record)))
            });
            if told.is_none() {
                self.last.clear();
            }
            if !records.is_empty() {
                return Ok(Some(records));
            }
        }
    }
}

#[async_trait]
impl ItemPages for Shared<Item> {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        self.next_page().await
    }

    fn position(&self) -> Option<Position> {
        self.position.clone()
    }
}

#[async_trait]
impl KeyChangePages for Shared<KeyChange> {
    async fn next(&mut self) -> Result<Option<Vec<KeyChange>>, SourceError> {
        self.next_page().await
    }
}

#[async_trait]
impl TombstonePages for Shared<Tombstone> {
    async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, SourceError> {
        self.next_page().await
    }
}

impl Record for Item {
    fn size(&self) -> usize {
        self.body.len() + self.id.0.len()
    }

    fn is(&self, other: &Item) -> bool {
        self.id == other.id && self.body == other.body
    }

    /// A body may tell it, and nobody here reads one.
    fn version(&self) -> Option<ChangeVersion> {
        None
    }
}

/// What a natural key weighs, about; a feed of keys is small beside a feed of items.
const KEY: usize = 256;

impl Record for KeyChange {
    fn size(&self) -> usize {
        2 * KEY
    }

    fn is(&self, other: &KeyChange) -> bool {
        self == other
    }

    fn version(&self) -> Option<ChangeVersion> {
        Some(self.version)
    }
}

impl Record for Tombstone {
    fn size(&self) -> usize {
        KEY
    }

    fn is(&self, other: &Tombstone) -> bool {
        self == other
    }

    fn version(&self) -> Option<ChangeVersion> {
        Some(self.version)
    }
}

struct Items(Box<dyn ItemPages>);
struct KeyChanges(Box<dyn KeyChangePages>);
struct Tombstones(Box<dyn TombstonePages>);

#[async_trait]
impl Feed<Item> for Items {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        self.0.next().await
    }

    fn position(&self) -> Option<Position> {
        self.0.position()
    }
}

#[async_trait]
impl Feed<KeyChange> for KeyChanges {
    async fn next(&mut self) -> Result<Option<Vec<KeyChange>>, SourceError> {
        self.0.next().await
    }

    fn position(&self) -> Option<Position> {
        None
    }
}

#[async_trait]
impl Feed<Tombstone> for Tombstones {
    async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, SourceError> {
        self.0.next().await
    }

    fn position(&self) -> Option<Position> {
        None
    }
}

#[cfg(test)]
mod tests;
