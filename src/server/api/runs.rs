//! Runs: started, shown, cancelled; and who did what.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::given::{Asked, Asker, Named, Told, moment, part, selectors};
use crate::desk::orders::RunOrder;
use crate::desk::{AuditEntry, Page, RunShown, Started};
use crate::server::problem::Problem;

/// Runs of a publication begin now
#[utoipa::path(
    post, path = "/publications/{publication}/runs", params(("publication" = String, Path)),
    request_body = RunOrder, responses((status = 202, body = Started))
)]
pub(super) async fn start_runs(
    asker: Asker,
    Named(publication): Named<String>,
    Told(order): Told<RunOrder>,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let RunOrder { targets, allow_deletes } = order;
    let started = asker.desk.start(&asker.by, &publication, &targets, allow_deletes).await?;
    match started.runs.is_empty() && started.waiting.is_empty() {
        true => Err(Problem::none_started(started)),
        false => Ok((StatusCode::ACCEPTED, Json(started))),
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RunsAsked {
    /// Names or globs of publications, separated by commas.
    publication: Option<String>,
    /// Labels that they have, `key=value[,…]`.
    label: Option<String>,
    /// The source or a target.
    connection: Option<String>,
    target: Option<String>,
    /// 1 to 1000, usually 100.
    limit: Option<usize>,
    /// The `next` of the part before.
    after: Option<String>,
}

/// Runs that ended and those under way, newest first
#[utoipa::path(get, path = "/runs", params(RunsAsked), responses((status = 200, body = Page<RunShown>)))]
pub(super) async fn list_runs(
    asker: Asker,
    Asked(asked): Asked<RunsAsked>,
) -> Result<Json<Page<RunShown>>, Problem> {
    let RunsAsked { publication, label, connection, target, limit, after } = asked;
    let which = selectors(publication.as_deref(), label.as_deref(), connection, target)?;
    Ok(Json(asker.desk.runs(&asker.by, &which, &part(limit, after)?).await?))
}

/// One run, by its id or as much of it as only one begins with
#[utoipa::path(get, path = "/runs/{id}", params(("id" = String, Path)), responses((status = 200, body = RunShown)))]
pub(super) async fn show_run(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<Json<RunShown>, Problem> {
    Ok(Json(asker.desk.run(&asker.by, &id).await?))
}

/// A run saves its progress and ends
#[utoipa::path(post, path = "/runs/{id}/cancel", params(("id" = String, Path)), responses((status = 202, body = RunShown)))]
pub(super) async fn cancel_run(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<(StatusCode, Json<RunShown>), Problem> {
    asker.desk.cancel(&asker.by, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(asker.desk.run(&asker.by, &id).await?)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditAsked {
    /// Nothing from before this moment.
    since: Option<String>,
    /// 1 to 1000, usually 100.
    limit: Option<usize>,
    /// The `next` of the part before.
    after: Option<String>,
}

/// Who did what, when and why, newest first
#[utoipa::path(get, path = "/audit", params(AuditAsked), responses((status = 200, body = Page<AuditEntry>)))]
pub(super) async fn list_audit(
    asker: Asker,
    Asked(asked): Asked<AuditAsked>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let AuditAsked { since, limit, after } = asked;
    let since = since.map(|since| moment("since", &since)).transpose()?;
    Ok(Json(asker.desk.audit(&asker.by, since, &part(limit, after)?).await?))
}
