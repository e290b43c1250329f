//! Completeness of a pair, for the one who owns the data. No natural key is in it.

use axum::extract::Query;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::admission::Visit;
use super::frame::{self, Place, Refusal};
use super::pair::{self, Named, find};
use super::pieces::{badge, command, figure, past, path_of, quoted, tally};
use crate::desk::wording::{count, csv, many, moment, number};
use crate::desk::{Report, ReportedResource};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Anything: resources are shown of which there is nothing to tell, or that are left out.
    all: String,
}

pub(super) async fn show(
    visit: Visit,
    named: Named,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let id = pair::id(named);
    let pair = find(&visit, &id).await?;
    let report = visit.desk.report(visit.by(), &id).await?;
    let path = path_of(&pair);
    let main = html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href=(path) { (pair.publication) " → " (pair.target) } }
        h1 { "Completeness" }
        p { "Counted " (moment(report.made_at)) ". Both ends live: equal counts are a good sign, and a comparison is the proof." }
        (totals(&visit, &report))
        p {
            a href={ (path) "/report.csv" } download { "Download as CSV" } " · "
            @if asked.all.is_empty() { a href={ (path) "/report?all=1" } { "Show all resources" } }
            @else { a href={ (path) "/report" } { "Show only those with items that are published" } }
        }
        (table(&visit, &report, !asked.all.is_empty()))
        (command(&format!("tidemark verify {} --target {}", quoted(&pair.publication), quoted(&pair.target))))
    };
    Ok(frame::page(&visit, Place::Fleet, "Completeness", None, &main))
}

fn totals(visit: &Visit, report: &Report) -> Markup {
    let sum = |of: fn(&ReportedResource) -> u64| report.selected().map(of).sum::<u64>();
    // What has no item at either end is neither whole nor not.
    let counted: Vec<&ReportedResource> = report.selected().filter(|one| !one.is_empty()).collect();
    let whole = counted.iter().filter(|one| one.is_whole()).count();
    let all = counted.len();
    html! {
        dl.figures {
            div { dt { "Whole" } dd { b { (number(many(whole))) } " of " (count(many(all), "resource")) } }
            div { dt { "At the source" } dd { b { (number(sum(|one| one.source.unwrap_or(0)))) } } }
            div { dt { "At the target" } dd { b { (number(sum(|one| one.target.unwrap_or(0)))) } } }
            div { dt { "Parked" } dd { b { (number(sum(|one| one.parked))) } } }
            div { dt { "Dead" } dd { b { (number(sum(|one| one.dead))) } } }
            div { dt { "Left out" } dd { b { (number(report.resources.iter().map(|one| one.excluded).sum::<u64>())) } } }
            div { dt { "Last in step" } dd { b { (past(visit.now, report.caught_up_at)) } } }
            div { dt { "Configuration" } dd { code { (report.configuration.get(..12).unwrap_or(&report.configuration)) } } }
        }
    }
}

fn table(visit: &Visit, report: &Report, every: bool) -> Markup {
    let is_shown = |one: &&ReportedResource| every || !(one.is_empty() || one.is_excluded());
    let mut shown: Vec<&ReportedResource> = report.resources.iter().filter(is_shown).collect();
    // What wants somebody stands first; the others stay in their order.
    shown
        .sort_by_key(|one| one.is_excluded() || (one.is_whole() && one.was_equal() != Some(false)));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Completeness by resource" {
            table {
                caption { "By resource, those that are not whole first, then in the order in which they are published" }
                thead { tr {
                    th scope="col" { "Resource" } th scope="col" { "" span.sr { "Whole" } }
                    th.n scope="col" { "Source" } th.n scope="col" { "Target" } th.n scope="col" { "Parked" }
                    th.n scope="col" { "Dead" } th.n scope="col" { "Left out" } th scope="col" { "Compared" }
                } }
                tbody {
                    @for one in &shown {
                        tr {
                            th scope="row" { (one.resource) }
                            td {
                                @if one.is_excluded() { (badge("idle", "·", "left out")) }
                                @else if one.is_whole() { (badge("ok", "✓", "whole")) }
                                @else { (badge("degraded", "▲", "not whole")) }
                            }
                            td.n { (figure(one.source)) }
                            td.n { (figure(one.target)) }
                            td.n { (tally(one.parked)) }
                            td.n { (tally(one.dead)) }
                            td.n { (tally(one.excluded)) }
                            td {
                                @match (&one.verified, one.was_equal()) {
                                    (Some(found), Some(true)) => { (badge("ok", "=", "equal")) " " (past(visit.now, Some(found.at))) },
                                    (Some(found), _) => {
                                        (badge("failing", "≠", "differs")) " " (past(visit.now, Some(found.at)))
                                        span.why { (number(found.missing)) " missing, " (figure(found.extra)) " extra, " (number(found.different)) " different" }
                                    },
                                    (None, _) => span.quiet { "never" },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn download(visit: Visit, named: Named) -> Result<Response, Refusal> {
    let report = visit.desk.report(visit.by(), &pair::id(named)).await?;
    let columns =
        ["resource", "source", "target", "parked", "dead", "left_out", "compared_at", "equal"];
    let shown = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
    let row = |one: &ReportedResource| {
        vec![
            one.resource.to_string(),
            shown(one.source),
            shown(one.target),
            one.parked.to_string(),
            one.dead.to_string(),
            one.excluded.to_string(),
            one.verified.as_ref().map(|found| moment(found.at)).unwrap_or_default(),
            one.was_equal().map(|equal| equal.to_string()).unwrap_or_default(),
        ]
    };
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"completeness.csv\""),
    ];
    Ok((headers, csv(&columns, report.resources.iter().map(row))).into_response())
}
