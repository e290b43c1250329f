//! Names and the target ids they had before anything of the run moved (R5, R26): looked up once,
//! journalled, and asked for again by nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::domain::{NaturalKey, ResourcePath};
use crate::state::JournalledName;
use crate::targets::Match;

use super::RunError;
use super::under_way::Run;

/// What the keys are names of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// Items that live under other keys now, or people whose keys never change.
    OldKeys,
    /// Items that were deleted. A key that lives again hides that; the id that it had does not.
    Deleted,
}

/// Finds the target ids of `keys` and journals them. What an earlier attempt of this window has
/// journalled stands: the name may have moved since.
pub(super) async fn look_up(
    run: &Arc<Run>,
    resource: &ResourcePath,
    keys: impl IntoIterator<Item = NaturalKey>,
    of: Of,
) -> Result<(), RunError> {
    let mut names = Vec::new();
    let mut asked = FuturesUnordered::new();
    for key in keys.into_iter().collect::<BTreeSet<_>>() {
        // One that was not there may be there now: an earlier attempt has written it since.
        let known = run.journalled_name(resource, &key).await?;
        if let Some(known) = known.filter(|known| known.target_id.is_some()) {
            if of == Of::Deleted && !known.deleted {
                names.push(JournalledName { deleted: true, ..known });
            }
            continue;
        }
        asked.push(async move {
            let found = run.target(|target| target.find(resource, &key)).await;
            (key, found)
        });
    }
    while let Some((key, found)) = asked.next().await {
        let target_id = match found {
            Ok(Match::One(found)) => Some(found.id),
            Ok(Match::None | Match::Doubtful { .. }) => None,
            // A look-up that the target refuses finds nothing; the deletes ask again.
            Err(error) if error.refusal().is_some() => None,
            Err(error) => return Err(RunError::Target(error)),
        };
        let deleted = of == Of::Deleted;
        names.push(JournalledName { resource: resource.clone(), key, target_id, deleted });
    }
    run.journal_names(names).await
}
