//! A simulated Ed-Fi ODS/API that a client cannot tell from a real one on the routes that
//! publishing uses: for `tidemark sandbox`, the demo, tests and benches.
//!
//! It is driven by data (`data/edfi`), binds loopback only and shares no type with the modules
//! that it is there to test. Every item is stored and served as the bytes that were posted. What
//! it plays, in which version, is said by `edfi-wire` §13.
//!
//! Not here: the command (`cli/sandbox.rs`), and any knowledge of Tidemark.

mod authorize;
mod cascade;
mod database;
mod direct;
mod document;
pub mod edits;
mod faults;
mod feeds;
mod listener;
mod log;
mod options;
mod other_standard;
mod problem;
mod query;
mod references;
mod render;
mod routes;
mod rows;
mod seed;
mod server;
mod snapshot;
mod standard;
mod validate;
mod version;
mod view;
mod world;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;

pub use database::{Backup, Database};
pub use direct::{Refused, Told};
pub use faults::{Fault, FaultId, Gate, Harm, Part, Refusal};
pub use log::LoggedRequest;
pub use options::{Feeds, PeopleAuthorization, SandboxOptions, Seed, SnapshotMode, Standard};
pub use version::ApiVersion;
pub use view::{Shown, View};

use crate::tasks::Tasks;

use server::Shared;

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(
        "the sandbox listens on loopback addresses only, not on {0}: anyone could read and write \
         what it holds; use 127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address}; is something else using the port?")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot load an item of '{endpoint}': {why}")]
    Seed { endpoint: String, why: String },
    #[error("the sandbox's data cannot be used: {0}")]
    Data(String),
}

/// A running sandbox. It ends with [`Sandbox::stop`], or when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    is_up: watch::Sender<bool>,
    tasks: Tasks,
}

impl Sandbox {
    /// Loads the data and answers requests until it is stopped.
    pub async fn start(options: SandboxOptions) -> Result<Sandbox, SandboxError> {
        if !options.listen.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(options.listen));
        }
        let database = Database::load(&options)?;
        if options.snapshots == SnapshotMode::Auto {
            database.take_snapshot();
        }
        let (is_up, watched) = watch::channel(true);
        let listen = options.listen;
        let host = listener::Host::bind(listen, watched)
            .await
            .map_err(|source| SandboxError::Listen { address: listen, source })?;
        let address = host.address();
        let shared = Arc::new(Shared::new(options, database, format!("http://{address}")));
        let service = Router::new()
            .fallback(server::answer)
            .with_state(shared.clone())
            .into_make_service_with_connect_info::<listener::Cut>();
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn("sandbox", async move {
            tokio::select! {
                _ = axum::serve(host, service) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Sandbox { shared, address, is_up, tasks })
    }

    /// The URL that a client is configured with, without a slash at its end.
    pub fn url(&self) -> String {
        self.shared.base()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and refuses new ones.
    pub fn go_down(&self) {
        self.is_up.send_replace(false);
    }

    /// Listens again under the same address.
    pub fn come_up(&self) {
        self.is_up.send_replace(true);
    }

    /// Lets something go wrong from now on.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.shared.faults.add(fault)
    }

    /// Ends one fault.
    pub fn repair(&self, fault: FaultId) {
        self.shared.faults.remove(fault);
    }

    /// Ends every fault.
    pub fn repair_all(&self) {
        self.shared.faults.clear();
    }

    /// Every request since the start or the last [`Sandbox::clear_requests`], in order.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.all()
    }

    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Waits until `holds`, which is asked again whenever a request was answered: of the data of this
    /// sandbox, or of what was asked of it.
    pub async fn until(&self, mut holds: impl FnMut() -> bool) {
        let mut answered = self.shared.log.answered();
        while !holds() {
            answered.changed().await.expect("the log is there as long as the sandbox");
        }
    }

    /// Makes every token that was given invalid.
    pub fn expire_tokens(&self) {
        let mut tokens =
            self.shared.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.expire_all();
    }

    /// Takes another secret from now on, and neither the one before nor a token that was given for it.
    pub fn change_secret(&self, secret: &str) {
        let mut taken =
            self.shared.secret.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        secret.clone_into(&mut taken);
        drop(taken);
        self.expire_tokens();
    }

    /// Every token that was given and has not ended.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner).all()
    }

    /// What `token_info` says from now on that the credentials reach; at first the agency of the
    /// sample data.
    pub fn tell_education_organizations(&self, ids: &[i64]) {
        let told = &self.shared.education_organizations;
        *told.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = ids.to_vec();
    }

    /// Stops answering and frees the port.
    pub async fn stop(self) {
        self.is_up.send_replace(false);
        self.tasks.stop().await;
    }
}

/// A sandbox is a database with a server in front of it.
impl Deref for Sandbox {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.shared.database
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.is_up.send_replace(false);
        self.tasks.stop_token().cancel();
    }
}
