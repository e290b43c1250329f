//! What is told of a pair: what its runs do, how it is, and what waits in it.
//!
//! Labels are the pair's names and words of closed lists.
//!
//! Past 600 lines because each family is declared, set and forgotten in one table.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::TimeDelta;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::catalogue::{Catalogue, Detail};
use super::changes::{Changes, SETTLED};
use super::{seconds_of, signed};
use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, Outcome, ParkReason, Stage, Tally};
use crate::engine::observe::{Anomaly, Event, Noted};
use crate::engine::report::RunReport;
use crate::state::{ComparedWhole, PairId, Unlike};

/// The outcome of a run that was told to end, which reports call failed.
const STOPPED: &str = "stopped";

const RESOURCES: [&str; 2] = ["started", "finished"];

/// From a run with nothing new to a first load. Every pair has them, so they are few.
const RUN_SECONDS: [f64; 8] = [0.5, 5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 28800.0];
const RUN_SECONDS_OF_A_FLEET: [f64; 4] = [30.0, 300.0, 1800.0, 14400.0];

/// From a schedule of every minute to one of every week.
const ARRIVAL_SECONDS: [f64; 8] = [5.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 90000.0, 691200.0];
const ARRIVAL_SECONDS_OF_A_FLEET: [f64; 3] = [300.0, 7200.0, 90000.0];

/// The label `unlike` of `tidemark_compared_unlike_items`.
const UNLIKE: [&str; 3] = ["missing", "extra", "different"];

const PAIR: [&str; 2] = ["publication", "target"];

/// Why items are no longer waited for though the target has not got them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// An operator gave them up.
    GivenUp,
    /// Their key was erased from all that is remembered.
    Forgotten,
    /// A run took them up and cannot say what became of them: a defect.
    Unaccounted,
}

impl Discarded {
    const ALL: [Discarded; 3] = [Discarded::GivenUp, Discarded::Forgotten, Discarded::Unaccounted];

    /// The labels `reason` and `intentional`.
    fn labels(self) -> [&'static str; 2] {
        match self {
            Discarded::GivenUp => ["given-up", "true"],
            Discarded::Forgotten => ["forgotten", "true"],
            Discarded::Unaccounted => ["unaccounted", "false"],
        }
    }
}

/// How a pair is at this moment, as `status` shows it.
#[derive(Clone, Debug, Default)]
pub struct PairFigures {
    /// One of the words that [`Metrics::new`](super::Metrics::new) was given.
    pub state: &'static str,
    /// What a person has to decide about, as a word.
    pub blocked_by: Option<&'static str>,
    pub watermark: Option<ChangeVersion>,
    pub newest: Option<ChangeVersion>,
    pub lag_versions: Option<i64>,
    pub parked: u64,
    pub dead: u64,
    /// Parked and dead items, by why.
    pub waiting_by_reason: BTreeMap<ParkReason, u64>,
    /// When the oldest of them was first seen.
    pub oldest_waiting: Option<Timestamp>,
    pub failed_runs: u32,
    pub last_success: Option<Timestamp>,
    /// Until when the target is as fresh as the schedule promises.
    pub fresh_until: Option<Timestamp>,
    /// From the next tick of the schedule to the one after it.
    pub schedule_interval: Option<TimeDelta>,
    pub next_run: Option<Timestamp>,
    /// The last comparison of all resources.
    pub compared: Option<ComparedWhole>,
}

pub(super) struct PairFamilies {
    detail: Detail,
    states: Vec<&'static str>,
    /// Which word each gauge with a changing one shows of a pair.
    shown_errors: Mutex<BTreeMap<PairId, String>>,
    shown_blocks: Mutex<BTreeMap<PairId, String>>,
    shown_reasons: Mutex<BTreeMap<PairId, Vec<ParkReason>>>,

    changes: Changes,
    changes_read: IntCounterVec,
    unaccounted: IntCounterVec,
    not_visible: IntCounterVec,
    discarded: IntCounterVec,
    retries: IntCounterVec,
    anomalies: IntCounterVec,
    arrival_seconds: HistogramVec,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    run_resources: IntGaugeVec,

    pair_state: IntGaugeVec,
    blocked: IntGaugeVec,
    watermark: IntGaugeVec,
    newest: IntGaugeVec,
    newest_seen: IntGaugeVec,
    lag: IntGaugeVec,
    parked: IntGaugeVec,
    dead: IntGaugeVec,
    waiting_by_reason: IntGaugeVec,
    oldest_waiting: IntGaugeVec,
    failed_runs: IntGaugeVec,
    last_run_error: IntGaugeVec,
    run_started: IntGaugeVec,
    last_success: IntGaugeVec,
    fresh_until: IntGaugeVec,
    schedule_interval: IntGaugeVec,
    next_run: IntGaugeVec,
    compared_equal: IntGaugeVec,
    compared_at: IntGaugeVec,
    compared_unlike: IntGaugeVec,
}

impl PairFamilies {
    pub(super) fn declare(
        c: &mut Catalogue,
        states: &[&'static str],
        detail: Detail,
    ) -> PairFamilies {
        let (by_resource, by_stage, buckets): (&[&str], &[&str], &[f64]) = match detail {
            Detail::Fine => (&["resource"], &["stage"], &RUN_SECONDS),
            Detail::Coarse => (&[], &[], &RUN_SECONDS_OF_A_FLEET),
        };
        let (by_publication, arrival): (&[&str], &[f64]) = match detail {
            Detail::Fine => (&["publication"], &ARRIVAL_SECONDS),
            Detail::Coarse => (&[], &ARRIVAL_SECONDS_OF_A_FLEET),
        };
        PairFamilies {
            detail,
            // What no configuration names is not told of.
            states: states.iter().copied().filter(|state| *state != "orphaned").collect(),
            shown_errors: Mutex::default(),
            shown_blocks: Mutex::default(),
            shown_reasons: Mutex::default(),
            changes: c.changes(
                "changes_total",
                &[&PAIR[..], &["stage", "outcome"], by_resource],
                detail,
                "Changes that were settled. `outcome`: `applied` was acknowledged by the target, \
                 `skipped` needed nothing, `parked` waits for another attempt. `resource` is left \
                 out above `server.metrics_resource_pairs` pairs.",
            ),
            changes_read: c.counter(
                "changes_read_total",
                &[&PAIR[..], by_stage],
                "Changes that runs which have ended took up, whatever named them. `stage` is left \
                 out above `server.metrics_resource_pairs` pairs.",
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
            discarded: c.counter(
                "discarded_items_total",
                &[&PAIR, &["reason", "intentional"]],
                "Items that are no longer waited for though the target has not got them. `reason`: \
                 `given-up` was discarded by a person, `forgotten` lost its key to \
                 `tidemark forget`; both are `intentional`. What is not (`unaccounted`) is a \
                 defect: report it. Above `server.metrics_resource_pairs` pairs there is no sample \
                 before the first.",
            ),
            retries: c.counter(
                "parked_retries_total",
                &[&PAIR, &["outcome"]],
                "Parked items that a run tried again. `outcome`: as of `tidemark_changes_total`; \
                 `parked` was refused again. Above `server.metrics_resource_pairs` pairs there is \
                 no sample before the first.",
            ),
            anomalies: c.counter(
                "source_anomalies_total",
                &[&PAIR, &["kind"]],
                "Times that a run found its source not as it should be. What blocks the pair counts \
                 once. Above `server.metrics_resource_pairs` pairs there is no sample before the \
                 first.",
            ),
            arrival_seconds: c.histogram(
                "end_to_end_latency_seconds",
                &[by_publication, &["target"]],
                arrival,
                "From a change at the source, as its `_lastModifiedDate` tells, to its being at the \
                 target; not of what a run reads from its beginning. Above \
                 `server.metrics_resource_pairs` pairs `publication` is left out, and there are \
                 fewer buckets.",
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
                buckets,
                "How long runs took, however they ended. Fewer buckets above \
                 `server.metrics_resource_pairs` pairs.",
            ),
            run_resources: c.gauge(
                "run_resources",
                &[&PAIR, &["state"]],
                "Resources that the run which is under way has `started` and `finished`, each stage \
                 for itself; no sample when none is under way.",
            ),
            pair_state: c.gauge(
                "pair_state",
                &[&PAIR, &["state"]],
                "1 for the state that the pair is in, 0 for the others.",
            ),
            blocked: c.gauge(
                "pair_blocked",
                &[&PAIR, &["reason"]],
                "1 for what a person has to decide about before the pair goes on; no sample when it \
                 is not blocked.",
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
            newest_seen: c.gauge(
                "newest_seen_timestamp_seconds",
                &[&PAIR],
                "When the source last told its newest version to a run; 0 for never.",
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
            waiting_by_reason: c.gauge(
                "waiting_items",
                &[&PAIR, &["reason"]],
                "Parked and dead items, by why; no sample for a reason that no item has.",
            ),
            oldest_waiting: c.gauge(
                "oldest_waiting_timestamp_seconds",
                &[&PAIR],
                "When the oldest of the parked and dead items was first refused; 0 when there is \
                 none.",
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
                "The first tick of the schedule after the last success, or the end of the closed \
                 hours that it falls into: a run that began then makes the pair fresh again, and how \
                 far it lies back is how late the pair is. 0 when nothing promises more: no \
                 schedule, or no success yet.",
            ),
            schedule_interval: c.gauge(
                "schedule_interval_seconds",
                &[&PAIR],
                "From the next tick of the schedule to the one after it; 0 without a schedule.",
            ),
            next_run: c.gauge(
                "next_run_timestamp_seconds",
                &[&PAIR],
                "When the pair is due next; 0 when nothing will start it. Of one that is due and \
                 waits, how late it starts.",
            ),
            compared_equal: c.gauge(
                "compared_equal",
                &[&PAIR],
                "1 when the last comparison of all resources, by `verify.schedule` or because \
                 somebody asked the daemon for it, found both ends equal, 0 when it did not; no \
                 sample before the first.",
            ),
            compared_at: c.gauge(
                "compared_timestamp_seconds",
                &[&PAIR],
                "When that comparison ended; no sample before the first.",
            ),
            compared_unlike: c.gauge(
                "compared_unlike_items",
                &[&PAIR, &["unlike"]],
                "Items in which that comparison found the ends to differ. `unlike`: `missing` at the \
                 target, `extra` there, `different` in content where contents were compared; no \
                 sample for what no item is.",
            ),
        }
    }

    /// Sets what is a state and not a count.
    pub(super) fn show(&self, pair: &PairId, figures: &PairFigures) {
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
        // A run that succeeded has asked, also where it found nothing to do.
        let seen = self.newest_seen.with_label_values(&labels);
        seen.set(seen.get().max(seconds_of(figures.last_success)));
        self.parked.with_label_values(&labels).set(signed(figures.parked));
        self.dead.with_label_values(&labels).set(signed(figures.dead));
        self.oldest_waiting.with_label_values(&labels).set(seconds_of(figures.oldest_waiting));
        self.failed_runs.with_label_values(&labels).set(figures.failed_runs.into());
        self.last_success.with_label_values(&labels).set(seconds_of(figures.last_success));
        self.fresh_until.with_label_values(&labels).set(seconds_of(figures.fresh_until));
        let interval = figures.schedule_interval.map_or(0, |interval| interval.num_seconds());
        self.schedule_interval.with_label_values(&labels).set(interval);
        self.next_run.with_label_values(&labels).set(seconds_of(figures.next_run));
        if let Some(ComparedWhole { at, equal, unlike }) = &figures.compared {
            self.compared_equal.with_label_values(&labels).set(i64::from(*equal));
            self.compared_at.with_label_values(&labels).set(at.timestamp());
            let Unlike { missing, extra, different } = *unlike;
            for (word, count) in UNLIKE.into_iter().zip([missing, extra, different]) {
                let labels = [labels[0], labels[1], word];
                if count > 0 {
                    self.compared_unlike.with_label_values(&labels).set(signed(count));
                } else {
                    // A gauge that never had the sample has nothing to forget.
                    drop(self.compared_unlike.remove_label_values(&labels));
                }
            }
        }
        show_one(&self.blocked, &self.shown_blocks, pair, figures.blocked_by);
        self.show_reasons(pair, &figures.waiting_by_reason);
    }

    fn show_reasons(&self, pair: &PairId, waiting: &BTreeMap<ParkReason, u64>) {
        let [publication, target] = labels_of(pair);
        let mut shown = self.shown_reasons.lock().expect("nothing panics while it holds these");
        for reason in shown.remove(pair).unwrap_or_default() {
            if !waiting.contains_key(&reason) {
                let labels = [publication, target, reason.as_str()];
                // It was set when it was shown, and nobody else removes it.
                let _ = self.waiting_by_reason.remove_label_values(&labels);
            }
        }
        for (reason, count) in waiting {
            let labels = [publication, target, reason.as_str()];
            self.waiting_by_reason.with_label_values(&labels).set(signed(*count));
        }
        if !waiting.is_empty() {
            shown.insert(pair.clone(), waiting.keys().copied().collect());
        }
    }

    /// What no configuration names any more is no longer told of.
    pub(super) fn forget(&self, pair: &PairId) {
        let labels = labels_of(pair);
        for gauge in [
            &self.watermark,
            &self.newest,
            &self.newest_seen,
            &self.lag,
            &self.parked,
            &self.dead,
            &self.oldest_waiting,
            &self.failed_runs,
            &self.last_success,
            &self.next_run,
            &self.fresh_until,
            &self.schedule_interval,
            &self.run_started,
            &self.compared_equal,
            &self.compared_at,
        ] {
            // A gauge that never had a sample of the pair has nothing to forget.
            drop(gauge.remove_label_values(&labels));
        }
        for word in UNLIKE {
            drop(self.compared_unlike.remove_label_values(&[labels[0], labels[1], word]));
        }
        for state in &self.states {
            drop(self.pair_state.remove_label_values(&[labels[0], labels[1], *state]));
        }
        show_one(&self.blocked, &self.shown_blocks, pair, None);
        self.show_reasons(pair, &BTreeMap::new());
        self.no_run_is_under_way(pair);
    }

    pub(super) fn start_counting(&self, pair: &PairId) {
        let labels = labels_of(pair);
        let [publication, target] = labels;
        self.changes.start_counting(pair);
        for stage in Stage::ALL {
            let read = [publication, target, stage.as_str()];
            self.changes_read.with_label_values(self.labels_of_read(&read));
        }
        for outcome in Outcome::ALL {
            self.runs.with_label_values(&[publication, target, outcome.as_str()]);
        }
        if self.detail == Detail::Fine {
            for outcome in SETTLED {
                self.retries.with_label_values(&[publication, target, outcome]);
            }
            for why in Discarded::ALL {
                self.discarded(pair, why, 0);
            }
            for kind in Anomaly::ALL {
                self.anomalies.with_label_values(&[publication, target, kind.as_str()]);
            }
        }
        self.arrival_seconds.with_label_values(self.labels_of_arrivals(&labels));
        self.unaccounted.with_label_values(&labels);
        self.not_visible.with_label_values(&labels);
        self.run_seconds.with_label_values(&labels);
        self.run_started.with_label_values(&labels);
    }

    pub(super) fn observe(&self, event: &Event<'_>) {
        match event {
            Event::ResourceStarted { pair, stage, resource, .. } => {
                self.changes.count(pair, *stage, resource, Tally::default());
                self.count_resource(pair, "started");
            }
            Event::Settled { pair, stage, resource, tally } => {
                self.changes.count(pair, *stage, resource, *tally);
            }
            Event::ResourceFinished { pair, .. } => self.count_resource(pair, "finished"),
            Event::RunEnded { pair, report } => self.count_run(pair, report),
            Event::RunStarted { pair, at, .. } => {
                let labels = labels_of(pair);
                self.run_started.with_label_values(&labels).set(at.timestamp());
                self.newest_seen.with_label_values(&labels).set(at.timestamp());
                for state in RESOURCES {
                    let labels = [labels[0], labels[1], state];
                    self.run_resources.with_label_values(&labels).set(0);
                }
            }
            Event::Noted { pair, noted } => self.count_noted(pair, *noted),
            Event::StageStarted { .. } => {}
        }
    }

    pub(super) fn discarded(&self, pair: &PairId, why: Discarded, items: u64) {
        let [publication, target] = labels_of(pair);
        let [reason, intentional] = why.labels();
        let labels = [publication, target, reason, intentional];
        self.discarded.with_label_values(&labels).inc_by(items);
    }

    fn labels_of_arrivals<'a>(&self, labels: &'a [&'a str; 2]) -> &'a [&'a str] {
        match self.detail {
            Detail::Fine => labels,
            Detail::Coarse => &labels[1..],
        }
    }

    fn labels_of_read<'a>(&self, labels: &'a [&'a str; 3]) -> &'a [&'a str] {
        match self.detail {
            Detail::Fine => labels,
            Detail::Coarse => &labels[..2],
        }
    }

    fn count_noted(&self, pair: &PairId, noted: Noted) {
        let labels = labels_of(pair);
        let [publication, target] = labels;
        match noted {
            Noted::Arrived { after } => {
                let labels = self.labels_of_arrivals(&labels);
                self.arrival_seconds.with_label_values(labels).observe(after.as_secs_f64());
            }
            Noted::Retried { outcome } => {
                self.retries.with_label_values(&[publication, target, outcome]).inc();
            }
            Noted::Anomaly(kind) => {
                self.anomalies.with_label_values(&[publication, target, kind.as_str()]).inc();
            }
        }
    }

    fn count_resource(&self, pair: &PairId, state: &str) {
        let [publication, target] = labels_of(pair);
        self.run_resources.with_label_values(&[publication, target, state]).inc();
    }

    fn count_run(&self, pair: &PairId, report: &RunReport) {
        let labels = labels_of(pair);
        let [publication, target] = labels;
        let outcome = if report.was_stopped() { STOPPED } else { report.outcome.as_str() };
        self.runs.with_label_values(&[publication, target, outcome]).inc();
        self.not_visible.with_label_values(&labels).inc_by(report.not_visible);
        self.run_seconds.with_label_values(&labels).observe(report.duration_seconds);
        self.run_started.with_label_values(&labels).set(0);
        self.no_run_is_under_way(pair);
        let kind = report.error.as_ref().map(|error| error.kind.as_str());
        show_one(&self.last_run_error, &self.shown_errors, pair, kind);
        for stage in Stage::ALL {
            let tally = report.stages.of(stage);
            let read = [publication, target, stage.as_str()];
            self.changes_read.with_label_values(self.labels_of_read(&read)).inc_by(tally.read);
            if must_add_up(report) {
                let settled = tally.applied + tally.skipped + tally.parked;
                let unaccounted = self.unaccounted.with_label_values(&labels);
                unaccounted.inc_by(tally.read.abs_diff(settled));
                if tally.read > settled {
                    self.discarded(pair, Discarded::Unaccounted, tally.read - settled);
                }
            }
        }
    }

    fn no_run_is_under_way(&self, pair: &PairId) {
        let [publication, target] = labels_of(pair);
        for state in RESOURCES {
            // A run that had nothing to do never began.
            drop(self.run_resources.remove_label_values(&[publication, target, state]));
        }
    }
}

/// One word of a pair at most: the one before goes.
fn show_one(
    gauge: &IntGaugeVec,
    shown: &Mutex<BTreeMap<PairId, String>>,
    pair: &PairId,
    word: Option<&str>,
) {
    let mut shown = shown.lock().expect("nothing panics while it holds these");
    let [publication, target] = labels_of(pair);
    if let Some(before) = shown.remove(pair) {
        // It was set when it was shown, and nobody else removes it.
        let _ = gauge.remove_label_values(&[publication, target, &before]);
    }
    if let Some(word) = word {
        gauge.with_label_values(&[publication, target, word]).set(1);
        shown.insert(pair.clone(), word.to_owned());
    }
}

fn labels_of(pair: &PairId) -> [&str; 2] {
    [&pair.publication, &pair.target]
}

/// A run that ended before its end has taken up what it did not settle; that is no defect.
fn must_add_up(report: &RunReport) -> bool {
    report.outcome != Outcome::Failed
        || report.error.as_ref().is_some_and(|error| error.kind == "not-conserved")
}
