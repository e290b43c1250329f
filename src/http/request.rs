//! What is asked and what came back, as bytes: nothing here knows what a body means.

use std::fmt;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

/// One request, which may be sent more than once: every write of this program is idempotent.
#[derive(Clone)]
pub struct ApiRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    /// A few, each of another name; a map is made of them when they are sent.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Bytes>,
    pub(super) anonymous: bool,
    pub(super) max_body_bytes: Option<usize>,
    pub(super) divisible: bool,
    pub(super) any_status: bool,
    /// What cannot be sent, found while building; `send` tells it.
    pub(super) flaw: Option<&'static str>,
}

impl ApiRequest {
    /// A request with the connection's token that accepts JSON unless told otherwise.
    pub fn new(method: Method, url: Url) -> ApiRequest {
        let mut headers = Vec::with_capacity(3);
        headers.push((ACCEPT, HeaderValue::from_static("application/json")));
        ApiRequest {
            method,
            url,
            headers,
            body: None,
            anonymous: false,
            max_body_bytes: None,
            divisible: false,
            any_status: false,
            flaw: None,
        }
    }

    pub fn get(url: Url) -> ApiRequest {
        ApiRequest::new(Method::GET, url)
    }

    pub fn post(url: Url) -> ApiRequest {
        ApiRequest::new(Method::POST, url)
    }

    pub fn put(url: Url) -> ApiRequest {
        ApiRequest::new(Method::PUT, url)
    }

    pub fn delete(url: Url) -> ApiRequest {
        ApiRequest::new(Method::DELETE, url)
    }

    /// Sent without a token: root documents, for one.
    pub fn anonymous(mut self) -> ApiRequest {
        self.anonymous = true;
        self
    }

    /// Sets a header in place of an earlier one of this name. The name is in lower case.
    pub fn header(mut self, name: &'static str, value: &str) -> ApiRequest {
        match HeaderValue::from_str(value) {
            Ok(value) => self.set(HeaderName::from_static(name), value),
            Err(_) => self.flaw = Some("a header's value holds characters that no header may hold"),
        }
        self
    }

    /// Accepts this media type in place of JSON.
    pub fn accept(self, media_type: &str) -> ApiRequest {
        self.header("accept", media_type)
    }

    /// A body that is JSON already.
    pub fn json(mut self, body: Bytes) -> ApiRequest {
        self.set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(body);
        self
    }

    /// A body of lines, each of them JSON.
    pub fn lines(mut self, body: Bytes) -> ApiRequest {
        self.set(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        self.body = Some(body);
        self
    }

    /// A body in protobuf.
    pub fn protobuf(mut self, body: Bytes) -> ApiRequest {
        self.set(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        self.body = Some(body);
        self
    }

    /// A form, `name=value` pairs already escaped.
    pub fn form(mut self, body: String) -> ApiRequest {
        self.set(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self.body = Some(Bytes::from(body));
        self
    }

    /// How many bytes the answer may have, decompressed, in place of the client's own limit.
    pub fn max_body_bytes(mut self, limit: usize) -> ApiRequest {
        self.max_body_bytes = Some(limit);
        self
    }

    /// Whoever asks can ask for less: an answer that does not come in time is not waited for
    /// again, but told at once.
    pub fn divisible(mut self) -> ApiRequest {
        self.divisible = true;
        self
    }

    /// Every status is the caller's to interpret: the answer of a server says why in its body.
    pub fn any_status(mut self) -> ApiRequest {
        self.any_status = true;
        self
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        match self.headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = value,
            None => self.headers.push((name, value)),
        }
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn traffic(&self) -> Traffic {
        if self.method.is_safe() { Traffic::Read } else { Traffic::Write }
    }
}

impl fmt::Debug for ApiRequest {
    /// Without query, headers and body: they hold keys, tokens and people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, super::error::bare_address(&self.url))
    }
}

/// Reads and writes take different times, so their latencies are not compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    Read,
    Write,
}

/// A whole answer: its body was received to the end.
#[derive(Clone)]
pub struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What the server showed, where it spoke TLS.
    pub(super) certificate: Option<Vec<u8>>,
}

impl ApiResponse {
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A header's value, where it is there and is text. Names match in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn into_body(self) -> Bytes {
        self.body
    }
}

impl fmt::Debug for ApiResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}
