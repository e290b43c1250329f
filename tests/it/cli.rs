//! The built program as a person or a script uses it: what is typed, printed and returned.

mod approve;
mod failures;
mod full_disk;
mod looking;
mod owners;
mod publishing;
mod sentinel;
mod state;
mod terminal;
mod through_daemon;
mod verifying;
mod waiting;

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tidemark::sandbox::{Sandbox, SandboxOptions};
use tokio::process::Command;

use crate::district;
use crate::scene::{bare, put};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidemark");

/// A directory with a configuration, a source with a small district, and an empty target.
pub(crate) struct Desk {
    pub(crate) directory: TempDir,
    pub(crate) source: Sandbox,
    pub(crate) target: Sandbox,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Standard output as the one JSON value that it has to be.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Desk {
    pub(crate) async fn new() -> Desk {
        Desk::with(bare(), bare()).await
    }

    pub(crate) async fn with(source: SandboxOptions, target: SandboxOptions) -> Desk {
        let source = Sandbox::start(source).await.unwrap();
        let target = Sandbox::start(target).await.unwrap();
        put(&source, "localEducationAgencies", &district::agency());
        put(&source, "schools", &district::school());
        for id in ["S-701", "S-702", "S-703"] {
            put(&source, "students", &district::student(id));
        }
        let desk = Desk { directory: tempfile::tempdir().unwrap(), source, target };
        desk.configure(&desk.usual(""));
        desk
    }

    /// The usual configuration, with more lines for the publication.
    pub(crate) fn usual(&self, more: &str) -> String {
        format!(
            "state: {{path: state}}\n\
             connections:\n\
             \x20 district: {{kind: ed-fi, url: \"{}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n\
             \x20 state: {{kind: ed-fi, url: \"{}\", key: {{env: KEY}}, secret: {{env: SECRET}}}}\n\
             publications:\n\
             \x20 district-to-state:\n\
             \x20   source: district\n\
             \x20   targets: [state]\n\
             \x20   first_overlap_versions: 0\n\
             \x20   resources: {{include_only: [localEducationAgencies, schools, students]}}\n{more}",
            self.source.url(),
            self.target.url()
        )
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.directory.path().join("tidemark.yaml"), text).unwrap();
    }

    /// The command with nothing of the environment but the credentials.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
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

    pub(crate) async fn tidemark(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments)).await
    }
}

async fn ended(mut command: Command) -> Ended {
    ended_child(command.spawn().unwrap()).await
}

pub(crate) async fn ended_child(child: tokio::process::Child) -> Ended {
    let output = child.wait_with_output().await.unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal to a child, as a terminal or a service manager would.
pub(crate) async fn signal(child: &tokio::process::Child, name: &str) {
    let id = child.id().unwrap().to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
    assert!(sent.success());
}
