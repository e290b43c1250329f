//! Parked and dead items: listed, shown, tried again, given up.

use axum::Json;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};
use utoipa::IntoParams;

use super::given::{Asked, Asker, Named, Told, part, selectors};
use crate::desk::orders::{Counted, ParkedOrder};
use crate::desk::{Attempted, LiveItem, Page, ParkedChoice, ParkedFilter, ParkedItem};
use crate::server::problem::Problem;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ParkedAsked {
    /// Names or globs of publications, separated by commas.
    publication: Option<String>,
    /// Labels that they have, `key=value[,…]`.
    label: Option<String>,
    /// The source or a target.
    connection: Option<String>,
    target: Option<String>,
    /// By path or by collection alone.
    resource: Option<String>,
    /// Such as `invalid`.
    reason: Option<String>,
    /// `parked` or `dead`.
    status: Option<String>,
    /// 1 to 1000, usually 100.
    limit: Option<usize>,
    /// The `next` of the part before.
    after: Option<String>,
}

/// Parked and dead items; keys are null for viewers
#[utoipa::path(get, path = "/parked", params(ParkedAsked), responses((status = 200, body = Page<ParkedItem>)))]
pub(super) async fn list_parked(
    asker: Asker,
    Asked(asked): Asked<ParkedAsked>,
) -> Result<Json<Page<ParkedItem>>, Problem> {
    let which = selectors(
        asked.publication.as_deref(),
        asked.label.as_deref(),
        asked.connection,
        asked.target,
    )?;
    let filter = ParkedFilter {
        resource: asked.resource,
        reason: asked.reason.map(|text| word("reason", &text)).transpose()?,
        status: asked.status.map(|text| word("status", &text)).transpose()?,
    };
    let part = part(asked.limit, asked.after)?;
    Ok(Json(asker.desk.parked(&asker.by, &which, &filter, &part).await?))
}

/// One of the words that the document names.
fn word<'t, T: Deserialize<'t>>(name: &str, text: &'t str) -> Result<T, Problem> {
    let reader: StrDeserializer<'t, WordError> = text.into_deserializer();
    T::deserialize(reader).map_err(|_| {
        Problem::bad_request(format!("`{name}` is none that there is: see `/api/v1/openapi.json`"))
    })
}

/// One item, by its id or as much of it as only one begins with
#[utoipa::path(get, path = "/parked/{id}", params(("id" = String, Path)), responses((status = 200, body = ParkedItem)))]
pub(super) async fn show_parked(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<Json<ParkedItem>, Problem> {
    Ok(Json(asker.desk.parked_item(&asker.by, &id).await?))
}

/// An item as both ends show it now, with its bodies; nothing is kept
#[utoipa::path(get, path = "/parked/{id}/live", params(("id" = String, Path)), responses((status = 200, body = LiveItem)))]
pub(super) async fn look_at_one(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<Json<LiveItem>, Problem> {
    Ok(Json(asker.desk.look(&asker.by, &id).await?))
}

/// One attempt of an item, now; nothing is kept of it but what the target took
#[utoipa::path(post, path = "/parked/{id}/attempt", params(("id" = String, Path)), responses((status = 200, body = Attempted)))]
pub(super) async fn try_one(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<Json<Attempted>, Problem> {
    Ok(Json(asker.desk.attempt(&asker.by, &id).await?))
}

/// An item is due now, with fresh attempts
#[utoipa::path(post, path = "/parked/{id}/retry", params(("id" = String, Path)), responses((status = 200, body = Counted)))]
pub(super) async fn retry_one(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<Json<Counted>, Problem> {
    let count = asker.desk.retry(&asker.by, &only(id)).await?;
    Ok(Json(Counted { count }))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DiscardAsked {
    /// Why, for whoever asks later.
    because: Option<String>,
}

/// An item is given up; the watermark stays
#[utoipa::path(delete, path = "/parked/{id}", params(("id" = String, Path), DiscardAsked), responses((status = 200, body = Counted)))]
pub(super) async fn discard_one(
    asker: Asker,
    Named(id): Named<String>,
    Asked(asked): Asked<DiscardAsked>,
) -> Result<Json<Counted>, Problem> {
    let count = asker.desk.discard(&asker.by, &only(id), asked.because.as_deref()).await?;
    Ok(Json(Counted { count }))
}

fn only(id: String) -> ParkedChoice {
    ParkedChoice { ids: vec![id], which: None }
}

/// Items are due now, dead ones too, with fresh attempts
#[utoipa::path(post, path = "/parked/retry", request_body = ParkedOrder, responses((status = 200, body = Counted)))]
pub(super) async fn retry_many(
    asker: Asker,
    Told(order): Told<ParkedOrder>,
) -> Result<Json<Counted>, Problem> {
    let count = asker.desk.retry(&asker.by, &order.choice()?).await?;
    Ok(Json(Counted { count }))
}

/// Items are given up; the watermark stays
#[utoipa::path(post, path = "/parked/discard", request_body = ParkedOrder, responses((status = 200, body = Counted)))]
pub(super) async fn discard_many(
    asker: Asker,
    Told(order): Told<ParkedOrder>,
) -> Result<Json<Counted>, Problem> {
    let because = order.because.as_deref();
    let count = asker.desk.discard(&asker.by, &order.choice()?, because).await?;
    Ok(Json(Counted { count }))
}
