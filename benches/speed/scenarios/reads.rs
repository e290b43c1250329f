//! What a source is asked when nothing is new, and when one item is.

use super::{publication, publish_again, publish_all};
use crate::Size;
use crate::child::Running;
use crate::play::{Counts, Play};
use crate::table::{Goal, Row, count, times};

const NAME: &str = "reads";
/// In milliseconds, of every read.
const READ_TAKES: u64 = 20;

pub(super) fn measure(_size: Size) -> Vec<Row> {
    let students = "ed-fi/students".to_owned();
    let source = Running::start(&Play {
        items: vec![(students.clone(), 600)],
        changes: vec![(students, 1)],
        body_bytes: (1 << 10, 3 << 10),
        read_takes: READ_TAKES,
        ..Play::default()
    });
    let target = Running::start(&Play::default());
    let pairs = || vec![publication(&source.url, &[&target.url])];
    let (_, directory) = publish_all(pairs(), None);
    let first = source.counts();
    let of_names: u64 =
        first.asked.iter().filter(|(path, _)| is_of_names(path)).map(|(_, n)| n).sum();

    let before = source.counts();
    publish_again(pairs(), None, directory.path());
    let nothing_new = requests(&source.counts()) - requests(&before);
    source.advance();
    let done = publish_again(pairs(), None, directory.path());
    let one = source.counts();
    let feeds: Vec<u64> =
        one.asked.iter().filter(|(path, _)| path.starts_with("/data")).map(|(_, n)| *n).collect();
    let most = feeds.iter().copied().max().unwrap_or(0);
    // Were every feed asked by itself, and all at once.
    let asked: u64 = feeds.iter().sum();
    let in_a_row = asked as f64 * READ_TAKES as f64 / 1000.0;
    vec![
        Row::of(
            NAME,
            "a first run: feeds of deletes and key changes",
            of_names as f64,
            Goal::AtMost(0.0),
            count,
        ),
        Row::of(
            NAME,
            "nothing new: requests after discovery and token",
            nothing_new as f64,
            Goal::AtMost(3.0),
            count,
        ),
        Row::of(
            NAME,
            "one changed item: the most requests for one feed",
            most as f64,
            Goal::AtMost(1.0),
            count,
        ),
        Row::of(NAME, "one changed item: requests", asked as f64, Goal::None, count),
        Row::of(
            NAME,
            "one changed item: the most at once",
            one.most_reads_open as f64,
            Goal::None,
            count,
        ),
        Row::of(
            NAME,
            "one changed item: the run, times its reads one by one",
            done.seconds / in_a_row,
            Goal::None,
            times,
        ),
    ]
}

fn is_of_names(path: &str) -> bool {
    path.ends_with("/deletes") || path.ends_with("/keyChanges")
}

fn requests(counts: &Counts) -> u64 {
    counts.asked.values().sum()
}
