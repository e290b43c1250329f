//! Many pairs into one target that serves so many writes at once and refuses more.

use std::path::Path;

use super::{median, publication, publish_again, publish_all, slow_target};
use crate::Size;
use crate::child::Running;
use crate::play::Play;
use crate::publish::{Done, Publication};
use crate::table::{Goal, Row, percent, seconds, times};

const NAME: &str = "fan-in";
const BODY_BYTES: (usize, usize) = (1 << 10, 3 << 10);
/// In milliseconds.
const WRITE_TAKES: u64 = 20;
const AT_ONCE: usize = 64;
const PAIRS: usize = 100;
/// Those whose increments a first run may delay.
const INCREMENTS: usize = 20;
/// In milliseconds: from then on the first run has found the limit.
const IN_FULL_SWING: u64 = 6_000;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let mut rows = first_runs(size);
    rows.extend(increments(size));
    rows
}

fn first_runs(size: Size) -> Vec<Row> {
    let each = match size {
        Size::Short => 500,
        Size::Normal => 800,
        Size::Long => 4_000,
    };
    let source = source(vec![("ed-fi/students".to_owned(), each)], Vec::new());
    let target = target();
    let (done, _state) = publish_all(houses(&source, &target.url, PAIRS), None);
    let counts = target.counts();
    let until = counts.tenths.len() / 10;
    let used = slow_target::used(&counts, slow_target::FOUND_WITHIN, until, AT_ONCE);
    let refused = counts.refused as f64 / (counts.refused + counts.writes) as f64;
    let each = took(&done);
    let longest = each.iter().copied().fold(0.0, f64::max);
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    let what = format!("{PAIRS} pairs into a target that serves {AT_ONCE}: used");
    let fair = "the pair that took longest, times the mean of all";
    vec![
        Row::of(NAME, what, used, Goal::AtLeast(0.9), percent),
        Row::of(NAME, "refused", refused, Goal::AtMost(0.01), percent),
        Row::of(NAME, fair, longest / mean, Goal::AtMost(2.0), times),
    ]
}

/// Pairs with a few changes each, alone and beside a first run.
fn increments(size: Size) -> Vec<Row> {
    let (rounds, large) = match size {
        Size::Short => (1, 40_000),
        Size::Normal => (3, 40_000),
        Size::Long => (5, 80_000),
    };
    let path = "ed-fi/students".to_owned();
    let changing = source(vec![(path.clone(), 10)], vec![(path, 50)]);
    let first = source(super::district(large), Vec::new());
    let target = target();
    let small = houses(&changing, &target.url, INCREMENTS);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // What is first in one round is not in the next.
        let directory = tempfile::tempdir().expect("a directory for a state");
        publish_again(small.clone(), None, directory.path());
        // A process finds the limit anew: the first run of a round is there for that, in both.
        changing.advance();
        alone.push(changes(&small, None, directory.path()));
        changing.advance();
        let first = publication(&first.house(round), &[&target.url]);
        beside.push(changes(&small, Some(first), directory.path()));
    }
    let (alone, beside) = (median(alone), median(beside));
    let what = "increments beside a first run, times alone";
    vec![
        Row::of(
            NAME,
            format!("increments of {INCREMENTS} pairs alone"),
            alone,
            Goal::None,
            seconds,
        ),
        Row::of(NAME, what, beside / alone, Goal::AtMost(1.2), times),
    ]
}

/// How long the pairs with changes took in the middle.
fn changes(small: &[Publication], first: Option<Publication>, directory: &Path) -> f64 {
    let mut all = small.to_vec();
    if let Some(first) = first {
        for publication in &mut all {
            publication.starts_after = IN_FULL_SWING;
        }
        all.push(first);
    }
    let done = publish_again(all, None, directory);
    median(took(&done)[..small.len()].to_vec())
}

fn took(done: &Done) -> Vec<f64> {
    done.pairs.iter().map(|pair| pair.seconds).collect()
}

fn source(items: Vec<(String, u64)>, changes: Vec<(String, u64)>) -> Running {
    Running::start(&Play { items, changes, body_bytes: BODY_BYTES, ..Play::default() })
}

fn target() -> Running {
    Running::start(&Play {
        write_takes: WRITE_TAKES,
        at_once: vec![(0, AT_ONCE)],
        ..Play::default()
    })
}

/// So many publications, each with a source of its own.
fn houses(source: &Running, target: &str, count: usize) -> Vec<Publication> {
    (0..count).map(|number| publication(&source.house(number), &[target])).collect()
}
