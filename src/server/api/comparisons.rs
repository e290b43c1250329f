//! Both ends asked: what a run would do, what connections can do, and whether the ends are equal.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::given::{Asked, Asker, Named, PairNamed, Told, selectors};
use crate::desk::orders::{CompareOrder, RepairOrder};
use crate::desk::{Checks, ComparisonShown, PlanShown, VerificationShown};
use crate::server::problem::Problem;

/// What a run would do; nothing is written
#[utoipa::path(get, path = "/plan/{publication}/{target}", params(PairNamed), responses((status = 200, body = PlanShown)))]
pub(super) async fn show_plan(
    asker: Asker,
    Named(pair): Named<PairNamed>,
) -> Result<Json<PlanShown>, Problem> {
    Ok(Json(asker.desk.plan(&asker.by, &pair.id()).await?))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChecksAsked {
    /// Names or globs of publications, separated by commas.
    publication: Option<String>,
    /// Labels that they have, `key=value[,…]`.
    label: Option<String>,
    /// The source or a target.
    connection: Option<String>,
    target: Option<String>,
}

/// What connections can do, what their credentials may do, and what targets lack
///
/// Every one of them is asked.
#[utoipa::path(get, path = "/checks", params(ChecksAsked), responses((status = 200, body = Checks)))]
pub(super) async fn check_connections(
    asker: Asker,
    Asked(asked): Asked<ChecksAsked>,
) -> Result<Json<Checks>, Problem> {
    let ChecksAsked { publication, label, connection, target } = asked;
    let which = selectors(publication.as_deref(), label.as_deref(), connection, target)?;
    Ok(Json(asker.desk.check(&asker.by, &which).await?))
}

/// The last comparison of source and target
#[utoipa::path(get, path = "/verify/{publication}/{target}", params(PairNamed), responses((status = 200, body = VerificationShown)))]
pub(super) async fn show_verification(
    asker: Asker,
    Named(pair): Named<PairNamed>,
) -> Result<Json<VerificationShown>, Problem> {
    Ok(Json(asker.desk.verification(&asker.by, &pair.id()).await?))
}

/// Source and target are compared as soon as nothing holds the pair
///
/// Whoever asks the same again before it has ended gets the same comparison.
#[utoipa::path(
    post, path = "/verify/{publication}/{target}", params(PairNamed),
    request_body = CompareOrder, responses((status = 202, body = ComparisonShown))
)]
pub(super) async fn compare_pair(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    Told(order): Told<CompareOrder>,
) -> Result<(StatusCode, Json<ComparisonShown>), Problem> {
    let begun = asker.desk.compare(&asker.by, &pair.id(), &order.comparing()).await?;
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

/// The same, and what differs is published or deleted
#[utoipa::path(
    post, path = "/verify/{publication}/{target}/repair", params(PairNamed),
    request_body = RepairOrder, responses((status = 202, body = ComparisonShown))
)]
pub(super) async fn repair_pair(
    asker: Asker,
    Named(pair): Named<PairNamed>,
    Told(order): Told<RepairOrder>,
) -> Result<(StatusCode, Json<ComparisonShown>), Problem> {
    let begun = asker.desk.compare(&asker.by, &pair.id(), &order.comparing()?).await?;
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

/// How far a comparison has come, and what it found
#[utoipa::path(get, path = "/comparisons/{id}", params(("id" = String, Path)), responses((status = 200, body = ComparisonShown)))]
pub(super) async fn show_comparison(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<Json<ComparisonShown>, Problem> {
    Ok(Json(asker.desk.comparison(&asker.by, &id).await?))
}

/// A comparison ends; the next one that asks the same goes on from there
#[utoipa::path(post, path = "/comparisons/{id}/cancel", params(("id" = String, Path)), responses((status = 202, body = ComparisonShown)))]
pub(super) async fn cancel_comparison(
    asker: Asker,
    Named(id): Named<String>,
) -> Result<(StatusCode, Json<ComparisonShown>), Problem> {
    asker.desk.cancel_comparison(&asker.by, &id).await?;
    Ok((StatusCode::ACCEPTED, Json(asker.desk.comparison(&asker.by, &id).await?)))
}
