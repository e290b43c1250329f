//! Who may touch people, and what depends on them (edfi-wire §10): the caller's claims cover every
//! school here, so a person can be reached as soon as an association leads to one.

use super::document::Json;
use super::problem::Problem;
use super::references::{is_person_endpoint, key_of_reference};
use super::rows::{Image, RowName};
use super::standard::{ResourceModel, StandardModel};

/// The resources whose items make a person reachable.
const ASSOCIATIONS: [(&str, &[&str]); 3] = [
    ("students", &["studentSchoolAssociations"]),
    (
        "staffs",
        &[
            "staffEducationOrganizationAssignmentAssociations",
            "staffEducationOrganizationEmploymentAssociations",
        ],
    ),
    ("contacts", &["studentContactAssociations"]),
];

/// Refuses to touch a person whom no association leads to.
pub(super) fn may_touch(
    standard: &StandardModel,
    image: &Image,
    row: RowName,
) -> Result<(), Problem> {
    let model = standard.resource(row.resource);
    if !is_person_endpoint(&model.endpoint) || is_reachable(standard, image, row) {
        return Ok(());
    }
    Err(denied(model))
}

/// Refuses a new item about a person whom the caller cannot reach. The associations themselves are
/// how a person becomes reachable, so they are exempt.
pub(super) fn may_propose(
    standard: &StandardModel,
    image: &Image,
    model: &ResourceModel,
    document: &Json<'_>,
) -> Result<(), Problem> {
    let is_exempt = |person: &str| {
        ASSOCIATIONS.iter().any(|(endpoint, makers)| {
            *endpoint == person && makers.contains(&model.endpoint.as_str())
        })
    };
    for reference in model.references.iter().filter(|reference| reference.path.is_single()) {
        let [target] = reference.targets.as_slice() else { continue };
        let person = standard.resource(*target);
        if !is_person_endpoint(&person.endpoint) || is_exempt(&person.endpoint) {
            continue;
        }
        let Some(object) = document.at(&reference.path) else { continue };
        let reachable = key_of_reference(standard, reference, *target, object)
            .and_then(|key| image.table(*target).by_key.get(&key).copied())
            .is_some_and(|surrogate| {
                is_reachable(standard, image, RowName { resource: *target, surrogate })
            });
        if !reachable {
            return Err(denied(person));
        }
    }
    Ok(())
}

/// Whether an association leads to the person.
pub(super) fn is_reachable(standard: &StandardModel, image: &Image, row: RowName) -> bool {
    let model = standard.resource(row.resource);
    let Some((_, makers)) = ASSOCIATIONS.iter().find(|(person, _)| *person == model.endpoint)
    else {
        return true;
    };
    image.table(row.resource).needed_by.get(&row.surrogate).is_some_and(|dependents| {
        dependents
            .iter()
            .any(|one| makers.contains(&standard.resource(one.resource).endpoint.as_str()))
    })
}

pub(super) fn denied(person: &ResourceModel) -> Problem {
    let association = match person.endpoint.as_str() {
        "staffs" => "StaffEducationOrganizationEmploymentAssociation",
        "contacts" => "StudentContactAssociation",
        _ => "StudentSchoolAssociation",
    };
    let member = person.key_names().next().unwrap_or_default();
    Problem::no_relationship(member, association)
}
