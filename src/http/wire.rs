//! One exchange over reqwest, whole or not at all, and what its failures mean.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::Instant;
use url::Url;

use super::buffers::Buffer;
use super::error::{HttpError, Place};
use super::request::{ApiRequest, ApiResponse};
use super::trust::{ClientTls, Renewed};

/// How slowly a body may arrive: less than this within the window is a failure.
const LEAST_BYTES: usize = 30 * 1024;
const LEAST_BYTES_WITHIN: Duration = Duration::from_secs(30);

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Below the keep-alive of common servers, so that we rarely write to a connection that the
/// server is closing.
const IDLE_FOR: Duration = Duration::from_secs(20);
/// What is read of the system for one connection is good for those that are made so soon after it.
const MADE_TOGETHER: Duration = Duration::from_secs(60);

/// The header that Ed-Fi hosts echo in their error bodies (edfi-wire §12).
const CORRELATION_ID: HeaderName = HeaderName::from_static("correlation-id");

/// Connections that are made together and are alike share the sockets of their origin: a few hundred
/// districts of one host would each keep as many open as any of them ever needed.
#[derive(Debug)]
pub(super) struct Wire {
    client: Client,
    connection: Arc<str>,
    timeout: Duration,
    max_body_bytes: usize,
}

#[derive(Debug)]
enum Client {
    Usual(reqwest::Client),
    /// With certificates of its own.
    Renewed {
        profile: Profile,
        renewed: Renewed,
    },
}

/// What every client of a connection is like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Profile {
    user_agent: String,
    connect_within: Duration,
}

/// The clients of one origin that were made a moment ago. Later connections get one of their own: by then
/// the system may trust others.
#[derive(Debug, Default)]
pub(super) struct Clients {
    made: Mutex<Vec<(Instant, Profile, reqwest::Client)>>,
}

impl Clients {
    /// One that is like this, made now unless there is one.
    fn like(
        &self,
        profile: &Profile,
        make: impl FnOnce() -> Result<reqwest::Client, HttpError>,
    ) -> Result<reqwest::Client, HttpError> {
        let mut made = self.made.lock().expect("nothing panics while it holds the clients");
        made.retain(|(since, ..)| since.elapsed() < MADE_TOGETHER);
        if let Some((.., client)) = made.iter().find(|(_, known, _)| known == profile) {
            return Ok(client.clone());
        }
        let client = make()?;
        made.push((Instant::now(), profile.clone(), client.clone()));
        Ok(client)
    }
}

impl Profile {
    fn usual_client(&self, connection: &Arc<str>, url: &Url) -> Result<reqwest::Client, HttpError> {
        let with_trust = match trust() {
            Some(tls) => self.builder().tls_backend_preconfigured(tls),
            None => self.builder(),
        };
        let client = match with_trust.build() {
            // A machine without CA certificates can still speak plain http.
            Err(_) if url.scheme() == "http" => self.builder().tls_certs_only([]).build(),
            built => built,
        };
        client.map_err(|error| HttpError::Setup {
            connection: Arc::clone(connection),
            cause: Arc::new(error.without_url()),
        })
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http1_only()
            .gzip(true)
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .tls_info(true)
            .connect_timeout(self.connect_within)
            .pool_idle_timeout(IDLE_FOR)
    }
}

impl Wire {
    pub(super) fn new(
        connection: Arc<str>,
        url: &Url,
        user_agent: &str,
        timeout: Duration,
        max_body_bytes: usize,
        tls: &ClientTls,
        clients: &Clients,
    ) -> Result<Wire, HttpError> {
        // Another part of the process may have chosen a provider already; any will do.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let profile = Profile {
            user_agent: user_agent.to_owned(),
            connect_within: CONNECT_WITHIN.min(timeout),
        };
        if !tls.is_usual() {
            let client = Client::Renewed { profile, renewed: Renewed::new(tls.clone()) };
            return Ok(Wire { client, connection, timeout, max_body_bytes });
        }
        let client = clients.like(&profile, || profile.usual_client(&connection, url))?;
        Ok(Wire { client: Client::Usual(client), connection, timeout, max_body_bytes })
    }

    fn client(&self) -> Result<reqwest::Client, HttpError> {
        match &self.client {
            Client::Usual(client) => Ok(client.clone()),
            Client::Renewed { profile, renewed } => {
                renewed.client(&self.connection, || profile.builder())
            }
        }
    }

    /// Sends a request once and receives its answer to the end.
    pub(super) async fn exchange(
        &self,
        request: &ApiRequest,
        authorization: Option<&HeaderValue>,
        correlation: Option<HeaderValue>,
    ) -> Result<ApiResponse, HttpError> {
        let outgoing = outgoing(request, authorization, correlation);
        let receiving = AtomicBool::new(false);
        let answer = self.receive(request, outgoing, &receiving);
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.timed_out(request, receiving.load(Ordering::Relaxed))),
        }
    }

    async fn receive(
        &self,
        request: &ApiRequest,
        outgoing: reqwest::Request,
        receiving: &AtomicBool,
    ) -> Result<ApiResponse, HttpError> {
        let client = self.client()?;
        let mut response =
            client.execute(outgoing).await.map_err(|error| self.explain(request, error))?;
        receiving.store(true, Ordering::Relaxed);
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let shown = response.extensions_mut().remove::<reqwest::tls::TlsInfo>();
        let certificate = shown.and_then(|shown| shown.peer_certificate().map(<[u8]>::to_vec));
        let body = self.body(request, response).await?;
        Ok(ApiResponse { status, headers, body, certificate })
    }

    /// Collects a body up to the limit, which counts decompressed bytes.
    async fn body(
        &self,
        request: &ApiRequest,
        mut response: reqwest::Response,
    ) -> Result<Bytes, HttpError> {
        let limit = request.max_body_bytes.unwrap_or(self.max_body_bytes);
        let too_large = || HttpError::TooLarge { place: self.place(request), limit };

        let told = match response.content_length() {
            // What most writes are answered with: nothing is waited for.
            Some(0) => return Ok(Bytes::new()),
            told => told.unwrap_or(0),
        };
        if told > limit as u64 {
            return Err(too_large());
        }
        let mut flow = Flow::begin();
        let Some(first) = self.chunk(request, &mut response, &mut flow).await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(too_large());
        }
        // Most answers are one chunk; they are not copied.
        if first.len() as u64 == told {
            return match self.chunk(request, &mut response, &mut flow).await? {
                None => Ok(first),
                Some(_) => Err(too_large()),
            };
        }
        let mut whole = Buffer::with_room_for((told as usize).max(2 * first.len()));
        whole.push(&first);
        drop(first);
        while let Some(chunk) = self.chunk(request, &mut response, &mut flow).await? {
            if whole.len() + chunk.len() > limit {
                return Err(too_large());
            }
            whole.push(&chunk);
        }
        Ok(whole.whole())
    }

    async fn chunk(
        &self,
        request: &ApiRequest,
        response: &mut reqwest::Response,
        flow: &mut Flow,
    ) -> Result<Option<Bytes>, HttpError> {
        let slow = || HttpError::Slow { place: self.place(request), attempts: 1 };
        match tokio::time::timeout_at(flow.until, response.chunk()).await {
            Ok(Ok(Some(chunk))) if flow.goes_on(chunk.len()) => Ok(Some(chunk)),
            Ok(Ok(Some(_))) | Err(_) => Err(slow()),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(HttpError::BodyCut {
                place: self.place(request),
                attempts: 1,
                cause: Arc::new(error.without_url()),
            }),
        }
    }

    pub(super) fn place(&self, request: &ApiRequest) -> Place {
        Place::new(&self.connection, &request.url)
    }

    fn timed_out(&self, request: &ApiRequest, receiving: bool) -> HttpError {
        let place = self.place(request);
        HttpError::Timeout { place, after: self.timeout, receiving, attempts: 1 }
    }

    /// Why an exchange failed before the headers of its answer were here.
    fn explain(&self, request: &ApiRequest, error: reqwest::Error) -> HttpError {
        let place = self.place(request);
        // reqwest prints the whole address, and a query holds keys.
        let error = error.without_url();
        if let Some(reason) = find::<rustls::Error>(&error).map(tls_reason) {
            return HttpError::Tls { place, reason, cause: Arc::new(error) };
        }
        if error.is_builder() {
            return HttpError::InvalidRequest { place, what: "it is no address to send to" };
        }
        if error.is_connect() {
            let reason = connect_reason(&error);
            return HttpError::Unreachable { place, reason, cause: Arc::new(error) };
        }
        if error.is_timeout() {
            return self.timed_out(request, false);
        }
        HttpError::Disconnected { place, attempts: 1, cause: Arc::new(error) }
    }
}

/// Reading the machine's certificates takes milliseconds and their copies hundreds of kilobytes, for
/// each connection that is made: connections that are made together share them. Later ones read them
/// again, for they change. Nothing where there are none.
fn trust() -> Option<rustls::ClientConfig> {
    static READ: Mutex<Option<(Instant, rustls::ClientConfig)>> = Mutex::new(None);

    let mut read = READ.lock().expect("nothing panics while it holds the certificates");
    if let Some((since, config)) = read.as_ref()
        && since.elapsed() < MADE_TOGETHER
    {
        return Some(config.clone());
    }
    let verified = rustls::ClientConfig::builder().with_platform_verifier().ok()?;
    let mut config = verified.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    *read = Some((Instant::now(), config.clone()));
    Some(config)
}

fn outgoing(
    request: &ApiRequest,
    authorization: Option<&HeaderValue>,
    correlation: Option<HeaderValue>,
) -> reqwest::Request {
    let mut outgoing = reqwest::Request::new(request.method.clone(), request.url.clone());
    let headers = outgoing.headers_mut();
    // These, the two below, and the two that the client adds.
    headers.reserve(request.headers.len() + 4);
    for (name, value) in &request.headers {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    if let Some(correlation) = correlation {
        headers.entry(CORRELATION_ID).or_insert(correlation);
    }
    *outgoing.body_mut() = request.body.clone().map(reqwest::Body::from);
    outgoing
}

/// Watches that a body keeps coming.
struct Flow {
    until: Instant,
    received: usize,
}

impl Flow {
    fn begin() -> Flow {
        Flow { until: Instant::now() + LEAST_BYTES_WITHIN, received: 0 }
    }

    /// Counts a chunk; false when it came within a window that brought too little.
    fn goes_on(&mut self, bytes: usize) -> bool {
        self.received += bytes;
        if self.received >= LEAST_BYTES {
            *self = Flow::begin();
        }
        Instant::now() < self.until
    }
}

/// The error of this type in a chain of causes, also where io wraps it.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        // The source of an io error is that of what it wraps, which would be skipped.
        link = match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn tls_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        other => other.to_string(),
    }
}

fn connect_reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        return "the host did not take the connection in time";
    }
    if error.is_dns() {
        return "the host's name is not known";
    }
    let cause = find::<io::Error>(error);
    // EMFILE and ENFILE have no kind of their own, and these numbers on every Unix.
    if cfg!(unix) && matches!(cause.and_then(io::Error::raw_os_error), Some(23 | 24)) {
        return "this process may open no more files: raise its limit, or lower `max_concurrency`";
    }
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused",
        Some(io::ErrorKind::ConnectionReset) => "connection reset",
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            "there is no way to the host"
        }
        Some(io::ErrorKind::TimedOut) => "the host did not take the connection in time",
        Some(_) | None => "the connection could not be made",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clients_are_shared_while_what_they_read_of_the_system_is_good() {
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        let clients = Clients::default();
        let profile = |user_agent: &str| Profile {
            user_agent: user_agent.to_owned(),
            connect_within: IDLE_FOR,
        };
        let makes = |user_agent: &str| {
            let mut made = false;
            let new = || {
                made = true;
                Ok(profile(user_agent).builder().tls_certs_only([]).build().unwrap())
            };
            clients.like(&profile(user_agent), new).unwrap();
            made
        };

        assert!(makes("one"));
        assert!(!makes("one"));
        assert!(makes("other"));
        tokio::time::advance(MADE_TOGETHER).await;
        assert!(makes("one"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_bring_a_kibibyte_a_second_over_half_a_minute() {
        let mut steady = Flow::begin();
        let mut dripping = Flow::begin();

        for _ in 0..29 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(steady.goes_on(1100));
            assert!(dripping.goes_on(500));
        }
        tokio::time::advance(Duration::from_secs(1)).await;

        assert!(steady.goes_on(1100));
        assert!(!dripping.goes_on(500));
    }
}
