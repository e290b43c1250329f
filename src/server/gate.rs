//! What stands before every route of the admin API: who asks, from where, and for how long.
//!
//! The one thing to know: a page of another site can make a browser ask this address, also on
//! loopback, where no token is needed. So it is not answered under another name than its own (DNS
//! rebinding), nor when another origin asks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Reception;
use super::problem::Problem;

/// Lets callers in, and leaves word of who they are for the routes.
pub(super) async fn admit(
    State(reception): State<Arc<Reception>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(detail) = led_here(request.headers(), reception.is_loopback) {
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    match reception.callers.of(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let mut answer = next.run(request).await;
            // What is answered may hold keys, and is another answer a moment later.
            let headers = answer.headers_mut();
            headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
            answer
        }
        Err(refusal) => *refusal,
    }
}

/// Why a request is not answered that another page may have made a browser send.
pub(super) fn led_here(headers: &HeaderMap, is_loopback: bool) -> Option<&'static str> {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let host = text(header::HOST);
    if is_loopback && host.is_some_and(|host| !is_loopback_name(host)) {
        return Some("ask for this address by its number or as localhost");
    }
    let is_foreign = match text(header::ORIGIN) {
        // `null` is what a browser says that hides where a page came from.
        Some(origin) => origin.split_once("://").map(|(_, authority)| authority) != host,
        None => false,
    };
    let is_cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    (is_foreign || is_cross_site).then_some("a page of another origin may not ask this")
}

pub(super) fn is_loopback_name(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let name = name.map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
