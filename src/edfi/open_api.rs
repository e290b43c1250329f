//! Keys and references as an OpenAPI document tells them (R1): Swagger 2.0 and OpenAPI 3.
//!
//! The collection's GET parameters that are flagged `x-Ed-Fi-isIdentity` are the flat names of the
//! key. Where such a name stands in a body follows from the resource's schema, by the rules of
//! [`places`]; a name without a place leaves the resource unknown rather than half known.

mod members;

use std::collections::{BTreeMap, HashMap};

pub(super) use members::read_members;
pub use members::{MemberDifference, Members};
use serde::Deserialize;

use super::shapes::{Shapes, completed, concretes_of};
use crate::domain::{KeyField, KeyShape, ReferenceShape, ResourcePath};

/// One of the documents that the API's metadata lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) address: String,
}

/// What the metadata address answers: a list of documents, or the document itself.
pub(super) enum Metadata {
    Sections(Vec<Section>),
    Document,
}

/// Reads the answer of the metadata address.
pub(super) fn read_metadata(answer: &[u8]) -> Result<Metadata, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        #[serde(default)]
        name: String,
        endpoint_uri: String,
    }
    if answer.trim_ascii_start().first() != Some(&b'[') {
        return Ok(Metadata::Document);
    }
    let listed: Vec<Listed> = serde_json::from_slice(answer)?;
    let all: Vec<Section> = listed
        .into_iter()
        .map(|Listed { name, endpoint_uri }| Section { name, address: endpoint_uri })
        .collect();
    Ok(Metadata::Sections(of_resources(all)))
}

/// `Resources` holds the resources of every schema; without it, what is not known to be about
/// something else. Descriptors need no document.
fn of_resources(all: Vec<Section>) -> Vec<Section> {
    const OTHERS: [&str; 7] = [
        "descriptors",
        "identity",
        "change-queries",
        "changequeries",
        "composites",
        "enrollment",
        "one-roster",
    ];
    let is = |section: &Section, name: &str| section.name.eq_ignore_ascii_case(name);
    if let Some(resources) = all.iter().find(|section| is(section, "Resources")) {
        return vec![resources.clone()];
    }
    all.into_iter().filter(|section| !OTHERS.iter().any(|other| is(section, other))).collect()
}

/// Reads one document.
pub(super) fn read_document(text: &[u8]) -> Result<Shapes, serde_json::Error> {
    let document: Document = serde_json::from_slice(text)?;
    let names = document.resources_by_schema();
    let mut shapes = Shapes::default();
    for (address, operations) in &document.paths {
        let Some(resource) = ResourcePath::parse(address) else { continue };
        if let Some(shape) = document.shape(operations, address, &names) {
            shapes.insert(resource, shape);
        }
    }
    Ok(shapes)
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    paths: BTreeMap<String, Operations>,
    #[serde(default)]
    definitions: HashMap<String, Schema>,
    #[serde(default)]
    components: Components,
    /// Swagger 2.0 keeps shared parameters here.
    #[serde(default)]
    parameters: HashMap<String, Parameter>,
}

#[derive(Default, Deserialize)]
struct Components {
    #[serde(default)]
    schemas: HashMap<String, Schema>,
    #[serde(default)]
    parameters: HashMap<String, Parameter>,
}

#[derive(Default, Deserialize)]
struct Operations {
    get: Option<Operation>,
    post: Option<Operation>,
    put: Option<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    #[serde(default)]
    parameters: Vec<Parameter>,
    request_body: Option<Content>,
    #[serde(default)]
    responses: HashMap<String, Response>,
    #[serde(default, rename = "x-Ed-Fi-isUpdatable")]
    is_updatable: bool,
}

#[derive(Clone, Deserialize)]
struct Parameter {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(rename = "in", default)]
    within: String,
    #[serde(default, rename = "x-Ed-Fi-isIdentity")]
    is_identity: bool,
    schema: Option<Schema>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    content: HashMap<String, Media>,
}

#[derive(Deserialize)]
struct Media {
    schema: Option<Schema>,
}

#[derive(Deserialize)]
struct Response {
    schema: Option<Schema>,
    #[serde(default)]
    content: HashMap<String, Media>,
}

#[derive(Clone, Default, Deserialize)]
struct Schema {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, Schema>,
    items: Option<Box<Schema>>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default, rename = "x-Ed-Fi-isUpdatable")]
    is_updatable: bool,
}

impl Document {
    /// Which collection a schema describes: the bodies that it takes, or else gives.
    fn resources_by_schema(&self) -> HashMap<&str, ResourcePath> {
        let mut names = HashMap::new();
        for (address, operations) in &self.paths {
            let (Some(resource), Some(schema)) =
                (ResourcePath::parse(address), body_schema(operations))
            else {
                continue;
            };
            names.insert(schema, resource);
        }
        names
    }

    fn shape(
        &self,
        operations: &Operations,
        address: &str,
        names: &HashMap<&str, ResourcePath>,
    ) -> Option<KeyShape> {
        let body = self.schema(body_schema(operations)?)?;
        let flat_names = self.identity(operations.get.as_ref()?);
        let fields = places(&flat_names, &self.leaves(body))?;
        let mut references = Vec::new();
        self.references(body, &mut Vec::new(), names, &mut references);
        let item = self.paths.get(&format!("{address}/{{id}}"));
        let put = item.and_then(|item| item.put.as_ref());
        let shape = KeyShape {
            fields: Some(fields).filter(|fields| !fields.is_empty())?,
            references,
            key_is_updatable: body.is_updatable || put.is_some_and(|put| put.is_updatable),
            keyed_by_descriptor: false,
        };
        Some(completed(shape))
    }

    fn identity(&self, get: &Operation) -> Vec<String> {
        let mut names: Vec<String> = get
            .parameters
            .iter()
            .filter_map(|parameter| self.parameter(parameter))
            .filter(|parameter| parameter.is_identity && parameter.within == "query")
            .map(|parameter| parameter.name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn parameter<'a>(&'a self, parameter: &'a Parameter) -> Option<&'a Parameter> {
        let Some(reference) = &parameter.reference else { return Some(parameter) };
        let name = last_part(reference);
        self.parameters.get(name).or_else(|| self.components.parameters.get(name))
    }

    fn schema(&self, name: &str) -> Option<&Schema> {
        self.definitions.get(name).or_else(|| self.components.schemas.get(name))
    }

    fn resolved<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        let named = schema.reference.as_deref().and_then(|name| self.schema(last_part(name)));
        named.unwrap_or(schema)
    }

    /// The root's scalars and the members of the references at the root.
    fn leaves(&self, body: &Schema) -> Leaves {
        let mut leaves = Leaves { required: body.required.clone(), ..Leaves::default() };
        for (name, property) in &body.properties {
            if name.ends_with("Reference") {
                let members = &self.resolved(property).properties;
                let members = members.keys().filter(|member| *member != "link").cloned();
                leaves.references.insert(name.clone(), members.collect());
            } else if property.reference.is_none() && property.items.is_none() {
                leaves.scalars.push(name.clone());
            }
        }
        leaves
    }

    fn references(
        &self,
        schema: &Schema,
        path: &mut Vec<String>,
        names: &HashMap<&str, ResourcePath>,
        found: &mut Vec<ReferenceShape>,
    ) {
        /// Deeper than bodies go; schemas could refer to themselves.
        const MAX_DEPTH: usize = 8;
        if path.len() == MAX_DEPTH {
            return;
        }
        for (name, property) in &schema.properties {
            let element = property.items.as_deref().unwrap_or(property);
            let resolved = self.resolved(element);
            path.push(name.clone());
            if name.ends_with("Reference") {
                let of = element.reference.as_deref().map(last_part);
                let resources = of.map(|of| resources_of(of, names)).unwrap_or_default();
                let members = resolved.properties.keys().filter(|member| *member != "link");
                if !resources.is_empty() {
                    found.push(ReferenceShape {
                        path: path.clone(),
                        resources,
                        members: members.map(|m| (m.clone(), m.clone())).collect(),
                        in_key: false,
                    });
                }
            } else if !resolved.properties.is_empty() {
                self.references(resolved, path, names, found);
            }
            path.pop();
        }
    }
}

/// What `edFi_studentReference` refers to.
fn resources_of(schema: &str, names: &HashMap<&str, ResourcePath>) -> Vec<ResourcePath> {
    let Some(entity) = schema.strip_suffix("Reference") else { return Vec::new() };
    let same = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(entity));
    if let Some((_, resource)) = same {
        return vec![resource.clone()];
    }
    let bare = entity.rsplit('_').next().unwrap_or(entity);
    let mut pascal = bare.to_owned();
    if let Some(first) = pascal.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let present = |resource: &ResourcePath| names.values().any(|known| known == resource);
    concretes_of(&pascal).into_iter().filter(present).collect()
}

fn body_schema(operations: &Operations) -> Option<&str> {
    let post = operations.post.as_ref();
    let in_body = post
        .and_then(|post| post.parameters.iter().find(|parameter| parameter.within == "body"))
        .and_then(|parameter| parameter.schema.as_ref());
    let in_request = post
        .and_then(|post| post.request_body.as_ref())
        .and_then(|body| body.content.values().find_map(|media| media.schema.as_ref()));
    let answered = operations.get.as_ref().and_then(|get| get.responses.get("200"));
    let in_answer = answered.and_then(|response| {
        let in_content = response.content.values().find_map(|media| media.schema.as_ref());
        response.schema.as_ref().or(in_content)?.items.as_deref()
    });
    let schema = in_body.or(in_request).or(in_answer)?;
    schema.reference.as_deref().map(last_part)
}

fn last_part(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// Where key parts can stand: the root's scalars, and the members of the references at the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaves {
    pub(super) scalars: Vec<String>,
    pub(super) references: BTreeMap<String, Vec<String>>,
    /// References that a body must have; those of a key are.
    pub(super) required: Vec<String>,
}

/// Where the flat names of a key stand in a body; `None` unless each has a place.
///
/// A name stands at the root; else in a reference with a member of just that name; else in one
/// whose role or entity the name begins with (`gradingPeriodSchoolYear` →
/// `gradingPeriodReference.schoolYear`, `programEducationOrganizationId` →
/// `programReference.educationOrganizationId`). A reference in a key is in it with all its
/// members, which tells it from others that happen to have a member of that name.
pub(super) fn places(flat_names: &[String], leaves: &Leaves) -> Option<Vec<KeyField>> {
    let role_named: Vec<(&String, Vec<String>)> = flat_names
        .iter()
        .filter(|flat| !leaves.holds(flat))
        .map(|flat| Some((flat, leaves.best(flat_names, |r, m| is_role_of(flat, r, m))?)))
        .collect::<Option<_>>()?;
    let taken = |reference: &str, member: &str| {
        role_named.iter().any(|(_, path)| path[0] == reference && path[1] == member)
    };

    flat_names
        .iter()
        .map(|flat| {
            let role_named = role_named.iter().find(|(name, _)| *name == flat);
            let path = if leaves.scalars.contains(flat) {
                vec![flat.clone()]
            } else if let Some((_, path)) = role_named {
                path.clone()
            } else {
                leaves.best(flat_names, |r, m| m == flat && !taken(r, m))?
            };
            Some(KeyField { name: flat.clone(), path })
        })
        .collect()
}

impl Leaves {
    /// Whether some place is called just this.
    fn holds(&self, flat: &str) -> bool {
        self.scalars.iter().any(|scalar| scalar == flat)
            || self.references.values().flatten().any(|member| member == flat)
    }

    /// Of the reference members that fit, the one whose reference is most surely part of the key.
    fn best(
        &self,
        flat_names: &[String],
        fits: impl Fn(&str, &str) -> bool,
    ) -> Option<Vec<String>> {
        let places = self.references.iter().flat_map(|(reference, members)| {
            members.iter().map(move |member| (reference, member, members))
        });
        let fitting = places.filter(|(reference, member, _)| fits(reference, member));
        let best = fitting.max_by_key(|(reference, _, members)| {
            let whole = members.iter().all(|member| self.is_in_key(flat_names, reference, member));
            (whole, self.required.contains(reference), members.len())
        });
        best.map(|(reference, member, _)| vec![reference.clone(), member.clone()])
    }

    fn is_in_key(&self, flat_names: &[String], reference: &str, member: &str) -> bool {
        flat_names.iter().any(|flat| {
            is_role_of(flat, reference, member)
                || flat == member && !self.scalars.iter().any(|scalar| scalar == flat)
        })
    }
}

/// Whether the flat name is the member's name behind the role or the entity of the reference.
fn is_role_of(flat: &str, reference: &str, member: &str) -> bool {
    let flat = flat.to_ascii_lowercase();
    let role = flat.strip_suffix(&member.to_ascii_lowercase());
    role.is_some_and(|role| !role.is_empty() && reference.to_ascii_lowercase().starts_with(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_flat_names_are_found_as_the_standard_has_them() {
        // Given the table of the whole standard, as if only names and references were known…
        let mut exceptions = Vec::new();
        let mut checked = 0;
        for (resource, shape) in Shapes::built_in().iter() {
            let mut leaves = Leaves::default();
            for reference in shape.references.iter().filter(|r| r.path.len() == 1) {
                let members = reference.members.iter().map(|(member, _)| member.clone());
                leaves.references.insert(reference.path[0].clone(), members.collect());
            }
            for field in shape.fields.iter().filter(|field| field.path.len() == 1) {
                leaves.scalars.push(field.name.clone());
            }

            // …when the flat names are looked for…
            let names: Vec<String> = shape.fields.iter().map(|field| field.name.clone()).collect();
            let found = places(&names, &leaves).unwrap_or_default();
            for field in &shape.fields {
                checked += 1;
                let path = found.iter().find(|f| f.name == field.name).map(|f| &f.path);
                if path != Some(&field.path) {
                    let path = path.map(|path| path.join("."));
                    exceptions.push(format!("{} {}: {path:?}", resource.collection(), field.name));
                }
            }
        }

        // …then it stands where the table says, but for these: the standard demands that the
        // two places agree, so either will do.
        exceptions.sort();
        assert!(checked > 400, "{checked}");
        insta::assert_snapshot!(exceptions.join("\n"), @r#"
        courseOfferings schoolId: Some("sessionReference.schoolId")
        grades schoolId: Some("studentSectionAssociationReference.schoolId")
        sectionAttendanceTakenEvents schoolId: Some("sectionReference.schoolId")
        sectionAttendanceTakenEvents schoolYear: Some("sectionReference.schoolYear")
        studentAssessmentRegistrationBatteryPartAssociations assessmentIdentifier: Some("studentAssessmentRegistrationReference.assessmentIdentifier")
        studentAssessmentRegistrationBatteryPartAssociations namespace: Some("studentAssessmentRegistrationReference.namespace")
        studentSchoolAttendanceEvents schoolId: Some("sessionReference.schoolId")
        surveyQuestionResponses namespace: Some("surveyResponseReference.namespace")
        surveyQuestionResponses surveyIdentifier: Some("surveyResponseReference.surveyIdentifier")
        surveySectionResponses namespace: Some("surveySectionReference.namespace")
        surveySectionResponses surveyIdentifier: Some("surveySectionReference.surveyIdentifier")
        "#);
    }

    const SWAGGER: &str = r##"{"swagger":"2.0","paths":{
        "/ed-fi/campuses":{"get":{"parameters":[{"$ref":"#/parameters/offset"},
            {"name":"campusCode","in":"query","x-Ed-Fi-isIdentity":true},{"name":"title","in":"query"}]},
          "post":{"parameters":[{"name":"campus","in":"body","schema":{"$ref":"#/definitions/edFi_campus"}}]}},
        "/ed-fi/campuses/{id}":{"get":{},"put":{}},
        "/ed-fi/groups":{"get":{"parameters":[{"name":"campusCode","in":"query","x-Ed-Fi-isIdentity":true},
            {"name":"homeCampusCode","in":"query","x-Ed-Fi-isIdentity":true},
            {"name":"groupCode","in":"query","x-Ed-Fi-isIdentity":true}]},
          "post":{"parameters":[{"name":"group","in":"body","schema":{"$ref":"#/definitions/edFi_group"}}]}},
        "/ed-fi/groups/{id}":{"put":{"x-Ed-Fi-isUpdatable":true}},
        "/ed-fi/oddities":{"get":{"parameters":[{"name":"nowhere","in":"query","x-Ed-Fi-isIdentity":true}]},
          "post":{"parameters":[{"name":"x","in":"body","schema":{"$ref":"#/definitions/edFi_oddity"}}]}}},
      "parameters":{"offset":{"name":"offset","in":"query","type":"integer"}},
      "definitions":{
        "edFi_campus":{"properties":{"id":{"type":"string"},"campusCode":{"type":"integer"},"title":{"type":"string"}}},
        "edFi_campusReference":{"properties":{"campusCode":{"type":"integer"},"link":{"$ref":"#/definitions/link"}}},
        "edFi_oddity":{"properties":{"somewhere":{"type":"string"}}},
        "edFi_groupVisit":{"properties":{"campusReference":{"$ref":"#/definitions/edFi_campusReference"}}},
        "edFi_group":{"required":["campusReference"],"properties":{"groupCode":{"type":"string"},
          "campusReference":{"$ref":"#/definitions/edFi_campusReference"},
          "homeCampusReference":{"$ref":"#/definitions/edFi_campusReference"},
          "visits":{"type":"array","items":{"$ref":"#/definitions/edFi_groupVisit"}}}},
        "link":{"properties":{"rel":{"type":"string"}}}}}"##;

    fn of(shapes: &Shapes, resource: &str) -> std::sync::Arc<KeyShape> {
        shapes.of(&ResourcePath::parse(resource).unwrap()).unwrap()
    }

    #[test]
    fn a_document_tells_keys_places_references_and_what_a_put_may_change() {
        let openapi3 = SWAGGER
            .replace("#/definitions/", "#/components/schemas/")
            .replace(r#""definitions":{"#, r#""components":{"schemas":{"#)
            + "}";
        for document in [SWAGGER, &openapi3] {
            let shapes = read_document(document.as_bytes()).unwrap();

            let groups = of(&shapes, "/ed-fi/groups");
            let places: Vec<String> = groups
                .fields
                .iter()
                .map(|field| format!("{}={}", field.name, field.path.join(".")))
                .collect();
            assert_eq!(
                places,
                [
                    "campusCode=campusReference.campusCode",
                    "groupCode=groupCode",
                    "homeCampusCode=homeCampusReference.campusCode"
                ]
            );
            assert!(groups.key_is_updatable);
            assert!(!of(&shapes, "/ed-fi/campuses").key_is_updatable);
            let references: Vec<String> = groups
                .references
                .iter()
                .map(|r| format!("{} {} {}", r.path.join("."), r.resources[0], r.in_key))
                .collect();
            assert_eq!(
                references,
                [
                    "campusReference /ed-fi/campuses true",
                    "homeCampusReference /ed-fi/campuses true",
                    "visits.campusReference /ed-fi/campuses false"
                ]
            );
        }
    }

    #[test]
    fn a_key_with_a_name_that_has_no_place_is_not_known_at_all() {
        let shapes = read_document(SWAGGER.as_bytes()).unwrap();

        assert!(shapes.of(&ResourcePath::parse("/ed-fi/oddities").unwrap()).is_none());
    }

    #[test]
    fn of_the_listed_documents_only_those_of_resources_are_asked_for() {
        let listed = br#"[{"name":"Descriptors","endpointUri":"http://a/d"},{"name":"Resources","endpointUri":"http://a/r","prefix":""},{"name":"Identity","endpointUri":"http://a/i"}]"#;
        let without = br#"[{"name":"Descriptors","endpointUri":"http://a/d"},{"name":"Ed-Fi","endpointUri":"http://a/e"},{"name":"Sample","endpointUri":"http://a/s"},{"name":"Composites","endpointUri":"http://a/c"}]"#;
        for (answer, wanted) in [(&listed[..], &["Resources"][..]), (without, &["Ed-Fi", "Sample"])]
        {
            let Metadata::Sections(sections) = read_metadata(answer).unwrap() else {
                panic!("a list was given");
            };

            let names: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
            assert_eq!(names, wanted);
        }
    }
}
