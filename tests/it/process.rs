//! The built program as a daemon: a process of its own, which ends with its test.
//!
//! The one thing to know: what it says is read only while somebody asks for it, unless
//! [`Process::read_on`] was called: a daemon whose log nobody reads is a case of its own (P16).

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Far above what anything that a test waits for takes.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    /// What was read so far.
    said: String,
    /// The rest, until somebody else reads it.
    lines: Option<Lines<BufReader<ChildStderr>>>,
    rest: Option<JoinHandle<String>>,
    /// What is read by itself, up to now.
    heard: watch::Sender<String>,
}

impl Process {
    pub(crate) fn begin(mut command: Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Process {
            child,
            said: String::new(),
            lines: Some(lines),
            rest: None,
            heard: watch::Sender::default(),
        }
    }

    /// Reads the log to the next line that holds `text`.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        let lines = self.lines.as_mut().expect("nobody else reads the log");
        let line = async {
            loop {
                let Some(line) = lines.next_line().await.unwrap() else {
                    panic!("it ended before it said {text:?}: {}", self.said)
                };
                self.said.push_str(&line);
                self.said.push('\n');
                if line.contains(text) {
                    return line;
                }
            }
        };
        tokio::time::timeout(BOUND, line).await.unwrap_or_else(|_| panic!("never said: {text}"))
    }

    /// Reads the log until the daemon is ready; where it listens.
    pub(crate) async fn is_ready(&mut self) -> SocketAddr {
        let line = self.says("listening").await;
        let (_, after) = line.split_once("address").expect("it says where it listens");
        let is_of_address = |letter: char| letter.is_ascii_digit() || ".:[]".contains(letter);
        let address = after.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let end = address.find(|letter| !is_of_address(letter)).unwrap_or(address.len());
        self.says("ready").await;
        address[..end].parse().unwrap()
    }

    /// From here on the log is read by itself.
    pub(crate) fn read_on(&mut self) {
        let Some(mut lines) = self.lines.take() else { return };
        let heard = self.heard.clone();
        self.rest = Some(tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                heard.send_modify(|said| {
                    said.push_str(&line);
                    said.push('\n');
                });
            }
            heard.send_replace(String::new())
        }));
    }

    /// Waits until it has said so since the log is read by itself.
    pub(crate) async fn is_heard_to_say(&self, text: &str) {
        let mut heard = self.heard.subscribe();
        let said = heard.wait_for(|said| said.contains(text));
        let said = tokio::time::timeout(BOUND, said).await;
        said.unwrap_or_else(|_| panic!("never said: {text}")).expect("it is still read");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// How it ended, while nobody reads what it says.
    pub(crate) async fn end_unread(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(BOUND, self.child.wait()).await;
        ended.expect("the process ends").unwrap().code()
    }

    /// How it ended, and all that it said.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        self.read_on();
        let rest = self.rest.take().expect("it was just told to read on");
        let ended = async { (self.child.wait().await.unwrap(), rest.await.unwrap()) };
        let (status, rest) = tokio::time::timeout(BOUND, ended).await.expect("the process ends");
        (status.code(), self.said + &rest)
    }

    /// Told to end, it ends with 0. All that it said.
    pub(crate) async fn stop(self) -> String {
        self.signal("TERM").await;
        let (code, said) = self.end().await;
        assert_eq!(code, Some(0), "{said}");
        said
    }
}
