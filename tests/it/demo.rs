//! `tidemark demo` as somebody types it: the program itself, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The command, with its temporary files in `directory`.
fn demo(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    command.arg("demo").env("TMPDIR", directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn left_in(directory: &TempDir) -> usize {
    std::fs::read_dir(directory.path()).unwrap().count()
}

#[test]
fn the_demo_publishes_repairs_and_ends_with_equal_targets() {
    let directory = TempDir::new().unwrap();

    let Output { status, stdout, stderr } = demo(&directory).output().unwrap();

    let (told, progress) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(0), "{told}\n{progress}");
    for line in [
        "1. Three APIs",
        "2. The configuration",
        "3. The first publication",
        "  upserts: 34267 read, 34267 applied, 0 skipped, 0 parked",
        "4. A day at the source",
        "5. The difference",
        "  1 item, invalid: 1 of /ed-fi/courses",
        "6. What waits",
        "members          $.courseTitle",
        "7. The cause is repaired",
        "  upserts: 1 read, 1 applied, 0 skipped, 0 parked",
        "8. Source and targets compared",
    ] {
        assert!(told.lines().any(|told| told == line), "no line `{line}`: {told}");
    }
    for target in ["state", "region"] {
        let equal = format!("district-to-state → {target}: equal: 34,255 items of 348 resources");
        assert!(told.contains(&equal), "{told}");
    }
    // The key of the parked item is told to who asks for it, and to nobody else.
    assert_eq!(told.matches("ALG-1").count(), 2, "{told}");
    assert!(!progress.contains("ALG-1"), "{progress}");
    assert_eq!(left_in(&directory), 0);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let mut running: Child = demo(&directory).stderr(Stdio::null()).spawn().unwrap();
    let mut told = BufReader::new(running.stdout.take().unwrap()).lines();
    let is_publishing = told.any(|line| line.unwrap() == "$ tidemark run");
    let had_files = left_in(&directory);

    let pid = running.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &pid]).status().unwrap();
    for _ in told {}
    let status = running.wait().unwrap();

    assert!(is_publishing && sent.success());
    assert_eq!(had_files, 1);
    assert_eq!(status.code(), Some(1));
    assert_eq!(left_in(&directory), 0);
}

#[test]
fn the_demo_says_that_it_has_no_json() {
    let directory = TempDir::new().unwrap();

    let Output { status, stdout, stderr } =
        demo(&directory).args(["--output", "json"]).output().unwrap();

    assert_eq!(status.code(), Some(2));
    assert_eq!(text(&stdout), "");
    assert!(text(&stderr).contains("no JSON"), "{}", text(&stderr));
}
