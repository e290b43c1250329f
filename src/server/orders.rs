//! How a request is taken: its body bounded, its time limited, and an order carried to its end.
//!
//! What lives here: bounds, and answers kept for `Idempotency-Key`. What does not: what an order does
//! (`api/`). The one thing to know: what changes something runs in a task of its own, so that a client
//! that goes away does not leave it half done, and one that comes back with the same key gets the
//! answer that it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Reception;
use super::problem::{self, Problem};
use crate::desk::Caller;

/// How large and how long a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) within: Duration,
}

impl Bounds {
    pub(super) const USUAL: Bounds = Bounds { bytes: 1 << 20, within: Duration::from_secs(60) };
    /// Remote APIs are asked before it is answered.
    pub(super) const ENDS: Bounds = Bounds { bytes: 1 << 20, within: Duration::from_secs(10 * 60) };
    /// A whole state, in or out.
    pub(super) const STATE: Bounds =
        Bounds { bytes: 256 << 20, within: Duration::from_secs(10 * 60) };
}

/// How long an answer is kept for whoever asks again.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How many answers are kept; the oldest go first.
const KEPT: usize = 1024;
/// An answer that is larger is not kept.
const LARGEST_KEPT: usize = 64 << 10;
/// Far above any answer to an order.
const LARGEST_ANSWER: usize = 64 << 20;
const LONGEST_KEY: usize = 255;

/// Runs the rest of a route within its bounds.
pub(super) async fn take(
    reception: Arc<Reception>,
    bounds: Bounds,
    request: Request,
    next: Next,
) -> Response {
    let taken = async {
        if request.method().is_safe() {
            return next.run(request).await;
        }
        let (parts, body) = request.into_parts();
        match axum::body::to_bytes(body, bounds.bytes).await {
            Ok(body) => order(&reception, parts, body, next).await,
            Err(_) => too_large(bounds),
        }
    };
    match tokio::time::timeout(bounds.within, taken).await {
        Ok(answer) => answer,
        Err(_) => {
            let detail = "it took too long; what was begun goes on: look before you ask again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

fn too_large(bounds: Bounds) -> Response {
    let detail = format!("a body has at most {} bytes here", bounds.bytes);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
}

async fn order(reception: &Arc<Reception>, parts: Parts, body: Bytes, next: Next) -> Response {
    let key = match idempotency_key(&parts.headers) {
        Ok(key) => key,
        Err(problem) => return problem.into_response(),
    };
    let question = key.map(|key| question(&parts, &key));
    let said = Sha256::digest(&body).into();
    let request = Request::from_parts(parts, Body::from(body));
    let kept = match question {
        None => None,
        Some(question) => match reception.kept.find(question, said) {
            Some(kept) => Some(kept),
            None => return another_body(),
        },
    };
    let work = carry_out(Arc::clone(reception), kept, request, next);
    match reception.orders.spawn("order", work).await {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => problem::defect(),
    }
}

/// The first to come with a key does it, and who comes meanwhile waits for that answer.
async fn carry_out(
    reception: Arc<Reception>,
    kept: Option<Arc<Kept>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(kept) = kept else { return next.run(request).await };
    let answer =
        kept.answer.get_or_init(|| async { Answer::of(next.run(request).await).await }).await;
    if !answer.is_kept() {
        reception.kept.forget(&kept);
    }
    answer.clone().response()
}

fn another_body() -> Response {
    let detail = "this `Idempotency-Key` came with another body: use a key for one order alone";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).into_response()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => Err(Problem::bad_request(format!(
            "an `Idempotency-Key` is text of 1 to {LONGEST_KEY} characters"
        ))),
    }
}

/// A key is one caller's, for one route.
fn question(parts: &Parts, key: &str) -> [u8; 32] {
    let caller = parts.extensions.get::<Caller>().map_or("", |caller| caller.name.as_str());
    let mut hash = Sha256::new();
    for part in [caller, parts.method.as_str(), &parts.uri.to_string(), key] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Answers to orders that came with a key.
#[derive(Default)]
pub(super) struct KeptAnswers {
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

struct Kept {
    question: [u8; 32],
    /// Hash of the body.
    said: [u8; 32],
    since: Instant,
    answer: OnceCell<Answer>,
}

impl KeptAnswers {
    /// The place for the answer, filled or not; `None` where the key came with another body.
    fn find(&self, question: [u8; 32], said: [u8; 32]) -> Option<Arc<Kept>> {
        let mut kept = self.kept.lock().expect("nothing panics while it holds the answers");
        let now = Instant::now();
        while kept.front().is_some_and(|oldest| now.duration_since(oldest.since) >= KEPT_FOR) {
            kept.pop_front();
        }
        if let Some(known) = kept.iter().find(|known| known.question == question) {
            return (known.said == said).then(|| Arc::clone(known));
        }
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        let new = Arc::new(Kept { question, said, since: now, answer: OnceCell::new() });
        kept.push_back(Arc::clone(&new));
        Some(new)
    }

    fn forget(&self, gone: &Arc<Kept>) {
        let mut kept = self.kept.lock().expect("nothing panics while it holds the answers");
        kept.retain(|known| !Arc::ptr_eq(known, gone));
    }
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Answer {
    async fn of(response: Response) -> Answer {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, LARGEST_ANSWER).await.ok();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// What failed may succeed when it is tried again.
    fn is_kept(&self) -> bool {
        let is_small = self.body.as_ref().is_some_and(|body| body.len() <= LARGEST_KEPT);
        !self.status.is_server_error() && is_small
    }

    fn response(self) -> Response {
        match self.body {
            Some(body) => (self.status, self.headers, body).into_response(),
            None => problem::defect(),
        }
    }
}
