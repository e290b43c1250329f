//! Client credentials, tokens and their ends (edfi-wire §2).

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::time::Instant;

use super::tokens;
use crate::sandbox::document::quoted;
use crate::sandbox::problem::Problem;
use crate::sandbox::server::{Asked, Reply, Shared};

/// The tokens that were given and have not ended.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Tokens(HashMap<String, Instant>);

impl Tokens {
    fn issue(&mut self, lifetime: Duration, is_jwt: bool) -> String {
        let random = format!("{:032x}", rand::random::<u128>());
        let token = match is_jwt {
            false => random,
            true => [r#"{"alg":"RS256","typ":"JWT"}"#, &format!("{{\"jti\":\"{random}\"}}"), "x"]
                .map(|part| URL_SAFE_NO_PAD.encode(part))
                .join("."),
        };
        self.0.insert(token.clone(), Instant::now() + lifetime);
        token
    }

    fn is_valid(&self, token: &str) -> bool {
        self.0.get(token).is_some_and(|end| Instant::now() < *end)
    }

    fn living(&mut self) -> usize {
        let now = Instant::now();
        self.0.retain(|_, end| now < *end);
        self.0.len()
    }

    pub(in crate::sandbox) fn all(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(in crate::sandbox) fn expire_all(&mut self) {
        self.0.clear();
    }
}

/// What a token request carries.
#[derive(Default)]
struct Grant {
    kind: Option<String>,
    key: Option<String>,
    secret: Option<String>,
    scope: Option<String>,
}

/// `POST /oauth/token`.
pub(in crate::sandbox) fn token(shared: &Shared, asked: &Asked) -> Result<Reply, Problem> {
    if asked.method != axum::http::Method::POST {
        return Err(Problem::method_not_allowed());
    }
    let Some(grant) = read_grant(asked) else { return Err(Problem::unsupported_media_type()) };
    let from_header = match asked.header("authorization") {
        None => None,
        Some(value) => match value.split_once(' ') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => match basic(rest) {
                Some(pair) => Some(pair),
                None => return Ok(refused(400, "invalid_request")),
            },
            _ => return Ok(refused(401, "invalid_client")),
        },
    };
    let from_body = grant.key.zip(grant.secret);
    let (key, secret) = match (from_header, from_body) {
        (Some(_), Some(_)) => return Ok(refused(400, "invalid_client")),
        (None, None) => return Ok(refused(401, "invalid_request")),
        (Some(pair), None) | (None, Some(pair)) => pair,
    };
    if grant.kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("client_credentials")) {
        return Ok(refused(400, "unsupported_grant_type"));
    }
    let taken = shared.secret.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if key != shared.options.key || secret != taken {
        return Ok(refused(401, "invalid_client"));
    }
    let mut tokens = tokens(shared);
    let version = shared.options.version;
    if version.limits_tokens() && tokens.living() >= shared.options.token_limit {
        return Err(Problem::too_many_tokens(shared.options.token_limit));
    }
    let token = tokens.issue(shared.options.token_lifetime, version.has_jwt());
    let seconds = shared.options.token_lifetime.as_secs();
    let scope = grant.scope.map(|scope| format!(",\"scope\":{}", quoted(&scope)));
    let body = format!(
        "{{\"access_token\":\"{token}\",\"expires_in\":{seconds},\"token_type\":\"bearer\"{}}}",
        scope.unwrap_or_default()
    );
    Ok(Reply::json(200, body).header("Cache-Control", "no-store"))
}

/// `POST /oauth/token_info`.
pub(in crate::sandbox) fn token_info(shared: &Shared, asked: &Asked) -> Result<Reply, Problem> {
    if asked.method != axum::http::Method::POST {
        return Err(Problem::method_not_allowed());
    }
    let bearer = bearer(asked)?;
    authenticate(shared, asked)?;
    let Some(members) = read_members(asked) else { return Err(Problem::unsupported_media_type()) };
    if members.iter().all(|(name, value)| name != "token" || *value != bearer) {
        return Ok(refused(400, "invalid_request"));
    }
    let namespaces: Vec<String> =
        shared.options.namespaces.iter().map(|prefix| quoted(prefix)).collect();
    let told = &shared.education_organizations;
    let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let organizations: Vec<String> = told.iter().map(|id| agency(*id)).collect();
    let body = format!(
        "{{\"active\":true,\"client_id\":{},\"namespace_prefixes\":[{}],\
         \"education_organizations\":[{}],\"student_identification_system\":null,\
         \"assigned_profiles\":[],\"claim_set\":{{\"name\":\"Sandbox\"}},\"resources\":[],\
         \"services\":[]}}",
        quoted(&shared.options.key),
        namespaces.join(","),
        organizations.join(",")
    );
    Ok(Reply::json(200, body))
}

fn agency(id: i64) -> String {
    format!(
        "{{\"education_organization_id\":{id},\"name_of_institution\":\"Grand Bend ISD\",\
         \"type\":\"edfi.LocalEducationAgency\",\"local_education_agency_id\":{id}}}"
    )
}

/// Refuses a request without a living token.
pub(in crate::sandbox) fn authenticate(shared: &Shared, asked: &Asked) -> Result<(), Problem> {
    let token = bearer(asked)?;
    if tokens(shared).is_valid(token) {
        return Ok(());
    }
    Err(Problem::unauthenticated("Invalid token"))
}

fn bearer(asked: &Asked) -> Result<&str, Problem> {
    let value = asked
        .header("authorization")
        .ok_or_else(|| Problem::unauthenticated("Authorization header is missing."))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            Ok(token)
        }
        Some((scheme, _)) if !scheme.eq_ignore_ascii_case("bearer") => {
            Err(Problem::unauthenticated("Unknown Authorization header scheme."))
        }
        Some(_) | None => {
            Err(Problem::unauthenticated("Missing Authorization header bearer token value."))
        }
    }
}

fn read_grant(asked: &Asked) -> Option<Grant> {
    let mut grant = Grant::default();
    for (name, value) in read_members(asked)? {
        match name.as_str() {
            "grant_type" => grant.kind = Some(value),
            "client_id" => grant.key = Some(value),
            "client_secret" => grant.secret = Some(value),
            "scope" => grant.scope = Some(value),
            _ => {}
        }
    }
    Some(grant)
}

/// The members of a form or of a flat JSON object; `None` for another media type.
fn read_members(asked: &Asked) -> Option<Vec<(String, String)>> {
    let media_type = asked.header("content-type")?;
    if media_type.starts_with("application/json") {
        let value: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&asked.body).unwrap_or_default();
        let members = value.into_iter();
        return Some(
            members.filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect(),
        );
    }
    if media_type.starts_with("application/x-www-form-urlencoded") {
        return Some(url::form_urlencoded::parse(&asked.body).into_owned().collect());
    }
    None
}

fn basic(encoded: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (key, secret) = text.split_once(':')?;
    Some((key.to_owned(), secret.to_owned()))
}

/// Refusals of this endpoint have the shape of OAuth, not of the API.
fn refused(status: u16, error: &str) -> Reply {
    Reply::json(status, format!("{{\"error\":\"{error}\"}}"))
}
