//! A server with a scripted desk, and a client that says exactly what a test wants said.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use tidemark::config::{self, ServerConfig};
use tidemark::desk::{Caller, Desk};
use tidemark::server::{Answers, Progress, Server, ServerError};
use tidemark::state::PairId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::desk::Scripted;

/// Everything but the answers about pairs.
struct Front {
    desk: Arc<Scripted>,
    missing: Mutex<Option<String>>,
}

#[async_trait]
impl Answers for Front {
    fn missing(&self) -> Option<String> {
        self.missing.lock().unwrap().clone()
    }

    fn notice(&self) -> Option<&'static str> {
        None
    }

    async fn metrics(&self) -> Option<String> {
        self.missing().is_none().then(|| "tidemark_build_info 1\n".to_owned())
    }

    fn desk(&self) -> Option<Arc<dyn Desk>> {
        self.missing().is_none().then(|| Arc::clone(&self.desk) as Arc<dyn Desk>)
    }

    /// A caller with labels sees the pairs of the publication that its label `district` names.
    fn sees(&self, by: &Caller, pair: &PairId) -> bool {
        by.labels.get("district").is_none_or(|name| pair.publication == *name)
    }
}

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) desk: Arc<Scripted>,
    pub(crate) progress: Arc<Progress>,
    front: Arc<Front>,
}

/// Tokens of every role, each of which is its own name.
pub(crate) const TOKENS: &str = "admin_token: admin, tokens: [\
    {name: viewer, role: viewer, token: viewer}, \
    {name: operator, role: operator, token: operator}, \
    {name: scoped, role: operator, labels: {district: d1}, token: scoped}]";

/// The section `server` of a configuration.
pub(crate) fn settings(server: &str) -> ServerConfig {
    let text = format!("server: {{{server}}}\n");
    config::read("t.yaml", &text, &BTreeMap::new()).unwrap().config.server
}

impl House {
    /// With tokens of every role.
    pub(crate) async fn on_loopback() -> House {
        House::with(&format!("listen: \"127.0.0.1:0\", {TOKENS}")).await
    }

    /// Listens on every address, and is asked on loopback.
    pub(crate) async fn for_everybody() -> House {
        House::with(&format!("listen: \"0.0.0.0:0\", {TOKENS}")).await
    }

    pub(crate) async fn with(server: &str) -> House {
        let config = settings(server);
        let desk = Arc::new(Scripted::default());
        let front = Arc::new(Front { desk: Arc::clone(&desk), missing: Mutex::default() });
        let progress = Arc::new(Progress::default());
        let answers = Arc::clone(&front) as Arc<dyn Answers>;
        let server = Server::start(&config, answers, Arc::clone(&progress)).await.unwrap();
        server.admit(&config, &BTreeMap::new());
        House { server, desk, progress, front }
    }

    /// A server beside this one, with the same answers.
    pub(crate) async fn another(&self, config: &ServerConfig) -> Result<Server, ServerError> {
        let answers = Arc::clone(&self.front) as Arc<dyn Answers>;
        Server::start(config, answers, Arc::clone(&self.progress)).await
    }

    pub(crate) fn is_missing(&self, what: &str) {
        *self.front.missing.lock().unwrap() = Some(what.to_owned());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server.address().port()).into()
    }

    /// Asks as whoever brings `token`, if any.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
        self.say(method, path, &headers, b"").await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.say("GET", path, &[], b"").await
    }

    /// Sends a body of JSON.
    pub(crate) async fn tell(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.say(method, path, &["Content-Type: application/json"], body.as_bytes()).await
    }

    pub(crate) async fn say(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        say(self.address(), method, path, headers, body).await
    }
}

/// One request over a connection of its own.
pub(crate) async fn say(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a body may be gone before it has all of it.
    let _refused = stream.write_all(body).await;
    let mut whole = Vec::new();
    let _reset = stream.read_to_end(&mut whole).await;
    Answer::parse(&String::from_utf8(whole).unwrap())
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(whole: &str) -> Answer {
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// That it is a problem in the standard form; its text.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}
