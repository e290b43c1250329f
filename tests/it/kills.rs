//! Real processes that are ended in the middle of their work, over a state on disk, while both ends
//! of their work hurt them now and then (P1, P3, P5).
//!
//! Each round edits the source, starts the built program and ends it at a moment that the number
//! of requests and a draw decide, never a clock. After each process the state is looked at: its
//! watermark is not above what the target has (I1). Then the next process has to get the state at
//! once, go on, and bring the target to agree.
//!
//! `TIDEMARK_KILLS` says how many are killed; a fifth as many, and never fewer than
//! [`INTERRUPTIONS`], are asked to end. Each test prints an account of what it did, of which the
//! writes that were made again are the price of being killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tidemark::sandbox::{Fault, Gate, Harm, Part, Refusal, Sandbox, SandboxOptions};
use tokio::process::{Child, Command};

use crate::scene::{bare, strict};
use crate::simulation;

/// How many are killed in an ordinary run of the tests.
const KILLS: u64 = 30;
/// How many are asked to end, at least.
const INTERRUPTIONS: u64 = 20;
/// Enough for the longest run of these tests to be met anywhere.
const REQUESTS_OF_A_RUN: usize = 75;

fn kills() -> u64 {
    match std::env::var("TIDEMARK_KILLS") {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => KILLS,
    }
}

/// What is published in a round, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Everything, to an empty target, from an empty state.
    First,
    /// Edits of every sort.
    Difference,
    /// Almost nothing but renames: chains, swaps, names that are taken and given back.
    Renames,
}

const WORKS: [Work; 3] = [Work::First, Work::Difference, Work::Renames];

struct Bench {
    directory: TempDir,
    /// How many states there have been; each has a directory of its own.
    states: u32,
    source: Sandbox,
    target: Sandbox,
    /// Through where the last undisturbed process committed.
    committed: Option<i64>,
}

impl Bench {
    async fn new() -> Bench {
        // Every process asks for a token of its own; a server that counts them would be in the way.
        let patient = |options| SandboxOptions { token_limit: 10_000, ..options };
        let source = Sandbox::start(patient(bare())).await.unwrap();
        let target = Sandbox::start(patient(strict())).await.unwrap();
        simulation::begin(&source);
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Bench { directory, states: 0, source, target, committed: None };
        bench.begin_anew();
        bench
    }

    /// An empty target, and a state that knows nothing.
    fn begin_anew(&mut self) {
        simulation::empty(&self.target);
        self.states += 1;
        self.committed = None;
        let configuration = format!(
            "state: {{path: state-{}}}\n\
             connections:\n\
             \x20 district: {{kind: ed-fi, url: \"{}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n\
             \x20 state: {{kind: ed-fi, url: \"{}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n\
             publications:\n\
             \x20 district-to-state:\n\
             \x20   source: district\n\
             \x20   targets: [state]\n\
             \x20   resources: {{include_only: [{}], descriptors: false}}\n",
            self.states,
            self.source.url(),
            self.target.url(),
            simulation::published().join(", "),
        );
        std::fs::write(self.configuration(), configuration).unwrap();
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("tidemark.yaml")
    }

    /// Edits the source, and whatever else the work of a round begins with.
    fn prepare(&mut self, work: Work, seed: u64) {
        match work {
            Work::First => {
                simulation::edit_at_random(&self.source, seed);
                self.begin_anew();
            }
            Work::Difference => simulation::edit_at_random(&self.source, seed),
            Work::Renames => simulation::rename_at_random(&self.source, seed),
        }
        self.target.clear_requests();
    }

    fn tidemark(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        command
            .args(words)
            .args(["--output", "json"])
            .current_dir(self.directory.path())
            .env_clear()
            .env("TIDEMARK_CONFIG", "tidemark.yaml")
            .env("KEY", "sandbox-key")
            .env("SECRET", "sandbox-secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn run(&self) -> Child {
        self.tidemark(&["run"]).spawn().unwrap()
    }

    /// The moment at which one of the two has been asked so many things. Whoever asked it then is
    /// held there, or goes on.
    fn moment(&self, draw: &mut SmallRng) -> Gate {
        let gate = Gate::new();
        if draw.random_ratio(1, 2) {
            gate.open();
        }
        let side = if draw.random_ratio(1, 3) { &self.source } else { &self.target };
        let after = draw.random_range(0..REQUESTS_OF_A_RUN);
        side.fault(Fault::everywhere(Harm::Hold(gate.clone())).after(after).times(1));
        gate
    }

    /// Hurts both sides now and then, with what passes.
    fn hurt(&self, draw: &mut SmallRng) {
        for side in [&self.source, &self.target] {
            for _ in 0..draw.random_range(0..=2) {
                let harm = [
                    Harm::Drop,
                    Harm::CutBody,
                    Harm::FailAfterWriting,
                    Harm::DropAfterWriting,
                    Harm::ExpireTokens,
                    Harm::Refuse(Refusal::Status(503)),
                    Harm::Throttle { retry_after: Some(0) },
                    Harm::Slow(Duration::from_millis(5)),
                ]
                .choose(draw)
                .unwrap()
                .clone();
                let after = draw.random_range(0..REQUESTS_OF_A_RUN);
                side.fault(Fault::everywhere(harm).part(Part::Items).after(after).times(1));
            }
        }
    }

    /// Looks at what a process left behind: its watermark is that of the last commit, or that of
    /// one more, and whatever is not above it is at the target.
    async fn sample(&self) -> Option<i64> {
        let shown = self.tidemark(&["watermark", "show"]).output().await.unwrap();
        let shown = answer(&shown);
        let pair = shown["items"][0].as_object().expect("the pair is shown");
        let watermark = pair["watermark"].as_i64();
        let newest = Some(self.source.newest());
        assert!(
            watermark == self.committed || watermark == newest,
            "{watermark:?} is neither {:?} nor {newest:?}",
            self.committed
        );
        if let Some(watermark) = watermark {
            let unsettled = simulation::unsettled(&self.source, &self.target, watermark);
            assert_eq!(unsettled, None, "the watermark {watermark} is above it");
        }
        if watermark == newest {
            assert_eq!(simulation::disagreement(&self.source, &self.target), None);
        }
        watermark
    }

    fn end_troubles(&self) {
        self.source.repair_all();
        self.target.repair_all();
    }

    /// A process that nobody disturbs: it ends well and the target agrees.
    async fn finish(&mut self) -> Report {
        self.end_troubles();
        let report = Report::of(self.run()).await;
        assert_eq!(report.code, 0, "{}", report.said);
        assert_eq!(simulation::disagreement(&self.source, &self.target), None);
        assert!(report.after() >= self.committed, "the watermark went back");
        self.committed = report.run["window"]["through"].as_i64();
        report
    }

    /// What the target was asked to write: how many writes it did, and how many of them on what
    /// had been written before in the same round.
    fn writes(&self) -> (usize, usize) {
        let mut by_item = BTreeMap::new();
        for request in self.target.requests() {
            if request.is_write() && (200..300).contains(&request.status) {
                let item = (request.method, request.resource, request.key);
                *by_item.entry(item).or_insert(0_usize) += 1;
            }
        }
        let all: usize = by_item.values().sum();
        (all, all - by_item.len())
    }
}

fn answer(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(&text) {
        Ok(answer) => answer,
        Err(error) => panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// How a process ended, and what it reported.
struct Report {
    code: i32,
    run: Value,
    said: String,
}

impl Report {
    async fn of(child: Child) -> Report {
        let output = child.wait_with_output().await.unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        let code = output.status.code().expect("it was not killed");
        let run = answer(&output)["runs"][0].clone();
        Report { code, run, said: String::from_utf8_lossy(&said).into_owned() }
    }

    /// Where its window began.
    fn after(&self) -> Option<i64> {
        self.run["window"]["after"].as_i64()
    }
}

/// Lets a moment pass that no request marks: between two of them state is written too.
async fn a_little_later(draw: &mut SmallRng) {
    for _ in 0..draw.random_range(0..4_000) {
        tokio::task::yield_now().await;
    }
}

/// What was done, by kind of work, and what it cost.
#[derive(Default)]
struct Account {
    ended: BTreeMap<Work, u64>,
    rounds: u64,
    samples: u64,
    ahead: u64,
    writes: usize,
    again: usize,
}

impl Account {
    fn total(&self) -> u64 {
        self.ended.values().sum()
    }

    fn add_round(&mut self, bench: &Bench) {
        let (writes, again) = bench.writes();
        self.rounds += 1;
        self.writes += writes;
        self.again += again;
    }

    fn print(&self, what: &str) {
        let by_work: Vec<String> =
            self.ended.iter().map(|(work, count)| format!("{work:?} {count}")).collect();
        println!(
            "account: {} {what} in {} rounds ({}); the watermark was looked at {} times and never \
             above settled work, {} times at the end of a window that had just been committed; \
             rework: {} of {} writes made again",
            self.total(),
            self.rounds,
            by_work.join(", "),
            self.samples,
            self.ahead,
            self.again,
            self.writes,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_leaves_a_state_from_which_the_next_one_brings_agreement() {
    let mut bench = Bench::new().await;
    let mut account = Account::default();

    for round in 0.. {
        if account.total() >= kills() {
            break;
        }
        let mut draw = SmallRng::seed_from_u64(round);
        let work = WORKS[usize::try_from(round % 3).unwrap()];
        bench.prepare(work, round);
        // Now and then several die before one comes through.
        for _ in 0..draw.random_range(1..=3) {
            if account.total() >= kills() {
                break;
            }
            bench.hurt(&mut draw);
            let moment = bench.moment(&mut draw);
            let mut child = bench.run();
            let was_killed = tokio::select! {
                ended = child.wait() => {
                    let code = ended.unwrap().code();
                    assert!(matches!(code, Some(0 | 1)), "round {round}: {code:?}");
                    false
                }
                () = moment.reached_by(1) => {
                    a_little_later(&mut draw).await;
                    child.kill().await.unwrap();
                    true
                }
            };
            bench.end_troubles();
            *account.ended.entry(work).or_default() += u64::from(was_killed);
            account.samples += 1;
            let watermark = bench.sample().await;
            if watermark != bench.committed {
                account.ahead += 1;
            }
        }

        bench.finish().await;

        account.add_round(&bench);
        bench.target.clear_requests();
        let committed = bench.committed;
        let again = bench.finish().await;
        assert_eq!(again.after(), committed, "round {round}: the window was committed");
        assert_eq!(bench.writes(), (0, 0), "round {round}: what was committed is not repeated");
    }

    account.print("killed");
    assert!(WORKS.iter().all(|work| account.ended[work] >= kills() / 6), "{:?}", account.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_asked_to_end_says_so_with_status_1_and_the_next_one_goes_on() {
    let mut bench = Bench::new().await;
    let mut account = Account::default();
    let wanted = INTERRUPTIONS.max(kills() / 5);
    let mut interrupted = 0;

    for round in 100_000.. {
        if account.total() >= wanted {
            break;
        }
        let mut draw = SmallRng::seed_from_u64(round);
        let work = WORKS[usize::try_from(round % 3).unwrap()];
        bench.prepare(work, round);
        bench.hurt(&mut draw);
        let moment = bench.moment(&mut draw);
        let mut child = bench.run();
        let was_reached = tokio::select! {
            ended = child.wait() => {
                let code = ended.unwrap().code();
                assert!(matches!(code, Some(0 | 1)), "round {round}: {code:?}");
                false
            }
            () = moment.reached_by(1) => true,
        };

        if was_reached {
            a_little_later(&mut draw).await;
            let id = child.id().unwrap().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
            moment.open();
            let report = Report::of(child).await;
            *account.ended.entry(work).or_default() += 1;
            // A signal that comes while the last write is answered may find the run done.
            match report.code {
                0 => assert_eq!(report.run["outcome"], "complete"),
                code => {
                    assert_eq!(code, 1, "{}", report.said);
                    assert_eq!(report.run["outcome"], "failed");
                    assert_eq!(report.run["error"]["kind"], "interrupted", "{}", report.said);
                    interrupted += 1;
                }
            }
        }
        bench.end_troubles();
        account.samples += 1;
        let watermark = bench.sample().await;
        if watermark != bench.committed {
            account.ahead += 1;
        }
        bench.finish().await;
        account.add_round(&bench);
    }

    account.print("asked to end");
    assert!(interrupted >= wanted / 2, "only {interrupted} were in the middle of something");
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_a_second_process_on_the_state_of_one_that_works_is_refused_and_the_first_goes_on() {
    let mut bench = Bench::new().await;
    bench.prepare(Work::First, 7);
    let moment = Gate::new();
    let held = Fault::everywhere(Harm::Hold(moment.clone())).method("POST").part(Part::Items);
    bench.target.fault(held.times(1));
    let first = bench.run();
    moment.reached_by(1).await;

    let second = bench.run().wait_with_output().await.unwrap();
    moment.open();
    let first = Report::of(first).await;

    assert_eq!(second.status.code(), Some(4), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(first.code, 0, "{}", first.said);
    assert_eq!(simulation::disagreement(&bench.source, &bench.target), None);
}
