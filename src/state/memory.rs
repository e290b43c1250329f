//! A store that forgets when it is dropped: for tests, with a switch that breaks it.
//!
//! What lives here: the table and the switch. What a step means is `records.rs`, as for every
//! store; records pass through their bytes here too, so that a test with this store sees what
//! would be on disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::codec::Trouble;
use super::erasure::{self, ErasedKey};
use super::records::{self, Entries, Table};
use super::remembered;
use super::{
    AuditRecord, Comparison, Coverage, Finished, JournalledName, LeftBehind, Outline, PairId,
    PairState, Parked, ParkedCounts, Plan, Progress, RememberedKeyChange, RunJournal, RunRecord,
    SettledTombstone, StateError, StateStore, StateView, Step, Verified, Written,
};
use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, NaturalKey, ResourcePath, SourceId, TargetId};

/// State in memory. The same promises as on disk, durability apart.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Commits that still succeed before the store breaks; `None`: it does not.
    commits_left: Option<u64>,
    broken: bool,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Breaks the store after `commits` more of them, as a full disk would: the next one fails,
    /// writes nothing, and so does every call after it.
    pub fn break_after(&self, commits: u64) {
        self.lock().commits_left = Some(commits);
    }

    /// A new store with what this one had committed, as after a restart.
    pub fn reopened(&self) -> MemoryStore {
        let table = self.lock().table.clone();
        MemoryStore { inner: Mutex::new(Inner { table, ..Inner::default() }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing is half done when a holder panics: a step is worked out before it is applied.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&dyn Table) -> Result<T, Trouble>,
    ) -> Result<T, StateError> {
        let mut inner = self.lock();
        if inner.broken {
            return Err(broken().failed("memory", doing));
        }
        read(&inner.table).map_err(|trouble| {
            inner.broken = true;
            trouble.failed("memory", doing)
        })
    }
}

fn broken() -> Trouble {
    Trouble::Engine("an earlier call failed".to_owned())
}

impl Inner {
    fn commit(&mut self, pair: &PairId, step: &Step) -> Result<(), Trouble> {
        self.write(|table| records::writes(table, pair, step))
    }

    fn write(
        &mut self,
        work: impl FnOnce(&dyn Table) -> Result<records::Writes, Trouble>,
    ) -> Result<(), Trouble> {
        if self.broken {
            return Err(broken());
        }
        if self.commits_left == Some(0) {
            return Err(Trouble::Engine("broken on purpose".to_owned()));
        }
        for (key, value) in work(&self.table)? {
            match value {
                Some(bytes) => self.table.insert(key, bytes),
                None => self.table.remove(&key),
            };
        }
        self.commits_left = self.commits_left.map(|left| left - 1);
        Ok(())
    }
}

impl Table for BTreeMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn range(&self, from: Vec<u8>, until: Vec<u8>) -> Entries<'_> {
        Box::new(
            BTreeMap::range(self, from..until).map(|(key, bytes)| Ok((key.clone(), bytes.clone()))),
        )
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn commit(&self, pair: &PairId, step: Step) -> Result<(), StateError> {
        let mut inner = self.lock();
        inner.commit(pair, &step).map_err(|trouble| {
            inner.broken = true;
            trouble.failed("memory", "saving a step")
        })
    }

    async fn keep_plans(&self, plans: Vec<(PairId, Plan)>) -> Result<(), StateError> {
        let mut inner = self.lock();
        inner.write(|_| records::write_plans(&plans)).map_err(|trouble| {
            inner.broken = true;
            trouble.failed("memory", "saving plans")
        })
    }

    async fn note(
        &self,
        record: AuditRecord,
        forget_before: Option<Timestamp>,
    ) -> Result<(), StateError> {
        let mut inner = self.lock();
        let written = inner.write(|table| records::note(table, &record, forget_before));
        written.map_err(|trouble| {
            inner.broken = true;
            trouble.failed("memory", "writing the audit")
        })
    }
}

#[async_trait]
impl StateView for MemoryStore {
    async fn load(&self, pair: &PairId) -> Result<Option<PairState>, StateError> {
        self.read("reading a pair", |table| records::load(table, pair))
    }

    async fn coverage(&self, pair: &PairId) -> Result<Coverage, StateError> {
        self.read("reading what a watermark speaks for", |table| records::coverage(table, pair))
    }

    async fn journal(&self, pair: &PairId) -> Result<Option<RunJournal>, StateError> {
        self.read("reading a journal", |table| records::journal(table, pair))
    }

    async fn plan(&self, pair: &PairId) -> Result<Option<Plan>, StateError> {
        self.read("reading a plan", |table| records::plan(table, pair))
    }

    async fn outlines(&self, pairs: Vec<PairId>) -> Result<Vec<Outline>, StateError> {
        self.read("reading what is remembered of pairs", |table| {
            pairs.iter().map(|pair| records::outline(table, pair)).collect()
        })
    }

    async fn names(&self, pair: &PairId) -> Result<Vec<JournalledName>, StateError> {
        self.read("reading journalled names", |table| records::names(table, pair))
    }

    async fn names_after(
        &self,
        pair: &PairId,
        after: Option<&JournalledName>,
        limit: usize,
    ) -> Result<Vec<JournalledName>, StateError> {
        self.read("reading journalled names", |table| {
            records::names_after(table, pair, after, limit)
        })
    }

    async fn name(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        key: &NaturalKey,
    ) -> Result<Option<JournalledName>, StateError> {
        self.read("reading a journalled name", |table| records::name(table, pair, resource, key))
    }

    async fn key_changes(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        after: Option<&SourceId>,
        limit: usize,
    ) -> Result<Vec<RememberedKeyChange>, StateError> {
        self.read("reading key changes", |table| {
            remembered::key_changes(table, pair, resource, after, limit)
        })
    }

    async fn key_changes_of(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        id: &SourceId,
    ) -> Result<Vec<RememberedKeyChange>, StateError> {
        self.read("reading key changes", |table| {
            remembered::key_changes_of(table, pair, resource, id)
        })
    }

    async fn settled_tombstones(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        tombstones: Vec<(SourceId, ChangeVersion)>,
    ) -> Result<Vec<SettledTombstone>, StateError> {
        self.read("reading settled tombstones", |table| {
            remembered::settled_tombstones(table, pair, resource, &tombstones)
        })
    }

    async fn written(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        ids: Vec<SourceId>,
    ) -> Result<Vec<Written>, StateError> {
        self.read("reading what was written", |table| {
            remembered::written(table, pair, resource, &ids)
        })
    }

    async fn written_as(
        &self,
        pair: &PairId,
        resource: &ResourcePath,
        id: &TargetId,
    ) -> Result<Option<SourceId>, StateError> {
        self.read("reading what was written", |table| {
            remembered::written_as(table, pair, resource, id)
        })
    }

    async fn left_behind(&self, pair: &PairId) -> Result<Vec<LeftBehind>, StateError> {
        self.read("reading what was left behind", |table| remembered::left_behind(table, pair))
    }

    async fn finished(&self, pair: &PairId) -> Result<Vec<Finished>, StateError> {
        self.read("reading finished resources", |table| records::finished(table, pair))
    }

    async fn progress(&self, pair: &PairId) -> Result<Vec<Progress>, StateError> {
        self.read("reading how far resources had come", |table| records::progress(table, pair))
    }

    async fn comparison(&self, pair: &PairId) -> Result<Option<Comparison>, StateError> {
        self.read("reading how far a comparison had come", |table| records::comparison(table, pair))
    }

    async fn verified(&self, pair: &PairId) -> Result<Vec<Verified>, StateError> {
        self.read("reading what comparisons found", |table| records::verified(table, pair))
    }

    async fn records_with(&self, pair: &PairId, key: &ErasedKey) -> Result<u64, StateError> {
        self.read("looking for a key", |table| erasure::count(table, pair, key))
    }

    async fn parked(
        &self,
        pair: &PairId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Parked>, StateError> {
        self.read("reading parked items", |table| records::parked(table, pair, after, limit))
    }

    async fn parked_counts(&self, pair: &PairId) -> Result<ParkedCounts, StateError> {
        self.read("counting parked items", |table| records::parked_counts(table, pair))
    }

    async fn runs(&self, pair: &PairId, limit: usize) -> Result<Vec<RunRecord>, StateError> {
        self.read("reading the history of runs", |table| records::runs(table, pair, limit))
    }

    async fn runs_named(&self, pair: &PairId, id: &str) -> Result<Vec<RunRecord>, StateError> {
        self.read("looking for a run", |table| records::runs_named(table, pair, id))
    }

    async fn whole(&self, pair: &PairId) -> Result<Step, StateError> {
        self.read("reading everything of a pair", |table| records::whole(table, pair))
    }

    async fn pairs(&self) -> Result<Vec<PairId>, StateError> {
        self.read("listing pairs", records::pairs)
    }

    async fn audit(
        &self,
        since: Option<Timestamp>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StateError> {
        self.read("reading the audit", |table| records::audit(table, since, before, limit))
    }
}
