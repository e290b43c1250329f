//! Claims about a comparison that goes on.

use super::*;

fn comparison() -> Comparison {
    let counts = Compared {
        resource: students(),
        source: 3,
        target: 2,
        missing: 1,
        extra: None,
        different: 0,
        parked: 1,
    };
    let side = SpooledSide {
        items: 3,
        bytes: 120,
        position: Some(Position("here".to_owned())),
        is_whole: true,
    };
    let looked = Looked { shares: 2, counts: counts.clone(), unlike_bytes: 40, extra_bytes: 0 };
    Comparison {
        id: "00ff".to_owned(),
        question: "asked".to_owned(),
        began_at: moment(1),
        through: ChangeVersion(9),
        target_newest: Some(ChangeVersion(7)),
        is_after_repair: true,
        key: SpoolKey([7; 32]),
        compared: vec![counts],
        under_way: Some(ResourceUnderWay {
            resource: students(),
            source: side.clone(),
            target: side,
            looked: Some(looked),
        }),
    }
}

pub(super) async fn a_comparison_ends_and_everything_else_stays(stand: &mut Stand) {
    let store = stand.store();
    let begun = Step { comparison: Some(comparison()), ..everything() };
    for name in ["a", "b"] {
        store.commit(&pair(name), begun.clone()).await.unwrap();
    }
    drop(store);
    stand.reopen();
    let store = stand.store();
    assert_eq!(store.comparison(&pair("a")).await.unwrap(), Some(comparison()));

    store.commit(&pair("a"), Step { end_comparison: true, ..Step::default() }).await.unwrap();

    assert_eq!(store.comparison(&pair("a")).await.unwrap(), None);
    has_everything(&*store, &pair("a")).await;
    assert_eq!(store.comparison(&pair("b")).await.unwrap(), Some(comparison()));
    assert!(store.whole(&pair("b")).await.unwrap().comparison.is_none(), "its key stays here");
}
