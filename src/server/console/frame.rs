//! What every page has: head, navigation, who looks, and how a refusal looks.

use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::admission::{Visit, Visitor};
use super::assets;
use crate::desk::DeskError;

/// A wave over a mark, as the picture of a tab.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Crect width='16' height='16' rx='3' fill='%230b6477'/%3E%3Cpath d='M2 7q3-4 6 0t6 0M2 11q3-4 6 0t6 0' \
    fill='none' stroke='white' stroke-width='1.6'/%3E%3C/svg%3E";

/// Which entry of the navigation a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Fleet,
    Parked,
    Runs,
    Audit,
    Configuration,
}

impl Place {
    const ALL: [(Place, &'static str, &'static str); 5] = [
        (Place::Fleet, "/", "Fleet"),
        (Place::Parked, "/parked", "Parked"),
        (Place::Runs, "/runs", "Runs"),
        (Place::Audit, "/audit", "Audit"),
        (Place::Configuration, "/configuration", "Configuration"),
    ];
}

/// A page under the navigation. `live` is the address of its events; what an element with
/// `data-live` shows is brought up to date when something happens there.
pub(super) fn page(
    visit: &Visit,
    place: Place,
    title: &str,
    live: Option<&str>,
    main: &Markup,
) -> Response {
    let Visitor { by, has_session, .. } = &visit.visitor;
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            a.brand href="/" { (wave()) "Tidemark" }
            nav aria-label="Main" {
                ul {
                    @for (of, address, name) in Place::ALL {
                        li {
                            a href=(address) aria-current=[(of == place).then_some("page")] { (name) }
                        }
                    }
                }
            }
            div.who {
                @if live.is_some() { span.live #live role="status" {} }
                span.name { (by.name.trim_start_matches("token ")) " · " (by.role.as_str()) }
                @if *has_session {
                    form method="post" action="/logout" {
                        (csrf(visit))
                        button.plain type="submit" { "Log out" }
                    }
                } @else {
                    a href="/login" { "Log in" }
                }
            }
        }
        main #main tabindex="-1" { (did(visit)) (main) }
    };
    document(title, live, &body).into_response()
}

/// A page without the navigation: the door, refusals.
pub(super) fn bare(title: &str, main: &Markup) -> Html<String> {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top { a.brand href="/" { (wave()) "Tidemark" } }
        main.narrow #main tabindex="-1" { (main) }
    };
    document(title, None, &body)
}

/// What a form carries, so that only a page of this session can have made it.
pub(super) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.visitor.csrf); }
}

fn document(title: &str, live: Option<&str>, body: &Markup) -> Html<String> {
    Html(document_text(title, live, None, body).into_string())
}

fn document_text(title: &str, live: Option<&str>, onward: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(onward) = onward { meta http-equiv="refresh" content=(onward); }
                title { (title) " · Tidemark" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(assets::style());
                script src=(assets::script()) defer {}
            }
            body data-events=[live] { (body) }
        }
    }
}

fn wave() -> Markup {
    html! {
        svg.wave viewBox="0 0 16 16" width="18" height="18" aria-hidden="true" {
            rect width="16" height="16" rx="3" {}
            path d="M2 7q3-4 6 0t6 0M2 11q3-4 6 0t6 0" {}
        }
    }
}

/// What an order has done, as the address says that it led here from. Only what is known is told.
fn did(visit: &Visit) -> Markup {
    let query = visit.uri.query().unwrap_or_default();
    let mut told: Option<String> = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name == "did" {
            told = outcome(&value);
        }
    }
    html! { @if let Some(told) = told { p.done role="status" { (told) } } }
}

/// `retried-3`: a word and a number.
fn outcome(value: &str) -> Option<String> {
    let (word, count) = value.split_once('-').unwrap_or((value, "0"));
    let count: u64 = count.parse().ok()?;
    let items = crate::desk::wording::count(count, "item");
    match word {
        "retried" => Some(format!("{items} due now; the next run tries them.")),
        "discarded" => Some(format!("{items} given up. The watermark stays where it is.")),
        "paused" => Some("Paused.".to_owned()),
        "resumed" => Some("Resumed.".to_owned()),
        "asked" => Some("The run begins as soon as nothing holds it.".to_owned()),
        "cancelled" => Some("The run saves its progress and ends.".to_owned()),
        "approved" => Some("Approved: the pair goes on at its next run.".to_owned()),
        "moved" => Some("The watermark was moved.".to_owned()),
        _ => None,
    }
}

/// Asks for the same page again, from here: a cookie that is strict comes with that.
pub(super) fn stepping_stone(uri: &Uri) -> Response {
    let address = uri.path_and_query().map_or("/", |address| address.as_str());
    let body = html! {
        main.narrow #main { p { a href=(address) { "Go on to the console" } } }
    };
    // The address is our own: its path and query, of this origin.
    Html(document_text("Going on", None, Some(&format!("0; url={address}")), &body).into_string())
        .into_response()
}

/// Why a page is not shown or an order was not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Refusal {
        Refusal { status, why: why.into() }
    }
}

impl From<DeskError> for Refusal {
    fn from(error: DeskError) -> Refusal {
        let status = match &error {
            DeskError::NotThere(_) => StatusCode::NOT_FOUND,
            DeskError::Refused(_) => StatusCode::BAD_REQUEST,
            DeskError::Conflict(_) => StatusCode::CONFLICT,
            DeskError::Forbidden { .. } => StatusCode::FORBIDDEN,
            DeskError::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
            DeskError::Failed(_) => StatusCode::BAD_GATEWAY,
            DeskError::State(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not here",
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "Not allowed",
            StatusCode::CONFLICT => "Not as it was",
            StatusCode::SERVICE_UNAVAILABLE => "Not yet",
            _ => "Not done",
        };
        let main = html! {
            h1 { (title) }
            p.alert role="alert" { (told(&self.why)) }
            p { a href="/" { "To the fleet" } " · " a href="/login" { "Log in with another token" } }
        };
        // What is not ready yet may be in a moment.
        let again = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some("3");
        let body = html! {
            a.skip href="#main" { "Skip to the content" }
            header.top { a.brand href="/" { (wave()) "Tidemark" } }
            main.narrow #main tabindex="-1" { (main) }
        };
        (self.status, Html(document_text(title, None, again, &body).into_string())).into_response()
    }
}

/// A sentence in which commands and keys stand between backquotes.
pub(super) fn told(text: &str) -> Markup {
    let text = sentence(text);
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// As it is written in a page: with a capital and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}
