//! One pair: how it is, what to do, how far its run has come, and what it did before.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use maud::{Markup, html};

use super::admission::Visit;
use super::fleet::Onboarding;
use super::forms::Form;
use super::frame::{self, Place, Refusal, csrf, told};
use super::pieces::{
    command, future, nothing, outcome, past, path_of, path_of_id, quoted, run_path, said, state,
};
use super::{course, graph, history};
use crate::clock::Timestamp;
use crate::desk::wording::{count, many, moment, number, window};
use crate::desk::{
    Approval, DeskError, PairCondition, PairDetail, PairStatus, Part, Role, RunShown, Selectors,
};
use crate::server::Reception;
use crate::state::{BlockCause, PairId};

/// Runs that the page tells of.
const HISTORY: usize = 25;

pub(super) type Named = Path<(String, String)>;

pub(super) fn id(Path((publication, target)): Named) -> PairId {
    PairId { publication, target }
}

pub(super) async fn find(visit: &Visit, id: &PairId) -> Result<PairStatus, DeskError> {
    let selectors = Selectors {
        publications: vec![id.publication.clone()],
        target: Some(id.target.clone()),
        ..Selectors::default()
    };
    let found = visit.desk.pairs(visit.by(), &selectors).await;
    // What is not configured has no name to be selected by.
    let is_unknown = matches!(found, Err(DeskError::NotThere(_)));
    let found = if is_unknown { Vec::new() } else { found? };
    if let Some(pair) = found.into_iter().find(|pair| pair.id() == *id) {
        return Ok(pair);
    }
    // Orphans are there only where nothing narrows.
    let all = visit.desk.pairs(visit.by(), &Selectors::default()).await?;
    let found = all.into_iter().find(|pair| pair.id() == *id);
    found.ok_or_else(|| DeskError::NotThere(format!("there is no pair {id}")))
}

pub(super) fn events_of(pair: &PairStatus) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("publication", &pair.publication).append_pair("target", &pair.target);
    format!("/live?{}", form.finish())
}

pub(super) async fn show(visit: Visit, named: Named) -> Result<Response, Refusal> {
    let id = id(named);
    let pair = find(&visit, &id).await?;
    let detail = match pair.state {
        PairCondition::Orphaned => PairDetail::default(),
        PairCondition::Paused
        | PairCondition::Blocked
        | PairCondition::Failing
        | PairCondition::Running
        | PairCondition::Waiting
        | PairCondition::Degraded
        | PairCondition::Ok => visit.desk.closely(visit.by(), &id).await?,
    };
    let runs = runs_of(&visit, &pair, HISTORY).await?;
    let course = pair.run_id.as_ref().and_then(|run| visit.reception.progress.course(&id, run));
    let title = format!("{} → {}", pair.publication, pair.target);
    let now =
        format!("{title}: {}, {} parked, {} dead", pair.state.as_str(), pair.parked, pair.dead);
    let main = html! {
        (said(&now))
        section #head data-live aria-label="Now" {
            (head(&visit, &pair))
            (what_to_do(&pair, &detail))
            (orders(&visit, &pair))
        }
        @if visit.may(Role::Admin) && detail.blocked.is_some() { (approvals(&visit, &pair, &detail)) }
        section #run data-live {
            @if let (Some(course), Some(run)) = (&course, runs.iter().find(|run| run.outcome.is_none())) {
                h2 { "Under way" }
                p { a href=(run_path(&pair.publication, &pair.target, &run.id)) { "Run " (short(&run.id)) } ", " (window_of(run)) }
                (course::progress(course))
            }
        }
        section #facts data-live { (facts(&visit, &pair, &detail)) }
        section #history data-live { h2 { "Runs" } (history::show(&visit, &runs)) }
        (graph::section(&visit, &pair, &detail, course.as_ref()).await)
    };
    Ok(frame::page(&visit, Place::Fleet, &title, Some(&events_of(&pair)), &main))
}

/// Of this pair alone: those of others are not read.
pub(super) async fn runs_of(
    visit: &Visit,
    pair: &PairStatus,
    limit: usize,
) -> Result<Vec<RunShown>, DeskError> {
    if pair.state == PairCondition::Orphaned {
        return Ok(Vec::new());
    }
    let which = Selectors {
        publications: vec![pair.publication.clone()],
        target: Some(pair.target.clone()),
        ..Selectors::default()
    };
    let part = Part { after: None, limit };
    Ok(visit.desk.runs(visit.by(), &which, &part).await?.items)
}

fn head(visit: &Visit, pair: &PairStatus) -> Markup {
    html! {
        p.crumbs { a href="/" { "Fleet" } }
        h1 { (pair.publication) " → " (pair.target) " " (state(pair.state)) }
        @if let Some(reason) = &pair.reason {
            p.reason { (told(reason)) }
        }
        dl.figures {
            div { dt { "Behind" } dd {
                @match pair.lag_versions {
                    Some(lag) => { b { (number(lag.unsigned_abs())) } @if lag == 1 { " version" } @else { " versions" } },
                    None => (nothing()),
                }
            } }
            div { dt { "Last in step" } dd { b { (past(visit.now, pair.caught_up_at)) } } }
            div { dt { "Parked" } dd { a href=(parked_path(pair, "parked")) { b { (number(pair.parked)) } } } }
            div { dt { "Dead" } dd { a href=(parked_path(pair, "dead")) { b { (number(pair.dead)) } } } }
            div { dt { "Last run" } dd {
                @match &pair.last_run {
                    Some(run) => { (outcome(Some(run.outcome))) " " (past(visit.now, Some(run.ended_at))) },
                    None => "never",
                }
            } }
            div { dt { "Next run" } dd { b { (future(visit.now, pair.next_run_at)) } } }
        }
    }
}

fn parked_path(pair: &PairStatus, status: &str) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("publication", &pair.publication)
        .append_pair("target", &pair.target)
        .append_pair("status", status);
    format!("/parked?{}", form.finish())
}

/// The next step, in words and as commands.
fn what_to_do(pair: &PairStatus, detail: &PairDetail) -> Markup {
    let name = quoted(&pair.publication);
    let of_pair = format!("{name} --target {}", quoted(&pair.target));
    let (advice, commands): (&str, Vec<String>) = match pair.state {
        PairCondition::Blocked
            if detail.blocked.as_ref().is_some_and(|block| block.cause == BlockCause::Deletes) =>
        {
            (
                "A run would delete more than it may by itself. Find out whether that is meant; then approve exactly this number, or mend the source.",
                vec![
                    format!("tidemark plan {of_pair}"),
                    format!("tidemark approve deletes {of_pair} --reason 'why'"),
                ],
            )
        }
        PairCondition::Blocked => (
            "It is in doubt who an end is, so nothing is written. Look at both ends, then decide: the same data, or start over.",
            vec![
                format!("tidemark check {name}"),
                format!("tidemark approve identity {of_pair} --same-data --reason 'why'"),
            ],
        ),
        PairCondition::Failing => (
            "It is tried again by itself. See whether it would succeed now, mend what is in the way, and run it without waiting.",
            vec![format!("tidemark check {name}"), format!("tidemark run {of_pair}")],
        ),
        PairCondition::Degraded => (
            "Runs go on; single items wait. Mend what they wait for, then have them tried.",
            vec![
                format!("tidemark parked list {of_pair} --group-by cause"),
                format!("tidemark parked retry {of_pair}"),
            ],
        ),
        PairCondition::Orphaned => (
            "The configuration does not name it any more. Give its state to the publication that it is called now, or forget it.",
            vec![
                format!("tidemark state move {name} NEW"),
                format!("tidemark state forget {of_pair} --yes"),
            ],
        ),
        PairCondition::Paused => {
            ("Nothing runs until it is resumed.", vec![format!("tidemark resume {of_pair}")])
        }
        PairCondition::Waiting => {
            ("It is due and begins as soon as what holds it lets go.", vec![])
        }
        PairCondition::Running | PairCondition::Ok => ("", vec![]),
    };
    html! {
        @if !advice.is_empty() {
            div.advice {
                h2 { "What to do" }
                p { (advice) }
                @if pair.state == PairCondition::Degraded {
                    p { a href=(parked_path(pair, "")) { "Look at what waits" } }
                }
                @for text in &commands { (command(text)) }
            }
        }
    }
}

/// Buttons that the role allows and the state makes sensible.
fn orders(visit: &Visit, pair: &PairStatus) -> Markup {
    let path = path_of(pair);
    let is_known = pair.state != PairCondition::Orphaned;
    let is_paused = pair.state == PairCondition::Paused;
    html! {
        @if is_known && visit.may(Role::Operator) {
            div.orders {
                @if let Some(run) = &pair.run_id {
                    form method="post" action={ (run_path(&pair.publication, &pair.target, run)) "/cancel" } {
                        (csrf(visit)) button type="submit" { "Cancel the run" }
                    }
                } @else if !is_paused {
                    form method="post" action={ (path) "/run" } {
                        (csrf(visit)) button.primary type="submit" { "Run now" }
                    }
                }
                @if is_paused {
                    form method="post" action={ (path) "/resume" } {
                        (csrf(visit)) button.primary type="submit" { "Resume" }
                    }
                } @else {
                    details.order #pause {
                        summary { "Pause…" }
                        form.stack method="post" action={ (path) "/pause" } {
                            (csrf(visit))
                            label { "For"
                                select name="hours" {
                                    option value="" { "until somebody resumes it" }
                                    option value="1" { "1 hour" }
                                    option value="8" { "8 hours" }
                                    option value="24" { "1 day" }
                                    option value="168" { "1 week" }
                                }
                            }
                            label { "Reason" input name="reason" autocomplete="off"; }
                            button type="submit" { "Pause" }
                        }
                    }
                }
                @if visit.may(Role::Admin) {
                    a.button href={ (path) "/watermark" } { "Move the watermark…" }
                }
            }
        }
    }
}

fn approvals(visit: &Visit, pair: &PairStatus, detail: &PairDetail) -> Markup {
    let Some(blocked) = &detail.blocked else { return html! {} };
    let action = format!("{}/approve", path_of(pair));
    let form = |decision: &str, resource: Option<String>, button: &str, says: &str| {
        html! {
            form.stack method="post" action=(action) {
                (csrf(visit))
                input type="hidden" name="decision" value=(decision);
                @if let Some(resource) = &resource { input type="hidden" name="resource" value=(resource); }
                p { (says) }
                label { "Reason, for whoever asks later"
                    input name="reason" required autocomplete="off";
                }
                button.danger type="submit" { (button) }
            }
        }
    };
    html! {
        section.decide #approve aria-labelledby="approve-title" {
            h2 #approve-title { "Decide" }
            p.quiet { "Blocked since " (moment(blocked.since)) "." }
            @match &blocked.deletes {
                Some((resource, many)) => (form(
                    "deletes",
                    Some(resource.to_string()),
                    &format!("Approve {}", count(*many, "delete")),
                    &format!("The next run may delete up to {} of {resource}, once.", count(*many, "item")),
                )),
                None => {
                    (form("same-data", None, "It is the same data",
                        "The ends as they are now are the ones that the watermark speaks of: the pair goes on from there."))
                    (form("start-over", None, "Start over",
                        "It is other data: the watermark is forgotten and the next run publishes everything."))
                },
            }
        }
    }
}

fn facts(visit: &Visit, pair: &PairStatus, detail: &PairDetail) -> Markup {
    let path = path_of(pair);
    html! {
        h2 { "This pair" }
        dl.facts {
            div { dt { "Stage" } dd { (Onboarding::of(pair).name()) } }
            div { dt { "Watermark" } dd { @match pair.watermark { Some(at) => (number(at.0.unsigned_abs())), None => "none: the next run publishes everything" } } }
            div { dt { "Newest at the source" } dd { @match pair.newest { Some(at) => (number(at.0.unsigned_abs())), None => "not known" } } }
            div { dt { "Schedule" } dd { @if detail.schedule.is_empty() { "started by a person" } @else { (detail.schedule) } } }
            div { dt { "Reads" } dd { (detail.isolation) } }
            div { dt { "Writes" } dd { @if detail.is_sole_writer { "as the only writer" } @else { "beside others: nothing extra is looked for or deleted" } } }
            @if pair.failed_runs > 0 { div { dt { "Failed in a row" } dd { (number(pair.failed_runs.into())) } } }
            @if let Some(unfinished) = &detail.unfinished {
                div { dt { "Unfinished run" } dd {
                    (window(&unfinished.window)) ", begun " (past(visit.now, Some(unfinished.began_at)))
                    ", " (count(many(unfinished.finished.len()), "resource")) " finished"
                } }
            }
            @if let Some(last) = detail.compared.values().map(|found| found.at).max() {
                @let differ = detail.compared.values().filter(|found| !found.is_equal).count();
                div { dt { "Compared" } dd {
                    (count(many(detail.compared.len()), "resource")) ", "
                    @if differ == 0 { "all equal" } @else { b { (number(many(differ))) } " not equal" }
                    ", " (past(visit.now, Some(last)))
                } }
            }
            @if !pair.labels.is_empty() {
                div { dt { "Labels" } dd { @for (key, value) in &pair.labels { span.label { (key) "=" (value) } " " } } }
            }
            div { dt { "More" } dd {
                a href={ (path) "/report" } { "Completeness" } ", "
                a href={ "/configuration?name=" (pair.publication) } { "Configuration" } ", "
                a href={ "/audit?publication=" (pair.publication) } { "What people did" }
            } }
        }
        @if !detail.connections.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Both ends" {
                table {
                    caption { "Both ends, and how many requests each is sent at once" }
                    thead { tr {
                        th scope="col" { "End" } th scope="col" { "Connection" } th scope="col" { "Address" }
                        th.n scope="col" { "In force" } th.n scope="col" { "At most" }
                    } }
                    tbody {
                        @for (end, connection) in ["Source", "Target"].iter().zip(&detail.connections) {
                            tr {
                                th scope="row" { (end) }
                                td { a href={ "/configuration?name=" (connection.name) } { (connection.name) } }
                                td.address { (connection.url) @if let Some(why) = &connection.locked { span.why { (why) } } }
                                td.n { (number(many(connection.in_force))) }
                                td.n { (number(many(connection.ceiling))) }
                            }
                        }
                    }
                }
            }
        }
        @if !detail.waiting.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="What waits" {
                table {
                    caption { "What waits, by resource" }
                    thead { tr { th scope="col" { "Resource" } th.n scope="col" { "Parked" } th.n scope="col" { "Dead" } } }
                    tbody {
                        @for (resource, waiting) in &detail.waiting {
                            tr {
                                th scope="row" { a href={ (parked_path(pair, "")) "&resource=" (resource) } { (resource) } }
                                td.n { (number(waiting.parked)) }
                                td.n { (number(waiting.dead)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn window_of(run: &RunShown) -> String {
    run.window.as_ref().map(window).unwrap_or_default()
}

/// Enough of an id to tell two runs apart.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

pub(super) async fn run_now(visit: Visit, named: Named) -> Result<Response, Refusal> {
    let id = id(named);
    let targets = [id.target.clone()];
    let started = visit.desk.start(visit.by(), &id.publication, &targets, false).await?;
    // What ended at once is told by the pair; what goes on has a page of its own.
    let path = match started.runs.as_slice() {
        [run] => run_path(&id.publication, &id.target, run),
        _ => format!("{}?did=asked", path_of_id(&id)),
    };
    Ok(Redirect::to(&path).into_response())
}

pub(super) async fn pause(visit: Visit, named: Named, form: Form) -> Result<Response, Refusal> {
    let id = id(named);
    let hours =
        form.text("hours").and_then(|hours| hours.parse().ok()).and_then(TimeDelta::try_hours);
    let until: Option<Timestamp> = hours.and_then(|hours| visit.now.checked_add_signed(hours));
    visit.desk.pause(visit.by(), &id, until, form.text("reason")).await?;
    Ok(back(&id, "paused"))
}

pub(super) async fn resume(visit: Visit, named: Named) -> Result<Response, Refusal> {
    let id = id(named);
    visit.desk.resume(visit.by(), &id).await?;
    Ok(back(&id, "resumed"))
}

pub(super) async fn approve(visit: Visit, named: Named, form: Form) -> Result<Response, Refusal> {
    let id = id(named);
    let resource = form.text("resource").map(str::to_owned);
    let approval = match form.text("decision") {
        Some("deletes") => Approval::Deletes { resource },
        Some("same-data") => Approval::SameData,
        Some("start-over") => Approval::StartOver,
        Some(_) | None => {
            return Err(DeskError::Refused("say what is decided".to_owned()).into());
        }
    };
    let reason = form.text("reason").unwrap_or_default();
    visit.desk.approve(visit.by(), &id, &approval, reason).await?;
    Ok(back(&id, "approved"))
}

pub(super) fn back(id: &PairId, did: &str) -> Response {
    Redirect::to(&format!("{}?did={did}", path_of_id(id))).into_response()
}

/// The old address of a pair's run, where only its id is known.
pub(super) async fn find_run(
    visit: Visit,
    State(_): State<Arc<Reception>>,
    Path(run): Path<String>,
) -> Result<Response, Refusal> {
    let found = visit.desk.run(visit.by(), &run).await?;
    Ok(Redirect::to(&run_path(&found.publication, &found.target, &found.id)).into_response())
}
