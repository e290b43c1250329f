//! Databases and states that are put back to an earlier day.

use tidemark::clock::Clock;

use super::{Walk, enrol, students};
use crate::cli::Desk;

pub(super) const SOURCE: &str = "A source was restored from a backup";
pub(super) const TARGET: &str = "A target was restored from a backup";
pub(super) const STATE: &str = "A state is lost and restored";

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_source_is_gone_on_with_and_what_it_lost_is_deleted() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let backup = desk.source.backup();
    let taken_at = Clock::system().now();
    enrol(&desk.source, "S-lost");
    desk.tidemark(&["run"]).await;
    let mut walk = Walk::begin(SOURCE, &desk);
    walk.set("TAKEN_AT", taken_at.to_string());

    desk.source.restore(&backup);
    let looked = walk.step().await;
    walk.step().await;
    let before = students(&desk.target);
    walk.step().await;

    assert!(looked.out.contains("blocked"), "{}", looked.out);
    assert_eq!(before, 4, "a lost item has no tombstone");
    assert_eq!(students(&desk.target), 3);
    enrol(&desk.source, "S-704");
    assert_eq!(desk.tidemark(&["run"]).await.code, 0);
    assert_eq!(students(&desk.target), 4);
    walk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_target_gets_again_what_it_lost() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let backup = desk.target.backup();
    let taken_at = Clock::system().now();
    enrol(&desk.source, "S-704");
    desk.tidemark(&["run"]).await;
    let mut walk = Walk::begin(TARGET, &desk);
    walk.set("TAKEN_AT", taken_at.to_string());

    desk.target.restore(&backup);
    assert_eq!(students(&desk.target), 3);
    let looked = walk.step().await;
    walk.step().await;

    assert!(looked.out.contains("blocked"), "{}", looked.out);
    assert_eq!(students(&desk.target), 4);
    walk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_is_restored_and_what_was_published_since_converges() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let mut walk = Walk::begin(STATE, &desk);

    walk.step().await;
    enrol(&desk.source, "S-704");
    desk.tidemark(&["run"]).await;
    let left =
        desk.source.delete("/ed-fi/students", &serde_json::json!({"studentUniqueId": "S-701"}));
    left.unwrap();
    std::fs::remove_dir_all(desk.directory.path().join("state")).unwrap();
    let restored = walk.step().await;

    assert!(restored.out.contains("district-to-state"), "{}", restored.out);
    assert_eq!(students(&desk.target), 3, "one came, one left");
    assert!(desk.last_run("district-to-state").await["window"]["after"].is_number());
    walk.end();
}
