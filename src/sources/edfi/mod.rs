//! One Ed-Fi API as a source: views, windows, feeds and look-ups (`edfi-wire` sections 3 to 5, 8).
//!
//! What lives here: how the reading seam is spelt on this protocol. What does not: discovery and
//! what else both ends share (`crate::edfi`), tokens, retries and pacing (`crate::http`). The one
//! thing to know: no offset is ever counted. What moves is read by cursor where the server has
//! one and by closed ranges of change versions where not (`ranges.rs`), and the feeds go on from
//! the version after the last one told (`feeds.rs`). What the isolation leaves open above is read
//! last.

mod snapshot;
mod reader;
mod paging;
mod room;
mod position;
mod ranges;
mod feeds;
mod leaves;
mod limit;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use self::reader::{EdfiReader, Limits};
pub use self::room::PageRoom;
use self::wire::{View, not_understood};
use crate::domain::{ChangeVersion, ResourceGraph, Scope};
use crate::edfi::{Api, Discovery, SnapshotStyle};
use crate::sources::{Isolation, Reader, Source, SourceCapabilities, SourceError};
use crate::tasks::Tasks;

/// One Ed-Fi API that is read from.
pub struct EdfiSource {
    api: Arc<Api>,
    limits: Arc<Limits>,
    pages: PageRoom,
    tasks: Tasks,
}

impl EdfiSource {
    /// `page_size` is how many records are asked for at once, 500 by default; what the API does
    /// not allow is learnt from its refusal. All sources of a process share one room for pages.
    pub fn new(api: Arc<Api>, page_size: usize, pages: PageRoom) -> EdfiSource {
        EdfiSource { api, limits: Arc::new(Limits::new(page_size)), pages, tasks: Tasks::new() }
    }

    async fn understood(&self) -> Result<Arc<Discovery>, SourceError> {
        self.api.discovered().await.map_err(not_understood)
    }

    async fn live_view(&self) -> Result<View, SourceError> {
        Ok(View::live(Arc::clone(&self.api), self.understood().await?))
    }

    /// The view of the source's snapshot, which need not be there.
    async fn snapshot_view(&self) -> Result<View, SourceError> {
        let discovery = self.understood().await?;
        let header = match discovery.dialect.snapshots {
            SnapshotStyle::UseSnapshotHeader => (snapshot::USE_SNAPSHOT, "true".to_owned()),
            SnapshotStyle::SnapshotIdentifier => {
                let live = self.live_view().await?;
                let newest = snapshot::newest(snapshot::list(&live).await?);
                let newest = newest.ok_or_else(|| self.snapshot_missing())?;
                (snapshot::SNAPSHOT_IDENTIFIER, newest.snapshot_identifier)
            }
            SnapshotStyle::None => return Err(self.snapshot_missing()),
        };
        Ok(View::held_by(Arc::clone(&self.api), discovery, header))
    }

    fn snapshot_missing(&self) -> SourceError {
        SourceError::SnapshotMissing { connection: self.api.connection().to_owned() }
    }

    async fn reader(&self, view: View, isolation: Isolation) -> Result<EdfiReader, SourceError> {
        let (limits, pages) = (Arc::clone(&self.limits), self.pages.clone());
        EdfiReader::open(view, limits, isolation, pages, self.tasks.clone()).await
    }

    async fn open_snapshot(&self) -> Result<EdfiReader, SourceError> {
        let opened = self.reader(self.snapshot_view().await?, Isolation::Snapshot).await;
        let Err(SourceError::Refused { status: 404, .. }) = &opened else { return opened };
        // Not every version says in words that it is the snapshot that is not there. If the live
        // database answers the same question, it is.
        match self.live_newest().await {
            Ok(_) => Err(self.snapshot_missing()),
            Err(_) => opened,
        }
    }
}

#[async_trait]
impl Source for EdfiSource {
    async fn capabilities(&self) -> Result<Arc<SourceCapabilities>, SourceError> {
        let discovery = self.understood().await?;
        let dialect = discovery.dialect;
        Ok(Arc::new(SourceCapabilities {
            api_version: discovery.root.version.clone(),
            fingerprint: discovery.fingerprint.clone(),
            snapshots: dialect.snapshots != SnapshotStyle::None,
            deletes: dialect.deletes_have_keys,
            key_changes: dialect.key_changes,
            cursor_paging: dialect.cursor_paging,
            hides_recreated: dialect.hides_recreated,
        }))
    }

    async fn resources(&self) -> Result<Arc<ResourceGraph>, SourceError> {
        self.api.dependencies().await.map_err(not_understood)
    }

    async fn live_newest(&self) -> Result<ChangeVersion, SourceError> {
        self.live_view().await?.newest().await
    }

    async fn scope(&self) -> Result<Option<Scope>, SourceError> {
        let info = self.api.token_info().await.map_err(not_understood)?;
        Ok(info.map(|info| Scope::of(info.education_organizations(), info.namespaces())))
    }

    async fn open(&self, isolation: Isolation) -> Result<Arc<dyn Reader>, SourceError> {
        let reader = match isolation {
            Isolation::Snapshot => self.open_snapshot().await?,
            Isolation::Bounded | Isolation::Open | Isolation::Combined => {
                self.reader(self.live_view().await?, isolation).await?
            }
        };
        Ok(Arc::new(reader))
    }

    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Source> {
        Arc::new(EdfiSource {
            api: self.api.for_run(run, stop),
            limits: Arc::clone(&self.limits),
            pages: self.pages.clone(),
            tasks: self.tasks.clone(),
        })
    }

    fn requests(&self) -> u64 {
        self.api.requests()
    }
}
