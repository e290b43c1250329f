//! What a request gives its route: who asks, the desk, parameters and bodies. What cannot be taken is
//! a problem that names the member, and never repeats its value.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::clock::Timestamp;
use crate::desk::orders::parse_label;
use crate::desk::{Caller, Desk, DeskError, Part, Selectors};
use crate::server::Reception;
use crate::server::problem::Problem;
use crate::state::PairId;

/// Who asks, and who answers.
pub(in crate::server) struct Asker {
    pub(super) by: Caller,
    pub(super) desk: Arc<dyn Desk>,
}

impl FromRequestParts<Arc<Reception>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        reception: &Arc<Reception>,
    ) -> Result<Asker, Problem> {
        let by = parts.extensions.get::<Caller>().cloned();
        let by = by.expect("the gate leaves word of who asks with every request");
        let desk = reception.answers.desk().ok_or_else(|| {
            let missing = reception.answers.missing().unwrap_or_default();
            Problem::from(DeskError::NotNow(format!("not ready: {missing}")))
        })?;
        Ok(Asker { by, desk })
    }
}

/// The parameters of the query.
pub(in crate::server) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Reception>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Reception>,
    ) -> Result<Asked<T>, Problem> {
        // Unknown names and numbers that are none: every other value is text here.
        let query = Query::<T>::try_from_uri(&parts.uri);
        let Query(asked) = query.map_err(|_| {
            Problem::bad_request(
                "the query has a parameter that this route does not take, or a number that is \
                 none: see `/api/v1/openapi.json`",
            )
        })?;
        Ok(Asked(asked))
    }
}

/// Parts of the path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Reception>> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        reception: &Arc<Reception>,
    ) -> Result<Named<T>, Problem> {
        match Path::<T>::from_request_parts(parts, reception).await {
            Ok(Path(named)) => Ok(Named(named)),
            Err(_) => Err(Problem::bad_request("the path is no text")),
        }
    }
}

/// A body in JSON; without one, what an empty object says.
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Reception>> for Told<T> {
    type Rejection = Problem;

    async fn from_request(
        request: Request,
        reception: &Arc<Reception>,
    ) -> Result<Told<T>, Problem> {
        let is_json = is_of(request.headers(), &["application/json"]);
        let body = body(request, reception).await?;
        if !body.is_empty() && !is_json {
            return Err(unsupported("application/json"));
        }
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let mut json = serde_json::Deserializer::from_slice(body);
        let told = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            unreadable(&path, &error.into_inner())
        })?;
        json.end().map_err(|error| unreadable(".", &error))?;
        Ok(Told(told))
    }
}

/// A body of lines.
pub(super) struct Lines(pub(super) String);

impl FromRequest<Arc<Reception>> for Lines {
    type Rejection = Problem;

    async fn from_request(request: Request, reception: &Arc<Reception>) -> Result<Lines, Problem> {
        const FORMS: [&str; 2] = ["application/x-ndjson", "text/plain"];
        let is_text = is_of(request.headers(), &FORMS);
        let body = body(request, reception).await?;
        if !is_text {
            return Err(unsupported(FORMS[0]));
        }
        match String::from_utf8(body.into()) {
            Ok(text) => Ok(Lines(text)),
            Err(_) => Err(Problem::bad_request("the body is not UTF-8 text")),
        }
    }
}

/// It was collected and bounded before.
async fn body(request: Request, reception: &Arc<Reception>) -> Result<Bytes, Problem> {
    let body = Bytes::from_request(request, reception).await;
    body.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body cannot be read"))
}

fn is_of(headers: &HeaderMap, forms: &[&str]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| forms.iter().any(|form| kind.eq_ignore_ascii_case(form)))
}

fn unsupported(form: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("send the body as `{form}`"))
}

/// Serde repeats values that do not fit, but names members that are too many or too few.
fn unreadable(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let names = ["unknown field", "missing field", "unknown variant"];
    let what = match names.iter().find(|name| text.starts_with(**name)) {
        Some(&"unknown field") => "it has a member that this route does not take",
        Some(&"missing field") => "it lacks a member",
        Some(_) => "it has a word that this route does not know",
        None => "it is no JSON of this form",
    };
    let (line, column) = (error.line(), error.column());
    Problem::bad_request(format!(
        "the body cannot be taken: {what}, at `{path}` (line {line}, column {column}); see \
         `/api/v1/openapi.json`"
    ))
}

/// The pair that a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PairNamed {
    publication: String,
    target: String,
}

impl PairNamed {
    pub(super) fn id(self) -> PairId {
        PairId { publication: self.publication, target: self.target }
    }
}

/// Lists are separated by commas.
pub(super) fn selectors(
    publication: Option<&str>,
    label: Option<&str>,
    connection: Option<String>,
    target: Option<String>,
) -> Result<Selectors, Problem> {
    let listed = |list: Option<&str>| -> Vec<String> {
        let parts = list.into_iter().flat_map(|list| list.split(','));
        parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let labels = listed(label).iter().map(|label| parse_label(label)).collect::<Result<_, _>>()?;
    Ok(Selectors { publications: listed(publication), labels, connection, target })
}

pub(super) fn part(limit: Option<usize>, after: Option<String>) -> Result<Part, Problem> {
    let limit = limit.unwrap_or(Part::USUAL);
    if !(1..=Part::LONGEST).contains(&limit) {
        let detail = format!("`limit` is 1 to {}", Part::LONGEST);
        return Err(Problem::bad_request(detail));
    }
    Ok(Part { after, limit })
}

/// A moment as RFC 3339 writes it.
pub(super) fn moment(name: &str, text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request(format!("`{name}` is a moment such as 2026-01-31T10:00:00Z"))
    })
}
