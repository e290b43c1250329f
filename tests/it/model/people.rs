//! What a target does not show because nobody is enrolled any more, and what that keeps (R26).
//!
//! The one thing to know: what cannot be seen cannot be deleted. A person whose association is gone
//! stays, with the associations that hang on the person, and so does everything that these refer to.
//! That is accepted of what had become unseen before its own delete was sent; it is not accepted
//! that a run which nothing disturbed makes it so.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidemark::domain::{Body, NaturalKey, ResourcePath};
use tidemark::sandbox::{Shown, View};
use tidemark::state::Parked;

use super::ends::{self, GRAPH};
use super::play::{Play, Slot, told};

/// Everything at the target that does not live at the source, and that nobody can delete.
pub(super) fn kept(play: &Play) -> BTreeSet<Slot> {
    let mut kept = BTreeSet::new();
    if !play.frame.people {
        return kept;
    }
    let everything = play.target.view().of_everyone();
    let mut waiting: Vec<(ResourcePath, Shown)> = unseen(play, &play.target.view());
    while let Some((resource, shown)) = waiting.pop() {
        let key = ends::key_of(&resource, shown.body());
        if !kept.insert((resource.clone(), key)) {
            continue;
        }
        let body = Body(Bytes::copy_from_slice(shown.body().as_bytes()));
        for reference in ends::shape_of(&resource).references_of(&body) {
            for referred in reference.resources.iter().filter(|one| GRAPH.contains(one)) {
                let key = ends::in_own_words(referred, &reference.key);
                let found = everything.find(referred.as_str(), &ends::parts(&key));
                waiting.extend(found.map(|found| (referred.clone(), found)));
            }
        }
    }
    kept
}

/// What the target holds, the source does not have, and nobody may touch as long as the target
/// shows no more than that.
fn unseen(play: &Play, shown: &View) -> Vec<(ResourcePath, Shown)> {
    let (source, everything) = (play.source.view(), play.target.view().of_everyone());
    let mut unseen = Vec::new();
    for resource in GRAPH.resources() {
        for item in everything.items(resource.as_str(), i64::MIN, i64::MAX) {
            let key = ends::key_of(resource, item.body());
            let lives = source.find(resource.as_str(), &ends::parts(&key)).is_some();
            if !lives && is_out_of_reach(shown, resource, &item) {
                unseen.push((resource.clone(), item));
            }
        }
    }
    unseen
}

/// A person whom the view does not show, or what is about one.
fn is_out_of_reach(shown: &View, resource: &ResourcePath, item: &Shown) -> bool {
    if !matches!(shown.item(resource.as_str(), &item.id()), Some(Ok(_))) {
        return true;
    }
    let body = Body(Bytes::copy_from_slice(item.body().as_bytes()));
    let references = ends::shape_of(resource).references_of(&body).into_iter();
    let mut people = references.filter(|one| one.resources.iter().any(|to| GRAPH.is_person(to)));
    people.any(|one| shown.find(one.resources[0].as_str(), &ends::parts(&one.key)).is_none())
}

/// A run that found everything settled and was disturbed by nothing leaves nobody behind whom the
/// target showed before, but for the persons themselves: by then nobody may delete them, and they
/// are parked under the id that was looked up while they could be seen.
pub(super) async fn check_clean_run(play: &Play, before: &View) -> Result<(), String> {
    if !play.frame.people {
        return Ok(());
    }
    let parked = play.parked().await;
    for (resource, item) in unseen(play, &play.target.view()) {
        let was_in_reach = !is_out_of_reach(before, &resource, &item);
        let waits = |record: &Parked| {
            record.resource == resource
                && record.target_id.as_ref().is_some_and(|id| id.0 == item.id())
        };
        let is_person_that_waits = GRAPH.is_person(&resource) && parked.iter().any(waits);
        if was_in_reach && !is_person_that_waits {
            let key: NaturalKey = ends::key_of(&resource, item.body());
            return Err(format!("{resource} {} was in reach and is left over (R26)", told(&key)));
        }
    }
    Ok(())
}
