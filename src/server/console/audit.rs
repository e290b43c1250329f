//! Who did what, when and why.

use axum::extract::Query;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::admission::Visit;
use super::frame::{self, Place, Refusal};
use super::pieces::{command, nothing, pair_path, past, with};
use crate::clock::Timestamp;
use crate::desk::wording::moment;
use crate::desk::{AuditEntry, DeskError, Page, Part};

/// Of a thousand entries each.
const MOST_PARTS: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// A day or a moment.
    since: String,
    /// Of this publication alone.
    publication: String,
    after: String,
}

pub(super) async fn show(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let since = match asked.since.trim() {
        "" => None,
        text => Some(since(text)?),
    };
    let page = entries(&visit, &asked, since).await?;
    let main = html! {
        h1 { "Audit" }
        form.filters method="get" action="/audit" role="search" aria-label="Filter the audit" {
            label { "Since (UTC)" input type="date" name="since" value=(asked.since.get(..10).unwrap_or_default()); }
            label { "Publication" input name="publication" value=(asked.publication); }
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

/// The audit is kept by time alone, so whoever wants one publication has a bounded part looked through.
async fn entries(
    visit: &Visit,
    asked: &Asked,
    since: Option<Timestamp>,
) -> Result<Page<AuditEntry>, DeskError> {
    let publication = asked.publication.trim();
    let mut after = Some(asked.after.clone()).filter(|after| !after.is_empty());
    if publication.is_empty() {
        return visit.desk.audit(visit.by(), since, &Part { after, ..Part::first() }).await;
    }
    let mut found = Vec::new();
    for _ in 0..MOST_PARTS {
        let part = Part { after, limit: Part::LONGEST };
        let page = visit.desk.audit(visit.by(), since, &part).await?;
        let is_of_it = |entry: &AuditEntry| entry.publication.as_deref() == Some(publication);
        found.extend(page.items.into_iter().filter(is_of_it));
        after = page.next;
        if after.is_none() || found.len() >= Part::USUAL {
            break;
        }
    }
    Ok(Page { items: found, next: after })
}

fn since(text: &str) -> Result<Timestamp, DeskError> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().map_err(|_| {
        DeskError::Refused("`since` is a day such as 2026-01-31, or a moment".to_owned())
    })
}
