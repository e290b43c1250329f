//! Comparing a key with a body whose key is not known (R1): by the leaf names in its root and in
//! its references.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::domain::{Body, KeyText, NaturalKey};

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Whether the item surely has another key: some part of the key stands in the body, and wherever
/// it stands it differs (R2). What cannot be read differs from nothing.
pub(super) fn surely_differ(key: &NaturalKey, body: &Body) -> bool {
    let Ok(root) = serde_json::from_slice::<Members<'_>>(body.bytes()) else { return false };
    let leaves = leaves_of(&root);
    key.0.iter().any(|(name, value)| {
        let wanted = single(name, value);
        let mut places = leaves.iter().filter(|(leaf, _)| leaf == name).peekable();
        places.peek().is_some()
            && places.all(|(_, found)| wanted.surely_differs_from(&single(name, found)))
    })
}

fn single(name: &str, value: &KeyText) -> NaturalKey {
    NaturalKey::from_iter([(name.to_owned(), value.clone())])
}

/// Every scalar of the root and of its references, with its leaf name.
fn leaves_of(root: &Members<'_>) -> Vec<(String, KeyText)> {
    let mut leaves = scalars_of(root);
    for (name, value) in root {
        if !name.ends_with("Reference") {
            continue;
        }
        if let Ok(reference) = serde_json::from_str::<Members<'_>>(value.get()) {
            leaves.extend(scalars_of(&reference));
        }
    }
    leaves
}

fn scalars_of(members: &Members<'_>) -> Vec<(String, KeyText)> {
    let scalar = |(name, value): (&String, &&RawValue)| {
        KeyText::from_json(value.get()).map(|value| (name.clone(), value))
    };
    members.iter().filter_map(scalar).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn without_a_known_key_a_body_differs_only_where_every_leaf_of_a_name_does() {
        let body = Body(Bytes::from_static(
            br#"{"id":"x","localCourseCode":"ALG-1",
                "schoolReference":{"schoolId":1,"link":{"rel":"School"}},
                "sessionReference":{"schoolId":2,"schoolYear":2022}}"#,
        ));
        for (case, key, differs) in [
            ("all leaves agree", r#"{"localCourseCode":"alg-1 ","schoolYear":2022}"#, false),
            ("one of two places agrees", r#"{"schoolId":2}"#, false),
            ("no place agrees", r#"{"schoolId":3}"#, true),
            ("a name that is nowhere says nothing", r#"{"gradingPeriodSchoolYear":1999}"#, false),
            ("one part differs", r#"{"localCourseCode":"ALG-2","schoolYear":2022}"#, true),
        ] {
            let key: NaturalKey = serde_json::from_str(key).unwrap();

            assert_eq!(surely_differ(&key, &body), differs, "{case}");
        }
    }
}
