//! `tidemark parked`: looks at what waits, and has it tried again. The one place where natural
//! keys are printed: whoever asks here has to know which item it is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::daemon::Assembly;
use crate::domain::{NaturalKey, ParkReason, ResourcePath};
use crate::state::{
    Operation, PairId, ParkStatus, Parked, RefusalRecord, StateError, StateView, Step, WaitsFor,
};

use super::arguments::{
    Output, ParkedCommand, ParkedFilter, ParkedListArguments, ParkedRetryArguments,
    ParkedShowArguments, Selector,
};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::not_yet;
use super::show::{self, Column};

pub(super) async fn run(context: &Context, command: ParkedCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        ParkedCommand::List(arguments) => list(context, &arguments).await,
        ParkedCommand::Show(arguments) => show(context, &arguments).await,
        ParkedCommand::Retry(arguments) => retry(context, arguments).await,
        ParkedCommand::Discard(_) => not_yet::command("parked discard"),
    }
}

/// One parked item (contract, `items[]`).
#[derive(Clone, Debug, Serialize)]
struct Shown {
    id: String,
    publication: String,
    target: String,
    resource: ResourcePath,
    key: Option<NaturalKey>,
    operation: Operation,
    status: ParkStatus,
    reason: ParkReason,
    error: RefusalRecord,
    attempts: u32,
    first_seen_at: Timestamp,
    /// `null` for a dead one: nothing is planned.
    next_attempt_at: Option<Timestamp>,
    waits_for: Option<WaitsFor>,
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
        let fitting = waiting.into_iter().filter(|item| filter.admits(item));
        items.extend(fitting.map(|item| Shown::new(&pair, item)));
    }
    if let Some(by) = by {
        return by.print(context, &items);
    }
    match context.output() {
        Output::Json => show::json_list(&items)?,
        Output::Text => show::answer(&table(&items, context.clock.now()))?,
    }
    Ok(Exit::Done)
}

/// The chosen pairs; without a selector also those that the configuration no longer names.
async fn pairs(assembly: &Assembly, selector: &Selector) -> Result<Vec<PairId>, Failure> {
    if choose::says_nothing(selector) || selector.narrow.all {
        return Ok(assembly.store.pairs().await?);
    }
    let chosen = choose::pairs(assembly, selector)?;
    Ok(chosen.into_iter().map(|pair| pair.id).collect())
}

fn table(items: &[Shown], now: Timestamp) -> String {
    if items.is_empty() {
        return "nothing is parked".to_owned();
    }
    let several = items
        .windows(2)
        .any(|two| two[0].publication != two[1].publication || two[0].target != two[1].target);
    let mut columns = vec![Column::Text("id")];
    if several {
        columns.push(Column::Text("pair"));
    }
    columns.extend([
        Column::Text("resource"),
        Column::Text("operation"),
        Column::Text("reason"),
        Column::Number("attempts"),
        Column::Text("next"),
        Column::Text("key"),
    ]);
    let row = |item: &Shown| {
        let mut row = vec![short(&item.id).to_owned()];
        if several {
            row.push(format!("{} → {}", item.publication, item.target));
        }
        let next = item.next_attempt_at.map(|next| show::until(now, next));
        row.extend([
            item.resource.to_string(),
            word(&item.operation),
            item.reason.as_str().to_owned(),
            show::number(item.attempts.into()),
            next.unwrap_or_else(|| "dead".to_owned()),
            key(item),
        ]);
        row
    };
    show::table(&columns, items.iter().map(row).collect())
}

fn key(item: &Shown) -> String {
    item.key.as_ref().map_or_else(|| "-".to_owned(), leaves)
}

fn leaves(key: &NaturalKey) -> String {
    key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// What it refers to, where it may live and by which key.
fn cause(what: &WaitsFor) -> String {
    let resources: Vec<&str> = what.resources.iter().map(ResourcePath::as_str).collect();
    format!("{} {}", resources.join(" or "), leaves(&what.key))
}

/// As JSON spells it.
fn word<T: Serialize>(value: &T) -> String {
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
    let due = to_retry(&assembly, &everything, arguments, &filter)?;

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
    parked.next_attempt_at = now;
    parked
}

fn to_retry(
    assembly: &Assembly,
    everything: &[(PairId, Parked)],
    arguments: ParkedRetryArguments,
    filter: &Filter,
) -> Result<Vec<(PairId, Parked)>, Failure> {
    let is_id = |name: &String| everything.iter().any(|(_, parked)| parked.id.starts_with(name));
    let (ids, publications): (Vec<String>, Vec<String>) = arguments
        .named
        .into_iter()
        .partition(|name| !assembly.pairs.contains_key(name) && is_id(name));
    let mut due = Vec::new();
    for id in &ids {
        let (pair, parked) = with_id(everything, id)?;
        due.push((pair.clone(), parked.clone()));
    }
    let selector = Selector { publications, narrow: arguments.narrow };
    if ids.is_empty() || !choose::says_nothing(&selector) {
        let pairs = choose::pairs_to_change(assembly, &selector, arguments.yes, "`parked retry`")?;
        let chosen = |pair: &PairId| pairs.iter().any(|chosen| chosen.id == *pair);
        due.extend(
            everything
                .iter()
                .filter(|(pair, parked)| chosen(pair) && filter.admits(parked))
                .cloned(),
        );
    }
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

/// Reason and resource, where they were asked for, and how many items have them.
type Group<'a> = ((Option<&'a str>, Option<&'a str>), u64);

#[derive(Clone, Copy)]
struct GroupBy {
    reason: bool,
    resource: bool,
}

impl GroupBy {
    fn parse(fields: &[String]) -> Result<Option<GroupBy>, Failure> {
        let mut by = GroupBy { reason: false, resource: false };
        for field in fields {
            match field.as_str() {
                "reason" => by.reason = true,
                "resource" => by.resource = true,
                "member" => not_yet::option("--group-by member", true)?,
                other => {
                    return Err(Failure::usage(format!(
                        "cannot group by `{other}`: reason and resource are known"
                    )));
                }
            }
        }
        Ok((!fields.is_empty()).then_some(by))
    }

    fn print(self, context: &Context, items: &[Shown]) -> Result<Exit, Failure> {
        let mut groups: BTreeMap<(Option<&str>, Option<&str>), u64> = BTreeMap::new();
        for item in items {
            let reason = self.reason.then(|| item.reason.as_str());
            let resource = self.resource.then(|| item.resource.as_str());
            *groups.entry((reason, resource)).or_default() += 1;
        }
        let mut groups: Vec<Group<'_>> = groups.into_iter().collect();
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        match context.output() {
            Output::Json => {
                let items: Vec<_> = groups.iter().map(Self::json).collect();
                show::json_list(&items)?;
            }
            Output::Text if groups.is_empty() => show::answer("nothing is parked")?,
            Output::Text => show::answer(&self.table(&groups))?,
        }
        Ok(Exit::Done)
    }

    fn json(group: &Group<'_>) -> serde_json::Value {
        let ((reason, resource), count) = group;
        let mut json = serde_json::Map::new();
        json.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
        json.extend(resource.map(|resource| ("resource".to_owned(), resource.into())));
        json.insert("count".to_owned(), (*count).into());
        json.into()
    }

    fn table(self, groups: &[Group<'_>]) -> String {
        let mut columns = Vec::new();
        if self.reason {
            columns.push(Column::Text("reason"));
        }
        if self.resource {
            columns.push(Column::Text("resource"));
        }
        columns.push(Column::Number("items"));
        let row = |((reason, resource), count): &Group<'_>| {
            let names = [reason, resource].into_iter().flatten().map(|name| (*name).to_owned());
            names.chain([show::number(*count)]).collect()
        };
        show::table(&columns, groups.iter().map(row).collect())
    }
}
