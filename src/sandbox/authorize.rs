//! Who may touch people and what is about them, and who may write under a namespace (edfi-wire
//! §10): the caller's claims cover every school here, so a person can be reached as soon as an
//! association leads to one.

use super::document::Json;
use super::problem::Problem;
use super::references::{is_person_endpoint, key_of_text};
use super::rows::{Image, RowName};
use super::standard::{ReferenceModel, ResourceModel, StandardModel};

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

/// What is authorised by its namespace, beside all descriptors.
const BY_NAMESPACE: [&str; 15] = [
    "assessmentItems",
    "assessmentScoreRangeLearningStandards",
    "assessments",
    "descriptorMappings",
    "educationContents",
    "gradebookEntries",
    "learningStandardEquivalenceAssociations",
    "learningStandards",
    "objectiveAssessments",
    "surveyQuestionResponses",
    "surveyQuestions",
    "surveyResponses",
    "surveySectionResponses",
    "surveySections",
    "surveys",
];

pub(super) fn is_authorized_by_namespace(endpoint: &str) -> bool {
    BY_NAMESPACE.contains(&endpoint)
}

/// Whether a namespace stands there already, or is what the caller wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Existing,
    Proposed,
}

/// Refuses to write under a namespace that begins with none of the caller's.
pub(super) fn may_name(
    prefixes: &[String],
    model: &ResourceModel,
    document: &Json<'_>,
    standing: Standing,
) -> Result<(), Problem> {
    let Some(place) = &model.namespace else { return Ok(()) };
    let Some(namespace) = document.at(place).and_then(Json::text) else { return Ok(()) };
    let begins = |prefix: &String| {
        namespace.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    match prefixes.iter().any(begins) {
        true => Ok(()),
        false => Err(Problem::foreign_namespace(prefixes, standing == Standing::Existing)),
    }
}

/// Refuses to touch a person whom no association leads to, and what is about one.
pub(super) fn may_touch(
    standard: &StandardModel,
    image: &Image,
    row: RowName,
) -> Result<(), Problem> {
    match out_of_reach(standard, image, row) {
        None => Ok(()),
        Some(person) => Err(denied(person)),
    }
}

/// The person because of whom an item that is there cannot be reached, if there is one.
pub(super) fn out_of_reach<'s>(
    standard: &'s StandardModel,
    image: &Image,
    row: RowName,
) -> Option<&'s ResourceModel> {
    let model = standard.resource(row.resource);
    if is_person_endpoint(&model.endpoint) {
        return (!is_reachable(standard, image, row)).then_some(model);
    }
    if !is_about_people(standard, model) {
        return None;
    }
    let stored = image.row(row)?;
    let document = Json::parse(&stored.body).ok()?;
    unreached(standard, image, model, &document, |_| false)
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
    match unreached(standard, image, model, document, is_exempt) {
        None => Ok(()),
        Some(person) => Err(denied(person)),
    }
}

/// What is authorised by its namespace is not authorised by the people whom it mentions.
fn is_about_people(standard: &StandardModel, model: &ResourceModel) -> bool {
    let names_one = |reference: &ReferenceModel| {
        let mut people = standard.people.iter();
        people.any(|person| reference.members.contains(&person.member))
    };
    model.namespace.is_none() && model.references.iter().any(names_one)
}

/// The first kind of people of whom the document names one who cannot be reached: by a reference
/// to the person, or by one to something whose key the person is a part of (a grade's section
/// enrolment).
fn unreached<'s>(
    standard: &'s StandardModel,
    image: &Image,
    model: &ResourceModel,
    document: &Json<'_>,
    is_exempt: impl Fn(&str) -> bool,
) -> Option<&'s ResourceModel> {
    if !is_about_people(standard, model) {
        return None;
    }
    for reference in model.references.iter().filter(|reference| reference.path.is_single()) {
        let Some(object) = document.at(&reference.path) else { continue };
        for person in &standard.people {
            let kind = standard.resource(person.resource);
            let Some(named) = object.get(&person.member).and_then(Json::text) else { continue };
            let found = image.table(person.resource).by_key.get(&key_of_text(&named)).copied();
            let is_reached = found.is_some_and(|surrogate| {
                is_reachable(standard, image, RowName { resource: person.resource, surrogate })
            });
            if !is_reached && !is_exempt(&kind.endpoint) {
                return Some(kind);
            }
        }
    }
    None
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
