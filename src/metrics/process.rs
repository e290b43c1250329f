//! What is told of the process: what it was built from, its state, its configuration and its log.

use std::sync::Mutex;
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::catalogue::Catalogue;
use super::{seconds_of, signed};
use crate::clock::Timestamp;
use crate::state::FAULTS;

/// Of what was built, where `TIDEMARK_COMMIT` was set when it was.
const COMMIT: Option<&str> = option_env!("TIDEMARK_COMMIT");

const COMMIT_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

const NO_LABELS: &[&str] = &[];

/// How the process is at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessFigures {
    /// What the state takes on its disk, and what is free there; `None` where that is not known.
    pub state_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    pub lost_log_records: u64,
    /// When the certificate of the server itself ends.
    pub certificate_ends: Option<Timestamp>,
}

pub(super) struct ProcessFamilies {
    build: IntGaugeVec,
    state_bytes: IntGaugeVec,
    free_bytes: IntGaugeVec,
    commit_seconds: HistogramVec,
    state_errors: IntCounterVec,
    state_poisoned: IntGaugeVec,
    backup: IntGaugeVec,
    backup_failures: IntCounterVec,
    reloads: IntCounterVec,
    reload_refused: IntGaugeVec,
    reloaded_at: IntGaugeVec,
    configuration: IntGaugeVec,
    shown_configuration: Mutex<Option<String>>,
    certificate: IntGaugeVec,
    lost_log_records: IntCounterVec,
}

impl ProcessFamilies {
    pub(super) fn declare(c: &mut Catalogue) -> ProcessFamilies {
        ProcessFamilies {
            build: c.gauge(
                "build_info",
                &[&["version", "commit"]],
                "1, with the version and, where the build was told it, the commit.",
            ),
            state_bytes: c.gauge(
                "state_size_bytes",
                &[NO_LABELS],
                "What the files of the state directory add up to.",
            ),
            free_bytes: c.gauge(
                "state_free_bytes",
                &[NO_LABELS],
                "What is free on the disk of the state, for whom it belongs to.",
            ),
            commit_seconds: c.histogram(
                "state_commit_duration_seconds",
                &[NO_LABELS],
                &COMMIT_SECONDS,
                "From a step of the state to its being on disk.",
            ),
            state_errors: c.counter(
                "state_errors_total",
                &[&["kind"]],
                "Calls of the state that failed. `kind`: `engine` is what the disk or the database \
                 said, `damaged` what was read and not written so. The process ends soon after \
                 the first.",
            ),
            state_poisoned: c.gauge(
                "state_poisoned",
                &[NO_LABELS],
                "1 once a call of the state has failed: it takes nothing more until the process was \
                 started again.",
            ),
            backup: c.gauge(
                "last_backup_timestamp_seconds",
                &[NO_LABELS],
                "When the state was last backed up, as the newest file says; 0 for never.",
            ),
            backup_failures: c.counter(
                "failed_backups_total",
                &[NO_LABELS],
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
            reloaded_at: c.gauge(
                "config_reload_timestamp_seconds",
                &[NO_LABELS],
                "Since when the configuration in force is in force; 0 for since the process began.",
            ),
            configuration: c.gauge(
                "config_info",
                &[&["hash"]],
                "1, with a hash of the files that the configuration in force was read from; no \
                 sample in the first seconds.",
            ),
            shown_configuration: Mutex::default(),
            certificate: c.gauge(
                "server_certificate_expiry_timestamp_seconds",
                &[NO_LABELS],
                "When the certificate of this server ends (`server.tls`), or the first of those \
                 beside it in its file; no sample without one.",
            ),
            lost_log_records: c.counter(
                "log_records_lost_total",
                &[NO_LABELS],
                "Records of the log that were lost because nobody read it in time.",
            ),
        }
    }

    pub(super) fn start_at_zero(&self) {
        self.build.with_label_values(&[env!("CARGO_PKG_VERSION"), COMMIT.unwrap_or("")]).set(1);
        self.backup.with_label_values(NO_LABELS).set(0);
        self.backup_failures.with_label_values(NO_LABELS);
        self.reload_refused.with_label_values(NO_LABELS);
        self.reloaded_at.with_label_values(NO_LABELS);
        self.commit_seconds.with_label_values(NO_LABELS);
        self.lost_log_records.with_label_values(NO_LABELS);
        self.state_poisoned.with_label_values(NO_LABELS);
        for kind in FAULTS {
            self.state_errors.with_label_values(&[kind]);
        }
        for outcome in ["ok", "refused"] {
            self.reloads.with_label_values(&[outcome]);
        }
    }

    pub(super) fn show(&self, figures: &ProcessFigures) {
        let gauges = [
            (&self.state_bytes, figures.state_bytes.map(signed)),
            (&self.free_bytes, figures.free_bytes.map(signed)),
            (&self.certificate, figures.certificate_ends.map(|ends| ends.timestamp())),
        ];
        for (gauge, value) in gauges {
            if let Some(value) = value {
                gauge.with_label_values(NO_LABELS).set(value);
            }
        }
        let lost = self.lost_log_records.with_label_values(NO_LABELS);
        lost.inc_by(figures.lost_log_records.saturating_sub(lost.get()));
    }

    pub(super) fn committed(&self, took: Duration) {
        self.commit_seconds.with_label_values(NO_LABELS).observe(took.as_secs_f64());
    }

    pub(super) fn state_failed(&self, why: &str) {
        self.state_errors.with_label_values(&[why]).inc();
        self.state_poisoned.with_label_values(NO_LABELS).set(1);
    }

    pub(super) fn backed_up(&self, at: Option<Timestamp>) {
        self.backup.with_label_values(NO_LABELS).set(seconds_of(at));
    }

    pub(super) fn backup_failed(&self) {
        self.backup_failures.with_label_values(NO_LABELS).inc();
    }

    pub(super) fn reloaded(&self, in_force_since: Option<Timestamp>) {
        let outcome = if in_force_since.is_some() { "ok" } else { "refused" };
        self.reloads.with_label_values(&[outcome]).inc();
        let refused = i64::from(in_force_since.is_none());
        self.reload_refused.with_label_values(NO_LABELS).set(refused);
        if let Some(since) = in_force_since {
            self.reloaded_at.with_label_values(NO_LABELS).set(since.timestamp());
        }
    }

    pub(super) fn configured(&self, hash: &str) {
        let mut shown =
            self.shown_configuration.lock().expect("nothing panics while it holds the hash");
        if let Some(before) = shown.replace(hash.to_owned()) {
            // It was set when it was shown, and nobody else removes it.
            let _ = self.configuration.remove_label_values(&[&before]);
        }
        self.configuration.with_label_values(&[hash]).set(1);
    }
}
