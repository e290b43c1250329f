//! A daemon that serves for long, beside everything that happens to one: edits, reloads, secrets that
//! are changed, a target that goes away. `TIDEMARK_SERVE_SECONDS` says for how long, two rounds unless
//! it does; what is printed after `account:` goes into docs/samples/ by `tools/soak.sh`.
//!
//! The one thing to know: the process is a real one, and what it uses is read from outside. Its two
//! pairs have one source; one of the targets is left in peace, and its pair must never miss a run.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemark::sandbox::Sandbox;
use tokio::process::Command;

use crate::district::{agency, school, student};
use crate::process::{BOUND, Process};
use crate::scene::{bare, put, strict};
use crate::serve::{eventually, get, metric, sandbox};

/// From tick to tick. In `make test` every second, so that two rounds are soon over.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_IN_SHORT: Duration = Duration::from_secs(1);
const ROUNDS_IN_SHORT: usize = 2;
/// Rounds before and after which use is compared, at least.
const ROUNDS_TO_COMPARE: usize = 12;
/// What the memory of a process may differ by from one stretch of time to another, in KiB.
const SLACK: u64 = 8 * 1024;

struct Service {
    source: Sandbox,
    target: Sandbox,
    calm: Sandbox,
    folder: TempDir,
    every: Duration,
}

/// What the process has at one moment.
#[derive(Clone, Copy)]
struct Use {
    /// KiB.
    resident: u64,
    descriptors: usize,
}

impl Service {
    async fn open(every: Duration) -> Service {
        let service = Service {
            source: sandbox(bare()).await,
            target: sandbox(strict()).await,
            calm: sandbox(strict()).await,
            folder: tempfile::tempdir().unwrap(),
            every,
        };
        put(&service.source, "localEducationAgencies", &agency());
        put(&service.source, "schools", &school());
        service.write_secret("sandbox-secret");
        service.write_configuration(0);
        service
    }

    fn write_secret(&self, secret: &str) {
        std::fs::write(self.folder.path().join("secret"), format!("{secret}\n")).unwrap();
    }

    fn write_configuration(&self, round: usize) {
        let mut text = String::from("state: {path: state}\nserver: {listen: \"127.0.0.1:0\"}\n");
        text.push_str("connections:\n");
        for (name, at, secret) in [
            ("district", &self.source, "sandbox-secret"),
            ("state", &self.target, "{file: secret}"),
            ("calm", &self.calm, "sandbox-secret"),
        ] {
            let url = at.url();
            writeln!(
                text,
                "  {name}: {{kind: ed-fi, url: \"{url}\", key: sandbox-key, secret: {secret}, timeout: 5s}}"
            )
            .unwrap();
        }
        write!(
            text,
            "publications:\n  district-to-state:\n    source: district\n    targets: [state, calm]\n    \
             every: {}s\n    overlap: 10s\n    labels: {{round: \"{round}\"}}\n    \
             resources: {{descriptors: false, include_only: [localEducationAgencies, schools, students]}}\n",
            self.every.as_secs()
        )
        .unwrap();
        std::fs::write(self.folder.path().join("tidemark.yaml"), text).unwrap();
    }

    async fn serve(&self) -> (Process, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        command
            .args(["serve", "--log-level", "info"])
            .current_dir(self.folder.path())
            .env_clear()
            .env("TIDEMARK_CONFIG", "tidemark.yaml");
        let mut process = Process::begin(command);
        let address = process.is_ready().await;
        process.read_on();
        (process, address)
    }

    /// One more student at the source, whom both targets have in the end.
    async fn enrol(&self, id: &str, at: &[&Sandbox]) {
        put(&self.source, "students", &student(id));
        let here = self.source.count("/ed-fi/students");
        for target in at {
            eventually("the student arrives", || async { target.count("/ed-fi/students") == here })
                .await;
        }
    }

    /// Everything that happens to a daemon, once.
    async fn round(&self, round: usize, address: SocketAddr) {
        self.enrol(&format!("S-{round}-a"), &[&self.target, &self.calm]).await;

        self.write_configuration(round);
        let reloaded = format!("\"round\":\"{round}\"");
        eventually("the reload", || async {
            get(address, "/api/v1/pairs").await.1.contains(&reloaded)
        })
        .await;

        let secret = format!("secret-of-round-{round}");
        self.target.change_secret(&secret);
        self.write_secret(&secret);
        self.enrol(&format!("S-{round}-b"), &[&self.target, &self.calm]).await;

        self.target.go_down();
        self.enrol(&format!("S-{round}-c"), &[&self.calm]).await;
        eventually("the target is missed", || async move {
            metric(address, "tidemark_failed_runs", &["target=\"state\""]).await > 0.0
        })
        .await;
        self.target.come_up();
        let here = self.source.count("/ed-fi/students");
        let caught_up = self.target.until(|| self.target.count("/ed-fi/students") == here);
        tokio::time::timeout(BOUND, caught_up).await.expect("it catches up");
        for sandbox in [&self.source, &self.target, &self.calm] {
            sandbox.clear_requests();
        }
    }
}

fn used_by(process: &Process) -> Use {
    let process = format!("/proc/{}", process.id());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Use {
        resident: resident.split_whitespace().next().unwrap().parse().unwrap(),
        descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
    }
}

/// Runs of the pair that is left in peace that ended, however they did.
async fn runs_in_peace(address: SocketAddr) -> f64 {
    metric(address, "tidemark_runs_total", &["target=\"calm\""]).await
}

/// The last third of the time uses no more than the third after the first.
fn assert_flat(uses: &[Use]) {
    let third = uses.len() / 3;
    let most = |uses: &[Use]| {
        let resident = uses.iter().map(|it| it.resident).max().unwrap();
        (resident, uses.iter().map(|it| it.descriptors).max().unwrap())
    };
    let (before, after) = (most(&uses[third..2 * third]), most(&uses[2 * third..]));
    println!("account: resident at most {} KiB, then at most {} KiB", before.0, after.0);
    println!("account: descriptors at most {}, then at most {}", before.1, after.1);
    assert!(after.0 <= before.0 + SLACK, "memory grew from {} to {} KiB", before.0, after.0);
    assert!(after.1 <= before.1 + 8, "descriptors grew from {} to {}", before.1, after.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_serves_for_long_and_neither_grows_nor_misses_a_run() {
    let seconds = std::env::var("TIDEMARK_SERVE_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("TIDEMARK_SERVE_SECONDS is a number"));
    let lasting = seconds.map(Duration::from_secs);
    let service = Service::open(if lasting.is_some() { EVERY } else { EVERY_IN_SHORT }).await;
    let (process, address) = service.serve().await;
    eventually("the first run", || async {
        service.calm.count("/ed-fi/schools") == 1 && service.target.count("/ed-fi/schools") == 1
    })
    .await;
    let (began, runs_before) = (Instant::now(), runs_in_peace(address).await);

    let mut uses = Vec::new();
    let is_over = |rounds: usize| match lasting {
        Some(lasting) => began.elapsed() >= lasting,
        None => rounds >= ROUNDS_IN_SHORT,
    };
    while !is_over(uses.len()) {
        service.round(uses.len() + 1, address).await;
        uses.push(used_by(&process));
    }

    let ticks = began.elapsed().as_secs() / service.every.as_secs();
    let runs = runs_in_peace(address).await - runs_before;
    let rounds = uses.len();
    println!(
        "account: {rounds} rounds of edits, a reload, another secret and a target that went away"
    );
    println!("account: {runs} runs of the pair in peace at {ticks} ticks");
    // A tick that comes while a run is under way is that run's.
    assert!(runs as u64 + 1 + rounds as u64 >= ticks, "{runs} runs at {ticks} ticks");
    let failed = metric(address, "tidemark_runs_total", &["target=\"calm\"", "outcome=\"failed\""]);
    assert_eq!(failed.await, 0.0, "a run of the pair in peace");
    assert_eq!(metric(address, "tidemark_unaccounted_changes_total", &[]).await, 0.0);
    if rounds >= ROUNDS_TO_COMPARE {
        assert_flat(&uses);
    }
    assert_eq!(service.target.all()["/ed-fi/students"], service.source.all()["/ed-fi/students"]);
    assert_eq!(service.calm.all()["/ed-fi/students"], service.source.all()["/ed-fi/students"]);
    process.stop().await;
}
