//! Asking for an item by its natural key (`edfi-wire §8`).

use url::Url;

use super::discovery::Discovery;
use crate::domain::{KeyShape, NaturalKey, ResourcePath};

/// The address that asks for the items with this key. `shape` brings the key into the words of
/// the resource where a reference called it otherwise (`educationOrganizationId`, `schoolId`).
///
/// What comes back must be compared: servers ignore parameters that they do not know and
/// parameters whose value is a default (R4).
pub fn by_key(
    discovery: &Discovery,
    resource: &ResourcePath,
    key: &NaturalKey,
    shape: Option<&KeyShape>,
) -> Url {
    let mut url = discovery.collection(resource);
    let key = shape.map_or_else(|| key.clone(), |shape| shape.in_own_words(key));
    url.query_pairs_mut().extend_pairs(key.iter());
    url
}
