//! The dependency graph of a pair, each resource with how far it is.
//!
//! The one thing to know: it is drawn in columns, each resource to the right of everything that it
//! needs, with only the edges that no longer way explains. Descriptors, which are many and need
//! nothing, are one box.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use maud::{Markup, html};

use super::admission::Visit;
use super::frame::told;
use crate::desk::wording::{count, many};
use crate::desk::{OrderedResource, PairCondition, PairDetail, PairStatus, Waiting};
use crate::domain::ResourcePath;
use crate::server::events::Course;

const COLUMN: usize = 196;
const BOX: usize = 168;
const ROW: usize = 22;
/// Whoever opens the page waits for an end that is slow; what brings it up to date does not.
const PATIENCE: Duration = Duration::from_secs(3);
const IMPATIENCE: Duration = Duration::from_millis(250);

/// How far a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Dead,
    Parked,
    Running,
    Done,
    InStep,
    Begun,
    NotYet,
}

impl Mark {
    const ALL: [Mark; 7] = [
        Mark::Dead,
        Mark::Parked,
        Mark::Running,
        Mark::Done,
        Mark::InStep,
        Mark::Begun,
        Mark::NotYet,
    ];

    fn class(self) -> &'static str {
        match self {
            Mark::Dead => "failing",
            Mark::Parked => "degraded",
            Mark::Running => "running",
            Mark::Done | Mark::InStep => "ok",
            Mark::Begun => "waiting",
            Mark::NotYet => "idle",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Mark::Dead => "✕",
            Mark::Parked => "▲",
            Mark::Running => "▶",
            Mark::Done => "✓",
            Mark::InStep => "=",
            Mark::Begun => "◔",
            Mark::NotYet => "·",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mark::Dead => "dead items",
            Mark::Parked => "parked items",
            Mark::Running => "under way",
            Mark::Done => "finished in this run",
            Mark::InStep => "through the watermark",
            Mark::Begun => "first load not finished",
            Mark::NotYet => "not yet published",
        }
    }
}

/// One box.
struct Node {
    name: String,
    /// Of a resource: where what waits of it is listed.
    resource: Option<ResourcePath>,
    mark: Mark,
    said: String,
    after: BTreeSet<usize>,
    column: usize,
    row: usize,
}

/// Nothing where the page is being brought up to date and an end is slow: what is shown stays.
pub(super) async fn section(
    visit: &Visit,
    pair: &PairStatus,
    detail: &PairDetail,
    course: Option<&Course>,
) -> Markup {
    if pair.state == PairCondition::Orphaned {
        return html! {};
    }
    let within = if visit.is_refresh { IMPATIENCE } else { PATIENCE };
    let order = match visit.desk.order(visit.by(), &pair.id(), within).await {
        Ok(order) => order,
        Err(_) if visit.is_refresh => return html! {},
        Err(why) => {
            return html! {
                section #graph data-live { h2 { "Resources in their order" } p.quiet { (told(&why.to_string())) } }
            };
        }
    };
    let nodes = laid_out(&order.resources, |resource| mark(resource, detail, course), detail);
    let left_out = order.resources.iter().filter(|one| !one.is_selected).count();
    html! {
        section #graph data-live {
            h2 { "Resources in their order" }
            (drawing(pair, &nodes))
            @if left_out > 0 { p.quiet { "The configuration leaves out " (count(many(left_out), "resource")) "." } }
        }
    }
}

fn mark(resource: &ResourcePath, detail: &PairDetail, course: Option<&Course>) -> Mark {
    let Waiting { parked, dead } = detail.waiting.get(resource).copied().unwrap_or_default();
    let in_run = course.and_then(|course| {
        let mut of_it = course.resources.iter().filter(|one| one.resource == *resource);
        of_it.next_back().map(|one| one.finished)
    });
    let finished = detail.unfinished.as_ref().is_some_and(|run| run.finished.contains(resource));
    match in_run {
        _ if dead > 0 => Mark::Dead,
        _ if parked > 0 => Mark::Parked,
        Some(false) => Mark::Running,
        Some(true) => Mark::Done,
        None if finished => Mark::Done,
        None if detail.spoken_for.contains(resource) => Mark::InStep,
        None if detail.begun.contains(resource) => Mark::Begun,
        None => Mark::NotYet,
    }
}

fn laid_out(
    resources: &[OrderedResource],
    mark: impl Fn(&ResourcePath) -> Mark,
    detail: &PairDetail,
) -> Vec<Node> {
    let selected: Vec<&OrderedResource> = resources.iter().filter(|one| one.is_selected).collect();
    let mut nodes: Vec<Node> = Vec::new();
    let mut place: BTreeMap<&ResourcePath, usize> = BTreeMap::new();
    let descriptors: Vec<&&OrderedResource> =
        selected.iter().filter(|one| one.resource.is_descriptor()).collect();
    if !descriptors.is_empty() {
        let worst = descriptors.iter().map(|one| mark(&one.resource)).min();
        for one in &descriptors {
            place.insert(&one.resource, 0);
        }
        let name = count(many(descriptors.len()), "descriptor");
        nodes.push(node(name, None, worst.unwrap_or(Mark::NotYet), String::new()));
    }
    for one in selected.iter().filter(|one| !one.resource.is_descriptor()) {
        place.insert(&one.resource, nodes.len());
        let waiting = detail.waiting.get(&one.resource).copied().unwrap_or_default();
        let said = match (waiting.parked, waiting.dead) {
            (0, 0) => String::new(),
            (parked, dead) => format!(", {parked} parked, {dead} dead"),
        };
        let name = one.resource.collection().to_owned();
        nodes.push(node(name, Some(one.resource.clone()), mark(&one.resource), said));
    }
    for one in &selected {
        let Some(at) = place.get(&one.resource).copied() else { continue };
        let after = one.after.iter().filter_map(|before| place.get(before).copied());
        nodes[at].after.extend(after.filter(|before| *before != at).collect::<Vec<_>>());
    }
    arrange(&mut nodes);
    nodes
}

fn node(name: String, resource: Option<ResourcePath>, mark: Mark, said: String) -> Node {
    Node { name, resource, mark, said, after: BTreeSet::new(), column: 0, row: 0 }
}

/// Each box comes after those that it needs in the list, so one pass finds the columns.
fn arrange(nodes: &mut [Node]) {
    let mut reach: Vec<BTreeSet<usize>> = Vec::with_capacity(nodes.len());
    for at in 0..nodes.len() {
        let direct: Vec<usize> = nodes[at].after.iter().copied().filter(|one| *one < at).collect();
        let column = direct.iter().map(|before| nodes[*before].column + 1).max().unwrap_or(0);
        let further: BTreeSet<usize> =
            direct.iter().flat_map(|before| reach[*before].iter().copied()).collect();
        // What is reached through another needs no edge of its own.
        nodes[at].after = direct.into_iter().filter(|before| !further.contains(before)).collect();
        nodes[at].column = column;
        let mut all = further;
        all.extend(nodes[at].after.iter().copied());
        reach.push(all);
    }
    let columns = nodes.iter().map(|node| node.column + 1).max().unwrap_or(0);
    for column in 0..columns {
        let mut here: Vec<usize> =
            (0..nodes.len()).filter(|at| nodes[*at].column == column).collect();
        // Beside what they need, so that edges are short and few cross.
        let beside = |at: &usize| {
            let after = &nodes[*at].after;
            let rows: usize = after.iter().map(|before| nodes[*before].row * 100).sum();
            (rows / after.len().max(1), nodes[*at].name.clone())
        };
        here.sort_by_key(beside);
        for (row, at) in here.into_iter().enumerate() {
            nodes[at].row = row;
        }
    }
}

fn drawing(pair: &PairStatus, nodes: &[Node]) -> Markup {
    let columns = nodes.iter().map(|node| node.column + 1).max().unwrap_or(1);
    let rows = nodes.iter().map(|node| node.row + 1).max().unwrap_or(1);
    let (width, height) = (columns * COLUMN - (COLUMN - BOX) + 4, rows * ROW + 4);
    let marks: BTreeSet<Mark> = nodes.iter().map(|node| node.mark).collect();
    let sums = |mark: Mark| nodes.iter().filter(|node| node.mark == mark).count();
    html! {
        figure {
            figcaption {
                @for mark in Mark::ALL.into_iter().filter(|mark| marks.contains(mark)) {
                    span class={ "badge is-" (mark.class()) } { span.sign aria-hidden="true" { (mark.sign()) } (sums(mark)) " " (mark.name()) } " "
                }
            }
            div.scroll.tall tabindex="0" role="region" aria-label="Dependency graph" {
                svg.graph viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="group" aria-label="Dependency graph" {
                    @for node in nodes {
                        @for before in &node.after {
                            @let from = (x(&nodes[*before]) + BOX, y(&nodes[*before]) + 9);
                            @let to = (x(node), y(node) + 9);
                            path.edge d={ "M" (from.0) " " (from.1) "C" (from.0 + 22) " " (from.1) " " (to.0 - 22) " " (to.1) " " (to.0) " " (to.1) } {}
                        }
                    }
                    @for node in nodes { (drawn(pair, node)) }
                }
            }
        }
    }
}

fn x(node: &Node) -> usize {
    node.column * COLUMN + 2
}

fn y(node: &Node) -> usize {
    node.row * ROW + 2
}

fn drawn(pair: &PairStatus, node: &Node) -> Markup {
    let said = format!("{}: {}{}", node.name, node.mark.name(), node.said);
    let link = node.resource.as_ref().filter(|_| matches!(node.mark, Mark::Dead | Mark::Parked));
    let shape = html! {
        rect class={ "node is-" (node.mark.class()) } x=(x(node)) y=(y(node)) width=(BOX) height=(ROW - 4) rx="3" {}
        text.sign x=(x(node) + 6) y=(y(node) + 13) aria-hidden="true" { (node.mark.sign()) }
        text x=(x(node) + 20) y=(y(node) + 13) { (shortened(&node.name)) }
        title { (said) }
    };
    html! {
        @match link {
            Some(resource) => {
                @let path = format!("/parked?publication={}&target={}&resource={resource}", pair.publication, pair.target);
                a href=(path) aria-label=(said) { (shape) }
            },
            None => g { (shape) },
        }
    }
}

/// The last letters tell names apart that begin alike.
fn shortened(name: &str) -> String {
    const MOST: usize = 22;
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= MOST {
        return name.to_owned();
    }
    let first: String = letters[..12].iter().collect();
    let last: String = letters[letters.len() - 9..].iter().collect();
    format!("{first}…{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, after: &[&str]) -> OrderedResource {
        let path = |name: &str| ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap();
        OrderedResource {
            resource: path(name),
            after: after.iter().map(|name| path(name)).collect(),
            is_selected: true,
        }
    }

    #[test]
    fn each_box_is_right_of_what_it_needs_and_an_edge_that_a_way_explains_is_left_out() {
        let resources = [
            resource("countryDescriptors", &[]),
            resource("levelDescriptors", &[]),
            resource("schools", &["levelDescriptors"]),
            resource("sessions", &["schools"]),
            resource("sections", &["schools", "sessions", "countryDescriptors"]),
        ];

        let nodes = laid_out(&resources, |_| Mark::InStep, &PairDetail::default());

        let told: Vec<(&str, usize, Vec<usize>)> = nodes
            .iter()
            .map(|node| (node.name.as_str(), node.column, node.after.iter().copied().collect()))
            .collect();
        assert_eq!(
            told,
            [
                ("2 descriptors", 0, vec![]),
                ("schools", 1, vec![0]),
                ("sessions", 2, vec![1]),
                ("sections", 3, vec![2]),
            ]
        );
    }

    #[test]
    fn what_wants_a_person_is_what_is_told_of_a_resource() {
        let path = ResourcePath::parse("/ed-fi/schools").unwrap();
        let mut detail = PairDetail::default();
        assert_eq!(mark(&path, &detail, None), Mark::NotYet);
        detail.spoken_for.insert(path.clone());
        assert_eq!(mark(&path, &detail, None), Mark::InStep);
        detail.waiting.insert(path.clone(), Waiting { parked: 1, dead: 0 });
        assert_eq!(mark(&path, &detail, None), Mark::Parked);
        detail.waiting.insert(path.clone(), Waiting { parked: 1, dead: 1 });
        assert_eq!(mark(&path, &detail, None), Mark::Dead);
    }
}
