//! OAuth by client credentials (edfi-wire §2): one token a connection, one renewal at a time.
//!
//! A token is renewed at four fifths of its life, and once after a 401. What tells waiters apart
//! is the token's generation: a 401 that was earned with an older one renews nothing. Hosts count
//! live tokens, so none is asked for while one is good.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::ApiClient;
use super::error::{Cause, HttpError, NoToken, Place, Refusal};
use super::request::{ApiRequest, ApiResponse};
use super::retry::{Verdict, judge};

/// Where a secret comes from: asked at each renewal, because files change.
pub type SecretSource = Arc<dyn Fn() -> Result<SecretString, Cause> + Send + Sync>;

/// What a token is asked for with, and where.
#[derive(Clone)]
pub struct Credentials {
    pub token_url: Url,
    pub key: SecretSource,
    pub secret: SecretSource,
    /// An education organization id, where the host wants one.
    pub scope: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token_url", &super::error::bare_address(&self.token_url))
            .finish_non_exhaustive()
    }
}

/// A token and when it ends.
pub(super) struct Token {
    pub(super) authorization: HeaderValue,
    text: SecretString,
    pub(super) generation: u64,
    ends_at: Instant,
}

impl Token {
    pub(super) fn text(&self) -> SecretString {
        self.text.clone()
    }

    pub(super) fn has_ended(&self, now: Instant) -> bool {
        now >= self.ends_at
    }
}

/// Holds a connection's token and sees to it that there is one.
#[derive(Default)]
pub(super) struct TokenKeeper {
    held: Mutex<Held>,
    /// Whoever holds this is renewing.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Arc<Credentials>>,
    token: Option<Arc<Token>>,
    renew_at: Option<Instant>,
    generations: u64,
    /// How many renewals failed, and how the last one did: those who waited for it share it.
    failures: u64,
    last_failure: Option<HttpError>,
}

impl Held {
    /// The token, unless it is the refused one, or an older one, or has ended.
    fn usable(&self, refused: Option<u64>, now: Instant) -> Option<Arc<Token>> {
        let token = self.token.as_ref()?;
        let newer = refused.is_none_or(|refused| token.generation > refused);
        (newer && !token.has_ended(now)).then(|| Arc::clone(token))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|moment| now >= moment)
    }

    fn accept(&mut self, grant: Grant) -> Arc<Token> {
        self.generations += 1;
        let now = Instant::now();
        // Spread, so that two hundred connections that began together do not renew together.
        let share = rand::rng().random_range(0.75..0.85);
        self.renew_at = Some(now + grant.lifetime.mul_f64(share));
        let token = Arc::new(Token {
            authorization: grant.authorization,
            text: grant.text,
            generation: self.generations,
            ends_at: now + grant.lifetime,
        });
        self.token = Some(Arc::clone(&token));
        token
    }
}

impl TokenKeeper {
    /// How long an early renewal that failed is left alone while the old token is good.
    const POSTPONE: Duration = Duration::from_secs(30);

    /// Sets what tokens are asked for with. A token that was got from the same place with the same
    /// scope is kept.
    pub(super) fn set_credentials(&self, credentials: Credentials) {
        let mut held = self.held();
        let same = held.credentials.as_ref().is_some_and(|before| {
            before.token_url == credentials.token_url && before.scope == credentials.scope
        });
        if !same {
            held.token = None;
        }
        held.credentials = Some(Arc::new(credentials));
    }

    pub(super) fn has_credentials(&self) -> bool {
        self.held().credentials.is_some()
    }

    /// A token newer than the `refused` generation; none where there are no credentials.
    pub(super) async fn token(
        &self,
        client: &ApiClient,
        refused: Option<u64>,
    ) -> Result<Option<Arc<Token>>, HttpError> {
        let (credentials, usable, due, failures) = {
            let held = self.held();
            let Some(credentials) = held.credentials.clone() else { return Ok(None) };
            let now = Instant::now();
            (credentials, held.usable(refused, now), held.is_due(now), held.failures)
        };
        if let Some(token) = usable {
            if due {
                let renewed = Box::pin(self.renew_early(client, &credentials, token));
                return Ok(Some(renewed.await));
            }
            return Ok(Some(token));
        }
        // Rare, and asked of every request: what it needs is not part of theirs.
        Box::pin(self.renew_in_turn(client, &credentials, refused, failures)).await.map(Some)
    }

    /// One caller renews, and the others wait for what comes of it.
    async fn renew_in_turn(
        &self,
        client: &ApiClient,
        credentials: &Credentials,
        refused: Option<u64>,
        failures: u64,
    ) -> Result<Arc<Token>, HttpError> {
        let _turn = client.until_stopped(self.renewing.lock()).await?;
        // Somebody may have renewed it, or failed to, while we waited for our turn.
        {
            let held = self.held();
            if let Some(token) = held.usable(refused, Instant::now()) {
                return Ok(token);
            }
            if held.failures > failures
                && let Some(error) = &held.last_failure
            {
                return Err(error.clone());
            }
        }
        self.renew(client, credentials).await
    }

    /// One caller renews while the others go on with the old token, and if that fails, all do.
    async fn renew_early(
        &self,
        client: &ApiClient,
        credentials: &Credentials,
        old: Arc<Token>,
    ) -> Arc<Token> {
        let Ok(_turn) = self.renewing.try_lock() else { return old };
        // It may have been renewed between the look and the lock.
        let now = Instant::now();
        if !self.held().is_due(now) {
            return self.held().usable(None, now).unwrap_or(old);
        }
        match self.renew(client, credentials).await {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(
                    connection = client.name(),
                    kind = error.kind(),
                    "could not renew the token early; the old one is used until it ends"
                );
                self.held().renew_at = Some(Instant::now() + Self::POSTPONE);
                old
            }
        }
    }

    async fn renew(
        &self,
        client: &ApiClient,
        credentials: &Credentials,
    ) -> Result<Arc<Token>, HttpError> {
        let fetched = fetch(client, credentials).await;
        client.token_renewed(&credentials.token_url, &fetched);
        let mut held = self.held();
        match fetched {
            Ok(grant) => Ok(held.accept(grant)),
            Err(error) => {
                // That we were told to stop is no reason for those who were not.
                if !matches!(error, HttpError::Stopped { .. }) {
                    held.failures += 1;
                    held.last_failure = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    /// As if four fifths of the token's life were over.
    #[cfg(test)]
    pub(super) fn make_due(&self) {
        self.held().renew_at = Some(Instant::now());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while it holds the token")
    }
}

/// What a token endpoint granted.
pub(super) struct Grant {
    authorization: HeaderValue,
    text: SecretString,
    lifetime: Duration,
}

impl Grant {
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// Asks for a token, as often as any other request. It takes no permit: there is one such request
/// a connection, and one that waited for a permit behind those who wait for its token would wait
/// for ever.
async fn fetch(client: &ApiClient, credentials: &Credentials) -> Result<Grant, HttpError> {
    let basic = basic_authorization(client, credentials)?;
    let request = token_request(credentials);
    let origin = client.origin_of(&request.url);
    let place = || client.place(&request);
    let mut attempts = 0;
    loop {
        client.until_open(&origin).await?;
        attempts += 1;
        let answer = client.exchange(&origin, &request, Some(&basic)).await;
        if let Ok(response) = &answer
            && is_too_many_tokens(response)
        {
            return Err(HttpError::TooManyTokens { place: place() });
        }
        match judge(answer, &request, place, origin.is_alive(), || client.wall_time()) {
            Verdict::Final(response) => return granted(&response, place()),
            Verdict::TokenRefused(response) => return Err(refused(&response, place())),
            Verdict::Failed(error) => return Err(error),
            Verdict::Again { error, retry_after } => {
                client.before_next(&origin, error, retry_after, attempts).await?;
            }
        }
    }
}

fn basic_authorization(
    client: &ApiClient,
    credentials: &Credentials,
) -> Result<HeaderValue, HttpError> {
    let unreadable =
        |cause: Cause| HttpError::CredentialsUnreadable { connection: client.shared_name(), cause };
    let key = (credentials.key)().map_err(unreadable)?;
    let secret = (credentials.secret)().map_err(unreadable)?;
    let both = STANDARD.encode(format!("{}:{}", key.expose_secret(), secret.expose_secret()));
    let mut header = HeaderValue::try_from(format!("Basic {both}"))
        .expect("base64 holds no character that a header may not");
    header.set_sensitive(true);
    Ok(header)
}

fn token_request(credentials: &Credentials) -> ApiRequest {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &credentials.scope {
        form.append_pair("scope", scope);
    }
    // Far more than any token, far less than what would hurt.
    ApiRequest::post(credentials.token_url.clone()).form(form.finish()).max_body_bytes(1 << 20)
}

/// Hosts from 7.3 on refuse a client that holds too many live tokens; trying again soon is
/// hopeless, they live for half an hour.
fn is_too_many_tokens(response: &ApiResponse) -> bool {
    response.status == StatusCode::TOO_MANY_REQUESTS
        && serde_json::from_slice::<Value>(&response.body).is_ok_and(|problem| {
            problem["type"].as_str().is_some_and(|name| name.ends_with(":too-many-tokens"))
        })
}

fn granted(response: &ApiResponse, place: Place) -> Result<Grant, HttpError> {
    if !response.status.is_success() {
        return Err(refused(response, place));
    }
    let unusable = |why| HttpError::TokenUnusable { place: place.clone(), why };
    let answer: Value =
        serde_json::from_slice(&response.body).map_err(|_| unusable(NoToken::NotJson))?;
    let text = answer["access_token"].as_str().unwrap_or_default();
    let authorization = HeaderValue::try_from(format!("Bearer {text}"));
    let (Ok(mut authorization), false) = (authorization, text.is_empty()) else {
        return Err(unusable(NoToken::NoAccessToken));
    };
    authorization.set_sensitive(true);
    Ok(Grant {
        authorization,
        text: SecretString::from(text.to_owned()),
        lifetime: lifetime(&answer["expires_in"]),
    })
}

/// How long to use a token. What makes no sense (missing, negative, no number, seconds that would
/// be milliseconds) counts as the half hour that Ed-Fi hosts ship with; if it ends sooner, a 401
/// tells.
fn lifetime(expires_in: &Value) -> Duration {
    const BELIEVABLE: std::ops::RangeInclusive<f64> = 5.0..=86_400.0;
    const USUAL: Duration = Duration::from_secs(1800);

    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match seconds {
        Some(seconds) if BELIEVABLE.contains(&seconds) => Duration::from_secs_f64(seconds),
        Some(_) | None => USUAL,
    }
}

fn refused(response: &ApiResponse, place: Place) -> HttpError {
    let status = response.status;
    let code = serde_json::from_slice::<Value>(&response.body)
        .ok()
        .and_then(|answer| answer["error"].as_str().and_then(Refusal::from_code));
    match code {
        Some(refusal) => HttpError::CredentialsRefused { place, status, refusal },
        None if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            HttpError::CredentialsRefused { place, status, refusal: Refusal::Unexplained }
        }
        None => HttpError::TokenUnusable { place, why: NoToken::Status(status) },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn s4_a_lifetime_that_makes_no_sense_counts_as_half_an_hour() {
        let half_an_hour = Duration::from_secs(1800);

        for nonsense in [
            json!(null),
            json!(0),
            json!(-1),
            json!(1_800_000),
            json!(1e300),
            json!("soon"),
            json!("NaN"),
            json!(true),
            json!([1800]),
            json!(0.001),
        ] {
            assert_eq!(lifetime(&nonsense), half_an_hour, "{nonsense}");
        }
    }

    #[test]
    fn a_lifetime_may_be_an_integer_a_fraction_or_a_text() {
        assert_eq!(lifetime(&json!(600)), Duration::from_secs(600));
        assert_eq!(lifetime(&json!(600.5)), Duration::from_millis(600_500));
        assert_eq!(lifetime(&json!("600")), Duration::from_secs(600));
    }
}
