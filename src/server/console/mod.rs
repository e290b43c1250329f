//! The console at `/`: pages for people, made here and shown by any browser.
//!
//! What lives here: which pages there are, what each shows, and what a browser may do. What does not:
//! the answers and orders, which are the [`Desk`](crate::desk::Desk)'s, as for the commands and the
//! admin API. The one thing to know: pages work without the script, which only brings what they show
//! up to date; and nothing is shown that the template has not escaped.
//!
//! A request passes `admission` (from where, who, which form) and its page. `sessions` remembers who
//! logged in, `frame` is around every page, `pieces` are in several.

mod admission;
mod assets;
mod audit;
mod configuration;
mod course;
mod fleet;
mod forms;
mod frame;
mod graph;
mod history;
mod login;
mod pair;
mod parked;
mod pieces;
mod report;
mod runs;
mod sessions;
mod watermark;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, get, post};

use super::api::events::listen_to_events;
use super::orders::{self, Bounds};
use super::{Reception, RouteLine};
use crate::desk::Role;

pub(super) use sessions::Sessions;

/// Every page and every order of the console that takes somebody who is known, in order of path. The
/// door and the files of the pages are for everybody.
pub fn console_table() -> Vec<RouteLine> {
    let mut table = Table::default();
    table.fill(None);
    table.lines.sort();
    table.lines
}

pub(super) fn routes(reception: &Arc<Reception>) -> Router {
    let mut table = Table::default();
    table.fill(Some(reception));
    let known =
        table.router.layer(middleware::from_fn_with_state(Arc::clone(reception), admission::admit));
    let form = middleware::from_fn_with_state(Arc::clone(reception), admission::take_form);
    let open = Router::new()
        .route("/login", get(login::show).merge(post(login::log_in).layer(form)))
        .route("/assets/{name}", get(assets::show));
    known
        .merge(open)
        .layer(middleware::from_fn_with_state(Arc::clone(reception), admission::guard))
        .layer(middleware::from_fn(super::problem::everywhere))
        .with_state(Arc::clone(reception))
}

#[derive(Default)]
struct Table {
    router: Router<Arc<Reception>>,
    lines: Vec<RouteLine>,
}

impl Table {
    fn fill(&mut self, reception: Option<&Arc<Reception>>) {
        use Role::{Admin, Operator, Viewer};
        self.page(Viewer, "/", get(fleet::show));
        self.page(Viewer, "/live", get(listen_to_events));
        self.page(Viewer, "/pairs/{publication}/{target}", get(pair::show));
        self.page(Viewer, "/pairs/{publication}/{target}/runs/{id}", get(runs::show));
        self.page(Viewer, "/pairs/{publication}/{target}/report", get(report::show));
        self.page(Viewer, "/pairs/{publication}/{target}/report.csv", get(report::download));
        self.page(Admin, "/pairs/{publication}/{target}/watermark", get(watermark::show));
        self.page(Viewer, "/parked", get(parked::show));
        self.page(Viewer, "/parked.csv", get(parked::download));
        self.page(Viewer, "/parked/{id}", get(parked::one));
        self.page(Viewer, "/runs", get(runs::list));
        self.page(Viewer, "/runs/{id}", get(pair::find_run));
        self.page(Viewer, "/audit", get(audit::show));
        self.page(Viewer, "/configuration", get(configuration::show));

        self.order(reception, Viewer, "/logout", post(login::log_out));
        self.order(reception, Operator, "/pairs/{publication}/{target}/run", post(pair::run_now));
        self.order(reception, Operator, "/pairs/{publication}/{target}/pause", post(pair::pause));
        self.order(reception, Operator, "/pairs/{publication}/{target}/resume", post(pair::resume));
        self.order(reception, Admin, "/pairs/{publication}/{target}/approve", post(pair::approve));
        self.order(
            reception,
            Admin,
            "/pairs/{publication}/{target}/watermark",
            post(watermark::move_it),
        );
        self.order(
            reception,
            Operator,
            "/pairs/{publication}/{target}/runs/{id}/cancel",
            post(runs::cancel),
        );
        self.order(reception, Operator, "/parked/retry", post(parked::retry));
        self.order(reception, Admin, "/parked/discard", post(parked::discard));
    }

    fn page(&mut self, role: Role, path: &str, page: MethodRouter<Arc<Reception>>) {
        self.add("GET", role, path, page);
    }

    /// What changes something: its form is confirmed, and it is carried to its end.
    fn order(
        &mut self,
        reception: Option<&Arc<Reception>>,
        role: Role,
        path: &str,
        mut order: MethodRouter<Arc<Reception>>,
    ) {
        if let Some(reception) = reception.cloned() {
            let state = Arc::clone(&reception);
            order = order
                .route_layer(middleware::from_fn(move |request, next| {
                    orders::take(Arc::clone(&reception), Bounds::USUAL, request, next)
                }))
                .route_layer(middleware::from_fn_with_state(state, admission::take_form));
        }
        self.add("POST", role, path, order);
    }

    /// Who may not take a route does not have its form read.
    fn add(
        &mut self,
        method: &'static str,
        role: Role,
        path: &str,
        route: MethodRouter<Arc<Reception>>,
    ) {
        self.lines.push(RouteLine { method, path: path.to_owned(), role });
        let allowed =
            middleware::from_fn(move |request, next| admission::allow(role, request, next));
        let router = std::mem::take(&mut self.router);
        self.router = router.route(path, route.route_layer(allowed));
    }
}
