//! `/healthz`, `/readyz` and `/metrics`: what needs no token anywhere.
//!
//! Neither of the first two fails because a remote API is down: restarting this process would not
//! mend that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Answers;

/// The format that Prometheus reads.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// For whoever reads what a probe was told.
pub(super) const NOT_READY_TYPE: &str = "text/plain; charset=utf-8";

/// The process is alive: it answered.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The state is open and the configuration is loaded.
pub(super) async fn ready(State(answers): State<Arc<dyn Answers>>) -> Response {
    match answers.missing() {
        None => match answers.notice() {
            None => "ok\n".into_response(),
            Some(notice) => format!("ok\n{notice}\n").into_response(),
        },
        Some(missing) => not_yet(&missing),
    }
}

pub(super) async fn metrics(State(answers): State<Arc<dyn Answers>>) -> Response {
    match answers.metrics().await {
        Some(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        None => not_yet(&answers.missing().unwrap_or_default()),
    }
}

fn not_yet(missing: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")).into_response()
}
