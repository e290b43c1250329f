//! What a data standard says about its resources: keys, references, fields. Read from data, so
//! that the rest of the sandbox knows no resource by name but the few that the server itself
//! treats specially.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::authorize::is_authorized_by_namespace;
use super::document::{Path, Step};
use super::references::is_person_endpoint;
use super::{SandboxError, other_standard, seed};

/// A data standard, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct StandardModel {
    pub(super) resources: Vec<ResourceModel>,
    /// `/schema/endpoint` in lower case to the resource's number.
    by_path: HashMap<String, u16>,
    pub(super) people: Vec<Person>,
    /// For the root document.
    pub(super) data_models: Vec<(String, String, String)>,
    pub(super) dependencies_json: String,
    pub(super) dependencies_graphml: String,
}

/// A kind of people, whom an item is about if it holds their key.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) resource: u16,
    /// `studentUniqueId`: so it is named in every reference whose key it is a part of.
    pub(super) member: String,
}

/// One resource.
#[derive(Clone, Debug)]
pub(super) struct ResourceModel {
    pub(super) number: u16,
    pub(super) schema: String,
    pub(super) endpoint: String,
    /// The entity's name, as links and messages use it.
    pub(super) name: String,
    pub(super) is_descriptor: bool,
    /// Whether the entity extends an abstract one: such resources report no key changes.
    pub(super) is_derived: bool,
    pub(super) key: Vec<KeyField>,
    pub(super) updatable: bool,
    pub(super) references: Vec<ReferenceModel>,
    pub(super) descriptors: Vec<DescriptorUse>,
    pub(super) fields: Vec<FieldModel>,
    pub(super) equal: Vec<(Path, Path)>,
    pub(super) collections: Vec<CollectionModel>,
    /// Where the namespace stands by which writers are authorised, if they are.
    pub(super) namespace: Option<Path>,
    /// Members at the root of a body that the host does not know.
    pub(super) unknown: Vec<String>,
    /// Where references stand, for one walk over a body.
    pub(super) reference_tree: ReferenceTree,
    /// Query parameter in lower case to the paths that may hold it.
    pub(super) queryable: HashMap<String, Vec<(Path, FieldKind)>>,
}

#[derive(Clone, Debug)]
pub(super) struct KeyField {
    pub(super) name: String,
    pub(super) path: Path,
    pub(super) kind: FieldKind,
}

#[derive(Clone, Debug)]
pub(super) struct ReferenceModel {
    pub(super) path: Path,
    /// The referenced entity, which may be abstract.
    pub(super) entity: String,
    pub(super) targets: Vec<u16>,
    pub(super) required: bool,
    /// The members in the order of the target's key fields.
    pub(super) members: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct DescriptorUse {
    pub(super) path: Path,
    pub(super) entity: String,
    pub(super) target: u16,
}

#[derive(Clone, Debug)]
pub(super) struct FieldModel {
    pub(super) path: Path,
    pub(super) kind: FieldKind,
    /// Relative to the object that holds it.
    pub(super) required: bool,
    pub(super) max_length: Option<usize>,
    /// What a decimal column holds, if the standard says.
    pub(super) digits: Option<Digits>,
}

/// The digits of a decimal column: all of them, and those after the point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits {
    pub(super) precision: usize,
    pub(super) scale: usize,
}

#[derive(Clone, Debug)]
pub(super) struct CollectionModel {
    pub(super) path: Path,
    /// What tells the items apart, relative to one.
    pub(super) identity: Vec<Path>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum FieldKind {
    String,
    Int32,
    Int64,
    Decimal,
    Boolean,
    Date,
    Time,
    DateTime,
    Descriptor,
}

impl FieldKind {
    pub(super) fn is_integer(self) -> bool {
        matches!(self, FieldKind::Int32 | FieldKind::Int64)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct ReferenceTree {
    pub(super) below: HashMap<String, ReferenceTree>,
    /// The number of the reference that stands here.
    pub(super) reference: Option<usize>,
}

/// One resource as its data file describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceRecord {
    name: String,
    endpoint: String,
    project: String,
    is_descriptor: bool,
    #[serde(default)]
    superclass: Option<String>,
    key_fields: KeyFields,
    allow_identity_updates: bool,
    #[serde(default)]
    references: Vec<ReferenceRecord>,
    #[serde(default)]
    descriptors: Vec<DescriptorRecord>,
    #[serde(default)]
    collections: Vec<CollectionRecord>,
    #[serde(default)]
    equality_constraints: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct ReferenceRecord {
    path: String,
    resource: String,
    endpoints: Vec<String>,
    required: bool,
    keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct DescriptorRecord {
    path: String,
    descriptor: String,
    endpoint: String,
}

#[derive(Debug, Deserialize)]
struct CollectionRecord {
    path: String,
    identity: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldRecord {
    path: String,
    #[serde(rename = "type")]
    kind: FieldKind,
    required: bool,
    max_length: Option<usize>,
    precision: Option<usize>,
    scale: Option<usize>,
}

/// Key fields in the order of the file: it is the order of the key.
#[derive(Debug)]
struct KeyFields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for KeyFields {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<KeyFields, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = KeyFields;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object of key names and paths")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyFields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(KeyFields(fields))
            }
        }
        input.deserialize_map(InOrder)
    }
}

#[derive(Debug, Deserialize)]
struct ResourceFile {
    resources: Vec<ResourceRecord>,
}

/// Everything a standard is built from.
pub(super) struct StandardParts {
    pub(super) resources: Vec<ResourceRecord>,
    pub(super) fields: HashMap<String, Vec<FieldRecord>>,
    pub(super) data_models: Vec<(String, String, String)>,
    pub(super) dependencies_json: String,
    pub(super) dependencies_graphml: String,
}

impl StandardModel {
    /// Ed-Fi Data Standard 5.2, read once a process.
    pub(super) fn data_standard_52() -> Result<Arc<StandardModel>, SandboxError> {
        static MODEL: OnceLock<Arc<StandardModel>> = OnceLock::new();
        if let Some(model) = MODEL.get() {
            return Ok(model.clone());
        }
        let model = Arc::new(StandardModel::build(seed::data_standard_52_parts()?)?);
        Ok(MODEL.get_or_init(|| model).clone())
    }

    /// The ten-resource fixture.
    pub(super) fn other() -> Result<Arc<StandardModel>, SandboxError> {
        Ok(Arc::new(StandardModel::build(other_standard::parts()?)?))
    }

    pub(super) fn build(mut parts: StandardParts) -> Result<StandardModel, SandboxError> {
        let numbers: HashMap<String, u16> = parts
            .resources
            .iter()
            .zip(0_u16..)
            .map(|(record, number)| (record.endpoint.clone(), number))
            .collect();
        let keys: HashMap<String, Vec<String>> = parts
            .resources
            .iter()
            .map(|record| {
                let names = record.key_fields.0.iter().map(|(name, _)| name.clone());
                (record.endpoint.clone(), names.collect())
            })
            .collect();
        let mut resources = Vec::with_capacity(parts.resources.len());
        for (record, number) in parts.resources.into_iter().zip(0_u16..) {
            let fields = parts.fields.remove(&record.endpoint).unwrap_or_else(descriptor_fields);
            resources.push(resource(record, number, fields, &numbers, &keys)?);
        }
        let by_path = resources
            .iter()
            .map(|model| (model.path().to_ascii_lowercase(), model.number))
            .collect();
        Ok(StandardModel {
            people: people(&resources),
            resources,
            by_path,
            data_models: parts.data_models,
            dependencies_json: parts.dependencies_json,
            dependencies_graphml: parts.dependencies_graphml,
        })
    }

    /// The same standard on a host that lacks members at the root of some resources.
    pub(super) fn without(
        &self,
        lacks: &[(String, String)],
    ) -> Result<StandardModel, SandboxError> {
        let mut standard = self.clone();
        for (resource, member) in lacks {
            let number = self.find(resource).map(|model| usize::from(model.number));
            let model = number.and_then(|number| standard.resources.get_mut(number));
            let model =
                model.filter(|model| model.key.iter().all(|field| !field.path.is_below(member)));
            let Some(model) = model else {
                return Err(SandboxError::Data(format!("'{resource}' cannot lack '{member}'")));
            };
            model.lose(member);
        }
        Ok(standard)
    }

    /// The resource of a path such as `/ed-fi/students`, in any case.
    pub(super) fn find(&self, path: &str) -> Option<&ResourceModel> {
        let number = *self.by_path.get(&path.to_ascii_lowercase())?;
        self.resources.get(usize::from(number))
    }

    /// The resource of an endpoint, whatever its schema.
    pub(super) fn find_endpoint(&self, endpoint: &str) -> Option<&ResourceModel> {
        self.resources.iter().find(|model| model.endpoint == endpoint)
    }

    pub(super) fn resource(&self, number: u16) -> &ResourceModel {
        &self.resources[usize::from(number)]
    }
}

impl ResourceModel {
    /// `/ed-fi/students`.
    pub(super) fn path(&self) -> String {
        format!("/{}/{}", self.schema, self.endpoint)
    }

    fn lose(&mut self, member: &str) {
        self.fields.retain(|field| !field.path.is_below(member));
        self.references.retain(|reference| !reference.path.is_below(member));
        self.descriptors.retain(|used| !used.path.is_below(member));
        self.collections.retain(|collection| !collection.path.is_below(member));
        self.equal.retain(|(one, other)| !one.is_below(member) && !other.is_below(member));
        self.reference_tree = reference_tree(&self.references);
        self.queryable = queryable(&self.key, &self.fields);
        self.unknown.push(member.to_owned());
    }

    /// The names of the key's parts, as the feeds and query parameters use them.
    pub(super) fn key_names(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|field| field.name.as_str())
    }
}

/// The two files that describe a standard: resources, and fields by endpoint.
type Records = (Vec<ResourceRecord>, HashMap<String, Vec<FieldRecord>>);

/// Reads the two files that describe a standard.
pub(super) fn read_records(resources: &str, fields: &str) -> Result<Records, SandboxError> {
    let broken = |error: serde_json::Error| SandboxError::Data(format!("the model: {error}"));
    let file: ResourceFile = serde_json::from_str(resources).map_err(broken)?;
    Ok((file.resources, serde_json::from_str(fields).map_err(broken)?))
}

fn resource(
    record: ResourceRecord,
    number: u16,
    fields: Vec<FieldRecord>,
    numbers: &HashMap<String, u16>,
    keys: &HashMap<String, Vec<String>>,
) -> Result<ResourceModel, SandboxError> {
    let endpoint = record.endpoint;
    let fields: Vec<FieldModel> = fields
        .into_iter()
        .map(|field| FieldModel {
            path: Path::parse(&field.path),
            kind: field.kind,
            required: field.required,
            max_length: field.max_length,
            digits: field
                .precision
                .zip(field.scale)
                .map(|(precision, scale)| Digits { precision, scale }),
        })
        .collect();
    let kind_of = |path: &Path| {
        fields.iter().find(|field| field.path == *path).map_or(FieldKind::String, |f| f.kind)
    };
    let key = record
        .key_fields
        .0
        .into_iter()
        .map(|(name, path)| {
            let path = Path::parse(&path);
            let kind = kind_of(&path);
            KeyField { name, path, kind }
        })
        .collect::<Vec<_>>();
    let target = |name: &str| {
        numbers.get(name).copied().ok_or_else(|| {
            SandboxError::Data(format!("'{endpoint}' refers to '{name}', which is not a resource"))
        })
    };
    let mut references = Vec::new();
    for reference in record.references {
        let targets: Result<Vec<u16>, _> =
            reference.endpoints.iter().map(|name| target(name)).collect();
        let target_keys = &keys[&reference.endpoints[0]];
        references.push(ReferenceModel {
            path: Path::parse(&reference.path),
            entity: reference.resource,
            targets: targets?,
            required: reference.required,
            members: members_in_key_order(&endpoint, reference.keys, target_keys)?,
        });
    }
    let mut descriptors = Vec::new();
    for used in record.descriptors {
        descriptors.push(DescriptorUse {
            path: Path::parse(&used.path),
            entity: used.descriptor,
            target: target(&used.endpoint)?,
        });
    }
    let collections = record
        .collections
        .into_iter()
        .map(|collection| CollectionModel {
            path: Path::parse(&collection.path),
            identity: collection.identity.iter().map(|path| Path::parse(path)).collect(),
        })
        .collect();
    let equal = record
        .equality_constraints
        .iter()
        .map(|(one, other)| (Path::parse(one), Path::parse(other)))
        .collect();
    let namespace = match record.is_descriptor || is_authorized_by_namespace(&endpoint) {
        true => Some(namespace_of(&key)),
        false => None,
    };
    Ok(ResourceModel {
        number,
        namespace,
        unknown: Vec::new(),
        schema: record.project,
        name: record.name,
        is_descriptor: record.is_descriptor,
        is_derived: record.superclass.is_some(),
        updatable: record.allow_identity_updates,
        reference_tree: reference_tree(&references),
        queryable: queryable(&key, &fields),
        endpoint,
        key,
        references,
        descriptors,
        fields,
        equal,
        collections,
    })
}

fn people(resources: &[ResourceModel]) -> Vec<Person> {
    let people = resources.iter().filter(|model| is_person_endpoint(&model.endpoint));
    people
        .filter_map(|model| {
            let member = model.key_names().next()?.to_owned();
            Some(Person { resource: model.number, member })
        })
        .collect()
}

/// The namespace of a key, if it has one; else that of the item itself.
fn namespace_of(key: &[KeyField]) -> Path {
    let in_key = key.iter().find(|field| field.name == "namespace");
    in_key.map_or_else(|| Path::parse("$.namespace"), |field| field.path.clone())
}

/// A reference names the target's key fields, or, where the target is abstract, its single key by
/// the abstract name.
fn members_in_key_order(
    endpoint: &str,
    mut names: Vec<String>,
    target: &[String],
) -> Result<Vec<String>, SandboxError> {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if target.iter().all(|name| names.contains(name)) && names.len() == target.len() {
        return Ok(target.to_vec());
    }
    if names.len() == 1 && target.len() == 1 {
        return Ok(names);
    }
    Err(SandboxError::Data(format!("a reference of '{endpoint}' does not name its target's key")))
}

fn reference_tree(references: &[ReferenceModel]) -> ReferenceTree {
    let mut root = ReferenceTree::default();
    for (number, reference) in references.iter().enumerate() {
        let mut here = &mut root;
        for Step { name, .. } in &reference.path.0 {
            here = here.below.entry(name.clone()).or_default();
        }
        here.reference = Some(number);
    }
    root
}

/// Root-level members and the members of root-level references, by leaf name; key fields by their
/// own name first (edfi-wire §8).
fn queryable(key: &[KeyField], fields: &[FieldModel]) -> HashMap<String, Vec<(Path, FieldKind)>> {
    let mut names: HashMap<String, Vec<(Path, FieldKind)>> = HashMap::new();
    for field in key {
        names
            .entry(field.name.to_ascii_lowercase())
            .or_default()
            .push((field.path.clone(), field.kind));
    }
    for field in fields.iter().filter(|field| field.path.is_single()) {
        let paths = names.entry(field.path.leaf().to_ascii_lowercase()).or_default();
        if paths.is_empty() {
            paths.push((field.path.clone(), field.kind));
        }
    }
    names
}

/// What every descriptor has.
fn descriptor_fields() -> Vec<FieldRecord> {
    let field = |path: &str, kind, required, max_length| FieldRecord {
        path: path.to_owned(),
        kind,
        required,
        max_length,
        precision: None,
        scale: None,
    };
    vec![
        field("$.namespace", FieldKind::String, true, Some(255)),
        field("$.codeValue", FieldKind::String, true, Some(50)),
        field("$.shortDescription", FieldKind::String, true, Some(75)),
        field("$.description", FieldKind::String, false, Some(1024)),
        field("$.effectiveBeginDate", FieldKind::Date, false, None),
        field("$.effectiveEndDate", FieldKind::Date, false, None),
    ]
}
