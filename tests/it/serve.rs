//! The daemon against sandboxes: what it publishes, what it answers, how it ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidemark::config::{self, Config};
use tidemark::daemon::serve::{Daemon, DaemonError};
use tidemark::sandbox::{Fault, Gate, Harm, Part, Sandbox, SandboxOptions};
use tidemark::state;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::district;
use crate::process::{BOUND, Process};
use crate::scene::{bare, put, strict};

/// Looks until it is so. Another process, or what is told over HTTP, can only be looked at: whoever
/// waits for a sandbox has [`Sandbox::until`], whoever waits for a daemon's word [`Process::says`].
pub(crate) async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(eventually_within(BOUND, holds).await, "never came: {what}");
}

/// The same, with the patience that the caller has. Whether it came.
pub(crate) async fn eventually_within(
    patience: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) -> bool {
    const PACE: Duration = Duration::from_millis(20);
    let mut looks = tokio::time::interval(PACE);
    let wait = async {
        while !holds().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(patience, wait).await.is_ok()
}

/// The status and the body of a GET.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) async fn pairs(address: SocketAddr) -> Vec<Value> {
    let (status, body) = get(address, "/api/v1/pairs").await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["pairs"].as_array().unwrap().clone()
}

pub(crate) async fn pair(address: SocketAddr, publication: &str) -> Value {
    let pairs = pairs(address).await;
    pairs.into_iter().find(|pair| pair["publication"] == publication).unwrap()
}

/// The sum of the samples with this name and all of these labels.
pub(crate) async fn metric(address: SocketAddr, name: &str, labels: &[&str]) -> f64 {
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    let mut sum = None;
    for line in text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name)) {
        if labels.iter().all(|label| line.contains(label)) {
            let value: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    sum.unwrap_or_else(|| panic!("there is no {name} with {labels:?}"))
}

/// A configuration on disk, with room for its state.
pub(crate) struct House {
    directory: TempDir,
}

impl House {
    pub(crate) fn new() -> House {
        House { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.path("state")
    }

    /// `publications` are lines of YAML, `connections` names with what they are.
    pub(crate) fn config(&self, connections: &[(&str, String)], publications: &str) -> Config {
        let state = self.state();
        let mut text = format!(
            "state: {{path: {}}}\nserver: {{listen: \"127.0.0.1:0\"}}\nconnections:\n",
            state.display()
        );
        for (name, settings) in connections {
            text.push_str(&format!("  {name}: {{kind: ed-fi, {settings}}}\n"));
        }
        text.push_str("publications:\n");
        text.push_str(publications);
        let path = self.path("tidemark.yaml");
        std::fs::write(&path, text).unwrap();
        config::load(&path, &BTreeMap::new()).unwrap().config
    }
}

/// How a sandbox is reached, with the credentials that it takes.
pub(crate) fn reach(sandbox: &Sandbox) -> String {
    format!("url: \"{}\", key: sandbox-key, secret: sandbox-secret", sandbox.url())
}

pub(crate) const EVERY_SECOND: &str = "  district-to-state:\n    source: district\n    targets: [state]\n    every: 1s\n    \
                            first_overlap_versions: 0\n    \
                            resources: {descriptors: false}\n";

/// A daemon that runs until it is told to stop.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), DaemonError>>,
}

impl Running {
    async fn start(config: Config, wait_for_state: Duration) -> Running {
        let daemon = Daemon::listen(config).await.unwrap();
        let address = daemon.address();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let ended =
            tokio::spawn(async move { daemon.run(&BTreeMap::new(), wait_for_state, until).await });
        Running { address, stop, ended }
    }

    async fn ready(config: Config) -> Running {
        let running = Running::start(config, Duration::ZERO).await;
        let address = running.address;
        eventually("ready", || async move { get(address, "/readyz").await.0 == 200 }).await;
        running
    }

    async fn end(self) -> Result<(), DaemonError> {
        tokio::time::timeout(BOUND, self.ended).await.expect("the daemon ends").unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.end().await.unwrap();
    }
}

pub(crate) async fn sandbox(options: SandboxOptions) -> Sandbox {
    Sandbox::start(options).await.unwrap()
}

/// A source with a school, a target with nothing, and a configuration for them.
pub(crate) async fn one_pair(house: &House) -> (Sandbox, Sandbox, Config) {
    let (source, target) = (sandbox(bare()).await, sandbox(strict()).await);
    put(&source, "localEducationAgencies", &district::agency());
    put(&source, "schools", &district::school());
    let connections = [("district", reach(&source)), ("state", reach(&target))];
    let config = house.config(&connections, EVERY_SECOND);
    (source, target, config)
}

#[tokio::test]
async fn the_daemon_publishes_again_and_again_and_says_so() {
    let house = House::new();
    let (source, target, config) = one_pair(&house).await;

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    // To the end of the run: an edit in the middle of one would renew the sandbox's snapshot.
    eventually("the first run", || async move {
        pair(address, "district-to-state").await["watermark"].is_number()
    })
    .await;
    put(&source, "courses", &district::course("ALG-1"));
    eventually("the difference", || async { target.count("/ed-fi/courses") == 1 }).await;
    eventually("caught up", || async move {
        let pair = pair(address, "district-to-state").await;
        pair["state"] == "ok" && pair["lag_versions"] == 0 && pair["watermark"] == pair["newest"]
    })
    .await;

    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(metric(address, "tidemark_unaccounted_changes_total", &[]).await, 0.0);
    let applied = [r#"stage="upserts""#, r#"outcome="applied""#];
    assert_eq!(metric(address, "tidemark_changes_total", &applied).await, 3.0);
    let courses = [r#"resource="/ed-fi/courses""#, r#"outcome="applied""#];
    assert_eq!(metric(address, "tidemark_changes_total", &courses).await, 1.0);
    assert_eq!(metric(address, "tidemark_runs_total", &[r#"outcome="complete""#]).await, 2.0);
    assert_eq!(metric(address, "tidemark_runs_total", &[r#"outcome="failed""#]).await, 0.0);
    assert_eq!(metric(address, "tidemark_pair_state", &[r#"state="ok""#]).await, 1.0);
    assert!(metric(address, "tidemark_watermark_version", &[]).await > 0.0);
    let posts = [r#"connection="state""#, r#"method="POST""#, r#"status="2xx""#];
    assert!(metric(address, "tidemark_http_requests_total", &posts).await >= 3.0);
    assert!(metric(address, "process_open_fds", &[]).await > 0.0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_state_that_another_process_holds_is_waited_for_alive_and_not_ready() {
    let house = House::new();
    let (_source, target, config) = one_pair(&house).await;
    let held = state::open(&house.state()).unwrap();

    let daemon = Running::start(config, BOUND).await;
    let address = daemon.address;
    eventually("an answer", || async move { get(address, "/healthz").await.0 == 200 }).await;
    let (ready, missing) = get(address, "/readyz").await;
    drop(held);
    eventually("ready", || async move { get(address, "/readyz").await.0 == 200 }).await;
    eventually("the first run", || async { target.count("/ed-fi/schools") == 1 }).await;

    assert_eq!((ready, missing.as_str()), (503, "not ready: the state is not open\n"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_state_that_stays_held_ends_the_daemon_with_4() {
    let house = House::new();
    let (_source, _target, config) = one_pair(&house).await;
    let _held = state::open(&house.state()).unwrap();

    let ended = Running::start(config, Duration::ZERO).await.end().await;

    assert_eq!(ended.unwrap_err().exit_status(), 4);
}

#[tokio::test]
async fn a_daemon_that_waits_for_the_state_can_be_stopped() {
    let house = House::new();
    let (_source, _target, config) = one_pair(&house).await;
    let _held = state::open(&house.state()).unwrap();
    let daemon = Running::start(config, BOUND).await;

    daemon.stop().await;
}

#[tokio::test]
async fn a_target_that_is_down_fails_its_pair_and_not_the_daemon() {
    let house = House::new();
    let (_source, target, config) = one_pair(&house).await;
    target.go_down();

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    eventually("failing", || async move {
        pair(address, "district-to-state").await["state"] == "failing"
    })
    .await;
    let (ready, _) = get(address, "/readyz").await;
    let failing = pair(address, "district-to-state").await;
    target.come_up();
    eventually("published", || async { target.count("/ed-fi/schools") == 1 }).await;
    eventually(
        "ok again",
        || async move { pair(address, "district-to-state").await["state"] == "ok" },
    )
    .await;

    assert_eq!(ready, 200);
    let reason = failing["reason"].as_str().unwrap();
    assert!(reason.contains("connection `state`"), "{reason}");
    assert!(failing["next_run_at"].is_string());
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_missing_holds_up_its_own_pairs_until_it_appears() {
    let house = House::new();
    let (source, target) = (sandbox(bare()).await, sandbox(strict()).await);
    let other = sandbox(strict()).await;
    put(&source, "localEducationAgencies", &district::agency());
    let secret = house.path("secret");
    let locked = format!(
        "url: \"{}\", key: sandbox-key, secret: {{file: {}}}",
        other.url(),
        secret.display()
    );
    let connections = [("district", reach(&source)), ("state", reach(&target)), ("region", locked)];
    let publications = EVERY_SECOND.to_owned()
        + &EVERY_SECOND.replace("district-to-state", "to-region").replace("[state]", "[region]");
    let config = house.config(&connections, &publications);

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    let agencies = "/ed-fi/localEducationAgencies";
    eventually("the other pair", || async { target.count(agencies) == 1 }).await;
    eventually("waiting", || async move { pair(address, "to-region").await["state"] == "waiting" })
        .await;
    let held_up = pair(address, "to-region").await;
    std::fs::write(&secret, "sandbox-secret\n").unwrap();
    eventually("published", || async { other.count(agencies) == 1 }).await;

    let reason = held_up["reason"].as_str().unwrap();
    assert!(reason.starts_with("connection `region`: cannot read the secret's file"), "{reason}");
    assert_eq!(held_up["failed_runs"], 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_run_that_is_stopped_is_waited_for_and_the_next_daemon_goes_on() {
    let house = House::new();
    let (source, target, config) = one_pair(&house).await;
    put(&source, "courses", &district::course("ALG-1"));
    let gate = Gate::new();
    let fault = target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));

    let daemon = Running::ready(config.clone()).await;
    gate.reached_by(1).await;
    let running = pair(daemon.address, "district-to-state").await;
    daemon.stop.cancel();
    gate.open();
    daemon.end().await.unwrap();
    target.repair(fault);

    assert_eq!(running["state"], "running");
    assert!(running["run_id"].is_string());
    assert_eq!(errors_of_runs(&house).await, [Some("interrupted".to_owned())]);
    let next = Running::ready(config).await;
    let has_caught_up = target.until(|| target.count("/ed-fi/courses") == 1);
    tokio::time::timeout(BOUND, has_caught_up).await.expect("it catches up");
    assert_eq!(target.count("/ed-fi/schools"), 1);
    next.stop().await;
}

#[tokio::test]
async fn a_target_that_asks_to_be_left_alone_does_not_hold_up_the_end() {
    let house = House::new();
    let (_source, target, config) = one_pair(&house).await;
    target.fault(
        Fault::on("/ed-fi/schools", Harm::Throttle { retry_after: Some(3600) }).method("POST"),
    );

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    eventually("a pause", || paused(address)).await;
    daemon.stop().await;

    assert_eq!(errors_of_runs(&house).await, [Some("interrupted".to_owned())]);
}

#[tokio::test]
async fn no_more_pairs_run_at_once_than_the_configuration_allows() {
    let house = House::new();
    let (_source, target, config) = one_pair(&house).await;
    let mut config = config;
    config.server.max_running = 1;
    let (name, publication) = config.publications.pop_first().unwrap();
    for copy in ["a", "b"] {
        let name = config::PublicationName::parse(&format!("{copy}-{name}")).unwrap();
        config.publications.insert(name, publication.clone());
    }
    let gate = Gate::new();
    target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    gate.reached_by(1).await;
    let states: Vec<_> = pairs(address).await.iter().map(|pair| pair["state"].clone()).collect();
    gate.open();
    eventually("both", || async move {
        pairs(address).await.iter().all(|pair| pair["watermark"].is_number())
    })
    .await;

    assert_eq!(states, [json!("running"), json!("waiting")]);
    daemon.stop().await;
}

#[tokio::test]
async fn p15_an_address_that_is_taken_ends_the_start_and_is_said() {
    let house = House::new();
    let (_source, target, mut config) = one_pair(&house).await;
    config.server.listen = target.address();

    let refused = Daemon::listen(config).await.err().unwrap();

    assert_eq!(refused.exit_status(), 1);
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains(&target.address().to_string()), "{cause}");
    assert!(cause.contains("server.listen"), "{cause}");
}

#[tokio::test]
async fn a_source_that_asks_to_be_left_alone_does_not_hold_up_the_end() {
    let house = House::new();
    let (source, _target, config) = one_pair(&house).await;
    source.fault(
        Fault::everywhere(Harm::Throttle { retry_after: Some(3600) }).part(Part::NewestVersion),
    );

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    eventually("a pause", || paused(address)).await;
    daemon.stop().await;

    assert_eq!(errors_of_runs(&house).await, [Some("interrupted".to_owned())]);
}

/// The daemon of a house, in a process of its own.
pub(crate) fn process(house: &House) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    command
        .args(["--log-format", "json", "--config"])
        .arg(house.path("tidemark.yaml"))
        .arg("serve");
    Process::begin(command)
}

#[tokio::test]
async fn p3_sigterm_in_the_middle_of_a_run_ends_the_process_with_0() {
    let house = House::new();
    let (source, target, _) = one_pair(&house).await;
    put(&source, "courses", &district::course("ALG-1"));
    let gate = Gate::new();
    target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));

    let mut process = process(&house);
    process.says("run began").await;
    gate.reached_by(1).await;
    process.signal("TERM").await;
    gate.open();
    let (status, said) = process.end().await;

    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(!said.contains("255901"), "a key is in the log: {said}");
    assert_eq!(errors_of_runs(&house).await, [Some("interrupted".to_owned())]);
    assert_eq!(target.count("/ed-fi/courses"), 0);
}

#[tokio::test]
async fn two_daemons_on_one_state_end_with_4() {
    let house = House::new();
    let (_source, _target, config) = one_pair(&house).await;
    let first = Running::ready(config).await;

    let second = Command::new(env!("CARGO_BIN_EXE_tidemark"))
        .arg("--config")
        .arg(house.path("tidemark.yaml"))
        .args(["serve", "--wait-for-state", "0s"])
        .kill_on_drop(true)
        .output();
    let second = tokio::time::timeout(BOUND, second).await.expect("it ends").unwrap();

    assert_eq!(second.status.code(), Some(4), "{}", String::from_utf8_lossy(&second.stderr));
    first.stop().await;
}

/// Row 11 of the security checklist: memory holds secrets, tokens and pages about children.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_memory_of_a_process_of_ours_is_never_dumped() {
    let house = House::new();
    let (_source, _target, _) = one_pair(&house).await;
    let mut process = process(&house);
    process.says("ready").await;

    let id = process.id();
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();

    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    process.signal("TERM").await;
    assert_eq!(process.end().await.0, Some(0));
}

/// Whether a server asked to be left alone.
async fn paused(address: SocketAddr) -> bool {
    let (_, text) = get(address, "/metrics").await;
    text.lines().any(|line| line.starts_with("tidemark_http_paused_seconds_total{"))
}

/// What the runs of the one pair failed with, newest first; the daemon has ended.
pub(crate) async fn errors_of_runs(house: &House) -> Vec<Option<String>> {
    let store = state::open(&house.state()).expect("the state was let go");
    let id = state::PairId { publication: "district-to-state".into(), target: "state".into() };
    let runs = store.runs(&id, 10).await.unwrap();
    runs.iter().map(|run| run.error.clone().map(|error| error.0)).collect()
}

#[tokio::test]
async fn i13_a_slow_target_does_not_hold_up_the_next_run_of_the_others() {
    let house = House::new();
    let (source, quick, slow) =
        (sandbox(bare()).await, sandbox(strict()).await, sandbox(strict()).await);
    put(&source, "localEducationAgencies", &district::agency());
    let gate = Gate::new();
    slow.fault(Fault::everywhere(Harm::Hold(gate.clone())).method("POST").part(Part::Items));
    let connections =
        [("district", reach(&source)), ("quick", reach(&quick)), ("slow", reach(&slow))];
    let both = EVERY_SECOND.replace("[state]", "[quick, slow]");
    let config = house.config(&connections, &both);

    let daemon = Running::ready(config).await;
    gate.reached_by(1).await;
    eventually("the first run", || async { quick.count("/ed-fi/localEducationAgencies") == 1 })
        .await;
    put(&source, "schools", &district::school());
    eventually("the second run", || async { quick.count("/ed-fi/schools") == 1 }).await;

    assert_eq!(slow.count("/ed-fi/localEducationAgencies"), 0);
    gate.open();
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_the_daemon_that_holds_the_state_and_none_of_them_ends_with_4() {
    let house = House::new();
    let (_source, _target, config) = one_pair(&house).await;
    let daemon = Running::ready(config).await;
    let address = daemon.address;
    eventually("the first run", || async move {
        pair(address, "district-to-state").await["watermark"].is_number()
    })
    .await;
    let typed = |arguments: &'static [&'static str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        command
            .args(arguments)
            .env("TIDEMARK_CONFIG", house.path("tidemark.yaml"))
            .env("TIDEMARK__SERVER__LISTEN", address.to_string());
        command.output()
    };

    let status = typed(&["status", "--output", "json"]).await.unwrap();
    let parked = typed(&["parked", "list"]).await.unwrap();
    let verify = typed(&["verify"]).await.unwrap();

    let told: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status.status.code(), Some(0));
    assert_eq!(told["pairs"][0]["publication"], "district-to-state");
    assert!(told["pairs"][0]["watermark"].is_number());
    assert!(told["pairs"][0]["next_run_at"].is_string());
    assert_eq!(parked.status.code(), Some(0), "{}", String::from_utf8_lossy(&parked.stderr));
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stderr));
    daemon.stop().await;
}

#[tokio::test]
async fn backups_are_made_beside_a_run_and_one_that_fails_harms_no_run() {
    let house = House::new();
    let (_source, target, mut config) = one_pair(&house).await;
    let backup = config.state.backup.as_mut().expect("backups are made unless told otherwise");
    assert_eq!(backup.path, house.path("state-backups"));
    backup.every = Duration::from_secs(1);
    backup.keep = 2;
    let gate = Gate::new();
    target.fault(Fault::on("/ed-fi/schools", Harm::Hold(gate.clone())).method("POST"));
    let directory = house.path("state-backups");
    let text_of_newest = || {
        let mut files: Vec<_> =
            std::fs::read_dir(&directory).ok()?.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
        files.sort();
        std::fs::read_to_string(files.pop()?).ok()
    };

    let daemon = Running::ready(config).await;
    let address = daemon.address;
    gate.reached_by(1).await;
    eventually("a backup of the run", || async {
        text_of_newest().is_some_and(|text| text.contains(r#""journal":{"#))
    })
    .await;
    let last = metric(address, "tidemark_last_backup_timestamp_seconds", &[]).await;
    let failed = metric(address, "tidemark_failed_backups_total", &[]).await;
    std::fs::rename(&directory, house.path("elsewhere")).unwrap();
    std::fs::write(&directory, b"a file is in the way").unwrap();
    eventually("a failure", || async move {
        metric(address, "tidemark_failed_backups_total", &[]).await >= 1.0
    })
    .await;
    gate.open();
    eventually("the end of the run", || async move {
        pair(address, "district-to-state").await["watermark"].is_number()
    })
    .await;
    std::fs::remove_file(&directory).unwrap();
    eventually("a backup of what is done", || async {
        text_of_newest().is_some_and(|text| !text.contains(r#""journal":{"#))
    })
    .await;

    assert!(last > 0.0);
    assert_eq!(failed, 0.0);
    assert_eq!(get(address, "/readyz").await.0, 200);
    daemon.stop().await;
}
