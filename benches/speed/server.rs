//! The other end: pages that are ready, writes that are counted, and as much time and room for them
//! as [`Play`] says. It runs in a process of its own so that nobody mistakes its work for ours.
//!
//! Only as much of HTTP and of an Ed-Fi API as publishing needs; what an API tells of itself is
//! asked of the sandbox once.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tidemark::sandbox::{Sandbox, SandboxOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::content::{PAGE, Page};
use crate::play::{Counts, Play, Tenth};

/// The newest change version, and that of every item.
const NEWEST: u64 = 1_000_000;
/// Like a real server's: a partition holds at least so many pages.
const PARTITION_PAGES: u64 = 5;

struct Server {
    play: Play,
    base: String,
    page: Page,
    items: HashMap<String, u64>,
    root: String,
    graph: String,
    reads: AtomicU64,
    writes: AtomicU64,
    advanced: AtomicU64,
    asked: Mutex<BTreeMap<String, u64>>,
    reads_open: AtomicU64,
    most_reads_open: AtomicU64,
    open: AtomicU64,
    most_open: AtomicU64,
    in_service: AtomicU64,
    first_write: OnceLock<Instant>,
    tenths: Mutex<Vec<Tenth>>,
    room: Semaphore,
    stalled: Mutex<Option<Instant>>,
}

/// Serves until the process ends; tells its address on standard output.
pub(crate) async fn serve(play: Play) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let sandbox = Sandbox::start(SandboxOptions::default()).await.map_err(io::Error::other)?;
    let root = ask(&sandbox, "/", "application/json").await?.replace(&sandbox.url(), &base);
    let graph = ask(&sandbox, "/metadata/data/v3/dependencies", "application/graphml").await?;
    sandbox.stop().await;

    let server = Arc::new(Server {
        page: Page::prepare(play.body_bytes),
        items: play.items.iter().cloned().collect(),
        base,
        root,
        graph,
        reads: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        advanced: AtomicU64::new(0),
        asked: Mutex::default(),
        reads_open: AtomicU64::new(0),
        most_reads_open: AtomicU64::new(0),
        open: AtomicU64::new(0),
        most_open: AtomicU64::new(0),
        in_service: AtomicU64::new(0),
        first_write: OnceLock::new(),
        tenths: Mutex::default(),
        room: Semaphore::new(play.at_once.first().map_or(0, |(_, at_once)| *at_once)),
        stalled: Mutex::default(),
        play,
    });
    println!("{}", server.base);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let server = Arc::clone(&server);
        tokio::spawn(async move { converse(&server, stream).await });
    }
}

async fn ask(sandbox: &Sandbox, path: &str, accept: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(sandbox.address()).await?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", sandbox.address());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

async fn converse(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    let mut received = Vec::with_capacity(8 << 10);
    let mut answer = Vec::new();
    loop {
        let Some(head) = head_of(&mut stream, &mut received).await? else { return Ok(()) };
        let text = String::from_utf8_lossy(&received[..head]);
        let mut words = text.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        while received.len() < head + length {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        received.drain(..head + length);
        answer.clear();
        let (house, target) = house_of(&target);
        if method == "POST" && !target.starts_with("/oauth") {
            server.write(target, &mut answer).await;
        } else {
            server.read(house, target, &mut answer).await;
        }
        stream.write_all(&answer).await?;
    }
}

/// One server may stand for many: `/s17/data/v3/…` is asked of the seventeenth.
fn house_of(target: &str) -> (&str, &str) {
    let rest =
        target.strip_prefix("/s").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let Some(rest) = rest else { return ("", target) };
    let end = rest.find('/').unwrap_or(rest.len());
    target.split_at(2 + end)
}

/// How long the head of the next request is, received to its end.
async fn head_of(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

impl Server {
    async fn write(&self, target: &str, answer: &mut Vec<u8>) {
        let number = self.writes.fetch_add(1, Relaxed);
        if target.ends_with("/token_info") {
            return respond(answer, 404, "", b"");
        }
        let first = *self.first_write.get_or_init(Instant::now);
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.most_open.fetch_max(open, Relaxed);
        self.sit_out_stall(number).await;
        let at_once = self.at_once(first);
        let began = Instant::now();
        let served = match at_once {
            None => {
                self.take_time(self.play.write_takes).await;
                true
            }
            Some(_) if self.play.queues => {
                let _place = self.room.acquire().await;
                let began = Instant::now();
                self.take_time(self.play.write_takes).await;
                self.note(first, true, began.elapsed());
                true
            }
            Some(at_once) => {
                let room = self.in_service.fetch_add(1, Relaxed) < at_once as u64;
                if room {
                    self.take_time(self.play.write_takes).await;
                }
                self.in_service.fetch_sub(1, Relaxed);
                room
            }
        };
        if !(self.play.queues && at_once.is_some()) {
            self.note(first, served, began.elapsed());
        }
        self.open.fetch_sub(1, Relaxed);
        if served {
            let location = format!("Location: {}{target}/{number:032x}\r\n", self.base);
            respond(answer, 201, &location, b"");
        } else {
            respond(answer, 429, "", b"");
        }
    }

    /// The limit in force, by the time since the first write.
    fn at_once(&self, first: Instant) -> Option<usize> {
        let since = first.elapsed().as_millis() as u64;
        self.play.at_once.iter().rev().find(|(from, _)| *from <= since).map(|(_, n)| *n)
    }

    async fn sit_out_stall(&self, number: u64) {
        let Some((after, lasts)) = self.play.stall else { return };
        if number < after {
            return;
        }
        let until = {
            let mut stalled = self.stalled.lock().expect("nothing panics here");
            *stalled.get_or_insert_with(|| Instant::now() + Duration::from_millis(lasts))
        };
        tokio::time::sleep_until(until.into()).await;
    }

    async fn take_time(&self, millis: u64) {
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }

    fn note(&self, first: Instant, served: bool, took: Duration) {
        let tenth = (first.elapsed().as_millis() / 100) as usize;
        let mut tenths = self.tenths.lock().expect("nothing panics here");
        if tenths.len() <= tenth {
            tenths.resize(tenth + 1, Tenth::default());
        }
        let tenth = &mut tenths[tenth];
        if served {
            tenth.served += 1;
            tenth.busy += took.as_secs_f64();
        } else {
            tenth.refused += 1;
        }
    }

    async fn read(&self, house: &str, target: &str, answer: &mut Vec<u8>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/counts" => {
                let counts = serde_json::to_vec(&self.counts()).expect("numbers can be written");
                return respond(answer, 200, "", &counts);
            }
            "/advance" => {
                self.advanced.fetch_add(1, Relaxed);
                self.most_reads_open.store(0, Relaxed);
                self.asked.lock().expect("nothing panics here").clear();
                let counts = serde_json::to_vec(&self.counts()).expect("numbers can be written");
                return respond(answer, 200, "", &counts);
            }
            "/" | "" => {
                let root = self.root.replace(&self.base, &format!("{}{house}", self.base));
                return respond(answer, 200, "", root.as_bytes());
            }
            "/oauth/token" => {
                let token = br#"{"access_token":"bench","token_type":"bearer","expires_in":86400}"#;
                return respond(answer, 200, "", token);
            }
            "/metadata/data/v3/dependencies" => {
                let media = "Content-Type: application/graphml\r\n";
                return respond(answer, 200, media, self.graph.as_bytes());
            }
            "/changeQueries/v1/availableChangeVersions" => {
                let newest = NEWEST + self.writes.load(Relaxed);
                self.note_asked(path);
                let own = NEWEST + self.advanced.load(Relaxed);
                let newest = if self.play.items.is_empty() { newest } else { own };
                let body =
                    format!("{{\"oldestChangeVersion\":0,\"newestChangeVersion\":{newest}}}");
                return respond(answer, 200, "", body.as_bytes());
            }
            _ => {}
        }
        self.reads.fetch_add(1, Relaxed);
        self.note_asked(path);
        let open = self.reads_open.fetch_add(1, Relaxed) + 1;
        self.most_reads_open.fetch_max(open, Relaxed);
        self.take_time(self.play.read_takes).await;
        self.reads_open.fetch_sub(1, Relaxed);
        let Some(resource) = path.strip_prefix("/data/v3/") else {
            return respond(answer, 404, "", b"{}");
        };
        if let Some(resource) = resource.strip_suffix("/partitions") {
            return self.partitions(resource, query, answer);
        }
        if resource.ends_with("/deletes") || resource.ends_with("/keyChanges") {
            return respond(answer, 200, "Total-Count: 0\r\n", b"[]");
        }
        self.page(resource, query, answer);
    }

    fn page(&self, resource: &str, query: &str, answer: &mut Vec<u8>) {
        let all = self.items.get(resource).copied().unwrap_or(0);
        let limit = value(query, "pageSize").or_else(|| value(query, "limit"));
        let limit = limit.and_then(|limit| limit.parse().ok()).unwrap_or(PAGE as u64);
        let (from, end) = match value(query, "pageToken").and_then(|token| token.split_once('-')) {
            Some((from, end)) => (from.parse().unwrap_or(all), end.parse().unwrap_or(all)),
            None if value(query, "minChangeVersion").is_some() => self.changed(resource),
            None => (0, all),
        };
        let to = (from + limit).min(end).max(from);
        let mut headers = String::new();
        if to > from {
            headers = format!("Next-Page-Token: {to}-{end}\r\n");
        }
        if value(query, "totalCount").is_some() {
            headers.push_str(&format!("Total-Count: {all}\r\n"));
        }
        respond(answer, 200, &headers, &self.page.of(from, to));
    }

    /// The numbers of what the last advance brought, which nothing before it had.
    fn changed(&self, resource: &str) -> (u64, u64) {
        let first = self.advanced.load(Relaxed) * 1_000_000_000;
        let changes = self.play.changes.iter().find(|(path, _)| path == resource);
        let items = changes.filter(|_| first > 0).map_or(0, |(_, items)| *items);
        (first, first + items)
    }

    fn note_asked(&self, path: &str) {
        *self.asked.lock().expect("nothing panics here").entry(path.to_owned()).or_default() += 1;
    }

    fn partitions(&self, resource: &str, query: &str, answer: &mut Vec<u8>) {
        let all = self.items.get(resource).copied().unwrap_or(0);
        let number: u64 = value(query, "number").and_then(|n| n.parse().ok()).unwrap_or(10);
        let size = all.div_ceil(number.max(1)).max(PARTITION_PAGES * PAGE as u64);
        let mut tokens = Vec::new();
        let mut from = 0;
        while from < all {
            tokens.push(format!("\"{from}-{}\"", (from + size).min(all)));
            from += size;
        }
        let body = format!("{{\"pageTokens\":[{}]}}", tokens.join(","));
        respond(answer, 200, "", body.as_bytes());
    }

    fn counts(&self) -> Counts {
        let tenths = self.tenths.lock().expect("nothing panics here").clone();
        Counts {
            reads: self.reads.load(Relaxed),
            asked: self.asked.lock().expect("nothing panics here").clone(),
            most_reads_open: self.most_reads_open.load(Relaxed),
            writes: tenths.iter().map(|tenth| tenth.served).sum(),
            refused: tenths.iter().map(|tenth| tenth.refused).sum(),
            seconds: tenths.len() as f64 / 10.0,
            busy: tenths.iter().map(|tenth| tenth.busy).sum(),
            most_open: self.most_open.load(Relaxed),
            tenths,
        }
    }
}

fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn respond(answer: &mut Vec<u8>, status: u16, headers: &str, body: &[u8]) {
    let reason = match status {
        200 => "OK",
        201 => "Created",
        404 => "Not Found",
        _ => "Too Many Requests",
    };
    let head =
        format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    answer.extend_from_slice(head.as_bytes());
    answer.extend_from_slice(body);
}
