//! A target that takes its time and serves only so many writes at once: how much of that is used
//! with no setting touched, and how many writes it has to refuse.

use super::{district, first_run};
use crate::Size;
use crate::child::Running;
use crate::play::{Counts, Play};
use crate::table::{Goal, Row, percent};

const NAME: &str = "slow-target";
/// In milliseconds.
const WRITE_TAKES: u64 = 20;
/// In seconds: from then on the limit must have been found.
pub(super) const FOUND_WITHIN: usize = 10;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let (steady, each) = match size {
        Size::Short => (14, 8),
        Size::Normal => (20, 15),
        Size::Long => (60, 30),
    };
    let mut rows = Vec::new();
    for queues in [false, true] {
        for at_once in [16, 64, 256] {
            let counts = press(vec![(0, at_once)], queues, steady);
            let how = if queues { "queues" } else { "refuses" };
            let what = format!("serves {at_once} at once and {how} more");
            let used = used(&counts, FOUND_WITHIN, counts.tenths.len() / 10, at_once);
            rows.push(Row::of(NAME, format!("{what}: used"), used, Goal::AtLeast(0.9), percent));
            if !queues {
                let refused = counts.refused as f64 / (counts.refused + counts.writes) as f64;
                let what = format!("{what}: refused");
                rows.push(Row::of(NAME, what, refused, Goal::AtMost(0.01), percent));
            }
        }
    }
    let steps = [64, 32, 64, 128];
    let from = |step: usize| (step * each * 1000) as u64;
    let at_once = steps.iter().enumerate().map(|(step, n)| (from(step), *n)).collect();
    let counts = press(at_once, false, each * steps.len());
    for (step, now) in steps.into_iter().enumerate() {
        // The second half of each step: the first is there to find the new limit.
        let used = used(&counts, step * each + each / 2, (step + 1) * each, now);
        let what = format!("limit changes in mid-run, {}. {now} at once: used", step + 1);
        rows.push(Row::of(NAME, what, used, Goal::AtLeast(0.9), percent));
    }
    let refused = counts.refused as f64 / (counts.refused + counts.writes) as f64;
    let what = "limit changes in mid-run: refused";
    rows.push(Row::of(NAME, what, refused, Goal::AtMost(0.01), percent));
    rows
}

/// A first run of about so many seconds.
fn press(at_once: Vec<(u64, usize)>, queues: bool, seconds: usize) -> Counts {
    let most = at_once.iter().map(|(_, n)| *n).max().unwrap_or(1);
    let mean = at_once.iter().map(|(_, n)| *n).sum::<usize>() / at_once.len();
    // A timer of the server is a millisecond late, and the last seconds are a run's end.
    let items = (mean * 1000 / (WRITE_TAKES as usize + 1) * seconds).max(most) as u64;
    let body_bytes = (1 << 10, 3 << 10);
    let source = Running::start(&Play { items: district(items), body_bytes, ..Play::default() });
    let target = Running::start(&Play {
        write_takes: WRITE_TAKES,
        at_once,
        queues,
        body_bytes,
        ..Play::default()
    });
    first_run(&source, &target, None);
    target.counts()
}

/// Which share of the places was in use, by the target's own account.
pub(super) fn used(counts: &Counts, from: usize, to: usize, at_once: usize) -> f64 {
    let tenths = &counts.tenths[(from * 10).min(counts.tenths.len())..];
    // The last moments have too little left to fill the places.
    let until = (to - from.min(to)) * 10;
    let tenths = &tenths[..until.min(tenths.len().saturating_sub(5))];
    let busy: f64 = tenths.iter().map(|tenth| tenth.busy).sum();
    busy / (tenths.len() as f64 / 10.0 * at_once as f64)
}
