//! Faults, scripted by meaning: which requests, how often, and what goes wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// One thing that goes wrong, for the requests that it names. Made with [`Fault::everywhere`] or
/// [`Fault::on`], narrowed, and given to `Sandbox::fault`.
#[derive(Clone, Debug)]
pub struct Fault {
    method: Option<String>,
    resource: Option<String>,
    part: Option<Part>,
    /// Leaf names and values of the key that the item must have.
    key: Vec<(String, String)>,
    /// How many matching requests pass first.
    after: usize,
    /// How many are hit; `None`: all.
    times: Option<usize>,
    pub(super) harm: Harm,
}

/// Which part of the API a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Root,
    Token,
    Metadata,
    Dependencies,
    NewestVersion,
    Snapshots,
    /// A collection or one of its items.
    Items,
    Partitions,
    Deletes,
    KeyChanges,
    /// A path that leads nowhere.
    Nowhere,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Harm {
    /// Nothing is done and this is the answer.
    Refuse(Refusal),
    /// The write takes effect and the answer is 500.
    FailAfterWriting,
    /// The write takes effect and the connection ends without an answer.
    DropAfterWriting,
    /// Nothing is done and the connection ends without an answer.
    Drop,
    /// The request waits until the gate opens.
    Hold(Gate),
    /// The request waits that long.
    Slow(Duration),
    /// 429 with that `Retry-After` in seconds, or without one.
    Throttle { retry_after: Option<u64> },
    /// Nothing is done and the answer has that status and quotes the whole request: its query, its
    /// `Authorization` and its body. Servers that log too much answer so.
    Echo(u16),
    /// Half of the body is sent under the length of all of it; then the connection ends.
    CutBody,
    /// A page of HTML under status 200.
    Html,
    /// Bytes that are not UTF-8, in the middle of the body.
    InvalidUtf8,
    /// An object where an array is due.
    NotAnArray,
    /// An empty array: a feed whose history was purged.
    Empty,
    /// 302 to that place.
    Redirect(String),
    /// Every snapshot is dropped, then the request is answered.
    DropSnapshot,
    /// Every snapshot is taken anew from the present, then the request is answered.
    MoveSnapshot,
    /// Every token ends, then the request is answered.
    ExpireTokens,
}

/// A refusal in the words of the version that is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: a value of the body is not allowed.
    Validation(String),
    /// 400: the value of that member of the body is not allowed.
    Member(String, String),
    /// 401.
    Unauthenticated,
    /// 403: no relationship leads to the item.
    NoRelationship,
    /// 403: the claim set lacks the resource.
    ResourceClosed,
    /// 404: there is no such resource.
    NoSuchResource,
    /// 409: the entity of that name is not there.
    UnresolvedReference(String),
    /// 409: the key is taken.
    KeyTaken,
    /// Any status, with a body that says little.
    Status(u16),
}

/// Holds requests until it is opened.
#[derive(Clone, Debug)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    waiting: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

impl Gate {
    pub fn new() -> Gate {
        Gate { open: Arc::new(watch::Sender::new(false)), waiting: Arc::new(watch::Sender::new(0)) }
    }

    /// Lets every request through, those that wait and those that come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until so many requests have come to the gate.
    pub async fn reached_by(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        // The sender is part of this gate, so it cannot be gone.
        let _ = waiting.wait_for(|now| *now >= count).await;
    }

    pub(super) async fn pass(&self) {
        self.waiting.send_modify(|count| *count += 1);
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
    }
}

impl Fault {
    /// Hits every request.
    pub fn everywhere(harm: Harm) -> Fault {
        Fault {
            method: None,
            resource: None,
            part: None,
            key: Vec::new(),
            after: 0,
            times: None,
            harm,
        }
    }

    /// Hits the requests for a resource such as `/ed-fi/students`.
    pub fn on(resource: &str, harm: Harm) -> Fault {
        Fault { resource: Some(resource.to_owned()), ..Fault::everywhere(harm) }
    }

    /// Only requests of that method.
    pub fn method(mut self, method: &str) -> Fault {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests for that part of the API.
    pub fn part(mut self, part: Part) -> Fault {
        self.part = Some(part);
        self
    }

    /// Only writes of items whose key has that value.
    pub fn key(mut self, name: &str, value: &str) -> Fault {
        self.key.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets that many matching requests pass first.
    pub fn after(mut self, count: usize) -> Fault {
        self.after = count;
        self
    }

    /// Hits that many requests and is spent.
    pub fn times(mut self, count: usize) -> Fault {
        self.times = Some(count);
        self
    }
}

/// What is known of a request before it is answered.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) method: String,
    pub(super) part: Part,
    pub(super) resource: Option<String>,
    /// The key of the item that is written, named and plain.
    pub(super) key: Vec<(String, String)>,
}

/// Takes a fault back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(usize);

/// The faults that are in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    next: AtomicUsize,
    active: Mutex<Vec<Active>>,
}

#[derive(Debug)]
struct Active {
    id: FaultId,
    fault: Fault,
    seen: usize,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) -> FaultId {
        let id = FaultId(self.next.fetch_add(1, Ordering::SeqCst));
        self.lock().push(Active { id, fault, seen: 0 });
        id
    }

    pub(super) fn remove(&self, id: FaultId) {
        self.lock().retain(|active| active.id != id);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What goes wrong with this request, in the order in which the faults were given.
    pub(super) fn hitting(&self, facts: &Facts) -> Vec<Harm> {
        let mut harms = Vec::new();
        for active in self.lock().iter_mut() {
            if !matches(&active.fault, facts) {
                continue;
            }
            active.seen += 1;
            let number = active.seen;
            let first = active.fault.after + 1;
            let is_spent =
                active.fault.times.is_some_and(|times| number >= first.saturating_add(times));
            if number >= first && !is_spent {
                harms.push(active.fault.harm.clone());
            }
        }
        harms
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn matches(fault: &Fault, facts: &Facts) -> bool {
    fault.method.as_ref().is_none_or(|method| *method == facts.method)
        && fault.part.is_none_or(|part| part == facts.part)
        && fault
            .resource
            .as_ref()
            .is_none_or(|resource| Some(resource.as_str()) == facts.resource.as_deref())
        && fault.key.iter().all(|wanted| facts.key.contains(wanted))
}
