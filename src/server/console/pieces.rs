//! What several pages are made of: states, moments, figures, commands to copy, pages of a list.

use axum::http::Uri;
use maud::{Markup, html};

use crate::clock::Timestamp;
use crate::desk::wording::{ago, many, moment, number, until};
use crate::desk::{PairCondition, PairStatus};
use crate::domain::Outcome;
use crate::state::PairId;

/// A word with a sign of its own: nobody has to tell colours apart.
pub(super) fn state(condition: PairCondition) -> Markup {
    let sign = match condition {
        PairCondition::Blocked => "■",
        PairCondition::Failing => "✕",
        PairCondition::Degraded => "▲",
        PairCondition::Orphaned => "○",
        PairCondition::Waiting => "◔",
        PairCondition::Paused => "‖",
        PairCondition::Running => "▶",
        PairCondition::Ok => "✓",
    };
    badge(condition.as_str(), sign, condition.as_str())
}

pub(super) fn outcome(outcome: Option<Outcome>) -> Markup {
    match outcome {
        None => badge("running", "▶", "running"),
        Some(Outcome::Complete) => badge("ok", "✓", "complete"),
        Some(Outcome::Parked) => badge("degraded", "▲", "parked"),
        Some(Outcome::NothingToDo) => badge("idle", "·", "nothing to do"),
        Some(Outcome::Failed) => badge("failing", "✕", "failed"),
    }
}

pub(super) fn badge(class: &str, sign: &str, word: &str) -> Markup {
    html! {
        span class={ "badge is-" (class) } { span.sign aria-hidden="true" { (sign) } (word) }
    }
}

pub(super) fn past(now: Timestamp, then: Option<Timestamp>) -> Markup {
    at(then, |then| ago(now, then))
}

pub(super) fn future(now: Timestamp, then: Option<Timestamp>) -> Markup {
    at(then, |then| until(now, then))
}

fn at(then: Option<Timestamp>, told: impl Fn(Timestamp) -> String) -> Markup {
    html! {
        @match then {
            Some(then) => time datetime=(then.to_rfc3339()) title=(moment(then)) { (told(then)) },
            None => (nothing()),
        }
    }
}

pub(super) fn nothing() -> Markup {
    html! { span.quiet { "–" } }
}

pub(super) fn figure(value: Option<u64>) -> Markup {
    html! { @match value { Some(value) => (number(value)), None => (nothing()) } }
}

/// Zero is the usual, and steps back.
pub(super) fn tally(value: u64) -> Markup {
    html! { @if value == 0 { span.quiet { "0" } } @else { (number(value)) } }
}

/// A command for whoever would rather type, or has to tell somebody who does.
pub(super) fn command(text: &str) -> Markup {
    html! {
        div.command {
            code { (text) }
            button.plain.copy type="button" data-copy=(text) hidden { "Copy" }
        }
    }
}

/// As a shell takes it: names are letters, digits and `-`; anything else is quoted.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

pub(super) fn pair_path(publication: &str, target: &str) -> String {
    let mut url = url::Url::parse("http://console/pairs").expect("it is an address");
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(publication).push(target);
    }
    url.path().to_owned()
}

pub(super) fn path_of(pair: &PairStatus) -> String {
    pair_path(&pair.publication, &pair.target)
}

pub(super) fn path_of_id(pair: &PairId) -> String {
    pair_path(&pair.publication, &pair.target)
}

/// A run of a pair: it is looked for there and nowhere else.
pub(super) fn run_path(publication: &str, target: &str, run: &str) -> String {
    let mut path = pair_path(publication, target);
    path.push_str("/runs/");
    path.extend(url::form_urlencoded::byte_serialize(run.as_bytes()));
    path
}

/// The address of this page with one part of its query changed; empty takes it away.
pub(super) fn with(uri: &Uri, name: &str, value: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(found, _)| found != name && found != "page" && found != "did");
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(kept);
    if !value.is_empty() {
        form.append_pair(name, value);
    }
    let query = form.finish();
    if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) }
}

/// A part of a long list, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// From 1 on.
    pub(super) page: usize,
    pub(super) size: usize,
    pub(super) all: usize,
}

impl Slice {
    /// A page beyond the last is the last.
    pub(super) fn new(page: Option<usize>, size: usize, all: usize) -> Slice {
        let last = all.div_ceil(size).max(1);
        Slice { page: page.unwrap_or(1).clamp(1, last), size, all }
    }

    pub(super) fn of<T>(self, items: &[T]) -> &[T] {
        let from = ((self.page - 1) * self.size).min(items.len());
        &items[from..(from + self.size).min(items.len())]
    }

    fn last(self) -> usize {
        self.all.div_ceil(self.size).max(1)
    }

    /// `51–100 of 600`, and the ways to the parts beside this one.
    pub(super) fn pager(self, uri: &Uri) -> Markup {
        let from = (self.page - 1) * self.size + 1;
        let to = (self.page * self.size).min(self.all);
        html! {
            @if self.last() > 1 {
                nav.pager aria-label="Parts of the list" {
                    @if self.page > 1 {
                        a rel="prev" href=(with(uri, "page", &(self.page - 1).to_string())) { "Previous" }
                    }
                    span { (number(many(from))) "–" (number(many(to))) " of " (number(many(self.all))) }
                    @if self.page < self.last() {
                        a rel="next" href=(with(uri, "page", &(self.page + 1).to_string())) { "Next" }
                    }
                }
            }
        }
    }
}

/// What a screen reader says when it changes; figures that change all the time are not in it.
pub(super) fn said(text: &str) -> Markup {
    html! { p.sr #said role="status" data-live { (text) } }
}

/// The filters of a list. On a telephone the script folds them away until somebody wants them.
pub(super) fn filter_fold(action: &str, name: &str, is_given: bool, fields: &Markup) -> Markup {
    html! {
        details.fold open data-fold=[(!is_given).then_some("")] {
            summary { (name) }
            form.filters method="get" action=(action) role="search" aria-label=(name) { (fields) }
        }
    }
}

/// One choice of a list in a form.
pub(super) fn choice(value: &str, name: &str, chosen: Option<&str>) -> Markup {
    html! { option value=(value) selected[chosen == Some(value)] { (name) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_list_is_never_beyond_its_end() {
        let items: Vec<u32> = (1..=120).collect();
        for (asked, page, first, count) in
            [(None, 1, 1, 50), (Some(3), 3, 101, 20), (Some(9), 3, 101, 20), (Some(0), 1, 1, 50)]
        {
            let slice = Slice::new(asked, 50, items.len());

            assert_eq!(slice.page, page);
            assert_eq!((slice.of(&items)[0], slice.of(&items).len()), (first, count));
        }
        assert!(Slice::new(None, 50, 0).of(&items[..0]).is_empty());
    }

    #[test]
    fn an_address_keeps_its_filters_and_begins_at_the_first_part_again() {
        let uri: Uri = "/?state=failing&page=3&text=a%26b&did=paused".parse().unwrap();

        assert_eq!(with(&uri, "state", "ok"), "/?text=a%26b&state=ok");
        assert_eq!(with(&uri, "state", ""), "/?text=a%26b");
        assert_eq!(with(&"/?state=ok".parse().unwrap(), "state", ""), "/");
    }

    #[test]
    fn a_name_is_no_way_out_of_an_address_or_a_command() {
        assert_eq!(pair_path("a/../b", "c?d#e"), "/pairs/a%2F..%2Fb/c%3Fd%23e");
        assert_eq!(run_path("a", "b", "../x"), "/pairs/a/b/runs/..%2Fx");
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
        assert_eq!(quoted("district-1"), "district-1");
    }
}
