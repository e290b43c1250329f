//! The seam `Source` over a simulated database, without a wire.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tidemark::domain::{
    Body, Canary, CanaryKind, ChangeVersion, Item, KeyChange, KeyShape, NaturalKey, Position,
    ResourceGraph, ResourcePath, Scope, SourceId, Tombstone, Window,
};
use tidemark::sandbox::{Database, Shown, View};
use tidemark::sources::{
    Isolation, ItemPages, KeyChangePages, Lookup, Reader, Source, SourceCapabilities, SourceError,
    TombstonePages,
};
use tokio_util::sync::CancellationToken;

use super::ends::{self, GRAPH};
use super::machine::Frame;
use super::script::Script;
use crate::simulation::history::Side;

/// One end of a run.
#[derive(Clone)]
pub(super) struct ModelSource {
    pub(super) database: Arc<Database>,
    /// `district`, or the other one.
    pub(super) name: &'static str,
    pub(super) frame: Frame,
    /// Key changes above it are folded.
    pub(super) folds_above: Option<i64>,
    pub(super) script: Arc<Script>,
}

fn failed(what: &str) -> SourceError {
    SourceError::Unusable { connection: "district".to_owned(), what: what.to_owned() }
}

#[async_trait]
impl Source for ModelSource {
    async fn capabilities(&self) -> Result<Arc<SourceCapabilities>, SourceError> {
        Ok(Arc::new(SourceCapabilities {
            api_version: "7.3".to_owned(),
            fingerprint: ends::fingerprint(self.name),
            snapshots: true,
            deletes: true,
            key_changes: true,
            cursor_paging: !self.frame.by_version,
            hides_recreated: true,
        }))
    }

    async fn resources(&self) -> Result<Arc<ResourceGraph>, SourceError> {
        Ok(Arc::clone(&GRAPH))
    }

    async fn live_newest(&self) -> Result<ChangeVersion, SourceError> {
        self.script.asked(Side::Source).await.map_err(failed)?;
        Ok(ChangeVersion(self.database.newest()))
    }

    async fn scope(&self) -> Result<Option<Scope>, SourceError> {
        Ok(None)
    }

    async fn open(&self, isolation: Isolation) -> Result<Arc<dyn Reader>, SourceError> {
        self.script.asked(Side::Source).await.map_err(failed)?;
        let view = match isolation == Isolation::Snapshot {
            true => self.script.snapshot(),
            false => self.database.view(),
        };
        let newest = ChangeVersion(view.newest());
        Ok(Arc::new(ModelReader { source: self.clone(), isolation, newest }))
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

#[derive(Clone)]
struct ModelReader {
    source: ModelSource,
    isolation: Isolation,
    newest: ChangeVersion,
}

impl ModelReader {
    /// What this answer shows; every answer of a source without snapshot shows its own present.
    async fn look(&self) -> Result<View, SourceError> {
        self.source.script.asked(Side::Source).await.map_err(failed)?;
        Ok(match self.isolation == Isolation::Snapshot {
            true => self.source.script.snapshot(),
            false => self.source.database.view(),
        })
    }

    fn pages(&self, resource: &ResourcePath, window: Window, after: i64, until: i64) -> Pages {
        Pages {
            reader: self.clone(),
            resource: resource.clone(),
            from: window.min_change_version().map_or(0, |min| min.0),
            through: match self.isolation.bounds_upserts() {
                true => window.through.0,
                false => i64::MAX,
            },
            after,
            until,
            begun_after: after,
            question: self.question(window),
        }
    }

    /// What the pages of a window are asked with: another question has other pages (R11, R12).
    fn question(&self, window: Window) -> String {
        match self.isolation == Isolation::Snapshot {
            true => format!("{window:?} of {:?}", self.newest),
            false => format!("{window:?}"),
        }
    }

    /// The window of tombstones as versions; under a snapshot it has no upper edge (R8).
    fn edges(&self, window: Window) -> (i64, i64) {
        let from = window.min_change_version().map_or(0, |min| min.0);
        match self.isolation.bounds_deletes() {
            true => (from, window.through.0),
            false => (from, i64::MAX),
        }
    }
}

#[async_trait]
impl Reader for ModelReader {
    fn newest(&self) -> ChangeVersion {
        self.newest
    }

    fn isolation(&self) -> Isolation {
        self.isolation
    }

    fn upserts(&self, resource: &ResourcePath, window: Window) -> Box<dyn ItemPages> {
        Box::new(self.pages(resource, window, i64::MIN, i64::MAX))
    }

    /// In two, around the item in the middle. What is asked for by version moves while it is read.
    async fn parts_of_upserts(
        &self,
        resource: &ResourcePath,
        window: Window,
        first: usize,
    ) -> Result<Vec<Position>, SourceError> {
        let Frame { by_version, page_size, .. } = self.source.frame;
        if by_version || first < page_size {
            return Ok(Vec::new());
        }
        let whole = self.pages(resource, window, i64::MIN, i64::MAX);
        let shown = self.look().await?.items(resource.as_str(), whole.from, whole.through);
        let mut places: Vec<i64> = shown.iter().map(|s| i64::from(s.position())).collect();
        places.sort_unstable();
        let Some(middle) = places.get(places.len() / 2).copied() else { return Ok(Vec::new()) };
        let question = self.question(window);
        let part = |after, until| Position(format!("{question}@{after}:{until}"));
        Ok(vec![part(i64::MIN, middle), part(middle, i64::MAX)])
    }

    fn upserts_from(
        &self,
        resource: &ResourcePath,
        window: Window,
        position: &Position,
    ) -> Option<Box<dyn ItemPages>> {
        let (question, after) = position.0.split_once('@').unwrap();
        if question != self.question(window) {
            return None;
        }
        let (after, until) = after.split_once(':').unwrap();
        let (after, until) = (after.parse().unwrap(), until.parse().unwrap());
        Some(Box::new(self.pages(resource, window, after, until)))
    }

    fn key_changes(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn KeyChangePages> {
        let (reader, resource) = (self.clone(), resource.clone());
        Box::new(KeyChanges { reader, resource, after: Some(after) })
    }

    fn tombstones(&self, resource: &ResourcePath, window: Window) -> Box<dyn TombstonePages> {
        let (from, through) = self.edges(window);
        let (reader, resource) = (self.clone(), resource.clone());
        Box::new(Tombstones { reader, resource, ahead: Some(from), through })
    }

    fn tombstones_after(
        &self,
        resource: &ResourcePath,
        after: ChangeVersion,
    ) -> Box<dyn TombstonePages> {
        let (reader, resource) = (self.clone(), resource.clone());
        Box::new(Tombstones { reader, resource, ahead: Some(after.0 + 1), through: i64::MAX })
    }

    async fn count_tombstones(
        &self,
        resource: &ResourcePath,
        window: Window,
    ) -> Result<u64, SourceError> {
        let (from, through) = self.edges(window);
        Ok(self.look().await?.deletes(resource.as_str(), from, through).len() as u64)
    }

    async fn count(
        &self,
        resource: &ResourcePath,
        window: Option<Window>,
    ) -> Result<u64, SourceError> {
        let from = window.and_then(|window| window.min_change_version()).map_or(0, |min| min.0);
        let through = window.map_or(i64::MAX, |window| window.through.0);
        Ok(self.look().await?.items(resource.as_str(), from, through).len() as u64)
    }

    async fn get(&self, resource: &ResourcePath, id: &SourceId) -> Result<Lookup, SourceError> {
        Ok(match self.look().await?.item(resource.as_str(), &id.0) {
            Some(Ok(shown)) => Lookup::Lives(item(shown)),
            Some(Err(_)) => Lookup::Hidden,
            None => Lookup::Absent,
        })
    }

    async fn tells(&self, canary: &Canary) -> Result<bool, SourceError> {
        #[derive(Deserialize)]
        struct Told {
            id: SourceId,
        }
        let (view, resource, version) =
            (self.look().await?, canary.resource.as_str(), canary.version.0);
        let told = match canary.kind {
            CanaryKind::KeyChange => view.key_changes(resource, version, version),
            CanaryKind::Tombstone => view.deletes(resource, version, version),
        };
        let mut told = told.iter().map(|entry| serde_json::from_str::<Told>(entry).unwrap());
        Ok(told.any(|told| told.id == canary.id))
    }

    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Lookup, SourceError> {
        let key = ends::in_own_words(resource, key);
        let found = self.look().await?.find(resource.as_str(), &ends::parts(&key));
        Ok(found.map_or(Lookup::Absent, |shown| Lookup::Lives(item(shown))))
    }

    async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, SourceError> {
        Ok(Some(ends::shape_of(resource)))
    }

    /// Newest does not tell every two images apart, and is all that there is to go by (R11).
    async fn confirm(&self) -> Result<(), SourceError> {
        let newest = ChangeVersion(self.look().await?.newest());
        if self.isolation == Isolation::Snapshot && newest != self.newest {
            return Err(SourceError::SnapshotReplaced { connection: "district".to_owned() });
        }
        Ok(())
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

fn item(shown: Shown) -> Item {
    Item { id: SourceId(shown.id()), body: Body(Bytes::from(shown.text())) }
}

/// Pages by cursor, in the order of creation, or in the order of versions: either way a page
/// begins after the last item of the one before.
struct Pages {
    reader: ModelReader,
    resource: ResourcePath,
    from: i64,
    through: i64,
    after: i64,
    /// The last place of the part that this is; of the whole, the highest of all.
    until: i64,
    /// Where the page that came last begins.
    begun_after: i64,
    question: String,
}

#[async_trait]
impl ItemPages for Pages {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        let Frame { by_version, page_size, .. } = self.reader.source.frame;
        let view = self.reader.look().await?;
        let mut ahead = view.items(self.resource.as_str(), self.from, self.through);
        let place = |shown: &Shown| match by_version {
            true => shown.version(),
            false => i64::from(shown.position()),
        };
        ahead.retain(|shown| place(shown) > self.after && place(shown) <= self.until);
        ahead.sort_by_key(place);
        ahead.truncate(page_size);
        let Some(last) = ahead.last() else { return Ok(None) };
        self.begun_after = std::mem::replace(&mut self.after, place(last));
        Ok(Some(ahead.into_iter().map(item).collect()))
    }

    fn position(&self) -> Option<Position> {
        Some(Position(format!("{}@{}:{}", self.question, self.begun_after, self.until)))
    }
}

/// The whole feed at once.
struct KeyChanges {
    reader: ModelReader,
    resource: ResourcePath,
    after: Option<ChangeVersion>,
}

#[async_trait]
impl KeyChangePages for KeyChanges {
    async fn next(&mut self) -> Result<Option<Vec<KeyChange>>, SourceError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            id: SourceId,
            change_version: ChangeVersion,
            old_key_values: NaturalKey,
            new_key_values: NaturalKey,
        }
        let Some(after) = self.after.take() else { return Ok(None) };
        let view = self.reader.look().await?;
        let (resource, from) = (self.resource.as_str(), after.0 + 1);
        let folds_above = self.reader.source.folds_above.unwrap_or(i64::MAX - 1);
        let mut told = view.key_changes(resource, from, folds_above);
        told.extend(view.folded_key_changes(resource, from.max(folds_above + 1), i64::MAX));
        let told = told.iter().map(|entry| serde_json::from_str(entry).unwrap());
        let changes = told.map(|told: Told| KeyChange {
            id: told.id,
            version: told.change_version,
            old: told.old_key_values,
            new: told.new_key_values,
        });
        let changes: Vec<KeyChange> = changes.collect();
        Ok((!changes.is_empty()).then_some(changes))
    }
}

struct Tombstones {
    reader: ModelReader,
    resource: ResourcePath,
    ahead: Option<i64>,
    through: i64,
}

#[async_trait]
impl TombstonePages for Tombstones {
    async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, SourceError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Told {
            id: SourceId,
            change_version: ChangeVersion,
            key_values: NaturalKey,
        }
        let Some(from) = self.ahead else { return Ok(None) };
        let told = self.reader.look().await?.deletes(self.resource.as_str(), from, self.through);
        let told = told.iter().take(self.reader.source.frame.page_size);
        let page: Vec<Tombstone> = told
            .map(|entry| serde_json::from_str(entry).unwrap())
            .map(|Told { id, change_version, key_values }| Tombstone {
                id,
                version: change_version,
                key: Some(key_values),
            })
            .collect();
        self.ahead = page.last().map(|last| last.version.0 + 1);
        Ok((!page.is_empty()).then_some(page))
    }
}
