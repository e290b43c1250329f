//! The members that bodies may and must have, as OpenAPI documents tell them: what `tidemark check`
//! compares, so that nobody learns from parked items what a target cannot hold (T9).
//!
//! The one thing to know: an object without properties tells nothing, so nothing below it is
//! compared. Names are compared letter by letter, as version 8 reads them.

use std::collections::{BTreeMap, HashMap};

use super::{Document, Schema, body_schema};
use crate::domain::ResourcePath;

/// What belongs to a server; no target is sent it.
const OF_THE_SERVER: [&str; 4] = ["id", "_etag", "_lastModifiedDate", "link"];
/// Deeper than bodies go; schemas could refer to themselves.
const MAX_DEPTH: usize = 8;
/// More than any body has. What goes beyond it is not compared.
const MAX_MEMBERS: usize = 5_000;

/// The members of the bodies of a set of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    by_resource: HashMap<ResourcePath, Object>,
}

/// Members by name; empty where nothing is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Object(BTreeMap<String, Member>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    is_required: bool,
    /// Of the object, or of each of a list of them.
    below: Object,
}

/// How the bodies of one resource differ, by path: `addresses.city`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberDifference {
    /// What the source has and the target lacks: it would refuse it or drop it in silence.
    pub lacking: Vec<String>,
    /// What the target demands and the source lacks: it would refuse every item.
    pub demanded: Vec<String>,
}

/// Reads one document.
pub(in crate::edfi) fn read_members(text: &[u8]) -> Result<Members, serde_json::Error> {
    let document: Document = serde_json::from_slice(text)?;
    let mut by_resource = HashMap::new();
    for (address, operations) in &document.paths {
        let Some(resource) = ResourcePath::parse(address) else { continue };
        let schema = body_schema(operations).and_then(|name| document.schema(name));
        let Some(schema) = schema else { continue };
        let mut left = MAX_MEMBERS;
        let object = document.members(schema, MAX_DEPTH, &mut left);
        if !object.0.is_empty() {
            by_resource.insert(resource, object);
        }
    }
    Ok(Members { by_resource })
}

impl Members {
    pub(in crate::edfi) fn extend(&mut self, other: Members) {
        self.by_resource.extend(other.by_resource);
    }

    /// What a target with these members lacks of what the source has, and the other way round;
    /// `None` where one of the two does not describe the resource.
    pub fn against_source(
        &self,
        source: &Members,
        resource: &ResourcePath,
    ) -> Option<MemberDifference> {
        let (theirs, ours) = (source.by_resource.get(resource)?, self.by_resource.get(resource)?);
        let mut difference = MemberDifference::default();
        compare(theirs, ours, "", &mut difference);
        Some(difference)
    }
}

impl Document {
    fn members(&self, schema: &Schema, depth: usize, left: &mut usize) -> Object {
        let told = schema.properties.iter().filter(|(name, _)| !is_of_the_server(name));
        let told: Vec<(&String, &Schema)> = told.collect();
        // Half an object would look like one that lacks the other half.
        if depth == 0 || told.len() > *left {
            return Object::default();
        }
        *left -= told.len();
        let mut members = BTreeMap::new();
        for (name, property) in told {
            let element = property.items.as_deref().unwrap_or(property);
            let below = self.members(self.resolved(element), depth - 1, left);
            let is_required = schema.required.contains(name);
            members.insert(name.clone(), Member { is_required, below });
        }
        Object(members)
    }
}

fn is_of_the_server(name: &str) -> bool {
    OF_THE_SERVER.contains(&name)
}

/// Of a member that is missing, those below it are not named too.
fn compare(source: &Object, target: &Object, above: &str, difference: &mut MemberDifference) {
    let path =
        |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    for (name, member) in &source.0 {
        match target.0.get(name) {
            None => difference.lacking.push(path(name)),
            Some(other) if !member.below.0.is_empty() && !other.below.0.is_empty() => {
                compare(&member.below, &other.below, &path(name), difference);
            }
            Some(_) => {}
        }
    }
    let absent = target.0.iter().filter(|(name, _)| !source.0.contains_key(*name));
    let demanded = absent.filter(|(_, member)| member.is_required);
    difference.demanded.extend(demanded.map(|(name, _)| path(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r##"{"paths":{"/ed-fi/schools":{"post":{"parameters":[
        {"name":"school","in":"body","schema":{"$ref":"#/definitions/edFi_school"}}]}}},
      "definitions":{
        "edFi_school":{"required":["schoolId"],"properties":{
          "id":{"type":"string"},"_etag":{"type":"string"},"schoolId":{"type":"integer"},
          "motto":{"type":"string"},
          "agencyReference":{"$ref":"#/definitions/edFi_agencyReference"},
          "addresses":{"type":"array","items":{"$ref":"#/definitions/edFi_schoolAddress"}},
          "grades":{"type":"array","items":{"type":"object"}}}},
        "edFi_agencyReference":{"properties":{"agencyId":{"type":"integer"},
          "link":{"$ref":"#/definitions/link"}}},
        "edFi_schoolAddress":{"properties":{"city":{"type":"string"},"floor":{"type":"string"},
          "within":{"$ref":"#/definitions/edFi_schoolAddress"}}},
        "link":{"properties":{"rel":{"type":"string"}}}}}"##;

    fn difference(source: &str, target: &str) -> Option<MemberDifference> {
        let (source, target) =
            (read_members(source.as_bytes()).unwrap(), read_members(target.as_bytes()).unwrap());
        target.against_source(&source, &ResourcePath::parse("/ed-fi/schools").unwrap())
    }

    #[test]
    fn what_a_target_lacks_is_named_at_every_depth_and_by_its_top_alone() {
        let target = SOURCE
            .replace(r#""motto":{"type":"string"},"#, "")
            .replace(r#""floor":{"type":"string"},"#, "")
            .replace(r##""within":{"$ref":"#/definitions/edFi_schoolAddress"}"##, r#""zip":{}"#);

        let found = difference(SOURCE, &target).unwrap();

        assert_eq!(found.lacking, ["addresses.floor", "addresses.within", "motto"]);
        assert!(found.demanded.is_empty(), "{found:?}");
    }

    #[test]
    fn what_a_target_demands_and_a_source_lacks_is_named() {
        let target = SOURCE.replace(
            r#""required":["schoolId"],"properties":{"#,
            r#""required":["schoolId","region"],"properties":{"region":{},"slogan":{},"#,
        );

        let found = difference(SOURCE, &target).unwrap();

        assert_eq!(found.demanded, ["region"]);
        assert!(found.lacking.is_empty(), "{found:?}");
    }

    #[test]
    fn documents_that_say_the_same_or_less_differ_in_nothing() {
        let openapi3 = SOURCE
            .replace("#/definitions/", "#/components/schemas/")
            .replace(r#""definitions":{"#, r#""components":{"schemas":{"#)
            + "}";
        let vague = SOURCE.replace("#/definitions/edFi_schoolAddress\"}}", "#/nowhere\"}}");

        // What belongs to the server is compared by nobody.
        let silent = SOURCE
            .replace(r#""id":{"type":"string"},"_etag":{"type":"string"},"#, "")
            .replace(",\n          \"link\":{\"$ref\":\"#/definitions/link\"}", "");
        assert!(!silent.contains("_etag") && !silent.contains("definitions/link"), "{silent}");

        for target in [SOURCE, &openapi3, &vague, &silent] {
            assert_eq!(difference(SOURCE, target), Some(MemberDifference::default()));
        }
        assert_eq!(difference(SOURCE, r#"{"paths":{}}"#), None);
    }
}
