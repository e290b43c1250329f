//! What can go wrong between asking and having an answer, in sentences that a person can act on.
//!
//! An answer that a caller has to interpret (2xx, most of 4xx) is not an error here. No text of
//! this module holds a query, a header, a body, a token or a secret: queries carry natural keys.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use thiserror::Error;
use url::Url;

/// What lies behind an error. Shared, because one failed renewal of a token answers many waiters.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Where a request went: the connection's name and the address without query and user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    connection: Arc<str>,
    address: String,
}

impl Place {
    pub(super) fn new(connection: &Arc<str>, url: &Url) -> Place {
        Place { connection: Arc::clone(connection), address: bare_address(url) }
    }

    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// Scheme, host, port and path.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection `{}` at {}", self.connection, self.address)
    }
}

/// Scheme, host, port and path of an address: no user, no query, no fragment.
pub(super) fn bare_address(url: &Url) -> String {
    format!("{}{}", bare_origin(url), url.path())
}

/// Scheme, host and port of an address, the port only where it is not the scheme's own.
pub(super) fn bare_origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Why a token endpoint would not take the credentials: its own code, where it is one of OAuth's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    InvalidClient,
    InvalidRequest,
    InvalidScope,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    /// 401 or 403 without a code that we know.
    Unexplained,
}

impl Refusal {
    /// The code as it stands in the answer (RFC 6749 §5.2), or nothing for a text we do not repeat.
    pub(super) fn from_code(code: &str) -> Option<Refusal> {
        match code {
            "invalid_client" => Some(Refusal::InvalidClient),
            "invalid_request" => Some(Refusal::InvalidRequest),
            "invalid_scope" => Some(Refusal::InvalidScope),
            "invalid_grant" => Some(Refusal::InvalidGrant),
            "unauthorized_client" => Some(Refusal::UnauthorizedClient),
            "unsupported_grant_type" => Some(Refusal::UnsupportedGrantType),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::InvalidClient => "invalid_client; check `key` and `secret`",
            Refusal::InvalidRequest => "invalid_request; check `key` and `secret`",
            Refusal::InvalidScope => "invalid_scope; check `scope`",
            Refusal::InvalidGrant => "invalid_grant; check `key` and `secret`",
            Refusal::UnauthorizedClient => {
                "unauthorized_client; ask the host to approve these credentials"
            }
            Refusal::UnsupportedGrantType => "unsupported_grant_type; check `token_url`",
            Refusal::Unexplained => "without a reason; check `key` and `secret`",
        })
    }
}

/// A request that has no answer to interpret.
#[derive(Clone, Debug, Error)]
pub enum HttpError {
    #[error(
        "cannot make a client for connection `{connection}`; check that this machine has CA certificates (a package such as ca-certificates)"
    )]
    Setup {
        connection: Arc<str>,
        #[source]
        cause: Cause,
    },

    #[error("cannot build a request to {place}: {what}")]
    InvalidRequest { place: Place, what: &'static str },

    #[error(
        "connection `{connection}` was told to send its credentials to {origin}, which is not where it is configured to be; correct `url` or `token_url`"
    )]
    ForeignOrigin { connection: Arc<str>, origin: String },

    #[error("cannot reach {place}: {reason}; check the address and that the API is up")]
    Unreachable {
        place: Place,
        reason: &'static str,
        #[source]
        cause: Cause,
    },

    #[error(
        "cannot agree on TLS with {place}: {reason}; check the certificate, and that this address is meant to be https"
    )]
    Tls {
        place: Place,
        reason: String,
        #[source]
        cause: Cause,
    },

    /// `receiving`: the answer had begun.
    #[error(
        "{place} did not answer within {}{}; raise `timeout` of the connection if it is merely slow",
        humantime::format_duration(*.after),
        Attempts(*.attempts)
    )]
    Timeout { place: Place, after: Duration, receiving: bool, attempts: u32 },

    #[error(
        "{place} sent its answer slower than 1 KiB/s{}; check the network between here and there",
        Attempts(*.attempts)
    )]
    Slow { place: Place, attempts: u32 },

    #[error(
        "{place} closed the connection before it had answered{}; check that the API is up and that the address speaks HTTP",
        Attempts(*.attempts)
    )]
    Disconnected {
        place: Place,
        attempts: u32,
        #[source]
        cause: Cause,
    },

    #[error(
        "the answer of {place} was cut off before its end{}; check the API and what stands before it",
        Attempts(*.attempts)
    )]
    BodyCut {
        place: Place,
        attempts: u32,
        #[source]
        cause: Cause,
    },

    #[error("the answer of {place} is larger than {limit} bytes; lower `page_size`")]
    TooLarge { place: Place, limit: usize },

    #[error(
        "{place} answered {status}, a redirect{}, and redirects are never followed; put the address that answers itself into `url`",
        Towards(.to)
    )]
    Redirected { place: Place, status: StatusCode, to: Option<String> },

    #[error(
        "{place} refuses more requests ({status}){}; lower `max_concurrency` or `max_requests_per_second`, or try later",
        Attempts(*.attempts)
    )]
    Throttled { place: Place, status: StatusCode, attempts: u32 },

    #[error(
        "{place} failed with {status}{}; look into the log of the API, then try again",
        Attempts(*.attempts)
    )]
    ServerError { place: Place, status: StatusCode, attempts: u32 },

    #[error(
        "{place} refuses a token that was just issued (401); check that `token_url` belongs to this API"
    )]
    Unauthorized { place: Place },

    #[error("{place} wants credentials (401); set `key` and `secret` of the connection")]
    CredentialsMissing { place: Place },

    #[error("cannot read the key and secret of connection `{connection}`")]
    CredentialsUnreadable {
        connection: Arc<str>,
        #[source]
        cause: Cause,
    },

    #[error("cannot use the certificates of connection `{connection}` (its `tls`)")]
    CertificatesUnreadable {
        connection: Arc<str>,
        #[source]
        cause: Cause,
    },

    #[error("{place} refuses the credentials ({status}, {refusal})")]
    CredentialsRefused { place: Place, status: StatusCode, refusal: Refusal },

    #[error("{place} is no token endpoint: it answered {why}; check `url` and `token_url`")]
    TokenUnusable { place: Place, why: NoToken },

    #[error(
        "{place} says that these credentials hold too many tokens; stop what else uses them, or wait until the tokens end"
    )]
    TooManyTokens { place: Place },

    #[error("stopped before connection `{connection}` was asked")]
    Stopped { connection: Arc<str> },
}

/// What a token endpoint answered in place of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    NotJson,
    NoAccessToken,
    Status(StatusCode),
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoToken::NotJson => f.write_str("something that is not JSON"),
            NoToken::NoAccessToken => f.write_str("without a usable `access_token`"),
            NoToken::Status(status) => write!(f, "{status}"),
        }
    }
}

/// What whoever asked should do with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It may pass by itself: fail the run and try it again later.
    MayPass,
    /// It will not pass until somebody changed the configuration or the API.
    NeedsAPerson,
    /// The same with a smaller page, if this was a page; what else is too slow may pass.
    AskForLess,
    /// We were told to stop.
    Stopped,
}

impl HttpError {
    /// A short stable word for reports and metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            HttpError::Setup { .. } => "setup",
            HttpError::InvalidRequest { .. } => "invalid-request",
            HttpError::ForeignOrigin { .. } => "foreign-origin",
            HttpError::Unreachable { .. } => "unreachable",
            HttpError::Tls { .. } | HttpError::CertificatesUnreadable { .. } => "tls",
            HttpError::Timeout { .. } => "timeout",
            HttpError::Slow { .. } => "slow",
            HttpError::Disconnected { .. } => "disconnected",
            HttpError::BodyCut { .. } => "body-cut",
            HttpError::TooLarge { .. } => "too-large",
            HttpError::Redirected { .. } => "redirected",
            HttpError::Throttled { .. } => "throttled",
            HttpError::ServerError { .. } => "server-error",
            HttpError::Unauthorized { .. }
            | HttpError::CredentialsMissing { .. }
            | HttpError::CredentialsUnreadable { .. }
            | HttpError::CredentialsRefused { .. } => "credentials",
            HttpError::TokenUnusable { .. } => "token-endpoint",
            HttpError::TooManyTokens { .. } => "too-many-tokens",
            HttpError::Stopped { .. } => "stopped",
        }
    }

    pub fn disposition(&self) -> Disposition {
        match self {
            HttpError::Unreachable { .. }
            | HttpError::Timeout { receiving: false, .. }
            | HttpError::Disconnected { .. }
            | HttpError::BodyCut { .. }
            | HttpError::Throttled { .. }
            | HttpError::ServerError { .. }
            | HttpError::TooManyTokens { .. } => Disposition::MayPass,
            HttpError::Setup { .. }
            | HttpError::InvalidRequest { .. }
            | HttpError::ForeignOrigin { .. }
            | HttpError::Tls { .. }
            | HttpError::Redirected { .. }
            | HttpError::Unauthorized { .. }
            | HttpError::CredentialsMissing { .. }
            | HttpError::CredentialsUnreadable { .. }
            | HttpError::CertificatesUnreadable { .. }
            | HttpError::CredentialsRefused { .. }
            | HttpError::TokenUnusable { .. } => Disposition::NeedsAPerson,
            HttpError::TooLarge { .. }
            | HttpError::Slow { .. }
            | HttpError::Timeout { receiving: true, .. } => Disposition::AskForLess,
            HttpError::Stopped { .. } => Disposition::Stopped,
        }
    }

    /// The same error after so many attempts, where attempts are part of its text.
    pub(super) fn after(mut self, tried: u32) -> HttpError {
        match &mut self {
            HttpError::Timeout { attempts, .. }
            | HttpError::Slow { attempts, .. }
            | HttpError::Disconnected { attempts, .. }
            | HttpError::BodyCut { attempts, .. }
            | HttpError::Throttled { attempts, .. }
            | HttpError::ServerError { attempts, .. } => *attempts = tried,
            HttpError::Setup { .. }
            | HttpError::InvalidRequest { .. }
            | HttpError::ForeignOrigin { .. }
            | HttpError::Unreachable { .. }
            | HttpError::Tls { .. }
            | HttpError::TooLarge { .. }
            | HttpError::Redirected { .. }
            | HttpError::Unauthorized { .. }
            | HttpError::CredentialsMissing { .. }
            | HttpError::CredentialsUnreadable { .. }
            | HttpError::CertificatesUnreadable { .. }
            | HttpError::CredentialsRefused { .. }
            | HttpError::TokenUnusable { .. }
            | HttpError::TooManyTokens { .. }
            | HttpError::Stopped { .. } => {}
        }
        self
    }
}

struct Attempts(u32);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            several => write!(f, ", {several} times in a row"),
        }
    }
}

struct Towards<'a>(&'a Option<String>);

impl fmt::Display for Towards<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, " to {address}"),
            None => Ok(()),
        }
    }
}
