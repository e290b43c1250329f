//! Rows P: what happens to the process and its disk.

use serde_json::Value;
use tidemark::sandbox::{Fault, Gate, Harm};

use crate::cli::{Desk, ended_child, signal};
use crate::district::student_key;

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_process_that_was_frozen_keeps_its_state_and_goes_on() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    let held = Fault::on("/ed-fi/students", Harm::Hold(gate.clone())).method("POST");
    desk.target.fault(held);

    let frozen = desk.command(&["run", "--output", "json"]).spawn().unwrap();
    gate.reached_by(1).await;
    signal(&frozen, "STOP").await;
    let other = desk.tidemark(&["run"]).await;
    gate.open();
    signal(&frozen, "CONT").await;
    let thawed = ended_child(frozen).await;

    assert_eq!(other.code, 4, "{}", other.err);
    assert_eq!(thawed.code, 0, "{}", thawed.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_lost_state_makes_a_first_run_that_deletes_nothing_and_verify_finds_the_rest() {
    let desk = Desk::new().await;
    assert_eq!(desk.tidemark(&["run"]).await.code, 0);
    desk.source.delete("/ed-fi/students", &student_key("S-702")).unwrap();
    std::fs::remove_dir_all(desk.directory.path().join("state")).unwrap();

    let again = desk.tidemark(&["run", "--output", "json"]).await;
    let verified = desk.tidemark(&["verify", "--output", "json"]).await;

    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.json()["runs"][0]["window"]["after"], Value::Null);
    assert_eq!(desk.target.count("/ed-fi/students"), 3, "no name, no delete (R3)");
    assert_eq!(verified.code, 1);
    let resources = verified.json()["verify"][0]["resources"].clone();
    let extra = resources.as_array().unwrap().iter().filter_map(|one| one["extra"].as_u64());
    assert_eq!(extra.sum::<u64>(), 1, "{resources}");
}
