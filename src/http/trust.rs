//! Whom a connection trusts and what it shows of itself: PEM files, which are read again when they
//! change.
//!
//! The one thing to know: files that cannot be read harm the requests of their connection and nobody
//! else's; once they could be read, the last good ones stay until there are others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use reqwest::{Certificate, ClientBuilder, Identity};
use tokio::time::Instant;

use super::error::{Cause, HttpError};
use super::observer::CertificateOf;
use crate::certificate;
use crate::clock::Timestamp;

/// Between two looks whether the files have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The files of a connection. Default: the authorities of the system, and nothing is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The certificate of the server must come from one of these, and no longer from one of the
    /// system's.
    pub authorities: Option<PathBuf>,
    /// What is shown to a server that asks for it, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    pub(super) fn is_usual(&self) -> bool {
        *self == ClientTls::default()
    }

    fn files(&self) -> Vec<&Path> {
        let shown = self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.authorities.iter().chain(shown).map(PathBuf::as_path).collect()
    }

    /// When what the files hold ends.
    pub(super) fn ends(&self) -> Vec<(CertificateOf, Timestamp)> {
        let authorities = self.authorities.as_ref().map(|file| (CertificateOf::Authority, file));
        let shown = self.certificate.as_ref().map(|(file, _)| (CertificateOf::Client, file));
        let files = authorities.into_iter().chain(shown);
        files.filter_map(|(of, file)| Some((of, certificate::first_to_end(file)?))).collect()
    }

    /// Blocks while it reads small files.
    fn applied(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
        if let Some(file) = &self.authorities {
            let known = Certificate::from_pem_bundle(&read(file)?)
                .map_err(|error| Arc::new(Unusable::new(file, error)) as Cause)?;
            if known.is_empty() {
                return Err(Arc::new(Empty { path: file.display().to_string() }));
            }
            builder = builder.tls_certs_only(known);
        }
        if let Some((certificate, key)) = &self.certificate {
            let mut both = read(certificate)?;
            both.push(b'\n');
            both.extend(read(key)?);
            let shown = Identity::from_pem(&both)
                .map_err(|error| Arc::new(Unusable::new(certificate, error)) as Cause)?;
            builder = builder.identity(shown);
        }
        Ok(builder)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Cause> {
    let unreadable = |source| Unreadable { path: file.display().to_string(), source };
    std::fs::read(file).map_err(|source| Arc::new(unreadable(source)) as Cause)
}

#[derive(Debug, thiserror::Error)]
#[error("the file {path} cannot be read: see that it is there and that this user may read it")]
struct Unreadable {
    path: String,
    #[source]
    source: std::io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("the file {path} holds no certificate: write one into it as PEM")]
struct Empty {
    path: String,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the file {path} cannot be used: see that it is PEM, and that certificate and key belong together"
)]
struct Unusable {
    path: String,
    #[source]
    source: reqwest::Error,
}

impl Unusable {
    fn new(file: &Path, error: reqwest::Error) -> Unusable {
        Unusable { path: file.display().to_string(), source: error.without_url() }
    }
}

/// A client that is made anew when the files have changed.
#[derive(Debug)]
pub(super) struct Renewed {
    tls: ClientTls,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    client: Option<reqwest::Client>,
    looked_at: Option<Instant>,
    /// By what a change is noticed; a link that was exchanged is one.
    stamps: Vec<Option<(SystemTime, u64)>>,
}

impl Renewed {
    pub(super) fn new(tls: ClientTls) -> Renewed {
        Renewed { tls, made: Mutex::default() }
    }

    /// The client by the files as they are now, or were a moment ago.
    pub(super) fn client(
        &self,
        connection: &Arc<str>,
        builder: impl FnOnce() -> ClientBuilder,
    ) -> Result<reqwest::Client, HttpError> {
        let mut made = self.made.lock().expect("nothing panics while it holds the client");
        let looked = made.looked_at.is_some_and(|moment| moment.elapsed() < LOOK_AGAIN);
        if let Some(client) = made.client.as_ref().filter(|_| looked) {
            return Ok(client.clone());
        }
        made.looked_at = Some(Instant::now());
        let stamps = self.stamps();
        if let Some(client) = made.client.as_ref().filter(|_| made.stamps == stamps) {
            return Ok(client.clone());
        }
        let renewed = self.tls.applied(builder()).and_then(|builder| {
            builder.build().map_err(|error| Arc::new(error.without_url()) as Cause)
        });
        match (renewed, &made.client) {
            (Ok(client), _) => {
                made.stamps = stamps;
                made.client = Some(client.clone());
                Ok(client)
            }
            (Err(error), Some(client)) => {
                tracing::error!(
                    connection = &**connection,
                    %error,
                    "the connection keeps the certificates that it had"
                );
                Ok(client.clone())
            }
            (Err(cause), None) => {
                Err(HttpError::CertificatesUnreadable { connection: Arc::clone(connection), cause })
            }
        }
    }

    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stamp = |file: &Path| {
            let about = std::fs::metadata(file).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        self.tls.files().into_iter().map(stamp).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn certificates_that_change_are_read_again_and_bad_ones_leave_the_last_good_ones() {
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorities.pem");
        let name = Arc::<str>::from("state");
        let tls = ClientTls { authorities: Some(file.clone()), certificate: None };
        let renewed = Renewed::new(tls);
        let read = || {
            let client = renewed.client(&name, reqwest::Client::builder);
            client.map(|_| renewed.made.lock().unwrap().stamps[0].unwrap().1)
        };
        let write = |certificates: usize| {
            let one = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
            std::fs::write(&file, one.repeat(certificates)).unwrap();
            one.repeat(certificates).len() as u64
        };

        assert_eq!(read().unwrap_err().kind(), "tls");
        let first = write(1);
        assert_eq!(read().unwrap(), first);
        let second = write(2);
        assert_eq!(read().unwrap(), first, "not before the next look");
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(read().unwrap(), second);
        std::fs::write(&file, "no certificate").unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(read().unwrap(), second);
    }
}
