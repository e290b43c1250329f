//! Which records a step writes and how they are read back, over any table that keeps its keys in
//! order.
//!
//! What lives here: the meaning of a [`Step`], once for every store. What does not: bytes
//! (`codec.rs`), durability and locks (`sled.rs`, `memory.rs`). The one thing to know: within a
//! step, what is removed is removed first, so that whatever the step also writes stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::codec::{self, Kind, Trouble};
use super::erasure;
use super::migrate;
use super::remembered;
use super::{
    AuditRecord, Comparison, Coverage, Finished, JournalledName, LastRun, Outline, PairId,
    PairState, ParkStatus, Parked, ParkedCounts, Plan, Progress, RunJournal, RunRecord, Step,
    Verified,
};
use crate::clock::Timestamp;
use crate::domain::{NaturalKey, ParkReason, ResourcePath};

/// Runs kept for each pair; older ones go in the step that adds one.
pub const RUNS_KEPT: usize = 100;

pub(super) type Entry = (Vec<u8>, Vec<u8>);
pub(super) type Entries<'a> = Box<dyn Iterator<Item = Result<Entry, Trouble>> + 'a>;

/// Bytes by bytes, in order of key.
pub(super) trait Table {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble>;
    /// Every entry from `from` (inclusive) up to `until` (exclusive).
    fn range(&self, from: Vec<u8>, until: Vec<u8>) -> Entries<'_>;
}

/// What one step comes to: a key with its value, or with `None` where it goes.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The one batch of a step. Reads the table to find what to remove, and changes nothing.
pub(super) fn writes(table: &dyn Table, pair: &PairId, step: &Step) -> Result<Writes, Trouble> {
    let mut writes = removals(table, pair, step)?;
    if let Some(state) = &step.state {
        writes.insert(codec::kind_prefix(pair, Kind::State), Some(codec::encode(state)?));
    }
    if let Some(coverage) = &step.coverage {
        writes.insert(codec::kind_prefix(pair, Kind::Coverage), Some(codec::encode(coverage)?));
    }
    if let Some(journal) = &step.journal {
        writes.insert(codec::kind_prefix(pair, Kind::Journal), Some(codec::encode(journal)?));
    }
    if let Some(plan) = &step.plan {
        writes.insert(codec::kind_prefix(pair, Kind::Plan), Some(codec::encode(plan)?));
    }
    for parked in &step.park {
        writes.insert(codec::parked_key(pair, &parked.id), Some(codec::encode(parked)?));
    }
    for name in &step.names {
        writes
            .insert(codec::name_key(pair, &name.resource, &name.key)?, Some(codec::encode(name)?));
    }
    for finished in &step.finished {
        writes.insert(codec::progress_key(pair, &finished.resource), None);
        writes.insert(codec::finished_key(pair, finished), Some(codec::encode(finished)?));
    }
    for progress in &step.progress {
        let key = codec::progress_key(pair, &progress.resource);
        writes.insert(key, Some(codec::encode(progress)?));
    }
    if let Some(comparison) = &step.comparison {
        writes.insert(codec::kind_prefix(pair, Kind::Comparison), Some(codec::encode(comparison)?));
    }
    for verified in &step.verified {
        let key = codec::verified_key(pair, &verified.resource);
        writes.insert(key, Some(codec::encode(verified)?));
    }
    remembered::write(table, pair, step, &mut writes)?;
    add_runs(table, pair, step.history.iter().chain(&step.run), &mut writes)?;
    if let Some(record) = &step.audit {
        writes.insert(codec::audit_key(record.at, &record.id), Some(codec::encode(record)?));
    }
    Ok(writes)
}

/// The one batch of plans of many pairs.
pub(super) fn write_plans(plans: &[(PairId, Plan)]) -> Result<Writes, Trouble> {
    let mut writes = Writes::new();
    for (pair, plan) in plans {
        writes.insert(codec::kind_prefix(pair, Kind::Plan), Some(codec::encode(plan)?));
    }
    Ok(writes)
}

/// One record of the audit, and what is too old goes.
pub(super) fn note(
    table: &dyn Table,
    record: &AuditRecord,
    forget_before: Option<Timestamp>,
) -> Result<Writes, Trouble> {
    let mut writes = Writes::new();
    if let Some(before) = forget_before {
        for entry in table.range(codec::AUDIT_PREFIX.to_vec(), codec::audit_key(before, "")) {
            writes.insert(entry?.0, None);
        }
    }
    writes.insert(codec::audit_key(record.at, &record.id), Some(codec::encode(record)?));
    Ok(writes)
}

/// Newest first, as [`super::StateView::audit`] says.
pub(super) fn audit(
    table: &dyn Table,
    since: Option<Timestamp>,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<AuditRecord>, Trouble> {
    let from = since.map_or(codec::AUDIT_PREFIX.to_vec(), |since| codec::audit_key(since, ""));
    let entries: Vec<Entry> =
        table.range(from, codec::end_of(codec::AUDIT_PREFIX)).collect::<Result<_, _>>()?;
    let mut records = Vec::new();
    let mut reached = before.is_none();
    for (_, bytes) in entries.iter().rev() {
        if records.len() == limit {
            break;
        }
        let record: AuditRecord = codec::decode(bytes)?;
        if reached {
            records.push(record);
        } else {
            reached = before == Some(record.id.as_str());
        }
    }
    Ok(records)
}

fn removals(table: &dyn Table, pair: &PairId, step: &Step) -> Result<Writes, Trouble> {
    let mut writes = Writes::new();
    if step.forget_all {
        remove_all(table, &codec::pair_prefix(pair), &mut writes)?;
    }
    if step.end_journal {
        writes.insert(codec::kind_prefix(pair, Kind::Journal), None);
        end_names(table, pair, &step.keep_names_of, &mut writes)?;
        remove_all(table, &codec::kind_prefix(pair, Kind::LeftBehind), &mut writes)?;
    }
    if step.end_comparison {
        writes.insert(codec::kind_prefix(pair, Kind::Comparison), None);
    }
    if step.end_journal || step.begin_anew {
        remove_all(table, &codec::kind_prefix(pair, Kind::Finished), &mut writes)?;
        remove_all(table, &codec::kind_prefix(pair, Kind::Progress), &mut writes)?;
    }
    remembered::forget(table, pair, &step.forget, &mut writes)?;
    for id in &step.settle {
        writes.insert(codec::parked_key(pair, id), None);
    }
    for key in &step.erase {
        erasure::erase(table, pair, key, &mut writes)?;
    }
    if let Some(from) = &step.taken_from {
        take_over(table, from, pair, &mut writes)?;
    }
    Ok(writes)
}

/// Everything of `from` under the keys of `to`. What a record says does not depend on its pair.
fn take_over(
    table: &dyn Table,
    from: &PairId,
    to: &PairId,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    let old = codec::pair_prefix(from);
    let new = codec::pair_prefix(to);
    for entry in under(table, &old) {
        let (key, bytes) = entry?;
        let mut moved = new.clone();
        moved.extend_from_slice(&key[old.len()..]);
        writes.insert(key, None);
        writes.insert(moved, Some(bytes));
    }
    Ok(())
}

pub(super) fn remove_all(
    table: &dyn Table,
    prefix: &[u8],
    writes: &mut Writes,
) -> Result<(), Trouble> {
    for entry in under(table, prefix) {
        writes.insert(entry?.0, None);
    }
    Ok(())
}

/// Adds runs and lets go of those beyond [`RUNS_KEPT`], oldest first.
fn add_runs<'a>(
    table: &dyn Table,
    pair: &PairId,
    runs: impl Iterator<Item = &'a RunRecord>,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    let mut added = BTreeMap::new();
    for run in runs {
        added.insert(codec::run_key(pair, run), codec::encode(run)?);
    }
    if added.is_empty() {
        return Ok(());
    }
    let mut kept: BTreeSet<Vec<u8>> = added.keys().cloned().collect();
    for entry in under(table, &codec::kind_prefix(pair, Kind::Run)) {
        let (key, _) = entry?;
        if !writes.contains_key(&key) {
            kept.insert(key);
        }
    }
    writes.extend(added.into_iter().map(|(key, bytes)| (key, Some(bytes))));
    for oldest in kept.iter().take(kept.len().saturating_sub(RUNS_KEPT)) {
        writes.insert(oldest.clone(), None);
    }
    Ok(())
}

pub(super) fn under<'a>(table: &'a dyn Table, prefix: &[u8]) -> Entries<'a> {
    table.range(prefix.to_vec(), codec::end_of(prefix))
}

pub(super) fn load(table: &dyn Table, pair: &PairId) -> Result<Option<PairState>, Trouble> {
    single(table, pair, Kind::State)
}

pub(super) fn coverage(table: &dyn Table, pair: &PairId) -> Result<Coverage, Trouble> {
    Ok(single(table, pair, Kind::Coverage)?.unwrap_or_default())
}

pub(super) fn journal(table: &dyn Table, pair: &PairId) -> Result<Option<RunJournal>, Trouble> {
    single(table, pair, Kind::Journal)
}

pub(super) fn comparison(table: &dyn Table, pair: &PairId) -> Result<Option<Comparison>, Trouble> {
    single(table, pair, Kind::Comparison)
}

pub(super) fn plan(table: &dyn Table, pair: &PairId) -> Result<Option<Plan>, Trouble> {
    single(table, pair, Kind::Plan)
}

/// As much of the state of a pair as planning needs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OutlinedState {
    last_run: Option<LastRun>,
    blocked: Option<IgnoredAny>,
}

pub(super) fn outline(table: &dyn Table, pair: &PairId) -> Result<Outline, Trouble> {
    let OutlinedState { last_run, blocked } = single(table, pair, Kind::State)?.unwrap_or_default();
    Ok(Outline {
        last_run,
        is_blocked: blocked.is_some(),
        plan: plan(table, pair)?,
        has_parked: !parked(table, pair, None, 1)?.is_empty(),
    })
}

fn single<T: DeserializeOwned>(
    table: &dyn Table,
    pair: &PairId,
    kind: Kind,
) -> Result<Option<T>, Trouble> {
    match table.get(&codec::kind_prefix(pair, kind))? {
        Some(bytes) => codec::decode(&bytes).map(Some),
        None => Ok(None),
    }
}

pub(super) fn names(table: &dyn Table, pair: &PairId) -> Result<Vec<JournalledName>, Trouble> {
    under(table, &codec::kind_prefix(pair, Kind::Name))
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}

pub(super) fn names_after(
    table: &dyn Table,
    pair: &PairId,
    after: Option<&JournalledName>,
    limit: usize,
) -> Result<Vec<JournalledName>, Trouble> {
    let prefix = codec::kind_prefix(pair, Kind::Name);
    let from = match after {
        Some(name) => codec::end_of(&codec::name_key(pair, &name.resource, &name.key)?),
        None => prefix.clone(),
    };
    let page = table.range(from, codec::end_of(&prefix)).take(limit);
    page.map(|entry| codec::decode(&entry?.1)).collect()
}

/// Every name but those that outlive their journal.
fn end_names(
    table: &dyn Table,
    pair: &PairId,
    keep_of: &BTreeSet<ResourcePath>,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    for entry in under(table, &codec::kind_prefix(pair, Kind::Name)) {
        let (key, bytes) = entry?;
        let stays = !keep_of.is_empty()
            && keep_of.contains(&codec::decode::<JournalledName>(&bytes)?.resource);
        if !stays {
            writes.insert(key, None);
        }
    }
    Ok(())
}

pub(super) fn name(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<Option<JournalledName>, Trouble> {
    match table.get(&codec::name_key(pair, resource, key)?)? {
        Some(bytes) => codec::decode(&bytes).map(Some),
        None => Ok(None),
    }
}

pub(super) fn finished(table: &dyn Table, pair: &PairId) -> Result<Vec<Finished>, Trouble> {
    under(table, &codec::kind_prefix(pair, Kind::Finished))
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}

pub(super) fn progress(table: &dyn Table, pair: &PairId) -> Result<Vec<Progress>, Trouble> {
    under(table, &codec::kind_prefix(pair, Kind::Progress))
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}

pub(super) fn parked(
    table: &dyn Table,
    pair: &PairId,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Parked>, Trouble> {
    let prefix = codec::kind_prefix(pair, Kind::Parked);
    let from = match after {
        // The next key there can be: the same with a zero byte at its end.
        Some(id) => codec::parked_key(pair, &format!("{id}\0")),
        None => prefix.clone(),
    };
    table
        .range(from, codec::end_of(&prefix))
        .take(limit)
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}

pub(super) fn verified(table: &dyn Table, pair: &PairId) -> Result<Vec<Verified>, Trouble> {
    under(table, &codec::kind_prefix(pair, Kind::Verified))
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}

/// As much of a parked record as counting needs.
#[derive(Deserialize)]
struct Counted {
    status: ParkStatus,
    reason: ParkReason,
    first_seen_at: Timestamp,
}

pub(super) fn parked_counts(table: &dyn Table, pair: &PairId) -> Result<ParkedCounts, Trouble> {
    let mut counts = ParkedCounts::default();
    for entry in under(table, &codec::kind_prefix(pair, Kind::Parked)) {
        let item: Counted = codec::decode(&entry?.1)?;
        match item.status {
            ParkStatus::Parked => counts.parked += 1,
            ParkStatus::Dead => counts.dead += 1,
        }
        *counts.by_reason.entry(item.reason).or_default() += 1;
        let oldest =
            counts.oldest.map_or(item.first_seen_at, |known| known.min(item.first_seen_at));
        counts.oldest = Some(oldest);
    }
    Ok(counts)
}

pub(super) fn runs(
    table: &dyn Table,
    pair: &PairId,
    limit: usize,
) -> Result<Vec<RunRecord>, Trouble> {
    let entries: Vec<_> =
        under(table, &codec::kind_prefix(pair, Kind::Run)).collect::<Result<_, _>>()?;
    entries.iter().rev().take(limit).map(|(_, bytes)| codec::decode(bytes)).collect()
}

/// The id is the end of the key, so that no other record is read for it.
pub(super) fn runs_named(
    table: &dyn Table,
    pair: &PairId,
    id: &str,
) -> Result<Vec<RunRecord>, Trouble> {
    let entries: Vec<_> =
        under(table, &codec::kind_prefix(pair, Kind::Run)).collect::<Result<_, _>>()?;
    let named = entries.iter().rev().filter(|(key, _)| codec::is_run_named(key, pair, id));
    named.map(|(_, bytes)| codec::decode(bytes)).collect()
}

/// Everything of a pair, as the step that replaces whatever a pair has. The caller sees to it that
/// no step comes in between.
pub(super) fn whole(table: &dyn Table, pair: &PairId) -> Result<Step, Trouble> {
    Ok(Step {
        state: load(table, pair)?,
        coverage: single(table, pair, Kind::Coverage)?,
        park: parked(table, pair, None, usize::MAX)?,
        journal: journal(table, pair)?,
        plan: plan(table, pair)?,
        names: names(table, pair)?,
        finished: finished(table, pair)?,
        progress: progress(table, pair)?,
        history: runs(table, pair, RUNS_KEPT)?,
        verified: verified(table, pair)?,
        forget_all: true,
        ..Step::default()
    })
}

/// Every pair that has a record, in order of name. One look-up a pair, whatever it holds.
pub(super) fn pairs(table: &dyn Table) -> Result<Vec<PairId>, Trouble> {
    let until = codec::end_of(&[codec::PAIR_SPACE]);
    let mut from = vec![codec::PAIR_SPACE];
    let mut pairs = Vec::new();
    while let Some(entry) = table.range(from, until.clone()).next() {
        let (key, _) = entry?;
        let (pair, _) = codec::read_key(&key).ok_or_else(foreign_key)?;
        from = codec::end_of(&codec::pair_prefix(&pair));
        pairs.push(pair);
    }
    pairs.sort();
    Ok(pairs)
}

/// Reads every record of every pair, so that what cannot be read is known before a run relies on it.
pub(super) fn verify(table: &dyn Table) -> Result<(), Trouble> {
    for entry in under(table, codec::AUDIT_PREFIX) {
        codec::decode::<AuditRecord>(&entry?.1)?;
    }
    each(table, |_, kind, bytes| migrate::readable(kind, bytes))
}

/// Whether a key and its value are a record of any format that is known, as each is asked when a
/// state is opened; the value in the format of this program.
///
/// # Errors
/// A sentence part that says what is wrong and repeats nothing of the record.
pub fn examine(key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    let examined = codec::read_key(key).ok_or_else(foreign_key);
    examined.and_then(|(_, kind)| migrate::anew(kind, value)).map_err(|trouble| trouble.what())
}

/// Every record of every pair, in order of key: its key, its kind and its bytes.
pub(super) fn each(
    table: &dyn Table,
    mut work: impl FnMut(&[u8], Kind, &[u8]) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    for entry in under(table, &[codec::PAIR_SPACE]) {
        let (key, bytes) = entry?;
        let (_, kind) = codec::read_key(&key).ok_or_else(foreign_key)?;
        work(&key, kind, &bytes)?;
    }
    Ok(())
}

fn foreign_key() -> Trouble {
    Trouble::Damaged("it holds a record that no version of this program writes".to_owned())
}
