//! Two ends of any size without a wire: their items are made when a page is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tidemark::domain::{
    Body, Canary, ChangeVersion, Fingerprint, Item, KeyShape, NaturalKey, Position, ResourceGraph,
    ResourcePath, Scope, SourceId, TargetId, Window,
};
use tidemark::edfi::Shapes;
use tidemark::sources::{
    Isolation, ItemPages, KeyChangePages, Lookup, Reader, Source, SourceCapabilities, SourceError,
    TombstonePages,
};
use tidemark::targets::{
    Deleted, Found, FoundPages, Match, Target, TargetCapabilities, Upserted, WriteError,
};
use tokio_util::sync::CancellationToken;

const PAGE: u64 = 500;

/// What both ends hold: descriptors with numbers for names.
pub(super) struct World {
    pub(super) resource: ResourcePath,
    pub(super) source: Range<u64>,
    pub(super) target: Range<u64>,
    pub(super) not_at_target: BTreeSet<u64>,
    pub(super) different_at_target: Mutex<BTreeSet<u64>>,
    pub(super) written: Mutex<BTreeSet<u64>>,
    pub(super) deleted: Mutex<BTreeSet<u64>>,
    pub(super) newest: AtomicU64,
    pub(super) source_pages: AtomicU64,
    pub(super) target_pages: AtomicU64,
    pub(super) looks: AtomicU64,
    pub(super) stop: CancellationToken,
    /// Asks to stop when so many pages or looks have been answered.
    pub(super) stop_at: AtomicU64,
    pub(super) data_url: Mutex<String>,
}

impl World {
    pub(super) fn of(source: Range<u64>, target: Range<u64>) -> World {
        World {
            resource: ResourcePath::parse("/ed-fi/termDescriptors").unwrap(),
            source,
            target,
            not_at_target: BTreeSet::new(),
            different_at_target: Mutex::default(),
            written: Mutex::default(),
            deleted: Mutex::default(),
            newest: AtomicU64::new(100),
            source_pages: AtomicU64::new(0),
            target_pages: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            stop: CancellationToken::new(),
            stop_at: AtomicU64::new(u64::MAX),
            data_url: Mutex::new("http://source.invalid/data/v3".to_owned()),
        }
    }

    /// The same two ends for a new process.
    pub(super) fn reopened(&mut self) {
        self.stop = CancellationToken::new();
        self.stop_at = AtomicU64::new(u64::MAX);
        for counter in [&self.source_pages, &self.target_pages, &self.looks] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        let all = [&self.source_pages, &self.target_pages, &self.looks];
        let answered: u64 = all.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
        if answered >= self.stop_at.load(Ordering::Relaxed) {
            self.stop.cancel();
        }
    }

    fn is_at_target(&self, number: u64) -> bool {
        self.written.lock().unwrap().contains(&number)
            || (self.target.contains(&number)
                && !self.not_at_target.contains(&number)
                && !self.deleted.lock().unwrap().contains(&number))
    }

    fn at_target(&self, number: u64) -> Body {
        let is_different = self.different_at_target.lock().unwrap().contains(&number);
        body(number, if is_different { "other" } else { "same" })
    }

    fn graph(&self) -> Arc<ResourceGraph> {
        Arc::new(ResourceGraph::build([self.resource.clone()], [], []).unwrap())
    }

    fn shape(&self) -> Arc<KeyShape> {
        Shapes::built_in().of(&self.resource).unwrap()
    }
}

fn body(number: u64, short: &str) -> Body {
    Body(Bytes::from(format!(
        r#"{{"namespace":"uri://ed-fi.org/TermDescriptor","codeValue":"C{number}","shortDescription":"{short}"}}"#
    )))
}

fn number_of(key: &NaturalKey) -> u64 {
    key.get("codeValue").unwrap().strip_prefix('C').unwrap().parse().unwrap()
}

fn fingerprint(data_url: &str) -> Fingerprint {
    Fingerprint {
        data_url: data_url.to_owned(),
        school_year: None,
        instance: None,
        data_models: BTreeMap::from([("Ed-Fi".to_owned(), "5.2.0".to_owned())]),
        api_version: "7.3".to_owned(),
    }
}

fn item(number: u64) -> Item {
    Item { id: SourceId(number.to_string()), body: body(number, "same") }
}

#[derive(Clone)]
pub(super) struct LargeSource(pub(super) Arc<World>);

#[async_trait]
impl Source for LargeSource {
    async fn capabilities(&self) -> Result<Arc<SourceCapabilities>, SourceError> {
        Ok(Arc::new(SourceCapabilities {
            api_version: "7.3".to_owned(),
            fingerprint: fingerprint(&self.0.data_url.lock().unwrap()),
            snapshots: true,
            deletes: true,
            key_changes: true,
            cursor_paging: true,
            hides_recreated: true,
        }))
    }

    async fn resources(&self) -> Result<Arc<ResourceGraph>, SourceError> {
        Ok(self.0.graph())
    }

    async fn live_newest(&self) -> Result<ChangeVersion, SourceError> {
        Ok(self.newest())
    }

    async fn scope(&self) -> Result<Option<Scope>, SourceError> {
        Ok(None)
    }

    async fn open(&self, _: Isolation) -> Result<Arc<dyn Reader>, SourceError> {
        Ok(Arc::new(self.clone()))
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

#[async_trait]
impl Reader for LargeSource {
    fn newest(&self) -> ChangeVersion {
        ChangeVersion(self.0.newest.load(Ordering::Relaxed).try_into().unwrap())
    }

    fn isolation(&self) -> Isolation {
        Isolation::Snapshot
    }

    fn upserts(&self, _: &ResourcePath, _: Window) -> Box<dyn ItemPages> {
        Box::new(SourcePages { world: Arc::clone(&self.0), next: self.0.source.start, begun: 0 })
    }

    fn upserts_from(
        &self,
        _: &ResourcePath,
        _: Window,
        position: &Position,
    ) -> Option<Box<dyn ItemPages>> {
        let next = position.0.parse().unwrap();
        Some(Box::new(SourcePages { world: Arc::clone(&self.0), next, begun: next }))
    }

    fn key_changes(&self, _: &ResourcePath, _: ChangeVersion) -> Box<dyn KeyChangePages> {
        unreachable!("a comparison reads no feed of changes")
    }

    fn tombstones(&self, _: &ResourcePath, _: Window) -> Box<dyn TombstonePages> {
        unreachable!("a comparison reads no feed of changes")
    }

    fn tombstones_after(&self, _: &ResourcePath, _: ChangeVersion) -> Box<dyn TombstonePages> {
        unreachable!("a comparison reads no feed of changes")
    }

    async fn count_tombstones(&self, _: &ResourcePath, _: Window) -> Result<u64, SourceError> {
        Ok(0)
    }

    async fn count(&self, _: &ResourcePath, _: Option<Window>) -> Result<u64, SourceError> {
        Ok(self.0.source.end - self.0.source.start)
    }

    async fn get(&self, _: &ResourcePath, id: &SourceId) -> Result<Lookup, SourceError> {
        self.0.count(&self.0.looks);
        let number = id.0.parse().unwrap();
        let lives = self.0.source.contains(&number);
        Ok(if lives { Lookup::Lives(item(number)) } else { Lookup::Absent })
    }

    async fn tells(&self, _: &Canary) -> Result<bool, SourceError> {
        Ok(true)
    }

    async fn find(&self, _: &ResourcePath, key: &NaturalKey) -> Result<Lookup, SourceError> {
        let number = number_of(key);
        let lives = self.0.source.contains(&number);
        Ok(if lives { Lookup::Lives(item(number)) } else { Lookup::Absent })
    }

    async fn key_shape(&self, _: &ResourcePath) -> Result<Option<Arc<KeyShape>>, SourceError> {
        Ok(Some(self.0.shape()))
    }

    async fn confirm(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

struct SourcePages {
    world: Arc<World>,
    next: u64,
    begun: u64,
}

#[async_trait]
impl ItemPages for SourcePages {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        self.world.count(&self.world.source_pages);
        let end = (self.next + PAGE).min(self.world.source.end);
        let page: Vec<Item> = (self.next..end).map(item).collect();
        self.begun = std::mem::replace(&mut self.next, end);
        Ok((!page.is_empty()).then_some(page))
    }

    fn position(&self) -> Option<Position> {
        Some(Position(self.begun.to_string()))
    }
}

#[derive(Clone)]
pub(super) struct LargeTarget(pub(super) Arc<World>);

impl LargeTarget {
    fn found(&self, number: u64) -> Option<Found> {
        self.0.is_at_target(number).then(|| {
            let body = self.0.at_target(number);
            let key = self.0.shape().key_of(&body);
            Found { id: TargetId(format!("t{number}")), key, body }
        })
    }
}

#[async_trait]
impl Target for LargeTarget {
    async fn capabilities(&self) -> Result<Arc<TargetCapabilities>, WriteError> {
        Ok(Arc::new(TargetCapabilities {
            api_version: "7.3".to_owned(),
            fingerprint: fingerprint("http://target.invalid/data/v3"),
        }))
    }

    async fn resources(&self) -> Result<Arc<ResourceGraph>, WriteError> {
        Ok(self.0.graph())
    }

    async fn newest(&self) -> Result<Option<ChangeVersion>, WriteError> {
        Ok(Some(ChangeVersion(7)))
    }

    async fn upsert(&self, _: &ResourcePath, item: &Item) -> Result<Upserted, WriteError> {
        let number = item.id.0.parse().unwrap();
        self.0.written.lock().unwrap().insert(number);
        self.0.different_at_target.lock().unwrap().remove(&number);
        Ok(Upserted { id: Some(TargetId(format!("t{number}"))), created: true })
    }

    async fn rename(&self, _: &ResourcePath, _: &TargetId, _: &Item) -> Result<(), WriteError> {
        unreachable!("a comparison renames nothing")
    }

    async fn delete(&self, _: &ResourcePath, id: &TargetId) -> Result<Deleted, WriteError> {
        let number = id.0.strip_prefix('t').unwrap().parse().unwrap();
        self.0.deleted.lock().unwrap().insert(number);
        Ok(Deleted::Deleted)
    }

    async fn find(&self, _: &ResourcePath, key: &NaturalKey) -> Result<Match, WriteError> {
        self.0.count(&self.0.looks);
        Ok(self.found(number_of(key)).map_or(Match::None, Match::One))
    }

    async fn get(&self, _: &ResourcePath, id: &TargetId) -> Result<Option<Found>, WriteError> {
        self.0.count(&self.0.looks);
        Ok(self.found(id.0.strip_prefix('t').unwrap().parse().unwrap()))
    }

    async fn count(&self, _: &ResourcePath) -> Result<u64, WriteError> {
        Ok(self.0.target.end - self.0.target.start)
    }

    fn pages(&self, _: &ResourcePath) -> Box<dyn FoundPages> {
        let last = self.0.source.end.max(self.0.target.end);
        Box::new(TargetPages { target: self.clone(), next: 0, begun: 0, last })
    }

    fn pages_from(&self, _: &ResourcePath, position: &Position) -> Option<Box<dyn FoundPages>> {
        let next = position.0.parse().unwrap();
        let last = self.0.source.end.max(self.0.target.end);
        Some(Box::new(TargetPages { target: self.clone(), next, begun: next, last }))
    }

    async fn key_shape(&self, _: &ResourcePath) -> Result<Option<Arc<KeyShape>>, WriteError> {
        Ok(Some(self.0.shape()))
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Target> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

struct TargetPages {
    target: LargeTarget,
    next: u64,
    begun: u64,
    last: u64,
}

#[async_trait]
impl FoundPages for TargetPages {
    async fn next(&mut self) -> Result<Option<Vec<Found>>, WriteError> {
        self.target.0.count(&self.target.0.target_pages);
        while self.next < self.last {
            let end = (self.next + PAGE).min(self.last);
            let page: Vec<Found> =
                (self.next..end).filter_map(|number| self.target.found(number)).collect();
            self.begun = std::mem::replace(&mut self.next, end);
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn position(&self) -> Option<Position> {
        Some(Position(self.begun.to_string()))
    }
}
