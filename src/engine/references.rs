//! What an item refers to and the target does not have: fetched from the source and published
//! first (R24), only if its resource is selected, and to a bounded depth.

use std::sync::Arc;

use crate::domain::{Item, NaturalKey, Reference, ResourcePath, Stage, Tally};
use crate::sources::Lookup;
use crate::state::WaitsFor;
use crate::targets::{Match, Refusal};

use super::RunError;
use super::apply::{self, Settled, Turn};
use super::under_way::Run;

/// What came of looking for the missing references of one item.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    /// At least one was published: the item is worth another try.
    pub published: bool,
    /// One is of a resource that is not selected.
    pub outside_selection: bool,
    /// One that could not be published.
    pub waits_for: Option<WaitsFor>,
}

pub(super) async fn publish_missing(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
    refusal: &Refusal,
    depth: u8,
) -> Result<Missing, RunError> {
    let mut missing = Missing::default();
    let Some(shape) = run.reader.key_shape(resource).await.map_err(RunError::Source)? else {
        return Ok(missing);
    };
    for reference in shape.references_of(&item.body) {
        if !may_be_meant(refusal, &reference) {
            continue;
        }
        let selected: Vec<&ResourcePath> =
            reference.resources.iter().filter(|r| run.graph.contains(r)).collect();
        if selected.is_empty() {
            if is_at_target(run, &reference.resources, &reference).await? {
                continue;
            }
            missing.outside_selection = true;
            missing.waits_for = Some(WaitsFor::from(reference));
            continue;
        }
        if is_at_target(run, &reference.resources, &reference).await? {
            continue;
        }
        match publish_one(run, &selected, &reference, depth).await? {
            true => missing.published = true,
            false => missing.waits_for = Some(WaitsFor::from(reference.clone())),
        }
    }
    Ok(missing)
}

/// Whether the target has everything that the item refers to. What it does not list as a resource,
/// as school years, cannot be looked up and is taken to be there.
pub(super) async fn all_at_target(
    run: &Arc<Run>,
    resource: &ResourcePath,
    item: &Item,
) -> Result<bool, RunError> {
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    for reference in shape.iter().flat_map(|shape| shape.references_of(&item.body)) {
        let is_listed = reference.resources.iter().any(|resource| run.target_has(resource));
        if is_listed && !is_at_target(run, &reference.resources, &reference).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A host that names what is missing names the entity (`Student`); its collection begins so, but
/// for `people`. One that names nothing leaves every reference in question.
fn may_be_meant(refusal: &Refusal, reference: &Reference) -> bool {
    if refusal.missing.is_empty() {
        return true;
    }
    let names = |entity: &String| {
        let entity = entity.to_lowercase();
        // By letters, not bytes: the text is the server's, and may be anything or nothing.
        let letters = entity.chars().count();
        let stem: String = entity.chars().take(letters.saturating_sub(2).max(1)).collect();
        let begins_so = |r: &ResourcePath| r.collection().to_lowercase().starts_with(&stem);
        !entity.is_empty()
            && (reference.place.to_lowercase().contains(&entity)
                || reference.resources.iter().any(begins_so))
    };
    refusal.missing.iter().any(names)
}

async fn is_at_target(
    run: &Arc<Run>,
    resources: &[ResourcePath],
    reference: &Reference,
) -> Result<bool, RunError> {
    for resource in resources {
        if !run.target_has(resource) {
            continue;
        }
        let key = key_there(run, resource, reference).await?;
        let found = run.target(|target| target.find(resource, &key)).await;
        match found {
            Ok(Match::One(_)) => return Ok(true),
            Ok(Match::None | Match::Doubtful { .. }) => {}
            // A refused look-up is no answer: publish it and see.
            Err(error) if error.refusal().is_some() => {}
            Err(error) => return Err(RunError::Target(error)),
        }
    }
    Ok(false)
}

async fn publish_one(
    run: &Arc<Run>,
    resources: &[&ResourcePath],
    reference: &Reference,
    depth: u8,
) -> Result<bool, RunError> {
    if !apply::may_go_deeper(depth) {
        return Ok(false);
    }
    for resource in resources {
        let key = key_there(run, resource, reference).await?;
        // An item is tried once a run (R22): what was refused already stays refused.
        if run.was_parked_now(resource, &key) {
            continue;
        }
        let found = run.reader.find(resource, &key).await.map_err(RunError::Source)?;
        let Lookup::Lives(item) = found else { continue };
        // Nor is one that is dead or not due tried for the sake of every new item that refers to it.
        let (now, all) = (run.now(), run.options.all_parked);
        if run.book().still_refuses(resource, &item, now, all) {
            continue;
        }
        run.take_up(Stage::Upserts, 1);
        let settled =
            apply::upsert_out_of_turn(run, resource, &item, Turn::Referenced(depth + 1)).await?;
        run.count(Stage::Upserts, resource, settled, Tally { read: 1, ..Tally::default() });
        if settled == Settled::Applied {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key by the names of the resource that is asked: a school is `schoolId` there and
/// `educationOrganizationId` in who refers to any organization.
async fn key_there(
    run: &Run,
    resource: &ResourcePath,
    reference: &Reference,
) -> Result<NaturalKey, RunError> {
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    Ok(shape.map_or_else(|| reference.key.clone(), |shape| shape.in_own_words(&reference.key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_server_names_as_missing_is_compared_and_never_a_crash() {
        let reference = Reference {
            place: "$.studentReference".to_owned(),
            resources: vec![ResourcePath::parse("/ed-fi/students").unwrap()],
            key: NaturalKey::default(),
        };
        for (missing, meant) in [
            ("Student", true),
            ("STUDENT", true),
            ("Section", false),
            ("", false),
            ("é", false),
            ("éé", false),
            ("日本", false),
        ] {
            let refusal = Refusal { missing: vec![missing.to_owned()], ..Refusal::default() };

            assert_eq!(may_be_meant(&refusal, &reference), meant, "{missing:?}");
        }
    }
}
