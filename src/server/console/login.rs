//! The door: a token is typed once and becomes a cookie.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::admission::{cookie_name, session_id};
use super::forms::Form;
use super::frame;
use super::sessions::LASTS;
use crate::server::Reception;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Where to go afterwards.
    next: String,
}

pub(super) async fn show(
    State(reception): State<Arc<Reception>>,
    Query(asked): Query<Asked>,
) -> Response {
    page(&reception, &asked.next, None).into_response()
}

pub(super) async fn log_in(
    State(reception): State<Arc<Reception>>,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let next = form.text("next").unwrap_or("/");
    let token: [u8; 32] = Sha256::digest(form.text("token").unwrap_or_default()).into();
    if reception.callers.by_hash(&token).is_none() {
        let wrong = "This token is not known. Tokens are named in the configuration, under \
                     server.tokens and server.admin_token.";
        return (StatusCode::UNAUTHORIZED, page(&reception, next, Some(wrong))).into_response();
    }
    if let Some(before) = session_id(&reception, &headers) {
        reception.sessions.end(before);
    }
    let id = reception.sessions.begin(token);
    let cookie = cookie(&reception, &id, LASTS.as_secs());
    ([(header::SET_COOKIE, cookie)], Redirect::to(local(next))).into_response()
}

pub(super) async fn log_out(
    State(reception): State<Arc<Reception>>,
    headers: HeaderMap,
) -> Response {
    if let Some(id) = session_id(&reception, &headers) {
        reception.sessions.end(id);
    }
    ([(header::SET_COOKIE, cookie(&reception, "", 0))], Redirect::to("/login")).into_response()
}

fn cookie(reception: &Reception, id: &str, lasts: u64) -> String {
    let secure = if reception.is_tls { "; Secure" } else { "" };
    let name = cookie_name(reception);
    format!("{name}={id}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}")
}

/// An address of this console; anything else could lead away from it.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.starts_with("/\\");
    if is_path && next.chars().all(|c| c.is_ascii_graphic()) { next } else { "/" }
}

fn page(reception: &Reception, next: &str, wrong: Option<&str>) -> Html<String> {
    let csrf = &reception.sessions.without_session;
    frame::bare(
        "Log in",
        &html! {
            h1 { "Log in" }
            @if let Some(wrong) = wrong { p.alert role="alert" { (wrong) } }
            form.door method="post" action="/login" {
                input type="hidden" name="csrf" value=(csrf);
                input type="hidden" name="next" value=(local(next));
                // Password managers fill in a name as well.
                label for="token" { "Token" }
                input #token type="password" name="token" required autofocus
                    autocomplete="current-password" spellcheck="false";
                button.primary type="submit" { "Log in" }
            }
            p.quiet {
                "The token is not kept: your browser gets a random cookie that ends with this \
                 session, after twelve hours, or when the daemon ends."
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away_after_the_door() {
        for (next, expected) in [
            ("/parked?reason=invalid", "/parked?reason=invalid"),
            ("/", "/"),
            ("//elsewhere.example", "/"),
            ("/\\elsewhere.example", "/"),
            ("https://elsewhere.example", "/"),
            ("javascript:alert(1)", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("", "/"),
        ] {
            assert_eq!(local(next), expected, "{next}");
        }
    }
}
