//! The pages of "Lifecycle" in docs/operations.md, and whatever else a page has somebody type, done as
//! it is written.
//!
//! The one thing to know: the commands are not here. [`Walk`] takes them from the page, a block at a
//! time, and a shell types them; what is here is what the world does in between, and what has to be
//! true in the end. A page that nobody walks, or a block that nobody typed, fails.

mod another_release;
mod names;
mod newcomer;
mod on_call;
mod restored;
mod year;

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tidemark::sandbox::Sandbox;
use tokio::process::Command;

use crate::cli::{Desk, Ended, ended_child};
use crate::process::{BOUND, Process};
use crate::scene::put;

const CHAPTER: &str = "## Lifecycle";
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// Every page, with the module that walks it.
const WALKED: [&str; 8] = [
    names::RENAMED,
    names::REMOVED,
    year::NEW,
    restored::SOURCE,
    restored::TARGET,
    another_release::UPGRADE,
    another_release::DOWNGRADE,
    restored::STATE,
];

/// The other blocks of the page that somebody types, by the heading that they are under.
const ALSO_WALKED: [&str; 3] = [on_call::PARKED, on_call::API, on_call::STATE];

/// A page on its way to its end.
struct Walk<'a> {
    desk: &'a Desk,
    blocks: std::vec::IntoIter<Vec<Line>>,
    variables: Vec<(&'static str, String)>,
}

/// A line of a block, and with what it ends.
struct Line {
    typed: String,
    ends: i32,
}

/// What was printed by a block.
struct Typed {
    out: String,
    err: String,
}

impl<'a> Walk<'a> {
    fn begin(page: &str, desk: &'a Desk) -> Walk<'a> {
        let chapter = section(OPERATIONS, CHAPTER);
        Walk::through(&section(&chapter, &format!("### {page}")), desk)
    }

    /// The blocks of any text.
    fn through(text: &str, desk: &'a Desk) -> Walk<'a> {
        let blocks = blocks(text);
        assert!(!blocks.is_empty(), "{text:?} has no commands");
        Walk { desk, blocks: blocks.into_iter(), variables: Vec::new() }
    }

    /// From here on a daemon holds the state: `$DAEMON` to the page.
    fn beside(&mut self, serving: &Serving) {
        self.set("DAEMON", serving.process.id().to_string());
        self.set("TIDEMARK__SERVER__LISTEN", serving.address.to_string());
    }

    /// What the page calls `$NAME`.
    fn set(&mut self, name: &'static str, value: String) {
        self.variables.push((name, value));
    }

    /// Types the next block of the page.
    async fn step(&mut self) -> Typed {
        let block = self.blocks.next().expect("the page has another block of commands");
        let mut typed = Typed { out: String::new(), err: String::new() };
        for line in block {
            let ended = self.typed(&line.typed).await;
            assert_eq!(ended.code, line.ends, "{}\n{}{}", line.typed, ended.out, ended.err);
            typed.out.push_str(&ended.out);
            typed.err.push_str(&ended.err);
        }
        typed
    }

    async fn typed(&self, line: &str) -> Ended {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_tidemark"));
        let folder = program.parent().expect("a program lies in a folder").display();
        let mut command = Command::new("sh");
        command
            .args(["-euc", line])
            .current_dir(self.desk.directory.path())
            .env_clear()
            .env("PATH", format!("{folder}:/usr/bin:/bin"))
            .env("TIDEMARK_CONFIG", "tidemark.yaml")
            .env("KEY", "sandbox-key")
            .env("SECRET", "sandbox-secret")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ended = ended_child(command.spawn().unwrap());
        tokio::time::timeout(BOUND, ended).await.expect(line)
    }

    fn end(self) {
        assert_eq!(self.blocks.count(), 0, "blocks of the page that nobody typed");
    }
}

/// The daemon of a desk.
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Serving {
    pub(crate) async fn begin(desk: &Desk) -> Serving {
        let mut command = desk.command(&["serve", "--log-level", "info"]);
        command.env("TIDEMARK__SERVER__LISTEN", "127.0.0.1:0");
        let mut process = Process::begin(command);
        let address = process.is_ready().await;
        process.read_on();
        Serving { process, address }
    }
}

/// The part of a text under a heading, up to the next of its rank.
fn section(text: &str, heading: &str) -> String {
    let (rank, _) = heading.split_once(' ').expect("a heading has a rank");
    let (_, after) = text.split_once(&format!("\n{heading}\n")).expect(heading);
    after.split(&format!("\n{rank} ")).next().expect("a text has a beginning").to_owned()
}

fn blocks(text: &str) -> Vec<Vec<Line>> {
    let mut blocks = Vec::new();
    let mut block: Option<Vec<Line>> = None;
    for line in text.lines().map(str::trim) {
        match (&mut block, line) {
            (None, "```sh") => block = Some(Vec::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(lines), line) => lines.push(read(line)),
            (None, _) => {}
        }
    }
    blocks
}

fn read(line: &str) -> Line {
    let ends = line.rsplit_once("# ends ").map_or(0, |(_, code)| code.parse().expect("a code"));
    Line { typed: line.to_owned(), ends }
}

impl Desk {
    /// The configuration as it is, with one text for another.
    fn reconfigure(&self, old: &str, new: &str) {
        let path = self.directory.path().join("tidemark.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "no {old:?} in {text}");
        self.configure(&text.replace(old, new));
    }

    /// How a pair is, as `status` tells.
    async fn pair(&self, publication: &str) -> Value {
        let status = self.tidemark(&["status", "--output", "json"]).await.json();
        let mut pairs = status["pairs"].as_array().unwrap().iter();
        let pair = pairs.find(|pair| pair["publication"] == publication);
        pair.unwrap_or_else(|| panic!("no {publication} in {status}")).clone()
    }

    /// The last run of a publication, as `runs show` tells.
    async fn last_run(&self, publication: &str) -> Value {
        let pair = self.pair(publication).await;
        let id = pair["last_run"]["id"].as_str().unwrap().to_owned();
        let shown = self.tidemark(&["runs", "show", &id, "--output", "json"]).await.json();
        shown["items"][0].clone()
    }
}

fn students(sandbox: &Sandbox) -> usize {
    sandbox.count("/ed-fi/students")
}

fn enrol(sandbox: &Sandbox, id: &str) {
    put(sandbox, "students", &crate::district::student(id));
}

#[test]
fn every_page_of_the_lifecycle_is_walked() {
    let chapter = section(OPERATIONS, CHAPTER);

    let pages: Vec<&str> = chapter.lines().filter_map(|line| line.strip_prefix("### ")).collect();

    assert_eq!(pages, WALKED);
}

/// Their headings are those of the second rank that have blocks, the lifecycle aside.
#[test]
fn every_other_command_of_the_operations_is_walked() {
    let headings = OPERATIONS.lines().filter(|line| line.starts_with("## ") && *line != CHAPTER);

    let typed: Vec<&str> =
        headings.filter(|heading| !blocks(&section(OPERATIONS, heading)).is_empty()).collect();

    assert_eq!(typed, ALSO_WALKED);
}
