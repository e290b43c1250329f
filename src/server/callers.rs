//! Who asks: tokens and what each allows (contract, "Admin API").
//!
//! What lives here: which caller a request is from. What does not: which routes a role may take
//! (`api.rs`), which pairs a caller sees (`desk/`). The one thing to know: every token is compared
//! with every known one, as hashes and in constant time, and read anew for each request, so that a
//! file that was renewed counts at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::Problem;
use crate::config::{ADMIN_TOKEN, Secret, ServerConfig, TokenRole};
use crate::desk::{Caller, Role};

/// Everybody that the configuration lets in.
pub(super) struct Callers {
    /// Whoever can ask on a loopback address is on this machine, and may do everything.
    is_loopback: bool,
    known: RwLock<Arc<Known>>,
}

#[derive(Default)]
struct Known {
    env: BTreeMap<String, String>,
    tokens: Vec<Token>,
}

struct Token {
    caller: Caller,
    secret: Secret,
    is_unreadable: AtomicBool,
}

impl Callers {
    /// Nobody yet, or whoever is on this machine.
    pub(super) fn new(is_loopback: bool) -> Callers {
        Callers { is_loopback, known: RwLock::default() }
    }

    /// From now on these and nobody else; `env` is where `{env: NAME}` tokens are looked up.
    pub(super) fn admit(&self, config: &ServerConfig, env: &BTreeMap<String, String>) {
        let admin = config
            .admin_token
            .iter()
            .map(|secret| Token::new(ADMIN_TOKEN, Role::Admin, BTreeMap::new(), secret));
        let others = config.tokens.iter().map(|token| {
            Token::new(&token.name, role(token.role), token.labels.clone(), &token.token)
        });
        let known = Known { env: env.clone(), tokens: admin.chain(others).collect() };
        *self.known.write().expect("nothing panics while it holds the tokens") = Arc::new(known);
    }

    /// A token that was brought counts on loopback too, so that a role can be tried there.
    pub(super) fn of(&self, headers: &HeaderMap) -> Result<Caller, Box<Response>> {
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            let here = self.on_this_machine();
            return here.ok_or_else(|| refused("bring a token: `Authorization: Bearer …`"));
        };
        let brought = authorization.as_bytes();
        let scheme = brought.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        if scheme.is_none() {
            return Err(refused("a token is brought as `Authorization: Bearer …`"));
        }
        let hash = Sha256::digest(brought[7..].trim_ascii()).into();
        self.by_hash(&hash).ok_or_else(|| {
            refused("this token is not known: see `server.admin_token` and `server.tokens`")
        })
    }

    /// Whose token has this SHA-256, as tokens are now.
    pub(super) fn by_hash(&self, hash: &[u8; 32]) -> Option<Caller> {
        let known = Arc::clone(&self.known.read().expect("nothing panics while it holds them"));
        known.find(hash)
    }

    /// Who asks without a token; `None` where one is needed.
    pub(super) fn on_this_machine(&self) -> Option<Caller> {
        let name = "loopback".to_owned();
        self.is_loopback.then(|| Caller { name, role: Role::Admin, labels: BTreeMap::new() })
    }
}

impl Known {
    fn find(&self, brought: &[u8; 32]) -> Option<Caller> {
        let mut found = None;
        // All are looked at, so that the time does not tell which one it was.
        for token in &self.tokens {
            let is_it = token.hash(&self.env).map_or(Choice::from(0), |hash| hash.ct_eq(brought));
            if bool::from(is_it) && found.is_none() {
                found = Some(token.caller.clone());
            }
        }
        found
    }
}

impl Token {
    fn new(name: &str, role: Role, labels: BTreeMap<String, String>, secret: &Secret) -> Token {
        let caller = Caller { name: format!("token {name}"), role, labels };
        Token { caller, secret: secret.clone(), is_unreadable: AtomicBool::new(false) }
    }

    /// `None` while it cannot be read: then nobody is let in by it.
    fn hash(&self, env: &BTreeMap<String, String>) -> Option<[u8; 32]> {
        let read = self.secret.read(env);
        let was_unreadable = self.is_unreadable.swap(read.is_err(), Ordering::Relaxed);
        match read {
            Ok(text) => Some(Sha256::digest(text.expose_secret().as_bytes()).into()),
            Err(error) => {
                if !was_unreadable {
                    tracing::warn!(caller = self.caller.name, %error, "nobody is let in by a token");
                }
                None
            }
        }
    }
}

fn role(role: TokenRole) -> Role {
    match role {
        TokenRole::Viewer => Role::Viewer,
        TokenRole::Operator => Role::Operator,
        TokenRole::Admin => Role::Admin,
    }
}

fn refused(detail: &str) -> Box<Response> {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    Box::new((challenge, Problem::new(StatusCode::UNAUTHORIZED, detail)).into_response())
}
