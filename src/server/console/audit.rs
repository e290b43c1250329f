//! Who did what, when and why.

use axum::extract::Query;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::admission::Visit;
use super::frame::{self, Place, Refusal};
use super::pieces::{command, nothing, pair_path, past, with};
use crate::desk::wording::moment;
use crate::desk::{DeskError, Part};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// A day or a moment.
    since: String,
    after: String,
}

pub(super) async fn show(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let since = match asked.since.trim() {
        "" => None,
        text => Some(since(text)?),
    };
    let after = Some(asked.after.clone()).filter(|after| !after.is_empty());
    let page = visit.desk.audit(visit.by(), since, &Part { after, ..Part::first() }).await?;
    let main = html! {
        h1 { "Audit" }
        form.filters method="get" action="/audit" role="search" aria-label="Filter the audit" {
            label { "Since (UTC)" input type="date" name="since" value=(asked.since.get(..10).unwrap_or_default()); }
            button type="submit" { "Filter" }
            a.clear href="/audit" { "Clear" }
        }
        @if page.items.is_empty() { p { "Nobody did anything." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Audit" {
                table {
                    caption { "What people did and read, newest first" }
                    thead { tr {
                        th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                        th scope="col" { "Pair" } th scope="col" { "Of it" } th scope="col" { "Why" }
                    } }
                    tbody {
                        @for entry in &page.items {
                            tr {
                                td.when { (moment(entry.at)) " " span.quiet { (past(visit.now, Some(entry.at))) } }
                                td.when { (entry.by) }
                                th scope="row" { (entry.action) }
                                td {
                                    @match (&entry.publication, &entry.target) {
                                        (Some(publication), Some(target)) => a href=(pair_path(publication, target)) { (publication) " → " (target) },
                                        _ => (nothing()),
                                    }
                                }
                                td { (entry.what) }
                                td { @match &entry.reason { Some(reason) => (reason), None => (nothing()) } }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(next) = &page.next {
            nav.pager aria-label="Parts of the list" { a rel="next" href=(with(&visit.uri, "after", next)) { "Older" } }
        }
        (command("tidemark audit list"))
    };
    Ok(frame::page(&visit, Place::Audit, "Audit", None, &main))
}

fn since(text: &str) -> Result<crate::clock::Timestamp, DeskError> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().map_err(|_| {
        DeskError::Refused("`since` is a day such as 2026-01-31, or a moment".to_owned())
    })
}
