//! Every metric, declared once: its name, its labels, what it means.
//!
//! Past 600 lines because a metric that is declared elsewhere would be missed by the page about them.
//!
//! What lives here: the families and what makes them move. What does not: who asks for them
//! (`server/`). The one thing to know: nothing is global; a process has one [`Metrics`], made for
//! the pairs of its configuration, so that every set of labels is there at zero before anything
//! happened. Labels are names of the configuration and words of closed lists, never keys, ids,
//! addresses with a path or texts of errors.
//!
//! `docs/metrics.md` is made from the declarations; a test holds the two together.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
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

/// The outcome of a run that was told to end, which reports call failed.
const STOPPED: &str = "stopped";

/// What became of a change: the label `outcome` of `tidemark_changes_total`.
const SETTLED: [&str; 3] = ["applied", "skipped", "parked"];

/// Of what was built, where `TIDEMARK_COMMIT` was set when it was.
const COMMIT: Option<&str> = option_env!("TIDEMARK_COMMIT");

/// From a run with nothing new to a first load. Every pair has them, so they are few.
const RUN_SECONDS: [f64; 8] = [0.5, 5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 28800.0];
const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Counts what happens, and shows it.
pub struct Metrics {
    registry: Registry,
    declared: Vec<Declared>,
    /// Whether `resource` is a label of `changes_total`.
    by_resource: bool,
    states: Vec<&'static str>,
    /// Which kind `last_run_error` shows of a pair.
    shown_errors: Mutex<BTreeMap<PairId, String>>,

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
    last_run_error: IntGaugeVec,
    run_started: IntGaugeVec,
    last_success: IntGaugeVec,
    fresh_until: IntGaugeVec,
    schedule_interval: IntGaugeVec,
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
    reloads: IntCounterVec,
    reload_refused: IntGaugeVec,
    compared_equal: IntGaugeVec,
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
    /// Until when the target is as fresh as the schedule promises.
    pub fresh_until: Option<Timestamp>,
    /// From the next tick of the schedule to the one after it.
    pub schedule_interval: Option<chrono::TimeDelta>,
    pub next_run: Option<Timestamp>,
    pub compared_equal: Option<bool>,
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
            runs: c.counter(
                "runs_total",
                &[&PAIR, &["outcome"]],
                "Runs that have ended. `outcome`: as in reports, but `stopped` for those that a \
                 deadline, a person, closed hours or the end of the process ended: the next run goes \
                 on from there.",
            ),
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
            last_run_error: c.gauge(
                "last_run_error",
                &[&PAIR, &["kind"]],
                "1 for the kind of error that the last run failed with; no sample when it did not \
                 fail, or when none has ended since the process started.",
            ),
            run_started: c.gauge(
                "run_start_timestamp_seconds",
                &[&PAIR],
                "When the run that is under way began; 0 when none is.",
            ),
            last_success: c.gauge(
                "last_success_timestamp_seconds",
                &[&PAIR],
                "When a run last ended complete, or found nothing to do; 0 for never.",
            ),
            fresh_until: c.gauge(
                "fresh_until_timestamp_seconds",
                &[&PAIR],
                "The first tick of the schedule after the last success: a run that began then makes \
                 the pair fresh again, and how far it lies back is how late the pair is. 0 when \
                 nothing promises more: no schedule, or no success yet.",
            ),
            schedule_interval: c.gauge(
                "schedule_interval_seconds",
                &[&PAIR],
                "From the next tick of the schedule to the one after it; 0 without a schedule.",
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
            reloads: c.counter(
                "config_reloads_total",
                &[&["outcome"]],
                "Changes of the configuration that were seen. `outcome`: `ok` is in force, \
                 `refused` had mistakes and left the last good one in force.",
            ),
            reload_refused: c.gauge(
                "config_reload_refused",
                &[NO_LABELS],
                "1 while the configuration on disk has mistakes and another is in force: the log \
                 and `tidemark config check` name them.",
            ),
            compared_equal: c.gauge(
                "compared_equal",
                &[&PAIR],
                "1 when the last comparison by `verify.schedule` found both ends equal, 0 when it \
                 did not; no sample before the first.",
            ),
            by_resource,
            states: states.to_vec(),
            shown_errors: Mutex::default(),
            registry: Registry::new(),
            declared: Vec::new(),
        };
        let build = catalogue.gauge(
            "build_info",
            &[&["version", "commit"]],
            "1, with the version and, where the build was told it, the commit.",
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), COMMIT.unwrap_or("")]).set(1);
        let metrics =
            Metrics { registry: catalogue.registry, declared: catalogue.declared, ..metrics };
        metrics.backed_up(None);
        metrics.backup_failures.with_label_values(NO_LABELS);
        metrics.reload_refused.with_label_values(NO_LABELS);
        for outcome in ["ok", "refused"] {
            metrics.reloads.with_label_values(&[outcome]);
        }
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
        self.fresh_until.with_label_values(&labels).set(seconds_of(figures.fresh_until));
        let interval = figures.schedule_interval.map_or(0, |interval| interval.num_seconds());
        self.schedule_interval.with_label_values(&labels).set(interval);
        self.next_run.with_label_values(&labels).set(seconds_of(figures.next_run));
        if let Some(equal) = figures.compared_equal {
            self.compared_equal.with_label_values(&labels).set(i64::from(equal));
        }
    }

    /// When the newest backup of the state was made, if there is one.
    pub fn backed_up(&self, at: Option<Timestamp>) {
        self.backup.with_label_values(NO_LABELS).set(seconds_of(at));
    }

    pub fn backup_failed(&self) {
        self.backup_failures.with_label_values(NO_LABELS).inc();
    }

    /// Another configuration is in force, or was refused.
    pub fn reloaded(&self, is_in_force: bool) {
        let outcome = if is_in_force { "ok" } else { "refused" };
        self.reloads.with_label_values(&[outcome]).inc();
        self.reload_refused.with_label_values(NO_LABELS).set(i64::from(!is_in_force));
    }

    /// Pairs that a change of the configuration brought are there at zero too.
    pub fn watch_pairs(&self, pairs: &[PairId]) {
        for pair in pairs {
            self.start_counting(pair);
        }
    }

    /// What no configuration names any more is no longer told of.
    pub fn forget_pair(&self, pair: &PairId) {
        let labels = labels_of(pair);
        for gauge in [
            &self.watermark,
            &self.newest,
            &self.lag,
            &self.parked,
            &self.dead,
            &self.failed_runs,
            &self.last_success,
            &self.next_run,
            &self.fresh_until,
            &self.schedule_interval,
            &self.run_started,
            &self.compared_equal,
        ] {
            // A gauge that never had a sample of the pair has nothing to forget.
            drop(gauge.remove_label_values(&labels));
        }
        for state in &self.states {
            drop(self.pair_state.remove_label_values(&[labels[0], labels[1], *state]));
        }
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
        self.start_counting(pair);
        self.show(pair, &PairFigures::default());
    }

    fn start_counting(&self, pair: &PairId) {
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
        self.run_started.with_label_values(&labels);
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
        let outcome = if report.was_stopped() { STOPPED } else { report.outcome.as_str() };
        self.runs.with_label_values(&[publication, target, outcome]).inc();
        self.not_visible.with_label_values(&labels).inc_by(report.not_visible);
        self.run_seconds.with_label_values(&labels).observe(report.duration_seconds);
        self.run_started.with_label_values(&labels).set(0);
        self.show_error(pair, report.error.as_ref().map(|error| error.kind.as_str()));
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

impl Metrics {
    /// One kind at most: the one before goes.
    fn show_error(&self, pair: &PairId, kind: Option<&str>) {
        let mut shown = self.shown_errors.lock().expect("nothing panics while it holds these");
        let [publication, target] = labels_of(pair);
        if let Some(before) = shown.remove(pair) {
            // It was set when it was shown, and nobody else removes it.
            let _ = self.last_run_error.remove_label_values(&[publication, target, &before]);
        }
        if let Some(kind) = kind {
            self.last_run_error.with_label_values(&[publication, target, kind]).set(1);
            shown.insert(pair.clone(), kind.to_owned());
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
            Event::RunStarted { pair, at, .. } => {
                self.run_started.with_label_values(&labels_of(pair)).set(at.timestamp());
            }
            Event::StageStarted { .. } | Event::ResourceFinished { .. } => {}
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
mod tests;
