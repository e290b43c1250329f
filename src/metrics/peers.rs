//! What is told of the APIs: requests and answers, limits and pauses, tokens and certificates.
//!
//! Labels are the connection's name, the origin, and words of closed lists.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{
    CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::catalogue::{Catalogue, Detail};
use crate::clock::Timestamp;
use crate::http::{CertificateOf, Endpoint, Exchange, Exchanges, HttpObserver, Method};

const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
const REQUEST_SECONDS_OF_A_FLEET: [f64; 4] = [0.1, 0.5, 2.0, 15.0];

const ENDPOINT: [&str; 2] = ["connection", "origin"];

pub(super) struct PeerFamilies {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    body_bytes: IntCounterVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    budget_exhausted: IntCounterVec,
    paused: CounterVec,
    not_before: IntGaugeVec,
    limit: IntGaugeVec,
    tokens: IntCounterVec,
    token_expiry: IntGaugeVec,
    certificate_expiry: IntGaugeVec,
}

impl PeerFamilies {
    pub(super) fn declare(c: &mut Catalogue, detail: Detail) -> PeerFamilies {
        let buckets: &[f64] = match detail {
            Detail::Fine => &REQUEST_SECONDS,
            Detail::Coarse => &REQUEST_SECONDS_OF_A_FLEET,
        };
        PeerFamilies {
            requests: c.counter(
                "http_requests_total",
                &[&ENDPOINT, &["method", "status"]],
                "Exchanges, repeated ones included. `status`: the class of the answer's status, \
                 or `none` when there was no answer.",
            ),
            request_seconds: c.histogram(
                "http_request_duration_seconds",
                &[&ENDPOINT],
                buckets,
                "From the first byte sent to the last byte received. Fewer buckets above \
                 `server.metrics_resource_pairs` pairs.",
            ),
            in_flight: c.gauge(
                "http_requests_in_flight",
                &[&ENDPOINT],
                "Requests that were sent and are not answered yet; at most \
                 `tidemark_http_concurrency_limit`, and one for a token.",
            ),
            body_bytes: c.counter(
                "http_body_bytes_total",
                &[&ENDPOINT, &["direction"]],
                "Bytes of bodies, `sent` and `received`, the latter decompressed; those of \
                 exchanges without a usable answer are not received.",
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
            budget_exhausted: c.counter(
                "http_retry_budget_exhausted_total",
                &[&ENDPOINT],
                "Requests that were given up before their last attempt, because retries to the \
                 origin had become too many.",
            ),
            paused: c.seconds(
                "http_paused_seconds_total",
                &[&ENDPOINT],
                "How long origins asked to be left alone, added up.",
            ),
            not_before: c.gauge(
                "http_not_before_timestamp_seconds",
                &[&ENDPOINT],
                "The moment before which nothing is sent to the origin, as it last asked; no sample \
                 before it did.",
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
            token_expiry: c.gauge(
                "token_expiry_timestamp_seconds",
                &[&ENDPOINT],
                "When the token in use ends. It is renewed before, when a run needs it; between runs \
                 it may lie in the past.",
            ),
            certificate_expiry: c.gauge(
                "tls_certificate_expiry_timestamp_seconds",
                &[&ENDPOINT, &["kind"]],
                "When a certificate ends. `kind`: `server` is what the origin showed last, `client` \
                 what is shown to it, `authority` the first to end of those that it is checked \
                 against, where the connection names a file of them.",
            ),
        }
    }
}

impl HttpObserver for PeerFamilies {
    fn exchanges(&self, at: Endpoint<'_>) -> Arc<dyn Exchanges> {
        Arc::new(CountedExchanges {
            connection: at.connection.to_owned(),
            origin: at.origin.to_owned(),
            requests: self.requests.clone(),
            errors: self.errors.clone(),
            request_seconds: self.request_seconds.clone(),
            in_flight: self.in_flight.clone(),
            body_bytes: self.body_bytes.clone(),
            of_all: OnceLock::new(),
            answered: Default::default(),
        })
    }

    fn retried(&self, at: Endpoint<'_>, why: &'static str) {
        self.retries.with_label_values(&[at.connection, at.origin, why]).inc();
    }

    fn budget_exhausted(&self, at: Endpoint<'_>) {
        self.budget_exhausted.with_label_values(&[at.connection, at.origin]).inc();
    }

    fn paused(&self, at: Endpoint<'_>, wait: Duration, until: Timestamp) {
        let labels = [at.connection, at.origin];
        self.paused.with_label_values(&labels).inc_by(wait.as_secs_f64());
        // One that asks for less than before is left alone as long as it was to be.
        let not_before = self.not_before.with_label_values(&labels);
        not_before.set(not_before.get().max(until.timestamp()));
    }

    fn limit(&self, at: Endpoint<'_>, in_force: usize) {
        let limit = i64::try_from(in_force).unwrap_or(i64::MAX);
        self.limit.with_label_values(&[at.connection, at.origin]).set(limit);
    }

    fn token_renewed(&self, at: Endpoint<'_>, outcome: Result<Timestamp, &'static str>) {
        let outcome = match outcome {
            Ok(until) => {
                let labels = [at.connection, at.origin];
                self.token_expiry.with_label_values(&labels).set(until.timestamp());
                // There at zero, so that the first retry that is not granted is an increase.
                self.budget_exhausted.with_label_values(&labels);
                "ok"
            }
            Err(kind) => kind,
        };
        self.tokens.with_label_values(&[at.connection, at.origin, outcome]).inc();
    }

    fn certificate(&self, at: Endpoint<'_>, of: CertificateOf, ends: Timestamp) {
        let labels = [at.connection, at.origin, of.as_str()];
        self.certificate_expiry.with_label_values(&labels).set(ends.timestamp());
    }
}

/// The exchanges with one place. Its series are looked for once, when the first exchange begins: a
/// place that was never asked has none.
struct CountedExchanges {
    connection: String,
    origin: String,
    requests: IntCounterVec,
    errors: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    body_bytes: IntCounterVec,
    of_all: OnceLock<OfAll>,
    /// By method, and by class of the status.
    answered: [[OnceLock<IntCounter>; CLASSES.len()]; METHODS.len()],
}

/// What every exchange changes.
struct OfAll {
    seconds: Histogram,
    in_flight: IntGauge,
    sent: IntCounter,
    received: IntCounter,
}

const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
/// The label `status`; the last is that of no answer.
const CLASSES: [&str; 7] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx", "none"];

impl CountedExchanges {
    fn of_all(&self) -> &OfAll {
        self.of_all.get_or_init(|| {
            let at = [self.connection.as_str(), self.origin.as_str()];
            let carried = |direction| self.body_bytes.with_label_values(&[at[0], at[1], direction]);
            OfAll {
                seconds: self.request_seconds.with_label_values(&at),
                in_flight: self.in_flight.with_label_values(&at),
                sent: carried("sent"),
                received: carried("received"),
            }
        })
    }

    fn count(&self, method: &Method, class: usize) {
        let labels = [&self.connection, &self.origin, method.as_str(), CLASSES[class]];
        let counter = || self.requests.with_label_values(&labels);
        match METHODS.iter().position(|known| known == method) {
            Some(known) => self.answered[known][class].get_or_init(counter).inc(),
            None => counter().inc(),
        }
    }
}

impl Exchanges for CountedExchanges {
    fn in_flight(&self, more: i64) {
        self.of_all().in_flight.add(more);
    }

    fn ended(&self, exchange: &Exchange<'_>) {
        let class = match exchange.outcome {
            Ok(status) => class_of(status),
            Err(kind) => {
                self.errors.with_label_values(&[&self.connection, &self.origin, kind]).inc();
                CLASSES.len() - 1
            }
        };
        self.count(exchange.method, class);
        let of_all = self.of_all();
        of_all.seconds.observe(exchange.took.as_secs_f64());
        of_all.sent.inc_by(exchange.sent as u64);
        of_all.received.inc_by(exchange.received as u64);
    }
}

/// Its place in [`CLASSES`].
fn class_of(status: u16) -> usize {
    match status {
        100..=599 => usize::from(status / 100),
        _ => 0,
    }
}
