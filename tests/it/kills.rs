//! Real processes that are killed in the middle of their work, over a state on disk.
//!
//! Each round edits the source, starts the built program and ends it at a moment that the number
//! of requests decides, never a clock. Then the next process has to get the state at once, go on,
//! and bring the target to agree. `TIDEMARK_KILLS` says how many rounds there are.

use std::process::Stdio;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tidemark::sandbox::{Fault, Gate, Harm, Part, Sandbox, SandboxOptions};
use tokio::process::{Child, Command};

use crate::scene::{bare, strict};
use crate::simulation;

/// Rounds of an ordinary run of the tests.
const ROUNDS: u64 = 14;

struct Bench {
    directory: TempDir,
    source: Sandbox,
    target: Sandbox,
}

impl Bench {
    async fn new() -> Bench {
        // Every process asks for a token of its own; a server that counts them would be in the way.
        let patient = |options| SandboxOptions { token_limit: 10_000, ..options };
        let source = Sandbox::start(patient(bare())).await.unwrap();
        let target = Sandbox::start(patient(strict())).await.unwrap();
        simulation::begin(&source);
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            "state: {{path: state}}\n\
             connections:\n\
             \x20 district: {{kind: ed-fi, url: \"{}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n\
             \x20 state: {{kind: ed-fi, url: \"{}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n\
             publications:\n\
             \x20 district-to-state:\n\
             \x20   source: district\n\
             \x20   targets: [state]\n\
             \x20   resources: {{include_only: [{}], descriptors: false}}\n",
            source.url(),
            target.url(),
            simulation::published().join(", "),
        );
        std::fs::write(directory.path().join("tidemark.yaml"), configuration).unwrap();
        Bench { directory, source, target }
    }

    /// Starts `tidemark run`.
    fn run(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_tidemark"))
            .args(["run", "--output", "json"])
            .current_dir(self.directory.path())
            .env_clear()
            .env("TIDEMARK_CONFIG", "tidemark.yaml")
            .env("KEY", "sandbox-key")
            .env("SECRET", "sandbox-secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Holds the request of one side that comes after so many others.
    fn hold(&self, side: &Sandbox, after: usize) -> Gate {
        let gate = Gate::new();
        side.fault(Fault::everywhere(Harm::Hold(gate.clone())).after(after).times(1));
        gate
    }

    /// A process that nobody disturbs: it ends well and the target agrees.
    async fn finish(&self) -> Report {
        self.source.repair_all();
        self.target.repair_all();
        let report = Report::of(self.run()).await;
        assert_eq!(report.code, 0, "{}", report.said);
        assert_eq!(simulation::disagreement(&self.source, &self.target), None);
        report
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
        let text = String::from_utf8(output.stdout).unwrap();
        let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let run = match serde_json::from_str::<Value>(&text) {
            Ok(report) => report["runs"][0].clone(),
            Err(error) => panic!("no report: {error}: {said}"),
        };
        Report { code: output.status.code().expect("it was not killed"), run, said }
    }

    /// Where its window began.
    fn after(&self) -> Option<i64> {
        self.run["window"]["after"].as_i64()
    }
}

fn rounds() -> u64 {
    match std::env::var("TIDEMARK_KILLS") {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => ROUNDS,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_leaves_a_state_from_which_the_next_one_brings_agreement() {
    let bench = Bench::new().await;
    let mut committed = None;
    let mut killed = 0;

    for round in 0..rounds() {
        let mut draw = SmallRng::seed_from_u64(round);
        simulation::edit_at_random(&bench.source, round);
        // Now and then several die before one comes through.
        for _ in 0..draw.random_range(1..=2) {
            let side = if draw.random_ratio(1, 3) { &bench.source } else { &bench.target };
            let gate = bench.hold(side, draw.random_range(4..70));
            let mut child = bench.run();
            tokio::select! {
                ended = child.wait() => assert_eq!(ended.unwrap().code(), Some(0)),
                // The request that is held is never answered: nobody is there any more.
                () = gate.reached_by(1) => {
                    child.kill().await.unwrap();
                    killed += 1;
                }
            }
            bench.source.repair_all();
            bench.target.repair_all();
        }

        let report = bench.finish().await;

        assert!(report.after() >= committed, "round {round}: the watermark went back");
        committed = report.run["window"]["through"].as_i64();
        bench.target.clear_requests();
        let again = bench.finish().await;
        assert_eq!(again.after(), committed, "round {round}: the window was committed");
        let writes = bench.target.requests().iter().filter(|request| request.is_write()).count();
        assert_eq!(writes, 0, "round {round}: what was committed is not repeated");
    }

    assert!(killed >= rounds() / 2, "only {killed} were killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_asked_to_end_says_so_with_status_1_and_the_next_one_goes_on() {
    let bench = Bench::new().await;

    for round in 100..100 + rounds() / 4 {
        let mut draw = SmallRng::seed_from_u64(round);
        simulation::edit_at_random(&bench.source, round);
        // The first write of all is sure to come, and the run is not over with it.
        let gate = Gate::new();
        let held = Fault::everywhere(Harm::Hold(gate.clone())).method("POST");
        let held = held.part(Part::Items).after(draw.random_range(0..2));
        bench
            .source
            .seed("/ed-fi/students", &crate::district::student(&round.to_string()))
            .unwrap();
        bench
            .source
            .seed("/ed-fi/students", &crate::district::student(&format!("x{round}")))
            .unwrap();
        bench.target.fault(held.times(1));
        let child = bench.run();
        gate.reached_by(1).await;

        let id = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        gate.open();
        let report = Report::of(child).await;

        // A signal that comes while the last write is answered may find the run done.
        match report.code {
            0 => assert_eq!(report.run["outcome"], "complete"),
            code => {
                assert_eq!(code, 1, "{}", report.said);
                assert_eq!(report.run["outcome"], "failed");
                assert_eq!(report.run["error"]["kind"], "interrupted");
            }
        }
        bench.finish().await;
    }
}
