//! Against real sockets on loopback. Waits are made short by the policy, not by sleeping.

#![allow(clippy::disallowed_methods, reason = "tests end with the tasks that they start")]

mod faults;
mod sending;
mod shared;
mod tokens;
mod trust;

use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;

/// What must never stand in a text: planted in credentials, tokens, queries and bodies.
const KEY: &str = "sentinel-key-71c4";
const SECRET: &str = "sentinel-secret-9ab2";
const TOKEN: &str = "sentinel-token-55de";
const QUERY: &str = "studentUniqueId=sentinel-student-604854";
const BODY: &str = "sentinel-body-3f10";

/// A request as a server saw it.
#[derive(Clone, Debug)]
struct Seen {
    /// From 1, in order of arrival.
    number: usize,
    method: String,
    path: String,
    authorization: Option<String>,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// A server on loopback that answers as it is told.
struct Api {
    url: Url,
    log: Log,
}

impl Api {
    async fn start<F, A>(answer: F) -> Api
    where
        F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let log = Log::default();
        let kept = Arc::clone(&log);
        let router = Router::new().fallback(move |request: Request| {
            let (kept, answer) = (Arc::clone(&kept), answer.clone());
            let answered: BoxFuture<'static, Response> = Box::pin(async move {
                let seen = note(&kept, request).await;
                answer(seen).await
            });
            answered
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = address_of(&listener);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Api { url, log }
    }

    /// Issues tokens `…-1`, `…-2` and so on at `/oauth/token`, and leaves the rest to `answer`.
    async fn with_tokens<F>(answer: F) -> Api
    where
        F: Fn(&Seen) -> Response + Clone + Send + Sync + 'static,
    {
        let issued = Arc::new(AtomicU64::new(0));
        Api::start(move |seen| {
            let response = if seen.path == "/oauth/token" {
                let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
                json(200, &format!(r#"{{"access_token":"{TOKEN}-{number}","expires_in":1800}}"#))
            } else {
                answer(&seen)
            };
            async { response }
        })
        .await
    }

    fn at(&self, path: &str) -> Url {
        self.url.join(path).expect("a path")
    }

    fn seen(&self) -> Vec<Seen> {
        self.log.lock().expect("no test panics here").clone()
    }

    fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            token_url: self.at("/oauth/token"),
            key: Arc::new(|| Ok(SecretString::from(KEY))),
            secret: Arc::new(|| Ok(SecretString::from(SECRET))),
            scope: None,
        }
    }
}

async fn note(log: &Log, request: Request) -> Seen {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
    let headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let mut log = log.lock().expect("no test panics here");
    let seen = Seen {
        number: log.len() + 1,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        authorization: parts
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        headers,
        body,
    };
    log.push(seen.clone());
    seen
}

/// A server that answers the n-th connection with the n-th bytes, then closes it; the last bytes
/// serve all further ones. For misbehaviour that an HTTP library refuses to produce.
async fn raw_api(answers: Vec<Vec<u8>>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = address_of(&listener);
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers[number.min(answers.len() - 1)].clone();
            number += 1;
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut some = [0; 4096];
                match stream.read(&mut some).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => head.extend_from_slice(&some[..read]),
                }
            }
            // A client that has gone already is the point of some tests.
            let _gone = stream.write_all(&answer).await;
        }
    });
    url
}

fn address_of(listener: &TcpListener) -> Url {
    let address = listener.local_addr().expect("a bound listener has an address");
    Url::parse(&format!("http://{address}/")).expect("an address")
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("a response")
}

fn json(status: u16, body: &str) -> Response {
    answer(status, &[("content-type", "application/json")], body.to_owned())
}

fn options(url: &Url) -> ClientOptions {
    let mut options = ClientOptions::new("state", url.clone());
    options.timeout = Duration::from_secs(20);
    options.retry = RetryPolicy {
        max_attempts: 3,
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(4),
        ..RetryPolicy::default()
    };
    options
}

fn origins() -> Origins {
    Origins::new(Clock::system())
}

fn client_with(options: ClientOptions) -> ApiClient {
    ApiClient::new(options, &origins(), Arc::new(Unobserved)).expect("a client")
}

/// A client without credentials.
fn plain_client(url: &Url) -> ApiClient {
    client_with(options(url))
}

fn client(api: &Api) -> ApiClient {
    client_with(ClientOptions { credentials: Some(api.credentials()), ..options(&api.url) })
}

/// An error and all that lies behind it, as text; fails if any of it holds what must stay secret.
fn told(error: &HttpError) -> String {
    let mut text = error.to_string();
    let mut link: Option<&dyn Error> = error.source();
    while let Some(cause) = link {
        text = format!("{text} / {cause}");
        link = cause.source();
    }
    let all = format!("{text} {error:?} {error:#?}");
    for sentinel in [KEY, SECRET, TOKEN, "sentinel-student", BODY, "studentUniqueId"] {
        assert!(!all.contains(sentinel), "{sentinel} stands in {all}");
    }
    text
}
