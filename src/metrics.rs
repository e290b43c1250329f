//! Every metric, declared once: its name, its labels, what it means.
//!
//! What lives here: the families and what makes them move. What does not: who asks for them
//! (`server/`). The one thing to know: nothing is global; a process has one [`Metrics`], made for
//! the pairs of its configuration, so that every set of labels is there at zero before anything
//! happened. Labels are names of the configuration and words of closed lists, never keys, ids,
//! addresses with a path or texts of errors.
//!
//! `docs/metrics.md` is made from the declarations; a test holds the two together.

use std::fmt::Write;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, Outcome, ResourcePath, Stage, Tally};
use crate::engine::observe::{Event, Observer};
use crate::engine::report::RunReport;
use crate::http::{Endpoint, HttpObserver, Method};
use crate::state::PairId;

/// What became of a change: the label `outcome` of `tidemark_changes_total`.
const SETTLED: [&str; 3] = ["applied", "skipped", "parked"];

/// From a run with nothing new to a first load.
const RUN_SECONDS: [f64; 12] =
    [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0];
const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Counts what happens, and shows it.
pub struct Metrics {
    registry: Registry,
    declared: Vec<Declared>,
    /// Whether `resource` is a label of `changes_total`.
    by_resource: bool,
    states: Vec<&'static str>,

    changes: IntCounterVec,
    changes_read: IntCounterVec,
    unaccounted: IntCounterVec,
    not_visible: IntCounterVec,
    runs: IntCounterVec,
    run_seconds: HistogramVec,

    pair_state: IntGaugeVec,
    watermark: IntGaugeVec,
    newest: IntGaugeVec,
    lag: IntGaugeVec,
    parked: IntGaugeVec,
    dead: IntGaugeVec,
    failed_runs: IntGaugeVec,
    last_success: IntGaugeVec,
    next_run: IntGaugeVec,

    requests: IntCounterVec,
    request_seconds: HistogramVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    paused: prometheus::CounterVec,
    limit: IntGaugeVec,
    tokens: IntCounterVec,

    backup: IntGaugeVec,
    backup_failures: IntCounterVec,
}

/// How a pair is at this moment, as `status` shows it.
#[derive(Clone, Debug, Default)]
pub struct PairFigures {
    /// One of the words that [`Metrics::new`] was given.
    pub state: &'static str,
    pub watermark: Option<ChangeVersion>,
    pub newest: Option<ChangeVersion>,
    pub lag_versions: Option<i64>,
    pub parked: u64,
    pub dead: u64,
    pub failed_runs: u32,
    pub last_success: Option<Timestamp>,
    pub next_run: Option<Timestamp>,
}

/// One family, for the page about them.
struct Declared {
    name: String,
    kind: &'static str,
    labels: Vec<&'static str>,
    help: &'static str,
}

const PAIR: [&str; 2] = ["publication", "target"];
const ENDPOINT: [&str; 2] = ["connection", "origin"];
const NO_LABELS: &[&str] = &[];

impl Metrics {
    /// For these pairs, which have one of these `states`; the label `resource` is left out above
    /// `resource_pairs` pairs (contract, `server.metrics_resource_pairs`).
    pub fn new(pairs: &[PairId], states: &[&'static str], resource_pairs: usize) -> Metrics {
        let by_resource = pairs.len() <= resource_pairs;
        let mut catalogue = Catalogue::default();
        let c = &mut catalogue;
        let metrics = Metrics {
            changes: c.counter(
                "changes_total",
                &[&PAIR[..], &["stage", "outcome"], if by_resource { &["resource"] } else { &[] }],
                "Changes that were settled. `outcome`: `applied` was acknowledged by the target, \
                 `skipped` needed nothing, `parked` waits for another attempt. `resource` is left \
                 out above `server.metrics_resource_pairs` pairs.",
            ),
            changes_read: c.counter(
                "changes_read_total",
                &[&PAIR, &["stage"]],
                "Changes that runs which have ended took up, whatever named them.",
            ),
            unaccounted: c.counter(
                "unaccounted_changes_total",
                &[&PAIR],
                "Changes that a run took up and could not account for (read is not applied + \
                 skipped + parked). Anything but 0 is a defect: report it.",
            ),
            not_visible: c.counter(
                "not_visible_total",
                &[&PAIR],
                "People deleted at the source that the target does not show to the credentials: \
                 skipped, and perhaps still there.",
            ),
            runs: c.counter("runs_total", &[&PAIR, &["outcome"]], "Runs that have ended."),
            run_seconds: c.histogram(
                "run_duration_seconds",
                &[&PAIR],
                &RUN_SECONDS,
                "How long runs took, however they ended.",
            ),
            pair_state: c.gauge(
                "pair_state",
                &[&PAIR, &["state"]],
                "1 for the state that the pair is in, 0 for the others.",
            ),
            watermark: c.gauge(
                "watermark_version",
                &[&PAIR],
                "How far the pair has been published; no sample before its first complete run.",
            ),
            newest: c.gauge(
                "newest_version",
                &[&PAIR],
                "The newest version that the source last told; no sample before it was asked.",
            ),
            lag: c.gauge(
                "lag_versions",
                &[&PAIR],
                "Newest version less watermark, as last seen. A number of changes at most, never \
                 a time.",
            ),
            parked: c.gauge("parked_items", &[&PAIR], "Items that wait for another attempt."),
            dead: c.gauge(
                "dead_items",
                &[&PAIR],
                "Items whose attempts are used up: they wait for a person or for a change.",
            ),
            failed_runs: c.gauge(
                "failed_runs",
                &[&PAIR],
                "Runs that failed since the last one that did not.",
            ),
            last_success: c.gauge(
                "last_success_timestamp_seconds",
                &[&PAIR],
                "When a run last ended complete, or found nothing to do; 0 for never.",
            ),
            next_run: c.gauge(
                "next_run_timestamp_seconds",
                &[&PAIR],
                "When the pair is due next; 0 when nothing will start it.",
            ),
            requests: c.counter(
                "http_requests_total",
                &[&ENDPOINT, &["method", "status"]],
                "Exchanges, repeated ones included. `status`: the class of the answer's status, \
                 or `none` when there was no answer.",
            ),
            request_seconds: c.histogram(
                "http_request_duration_seconds",
                &[&ENDPOINT],
                &REQUEST_SECONDS,
                "From the first byte sent to the last byte received.",
            ),
            errors: c.counter(
                "http_errors_total",
                &[&ENDPOINT, &["kind"]],
                "Exchanges without a usable answer, by what went wrong.",
            ),
            retries: c.counter(
                "http_retries_total",
                &[&ENDPOINT, &["reason"]],
                "Requests that were sent again, by why.",
            ),
            paused: c.seconds(
                "http_paused_seconds_total",
                &[&ENDPOINT],
                "How long origins asked to be left alone, added up.",
            ),
            limit: c.gauge(
                "http_concurrency_limit",
                &[&ENDPOINT],
                "Requests that the origin is sent at once now, at most.",
            ),
            tokens: c.counter(
                "token_renewals_total",
                &[&ENDPOINT, &["outcome"]],
                "Tokens that were asked for. `outcome`: `ok`, or what went wrong.",
            ),
            backup: c.gauge(
                "last_backup_timestamp_seconds",
                &[],
                "When the state was last backed up, as the newest file says; 0 for never.",
            ),
            backup_failures: c.counter(
                "failed_backups_total",
                &[],
                "Backups of the state that could not be made; the log says why.",
            ),
            by_resource,
            states: states.to_vec(),
            registry: Registry::new(),
            declared: Vec::new(),
        };
        let build = catalogue.gauge("build_info", &[&["version"]], "1, with the version.");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics =
            Metrics { registry: catalogue.registry, declared: catalogue.declared, ..metrics };
        metrics.backed_up(None);
        metrics.backup_failures.with_label_values(NO_LABELS);
        watch_process(&metrics.registry);
        for pair in pairs {
            metrics.start_at_zero(pair);
        }
        metrics
    }

    /// What there is, in the text format of Prometheus.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("families that were registered can be written as text")
    }

    /// Sets what is a state and not a count.
    pub fn show(&self, pair: &PairId, figures: &PairFigures) {
        let labels = labels_of(pair);
        for state in &self.states {
            let gauge = self.pair_state.with_label_values(&[labels[0], labels[1], *state]);
            gauge.set(i64::from(*state == figures.state));
        }
        for (gauge, version) in
            [(&self.watermark, figures.watermark), (&self.newest, figures.newest)]
        {
            if let Some(version) = version {
                gauge.with_label_values(&labels).set(version.0);
            }
        }
        if let Some(lag) = figures.lag_versions {
            self.lag.with_label_values(&labels).set(lag);
        }
        self.parked.with_label_values(&labels).set(signed(figures.parked));
        self.dead.with_label_values(&labels).set(signed(figures.dead));
        self.failed_runs.with_label_values(&labels).set(figures.failed_runs.into());
        self.last_success.with_label_values(&labels).set(seconds_of(figures.last_success));
        self.next_run.with_label_values(&labels).set(seconds_of(figures.next_run));
    }

    /// When the newest backup of the state was made, if there is one.
    pub fn backed_up(&self, at: Option<Timestamp>) {
        self.backup.with_label_values(NO_LABELS).set(seconds_of(at));
    }

    pub fn backup_failed(&self) {
        self.backup_failures.with_label_values(NO_LABELS).inc();
    }

    /// The page about the metrics: `docs/metrics.md`.
    pub fn documentation() -> String {
        let mut page = String::from(
            "# Metrics\n\n\
             `GET /metrics` of the daemon answers in the text format of Prometheus. This page is \
             made from the declarations in `src/metrics.rs`; a test holds the two together.\n\n\
             `publication` and `target` are names of the configuration, and so is `connection`; \
             `origin` is scheme, host and port. Process metrics (`process_*`) are there too, on \
             Linux.\n\n\
             | name | type | labels | meaning |\n|---|---|---|---|\n",
        );
        let mut declared = Metrics::new(&[], &[], 0).declared;
        let with_resource = Metrics::new(&[], &[], 1).declared;
        for (family, fuller) in declared.iter_mut().zip(with_resource) {
            *family = fuller;
        }
        declared.sort_by(|one, other| one.name.cmp(&other.name));
        for Declared { name, kind, labels, help } in &declared {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "))
                .expect("a string takes what is written to it");
        }
        page
    }

    fn start_at_zero(&self, pair: &PairId) {
        let labels = labels_of(pair);
        let [publication, target] = labels;
        for stage in Stage::ALL {
            self.changes_read.with_label_values(&[publication, target, stage.as_str()]);
            if !self.by_resource {
                for outcome in SETTLED {
                    let labels = [publication, target, stage.as_str(), outcome];
                    self.changes.with_label_values(&labels);
                }
            }
        }
        for outcome in Outcome::ALL {
            self.runs.with_label_values(&[publication, target, outcome.as_str()]);
        }
        self.unaccounted.with_label_values(&labels);
        self.not_visible.with_label_values(&labels);
        self.run_seconds.with_label_values(&labels);
        self.show(pair, &PairFigures::default());
    }

    /// A tally of nothing brings every outcome there at zero; otherwise what did not happen is not
    /// looked up, since this is told of every item.
    fn count_changes(&self, pair: &PairId, stage: Stage, resource: &ResourcePath, tally: Tally) {
        for (outcome, count) in
            SETTLED.into_iter().zip([tally.applied, tally.skipped, tally.parked])
        {
            if count == 0 && tally != Tally::default() {
                continue;
            }
            let labels = [
                pair.publication.as_str(),
                &pair.target,
                stage.as_str(),
                outcome,
                resource.as_str(),
            ];
            let used = if self.by_resource { &labels[..] } else { &labels[..4] };
            self.changes.with_label_values(used).inc_by(count);
        }
    }

    fn count_run(&self, pair: &PairId, report: &RunReport) {
        let labels = labels_of(pair);
        let [publication, target] = labels;
        self.runs.with_label_values(&[publication, target, report.outcome.as_str()]).inc();
        self.not_visible.with_label_values(&labels).inc_by(report.not_visible);
        self.run_seconds.with_label_values(&labels).observe(report.duration_seconds);
        for stage in Stage::ALL {
            let tally = report.stages.of(stage);
            let read = [publication, target, stage.as_str()];
            self.changes_read.with_label_values(&read).inc_by(tally.read);
            if must_add_up(report) {
                let settled = tally.applied + tally.skipped + tally.parked;
                let unaccounted = self.unaccounted.with_label_values(&labels);
                unaccounted.inc_by(tally.read.abs_diff(settled));
            }
        }
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::ResourceStarted { pair, stage, resource, .. } => {
                self.count_changes(pair, *stage, resource, Tally::default());
            }
            Event::Settled { pair, stage, resource, tally } => {
                self.count_changes(pair, *stage, resource, *tally);
            }
            Event::RunEnded { pair, report } => self.count_run(pair, report),
            Event::RunStarted { .. }
            | Event::StageStarted { .. }
            | Event::ResourceFinished { .. } => {}
        }
    }
}

impl HttpObserver for Metrics {
    fn exchanged(
        &self,
        at: Endpoint<'_>,
        method: &Method,
        answer: Result<u16, &'static str>,
        took: Duration,
    ) {
        let status = match answer {
            Ok(status) => class_of(status),
            Err(kind) => {
                self.errors.with_label_values(&[at.connection, at.origin, kind]).inc();
                "none"
            }
        };
        let labels = [at.connection, at.origin, method.as_str(), status];
        self.requests.with_label_values(&labels).inc();
        let labels = [at.connection, at.origin];
        self.request_seconds.with_label_values(&labels).observe(took.as_secs_f64());
    }

    fn retried(&self, at: Endpoint<'_>, why: &'static str) {
        self.retries.with_label_values(&[at.connection, at.origin, why]).inc();
    }

    fn paused(&self, at: Endpoint<'_>, wait: Duration) {
        self.paused.with_label_values(&[at.connection, at.origin]).inc_by(wait.as_secs_f64());
    }

    fn limit(&self, at: Endpoint<'_>, in_force: usize) {
        let limit = i64::try_from(in_force).unwrap_or(i64::MAX);
        self.limit.with_label_values(&[at.connection, at.origin]).set(limit);
    }

    fn token_renewed(&self, at: Endpoint<'_>, outcome: Result<(), &'static str>) {
        let outcome = match outcome {
            Ok(()) => "ok",
            Err(kind) => kind,
        };
        self.tokens.with_label_values(&[at.connection, at.origin, outcome]).inc();
    }
}

/// Where families are declared: each is registered and remembered for the page.
#[derive(Default)]
struct Catalogue {
    registry: Registry,
    declared: Vec<Declared>,
}

impl Catalogue {
    fn counter(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> IntCounterVec {
        let (options, labels) = self.declare(name, "counter", labels, help);
        self.register(IntCounterVec::new(options, &labels))
    }

    fn seconds(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> prometheus::CounterVec {
        let (options, labels) = self.declare(name, "counter", labels, help);
        self.register(prometheus::CounterVec::new(options, &labels))
    }

    fn gauge(&mut self, name: &str, labels: &[&[&'static str]], help: &'static str) -> IntGaugeVec {
        let (options, labels) = self.declare(name, "gauge", labels, help);
        self.register(IntGaugeVec::new(options, &labels))
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[&[&'static str]],
        buckets: &[f64],
        help: &'static str,
    ) -> HistogramVec {
        let (options, labels) = self.declare(name, "histogram", labels, help);
        let options = HistogramOpts::from(options).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, &labels))
    }

    fn declare(
        &mut self,
        name: &str,
        kind: &'static str,
        labels: &[&[&'static str]],
        help: &'static str,
    ) -> (Opts, Vec<&'static str>) {
        let labels = labels.concat();
        let name = format!("tidemark_{name}");
        let options = Opts::new(name.clone(), help);
        self.declared.push(Declared { name, kind, labels: labels.clone(), help });
        (options, labels)
    }

    fn register<C: Collector + Clone + 'static>(&self, family: prometheus::Result<C>) -> C {
        let family = family.expect("a declaration has a good name and labels");
        self.registry.register(Box::new(family.clone())).expect("each name is declared once");
        family
    }
}

fn watch_process(registry: &Registry) {
    #[cfg(target_os = "linux")]
    registry
        .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        .expect("nothing else is called process");
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
}

fn labels_of(pair: &PairId) -> [&str; 2] {
    [&pair.publication, &pair.target]
}

/// A run that ended before its end has taken up what it did not settle; that is no defect.
fn must_add_up(report: &RunReport) -> bool {
    report.outcome != Outcome::Failed
        || report.error.as_ref().is_some_and(|error| error.kind == "not-conserved")
}

fn class_of(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds_of(moment: Option<Timestamp>) -> i64 {
    moment.map_or(0, |moment| moment.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Stages, Window};
    use crate::engine::report::{ReportedError, Requests};

    fn pair() -> PairId {
        PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
    }

    fn students() -> ResourcePath {
        ResourcePath::parse("/ed-fi/students").unwrap()
    }

    fn report(outcome: Outcome, upserts: Tally, error: Option<&str>) -> RunReport {
        RunReport {
            id: "r".to_owned(),
            publication: pair().publication,
            target: pair().target,
            outcome,
            window: Some(Window { after: None, through: ChangeVersion(7) }),
            resumed: false,
            started_at: chrono::DateTime::UNIX_EPOCH,
            duration_seconds: 2.0,
            stages: Stages { upserts, ..Stages::default() },
            requests: Requests::default(),
            error: error
                .map(|kind| ReportedError { kind: kind.to_owned(), message: String::new() }),
            parked: 0,
            dead: 0,
            not_visible: 0,
            notes: Vec::new(),
            may_pass: false,
        }
    }

    /// The value of the one sample with this name and all of these labels.
    fn sample(metrics: &Metrics, name: &str, labels: &[&str]) -> Option<f64> {
        let text = metrics.text();
        let fits = |line: &&str| {
            line.split(['{', ' ']).next() == Some(name)
                && labels.iter().all(|label| line.contains(label))
        };
        text.lines().find(fits).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    #[test]
    fn every_metric_is_on_the_page_about_metrics() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(page, Metrics::documentation()).unwrap();
        }

        let written = std::fs::read_to_string(page).unwrap();

        assert_eq!(written, Metrics::documentation(), "run the test with UPDATE_DOCS=1");
    }

    #[test]
    fn what_the_pairs_of_the_configuration_can_count_is_there_at_zero() {
        let metrics = Metrics::new(&[pair()], &["ok", "failing"], 0);

        for (name, labels) in [
            ("tidemark_runs_total", vec![r#"outcome="failed""#]),
            ("tidemark_changes_total", vec![r#"stage="deletes""#, r#"outcome="parked""#]),
            ("tidemark_changes_read_total", vec![r#"stage="key_changes""#]),
            ("tidemark_unaccounted_changes_total", vec![r#"target="state""#]),
            ("tidemark_not_visible_total", vec![r#"target="state""#]),
            ("tidemark_pair_state", vec![r#"state="failing""#]),
            ("tidemark_run_duration_seconds_count", vec![r#"target="state""#]),
        ] {
            assert_eq!(sample(&metrics, name, &labels), Some(0.0), "{name}");
        }
    }

    #[test]
    fn the_label_resource_is_left_out_above_so_many_pairs() {
        let tally = Tally { read: 3, applied: 2, skipped: 1, parked: 0 };
        for (resource_pairs, labelled) in [(1, true), (0, false)] {
            let metrics = Metrics::new(&[pair()], &[], resource_pairs);

            metrics.observe(&Event::Settled {
                pair: &pair(),
                stage: Stage::Upserts,
                resource: &students(),
                tally,
            });

            let applied = [r#"outcome="applied""#, r#"stage="upserts""#];
            assert_eq!(sample(&metrics, "tidemark_changes_total", &applied), Some(2.0));
            assert_eq!(metrics.text().contains("/ed-fi/students"), labelled);
        }
    }

    #[test]
    fn i14_what_a_run_cannot_account_for_is_counted_and_an_interruption_is_not() {
        let lost = Tally { read: 5, applied: 3, skipped: 1, parked: 0 };
        let whole = Tally { read: 5, applied: 3, skipped: 1, parked: 1 };
        for (case, report, expected) in [
            ("a whole run", report(Outcome::Parked, whole, None), 0.0),
            ("a run that lost one", report(Outcome::Complete, lost, None), 1.0),
            ("one that noticed", report(Outcome::Failed, lost, Some("not-conserved")), 1.0),
            ("an interruption", report(Outcome::Failed, lost, Some("interrupted")), 0.0),
        ] {
            let metrics = Metrics::new(&[pair()], &[], 1);

            metrics.observe(&Event::RunEnded { pair: &pair(), report: &report });

            let counted = sample(&metrics, "tidemark_unaccounted_changes_total", &[]);
            assert_eq!(counted, Some(expected), "{case}");
            assert_eq!(sample(&metrics, "tidemark_run_duration_seconds_sum", &[]), Some(2.0));
        }
    }

    #[test]
    fn a_pair_is_in_one_state_at_a_time() {
        let metrics = Metrics::new(&[pair()], &["ok", "failing"], 1);

        for state in ["failing", "ok"] {
            metrics.show(&pair(), &PairFigures { state, ..PairFigures::default() });
        }

        assert_eq!(sample(&metrics, "tidemark_pair_state", &[r#"state="ok""#]), Some(1.0));
        assert_eq!(sample(&metrics, "tidemark_pair_state", &[r#"state="failing""#]), Some(0.0));
    }

    #[test]
    fn requests_count_by_class_and_failures_by_kind() {
        let metrics = Metrics::new(&[], &[], 1);
        let at = Endpoint { connection: "state", origin: "http://127.0.0.1:1" };

        metrics.exchanged(at, &Method::POST, Ok(201), Duration::from_millis(3));
        metrics.exchanged(at, &Method::POST, Err("timeout"), Duration::from_secs(1));

        let requests = "tidemark_http_requests_total";
        assert_eq!(sample(&metrics, requests, &[r#"status="2xx""#]), Some(1.0));
        assert_eq!(sample(&metrics, requests, &[r#"status="none""#]), Some(1.0));
        assert_eq!(sample(&metrics, "tidemark_http_errors_total", &["timeout"]), Some(1.0));
    }
}
