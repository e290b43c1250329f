//! Whether and when a request is sent again: judging an answer, `Retry-After`, jitter, budget.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng;
use reqwest::StatusCode;
use tokio::time::Instant;

use super::error::{Disposition, HttpError, Place, bare_address};
use super::request::{ApiRequest, ApiResponse};

/// How often and how soon a request is repeated. Waits are full jitter: anything between nothing
/// and a bound that doubles from `first_delay` to `max_delay`.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, the first included. Default 5.
    pub max_attempts: u32,
    /// Default 500 ms.
    pub first_delay: Duration,
    /// Default 60 s.
    pub max_delay: Duration,
    /// What a server may ask for at most with `Retry-After`. Default 15 minutes.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(15 * 60),
        }
    }
}

impl RetryPolicy {
    /// The upper bound of the wait after the given number of attempts (from 1).
    fn bound(&self, attempts: u32) -> Duration {
        let doubled = self.first_delay.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        doubled.min(self.max_delay)
    }

    /// A wait after the given number of attempts, drawn anew each time.
    pub(super) fn wait(&self, attempts: u32) -> Duration {
        self.bound(attempts).mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    /// What is added when the server itself named a moment, so that not all come at once.
    pub(super) fn spread(&self, attempts: u32) -> Duration {
        self.wait(attempts).min(Duration::from_secs(1))
    }
}

/// What an exchange means for the request.
#[derive(Debug)]
pub(super) enum Verdict {
    /// An answer for the caller.
    Final(ApiResponse),
    /// 401: perhaps a token that has ended.
    TokenRefused(ApiResponse),
    /// May pass: send it again, and if that is not allowed, report this.
    Again { error: HttpError, retry_after: Option<Duration> },
    /// Will not pass.
    Failed(HttpError),
}

/// The rows of the table of answers that are dealt with below the seam.
/// `alive` says that this origin has answered before, so that a refused connection is a restart
/// rather than a wrong address.
pub(super) fn judge(
    answer: Result<ApiResponse, HttpError>,
    request: &ApiRequest,
    place: impl Fn() -> Place,
    alive: bool,
    now: impl Fn() -> DateTime<Utc>,
) -> Verdict {
    match answer {
        Ok(response) => judge_status(response, request, place, now),
        Err(error) if request.divisible && error.disposition() == Disposition::AskForLess => {
            Verdict::Failed(error)
        }
        Err(error) => judge_error(error, alive),
    }
}

fn judge_status(
    response: ApiResponse,
    request: &ApiRequest,
    place: impl Fn() -> Place,
    now: impl Fn() -> DateTime<Utc>,
) -> Verdict {
    let status = response.status;
    if request.any_status {
        return Verdict::Final(response);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Verdict::TokenRefused(response);
    }
    if status.is_redirection() {
        let to = response
            .header("location")
            .and_then(|location| request.url.join(location).ok())
            .map(|url| bare_address(&url));
        return Verdict::Failed(HttpError::Redirected { place: place(), status, to });
    }
    let retry_after = || retry_after(&response, now());
    if status == StatusCode::TOO_MANY_REQUESTS {
        let error = HttpError::Throttled { place: place(), status, attempts: 1 };
        return Verdict::Again { error, retry_after: retry_after() };
    }
    let may_pass = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
    if may_pass || status.is_server_error() {
        let error = HttpError::ServerError { place: place(), status, attempts: 1 };
        return Verdict::Again { error, retry_after: retry_after() };
    }
    Verdict::Final(response)
}

fn judge_error(error: HttpError, alive: bool) -> Verdict {
    match &error {
        HttpError::Timeout { .. }
        | HttpError::Slow { .. }
        | HttpError::Disconnected { .. }
        | HttpError::BodyCut { .. } => Verdict::Again { error, retry_after: None },
        HttpError::Unreachable { .. } if alive => Verdict::Again { error, retry_after: None },
        HttpError::Unreachable { .. }
        | HttpError::Setup { .. }
        | HttpError::InvalidRequest { .. }
        | HttpError::ForeignOrigin { .. }
        | HttpError::Tls { .. }
        | HttpError::TooLarge { .. }
        | HttpError::Redirected { .. }
        | HttpError::Throttled { .. }
        | HttpError::ServerError { .. }
        | HttpError::Unauthorized { .. }
        | HttpError::CredentialsMissing { .. }
        | HttpError::CredentialsUnreadable { .. }
        | HttpError::CertificatesUnreadable { .. }
        | HttpError::CredentialsRefused { .. }
        | HttpError::TokenUnusable { .. }
        | HttpError::TooManyTokens { .. }
        | HttpError::Stopped { .. } => Verdict::Failed(error),
    }
}

/// How long the server asks us to wait. Nothing where it does not say, or says nonsense.
fn retry_after(response: &ApiResponse, now: DateTime<Utc>) -> Option<Duration> {
    // A date is measured by the server's own clock where the answer tells it.
    let servers_now = response
        .header("date")
        .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
        .map_or(now, |date| date.with_timezone(&Utc));
    parse_retry_after(response.header("retry-after")?, servers_now)
}

/// Reads seconds or an HTTP date (RFC 9110 §10.2.3). A number beyond three hours is plainly in
/// milliseconds; nobody holds an API for so long and says so in a header.
pub fn parse_retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    const PLAINLY_MILLISECONDS: f64 = 10_800.0;

    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number >= PLAINLY_MILLISECONDS { number / 1000.0 } else { number };
        // What is less than a nanosecond is no wait either.
        return (seconds > 0.0)
            .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            .filter(|wait| !wait.is_zero());
    }
    let moment = DateTime::parse_from_rfc2822(text).ok()?;
    (moment.with_timezone(&Utc) - now).to_std().ok().filter(|wait| !wait.is_zero())
}

/// How many retries an origin is given: a fifth of what it answers, and a floor.
///
/// Without it, a server in trouble would get several times its usual load from us. The reserve
/// covers a restart that breaks every connection at once.
#[derive(Debug)]
pub(super) struct RetryBudget {
    left: f64,
    refilled_at: Instant,
}

impl RetryBudget {
    const RESERVE: f64 = 100.0;
    const MOST: f64 = 500.0;
    const PER_ANSWER: f64 = 0.2;
    const PER_SECOND: f64 = 5.0;

    pub(super) fn new() -> RetryBudget {
        RetryBudget { left: Self::RESERVE, refilled_at: Instant::now() }
    }

    /// A request was answered.
    pub(super) fn earn(&mut self) {
        self.left = (self.left + Self::PER_ANSWER).min(Self::MOST);
    }

    /// Takes a retry from the budget, or says that there is none. Time-outs cost double: they
    /// have cost the server the most.
    pub(super) fn spend(&mut self, error: &HttpError) -> bool {
        let now = Instant::now();
        if self.left < Self::RESERVE {
            let refill = (now - self.refilled_at).as_secs_f64() * Self::PER_SECOND;
            self.left = (self.left + refill).min(Self::RESERVE);
        }
        self.refilled_at = now;

        let cost = if matches!(error, HttpError::Timeout { .. }) { 2.0 } else { 1.0 };
        if self.left < cost {
            return false;
        }
        self.left -= cost;
        true
    }
}
