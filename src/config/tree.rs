//! The configuration as types. Every default is `config/reference.yaml`'s; a test holds the two
//! together. Paths are relative to the directory in which tidemark starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use url::Url;

use super::cron::CronSchedule;
use super::names::{ConnectionName, LimitName, PublicationName};
use super::secret::Secret;
use super::server::{TlsConfig, TokenConfig};

/// A configuration that was read and checked whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub state: StateConfig,
    pub server: ServerConfig,
    /// The collector of OTLP that traces are sent to. Default: there is none.
    pub otlp: Option<Url>,
    pub limits: BTreeMap<LimitName, LimitConfig>,
    pub connections: BTreeMap<ConnectionName, ConnectionConfig>,
    pub publications: BTreeMap<PublicationName, PublicationConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// The directory of the sled store. Default `data/state`.
    pub path: PathBuf,
    /// Connections without a key or a secret of their own read `<dir>/<connection>-key` and
    /// `<dir>/<connection>-secret`. Default: there is none.
    pub secrets_dir: Option<PathBuf>,
    /// `None` when `every` is 0.
    pub backup: Option<BackupConfig>,
    /// How long the audit is kept; what is older goes when the next line is written. Default 400
    /// days.
    pub audit_for: Duration,
}

/// Exports of the state that `serve` makes while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupConfig {
    /// At least a second. Default a day.
    pub every: Duration,
    /// The directory for them. Default: that of the state with `-backups` after its name, so that
    /// two states side by side do not remove each other's.
    pub path: PathBuf,
    /// The newest so many are kept, at least 1. Default 14.
    pub keep: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Default `127.0.0.1:8642`.
    pub listen: SocketAddr,
    /// A second address, for metrics and health alone. Default: there is none.
    pub metrics_listen: Option<SocketAddr>,
    /// Pairs at once, at least 1. Default 32.
    pub max_running: usize,
    /// Above so many pairs metrics leave the label `resource` out. Default 20.
    pub metrics_resource_pairs: usize,
    /// Who brings it may do everything. Default: there is none.
    pub admin_token: Option<Secret>,
    pub tokens: Vec<TokenConfig>,
    /// Default: plain HTTP.
    pub tls: Option<TlsConfig>,
}

/// What the connections that name it share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Requests in flight, at least 1; `None`: no ceiling beside those of the connections.
    pub max_concurrency: Option<usize>,
    /// Requests a second; `None` (written 0) is no fixed rate.
    pub max_requests_per_second: Option<u32>,
}

/// One Ed-Fi ODS/API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Where the root document is; `http` or `https`, without credentials, query or fragment.
    pub url: Url,
    pub key: Secret,
    pub secret: Secret,
    /// Only where the root document does not tell, or tells wrongly.
    pub token_url: Option<Url>,
    /// An education organization id, where the host wants one.
    pub scope: Option<String>,
    /// For year-specific hosts.
    pub school_year: Option<u16>,
    /// For year-specific hosts with several instances; only with `school_year`.
    pub instance: Option<String>,
    /// Default: the authorities of the system, and nothing is shown.
    pub tls: ConnectionTls,
    /// Of one request, more than zero. Default 60 s.
    pub timeout: Duration,
    /// A ceiling for requests in flight, at least 1. Default 512.
    pub max_concurrency: usize,
    /// Requests a second; `None` (written 0, the default) is no fixed rate.
    pub max_requests_per_second: Option<u32>,
    /// What it shares with others, beside its own ceilings.
    pub limit: Option<LimitName>,
    /// When no request is sent. Default: never.
    pub closed: Vec<ClosedHours>,
}

/// PEM files of one connection, which are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionTls {
    /// The server's certificate must come from one of these, and no longer from one of the system's.
    pub authorities: Option<PathBuf>,
    /// What is shown to a server that asks who we are.
    pub shown: Option<TlsConfig>,
}

/// More hours in a row than this are not looked at: who waits looks again when they have ended.
const MOST_JOINED: usize = 100;

/// Hours that come again and again, in which a connection is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedHours {
    /// When they begin, on the clocks of `time_zone`.
    pub cron: CronSchedule,
    /// How long they last, at least a second.
    pub length: Duration,
    /// Default UTC.
    pub time_zone: Tz,
}

impl ClosedHours {
    /// When the hours end that `moment` falls into; `None` when it falls into none.
    pub fn closed_until(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let length = TimeDelta::from_std(self.length).ok()?;
        let mut until = None;
        let mut after = moment.checked_sub_signed(length)?;
        // Hours that begin before others have ended make them longer; so far is far enough.
        for _ in 0..MOST_JOINED {
            let Some(begins) = self.cron.next_after(after, self.time_zone) else { break };
            if begins > until.unwrap_or(moment) {
                break;
            }
            (until, after) = (begins.checked_add_signed(length), begins);
        }
        until
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationConfig {
    pub source: ConnectionName,
    /// At least one; none twice; the source is not among them.
    pub targets: Vec<ConnectionName>,
    pub labels: BTreeMap<String, String>,
    pub trigger: Trigger,
    /// Of the schedules. Default UTC.
    pub time_zone: Tz,
    /// Each pair starts at its own fixed moment within this after the tick. Default zero.
    pub spread: Duration,
    /// Then a run stops, and the next one goes on with it; zero (the default): never.
    pub deadline: Duration,
    /// Publications whose runs of the same tick must have ended; none of them waits for this one.
    pub after: Vec<PublicationName>,
    pub verify: VerifyConfig,
    /// Default `snapshot`.
    pub isolation: Isolation,
    /// Default `fail`.
    pub on_missing_snapshot: OnMissingSnapshot,
    /// How far back a window reaches over the one before; zero: not at all. Default 15 minutes.
    pub overlap: Duration,
    /// How far back the run after the first one reaches. Default 100,000 versions.
    pub first_overlap_versions: FirstOverlap,
    /// Default `publish`.
    pub key_changes: Publish,
    /// Default `publish`.
    pub deletes: Publish,
    /// The share of what the source shows of a resource that one run may delete. Default 10 %.
    pub max_deletes: Percent,
    /// The share counts only for more deletes than this. Default 100.
    pub max_deletes_above: u64,
    /// Default `auto`; see [`Config::is_sole_writer`].
    pub sole_writer: SoleWriter,
    /// What others write too: `students`, `/tpdm/candidates`, `descriptors`, `people`. Default
    /// nothing.
    pub shared: Vec<String>,
    /// What belongs to somebody else, by the same names. Default nothing.
    pub create_only: Vec<String>,
    /// Items a page, at least 1. Default 500.
    pub page_size: u32,
    pub resources: ResourcesConfig,
    pub retry: RetryConfig,
    /// Default `full`.
    pub first_run: FirstRun,
}

/// How far back the run after the first one reaches, which has no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOverlap {
    Versions(u64),
    /// Everything is read twice, the second time at once.
    All,
}

/// What a pair does that was never published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRun {
    /// Everything.
    Full,
    /// Nothing: what changes from then on is published.
    FromNow,
    /// It fails: somebody says first how far the target is.
    Refuse,
}

/// What starts the runs of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Neither `schedule` nor `every`: only `tidemark run` starts it.
    Manual,
    Cron(CronSchedule),
    Every(Duration),
}

/// How a window is held still while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    Snapshot,
    /// Both edges of the window are asked for.
    Bounded,
    /// The lower edge alone.
    Open,
    /// Upserts as `Open`, deletes as `Bounded`.
    Combined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissingSnapshot {
    Fail,
    /// Read with that isolation in its place, never [`Isolation::Snapshot`].
    ReadAs(Isolation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    Publish,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoleWriter {
    /// As long as no other publication of the configuration writes to the same data.
    Auto,
    Yes,
    No,
}

/// 0 % to 100 %, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// `10%`, `0.5%`: at most two decimals.
    pub fn parse(text: &str) -> Option<Percent> {
        let number = text.strip_suffix('%')?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || whole.len() > 3 || decimals.len() > 2 {
            return None;
        }
        let hundredths = format!("{decimals:0<2}").parse::<u16>().ok()?;
        let parts = whole.parse::<u16>().ok()? * 100 + hundredths;
        (parts <= 10_000).then_some(Percent(parts))
    }

    /// The share of `whole`, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        let share = u128::from(whole) * u128::from(self.0) / 10_000;
        u64::try_from(share).expect("a share of at most 100 % is no larger than its whole")
    }
}

/// The four forms of a selection. Names are `students` or `/tpdm/candidates`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcesConfig {
    /// With everything they depend on.
    pub include: Vec<String>,
    pub include_only: Vec<String>,
    /// With everything that depends on them.
    pub exclude: Vec<String>,
    pub exclude_only: Vec<String>,
    /// Default `true`.
    pub descriptors: bool,
}

/// How the publication is compared, and when the daemon does it by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyConfig {
    /// Default: none.
    pub schedule: Option<CronSchedule>,
    /// Whether bodies are compared too. Default `false`.
    pub content: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Then a parked item is dead; at least 1. Default 40.
    pub max_attempts: u32,
    /// More than zero. Default 1 minute.
    pub first_delay: Duration,
    /// At least `first_delay`. Default 6 hours.
    pub max_delay: Duration,
    /// What a pair may hold, at least 1. Default 10,000.
    pub max_parked: u64,
}
