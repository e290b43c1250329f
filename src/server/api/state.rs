//! The state as a whole: taken out, brought in, renamed, forgotten. Natural keys are in it.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::given::{Asked, Asker, Lines, Named, PairNamed, Told};
use crate::desk::orders::{Changed, Counted, ForgetOrder, MoveOrder};
use crate::server::problem::Problem;

const LINES: &str = "application/x-ndjson";

/// Everything that is remembered, as lines of JSON. Keep it private
#[utoipa::path(get, path = "/state", responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub(super) async fn export_state(asker: Asker) -> Result<Response, Problem> {
    let text = asker.desk.export(&asker.by).await?;
    Ok(([(header::CONTENT_TYPE, LINES)], text).into_response())
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ImportAsked {
    /// Pairs that have state already get this one in its place.
    replace: bool,
}

/// An export, or lines of watermarks, is taken over
#[utoipa::path(
    post, path = "/state", params(ImportAsked),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = Changed))
)]
pub(super) async fn import_state(
    asker: Asker,
    Asked(asked): Asked<ImportAsked>,
    Lines(text): Lines,
) -> Result<Json<Changed>, Problem> {
    let pairs = asker.desk.import(&asker.by, &text, asked.replace).await?;
    Ok(Json(Changed { pairs }))
}

/// The state of a publication goes to the one that it is called now
#[utoipa::path(post, path = "/state/move", request_body = MoveOrder, responses((status = 200, body = Changed)))]
pub(super) async fn move_state(
    asker: Asker,
    Told(order): Told<MoveOrder>,
) -> Result<Json<Changed>, Problem> {
    let pairs = asker.desk.move_state(&asker.by, &order.old, &order.new).await?;
    Ok(Json(Changed { pairs }))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ForgetAsked {
    /// Why, for whoever asks later; for a pair that the configuration names.
    because: Option<String>,
}

/// Everything that is known of a pair is removed
#[utoipa::path(delete, path = "/state/{publication}/{target}", params(PairNamed, ForgetAsked), responses((status = 204)))]
pub(super) async fn forget_state(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    Asked(asked): Asked<ForgetAsked>,
) -> Result<StatusCode, Problem> {
    asker.desk.forget_state(&asker.by, &pair.id(), asked.because.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A natural key is erased from all that is remembered, or only counted
///
/// So is every key that contains it; what waits under one is given up.
#[utoipa::path(post, path = "/forget", request_body = ForgetOrder, responses((status = 200, body = Counted)))]
pub(super) async fn forget_key(
    asker: Asker,
    Told(order): Told<ForgetOrder>,
) -> Result<Json<Counted>, Problem> {
    let key = order.erased()?;
    let count = match order.dry_run {
        true => asker.desk.records_with(&asker.by, &key).await?,
        false => asker.desk.forget_key(&asker.by, &key, order.reason.as_deref()).await?,
    };
    Ok(Json(Counted { count }))
}
