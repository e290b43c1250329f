//! `tidemark parked`: looks at what waits, has it tried again, or gives it up. The one place where natural
//! keys are printed: whoever asks here has to know which item it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::daemon::Assembly;
use crate::domain::{NaturalKey, ParkReason, ResourcePath};
use crate::state::{
    Operation, PairId, ParkStatus, Parked, RefusalRecord, StateError, StateView, Step, WaitsFor,
};

use super::arguments::{
    Narrow, Output, ParkedCommand, ParkedDiscardArguments, ParkedFilter, ParkedListArguments,
    ParkedRetryArguments, ParkedShowArguments, Selector,
};
use super::causes::{self, Root};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::not_yet;
use super::parked_groups::GroupBy;
use super::parked_table;
use super::show;

pub(super) async fn run(context: &Context, command: ParkedCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        ParkedCommand::List(arguments) => list(context, &arguments).await,
        ParkedCommand::Show(arguments) => show(context, &arguments).await,
        ParkedCommand::Retry(arguments) => retry(context, arguments).await,
        ParkedCommand::Discard(arguments) => discard(context, arguments).await,
    }
}

/// One parked item (contract, `items[]`).
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) publication: String,
    pub(super) target: String,
    pub(super) resource: ResourcePath,
    pub(super) key: Option<NaturalKey>,
    pub(super) operation: Operation,
    pub(super) status: ParkStatus,
    pub(super) reason: ParkReason,
    pub(super) error: RefusalRecord,
    pub(super) attempts: u32,
    pub(super) first_seen_at: Timestamp,
    /// `null` for a dead one: nothing is planned.
    pub(super) next_attempt_at: Option<Timestamp>,
    pub(super) waits_for: Option<WaitsFor>,
}

/// An item, and what all that waits behind it comes down to.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) shown: Shown,
    /// `None` when it waits for nothing but itself.
    pub(super) root: Option<Root>,
}

impl Shown {
    fn new(pair: &PairId, parked: Parked) -> Shown {
        let planned = parked.status == ParkStatus::Parked;
        Shown {
            id: parked.id,
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            resource: parked.resource,
            key: parked.key,
            operation: parked.operation,
            status: parked.status,
            reason: parked.reason,
            error: parked.error,
            attempts: parked.attempts,
            first_seen_at: parked.first_seen_at,
            next_attempt_at: planned.then_some(parked.next_attempt_at),
            waits_for: parked.waits_for,
        }
    }
}

/// Everything that waits for a pair, in order of id.
pub(super) async fn load(state: &dyn StateView, pair: &PairId) -> Result<Vec<Parked>, StateError> {
    const PAGE: usize = 1000;
    let mut items: Vec<Parked> = Vec::new();
    loop {
        let after = items.last().map(|item| item.id.clone());
        let page = state.parked(pair, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        items.extend(page);
        if is_last {
            return Ok(items);
        }
    }
}

/// What a person does about it.
pub(super) fn advice(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Invalid => {
            "the target does not take the content: correct it at the source, or what the target \
             expects of it"
        }
        ParkReason::Forbidden => {
            "the credentials may not write it: publish what links it to their organizations, or \
             have them widened"
        }
        ParkReason::UnresolvedReference => {
            "something it refers to is not at the target: publish that, and it follows"
        }
        ParkReason::ReferenceOutsideSelection => {
            "it refers to a resource that is not selected: include that, or exclude this"
        }
        ParkReason::StillReferenced => {
            "something at the target still refers to it: it goes when that has gone"
        }
        ParkReason::Taken => {
            "its key or a unique value is taken at the target: see what has it there"
        }
        ParkReason::TooLarge => "it is larger than the target takes: have its limit raised",
        ParkReason::Contended => "others write it at the same moment: it is tried again",
        ParkReason::Doubtful => {
            "it cannot be told apart at the target, so it was left alone: look at it there"
        }
        ParkReason::ResourceClosed => {
            "the target refuses the whole resource: have the credentials' claim set widened, then \
             `tidemark parked retry --reason resource-closed`"
        }
        ParkReason::WaitsForNewKey => "its old key stays until the item under its new key is taken",
    }
}

async fn list(context: &Context, arguments: &ParkedListArguments) -> Result<Exit, Failure> {
    let filter = Filter::parse(&arguments.filter)?;
    let by = GroupBy::parse(&arguments.group_by)?;
    let assembly = context.assembly()?;
    let mut items = Vec::new();
    for pair in pairs(&assembly, &arguments.selector).await? {
        let waiting = load(&*assembly.store, &pair).await?;
        let roots = causes::roots(&waiting);
        for (item, root) in waiting.iter().zip(roots) {
            if filter.admits(item) {
                let root = root.named(item, &waiting);
                items.push(Listed { shown: Shown::new(&pair, item.clone()), root });
            }
        }
    }
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

/// A row an item, the members of the contract's JSON as columns.
fn csv(items: &[Listed]) -> String {
    let columns = [
        "id",
        "publication",
        "target",
        "resource",
        "key",
        "operation",
        "status",
        "reason",
        "error_status",
        "error_type",
        "error_members",
        "attempts",
        "first_seen_at",
        "next_attempt_at",
        "waits_for",
    ];
    let row = |Listed { shown, .. }: &Listed| {
        vec![
            shown.id.clone(),
            shown.publication.clone(),
            shown.target.clone(),
            shown.resource.to_string(),
            shown.key.as_ref().map(leaves).unwrap_or_default(),
            word(&shown.operation),
            word(&shown.status),
            shown.reason.as_str().to_owned(),
            shown.error.status.to_string(),
            shown.error.kind.clone().unwrap_or_default(),
            shown.error.members.join(" "),
            shown.attempts.to_string(),
            show::moment(shown.first_seen_at),
            shown.next_attempt_at.map(show::moment).unwrap_or_default(),
            shown.waits_for.as_ref().map(cause).unwrap_or_default(),
        ]
    };
    show::csv(&columns, items.iter().map(row))
}

/// The chosen pairs; without a selector also those that the configuration no longer names.
async fn pairs(assembly: &Assembly, selector: &Selector) -> Result<Vec<PairId>, Failure> {
    if choose::says_nothing(selector) || selector.narrow.all {
        return Ok(assembly.store.pairs().await?);
    }
    let chosen = choose::pairs(assembly, selector)?;
    Ok(chosen.into_iter().map(|pair| pair.id).collect())
}

pub(super) fn key(item: &Shown) -> String {
    item.key.as_ref().map_or_else(|| "-".to_owned(), leaves)
}

fn leaves(key: &NaturalKey) -> String {
    key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// What it refers to, where it may live and by which key.
pub(super) fn cause(what: &WaitsFor) -> String {
    let resources: Vec<&str> = what.resources.iter().map(ResourcePath::as_str).collect();
    format!("{} {}", resources.join(" or "), leaves(&what.key))
}

/// As JSON spells it.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_value(value).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Enough of an id to type.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

async fn show(context: &Context, arguments: &ParkedShowArguments) -> Result<Exit, Failure> {
    not_yet::option("--live", arguments.live)?;
    let assembly = context.assembly()?;
    let everything = everything(&assembly).await?;
    let mut items = Vec::new();
    for id in &arguments.ids {
        let (pair, parked) = with_id(&everything, id)?;
        items.push(Shown::new(pair, parked.clone()));
    }
    match context.output() {
        Output::Json => show::json_list(&items)?,
        Output::Text => {
            show::answer(&items.iter().map(one).collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

async fn everything(assembly: &Assembly) -> Result<Vec<(PairId, Parked)>, StateError> {
    let mut all = Vec::new();
    for pair in assembly.store.pairs().await? {
        for parked in load(&*assembly.store, &pair).await? {
            all.push((pair.clone(), parked));
        }
    }
    Ok(all)
}

fn with_id<'a>(
    items: &'a [(PairId, Parked)],
    id: &str,
) -> Result<(&'a PairId, &'a Parked), Failure> {
    let mut found = items.iter().filter(|(_, parked)| parked.id.starts_with(id));
    let Some((pair, parked)) = found.next() else {
        return Err(Failure::usage(format!(
            "nothing is parked under the id `{id}`: it may have been settled; see `tidemark \
             parked list`"
        )));
    };
    if found.next().is_some() {
        return Err(Failure::usage(format!(
            "more than one id begins with `{id}`: type more of it"
        )));
    }
    Ok((pair, parked))
}

fn one(item: &Shown) -> String {
    let mut lines = vec![
        ("id", item.id.clone()),
        ("pair", format!("{} → {}", item.publication, item.target)),
        ("resource", item.resource.to_string()),
        ("key", key(item)),
        ("operation", word(&item.operation)),
        ("status", word(&item.status)),
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
    not_yet::option("--show", arguments.show)?;
    let filter = Filter::parse(&arguments.filter)?;
    let assembly = context.assembly()?;
    let everything = everything(&assembly).await?;
    let choice = Choice { named: arguments.named, narrow: arguments.narrow, yes: arguments.yes };
    let due = chosen(&assembly, &everything, choice, &filter, "`parked retry`")?;

    let now = context.clock.now();
    let mut by_pair: BTreeMap<&PairId, Vec<&Parked>> = BTreeMap::new();
    for (pair, parked) in &due {
        by_pair.entry(pair).or_default().push(parked);
    }
    for (pair, items) in &by_pair {
        let state = assembly.store.load(pair).await?.unwrap_or_default();
        let mut step = Step::default();
        for item in items {
            if item.reason == ParkReason::ResourceClosed {
                // The record is what closes the resource. Without it the resource joins again, and
                // "nothing is newer" is no longer the whole answer (R17, R23a).
                step.settle.push(item.id.clone());
                step.state.get_or_insert_with(|| state.clone()).selection = None;
            } else {
                step.park.push(due_now((*item).clone(), now));
            }
        }
        assembly.store.commit(pair, step).await?;
    }
    let many = show::many(due.len());
    match context.output() {
        Output::Json => show::json("retried", &many)?,
        Output::Text if due.is_empty() => show::answer("nothing that fits is parked")?,
        Output::Text => show::answer(&format!(
            "{} due now; the next run tries them: tidemark run {}",
            show::count(many, "item"),
            by_pair.keys().map(|pair| pair.publication.as_str()).collect::<Vec<_>>().join(" ")
        ))?,
    }
    Ok(Exit::Done)
}

/// Due at once, with fresh attempts, dead or not.
fn due_now(mut parked: Parked, now: Timestamp) -> Parked {
    parked.status = ParkStatus::Parked;
    parked.attempts = 0;
    parked.early_attempts = 0;
    parked.next_attempt_at = now;
    parked
}

/// What is no longer waited for is forgotten: nobody tries it again, and the watermark stays. What
/// source and target then differ in, `verify` finds.
async fn discard(context: &Context, arguments: ParkedDiscardArguments) -> Result<Exit, Failure> {
    let filter = Filter::parse(&arguments.filter)?;
    let assembly = context.assembly()?;
    let everything = everything(&assembly).await?;
    let choice = Choice { named: arguments.named, narrow: arguments.narrow, yes: arguments.yes };
    let gone = chosen(&assembly, &everything, choice, &filter, "`parked discard`")?;
    let many = show::many(gone.len());
    if let Some((_, closed)) =
        gone.iter().find(|(_, item)| item.reason == ParkReason::ResourceClosed)
    {
        return Err(Failure::usage(format!(
            "{} is closed: its record is what keeps the watermark from speaking for it. Exclude the \
             resource, or `tidemark parked retry {}` when the target takes it",
            closed.resource,
            short(&closed.id)
        )));
    }
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
    let mut by_pair: BTreeMap<&PairId, Vec<String>> = BTreeMap::new();
    for (pair, item) in &gone {
        by_pair.entry(pair).or_default().push(item.id.clone());
    }
    for (pair, ids) in by_pair {
        let items = ids.len();
        assembly.store.commit(pair, Step { settle: ids, ..Step::default() }).await?;
        let (publication, target) = (&pair.publication, &pair.target);
        tracing::info!(publication, target, items, because, "parked items discarded");
    }
    match context.output() {
        Output::Json => show::json("discarded", &many)?,
        Output::Text if gone.is_empty() => show::answer("nothing that fits is parked")?,
        Output::Text => show::answer(&format!(
            "{} discarded; the watermark stays. What source and target differ in now, `tidemark \
             verify` finds",
            show::count(many, "item")
        ))?,
    }
    Ok(Exit::Done)
}

/// Ids and publications as they were typed.
struct Choice {
    named: Vec<String>,
    narrow: Narrow,
    yes: bool,
}

/// The items that a command is to change, each once.
fn chosen(
    assembly: &Assembly,
    everything: &[(PairId, Parked)],
    choice: Choice,
    filter: &Filter,
    what: &str,
) -> Result<Vec<(PairId, Parked)>, Failure> {
    let is_id = |name: &String| everything.iter().any(|(_, parked)| parked.id.starts_with(name));
    let (ids, publications): (Vec<String>, Vec<String>) = choice
        .named
        .into_iter()
        .partition(|name| !assembly.pairs.contains_key(name) && is_id(name));
    let mut due = Vec::new();
    for id in &ids {
        let (pair, parked) = with_id(everything, id)?;
        due.push((pair.clone(), parked.clone()));
    }
    let selector = Selector { publications, narrow: choice.narrow };
    if ids.is_empty() || !choose::says_nothing(&selector) {
        let pairs = choose::pairs_to_change(assembly, &selector, choice.yes, what)?;
        let chosen = |pair: &PairId| pairs.iter().any(|chosen| chosen.id == *pair);
        due.extend(
            everything
                .iter()
                .filter(|(pair, parked)| chosen(pair) && filter.admits(parked))
                .cloned(),
        );
    }
    let mut seen = BTreeSet::new();
    due.retain(|(pair, parked)| seen.insert((pair.clone(), parked.id.clone())));
    Ok(due)
}

/// `--resource`, `--reason` and `--status`, understood.
struct Filter {
    resource: Option<String>,
    reason: Option<ParkReason>,
    status: Option<ParkStatus>,
}

impl Filter {
    fn parse(filter: &ParkedFilter) -> Result<Filter, Failure> {
        Ok(Filter {
            resource: filter.resource.clone(),
            reason: parse_word("reason", filter.reason.as_deref())?,
            status: parse_word("status", filter.status.as_deref())?,
        })
    }

    fn admits(&self, parked: &Parked) -> bool {
        let resource = &parked.resource;
        self.resource.as_ref().is_none_or(|name| {
            resource.as_str() == name.as_str() || resource.collection() == name.as_str()
        }) && self.reason.is_none_or(|reason| reason == parked.reason)
            && self.status.is_none_or(|status| status == parked.status)
    }
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
