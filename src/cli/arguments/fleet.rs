//! What can be typed of schedules, history, the audit, erasure and reports.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Selector;
use crate::clock::Timestamp;
use crate::telemetry::LogLevel;

#[derive(Debug, Args)]
pub(in crate::cli) struct PauseArguments {
    #[command(flatten)]
    pub(in crate::cli) selector: Selector,
    /// Resumed by itself then, such as `2026-01-31T10:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) until: Option<Timestamp>,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    /// Yes, more than one pair
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ResumeArguments {
    #[command(flatten)]
    pub(in crate::cli) selector: Selector,
    /// Yes, more than one pair
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CancelArguments {
    #[command(flatten)]
    pub(in crate::cli) selector: Selector,
    /// Yes, the runs of more than one pair
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RunsCommand {
    /// List runs, newest first
    List(RunsListArguments),
    /// Show runs with everything that is known of them
    Show(RunsShowArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunsListArguments {
    #[command(flatten)]
    pub(in crate::cli) selector: Selector,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(in crate::cli) limit: usize,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RunsShowArguments {
    /// Ids as `runs list` shows them; their beginning is enough
    #[arg(required = true, value_name = "ID")]
    pub(in crate::cli) ids: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// List what was done and read, newest first
    List(AuditListArguments),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditListArguments {
    /// Nothing older: a moment such as `2026-01-31T10:00:00Z`, or how long ago, such as `7days`
    #[arg(long, value_name = "TIME|DURATION")]
    pub(in crate::cli) since: Option<Since>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Since {
    Moment(Timestamp),
    Before(Duration),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(moment) = text.parse() {
            return Ok(Since::Moment(moment));
        }
        humantime::parse_duration(text).map(Since::Before).map_err(|_| {
            "write a moment such as 2026-01-31T10:00:00Z, or a duration such as 7days".to_owned()
        })
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ForgetArguments {
    /// Whose key it is, such as `students` or `/tpdm/candidates`
    #[arg(long, value_name = "RESOURCE")]
    pub(in crate::cli) resource: String,
    /// The key comes on standard input, as JSON: it belongs in no history of a shell
    #[arg(long, required = true)]
    pub(in crate::cli) key_from_stdin: bool,
    /// Yes, erase it
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    /// Why, for whoever asks later; never the key
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LogLevelArguments {
    /// off, error, warn, info, debug or trace; without it the level is shown
    #[arg(value_name = "LEVEL")]
    pub(in crate::cli) level: Option<LogLevel>,
    /// Then it goes back by itself, after a day at the latest
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(in crate::cli) lasting: Duration,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArguments {
    #[command(flatten)]
    pub(in crate::cli) selector: Selector,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionsArguments {
    pub(in crate::cli) shell: clap_complete::Shell,
}
