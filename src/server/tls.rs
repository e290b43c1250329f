//! TLS at the door: connections are accepted once they have agreed on it, under a certificate that is
//! read again when its files change.
//!
//! The one thing to know: a certificate that cannot be read when the server starts is an error; one
//! that cannot be read later is said, and the last good one stays.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::serve::Listener;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsConfig;

/// How long a client may take to agree on TLS.
const AGREED_WITHIN: Duration = Duration::from_secs(10);
/// Clients that agree at once; the others wait to be accepted.
const MOST_AGREEING: usize = 256;

/// Why the certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "the certificate {path} cannot be read: see that it is a PEM file that this user may read"
    )]
    Certificate {
        path: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },

    #[error("the key {path} cannot be read: see that it is a PEM file that this user may read")]
    Key {
        path: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },

    #[error(
        "the certificate {path} holds none: write the server's own into it, then its authorities'"
    )]
    Empty { path: String },

    #[error("the certificate {path} and its key do not go together")]
    Pair {
        path: String,
        #[source]
        source: rustls::Error,
    },
}

/// What connections are accepted with: files, and what they held when they were last read.
pub(super) struct Certificate {
    config: TlsConfig,
    acceptor: TlsAcceptor,
    read: Stamps,
}

/// By what a change of the two files is noticed; a link that was exchanged is one.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// Blocks while it reads two small files.
    pub(super) fn read(config: &TlsConfig) -> Result<Certificate, TlsError> {
        let read = stamps(config);
        Ok(Certificate { config: config.clone(), acceptor: acceptor(config)?, read })
    }

    fn acceptor(&mut self) -> TlsAcceptor {
        let now = stamps(&self.config);
        if now != self.read {
            // Whatever comes of it: the same files are not tried again and again.
            self.read = now;
            match acceptor(&self.config) {
                Ok(acceptor) => {
                    tracing::info!("the certificate of the server was read again");
                    self.acceptor = acceptor;
                }
                Err(error) => {
                    tracing::error!(%error, "the server keeps the certificate that it had");
                }
            }
        }
        self.acceptor.clone()
    }
}

fn stamps(config: &TlsConfig) -> Stamps {
    [&config.certificate, &config.key].map(|path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    })
}

fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, TlsError> {
    let named = |path: &Path| path.display().to_string();
    let path = named(&config.certificate);
    let unreadable = |source| TlsError::Certificate { path: path.clone(), source };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&config.certificate)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path });
    }
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|source| TlsError::Key { path: named(&config.key), source })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the usual versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Pair { path, source })?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

type Agreement = BoxFuture<'static, Option<(TlsStream<TcpStream>, SocketAddr)>>;

/// Accepts connections and agrees on TLS with many at once, so that a slow one holds up nobody.
pub(super) struct TlsListener {
    pub(super) listener: TcpListener,
    pub(super) certificate: Certificate,
    pub(super) agreeing: FuturesUnordered<Agreement>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TlsStream<TcpStream>, SocketAddr) {
        loop {
            tokio::select! {
                Some(agreed) = self.agreeing.next() => {
                    if let Some(agreed) = agreed {
                        return agreed;
                    }
                }
                (stream, peer) = Listener::accept(&mut self.listener),
                    if self.agreeing.len() < MOST_AGREEING =>
                {
                    let agreement = self.certificate.acceptor().accept(stream);
                    self.agreeing.push(Box::pin(async move {
                        let agreed = tokio::time::timeout(AGREED_WITHIN, agreement).await;
                        // Whoever does not speak TLS is not answered.
                        Some((agreed.ok()?.ok()?, peer))
                    }));
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
