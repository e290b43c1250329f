//! Parked items, as a person on call finds and mends them.

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, Harm, Refusal};

use super::Desk;
use crate::district::standard;
use crate::scene::put;

fn refuse_s_702() -> Fault {
    let invalid = Harm::Refuse(Refusal::Member("birthDate".to_owned(), "no".to_owned()));
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
    let list = ["parked", "list", "--output", "csv"];
    let rows = desk.tidemark(&list).await;
    let counts =
        desk.tidemark(&[&list[..], &["--group-by", "member,reason,resource"]].concat()).await;
    let odd = desk.tidemark(&["parked", "list", "--group-by", "colour"]).await;

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
    let rows: Vec<&str> = rows.out.split("\r\n").collect();
    assert!(rows[0].starts_with("id,publication,target,resource,key,operation,"), "{rows:?}");
    assert!(rows[1].contains(",/ed-fi/students,studentUniqueId=S-702,upsert,"), "{rows:?}");
    assert_eq!(
        counts.out,
        "reason,resource,member,count\r\ninvalid,/ed-fi/students,$.birthDate,1\r\n"
    );
    assert_eq!(odd.code, 2);
    assert!(odd.err.contains("reason, resource, member and cause"), "{}", odd.err);
}

/// A poison standard, a thousand that refer to it, and one that refers to one of those.
async fn a_thousand_wait_for_one() -> Desk {
    let desk = Desk::new().await;
    desk.configure(&desk.usual("").replace("schools, students", "schools, learningStandards"));
    put(&desk.source, "learningStandards", &standard("ROOT", None));
    for number in 0..1000 {
        put(&desk.source, "learningStandards", &standard(&format!("C{number}"), Some("ROOT")));
    }
    put(&desk.source, "learningStandards", &standard("GRANDCHILD", Some("C7")));
    let member = Harm::Refuse(Refusal::Member("description".to_owned(), "no".to_owned()));
    desk.target.fault(
        Fault::on("/ed-fi/learningStandards", member)
            .method("POST")
            .key("learningStandardId", "ROOT"),
    );
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn t20_a_thousand_dependants_of_one_poison_item_show_one_root_cause() {
    let desk = a_thousand_wait_for_one().await;

    let run = desk.tidemark(&["run"]).await;
    let listed = desk.tidemark(&["parked", "list"]).await;
    let every = desk.tidemark(&["parked", "list", "--every"]).await;
    let json = desk.tidemark(&["parked", "list", "--output", "json"]).await;
    let grouped =
        desk.tidemark(&["parked", "list", "--group-by", "cause", "--output", "json"]).await;
    let waiting = desk.tidemark(&["parked", "list", "--reason", "unresolved-reference"]).await;

    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    let told = "1 item, invalid: 1 of /ed-fi/learningStandards; 1,001 items wait behind it\n";
    assert!(run.out.contains(told), "{}", run.out);
    assert!(!run.out.contains("unresolved-reference"), "{}", run.out);
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", listed.out);
    assert!(lines[1].ends_with("learningStandardId=ROOT"), "{}", lines[1]);
    assert!(lines[2].starts_with("└ 1,001 "), "{}", lines[2]);
    assert!(lines[3].starts_with("1,001 items only wait for others"), "{}", lines[3]);
    assert_eq!(every.out.lines().count(), 1 + 1002);
    let json = json.json();
    let items = json["items"].as_array().unwrap();
    assert_eq!(items.len(), 1002, "the list of programs is flat");
    let root = items.iter().find(|item| item["reason"] == "invalid").unwrap();
    let group = json!({"cause": root["id"], "count": 1002});
    assert_eq!(grouped.json(), json!({"items": [group], "next": null}));
    assert_eq!(waiting.out.lines().count(), 1 + 1001, "the filter left out what they wait for");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_not_tried_again_the_watermark_stays_and_verify_finds_it() {
    let desk = Desk::new().await;
    let fault = desk.target.fault(refuse_s_702());
    desk.tidemark(&["run"]).await;
    desk.target.repair(fault);
    let listed = desk.tidemark(&["parked", "list", "--output", "json"]).await;
    let id = listed.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let watermark = || desk.tidemark(&["watermark", "show", "--output", "json"]);
    let before = watermark().await;

    let discarded = desk.tidemark(&["parked", "discard", &id]).await;

    assert_eq!(discarded.code, 0, "{}", discarded.err);
    assert!(discarded.out.starts_with("1 item discarded"), "{}", discarded.out);
    assert_eq!(watermark().await.json(), before.json());
    assert_eq!(desk.tidemark(&["parked", "list"]).await.out, "nothing is parked\n");
    assert_eq!(desk.tidemark(&["run"]).await.code, 0);
    assert_eq!(desk.target.count("/ed-fi/students"), 2, "nobody tries it again");
    let verify = desk.tidemark(&["verify", "--output", "json"]).await;
    assert_eq!(verify.code, 1, "{}", verify.err);
    assert!(verify.out.contains("\"missing\": 1"), "{}", verify.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_items_are_discarded_with_a_yes_and_a_reason_and_not_without() {
    let desk = Desk::new().await;
    for id in ["S-701", "S-702"] {
        let invalid = Harm::Refuse(Refusal::Validation("birthDate".to_owned()));
        let fault = Fault::on("/ed-fi/students", invalid).method("POST");
        desk.target.fault(fault.key("studentUniqueId", id));
    }
    desk.tidemark(&["run"]).await;
    let discard = ["parked", "discard", "--all", "--reason", "invalid"];
    let ask = |more: &'static [&'static str]| {
        let arguments = [&discard[..], more].concat();
        let desk = &desk;
        async move { desk.tidemark(&arguments).await }
    };

    let nothing_said = ask(&[]).await;
    let yes_alone = ask(&["--yes"]).await;
    let nothing_chosen = desk.tidemark(&["parked", "discard", "--yes"]).await;
    let left = desk.tidemark(&["parked", "list", "--output", "json"]).await;
    let gone = ask(&["--yes", "--because", "left the district", "--output", "json"]).await;

    assert_eq!((nothing_said.code, yes_alone.code, nothing_chosen.code), (2, 2, 2));
    assert!(nothing_said.err.contains("2 items"), "{}", nothing_said.err);
    assert!(nothing_said.err.contains("`--yes`"), "{}", nothing_said.err);
    assert!(yes_alone.err.contains("--because"), "{}", yes_alone.err);
    assert_eq!(left.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(gone.code, 0, "{}", gone.err);
    assert_eq!(gone.json(), json!({"discarded": 2}));
    assert_eq!(desk.tidemark(&["parked", "list"]).await.out, "nothing is parked\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_resource_is_opened_by_a_retry() {
    let desk = Desk::new().await;
    let closed = Harm::Refuse(Refusal::ResourceClosed);
    let fault = desk.target.fault(Fault::on("/ed-fi/students", closed).method("POST"));

    let run = desk.tidemark(&["run"]).await;
    desk.target.repair(fault);
    let unmended = desk.tidemark(&["run"]).await;
    let discarded = desk.tidemark(&["parked", "discard", "--all"]).await;
    let retried = desk.tidemark(&["parked", "retry", "--all", "--reason", "resource-closed"]).await;
    let mended = desk.tidemark(&["run"]).await;

    assert_eq!((run.code, unmended.code), (3, 3), "{}{}", run.out, unmended.out);
    assert_eq!(discarded.code, 2, "its record is what closes it: {}", discarded.out);
    assert_eq!(retried.code, 0, "{}", retried.err);
    assert_eq!(mended.code, 0, "{}{}", mended.out, mended.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}
