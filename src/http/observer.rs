//! What this module tells whoever counts: numbers and short words, never a path or a key.

use std::time::Duration;

use reqwest::Method;

/// Where the counted things happened, as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// Scheme, host and port.
    pub origin: &'a str,
}

/// Told of everything that is worth a metric. Calls come from many tasks and must be quick.
pub trait HttpObserver: Send + Sync {
    /// One exchange ended: with a status, or with the [`kind`](super::HttpError::kind) of an error.
    fn exchanged(&self, _: Endpoint<'_>, _: &Method, _: Result<u16, &'static str>, _: Duration) {}

    /// A request will be sent again; the word is `429`'s or the error's kind.
    fn retried(&self, _: Endpoint<'_>, _why: &'static str) {}

    /// An origin asked to be left alone for so long.
    fn paused(&self, _: Endpoint<'_>, _: Duration) {}

    /// The adaptive limit of an origin moved to this.
    fn limit(&self, _: Endpoint<'_>, _in_force: usize) {}

    /// A token was renewed, or not.
    fn token_renewed(&self, _: Endpoint<'_>, _outcome: Result<(), &'static str>) {}
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl HttpObserver for Unobserved {}
