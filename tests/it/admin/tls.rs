//! The admin API and the console under TLS, and a certificate that is renewed while the server runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::house::{Answer, House, TOKENS, settings};

struct Issued {
    certificate: CertificateDer<'static>,
}

/// Writes a certificate for this machine and its key, as one that renews them does.
fn issue(folder: &Path) -> Issued {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    for (name, text) in
        [("cert.pem", issued.cert.pem()), ("key.pem", issued.signing_key.serialize_pem())]
    {
        let new = folder.join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, folder.join(name)).unwrap();
    }
    Issued { certificate: issued.cert.der().clone() }
}

fn server(folder: &TempDir) -> String {
    format!(
        "listen: \"127.0.0.1:0\", tls: {{certificate: \"{0}/cert.pem\", key: \"{0}/key.pem\"}}",
        folder.path().display()
    )
}

/// A question of a client that trusts one certificate.
async fn ask(house: &House, trusted: &Issued) -> Result<Answer, std::io::Error> {
    let request = "GET /api/v1/pairs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    say(house, trusted, request).await
}

async fn say(house: &House, trusted: &Issued, request: &str) -> Result<Answer, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(house.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut whole = String::new();
    stream.read_to_string(&mut whole).await?;
    Ok(Answer::parse(&whole))
}

#[tokio::test]
async fn under_tls_the_api_answers_whoever_speaks_it() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path());
    let house = House::with(&server(&folder)).await;
    // One that says nothing holds up nobody.
    let _silent = TcpStream::connect(house.address()).await.unwrap();

    let answer = ask(&house, &issued).await.unwrap();
    let mut plain = TcpStream::connect(house.address()).await.unwrap();
    plain.write_all(b"GET /api/v1/pairs HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _reset = plain.read_to_end(&mut said).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["pairs"][0]["publication"], "district-to-state");
    assert!(!String::from_utf8_lossy(&said).contains("HTTP"), "{said:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_for_the_next_client_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = issue(folder.path());
    let house = House::with(&server(&folder)).await;
    assert!(ask(&house, &first).await.is_ok());

    let second = issue(folder.path());
    assert!(ask(&house, &second).await.is_ok());
    assert!(ask(&house, &first).await.is_err());

    fs::write(folder.path().join("key.pem"), "no key").unwrap();
    assert!(ask(&house, &second).await.is_ok());

    let third = issue(folder.path());
    assert!(ask(&house, &third).await.is_ok());
}

#[tokio::test]
async fn a_server_does_not_start_without_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let config = settings(&server(&folder));
    let desk = House::on_loopback().await;

    let started = desk.another(&config).await;

    assert!(started.is_err_and(|error| error.to_string().contains("server.tls")));
}

#[tokio::test]
async fn under_tls_the_cookie_of_the_console_travels_under_tls_alone() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path());
    let house = House::with(&format!("{}, {TOKENS}", server(&folder))).await;
    let head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let door = say(&house, &issued, &format!("GET /login {head}\r\n")).await.unwrap();
    let (_, after) = door.body.split_once("name=\"csrf\" value=\"").unwrap();
    let form = format!("csrf={}&token=viewer", &after[..43]);

    let request = format!(
        "POST /login {head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = say(&house, &issued, &request).await.unwrap();

    assert_eq!(answer.status, 303);
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{answer:?}");
}
