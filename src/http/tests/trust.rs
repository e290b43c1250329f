//! Certificates of both ends, against a real TLS server on loopback.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, Datelike};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority of our own, and a folder with its certificate and those that it gave out.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut wanted = CertificateParams::new(Vec::new()).expect("no names");
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.not_after = rcgen::date_time_ymd(2041, 1, 1);
        let certificate = wanted.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("authority.pem"), certificate.pem()).expect("it is written");
        Authority { folder, issuer: Issuer::new(wanted, key), certificate }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives out a certificate for `name` that ends in `year`.
    fn issue(&self, name: &str, year: i32) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut wanted = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        wanted.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = wanted.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }

    /// One of a client, in files.
    fn issue_files(&self, year: i32) {
        let (certificate, key) = self.issue("tidemark", year);
        fs::write(self.file("client.pem"), certificate.pem()).expect("it is written");
        fs::write(self.file("client-key.pem"), key.serialize_pem()).expect("it is written");
    }

    fn trusted(&self) -> ClientTls {
        ClientTls { authorities: Some(self.file("authority.pem")), certificate: None }
    }

    fn shown(&self) -> ClientTls {
        let certificate = Some((self.file("client.pem"), self.file("client-key.pem")));
        ClientTls { certificate, ..self.trusted() }
    }

    /// A server with a certificate for `name`, which asks clients for theirs or does not.
    async fn serve(&self, name: &str, year: i32, asks: bool) -> Url {
        let (certificate, key) = self.issue(name, year);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the usual versions");
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match asks {
            true => builder.with_client_cert_verifier(verifier.build().expect("a verifier")),
            false => builder.with_no_client_auth(),
        };
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config =
            builder.with_single_cert(vec![certificate.der().clone()], key).expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut asked = [0; 4096];
                    if stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";
                        // A client that is gone has nothing to read.
                        let _ = stream.write_all(answer).await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        Url::parse(&format!("https://localhost:{port}/")).expect("an address")
    }
}

#[derive(Default)]
struct Ends {
    seen: Mutex<Vec<(CertificateOf, i32)>>,
}

impl HttpObserver for Ends {
    fn certificate(&self, at: Endpoint<'_>, of: CertificateOf, ends: DateTime<Utc>) {
        assert_eq!(at.connection, "state");
        self.seen.lock().expect("no test panics here").push((of, ends.year()));
    }
}

fn client(url: &Url, tls: ClientTls, ends: &Arc<Ends>) -> ApiClient {
    let observer = Arc::clone(ends) as Arc<dyn HttpObserver>;
    ApiClient::new(ClientOptions { tls, ..options(url) }, &origins(), observer).expect("a client")
}

async fn ask(client: &ApiClient, url: &Url) -> Result<StatusCode, &'static str> {
    let answer = client.send(ApiRequest::get(url.clone()).anonymous()).await;
    answer.map(|answer| answer.status()).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_private_authority_counts_where_the_connection_names_it_and_its_certificates_are_told() {
    let authority = Authority::new();
    let url = authority.serve("localhost", 2040, false).await;
    let ends = Arc::new(Ends::default());

    let trusting = client(&url, authority.trusted(), &ends);
    for _ in 0..2 {
        assert_eq!(ask(&trusting, &url).await, Ok(StatusCode::OK));
    }
    let told = std::mem::take(&mut *ends.seen.lock().expect("no test panics here"));
    assert_eq!(told, [(CertificateOf::Server, 2040), (CertificateOf::Authority, 2041)]);

    let usual = client(&url, ClientTls::default(), &ends);
    assert_eq!(ask(&usual, &url).await, Err("tls"), "the system does not know it");
    let another = Authority::new();
    let other = client(&url, another.trusted(), &ends);
    assert_eq!(ask(&other, &url).await, Err("tls"), "another authority did not issue it");
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_is_somebody_elses_is_refused() {
    let authority = Authority::new();
    for (case, name, year) in
        [("it has ended", "localhost", 2020), ("another name", "elsewhere.example", 2040)]
    {
        let url = authority.serve(name, year, false).await;
        let trusting = client(&url, authority.trusted(), &Arc::default());

        assert_eq!(ask(&trusting, &url).await, Err("tls"), "{case}");
    }
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_the_certificate_of_the_connection() {
    let authority = Authority::new();
    authority.issue_files(2039);
    let url = authority.serve("localhost", 2040, true).await;
    let ends = Arc::new(Ends::default());

    let nobody = client(&url, authority.trusted(), &ends);
    assert!(ask(&nobody, &url).await.is_err(), "without a certificate nobody is let in");
    let known = client(&url, authority.shown(), &ends);
    assert_eq!(ask(&known, &url).await, Ok(StatusCode::OK));

    let told = ends.seen.lock().expect("no test panics here").clone();
    assert!(told.contains(&(CertificateOf::Client, 2039)), "{told:?}");
}

#[tokio::test]
async fn certificates_that_cannot_be_read_say_which_file_and_count_once_they_can() {
    let authority = Authority::new();
    let url = authority.serve("localhost", 2040, true).await;
    let client = client(&url, authority.shown(), &Arc::default());

    let error = client.send(ApiRequest::get(url.clone()).anonymous()).await.expect_err("no file");
    assert_eq!((error.kind(), error.disposition()), ("tls", Disposition::NeedsAPerson));
    assert!(told(&error).contains("client.pem"), "{}", told(&error));

    authority.issue_files(2039);
    assert_eq!(ask(&client, &url).await, Ok(StatusCode::OK));
}
