//! One view of an Ed-Fi API, read: pages, feeds, look-ups and counts.

use std::sync::Arc;

use super::limit::{PageLimit, Portion};
use super::paging::{CursorFeed, Feed, ReadAhead};
use super::position::{Place, Question};
use super::ranges::{OpenRangeFeed, Range, RangeFeed, RangeRequests};
use super::room::{PageRoom, Room};
use super::wire::{Reading, Requests, Versions, View, not_understood, with_range};
use super::{feeds, leaves, snapshot};
use crate::domain::{
    Canary, CanaryKind, ChangeVersion, Item, KeyShape, NaturalKey, Position, ResourcePath,
    SourceId, Window,
};
use crate::edfi::json::{is_markup, single_item};
use crate::edfi::{SnapshotStyle, lookup, split_page};
use crate::sources::{
    Isolation, ItemPages, KeyChangePages, Lookup, Reader, SourceError, TombstonePages,
};
use crate::tasks::Tasks;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// What the API has taught about the sizes of its answers. Outlives a run.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) items: Arc<PageLimit>,
    /// Deletes and key changes may be limited otherwise (`edfi-wire §5`).
    pub(super) feeds: Arc<PageLimit>,
}

impl Limits {
    pub(super) fn new(page_size: usize) -> Limits {
        Limits {
            items: Arc::new(PageLimit::new(page_size)),
            feeds: Arc::new(PageLimit::new(page_size)),
        }
    }
}

/// A look-up by key asks for so many items at most. It wants one; more come when the server
/// ignores a part of the key.
const CANDIDATES: usize = 100;

/// Into so many parts a large window is cut. Each has a page that is worked on and one ahead, as far
/// as there is room.
const PARTS: usize = 8;

pub(super) struct EdfiReader {
    view: Arc<View>,
    limits: Arc<Limits>,
    isolation: Isolation,
    versions: Versions,
    pages: PageRoom,
    /// This run's share of them.
    room: Room,
    tasks: Tasks,
}

impl EdfiReader {
    /// Reads the newest version under the view, which is what the reader stands for from then on.
    pub(super) async fn open(
        view: View,
        limits: Arc<Limits>,
        isolation: Isolation,
        pages: PageRoom,
        tasks: Tasks,
    ) -> Result<EdfiReader, SourceError> {
        let versions = view.versions().await?;
        let (view, room) = (Arc::new(view), pages.of_a_run());
        Ok(EdfiReader { view, limits, isolation, versions, pages, room, tasks })
    }

    fn tombstones_in(&self, resource: &ResourcePath, range: Range) -> Box<dyn TombstonePages> {
        let view = Arc::clone(&self.view);
        let requests = Requests::tombstones(view, resource, Arc::clone(&self.limits.feeds));
        Box::new(feeds::TombstoneFeed::new(requests, range))
    }

    fn requests_of_items(&self, resource: &ResourcePath, window: Window) -> Requests<Item> {
        let (view, limit) = (Arc::clone(&self.view), Arc::clone(&self.limits.items));
        Requests::items(view, resource, limit, self.range_of_items(window))
    }

    fn ahead(
        &self,
        resource: &ResourcePath,
        window: Window,
        feed: Box<dyn Feed>,
    ) -> Box<dyn ItemPages> {
        let (question, connection) = (self.question(window), self.view.connection());
        let (room, tasks) = (self.room.clone(), self.tasks.clone());
        Box::new(ReadAhead::new(resource, feed, question, room, tasks, connection))
    }

    /// What the pages of a window are asked with.
    fn question(&self, window: Window) -> Question {
        let header = || self.view.header_value().unwrap_or_default().to_owned();
        let is_snapshot = self.isolation == Isolation::Snapshot;
        Question {
            window,
            bounded: self.isolation.bounds_upserts(),
            snapshot: is_snapshot.then(|| (self.newest(), header())),
        }
    }

    fn range_of_items(&self, window: Window) -> Range {
        let edges = range_of(window);
        if self.isolation.bounds_upserts() { edges } else { Range::open(edges.from) }
    }

    fn range_of_tombstones(&self, window: Window) -> Range {
        let edges = range_of(window);
        if self.isolation.bounds_deletes() { edges } else { Range::open(edges.from) }
    }

    /// The one of `candidates` that has this key, or the word that there is none. A page that is
    /// full of others says that the server ignored the question, and then it is not known.
    fn choose(
        &self,
        candidates: Vec<Item>,
        asked: usize,
        key: &NaturalKey,
        shape: Option<&KeyShape>,
    ) -> Lookup {
        let full = candidates.len() >= asked;
        let mut like_it = None;
        for item in candidates {
            let theirs = shape.and_then(|shape| shape.key_of(&item.body));
            if theirs.as_ref().is_some_and(|theirs| key.is(theirs)) {
                return Lookup::Lives(item);
            }
            let differs = match &theirs {
                Some(theirs) => key.surely_differs_from(theirs),
                None => leaves::surely_differ(key, &item.body),
            };
            if !differs && like_it.is_none() {
                like_it = Some(item);
            }
        }
        match like_it {
            Some(item) => Lookup::Lives(item),
            None if full => Lookup::Hidden,
            None => Lookup::Absent,
        }
    }
}

/// A window's edges as the server wants them; one that begins at the beginning begins at 0.
fn range_of(window: Window) -> Range {
    let from = window.min_change_version().map_or(0, |min| min.0);
    Range::closed(from, window.max_change_version().0)
}

#[async_trait]
impl Reader for EdfiReader {
    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Reader> {
        Arc::new(EdfiReader {
            view: Arc::new(self.view.for_run(run, stop)),
            limits: Arc::clone(&self.limits),
            isolation: self.isolation,
            versions: self.versions,
            pages: self.pages.clone(),
            room: self.pages.of_a_run(),
            tasks: self.tasks.clone(),
        })
    }

    fn requests(&self) -> u64 {
        self.view.requests()
    }

    fn newest(&self) -> ChangeVersion {
        self.versions.newest
    }

    fn oldest(&self) -> ChangeVersion {
        self.versions.oldest
    }

    fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn upserts(&self, resource: &ResourcePath, window: Window) -> Box<dyn ItemPages> {
        let (requests, up_to_edge) = (self.requests_of_items(resource, window), range_of(window));
        self.ahead(
            resource,
            window,
            if self.view.discovery().dialect.cursor_paging {
                Box::new(CursorFeed::new(requests))
            } else if self.isolation.bounds_upserts() {
                Box::new(RangeFeed::new(requests, up_to_edge))
            } else {
                Box::new(OpenRangeFeed::new(requests, up_to_edge))
            },
        )
    }

    fn upserts_from(
        &self,
        resource: &ResourcePath,
        window: Window,
        position: &Position,
    ) -> Option<Box<dyn ItemPages>> {
        let place = self.question(window).place(position)?;
        let has_cursors = self.view.discovery().dialect.cursor_paging;
        let requests = self.requests_of_items(resource, window);
        let feed: Box<dyn Feed> = match place {
            Place::Cursor(token) if has_cursors => Box::new(CursorFeed::at(requests, token)),
            Place::Ranges { ahead, above } if !has_cursors => {
                Box::new(OpenRangeFeed::at(requests, &ahead, above))
            }
            // The server has learnt cursors since, or lost them.
            Place::Cursor(_) | Place::Ranges { .. } => return None,
        };
        Some(self.ahead(resource, window, feed))
    }

    async fn parts_of_upserts(
        &self,
        resource: &ResourcePath,
        window: Window,
        first: usize,
    ) -> Result<Vec<Position>, SourceError> {
        let has_more = first >= self.limits.items.get();
        if !has_more || !self.view.discovery().dialect.cursor_paging {
            return Ok(Vec::new());
        }
        let tokens = self.view.partitions(resource, self.range_of_items(window), PARTS).await?;
        if tokens.len() < 2 {
            return Ok(Vec::new());
        }
        let question = self.question(window);
        Ok(tokens.into_iter().map(|token| question.position(Place::Cursor(token))).collect())
    }

    fn key_changes(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn KeyChangePages> {
        let view = Arc::clone(&self.view);
        let requests = Requests::key_changes(view, resource, Arc::clone(&self.limits.feeds));
        Box::new(feeds::KeyChangeFeed::new(requests, after))
    }

    fn tombstones(&self, resource: &ResourcePath, window: Window) -> Box<dyn TombstonePages> {
        self.tombstones_in(resource, self.range_of_tombstones(window))
    }

    fn tombstones_after(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn TombstonePages> {
        let window = Window { after: Some(after), through: after };
        self.tombstones_in(resource, Range::open(range_of(window).from))
    }

    async fn count_tombstones(
        &self,
        resource: &ResourcePath,
        window: Window,
    ) -> Result<u64, SourceError> {
        let url = self.view.discovery().deletes(resource);
        let url = with_range(url, self.range_of_tombstones(window));
        self.view.count(&Reading::Deletes(resource.clone()), url).await
    }

    async fn count(
        &self,
        resource: &ResourcePath,
        window: Option<Window>,
    ) -> Result<u64, SourceError> {
        let url = self.view.discovery().collection(resource);
        let url = match window {
            Some(window) => with_range(url, self.range_of_items(window)),
            None => url,
        };
        self.view.count(&Reading::Items(resource.clone()), url).await
    }

    async fn get(&self, resource: &ResourcePath, id: &SourceId) -> Result<Lookup, SourceError> {
        let reading = Reading::OneItem(resource.clone());
        let response = self.view.get(&reading, self.view.discovery().item(resource, &id.0)).await?;
        match response.status().as_u16() {
            200 => {}
            404 if !is_markup(response.body()) => return Ok(Lookup::Absent),
            // A proxy's page knows nothing of items.
            404 => return Err(self.view.shape(&reading, "the answer is a page of HTML")),
            403 => return Ok(Lookup::Hidden),
            _ => return Err(self.view.refused(&reading, &response)),
        }
        let item =
            single_item(response.body()).map_err(|error| self.view.shape(&reading, &error.what))?;
        if !item.id.0.eq_ignore_ascii_case(&id.0) {
            return Err(self.view.shape(&reading, "the answer is another item than was asked for"));
        }
        Ok(Lookup::Lives(item))
    }

    async fn tells(&self, canary: &Canary) -> Result<bool, SourceError> {
        let (view, limit) = (Arc::clone(&self.view), Arc::clone(&self.limits.feeds));
        // One version alone, so that a key change is not collapsed with a later one.
        let exactly = Range::closed(canary.version.0, canary.version.0);
        match canary.kind {
            CanaryKind::KeyChange => {
                let feed = Requests::key_changes(view, &canary.resource, limit);
                let told = feed.ask(exactly, false).await?.records;
                Ok(told.iter().any(|told| told.id == canary.id && told.version == canary.version))
            }
            CanaryKind::Tombstone => {
                let feed = Requests::tombstones(view, &canary.resource, limit);
                let told = feed.ask(exactly, false).await?.records;
                Ok(told.iter().any(|told| told.id == canary.id && told.version == canary.version))
            }
        }
    }

    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Lookup, SourceError> {
        let shape = self.key_shape(resource).await?;
        let reading = Reading::OneItem(resource.clone());
        let url = lookup::by_key(self.view.discovery(), resource, key, shape.as_deref());
        let ask_for = |limit: usize| {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("limit", &limit.to_string());
            url
        };

        let limit = &self.limits.items;
        let portion = Portion::at_most(CANDIDATES);
        let (response, asked) = self.view.get_page(&reading, limit, &portion, ask_for).await?;
        match response.status().as_u16() {
            200 => {}
            // 400: the server cannot ask for such a value, so it cannot say that it is not there.
            403 | 400 => return Ok(Lookup::Hidden),
            _ => return Err(self.view.refused(&reading, &response)),
        }
        let candidates =
            split_page(response.body()).map_err(|error| self.view.shape(&reading, &error.what))?;
        let key = shape.as_ref().map_or_else(|| key.clone(), |shape| shape.in_own_words(key));
        Ok(self.choose(candidates, asked, &key, shape.as_deref()))
    }

    async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, SourceError> {
        self.view.api().key_shape(resource).await.map_err(not_understood)
    }

    async fn confirm(&self) -> Result<(), SourceError> {
        if self.isolation != Isolation::Snapshot {
            return Ok(());
        }
        if self.view.newest().await? != self.newest() {
            return Err(self.view.snapshot_replaced());
        }
        if self.view.discovery().dialect.snapshots != SnapshotStyle::SnapshotIdentifier {
            return Ok(());
        }
        let listed = snapshot::list(&self.view.without_header()).await?;
        let ours = |listed: &snapshot::ListedSnapshot| {
            self.view.header_value() == Some(listed.snapshot_identifier.as_str())
        };
        if listed.iter().any(ours) { Ok(()) } else { Err(self.view.snapshot_replaced()) }
    }
}
