//! What was asked of the sandbox, for tests that assert it: how many requests, and in which order
//! items were written.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::faults::Part;

/// The oldest are dropped beyond this many.
const KEPT: usize = 300_000;

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// Counts from 1, in the order in which requests were answered.
    pub sequence: usize,
    pub method: String,
    pub path: String,
    pub query: String,
    pub part: Part,
    /// `/ed-fi/students`, if the path names a resource.
    pub resource: Option<String>,
    /// The key of the item that was to be written or deleted, as `name=value&name=value` in the
    /// order of the key fields.
    pub key: Option<String>,
    /// 0 if the connection ended without an answer.
    pub status: u16,
    /// Whether the request asked to be answered from a snapshot.
    pub from_snapshot: bool,
    /// The request's correlation id, if it sent one.
    pub correlation_id: Option<String>,
}

impl LoggedRequest {
    /// Whether the request was to change something.
    pub fn is_write(&self) -> bool {
        self.part == Part::Items && self.method != "GET"
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    kept: Mutex<VecDeque<LoggedRequest>>,
    /// How many were answered, for whoever waits for the next.
    answered: watch::Sender<usize>,
}

impl Log {
    pub(super) fn add(&self, mut request: LoggedRequest) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        request.sequence = *self.answered.borrow() + 1;
        let sequence = request.sequence;
        kept.push_back(request);
        if kept.len() > KEPT {
            kept.pop_front();
        }
        self.answered.send_replace(sequence);
    }

    pub(super) fn all(&self) -> Vec<LoggedRequest> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn answered(&self) -> watch::Receiver<usize> {
        self.answered.subscribe()
    }
}
