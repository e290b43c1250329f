//! What the daemon answers over HTTP: health, metrics, the admin API and the console.
//!
//! What lives here: addresses, who may ask, how requests and answers look. What does not: the answers
//! (a [`Desk`] that the daemon gives, through [`Answers`]). The one thing to know: `/healthz`,
//! `/readyz` and `/metrics` are for everybody; everything else is for whoever is on this machine,
//! where the address is a loopback one, and for whoever brings a token.
//!
//! A request passes `problem` (errors have one form), `gate` (who asks), `orders` (how large, how
//! long, once) and its route in `api`. `events` tells what happens meanwhile. `console` shows all of it
//! to people, and has a gate of its own.

mod api;
mod callers;
mod console;
mod events;
mod gate;
mod health;
mod orders;
mod problem;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::middleware;
use axum::routing::get;
use axum::serve::Listener;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::desk::{Caller, Desk};
use crate::state::PairId;
use crate::tasks::Tasks;
use callers::Callers;
use console::Sessions;
use orders::KeptAnswers;
use tls::{Certificate, TlsListener};

pub use api::{RouteLine, route_table};
pub use console::console_table;
pub use events::{Progress, Progressed};
pub use tls::TlsError;

/// How long clients that are being answered may take once the daemon stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What the daemon knows.
#[async_trait]
pub trait Answers: Send + Sync {
    /// What is missing before the daemon is ready; `None` when nothing is.
    fn missing(&self) -> Option<String>;

    /// What is not as it should be though the daemon is ready; without details: everybody may ask.
    fn notice(&self) -> Option<&'static str>;

    /// `None` while there is nothing to count yet.
    async fn metrics(&self) -> Option<String>;

    /// Who answers about pairs, by the configuration of this moment; `None` until it is ready.
    fn desk(&self) -> Option<Arc<dyn Desk>>;

    /// Whether a caller may know of a pair.
    fn sees(&self, by: &Caller, pair: &PairId) -> bool;
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "cannot listen on {address} (`server.listen`, `server.metrics_listen`): stop what listens there, or choose another address"
    )]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },

    #[error("cannot answer under TLS (`server.tls`)")]
    Tls(#[source] TlsError),
}

/// A server that answers until it is stopped.
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    reception: Arc<Reception>,
    tasks: Tasks,
}

/// What every route may need.
struct Reception {
    answers: Arc<dyn Answers>,
    progress: Arc<Progress>,
    callers: Callers,
    sessions: Sessions,
    kept: KeptAnswers,
    /// Orders that are being carried out.
    orders: Tasks,
    is_loopback: bool,
    /// Cookies travel under TLS alone.
    is_tls: bool,
    port: u16,
    clock: Clock,
    stop: CancellationToken,
}

impl Server {
    /// Listens where `config` says, for whoever is on this machine; tokens count once
    /// [`Server::admit`] has named them.
    pub async fn start(
        config: &ServerConfig,
        answers: Arc<dyn Answers>,
        progress: Arc<Progress>,
    ) -> Result<Server, ServerError> {
        let certificate =
            config.tls.as_ref().map(Certificate::read).transpose().map_err(ServerError::Tls)?;
        let (listener, address) = bind(config.listen).await?;
        let metrics = match config.metrics_listen {
            Some(metrics) => Some(bind(metrics).await?),
            None => None,
        };
        let tasks = Tasks::new();
        let is_loopback = address.ip().is_loopback();
        let reception = Arc::new(Reception {
            answers,
            progress,
            callers: Callers::new(is_loopback),
            sessions: Sessions::default(),
            kept: KeptAnswers::default(),
            orders: Tasks::new(),
            is_loopback,
            is_tls: certificate.is_some(),
            port: address.port(),
            clock: Clock::system(),
            stop: tasks.stop_token(),
        });
        let metrics_address = metrics.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = metrics {
            serve(&tasks, listener, open(&reception));
        }
        let router = open(&reception).merge(console::routes(&reception)).merge(closed(&reception));
        match certificate {
            Some(certificate) => {
                let agreeing = FuturesUnordered::new();
                serve(&tasks, TlsListener { listener, certificate, agreeing }, router);
            }
            None => serve(&tasks, listener, router),
        }
        Ok(Server { address, metrics_address, reception, tasks })
    }

    /// From now on the tokens of `config` count and no others; `env` is where `{env: NAME}` ones are
    /// looked up. Called anew when the configuration was read again.
    pub fn admit(&self, config: &ServerConfig, env: &BTreeMap<String, String>) {
        self.reception.callers.admit(config, env);
    }

    /// Where it listens: the port is known even when any was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served alone, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Takes no further client, waits a little for those that are being answered, and for every
    /// order until it is carried out.
    pub async fn stop(&self) {
        self.tasks.stop().await;
        self.reception.orders.stop().await;
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn serve<L>(tasks: &Tasks, listener: L, router: Router)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let stop = tasks.stop_token();
    // Served as it is, a router would put every route together anew for each connection.
    let routes = router.into_make_service();
    tasks.spawn("server", async move {
        let stopped = stop.clone().cancelled_owned();
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stopped).into_future();
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
}

/// What needs no token anywhere.
fn open(reception: &Arc<Reception>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(middleware::from_fn(problem::everywhere))
        .with_state(Arc::clone(&reception.answers))
}

/// Everything else, also what there is not: nobody learns that without a token.
fn closed(reception: &Arc<Reception>) -> Router {
    api::routes(reception)
        .fallback(api::not_there)
        .layer(middleware::from_fn_with_state(Arc::clone(reception), gate::admit))
        .layer(middleware::from_fn(problem::everywhere))
        .with_state(Arc::clone(reception))
}

#[cfg(test)]
mod tests;
