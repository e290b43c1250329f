//! What waits: the parked records of one pair during one run, and when each is tried again.
//!
//! Keys wait here, never bodies. The book is a copy of what the store holds; every change of it
//! is durable before the watermark passes it (I4). Bounded by `retry.max_parked`.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::domain::{Item, NaturalKey, ParkReason, ResourcePath, SourceId, TargetId};
use crate::state::{Operation, PairId, ParkStatus, Parked, RefusalRecord, Step, WaitsFor};
use crate::targets::Refusal;

use super::RetryPolicy;
use super::attempts;
use super::remembered::hash_of;

/// What is to be parked; the book adds attempts and times.
#[derive(Clone, Debug)]
pub(super) struct Parking {
    pub resource: ResourcePath,
    pub source_id: Option<SourceId>,
    pub key: Option<NaturalKey>,
    pub operation: Operation,
    pub reason: ParkReason,
    pub refusal: Refusal,
    pub waits_for: Option<WaitsFor>,
    pub named_for_deletion: bool,
    pub target_id: Option<TargetId>,
    /// Of the bytes that were refused.
    pub hash: Option<String>,
    /// A feed brought a change of it: a dead item gets fresh attempts (R22).
    pub news: bool,
}

/// Every parked and dead item of a pair, and what has changed since it was last committed.
#[derive(Debug)]
pub(super) struct ParkedBook {
    pair: PairId,
    retry: RetryPolicy,
    records: BTreeMap<String, Parked>,
    by_source_id: BTreeMap<(ResourcePath, SourceId), String>,
    by_key: BTreeMap<(ResourcePath, NaturalKey), BTreeSet<String>>,
    /// Who waits for what may live there under such a key.
    by_cause: BTreeMap<(ResourcePath, Vec<String>), BTreeSet<String>>,
    /// Looked at in this run: applied, parked again or settled. Nothing is tried twice, unless
    /// what it waits for was applied meanwhile.
    touched: BTreeSet<String>,
    /// What these wait for was applied in this run (R22).
    called: BTreeSet<String>,
    changed: BTreeMap<String, Parked>,
    settled: BTreeSet<String>,
}

impl ParkedBook {
    pub(super) fn new(pair: PairId, retry: RetryPolicy, records: Vec<Parked>) -> ParkedBook {
        let mut book = ParkedBook {
            pair,
            retry,
            records: BTreeMap::new(),
            by_source_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_cause: BTreeMap::new(),
            touched: BTreeSet::new(),
            called: BTreeSet::new(),
            changed: BTreeMap::new(),
            settled: BTreeSet::new(),
        };
        for record in records {
            book.insert(record);
        }
        book
    }

    pub(super) fn len(&self) -> u64 {
        self.records.len().try_into().unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn records(&self) -> impl Iterator<Item = &Parked> {
        self.records.values()
    }

    pub(super) fn dead(&self) -> u64 {
        let dead = self.records.values().filter(|record| record.status == ParkStatus::Dead);
        dead.count().try_into().unwrap_or(u64::MAX)
    }

    /// False when nothing of `resource` waits and nothing waits for it: the usual case, in which no
    /// key has to be read.
    pub(super) fn concerns(&self, resource: &ResourcePath) -> bool {
        let first = (resource.clone(), Vec::new());
        let is_cause = self.by_cause.range(first..).next().is_some_and(|((r, _), _)| r == resource);
        is_cause || self.records.values().any(|record| record.resource == *resource)
    }

    /// Resources that are closed until a person retries them (R23a).
    pub(super) fn closed_resources(&self) -> BTreeSet<ResourcePath> {
        let closed = |record: &&Parked| record.reason == ParkReason::ResourceClosed;
        self.records.values().filter(closed).map(|record| record.resource.clone()).collect()
    }

    /// What is to be tried in its resource's turn: not dead, not looked at in this run, and due
    /// unless `all` are to be tried (R22).
    pub(super) fn due(
        &self,
        resource: &ResourcePath,
        operation: Operation,
        now: Timestamp,
        all: bool,
    ) -> Vec<Parked> {
        let due = |record: &&Parked| {
            record.resource == *resource
                && record.operation == operation
                && record.status == ParkStatus::Parked
                && record.reason != ParkReason::ResourceClosed
                && (self.called.contains(&record.id)
                    || (self.is_time(record, now, all) && !self.touched.contains(&record.id)))
        };
        self.records.values().filter(due).cloned().collect()
    }

    /// Upserts whose cause was applied in this run, after their own turn perhaps; each once a call.
    pub(super) fn take_called(&mut self) -> Vec<Parked> {
        let called = std::mem::take(&mut self.called);
        called.iter().filter_map(|id| self.records.get(id)).cloned().collect()
    }

    pub(super) fn resources_with_due(&self, now: Timestamp, all: bool) -> BTreeSet<ResourcePath> {
        let due = |record: &&Parked| {
            record.status == ParkStatus::Parked
                && record.reason != ParkReason::ResourceClosed
                && self.is_time(record, now, all)
        };
        self.records.values().filter(due).map(|record| record.resource.clone()).collect()
    }

    /// Whether `record` may be tried now, or before its time because `all` are.
    fn is_time(&self, record: &Parked, now: Timestamp, all: bool) -> bool {
        record.next_attempt_at <= now || (all && !attempts::is_paused(&self.retry, record))
    }

    /// Records named for deletion: their target ids are looked up before anything moves (R5).
    pub(super) fn named_for_deletion(&self) -> Vec<Parked> {
        self.records.values().filter(|record| record.named_for_deletion).cloned().collect()
    }

    /// Whether the item with this source id is parked as an upsert.
    pub(super) fn holds_upsert(&self, resource: &ResourcePath, id: &SourceId) -> bool {
        self.by_source_id.contains_key(&(resource.clone(), id.clone()))
    }

    /// Whether the target has refused these very bytes of the item, and another attempt is not due.
    pub(super) fn still_refuses(
        &self,
        resource: &ResourcePath,
        item: &Item,
        now: Timestamp,
        all: bool,
    ) -> bool {
        let slot = (resource.clone(), item.id.clone());
        let id = self.by_source_id.get(&slot);
        let Some(record) = id.and_then(|id| self.records.get(id)) else { return false };
        let is_due = record.status == ParkStatus::Parked
            && (self.called.contains(&record.id)
                || (self.is_time(record, now, all) && !self.touched.contains(&record.id)));
        !is_due && record.hash.as_ref().is_some_and(|hash| *hash == hash_of(item))
    }

    /// Items of the resource that the target would not take.
    pub(super) fn refused_items(&self, resource: &ResourcePath) -> Vec<SourceId> {
        let of_resource = self.by_source_id.keys().filter(|(other, _)| other == resource);
        of_resource.map(|(_, id)| id.clone()).collect()
    }

    /// Whether this old key of the item is kept until the target takes it under its new one (R6).
    pub(super) fn keeps_old_key(
        &self,
        resource: &ResourcePath,
        id: &SourceId,
        key: &NaturalKey,
    ) -> bool {
        self.records.values().any(|record| {
            record.reason == ParkReason::WaitsForNewKey
                && record.resource == *resource
                && record.source_id.as_ref() == Some(id)
                && record.key.as_ref().is_some_and(|old| old.is(key))
        })
    }

    /// Whether anything is parked under this key.
    pub(super) fn holds_key(&self, resource: &ResourcePath, key: &NaturalKey) -> bool {
        self.by_key.get(&(resource.clone(), key.clone())).is_some_and(|ids| !ids.is_empty())
    }

    /// Whether an item with this key was parked in this very run: it is not tried again for the
    /// sake of what refers to it (R22).
    pub(super) fn was_parked_now(&self, resource: &ResourcePath, key: &NaturalKey) -> bool {
        let ids = self.by_key.get(&(resource.clone(), key.clone()));
        ids.is_some_and(|ids| ids.iter().any(|id| self.touched.contains(id)))
    }

    pub(super) fn park(&mut self, parking: Parking, now: Timestamp) {
        let id = self.known_id(&parking).unwrap_or_else(|| record_id(&self.pair, &parking));
        let before = self.records.get(&id).cloned();
        let attempts = attempts::after_refusal(&self.retry, before.as_ref(), &parking, now);
        // Once a rename above it has moved it, no key finds it any more (R5).
        let same = before.as_ref().filter(|before| before.operation == parking.operation);
        let target_id = same.and_then(|same| same.target_id.clone());
        let record = Parked {
            id: id.clone(),
            resource: parking.resource,
            source_id: parking.source_id,
            key: parking.key.or_else(|| before.as_ref().and_then(|record| record.key.clone())),
            operation: parking.operation,
            status: attempts.status,
            reason: parking.reason,
            error: RefusalRecord {
                status: parking.refusal.status,
                kind: parking.refusal.kind,
                members: parking.refusal.members,
                detail: parking.refusal.detail,
            },
            attempts: attempts.made,
            early_attempts: attempts.early,
            first_seen_at: before.map_or(now, |record| record.first_seen_at),
            next_attempt_at: attempts.next_at,
            waits_for: parking.waits_for,
            named_for_deletion: parking.named_for_deletion,
            target_id: parking.target_id.or(target_id),
            hash: parking.hash,
        };
        self.remove(&id);
        self.called.remove(&id);
        self.touched.insert(id.clone());
        self.settled.remove(&id);
        self.changed.insert(id, record.clone());
        self.insert(record);
    }

    /// The item with this key was applied: what waits for it is due now, dead or not (R22), unless
    /// it was called before and refused all the same.
    pub(super) fn call_who_waits_for(
        &mut self,
        resource: &ResourcePath,
        key: &NaturalKey,
        now: Timestamp,
    ) {
        let ids = self.by_cause.get(&(resource.clone(), key.values())).cloned().unwrap_or_default();
        for id in ids {
            let Some(record) = self.records.get_mut(&id) else { continue };
            if record.reason == ParkReason::ResourceClosed {
                continue; // It waits for a person (R23a).
            }
            let before = record.clone();
            attempts::after_call(&self.retry, &before, now).write_to(record);
            if *record != before {
                self.changed.insert(id.clone(), record.clone());
            }
            if record.next_attempt_at <= now {
                self.called.insert(id);
            }
        }
    }

    /// The target is not what it was: what it refused for good it may take now (R22).
    pub(super) fn renew_dead(&mut self, now: Timestamp) {
        let ids: Vec<String> = self.records.keys().cloned().collect();
        for id in ids {
            self.renew(&id, now);
        }
    }

    /// Gives a dead item fresh attempts. A closed resource waits for a person (R23a).
    fn renew(&mut self, id: &str, now: Timestamp) {
        let Some(record) = self.records.get_mut(id) else { return };
        let has_none_left =
            record.status == ParkStatus::Dead || attempts::is_paused(&self.retry, record);
        if has_none_left && record.reason != ParkReason::ResourceClosed {
            record.status = ParkStatus::Parked;
            record.attempts = 0;
            record.early_attempts = 0;
            record.next_attempt_at = now;
            self.changed.insert(id.to_owned(), record.clone());
        }
    }

    /// The item with this id or this key agrees now, or a newer change of the key took over: what
    /// waited for it is settled, whatever its source id.
    pub(super) fn settle(
        &mut self,
        resource: &ResourcePath,
        id: &SourceId,
        key: Option<&NaturalKey>,
    ) {
        let mut ids = BTreeSet::new();
        ids.extend(self.by_source_id.get(&(resource.clone(), id.clone())).cloned());
        if let Some(key) = key {
            ids.extend(
                self.by_key.get(&(resource.clone(), key.clone())).into_iter().flatten().cloned(),
            );
        }
        for id in ids {
            self.settle_record(&id);
        }
    }

    /// Target ids that wait under a key for a deletion, each with the item that left it there, once `id`
    /// is at the target under that key. Not those of an item that is all there is of it (R6).
    pub(super) fn left_under(
        &self,
        resource: &ResourcePath,
        id: &SourceId,
        key: &NaturalKey,
    ) -> Vec<(SourceId, TargetId)> {
        let mut left = Vec::new();
        for record in self.by_key.get(&(resource.clone(), key.clone())).into_iter().flatten() {
            let Some(record) = self.records.get(record) else { continue };
            let Some(target_id) = record.target_id.clone() else { continue };
            let of = record.source_id.as_ref().unwrap_or(id);
            if record.operation == Operation::Delete
                && (of == id || !self.holds_upsert(resource, of))
            {
                left.push((of.clone(), target_id));
            }
        }
        left
    }

    pub(super) fn settle_record(&mut self, id: &str) {
        self.remove(id);
        self.called.remove(id);
        self.touched.insert(id.to_owned());
        self.changed.remove(id);
        self.settled.insert(id.to_owned());
    }

    /// It could not be looked at: one more attempt, and otherwise as it was.
    pub(super) fn keep_parked(&mut self, id: &str, now: Timestamp) {
        let Some(mut record) = self.records.get(id).cloned() else { return };
        attempts::after_no_answer(&self.retry, &record.clone(), now).write_to(&mut record);
        self.called.remove(id);
        self.touched.insert(id.to_owned());
        self.changed.insert(id.to_owned(), record.clone());
        self.records.insert(id.to_owned(), record);
    }

    /// The id of the record that parking again would make anew. It differs from what would be made
    /// now after the publication was renamed and its state moved.
    fn known_id(&self, parking: &Parking) -> Option<String> {
        if let (Operation::Upsert, Some(source_id)) = (parking.operation, &parking.source_id) {
            let slot = (parking.resource.clone(), source_id.clone());
            return self.by_source_id.get(&slot).cloned();
        }
        let slot = (parking.resource.clone(), parking.key.clone()?);
        let ids = self.by_key.get(&slot)?;
        let same = |id: &&String| {
            self.records.get(*id).is_some_and(|record| {
                record.operation == parking.operation
                    && (parking.operation == Operation::Delete || record.source_id.is_none())
            })
        };
        ids.iter().find(same).cloned()
    }

    /// What changed since the last call, as a step to commit; `None` when nothing did.
    pub(super) fn take_step(&mut self) -> Option<Step> {
        if self.changed.is_empty() && self.settled.is_empty() {
            return None;
        }
        Some(Step {
            park: std::mem::take(&mut self.changed).into_values().collect(),
            settle: std::mem::take(&mut self.settled).into_iter().collect(),
            ..Step::default()
        })
    }

    fn insert(&mut self, record: Parked) {
        if let (Some(id), Operation::Upsert) = (&record.source_id, record.operation) {
            self.by_source_id.insert((record.resource.clone(), id.clone()), record.id.clone());
        }
        if let Some(key) = &record.key {
            let slot = (record.resource.clone(), key.clone());
            self.by_key.entry(slot).or_default().insert(record.id.clone());
        }
        for slot in causes(&record) {
            self.by_cause.entry(slot).or_default().insert(record.id.clone());
        }
        self.records.insert(record.id.clone(), record);
    }

    fn remove(&mut self, id: &str) {
        let Some(record) = self.records.remove(id) else { return };
        if let (Some(source_id), Operation::Upsert) = (&record.source_id, record.operation) {
            self.by_source_id.remove(&(record.resource.clone(), source_id.clone()));
        }
        if let Some(key) = &record.key
            && let Some(ids) = self.by_key.get_mut(&(record.resource.clone(), key.clone()))
        {
            ids.remove(id);
        }
        for slot in causes(&record) {
            if let Some(ids) = self.by_cause.get_mut(&slot) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_cause.remove(&slot);
                }
            }
        }
    }
}

/// Where what a record waits for may live.
fn causes(record: &Parked) -> Vec<(ResourcePath, Vec<String>)> {
    let Some(WaitsFor { resources, key }) = &record.waits_for else { return Vec::new() };
    resources.iter().map(|resource| (resource.clone(), key.values())).collect()
}

/// Stable, and tells nothing of the key to who does not have it. An upsert is its source id; a
/// delete is its key, because the item may live under another one (R21).
fn record_id(pair: &PairId, parking: &Parking) -> String {
    let mut hash = Sha256::new();
    for part in [&pair.publication, &pair.target, parking.resource.as_str()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    match (&parking.operation, &parking.source_id, &parking.key) {
        (Operation::Delete, _, Some(key))
        | (Operation::Upsert | Operation::KeyChange, None, Some(key)) => {
            hash.update(b"key");
            for (name, value) in key.iter() {
                hash.update([0]);
                hash.update(name.as_bytes());
                hash.update([1]);
                hash.update(value.as_bytes());
            }
        }
        (_, Some(id), _) => {
            hash.update(b"id");
            hash.update(id.0.as_bytes());
        }
        (_, None, None) => hash.update(b"resource"),
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pair() -> PairId {
        PairId { publication: "p".to_owned(), target: "t".to_owned() }
    }

    fn retry() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            first_delay: Duration::from_secs(60),
            max_delay: Duration::from_secs(300),
            max_parked: 10,
        }
    }

    fn students() -> ResourcePath {
        ResourcePath::parse("/ed-fi/students").unwrap()
    }

    fn parking(id: &str, reason: ParkReason) -> Parking {
        Parking {
            resource: students(),
            source_id: Some(SourceId(id.to_owned())),
            key: serde_json::from_str(r#"{"studentUniqueId":"1"}"#).unwrap(),
            operation: Operation::Upsert,
            reason,
            refusal: Refusal::default(),
            waits_for: None,
            named_for_deletion: false,
            target_id: None,
            hash: None,
            news: false,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn record(book: &ParkedBook) -> Parked {
        book.records.values().next().unwrap().clone()
    }

    #[test]
    fn r22_attempts_come_at_growing_delays_and_then_the_item_is_dead() {
        let mut book = ParkedBook::new(pair(), retry(), Vec::new());
        let mut now = at(0);

        let mut delays = Vec::new();
        for _ in 0..5 {
            book.park(parking("a", ParkReason::Forbidden), now);
            delays.push((record(&book).next_attempt_at - now).num_seconds());
            now = record(&book).next_attempt_at;
        }

        assert_eq!(delays, [60, 240, 300, 300, 300]);
        assert_eq!(record(&book).status, ParkStatus::Dead);
        assert_eq!(book.dead(), 1);
    }

    #[test]
    fn r22_meeting_what_is_not_due_is_not_an_attempt() {
        let mut book = ParkedBook::new(pair(), retry(), Vec::new());

        book.park(parking("a", ParkReason::Forbidden), at(0));
        book.park(parking("a", ParkReason::Forbidden), at(1));

        assert_eq!(record(&book).attempts, 1);
        assert_eq!(record(&book).next_attempt_at, at(60));
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn what_was_parked_under_the_old_name_of_a_publication_is_the_same_record_under_the_new() {
        let mut before = ParkedBook::new(pair(), retry(), Vec::new());
        before.park(parking("a", ParkReason::Forbidden), at(0));
        let old = record(&before);
        let renamed = PairId { publication: "renamed".to_owned(), ..pair() };

        let mut book = ParkedBook::new(renamed, retry(), vec![old.clone()]);
        book.park(parking("a", ParkReason::Forbidden), at(10_000));

        assert_eq!((book.len(), record(&book).id), (1, old.id));
        assert_eq!(record(&book).attempts, 2);
    }

    #[test]
    fn an_invalid_item_is_dead_after_three_attempts() {
        let mut book = ParkedBook::new(pair(), retry(), Vec::new());

        for attempt in 0..3 {
            book.park(parking("a", ParkReason::Invalid), at(attempt * 10_000));
        }

        assert_eq!(record(&book).status, ParkStatus::Dead);
    }

    #[test]
    fn r22_a_dead_item_gets_fresh_attempts_when_a_feed_brings_a_change_of_it() {
        let mut book = ParkedBook::new(pair(), retry(), Vec::new());
        for attempt in 0..3 {
            book.park(parking("a", ParkReason::Invalid), at(attempt * 10_000));
        }

        book.park(Parking { news: true, ..parking("a", ParkReason::Invalid) }, at(40_000));

        assert_eq!(record(&book).status, ParkStatus::Parked);
        assert_eq!(record(&book).attempts, 1);
    }

    #[test]
    fn r21_a_newer_change_of_the_key_settles_what_waited_under_another_source_id() {
        let mut book = ParkedBook::new(pair(), retry(), Vec::new());
        book.park(parking("a", ParkReason::Invalid), at(0));
        book.take_step();
        let key = record(&book).key.unwrap();

        book.settle(&students(), &SourceId("b".to_owned()), Some(&key));

        assert_eq!(book.len(), 0);
        assert_eq!(book.take_step().unwrap().settle.len(), 1);
    }
}
