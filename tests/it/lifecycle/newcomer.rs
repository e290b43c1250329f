//! The blocks of README.md, typed by somebody who has just come: two sandboxes, the configuration with
//! their addresses, one command after the other, and the console in the end.
//!
//! The one thing to know: what a test changes of what is written are the ports, which others may have
//! taken, and that the source holds three items and not thirty thousand.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Line, blocks};
use crate::cli::ended_child;
use crate::district;
use crate::process::{BOUND, Process};
use crate::serve::get;

const README: &str = include_str!("../../../README.md");
const STAYS: &str = "# stays";
const SOURCE: &str = "127.0.0.1:8701";
const TARGET: &str = "127.0.0.1:8702";
const CONSOLE: &str = "127.0.0.1:8642";

/// Somebody with an empty folder for a home.
struct Newcomer {
    home: TempDir,
    /// What terminals have to be told again: where they are and what was exported.
    told: String,
}

impl Newcomer {
    fn new() -> Newcomer {
        Newcomer { home: tempfile::tempdir().unwrap(), told: String::new() }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// A shell in the folder of the README, which types `line` after what was told before.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-euc", &format!("{}{line}", self.told)])
            .current_dir(self.home().join("tidemark"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Types a block, and what it printed.
    async fn types(&mut self, block: &[Line]) -> String {
        let mut printed = String::new();
        for Line { typed, ends } in block {
            let ended = ended_child(self.shell(typed).spawn().unwrap());
            let ended = tokio::time::timeout(BOUND, ended).await.expect(typed);
            assert_eq!(ended.code, *ends, "{typed}\n{}{}", ended.out, ended.err);
            if typed.starts_with("export ") || typed.starts_with("cd ") {
                self.told.push_str(&format!("{typed}\n"));
            }
            printed.push_str(&ended.out);
        }
        printed
    }

    /// A sandbox in a terminal of its own, and the address that it says.
    async fn starts_sandbox(&self, block: &[Line], port: &str, more: &str) -> (Child, String) {
        let typed = &block[0].typed;
        assert!(typed.contains(port) && typed.contains(STAYS), "{typed}");
        let (typed, _) = typed.split_once('#').unwrap();
        let typed = typed.replace(port, "127.0.0.1:0");
        let mut child = self.shell(&format!("exec {typed} {more}")).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let saying = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, url)) = line.split_once("url:") {
                    return url.trim().trim_start_matches("http://").to_owned();
                }
            }
            panic!("a sandbox says its address");
        };
        let address = tokio::time::timeout(BOUND, saying).await.expect("it starts");
        (child, address)
    }
}

/// Three items that refer to nothing, as a file of a sandbox.
fn little(directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    let students = ["S-701", "S-702", "S-703"].map(|id| district::student(id).to_string());
    std::fs::write(directory.join("students.ndjson"), students.join("\n")).unwrap();
}

/// The configuration of the page, with what the page says of sandboxes.
fn configuration(source: &str, target: &str) -> String {
    let (_, after) = README.split_once("```yaml\n").unwrap();
    let (yaml, _) = after.split_once("```").unwrap();
    let with = yaml
        .replace("https://api.district.example/7.3", &format!("http://{source}"))
        .replace("https://api.state.example", &format!("http://{target}"));
    assert!(with.contains(source) && with.contains(target), "{with}");
    let lines: Vec<&str> = with.lines().filter(|line| !line.contains("school_year:")).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_publishes_between_two_apis_and_sees_it_in_the_console() {
    let mut newcomer = Newcomer::new();
    // What `make demo` leaves.
    let built = newcomer.home().join("tidemark/target/debug");
    std::fs::create_dir_all(&built).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tidemark"), built.join("tidemark")).unwrap();
    let data = newcomer.home().join("little");
    little(&data);
    let blocks = blocks(README);
    let [make, path, source, target, folder, secrets, commands, serve] = &blocks[..] else {
        panic!("{} blocks of commands in README.md", blocks.len())
    };

    newcomer.types(path).await;
    let data = format!("--data {}", data.display());
    let (_source, source) = newcomer.starts_sandbox(source, SOURCE, &data).await;
    let (_target, target) = newcomer.starts_sandbox(target, TARGET, "").await;
    newcomer.types(folder).await;
    let config = newcomer.home().join("first-publication/config/tidemark.yaml");
    std::fs::write(config, configuration(&source, &target)).unwrap();
    newcomer.types(secrets).await;
    let printed = newcomer.types(commands).await;
    assert!(serve[0].typed.contains(STAYS));
    let (typed, _) = serve[0].typed.split_once('#').unwrap();
    let mut serving = newcomer.shell(&format!("exec {typed}"));
    serving.env("TIDEMARK__SERVER__LISTEN", "127.0.0.1:0");
    let mut serving = Process::begin(serving);
    let address = serving.is_ready().await;
    serving.read_on();
    let (status, page) = get(address, "/").await;
    serving.stop().await;

    assert!(make.iter().all(|line| line.typed.starts_with("make ")), "demo and test are parts");
    assert_eq!(make.len(), 2);
    for says in ["upserts: 3 read, 3 applied", "equal: 3 items", "3 at the source, 3 at the target"]
    {
        assert!(printed.contains(says), "no {says:?} in {printed}");
    }
    assert_eq!(status, 200);
    assert!(page.contains("district-to-state"), "{page}");
    assert!(README.contains(&format!("http://{CONSOLE}/")));
}
