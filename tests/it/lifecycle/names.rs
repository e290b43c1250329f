//! Publications that are renamed and removed.

use super::{Walk, enrol, students};
use crate::cli::Desk;

pub(super) const RENAMED: &str = "A publication gets another name";
pub(super) const REMOVED: &str = "A publication is no longer needed";

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_publication_goes_on_where_it_was() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    enrol(&desk.source, "S-704");
    desk.target.clear_requests();
    let mut walk = Walk::begin(RENAMED, &desk);

    desk.reconfigure("district-to-state:", "north-to-state:");
    let looked = walk.step().await;
    let unmoved = desk.target.requests().iter().filter(|request| request.is_write()).count();
    walk.step().await;

    assert!(looked.out.contains("orphaned") && looked.out.contains("blocked"), "{}", looked.out);
    assert_eq!(unmoved, 0, "blocked means that nothing is written");
    assert_eq!(desk.last_run("north-to-state").await["stages"]["upserts"]["applied"], 1);
    assert_eq!(students(&desk.target), 4);
    assert_eq!(desk.pair("north-to-state").await["state"], "ok");
    walk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_publication_is_forgotten_and_nothing_is_deleted() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    desk.target.clear_requests();
    let mut walk = Walk::begin(REMOVED, &desk);

    desk.reconfigure("district-to-state:", "another:");
    let looked = walk.step().await;
    let forgotten = walk.step().await;

    assert!(looked.out.contains("district-to-state"), "{}", looked.out);
    assert!(desk.directory.path().join("before-forgetting.jsonl").exists());
    assert!(!forgotten.out.lines().last().unwrap_or("").contains("district-to-state"));
    assert_eq!(students(&desk.target), 3);
    assert!(desk.target.requests().iter().all(|request| !request.is_write()));
    walk.end();
}
