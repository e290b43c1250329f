//! Names and the target ids they had before anything of the run moved (R5, R26): looked up once,
//! journalled, and asked for again by nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::domain::{NaturalKey, ResourcePath, SourceId};
use crate::state::{JournalledName, LeftBehind};
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
/// journalled stands: the name may have moved since. That attempt may have written another item under it
/// then, which a rename moves as well: where the item is known that the key was told of, what is found
/// beside the known id is left behind by it.
pub(super) async fn look_up(
    run: &Arc<Run>,
    resource: &ResourcePath,
    keys: impl IntoIterator<Item = (NaturalKey, Option<SourceId>)>,
    of: Of,
) -> Result<(), RunError> {
    let (mut names, mut left_behind) = (Vec::new(), Vec::new());
    let mut asked = FuturesUnordered::new();
    for (key, id) in keys.into_iter().collect::<BTreeMap<_, _>>() {
        // One that was not there may be there now: an earlier attempt has written it since.
        let known = run.journalled_name(resource, &key).await?;
        let known = known.filter(|known| known.target_id.is_some());
        if known.is_some() && id.is_none() {
            names.extend(known.filter(|known| of == Of::Deleted && !known.deleted).map(as_deleted));
            continue;
        }
        asked.push(async move {
            let found = run.target(|target| target.find(resource, &key)).await;
            (key, id, known, found)
        });
    }
    while let Some((key, id, known, found)) = asked.next().await {
        let target_id = match found {
            Ok(Match::One(found)) => Some(found.id),
            Ok(Match::None | Match::Doubtful { .. }) => None,
            // A look-up that the target refuses finds nothing; the deletes ask again.
            Err(error) if error.refusal().is_some() => None,
            Err(error) => return Err(RunError::Target(error)),
        };
        let deleted = of == Of::Deleted;
        let Some(known) = known else {
            names.push(JournalledName { resource: resource.clone(), key, target_id, deleted });
            continue;
        };
        if let (Some(id), Some(newcomer)) = (id, target_id)
            && known.target_id.as_ref() != Some(&newcomer)
        {
            let (resource, target_id) = (resource.clone(), newcomer);
            left_behind.push(LeftBehind { resource, id, target_id, lived_as: None });
        }
        if deleted && !known.deleted {
            names.push(as_deleted(known));
        }
    }
    run.journal_names(names, left_behind).await
}

fn as_deleted(known: JournalledName) -> JournalledName {
    JournalledName { deleted: true, ..known }
}
