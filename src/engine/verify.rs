//! Source and target compared, key by key and, if asked, body by body. One resource is in memory
//! at a time, as keys and hashes.
//!
//! A difference is looked at once more at both ends before it counts: both are read while they
//! live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::domain::{KeyShape, NaturalKey, ResourcePath, SourceId, Stage, TargetId};
use crate::sources::Lookup;
use crate::state::{LeftOut, PairState, Step};
use crate::targets::Match;

use super::apply::{self, Settled, Turn};
use super::run::Surroundings;
use super::runner::{RunOptions, open_view};
use super::under_way::Run;
use super::{Pair, RunError};

/// What a person asks of `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Only these; empty: every selected resource.
    pub resources: Vec<ResourcePath>,
    /// Compare the bodies too.
    pub content: bool,
    /// Publish what is missing or different.
    pub repair: bool,
    /// Delete what only the target has: sole writer only (R3).
    pub delete_extra: bool,
    /// The delete brake was looked at by a person (R27).
    pub allow_deletes: bool,
}

/// The comparison of one pair (contract, `{"verify":[…]}`).
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    pub publication: String,
    pub target: String,
    pub equal: bool,
    pub resources: Vec<Compared>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub resource: ResourcePath,
    pub source: u64,
    pub target: u64,
    pub missing: u64,
    /// `null` where others write to the same data: extras are not looked for.
    pub extra: Option<u64>,
    pub different: u64,
    /// Missing or different, and parked or dead: known, and told apart.
    pub parked: u64,
}

impl Compared {
    fn is_equal(&self) -> bool {
        self.missing == 0 && self.extra.unwrap_or(0) == 0 && self.different == 0 && self.parked == 0
    }
}

/// Compares `pair`; with `repair`, publishes what is missing or different and compares again.
pub async fn verify(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
) -> Result<Verification, RunError> {
    if options.delete_extra && !pair.policy.sole_writer {
        return Err(RunError::NotSoleWriter { publication: pair.id.publication.clone() });
    }
    let mut found = compare_all(around, pair, options).await?;
    if !found.verification.equal && (options.repair || options.delete_extra) {
        repair(around, pair, options, &found).await?;
        distrust_hashes(around, pair).await?;
        found = compare_all(around, pair, options).await?;
    }
    if found.verification.equal && options.resources.is_empty() {
        nothing_is_left_out(around, pair).await?;
    }
    super::verified::keep(around, pair, options.content, &found.verification).await?;
    Ok(found.verification)
}

/// What was repaired is not what runs had written (R16).
async fn distrust_hashes(around: &Surroundings, pair: &Pair) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?;
    let mut state = state.unwrap_or_default();
    state.overlap.broken_off += 1;
    let step = Step { state: Some(state), ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)
}

/// Both ends agree, so whatever runs had skipped is made up for (R17).
async fn nothing_is_left_out(around: &Surroundings, pair: &Pair) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?;
    let Some(state) = state.filter(|state| state.left_out != LeftOut::default()) else {
        return Ok(());
    };
    let state = PairState { left_out: LeftOut::default(), ..state };
    let step = Step { state: Some(state), ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)
}

/// What a comparison found, by id: nothing of it is kept.
struct Found {
    verification: Verification,
    /// In the target's order.
    unlike: Vec<(ResourcePath, BTreeSet<SourceId>)>,
    extras: Vec<(ResourcePath, Vec<(NaturalKey, TargetId)>)>,
}

async fn compare_all(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
) -> Result<Found, RunError> {
    let run = open(around, pair, options).await?;
    let wanted = |resource: &ResourcePath| {
        options.resources.is_empty() || options.resources.contains(resource)
    };
    let mut found = Found {
        verification: Verification {
            publication: pair.id.publication.clone(),
            target: pair.id.target.clone(),
            equal: true,
            resources: Vec::new(),
        },
        unlike: Vec::new(),
        extras: Vec::new(),
    };
    for resource in run.graph.in_order().into_iter().filter(wanted) {
        run.check_stop()?;
        let compared = compare(&run, &resource, options).await?;
        found.verification.equal &= compared.counts.is_equal();
        found.verification.resources.push(compared.counts);
        found.unlike.push((resource.clone(), compared.unlike));
        found.extras.push((resource, compared.extras));
    }
    run.reader.confirm().await.map_err(RunError::Source)?;
    Ok(found)
}

async fn open(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
) -> Result<Arc<Run>, RunError> {
    let reader = open_view(&*pair.source, &pair.policy).await.map_err(RunError::Source)?;
    let run_options = RunOptions { allow_deletes: options.allow_deletes, all_parked: false };
    Run::to_look(around, pair, reader, &run_options).await
}

struct OneCompared {
    counts: Compared,
    unlike: BTreeSet<SourceId>,
    extras: Vec<(NaturalKey, TargetId)>,
}

async fn compare(
    run: &Arc<Run>,
    resource: &ResourcePath,
    options: &VerifyOptions,
) -> Result<OneCompared, RunError> {
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    let Some(shape) = shape else {
        return Err(RunError::UnknownKey { resource: resource.clone() });
    };
    let mut source = read_source(run, resource, &shape, options).await?;
    let mut counts = Compared {
        resource: resource.clone(),
        source: u64::try_from(source.len()).unwrap_or(u64::MAX),
        target: 0,
        missing: 0,
        extra: (run.pair.policy.sole_writer && run.ownership.is_own(resource)).then_some(0),
        different: 0,
        parked: 0,
    };
    let compares_content = options.content && !run.ownership.is_create_only(resource);
    let mut different = Vec::new();
    let mut extras = Vec::new();
    let mut pages = run.pair.target.pages(resource);
    while let Some(page) = pages.next().await.map_err(RunError::Target)? {
        counts.target += u64::try_from(page.len()).unwrap_or(u64::MAX);
        for found in page {
            let Some(key) = found.key else {
                return Err(RunError::UnknownKey { resource: resource.clone() });
            };
            match source.remove(&key) {
                None => extras.push((key, found.id)),
                Some((id, hash))
                    if compares_content && hash != content_hash(found.body.bytes()) =>
                {
                    different.push((key, id));
                }
                Some(_) => {}
            }
        }
    }

    let mut unlike = BTreeSet::new();
    for (key, (id, _)) in source {
        if still_missing(run, resource, &key).await? {
            count_unlike(run, resource, &key, &id, &mut counts.missing, &mut counts.parked);
            unlike.insert(id);
        }
    }
    for (key, id) in different {
        if still_different(run, resource, &key, &id).await? {
            count_unlike(run, resource, &key, &id, &mut counts.different, &mut counts.parked);
            unlike.insert(id);
        }
    }
    let mut surely_extra = Vec::new();
    if let Some(extra) = &mut counts.extra {
        for (key, id) in extras {
            if still_extra(run, resource, &key).await? {
                *extra += 1;
                surely_extra.push((key, id));
            }
        }
    }
    Ok(OneCompared { counts, unlike, extras: surely_extra })
}

type SourceKeys = BTreeMap<NaturalKey, (SourceId, u64)>;

async fn read_source(
    run: &Run,
    resource: &ResourcePath,
    shape: &KeyShape,
    options: &VerifyOptions,
) -> Result<SourceKeys, RunError> {
    let mut keys = SourceKeys::new();
    let mut pages = run.reader.upserts(resource, run.window.from_the_beginning());
    while let Some(page) = pages.next().await.map_err(RunError::Source)? {
        run.check_stop()?;
        for item in page {
            let Some(key) = shape.key_of(&item.body) else {
                return Err(RunError::UnknownKey { resource: resource.clone() });
            };
            let hash = if options.content { content_hash(item.body.bytes()) } else { 0 };
            keys.insert(key, (item.id, hash));
        }
    }
    Ok(keys)
}

fn count_unlike(
    run: &Run,
    resource: &ResourcePath,
    key: &NaturalKey,
    id: &SourceId,
    count: &mut u64,
    parked: &mut u64,
) {
    let known = run.book().holds_upsert(resource, id) || run.book().holds_key(resource, key);
    if known { *parked += 1 } else { *count += 1 }
}

async fn still_missing(
    run: &Arc<Run>,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<bool, RunError> {
    let found = run.target(|target| target.find(resource, key)).await.map_err(RunError::Target)?;
    if matches!(found, Match::One(_)) {
        return Ok(false);
    }
    lives_at_source(run, resource, key).await
}

async fn still_extra(
    run: &Arc<Run>,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<bool, RunError> {
    if lives_at_source(run, resource, key).await? {
        return Ok(false);
    }
    let found = run.target(|target| target.find(resource, key)).await.map_err(RunError::Target)?;
    Ok(matches!(found, Match::One(_)))
}

async fn still_different(
    run: &Arc<Run>,
    resource: &ResourcePath,
    key: &NaturalKey,
    id: &SourceId,
) -> Result<bool, RunError> {
    let source = run.reader.get(resource, id).await.map_err(RunError::Source)?;
    let found = run.target(|target| target.find(resource, key)).await.map_err(RunError::Target)?;
    match (source, found) {
        (Lookup::Lives(item), Match::One(found)) => {
            Ok(content_hash(item.body.bytes()) != content_hash(found.body.bytes()))
        }
        (Lookup::Lives(_), Match::None | Match::Doubtful { .. }) => Ok(true),
        (Lookup::Absent | Lookup::Hidden, _) => Ok(false),
    }
}

async fn lives_at_source(
    run: &Run,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<bool, RunError> {
    let found = run.reader.find(resource, key).await.map_err(RunError::Source)?;
    Ok(!matches!(found, Lookup::Absent))
}

/// Publishes what is missing or different in the target's order, and deletes extras in reverse.
async fn repair(
    around: &Surroundings,
    pair: &Pair,
    options: &VerifyOptions,
    found: &Found,
) -> Result<(), RunError> {
    let run = open(around, pair, options).await?;
    if options.repair {
        for (resource, ids) in &found.unlike {
            for id in ids {
                run.check_stop()?;
                run.take_up(Stage::Upserts, 1);
                let settled = apply::upsert_by_id(&run, resource, id, Turn::Retry).await?;
                if settled == Settled::Deferred {
                    // A person before its association, which comes later in this order.
                    continue;
                }
            }
            run.commit_parked().await?;
        }
        for (resource, _) in &found.unlike {
            for id in run.take_refused_people(resource) {
                apply::upsert_by_id(&run, resource, &id, Turn::AfterAssociation).await?;
            }
        }
    }
    if options.delete_extra {
        for (resource, extras) in found.extras.iter().rev() {
            brake(&run, resource, extras.len()).await?;
            for (_, id) in extras {
                run.check_stop()?;
                // What is refused stays extra, and the second comparison says so.
                match run.target(|target| target.delete(resource, id)).await {
                    Err(error) if error.refusal().is_none() => return Err(RunError::Target(error)),
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
    run.commit_parked().await
}

/// R27 holds for extras too.
async fn brake(run: &Arc<Run>, resource: &ResourcePath, extras: usize) -> Result<(), RunError> {
    let extras = u64::try_from(extras).unwrap_or(u64::MAX);
    super::brake::check_count(run, resource, extras).await
}

/// A hash of what a body means: order of members, nulls, empty collections, server members and
/// links apart; numbers by their text (contract, `verify`).
fn content_hash(body: &[u8]) -> u64 {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    if let Ok(text) = std::str::from_utf8(body) {
        let mut canonical = String::with_capacity(text.len());
        write_canonical(text, &mut canonical);
        hash.update(canonical.as_bytes());
    } else {
        hash.update(body);
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// Writes the meaning of one JSON value; nothing for null, for an empty object or array, and for
/// what is no JSON.
fn write_canonical(json: &str, out: &mut String) {
    use serde_json::value::RawValue;
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
                return;
            };
            let mut inner = String::new();
            for (name, value) in members {
                if matches!(name.as_str(), "id" | "_etag" | "_lastModifiedDate" | "link") {
                    continue;
                }
                let mut written = String::new();
                write_canonical(value.get(), &mut written);
                if !written.is_empty() {
                    inner.push_str(&serde_json::Value::String(name).to_string());
                    inner.push(':');
                    inner.push_str(&written);
                    inner.push(',');
                }
            }
            if !inner.is_empty() {
                out.push('{');
                out.push_str(&inner);
                out.push('}');
            }
        }
        Some(b'[') => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) else { return };
            let mut inner = String::new();
            for item in items {
                write_canonical(item.get(), &mut inner);
                inner.push(',');
            }
            if !inner.is_empty() {
                out.push('[');
                out.push_str(&inner);
                out.push(']');
            }
        }
        Some(b'"') => {
            let Ok(text) = serde_json::from_str::<String>(json) else { return };
            out.push_str(&serde_json::Value::String(text).to_string());
        }
        _ if json == "null" => {}
        _ => out.push_str(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_equal_in_meaning_and_not_in_spelling() {
        let one = r#"{"a":1.10,"b":"x","c":null,"d":[],"id":"1","r":{"s":1,"link":{"rel":"R"}}}"#;
        for (case, other, equal) in [
            ("order of members", r#"{"b":"x","r":{"s":1},"a":1.10}"#, true),
            ("escapes", r#"{"b":"\u0078","r":{"s":1},"a":1.10}"#, true),
            ("the text of a number", r#"{"b":"x","r":{"s":1},"a":1.1}"#, false),
            ("a value", r#"{"b":"y","r":{"s":1},"a":1.10}"#, false),
            ("a member more", r#"{"b":"x","r":{"s":1},"a":1.10,"e":0}"#, false),
            ("a text is no number", r#"{"b":"x","r":{"s":"1"},"a":1.10}"#, false),
        ] {
            assert_eq!(
                content_hash(one.as_bytes()) == content_hash(other.as_bytes()),
                equal,
                "{case}"
            );
        }
    }
}
