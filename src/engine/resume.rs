//! Going on where a run was that did not come to its commit (R12): what it has finished stands.
//!
//! The unit is a page where the source can begin at one again, and a resource where not: its upserts
//! are settled, durably, and nothing of it waits for something later in the run. Key changes and
//! deletes are agreed upon again, which costs look-ups and no writes. The one thing to know: a
//! resource that is finished stands even when the source's snapshot was replaced meanwhile, between
//! two runs or within one, because the upper edge stays the smallest newest version of the views
//! that were read from (R11); one of which pages are finished is then read again from its
//! beginning. Neither stands when either end, or the question, is not what it was.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, ResourcePath, Tally, Window};
use crate::sources::Isolation;
use crate::state::{Finished, Progress, RunJournal, Step};

use super::pages::{Stretch, stretches_at};
use super::run::{Surroundings, selection_fingerprint};
use super::under_way::{Run, lock};
use super::{Pair, RunError};

/// The window of a run and what another run of it has finished already.
pub(super) struct Beginning {
    pub(super) window: Window,
    /// The version after which it reads, overlap included (R14).
    pub(super) reach: Option<ChangeVersion>,
    /// When the first of what stands was read: the overlap is settled from then (R15).
    pub(super) read_since: Timestamp,
    pub(super) before: Before,
    /// A run was broken off since the last commit. What it wrote may be older than what is dealt
    /// with: pages may have come from a snapshot that had taken the place of its own (R11). See
    /// [`Overlap::again_after`](crate::state::Overlap) for what else may be.
    pub(super) is_after_a_broken_run: bool,
}

impl Beginning {
    pub(super) fn anew(
        window: Window,
        reach: Option<ChangeVersion>,
        read_since: Timestamp,
    ) -> Beginning {
        Beginning {
            window,
            reach,
            read_since,
            before: Before::default(),
            is_after_a_broken_run: false,
        }
    }
}

/// What another run of the window has done of the upserts.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// What became of the upserts of the resources that it finished.
    pub(super) finished: BTreeMap<ResourcePath, Tally>,
    /// How far it had come in others.
    progress: BTreeMap<ResourcePath, Progress>,
}

impl Before {
    pub(super) fn retain(&mut self, selected: &BTreeSet<ResourcePath>) {
        self.finished.retain(|resource, _| selected.contains(resource));
        self.progress.retain(|resource, _| selected.contains(resource));
    }

    pub(super) fn is_gone_on_from(&self) -> bool {
        !self.finished.is_empty() || !self.progress.is_empty()
    }
}

/// What a run would do if none had begun before it.
pub(super) struct Asked {
    /// Ends with the smallest newest version that this run has seen.
    pub(super) window: Window,
    pub(super) reach: Option<ChangeVersion>,
    /// What the source's credentials reach, where it tells.
    pub(super) scope: Option<String>,
}

/// Goes on from the journalled run where that is possible, and begins anew where not.
pub(super) async fn beginning(
    around: &Surroundings,
    pair: &Pair,
    isolation: Isolation,
    asked: Asked,
    began: Timestamp,
) -> Result<Beginning, RunError> {
    let Asked { window: fresh, reach, scope } = asked;
    let journal = around.store.journal(&pair.id).await.map_err(RunError::State)?;
    let Some(journal) = journal else { return Ok(Beginning::anew(fresh, reach, began)) };
    let begun = journal.window;
    // The lower edge is the watermark: what was begun above another says nothing here.
    if begun.after != fresh.after {
        let anew = Beginning::anew(fresh, reach, began);
        return Ok(Beginning { is_after_a_broken_run: true, ..anew });
    }
    let is_older_than_begun = fresh.through < begun.through;
    let anew = Beginning { is_after_a_broken_run: true, ..Beginning::anew(fresh, reach, began) };
    if (is_older_than_begun && !is_merely_old(pair, isolation, begun).await?)
        || !is_the_same(&journal, pair, scope.as_deref()).await?
    {
        return Ok(anew);
    }
    let mut finished = around.store.finished(&pair.id).await.map_err(RunError::State)?;
    finished.retain(|finished| finished.through == begun.through);
    let mut progress = around.store.progress(&pair.id).await.map_err(RunError::State)?;
    // Under an older view the pages are others.
    progress.retain(|progress| progress.through == begun.through && !is_older_than_begun);
    let newest_of_finished = finished.iter().map(|finished| finished.target_newest);
    let newest_of_progress = progress.iter().map(|progress| progress.target_newest);
    let Some(newest_then) = newest_of_finished.chain(newest_of_progress).max() else {
        return Ok(anew);
    };
    // A target that was restored since does not have what was written to it (R18).
    let newest_now = pair.target.newest().await.map_err(RunError::Target)?;
    if newest_now.is_none_or(|now| now < newest_then) {
        return Ok(anew);
    }
    let window = Window { after: fresh.after, through: begun.through.min(fresh.through) };
    if is_older_than_begun {
        lower_edge(around, pair, &mut finished, window).await?;
    }
    let finished = finished.into_iter().map(|finished| (finished.resource, finished.tally));
    let progress = progress.into_iter().map(|progress| (progress.resource.clone(), progress));
    Ok(Beginning {
        window,
        reach: journal.reach,
        read_since: journal.began_at,
        before: Before { finished: finished.collect(), progress: progress.collect() },
        is_after_a_broken_run: true,
    })
}

/// The stretches of `resource` that another run of the window has not come to the end of, each at
/// the page that it was at, and what became of what lies before; `None` if there are none or the
/// source cannot begin there again.
pub(super) async fn stretches(
    run: &Run,
    resource: &ResourcePath,
    window: Window,
) -> Result<Option<(Vec<Stretch>, Tally)>, RunError> {
    let Some(progress) = run.before.progress.get(resource) else { return Ok(None) };
    let places = || std::iter::once(&progress.position).chain(&progress.others);
    for place in places() {
        let Some(mut pages) = run.reader.upserts_from(resource, window, place) else {
            return Ok(None);
        };
        // Its page is let go of and read again in its turn: who waits for another holds none.
        match pages.next().await {
            Ok(_) => {}
            // The server does not know its own cursor any more.
            Err(error) if error.is_refused_question() => return Ok(None),
            Err(error) => return Err(RunError::Source(error)),
        }
    }
    let Some(stretches) = stretches_at(run, resource, window, places()) else { return Ok(None) };
    run.take_over(resource, progress.tally);
    Ok(Some((stretches, progress.tally)))
}

/// Journals that every upsert of the resource is settled, unless something of it waits for
/// what comes later. A resource without items costs as much to journal as to read again.
///
/// It counts when the view has been looked at once more, now and then: a page may have come from a
/// snapshot that took the place of the one that was opened (R11).
pub(super) async fn journal_finished(run: &Run, resource: &ResourcePath) -> Result<(), RunError> {
    let tally = tally_of(run, resource);
    let has_ended = run.is_closed(resource) || was_finished(run, resource);
    if tally.read == 0 || has_ended || run.waits_for_later(resource) {
        return Ok(());
    }
    let Some(finished) = run.finished_since_the_last_look(resource, tally) else { return Ok(()) };
    let (confirmed, newest) = join(run.reader.confirm(), run.pair.target.newest()).await;
    confirmed.map_err(RunError::Source)?;
    // A target that does not tell its newest version could be restored unnoticed.
    let Some(target_newest) = newest.map_err(RunError::Target)? else { return Ok(()) };
    let through = run.window.through;
    let finished = finished
        .into_iter()
        .map(|(resource, tally)| Finished { resource, through, tally, target_newest })
        .collect();
    run.write(Step { finished, ..Step::default() }).await
}

/// Another run of this window has settled every upsert of the resource.
pub(super) fn was_finished(run: &Run, resource: &ResourcePath) -> bool {
    run.before.finished.contains_key(resource)
}

/// Another run of this window has settled every upsert of the resource, or has begun to.
pub(super) fn is_under_way(run: &Run, resource: &ResourcePath) -> bool {
    was_finished(run, resource) || run.before.progress.contains_key(resource)
}

fn tally_of(run: &Run, resource: &ResourcePath) -> Tally {
    lock(&run.upserts).get(resource).copied().unwrap_or_default()
}

/// Whether a source that shows less than was begun is a snapshot that is merely old: then its live
/// database still has what was read. One that was restored has not (R18).
async fn is_merely_old(pair: &Pair, isolation: Isolation, begun: Window) -> Result<bool, RunError> {
    if isolation != Isolation::Snapshot {
        return Ok(false);
    }
    let live = pair.source.live_newest().await.map_err(RunError::Source)?;
    Ok(live >= begun.through)
}

/// What was finished through a newer version is finished through an older one.
async fn lower_edge(
    around: &Surroundings,
    pair: &Pair,
    finished: &mut [Finished],
    window: Window,
) -> Result<(), RunError> {
    for finished in finished.iter_mut() {
        finished.through = window.through;
    }
    let step = Step { finished: finished.to_vec(), ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)
}

/// Other credentials show other items: what was finished with the old ones is not (S19).
async fn is_the_same(
    journal: &RunJournal,
    pair: &Pair,
    scope: Option<&str>,
) -> Result<bool, RunError> {
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    Ok(journal.source.as_ref() == Some(&source.fingerprint)
        && journal.target.as_ref() == Some(&target.fingerprint)
        && journal.scope.as_deref() == scope
        && journal.selection == selection_fingerprint(pair))
}
