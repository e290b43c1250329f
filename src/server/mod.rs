//! What the daemon answers over HTTP: health, metrics and the pairs.
//!
//! What lives here: addresses, routes and who may ask. What does not: the answers ([`Answers`] is
//! given by the daemon). The one thing to know: an address that is not loopback serves
//! `/healthz`, `/readyz` and `/metrics` and nothing else, because everything else needs a token and
//! this version has none.

mod health;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::tasks::Tasks;

/// How long clients that are being answered may take once the daemon stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What the daemon knows.
#[async_trait]
pub trait Answers: Send + Sync {
    /// What is missing before the daemon is ready; `None` when nothing is.
    fn missing(&self) -> Option<String>;

    /// `None` while there is nothing to count yet.
    async fn metrics(&self) -> Option<String>;

    /// The JSON of `GET /api/v1/pairs`, or why there is none.
    async fn pairs(&self) -> Result<serde_json::Value, String>;
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "cannot listen on {address} (`server.listen`): stop what listens there, or choose another address"
    )]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// A server that answers until it is stopped.
pub struct Server {
    address: SocketAddr,
    tasks: Tasks,
}

impl Server {
    pub async fn start(
        listen: SocketAddr,
        answers: Arc<dyn Answers>,
    ) -> Result<Server, ServerError> {
        let bind = |source| ServerError::Bind { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn("server", async move {
            let stopped = stop.clone().cancelled_owned();
            let serving = axum::serve(listener, router(address, answers))
                .with_graceful_shutdown(stopped)
                .into_future();
            let too_long = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_ANSWERS).await;
            };
            tokio::select! {
                ended = serving => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the server ended");
                    }
                }
                () = too_long => tracing::debug!("clients that did not read their answers were left"),
            }
        });
        Ok(Server { address, tasks })
    }

    /// Where it listens: the port is known even when any was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no further client, and waits a little for those that are being answered.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

fn router(address: SocketAddr, answers: Arc<dyn Answers>) -> Router {
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    if !address.ip().is_loopback() {
        return open.fallback(token_wanted).with_state(answers);
    }
    let on_loopback = Router::new()
        .route("/api/v1/pairs", get(pairs))
        .layer(middleware::from_fn(refuse_other_names));
    open.merge(on_loopback).fallback(not_there).with_state(answers)
}

async fn pairs(State(answers): State<Arc<dyn Answers>>) -> Response {
    match answers.pairs().await {
        Ok(pairs) => axum::Json(pairs).into_response(),
        Err(detail) => problem(StatusCode::SERVICE_UNAVAILABLE, &detail),
    }
}

/// A page of another site can make a browser ask this address under a name of its own.
async fn refuse_other_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_none_or(is_loopback_name) {
        return next.run(request).await;
    }
    problem(StatusCode::FORBIDDEN, "ask for this address by its number or as localhost")
}

fn is_loopback_name(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let name = name.map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn token_wanted() -> Response {
    problem(
        StatusCode::UNAUTHORIZED,
        "this address serves /healthz, /readyz and /metrics; the rest is served on loopback",
    )
}

async fn not_there() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing at this path in this version")
}

/// Problem details (contract, "Admin API").
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

#[cfg(test)]
mod tests;
