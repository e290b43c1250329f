//! A wire between Tidemark and a sandbox that does what no HTTP library would: it cuts, stalls,
//! drips, resets and lies about lengths. Every connection carries one request.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use secrecy::SecretString;
use tidemark::clock::Clock;
use tidemark::edfi::{Api, ConnectionSettings, LOOK_AGAIN_AFTER};
use tidemark::engine::Pair;
use tidemark::engine::report::RunReport;
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::http::{Origins, SecretSource, Unobserved};
use tidemark::sandbox::Sandbox;
use tidemark::sources::edfi::{EdfiSource, PageRoom};
use tidemark::targets::edfi::EdfiTarget;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::Scene;

/// What makes the bytes of an answer from the body of the real one.
type Remaking = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// What is done instead of passing a request and its answer on.
#[derive(Clone)]
pub(super) enum Act {
    /// These bytes, and the sandbox hears of nothing.
    Raw(Vec<u8>),
    /// These bytes as soon as the head was read; the body is read afterwards.
    Unread(Vec<u8>),
    /// The sandbox does it, and these bytes are the answer.
    AfterWriting(Vec<u8>),
    /// These bytes, then the answer.
    Before(Vec<u8>),
    /// Bytes made of the body of the real answer, and how the connection ends.
    Remade(Arc<Remaking>, End),
    /// The real answer, a byte at a time.
    Drip(Duration),
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
    /// It does not: nothing more comes.
    Silent,
}

impl Act {
    pub(super) fn raw(bytes: &[u8]) -> Act {
        Act::Raw(bytes.to_vec())
    }

    pub(super) fn answer(status: u16, body: &str) -> Act {
        let length = body.len();
        Act::Raw(
            format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/problem+json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }

    pub(super) fn unread(bytes: &[u8]) -> Act {
        Act::Unread(bytes.to_vec())
    }

    pub(super) fn after_writing(bytes: &[u8]) -> Act {
        Act::AfterWriting(bytes.to_vec())
    }

    pub(super) fn before(bytes: &[u8]) -> Act {
        Act::Before(bytes.to_vec())
    }

    pub(super) fn remade(end: End, make: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Act {
        Act::Remade(Arc::new(make), end)
    }

    /// A whole answer with another body.
    pub(super) fn with_body(make: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Act {
        Act::remade(End::Closed, move |body| {
            let body = make(body);
            [json_head(body.len(), "").as_slice(), &body].concat()
        })
    }
}

/// The head of an answer in JSON that claims so many bytes.
pub(super) fn json_head(length: usize, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

struct Rule {
    beginning: String,
    left: usize,
    act: Act,
}

#[derive(Default)]
struct Script {
    rules: Vec<Rule>,
    seen: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

/// The wire, ended with the test.
pub(super) struct Wire {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Wire {
    pub(super) async fn to(sandbox: &Sandbox) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let (kept, behind) = (Arc::clone(&script), sandbox.address());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    // A client that went away is the point of some tests.
                    let _gone = serve(stream, address, behind, &kept).await;
                });
            }
        });
        Wire { address, script }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next so many requests whose first line begins so are hurt.
    pub(super) fn hurt(&self, beginning: &str, times: usize, act: Act) {
        let rule = Rule { beginning: beginning.to_owned(), left: times, act };
        self.script.lock().unwrap().rules.push(rule);
    }

    /// How many requests came whose first line begins so.
    pub(super) fn seen(&self, beginning: &str) -> usize {
        self.lines(beginning).len()
    }

    /// Those first lines, in order.
    pub(super) fn lines(&self, beginning: &str) -> Vec<String> {
        let script = self.script.lock().unwrap();
        script.seen.iter().filter(|line| line.starts_with(beginning)).cloned().collect()
    }

    /// Whether the body of some request had this text.
    pub(super) fn carried(&self, text: &str) -> bool {
        let script = self.script.lock().unwrap();
        let mut bodies = script.bodies.iter();
        bodies.any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Whether every hurt was done.
    pub(super) fn is_spent(&self) -> bool {
        self.script.lock().unwrap().rules.iter().all(|rule| rule.left == 0)
    }
}

impl Script {
    fn next(&mut self, head: &str) -> Option<Act> {
        self.seen.push(head.lines().next().unwrap_or_default().to_owned());
        let hits = |rule: &&mut Rule| rule.left > 0 && head.starts_with(&rule.beginning);
        let rule = self.rules.iter_mut().find(hits)?;
        rule.left -= 1;
        Some(rule.act.clone())
    }
}

async fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    behind: SocketAddr,
    script: &Mutex<Script>,
) -> std::io::Result<()> {
    let (head, begun) = head_of(&mut stream).await?;
    let act = script.lock().unwrap().next(&head);
    if let Some(Act::Unread(bytes)) = &act {
        stream.write_all(bytes).await?;
        body_of(&mut stream, &head, begun).await?;
        return Ok(());
    }
    let body = body_of(&mut stream, &head, begun).await?;
    script.lock().unwrap().bodies.push(body.clone());
    if let Some(Act::Raw(bytes)) = &act {
        return stream.write_all(bytes).await;
    }
    let (answer, answered) = ask(behind, &head, &body).await?;
    let place = |text: &str| text.replace(&behind.to_string(), &address.to_string());
    let answered = place(&String::from_utf8_lossy(&answered)).into_bytes();
    let whole = [whole_head(&place(&answer), answered.len()).as_bytes(), &answered].concat();
    match act {
        None => stream.write_all(&whole).await,
        Some(Act::AfterWriting(bytes)) => stream.write_all(&bytes).await,
        Some(Act::Before(bytes)) => stream.write_all(&[bytes, whole].concat()).await,
        Some(Act::Drip(pause)) => {
            let mut pace = tokio::time::interval(pause);
            for byte in whole {
                pace.tick().await;
                stream.write_all(&[byte]).await?;
            }
            Ok(())
        }
        Some(Act::Remade(make, end)) => {
            stream.write_all(&make(&answered)).await?;
            stream.flush().await?;
            match end {
                End::Closed => {}
                End::Reset => stream.set_zero_linger()?,
                End::Silent => drop(stream.read(&mut [0; 1]).await),
            }
            Ok(())
        }
        Some(Act::Raw(_) | Act::Unread(_)) => unreachable!("answered above"),
    }
}

/// The head of a request or an answer, and what came after it.
async fn head_of(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
        let mut some = [0; 4096];
        match stream.read(&mut some).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => read.extend_from_slice(&some[..count]),
        }
    }
}

async fn body_of(stream: &mut TcpStream, head: &str, begun: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = begun;
    let missing = length.unwrap_or(0).saturating_sub(body.len());
    let mut rest = vec![0; missing];
    stream.read_exact(&mut rest).await?;
    body.extend_from_slice(&rest);
    Ok(body)
}

/// The sandbox's own answer: its head and its body.
async fn ask(behind: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(behind).await?;
    let lines = head.trim_end().lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !matches!(name.as_str(), "connection" | "accept-encoding")
    });
    let mut outgoing = lines.collect::<Vec<_>>().join("\r\n");
    outgoing.push_str("\r\nConnection: close\r\n\r\n");
    stream.write_all(&[outgoing.as_bytes(), body].concat()).await?;
    let (head, begun) = head_of(&mut stream).await?;
    let body = body_of(&mut stream, &head, begun).await?;
    Ok((head, body))
}

/// The head as it was, for a body of this length, on a connection that is closed after it.
fn whole_head(head: &str, length: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in head.trim_end().lines() {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if !matches!(name.as_str(), "connection" | "content-length") {
            lines.push(line.to_owned());
        }
    }
    lines.push(format!("Content-Length: {length}"));
    lines.push("Connection: close\r\n\r\n".to_owned());
    lines.join("\r\n")
}

/// One run of a pair between two addresses.
pub(super) async fn run_through(scene: &Scene, source: &str, target: &str) -> RunReport {
    run_within(scene, source, target, Duration::from_secs(20)).await
}

/// The same with a time-out for each request.
pub(super) async fn run_within(
    scene: &Scene,
    source: &str,
    target: &str,
    timeout: Duration,
) -> RunReport {
    let pair = pair_between(scene, source, target, timeout, LOOK_AGAIN_AFTER);
    let options = RunOptions { allow_deletes: false, all_parked: true };
    Runner::new(scene.surroundings()).run_publication(vec![pair], &options).await.remove(0)
}

/// The pair of a process that lives on, whose root documents are believed for so long.
pub(super) fn pair_between(
    scene: &Scene,
    source: &str,
    target: &str,
    timeout: Duration,
    look_again_after: Duration,
) -> Pair {
    let origins = Origins::new(Clock::system());
    let connect = |name, url| connect(name, url, timeout, look_again_after, &origins);
    Pair {
        id: scene.pair_id("state"),
        source: Arc::new(EdfiSource::new(connect("district", source), 500, PageRoom::new())),
        target: Arc::new(EdfiTarget::new(connect("state", target))),
        policy: Arc::new(scene.policy.clone()),
    }
}

fn connect(
    name: &str,
    url: &str,
    timeout: Duration,
    look_again_after: Duration,
    origins: &Origins,
) -> Arc<Api> {
    let text =
        |text: &'static str| -> SecretSource { Arc::new(move || Ok(SecretString::from(text))) };
    let settings = ConnectionSettings {
        tls: tidemark::http::ClientTls::default(),
        name: name.to_owned(),
        url: url.parse().unwrap(),
        key: text("sandbox-key"),
        secret: text("sandbox-secret"),
        token_url: None,
        scope: None,
        school_year: None,
        instance: None,
        timeout,
        max_concurrency: 16,
        max_requests_per_second: 0,
        shared_limit: None,
        closed_until: None,
        look_again_after,
    };
    Api::new(settings, origins, Arc::new(Unobserved)).unwrap()
}
