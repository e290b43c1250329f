//! What was, how it stands, and one item as it is now: commands that look, and what each leaves behind.

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, FaultId, Harm, Refusal};

use super::Desk;
use crate::district;
use crate::scene::put;

impl Desk {
    /// Student S-702 is refused, and parked.
    pub(super) async fn with_one_parked() -> (Desk, FaultId) {
        let desk = Desk::new().await;
        let invalid = Harm::Refuse(Refusal::Member("birthDate".to_owned(), "no".to_owned()));
        let fault = Fault::on("/ed-fi/students", invalid).method("POST");
        let fault = desk.target.fault(fault.key("studentUniqueId", "S-702"));
        assert_eq!(desk.tidemark(&["run"]).await.code, 3);
        (desk, fault)
    }

    pub(super) async fn audited(&self) -> Vec<Value> {
        let audit = self.tidemark(&["audit", "list", "--output", "json"]).await;
        assert_eq!(audit.code, 0, "{}", audit.err);
        audit.json()["items"].as_array().unwrap().clone()
    }

    pub(super) async fn actions(&self) -> Vec<String> {
        let of = |entry: Value| entry["action"].as_str().unwrap().to_owned();
        self.audited().await.into_iter().map(of).collect()
    }

    pub(super) async fn parked_id(&self) -> String {
        let listed = self.tidemark(&["parked", "list", "--output", "json"]).await;
        listed.json()["items"][0]["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_newest_first_and_shown_with_what_they_moved() {
    let desk = Desk::new().await;
    let before = desk.tidemark(&["runs", "list"]).await;
    desk.tidemark(&["run"]).await;
    put(&desk.source, "students", &district::student("S-704"));
    desk.tidemark(&["run"]).await;

    let listed = desk.tidemark(&["runs", "list", "--output", "json"]).await.json();
    let rows = desk.tidemark(&["runs", "list", "--limit", "1"]).await;
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let shown = desk.tidemark(&["runs", "show", &id[..8]]).await;
    let unknown = desk.tidemark(&["runs", "show", "zzz"]).await;

    assert_eq!((before.code, before.out.as_str()), (0, "nothing has run\n"));
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["stages"]["upserts"]["applied"], 1, "the newest is the first");
    assert_eq!(items[1]["window"]["after"], Value::Null);
    assert_eq!(rows.out.lines().count(), 2, "a head and a row: {}", rows.out);
    assert!(rows.out.contains("complete") && rows.out.contains("just now"), "{}", rows.out);
    assert!(shown.out.contains(&id) && shown.out.contains("upserts"), "{}", shown.out);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("tidemark runs list"), "{}", unknown.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_tells_who_did_what_and_why_and_who_read_keys() {
    let (desk, _) = Desk::with_one_parked().await;
    let set = ["watermark", "set", "--all", "--to", "1", "--yes", "--reason", "the tide turned"];

    desk.tidemark(&set).await;
    desk.tidemark(&["status"]).await;
    desk.tidemark(&["parked", "list"]).await;
    let rows = desk.tidemark(&["audit", "list"]).await;
    let later = desk.tidemark(&["audit", "list", "--since", "2100-01-01T00:00:00Z"]).await;
    let recent = desk.tidemark(&["audit", "list", "--since", "1h", "--output", "json"]).await;
    let wrong = desk.tidemark(&["audit", "list", "--since", "lately"]).await;

    assert_eq!(desk.actions().await, ["parked read", "watermark set"]);
    let moved = &recent.json()["items"][1];
    assert_eq!(moved["reason"], "the tide turned");
    assert_eq!(moved["publication"], "district-to-state");
    assert!(moved["by"].as_str().unwrap().starts_with("user "), "{moved}");
    assert!(rows.out.contains("the tide turned") && !rows.out.contains("S-702"), "{}", rows.out);
    assert_eq!(later.out, "nothing is in the audit\n");
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("7days"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_is_looked_at_at_both_ends_and_nothing_of_it_is_kept() {
    let (desk, fault) = Desk::with_one_parked().await;
    let id = desk.parked_id().await;

    let live = desk.tidemark(&["parked", "show", &id, "--live"]).await;
    let json = desk.tidemark(&["parked", "show", &id, "--live", "--output", "json"]).await;
    desk.target.repair(fault);
    put(&desk.target, "students", &district::student("S-702"));
    let there = desk.tidemark(&["parked", "show", &id, "--live", "--output", "json"]).await;
    desk.source.delete("/ed-fi/students", &district::student_key("S-702")).unwrap();
    let gone = desk.tidemark(&["parked", "show", &id, "--live", "--output", "json"]).await;
    let exported = desk.tidemark(&["state", "export"]).await;

    assert_eq!(live.code, 0, "{}", live.err);
    assert!(live.out.contains("the source shows:"), "{}", live.out);
    assert!(live.out.contains("\"studentUniqueId\": \"S-702\""), "{}", live.out);
    assert!(live.out.contains("the target does not have it"), "{}", live.out);
    let json = json.json()["items"][0].clone();
    assert_eq!(json["source"]["body"]["studentUniqueId"], "S-702");
    assert_eq!(json["target"], json!({"shows": "nothing", "body": null}));
    assert_eq!(there.json()["items"][0]["target"]["shows"], "item");
    assert_eq!(gone.json()["items"][0]["source"]["shows"], "nothing");
    let first_name = district::student("S-702")["firstName"].as_str().unwrap().to_owned();
    assert!(live.out.contains(&first_name), "the body was there to be kept");
    assert!(!exported.out.contains(&first_name), "{}", exported.out);
    let looks = desk.actions().await.into_iter().filter(|action| action == "parked read live");
    assert_eq!(looks.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_attempt_is_made_now_and_leaves_the_record_as_it_was() {
    let (desk, fault) = Desk::with_one_parked().await;
    let id = desk.parked_id().await;
    let list = ["parked", "list", "--output", "json"];
    let before = desk.tidemark(&list).await.json();

    let refused = desk.tidemark(&["parked", "retry", &id, "--show"]).await;
    let after_refusal = desk.tidemark(&list).await.json();
    desk.target.repair(fault);
    let taken = desk.tidemark(&["parked", "retry", &id, "--show", "--output", "json"]).await;
    let after_success = desk.tidemark(&list).await.json();
    let written = desk.target.count("/ed-fi/students");
    let run = desk.tidemark(&["run"]).await;
    let nothing = desk.tidemark(&["parked", "retry", "--show"]).await;

    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(refused.out.contains("refused: invalid"), "{}", refused.out);
    assert!(refused.out.contains("$.birthDate") && refused.out.contains("400"), "{}", refused.out);
    assert!(!refused.out.contains("S-702"), "{}", refused.out);
    assert_eq!(after_refusal, before, "no attempt was counted");
    assert_eq!((taken.code, written), (0, 3), "{}", taken.err);
    assert_eq!(taken.json()["items"][0]["outcome"], "applied");
    assert_eq!(after_success, before, "the next run settles it");
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert_eq!(nothing.code, 2, "{}", nothing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_for_a_pair_that_waits_for_a_person() {
    let (desk, fault) = Desk::with_one_parked().await;
    let id = desk.parked_id().await;
    desk.target.repair(fault);
    desk.source.tell_education_organizations(&[]);
    put(&desk.source, "students", &district::student("S-800"));
    desk.tidemark(&["run"]).await;

    let tried = desk.tidemark(&["parked", "retry", &id, "--show"]).await;

    assert_eq!(tried.code, 2, "{}", tried.out);
    assert!(tried.err.contains("is blocked"), "{}", tried.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_are_shown_by_state_and_in_the_order_that_was_asked_for() {
    let (desk, _) = Desk::with_one_parked().await;
    let more = "\x20 another:\n\x20   source: state\n\x20   targets: [district]\n";
    desk.configure(&desk.usual(more));
    let names = |arguments: &'static [&'static str]| {
        let desk = &desk;
        async move {
            let status = ["status", "--output", "json"];
            let ended = desk.tidemark(&[&status[..], arguments].concat()).await;
            let pairs = ended.json()["pairs"].as_array().unwrap().clone();
            let name = |pair: &Value| pair["publication"].as_str().unwrap().to_owned();
            pairs.iter().map(name).collect::<Vec<_>>()
        }
    };

    let odd = desk.tidemark(&["status", "--state", "lazy"]).await;
    let none = desk.tidemark(&["status", "--state", "failing"]).await;

    assert_eq!(names(&[]).await, ["another", "district-to-state"]);
    assert_eq!(names(&["--sort", "worst"]).await, ["district-to-state", "another"]);
    assert_eq!(names(&["--state", "degraded,blocked"]).await, ["district-to-state"]);
    assert_eq!(odd.code, 2);
    assert!(odd.err.contains("degraded"), "{}", odd.err);
    assert!(none.out.starts_with("0 pairs: none"), "{}", none.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_by_time_is_the_newest_version_that_was_known_then() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let first = desk.source.newest();
    let now = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
    let before = |moment: String| {
        let desk = &desk;
        async move {
            let set = ["watermark", "set", "--all", "--yes", "--reason", "x", "--output", "json"];
            desk.tidemark(&[&set[..], &["--before", &moment]].concat()).await
        }
    };

    let early = before("2020-01-01T00:00:00Z".to_owned()).await;
    let known = before(now.to_rfc3339()).await;

    assert_eq!(early.code, 2, "{}", early.out);
    assert!(early.err.contains("does not reach back to 2020-01-01"), "{}", early.err);
    assert_eq!(known.code, 0, "{}", known.err);
    assert_eq!(known.json()["items"][0]["watermark"], first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_completes_itself_and_prints_its_manual() {
    let desk = Desk::new().await;

    for shell in ["bash", "zsh", "fish"] {
        let script = desk.tidemark(&["completions", shell]).await;
        assert_eq!(script.code, 0, "{}", script.err);
        assert!(script.out.contains("watermark") && script.out.contains("group-by"), "{shell}");
    }
    let manual = desk.tidemark(&["man"]).await;
    let odd = desk.tidemark(&["completions", "tcsh"]).await;

    assert_eq!(manual.code, 0, "{}", manual.err);
    assert!(manual.out.contains(".TH tidemark") && manual.out.contains(".SH TIDEMARK PARKED"));
    assert_eq!(odd.code, 2);
}
