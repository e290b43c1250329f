//! Going on where a run was that did not come to its commit (R12): what it has finished stands.
//!
//! The unit is a resource: its upserts are settled, durably, and nothing of it waits for something
//! later in the run. Key changes and deletes are agreed upon again, which costs look-ups and no
//! writes. The one thing to know: what is finished stands even when the source's snapshot was
//! replaced meanwhile, between two runs or within one, because the upper edge stays the smallest
//! newest version of the views that were read from (R11); it does not stand when either end, or
//! the question, is not what it was.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, ResourcePath, Tally, Window};
use crate::sources::Isolation;
use crate::state::{Finished, RunJournal, Step};

use super::run::{Surroundings, selection_fingerprint};
use super::{Pair, RunError};

/// The window of a run and what another run of it has finished already.
pub(super) struct Beginning {
    pub(super) window: Window,
    /// The version after which it reads, overlap included (R14).
    pub(super) reach: Option<ChangeVersion>,
    /// When the first of what stands was read: the overlap is settled from then (R15).
    pub(super) read_since: Timestamp,
    pub(super) finished: BTreeMap<ResourcePath, Tally>,
    /// A newer view was read from before, and what it told is in the journal.
    pub(super) is_older_than_begun: bool,
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
            finished: BTreeMap::new(),
            is_older_than_begun: false,
        }
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
        return Ok(Beginning::anew(fresh, reach, began));
    }
    let is_older_than_begun = fresh.through < begun.through;
    let anew = Beginning { is_older_than_begun, ..Beginning::anew(fresh, reach, began) };
    if (is_older_than_begun && !is_merely_old(pair, isolation, begun).await?)
        || !is_the_same(&journal, pair, scope.as_deref()).await?
    {
        return Ok(anew);
    }
    let mut finished = around.store.finished(&pair.id).await.map_err(RunError::State)?;
    finished.retain(|finished| finished.through == begun.through);
    let Some(newest_then) = finished.iter().map(|finished| finished.target_newest).max() else {
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
    Ok(Beginning {
        window,
        reach: journal.reach,
        read_since: journal.began_at,
        finished: finished.collect(),
        is_older_than_begun,
    })
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
