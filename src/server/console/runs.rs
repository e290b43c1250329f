//! Runs of every pair, and one of them.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::admission::Visit;
use super::frame::{self, Place, Refusal, csrf, told};
use super::pair::{events_of, find, runs_of, short};
use super::pieces::{command, outcome, pair_path, past, quoted, run_path, said, tally, with};
use super::{course, history};
use crate::desk::wording::{moment, number, seconds, window};
use crate::desk::{DeskError, PairStatus, Part, Role, RunShown, Selectors};
use crate::domain::{Outcome, Stage};
use crate::server::events::Course;
use crate::state::PairId;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// A name or a glob.
    publication: String,
    target: String,
    after: String,
}

pub(super) async fn list(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let which = Selectors {
        publications: given(&asked.publication).into_iter().collect(),
        target: given(&asked.target),
        ..Selectors::default()
    };
    let part = Part { after: given(&asked.after), ..Part::first() };
    let page = visit.desk.runs(visit.by(), &which, &part).await?;
    let main = html! {
        h1 { "Runs" }
        form.filters method="get" action="/runs" role="search" aria-label="Filter runs" {
            label { "Publication" input name="publication" value=(asked.publication) placeholder="name or glob"; }
            label { "Target" input name="target" value=(asked.target); }
            button type="submit" { "Filter" }
            a.clear href="/runs" { "Clear" }
        }
        section #runs data-live {
            @if page.items.is_empty() { p { "There was no run." } } @else { (history::table(&visit, &page.items, true)) }
        }
        @if let Some(next) = &page.next {
            nav.pager aria-label="Parts of the list" { a rel="next" href=(with(&visit.uri, "after", next)) { "Older" } }
        }
    };
    let live = asked.after.is_empty().then_some("/live");
    Ok(frame::page(&visit, Place::Runs, "Runs", live, &main))
}

pub(super) async fn show(
    visit: Visit,
    Path((publication, target, run)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let id = PairId { publication, target };
    let pair = find(&visit, &id).await?;
    let runs = runs_of(&visit, &pair, Part::LONGEST).await?;
    let Some(shown) = runs.into_iter().find(|shown| shown.id == run) else {
        return not_kept(&id, &pair, &run);
    };
    let course = visit.reception.progress.course(&id, &shown.id);
    let now = shown.outcome.map_or("under way", Outcome::as_str);
    let main = html! {
        (said(&format!("Run {}: {now}", short(&shown.id))))
        section #run data-live { (head(&visit, &shown, course.as_ref())) }
        section #stages data-live { (stages(&shown)) }
        section #course data-live { (course_of(&shown, course.as_ref())) }
    };
    Ok(frame::page(
        &visit,
        Place::Runs,
        &format!("Run {}", short(&shown.id)),
        Some(&events_of(&pair)),
        &main,
    ))
}

/// A run that found nothing to do is not kept, and its pair tells that it was.
fn not_kept(id: &PairId, pair: &PairStatus, run: &str) -> Result<Response, Refusal> {
    if pair.last_run.as_ref().is_some_and(|last| last.id == run) {
        let path = format!("{}?did=asked", pair_path(&id.publication, &id.target));
        return Ok(Redirect::to(&path).into_response());
    }
    let missing =
        "the run is not kept: of each pair the last hundred are, that had something to do";
    Err(DeskError::NotThere(missing.to_owned()).into())
}

fn head(visit: &Visit, run: &RunShown, course: Option<&Course>) -> Markup {
    let ending = course.and_then(|course| course.ending.as_ref());
    html! {
        p.crumbs {
            a href="/" { "Fleet" } " / "
            a href=(pair_path(&run.publication, &run.target)) { (run.publication) " → " (run.target) }
        }
        h1 { "Run " code { (short(&run.id)) } " " (outcome(run.outcome)) }
        @if let Some(error) = &run.error {
            p.reason { (told(&error.message)) }
            div.advice {
                h2 { "What to do" }
                p { "It was a failure of the kind " b { (error.kind) } ". The operations page says what that means and what mends it." }
                (command(&format!("tidemark check {}", quoted(&run.publication))))
            }
        }
        dl.facts {
            div { dt { "Began" } dd { (moment(run.started_at)) ", " (past(visit.now, Some(run.started_at))) } }
            div { dt { "Ended" } dd { @match run.ended_at { Some(at) => (moment(at)), None => "not yet" } } }
            div { dt { "Took" } dd {
                @match (run.duration_seconds, course) {
                    (Some(took), _) => (seconds(took)),
                    (None, Some(course)) => { (seconds(course.took.as_secs_f64())) " so far" },
                    (None, None) => "–",
                }
            } }
            @if let Some(of) = &run.window { div { dt { "Window" } dd { (window(of)) } } }
            @if let Some(ending) = ending {
                div { dt { "Requests" } dd { (number(ending.requests.source)) " to the source, " (number(ending.requests.target)) " to the target" } }
                @if ending.resumed { div { dt { "Resumed" } dd { "it went on from a run that was interrupted" } } }
                @for note in &ending.notes { div { dt { "Note" } dd { (told(note)) } } }
            }
            div { dt { "Id" } dd { code { (run.id) } } }
        }
        @if run.outcome.is_none() && visit.may(Role::Operator) {
            form.orders method="post" action={ (run_path(&run.publication, &run.target, &run.id)) "/cancel" } {
                (csrf(visit)) button type="submit" { "Cancel the run" }
            }
        }
    }
}

fn stages(run: &RunShown) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Stages" { (table_of_stages(run)) }
    }
}

fn table_of_stages(run: &RunShown) -> Markup {
    html! {
        table {
            caption { "What became of what was taken up" }
            thead { tr {
                th scope="col" { "Stage" } th.n scope="col" { "Read" } th.n scope="col" { "Applied" }
                th.n scope="col" { "Skipped" } th.n scope="col" { "Parked" }
            } }
            tbody {
                @for stage in Stage::ALL {
                    @let found = run.stages.of(stage);
                    tr {
                        th scope="row" { (stage) }
                        td.n { (tally(found.read)) }
                        td.n { (tally(found.applied)) }
                        td.n { (tally(found.skipped)) }
                        td.n { (tally(found.parked)) }
                    }
                }
            }
        }
    }
}

fn course_of(run: &RunShown, known: Option<&Course>) -> Markup {
    html! {
        @match known {
            Some(known) if run.outcome.is_none() => {
                h2 { "Under way" }
                (course::progress(known))
                (course::timeline(known))
            },
            Some(known) => {
                h2 { "Resource by resource" }
                (course::timeline(known))
                (course::slowest(known))
            },
            None => p.quiet { "How it went resource by resource is known of the last runs of this process that did something, and this is none of them." },
        }
    }
}

pub(super) async fn cancel(
    visit: Visit,
    Path((publication, target, run)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    visit.desk.cancel(visit.by(), &run).await?;
    let path = run_path(&publication, &target, &run);
    Ok(Redirect::to(&format!("{path}?did=cancelled")).into_response())
}
