//! What goes wrong: the exit code, one clear sentence, and nothing moved.

use std::time::Duration;

use serde_json::json;
use tidemark::sandbox::{Fault, Gate, Harm, Part};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Desk, ended_child, signal};

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_configuration_is_said_at_once() {
    let desk = Desk::new().await;
    desk.configure("conections: {}\npublications:\n  a: {source: b, targets: [c], page_sise: 5}\n");

    let ended = desk.tidemark(&["config", "check"]).await;
    let run = desk.tidemark(&["run"]).await;

    assert_eq!((ended.code, run.code), (2, 2));
    assert_eq!(ended.out, "");
    for part in ["tidemark.yaml:1:1", "conections", "connections", "page_sise", "page_size"] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_read_is_a_mistake_of_the_configuration() {
    let desk = Desk::new().await;
    for command in ["config check", "run", "plan", "verify"] {
        let words: Vec<&str> = command.split(' ').collect();
        let mut command = desk.command(&words);
        command.env_remove("SECRET");

        let ended = ended_child(command.spawn().unwrap()).await;

        assert_eq!(ended.code, 2, "{words:?}: {}", ended.err);
        assert!(ended.err.contains("connections.district.secret"), "{words:?}: {}", ended.err);
        assert!(ended.err.contains("SECRET is not set"), "{words:?}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_ends_2_and_says_what_was_meant() {
    let desk = Desk::new().await;
    for (arguments, says) in [
        (&["run", "district-to-stat"][..], "district-to-state"),
        (&["run", "-l", "nonsense"], "key=value"),
        (&["run", "--all", "district-to-state"], "not both"),
        (&["status", "--connection", "distric"], "`district`"),
        (&["verify", "--resource", "student"], "`/ed-fi/students`"),
        (&["runn"], "run"),
        (&["run", "--max-running", "0"], "1.."),
        (&["--config", "nowhere.yaml", "run"], "nowhere.yaml"),
        (&["--log-level", "loud", "status"], "not a log level"),
        (&["parked", "show", "0123"], "tidemark parked list"),
        (&["sandbox", "--listen", "127.0.0.1:0", "--version", "7.0"], "7.3 or 8.0"),
    ] {
        let ended = desk.tidemark(arguments).await;

        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_brings_is_refused_by_name() {
    let desk = Desk::new().await;
    for arguments in [&["status", "--output", "csv"][..], &["parked", "list", "--output", "html"]] {
        let ended = desk.tidemark(arguments).await;

        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("is not in this version"), "{arguments:?}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_another_process_holds_ends_4() {
    let desk = Desk::new().await;
    let held = tidemark::state::open(&desk.directory.path().join("state")).unwrap();

    let ended = desk.tidemark(&["run", "--output", "json"]).await;
    drop(held);

    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("another process holds the state"), "{}", ended.err);
    assert_eq!(ended.out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_read_ends_5_and_is_left_as_it_is() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let state = desk.directory.path().join("state");
    let marked = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = marked.filter(|path| path.is_file()).collect();
    for file in &files {
        if !file.to_string_lossy().contains("lock") {
            std::fs::write(file, b"not what was written").unwrap();
        }
    }

    let ended = desk.tidemark(&["run"]).await;

    assert_eq!(ended.code, 5, "{}", ended.err);
    assert!(ended.err.starts_with("error: the state at"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_of_a_source_end_1_with_one_clear_sentence() {
    let page = |harm| Fault::on("/ed-fi/students", harm).method("GET").part(Part::Items);
    for (fault, says) in [
        (page(Harm::Html), "not"),
        (page(Harm::CutBody), "cut off"),
        (page(Harm::InvalidUtf8), "UTF-8"),
        (page(Harm::NotAnArray), "array"),
        (page(Harm::Redirect("http://127.0.0.1:1/".to_owned())), "redirect"),
        (Fault::everywhere(Harm::Html).part(Part::Root), "not"),
        (Fault::everywhere(Harm::Html).part(Part::Token), "token endpoint"),
    ] {
        let desk = Desk::new().await;
        desk.source.fault(fault.clone());

        let ended = desk.tidemark(&["run"]).await;
        let status = desk.tidemark(&["status", "--output", "json"]).await;

        assert_eq!(ended.code, 1, "{fault:?}: {}{}", ended.out, ended.err);
        let errors: Vec<&str> =
            ended.out.lines().filter(|line| line.starts_with("  error: ")).collect();
        assert_eq!(errors.len(), 1, "{fault:?}: {}", ended.out);
        assert!(errors[0].contains(says), "{fault:?}: {}", errors[0]);
        assert!(errors[0].contains("`district`"), "{fault:?}: {}", errors[0]);
        assert!(!ended.err.contains("panicked"), "{fault:?}: {}", ended.err);
        assert_eq!(status.json()["pairs"][0]["watermark"], json!(null), "{fault:?}");
        assert_eq!(status.json()["pairs"][0]["state"], "failing", "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_reached_or_trusted_ends_1_and_says_so() {
    let desk = Desk::new().await;
    let usual = desk.usual("");
    let address = desk.source.address().to_string();
    for (configuration, secret, says) in [
        (usual.clone(), "wrong", "refuses the credentials"),
        (usual.replace(&address, "127.0.0.1:1"), "sandbox-secret", "cannot reach"),
        (
            usual.replace(&format!("http://{address}"), &format!("https://{address}")),
            "sandbox-secret",
            "cannot agree on TLS",
        ),
    ] {
        desk.configure(&configuration);
        let mut command = desk.command(&["run"]);
        command.env("SECRET", secret);

        let ended = ended_child(command.spawn().unwrap()).await;
        let checked = {
            let mut command = desk.command(&["check"]);
            command.env("SECRET", secret);
            ended_child(command.spawn().unwrap()).await
        };

        assert_eq!((ended.code, checked.code), (1, 1), "{says}: {}{}", ended.out, checked.out);
        for text in [&ended.out, &checked.out] {
            assert!(text.contains(says) && text.contains("`district`"), "{says}: {text}");
            assert!(!text.contains(secret), "{says}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_reports_failed_and_the_next_one_publishes_the_window() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    let held = Fault::on("/ed-fi/localEducationAgencies", Harm::Hold(gate.clone()));
    let held = desk.target.fault(held.method("POST"));

    let mut child = desk.command(&["run", "--output", "json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    gate.reached_by(1).await;
    signal(&child, "INT").await;
    while !lines.next_line().await.unwrap().unwrap().starts_with("stopping") {}
    gate.open();
    let ended = ended_child(child).await;
    desk.target.repair(held);
    let again = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(ended.code, 1, "{}", ended.out);
    let run = &ended.json()["runs"][0];
    assert_eq!((&run["outcome"], &run["error"]["kind"]), (&json!("failed"), &json!("interrupted")));
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_that_had_not_begun_when_a_run_was_interrupted_are_told_and_it_ends_1() {
    let desk = Desk::new().await;
    desk.configure(&desk.usual("  zz-later: {source: state, targets: [district]}\n"));
    let gate = Gate::new();
    let held = Fault::on("/ed-fi/localEducationAgencies", Harm::Hold(gate.clone()));
    desk.target.fault(held.method("POST"));

    let mut child = desk.command(&["run", "--max-running", "1"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    gate.reached_by(1).await;
    signal(&child, "INT").await;
    while !lines.next_line().await.unwrap().unwrap().starts_with("stopping") {}
    gate.open();
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }

    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert_eq!(last, "error: interrupted: 1 pair had not begun; run again to publish the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_ends_the_run_at_once() {
    let desk = Desk::new().await;
    let gate = Gate::new();
    let held = Fault::on("/ed-fi/students", Harm::Hold(gate.clone())).method("POST");
    desk.target.fault(held);

    let mut child = desk.command(&["run"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    gate.reached_by(1).await;
    signal(&child, "INT").await;
    while !lines.next_line().await.unwrap().unwrap().starts_with("stopping") {}
    signal(&child, "TERM").await;
    let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await;

    assert_eq!(ended.expect("it ends though the answer is held").unwrap().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_ends_0_when_it_is_told_to() {
    let desk = Desk::new().await;
    desk.configure(&format!("server: {{listen: \"127.0.0.1:0\"}}\n{}", desk.usual("")));

    let mut child = desk.command(&["serve"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().contains("listening") {}
    signal(&child, "TERM").await;

    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_waits_for_a_held_state_and_then_ends_4() {
    let desk = Desk::new().await;
    desk.configure(&format!("server: {{listen: \"127.0.0.1:0\"}}\n{}", desk.usual("")));
    let held = tidemark::state::open(&desk.directory.path().join("state")).unwrap();

    let ended = desk.tidemark(&["serve", "--wait-for-state", "100ms"]).await;
    drop(held);

    assert_eq!(ended.code, 4, "{}", ended.err);
}
