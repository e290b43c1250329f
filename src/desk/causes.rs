//! What keeps parked items waiting: most of them wait for an item that waits itself, and a thousand
//! dependants of one refused item are one thing to mend.

use std::collections::BTreeMap;

use super::ParkedItem;
use crate::domain::{NaturalKey, ParkReason, ResourcePath};
use crate::state::{Operation, WaitsFor};

/// What one item of a list comes down to, as a place in that list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// It is a root cause itself, as far as is known here.
    Nothing,
    /// It waits, directly or through others, for the item at this place.
    Item(usize),
    /// It waits, directly or through others, for what the item at this place waits for, and that
    /// is not parked.
    Absent(usize),
}

/// A root cause as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// The id of a parked item.
    Item(String),
    /// Something that is not parked: where it may live, and its key.
    Absent(String),
}

impl Behind {
    pub fn named(self, item: &ParkedItem, items: &[ParkedItem]) -> Option<Root> {
        match self {
            Behind::Nothing => None,
            Behind::Item(place) => Some(Root::Item(items[place].id.clone())),
            Behind::Absent(place) => {
                let what = items[place].waits_for.as_ref().or(item.waits_for.as_ref())?;
                Some(Root::Absent(cause(what)))
            }
        }
    }
}

/// What it refers to, where it may live and by which key.
pub fn cause(what: &WaitsFor) -> String {
    let resources: Vec<&str> = what.resources.iter().map(ResourcePath::as_str).collect();
    format!("{} {}", resources.join(" or "), leaves(&what.key))
}

/// `name=value name=value`
pub fn leaves(key: &NaturalKey) -> String {
    key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// For each item of a pair, in order, what it comes down to. Items that wait for each other in a
/// circle come down to the first of them.
pub fn roots(items: &[ParkedItem]) -> Vec<Behind> {
    let mut by_key: BTreeMap<(&ResourcePath, Vec<String>), usize> = BTreeMap::new();
    let mut closed: BTreeMap<&ResourcePath, usize> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        if item.reason == ParkReason::ResourceClosed {
            closed.insert(&item.resource, place);
        } else if let (Some(key), Operation::Upsert) = (&item.key, item.operation) {
            by_key.entry((&item.resource, key.values())).or_insert(place);
        }
    }
    let next: Vec<Option<usize>> = items
        .iter()
        .map(|item| {
            let what = item.waits_for.as_ref()?;
            let key = what.key.values();
            let parked = |resource| by_key.get(&(resource, key.clone())).or(closed.get(resource));
            what.resources.iter().find_map(parked).copied()
        })
        .collect();
    (0..items.len()).map(|place| root(items, &next, place)).collect()
}

fn root(items: &[ParkedItem], next: &[Option<usize>], place: usize) -> Behind {
    let mut last = place;
    // No way is longer than the list, unless it leads round in a circle.
    for _ in 0..items.len() {
        match next[last] {
            Some(further) => last = further,
            None if items[last].waits_for.is_some() => return Behind::Absent(last),
            None if last == place => return Behind::Nothing,
            None => return Behind::Item(last),
        }
    }
    let mut first = last;
    let mut here = last;
    while let Some(further) = next[here].filter(|further| *further != last) {
        first = first.min(further);
        here = further;
    }
    if first == place { Behind::Nothing } else { Behind::Item(first) }
}

#[cfg(test)]
mod tests {
    use crate::state::{ParkStatus, RefusalRecord};

    use super::*;

    fn key(name: &str, value: &str) -> NaturalKey {
        serde_json::from_value(serde_json::json!({ name: value })).unwrap()
    }

    fn resource(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    /// An item `name` of `standards`, which waits for another one of them.
    fn item(name: &str, waits_for: Option<&str>) -> ParkedItem {
        let what = |value| WaitsFor {
            resources: vec![resource("others"), resource("standards")],
            key: key("parentId", value),
        };
        ParkedItem {
            id: format!("id-{name}"),
            publication: "a".to_owned(),
            target: "b".to_owned(),
            resource: resource("standards"),
            key: Some(key("id", name)),
            operation: Operation::Upsert,
            status: ParkStatus::Parked,
            reason: ParkReason::Invalid,
            error: RefusalRecord { status: 400, kind: None, members: Vec::new(), detail: None },
            attempts: 1,
            first_seen_at: chrono::DateTime::UNIX_EPOCH,
            next_attempt_at: Some(chrono::DateTime::UNIX_EPOCH),
            waits_for: waits_for.map(what),
        }
    }

    #[test]
    fn what_waits_through_others_comes_down_to_the_last_of_them() {
        let items = [item("c", Some("b")), item("a", None), item("b", Some("a"))];

        assert_eq!(roots(&items), [Behind::Item(1), Behind::Nothing, Behind::Item(1)]);
    }

    #[test]
    fn what_waits_for_something_that_is_not_parked_comes_down_to_that() {
        let items = [item("c", Some("b")), item("b", Some("a"))];

        let roots = roots(&items);

        assert_eq!(roots, [Behind::Absent(1), Behind::Absent(1)]);
        let named = roots[0].named(&items[0], &items);
        let what = "/ed-fi/others or /ed-fi/standards parentId=a".to_owned();
        assert_eq!(named, Some(Root::Absent(what)));
    }

    #[test]
    fn a_circle_comes_down_to_the_first_of_those_in_it_and_so_does_who_waits_for_one() {
        let items = [item("z", Some("b")), item("a", Some("b")), item("b", Some("a"))];

        assert_eq!(roots(&items), [Behind::Item(1), Behind::Nothing, Behind::Item(1)]);
    }

    #[test]
    fn what_waits_for_an_item_of_a_closed_resource_comes_down_to_the_closing() {
        let closed =
            ParkedItem { reason: ParkReason::ResourceClosed, key: None, ..item("closed", None) };
        let items =
            [ParkedItem { resource: resource("dependants"), ..item("x", Some("y")) }, closed];

        assert_eq!(roots(&items), [Behind::Item(1), Behind::Nothing]);
    }
}
