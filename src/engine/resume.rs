//! Going on where a run was that did not come to its commit (R12): what it has finished stands.
//!
//! The unit is a resource: its upserts are settled, durably, and nothing of it waits for something
//! later in the run. Key changes and deletes are agreed upon again, which costs look-ups and no
//! writes. The one thing to know: what is finished stands even when the source's snapshot was
//! replaced meanwhile, because the run keeps the upper edge of the one it goes on from (R11); it
//! does not stand when either end, or the question, is not what it was.

use std::collections::BTreeMap;

use crate::domain::{ResourcePath, Tally, Window};
use crate::sources::Reader;
use crate::state::RunJournal;

use super::run::{Surroundings, selection_fingerprint};
use super::{Pair, RunError};

/// The window of a run and what another run of it has finished already.
pub(super) struct Beginning {
    pub(super) window: Window,
    pub(super) finished: BTreeMap<ResourcePath, Tally>,
}

/// Goes on from the journalled run where that is possible, and begins anew where not.
pub(super) async fn beginning(
    around: &Surroundings,
    pair: &Pair,
    reader: &dyn Reader,
    fresh: Window,
) -> Result<Beginning, RunError> {
    let anew = Beginning { window: fresh, finished: BTreeMap::new() };
    let journal = around.store.journal(&pair.id).await.map_err(RunError::State)?;
    let Some(journal) = journal else { return Ok(anew) };
    if !can_be_read_again(&journal, reader, fresh) || !is_the_same(&journal, pair).await? {
        return Ok(anew);
    }
    let through = journal.window.through;
    let mut finished = around.store.finished(&pair.id).await.map_err(RunError::State)?;
    finished.retain(|finished| finished.through == through);
    let Some(newest_then) = finished.iter().map(|finished| finished.target_newest).max() else {
        return Ok(anew);
    };
    // A target that was restored since does not have what was written to it (R18).
    let newest_now = pair.target.newest().await.map_err(RunError::Target)?;
    if newest_now.is_none_or(|now| now < newest_then) {
        return Ok(anew);
    }
    let finished = finished.into_iter().map(|finished| (finished.resource, finished.tally));
    Ok(Beginning { window: journal.window, finished: finished.collect() })
}

/// Both edges stand still: the lower one is the watermark, and the source is not older than the
/// upper one.
fn can_be_read_again(journal: &RunJournal, reader: &dyn Reader, fresh: Window) -> bool {
    journal.window.after == fresh.after && journal.window.through <= reader.newest()
}

async fn is_the_same(journal: &RunJournal, pair: &Pair) -> Result<bool, RunError> {
    let source = pair.source.capabilities().await.map_err(RunError::Source)?;
    let target = pair.target.capabilities().await.map_err(RunError::Target)?;
    Ok(journal.source.as_ref() == Some(&source.fingerprint)
        && journal.target.as_ref() == Some(&target.fingerprint)
        && journal.selection == selection_fingerprint(pair))
}
