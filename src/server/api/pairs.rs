//! Pairs: how they are, and what is ordered of one.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::given::{Asked, Asker, Named, PairNamed, Told, part, selectors};
use crate::desk::orders::{ApproveOrder, Decision, PauseOrder, WatermarkOrder, WouldDecide};
use crate::desk::{Decided, DeskError, PairCondition, PairStatus, Part, Report, StatusReport};
use crate::domain::ChangeVersion;
use crate::server::problem::Problem;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PairsAsked {
    /// Names or globs of publications, separated by commas.
    publication: Option<String>,
    /// Labels that they have, `key=value[,…]`.
    label: Option<String>,
    /// A state, such as `failing`; several separated by commas.
    state: Option<String>,
    /// The source or a target.
    connection: Option<String>,
    target: Option<String>,
    /// 1 to 1000; without it, all of them up to 1000.
    limit: Option<usize>,
    /// The `next` of the part before.
    after: Option<String>,
}

/// Pairs, configured and orphaned, in order of name
#[utoipa::path(get, path = "/pairs", params(PairsAsked), responses((status = 200, body = StatusReport)))]
pub(super) async fn list_pairs(
    asker: Asker,
    Asked(asked): Asked<PairsAsked>,
) -> Result<Json<StatusReport>, Problem> {
    let PairsAsked { publication, label, state, connection, target, limit, after } = asked;
    let which = selectors(publication.as_deref(), label.as_deref(), connection, target)?;
    let part = part(Some(limit.unwrap_or(Part::LONGEST)), after)?;
    let wanted = state.as_deref().map(conditions).transpose()?;
    let mut pairs = asker.desk.pairs(&asker.by, &which).await?;
    pairs.retain(|pair| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&pair.state.as_str()))
            && part.after.as_ref().is_none_or(|after| place(pair) > *after)
    });
    let is_last = pairs.len() <= part.limit;
    pairs.truncate(part.limit);
    let next = pairs.last().filter(|_| !is_last).map(place);
    Ok(Json(StatusReport { pairs, next }))
}

/// Sorts as pairs do: `!` is before everything that a name may have.
fn place(pair: &PairStatus) -> String {
    format!("{}!{}", pair.publication, pair.target)
}

fn conditions(list: &str) -> Result<Vec<&'static str>, Problem> {
    let known = PairCondition::WORDS;
    let words = list.split(',').map(|asked| {
        known
            .into_iter()
            .find(|word| *word == asked.trim())
            .ok_or_else(|| Problem::bad_request(format!("`state` is one of {}", known.join(", "))))
    });
    words.collect()
}

/// One pair
///
/// Its `ETag` is the watermark, for `If-Match` when that is moved.
#[utoipa::path(get, path = "/pairs/{publication}/{target}", params(PairNamed), responses((status = 200, body = PairStatus)))]
pub(super) async fn show_pair(
    asker: Asker,
    Named(pair): Named<PairNamed>,
) -> Result<Response, Problem> {
    Ok(tagged(asker.desk.pair(&asker.by, &pair.id()).await?))
}

fn tagged(pair: PairStatus) -> Response {
    ([(header::ETAG, tag(pair.watermark))], Json(pair)).into_response()
}

fn tag(watermark: Option<ChangeVersion>) -> String {
    match watermark {
        Some(version) => format!("\"{version}\""),
        None => "\"none\"".to_owned(),
    }
}

/// No run begins until it is resumed
#[utoipa::path(
    post, path = "/pairs/{publication}/{target}/pause", params(PairNamed),
    request_body = PauseOrder, responses((status = 200, body = PairStatus))
)]
pub(super) async fn pause_pair(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    Told(order): Told<PauseOrder>,
) -> Result<Json<PairStatus>, Problem> {
    let PauseOrder { until, reason } = order;
    Ok(Json(asker.desk.pause(&asker.by, &pair.id(), until, reason.as_deref()).await?))
}

/// Runs begin again
#[utoipa::path(post, path = "/pairs/{publication}/{target}/resume", params(PairNamed), responses((status = 200, body = PairStatus)))]
pub(super) async fn resume_pair(
    asker: Asker,
    Named(pair): Named<PairNamed>,
) -> Result<Json<PairStatus>, Problem> {
    Ok(Json(asker.desk.resume(&asker.by, &pair.id()).await?))
}

/// A decision about a pair that is blocked
#[utoipa::path(
    post, path = "/pairs/{publication}/{target}/approve", params(PairNamed),
    request_body = ApproveOrder, responses((status = 200, body = Decided))
)]
pub(super) async fn approve_pair(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    Told(order): Told<ApproveOrder>,
) -> Result<Json<Decided>, Problem> {
    let approval = order.approval()?;
    Ok(Json(asker.desk.approve(&asker.by, &pair.id(), &approval, &order.reason).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalAsked {
    decision: Decision,
    /// Of deletes: only if it was this resource.
    resource: Option<String>,
}

/// What an approval would change; nothing is changed
#[utoipa::path(
    get, path = "/pairs/{publication}/{target}/approve", params(PairNamed, ApprovalAsked),
    responses((status = 200, body = WouldDecide))
)]
pub(super) async fn would_approve(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    Asked(asked): Asked<ApprovalAsked>,
) -> Result<Json<WouldDecide>, Problem> {
    let ApprovalAsked { decision, resource } = asked;
    let order = ApproveOrder { decision, resource, reason: String::new() };
    let decided = asker.desk.would_approve(&asker.by, &pair.id(), &order.approval()?).await?;
    Ok(Json(WouldDecide { decided }))
}

/// The watermark goes elsewhere
///
/// `If-Match` holds the `ETag` of the pair as it was looked at, or `*` for wherever it stands.
#[utoipa::path(
    put, path = "/pairs/{publication}/{target}/watermark",
    params(PairNamed, ("If-Match" = String, Header, description = "`\"230\"`, `\"none\"` or `*`")),
    request_body = WatermarkOrder, responses((status = 200, body = PairStatus))
)]
pub(super) async fn move_watermark(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    headers: HeaderMap,
    Told(order): Told<WatermarkOrder>,
) -> Result<Response, Problem> {
    let id = pair.id();
    let to = order.moved()?;
    let stands_at = if_match(&headers)?;
    let moved = asker.desk.move_watermark(&asker.by, &id, to, stands_at, &order.reason).await;
    match moved {
        Ok(pair) => Ok(tagged(pair)),
        Err(DeskError::Conflict(detail)) => {
            let now = asker.desk.pair(&asker.by, &id).await?.watermark;
            let has_moved = stands_at.is_some_and(|stood_at| stood_at != now);
            let status =
                if has_moved { StatusCode::PRECONDITION_FAILED } else { StatusCode::CONFLICT };
            Err(Problem::new(status, detail))
        }
        Err(
            error @ (DeskError::NotThere(_)
            | DeskError::Refused(_)
            | DeskError::Forbidden { .. }
            | DeskError::NotNow(_)
            | DeskError::Failed(_)
            | DeskError::State(_)),
        ) => Err(error.into()),
    }
}

/// Where the watermark is taken to stand; `None` is wherever.
fn if_match(headers: &HeaderMap) -> Result<Option<Option<ChangeVersion>>, Problem> {
    let Some(tag) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "say what the watermark is to be moved from: `If-Match` with the `ETag` of the pair, or \
             `*`",
        ));
    };
    let tag = tag.to_str().unwrap_or_default().trim();
    let quoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    match (tag, quoted) {
        ("*", _) => Ok(None),
        (_, Some("none")) => Ok(Some(None)),
        (_, Some(version)) => match version.parse() {
            Ok(version) => Ok(Some(Some(ChangeVersion(version)))),
            Err(_) => Err(no_tag()),
        },
        (_, None) => Err(no_tag()),
    }
}

fn no_tag() -> Problem {
    Problem::bad_request("`If-Match` is the `ETag` of a pair, such as `\"230\"`, or `*`")
}

/// How complete a pair is, for the one who owns the data
#[utoipa::path(get, path = "/report/{publication}/{target}", params(PairNamed), responses((status = 200, body = Report)))]
pub(super) async fn show_report(
    asker: Asker,
    Named(pair): Named<PairNamed>,
) -> Result<Json<Report>, Problem> {
    Ok(Json(asker.desk.report(&asker.by, &pair.id()).await?))
}
