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

/// The same question from the given place on. Only live data is asked like this, and only to
/// count, to verify, or to learn whether there is more (R9).
pub fn beginning_at(mut url: Url, offset: u64) -> Url {
    url.query_pairs_mut().append_pair("offset", &offset.to_string());
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_join_what_is_asked_already() {
        let plain = Url::parse("http://h/x").unwrap();
        let asked = Url::parse("http://h/x?a=b%23c").unwrap();

        assert_eq!(beginning_at(plain, 5).as_str(), "http://h/x?offset=5");
        assert_eq!(beginning_at(asked, 5).as_str(), "http://h/x?a=b%23c&offset=5");
    }
}
