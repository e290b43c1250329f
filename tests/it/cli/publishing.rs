//! Commands that publish, plan, compare and move.

use serde_json::{Value, json};

use super::Desk;
use crate::district;
use crate::scene::put;

/// What differs from run to run, taken out.
fn settled(mut report: Value) -> Value {
    for run in report["runs"].as_array_mut().unwrap() {
        assert_eq!(run["id"].take().as_str().unwrap().len(), 16);
        assert!(run["started_at"].take().as_str().unwrap().ends_with('Z'));
        assert!(run["duration_seconds"].take().as_f64().unwrap() > 0.0);
        for end in ["source", "target"] {
            assert!(run["requests"][end].take().is_u64(), "{end}");
        }
    }
    report
}

fn none() -> Value {
    json!({"read": 0, "applied": 0, "skipped": 0, "parked": 0})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_prints_the_report_of_the_contract_and_nothing_else() {
    let desk = Desk::new().await;
    let newest = desk.source.newest();

    let first = desk.tidemark(&["run", "--output", "json"]).await;
    let second = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(first.code, 0, "{}", first.err);
    let expected = json!({"runs": [{
        "id": null, "publication": "district-to-state", "target": "state", "outcome": "complete",
        "window": {"after": null, "through": newest}, "resumed": false,
        "started_at": null, "duration_seconds": null,
        "stages": {
            "key_changes": none(),
            "upserts": {"read": 5, "applied": 5, "skipped": 0, "parked": 0},
            "deletes": none(),
        },
        "requests": {"source": null, "target": null}, "error": null,
    }]});
    assert_eq!(settled(first.json()), expected);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
    assert_eq!(second.code, 0);
    let second = settled(second.json());
    assert_eq!(second["runs"][0]["outcome"], "nothing-to-do");
    assert_eq!(second["runs"][0]["window"], json!({"after": newest, "through": newest}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piped_run_prints_plain_lines_without_keys_or_colours() {
    let desk = Desk::new().await;

    let first = desk.tidemark(&["run"]).await;
    let second = desk.tidemark(&["run", "district-*"]).await;

    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.err.contains("upserts: /ed-fi/students: 3 applied"), "{}", first.err);
    assert!(first.err.contains("district-to-state → state: ended: complete"), "{}", first.err);
    assert!(first.out.contains("district-to-state → state: complete in"), "{}", first.out);
    assert!(first.out.contains("  upserts: 5 read, 5 applied, 0 skipped, 0 parked"));
    assert!(second.out.contains("nothing to do"), "{}", second.out);
    for text in [&first.out, &first.err] {
        assert!(!text.contains('\u{1b}') && !text.contains("S-701"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_runs_alone_are_run_when_asked_for() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    put(&desk.source, "students", &district::student("S-704"));

    let ended = desk.tidemark(&["run", "--first", "--output", "json"]).await;

    assert_eq!((ended.code, ended.json()), (0, json!({"runs": []})), "{}", ended.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_what_a_run_would_do_and_writes_nothing() {
    let desk = Desk::new().await;
    let newest = desk.source.newest();

    let planned = desk.tidemark(&["plan", "--output", "json"]).await;
    let shown = desk.tidemark(&["plan"]).await;
    let written = desk.target.requests().iter().any(|request| request.is_write());
    let status = desk.tidemark(&["status", "--output", "json"]).await;

    let resource = |resource: &str, upserts: u64| json!({"resource": resource, "key_changes": 0, "upserts": upserts, "deletes": 0});
    let expected = json!({"plan": [{
        "publication": "district-to-state", "target": "state",
        "window": {"after": null, "through": newest},
        "resources": [
            resource("/ed-fi/students", 3),
            resource("/ed-fi/localEducationAgencies", 1),
            resource("/ed-fi/schools", 1),
        ],
    }]});
    let mut plan = planned.json();
    let by_name = |value: &Value| value["resource"].to_string();
    let mut wanted = expected.clone();
    for plan in [&mut plan, &mut wanted] {
        plan["plan"][0]["resources"].as_array_mut().unwrap().sort_by_key(by_name);
    }
    assert_eq!((planned.code, plan), (0, wanted), "{}", planned.err);
    assert!(shown.out.contains("/ed-fi/students"), "{}", shown.out);
    assert!(!written);
    assert_eq!(status.json()["pairs"][0]["watermark"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_pair_has_the_shape_of_the_contract() {
    let desk = Desk::new().await;
    let before = desk.tidemark(&["status"]).await;
    desk.tidemark(&["run"]).await;

    let after = desk.tidemark(&["status", "--output", "json"]).await;
    let shown = desk.tidemark(&["status"]).await;

    assert!(before.out.contains("never"), "{}", before.out);
    let report = after.json();
    let pair = &report["pairs"][0];
    let mut members: Vec<&String> = pair.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "caught_up_at",
            "dead",
            "failed_runs",
            "labels",
            "lag_versions",
            "last_run",
            "newest",
            "next_run_at",
            "parked",
            "publication",
            "reason",
            "run_id",
            "state",
            "target",
            "watermark",
        ]
    );
    assert_eq!((&pair["state"], &pair["watermark"]), (&json!("ok"), &json!(desk.source.newest())));
    assert_eq!(pair["last_run"]["outcome"], "complete");
    assert!(shown.out.starts_with("1 pair: 1 ok; 0 parked, 0 dead"), "{}", shown.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_ends_0_only_when_both_ends_are_equal_and_repairs_what_is_missing() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;

    let equal = desk.tidemark(&["verify", "--content", "--output", "json"]).await;
    desk.target.delete("/ed-fi/students", &district::student_key("S-702")).unwrap();
    let missing = desk.tidemark(&["verify", "--resource", "students", "--output", "json"]).await;
    let shown = desk.tidemark(&["verify"]).await;
    let repaired = desk.tidemark(&["verify", "district-to-state", "--repair"]).await;

    assert_eq!((equal.code, &equal.json()["verify"][0]["equal"]), (0, &json!(true)));
    assert_eq!(missing.code, 1);
    let expected = json!({"verify": [{
        "publication": "district-to-state", "target": "state", "equal": false,
        "resources": [{"resource": "/ed-fi/students", "source": 3, "target": 2,
            "missing": 1, "extra": 0, "different": 0, "parked": 0}],
    }]});
    assert_eq!(missing.json(), expected);
    assert!(shown.out.contains("NOT equal"), "{}", shown.out);
    assert!(shown.out.contains("--repair"), "{}", shown.out);
    assert_eq!(repaired.code, 0, "{}{}", repaired.out, repaired.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_target_has_is_deleted_when_that_was_asked_for_twice() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    put(&desk.target, "students", &district::student("S-999"));

    let unsure = desk.tidemark(&["verify", "--delete-extra"]).await;
    let sure = desk.tidemark(&["verify", "--delete-extra", "--yes"]).await;

    assert_eq!(unsure.code, 2, "{}", unsure.err);
    assert_eq!(sure.code, 0, "{}{}", sure.out, sure.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_moves_only_with_a_yes_and_a_reason() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let newest = desk.source.newest();
    let set = ["watermark", "set", "district-to-state", "--to", "1"];

    let unexplained = desk.tidemark(&[&set[..], &["--yes"]].concat()).await;
    let unsure = desk.tidemark(&[&set[..], &["--reason", "restored"]].concat()).await;
    let unmoved = desk.tidemark(&["watermark", "show", "--output", "json"]).await;
    let moved = desk.tidemark(&[&set[..], &["--reason", "restored", "--yes"]].concat()).await;
    let planned = desk.tidemark(&["plan", "--output", "json"]).await;

    assert_eq!((unexplained.code, unsure.code), (2, 2));
    assert!(unexplained.err.contains("--reason"), "{}", unexplained.err);
    assert!(unsure.err.contains("--yes"), "{}", unsure.err);
    let shown = json!({"items": [{
        "publication": "district-to-state", "target": "state", "watermark": newest,
    }], "next": null});
    assert_eq!(unmoved.json(), shown);
    assert_eq!(moved.code, 0, "{}", moved.err);
    assert_eq!(planned.json()["plan"][0]["window"], json!({"after": 1, "through": newest}));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reset_the_next_run_is_a_first_one() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;

    let reset =
        desk.tidemark(&["watermark", "reset", "--all", "--yes", "--reason", "new target"]).await;
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(reset.code, 0, "{}", reset.err);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(run.json()["runs"][0]["window"]["after"], Value::Null);
    assert_eq!(run.json()["runs"][0]["stages"]["upserts"]["read"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_never_ran_can_be_told_that_its_target_has_everything() {
    let desk = Desk::new().await;
    let newest = desk.source.newest().to_string();
    let words = ["--yes", "--reason", "published by another program"];

    let set = ["watermark", "set", "district-to-state", "--to", &newest];
    let set = desk.tidemark(&[&set[..], &words].concat()).await;
    put(&desk.source, "students", &district::student("S-704"));
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(set.code, 0, "{}", set.err);
    assert_eq!(run.json()["runs"][0]["stages"]["upserts"]["applied"], 1, "{}", run.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn r18_a_watermark_goes_back_to_what_is_known_from_before_a_moment_and_no_farther_forward() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let first = desk.source.newest();
    let between = tidemark::clock::Clock::system().now().to_rfc3339();
    put(&desk.source, "students", &district::student("S-704"));
    desk.tidemark(&["run"]).await;
    let second = desk.source.newest();
    assert!(first < second);
    let set = async |before: &str| {
        let words = ["watermark", "set", "district-to-state", "--before", before];
        desk.tidemark(
            &[&words[..], &["--yes", "--reason", "restored", "--output", "json"]].concat(),
        )
        .await
    };

    let unknown = set("2020-01-01T00:00:00Z").await;
    let shown = desk.tidemark(&["watermark", "show", "--output", "json"]).await;
    let back = set(&between).await;
    let again = desk.tidemark(&["run", "--output", "json"]).await;
    let no_farther = set("2100-01-01T00:00:00Z").await;
    let from_before_that = set(&between).await;

    assert_eq!(unknown.code, 2, "{}", unknown.err);
    assert!(unknown.err.contains("does not reach back to 2020-01-01T00:00:00Z"), "{}", unknown.err);
    assert_eq!(shown.json()["items"][0]["watermark"], second, "nothing was moved");
    assert_eq!(back.json()["items"][0]["watermark"], first, "{}", back.err);
    assert_eq!(again.json()["runs"][0]["window"], json!({"after": first, "through": second}));
    assert_eq!(no_farther.json()["items"][0]["watermark"], second, "{}", no_farther.err);
    assert_eq!(from_before_that.code, 2, "a history begins where a watermark was set");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_pair_changes_only_with_a_yes_that_saw_the_count() {
    let desk = Desk::new().await;
    desk.configure(&desk.usual(
        "  state-to-district: {source: state, targets: [district], labels: {kind: back}}\n",
    ));

    let unsure = desk.tidemark(&["watermark", "reset", "*", "--reason", "x"]).await;
    let unsaid = desk.tidemark(&["watermark", "reset", "--yes", "--reason", "x"]).await;
    let labelled =
        desk.tidemark(&["watermark", "show", "-l", "kind=back", "--output", "json"]).await;
    let connected = desk.tidemark(&["status", "--target", "state", "--output", "json"]).await;

    assert_eq!(unsure.code, 2);
    assert!(unsure.err.contains("2 pairs") && unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(unsaid.code, 2);
    assert!(unsaid.err.contains("which pairs?"), "{}", unsaid.err);
    assert_eq!(labelled.json()["items"].as_array().unwrap().len(), 1, "{}", labelled.err);
    assert_eq!(labelled.json()["items"][0]["publication"], "state-to-district");
    assert_eq!(connected.json()["pairs"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_every_connection_can_do() {
    let desk = Desk::new().await;

    let checked = desk.tidemark(&["check", "--output", "json"]).await;
    desk.target.expire_tokens();
    let shown = desk.tidemark(&["check"]).await;

    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let report = checked.json();
    let checks: Vec<(&str, &str, &str)> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            let text = |name: &str| c[name].as_str().unwrap();
            (text("connection"), text("check"), text("status"))
        })
        .collect();
    let district = [
        "discovery",
        "token",
        "permissions",
        "change_queries",
        "dependencies",
        "snapshots",
        "deletes",
        "key_changes",
        "cursor_paging",
    ];
    let state = [
        "discovery",
        "token",
        "permissions",
        "change_queries",
        "dependencies",
        "resources",
        "members",
        "school_years",
    ];
    let expected: Vec<(&str, &str, &str)> = district
        .into_iter()
        .map(|check| ("district", check, "ok"))
        .chain(state.into_iter().map(|check| ("state", check, "ok")))
        .collect();
    assert_eq!(checks, expected);
    assert!(shown.out.contains("Ed-Fi ODS/API 7.3"), "{}", shown.out);
    assert!(shown.out.ends_with("0 errors, 0 warnings\n"), "{}", shown.out);
}
