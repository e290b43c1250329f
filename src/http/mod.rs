//! How every request leaves and every answer arrives: permit, pace, token, send, judge, perhaps
//! again. The only home of reqwest.
//!
//! Nothing here knows what a body means. [`ApiClient::send`] answers with whatever status its
//! caller has to interpret; what can pass by waiting (408, 429, 5xx, broken connections) is dealt
//! with here, and what is left of it is an [`HttpError`]. Redirects are errors, always: a POST
//! that follows a 302 becomes a GET and a lost write.
//!
//! Limit, `Retry-After` and retry budget belong to the origin ([`Origins`]); token, credentials
//! and ceilings to the connection.

mod buffers;
mod auth;
mod concurrency;
mod error;
mod hours;
mod observer;
mod origin;
mod pace;
mod request;
mod retry;
mod shared_limit;
mod trust;
mod wire;
mod worth;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderValue;
use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::certificate;

pub use reqwest::{Method, StatusCode};
pub use url::Url;

pub use auth::{Credentials, SecretSource};
pub use error::{Cause, Disposition, HttpError, NoToken, Place, Refusal};
pub use hours::ClosedUntil;
pub use observer::{CertificateOf, Endpoint, Exchange, Exchanges, HttpObserver, Unobserved};
pub use origin::Origins;
pub use request::{ApiRequest, ApiResponse};
pub use retry::{RetryPolicy, parse_retry_after};
pub use shared_limit::SharedLimit;
pub use trust::ClientTls;

use auth::{Grant, Token, TokenKeeper};
use concurrency::{Load, Permit};
use hours::Hours;
use origin::Origin;
use pace::Pace;
use retry::{Verdict, judge};
use wire::Wire;

/// What a connection is like. [`ClientOptions::new`] has the defaults of the configuration.
#[derive(Clone)]
pub struct ClientOptions {
    /// The connection's name, for messages and metrics.
    pub name: String,
    /// The connection's address: tokens are sent to its origin and to nobody else, unless
    /// [`ApiClient::trust`] names another.
    pub url: Url,
    /// For one attempt, from the first byte sent to the last byte received. Default 60 s.
    pub timeout: Duration,
    /// A ceiling: the limit of the origin adapts below it. Default 512.
    pub max_concurrency: usize,
    /// A ceiling; 0 for none, which is the default.
    pub max_requests_per_second: u32,
    /// Whom it trusts and what it shows. Default: as the system says, and nothing.
    pub tls: ClientTls,
    /// What it shares with other connections, beside its own ceilings.
    pub shared_limit: Option<Arc<SharedLimit>>,
    /// Hours in which no request is sent. Default: none.
    pub closed_until: Option<ClosedUntil>,
    /// The largest answer, in decompressed bytes. Default 64 MiB.
    pub max_body_bytes: usize,
    /// May also be set later, once the token's address is known.
    pub credentials: Option<Credentials>,
    pub user_agent: String,
    pub retry: RetryPolicy,
    /// No wait outlasts it. Default: nobody stops it.
    pub stop: CancellationToken,
}

impl ClientOptions {
    pub fn new(name: &str, url: Url) -> ClientOptions {
        ClientOptions {
            name: name.to_owned(),
            url,
            timeout: Duration::from_secs(60),
            max_concurrency: 512,
            max_requests_per_second: 0,
            tls: ClientTls::default(),
            shared_limit: None,
            closed_until: None,
            max_body_bytes: 64 << 20,
            credentials: None,
            user_agent: concat!("tidemark/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            stop: CancellationToken::new(),
        }
    }
}

/// A connection's client. Clones share everything; [`ApiClient::for_run`] counts for itself.
#[derive(Clone)]
pub struct ApiClient {
    shared: Arc<Shared>,
    sent: Arc<AtomicU64>,
    stop: CancellationToken,
    /// Put before a number in each request's `correlation-id`.
    run: Option<Arc<str>>,
}

struct Shared {
    name: Arc<str>,
    url: Url,
    max_concurrency: usize,
    retry: RetryPolicy,
    wire: Wire,
    origins: Origins,
    /// The origin of `url`, which nearly every request goes to.
    home: Arc<Origin>,
    trusted: Mutex<Vec<url::Origin>>,
    /// The ceiling of this connection; the limit is the origin's.
    ceiling: Arc<Semaphore>,
    pace: Pace,
    shared_limit: Option<Arc<SharedLimit>>,
    hours: Hours,
    tokens: TokenKeeper,
    tls: ClientTls,
    /// By origin, what its server showed last.
    certificates: Mutex<HashMap<String, Vec<u8>>>,
    observer: Arc<dyn HttpObserver>,
    /// With the home origin.
    exchanges: Arc<dyn Exchanges>,
}

impl ApiClient {
    pub fn new(
        options: ClientOptions,
        origins: &Origins,
        observer: Arc<dyn HttpObserver>,
    ) -> Result<ApiClient, HttpError> {
        let name: Arc<str> = Arc::from(options.name);
        let max_concurrency = options.max_concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let home = origins.of(&options.url, max_concurrency);
        let wire = Wire::new(
            Arc::clone(&name),
            &options.url,
            &options.user_agent,
            options.timeout,
            options.max_body_bytes,
            &options.tls,
            &home.clients,
        )?;
        let exchanges = observer.exchanges(Endpoint { connection: &name, origin: &home.name });
        let shared = Shared {
            name,
            home,
            url: options.url,
            max_concurrency,
            retry: options.retry,
            wire,
            origins: origins.clone(),
            trusted: Mutex::default(),
            ceiling: Arc::new(Semaphore::new(max_concurrency)),
            pace: Pace::new(options.max_requests_per_second),
            shared_limit: options.shared_limit,
            hours: Hours::new(options.closed_until),
            tokens: TokenKeeper::default(),
            tls: options.tls,
            certificates: Mutex::default(),
            observer,
            exchanges,
        };
        let client = ApiClient {
            shared: Arc::new(shared),
            sent: Arc::default(),
            stop: options.stop,
            run: None,
        };
        if let Some(credentials) = options.credentials {
            client.set_credentials(credentials)?;
        }
        Ok(client)
    }

    /// The same connection for one run: requests are counted from nothing and carry the run's id,
    /// and no wait outlasts `stop`. An exchange that is under way when it stops is finished.
    pub fn for_run(&self, run_id: &str, stop: CancellationToken) -> ApiClient {
        ApiClient {
            shared: Arc::clone(&self.shared),
            sent: Arc::default(),
            stop,
            run: Some(Arc::from(run_id)),
        }
    }

    /// Requests sent through this client and its clones; repeated ones and those for tokens count.
    pub fn requests(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The connection's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The connection's address as it was configured.
    pub fn url(&self) -> &Url {
        &self.shared.url
    }

    /// How many requests the connection's origin is sent at once now.
    pub fn limit_in_force(&self) -> usize {
        self.shared.home.limiter.in_force()
    }

    /// The same below the connection's own ceiling.
    pub fn at_once(&self) -> usize {
        self.limit_in_force().min(self.shared.max_concurrency)
    }

    /// Sets what tokens are asked for with. Setting the same place and scope again costs no token.
    /// An address that is https may not send its credentials in the clear.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<(), HttpError> {
        if self.shared.url.scheme() == "https" && credentials.token_url.scheme() != "https" {
            return Err(self.foreign(&credentials.token_url));
        }
        self.shared.tokens.set_credentials(credentials);
        Ok(())
    }

    pub fn has_credentials(&self) -> bool {
        self.shared.tokens.has_credentials()
    }

    /// Allows tokens to be sent to another origin than the connection's own.
    pub fn trust(&self, url: &Url) {
        let mut trusted =
            self.shared.trusted.lock().expect("nothing panics while it holds the trusted");
        if !trusted.contains(&url.origin()) {
            trusted.push(url.origin());
        }
    }

    /// The token itself, for the one route that wants it in a body (`token_info`); asks for one
    /// if need be. Nothing without credentials.
    pub async fn token(&self) -> Result<Option<SecretString>, HttpError> {
        let token = self.shared.tokens.token(self, None).await?;
        Ok(token.map(|token| token.text()))
    }

    /// Sends a request, again where that may help, and answers with the status that is the
    /// caller's to interpret: any but 3xx, 408, 429, 5xx, and 401 where a token was sent.
    pub async fn send(&self, request: ApiRequest) -> Result<ApiResponse, HttpError> {
        self.check(&request)?;
        let origin = self.origin_of(&request.url);
        let place = || self.place(&request);
        let mut attempts = 0;
        let mut refused = None;
        loop {
            let admission = self.admit(&request, &origin, refused).await?;
            attempts += 1;
            let authorization = admission.token.as_ref().map(|token| &token.authorization);
            let answer = self.exchange(&origin, &request, authorization).await;
            let token = self.dismiss(admission, &origin, &request, &answer);

            match judge(answer, &request, place, origin.is_alive(), || self.wall_time()) {
                Verdict::Final(response) => return Ok(response),
                Verdict::Failed(error) => return Err(error),
                Verdict::TokenRefused(response) => {
                    let Some(token) = token else {
                        return self.without_token(&request, response);
                    };
                    if refused.replace(token.generation).is_some() {
                        return Err(HttpError::Unauthorized { place: place() });
                    }
                }
                Verdict::Again { error, retry_after } => {
                    self.before_next(&origin, error, retry_after, attempts).await?;
                }
            }
        }
    }

    fn check(&self, request: &ApiRequest) -> Result<(), HttpError> {
        if let Some(what) = request.flaw {
            return Err(HttpError::InvalidRequest { place: self.place(request), what });
        }
        if request.anonymous || same_origin(&request.url, &self.shared.url) {
            return Ok(());
        }
        let trusted =
            self.shared.trusted.lock().expect("nothing panics while it holds the trusted");
        if trusted.contains(&request.url.origin()) {
            Ok(())
        } else {
            Err(self.foreign(&request.url))
        }
    }

    /// Waits until this request may be sent: with a good token, on an open origin, in its turn.
    async fn admit(
        &self,
        request: &ApiRequest,
        origin: &Arc<Origin>,
        refused: Option<u64>,
    ) -> Result<Admission, HttpError> {
        loop {
            self.shared.hours.open(self).await?;
            // Before the permit: nobody holds up others while a token is fetched.
            let token = match request.anonymous {
                true => None,
                false => self.shared.tokens.token(self, refused).await?,
            };
            let ceiling = Arc::clone(&self.shared.ceiling);
            let own = self
                .until_stopped(ceiling.acquire_owned())
                .await?
                .expect("the semaphore of a client is never closed");
            self.until_open(origin).await?;
            if let Some(turn) = self.shared.pace.take_turn() {
                self.until_stopped(tokio::time::sleep_until(turn)).await?;
            }
            let (permit, shared) = match &self.shared.shared_limit {
                Some(limit) => limit.turn(self, origin).await?,
                None => (self.until_stopped(origin.limiter.permit()).await?, None),
            };

            // What was true before a long wait need not be any more.
            let token_is_good = token.as_ref().is_none_or(|token| !token.has_ended(Instant::now()));
            if token_is_good && origin.closed_until().is_none() {
                return Ok(Admission { token, permit, _own: own, _shared: shared });
            }
        }
    }

    /// Gives the permits back with what the answer says about the origin's load.
    fn dismiss(
        &self,
        admission: Admission,
        origin: &Origin,
        request: &ApiRequest,
        answer: &Result<ApiResponse, HttpError>,
    ) -> Option<Arc<Token>> {
        if let Some(limit) = admission.permit.finish(load_of(answer), request.traffic()) {
            self.shared.observer.limit(self.endpoint(origin), limit);
        }
        admission.token
    }

    /// A 401 to a request that had no token to be refused.
    fn without_token(
        &self,
        request: &ApiRequest,
        response: ApiResponse,
    ) -> Result<ApiResponse, HttpError> {
        if request.anonymous {
            return Ok(response);
        }
        Err(HttpError::CredentialsMissing { place: self.place(request) })
    }

    /// One attempt, counted and told to the observer.
    async fn exchange(
        &self,
        origin: &Origin,
        request: &ApiRequest,
        authorization: Option<&HeaderValue>,
    ) -> Result<ApiResponse, HttpError> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let correlation =
            self.run.as_ref().and_then(|run| HeaderValue::try_from(format!("{run}-{number}")).ok());
        let began = Instant::now();
        let elsewhere;
        let exchanges = match std::ptr::eq(origin, &*self.shared.home) {
            true => &*self.shared.exchanges,
            false => {
                elsewhere = self.shared.observer.exchanges(self.endpoint(origin));
                &*elsewhere
            }
        };
        let flight = InFlight::begin(exchanges);
        let mut answer = self.shared.wire.exchange(request, authorization, correlation).await;
        drop(flight);
        if let Ok(response) = &mut answer {
            self.look_at_certificate(origin, response.certificate.take());
        }

        let outcome = match &answer {
            Ok(response) => {
                origin.has_answered();
                if load_of(&answer) == Load::Borne {
                    origin.earn_retry();
                }
                Ok(response.status.as_u16())
            }
            Err(error) => Err(error.kind()),
        };
        exchanges.ended(&Exchange {
            method: &request.method,
            outcome,
            took: began.elapsed(),
            sent: request.body.as_ref().map_or(0, bytes::Bytes::len),
            received: answer.as_ref().map_or(0, |response| response.body.len()),
        });
        answer
    }

    /// Tells when it ends, if it is another one than before: they are renewed rarely.
    fn look_at_certificate(&self, origin: &Origin, shown: Option<Vec<u8>>) {
        let Some(shown) = shown else { return };
        let mut known =
            self.shared.certificates.lock().expect("nothing panics while it holds these");
        if known.get(&origin.name) == Some(&shown) {
            return;
        }
        let endpoint = self.endpoint(origin);
        if let Some(ends) = certificate::ends_at(&shown) {
            self.shared.observer.certificate(endpoint, CertificateOf::Server, ends);
        }
        for (of, ends) in self.shared.tls.ends() {
            self.shared.observer.certificate(endpoint, of, ends);
        }
        known.insert(origin.name.clone(), shown);
    }

    /// Waits before another attempt, or says that there will be none.
    async fn before_next(
        &self,
        origin: &Origin,
        error: HttpError,
        retry_after: Option<Duration>,
        attempts: u32,
    ) -> Result<(), HttpError> {
        let policy = &self.shared.retry;
        // Even if this request gives up, the others shall know.
        if let Some(wait) = retry_after {
            let wait = wait.min(policy.max_retry_after);
            origin.close_for(wait);
            // A wait that no clock can add up is capped before it comes here.
            let until = self.wall_time() + wait;
            self.shared.observer.paused(self.endpoint(origin), wait, until);
        }
        if attempts >= policy.max_attempts {
            return Err(error.after(attempts));
        }
        if !origin.spend_retry(&error) {
            self.shared.observer.budget_exhausted(self.endpoint(origin));
            return Err(error.after(attempts));
        }
        self.shared.observer.retried(self.endpoint(origin), error.kind());
        tracing::debug!(
            connection = self.name(),
            kind = error.kind(),
            attempts,
            "a request will be sent again"
        );
        let wait = match retry_after {
            Some(_) => policy.spread(attempts),
            None => policy.wait(attempts),
        };
        self.until_stopped(tokio::time::sleep(wait)).await
    }

    /// Waits until nobody asks to be left alone any more.
    async fn until_open(&self, origin: &Origin) -> Result<(), HttpError> {
        while let Some(moment) = origin.closed_until() {
            self.until_stopped(tokio::time::sleep_until(moment)).await?;
        }
        if self.stop.is_cancelled() { Err(self.stopped()) } else { Ok(()) }
    }

    async fn until_stopped<F: Future>(&self, wait: F) -> Result<F::Output, HttpError> {
        if self.stop.is_cancelled() {
            return Err(self.stopped());
        }
        let mut wait = pin!(wait);
        // Mostly there is nothing to wait for, and then nobody need be told of the end of all waits:
        // every request of the process would stand in one queue for it.
        let once = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await;
        if let Poll::Ready(done) = once {
            return Ok(done);
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(self.stopped()),
            done = wait => Ok(done),
        }
    }

    fn origin_of(&self, url: &Url) -> Arc<Origin> {
        if same_origin(url, &self.shared.url) {
            return Arc::clone(&self.shared.home);
        }
        self.shared.origins.of(url, self.shared.max_concurrency)
    }

    fn token_renewed(&self, token_url: &Url, outcome: &Result<Grant, HttpError>) {
        let origin = self.origin_of(token_url);
        let ends = |grant: &Grant| self.wall_time() + grant.lifetime();
        let outcome = outcome.as_ref().map(ends).map_err(HttpError::kind);
        self.shared.observer.token_renewed(self.endpoint(&origin), outcome);
    }

    fn endpoint<'a>(&'a self, origin: &'a Origin) -> Endpoint<'a> {
        Endpoint { connection: &self.shared.name, origin: &origin.name }
    }

    fn place(&self, request: &ApiRequest) -> Place {
        self.shared.wire.place(request)
    }

    fn wall_time(&self) -> DateTime<Utc> {
        self.shared.origins.clock().now()
    }

    fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared.name)
    }

    fn stopped(&self) -> HttpError {
        HttpError::Stopped { connection: self.shared_name() }
    }

    fn foreign(&self, url: &Url) -> HttpError {
        HttpError::ForeignOrigin { connection: self.shared_name(), origin: error::bare_origin(url) }
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// What a request holds while it is in flight.
struct Admission {
    token: Option<Arc<Token>>,
    permit: Permit,
    _own: OwnedSemaphorePermit,
    _shared: Option<OwnedSemaphorePermit>,
}

/// An exchange that is under way, counted until it is answered or given up.
struct InFlight<'a> {
    exchanges: &'a dyn Exchanges,
}

impl<'a> InFlight<'a> {
    fn begin(exchanges: &'a dyn Exchanges) -> InFlight<'a> {
        exchanges.in_flight(1);
        InFlight { exchanges }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.exchanges.in_flight(-1);
    }
}

fn load_of(answer: &Result<ApiResponse, HttpError>) -> Load {
    if let Err(HttpError::Timeout { .. }) = answer {
        return Load::Stalled;
    }
    let Ok(response) = answer else { return Load::Unknown };
    match response.status {
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Load::Refused,
        status if status.is_server_error() => Load::Unknown,
        _ => Load::Borne,
    }
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}
