//! From a posted body to what the database stores: the body without what only a server may say,
//! its key, and the rows it needs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::document::{Json, write_name};
use super::problem::Problem;
use super::rows::{Image, Key, KeyPart, RowName};
use super::standard::{FieldKind, ReferenceModel, ReferenceTree, ResourceModel, StandardModel};

/// What a server adds to items, and throws away when it is sent.
const OF_THE_ROOT: [&str; 3] = ["id", "_etag", "_lastModifiedDate"];

/// A body that can be stored, given that what it refers to stays.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) key: Key,
    pub(super) body: Arc<str>,
    pub(super) links: Vec<(usize, RowName)>,
    pub(super) needs: BTreeSet<RowName>,
}

/// Rows by a key that they had at the beginning of the transaction.
pub(super) type OldKeys = HashMap<(u16, Key), i32>;

/// Writes the body as it is stored and resolves what it refers to.
pub(super) fn prepare(
    standard: &StandardModel,
    image: &Image,
    model: &ResourceModel,
    document: &Json<'_>,
) -> Result<Prepared, Problem> {
    prepare_during(standard, image, model, document, &OldKeys::new())
}

/// The same in the middle of a transaction: a row that has its new key already is still found by
/// the old one, since its dependents follow one after the other.
pub(super) fn prepare_during(
    standard: &StandardModel,
    image: &Image,
    model: &ResourceModel,
    document: &Json<'_>,
    old_keys: &OldKeys,
) -> Result<Prepared, Problem> {
    let key = key_of(model, document)
        .ok_or_else(|| Problem::invalid(vec![("$".to_owned(), "The key is incomplete.".into())]))?;
    let mut writing = Writing {
        standard,
        image,
        model,
        old_keys,
        out: String::new(),
        links: Vec::new(),
        missing: Vec::new(),
    };
    writing.value(document, Some(&model.reference_tree), true);
    let Writing { out, links, missing, .. } = writing;
    if let Some(problem) = unresolved(standard, &missing) {
        return Err(problem);
    }
    let mut needs: BTreeSet<RowName> = links.iter().map(|(_, row)| *row).collect();
    needs.extend(descriptors_of(image, model, document));
    Ok(Prepared { key, body: out.into(), links, needs })
}

/// People are looked up before the database looks at what else is missing.
fn unresolved(standard: &StandardModel, missing: &[&ReferenceModel]) -> Option<Problem> {
    let is_person = |reference: &ReferenceModel| {
        let mut targets = reference.targets.iter();
        targets.any(|target| is_person_endpoint(&standard.resource(*target).endpoint))
    };
    let person = missing.iter().find(|reference| is_person(reference));
    let told = person.or(missing.first())?;
    let members = missing.iter().map(|one| (one.path.to_string(), one.entity.as_str()));
    let problem = Problem::unresolved_reference(&told.entity, person.is_some());
    Some(problem.leading_nowhere(members))
}

/// The people of the data standards.
pub(super) fn is_person_endpoint(endpoint: &str) -> bool {
    matches!(endpoint, "students" | "staffs" | "contacts")
}

/// The natural key of a body, if every part of it is there.
pub(super) fn key_of(model: &ResourceModel, document: &Json<'_>) -> Option<Key> {
    let mut parts = Vec::with_capacity(model.key.len());
    for field in &model.key {
        parts.push(part(field.kind, document.at(&field.path)?)?);
    }
    Some(parts.into())
}

fn part(kind: FieldKind, value: &Json<'_>) -> Option<KeyPart> {
    let text = value.text()?;
    if kind.is_integer()
        && let Ok(number) = text.parse()
    {
        return Some(KeyPart::Number(number));
    }
    Some(KeyPart::Text(text.into_owned()))
}

/// A key part from the text of a query parameter.
pub(super) fn part_from_query(kind: FieldKind, text: &str) -> KeyPart {
    match text.parse() {
        Ok(number) if kind.is_integer() => KeyPart::Number(number),
        Ok(_) | Err(_) => KeyPart::Text(text.to_owned()),
    }
}

/// A key of one part that is a text, as those of people are.
pub(super) fn key_of_text(text: &str) -> Key {
    vec![KeyPart::Text(text.to_owned())].into()
}

/// The key that a reference's object names, in the order of the target's key fields.
pub(super) fn key_of_reference(
    standard: &StandardModel,
    reference: &ReferenceModel,
    target: u16,
    object: &Json<'_>,
) -> Option<Key> {
    let fields = &standard.resource(target).key;
    let mut parts = Vec::with_capacity(fields.len());
    for (field, member) in fields.iter().zip(&reference.members) {
        parts.push(part(field.kind, object.get(member)?)?);
    }
    Some(parts.into())
}

/// The row of a descriptor's value, `namespace#codeValue`.
pub(super) fn descriptor_row(image: &Image, target: u16, value: &str) -> Option<RowName> {
    let (namespace, code) = value.split_once('#')?;
    let key: Key = vec![KeyPart::Text(namespace.to_owned()), KeyPart::Text(code.to_owned())].into();
    let surrogate = *image.table(target).by_key.get(&key)?;
    Some(RowName { resource: target, surrogate })
}

fn descriptors_of<'i>(
    image: &'i Image,
    model: &'i ResourceModel,
    document: &'i Json<'_>,
) -> impl Iterator<Item = RowName> + 'i {
    model.descriptors.iter().flat_map(move |used| {
        let mut values = Vec::new();
        document.all_at(&used.path.0, &mut values);
        values
            .into_iter()
            .filter_map(|value| descriptor_row(image, used.target, &value.text()?))
            .collect::<Vec<_>>()
    })
}

/// One walk that writes a body and finds its references.
struct Writing<'w> {
    standard: &'w StandardModel,
    image: &'w Image,
    model: &'w ResourceModel,
    old_keys: &'w OldKeys,
    out: String,
    links: Vec<(usize, RowName)>,
    /// The references that lead nowhere.
    missing: Vec<&'w ReferenceModel>,
}

impl<'w> Writing<'w> {
    fn value(&mut self, value: &Json<'_>, tree: Option<&'w ReferenceTree>, is_root: bool) {
        match value {
            Json::Object(members) => {
                self.members(members, tree, is_root);
                if let Some(number) = tree.and_then(|tree| tree.reference) {
                    self.reference(&self.model.references[number], value);
                }
                self.out.push('}');
            }
            Json::Array(items) => {
                self.out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        self.out.push(',');
                    }
                    self.value(item, tree, false);
                }
                self.out.push(']');
            }
            Json::Scalar(text) => self.out.push_str(text),
        }
    }

    fn members(
        &mut self,
        members: &[(std::borrow::Cow<'_, str>, Json<'_>)],
        tree: Option<&'w ReferenceTree>,
        is_root: bool,
    ) {
        let is_reference = tree.is_some_and(|tree| tree.reference.is_some());
        self.out.push('{');
        let mut first = true;
        for (name, value) in members {
            // A null member is an absent one; a server never answers with one.
            if value.is_null()
                || (is_reference && name == "link")
                || (is_root && self.is_dropped(name))
            {
                continue;
            }
            if !first {
                self.out.push(',');
            }
            first = false;
            write_name(&mut self.out, name);
            self.value(value, tree.and_then(|tree| tree.below.get(name.as_ref())), false);
        }
    }

    /// What a server throws away: what is its own to say, and what it does not know.
    fn is_dropped(&self, member: &str) -> bool {
        OF_THE_ROOT.contains(&member) || self.model.unknown.iter().any(|one| one == member)
    }

    fn reference(&mut self, reference: &'w ReferenceModel, object: &Json<'_>) {
        for target in &reference.targets {
            let Some(key) = key_of_reference(self.standard, reference, *target, object) else {
                continue;
            };
            let found = self.image.table(*target).by_key.get(&key);
            if let Some(surrogate) = found.or_else(|| self.old_keys.get(&(*target, key))) {
                let row = RowName { resource: *target, surrogate: *surrogate };
                self.links.push((self.out.len(), row));
                return;
            }
        }
        self.missing.push(reference);
    }
}
