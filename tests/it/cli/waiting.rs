//! Parked items, as a person on call finds and mends them.

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, Harm, Refusal};

use super::Desk;

fn refuse_s_702() -> Fault {
    let invalid = Harm::Refuse(Refusal::Validation("birthDate".to_owned()));
    Fault::on("/ed-fi/students", invalid).method("POST").key("studentUniqueId", "S-702")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_item_is_listed_shown_retried_and_published() {
    let desk = Desk::new().await;
    let fault = desk.target.fault(refuse_s_702());

    let run = desk.tidemark(&["run"]).await;
    let listed = desk.tidemark(&["parked", "list", "--output", "json"]).await;
    let id = listed.json()["items"][0]["id"].as_str().unwrap_or_default().to_owned();
    let shown = desk.tidemark(&["parked", "show", &id[..8]]).await;
    desk.target.repair(fault);
    let retried = desk.tidemark(&["parked", "retry", &id]).await;
    let again = desk.tidemark(&["run", "--output", "json"]).await;
    let left = desk.tidemark(&["parked", "list"]).await;

    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    assert!(run.out.contains("1 item, invalid: "), "{}", run.out);
    assert!(run.out.contains("tidemark parked list"), "{}", run.out);
    for text in [&run.out, &run.err] {
        assert!(!text.contains("S-702"), "a natural key in the output of a run: {text}");
    }
    assert_eq!(listed.code, 0);
    let mut item = listed.json()["items"][0].clone();
    for varying in ["id", "first_seen_at", "next_attempt_at"] {
        assert!(item[varying].take().is_string(), "{varying}");
    }
    let error = item["error"].take();
    assert_eq!(error["status"], 400, "{error}");
    assert_eq!(
        item,
        json!({"id": null, "publication": "district-to-state", "target": "state",
            "resource": "/ed-fi/students", "key": {"studentUniqueId": "S-702"},
            "operation": "upsert", "status": "parked", "reason": "invalid", "error": null,
            "attempts": 1, "first_seen_at": null, "next_attempt_at": null, "waits_for": null})
    );
    assert_eq!(listed.json()["next"], Value::Null);
    assert!(shown.out.contains("studentUniqueId=S-702"), "{}", shown.out);
    assert!(shown.out.contains("what to do"), "{}", shown.out);
    assert!(retried.out.starts_with("1 item due now"), "{}{}", retried.out, retried.err);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.json()["runs"][0]["outcome"], "complete");
    assert_eq!(left.out, "nothing is parked\n");
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_items_are_filtered_and_grouped() {
    let desk = Desk::new().await;
    desk.target.fault(refuse_s_702());
    desk.tidemark(&["run"]).await;

    let count = |arguments: &'static [&'static str]| {
        let desk = &desk;
        async move {
            let ended =
                desk.tidemark(&[&["parked", "list", "--output", "json"], arguments].concat()).await;
            ended.json()["items"].as_array().unwrap().len()
        }
    };
    let grouped = desk
        .tidemark(&["parked", "list", "--group-by", "reason,resource", "--output", "json"])
        .await;
    let unknown = desk.tidemark(&["parked", "list", "--reason", "invalidd"]).await;
    let status = desk.tidemark(&["status"]).await;

    assert_eq!(count(&["--resource", "students"]).await, 1);
    assert_eq!(count(&["--resource", "/ed-fi/schools"]).await, 0);
    assert_eq!(count(&["--reason", "invalid"]).await, 1);
    assert_eq!(count(&["--reason", "forbidden"]).await, 0);
    assert_eq!(count(&["--status", "dead"]).await, 0);
    let group = json!({"reason": "invalid", "resource": "/ed-fi/students", "count": 1});
    assert_eq!(grouped.json(), json!({"items": [group], "next": null}));
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("`invalid`"), "{}", unknown.err);
    assert!(status.out.starts_with("1 pair: 1 degraded; 1 parked, 0 dead"), "{}", status.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_resource_is_opened_by_a_retry() {
    let desk = Desk::new().await;
    let closed = Harm::Refuse(Refusal::ResourceClosed);
    let fault = desk.target.fault(Fault::on("/ed-fi/students", closed).method("POST"));

    let run = desk.tidemark(&["run"]).await;
    desk.target.repair(fault);
    let unmended = desk.tidemark(&["run"]).await;
    let retried = desk.tidemark(&["parked", "retry", "--all", "--reason", "resource-closed"]).await;
    let mended = desk.tidemark(&["run"]).await;

    assert_eq!((run.code, unmended.code), (3, 3), "{}{}", run.out, unmended.out);
    assert_eq!(retried.code, 0, "{}", retried.err);
    assert_eq!(mended.code, 0, "{}{}", mended.out, mended.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}
