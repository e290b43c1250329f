//! Commands while a daemon holds the state: what each does, and that none of them ends 4.

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, Harm, Refusal};

use super::Desk;
use crate::district;
use crate::process::{BOUND, Process};

/// An address that nothing listens at.
fn free() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// `serve`, with its state open. Nothing runs by itself.
async fn serving(desk: &Desk, publication: &str) -> Process {
    serving_as(desk, &format!("server: {{listen: \"{}\"}}\n{}", free(), desk.usual(publication)))
        .await
}

async fn serving_as(desk: &Desk, configuration: &str) -> Process {
    desk.configure(configuration);
    let mut process = Process::begin(desk.command(&["serve", "--log-level", "info"]));
    process.is_ready().await;
    process.read_on();
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_are_asked_by_the_daemon_that_holds_the_state() {
    let desk = Desk::new().await;
    let daemon = serving(&desk, "").await;

    let before = desk.tidemark(&["plan", "--output", "json"]).await;
    let run = desk.tidemark(&["run", "--output", "json"]).await;
    let after = desk.tidemark(&["plan"]).await;
    let checked = desk.tidemark(&["check"]).await;
    let equal = desk.tidemark(&["verify", "--content", "--output", "json"]).await;
    desk.target.delete("/ed-fi/students", &district::student_key("S-702")).unwrap();
    let unequal = desk.tidemark(&["verify", "--resource", "students", "--output", "json"]).await;
    let misspelt = desk.tidemark(&["verify", "--resource", "studnets"]).await;
    let repaired = desk.tidemark(&["verify", "district-to-state", "--repair"]).await;

    let planned = before.json()["plan"][0]["resources"].clone();
    let students = json!({
        "resource": "/ed-fi/students", "key_changes": 0, "upserts": 3, "deletes": 0,
    });
    assert!(planned.as_array().unwrap().contains(&students), "{}{}", before.out, before.err);
    assert_eq!((before.code, run.code), (0, 0), "{}{}", before.err, run.err);
    assert_eq!(run.json()["runs"][0]["outcome"], "complete", "{}", run.err);
    assert!(after.out.contains("nothing to do"), "{}{}", after.out, after.err);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    assert_eq!((equal.code, &equal.json()["verify"][0]["equal"]), (0, &json!(true)));
    let found = &unequal.json()["verify"][0]["resources"];
    assert_eq!(found.as_array().unwrap().len(), 1, "only what was asked for");
    assert_eq!((unequal.code, &found[0]["missing"]), (1, &json!(1)), "{}", unequal.err);
    assert!(misspelt.err.contains("did you mean `/ed-fi/students`?"), "{}", misspelt.err);
    assert_eq!(misspelt.code, 2);
    assert_eq!(repaired.code, 0, "{}{}", repaired.out, repaired.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
    let actions = desk.actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "verify").count(), 2, "{actions:?}");
    assert_eq!(actions[0], "repair");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_item_is_looked_at_tried_and_forgotten_through_the_daemon() {
    let (desk, fault) = Desk::with_one_parked().await;
    let daemon = serving(&desk, "").await;
    let id = desk.parked_id().await;
    let key = r#"{"studentUniqueId":"S-702"}"#;

    let live = desk.tidemark(&["parked", "show", &id, "--live"]).await;
    let refused = desk.tidemark(&["parked", "retry", &id, "--show"]).await;
    desk.target.repair(fault);
    let applied = desk.tidemark(&["parked", "retry", &id, "--show"]).await;
    let unsure = desk.forget(key, &[]).await;
    let forgotten = desk.forget(key, &["--yes", "--output", "json"]).await;

    assert!(live.out.contains("\"studentUniqueId\": \"S-702\""), "{}{}", live.out, live.err);
    assert!(refused.code != 4 && refused.out.contains("refused"), "{}{}", refused.out, refused.err);
    assert_eq!(applied.code, 0, "{}{}", applied.out, applied.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
    assert!(unsure.err.contains("1 record"), "{}", unsure.err);
    assert_eq!(forgotten.json(), json!({"forgotten": 1}), "{}", forgotten.err);
    assert_eq!(desk.tidemark(&["parked", "list"]).await.out, "nothing is parked\n");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_shown_first_through_the_daemon_too() {
    let desk = Desk::braked().await;
    let daemon = serving(&desk, "    max_deletes: 1%\n    max_deletes_above: 1\n").await;
    let approve = ["approve", "deletes", "district-to-state", "--reason", "the year was closed"];

    let braked = desk.tidemark(&["run"]).await;
    let unsure = desk.tidemark(&approve).await;
    let approved = desk.tidemark(&[&approve[..], &["--yes"]].concat()).await;
    let run = desk.tidemark(&["run"]).await;

    assert_eq!((braked.code, unsure.code), (1, 2), "{}{}", braked.err, unsure.err);
    assert!(unsure.err.contains("up to 2 items of `/ed-fi/students`"), "{}", unsure.err);
    assert_eq!((approved.code, run.code), (0, 0), "{}{}", approved.err, run.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_wait_for_their_turn_are_followed_to_their_end() {
    let desk = Desk::new().await;
    let text = desk.usual("").replace(
        "publications:\n",
        "publications:\n\
         \x20 another:\n\
         \x20   source: district\n\
         \x20   targets: [state]\n\
         \x20   resources: {include_only: [localEducationAgencies]}\n",
    );
    let server = format!("server: {{listen: \"{}\", max_running: 1}}\n", free());
    let daemon = serving_as(&desk, &(server + &text)).await;

    let run = desk.tidemark(&["run", "--output", "json"]).await;

    let runs = run.json()["runs"].clone();
    assert_eq!(runs.as_array().unwrap().len(), 2, "{}{}", run.out, run.err);
    assert_eq!(
        (&runs[0]["outcome"], &runs[1]["outcome"]),
        (&json!("complete"), &json!("complete"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_is_logged_for_a_while_and_it_is_written_down_by_whom() {
    let desk = Desk::new().await;
    let alone = desk.tidemark(&["log-level"]).await;
    let daemon = serving(&desk, "").await;

    let usual = desk.tidemark(&["log-level"]).await;
    let more = desk.tidemark(&["log-level", "debug", "--for", "1h", "--output", "json"]).await;
    let shown = desk.tidemark(&["log-level"]).await;
    let endless = desk.tidemark(&["log-level", "debug", "--for", "100days"]).await;

    assert!(alone.out.contains("no daemon"), "{}{}", alone.out, alone.err);
    assert_eq!(usual.out, "info\n", "{}", usual.err);
    assert_eq!(more.json()["log_level"]["level"], "debug", "{}", more.err);
    assert!(shown.out.starts_with("debug until "), "{}", shown.out);
    assert_eq!(endless.code, 2, "{}", endless.err);
    assert_eq!(desk.actions().await[0], "log level");
    let said = daemon.stop().await;
    assert!(said.contains("another log level for a while"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_run_says_which_run_it_is_and_both_apis_get_its_id() {
    let desk = Desk::new().await;
    desk.target.fault(
        Fault::on("/ed-fi/students", Harm::Refuse(Refusal::Status(503))).method("POST").times(1),
    );
    desk.configure(&format!(
        "server: {{listen: \"127.0.0.1:0\"}}\n{}",
        desk.usual("    every: 1s\n")
    ));

    let arguments = ["--log-format", "json", "--log-level", "debug", "serve"];
    let mut daemon = Process::begin(desk.command(&arguments));
    daemon.read_on();
    let published = desk.target.until(|| desk.target.count("/ed-fi/students") == 3);
    tokio::time::timeout(BOUND, published).await.expect("it publishes");
    let said = daemon.stop().await;

    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |message: &str| {
        let mut found = lines.iter().filter(|line| line["message"] == message);
        found.next().unwrap_or_else(|| panic!("no line `{message}`: {said}")).clone()
    };
    let (began, again) = (find("run began"), find("a request will be sent again"));
    for line in [&began, &again] {
        assert_eq!(
            (&line["publication"], &line["target"]),
            (&json!("district-to-state"), &json!("state"))
        );
        assert_eq!(line["run"], began["run"]);
    }
    assert_eq!(
        (&again["stage"], &again["resource"]),
        (&json!("upserts"), &json!("/ed-fi/students"))
    );
    let run = began["run"].as_str().unwrap();
    for end in [&desk.source, &desk.target] {
        let ids: Vec<String> =
            end.requests().into_iter().filter_map(|request| request.correlation_id).collect();
        assert!(ids.iter().any(|id| id.starts_with(run)), "{run}: {ids:?}");
    }
}
