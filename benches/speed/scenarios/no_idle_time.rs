//! The real dependency graph: how near a first run comes to the shortest time that it could take.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use tidemark::domain::{ResourceGraph, ResourcePath};
use tidemark::edfi::dependencies;

use super::{first_run, median};
use crate::Size;
use crate::bare::{Done, Order};
use crate::child::{self, Running};
use crate::play::Play;
use crate::table::{Goal, Row, seconds, times};

const NAME: &str = "no-idle-time";
/// In milliseconds, of every request.
const REQUEST_TAKES: u64 = 2;
/// Low enough that the machine is not what there is too little of.
const AT_ONCE: u64 = 32;
const BODY_BYTES: (usize, usize) = (1 << 10, 3 << 10);

pub(super) fn measure(size: Size) -> Vec<Row> {
    let rounds = match size {
        Size::Short => 1,
        Size::Normal => 5,
        Size::Long => 11,
    };
    let graph = graph();
    let items = sample(&graph);
    let source = Running::start(&Play {
        items: items.iter().map(|(path, n)| (path.as_str()[1..].to_owned(), *n)).collect(),
        read_takes: REQUEST_TAKES,
        body_bytes: BODY_BYTES,
        ..Play::default()
    });
    let (mut bounds, mut shares, mut shares_at_server) = (Vec::new(), Vec::new(), Vec::new());
    // In turns: what else the machine does falls on both.
    for _ in 0..rounds {
        let play = Play { write_takes: REQUEST_TAKES, body_bytes: BODY_BYTES, ..Play::default() };
        let takes = as_a_bare_loop_finds_it(&Running::start(&play), items.values().sum());
        let target = Running::start(&play);
        let (done, _state) = first_run(&source, &target, Some(AT_ONCE));
        let counts = target.counts();
        let takes_at_server = counts.busy / counts.writes as f64;

        let bound = lower_bound(&graph, &items, takes);
        eprintln!(
            "  {:.2} s, bound {bound:.2} s; a request takes a bare loop {:.2} ms, the target {:.2} ms",
            done.seconds,
            takes * 1e3,
            takes_at_server * 1e3
        );
        bounds.push(bound);
        shares.push(done.seconds / bound);
        shares_at_server.push(done.seconds / lower_bound(&graph, &items, takes_at_server));
    }
    vec![
        Row::of(NAME, "lower bound", median(bounds), Goal::None, seconds),
        Row::of(NAME, "a first run, times the bound", median(shares), Goal::AtMost(1.15), times),
        Row::of(
            NAME,
            "times what it were if a request took what the target says",
            median(shares_at_server),
            Goal::None,
            times,
        ),
    ]
}

/// What a request takes in truth, in seconds: timers are late, and its client has to be told of the
/// answer. Of a loop that sends as many at once and nothing else.
fn as_a_bare_loop_finds_it(target: &Running, items: u64) -> f64 {
    let order = Order {
        url: format!("{}/data/v3/ed-fi/students", target.url),
        items,
        at_once: AT_ONCE,
        body_bytes: BODY_BYTES,
    };
    let done: Done = child::run("bare", &order);
    done.seconds * AT_ONCE as f64 / items as f64
}

/// How many items each resource of the sample data has. Each part stands under a line `#endpoint`.
fn sample(graph: &ResourceGraph) -> BTreeMap<ResourcePath, u64> {
    let text = unpacked(include_bytes!("../../../data/edfi/items.ndjson.gz"));
    let by_name: BTreeMap<&str, &ResourcePath> =
        graph.resources().map(|resource| (resource.collection(), resource)).collect();
    let mut items = BTreeMap::new();
    let mut here = None;
    for line in text.lines() {
        if let Some(endpoint) = line.strip_prefix('#') {
            here = by_name.get(endpoint).copied();
        } else if let Some(resource) = here {
            *items.entry(resource.clone()).or_default() += 1;
        }
    }
    items
}

fn graph() -> ResourceGraph {
    let text = unpacked(include_bytes!("../../../data/edfi/dependencies.graphml.gz"));
    dependencies::read(text.as_bytes()).expect("the project's own data")
}

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).expect("the project's own data");
    text
}

/// No run can be shorter: every chain of resources is written one after the other, each after it
/// was read and with as many requests at once as are allowed, and all requests together go through
/// the same places.
fn lower_bound(graph: &ResourceGraph, items: &BTreeMap<ResourcePath, u64>, takes: f64) -> f64 {
    let of = |resource: &ResourcePath| items.get(resource).copied().unwrap_or(0);
    let all: u64 = items.values().sum();
    let work = all as f64 / AT_ONCE as f64 * takes;
    let mut ends: BTreeMap<&ResourcePath, f64> = BTreeMap::new();
    let order = graph.in_order();
    for resource in &order {
        let begins = graph.prerequisites(resource).filter_map(|before| ends.get(before)).copied();
        let begins = begins.fold(0.0, f64::max);
        let rounds = of(resource).div_ceil(AT_ONCE) as f64;
        // One request reads; it need not wait for what the resource depends on.
        ends.insert(resource, begins + rounds * takes);
    }
    let longest = ends.values().copied().fold(0.0, f64::max) + takes;
    work.max(longest)
}
