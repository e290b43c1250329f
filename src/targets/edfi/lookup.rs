//! Whether what came back is what was asked for (R1, R2, R4).
//!
//! Servers ignore parameters that they do not know and parameters whose value is a default, and
//! some compare without case. So every field of everything that came back is compared here, and
//! what is neither surely the same nor surely another is in doubt.

use std::collections::BTreeSet;

use super::found;
use crate::domain::scan::{Malformed, Scanner, unescaped};
use crate::domain::{Body, Item, KeyShape, KeyText, NaturalKey};
use crate::targets::{Found, Match};

/// What one page says about a key. [`Match::None`] means: none of these.
pub(super) fn judge(wanted: &NaturalKey, shape: Option<&KeyShape>, page: Vec<Item>) -> Match {
    let mut same = Vec::new();
    let mut doubts = BTreeSet::new();
    for item in page {
        match compare(wanted, shape, &item.body) {
            Verdict::Same => same.push(item),
            Verdict::Another => {}
            Verdict::Doubt(members) => doubts.extend(members),
        }
    }
    // With a known key what differs by case alone is another item of this server (R2). Without,
    // nobody knows what else the key is made of.
    let is_clear = doubts.is_empty() || shape.is_some();
    match (same.len(), same.pop()) {
        (1, Some(item)) if is_clear => {
            let found = found(item, shape);
            Match::One(Found { key: found.key.or_else(|| Some(wanted.clone())), ..found })
        }
        (0, _) if doubts.is_empty() => Match::None,
        (0 | 1, _) => Match::Doubtful { members: doubts.into_iter().collect() },
        (_, _) => {
            Match::Doubtful { members: wanted.iter().map(|(name, _)| name.to_owned()).collect() }
        }
    }
}

enum Verdict {
    Same,
    Another,
    /// These fields cannot be told.
    Doubt(Vec<String>),
}

fn compare(wanted: &NaturalKey, shape: Option<&KeyShape>, body: &Body) -> Verdict {
    let key = shape.and_then(|shape| shape.key_of(body));
    let comparable = key.filter(|key| key.0.keys().eq(wanted.0.keys()));
    if let Some(key) = comparable {
        let relations = wanted.0.iter().zip(key.0.values());
        return verdict(relations.map(|((name, wanted), found)| (name, relation(wanted, found))));
    }
    let leaves = compare_leaves(wanted, body);
    let untold = shape.map(|shape| untold(wanted, shape)).unwrap_or_default();
    match leaves {
        Verdict::Same if !untold.is_empty() => Verdict::Doubt(untold),
        Verdict::Same | Verdict::Another | Verdict::Doubt(_) => leaves,
    }
}

/// The parts of a key that the wanted one does not tell, unless it tells as many by other names.
fn untold(wanted: &NaturalKey, shape: &KeyShape) -> Vec<String> {
    if wanted.0.len() >= shape.fields.len() {
        return Vec::new();
    }
    let names = shape.fields.iter().map(|field| &field.name);
    names.filter(|name| !wanted.0.contains_key(*name)).cloned().collect()
}

/// Without a shape that fits, every member of a part's name counts, in the root and in the
/// references of the root, and all of them have to agree (R1).
fn compare_leaves(wanted: &NaturalKey, body: &Body) -> Verdict {
    let mut leaves = Vec::new();
    if gather(&mut Scanner::new(body.bytes()), true, &mut leaves).is_err() {
        return Verdict::Doubt(wanted.0.keys().cloned().collect());
    }
    verdict(wanted.0.iter().map(|(name, wanted)| {
        let named = leaves.iter().filter(|(leaf, _)| leaf == name);
        let relations: Vec<Relation> = named.map(|(_, found)| relation(wanted, found)).collect();
        let all = |relation| !relations.is_empty() && relations.iter().all(|r| *r == relation);
        let relation = match (all(Relation::Same), all(Relation::Another)) {
            (true, _) => Relation::Same,
            (_, true) => Relation::Another,
            (false, false) => Relation::Unclear,
        };
        (name, relation)
    }))
}

/// One field that is surely another makes the item another, whatever the rest.
fn verdict<'a>(fields: impl Iterator<Item = (&'a String, Relation)>) -> Verdict {
    let mut doubts = Vec::new();
    for (name, relation) in fields {
        match relation {
            Relation::Same => {}
            Relation::Another => return Verdict::Another,
            Relation::Unclear => doubts.push(name.clone()),
        }
    }
    if doubts.is_empty() { Verdict::Same } else { Verdict::Doubt(doubts) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    Same,
    Unclear,
    Another,
}

fn relation(wanted: &KeyText, found: &KeyText) -> Relation {
    let (wanted_text, found_text) = (wanted.as_str(), found.as_str());
    if wanted_text == found_text {
        return Relation::Same;
    }
    if !wanted.surely_differs_from(found) {
        return Relation::Unclear;
    }
    let is_moment_of = |date: &str, moment: &str| {
        moment.strip_prefix(date).is_some_and(|rest| rest.starts_with('T'))
    };
    let one_number = matches!((wanted, found), (KeyText::Bare(_), KeyText::Bare(_)))
        && wanted_text.parse::<f64>().ok() == found_text.parse::<f64>().ok();
    let one_date = is_moment_of(wanted_text, found_text) || is_moment_of(found_text, wanted_text);
    if one_number || one_date { Relation::Unclear } else { Relation::Another }
}

fn gather(
    scanner: &mut Scanner<'_>,
    at_root: bool,
    leaves: &mut Vec<(String, KeyText)>,
) -> Result<(), Malformed> {
    let mut more = scanner.enter_object()?;
    while more {
        let name = scanner.name()?;
        if at_root && name.ends_with(b"Reference") && scanner.peek() == Some(b'{') {
            gather(scanner, false, leaves)?;
        } else if let (Some(value), Some(name)) = (scanner.scalar()?, unescaped(name)) {
            leaves.push((name.into_owned(), value));
        }
        more = scanner.next_member()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::{KeyField, SourceId};

    fn key(json: &str) -> NaturalKey {
        serde_json::from_str(json).unwrap()
    }

    fn page(bodies: &[&str]) -> Vec<Item> {
        let item = |(at, body): (usize, &&str)| Item {
            id: SourceId(format!("id{at}")),
            body: Body(Bytes::copy_from_slice(body.as_bytes())),
        };
        bodies.iter().enumerate().map(item).collect()
    }

    fn shape() -> KeyShape {
        let field = |name: &str, path: &[&str]| KeyField {
            name: name.to_owned(),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
        };
        KeyShape {
            fields: vec![
                field("schoolId", &["schoolReference", "schoolId"]),
                field("sequence", &["sequence"]),
                field("title", &["title"]),
            ],
            ..KeyShape::default()
        }
    }

    /// `One id0`, `None`, `Doubtful title`.
    fn told(judged: &Match) -> String {
        match judged {
            Match::One(found) => format!("One {}", found.id),
            Match::None => "None".to_owned(),
            Match::Doubtful { members } => format!("Doubtful {}", members.join(" ")),
        }
    }

    const SAME: &str = r#"{"schoolReference":{"schoolId":1},"sequence":0,"title":"A"}"#;
    const STRANGER: &str = r#"{"schoolReference":{"schoolId":1},"sequence":2,"title":"A"}"#;
    const OTHER_CASE: &str = r#"{"schoolReference":{"schoolId":1},"sequence":0,"title":"a "}"#;
    const INCOMPLETE: &str = r#"{"schoolReference":{},"sequence":0,"title":"A"}"#;

    #[test]
    fn r4_one_match_with_all_fields_equal_or_none() {
        let wanted = key(r#"{"schoolId":1,"sequence":0,"title":"A"}"#);
        for (case, bodies, outcome) in [
            ("nothing came back", &[][..], "None"),
            ("the one", &[SAME], "One id0"),
            ("a default was ignored: the one among strangers", &[STRANGER, SAME], "One id1"),
            ("only strangers", &[STRANGER, STRANGER], "None"),
            ("twice", &[SAME, SAME], "Doubtful schoolId sequence title"),
            ("r2: equality at the target is exact", &[OTHER_CASE], "Doubtful title"),
            ("r2: another case is another item", &[SAME, OTHER_CASE], "One id0"),
            ("a part of the key does not show", &[INCOMPLETE], "Doubtful schoolId"),
        ] {
            assert_eq!(told(&judge(&wanted, Some(&shape()), page(bodies))), outcome, "{case}");
        }
    }

    #[test]
    fn t25_numbers_and_dates_that_are_spelt_otherwise_are_in_doubt() {
        for (wanted, found, outcome) in [
            (r#"{"x":1.0}"#, r#"{"x":1.00}"#, "Doubtful x"),
            (r#"{"x":1}"#, r#"{"x":"1"}"#, "One id0"),
            (r#"{"x":1}"#, r#"{"x":2}"#, "None"),
            (r#"{"x":"2021-08-23"}"#, r#"{"x":"2021-08-23T00:00:00Z"}"#, "Doubtful x"),
            (r#"{"x":"2021-08-23"}"#, r#"{"x":"2021-08-24"}"#, "None"),
        ] {
            assert_eq!(told(&judge(&key(wanted), None, page(&[found]))), outcome, "{found}");
        }
    }

    #[test]
    fn r1_without_a_shape_every_member_of_the_name_has_to_agree() {
        let wanted = key(r#"{"schoolId":1,"title":"A"}"#);
        for (case, bodies, outcome) in [
            ("once", &[r#"{"schoolId":1,"title":"A"}"#][..], "One id0"),
            (
                "in root and reference alike",
                &[r#"{"schoolId":1,"xReference":{"schoolId":1},"title":"A"}"#],
                "One id0",
            ),
            (
                "two references that differ",
                &[r#"{"aReference":{"schoolId":1},"bReference":{"schoolId":2},"title":"A"}"#],
                "Doubtful schoolId",
            ),
            ("nowhere", &[r#"{"homeSchoolId":1,"title":"A"}"#], "Doubtful schoolId"),
            ("surely another", &[r#"{"schoolId":2,"title":"A"}"#], "None"),
            (
                "in a collection it does not count",
                &[r#"{"xs":[{"schoolId":1}],"title":"A"}"#],
                "Doubtful schoolId",
            ),
            (
                "the one, and another in doubt",
                &[r#"{"schoolId":1,"title":"A"}"#, r#"{"title":"A"}"#],
                "Doubtful schoolId",
            ),
        ] {
            assert_eq!(told(&judge(&wanted, None, page(bodies))), outcome, "{case}");
        }
    }

    #[test]
    fn r4_a_key_that_tells_only_a_part_matches_nothing() {
        let partly = key(r#"{"title":"A"}"#);

        assert_eq!(
            told(&judge(&partly, Some(&shape()), page(&[SAME]))),
            "Doubtful schoolId sequence"
        );
    }

    #[test]
    fn a_key_in_other_words_than_the_shape_is_compared_by_its_own() {
        let elsewhere = key(r#"{"schoolId":1,"sequence":0,"label":"A"}"#);
        let body = r#"{"schoolReference":{"schoolId":1},"sequence":0,"label":"A","title":"A"}"#;

        assert_eq!(told(&judge(&elsewhere, Some(&shape()), page(&[body]))), "One id0");
        assert_eq!(told(&judge(&elsewhere, Some(&shape()), page(&[SAME]))), "Doubtful label");
    }
}
