//! What every store must do with the audit.

use super::*;

fn noted(id: &str, minute: u32, pair: Option<PairId>) -> AuditRecord {
    AuditRecord {
        id: id.to_owned(),
        at: format!("2026-01-31T10:{minute:02}:00Z").parse().unwrap(),
        by: "token oncall".to_owned(),
        action: "watermark set".to_owned(),
        pair,
        what: "to 230".to_owned(),
        reason: Some("the target was restored".to_owned()),
    }
}

fn ids(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

/// Two on their own and, between them, one that came with a step.
async fn three(store: &dyn StateStore) -> PairId {
    let pair = pair("p");
    store.note(noted("a", 1, None), None).await.unwrap();
    let audit = Some(noted("b", 2, Some(pair.clone())));
    store.commit(&pair, Step { audit, ..Step::default() }).await.unwrap();
    store.note(noted("c", 3, None), None).await.unwrap();
    pair
}

pub(super) async fn the_audit_comes_newest_first_and_in_parts(stand: &mut Stand) {
    let store = stand.store();
    let pair = three(&*store).await;

    let all = store.audit(None, None, 10).await.unwrap();
    let first = store.audit(None, None, 2).await.unwrap();
    let rest = store.audit(None, Some("b"), 2).await.unwrap();
    let late = store.audit(Some(noted("", 2, None).at), None, 10).await.unwrap();

    assert_eq!(ids(&all), ["c", "b", "a"]);
    assert_eq!(all[1], noted("b", 2, Some(pair)));
    assert_eq!((ids(&first), ids(&rest)), (vec!["c", "b"], vec!["a"]));
    assert_eq!(ids(&late), ["c", "b"]);
}

pub(super) async fn the_audit_outlives_its_pair_and_a_restart(stand: &mut Stand) {
    let store = stand.store();
    let pair = three(&*store).await;

    store.commit(&pair, Step { forget_all: true, ..Step::default() }).await.unwrap();
    drop(store);
    stand.reopen();

    let kept = stand.store().audit(None, None, 10).await.unwrap();
    assert_eq!(ids(&kept), ["c", "b", "a"]);
    assert_eq!(stand.store().pairs().await.unwrap(), []);
}

pub(super) async fn what_is_too_old_for_the_audit_goes(stand: &mut Stand) {
    let store = stand.store();
    three(&*store).await;

    let before = noted("", 3, None).at;
    store.note(noted("d", 4, None), Some(before)).await.unwrap();

    assert_eq!(ids(&store.audit(None, None, 10).await.unwrap()), ["d", "c"]);
}
