//! Upgrades and downgrades in the middle of a run.
//!
//! The one thing to know: the other release is this program. What it would have left is made of
//! what this one left, marked with the number of another format.

use std::path::Path;

use tidemark::sandbox::{Fault, Gate, Harm};

use super::{Serving, Walk, enrol, students};
use crate::cli::Desk;
use crate::process::BOUND;

pub(super) const UPGRADE: &str = "An upgrade while runs are under way";
pub(super) const DOWNGRADE: &str = "A downgrade while runs are under way";

/// The format that this program writes (`docs/operations.md`, "Upgrade and downgrade").
const FORMAT: u8 = 2;

/// A daemon that is in the middle of a run: the target holds the answer about one student.
struct Daemon {
    serving: Serving,
    held: Gate,
}

impl Daemon {
    async fn in_the_middle_of_a_run(desk: &Desk) -> Daemon {
        let held = Gate::new();
        let fault = Fault::on("/ed-fi/students", Harm::Hold(held.clone())).method("POST");
        desk.target.fault(fault.key("studentUniqueId", "S-704"));
        desk.reconfigure("    targets: [state]\n", "    targets: [state]\n    every: 1s\n");
        let serving = Serving::begin(desk).await;
        tokio::time::timeout(BOUND, held.reached_by(1)).await.expect("a run writes the student");
        Daemon { serving, held }
    }

    async fn ends_with_0(self) {
        // A signal that was sent is not heeded yet, and the run would end by itself.
        self.serving.process.is_heard_to_say("stopping").await;
        self.held.open();
        let (code, said) = self.serving.process.end().await;
        assert_eq!(code, Some(0), "{said}");
    }
}

/// Makes of a state what a program of another format would have left.
fn mark_as(format: u8, state: &Path) {
    let database = sled::open(state).unwrap();
    let mut marked = 0;
    for entry in database.scan_prefix([1]) {
        let (key, bytes) = entry.unwrap();
        let mut bytes = bytes.to_vec();
        assert_eq!(bytes[0], FORMAT);
        bytes[0] = format;
        database.insert(key, bytes).unwrap();
        marked += 1;
    }
    assert!(marked > 2, "a state with {marked} records");
    database.insert(b"\x00format", &[format]).unwrap();
    database.flush().unwrap();
    let marker = state.join("tidemark.format");
    let text = std::fs::read_to_string(&marker).unwrap();
    let from = format!("format {FORMAT:03}");
    assert!(text.contains(&from), "{text}");
    std::fs::write(marker, text.replace(&from, &format!("format {format:03}"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_program_migrates_the_state_and_goes_on_with_the_run() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    enrol(&desk.source, "S-704");
    enrol(&desk.source, "S-705");
    let daemon = Daemon::in_the_middle_of_a_run(&desk).await;
    let mut walk = Walk::begin(UPGRADE, &desk);
    walk.beside(&daemon.serving);

    walk.step().await;
    daemon.ends_with_0().await;
    let state = desk.directory.path().join("state");
    mark_as(FORMAT - 1, &state);
    walk.step().await;

    assert!(state.join(format!("before-format-{FORMAT}.jsonl")).exists());
    assert_eq!(students(&desk.target), 5);
    let runs = desk.tidemark(&["runs", "list", "--output", "json"]).await.json();
    assert_eq!(runs["items"][0]["outcome"], "complete", "{runs}");
    assert_eq!(runs["items"][1]["error"]["kind"], "interrupted", "{runs}");
    walk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_refuses_the_state_and_goes_on_from_what_the_newer_one_left_for_it() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let state = desk.directory.path().join("state");
    let left = desk.tidemark(&["state", "export", "--to", "left.jsonl"]).await;
    assert_eq!(left.code, 0, "{}", left.err);
    enrol(&desk.source, "S-703a");
    desk.tidemark(&["run"]).await;
    enrol(&desk.source, "S-704");
    let daemon = Daemon::in_the_middle_of_a_run(&desk).await;
    let mut walk = Walk::begin(DOWNGRADE, &desk);
    walk.beside(&daemon.serving);

    walk.step().await;
    daemon.ends_with_0().await;
    mark_as(FORMAT + 1, &state);
    let export = format!("before-format-{}.jsonl", FORMAT + 1);
    std::fs::rename(desk.directory.path().join("left.jsonl"), state.join(export)).unwrap();
    let refused = walk.step().await;
    walk.step().await;

    assert!(refused.err.contains("newer"), "{}", refused.err);
    assert_eq!(students(&desk.target), 5);
    walk.end();
}
