//! Runs of one pair or of several: a timeline, and a table.

use maud::{Markup, html};

use super::admission::Visit;
use super::pieces::{outcome, past, run_path, tally};
use crate::desk::RunShown;
use crate::desk::wording::{count, many, number, seconds, window};
use crate::domain::{Outcome, Stage};

const WIDTH: usize = 720;
const HEIGHT: usize = 56;

/// Newest first, as they come.
pub(super) fn show(visit: &Visit, runs: &[RunShown]) -> Markup {
    html! {
        @if runs.is_empty() {
            p { "There was no run yet." }
        } @else {
            (bars(visit, runs))
            (table(visit, runs, false))
        }
    }
}

/// A bar a run, oldest first: as high as it took long.
fn bars(visit: &Visit, runs: &[RunShown]) -> Markup {
    let longest = runs.iter().filter_map(|run| run.duration_seconds).fold(0.1, f64::max);
    let step = (WIDTH / runs.len().max(1)).min(28);
    html! {
        figure {
            figcaption {
                @if let (Some(last), Some(first)) = (runs.first(), runs.last()) {
                    (count(many(runs.len()), "run")) ", from " (past(visit.now, Some(first.started_at)))
                    " to " (past(visit.now, Some(last.started_at))) "; the longest took " (seconds(longest))
                }
            }
            div.scroll tabindex="0" role="region" aria-label="History of runs" {
                svg.history viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) role="group" aria-label="History of runs" {
                    @for (index, run) in runs.iter().rev().enumerate() {
                        @let height = height(run, longest);
                        @let said = format!("{}, {}", word(run.outcome), crate::desk::wording::moment(run.started_at));
                        a href=(run_path(&run.publication, &run.target, &run.id)) aria-label=(said) {
                            rect class={ "run is-" (class(run.outcome)) } x=(index * step + 1) y=(HEIGHT - height) width=(step.saturating_sub(3).max(2)) height=(height) rx="1" {
                                title { (said) }
                            }
                            @if run.outcome == Some(Outcome::Failed) {
                                text.mark x=(index * step + step / 2) y=(HEIGHT.saturating_sub(height + 3)) text-anchor="middle" { "✕" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A run that did nothing has a foot all the same.
fn height(run: &RunShown, longest: f64) -> usize {
    let share = run.duration_seconds.unwrap_or(longest) / longest;
    8 + (share * (HEIGHT - 24) as f64) as usize
}

fn class(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "running",
        Some(Outcome::Complete) => "ok",
        Some(Outcome::Parked) => "degraded",
        Some(Outcome::NothingToDo) => "idle",
        Some(Outcome::Failed) => "failing",
    }
}

fn word(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "under way",
        Some(Outcome::Complete) => "complete",
        Some(Outcome::Parked) => "complete with parked items",
        Some(Outcome::NothingToDo) => "nothing to do",
        Some(Outcome::Failed) => "failed",
    }
}

pub(super) fn table(visit: &Visit, runs: &[RunShown], with_pairs: bool) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Table of runs" {
            table {
                caption { "Runs, newest first" }
                thead { tr {
                    th scope="col" { "Began" }
                    @if with_pairs { th scope="col" { "Pair" } }
                    th scope="col" { "Outcome" } th.n scope="col" { "Took" } th scope="col" { "Window" }
                    th.n scope="col" { "Key changes" } th.n scope="col" { "Upserts" } th.n scope="col" { "Deletes" }
                    th.n scope="col" { "Parked" }
                } }
                tbody {
                    @for run in runs {
                        tr {
                            th scope="row" { a href=(run_path(&run.publication, &run.target, &run.id)) { (past(visit.now, Some(run.started_at))) } }
                            @if with_pairs {
                                td { a href=(super::pieces::pair_path(&run.publication, &run.target)) { (run.publication) " → " (run.target) } }
                            }
                            td {
                                (outcome(run.outcome))
                                @if let Some(error) = &run.error { span.why { (error.message) } }
                            }
                            td.n { @if let Some(took) = run.duration_seconds { (seconds(took)) } }
                            td { @if let Some(of) = &run.window { (window(of)) } }
                            @for stage in Stage::ALL { td.n { (tally(run.stages.of(stage).applied)) } }
                            td.n {
                                @let parked: u64 = Stage::ALL.iter().map(|stage| run.stages.of(*stage).parked).sum();
                                @if parked > 0 { b { (number(parked)) } } @else { (tally(0)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
