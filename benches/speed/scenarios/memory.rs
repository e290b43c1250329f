//! The most memory that a run has resident, whatever it publishes.

use super::{district, first_run, publication, publish_all};
use crate::Size;
use crate::child::Running;
use crate::play::Play;
use crate::table::{Goal, Row, mebibytes, times};

const NAME: &str = "memory";
const MIB: f64 = (1 << 20) as f64;
/// Pages of 500 of them are a mebibyte and a half.
const BODY_BYTES: (usize, usize) = (3 << 10, 3 << 10);
const LARGE_ITEM: usize = 16 << 20;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let sizes: &[u64] = match size {
        Size::Short => &[20_000, 100_000],
        Size::Normal => &[20_000, 200_000],
        Size::Long => &[20_000, 200_000, 2_000_000],
    };
    let mut rows = Vec::new();
    let mut smallest = 0.0;
    for items in sizes {
        let peak = peak(district(*items), BODY_BYTES, None, 0);
        let what = format!("{items} items of 3 KB");
        rows.push(Row::of(NAME, what, peak, Goal::AtMost(64.0 * MIB), mebibytes));
        if smallest == 0.0 {
            smallest = peak;
        }
    }
    let stall = match size {
        Size::Short => 5_000,
        Size::Normal => 15_000,
        Size::Long => 60_000,
    };
    let stalled = peak(district(50_000), BODY_BYTES, Some((10_000, stall)), 2);
    let what = format!("a target that stalls for {} s", stall / 1000);
    rows.push(Row::of(NAME, what, stalled, Goal::AtMost(64.0 * MIB), mebibytes));

    let eight = peak_of(8, 10_000);
    let more = (eight - peak_of(1, 10_000)) / 7.0;
    rows.push(Row::of(
        NAME,
        "each further pair in flight, of eight",
        more,
        Goal::AtMost(8.0 * MIB),
        mebibytes,
    ));

    let nothing = peak(vec![("ed-fi/students".to_owned(), 1)], BODY_BYTES, None, 0);
    let one = vec![("ed-fi/students".to_owned(), 1)];
    let large = peak(one, (LARGE_ITEM - 1024, LARGE_ITEM - 1024), None, 0);
    let share = (large - nothing) / LARGE_ITEM as f64;
    let what = "one item of 16 MB, times its size beyond one of 3 KB";
    rows.push(Row::of(NAME, what, share, Goal::AtMost(3.0), times));
    rows
}

/// Of so many pairs in flight, each with a source and a target of its own.
fn peak_of(pairs: usize, items: u64) -> f64 {
    let source =
        Running::start(&Play { items: district(items), body_bytes: BODY_BYTES, ..Play::default() });
    let target = Running::start(&Play { write_takes: 2, ..Play::default() });
    let all = (0..pairs).map(|pair| publication(&source.house(pair), &[&target.house(pair)]));
    let (done, _state) = publish_all(all.collect(), None);
    done.usage.peak_rss as f64
}

fn peak(
    items: Vec<(String, u64)>,
    body_bytes: (usize, usize),
    stall: Option<(u64, u64)>,
    write_takes: u64,
) -> f64 {
    let source = Running::start(&Play { items, body_bytes, ..Play::default() });
    let target = Running::start(&Play { stall, write_takes, ..Play::default() });
    let (done, _state) = first_run(&source, &target, None);
    done.usage.peak_rss as f64
}
