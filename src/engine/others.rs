//! What other pairs have at the same target (R28a): nothing that lives at the source of one of them is
//! deleted, and no name of it is taken away by a rename, whether or not anybody said `shared`.
//!
//! What lives here: which pairs these are, and the question to their sources. What does not: resources
//! of which a person has said whose they are ([`super::ownership`]). The one thing to know: the live
//! source is asked, whatever the isolation of that pair. Two pairs that both lose an item each ask when
//! their tombstone comes, and of two such questions the later one finds both without it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use tokio::sync::OnceCell;

use crate::domain::{Fingerprint, NaturalKey, Organizations, ResourcePath};
use crate::sources::{Isolation, Lookup, Reader, Source, SourceError};
use crate::state::{Coverage, PairId, PairState};

use super::runner::new_run_id;
use super::under_way::Run;
use super::{Pair, RunError};

/// Sources that are asked for one key at the same time.
const AT_ONCE: usize = 16;

/// What the sources of other pairs say of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    Absent,
    Lives,
    /// One of them does not show it or did not answer: it may live there.
    Unknown,
}

/// The other pairs of the target, found when something is about to go for the first time in a run.
#[derive(Default)]
pub(super) struct Others {
    pairs: OnceCell<Vec<Other>>,
    /// What stayed at the target because it lives at the source of another pair.
    kept: AtomicU64,
}

/// One pair that publishes to the same target from another source.
struct Other {
    id: PairId,
    source: Arc<dyn Source>,
    /// The resources that its state speaks for, or spoke for and will go on with.
    covers: BTreeSet<ResourcePath>,
    spoken_for: BTreeSet<ResourcePath>,
    /// What its state says of the organizations of its source.
    organizations: Option<Organizations>,
    view: OnceCell<Arc<dyn Reader>>,
    /// It did not answer: what may live there waits, and is not waited for again in this run.
    is_silent: AtomicBool,
}

impl Others {
    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Requests sent to the sources of other pairs.
    pub(super) fn requests(&self) -> u64 {
        self.pairs.get().into_iter().flatten().map(|other| other.source.requests()).sum()
    }
}

/// Whether what has this key at the target may be deleted, as far as others are concerned.
pub(super) async fn who_has(
    run: &Run,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<Elsewhere, RunError> {
    let others = of_target(run).await?.iter().filter(|other| other.covers.contains(resource));
    let who = ask(run, others, resource, key).await?;
    if who == Elsewhere::Lives {
        run.others.kept.fetch_add(1, Ordering::Relaxed);
    }
    Ok(who)
}

/// Whether what has this key may be given another one. That moves whatever hangs on it as well: pairs
/// that do not publish the resource itself are asked too.
pub(super) async fn who_has_or_hangs_on(
    run: &Run,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<Elsewhere, RunError> {
    let others = of_target(run).await?;
    ask(run, others.iter(), resource, key).await
}

async fn ask<'a>(
    run: &Run,
    others: impl Iterator<Item = &'a Other>,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<Elsewhere, RunError> {
    let ours = run.organizations.known();
    let others = others.filter(|other| !other.cannot_have(ours.as_ref(), key));
    let questions: Vec<_> = others.map(|other| other.shows(resource, key)).collect();
    let mut answers = futures_util::stream::iter(questions).buffer_unordered(AT_ONCE);
    let mut all = Elsewhere::Absent;
    while let Some(answer) = answers.next().await {
        match answer {
            Elsewhere::Lives => return Ok(Elsewhere::Lives),
            Elsewhere::Unknown => all = Elsewhere::Unknown,
            Elsewhere::Absent => {}
        }
    }
    // Whoever is to stop gets no answer, and that is no doubt about the item.
    run.check_stop()?;
    Ok(all)
}

impl Other {
    /// An item whose key names an organization that the pair has never seen is none of its own. One
    /// that joins its source now will be published by it after what goes now has gone.
    fn cannot_have(&self, ours: Option<&Organizations>, key: &NaturalKey) -> bool {
        let Some((ours, theirs)) = ours.zip(self.organizations.as_ref()) else { return false };
        ours.has_of_which_others_do_not_know(key, theirs, &self.spoken_for)
    }

    async fn shows(&self, resource: &ResourcePath, key: &NaturalKey) -> Elsewhere {
        if self.is_silent.load(Ordering::Relaxed) {
            return Elsewhere::Unknown;
        }
        match self.find(resource, key).await {
            Ok(Lookup::Lives(_)) => Elsewhere::Lives,
            Ok(Lookup::Hidden) => Elsewhere::Unknown,
            Ok(Lookup::Absent) => Elsewhere::Absent,
            Err(error) => {
                if !self.is_silent.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        publication = self.id.publication,
                        target = self.id.target,
                        error = %error,
                        "its source publishes to the same target and could not be asked what it has: what may be its own is parked until it can be"
                    );
                }
                Elsewhere::Unknown
            }
        }
    }

    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Lookup, SourceError> {
        if !self.source.resources().await?.contains(resource) {
            return Ok(Lookup::Absent);
        }
        let view = self.view.get_or_try_init(|| self.source.open(Isolation::Open)).await?;
        view.find(resource, key).await
    }
}

async fn of_target(run: &Run) -> Result<&[Other], RunError> {
    let others = run.others.pairs.get_or_try_init(|| find(run)).await?;
    Ok(others)
}

/// Costs nothing where nobody else writes to the same data, and reads of the store where somebody does.
async fn find(run: &Run) -> Result<Vec<Other>, RunError> {
    let mut others = Vec::new();
    if run.pair.policy.sole_writer {
        return Ok(others);
    }
    let own_source = run.pair.source.capabilities().await.map_err(RunError::Source)?;
    let own_target = run.pair.target.capabilities().await.map_err(RunError::Target)?;
    for pair in run.configured().iter().filter(|pair| pair.id != run.pair.id) {
        let coverage = run.store().coverage(&pair.id).await.map_err(RunError::State)?;
        let Coverage { spoken_for, organizations, .. } = coverage.clone();
        let mut covers = coverage.spoken_for;
        covers.extend(coverage.begun.into_keys());
        covers.extend(coverage.left.into_keys());
        if covers.is_empty() {
            continue; // It has never published anything.
        }
        let state = run.store().load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
        // What does not live in our source does not live there for anybody else either.
        let is_own_source =
            state.source.as_ref().is_some_and(|one| one.is_same_place(&own_source.fingerprint));
        if is_own_source || !is_to(run, pair, state, &own_target.fingerprint).await? {
            continue;
        }
        others.push(Other {
            id: pair.id.clone(),
            source: pair.source.for_run(&new_run_id(), run.stop()),
            covers,
            spoken_for,
            organizations,
            view: OnceCell::new(),
            is_silent: AtomicBool::new(false),
        });
    }
    Ok(others)
}

/// Whether the pair publishes to this target: as its state says, or its journal while its first run
/// goes on; the target itself is asked where a person has moved the watermark since.
async fn is_to(
    run: &Run,
    pair: &Pair,
    state: PairState,
    target: &Fingerprint,
) -> Result<bool, RunError> {
    let mut known = state.target;
    if known.is_none() {
        let journal = run.store().journal(&pair.id).await.map_err(RunError::State)?;
        known = journal.and_then(|journal| journal.target);
    }
    if let Some(known) = known {
        return Ok(known.is_same_place(target));
    }
    // One that cannot be reached is not the one that is being written to.
    let asked = pair.target.capabilities().await;
    Ok(asked.is_ok_and(|now| now.fingerprint.is_same_place(target)))
}
