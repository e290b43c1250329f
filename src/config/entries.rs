//! What every key of the configuration is: its name, its type and its default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use config::{Value, ValueKind};
use url::Url;

use super::decode::{Fields, Placed, Report, place_of};
use super::names::{ConnectionName, LimitName, PublicationName};
use super::problem::shown;
use super::server;
use super::tree::{
    BackupConfig, ClosedHours, Config, ConnectionConfig, ConnectionTls, FirstOverlap, FirstRun,
    Isolation, LimitConfig, OnMissingSnapshot, Percent, PublicationConfig, Publish,
    ResourcesConfig, RetryConfig, SoleWriter, StateConfig, Trigger, VerifyConfig,
};
use super::values;

/// The sections of a file.
pub(super) const SECTIONS: &[&str] = &[
    "state",
    "server",
    "telemetry",
    "limits",
    "defaults",
    "templates",
    "connections",
    "publications",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What could be read. Entries with mistakes are left out of `config`, but not out of `names`.
pub(super) struct Decoded {
    pub(super) config: Config,
    /// Every connection that the configuration names, well written or not.
    pub(super) names: Vec<String>,
    /// Every limit, likewise.
    pub(super) limits: Vec<String>,
    /// Which limits connections name, and where.
    pub(super) limited: Vec<Placed<LimitName>>,
    pub(super) references: Vec<References>,
}

/// Which connections and publications a publication names, and where.
pub(super) struct References {
    pub(super) publication: String,
    pub(super) after: Vec<Placed<PublicationName>>,
    pub(super) source: Option<Placed<ConnectionName>>,
    pub(super) targets: Vec<Placed<ConnectionName>>,
}

pub(super) fn decode<'t>(report: &mut Report<'t>, root: &'t Value) -> Decoded {
    let mut fields = Fields::open(report, Vec::new(), Some(root));
    let state = state(fields.nested("state"));
    let server = server::decode(fields.nested("server"));
    let otlp = telemetry(fields.nested("telemetry"));
    defaults(fields.nested("defaults"));
    for key in ["limits", "templates", "connections", "publications"] {
        // Asked for here; read below, templates before: their keys are the user's own names.
        drop(fields.nested(key));
    }
    fields.finish();

    let mut limit_names = Vec::new();
    let mut limits = BTreeMap::new();
    for (name, value) in entries(root, "limits") {
        limit_names.push(name.clone());
        let path = vec!["limits".to_owned(), name.clone()];
        let parsed = LimitName::parse(name);
        if parsed.is_none() {
            misnamed(report, &path, value);
        }
        let limit = limit(Fields::open(report, path, Some(value)));
        limits.extend(parsed.map(|name| (name, limit)));
    }
    let mut names = Vec::new();
    let mut limited = Vec::new();
    let mut connections = BTreeMap::new();
    for (name, value) in entries(root, "connections") {
        names.push(name.clone());
        let path = vec!["connections".to_owned(), name.clone()];
        let parsed = ConnectionName::parse(name);
        if parsed.is_none() {
            misnamed(report, &path, value);
        }
        let fields = Fields::open(report, path, Some(value));
        let secrets = state.secrets_dir.as_ref().map(|folder| folder.join(name));
        let (connection, limit) = connection(fields, secrets.as_deref());
        connections.extend(parsed.zip(connection));
        limited.extend(limit);
    }
    let mut references = Vec::new();
    let mut publications = BTreeMap::new();
    for (name, value) in entries(root, "publications") {
        let path = vec!["publications".to_owned(), name.clone()];
        let parsed = PublicationName::parse(name);
        if parsed.is_none() {
            misnamed(report, &path, value);
        }
        let fields = Fields::open(report, path, Some(value));
        let (publication, named) = publication(fields);
        publications.extend(parsed.zip(publication));
        references.push(References { publication: name.clone(), ..named });
    }
    let config = Config { state, server, otlp, limits, connections, publications };
    Decoded { config, names, limits: limit_names, limited, references }
}

/// The entries of a section, in order of name. That the section is something else than a mapping
/// has been said when it was asked for.
fn entries<'t>(root: &'t Value, section: &str) -> BTreeMap<&'t String, &'t Value> {
    if let ValueKind::Table(root) = &root.kind
        && let Some(ValueKind::Table(entries)) = root.get(section).map(|value| &value.kind)
    {
        return entries.iter().collect();
    }
    BTreeMap::new()
}

fn misnamed(report: &mut Report<'_>, path: &[String], value: &Value) {
    let place = report.key_place(path).or_else(|| place_of(value));
    let message = "a name is lower-case letters, digits and `-`: rename it".to_owned();
    report.problem(path, place, message);
}

fn state(mut fields: Fields<'_, '_>) -> StateConfig {
    fields.choice("store", (), &[("sled", ())]);
    let path = fields.or("path", "data/state".into(), values::path);
    let secrets_dir = fields.optional("secrets_dir", values::path);
    let backup = backup(fields.nested("backup"), &path);
    let audit_for = fields.or("audit_for", 400 * DAY, values::positive_duration);
    fields.finish();
    StateConfig { path, secrets_dir, backup, audit_for }
}

/// Where traces are sent.
fn telemetry(mut fields: Fields<'_, '_>) -> Option<Url> {
    let mut otlp = fields.nested("otlp");
    let endpoint = otlp.placed("endpoint", values::url);
    if let Some(endpoint) = endpoint.as_ref().filter(|_| !cfg!(feature = "otlp")) {
        let message = "this program was built without traces: remove it, or build with `--features \
                       otlp`";
        otlp.report.problem(&endpoint.path, endpoint.place.clone(), message.to_owned());
    }
    otlp.finish();
    fields.finish();
    endpoint.map(|endpoint| endpoint.value)
}

fn backup(mut fields: Fields<'_, '_>, state: &Path) -> Option<BackupConfig> {
    let every = fields.or("every", DAY, values::off_or_at_least_a_second);
    let path = fields.optional("path", values::path);
    let keep = fields.or("keep", 14, values::positive);
    fields.finish();
    let path = path.unwrap_or_else(|| beside(state));
    (!every.is_zero()).then_some(BackupConfig { every, path, keep })
}

/// `data/state-backups` for `data/state`; inside of what has no name, such as `..`.
fn beside(state: &Path) -> PathBuf {
    match state.file_name() {
        Some(name) => {
            let mut name = name.to_owned();
            name.push("-backups");
            state.with_file_name(name)
        }
        None => state.join("backups"),
    }
}

/// Read for its mistakes alone; what it holds has been put under the entries before.
fn defaults(mut fields: Fields<'_, '_>) {
    connection(fields.nested("connection").partial(), None);
    publication(fields.nested("publication").partial());
    fields.finish();
}

fn limit(mut fields: Fields<'_, '_>) -> LimitConfig {
    let max_concurrency = fields.optional("max_concurrency", values::positive);
    let rate = fields.or("max_requests_per_second", 0, values::whole);
    fields.finish();
    LimitConfig { max_concurrency, max_requests_per_second: (rate > 0).then_some(rate) }
}

/// `secrets` is where the secrets of this connection are without `-key` and `-secret`, where there
/// is a directory of them.
fn connection(
    mut fields: Fields<'_, '_>,
    secrets: Option<&Path>,
) -> (Option<ConnectionConfig>, Option<Placed<LimitName>>) {
    let kind = fields.required("kind", values::text);
    if kind.is_some() {
        fields.choice("kind", (), &[("ed-fi", ())]);
    }
    let url = fields.required("url", values::url);
    let key = fields.secret("key", secrets);
    let secret = fields.secret("secret", secrets);
    let token_url = fields.optional("token_url", values::url);
    let scope = fields.optional("scope", values::text);
    let school_year = fields.optional("school_year", values::school_year);
    let instance = fields.placed("instance", values::text);
    if let (Some(instance), None) = (&instance, school_year) {
        let message = "`instance` goes with `school_year`: add it".to_owned();
        fields.report.problem(&instance.path, instance.place.clone(), message);
    }
    let tls = connection_tls(fields.nested("tls"));
    let timeout = fields.or("timeout", Duration::from_secs(60), values::positive_duration);
    let max_concurrency = fields.or("max_concurrency", 512, values::positive);
    let rate = fields.or("max_requests_per_second", 0, values::whole);
    let limit = fields.placed("limit", limit_name);
    let mut closed = Vec::new();
    for (path, value) in fields.mappings("closed") {
        let hours = Fields::open(fields.report, path, Some(value));
        closed.extend(closed_hours(hours));
    }
    fields.finish();
    let (Some(url), Some(key), Some(secret)) = (url, key, secret) else { return (None, limit) };
    let connection = ConnectionConfig {
        url: url.value,
        key,
        secret,
        token_url,
        scope,
        school_year,
        instance: instance.map(|placed| placed.value),
        tls,
        timeout,
        max_concurrency,
        max_requests_per_second: (rate > 0).then_some(rate),
        limit: limit.as_ref().map(|limit| limit.value.clone()),
        closed,
    };
    (Some(connection), limit)
}

fn connection_tls(mut fields: Fields<'_, '_>) -> ConnectionTls {
    let authorities = fields.optional("authorities", values::path);
    ConnectionTls { authorities, shown: server::certificate_and_key(fields) }
}

fn closed_hours(mut fields: Fields<'_, '_>) -> Option<ClosedHours> {
    let cron = fields.required("cron", values::cron);
    let length = fields.required("for", values::at_least_a_second);
    let time_zone = fields.or("time_zone", Tz::UTC, values::time_zone);
    fields.finish();
    Some(ClosedHours { cron: cron?.value, length: length?.value, time_zone })
}

fn publication(mut fields: Fields<'_, '_>) -> (Option<PublicationConfig>, References) {
    let source = fields.required("source", connection_name);
    let targets = targets(&mut fields);
    let labels = fields.texts("labels");
    let trigger = trigger(&mut fields);
    let time_zone = fields.or("time_zone", Tz::UTC, values::time_zone);
    let spread = fields.or("spread", Duration::ZERO, values::duration);
    let deadline = fields.or("deadline", Duration::ZERO, values::off_or_at_least_a_second);
    let after = fields.list("after", publication_name);
    let isolation = fields.choice(
        "isolation",
        Isolation::Snapshot,
        &[
            ("snapshot", Isolation::Snapshot),
            ("bounded", Isolation::Bounded),
            ("open", Isolation::Open),
            ("combined", Isolation::Combined),
        ],
    );
    let on_missing_snapshot = fields.choice(
        "on_missing_snapshot",
        OnMissingSnapshot::Fail,
        &[
            ("fail", OnMissingSnapshot::Fail),
            ("bounded", OnMissingSnapshot::ReadAs(Isolation::Bounded)),
            ("open", OnMissingSnapshot::ReadAs(Isolation::Open)),
            ("combined", OnMissingSnapshot::ReadAs(Isolation::Combined)),
        ],
    );
    let overlap = fields.or("overlap", Duration::from_secs(15 * 60), values::duration);
    let first_overlap_versions =
        fields.or("first_overlap_versions", FirstOverlap::Versions(100_000), first_overlap);
    let key_changes = publish_or_skip(&mut fields, "key_changes");
    let deletes = publish_or_skip(&mut fields, "deletes");
    let ten_percent = Percent::parse("10%").expect("ten percent is a share");
    let max_deletes = fields.or("max_deletes", ten_percent, values::percent);
    let max_deletes_above = fields.or("max_deletes_above", 100, values::whole);
    let sole_writer = fields.choice(
        "sole_writer",
        SoleWriter::Auto,
        &[("auto", SoleWriter::Auto), ("true", SoleWriter::Yes), ("false", SoleWriter::No)],
    );
    let shared = resource_names(&mut fields, "shared");
    let create_only = resource_names(&mut fields, "create_only");
    let page_size = fields.or("page_size", 500, values::positive);
    let resources = resources(fields.nested("resources"));
    let retry = retry(fields.nested("retry"));
    let first_run = fields.choice(
        "first_run",
        FirstRun::Full,
        &[("full", FirstRun::Full), ("from-now", FirstRun::FromNow), ("refuse", FirstRun::Refuse)],
    );
    let verify = verify(fields.nested("verify"));
    fields.finish();

    let named = source.as_ref().map(|source| source.value.clone());
    let publication = named.map(|source| PublicationConfig {
        source,
        targets: targets.iter().map(|target| target.value.clone()).collect(),
        labels,
        trigger,
        time_zone,
        spread,
        deadline,
        after: after.iter().map(|publication| publication.value.clone()).collect(),
        verify,
        isolation,
        on_missing_snapshot,
        overlap,
        first_overlap_versions,
        key_changes,
        deletes,
        max_deletes,
        max_deletes_above,
        sole_writer,
        shared,
        create_only,
        page_size,
        resources,
        retry,
        first_run,
    });
    (publication, References { publication: String::new(), after, source, targets })
}

fn verify(mut fields: Fields<'_, '_>) -> VerifyConfig {
    let schedule = fields.optional("schedule", values::cron);
    let content = fields.or("content", false, values::boolean);
    fields.finish();
    VerifyConfig { schedule, content }
}

fn first_overlap(text: &str) -> Result<FirstOverlap, String> {
    if text == "all" {
        return Ok(FirstOverlap::All);
    }
    let versions = values::whole(text).map_err(|error| format!("{error}, or `all`"))?;
    Ok(FirstOverlap::Versions(versions))
}

fn targets(fields: &mut Fields<'_, '_>) -> Vec<Placed<ConnectionName>> {
    let said = fields.report.problems.len();
    fields.require("targets");
    let targets = fields.list("targets", connection_name);
    if fields.has("targets") && targets.is_empty() && fields.report.problems.len() == said {
        let path = fields.path_to("targets");
        let place = fields.report.key_place(&path);
        let message = "no target: name at least one connection".to_owned();
        fields.report.problem(&path, place, message);
    }
    targets
}

fn trigger(fields: &mut Fields<'_, '_>) -> Trigger {
    let schedule = fields.placed("schedule", values::cron);
    let every = fields.placed("every", values::at_least_a_second);
    match (schedule, every) {
        (Some(_), Some(every)) => {
            let message = "given beside `schedule`: keep one of the two".to_owned();
            fields.report.problem(&every.path, every.place, message);
            Trigger::Manual
        }
        (Some(schedule), None) => Trigger::Cron(schedule.value),
        (None, Some(every)) => Trigger::Every(every.value),
        (None, None) => Trigger::Manual,
    }
}

fn publish_or_skip(fields: &mut Fields<'_, '_>, key: &'static str) -> Publish {
    let words = [("publish", Publish::Publish), ("skip", Publish::Skip)];
    fields.choice(key, Publish::Publish, &words)
}

fn resource_names(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<String> {
    let placed = fields.list(key, values::resource);
    placed.into_iter().map(|placed| placed.value).collect()
}

fn resources(mut fields: Fields<'_, '_>) -> ResourcesConfig {
    let include = resource_names(&mut fields, "include");
    let include_only = resource_names(&mut fields, "include_only");
    let exclude = resource_names(&mut fields, "exclude");
    let exclude_only = resource_names(&mut fields, "exclude_only");
    let descriptors = fields.or("descriptors", true, values::boolean);
    fields.finish();
    ResourcesConfig { include, include_only, exclude, exclude_only, descriptors }
}

fn retry(mut fields: Fields<'_, '_>) -> RetryConfig {
    let max_attempts = fields.or("max_attempts", 40, values::positive);
    let first_delay = fields.or("first_delay", Duration::from_secs(60), values::positive_duration);
    let longest = fields.placed("max_delay", values::positive_duration);
    let max_delay = match longest {
        Some(longest) if longest.value < first_delay => {
            let message = "shorter than `first_delay`: make it longer".to_owned();
            fields.report.problem(&longest.path, longest.place, message);
            first_delay
        }
        Some(longest) => longest.value,
        None => Duration::from_secs(6 * 60 * 60).max(first_delay),
    };
    let max_parked = fields.or("max_parked", 10_000, values::positive);
    fields.finish();
    RetryConfig { max_attempts, first_delay, max_delay, max_parked }
}

fn limit_name(text: &str) -> Result<LimitName, String> {
    LimitName::parse(text).ok_or_else(|| {
        format!(
            "{} is not the name of a limit: a name is lower-case letters, digits and `-`",
            shown(text)
        )
    })
}

fn publication_name(text: &str) -> Result<PublicationName, String> {
    PublicationName::parse(text).ok_or_else(|| {
        format!(
            "{} is not the name of a publication: a name is lower-case letters, digits and `-`",
            shown(text)
        )
    })
}

fn connection_name(text: &str) -> Result<ConnectionName, String> {
    ConnectionName::parse(text).ok_or_else(|| {
        format!(
            "{} is not the name of a connection: a name is lower-case letters, digits and `-`",
            shown(text)
        )
    })
}
