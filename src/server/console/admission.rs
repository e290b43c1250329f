//! What stands before every page: from where it is asked, by whom, and whether a form is one of ours.
//!
//! The one thing to know: a page of another site can make a browser ask this address. It may lead
//! somebody here, which shows them a page of ours and nothing to the other site; it may not ask for
//! parts of pages, nor send forms. A form carries what only a page of the same session could know.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::forms::Form;
use super::frame::{self, Refusal};
use crate::clock::Timestamp;
use crate::desk::{Caller, Desk, DeskError, Role};
use crate::server::{Reception, gate};

/// Nothing but what this binary serves, from the origin that it serves it at.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";

const LONGEST_FORM: usize = 1 << 20;

/// Who looks at a page.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) by: Caller,
    /// What forms of this page carry.
    pub(super) csrf: String,
    /// Typed a token; otherwise they are on this machine.
    pub(super) has_session: bool,
}

/// A page that is asked for: by whom, who answers, and when that is.
pub(super) struct Visit {
    pub(super) visitor: Visitor,
    pub(super) desk: Arc<dyn Desk>,
    pub(super) reception: Arc<Reception>,
    pub(super) now: Timestamp,
    pub(super) uri: Uri,
    /// The script brings a page up to date that is shown already.
    pub(super) is_refresh: bool,
}

impl Visit {
    pub(super) fn by(&self) -> &Caller {
        &self.visitor.by
    }

    pub(super) fn may(&self, role: Role) -> bool {
        self.visitor.by.role >= role
    }
}

impl FromRequestParts<Arc<Reception>> for Visit {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut Parts,
        reception: &Arc<Reception>,
    ) -> Result<Visit, Refusal> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.expect("whoever is admitted is known");
        let desk = reception.answers.desk().ok_or_else(|| {
            let missing = reception.answers.missing().unwrap_or_default();
            Refusal::from(DeskError::NotNow(format!("not ready: {missing}")))
        })?;
        let (now, uri) = (reception.clock.now(), parts.uri.clone());
        let is_refresh = parts.headers.contains_key("x-refresh");
        Ok(Visit { visitor, desk, reception: Arc::clone(reception), now, uri, is_refresh })
    }
}

/// Headers that every answer of the console has, and nobody who was led here to do something.
pub(super) async fn guard(
    State(reception): State<Arc<Reception>>,
    request: Request,
    next: Next,
) -> Response {
    let led_here = gate::led_here(request.headers(), reception.is_loopback);
    let mut answer = match led_here {
        Some(_) if is_followed_link(&request) => frame::stepping_stone(request.uri()),
        Some(why) => Refusal::new(StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let headers = answer.headers_mut();
    let mut say = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    say(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY);
    say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    say(header::X_FRAME_OPTIONS, "DENY");
    // With `no-referrer` a browser would hide the origin of our own forms.
    say(header::REFERRER_POLICY, "same-origin");
    say(header::CACHE_CONTROL, "no-store");
    say(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    answer
}

/// Somebody clicked on an address in another page: it is asked for by the name of this place.
fn is_followed_link(request: &Request) -> bool {
    let says = |name: &str, value| request.headers().get(name).is_some_and(|said| said == value);
    request.method() == Method::GET
        && says("sec-fetch-site", "cross-site")
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
        && !request.headers().contains_key(header::ORIGIN)
}

/// Lets in whoever has a session, and whoever is on this machine; shows everybody else the door.
pub(super) async fn admit(
    State(reception): State<Arc<Reception>>,
    mut request: Request,
    next: Next,
) -> Response {
    match visitor(&reception, request.headers()) {
        Some(visitor) => {
            request.extensions_mut().insert(visitor.by.clone());
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        None if request.method() == Method::GET => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("next", &request.uri().to_string());
            Redirect::to(&format!("/login?{}", form.finish())).into_response()
        }
        None => Refusal::new(
            StatusCode::UNAUTHORIZED,
            "your session has ended: log in, and give the order again",
        )
        .into_response(),
    }
}

pub(super) fn visitor(reception: &Reception, headers: &HeaderMap) -> Option<Visitor> {
    let session = session_id(reception, headers).and_then(|id| reception.sessions.find(id));
    if let Some(session) = session
        && let Some(by) = reception.callers.by_hash(&session.token)
    {
        return Some(Visitor { by, csrf: session.csrf, has_session: true });
    }
    let by = reception.callers.on_this_machine()?;
    let csrf = reception.sessions.without_session.clone();
    Some(Visitor { by, csrf, has_session: false })
}

/// Browsers send cookies to every port of a machine, so each port has one of its own.
pub(super) fn cookie_name(reception: &Reception) -> String {
    format!("tidemark-{}", reception.port)
}

pub(super) fn session_id<'h>(reception: &Reception, headers: &'h HeaderMap) -> Option<&'h str> {
    let name = cookie_name(reception);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

pub(super) async fn allow(role: Role, request: Request, next: Next) -> Response {
    let visitor = request.extensions().get::<Visitor>();
    match visitor.is_some_and(|visitor| visitor.by.role >= role) {
        true => next.run(request).await,
        false => Refusal::from(DeskError::Forbidden { needed: role }).into_response(),
    }
}

/// Reads a form, and takes none that is not of this session.
pub(super) async fn take_form(
    State(reception): State<Arc<Reception>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_form = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded")
    });
    let body = match to_bytes(body, LONGEST_FORM).await {
        Ok(body) if is_form => body,
        Ok(_) => return Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, NO_FORM).into_response(),
        Err(_) => return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG).into_response(),
    };
    let form = Form::parse(&body);
    let visitor = parts.extensions.get::<Visitor>();
    let expected = visitor.map_or(&reception.sessions.without_session, |visitor| &visitor.csrf);
    if !is_same(form.text("csrf").unwrap_or_default(), expected) {
        return Refusal::new(StatusCode::FORBIDDEN, STRANGE_FORM).into_response();
    }
    parts.extensions.insert(form);
    next.run(Request::from_parts(parts, Body::empty())).await
}

const NO_FORM: &str = "send it as a form";
const TOO_LONG: &str = "the form is too long: choose fewer items at once, or all that match";
const STRANGE_FORM: &str =
    "this form is not of this session, so nothing was done: open the page again, and repeat it";

fn is_same(said: &str, expected: &str) -> bool {
    let hash = |text: &str| Sha256::digest(text.as_bytes());
    bool::from(hash(said).as_slice().ct_eq(hash(expected).as_slice()))
}
