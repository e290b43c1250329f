//! What this module tells whoever counts: numbers and short words, never a path or a key.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;

/// Where the counted things happened, as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// Scheme, host and port.
    pub origin: &'a str,
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateOf {
    /// What the origin showed.
    Server,
    /// What is shown to it.
    Client,
    /// The authority that it is checked against, where the connection names its own.
    Authority,
}

impl CertificateOf {
    pub fn as_str(self) -> &'static str {
        match self {
            CertificateOf::Server => "server",
            CertificateOf::Client => "client",
            CertificateOf::Authority => "authority",
        }
    }
}

/// Told of everything that is worth a metric. Calls come from many tasks and must be quick.
pub trait HttpObserver: Send + Sync {
    /// Who is told of the exchanges with this place; a client asks once for the origin of its address,
    /// so that nobody is looked for by name a few times for each request.
    fn exchanges(&self, _: Endpoint<'_>) -> Arc<dyn Exchanges> {
        Arc::new(Unobserved)
    }

    /// A request will be sent again; the word is `429`'s or the error's kind.
    fn retried(&self, _: Endpoint<'_>, _why: &'static str) {}

    /// A request is given up that had attempts left: the origin's budget of retries is used up.
    fn budget_exhausted(&self, _: Endpoint<'_>) {}

    /// An origin asked to be left alone for so long, until then.
    fn paused(&self, _: Endpoint<'_>, _: Duration, _until: DateTime<Utc>) {}

    /// The adaptive limit of an origin moved to this.
    fn limit(&self, _: Endpoint<'_>, _in_force: usize) {}

    /// A token was renewed and ends then, or was not.
    fn token_renewed(&self, _: Endpoint<'_>, _outcome: Result<DateTime<Utc>, &'static str>) {}

    /// A certificate ends then. Told when it was seen first, and when another one is.
    fn certificate(&self, _: Endpoint<'_>, _: CertificateOf, _ends: DateTime<Utc>) {}
}

/// Told of each exchange with one place.
pub trait Exchanges: Send + Sync {
    /// So many more are under way; fewer, where it is negative.
    fn in_flight(&self, _more: i64) {}

    /// One ended.
    fn ended(&self, _: &Exchange<'_>) {}
}

/// How an exchange went.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub method: &'a Method,
    /// A status, or the [`kind`](super::HttpError::kind) of an error.
    pub outcome: Result<u16, &'static str>,
    pub took: Duration,
    /// Of the body, in bytes.
    pub sent: usize,
    /// Of the body, in decompressed bytes; nothing without a usable answer.
    pub received: usize,
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl HttpObserver for Unobserved {}

impl Exchanges for Unobserved {}
