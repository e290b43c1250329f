//! What a published item costs of a processor, and how many are published in a second, against a
//! bare loop of POSTs with the same client to a target that only counts.

use super::{district, first_run, median};
use crate::Size;
use crate::bare::{Done, Order};
use crate::child::{self, Running};
use crate::play::Play;
use crate::table::{Goal, Row, microseconds, percent, times};

const NAME: &str = "bare-loop";
/// Small items make the ratio worst.
const BODY_BYTES: (usize, usize) = (1 << 10, 3 << 10);
/// Requests at once, for both.
const AT_ONCE: u64 = 64;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let (items, rounds) = match size {
        Size::Short => (50_000, 3),
        Size::Normal => (200_000, 5),
        Size::Long => (200_000, 9),
    };
    let play = Play { body_bytes: BODY_BYTES, ..Play::default() };
    let source = Running::start(&Play { items: district(items), ..play.clone() });
    let target = Running::start(&play);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (mut cost, mut speed) = (Vec::new(), Vec::new());
    // In turns: what else the machine does falls on both.
    for _ in 0..rounds {
        let order = Order {
            url: format!("{}/data/v3/ed-fi/students", target.url),
            items,
            at_once: AT_ONCE,
            body_bytes: BODY_BYTES,
        };
        let without: Done = child::run("bare", &order);
        let (with, _state) = first_run(&source, &target, Some(AT_ONCE));
        assert_eq!(with.pairs[0].applied, items, "everything arrives");
        eprintln!(
            "  bare {:.2} s cpu, {:.2} s; ours {:.2} s cpu, {:.2} s, {:.0} MiB",
            without.usage.cpu,
            without.seconds,
            with.usage.cpu,
            with.seconds,
            with.usage.peak_rss as f64 / f64::from(1 << 20),
        );
        cost.push(with.usage.cpu / without.usage.cpu);
        speed.push(without.seconds / with.seconds);
        ours.push(with.usage.cpu / items as f64);
        bare.push(without.usage.cpu / items as f64);
    }
    vec![
        Row::of(NAME, "processor time of a bare POST", median(bare), Goal::None, microseconds),
        Row::of(NAME, "processor time of an item", median(ours), Goal::None, microseconds),
        Row::of(
            NAME,
            "processor time, times the bare loop",
            median(cost),
            Goal::AtMost(1.4),
            times,
        ),
        Row::of(
            NAME,
            "throughput, of the bare loop's",
            median(speed),
            Goal::AtLeast(0.75),
            percent,
        ),
    ]
}
