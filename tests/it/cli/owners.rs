//! For those whose data it is: how complete a target is, and what is forgotten when they ask for it.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{Desk, Ended, ended_child};
use crate::district;

impl Desk {
    pub(super) async fn forget(&self, key: &str, more: &[&str]) -> Ended {
        let forget = ["forget", "--resource", "students", "--key-from-stdin"];
        let mut command = self.command(&[&forget[..], more].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(key.as_bytes()).await.unwrap();
        drop(stdin);
        ended_child(child).await
    }
}

fn row<'a>(report: &'a Value, resource: &str) -> &'a Value {
    let rows = report["report"][0]["resources"].as_array().unwrap();
    rows.iter().find(|row| row["resource"] == resource).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_counts_both_ends_and_tells_what_waits_and_what_is_left_out() {
    let (desk, _) = Desk::with_one_parked().await;
    let student = district::student("S-702");
    desk.source.clear_requests();

    let json = desk.tidemark(&["report", "district-to-state", "--output", "json"]).await;
    let text = desk.tidemark(&["report", "district-to-state"]).await;
    let csv = desk.tidemark(&["report", "district-to-state", "--output", "csv"]).await;
    let html = desk.tidemark(&["report", "district-to-state", "--output", "html"]).await;

    assert_eq!((json.code, text.code, csv.code, html.code), (3, 3, 3, 3), "{}", json.err);
    let report = json.json();
    let students = row(&report, "/ed-fi/students");
    let counts = ["source", "target", "parked", "dead", "excluded"].map(|of| &students[of]);
    assert_eq!(counts, [&json!(3), &json!(2), &json!(1), &json!(0), &json!(0)]);
    assert_eq!(students["verified"], Value::Null);
    let left_out = row(&report, "/ed-fi/termDescriptors");
    assert!(left_out["excluded"].as_u64().unwrap() > 0, "{left_out}");
    assert_eq!(left_out["target"], Value::Null);
    let mut lines = text.out.lines();
    let (first, second) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(first.contains("2 of 3 resources whole"), "{first}");
    assert!(second.contains("5 at the source, 4 at the target, 1 parked"), "{second}");
    assert!(text.out.contains("never compared: tidemark verify"), "{}", text.out);
    assert!(text.out.contains("the configuration leaves out"), "{}", text.out);
    assert!(!text.out.contains("/ed-fi/termDescriptors"), "{}", text.out);
    assert!(html.out.contains("/ed-fi/termDescriptors (16)"), "{}", html.out);
    let first_row = text.out.lines().find(|line| line.contains("/ed-fi/")).unwrap();
    assert!(first_row.contains("/ed-fi/students"), "what is not whole comes first: {first_row}");
    assert!(csv.out.contains("district-to-state,state,/ed-fi/students,3,2,1,0,0,"), "{}", csv.out);
    assert!(html.out.starts_with("<!DOCTYPE html>") && html.out.contains("@media print"));
    assert!(!html.out.contains("http://") && !html.out.contains("<script"), "it needs nothing");
    for out in [&json.out, &text.out, &csv.out, &html.out] {
        for secret in ["S-702", student["firstName"].as_str().unwrap()] {
            assert!(!out.contains(secret), "{secret}: {out}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_when_with_which_version_and_configuration_it_was_verified() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let report = ["report", "district-to-state"];

    let verified = desk.tidemark(&["verify"]).await;
    let json = desk.tidemark(&[&report[..], &["--output", "json"]].concat()).await;
    let text = desk.tidemark(&report).await;
    desk.configure(&desk.usual("").replace("schools, students", "schools"));
    let changed = desk.tidemark(&report).await;
    desk.configure(&desk.usual(""));
    desk.target.delete("/ed-fi/students", &district::student_key("S-701")).unwrap();
    desk.tidemark(&["verify", "--resource", "students", "--content"]).await;
    let unequal = desk.tidemark(&[&report[..], &["--output", "json"]].concat()).await;

    assert_eq!((verified.code, json.code), (0, 0), "{}{}", verified.err, json.err);
    let found = row(&json.json(), "/ed-fi/students")["verified"].clone();
    assert_eq!((&found["source"], &found["missing"]), (&json!(3), &json!(0)));
    assert_eq!(found["program"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found["configuration"], json.json()["report"][0]["configuration"]);
    assert_eq!(found["watermark"], desk.source.newest());
    let in_a_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, changed) = (in_a_line(&text.out), in_a_line(&changed.out));
    assert!(text.contains("keys compared"), "{text}");
    assert!(text.contains("under the configuration in force"), "{text}");
    assert!(changed.contains("another configuration than the one in force"), "{changed}");
    let students = row(&unequal.json(), "/ed-fi/students")["verified"].clone();
    let schools = row(&unequal.json(), "/ed-fi/schools")["verified"].clone();
    assert_eq!((&students["missing"], &students["content"]), (&json!(1), &json!(true)));
    assert_eq!(schools["content"], json!(false), "what was not compared again stays as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_forgotten_with_a_yes_and_the_audit_says_that_and_not_which() {
    let (desk, _) = Desk::with_one_parked().await;
    let key = r#"{"studentUniqueId":"S-702"}"#;

    let unsure = desk.forget(key, &[]).await;
    let other = desk.forget(r#"{"studentUniqueId":"S-999"}"#, &["--yes"]).await;
    let no_key = desk.forget("S-702", &["--yes"]).await;
    let still = desk.tidemark(&["state", "export"]).await;
    let forgotten = desk.forget(key, &["--yes", "--reason", "asked to", "--output", "json"]).await;
    let exported = desk.tidemark(&["state", "export"]).await;
    let audit = desk.audited().await;

    assert_eq!(unsure.code, 2);
    assert!(unsure.err.contains("1 record") && unsure.err.contains("--yes"), "{}", unsure.err);
    assert!(other.out.starts_with("0 records forgotten"), "{}{}", other.out, other.err);
    assert_eq!(no_key.code, 2, "{}", no_key.out);
    assert!(still.out.contains("S-702"), "nothing was forgotten yet");
    assert_eq!((forgotten.code, forgotten.json()), (0, json!({"forgotten": 1})));
    assert!(!exported.out.contains("S-702"), "{}", exported.out);
    let entry = audit.iter().find(|entry| entry["reason"] == "asked to").unwrap();
    assert_eq!((&entry["action"], &entry["what"]), (&json!("forget"), &json!("1 record")));
    for text in [&unsure.err, &no_key.err, &forgotten.err, &json!(audit).to_string()] {
        assert!(!text.contains("S-702"), "{text}");
    }
    assert_eq!(desk.tidemark(&["parked", "list"]).await.out, "nothing is parked\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_about_schedules_want_a_daemon_and_the_count_of_many() {
    let desk = Desk::new().await;
    for (arguments, says) in [
        (&["pause"][..], "which pairs?"),
        (&["pause", "--all"], "tidemark serve"),
        (&["resume", "district-to-state"], "tidemark serve"),
        (&["cancel", "district-to-state"], "none of them is running"),
        (&["pause", "--all", "--until", "2020-01-01T00:00:00Z"], "has passed"),
    ] {
        let ended = desk.tidemark(arguments).await;

        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
}
