//! What every store forgets when a key is to be forgotten, and what a comparison found.

use super::*;
use crate::domain::{KeyChange, KeyText};

fn student(id: &str) -> NaturalKey {
    [("studentUniqueId".to_owned(), KeyText::Text(id.to_owned()))].into_iter().collect()
}

fn enrolled(id: &str) -> NaturalKey {
    let school = ("schoolId".to_owned(), KeyText::Bare("255901".to_owned()));
    student(id).0.into_iter().chain([school]).collect()
}

fn erased() -> Step {
    let key = ErasedKey { resource: students(), key: student("S-1") };
    Step { erase: vec![key], ..Step::default() }
}

fn waiting_for(id: &str) -> Option<WaitsFor> {
    Some(WaitsFor { resources: vec![students()], key: student(id) })
}

fn renamed(id: &str, from: &str, to: &str) -> RememberedKeyChange {
    let change = KeyChange {
        id: SourceId(id.to_owned()),
        version: ChangeVersion(7),
        old: student(from),
        new: student(to),
    };
    RememberedKeyChange { resource: students(), change, commits: 3 }
}

fn named(key: NaturalKey) -> JournalledName {
    JournalledName { key, ..name("1", Some("t1")) }
}

/// A record of every kind that may hold a key, of the student and of another one.
fn two_students() -> Step {
    let of = |id: &str, key| Parked { key: Some(key), ..parked(id, ParkStatus::Dead) };
    Step {
        park: vec![
            of("p1", student("S-1")),
            of("p2", student("S-2")),
            Parked { waits_for: waiting_for("S-1"), ..of("p3", student("S-3")) },
            Parked { waits_for: waiting_for("S-2"), ..of("p4", student("S-4")) },
        ],
        names: vec![named(student("S-1")), named(student("S-2"))],
        key_changes: vec![
            renamed("a", "S-1", "S-9"),
            renamed("b", "S-8", "S-1"),
            renamed("c", "S-2", "S-7"),
        ],
        ..Step::default()
    }
}

pub(super) async fn a_key_that_is_erased_is_in_no_record_and_every_other_stays(stand: &mut Stand) {
    let key = ErasedKey { resource: students(), key: student("S-1") };
    let store = stand.store();
    for of in ["a", "b"] {
        store.commit(&pair(of), two_students()).await.unwrap();
    }

    let before = store.records_with(&pair("a"), &key).await.unwrap();
    store.commit(&pair("a"), erased()).await.unwrap();
    drop(store);
    stand.reopen();

    let store = stand.store();
    let whole = store.whole(&pair("a")).await.unwrap();
    let changes = store.key_changes(&pair("a"), &students(), None, 10).await.unwrap();
    let ids: Vec<&str> = whole.park.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(before, 5, "one parked, one that waits for it, one name, two key changes");
    assert_eq!(store.records_with(&pair("a"), &key).await.unwrap(), 0);
    assert_eq!(ids, ["p2", "p3", "p4"]);
    assert_eq!(whole.park[1].waits_for, None);
    assert_eq!(whole.park[2].waits_for, waiting_for("S-2"));
    assert_eq!(whole.names, [named(student("S-2"))]);
    assert_eq!(changes, [renamed("c", "S-2", "S-7")]);
    assert_eq!(store.records_with(&pair("b"), &key).await.unwrap(), 5, "another pair");
}

pub(super) async fn keys_that_hold_an_erased_one_go_with_it(stand: &mut Stand) {
    let store = stand.store();
    let resource = ResourcePath::parse("/ed-fi/studentSchoolAssociations").unwrap();
    let item = |id: &str, key| Parked {
        resource: resource.clone(),
        key: Some(key),
        ..parked(id, ParkStatus::Parked)
    };
    let park = vec![item("p1", enrolled("S-1")), item("p2", enrolled("S-2"))];
    let name = JournalledName { resource: resource.clone(), ..named(enrolled("S-1")) };
    let step = Step { park, names: vec![name], ..Step::default() };
    store.commit(&pair("a"), step).await.unwrap();

    store.commit(&pair("a"), erased()).await.unwrap();

    let whole = store.whole(&pair("a")).await.unwrap();
    assert_eq!(whole.park.len(), 1);
    assert_eq!(whole.park[0].key, Some(enrolled("S-2")));
    assert_eq!(whole.names, []);
}

pub(super) async fn what_a_comparison_found_is_kept_for_each_resource_and_goes_with_its_pair(
    stand: &mut Stand,
) {
    let store = stand.store();
    let both = vec![verified_of("/ed-fi/students", 5), verified_of("/ed-fi/schools", 1)];
    store.commit(&pair("a"), Step { verified: both, ..Step::default() }).await.unwrap();
    let again = vec![verified_of("/ed-fi/students", 0)];
    store.commit(&pair("a"), Step { verified: again, ..Step::default() }).await.unwrap();
    let ended = Step { end_journal: true, begin_anew: true, ..Step::default() };
    store.commit(&pair("a"), ended).await.unwrap();

    let kept = store.verified(&pair("a")).await.unwrap();
    store.commit(&pair("a"), Step { forget_all: true, ..Step::default() }).await.unwrap();

    let expected = [verified_of("/ed-fi/schools", 1), verified_of("/ed-fi/students", 0)];
    assert_eq!(kept, expected);
    assert_eq!(store.verified(&pair("a")).await.unwrap(), []);
}
