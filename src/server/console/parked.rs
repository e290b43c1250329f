//! Parked and dead items: root causes over what waits for them, tried again or given up, and a file for
//! the district that must mend them.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::admission::Visit;
use super::forms::{self, Form};
use super::frame::{self, Place, Refusal, csrf};
use super::pieces::{
    Slice, badge, choice, command, filter_fold, future, nothing, pair_path, past, quoted, with,
};
use crate::desk::causes::{self, Root, cause, leaves};
use crate::desk::wording::{count, csv, many, moment, number};
use crate::desk::{
    DeskError, ParkedChoice, ParkedFilter, ParkedItem, Part, Role, Selectors, advice,
};
use crate::domain::ParkReason;
use crate::state::{Operation, ParkStatus};

/// Root causes on a page.
const AT_ONCE: usize = 50;
/// Dependants that are listed below their cause; the others are summed up.
const BEHIND: usize = 100;
/// Above it an export is asked for from the command line.
const MOST: usize = 50_000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// A name or a glob.
    publication: String,
    target: String,
    /// `key=value`
    label: String,
    connection: String,
    resource: String,
    reason: String,
    status: String,
    page: Option<usize>,
}

impl Asked {
    fn of_form(form: &Form) -> Asked {
        let text = |name| form.text(name).unwrap_or_default().to_owned();
        Asked {
            publication: text("publication"),
            target: text("target"),
            label: text("label"),
            connection: text("connection"),
            resource: text("resource"),
            reason: text("reason"),
            status: text("status"),
            page: None,
        }
    }

    fn selectors(&self) -> Result<Selectors, DeskError> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let labels = given(&self.label);
        Ok(Selectors {
            publications: given(&self.publication).into_iter().collect(),
            labels: labels
                .iter()
                .map(|label| crate::desk::orders::parse_label(label))
                .collect::<Result<_, _>>()?,
            connection: given(&self.connection),
            target: given(&self.target),
        })
    }

    fn filter(&self) -> Result<ParkedFilter, DeskError> {
        Ok(ParkedFilter {
            resource: Some(self.resource.trim().to_owned()).filter(|text| !text.is_empty()),
            reason: forms::word("reason", Some(&self.reason))?,
            status: forms::word("status", Some(&self.status))?,
        })
    }

    fn members(&self) -> [(&'static str, &str); 7] {
        [
            ("publication", &self.publication),
            ("target", &self.target),
            ("label", &self.label),
            ("connection", &self.connection),
            ("resource", &self.resource),
            ("reason", &self.reason),
            ("status", &self.status),
        ]
    }

    fn query(&self) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(self.members().into_iter().filter(|(_, value)| !value.is_empty()));
        form.finish()
    }
}

/// An item, and what it comes down to.
struct Listed {
    item: ParkedItem,
    root: Option<Root>,
}

/// A root cause and what waits behind it.
struct Cause<'l> {
    head: Option<&'l ParkedItem>,
    /// What is not parked, where nothing at the head is.
    absent: Option<&'l str>,
    behind: Vec<&'l ParkedItem>,
}

pub(super) async fn show(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let items = listed(&visit, &asked).await?;
    let causes = by_cause(&items);
    let slice = Slice::new(asked.page, AT_ONCE, causes.len());
    let may_see = visit.may(Role::Operator);
    let main = html! {
        h1 { "Parked and dead items" }
        (filters(&asked))
        (summary(&visit, &items))
        @if !may_see { p.quiet { "Keys are masked for viewers, and with them what waits for what." } }
        @if items.is_empty() {
            p.done { "Nothing that fits is parked." }
        } @else {
            p {
                a href={ "/parked.csv?" (asked.query()) } download { "Download as CSV" }
                " for whoever must mend it: "
                @if may_see { "keys are in it, so treat it like the data itself." } @else { "without keys." }
            }
            form #items method="post" action="/parked/retry" {
                (csrf(&visit))
                @for (name, value) in asked.members() {
                    @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
                }
                (table(&visit, slice.of(&causes), causes.len()))
                (slice.pager(&visit.uri))
                @if may_see { (orders(&visit, items.len())) }
            }
            (command(&format!("tidemark parked list{} --group-by cause", of_command(&asked))))
        }
    };
    // Keys that are shown are audited, so nothing here is read again by itself.
    Ok(frame::page(&visit, Place::Parked, "Parked", None, &main))
}

fn of_command(asked: &Asked) -> String {
    let mut text = String::new();
    if !asked.publication.is_empty() {
        text.push_str(&format!(" {}", quoted(&asked.publication)));
    }
    let rest = asked.members();
    for (name, value) in
        rest.into_iter().filter(|(name, value)| *name != "publication" && !value.is_empty())
    {
        text.push_str(&format!(" --{name} {}", quoted(value)));
    }
    text
}

/// Every item of the pairs, so that a cause is found that a filter leaves out; then those that fit.
async fn listed(visit: &Visit, asked: &Asked) -> Result<Vec<Listed>, DeskError> {
    let (which, filter) = (asked.selectors()?, asked.filter()?);
    let mut items: Vec<ParkedItem> = Vec::new();
    let mut part = Part { after: None, limit: Part::LONGEST };
    loop {
        let page =
            match visit.desk.parked(visit.by(), &which, &ParkedFilter::default(), &part).await {
                // A publication that is gone has nothing that waits.
                Err(DeskError::NotThere(_)) => break,
                page => page?,
            };
        items.extend(page.items);
        part.after = page.next;
        if part.after.is_none() || items.len() >= MOST {
            break;
        }
    }
    let mut listed = Vec::new();
    for of_pair in items.chunk_by(|one, other| one.pair() == other.pair()) {
        for (item, root) in of_pair.iter().zip(causes::roots(of_pair)) {
            if filter.admits_shown(item) {
                listed.push(Listed { item: item.clone(), root: root.named(item, of_pair) });
            }
        }
    }
    Ok(listed)
}

/// Those that most wait for come first.
fn by_cause(items: &[Listed]) -> Vec<Cause<'_>> {
    type Of<'l> = (&'l str, &'l str, &'l str);
    fn place<'l>(item: &'l ParkedItem, what: &'l str) -> Of<'l> {
        (&item.publication, &item.target, what)
    }
    let is_listed: BTreeMap<Of<'_>, ()> =
        items.iter().map(|one| (place(&one.item, &one.item.id), ())).collect();
    let mut causes: Vec<Cause<'_>> = Vec::new();
    let mut heads: BTreeMap<Of<'_>, usize> = BTreeMap::new();
    let mut waiting: Vec<(Of<'_>, &ParkedItem)> = Vec::new();
    for Listed { item, root } in items {
        match root {
            Some(Root::Item(id)) if is_listed.contains_key(&place(item, id)) => {
                waiting.push((place(item, id), item));
            }
            Some(Root::Absent(what)) => {
                let at = *heads.entry(place(item, what)).or_insert_with(|| {
                    causes.push(Cause { head: None, absent: Some(what), behind: Vec::new() });
                    causes.len() - 1
                });
                causes[at].behind.push(item);
            }
            Some(Root::Item(_)) | None => {
                heads.insert(place(item, &item.id), causes.len());
                causes.push(Cause { head: Some(item), absent: None, behind: Vec::new() });
            }
        }
    }
    for (of, item) in waiting {
        if let Some(at) = heads.get(&of) {
            causes[*at].behind.push(item);
        }
    }
    causes.sort_by_key(|cause| {
        let is_dead = cause.head.is_some_and(|item| item.status == ParkStatus::Dead);
        (std::cmp::Reverse(cause.behind.len()), !is_dead)
    });
    causes
}

fn filters(asked: &Asked) -> Markup {
    html! {
        (filter_fold("/parked", "Filter items", asked.members().iter().any(|(_, value)| !value.is_empty()), &html! {
            label { "Publication" input name="publication" value=(asked.publication) placeholder="name or glob"; }
            label { "Target" input name="target" value=(asked.target); }
            label { "Label" input name="label" value=(asked.label) placeholder="key=value"; }
            label { "Resource" input name="resource" value=(asked.resource) placeholder="students"; }
            label { "Cause"
                select name="reason" {
                    (choice("", "all", None))
                    @for reason in ParkReason::ALL { (choice(reason.as_str(), reason.as_str(), Some(&asked.reason))) }
                }
            }
            label { "Status"
                select name="status" {
                    (choice("", "all", None))
                    (choice("parked", "parked", Some(&asked.status)))
                    (choice("dead", "dead", Some(&asked.status)))
                }
            }
            button type="submit" { "Filter" }
            a.clear href="/parked" { "Clear" }
        }))
    }
}

/// By cause and resource, each a way to narrow.
fn summary(visit: &Visit, items: &[Listed]) -> Markup {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut resources: BTreeMap<&str, u64> = BTreeMap::new();
    for Listed { item, .. } in items {
        *reasons.entry(item.reason.as_str()).or_default() += 1;
        *resources.entry(item.resource.as_str()).or_default() += 1;
    }
    let most = |of: BTreeMap<&str, u64>| {
        let mut all: Vec<(String, u64)> =
            of.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(8);
        all
    };
    html! {
        @if !items.is_empty() {
            p.stages {
                b { (count(many(items.len()), "item")) } ". By cause: "
                @for (name, count) in most(reasons) { a href=(with(&visit.uri, "reason", &name)) { (number(count)) " " (name) } " " }
                " By resource: "
                @for (name, count) in most(resources) { a href=(with(&visit.uri, "resource", &name)) { (number(count)) " " (name) } " " }
            }
        }
    }
}

fn table(visit: &Visit, causes: &[Cause<'_>], all: usize) -> Markup {
    let may_choose = visit.may(Role::Operator);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Parked items" {
            table.items role="table" {
                caption { (count(many(all), "root cause")) ", those that most wait for first" }
                thead role="rowgroup" { tr role="row" {
                    @if may_choose { th.check scope="col" role="columnheader" { span.sr { "Choose" } } }
                    @for name in ["Item", "Cause", "Status", "Attempts", "Next attempt", "First seen"] {
                        th.n[name == "Attempts"] scope="col" role="columnheader" { (name) }
                    }
                } }
                @for cause in causes {
                    tbody role="rowgroup" {
                        @match cause.head {
                            Some(item) => (row(visit, item, cause.behind.len())),
                            None => (absent(cause, may_choose)),
                        }
                        @if !cause.behind.is_empty() { (behind(cause, may_choose)) }
                    }
                }
            }
        }
    }
}

fn absent(cause: &Cause<'_>, may_choose: bool) -> Markup {
    html! {
        tr.root role="row" {
            @if may_choose { td.check role="cell" {} }
            th scope="row" role="rowheader" { span.key { (cause.absent.unwrap_or_default()) } }
            td.cause role="cell" { "not at the target, and not parked" span.why { (waiting(cause.behind.len())) } }
            td role="cell" colspan="4" { span.quiet { "publish it, and they follow" } }
        }
    }
}

/// What waits for the cause above it: by resource, and item by item for whoever opens it.
fn behind(cause: &Cause<'_>, may_choose: bool) -> Markup {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for item in &cause.behind {
        *sums.entry(item.resource.as_str()).or_default() += 1;
    }
    html! {
        tr.behind role="row" {
            @if may_choose { td.check role="cell" {} }
            td role="cell" colspan="6" {
                details {
                    summary {
                        (waiting(cause.behind.len())) ": "
                        @for (index, (resource, sum)) in sums.iter().enumerate() {
                            @if index > 0 { ", " }
                            (number(*sum)) " " (resource)
                        }
                    }
                    ul.items {
                        @for item in cause.behind.iter().take(BEHIND) {
                            li {
                                @if may_choose {
                                    input type="checkbox" name="id" value=(item.id) aria-label={ "Choose " (item.resource) " " (key_of(item)) };
                                    " "
                                }
                                a href={ "/parked/" (item.id) } { (item.resource) } " "
                                span.key { (key_of(item)) }
                                @if item.status == ParkStatus::Dead { " " (status(item)) }
                            }
                        }
                    }
                    @if cause.behind.len() > BEHIND { p.quiet { "… and " (number(many(cause.behind.len() - BEHIND))) " more" } }
                    p.quiet { "They are tried by themselves as soon as what they wait for was taken." }
                }
            }
        }
    }
}

fn waiting(behind: usize) -> String {
    let verb = if behind == 1 { "waits" } else { "wait" };
    format!("{} {verb} for it", count(many(behind), "item"))
}

fn row(visit: &Visit, item: &ParkedItem, behind: usize) -> Markup {
    let key = key_of(item);
    let named = format!("{} {key}", item.resource);
    html! {
        tr.root role="row" {
            @if visit.may(Role::Operator) {
                td.check role="cell" { input type="checkbox" name="id" value=(item.id) aria-label={ "Choose " (named) }; }
            }
            th scope="row" role="rowheader" {
                a href={ "/parked/" (item.id) } { (item.resource) }
                span.key { (key) }
                span.pair { a href=(pair_path(&item.publication, &item.target)) { (item.publication) " → " (item.target) } }
            }
            td.cause role="cell" {
                (item.reason.as_str())
                @if item.error.status > 0 { " (" (item.error.status) ")" }
                @if let Some(detail) = &item.error.detail { span.why { (detail) } }
                @if !item.error.members.is_empty() { span.why { "at " @for member in &item.error.members { code { (member) } " " } } }
                @if let (0, Some(what)) = (behind, &item.waits_for) { span.why { "waits for " (cause(what)) } }
            }
            td role="cell" data-label="Status" { (status(item)) }
            td.n role="cell" data-label="Attempts" { (number(item.attempts.into())) }
            td role="cell" data-label="Next attempt" { @match item.next_attempt_at { Some(_) => (future(visit.now, item.next_attempt_at)), None => (nothing()) } }
            td role="cell" data-label="First seen" { (past(visit.now, Some(item.first_seen_at))) }
        }
    }
}

fn status(item: &ParkedItem) -> Markup {
    match item.status {
        ParkStatus::Parked => badge("degraded", "▲", "parked"),
        ParkStatus::Dead => badge("failing", "✕", "dead"),
    }
}

fn key_of(item: &ParkedItem) -> String {
    item.key.as_ref().map_or_else(|| "key not shown".to_owned(), leaves)
}

/// What can be done with those that are chosen, or with all that the filters admit.
fn orders(visit: &Visit, all: usize) -> Markup {
    html! {
        div.orders.sticky {
            button.primary type="submit" name="which" value="chosen" { "Retry the chosen" }
            button type="submit" name="which" value="all" { "Retry all " (number(many(all))) " that match" }
            @if visit.may(Role::Admin) {
                details.order {
                    summary { "Give up…" }
                    div.stack {
                        p { "What is given up is not tried again; the watermark stays, and a comparison finds what differs." }
                        label { "Reason, for whoever asks later" input name="because" autocomplete="off"; }
                        button.danger type="submit" name="which" value="chosen" formaction="/parked/discard" { "Give up the chosen" }
                        button.danger type="submit" name="which" value="all" formaction="/parked/discard" { "Give up all " (number(many(all))) " that match" }
                    }
                }
            }
        }
    }
}

pub(super) async fn one(visit: Visit, Path(id): Path<String>) -> Result<Response, Refusal> {
    let item = visit.desk.parked_item(visit.by(), &id).await?;
    let hidden = |name: &str, value: &str| html! { input type="hidden" name=(name) value=(value); };
    let title = format!(
        "{} {}",
        item.resource,
        if item.status == ParkStatus::Dead { "dead" } else { "parked" }
    );
    let main = html! {
        p.crumbs {
            a href="/parked" { "Parked" } " / "
            a href=(pair_path(&item.publication, &item.target)) { (item.publication) " → " (item.target) }
        }
        h1 { (item.resource) " " (status(&item)) }
        div.advice {
            h2 { "What to do" }
            p { (frame::sentence(advice(item.reason))) }
            (command(&format!("tidemark parked show {} --live", item.id)))
        }
        dl.facts {
            div { dt { "Key" } dd { code.key { (key_of(&item)) } } }
            div { dt { "Operation" } dd { (operation(item.operation)) } }
            div { dt { "Cause" } dd { (item.reason.as_str()) } }
            @if item.error.status > 0 { div { dt { "Status of the target" } dd { (item.error.status) } } }
            @if let Some(kind) = &item.error.kind { div { dt { "Type" } dd { code { (kind) } } } }
            @if !item.error.members.is_empty() { div { dt { "Members" } dd { @for member in &item.error.members { code { (member) } " " } } } }
            @if let Some(detail) = &item.error.detail { div { dt { "Detail" } dd { (detail) } } }
            @if let Some(what) = &item.waits_for { div { dt { "Waits for" } dd { code { (cause(what)) } } } }
            div { dt { "Attempts" } dd { (number(item.attempts.into())) } }
            div { dt { "First seen" } dd { (moment(item.first_seen_at)) } }
            div { dt { "Next attempt" } dd { @match item.next_attempt_at { Some(at) => { (moment(at)) ", " (future(visit.now, Some(at))) }, None => "none: it is dead" } } }
            div { dt { "Id" } dd { code { (item.id) } } }
        }
        @if visit.may(Role::Operator) {
            div.orders {
                form method="post" action="/parked/retry" {
                    (csrf(&visit)) (hidden("id", &item.id)) (hidden("which", "chosen"))
                    button.primary type="submit" { "Retry" }
                }
                @if visit.may(Role::Admin) {
                    details.order {
                        summary { "Give up…" }
                        form.stack method="post" action="/parked/discard" {
                            (csrf(&visit)) (hidden("id", &item.id)) (hidden("which", "chosen"))
                            label { "Reason, for whoever asks later" input name="because" required autocomplete="off"; }
                            button.danger type="submit" { "Give it up" }
                        }
                    }
                }
            }
        }
    };
    Ok(frame::page(&visit, Place::Parked, &title, None, &main))
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::KeyChange => "key change",
        Operation::Upsert => "upsert",
        Operation::Delete => "delete",
    }
}

/// The boxes that were ticked, or what the filters admit; never more than one of both.
fn chosen(form: &Form) -> Result<ParkedChoice, DeskError> {
    match form.text("which") {
        Some("chosen") => {
            let ids: Vec<String> = form.all("id").into_iter().map(str::to_owned).collect();
            if ids.is_empty() {
                return Err(DeskError::Refused("choose at least one item".to_owned()));
            }
            Ok(ParkedChoice { ids, which: None })
        }
        Some("all") => {
            let asked = Asked::of_form(form);
            Ok(ParkedChoice { ids: Vec::new(), which: Some((asked.selectors()?, asked.filter()?)) })
        }
        Some(_) | None => Err(DeskError::Refused("say which items".to_owned())),
    }
}

pub(super) async fn retry(visit: Visit, form: Form) -> Result<Response, Refusal> {
    let count = visit.desk.retry(visit.by(), &chosen(&form)?).await?;
    Ok(back(&form, "retried", count))
}

pub(super) async fn discard(visit: Visit, form: Form) -> Result<Response, Refusal> {
    let because = form.text("because").ok_or_else(|| {
        DeskError::Refused("a reason is wanted: whoever asks later sees it".to_owned())
    })?;
    let count = visit.desk.discard(visit.by(), &chosen(&form)?, Some(because)).await?;
    Ok(back(&form, "discarded", count))
}

fn back(form: &Form, did: &str, count: u64) -> Response {
    let query = Asked::of_form(form).query();
    let and = if query.is_empty() { "" } else { "&" };
    Redirect::to(&format!("/parked?{query}{and}did={did}-{count}")).into_response()
}

/// A row an item, as the command writes it, with what to do.
pub(super) async fn download(
    visit: Visit,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let items = listed(&visit, &asked).await?;
    let columns = [&ParkedItem::COLUMNS[..], &["error_detail", "what_to_do"]].concat();
    let row = |Listed { item, .. }: &Listed| {
        let detail = item.error.detail.clone().unwrap_or_default();
        let more = [detail, advice(item.reason).to_owned()];
        item.cells().into_iter().chain(more).map(harmless).collect()
    };
    let text = csv(&columns, items.iter().map(row));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"parked.csv\""),
    ];
    Ok((headers, text).into_response())
}

/// A spreadsheet takes what begins so for a formula, and somebody else chose the text.
fn harmless(cell: String) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{cell}"),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_a_download_is_a_formula() {
        for (cell, expected) in
            [("=1+1", "'=1+1"), ("@a", "'@a"), ("-1", "'-1"), ("a=1", "a=1"), ("", "")]
        {
            assert_eq!(harmless(cell.to_owned()), expected);
        }
    }

    #[test]
    fn an_order_that_names_nothing_is_none() {
        for body in ["", "which=chosen", "which=", "which=everything", "id=a"] {
            assert!(chosen(&Form::parse(body.as_bytes())).is_err(), "{body}");
        }
        let some = chosen(&Form::parse(b"which=chosen&id=a&id=b&reason=invalid")).unwrap();
        assert_eq!((some.ids.len(), some.which), (2, None));
        let all = chosen(&Form::parse(b"which=all&id=a&reason=invalid&target=state")).unwrap();
        let (which, filter) = all.which.unwrap();
        assert!(all.ids.is_empty() && which.target.as_deref() == Some("state"));
        assert_eq!(filter.reason, Some(ParkReason::Invalid));
    }
}
