//! One source and several targets: how often the source is read, what an item costs for each target,
//! and what a slow one does to the others.

use super::{district, median, publication, publish_all};
use crate::Size;
use crate::child::Running;
use crate::play::Play;
use crate::table::{Goal, Row, microseconds, seconds, times};

const NAME: &str = "fan-out";
const BODY_BYTES: (usize, usize) = (1 << 10, 3 << 10);
/// Where one is slow: so few items would not fill what is kept for it, and it would never be left behind.
const LARGE_BODY_BYTES: (usize, usize) = (6 << 10, 10 << 10);
/// Of the targets that are not slow, in milliseconds.
const WRITE_TAKES: u64 = 20;
/// Low enough that the machine is not what there is too little of.
const AT_ONCE: u64 = 16;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let mut rows = together(size);
    rows.extend(one_is_slow(size));
    rows
}

const COUNTS: [usize; 4] = [1, 2, 4, 8];

/// In turns: what else the machine does falls on all of them.
fn together(size: Size) -> Vec<Row> {
    let (items, rounds) = match size {
        Size::Short => (10_000, 1),
        Size::Normal => (40_000, 5),
        Size::Long => (200_000, 3),
    };
    let (mut reads, mut costs) = ([const { Vec::new() }; 4], [const { Vec::new() }; 4]);
    for _ in 0..rounds {
        for (which, count) in COUNTS.into_iter().enumerate() {
            let source = source(items, BODY_BYTES);
            let targets = targets(&vec![0; count]);
            let urls: Vec<&str> = targets.iter().map(|target| target.url.as_str()).collect();
            let (done, _state) = publish_all(vec![publication(&source.url, &urls)], Some(64));
            reads[which].push(source.counts().reads as f64);
            costs[which].push(done.usage.cpu / (items * count as u64) as f64);
        }
    }
    let (reads, costs) = (reads.map(median), costs.map(median));
    let mut rows = Vec::new();
    for (which, count) in COUNTS.into_iter().enumerate() {
        let what = format!("processor time of an item and target, {count} of them");
        let goal = if count == 1 { Goal::None } else { Goal::AtMost(costs[0]) };
        rows.push(Row::of(NAME, what, costs[which], goal, microseconds));
        if count > 1 {
            let what = format!("reads for {count} targets, times those for one");
            rows.push(Row::of(NAME, what, reads[which] / reads[0], Goal::AtMost(1.0), times));
        }
    }
    rows
}

/// Three targets with and without a fourth that takes ten times as long, in turns.
fn one_is_slow(size: Size) -> Vec<Row> {
    let (items, rounds) = match size {
        Size::Short => (2_000, 1),
        Size::Normal => (3_000, 3),
        Size::Long => (20_000, 3),
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (takes, figures) in [
            (&[WRITE_TAKES; 3][..], &mut without),
            (&[WRITE_TAKES, WRITE_TAKES, WRITE_TAKES, 10 * WRITE_TAKES][..], &mut with),
        ] {
            let source = source(items, LARGE_BODY_BYTES);
            let targets = targets(takes);
            let urls: Vec<&str> = targets.iter().map(|target| target.url.as_str()).collect();
            let (done, _state) = publish_all(vec![publication(&source.url, &urls)], Some(AT_ONCE));
            figures.push(median(done.pairs[..3].iter().map(|pair| pair.seconds).collect()));
        }
    }
    let (without, with) = (median(without), median(with));
    let what = "three targets, while a fourth takes ten times as long, times alone";
    vec![
        Row::of(NAME, "three targets alone", without, Goal::None, seconds),
        Row::of(NAME, what, with / without, Goal::AtMost(1.05), times),
    ]
}

fn source(items: u64, body_bytes: (usize, usize)) -> Running {
    Running::start(&Play { items: district(items), body_bytes, ..Play::default() })
}

/// One for each, by how long a write takes it.
fn targets(takes: &[u64]) -> Vec<Running> {
    let target = |takes: &u64| Running::start(&Play { write_takes: *takes, ..Play::default() });
    takes.iter().map(target).collect()
}
