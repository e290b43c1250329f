//! Every metric, declared once: its name, its labels, what it means.
//!
//! What lives here: the families and what makes them move, those of a pair in `pairs.rs`, of an API
//! in `peers.rs`, of the process in `process.rs`. What does not: who asks for them (`server/`). The
//! one thing to know: nothing is global; a process has one [`Metrics`], made for the pairs of its
//! configuration, so that every set of labels is there at zero before anything happened. Labels are
//! names of the configuration and words of closed lists, never keys, ids, addresses with a path or
//! texts of errors.
//!
//! `docs/metrics.md` is made from the declarations; a test holds the two together.

mod catalogue;
mod changes;
mod pairs;
mod peers;
mod process;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Registry, TextEncoder};

use crate::clock::Timestamp;
use crate::engine::observe::{Event, Observer};
use crate::http::{CertificateOf, Endpoint, Exchanges, HttpObserver};
use crate::state::PairId;
use catalogue::{Catalogue, Declared, Detail};
use pairs::PairFamilies;
use peers::PeerFamilies;
use process::ProcessFamilies;

pub use pairs::{Discarded, PairFigures};
pub use process::ProcessFigures;

/// What other programs of this kind call otherwise, or tell by another figure.
const WHERE_TO_LOOK: &str = "\
    What other programs tell by a family of its own may be here under another name:\n\n\
    | looked for | here |\n|---|---|\n\
    | when the source was last polled | `tidemark_newest_seen_timestamp_seconds` |\n\
    | when the pair was last caught up | `tidemark_last_success_timestamp_seconds`: a run that found \
    nothing new sets it too |\n\
    | items received; items by outcome | `tidemark_changes_read_total`; `tidemark_changes_total` |\n\
    | violations of conservation | `tidemark_unaccounted_changes_total` |\n\
    | dead letters, by reason, and the oldest | `tidemark_parked_items`, `tidemark_dead_items`, \
    `tidemark_waiting_items`, `tidemark_oldest_waiting_timestamp_seconds` |\n\
    | late starts | `tidemark_next_run_timestamp_seconds`, where it has passed |\n\
    | throttling | `tidemark_http_paused_seconds_total` |\n\
    | token refreshes | `tidemark_token_renewals_total` |\n\
    | whether the last reload succeeded | `tidemark_config_reload_refused`, which is its opposite |\n\
    | what a verification found | `tidemark_compared_equal`, `tidemark_compared_unlike_items`, \
    `tidemark_compared_timestamp_seconds` |\n\
    | errors of the store | `tidemark_state_errors_total`, `tidemark_state_poisoned` |\n\
    | leases | none: one process holds the state, by a lock |\n\n";

/// Counts what happens, and shows it.
pub struct Metrics {
    registry: Registry,
    declared: Vec<Declared>,
    pairs: PairFamilies,
    peers: PeerFamilies,
    process: ProcessFamilies,
}

impl Metrics {
    /// For these pairs, which have one of these `states`; the label `resource` is left out above
    /// `resource_pairs` pairs (contract, `server.metrics_resource_pairs`).
    pub fn new(pairs: &[PairId], states: &[&'static str], resource_pairs: usize) -> Metrics {
        let detail = if pairs.len() <= resource_pairs { Detail::Fine } else { Detail::Coarse };
        let mut catalogue = Catalogue::default();
        let families = PairFamilies::declare(&mut catalogue, states, detail);
        let peers = PeerFamilies::declare(&mut catalogue, detail);
        let process = ProcessFamilies::declare(&mut catalogue);
        process.start_at_zero();
        let Catalogue { registry, declared } = catalogue;
        watch_process(&registry);
        let metrics = Metrics { registry, declared, pairs: families, peers, process };
        for pair in pairs {
            metrics.pairs.start_counting(pair);
            metrics.show(pair, &PairFigures::default());
        }
        metrics
    }

    /// What there is, in the text format of Prometheus.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("families that were registered can be written as text")
    }

    /// Sets what is a state of a pair and not a count.
    pub fn show(&self, pair: &PairId, figures: &PairFigures) {
        self.pairs.show(pair, figures);
    }

    /// The same of the process.
    pub fn show_process(&self, figures: &ProcessFigures) {
        self.process.show(figures);
    }

    /// When the newest backup of the state was made, if there is one.
    pub fn backed_up(&self, at: Option<Timestamp>) {
        self.process.backed_up(at);
    }

    pub fn backup_failed(&self) {
        self.process.backup_failed();
    }

    /// A step of the state is on disk.
    pub fn committed(&self, took: Duration) {
        self.process.committed(took);
    }

    /// A call of the state failed: it takes no other from now on.
    pub fn state_failed(&self, why: &'static str) {
        self.process.state_failed(why);
    }

    /// Parked items of the pair that nobody waits for any more.
    pub fn discarded(&self, pair: &PairId, why: Discarded, items: u64) {
        self.pairs.discarded(pair, why, items);
    }

    /// Another configuration is in force since then, or was refused (`None`).
    pub fn reloaded(&self, in_force_since: Option<Timestamp>) {
        self.process.reloaded(in_force_since);
    }

    /// What the configuration in force was read from, as a hash.
    pub fn configured(&self, hash: &str) {
        self.process.configured(hash);
    }

    /// Pairs that a change of the configuration brought are there at zero too.
    pub fn watch_pairs(&self, pairs: &[PairId]) {
        for pair in pairs {
            self.pairs.start_counting(pair);
        }
    }

    /// What no configuration names any more is no longer told of.
    pub fn forget_pair(&self, pair: &PairId) {
        self.pairs.forget(pair);
    }

    /// The page about the metrics: `docs/metrics.md`.
    pub fn documentation() -> String {
        let mut page = String::from(
            "# Metrics\n\n\
             `GET /metrics` of the daemon answers in the text format of Prometheus. This page is \
             made from the declarations in `src/metrics/`; a test holds the two together.\n\n\
             `publication` and `target` are names of the configuration, and so is `connection`; \
             `origin` is scheme, host and port. Process metrics (`process_*`) are there too, on \
             Linux.\n\n",
        );
        page.push_str(WHERE_TO_LOOK);
        page.push_str("| name | type | labels | meaning |\n|---|---|---|---|\n");
        // With room for one pair, so that `resource` is a label.
        let mut declared = Metrics::new(&[], &[], 1).declared;
        declared.sort_by(|one, other| one.name.cmp(&other.name));
        for Declared { name, kind, labels, help } in &declared {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "))
                .expect("a string takes what is written to it");
        }
        page
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        self.pairs.observe(event);
    }

    fn wants_ages(&self) -> bool {
        true
    }
}

impl HttpObserver for Metrics {
    fn exchanges(&self, at: Endpoint<'_>) -> Arc<dyn Exchanges> {
        self.peers.exchanges(at)
    }

    fn retried(&self, at: Endpoint<'_>, why: &'static str) {
        self.peers.retried(at, why);
    }

    fn budget_exhausted(&self, at: Endpoint<'_>) {
        self.peers.budget_exhausted(at);
    }

    fn paused(&self, at: Endpoint<'_>, wait: Duration, until: Timestamp) {
        self.peers.paused(at, wait, until);
    }

    fn limit(&self, at: Endpoint<'_>, in_force: usize) {
        self.peers.limit(at, in_force);
    }

    fn token_renewed(&self, at: Endpoint<'_>, outcome: Result<Timestamp, &'static str>) {
        self.peers.token_renewed(at, outcome);
    }

    fn certificate(&self, at: Endpoint<'_>, of: CertificateOf, ends: Timestamp) {
        self.peers.certificate(at, of, ends);
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

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds_of(moment: Option<Timestamp>) -> i64 {
    moment.map_or(0, |moment| moment.timestamp())
}
