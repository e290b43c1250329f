//! A thousand publications that have nothing to do: what the daemon takes, how late their runs are,
//! what each leaves on disk, and how soon it is ready when it starts again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{bytes_in, median};
use crate::Size;
use crate::child::Running;
use crate::play::Play;
use crate::table::{Goal, Row, bytes, mebibytes, milliseconds, percent, seconds};
use crate::usage::{self, Usage};

const NAME: &str = "many-pairs";
const PAIRS: usize = 1_000;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let minutes = match size {
        Size::Short => 1,
        Size::Normal => 2,
        Size::Long => 10,
    };
    let source = Running::start(&Play {
        items: vec![("ed-fi/students".to_owned(), 1)],
        body_bytes: (1 << 10, 1 << 10),
        ..Play::default()
    });
    let target = Running::start(&Play::default());
    let directory = tempfile::tempdir().expect("a directory for a state");
    let address = free_address();
    configure(directory.path(), address, &source, &target);

    let daemon = Daemon::start(directory.path(), address);
    daemon.all_have_run();
    drop(daemon);
    let left = bytes_in(&directory.path().join("state")) as f64 / PAIRS as f64;

    let mut started = Vec::new();
    for _ in 0..5 {
        started.push(Daemon::start(directory.path(), address).ready_after);
    }
    let daemon = Daemon::start(directory.path(), address);
    // The first minute pays for connections and tokens.
    std::thread::sleep(Duration::from_secs(75));
    let (before, due) = (daemon.usage(), daemon.pairs());
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(60 * minutes));
    let share = (daemon.usage().cpu - before.cpu) / began.elapsed().as_secs_f64();
    let latest = latest(&due, &daemon.pairs());
    let peak = daemon.usage().peak_rss as f64;
    let what = format!("{PAIRS} idle pairs, a poll a minute each");
    vec![
        Row::of(
            NAME,
            format!("{what}: the most memory"),
            peak,
            Goal::AtMost(f64::from(256 << 20)),
            mebibytes,
        ),
        Row::of(NAME, format!("{what}: of a core"), share, Goal::AtMost(0.02), percent),
        Row::of(
            NAME,
            format!("{what}: the latest run after its own moment"),
            latest,
            Goal::AtMost(5.0),
            seconds,
        ),
        Row::of(
            NAME,
            "ready with the state of all of them",
            median(started),
            Goal::AtMost(0.2),
            milliseconds,
        ),
        Row::of(NAME, "a pair on disk after its first run", left, Goal::None, bytes),
    ]
}

/// Every pair has a source of its own; all write to one target.
fn configure(directory: &Path, address: SocketAddr, source: &Running, target: &Running) {
    let mut connections = String::new();
    let mut publications = String::new();
    let mut connection = |name: &str, url: &str| {
        connections.push_str(&format!(
            "  {name}: {{kind: ed-fi, url: \"{url}\", key: bench, secret: bench}}\n"
        ));
    };
    connection("target", &target.url);
    for number in 0..PAIRS {
        connection(&format!("s-{number:04}"), &source.house(number));
        publications.push_str(&format!(
            "  p-{number:04}: {{source: s-{number:04}, targets: [target], every: 60s, spread: 55s}}\n"
        ));
    }
    let text = format!(
        "state: {{path: \"{}\"}}\nserver: {{listen: \"{address}\"}}\nconnections:\n{connections}publications:\n{publications}",
        directory.join("state").display()
    );
    std::fs::write(directory.join("tidemark.yaml"), text)
        .expect("the directory is the bench's own");
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("this machine has a free port");
    listener.local_addr().expect("it is bound")
}

/// `tidemark serve`, as it is installed.
struct Daemon {
    child: Child,
    address: SocketAddr,
    /// From the start of the process, in seconds.
    ready_after: f64,
}

impl Daemon {
    fn start(directory: &Path, address: SocketAddr) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        command.arg("serve").env("TIDEMARK_CONFIG", directory.join("tidemark.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let child = command.spawn().expect("the daemon can be started");
        let mut daemon = Daemon { child, address, ready_after: 0.0 };
        while daemon.get("/readyz").is_none_or(|(status, _)| status != 200) {
            assert!(began.elapsed() < Duration::from_secs(60), "the daemon of a bench gets ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        daemon.ready_after = began.elapsed().as_secs_f64();
        daemon
    }

    fn all_have_run(&self) {
        let began = Instant::now();
        let has_run = |pair: &Value| !pair["last_run"].is_null();
        while !self.pairs().iter().all(has_run) {
            assert!(began.elapsed() < Duration::from_secs(300), "every pair has its turn");
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn pairs(&self) -> Vec<Value> {
        let (_, body) = self.get("/api/v1/pairs").expect("the daemon answers");
        let told: Value = serde_json::from_str(&body).expect("the daemon answers in JSON");
        told["pairs"].as_array().expect("pairs").clone()
    }

    /// The status and the body of an answer; `None` where nobody listens yet.
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    fn usage(&self) -> Usage {
        usage::of_process(&self.child.id().to_string())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // As it is stopped where it runs. It may have ended already; nothing depends on how.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// By how much the latest of the runs that were due ended after its own moment, in seconds: when one
/// began is not told, and it takes milliseconds.
fn latest(due: &[Value], now: &[Value]) -> f64 {
    let moment = |value: &Value| -> Option<DateTime<Utc>> { value.as_str()?.parse().ok() };
    let mut latest: f64 = 0.0;
    for (due, now) in due.iter().zip(now) {
        let planned = moment(&due["next_run_at"]).expect("every pair has its moment");
        let ended = moment(&now["last_run"]["ended_at"]).expect("every pair has run");
        // A poll a minute: the last run is as many whole minutes later.
        let since = (ended - planned).num_milliseconds() as f64 / 1e3;
        latest = latest.max(since.rem_euclid(60.0));
    }
    latest
}
