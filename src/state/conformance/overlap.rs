//! Claims about what the overlap needs: in which order it comes, and when it goes.

use super::*;

fn all_kinds() -> Step {
    Step {
        key_changes: vec![key_change("a", 5), key_change("b", 9)],
        tombstones: vec![tombstone("c", 5), tombstone("d", 9)],
        written: vec![written("e", "t-e", 5), written("f", "t-f", 9)],
        left_behind: vec![left_behind("g", "t-g")],
        ..Step::default()
    }
}

async fn ids_of_key_changes(store: &dyn StateStore) -> Vec<(String, i64)> {
    let all = store.key_changes(&pair("a"), &students(), None, 100).await.unwrap();
    all.into_iter().map(|known| (known.change.id.0, known.change.version.0)).collect()
}

async fn ids_of_written(store: &dyn StateStore) -> Vec<String> {
    let asked = ["e", "f"].map(|id| SourceId(id.to_owned())).to_vec();
    let known = store.written(&pair("a"), &students(), asked).await.unwrap();
    known.into_iter().map(|written| written.id.0).collect()
}

async fn ids_of_tombstones(store: &dyn StateStore) -> Vec<String> {
    let asked = [("c", 5), ("d", 9), ("d", 8)]
        .map(|(id, version)| (SourceId(id.to_owned()), ChangeVersion(version)))
        .to_vec();
    let known = store.settled_tombstones(&pair("a"), &students(), asked).await.unwrap();
    known.into_iter().map(|tombstone| tombstone.id.0).collect()
}

pub(super) async fn key_changes_come_item_by_item_and_no_page_cuts_one(stand: &mut Stand) {
    let store = stand.store();
    let told = [("b", 4), ("a", 9), ("a", 2), ("ab", 3), ("a", -1)];
    let key_changes = told.map(|(id, version)| key_change(id, version)).to_vec();
    store.commit(&pair("a"), Step { key_changes, ..Step::default() }).await.unwrap();
    drop(store);
    stand.reopen();
    let store = stand.store();

    let ids = |page: Vec<RememberedKeyChange>| -> Vec<(String, i64)> {
        page.into_iter().map(|known| (known.change.id.0, known.change.version.0)).collect()
    };
    let first = store.key_changes(&pair("a"), &students(), None, 1).await.unwrap();
    let a = SourceId("a".to_owned());
    let rest = store.key_changes(&pair("a"), &students(), Some(&a), 100).await.unwrap();

    assert_eq!(ids(first), [("a".to_owned(), -1), ("a".to_owned(), 2), ("a".to_owned(), 9)]);
    assert_eq!(ids(rest), [("ab".to_owned(), 3), ("b".to_owned(), 4)]);
    let of_a = store.key_changes_of(&pair("a"), &students(), &a).await.unwrap();
    assert_eq!(ids(of_a).len(), 3);
    let schools = ResourcePath::parse("/ed-fi/schools").unwrap();
    assert_eq!(store.key_changes(&pair("a"), &schools, None, 9).await.unwrap(), []);
}

pub(super) async fn what_was_written_is_found_by_either_id(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), all_kinds()).await.unwrap();
    drop(store);
    stand.reopen();
    let store = stand.store();

    assert_eq!(ids_of_written(&*store).await, ["e", "f"]);
    assert_eq!(ids_of_tombstones(&*store).await, ["c", "d"], "each under its own version");
    let as_f = store.written_as(&pair("a"), &students(), &TargetId("t-f".to_owned())).await;
    assert_eq!(as_f.unwrap(), Some(SourceId("f".to_owned())));
    assert_eq!(store.left_behind(&pair("a")).await.unwrap(), [left_behind("g", "t-g")]);
}

pub(super) async fn a_target_id_that_went_to_another_item_stays_with_it(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), all_kinds()).await.unwrap();
    let taken = Step { written: vec![written("f", "t-e", 9)], ..Step::default() };
    store.commit(&pair("a"), taken).await.unwrap();

    let forgotten = vec![(students(), SourceId("e".to_owned()))];
    let forget = Forgotten { written: forgotten, ..Forgotten::default() };
    store.commit(&pair("a"), Step { forget, ..Step::default() }).await.unwrap();

    assert_eq!(ids_of_written(&*store).await, ["f"]);
    let owner = store.written_as(&pair("a"), &students(), &TargetId("t-e".to_owned())).await;
    assert_eq!(owner.unwrap(), Some(SourceId("f".to_owned())));
}

pub(super) async fn an_item_that_got_another_target_id_is_not_found_by_the_one_before(
    stand: &mut Stand,
) {
    let store = stand.store();
    store.commit(&pair("a"), all_kinds()).await.unwrap();

    // `e` takes what `f` had, and `f` something new.
    let moved = vec![written("e", "t-f", 9), written("f", "t-new", 9)];
    store.commit(&pair("a"), Step { written: moved, ..Step::default() }).await.unwrap();

    for (target_id, item) in [("t-e", None), ("t-f", Some("e")), ("t-new", Some("f"))] {
        let asked = TargetId(target_id.to_owned());
        let found = store.written_as(&pair("a"), &students(), &asked).await.unwrap();
        assert_eq!(found, item.map(|id| SourceId(id.to_owned())), "{target_id}");
    }
}

pub(super) async fn what_the_overlap_has_passed_goes_and_nothing_else(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), all_kinds()).await.unwrap();
    store.commit(&pair("b"), all_kinds()).await.unwrap();
    let schools = ResourcePath::parse("/ed-fi/schools").unwrap();

    for (version, resources, left) in
        [(9, vec![schools], 2), (5, vec![students()], 2), (9, vec![students()], 1)]
    {
        let below = Some((ChangeVersion(version), resources));
        let forget = Forgotten { below, ..Forgotten::default() };
        store.commit(&pair("a"), Step { forget, ..Step::default() }).await.unwrap();

        assert_eq!(ids_of_key_changes(&*store).await.len(), left, "{version}");
        assert_eq!(ids_of_tombstones(&*store).await.len(), left, "{version}");
        assert_eq!(ids_of_written(&*store).await.len(), left, "{version}");
    }
    let other = store.key_changes(&pair("b"), &students(), None, 100).await.unwrap();
    assert_eq!(other.len(), 2, "another pair's");
}

pub(super) async fn what_was_left_behind_goes_with_its_journal(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), all_kinds()).await.unwrap();

    store.commit(&pair("a"), Step { end_journal: true, ..Step::default() }).await.unwrap();

    assert_eq!(store.left_behind(&pair("a")).await.unwrap(), []);
    assert_eq!(ids_of_written(&*store).await, ["e", "f"], "the overlap still needs it");
}

pub(super) async fn all_that_an_overlap_needs_goes_at_once(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), all_kinds()).await.unwrap();

    let forget = Forgotten { all: true, ..Forgotten::default() };
    store.commit(&pair("a"), Step { forget, ..Step::default() }).await.unwrap();

    assert_eq!(ids_of_key_changes(&*store).await, []);
    assert_eq!(ids_of_tombstones(&*store).await, Vec::<String>::new());
    assert_eq!(ids_of_written(&*store).await, Vec::<String>::new());
    assert_eq!(store.left_behind(&pair("a")).await.unwrap(), []);
    let gone = store.written_as(&pair("a"), &students(), &TargetId("t-e".to_owned())).await;
    assert_eq!(gone.unwrap(), None);
}

pub(super) async fn names_come_in_pages_and_some_outlive_their_journal(stand: &mut Stand) {
    let store = stand.store();
    let schools = ResourcePath::parse("/ed-fi/schools").unwrap();
    let mut names: Vec<_> = (0..25).map(|n| name(&n.to_string(), Some("t"))).collect();
    names.push(JournalledName { resource: schools.clone(), ..name("7", Some("s")) });
    store.commit(&pair("a"), Step { names: names.clone(), ..Step::default() }).await.unwrap();

    let mut paged: Vec<JournalledName> = Vec::new();
    loop {
        let page = store.names_after(&pair("a"), paged.last(), 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, store.names(&pair("a")).await.unwrap());
    assert_eq!(paged.len(), 26);

    let keep_names_of = BTreeSet::from([schools.clone()]);
    let end = Step { end_journal: true, keep_names_of, ..Step::default() };
    store.commit(&pair("a"), end).await.unwrap();

    let left = store.names(&pair("a")).await.unwrap();
    assert_eq!(left.iter().map(|name| &name.resource).collect::<Vec<_>>(), [&schools]);
}
