//! What the person on call types: parked items, the admin API, a key that is to be forgotten.

use tidemark::sandbox::{Fault, FaultId, Harm, Refusal};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{OPERATIONS, Serving, Walk, enrol, section};
use crate::cli::Desk;
use crate::process::BOUND;

pub(super) const PARKED: &str = "## Parked items";
pub(super) const API: &str = "## The admin API";
pub(super) const STATE: &str = "## The state";

/// A pair that has published all but one student, which its target refuses.
async fn with_a_refused_student() -> (Desk, FaultId, String) {
    let desk = Desk::new().await;
    enrol(&desk.source, "S-704");
    let refusal = Harm::Refuse(Refusal::Validation("no".to_owned()));
    let fault = Fault::on("/ed-fi/students", refusal).key("studentUniqueId", "S-704");
    let fault = desk.target.fault(fault);
    assert_eq!(desk.tidemark(&["run"]).await.code, 3);
    let listed = desk.tidemark(&["parked", "list", "--output", "json"]).await.json();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    (desk, fault, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_looked_at_tried_and_given_up() {
    let (desk, fault, id) = with_a_refused_student().await;
    let mut walk = Walk::through(&section(OPERATIONS, PARKED), &desk);
    walk.set("ID", id);

    let seen = walk.step().await;
    desk.target.repair(fault);
    walk.step().await;

    assert!(seen.out.contains("S-704"), "the item at both ends: {}", seen.out);
    assert_eq!(super::students(&desk.target), 4, "the attempt was one");
    assert_eq!(desk.pair("district-to-state").await["parked"], 0);
    walk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_is_asked_with_curl() {
    let (desk, _, id) = with_a_refused_student().await;
    let serving = Serving::begin(&desk).await;
    let mut walk = Walk::through(&section(OPERATIONS, API), &desk);
    let server = format!("http://{}", serving.address);
    walk.set("ID", id);
    walk.set("SERVER", server.clone());

    let asked = walk.step().await;
    let stays = walk.blocks.next().unwrap();
    let mut child = Command::new("sh")
        .args(["-euc", &format!("exec {}", stays[0].typed)])
        .env("SERVER", &server)
        .env("NO_PROXY", "127.0.0.1")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut told = [0; 64];
    let telling = child.stdout.as_mut().unwrap().read(&mut told);
    let read = tokio::time::timeout(BOUND, telling).await.expect("the stream begins").unwrap();
    child.kill().await.unwrap();

    assert!(asked.out.contains("\"degraded\""), "{}", asked.out);
    assert!(read > 0);
    serving.process.stop().await;
    walk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_counted_and_then_forgotten() {
    let (desk, _, _) = with_a_refused_student().await;
    let key = desk.directory.path().join("key.json");
    std::fs::write(key, r#"{"studentUniqueId": "S-704"}"#).unwrap();
    let mut walk = Walk::through(&section(OPERATIONS, STATE), &desk);

    let typed = walk.step().await;

    assert!(typed.err.contains("1 record,"), "{}", typed.err);
    assert!(typed.out.contains("1 record forgotten"), "{}", typed.out);
    assert_eq!(desk.pair("district-to-state").await["parked"], 0);
    walk.end();
}
