//! What can be typed (contract, "Command line"). Texts here are the help that people read.

#[cfg(test)]
mod documented;
mod fleet;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::clock::Timestamp;
use crate::sandbox::ApiVersion;
use crate::telemetry::{LogFormat, LogLevel};

pub(super) use self::fleet::{
    AuditCommand, AuditListArguments, CancelArguments, CompletionsArguments, ForgetArguments,
    LogLevelArguments, PauseArguments, ReportArguments, ResumeArguments, RunsCommand,
    RunsListArguments, RunsShowArguments, Since,
};

/// Keeps target APIs in step with a source API
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, arg_required_else_help = true, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// The configuration: a file, or a directory of `*.yaml` [default: $TIDEMARK_CONFIG, then
    /// config/tidemark.yaml, then /etc/tidemark]
    #[arg(long, global = true, value_name = "FILE|DIR")]
    pub(super) config: Option<PathBuf>,
    /// How logs look: text or json
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// How much is logged: off, error, warn, info, debug or trace [default: info for `serve`,
    /// warn for everything else]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<LogLevel>,
    /// How the answer is shown
    #[arg(long, global = true, value_enum, default_value_t = Form::Text)]
    pub(super) output: Form,
    #[arg(long, global = true, hide = true)]
    pub(super) server: Option<String>,
    #[arg(long, global = true, hide = true)]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    Text,
    Json,
    /// Of `parked list` and `report` only
    Csv,
    /// Of `report` only: one page that prints well
    Html,
}

/// What every command can answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish now, then end
    Run(RunArguments),
    /// Show what a run would do, without writing
    Plan(PlanArguments),
    /// Reach every connection and say what each can do, and what a target lacks
    Check(CheckArguments),
    /// Show how far every pair is
    Status(StatusArguments),
    /// Compare source and target key by key
    Verify(VerifyArguments),
    /// Look at parked items, and have them tried again
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Read or move the watermark of a pair
    #[command(subcommand)]
    Watermark(WatermarkCommand),
    /// Decide about a pair that is blocked
    #[command(subcommand)]
    Approve(ApproveCommand),
    /// Take out, bring in, rename or forget what is remembered of pairs
    #[command(subcommand)]
    State(StateCommand),
    /// Run every publication on its schedule, and serve health and metrics
    Serve(ServeArguments),
    /// See the whole job on this machine, with nothing else installed
    Demo,
    /// Run a simulated Ed-Fi ODS/API
    Sandbox(SandboxArguments),
    /// Check the configuration, or print an example of one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Let no run of these pairs begin, until they are resumed or until a moment
    Pause(PauseArguments),
    /// Let paused pairs run again
    Resume(ResumeArguments),
    /// Tell the runs of these pairs to save their progress and end
    Cancel(CancelArguments),
    /// Show what ran, how it ended and what it moved
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Show who did what, when and why
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Erase a natural key from all that is remembered
    Forget(ForgetArguments),
    /// Show how much the daemon logs, or change it for a while
    LogLevel(LogLevelArguments),
    /// Tell the one who owns the data how complete it is: counts, and no keys
    Report(ReportArguments),
    /// Print what makes a shell complete these commands
    Completions(CompletionsArguments),
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// Whatever is typed after a command of a later version.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(super) rest: Vec<OsString>,
}

/// Which pairs a command is about.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Selector {
    /// Publications, by name or glob such as `district-*`
    #[arg(value_name = "PUBLICATION")]
    pub(super) publications: Vec<String>,
    #[command(flatten)]
    pub(super) narrow: Narrow,
}

#[derive(Clone, Debug, Default, Args)]
pub(super) struct Narrow {
    /// Publications with all of these labels
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE[,…]", value_delimiter = ',')]
    pub(super) labels: Vec<String>,
    /// Every pair that uses this connection, as source or target
    #[arg(long, value_name = "NAME")]
    pub(super) connection: Option<String>,
    /// Only pairs with this target
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
    /// Every publication
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) selector: Selector,
    /// Only pairs that were never published before
    #[arg(long)]
    pub(super) first: bool,
    /// Pairs at once [default: `server.max_running`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_running: Option<u32>,
    /// Delete more than `max_deletes` allows: you have looked at what would go
    #[arg(long)]
    pub(super) allow_deletes: bool,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) selector: Selector,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) selector: Selector,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    pub(super) selector: Selector,
    /// Look again every other second, until interrupted
    #[arg(long)]
    pub(super) watch: bool,
    /// Only pairs in one of these states, such as `failing,blocked`
    #[arg(long, value_name = "STATE[,…]", value_delimiter = ',')]
    pub(super) state: Vec<String>,
    /// What comes first [default: the name; of more than 10 pairs the worst]
    #[arg(long, value_enum)]
    pub(super) sort: Option<Sort>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    Name,
    /// Blocked, failing, degraded, …
    Worst,
    Lag,
    Parked,
    /// The one that is longest ago
    LastRun,
    /// The one that is next
    NextRun,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    pub(super) selector: Selector,
    /// Only this resource, such as `students` or `/tpdm/candidates`; may be repeated
    #[arg(long = "resource", value_name = "RESOURCE")]
    pub(super) resources: Vec<String>,
    /// Compare the bodies too
    #[arg(long)]
    pub(super) content: bool,
    /// Publish what is missing or different
    #[arg(long)]
    pub(super) repair: bool,
    /// Delete what only the target has; needs --yes
    #[arg(long, requires = "yes")]
    pub(super) delete_extra: bool,
    /// Delete more than `max_deletes` allows: you have looked at what would go
    #[arg(long)]
    pub(super) allow_deletes: bool,
    /// Yes, delete, and yes, more than one pair
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ParkedCommand {
    /// List parked and dead items
    List(ParkedListArguments),
    /// Show items with everything that is known of them
    Show(ParkedShowArguments),
    /// Make items due now, dead ones too, with fresh attempts
    Retry(ParkedRetryArguments),
    /// Give items up: nobody tries them again, and the watermark stays
    Discard(ParkedDiscardArguments),
}

#[derive(Clone, Debug, Default, Args)]
pub(super) struct ParkedFilterArguments {
    /// Only this resource, such as `students` or `/tpdm/candidates`
    #[arg(long, value_name = "RESOURCE")]
    pub(super) resource: Option<String>,
    /// Only this reason, such as `invalid`
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Option<String>,
    /// Only `parked` or only `dead` ones
    #[arg(long, value_name = "STATUS")]
    pub(super) status: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ParkedListArguments {
    #[command(flatten)]
    pub(super) selector: Selector,
    #[command(flatten)]
    pub(super) filter: ParkedFilterArguments,
    /// Every item in a row, those too that only wait for another
    #[arg(long)]
    pub(super) every: bool,
    /// Count instead: any of `reason`, `resource`, `member` and `cause`, separated by commas
    #[arg(long, value_name = "FIELD[,…]", value_delimiter = ',')]
    pub(super) group_by: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ParkedShowArguments {
    /// Ids as `parked list` shows them; their beginning is enough
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Read the item at both ends, as it is now; nothing of it is kept
    #[arg(long)]
    pub(super) live: bool,
}

#[derive(Debug, Args)]
pub(super) struct ParkedRetryArguments {
    /// Ids as `parked list` shows them (their beginning is enough), or publications
    #[arg(value_name = "ID|PUBLICATION")]
    pub(super) named: Vec<String>,
    #[command(flatten)]
    pub(super) narrow: Narrow,
    #[command(flatten)]
    pub(super) filter: ParkedFilterArguments,
    /// Yes, in more than one pair
    #[arg(long)]
    pub(super) yes: bool,
    /// Try these items once, now, and tell what the target said; nothing of it is kept
    #[arg(long)]
    pub(super) show: bool,
}

#[derive(Debug, Args)]
pub(super) struct ParkedDiscardArguments {
    /// Ids as `parked list` shows them (their beginning is enough), or publications
    #[arg(value_name = "ID|PUBLICATION")]
    pub(super) named: Vec<String>,
    #[command(flatten)]
    pub(super) narrow: Narrow,
    #[command(flatten)]
    pub(super) filter: ParkedFilterArguments,
    /// Yes, more than one item
    #[arg(long)]
    pub(super) yes: bool,
    /// Why, for whoever asks later; for more than one item
    #[arg(long, value_name = "TEXT")]
    pub(super) because: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum WatermarkCommand {
    /// Show how far pairs are
    Show(Selector),
    /// Go on from another version: what lies between is published again, or left out
    Set(WatermarkSetArguments),
    /// Begin again: the next run publishes everything
    Reset(WatermarkMove),
}

#[derive(Debug, Args)]
pub(super) struct WatermarkSetArguments {
    #[command(flatten)]
    pub(super) to: WatermarkTo,
    #[command(flatten)]
    pub(super) moving: WatermarkMove,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct WatermarkTo {
    /// The change version after which the next run reads
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) to: Option<i64>,
    /// The newest one that the source is known to have had before this moment, such as
    /// 2026-01-31T10:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) before: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct WatermarkMove {
    #[command(flatten)]
    pub(super) selector: Selector,
    /// Yes, move it
    #[arg(long)]
    pub(super) yes: bool,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ApproveCommand {
    /// Let the next run delete as many items as the blocked one would have
    Deletes(ApproveDeletesArguments),
    /// Say whether a source or target that is another than before has the same data
    Identity(ApproveIdentityArguments),
}

#[derive(Debug, Args)]
pub(super) struct ApproveDeletesArguments {
    #[command(flatten)]
    pub(super) approval: Approval,
    /// Only where deletes of this resource were too many, such as `students`
    #[arg(long, value_name = "RESOURCE")]
    pub(super) resource: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ApproveIdentityArguments {
    #[command(flatten)]
    pub(super) approval: Approval,
    #[command(flatten)]
    pub(super) meaning: IdentityMeaning,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct IdentityMeaning {
    /// The same data under another name: go on from the watermark
    #[arg(long)]
    pub(super) same_data: bool,
    /// Other data: forget the watermark, and publish everything
    #[arg(long)]
    pub(super) start_over: bool,
}

#[derive(Debug, Args)]
pub(super) struct Approval {
    #[command(flatten)]
    pub(super) selector: Selector,
    /// Yes, go on
    #[arg(long)]
    pub(super) yes: bool,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Write everything as text: watermarks, parked keys, history. Keep it private
    Export(StateExportArguments),
    /// Read it back, whole or not at all; or lines `{"publication":…,"target":…,"watermark":…}`
    Import(StateImportArguments),
    /// Show every pair that has state, and whether the configuration still names it
    List,
    /// Give the state of a publication to the one that it is called now
    Move(StateMoveArguments),
    /// Remove everything that is known of a pair that is no longer published
    Forget(StateForgetArguments),
}

#[derive(Debug, Args)]
pub(super) struct StateExportArguments {
    /// A file, for its owner alone; an older one is replaced when the new one is whole [default:
    /// standard output]
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct StateImportArguments {
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// The file is the configuration of another program, with the watermarks that it keeps there
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub(super) from: Option<ImportForm>,
    /// Yes, replace the state that pairs have
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ImportForm {
    /// Connections with `lastChangeVersionsProcessed`
    ApiPublisher,
}

#[derive(Debug, Args)]
pub(super) struct StateMoveArguments {
    /// The name that the publication had
    #[arg(value_name = "OLD")]
    pub(super) old: String,
    /// The name that it has in the configuration now
    #[arg(value_name = "NEW")]
    pub(super) new: String,
}

#[derive(Debug, Args)]
pub(super) struct StateForgetArguments {
    #[arg(value_name = "PUBLICATION[/TARGET]")]
    pub(super) pair: String,
    /// Yes, remove it
    #[arg(long)]
    pub(super) yes: bool,
    /// Why, for whoever asks later; for a pair that the configuration names
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// How long to wait, alive and not ready, while another process holds the state
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(super) wait_for_state: Duration,
}

#[derive(Debug, Args)]
pub(super) struct SandboxArguments {
    /// A loopback address; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8765")]
    pub(super) listen: SocketAddr,
    /// Files named `<endpoint>.ndjson` [default: 34,288 items of built-in sample data]
    #[arg(long, value_name = "DIR", conflicts_with = "empty")]
    pub(super) data: Option<PathBuf>,
    /// Hold nothing but the school years, which no client can create
    #[arg(long)]
    pub(super) empty: bool,
    /// Whose behaviour to play: 5.3, 6.1, 7.1, 7.2, 7.3 or 8.0
    #[arg(long, value_name = "VERSION", default_value = "7.3")]
    pub(super) version: ApiVersion,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say everything that is wrong with the configuration, at once
    Check,
    /// Print a commented example with every key and its default
    Example,
    /// Show the configuration in force, and where each value came from
    Show {
        /// A connection, publication, limit or section [default: everything]
        name: Option<String>,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
}
