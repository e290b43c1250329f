//! Row S31: certificates that a client must not take, of a server that speaks TLS for good.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::cli::{Desk, ended_child};

/// What stands before an API and ends TLS, with a certificate that the clients' machine trusts.
struct Door {
    address: SocketAddr,
    trusted: PathBuf,
}

impl Door {
    /// Before the source of a desk; the certificate is for `name`, until the first day of `until`.
    async fn before(desk: &Desk, name: &str, until: i32) -> Door {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let trusted = desk.directory.path().join(format!("{name}-{until}.pem"));
        std::fs::write(&trusted, certificate.pem()).unwrap();

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = desk.source.url();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), behind));
        Door { address, trusted }
    }

    /// What a run says that reads through the door under the name `localhost`.
    async fn run_through(&self, desk: &Desk) -> (String, String) {
        let url = format!("https://localhost:{}/", self.address.port());
        desk.configure(&desk.usual("").replacen(&desk.source.url(), &url, 1));
        let mut command = desk.command(&["run", "--output", "json"]);
        command.env("SSL_CERT_FILE", &self.trusted);
        let ended = ended_child(command.spawn().unwrap()).await;
        let answer = ended.json();
        let error = find_error(&answer).unwrap_or_else(|| panic!("{answer}"));
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (text("kind"), text("message"))
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, behind: String) {
    let behind: SocketAddr =
        behind.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not take the certificate goes away here.
            let Ok(mut inside) = acceptor.accept(stream).await else { return };
            let mut outside = TcpStream::connect(behind).await.unwrap();
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        });
    }
}

fn find_error(answer: &Value) -> Option<&Value> {
    match answer {
        Value::Object(members) => match members.get("error").filter(|error| error.is_object()) {
            Some(error) => Some(error),
            None => members.values().find_map(find_error),
        },
        Value::Array(items) => items.iter().find_map(find_error),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_a_certificate_that_has_expired_or_is_for_another_host_ends_the_run_before_a_secret_is_sent()
 {
    let desk = Desk::new().await;
    for (name, until, says) in
        [("localhost", 2020, "expired"), ("elsewhere.invalid", 2090, "not valid for name")]
    {
        let door = Door::before(&desk, name, until).await;

        let (kind, message) = door.run_through(&desk).await;

        assert_eq!(kind, "tls", "{message}");
        assert!(message.contains(says), "{message}");
        assert!(message.contains("check the certificate"), "{message}");
        assert!(desk.source.requests().is_empty(), "{name}");
    }
    // One that is in order is taken: what the API says of itself is another matter.
    let door = Door::before(&desk, "localhost", 2090).await;
    let (kind, message) = door.run_through(&desk).await;
    assert_ne!(kind, "tls", "{message}");
    assert!(!desk.source.requests().is_empty());
}
