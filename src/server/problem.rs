//! Why there is no answer, as problem details (RFC 9457; contract, "Admin API").
//!
//! The one thing to know: whatever leaves the server as an error has this form, also what axum
//! itself refuses ([`everywhere`]) and what panicked. No text repeats a value that was sent.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::desk::{DeskError, Role, Started};

pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says of what kind it is.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    /// A sentence for a person, which says what to do.
    detail: String,
    /// Of a 403: the role that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needed_role: Option<Role>,
    /// Of a 409 to an order to run: ids of the runs that go on already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    already_running: Option<Vec<String>>,
    /// Of a 500: the state of the daemon failed, and it is to be started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    state_failed: bool,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            needed_role: None,
            already_running: None,
            state_failed: false,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The caller may not; `needed` may.
    pub(super) fn forbidden(needed: Role) -> Problem {
        let detail = DeskError::Forbidden { needed }.to_string();
        let problem = Problem::new(StatusCode::FORBIDDEN, detail);
        Problem { needed_role: Some(needed), ..problem }
    }

    /// None of the runs could start.
    pub(super) fn none_started(started: Started) -> Problem {
        let detail = "none could start: the pairs are running already";
        let problem = Problem::new(StatusCode::CONFLICT, detail);
        Problem { already_running: Some(started.already_running), ..problem }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Problem {
        match error {
            DeskError::NotThere(detail) => Problem::new(StatusCode::NOT_FOUND, detail),
            DeskError::Refused(detail) => Problem::bad_request(detail),
            DeskError::Conflict(detail) => Problem::new(StatusCode::CONFLICT, detail),
            DeskError::Forbidden { needed } => Problem::forbidden(needed),
            DeskError::NotNow(detail) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            DeskError::Failed(detail) => Problem::new(StatusCode::BAD_GATEWAY, detail),
            DeskError::State(detail) => {
                let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
                Problem { state_failed: true, ..problem }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        let body = serde_json::to_string(&self).unwrap_or_default();
        (self.status(), kind, body).into_response()
    }
}

/// Gives every error the form, also those of the router and of what panicked.
pub(super) async fn everywhere(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let Ok(answer) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        // The panic text is not repeated: it could hold what an answer may not.
        tracing::error!(%method, "an answer ended in a defect of this program");
        return defect();
    };
    let status = answer.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || says_why(answer.headers()) {
        return answer;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => "there is nothing at this path in this version",
        StatusCode::METHOD_NOT_ALLOWED => "this path takes other methods: see the header `Allow`",
        _ => "the request cannot be taken as it is",
    };
    let allow: Option<HeaderValue> = answer.headers().get(header::ALLOW).cloned();
    let mut response = Problem::new(status, detail).into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

pub(super) fn defect() -> Response {
    let detail = "this ended in a defect of this program; the daemon goes on. Please report it";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
}

/// A problem, a page of the console, or the plain text of `/readyz`.
fn says_why(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        kind == MEDIA_TYPE
            || kind.starts_with("text/html")
            || kind.starts_with(super::health::NOT_READY_TYPE)
    })
}
