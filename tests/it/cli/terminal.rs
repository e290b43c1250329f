//! What a person sees on a terminal, and the commands that need no pair.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tidemark::sandbox::{Fault, Harm};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{Desk, PROGRAM, signal};

/// The program on a terminal of 100 columns, as `script` makes one.
async fn on_a_terminal(desk: &Desk, arguments: &str, no_color: bool) -> Option<(i32, String)> {
    on_a_terminal_of(100, desk, arguments, no_color).await
}

async fn on_a_terminal_of(
    columns: u16,
    desk: &Desk,
    arguments: &str,
    no_color: bool,
) -> Option<(i32, String)> {
    let script =
        ["/usr/bin/script", "/bin/script"].into_iter().find(|path| Path::new(path).exists())?;
    let colour = if no_color { "NO_COLOR=1 " } else { "" };
    let output = Command::new(script)
        .args([
            "-qec",
            &format!("stty cols {columns} rows 30; {colour}{PROGRAM} {arguments}"),
            "/dev/null",
        ])
        .current_dir(desk.directory.path())
        .env("TERM", "xterm-256color")
        .env("TIDEMARK_CONFIG", "tidemark.yaml")
        .env("KEY", "sandbox-key")
        .env("SECRET", "sandbox-secret")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    Some((output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_run_shows_bars_and_ends_in_a_table() {
    for no_color in [false, true] {
        let desk = Desk::new().await;
        let slow = Harm::Slow(Duration::from_millis(300));
        desk.target.fault(Fault::on("/ed-fi/students", slow).method("POST"));

        // Without `script` there is no terminal to be had here.
        let Some((code, shown)) = on_a_terminal(&desk, "run", no_color).await else { return };

        assert_eq!(code, 0, "{shown}");
        let overall = shown.contains("resources done") || shown.contains("resource done");
        assert!(overall, "{shown}");
        assert!(shown.contains("students") && shown.contains("/3"), "a bar with a total: {shown}");
        assert_eq!(shown.contains("\u{1b}[36m"), !no_color, "{shown}");
        let table = shown.rsplit("STAGE").next().unwrap();
        let upserts = table.lines().find(|line| line.trim_start().starts_with("upserts")).unwrap();
        let numbers: Vec<&str> = upserts.split_whitespace().skip(1).collect();
        assert_eq!(numbers, ["5", "5", "0", "0"]);
        assert!(!table.contains("students"), "bars are removed at the end: {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_colours_on_a_terminal_unless_no_color_says_otherwise() {
    let desk = Desk::new().await;
    desk.configure(&format!("server: {{listen: \"127.0.0.1:0\"}}\n{}", desk.usual("")));
    let _held = tidemark::state::open(&desk.directory.path().join("state")).unwrap();
    for no_color in [false, true] {
        let shown = on_a_terminal(&desk, "serve --wait-for-state 0s", no_color).await;
        let Some((code, shown)) = shown else { return };

        let line = shown.lines().find(|line| line.contains("listening"));
        let line = line.unwrap_or_else(|| panic!("no line says where it listens: {shown}"));
        assert_eq!(code, 4, "{shown}");
        assert_eq!(line.contains('\u{1b}'), !no_color, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_a_terminal_of_eighty_columns_and_have_no_colours() {
    let (desk, _) = Desk::with_one_parked().await;
    let report = "report district-to-state";
    for arguments in ["status", "parked list", "runs list", "audit list", "state list", report] {
        let shown = on_a_terminal_of(80, &desk, arguments, true).await;
        let Some((_, shown)) = shown else { return };

        for line in shown.lines() {
            assert!(line.trim_end().chars().count() <= 80, "{arguments}: {line}");
        }
        assert!(!shown.contains('\u{1b}'), "{arguments}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_watched_is_told_again_until_it_is_interrupted() {
    let desk = Desk::new().await;
    let mut child = desk.command(&["status", "--watch"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();

    let mut looks = 0;
    while looks < 2 {
        let next = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = next.expect("it looks again").unwrap().expect("it goes on");
        looks += usize::from(line.starts_with("1 pair:"));
    }
    signal(&child, "INT").await;
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;

    assert_eq!(ended.expect("it ends").unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_prints_where_it_is_and_ends_when_told_to() {
    let arguments = ["sandbox", "--listen", "127.0.0.1:0", "--empty", "--version", "6.1"];
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    while told.len() < 5 {
        told.push(lines.next_line().await.unwrap().unwrap());
    }
    let url = told[2].trim().strip_prefix("url:").unwrap().trim().to_owned();
    let address = url.strip_prefix("http://").unwrap();
    let reached = tokio::net::TcpStream::connect(address).await;
    signal(&child, "INT").await;
    let ended = child.wait().await.unwrap();

    assert!(told[0].contains("6.1"), "{told:?}");
    assert!(told[3].contains("sandbox-key") && told[4].contains("sandbox-secret"), "{told:?}");
    assert!(reached.is_ok());
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_is_printed_whole_and_the_usual_configuration_is_right() {
    let desk = Desk::new().await;

    let example = desk.tidemark(&["config", "example"]).await;
    let checked = desk.tidemark(&["config", "check"]).await;

    assert_eq!((example.code, example.out.as_str()), (0, tidemark::config::example()));
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(checked.out.contains("2 connections, 1 publication, 1 pair"), "{}", checked.out);
}
