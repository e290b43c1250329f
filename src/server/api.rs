//! The routes of the admin API: which there are, what each takes and who may (contract, "Admin API").
//!
//! What lives here: the table of routes, and the OpenAPI document, both from the handlers below. What
//! does not: what an order does (`desk/`). The one thing to know: a route is added with the role that
//! it takes, so there is none without.

mod comparisons;
pub(super) mod events;
mod given;
mod pairs;
mod parked;
mod process;
mod runs;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Info, OpenApi, OpenApiBuilder, Ref, ResponseBuilder, path,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::Reception;
use super::orders::{self, Bounds};
use super::problem::{self, Problem};
use crate::desk::{Caller, Role};

const PREFIX: &str = "/api/v1";
/// The name of the one way to say who one is.
const TOKEN: &str = "token";

/// One route of the admin API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteLine {
    /// In capitals.
    pub method: &'static str,
    /// With the names of its parameters in braces, such as `/api/v1/runs/{id}`.
    pub path: String,
    /// Who may take it: this role and those above it.
    pub role: Role,
}

/// Every route there is, in order of path.
pub fn route_table() -> Vec<RouteLine> {
    let mut table = Table::default();
    table.fill(None);
    table.lines.sort();
    table.lines
}

pub(super) fn routes(reception: &Arc<Reception>) -> Router<Arc<Reception>> {
    let mut table = Table::default();
    table.fill(Some(reception));
    let (router, document) = table.router.split_for_parts();
    router.layer(Extension(Arc::new(document)))
}

/// Nobody learns without a token that there is nothing.
pub(super) async fn not_there() -> Response {
    let detail = "there is nothing at this path in this version";
    Problem::new(StatusCode::NOT_FOUND, detail).into_response()
}

struct Table {
    router: OpenApiRouter<Arc<Reception>>,
    lines: Vec<RouteLine>,
}

impl Default for Table {
    fn default() -> Table {
        Table { router: OpenApiRouter::with_openapi(document()), lines: Vec::new() }
    }
}

impl Table {
    fn fill(&mut self, reception: Option<&Arc<Reception>>) {
        use Role::{Admin, Operator, Viewer};
        let usual = Bounds::USUAL;
        self.add(reception, Viewer, usual, routes!(openapi));
        self.add(reception, Viewer, usual, routes!(events::listen_to_events));

        self.add(reception, Viewer, usual, routes!(process::show_process));
        self.add(reception, Admin, usual, routes!(process::set_log_level));

        self.add(reception, Viewer, usual, routes!(pairs::list_pairs));
        self.add(reception, Viewer, usual, routes!(pairs::show_pair));
        self.add(reception, Operator, usual, routes!(pairs::pause_pair));
        self.add(reception, Operator, usual, routes!(pairs::resume_pair));
        self.add(reception, Admin, usual, routes!(pairs::approve_pair));
        self.add(reception, Admin, usual, routes!(pairs::move_watermark));
        self.add(reception, Viewer, usual, routes!(pairs::would_approve));
        self.add(reception, Viewer, Bounds::ENDS, routes!(pairs::show_report));

        self.add(reception, Viewer, Bounds::ENDS, routes!(comparisons::show_plan));
        self.add(reception, Viewer, Bounds::ENDS, routes!(comparisons::check_connections));
        self.add(reception, Viewer, usual, routes!(comparisons::show_verification));
        self.add(reception, Operator, Bounds::ENDS, routes!(comparisons::compare_pair));
        self.add(reception, Admin, Bounds::ENDS, routes!(comparisons::repair_pair));
        self.add(reception, Viewer, usual, routes!(comparisons::show_comparison));
        self.add(reception, Operator, usual, routes!(comparisons::cancel_comparison));

        self.add(reception, Operator, usual, routes!(runs::start_runs));
        self.add(reception, Viewer, usual, routes!(runs::list_runs));
        self.add(reception, Viewer, usual, routes!(runs::show_run));
        self.add(reception, Operator, usual, routes!(runs::cancel_run));
        self.add(reception, Viewer, usual, routes!(runs::list_audit));

        self.add(reception, Viewer, usual, routes!(parked::list_parked));
        self.add(reception, Viewer, usual, routes!(parked::show_parked));
        self.add(reception, Operator, Bounds::ENDS, routes!(parked::look_at_one));
        self.add(reception, Operator, Bounds::ENDS, routes!(parked::try_one));
        self.add(reception, Operator, usual, routes!(parked::retry_one));
        self.add(reception, Admin, usual, routes!(parked::discard_one));
        self.add(reception, Operator, usual, routes!(parked::retry_many));
        self.add(reception, Admin, usual, routes!(parked::discard_many));

        self.add(reception, Admin, Bounds::STATE, routes!(state::export_state));
        self.add(reception, Admin, Bounds::STATE, routes!(state::import_state));
        self.add(reception, Admin, usual, routes!(state::move_state));
        self.add(reception, Admin, usual, routes!(state::forget_state));
        self.add(reception, Admin, Bounds::STATE, routes!(state::forget_key));
    }

    /// Who may not take a route does not have its body read.
    fn add(
        &mut self,
        reception: Option<&Arc<Reception>>,
        role: Role,
        bounds: Bounds,
        (schemas, mut paths, mut method_router): UtoipaMethodRouter<Arc<Reception>>,
    ) {
        let mut items = std::mem::take(&mut paths.paths);
        for (path, item) in &mut items {
            let full = format!("{PREFIX}{path}");
            for (method, operation) in operations(item) {
                self.lines.push(RouteLine { method, path: full.clone(), role });
                describe(operation, role);
            }
        }
        // In the document and in the router a route is called the same.
        paths.paths =
            items.into_iter().map(|(path, item)| (format!("{PREFIX}{path}"), item)).collect();
        if let Some(reception) = reception.cloned() {
            method_router = method_router
                .route_layer(middleware::from_fn(move |request, next| {
                    orders::take(Arc::clone(&reception), bounds, request, next)
                }))
                .route_layer(middleware::from_fn(move |request, next| allow(role, request, next)));
        }
        let router = std::mem::take(&mut self.router);
        self.router = router.routes((schemas, paths, method_router));
    }
}

async fn allow(role: Role, request: Request, next: Next) -> Response {
    let is_allowed = request.extensions().get::<Caller>().is_some_and(|caller| caller.role >= role);
    match is_allowed {
        true => next.run(request).await,
        false => Problem::forbidden(role).into_response(),
    }
}

/// Methods that are in use; [`route_table`] is tested to know all of the document.
fn operations(item: &mut path::PathItem) -> Vec<(&'static str, &mut path::Operation)> {
    let of = [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("DELETE", &mut item.delete),
    ];
    of.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))).collect()
}

/// What all have in common: the role, and how they refuse.
fn describe(operation: &mut path::Operation, role: Role) {
    operation.security = Some(vec![SecurityRequirement::new(TOKEN, [role.as_str()])]);
    let refusal = ResponseBuilder::new()
        .description("Why there is no answer")
        .content(
            problem::MEDIA_TYPE,
            ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build(),
        )
        .build();
    operation.responses.responses.insert("default".to_owned(), refusal.into());
}

fn document() -> OpenApi {
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of `server.admin_token` or `server.tokens`. On a loopback address none is needed",
        ))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(token))
        .schema(Problem::name(), Problem::schema())
        .schema(Role::name(), Role::schema())
        .build();
    OpenApiBuilder::new()
        .info(Info::new("Tidemark", env!("CARGO_PKG_VERSION")))
        .components(Some(components))
        .build()
}

/// This document
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = serde_json::Value)))]
async fn openapi(
    State(_): State<Arc<Reception>>,
    Extension(document): Extension<Arc<OpenApi>>,
) -> Json<OpenApi> {
    Json(OpenApi::clone(&document))
}
