//! The fleet: totals, then pairs, what wants a person most first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::admission::Visit;
use super::frame::{self, Place, Refusal, told};
use super::pieces::{
    Slice, badge, choice, figure, filter_fold, future, nothing, past, path_of, run_path, said,
    state, tally, with,
};
use crate::desk::orders::parse_label;
use crate::desk::wording::{count, many, number};
use crate::desk::{DeskError, PairCondition, PairStatus, Selectors};
use crate::domain::Outcome;

const AT_ONCE: usize = 50;
/// Reasons that are told above the pairs.
const MOST_SHARED: usize = 5;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// A part of the name of the publication or the target.
    text: String,
    state: String,
    stage: String,
    /// `key=value`
    label: String,
    connection: String,
    sort: String,
    page: Option<usize>,
}

impl Asked {
    fn is_given(&self) -> bool {
        let parts =
            [&self.text, &self.state, &self.stage, &self.label, &self.connection, &self.sort];
        parts.iter().any(|part| !part.is_empty())
    }
}

/// How far a pair has come since it was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Onboarding {
    NeverRun,
    FirstLoad,
    FirstLoadStopped,
    Behind,
    InStep,
    Verified,
    Differs,
}

impl Onboarding {
    const ALL: [Onboarding; 7] = [
        Onboarding::NeverRun,
        Onboarding::FirstLoad,
        Onboarding::FirstLoadStopped,
        Onboarding::Behind,
        Onboarding::InStep,
        Onboarding::Verified,
        Onboarding::Differs,
    ];

    pub(super) fn of(pair: &PairStatus) -> Onboarding {
        let is_behind = pair.lag_versions.is_some_and(|lag| lag > 0);
        match (pair.watermark, pair.measured.compared.as_ref().map(|found| found.equal)) {
            (None, _) if pair.run_id.is_some() => Onboarding::FirstLoad,
            (None, _) if pair.last_run.is_some() => Onboarding::FirstLoadStopped,
            (None, _) => Onboarding::NeverRun,
            (Some(_), Some(false)) => Onboarding::Differs,
            (Some(_), _) if is_behind => Onboarding::Behind,
            (Some(_), Some(true)) => Onboarding::Verified,
            (Some(_), None) => Onboarding::InStep,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Onboarding::NeverRun => "never-run",
            Onboarding::FirstLoad => "first-load",
            Onboarding::FirstLoadStopped => "first-load-stopped",
            Onboarding::Behind => "behind",
            Onboarding::InStep => "in-step",
            Onboarding::Verified => "verified",
            Onboarding::Differs => "differs",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Onboarding::NeverRun => "never run",
            Onboarding::FirstLoad => "first load under way",
            Onboarding::FirstLoadStopped => "first load not finished",
            Onboarding::Behind => "behind",
            Onboarding::InStep => "in step",
            Onboarding::Verified => "verified equal",
            Onboarding::Differs => "compared, differs",
        }
    }
}

pub(super) async fn show(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let all = visit.desk.pairs(visit.by(), &Selectors::default()).await?;
    let (pairs, trouble) = match chosen(&visit, &asked, &all).await {
        Ok(pairs) => (pairs, None),
        // A filter that nothing fits is no reason to lose the page.
        Err(DeskError::NotThere(why) | DeskError::Refused(why)) => (Vec::new(), Some(why)),
        Err(
            error @ (DeskError::Conflict(_)
            | DeskError::Forbidden { .. }
            | DeskError::NotNow(_)
            | DeskError::Failed(_)
            | DeskError::State(_)),
        ) => return Err(error.into()),
    };
    let slice = Slice::new(asked.page, AT_ONCE, pairs.len());
    let main = html! {
        h1.sr { "Fleet" }
        (said(&summary(&all)))
        section #totals data-live aria-label="Totals" { (totals(&visit, &all)) (shared_reasons(&visit, &all)) }
        (filters(&asked, &all))
        @if let Some(why) = trouble { p.alert role="alert" { (told(&why)) } }
        section #pairs data-live aria-label="Pairs" {
            (table(&visit, &pairs, slice))
            (slice.pager(&visit.uri))
        }
    };
    Ok(frame::page(&visit, Place::Fleet, "Fleet", Some("/live"), &main))
}

/// Those of `all` that fit; whose they are by label and connection, only the desk knows.
async fn chosen(
    visit: &Visit,
    asked: &Asked,
    all: &[PairStatus],
) -> Result<Vec<PairStatus>, DeskError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let which = Selectors {
        labels: given(&asked.label)
            .iter()
            .map(|label| parse_label(label))
            .collect::<Result<_, _>>()?,
        connection: given(&asked.connection),
        ..Selectors::default()
    };
    let mut pairs = match which == Selectors::default() {
        true => all.to_vec(),
        false => visit.desk.pairs(visit.by(), &which).await?,
    };
    let text = asked.text.trim().to_lowercase();
    pairs.retain(|pair| {
        (asked.state.is_empty() || pair.state.as_str() == asked.state)
            && (asked.stage.is_empty() || Onboarding::of(pair).word() == asked.stage)
            && (text.is_empty()
                || pair.publication.to_lowercase().contains(&text)
                || pair.target.to_lowercase().contains(&text))
    });
    sort(&mut pairs, &asked.sort);
    Ok(pairs)
}

/// Pairs that are alike stay in order of name.
fn sort(pairs: &mut [PairStatus], by: &str) {
    let lag = |pair: &PairStatus| Reverse(pair.lag_versions.unwrap_or(i64::MAX));
    match by {
        "name" => {}
        "lag" => pairs.sort_by_key(lag),
        "parked" => pairs.sort_by_key(|pair| Reverse((pair.dead, pair.parked))),
        "in-step" => pairs.sort_by_key(|pair| pair.caught_up_at),
        "next" => pairs.sort_by_key(|pair| (pair.next_run_at.is_none(), pair.next_run_at)),
        _ => pairs.sort_by_key(|pair| {
            (pair.state.badness(), Reverse(pair.dead), Reverse(pair.parked), lag(pair))
        }),
    }
}

/// `3 pairs: 1 failing, 2 ok`
fn summary(pairs: &[PairStatus]) -> String {
    let mut states: BTreeMap<u8, (PairCondition, usize)> = BTreeMap::new();
    for pair in pairs {
        states.entry(pair.state.badness()).or_insert((pair.state, 0)).1 += 1;
    }
    let states: Vec<String> =
        states.values().map(|(state, found)| format!("{found} {}", state.as_str())).collect();
    format!("{}: {}", count(many(pairs.len()), "pair"), states.join(", "))
}

fn totals(visit: &Visit, pairs: &[PairStatus]) -> Markup {
    let mut states: BTreeMap<(u8, PairCondition), usize> = BTreeMap::new();
    let mut stages: BTreeMap<Onboarding, usize> = BTreeMap::new();
    for pair in pairs {
        *states.entry((pair.state.badness(), pair.state)).or_default() += 1;
        *stages.entry(Onboarding::of(pair)).or_default() += 1;
    }
    let parked = pairs.iter().map(|pair| pair.parked).sum::<u64>();
    let dead = pairs.iter().map(|pair| pair.dead).sum::<u64>();
    let lag = pairs.iter().filter_map(|pair| pair.lag_versions).max().unwrap_or(0);
    let uri = &visit.uri;
    html! {
        ul.tiles {
            li.tile { a href=(with(uri, "state", "")) { b { (number(many(pairs.len()))) } span { "pairs" } } }
            @for ((_, condition), found) in &states {
                li.tile {
                    a href=(with(uri, "state", condition.as_str())) {
                        b { (number(many(*found))) }
                        (state(*condition))
                    }
                }
            }
            li.tile { a href="/parked?status=parked" { b { (number(parked)) } span { "parked" } } }
            li.tile { a href="/parked?status=dead" { b { (number(dead)) } span { "dead" } } }
            li.tile { a href=(with(uri, "sort", "lag")) { b { (number(lag.unsigned_abs())) } span { "versions behind at most" } } }
        }
        p.stages {
            "Since they were configured: "
            @for (index, (stage, found)) in stages.iter().enumerate() {
                @if index > 0 { ", " }
                a href=(with(uri, "stage", stage.word())) { (number(many(*found))) " " (stage.name()) }
            }
            @if stages.is_empty() { "no pair is configured" }
        }
    }
}

/// What keeps several pairs is one thing to mend: a target that is down is not six hundred failures.
fn shared_reasons(visit: &Visit, pairs: &[PairStatus]) -> Markup {
    let mut found: BTreeMap<(u8, PairCondition, &str), usize> = BTreeMap::new();
    let wants_somebody = |pair: &&PairStatus| {
        matches!(
            pair.state,
            PairCondition::Blocked | PairCondition::Failing | PairCondition::Waiting
        )
    };
    for pair in pairs.iter().filter(wants_somebody) {
        if let Some(reason) = &pair.reason {
            *found.entry((pair.state.badness(), pair.state, reason)).or_default() += 1;
        }
    }
    let mut shared: Vec<_> = found.into_iter().filter(|(_, pairs)| *pairs > 1).collect();
    shared.sort_by_key(|((badness, ..), pairs)| (*badness, Reverse(*pairs)));
    html! {
        @if !shared.is_empty() {
            ul.causes aria-label="What several pairs have in common" {
                @for ((_, condition, reason), pairs) in shared.into_iter().take(MOST_SHARED) {
                    li {
                        a href=(with(&visit.uri, "state", condition.as_str())) { (count(many(pairs), "pair")) " " (condition.as_str()) }
                        ": " (told(reason))
                    }
                }
            }
        }
    }
}

fn filters(asked: &Asked, pairs: &[PairStatus]) -> Markup {
    let labels: BTreeSet<String> = pairs
        .iter()
        .flat_map(|pair| pair.labels.iter().map(|(key, value)| format!("{key}={value}")))
        .collect();
    let targets: BTreeSet<&str> = pairs.iter().map(|pair| pair.target.as_str()).collect();
    let chosen = |text: &'static str, value: &str| value == text;
    html! {
        (filter_fold("/", "Filter pairs", asked.is_given(), &html! {
            label { "Name" input type="search" name="text" value=(asked.text); }
            label { "State"
                select name="state" {
                    (choice("", "all", None))
                    @for word in PairCondition::WORDS { (choice(word, word, Some(&asked.state))) }
                }
            }
            label { "Stage"
                select name="stage" {
                    (choice("", "all", None))
                    @for stage in Onboarding::ALL { (choice(stage.word(), stage.name(), Some(&asked.stage))) }
                }
            }
            label { "Label" input name="label" value=(asked.label) placeholder="key=value" list="labels"; }
            label { "Connection" input name="connection" value=(asked.connection) list="connections"; }
            label { "Order"
                select name="sort" {
                    @for (value, name) in [
                        ("", "worst first"), ("lag", "versions behind"), ("in-step", "longest behind"),
                        ("parked", "dead and parked"), ("next", "next run"), ("name", "name"),
                    ] {
                        option value=(value) selected[chosen(value, &asked.sort)] { (name) }
                    }
                }
            }
            datalist #labels { @for label in &labels { option value=(label) {} } }
            datalist #connections { @for target in &targets { option value=(target) {} } }
            button type="submit" { "Filter" }
            a.clear href="/" { "Clear" }
        }))
    }
}

fn table(visit: &Visit, pairs: &[PairStatus], slice: Slice) -> Markup {
    html! {
        table.cards role="table" {
            caption { (count(many(pairs.len()), "pair")) }
            thead role="rowgroup" {
                tr role="row" {
                    th scope="col" role="columnheader" { "Pair" }
                    th scope="col" role="columnheader" { "State" }
                    th.n scope="col" role="columnheader" { "Behind" }
                    th scope="col" role="columnheader" { "In step" }
                    th.n scope="col" role="columnheader" { "Parked" }
                    th.n scope="col" role="columnheader" { "Dead" }
                    th scope="col" role="columnheader" { "Last run" }
                    th scope="col" role="columnheader" { "Next run" }
                }
            }
            tbody role="rowgroup" {
                @for pair in slice.of(pairs) { (row(visit, pair)) }
                @if pairs.is_empty() {
                    tr role="row" { td.empty role="cell" colspan="8" { "No pair fits. " a href="/" { "Show all" } } }
                }
            }
        }
    }
}

fn row(visit: &Visit, pair: &PairStatus) -> Markup {
    let now = visit.now;
    let path = path_of(pair);
    let parked = |status: &str| {
        format!("/parked?publication={}&target={}&status={status}", pair.publication, pair.target)
    };
    html! {
        tr role="row" id={ "pair-" (pair.publication) "-" (pair.target) } {
            th scope="row" role="rowheader" {
                a href=(path) { (pair.publication) span.arrow { " → " } (pair.target) }
                @if !pair.labels.is_empty() {
                    span.labels { @for (key, value) in &pair.labels { span.label { (key) "=" (value) } } }
                }
            }
            td role="cell" data-label="State" {
                @if Onboarding::of(pair) == Onboarding::NeverRun && pair.state == PairCondition::Ok { (badge("idle", "·", "ok")) } @else { (state(pair.state)) }
                @if pair.run_id.is_some() && pair.state != PairCondition::Running { " " (badge("running", "▶", "running")) }
                span.stage { (Onboarding::of(pair).name()) }
                @if let Some(reason) = &pair.reason { span.why { (told(reason)) } }
            }
            td.n role="cell" data-label="Behind" {
                @match pair.lag_versions {
                    Some(lag) => { (tally(lag.unsigned_abs())) span.unit { @if lag == 1 { " version" } @else { " versions" } } },
                    None => (nothing()),
                }
            }
            td role="cell" data-label="In step" { (past(now, pair.caught_up_at)) }
            td.n role="cell" data-label="Parked" {
                @if pair.parked > 0 { a href=(parked("parked")) { (number(pair.parked)) } } @else { (figure(Some(0))) }
            }
            td.n role="cell" data-label="Dead" {
                @if pair.dead > 0 { a.bad href=(parked("dead")) { (number(pair.dead)) } } @else { (figure(Some(0))) }
            }
            td role="cell" data-label="Last run" {
                @match &pair.last_run {
                    Some(run) => {
                        a href=(run_path(&pair.publication, &pair.target, &run.id)) {
                            @if run.outcome == Outcome::Failed { "failed " }
                            (past(now, Some(run.ended_at)))
                        }
                    },
                    None => span.quiet { "never" },
                }
            }
            td role="cell" data-label="Next run" { (future(now, pair.next_run_at)) }
        }
    }
}
