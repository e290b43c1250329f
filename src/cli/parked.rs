//! `tidemark parked`: looks at what waits, has it tried again, or gives it up. The one place where natural
//! keys are printed: whoever asks here has to know which item it is.

use std::collections::BTreeSet;

use crate::desk::causes::{self, Root, cause, leaves};
use crate::desk::{ParkedChoice, ParkedFilter, ParkedItem, Selectors, advice, fits};

use super::arguments::{
    Narrow, Output, ParkedCommand, ParkedDiscardArguments, ParkedFilterArguments,
    ParkedListArguments, ParkedRetryArguments, ParkedShowArguments, Selector,
};
use super::at_desk::{self, AtDesk};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::parked_groups::GroupBy;
use super::parked_table;
use super::{parked_live, show};

pub(super) async fn run(context: &Context, command: ParkedCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        ParkedCommand::List(arguments) => list(context, &arguments).await,
        ParkedCommand::Show(arguments) => show(context, &arguments).await,
        ParkedCommand::Retry(arguments) => retry(context, arguments).await,
        ParkedCommand::Discard(arguments) => discard(context, arguments).await,
    }
}

/// An item, and what all that waits behind it comes down to.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) shown: ParkedItem,
    /// `None` when it waits for nothing but itself.
    pub(super) root: Option<Root>,
}

/// Each with its root among those of its own pair, whatever a filter leaves out.
fn with_roots(items: Vec<ParkedItem>) -> Vec<Listed> {
    let mut listed = Vec::new();
    for of_pair in items.chunk_by(|one, other| one.pair() == other.pair()) {
        for (item, root) in of_pair.iter().zip(causes::roots(of_pair)) {
            listed.push(Listed { shown: item.clone(), root: root.named(item, of_pair) });
        }
    }
    listed
}

async fn list(context: &Context, arguments: &ParkedListArguments) -> Result<Exit, Failure> {
    let filter = parse_filter(&arguments.filter)?;
    let by = GroupBy::parse(&arguments.group_by)?;
    let at = at_desk::desk(context).await?;
    let which = choose::selectors(&arguments.selector)?;
    let mut items = with_roots(at.parked(&at.by, &which, &ParkedFilter::default()).await?);
    items.retain(|item| filter.admits_shown(&item.shown));
    if let Some(by) = by {
        return by.print(context, &items);
    }
    if context.wants_csv() {
        show::answer(&csv(&items))?;
        return Ok(Exit::Done);
    }
    match context.output() {
        Output::Json => {
            show::json_list(&items.iter().map(|item| &item.shown).collect::<Vec<_>>())?;
        }
        Output::Text if items.is_empty() => show::answer("nothing is parked")?,
        Output::Text => {
            show::answer(&parked_table::text(&items, context.clock.now(), arguments.every))?;
        }
    }
    Ok(Exit::Done)
}

fn csv(items: &[Listed]) -> String {
    let rows = items.iter().map(|Listed { shown, .. }| shown.cells().to_vec());
    show::csv(&ParkedItem::COLUMNS, rows)
}

pub(super) fn key(item: &ParkedItem) -> String {
    item.key.as_ref().map_or_else(|| "-".to_owned(), leaves)
}

/// Enough of an id to type.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

async fn show(context: &Context, arguments: &ParkedShowArguments) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    if arguments.live {
        return parked_live::look(context, &at, &arguments.ids).await;
    }
    let mut items = Vec::new();
    for id in &arguments.ids {
        items.push(at.desk.parked_item(&at.by, id).await.map_err(with_the_way_on)?);
    }
    match context.output() {
        Output::Json => show::json_list(&items)?,
        Output::Text => {
            show::answer(&items.iter().map(one).collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn with_the_way_on(error: crate::desk::DeskError) -> Failure {
    let not_there = matches!(error, crate::desk::DeskError::NotThere(_));
    let mut failure = Failure::from(error);
    if not_there {
        failure.message.push_str("; see `tidemark parked list`");
    }
    failure
}

pub(super) fn one(item: &ParkedItem) -> String {
    let mut lines = vec![
        ("id", item.id.clone()),
        ("pair", format!("{} → {}", item.publication, item.target)),
        ("resource", item.resource.to_string()),
        ("key", key(item)),
        ("operation", show::word(&item.operation)),
        ("status", show::word(&item.status)),
        ("reason", item.reason.as_str().to_owned()),
    ];
    if item.error.status > 0 {
        lines.push(("target's status", item.error.status.to_string()));
    }
    lines.extend(item.error.kind.clone().map(|kind| ("type", kind)));
    if !item.error.members.is_empty() {
        lines.push(("members", item.error.members.join(", ")));
    }
    lines.extend(item.error.detail.clone().map(|detail| ("detail", detail)));
    lines.push(("attempts", item.attempts.to_string()));
    lines.push(("first seen", show::moment(item.first_seen_at)));
    lines.push(("next attempt", show::or_dash(item.next_attempt_at.map(show::moment))));
    lines.extend(item.waits_for.as_ref().map(|what| ("waits for", cause(what))));
    lines.push(("what to do", advice(item.reason).to_owned()));
    let margin = " ".repeat(17);
    lines
        .into_iter()
        .map(|(name, value)| show::wrapped(&value, &format!("{name:<16} "), &margin))
        .collect()
}

async fn retry(context: &Context, arguments: ParkedRetryArguments) -> Result<Exit, Failure> {
    let at = at_desk::desk(context).await?;
    if arguments.show {
        return parked_live::try_once(context, &at, &arguments.named).await;
    }
    let filter = parse_filter(&arguments.filter)?;
    let named = Named { named: arguments.named, narrow: arguments.narrow, yes: arguments.yes };
    let chosen = chosen(&at, named, &filter, "`parked retry`").await?;
    let many = match chosen.items.is_empty() {
        true => 0,
        false => at.desk.retry(&at.by, &chosen.choice).await?,
    };
    match context.output() {
        Output::Json => show::json("retried", &many)?,
        Output::Text if many == 0 => show::answer("nothing that fits is parked")?,
        Output::Text => show::answer(&format!(
            "{} due now; the next run tries them: tidemark run {}",
            show::count(many, "item"),
            chosen.publications().into_iter().collect::<Vec<_>>().join(" ")
        ))?,
    }
    Ok(Exit::Done)
}

async fn discard(context: &Context, arguments: ParkedDiscardArguments) -> Result<Exit, Failure> {
    let filter = parse_filter(&arguments.filter)?;
    let at = at_desk::desk(context).await?;
    let named = Named { named: arguments.named, narrow: arguments.narrow, yes: arguments.yes };
    let chosen = chosen(&at, named, &filter, "`parked discard`").await?;
    let many = show::many(chosen.items.len());
    let because = arguments.because.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if many > 1 && !arguments.yes {
        return Err(Failure::usage(format!(
            "`parked discard` would give up {}: add `--yes` if that is meant",
            show::count(many, "item")
        )));
    }
    if many > 1 && because.is_none() {
        return Err(Failure::usage(format!(
            "`parked discard` would give up {} and wants a `--because TEXT`: whoever asks later \
             sees it",
            show::count(many, "item")
        )));
    }
    let many = match many {
        0 => 0,
        _ => at.desk.discard(&at.by, &chosen.choice, because).await?,
    };
    match context.output() {
        Output::Json => show::json("discarded", &many)?,
        Output::Text if many == 0 => show::answer("nothing that fits is parked")?,
        Output::Text => show::answer(&format!(
            "{} discarded; the watermark stays. What source and target differ in now, `tidemark \
             verify` finds",
            show::count(many, "item")
        ))?,
    }
    Ok(Exit::Done)
}

/// Ids and publications as they were typed.
struct Named {
    named: Vec<String>,
    narrow: Narrow,
    yes: bool,
}

/// What a command is about to change, and the items, without their keys, that this is now.
struct Chosen {
    choice: ParkedChoice,
    items: Vec<ParkedItem>,
}

impl Chosen {
    fn publications(&self) -> BTreeSet<&str> {
        self.items.iter().map(|item| item.publication.as_str()).collect()
    }
}

async fn chosen(
    at: &AtDesk,
    named: Named,
    filter: &ParkedFilter,
    what: &str,
) -> Result<Chosen, Failure> {
    let by = at.without_keys();
    let known = at.desk.pairs(&by, &Selectors::default()).await?;
    let is_publication = |name: &String| known.iter().any(|pair| fits(name, &pair.publication));
    let is_id = |name: &String| name.chars().all(|digit| digit.is_ascii_hexdigit());
    let (ids, publications): (Vec<String>, Vec<String>) =
        named.named.into_iter().partition(|name| !is_publication(name) && is_id(name));
    let mut items = Vec::new();
    for id in &ids {
        items.push(at.desk.parked_item(&by, id).await.map_err(with_the_way_on)?);
    }
    let selector = Selector { publications, narrow: named.narrow };
    let mut which = None;
    if ids.is_empty() || !choose::says_nothing(&selector) {
        at.pairs_to_change(&selector, named.yes, what).await?;
        let selectors = choose::selectors(&selector)?;
        items.extend(at.parked(&by, &selectors, filter).await?);
        which = Some((selectors, filter.clone()));
    }
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert((item.pair(), item.id.clone())));
    Ok(Chosen { choice: ParkedChoice { ids, which }, items })
}

/// `--resource`, `--reason` and `--status`, understood.
fn parse_filter(filter: &ParkedFilterArguments) -> Result<ParkedFilter, Failure> {
    Ok(ParkedFilter {
        resource: filter.resource.clone(),
        reason: parse_word("reason", filter.reason.as_deref())?,
        status: parse_word("status", filter.status.as_deref())?,
    })
}

/// A word as JSON spells it; the error of an unknown one lists the known ones.
fn parse_word<T: serde::de::DeserializeOwned>(
    what: &str,
    word: Option<&str>,
) -> Result<Option<T>, Failure> {
    let Some(word) = word else { return Ok(None) };
    let parsed = serde_json::from_value(serde_json::Value::String(word.to_owned()));
    parsed.map(Some).map_err(|error: serde_json::Error| {
        let known = error.to_string();
        let known = known.split_once("expected ").map_or("", |(_, known)| known);
        Failure::usage(format!("there is no {what} `{word}`; expected {known}"))
    })
}
