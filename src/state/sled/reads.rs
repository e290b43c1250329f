//! What is read back from sled, question by question; what each means is `records.rs`.

use std::sync::PoisonError;

use async_trait::async_trait;

use super::super::erasure::{self, ErasedKey};
use super::super::{
    AuditRecord, Comparison, Coverage, Finished, JournalledName, LeftBehind, Outline, PairId,
    PairState, Parked, ParkedCounts, Plan, Progress, RememberedKeyChange, RunJournal, RunRecord,
    SettledTombstone, StateError, StateView, Step, Verified, Written, records, remembered,
};
use super::known::Known;
use super::{Shared, SledStore};
use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, NaturalKey, ResourcePath, SourceId, TargetId};

#[async_trait]
impl StateView for SledStore {
    async fn load(&self, pair: &PairId) -> Result<Option<PairState>, StateError> {
        const DOING: &str = "reading a pair";
        if let Some(state) = self.in_memory(DOING, |known| known.state(pair))? {
            return Ok(state);
        }
        let pair = pair.clone();
        self.on_disk(DOING, move |shared| {
            let since = shared.known.now();
            let state = records::load(&*shared.db, &pair)?;
            shared.known.has_read_state(&pair, state.as_ref(), since);
            Ok(state)
        })
        .await
    }

    async fn coverage(&self, pair: &PairId) -> Result<Coverage, StateError> {
        let pair = pair.clone();
        self.on_disk("reading what a watermark speaks for", move |shared| {
            records::coverage(&*shared.db, &pair)
        })
        .await
    }

    async fn journal(&self, pair: &PairId) -> Result<Option<RunJournal>, StateError> {
        let pair = pair.clone();
        self.on_disk("reading a journal", move |shared| records::journal(&*shared.db, &pair)).await
    }

    async fn plan(&self, pair: &PairId) -> Result<Option<Plan>, StateError> {
        let pair = pair.clone();
        self.on_disk("reading a plan", move |shared| records::plan(&*shared.db, &pair)).await
    }

    async fn outlines(&self, pairs: Vec<PairId>) -> Result<Vec<Outline>, StateError> {
        self.on_disk("reading what is remembered of pairs", move |shared| {
            pairs.iter().map(|pair| records::outline(&*shared.db, pair)).collect()
        })
        .await
    }

    async fn names(&self, pair: &PairId) -> Result<Vec<JournalledName>, StateError> {
        let pair = pair.clone();
        self.on_disk("reading journalled names", move |shared| records::names(&*shared.db, &pair))
            .await
    }

    async fn names_after(
        &self,
        pair: &PairId,
        after: Option<&JournalledName>,
        limit: usize,
    ) -> Result<Vec<JournalledName>, StateError> {
        let (pair, after) = (pair.clone(), after.cloned());
        self.on_disk("reading journalled names", move |shared| {
            records::names_after(&*shared.db, &pair, after.as_ref(), limit)
        })
        .await
    }

    async fn name(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        key: &NaturalKey,
    ) -> Result<Option<JournalledName>, StateError> {
        let pair = pair.clone();
        let resource = resource.clone();
        let key = key.clone();
        self.on_disk("reading a journalled name", move |shared| {
            records::name(&*shared.db, &pair, &resource, &key)
        })
        .await
    }

    async fn key_changes(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        after: Option<&SourceId>,
        limit: usize,
    ) -> Result<Vec<RememberedKeyChange>, StateError> {
        let pair = pair.clone();
        let resource = resource.clone();
        let after = after.cloned();
        self.on_disk("reading key changes", move |shared| {
            remembered::key_changes(&*shared.db, &pair, &resource, after.as_ref(), limit)
        })
        .await
    }

    async fn key_changes_of(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        id: &SourceId,
    ) -> Result<Vec<RememberedKeyChange>, StateError> {
        let pair = pair.clone();
        let resource = resource.clone();
        let id = id.clone();
        self.on_disk("reading key changes", move |shared| {
            remembered::key_changes_of(&*shared.db, &pair, &resource, &id)
        })
        .await
    }

    async fn settled_tombstones(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        tombstones: Vec<(SourceId, ChangeVersion)>,
    ) -> Result<Vec<SettledTombstone>, StateError> {
        let pair = pair.clone();
        let resource = resource.clone();
        self.on_disk("reading settled tombstones", move |shared| {
            remembered::settled_tombstones(&*shared.db, &pair, &resource, &tombstones)
        })
        .await
    }

    async fn written(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        ids: Vec<SourceId>,
    ) -> Result<Vec<Written>, StateError> {
        let pair = pair.clone();
        let resource = resource.clone();
        self.on_disk("reading what was written", move |shared| {
            remembered::written(&*shared.db, &pair, &resource, &ids)
        })
        .await
    }

    async fn written_as(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        id: &TargetId,
    ) -> Result<Option<SourceId>, StateError> {
        let pair = pair.clone();
        let resource = resource.clone();
        let id = id.clone();
        self.on_disk("reading what was written", move |shared| {
            remembered::written_as(&*shared.db, &pair, &resource, &id)
        })
        .await
    }

    async fn left_behind(&self, pair: &PairId) -> Result<Vec<LeftBehind>, StateError> {
        let pair = pair.clone();
        self.on_disk("reading what was left behind", move |shared| {
            remembered::left_behind(&*shared.db, &pair)
        })
        .await
    }

    async fn finished(&self, pair: &PairId) -> Result<Vec<Finished>, StateError> {
        let pair = pair.clone();
        let read = move |shared: &Shared| records::finished(&*shared.db, &pair);
        self.on_disk("reading finished resources", read).await
    }

    async fn progress(&self, pair: &PairId) -> Result<Vec<Progress>, StateError> {
        let pair = pair.clone();
        let read = move |shared: &Shared| records::progress(&*shared.db, &pair);
        self.on_disk("reading how far resources had come", read).await
    }

    async fn comparison(&self, pair: &PairId) -> Result<Option<Comparison>, StateError> {
        let pair = pair.clone();
        let read = move |shared: &Shared| records::comparison(&*shared.db, &pair);
        self.on_disk("reading how far a comparison had come", read).await
    }

    async fn verified(&self, pair: &PairId) -> Result<Vec<Verified>, StateError> {
        let pair = pair.clone();
        let read = move |shared: &Shared| records::verified(&*shared.db, &pair);
        self.on_disk("reading what comparisons found", read).await
    }

    async fn records_with(&self, pair: &PairId, key: &ErasedKey) -> Result<u64, StateError> {
        let (pair, key) = (pair.clone(), key.clone());
        let read = move |shared: &Shared| erasure::count(&*shared.db, &pair, &key);
        self.on_disk("looking for a key", read).await
    }

    async fn parked(
        &self,
        pair: &PairId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Parked>, StateError> {
        const DOING: &str = "reading parked items";
        let nothing = |known: &Known| known.has_nothing_parked(pair).then(Vec::new);
        if let Some(nothing) = self.in_memory(DOING, nothing)? {
            return Ok(nothing);
        }
        let pair = pair.clone();
        let after = after.map(str::to_owned);
        self.on_disk(DOING, move |shared| {
            let since = shared.known.now();
            let page = records::parked(&*shared.db, &pair, after.as_deref(), limit)?;
            if page.is_empty() && after.is_none() && limit > 0 {
                shared.known.has_read_nothing_parked(&pair, since);
            }
            Ok(page)
        })
        .await
    }

    async fn parked_counts(&self, pair: &PairId) -> Result<ParkedCounts, StateError> {
        let pair = pair.clone();
        self.on_disk("counting parked items", move |shared| {
            records::parked_counts(&*shared.db, &pair)
        })
        .await
    }

    async fn runs(&self, pair: &PairId, limit: usize) -> Result<Vec<RunRecord>, StateError> {
        let pair = pair.clone();
        self.on_disk("reading the history of runs", move |shared| {
            records::runs(&*shared.db, &pair, limit)
        })
        .await
    }

    async fn runs_named(&self, pair: &PairId, id: &str) -> Result<Vec<RunRecord>, StateError> {
        let (pair, id) = (pair.clone(), id.to_owned());
        self.on_disk("looking for a run", move |shared| {
            records::runs_named(&*shared.db, &pair, &id)
        })
        .await
    }

    async fn whole(&self, pair: &PairId) -> Result<Step, StateError> {
        let pair = pair.clone();
        self.on_disk("reading everything of a pair", move |shared| {
            // Steps wait meanwhile, so that none of them is seen by halves.
            let _no_step = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            records::whole(&*shared.db, &pair)
        })
        .await
    }

    async fn pairs(&self) -> Result<Vec<PairId>, StateError> {
        self.on_disk("listing pairs", |shared| records::pairs(&*shared.db)).await
    }

    async fn audit(
        &self,
        since: Option<Timestamp>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StateError> {
        let before = before.map(str::to_owned);
        self.on_disk("reading the audit", move |shared| {
            records::audit(&*shared.db, since, before.as_deref(), limit)
        })
        .await
    }
}
