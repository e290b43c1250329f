//! Rows P: what happens to the process and its disk.

use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;
use tidemark::domain::Outcome;
use tidemark::sandbox::{Fault, Gate, Harm, SandboxOptions};
use tidemark::state::MemoryStore;
use tokio::process::Command;

use crate::cli::{Desk, Ended, ended_child, signal};
use crate::district::{course, open_school, session, session_key, student, student_key};
use crate::scene::{Setting, assert_ended, bare, put, strict};
use crate::serve::{EVERY_SECOND, House, eventually, one_pair, process};

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

#[tokio::test(flavor = "multi_thread")]
async fn p17_a_process_that_may_open_no_more_files_says_so_and_loses_nothing() {
    let desk = Desk::new().await;
    for number in 100..200 {
        put(&desk.source, "students", &student(&format!("S-{number}")));
    }
    // Answers that are held keep their connections, so that no further one can be made.
    let gate = Gate::new();
    let held = Fault::on("/ed-fi/students", Harm::Hold(gate.clone())).method("POST");
    let held = desk.target.fault(held);

    let few = few_files(&desk, 20).await;
    gate.open();
    desk.target.repair(held);
    let fewer = few_files(&desk, 12).await;
    let many = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!(few.code, 1, "{}{}", few.out, few.err);
    assert!(few.out.contains("open no more files"), "{}", few.out);
    // Which file is the first that cannot be opened depends on what the shell has open.
    assert!([2, 5].contains(&fewer.code), "{}{}", fewer.out, fewer.err);
    assert!(fewer.err.contains("Too many open files"), "{}", fewer.err);
    assert_eq!(many.code, 0, "{}{}", many.out, many.err);
    assert_eq!(many.json()["runs"][0]["window"]["after"], Value::Null, "nothing had moved");
    assert_eq!(desk.target.count("/ed-fi/students"), 103);
}

// A store that cannot be reached is one that fails, as far as a run can tell: whatever it could not
// write, it must not have needed. Renames need their history and their names before the first PUT.
#[tokio::test]
async fn p18_nothing_is_sent_to_a_target_that_could_not_be_remembered() {
    // Every process asks for a token of its own.
    let patient = |options| SandboxOptions { token_limit: 10_000, ..options };
    let setting = Setting::new().source(patient(bare())).target("state", patient(strict()));
    let mut scene = setting.start().await;
    let mut store = Arc::new(MemoryStore::new());
    scene.store = Arc::<MemoryStore>::clone(&store);
    open_school(&scene.source);
    assert_ended(&scene.run().await, "complete");
    let mut failed = 0;
    for commits in 0..12 {
        put(&scene.source, "students", &student(&format!("S-{commits}")));
        put(&scene.source, "courses", &course(&format!("C-{commits}")));
        let (from, to) = (session_key(&term(commits)), session(&term(commits + 1)));
        scene.source.rename("/ed-fi/sessions", &from, &to).unwrap();
        if commits > 0 {
            let before = student_key(&format!("S-{}", commits - 1));
            scene.source.delete("/ed-fi/students", &before).unwrap();
        }
        let watermark = scene.watermark().await;
        scene.target().clear_requests();

        store.break_after(commits);
        let broken = scene.run().await;

        let (writes, reopened) = (scene.writes("state").len(), Arc::new(store.reopened()));
        store = reopened;
        scene.store = Arc::<MemoryStore>::clone(&store);
        if commits == 0 {
            assert_eq!(writes, 0, "no journal, no write (I4)");
        }
        if broken.outcome == Outcome::Failed {
            failed += 1;
            assert_eq!(broken.error.unwrap().kind, "state", "{commits}");
            let moved = scene.watermark().await;
            assert!(moved == watermark || moved == Some(scene.source.newest()), "{commits}");
        }
        let after = scene.run().await.outcome;
        assert!(matches!(after, Outcome::Complete | Outcome::NothingToDo), "{commits}: {after:?}");
        scene.assert_agrees();
    }
    assert!(failed > 3, "only {failed} runs met the end of their store");
}

fn term(number: u64) -> String {
    if number == 0 { "Fall".to_owned() } else { format!("Fall {number}") }
}

/// `tidemark run` in a process that may have so many files open.
async fn few_files(desk: &Desk, limit: u32) -> Ended {
    let run = desk.command(&["run"]);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -n {limit}; exec \"$0\" run"))
        .arg(run.as_std().get_program())
        .current_dir(desk.directory.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in run.as_std().get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    ended_child(shell.spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_a_daemon_whose_log_nobody_reads_publishes_on_and_ends_when_it_is_told_to() {
    let house = House::new();
    let (source, target, _) = one_pair(&house).await;
    let path = house.path("tidemark.yaml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for number in 0..60 {
        text.push_str(&EVERY_SECOND.replace("district-to-state", &format!("copy-{number}")));
    }
    std::fs::write(&path, text).unwrap();
    let runs = || {
        let asked = source.requests();
        asked.iter().filter(|one| one.path.ends_with("/availableChangeVersions")).count()
    };

    let mut process = process(&house);
    process.says("\"ready\"").await;
    // Nobody reads from here on. Each run logs some hundreds of bytes, and a pipe holds 64 KiB.
    eventually("more than a pipe holds", || async { runs() >= 600 }).await;
    put(&source, "courses", &course("ALG-1"));
    eventually("published", || async { target.count("/ed-fi/courses") == 1 }).await;
    process.signal("TERM").await;

    assert_eq!(process.end_unread().await, Some(0));
}
