//! Education organizations: which of them an item is, and which of them its key names.
//!
//! The one thing to know: their ids are of one kind, whichever resource they are in, and an item whose
//! key names one lives only where that one lives. So what is known of organizations says of most items
//! where they cannot be (R28a), without asking anybody.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::NaturalKey;
use super::resource::ResourcePath;
use super::shape::KeyShape;

/// What the key of an organization is called, a name for each kind (`edfi-wire §6`).
const OWN_NAMES: [&str; 9] = [
    "schoolId",
    "localEducationAgencyId",
    "stateEducationAgencyId",
    "educationServiceCenterId",
    "educationOrganizationNetworkId",
    "communityOrganizationId",
    "communityProviderId",
    "organizationDepartmentId",
    "postSecondaryInstitutionId",
];
/// How whoever may refer to any kind calls it.
const ANY_KIND: &str = "educationOrganizationId";
/// Beyond so many nothing is known of organizations: everybody is asked.
const MOST: usize = 20_000;

/// Organizations that a pair has read of its source, as short hashes: those that it ever saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Organizations(BTreeMap<ResourcePath, BTreeSet<String>>);

impl Organizations {
    /// Whether it was not known. An id of a resource whose items are no organizations must not be told.
    pub fn add(&mut self, resource: &ResourcePath, id: &str) -> bool {
        self.0.entry(resource.clone()).or_default().insert(mark(id))
    }

    /// There are more than anybody should keep.
    pub fn are_too_many(&self) -> bool {
        self.0.values().map(BTreeSet::len).sum::<usize>() > MOST
    }

    /// Whether `key` names an organization that these are sure of and `others`, who have read
    /// everything of the resources `spoken_for`, have never seen. What is of a kind that nobody here
    /// knows proves nothing.
    pub fn has_of_which_others_do_not_know(
        &self,
        key: &NaturalKey,
        others: &Organizations,
        spoken_for: &BTreeSet<ResourcePath>,
    ) -> bool {
        named_in(key).any(|id| {
            let id = mark(id);
            let kinds = self.0.iter().filter(|(_, ids)| ids.contains(&id));
            let mut kinds = kinds.map(|(kind, _)| kind).peekable();
            kinds.peek().is_some()
                && kinds.all(|kind| {
                    let theirs = others.0.get(kind);
                    spoken_for.contains(kind) && theirs.is_none_or(|ids| !ids.contains(&id))
                })
        })
    }
}

impl KeyShape {
    /// Items of this kind are education organizations.
    pub fn is_organization(&self) -> bool {
        matches!(self.fields.as_slice(), [id] if OWN_NAMES.contains(&id.name.as_str()))
    }
}

/// The ids of organizations in a key, also under names with a role before them
/// (`programEducationOrganizationId`).
fn named_in(key: &NaturalKey) -> impl Iterator<Item = &str> {
    key.iter().filter(|(name, _)| is_of_organization(name)).map(|(_, id)| id)
}

fn is_of_organization(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OWN_NAMES.iter().chain([&ANY_KIND]).any(|own| name.ends_with(&own.to_ascii_lowercase()))
}

fn mark(id: &str) -> String {
    let hash = Sha256::digest(format!("education organization {id}").as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schools() -> ResourcePath {
        ResourcePath::parse("/ed-fi/schools").unwrap()
    }

    fn key(json: &str) -> NaturalKey {
        serde_json::from_str(json).unwrap()
    }

    fn with_schools(ids: &[&str]) -> Organizations {
        let mut organizations = Organizations::default();
        for id in ids {
            organizations.add(&schools(), id);
        }
        organizations
    }

    #[test]
    fn a_key_is_nobody_elses_where_it_names_a_school_that_nobody_else_has() {
        let ours = with_schools(&["1", "2"]);
        let spoken_for = BTreeSet::from([schools()]);
        for (key, theirs, expected) in [
            (r#"{"schoolId":1,"sessionName":"x"}"#, with_schools(&["2"]), true),
            (r#"{"programEducationOrganizationId":1}"#, with_schools(&[]), true),
            (r#"{"schoolId":1}"#, with_schools(&["1"]), false),
            (r#"{"schoolId":3}"#, with_schools(&["2"]), false),
            (r#"{"studentUniqueId":"1"}"#, with_schools(&["2"]), false),
        ] {
            let key = self::key(key);
            assert_eq!(ours.has_of_which_others_do_not_know(&key, &theirs, &spoken_for), expected);
        }
        let key = self::key(r#"{"schoolId":1}"#);
        let nothing = with_schools(&[]);
        let unread = BTreeSet::new();
        assert!(!ours.has_of_which_others_do_not_know(&key, &nothing, &unread));
    }

    #[test]
    fn no_id_can_be_read_out_of_what_is_kept() {
        let text = serde_json::to_string(&with_schools(&["255901001"])).unwrap();

        assert!(!text.contains("255901001"), "{text}");
    }
}
