//! `tidemark parked list` for people: root causes first, and what waits behind each summed up.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::desk::ParkedItem;
use crate::desk::causes::Root;

use super::parked::{Listed, key, short};
use super::show::{self, Column};

/// An item that has a row, or what a row is about that is not parked; and what waits behind it.
struct Block<'a> {
    head: Head<'a>,
    behind: Vec<&'a ParkedItem>,
}

enum Head<'a> {
    Item(&'a ParkedItem),
    Absent(&'a str),
}

pub(super) fn text(items: &[Listed], now: Timestamp, every: bool) -> String {
    let several = items.windows(2).any(|two| pair(&two[0].shown) != pair(&two[1].shown));
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
    let mut rows = Vec::new();
    let mut hidden = 0;
    for block in blocks(items) {
        rows.push(match &block.head {
            Head::Item(item) => row(item, now, several),
            Head::Absent(what) => absent(what, several, block.behind.first().copied()),
        });
        if every {
            rows.extend(block.behind.iter().map(|item| row(item, now, several)));
        } else {
            hidden += block.behind.len();
            rows.extend(summed_up(&block.behind, several));
        }
    }
    let mut text = show::table(&columns, rows);
    if hidden > 0 {
        let (waiting, them) = if hidden == 1 { ("waits", "it") } else { ("wait", "them") };
        let items = show::count(show::many(hidden), "item");
        text.push_str(&format!("{items} only {waiting} for others; `--every` lists {them}\n"));
    }
    text
}

/// Those that most wait for come first; the others stay in order.
fn blocks(items: &[Listed]) -> Vec<Block<'_>> {
    let place =
        |item: &ParkedItem| (item.publication.clone(), item.target.clone(), item.id.clone());
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut by_item = BTreeMap::new();
    let is_listed: BTreeMap<_, &Listed> =
        items.iter().map(|item| (place(&item.shown), item)).collect();
    // The root of an item that the filter left out is not there to stand above it.
    let root_of = |item: &Listed| match &item.root {
        Some(Root::Item(id)) => {
            let ParkedItem { publication, target, .. } = &item.shown;
            let at = (publication.clone(), target.clone(), id.clone());
            is_listed.contains_key(&at).then_some(at)
        }
        Some(Root::Absent(_)) | None => None,
    };
    for item in items {
        if root_of(item).is_none() && !matches!(item.root, Some(Root::Absent(_))) {
            by_item.insert(place(&item.shown), blocks.len());
            blocks.push(Block { head: Head::Item(&item.shown), behind: Vec::new() });
        }
    }
    let mut by_absence: BTreeMap<(String, String, &str), usize> = BTreeMap::new();
    for item in items {
        if let Some(Root::Absent(what)) = &item.root {
            let (publication, target) = pair(&item.shown);
            let at = (publication.to_owned(), target.to_owned(), what.as_str());
            let block = *by_absence.entry(at).or_insert_with(|| {
                blocks.push(Block { head: Head::Absent(what), behind: Vec::new() });
                blocks.len() - 1
            });
            blocks[block].behind.push(&item.shown);
        } else if let Some(block) = root_of(item).and_then(|at| by_item.get(&at)) {
            blocks[*block].behind.push(&item.shown);
        }
    }
    for block in &mut blocks {
        // One item that waits for what is not here is listed like any other.
        if let (Head::Absent(_), [alone]) = (&block.head, block.behind.as_slice()) {
            block.head = Head::Item(alone);
            block.behind.clear();
        }
    }
    blocks.sort_by_key(|block| std::cmp::Reverse(block.behind.len()));
    blocks
}

fn pair(item: &ParkedItem) -> (&str, &str) {
    (&item.publication, &item.target)
}

fn row(item: &ParkedItem, now: Timestamp, several: bool) -> Vec<String> {
    let mut row = vec![short(&item.id).to_owned()];
    if several {
        row.push(format!("{} → {}", item.publication, item.target));
    }
    let next = item.next_attempt_at.map(|next| show::until(now, next));
    row.extend([
        item.resource.to_string(),
        show::word(&item.operation),
        item.reason.as_str().to_owned(),
        show::number(item.attempts.into()),
        next.unwrap_or_else(|| "dead".to_owned()),
        key(item),
    ]);
    row
}

fn absent(what: &str, several: bool, whose: Option<&ParkedItem>) -> Vec<String> {
    let mut row = vec!["-".to_owned()];
    if several {
        let whose = whose.map(|item| format!("{} → {}", item.publication, item.target));
        row.push(whose.unwrap_or_default());
    }
    // `/a/b or /c/d name=value …`: the key begins where a word has a value.
    let before_key = what.find('=').map_or(what, |at| &what[..at]);
    let (resource, key) = what.split_at(before_key.rfind(' ').unwrap_or(what.len()));
    let dash = || "-".to_owned();
    let reason = "not at the target".to_owned();
    row.extend([resource.to_owned(), dash(), reason, dash(), dash(), key.trim_start().to_owned()]);
    row
}

/// A row for each resource and reason.
fn summed_up(behind: &[&ParkedItem], several: bool) -> Vec<Vec<String>> {
    let mut sums: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for item in behind {
        *sums.entry((item.resource.to_string(), item.reason.as_str())).or_default() += 1;
    }
    let row = |((resource, reason), count): ((String, &str), u64)| {
        let mut row = vec![format!("└ {}", show::number(count))];
        if several {
            row.push(String::new());
        }
        row.extend([resource, String::new(), reason.to_owned()]);
        row.extend([String::new(), String::new(), "waits for the above".to_owned()]);
        row
    };
    sums.into_iter().map(row).collect()
}
