//! Exit codes, and why a command did not do what it was asked (contract, "Exit status").

use std::process::ExitCode;

use crate::config::ConfigProblems;
use crate::engine::RunError;
use crate::state::StateError;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// Failed or interrupted; for `verify`: not equal.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// Complete, but items are parked or dead.
    Parked,
    /// Another process holds the state.
    Locked,
    /// The state cannot be read.
    Unreadable,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Parked => 3,
            Exit::Locked => 4,
            Exit::Unreadable => 5,
        }
    }

    pub(super) fn of_code(code: u8) -> Exit {
        match code {
            0 => Exit::Done,
            2 => Exit::Usage,
            3 => Exit::Parked,
            4 => Exit::Locked,
            5 => Exit::Unreadable,
            _ => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A command that ended without its answer: the sentence to print and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into() }
    }
}

impl From<ConfigProblems> for Failure {
    fn from(problems: ConfigProblems) -> Failure {
        let message = match problems.0.len() {
            1 => problems.to_string(),
            count => format!("{count} mistakes in the configuration\n{problems}"),
        };
        Failure::usage(message)
    }
}

/// At opening. A store that fails later fails the run.
impl From<StateError> for Failure {
    fn from(error: StateError) -> Failure {
        let exit = match error {
            StateError::Locked { .. } => Exit::Locked,
            StateError::Unreadable { .. }
            | StateError::Newer { .. }
            | StateError::Failed { .. } => Exit::Unreadable,
        };
        Failure { exit, message: error.to_string() }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        Failure::failed(error.message())
    }
}
