//! What every store must do, as claims that run over each of them.
//!
//! The samples are for the tests of single stores too.

mod audit;
mod comparison;
mod erasure;
mod overlap;
mod samples;
mod whole;

use std::sync::Arc;

use tempfile::TempDir;

use super::*;

use audit::*;
use comparison::*;
use erasure::*;
use overlap::*;
pub(super) use samples::*;
use whole::*;

/// A store that can be closed and opened again.
enum Stand {
    Memory(Arc<MemoryStore>),
    Sled { directory: TempDir, store: Option<Arc<dyn StateStore>> },
}

impl Stand {
    fn memory() -> Stand {
        Stand::Memory(Arc::new(MemoryStore::new()))
    }

    fn sled() -> Stand {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).unwrap();
        Stand::Sled { directory, store: Some(store) }
    }

    fn store(&self) -> Arc<dyn StateStore> {
        match self {
            Stand::Memory(store) => Arc::<MemoryStore>::clone(store),
            Stand::Sled { store, .. } => Arc::clone(store.as_ref().unwrap()),
        }
    }

    fn reopen(&mut self) {
        match self {
            Stand::Memory(store) => *store = Arc::new(store.reopened()),
            Stand::Sled { directory, store } => {
                *store = None;
                *store = Some(open(directory.path()).unwrap());
            }
        }
    }
}

macro_rules! every_store {
    ($($claim:ident,)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(&mut super::Stand::memory()).await;
            })*
        }
        mod sled {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(&mut super::Stand::sled()).await;
            })*
        }
    };
}

every_store! {
    a_pair_that_was_never_seen_has_nothing,
    everything_of_a_step_is_there_after_its_commit,
    a_step_changes_only_what_it_names,
    a_settled_item_is_gone_and_one_parked_in_the_same_step_stays,
    parking_twice_is_parking_once,
    a_journal_ends_with_its_names_and_the_next_one_stays,
    a_name_has_one_entry,
    forgetting_takes_one_pair_and_nothing_else,
    parked_items_come_in_pages_in_order_of_id,
    pairs_are_listed_whatever_is_known_of_them,
    runs_come_newest_first_and_the_oldest_go,
    a_history_that_is_brought_in_is_kept_as_far_as_runs_are,
    a_pair_that_takes_over_another_has_all_of_it_and_the_other_nothing,
    steps_of_many_pairs_at_once_all_arrive,
    a_store_that_is_opened_again_has_everything,
    numbers_of_natural_keys_keep_their_text,
    every_record_is_replaced_and_never_mixed,
    a_step_that_is_committed_twice_is_committed_once,
    what_a_step_removes_goes_before_what_it_writes,
    ending_a_journal_leaves_everything_else,
    pages_of_parked_items_go_on_after_an_id_that_is_gone,
    finished_resources_come_in_order_and_once_each,
    progress_is_replaced_and_ends_where_its_resource_does,
    a_run_that_begins_anew_leaves_nothing_to_go_on_from,
    runs_that_began_at_the_same_moment_keep_an_order,
    names_of_pairs_may_be_of_any_letters,
    the_whole_of_a_pair_is_everything_that_was_written,
    the_whole_of_a_pair_replaces_another,
    the_whole_of_a_pair_is_never_half_of_a_step,
    key_changes_come_item_by_item_and_no_page_cuts_one,
    what_was_written_is_found_by_either_id,
    a_target_id_that_went_to_another_item_stays_with_it,
    an_item_that_got_another_target_id_is_not_found_by_the_one_before,
    what_the_overlap_has_passed_goes_and_nothing_else,
    what_was_left_behind_goes_with_its_journal,
    all_that_an_overlap_needs_goes_at_once,
    names_come_in_pages_and_some_outlive_their_journal,
    the_audit_comes_newest_first_and_in_parts,
    the_audit_outlives_its_pair_and_a_restart,
    what_is_too_old_for_the_audit_goes,
    a_comparison_ends_and_everything_else_stays,
    a_key_that_is_erased_is_in_no_record_and_every_other_stays,
    keys_that_hold_an_erased_one_go_with_it,
    what_a_comparison_found_is_kept_for_each_resource_and_goes_with_its_pair,
    plans_of_many_pairs_are_kept_at_once_and_pairs_are_outlined_in_order,
}

pub(super) async fn has_everything(store: &dyn StateStore, pair: &PairId) {
    assert_eq!(store.load(pair).await.unwrap(), Some(state(9)));
    assert_eq!(store.coverage(pair).await.unwrap(), coverage());
    let items = store.parked(pair, None, 10).await.unwrap();
    assert_eq!(items, [parked("p1", ParkStatus::Parked), parked("p2", ParkStatus::Dead)]);
    let counts = store.parked_counts(pair).await.unwrap();
    assert_eq!((counts.parked, counts.dead), (1, 1));
    assert_eq!(counts.by_reason, BTreeMap::from([(items[0].reason, 2)]));
    assert_eq!(counts.oldest, Some(items[0].first_seen_at));
    assert_eq!(store.journal(pair).await.unwrap(), Some(journal("run-1")));
    assert_eq!(store.plan(pair).await.unwrap(), Some(plan()));
    assert_eq!(names(store, pair).await, [name("1", Some("t1")), name("2", None)]);
    assert_eq!(store.finished(pair).await.unwrap(), [finished()]);
    assert_eq!(store.progress(pair).await.unwrap(), [progress()]);
    assert_eq!(store.runs(pair, 10).await.unwrap(), [run(1)]);
    assert_eq!(store.verified(pair).await.unwrap(), [verified_of("/ed-fi/students", 5)]);
}

async fn has_nothing(store: &dyn StateStore, pair: &PairId) {
    assert_eq!(store.load(pair).await.unwrap(), None);
    assert_eq!(store.coverage(pair).await.unwrap(), Coverage::default());
    assert_eq!(store.parked(pair, None, 10).await.unwrap(), []);
    assert_eq!(store.parked_counts(pair).await.unwrap(), ParkedCounts::default());
    assert_eq!(store.journal(pair).await.unwrap(), None);
    assert_eq!(store.plan(pair).await.unwrap(), None);
    assert_eq!(store.names(pair).await.unwrap(), []);
    assert_eq!(store.finished(pair).await.unwrap(), []);
    assert_eq!(store.progress(pair).await.unwrap(), []);
    assert_eq!(store.comparison(pair).await.unwrap(), None);
    assert_eq!(store.runs(pair, 10).await.unwrap(), []);
}

/// Names have no order of their own.
async fn names(store: &dyn StateStore, pair: &PairId) -> Vec<JournalledName> {
    let mut names = store.names(pair).await.unwrap();
    names.sort_by(|one, other| one.key.cmp(&other.key));
    names
}

async fn a_pair_that_was_never_seen_has_nothing(stand: &mut Stand) {
    let store = stand.store();

    has_nothing(&*store, &pair("a")).await;
    assert_eq!(store.pairs().await.unwrap(), []);
}

async fn everything_of_a_step_is_there_after_its_commit(stand: &mut Stand) {
    let store = stand.store();

    store.commit(&pair("a"), everything()).await.unwrap();

    has_everything(&*store, &pair("a")).await;
}

async fn a_step_changes_only_what_it_names(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();

    store.commit(&pair("a"), Step::default()).await.unwrap();
    store.commit(&pair("b"), Step { state: Some(state(1)), ..Step::default() }).await.unwrap();

    has_everything(&*store, &pair("a")).await;
}

async fn a_settled_item_is_gone_and_one_parked_in_the_same_step_stays(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();

    let step = Step {
        settle: vec!["p1".to_owned(), "p2".to_owned(), "never-seen".to_owned()],
        park: vec![parked("p2", ParkStatus::Parked)],
        ..Step::default()
    };
    store.commit(&pair("a"), step).await.unwrap();

    let left = store.parked(&pair("a"), None, 10).await.unwrap();
    assert_eq!(left, [parked("p2", ParkStatus::Parked)]);
}

async fn parking_twice_is_parking_once(stand: &mut Stand) {
    let store = stand.store();
    let again = Parked { attempts: 3, ..parked("p1", ParkStatus::Dead) };

    for item in [parked("p1", ParkStatus::Parked), again.clone()] {
        store.commit(&pair("a"), Step { park: vec![item], ..Step::default() }).await.unwrap();
    }

    assert_eq!(store.parked(&pair("a"), None, 10).await.unwrap(), [again]);
    let counts = store.parked_counts(&pair("a")).await.unwrap();
    assert_eq!((counts.parked, counts.dead), (0, 1));
}

async fn a_journal_ends_with_its_names_and_the_next_one_stays(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();

    let next = Step {
        end_journal: true,
        journal: Some(journal("run-2")),
        names: vec![name("2", Some("t2"))],
        ..Step::default()
    };
    store.commit(&pair("a"), next).await.unwrap();

    assert_eq!(store.journal(&pair("a")).await.unwrap(), Some(journal("run-2")));
    assert_eq!(store.names(&pair("a")).await.unwrap(), [name("2", Some("t2"))]);
    assert_eq!(store.finished(&pair("a")).await.unwrap(), []);
    assert_eq!(store.progress(&pair("a")).await.unwrap(), []);

    store.commit(&pair("a"), Step { end_journal: true, ..Step::default() }).await.unwrap();

    assert_eq!(store.journal(&pair("a")).await.unwrap(), None);
    assert_eq!(store.names(&pair("a")).await.unwrap(), []);
    assert_eq!(store.load(&pair("a")).await.unwrap(), Some(state(9)));
}

async fn a_name_has_one_entry(stand: &mut Stand) {
    let store = stand.store();

    for target_id in [None, Some("t1")] {
        let step = Step { names: vec![name("1", target_id)], ..Step::default() };
        store.commit(&pair("a"), step).await.unwrap();
    }

    assert_eq!(store.names(&pair("a")).await.unwrap(), [name("1", Some("t1"))]);
}

async fn forgetting_takes_one_pair_and_nothing_else(stand: &mut Stand) {
    let store = stand.store();
    for name in ["a", "ab", "b"] {
        store.commit(&pair(name), everything()).await.unwrap();
    }

    store.commit(&pair("a"), Step { forget_all: true, ..Step::default() }).await.unwrap();
    let anew = Step { forget_all: true, state: Some(state(1)), ..Step::default() };
    store.commit(&pair("b"), anew).await.unwrap();

    has_nothing(&*store, &pair("a")).await;
    has_everything(&*store, &pair("ab")).await;
    assert_eq!(store.load(&pair("b")).await.unwrap(), Some(state(1)));
    assert_eq!(store.runs(&pair("b"), 10).await.unwrap(), []);
    assert_eq!(store.pairs().await.unwrap(), [pair("ab"), pair("b")]);
}

async fn parked_items_come_in_pages_in_order_of_id(stand: &mut Stand) {
    let store = stand.store();
    let ids: Vec<String> = (0..25).map(|number| format!("item-{number:02}")).collect();
    let park = ids.iter().rev().map(|id| parked(id, ParkStatus::Parked)).collect();
    store.commit(&pair("a"), Step { park, ..Step::default() }).await.unwrap();

    let mut seen: Vec<String> = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let after = seen.last().map(String::as_str);
        let page = store.parked(&pair("a"), after, 10).await.unwrap();
        if page.is_empty() {
            break;
        }
        sizes.push(page.len());
        seen.extend(page.into_iter().map(|item| item.id));
    }

    assert_eq!(seen, ids);
    assert_eq!(sizes, [10, 10, 5]);
}

async fn pairs_are_listed_whatever_is_known_of_them(stand: &mut Stand) {
    let store = stand.store();
    let long = "a-publication-with-quite-a-long-name";
    store.commit(&pair(long), everything()).await.unwrap();
    store.commit(&pair("z"), Step { run: Some(run(1)), ..Step::default() }).await.unwrap();
    let step = Step { park: vec![parked("p", ParkStatus::Dead)], ..Step::default() };
    store.commit(&pair("b"), step).await.unwrap();

    assert_eq!(store.pairs().await.unwrap(), [pair(long), pair("b"), pair("z")]);
}

async fn runs_come_newest_first_and_the_oldest_go(stand: &mut Stand) {
    let store = stand.store();
    let last = i64::try_from(RUNS_KEPT).unwrap() + 5;

    for number in 1..=last {
        let step = Step { run: Some(run(number)), ..Step::default() };
        store.commit(&pair("a"), step).await.unwrap();
    }

    let newest = store.runs(&pair("a"), 2).await.unwrap();
    assert_eq!(newest, [run(last), run(last - 1)]);
    let all = store.runs(&pair("a"), 1000).await.unwrap();
    assert_eq!(all.len(), RUNS_KEPT);
    assert_eq!(all.last(), Some(&run(6)));
    let named = store.runs_named(&pair("a"), &run(last).id).await.unwrap();
    assert_eq!(named, [run(last)]);
    assert_eq!(store.runs_named(&pair("a"), "").await.unwrap(), all);
    assert_eq!(store.runs_named(&pair("b"), "").await.unwrap(), []);
}

async fn a_history_that_is_brought_in_is_kept_as_far_as_runs_are(stand: &mut Stand) {
    let store = stand.store();
    let many = i64::try_from(RUNS_KEPT).unwrap() + 5;

    let step = Step { history: (0..many).map(run).collect(), ..Step::default() };
    store.commit(&pair("a"), step).await.unwrap();

    let kept = store.runs(&pair("a"), 1000).await.unwrap();
    assert_eq!(kept.len(), RUNS_KEPT);
    assert_eq!((&kept[0], &kept[RUNS_KEPT - 1]), (&run(many - 1), &run(5)));
}

async fn steps_of_many_pairs_at_once_all_arrive(stand: &mut Stand) {
    let store = stand.store();
    let mut committing = tokio::task::JoinSet::new();

    for number in 0..20 {
        let store = Arc::clone(&store);
        committing.spawn(async move {
            let step = Step { state: Some(state(number)), ..Step::default() };
            store.commit(&pair(&format!("pair-{number}")), step).await
        });
    }
    for committed in committing.join_all().await {
        committed.unwrap();
    }

    for number in 0..20 {
        let found = store.load(&pair(&format!("pair-{number}"))).await.unwrap();
        assert_eq!(found, Some(state(number)));
    }
}

async fn a_store_that_is_opened_again_has_everything(stand: &mut Stand) {
    stand.store().commit(&pair("a"), everything()).await.unwrap();

    for _ in 0..3 {
        stand.reopen();

        has_everything(&*stand.store(), &pair("a")).await;
    }
}

async fn numbers_of_natural_keys_keep_their_text(stand: &mut Stand) {
    let spelt = ["1.10", "1.1", "-0", "1E5", "123456789012345678901234567890.10", "true"];
    let names = spelt.iter().map(|number| name(number, None)).collect();
    stand.store().commit(&pair("a"), Step { names, ..Step::default() }).await.unwrap();

    stand.reopen();

    let mut kept: Vec<_> = stand.store().names(&pair("a")).await.unwrap();
    kept.sort_by_key(|name| spelt.iter().position(|text| name.key.get("amount") == Some(*text)));
    let kept: Vec<_> = kept.iter().map(|name| name.key.get("amount").unwrap()).collect();
    assert_eq!(kept, spelt);
}

async fn every_record_is_replaced_and_never_mixed(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();

    let next = Step {
        state: Some(PairState::default()),
        coverage: Some(Coverage::default()),
        journal: Some(journal("run-2")),
        names: vec![name("1", None)],
        ..Step::default()
    };
    store.commit(&pair("a"), next).await.unwrap();

    assert_eq!(store.load(&pair("a")).await.unwrap(), Some(PairState::default()));
    assert_eq!(store.coverage(&pair("a")).await.unwrap(), Coverage::default());
    assert_eq!(store.journal(&pair("a")).await.unwrap(), Some(journal("run-2")));
    assert_eq!(names(&*store, &pair("a")).await, [name("1", None), name("2", None)]);
}

/// A step whose answer was lost is committed again.
async fn a_step_that_is_committed_twice_is_committed_once(stand: &mut Stand) {
    let store = stand.store();

    for _ in 0..2 {
        let settle = vec!["p0".to_owned()];
        store.commit(&pair("a"), Step { settle, ..everything() }).await.unwrap();
    }

    has_everything(&*store, &pair("a")).await;
}

async fn what_a_step_removes_goes_before_what_it_writes(stand: &mut Stand) {
    let store = stand.store();
    for name in ["a", "other"] {
        let before = Step {
            state: Some(state(1)),
            park: vec![parked("p2", ParkStatus::Parked), parked("p7", ParkStatus::Dead)],
            names: vec![name_of_a_former_run()],
            history: vec![run(50)],
            ..Step::default()
        };
        store.commit(&pair(name), before).await.unwrap();
    }

    let forgotten = Step { forget_all: true, ..everything() };
    store.commit(&pair("a"), forgotten.clone()).await.unwrap();
    let removals = Step {
        settle: vec!["p1".to_owned(), "p2".to_owned(), "p7".to_owned()],
        end_journal: true,
        ..forgotten
    };
    store.commit(&pair("b"), removals.clone()).await.unwrap();
    store.commit(&pair("c"), Step { taken_from: Some(pair("other")), ..removals }).await.unwrap();

    has_everything(&*store, &pair("a")).await;
    has_everything(&*store, &pair("b")).await;
    has_nothing(&*store, &pair("other")).await;
    // What is taken over is written before the rest of the step, and stays beside it.
    assert_eq!(store.load(&pair("c")).await.unwrap(), Some(state(9)));
    let items = store.parked(&pair("c"), None, 10).await.unwrap();
    let expected = [("p1", ParkStatus::Parked), ("p2", ParkStatus::Dead), ("p7", ParkStatus::Dead)];
    assert_eq!(items, expected.map(|(id, status)| parked(id, status)));
    assert_eq!(store.runs(&pair("c"), 10).await.unwrap(), [run(50), run(1)]);
    assert_eq!(store.names(&pair("c")).await.unwrap().len(), 3);
}

fn name_of_a_former_run() -> JournalledName {
    name("99", None)
}

async fn ending_a_journal_leaves_everything_else(stand: &mut Stand) {
    let store = stand.store();
    for name in ["a", "b"] {
        store.commit(&pair(name), everything()).await.unwrap();
    }

    store.commit(&pair("a"), Step { end_journal: true, ..Step::default() }).await.unwrap();

    let again = Step {
        journal: everything().journal,
        names: everything().names,
        finished: everything().finished,
        progress: everything().progress,
        ..Step::default()
    };
    has_everything(&*store, &pair("b")).await;
    store.commit(&pair("a"), again).await.unwrap();
    has_everything(&*store, &pair("a")).await;
}

async fn pages_of_parked_items_go_on_after_an_id_that_is_gone(stand: &mut Stand) {
    let store = stand.store();
    let ids = ["a", "a1", "a10", "a2", "b", "ä"];
    let park = ids.iter().map(|id| parked(id, ParkStatus::Parked)).collect();
    store.commit(&pair("a"), Step { park, ..Step::default() }).await.unwrap();
    let after = async |after: Option<&str>, limit: usize| -> Vec<String> {
        let page = store.parked(&pair("a"), after, limit).await.unwrap();
        page.into_iter().map(|item| item.id).collect()
    };

    assert_eq!(after(None, 0).await, Vec::<String>::new());
    assert_eq!(after(None, usize::MAX).await, ids);
    assert_eq!(after(Some("a1"), 2).await, ["a10", "a2"]);
    let settle = Step { settle: vec!["a1".to_owned()], ..Step::default() };
    store.commit(&pair("a"), settle).await.unwrap();
    assert_eq!(after(Some("a1"), 2).await, ["a10", "a2"]);
    assert_eq!(after(Some("a11"), 9).await, ["a2", "b", "ä"]);
    assert_eq!(after(Some("ä"), 9).await, Vec::<String>::new());
}

async fn finished_resources_come_in_order_and_once_each(stand: &mut Stand) {
    let store = stand.store();
    let resource = |name: &str| ResourcePath::parse(name).unwrap();
    let of = |name: &str, through: i64| Finished {
        resource: resource(name),
        through: ChangeVersion(through),
        ..finished()
    };

    for finished in [of("/ed-fi/students", 1), of("/ed-fi/schools", 2), of("/ed-fi/students", 3)] {
        let step = Step { finished: vec![finished], ..Step::default() };
        store.commit(&pair("a"), step).await.unwrap();
    }

    let found = store.finished(&pair("a")).await.unwrap();
    assert_eq!(found, [of("/ed-fi/schools", 2), of("/ed-fi/students", 3)]);
}

async fn progress_is_replaced_and_ends_where_its_resource_does(stand: &mut Stand) {
    let store = stand.store();
    let schools = ResourcePath::parse("/ed-fi/schools").unwrap();
    let students = finished().resource;
    let at = |place: &str| Progress {
        resource: students.clone(),
        position: Position(place.to_owned()),
        ..progress()
    };
    let of_schools = Progress { resource: schools, ..at("2") };

    for progress in [at("1"), of_schools.clone(), at("3")] {
        let step = Step { progress: vec![progress], ..Step::default() };
        store.commit(&pair("a"), step).await.unwrap();
    }
    assert_eq!(store.progress(&pair("a")).await.unwrap(), [of_schools.clone(), at("3")]);

    let end = Step { finished: vec![finished()], ..Step::default() };
    store.commit(&pair("a"), end).await.unwrap();
    assert_eq!(store.progress(&pair("a")).await.unwrap(), [of_schools]);
}

async fn a_run_that_begins_anew_leaves_nothing_to_go_on_from(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();

    let anew = Step { begin_anew: true, journal: Some(journal("run-2")), ..Step::default() };
    store.commit(&pair("a"), anew).await.unwrap();

    assert_eq!(store.finished(&pair("a")).await.unwrap(), []);
    assert_eq!(store.progress(&pair("a")).await.unwrap(), []);
    assert_eq!(store.journal(&pair("a")).await.unwrap(), Some(journal("run-2")));
    assert_eq!(store.names(&pair("a")).await.unwrap().len(), 2, "names are of either");
}

async fn runs_that_began_at_the_same_moment_keep_an_order(stand: &mut Stand) {
    let store = stand.store();
    let of = |id: &str| RunRecord { id: id.to_owned(), ..run(7) };

    for id in ["b", "a", "c"] {
        store.commit(&pair("a"), Step { run: Some(of(id)), ..Step::default() }).await.unwrap();
    }
    store.commit(&pair("a"), Step { history: vec![run(-7)], ..Step::default() }).await.unwrap();

    let found = store.runs(&pair("a"), 10).await.unwrap();
    assert_eq!(found, [of("c"), of("b"), of("a"), run(-7)]);
}

async fn names_of_pairs_may_be_of_any_letters(stand: &mut Stand) {
    let store = stand.store();
    let named = |publication: &str, target: &str| PairId {
        publication: publication.to_owned(),
        target: target.to_owned(),
    };
    let mut pairs = [
        named("", ""),
        named("a", "bc"),
        named("ab", "c"),
        named("a/b", "c → d"),
        named("\u{ff}\u{1f600}", "\0"),
    ];

    for (number, pair) in pairs.iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        store.commit(pair, Step { state: Some(state(number)), ..Step::default() }).await.unwrap();
    }
    drop(store);
    stand.reopen();
    let store = stand.store();

    for (number, pair) in pairs.iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        assert_eq!(store.load(pair).await.unwrap(), Some(state(number)), "{pair}");
    }
    pairs.sort();
    assert_eq!(store.pairs().await.unwrap(), pairs);
}

#[tokio::test]
async fn a_broken_store_keeps_what_it_had_and_does_nothing_more() {
    let store = MemoryStore::new();
    store.break_after(1);
    store.commit(&pair("a"), everything()).await.unwrap();

    let refused =
        store.commit(&pair("a"), Step { state: Some(state(10)), ..Step::default() }).await;

    assert!(matches!(refused, Err(StateError::Failed { .. })), "{refused:?}");
    let later = store.load(&pair("a")).await;
    assert!(matches!(later, Err(StateError::Failed { .. })), "{later:?}");
    has_everything(&store.reopened(), &pair("a")).await;
}
