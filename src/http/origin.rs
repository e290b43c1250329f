//! What belongs to a host rather than to a connection: the adaptive limit, the moment before which
//! nobody sends, the budget of retries, and sockets. Six hundred connections to one host share one of each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::concurrency::Limiter;
use super::error::{HttpError, bare_origin};
use super::retry::RetryBudget;
use super::wire::Clients;
use crate::clock::Clock;

/// Every origin that this process talks to. One for the process; clones are the same one.
#[derive(Clone, Debug)]
pub struct Origins {
    known: Arc<Mutex<HashMap<String, Arc<Origin>>>>,
    clock: Clock,
}

impl Origins {
    /// The clock is asked when a server names a date in `Retry-After`.
    pub fn new(clock: Clock) -> Origins {
        Origins { known: Arc::default(), clock }
    }

    /// The origin of an address, with room for at least `ceiling` requests at once.
    pub(super) fn of(&self, url: &Url, ceiling: usize) -> Arc<Origin> {
        let name = bare_origin(url);
        let mut known = self.known.lock().expect("nothing panics while it holds the origins");
        let origin = known
            .entry(name)
            .or_insert_with_key(|name| Arc::new(Origin::new(name.clone(), ceiling)));
        origin.limiter.raise_ceiling(ceiling);
        Arc::clone(origin)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// One scheme, host and port.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) limiter: Arc<Limiter>,
    pub(super) clients: Clients,
    not_before: Mutex<Option<Instant>>,
    /// There is such a moment, and it may lie ahead: asked of every request, twice.
    was_closed: AtomicBool,
    budget: Mutex<RetryBudget>,
    answered: AtomicBool,
}

impl Origin {
    fn new(name: String, ceiling: usize) -> Origin {
        Origin {
            name,
            limiter: Arc::new(Limiter::new(ceiling)),
            clients: Clients::default(),
            not_before: Mutex::new(None),
            was_closed: AtomicBool::new(false),
            budget: Mutex::new(RetryBudget::new()),
            answered: AtomicBool::new(false),
        }
    }

    /// The moment before which nobody sends, while it lies ahead.
    pub(super) fn closed_until(&self) -> Option<Instant> {
        if !self.was_closed.load(Ordering::Acquire) {
            return None;
        }
        let not_before = self.not_before.lock().expect("nothing panics while it holds the moment");
        not_before.filter(|moment| *moment > Instant::now())
    }

    /// Leaves the origin alone for so long, or as long as it was to be left alone already.
    pub(super) fn close_for(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut not_before =
            self.not_before.lock().expect("nothing panics while it holds the moment");
        *not_before = Some(not_before.map_or(until, |earlier| earlier.max(until)));
        self.was_closed.store(true, Ordering::Release);
    }

    /// Whether it ever answered: only then is a refused connection worth another attempt.
    pub(super) fn is_alive(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn has_answered(&self) {
        // Read first: the line is shared by every core, and written once.
        if !self.is_alive() {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn earn_retry(&self) {
        self.budget.lock().expect("nothing panics while it holds the budget").earn();
    }

    pub(super) fn spend_retry(&self, error: &HttpError) -> bool {
        self.budget.lock().expect("nothing panics while it holds the budget").spend(error)
    }
}
