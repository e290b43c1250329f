//! What is known of the keys and references of resources (R1): the built-in table of Data
//! Standard 5.2, and what an OpenAPI document adds for everything else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::domain::{KeyField, KeyShape, ReferenceShape, ResourcePath};

/// Written by `tools/edfi-keys.py`; its first lines say how to read it.
const TABLE: &str = include_str!("keys-5.2.txt");

static BUILT_IN: LazyLock<Shapes> = LazyLock::new(|| read_table(TABLE));
static DESCRIPTOR: LazyLock<Arc<KeyShape>> = LazyLock::new(|| Arc::new(descriptor()));

/// The shapes of a set of resources.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    known: HashMap<ResourcePath, Arc<KeyShape>>,
}

impl Shapes {
    /// Data Standard 5.2.
    pub fn built_in() -> &'static Shapes {
        &BUILT_IN
    }

    pub fn of(&self, resource: &ResourcePath) -> Option<Arc<KeyShape>> {
        if resource.is_descriptor() {
            return Some(Arc::clone(&DESCRIPTOR));
        }
        self.known.get(resource).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ResourcePath, &KeyShape)> {
        self.known.iter().map(|(resource, shape)| (resource, shape.as_ref()))
    }

    pub(super) fn extend(&mut self, other: Shapes) {
        self.known.extend(other.known);
    }

    pub(super) fn insert(&mut self, resource: ResourcePath, shape: KeyShape) {
        self.known.insert(resource, Arc::new(shape));
    }
}

/// All descriptors, those of extensions too, have one and the same key.
fn descriptor() -> KeyShape {
    let field = |name: &str| KeyField { name: name.to_owned(), path: vec![name.to_owned()] };
    KeyShape {
        fields: vec![field("codeValue"), field("namespace")],
        references: Vec::new(),
        key_is_updatable: false,
        // Their tombstones are not hidden either when they live again.
        keyed_by_descriptor: true,
    }
}

/// Fills in what follows from the fields and references themselves.
pub(super) fn completed(mut shape: KeyShape) -> KeyShape {
    shape.keyed_by_descriptor = shape.fields.iter().any(|field| field.name.ends_with("Descriptor"));
    for reference in &mut shape.references {
        reference.in_key = shape.fields.iter().any(|field| field.path.starts_with(&reference.path));
    }
    shape
}

/// The concrete collections of an abstract entity, as Data Standard 5.2 has them.
pub(super) fn concretes_of(entity: &str) -> Vec<ResourcePath> {
    let lines = TABLE.lines().filter_map(|line| line.strip_prefix("abstract "));
    let mut named = lines.map(str::split_whitespace);
    let of_entity = named.find_map(|mut words| (words.next() == Some(entity)).then_some(words));
    of_entity.into_iter().flatten().map(ed_fi).collect()
}

fn read_table(table: &str) -> Shapes {
    let mut shapes = Shapes::default();
    let mut abstracts: HashMap<&str, Vec<ResourcePath>> = HashMap::new();
    let mut current: Option<(ResourcePath, KeyShape)> = None;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &mut current) {
            (["abstract", name, concretes @ ..], _) => {
                abstracts.insert(name, concretes.iter().copied().map(ed_fi).collect());
            }
            (["resource", name, flags @ ..], current) => {
                let shape =
                    KeyShape { key_is_updatable: *flags == ["updatable"], ..KeyShape::default() };
                if let Some((resource, done)) = current.replace((ed_fi(name), shape)) {
                    shapes.insert(resource, completed(done));
                }
            }
            (["key", flat, place], Some((_, shape))) => {
                shape.fields.push(KeyField { name: (*flat).to_owned(), path: path(place) });
            }
            (["ref", place, name, members @ ..], Some((_, shape))) => {
                let resources = abstracts.get(name).cloned();
                shape.references.push(ReferenceShape {
                    path: path(place),
                    resources: resources.unwrap_or_else(|| vec![ed_fi(name)]),
                    members: members.iter().map(|m| ((*m).to_owned(), (*m).to_owned())).collect(),
                    in_key: false,
                });
            }
            _ => unreachable!("the table is part of the program, and a test reads all of it"),
        }
    }
    if let Some((resource, done)) = current {
        shapes.insert(resource, completed(done));
    }
    shapes
}

fn path(place: &str) -> Vec<String> {
    place.split('.').map(str::to_owned).collect()
}

fn ed_fi(collection: &str) -> ResourcePath {
    ResourcePath::parse(&format!("/ed-fi/{collection}"))
        .expect("the table holds names of collections, and a test reads all of it")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use bytes::Bytes;

    use super::*;
    use crate::domain::Body;

    #[test]
    fn the_table_knows_every_resource_of_the_standard() {
        let table = Shapes::built_in();

        assert_eq!(table.known.len(), 138);
        assert!(table.known.values().all(|shape| !shape.fields.is_empty()));
        let updatable: Vec<&str> = {
            let mut names: Vec<&str> = table
                .known
                .iter()
                .filter(|(_, shape)| shape.key_is_updatable)
                .map(|(resource, _)| resource.collection())
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(
            updatable,
            [
                "classPeriods",
                "gradebookEntries",
                "grades",
                "locations",
                "sections",
                "sessions",
                "studentSchoolAssociations",
                "studentSectionAssociations"
            ]
        );
    }

    fn unpacked(packed: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn every_real_item_has_the_key_that_the_table_says_and_a_reference_for_every_place() {
        let items = unpacked(include_bytes!("../../data/edfi/items.ndjson.gz"));
        let mut shape = Arc::default();
        let (mut read, mut references) = (0, 0);
        for line in items.lines() {
            if let Some(collection) = line.strip_prefix('#') {
                shape = Shapes::built_in().of(&ed_fi(collection)).unwrap();
                continue;
            }
            // One in seven of the many is as good as all, and quicker.
            read += 1;
            if read % 7 != 0 {
                continue;
            }
            let body = Body(Bytes::copy_from_slice(line.as_bytes()));
            let key = shape.key_of(&body).expect("a sample item is whole");
            assert_eq!(key.iter().count(), shape.fields.len());
            let found = shape.references_of(&body);
            assert!(found.iter().all(|reference| !reference.resources.is_empty()));
            references += found.len();
        }

        assert_eq!(read, 34_288);
        assert!(references > 9_000, "{references}");
    }

    #[test]
    fn what_a_key_contains_follows_from_the_places_of_its_parts() {
        let sections = Shapes::built_in().of(&ed_fi("sections")).unwrap();

        assert!(sections.key_contains(&ed_fi("courseOfferings")));
        assert!(!sections.key_contains(&ed_fi("locations")));
        assert!(!sections.keyed_by_descriptor);
        assert!(Shapes::built_in().of(&ed_fi("grades")).unwrap().keyed_by_descriptor);
    }

    #[test]
    fn a_reference_to_an_abstract_entity_names_every_concrete_collection() {
        let programs = Shapes::built_in().of(&ed_fi("programs")).unwrap();

        assert!(programs.refers_to(&ed_fi("schools")));
        assert!(programs.refers_to(&ed_fi("localEducationAgencies")));
        assert_eq!(concretes_of("EducationOrganization").len(), 9);
        assert!(concretes_of("Student").is_empty());
    }

    #[test]
    fn a_descriptor_of_any_schema_is_known() {
        let resource = ResourcePath::parse("/tpdm/auraDescriptors").unwrap();

        let names: Vec<String> = Shapes::default()
            .of(&resource)
            .unwrap()
            .fields
            .iter()
            .map(|field| field.name.clone())
            .collect();
        assert_eq!(names, ["codeValue", "namespace"]);
    }
}
