//! What `run` prints when it has ended: a table for each pair, then what is parked and what to do
//! about it. Not a natural key among it.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use crate::desk::causes::{self, Behind};
use crate::desk::{ParkedItem, advice};
use crate::domain::{Outcome, ParkReason, ResourcePath, Stage, Tally};
use crate::engine::report::RunReport;
use crate::state::ParkStatus;

use super::failure::Failure;
use super::show::{self, Column};

/// With more pairs than this each has a row, not a table.
const TABLES: usize = 4;

/// Prints the reports to standard output, with what waits: the parked items of each pair.
pub(super) fn print(reports: &[RunReport], parked: &[Vec<ParkedItem>]) -> Result<(), Failure> {
    if reports.is_empty() {
        return show::answer("no pair was run");
    }
    let mut text = String::new();
    if reports.len() > TABLES {
        text.push_str(&one_row_each(reports));
        let failed = reports.iter().filter(|report| report.outcome == Outcome::Failed);
        let failures = failed.map(|report| (pair(report), failure(report))).collect();
        for (pairs, failure) in show::told_once(failures) {
            text.push_str(&format!("\n{pairs}\n{failure}"));
        }
    } else {
        for (index, report) in reports.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            text.push_str(&one(report));
        }
    }
    text.push_str(&waiting(parked));
    show::answer(&text)
}

fn one(report: &RunReport) -> String {
    let mut text = headline(report);
    text.push('\n');
    if report.outcome == Outcome::Failed {
        text.push_str(&failure(report));
    }
    text.push_str(&requests(report));
    for note in &report.notes {
        text.push_str(&show::wrapped(note, "  note: ", "        "));
    }
    if taken_up(report) == 0 {
        return text;
    }
    if io::stdout().is_terminal() {
        text.push('\n');
        text.push_str(&show::stages(&report.stages));
    } else {
        for stage in Stage::ALL {
            let Tally { read, applied, skipped, parked } = report.stages.of(stage);
            text.push_str(&format!(
                "  {stage}: {read} read, {applied} applied, {skipped} skipped, {parked} parked\n"
            ));
        }
    }
    text
}

/// What happened, in a line.
pub(super) fn headline(report: &RunReport) -> String {
    let pair = pair(report);
    let took = show::seconds(report.duration_seconds);
    let window = report.window.as_ref().map(show::window).unwrap_or_default();
    match report.outcome {
        Outcome::Complete => format!("{pair}: complete in {took}: {window}"),
        Outcome::Parked => {
            let waiting = report.parked + report.dead;
            let wait = if waiting == 1 { "waits" } else { "wait" };
            let items = show::count(waiting, "item");
            format!("{pair}: complete in {took}, but {items} {wait}: {window}")
        }
        Outcome::NothingToDo => {
            let through = report.window.map(|window| window.through);
            let at = through.map(|at| format!(": nothing is newer than version {at}"));
            format!("{pair}: nothing to do{}", at.unwrap_or_default())
        }
        Outcome::Failed => format!("{pair}: failed after {took}"),
    }
}

fn pair(report: &RunReport) -> String {
    format!("{} → {}", report.publication, report.target)
}

/// What it cost.
fn requests(report: &RunReport) -> String {
    let source = show::count(report.requests.source, "request");
    format!("  {source} to the source, {} to the target\n", show::number(report.requests.target))
}

fn failure(report: &RunReport) -> String {
    let message = report.error.as_ref().map_or("the run failed", |error| error.message.as_str());
    format!("  error: {message}\n")
}

fn one_row_each(reports: &[RunReport]) -> String {
    let columns = [
        Column::Text("publication"),
        Column::Text("target"),
        Column::Text("outcome"),
        Column::Number("through"),
        Column::Number("read"),
        Column::Number("applied"),
        Column::Number("skipped"),
        Column::Number("parked"),
        Column::Number("waiting"),
        Column::Number("duration"),
    ];
    let row = |report: &RunReport| {
        let all = total(report);
        vec![
            report.publication.clone(),
            report.target.clone(),
            report.outcome.as_str().to_owned(),
            show::or_dash(report.window.map(|window| window.through)),
            show::number(all.read),
            show::number(all.applied),
            show::number(all.skipped),
            show::number(all.parked),
            show::number(report.parked + report.dead),
            show::seconds(report.duration_seconds),
        ]
    };
    show::table(&columns, reports.iter().map(row).collect())
}

fn total(report: &RunReport) -> Tally {
    let mut all = Tally::default();
    for stage in Stage::ALL {
        all.add(*report.stages.of(stage));
    }
    all
}

fn taken_up(report: &RunReport) -> u64 {
    total(report).read
}

/// Why root causes wait, dead or not.
type Cause = (ParkReason, ParkStatus);

/// The items that are the root of it, by resource, and how many only wait for one of them.
#[derive(Default)]
struct Rooted {
    resources: BTreeMap<ResourcePath, u64>,
    behind: u64,
}

impl Rooted {
    fn items(&self) -> u64 {
        self.resources.values().sum()
    }
}

/// Why items wait and what to do about it, the cause that holds up most first. What waits for
/// another parked item has nothing of its own to mend, and is counted behind it.
fn waiting(parked: &[Vec<ParkedItem>]) -> String {
    let mut causes: BTreeMap<Cause, Rooted> = BTreeMap::new();
    for items in parked {
        for (item, root) in items.iter().zip(causes::roots(items)) {
            if let Behind::Item(place) = root {
                let root = &items[place];
                causes.entry((root.reason, root.status)).or_default().behind += 1;
            } else {
                let rooted = causes.entry((item.reason, item.status)).or_default();
                *rooted.resources.entry(item.resource.clone()).or_default() += 1;
            }
        }
    }
    if causes.is_empty() {
        return String::new();
    }
    let mut causes: Vec<(Cause, Rooted)> = causes.into_iter().collect();
    causes.sort_by_key(|(_, rooted)| std::cmp::Reverse(rooted.items() + rooted.behind));

    let mut text = "\nwaiting:\n".to_owned();
    for ((reason, status), rooted) in causes {
        text.push_str(&told(reason, status, rooted));
    }
    text.push_str("see them with `tidemark parked list`; the next run tries again what is due\n");
    text
}

fn told(reason: ParkReason, status: ParkStatus, rooted: Rooted) -> String {
    let dead = if status == ParkStatus::Dead { ", dead" } else { "" };
    let items = rooted.items();
    let behind = match rooted.behind {
        0 => String::new(),
        many => {
            let wait = if many == 1 { "waits" } else { "wait" };
            let them = if items == 1 { "it" } else { "them" };
            format!("; {} {wait} behind {them}", show::count(many, "item"))
        }
    };
    let listed: Vec<String> = most_first(rooted.resources)
        .iter()
        .map(|(resource, count)| format!("{} of {resource}", show::number(*count)))
        .collect();
    let items = show::count(items, "item");
    let mut text =
        format!("  {items}, {}{dead}: {}{behind}\n", reason.as_str(), show::few(&listed));
    text.push_str(&show::wrapped(advice(reason), "    ", "    "));
    text
}

fn most_first(resources: BTreeMap<ResourcePath, u64>) -> Vec<(ResourcePath, u64)> {
    let mut resources: Vec<(ResourcePath, u64)> = resources.into_iter().collect();
    resources.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    resources
}
