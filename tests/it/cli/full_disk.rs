//! P7: no room for the state, at every size of a file at which a disk may have been full: a limit on
//! the size of files stands for the disk.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tidemark::clock::Clock;
use tidemark::domain::{ParkReason, ResourcePath};
use tidemark::state::{
    MemoryStore, Operation, PairId, ParkStatus, Parked, RefusalRecord, StateStore, Step, text,
};
use tokio::process::Command;

use super::{Desk, Ended, PROGRAM, ended};

/// Pairs of an export, and parked items of each: about a hundred KiB a pair.
const PAIRS: usize = 16;
const ITEMS: usize = 200;

/// Limits in KiB: nothing fits, the marker fits, some steps fit, everything fits.
const LIMITS: [u32; 8] = [0, 1, 4, 64, 512, 600, 1500, 65_536];

/// A directory without state, and an export of many pairs to import.
struct Shelf {
    directory: TempDir,
}

impl Shelf {
    async fn new() -> Shelf {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tidemark.yaml"), "state: {path: state}\n").unwrap();
        std::fs::write(directory.path().join("big.jsonl"), export().await).unwrap();
        Shelf { directory }
    }

    async fn tidemark(&self, limit: Option<u32>, arguments: &[&str]) -> Ended {
        limited(&self.directory, limit, arguments).await
    }

    /// Pairs in the state, each with how many items it has.
    async fn listed(&self) -> Vec<(String, u64)> {
        let listed = self.tidemark(None, &["state", "list", "--output", "json"]).await;
        assert_eq!(listed.code, 0, "{}", listed.err);
        let pairs = listed.json()["items"].as_array().unwrap().clone();
        let text = |pair: &Value| pair["publication"].as_str().unwrap().to_owned();
        pairs.iter().map(|pair| (text(pair), pair["parked"].as_u64().unwrap())).collect()
    }
}

/// The program where no file may grow beyond `limit` KiB. The signal that goes with it is ignored,
/// so that a write fails as on a full disk.
async fn limited(directory: &TempDir, limit: Option<u32>, arguments: &[&str]) -> Ended {
    let limit = limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"");
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash", PROGRAM])
        .args(arguments)
        .current_dir(directory.path())
        .env_clear()
        .env("TIDEMARK_CONFIG", "tidemark.yaml")
        .env("KEY", "sandbox-key")
        .env("SECRET", "sandbox-secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    ended(command).await
}

async fn export() -> Vec<u8> {
    let store = MemoryStore::new();
    for number in 0..PAIRS {
        let pair = PairId { publication: format!("p{number:02}"), target: "state".to_owned() };
        let park = (0..ITEMS).map(parked).collect();
        store.commit(&pair, Step { park, ..Step::default() }).await.unwrap();
    }
    let mut out = Vec::new();
    text::export(&store, Clock::system().now(), &mut out).await.unwrap();
    out
}

fn parked(number: usize) -> Parked {
    Parked {
        id: format!("{number:016x}"),
        resource: ResourcePath::parse("/ed-fi/students").unwrap(),
        source_id: None,
        key: None,
        operation: Operation::Upsert,
        status: ParkStatus::Parked,
        reason: ParkReason::Invalid,
        error: RefusalRecord { detail: Some("x".repeat(200)), ..RefusalRecord::default() },
        attempts: 1,
        early_attempts: 0,
        first_seen_at: Clock::system().now(),
        next_attempt_at: Clock::system().now(),
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: Some("00ff".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_full_disk_while_writing_keeps_every_step_that_was_acknowledged_and_no_half_of_one() {
    let mut outcomes = Vec::new();
    for limit in LIMITS {
        let shelf = Shelf::new().await;

        let import = shelf.tidemark(Some(limit), &["state", "import", "big.jsonl"]).await;
        let after = shelf.listed().await;
        let again = shelf.tidemark(None, &["state", "import", "big.jsonl", "--yes"]).await;
        let whole = shelf.listed().await;

        assert!([0, 5].contains(&import.code), "{limit}: {}", import.err);
        assert_eq!(import.code == 0, after.len() == PAIRS, "{limit}: {after:?}");
        if import.code == 5 {
            assert!(import.err.contains("room"), "{limit}: {}", import.err);
            assert!(!import.err.contains("panicked"), "{limit}: {}", import.err);
        }
        let in_order: Vec<(String, u64)> =
            (0..after.len()).map(|number| (format!("p{number:02}"), ITEMS as u64)).collect();
        assert_eq!(after, in_order, "{limit}: whole pairs, in the order of the steps");
        assert_eq!((again.code, whole.len()), (0, PAIRS), "{limit}: {}", again.err);
        outcomes.push(after.len());
    }
    assert_eq!((outcomes[0], outcomes[LIMITS.len() - 1]), (0, PAIRS));
    assert!(outcomes.iter().any(|pairs| (1..PAIRS).contains(pairs)), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_full_disk_while_opening_is_said_and_the_state_is_left_as_it_is() {
    let shelf = Shelf::new().await;
    shelf.tidemark(None, &["state", "import", "big.jsonl"]).await;
    let before = shelf.listed().await;
    for limit in [1, 16, 512] {
        let refused = shelf.tidemark(Some(limit), &["state", "list"]).await;

        assert_eq!(refused.code, 5, "{limit}: {}", refused.err);
        assert!(refused.err.contains("the disk has room"), "{limit}: {}", refused.err);
        assert_eq!(shelf.listed().await, before, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_run_that_finds_no_room_moves_nothing_and_the_next_one_publishes_it_all() {
    let desk = Desk::new().await;
    // The marker and the lock fit, the first step does not.
    let failed = limited(&desk.directory, Some(1), &["run"]).await;
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert!([1, 5].contains(&failed.code), "{}{}", failed.out, failed.err);
    let told = format!("{}{}", failed.out, failed.err);
    assert!(told.contains("room"), "{told}");
    assert_eq!(run.json()["runs"][0]["outcome"], "complete", "{}", run.out);
    assert_eq!(desk.target.count("/ed-fi/students"), 3);
}
