//! What every store must do when everything of a pair is read at once: for a backup, for another store.

use super::*;

/// Names every member of a step: a new one has to be looked at here, or this does not compile.
pub(super) async fn the_whole_of_a_pair_is_everything_that_was_written(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();
    let written = everything();

    let Step {
        state,
        coverage,
        park,
        settle,
        journal,
        plan,
        mut names,
        finished,
        progress,
        end_journal,
        keep_names_of,
        begin_anew,
        verified,
        erase,
        run,
        history,
        forget_all,
        taken_from,
        key_changes,
        tombstones,
        written: written_items,
        left_behind,
        comparison,
        end_comparison,
        forget,
        // Not of the pair.
        audit: _,
    } = store.whole(&pair("a")).await.unwrap();

    names.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(state, written.state);
    assert_eq!(coverage, written.coverage);
    assert_eq!(park, written.park);
    assert_eq!(journal, written.journal);
    assert_eq!(plan, written.plan);
    assert_eq!(names, written.names);
    assert_eq!(finished, written.finished);
    assert_eq!(progress, written.progress);
    assert_eq!(history, [written.run.unwrap()]);
    // Nothing but what was written, in the place of whatever there is.
    assert!(settle.is_empty() && !end_journal && run.is_none() && taken_from.is_none());
    assert!(forget_all && !begin_anew && !end_comparison && comparison.is_none());
    // What an overlap remembers is of no use beside another history: it is read again.
    assert_eq!((key_changes, tombstones, written_items, left_behind), Default::default());
    assert_eq!(verified, [verified_of("/ed-fi/students", 5)]);
    assert!(keep_names_of.is_empty() && erase.is_empty());
    assert!(!forget.all && forget.below.is_none() && forget.written.is_empty());
}

pub(super) async fn the_whole_of_a_pair_replaces_another(stand: &mut Stand) {
    let store = stand.store();
    store.commit(&pair("a"), everything()).await.unwrap();
    let other =
        Step { park: vec![parked("p9", ParkStatus::Dead)], run: Some(run(7)), ..everything() };
    store.commit(&pair("b"), other).await.unwrap();

    let whole = store.whole(&pair("a")).await.unwrap();
    store.commit(&pair("b"), whole).await.unwrap();
    let nothing = store.whole(&pair("never seen")).await.unwrap();
    store.commit(&pair("a"), nothing).await.unwrap();

    has_everything(&*store, &pair("b")).await;
    has_nothing(&*store, &pair("a")).await;
}

pub(super) async fn the_whole_of_a_pair_is_never_half_of_a_step(stand: &mut Stand) {
    const STEPS: i64 = 60;
    let store = stand.store();
    let step = |number: i64| Step {
        forget_all: true,
        state: Some(state(number)),
        park: (0..number % 7).map(|n| parked(&format!("p{n}"), ParkStatus::Parked)).collect(),
        run: Some(run(number)),
        ..Step::default()
    };
    store.commit(&pair("a"), step(0)).await.unwrap();

    let committing = Arc::clone(&store);
    let mut commits = tokio::task::JoinSet::new();
    commits.spawn(async move {
        for number in 1..=STEPS {
            committing.commit(&pair("a"), step(number)).await.unwrap();
        }
    });
    let mut seen = 0;
    while seen < STEPS {
        let whole = store.whole(&pair("a")).await.unwrap();
        let watermark = whole.state.unwrap().watermark.unwrap();
        let number = watermark.change_version().0;
        assert_eq!(whole.history, [run(number)]);
        assert_eq!(i64::try_from(whole.park.len()).unwrap(), number % 7);
        seen = number;
        tokio::task::yield_now().await;
    }
    commits.join_all().await;
}

pub(super) async fn a_pair_that_takes_over_another_has_all_of_it_and_the_other_nothing(
    stand: &mut Stand,
) {
    let store = stand.store();
    for name in ["old", "olde", "other"] {
        store.commit(&pair(name), everything()).await.unwrap();
    }

    let step = Step { taken_from: Some(pair("old")), ..Step::default() };
    store.commit(&pair("new"), step).await.unwrap();

    for name in ["new", "olde", "other"] {
        has_everything(&*store, &pair(name)).await;
    }
    has_nothing(&*store, &pair("old")).await;
    assert_eq!(store.pairs().await.unwrap(), [pair("new"), pair("olde"), pair("other")]);
}

pub(super) async fn plans_of_many_pairs_are_kept_at_once_and_pairs_are_outlined_in_order(
    stand: &mut Stand,
) {
    let of_a = Step {
        state: Some(state(9)),
        park: vec![parked("p1", ParkStatus::Dead)],
        ..Step::default()
    };
    stand.store().commit(&pair("a"), of_a).await.unwrap();
    let of_b = Plan { failures: 7, ..plan() };
    let plans = vec![(pair("a"), plan()), (pair("b"), of_b.clone())];

    stand.store().keep_plans(plans).await.unwrap();
    stand.reopen();

    let asked = vec![pair("b"), pair("never"), pair("a")];
    let outlines = stand.store().outlines(asked).await.unwrap();
    let b = Outline { plan: Some(of_b), ..Outline::default() };
    let last_run = state(9).last_run;
    let a = Outline { last_run, is_blocked: true, plan: Some(plan()), has_parked: true };
    assert_eq!(outlines, [b, Outline::default(), a]);
}
