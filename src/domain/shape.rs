//! What the key of a resource is called and where it is in a body (R1), and what its bodies
//! refer to. Pure: it reads bytes and copies only the scalars it was asked for.

use super::change::Body;
use super::key::{KeyText, NaturalKey};
use super::resource::ResourcePath;
use super::scan::{Malformed, Scanner, is_name};

/// What is known of one resource, from the API's OpenAPI document or the built-in table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyShape {
    /// Flat leaf names with the place of each in a body.
    pub fields: Vec<KeyField>,
    pub references: Vec<ReferenceShape>,
    /// The server lets a PUT change the key (`edfi-wire §7`).
    pub key_is_updatable: bool,
    /// A part of the key is a descriptor: such tombstones are not hidden when the key lives again (R29).
    pub keyed_by_descriptor: bool,
}

/// One part of a natural key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// As in `keyValues` and as a query parameter: `gradingPeriodSchoolYear`.
    pub name: String,
    /// Member names from the root: `["gradingPeriodReference", "schoolYear"]`.
    pub path: Vec<String>,
}

/// One reference that a body of the resource can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceShape {
    /// Member names from the root; references inside collections pass through arrays by name.
    pub path: Vec<String>,
    /// Every concrete resource that can be meant; several for an abstract education organization.
    pub resources: Vec<ResourcePath>,
    /// Member of the reference object → flat name in the key of the resource that it refers to.
    pub members: Vec<(String, String)>,
    /// The reference is part of the key, so a rename of what it refers to renames this item too.
    pub in_key: bool,
}

/// A reference found in a body.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The members' name from the root, for a parked record's `members`: `$.studentReference`.
    pub place: String,
    pub resources: Vec<ResourcePath>,
    pub key: NaturalKey,
}

impl KeyShape {
    /// The key of an item, in the flat names of the feeds; `None` when a part of it is missing.
    pub fn key_of(&self, body: &Body) -> Option<NaturalKey> {
        let mut values = vec![None; self.fields.len()];
        let wanted: Vec<Wanted<'_>> = self
            .fields
            .iter()
            .enumerate()
            .map(|(field, KeyField { path, .. })| Wanted { field, rest: path })
            .collect();
        pick(&mut Scanner::new(body.bytes()), &wanted, &mut values).ok()?;

        let names = self.fields.iter().map(|field| field.name.clone());
        let key: Option<Vec<(String, KeyText)>> =
            names.zip(values).map(|(name, value)| Some((name, value?))).collect();
        key.filter(|parts| !parts.is_empty()).map(NaturalKey::from_iter)
    }

    /// Everything that the item refers to; what it names twice, once. A reference that lacks a
    /// part of its key is left out: nothing could be looked up by it.
    pub fn references_of(&self, body: &Body) -> Vec<Reference> {
        let mut found: Vec<Reference> = Vec::new();
        for shape in &self.references {
            let mut place = String::from("$");
            // A body that is not JSON has no references; whoever sends it is told by the target.
            let _ = collect(
                &mut Scanner::new(body.bytes()),
                &shape.path,
                shape,
                &mut place,
                &mut found,
            );
        }
        found
    }

    /// Whether an item of this kind can refer to one of `resource`.
    pub fn refers_to(&self, resource: &ResourcePath) -> bool {
        self.references.iter().any(|reference| reference.resources.contains(resource))
    }

    /// Whether the key of `resource` is part of this key, so that its rename renames these too.
    pub fn key_contains(&self, resource: &ResourcePath) -> bool {
        self.references
            .iter()
            .any(|reference| reference.in_key && reference.resources.contains(resource))
    }

    /// The key in this resource's own words. A reference to an abstract entity calls a one-part
    /// key by the abstract name: `educationOrganizationId` for `schoolId`.
    pub fn in_own_words(&self, key: &NaturalKey) -> NaturalKey {
        let mut parts = key.0.iter();
        match (self.fields.as_slice(), parts.next(), parts.next()) {
            ([own], Some((name, value)), None) if *name != own.name => {
                NaturalKey::from_iter([(own.name.clone(), value.clone())])
            }
            _ => key.clone(),
        }
    }
}

/// A key field that is still looked for, by what is left of its path.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    field: usize,
    rest: &'a [String],
}

/// Walks one object once and picks the wanted scalars out of it. Of a member that stands twice
/// the last counts, as for most parsers.
fn pick(
    scanner: &mut Scanner<'_>,
    wanted: &[Wanted<'_>],
    values: &mut [Option<KeyText>],
) -> Result<(), Malformed> {
    let mut more = scanner.enter_object()?;
    while more {
        let name = scanner.name()?;
        let mut below = Vec::new();
        let mut here = Vec::new();
        for Wanted { field, rest } in wanted {
            match rest {
                [last] if is_name(name, last) => here.push(*field),
                [first, rest @ ..] if !rest.is_empty() && is_name(name, first) => {
                    below.push(Wanted { field: *field, rest });
                }
                _ => {}
            }
        }
        if !below.is_empty() && scanner.peek() == Some(b'{') {
            pick(scanner, &below, values)?;
        } else if here.is_empty() {
            scanner.value()?;
        } else {
            let scalar = scanner.scalar()?;
            for field in here {
                values[field].clone_from(&scalar);
            }
        }
        more = scanner.next_member()?;
    }
    Ok(())
}

/// Follows `path` to every reference object at its end, through arrays wherever there are any.
fn collect(
    scanner: &mut Scanner<'_>,
    path: &[String],
    shape: &ReferenceShape,
    place: &mut String,
    found: &mut Vec<Reference>,
) -> Result<(), Malformed> {
    if scanner.peek() == Some(b'[') {
        let mut more = scanner.enter_array()?;
        let length = place.len();
        let mut index = 0;
        while more {
            place.push_str(&format!("[{index}]"));
            collect(scanner, path, shape, place, found)?;
            place.truncate(length);
            index += 1;
            more = scanner.next_element()?;
        }
        return Ok(());
    }
    if scanner.peek() != Some(b'{') {
        return scanner.value().map(|_| ());
    }
    let [first, rest @ ..] = path else {
        return reference(scanner, shape, place, found);
    };
    let mut more = scanner.enter_object()?;
    while more {
        if is_name(scanner.name()?, first) {
            let length = place.len();
            place.push('.');
            place.push_str(first);
            collect(scanner, rest, shape, place, found)?;
            place.truncate(length);
        } else {
            scanner.value()?;
        }
        more = scanner.next_member()?;
    }
    Ok(())
}

/// Reads one reference object.
fn reference(
    scanner: &mut Scanner<'_>,
    shape: &ReferenceShape,
    place: &str,
    found: &mut Vec<Reference>,
) -> Result<(), Malformed> {
    let paths: Vec<[String; 1]> =
        shape.members.iter().map(|(member, _)| [member.clone()]).collect();
    let wanted: Vec<Wanted<'_>> =
        paths.iter().enumerate().map(|(field, path)| Wanted { field, rest: path }).collect();
    let mut values = vec![None; shape.members.len()];
    pick(scanner, &wanted, &mut values)?;

    let flat = shape.members.iter().map(|(_, flat)| flat.clone());
    let key: Option<Vec<(String, KeyText)>> =
        flat.zip(values).map(|(name, value)| Some((name, value?))).collect();
    let Some(key) = key.filter(|parts| !parts.is_empty()).map(NaturalKey::from_iter) else {
        return Ok(());
    };
    let known = found.iter().any(|other| other.key == key && other.resources == shape.resources);
    if !known {
        found.push(Reference { place: place.to_owned(), resources: shape.resources.clone(), key });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn resource(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    fn body(json: &str) -> Body {
        Body(Bytes::copy_from_slice(json.as_bytes()))
    }

    fn section() -> KeyShape {
        let field = |name: &str, at: &str| KeyField { name: name.to_owned(), path: path(at) };
        let members = |names: &[&str]| {
            names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect()
        };
        KeyShape {
            fields: vec![
                field("schoolId", "courseOfferingReference.schoolId"),
                field("sectionIdentifier", "sectionIdentifier"),
            ],
            references: vec![
                ReferenceShape {
                    path: path("courseOfferingReference"),
                    resources: vec![resource("courseOfferings")],
                    members: members(&["schoolId"]),
                    in_key: true,
                },
                ReferenceShape {
                    path: path("classPeriods.classPeriodReference"),
                    resources: vec![resource("classPeriods")],
                    members: members(&["classPeriodName"]),
                    in_key: false,
                },
            ],
            key_is_updatable: true,
            keyed_by_descriptor: false,
        }
    }

    #[test]
    fn a_key_is_gathered_from_the_root_and_from_references_with_its_number_texts() {
        let body = body(
            r#"{"schoolId":1,"sectionIdentifier":"A\u0031","courseOfferingReference":{"schoolId":2.50,"x":[{}]}}"#,
        );

        let key = section().key_of(&body).unwrap();

        assert_eq!(key.get("schoolId"), Some("2.50"));
        assert_eq!(key.get("sectionIdentifier"), Some("A1"));
    }

    #[test]
    fn a_key_with_a_part_missing_is_none() {
        for json in [
            r#"{"sectionIdentifier":"A"}"#,
            r#"{"sectionIdentifier":"A","courseOfferingReference":{"schoolId":null}}"#,
            r#"{"sectionIdentifier":"A","courseOfferingReference":7}"#,
            r#"{"sectionIdentifier":"A","courseOfferingReference":{"schoolId":1}"#,
            "<html>",
            "",
        ] {
            assert!(section().key_of(&body(json)).is_none(), "{json}");
        }
    }

    #[test]
    fn references_are_found_through_arrays_and_each_only_once() {
        let body = body(
            r#"{"courseOfferingReference":{"schoolId":1,"link":{"rel":"x"}},"classPeriods":[
               {"classPeriodReference":{"classPeriodName":"A"}},
               {"classPeriodReference":{"classPeriodName":"B"}},
               {"classPeriodReference":{"classPeriodName":"A"}},
               {"classPeriodReference":{}}]}"#,
        );

        let found = section().references_of(&body);

        let places: Vec<&str> = found.iter().map(|reference| reference.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "$.courseOfferingReference",
                "$.classPeriods[0].classPeriodReference",
                "$.classPeriods[1].classPeriodReference"
            ]
        );
        assert_eq!(found[2].key.get("classPeriodName"), Some("B"));
    }

    #[test]
    fn what_the_key_contains_is_told_apart_from_what_is_merely_referred_to() {
        let section = section();

        assert!(section.key_contains(&resource("courseOfferings")));
        assert!(section.refers_to(&resource("classPeriods")));
        assert!(!section.key_contains(&resource("classPeriods")));
        assert!(!section.refers_to(&resource("students")));
    }

    #[test]
    fn a_key_of_one_part_is_brought_into_the_resources_own_words() {
        let school = KeyShape {
            fields: vec![KeyField { name: "schoolId".to_owned(), path: path("schoolId") }],
            ..KeyShape::default()
        };
        let abstractly: NaturalKey =
            serde_json::from_str(r#"{"educationOrganizationId":255901}"#).unwrap();

        assert_eq!(school.in_own_words(&abstractly).get("schoolId"), Some("255901"));
        assert_eq!(section().in_own_words(&abstractly), abstractly);
    }
}
