//! One scenario a file: what it measures, and the goal.

mod bare_loop;
mod fan_in;
mod fan_out;
mod many_pairs;
mod memory;
mod no_idle_time;
mod reads;
mod slow_target;
mod state;

use std::path::Path;

use tempfile::TempDir;

use crate::Size;
use crate::child::{self, Running};
use crate::publish::{Done, Order, Publication};
use crate::table::Row;

type Scenario = fn(Size) -> Vec<Row>;

/// By the name that the command line takes, in the order of the table.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    ("bare-loop", bare_loop::measure),
    ("slow-target", slow_target::measure),
    ("no-idle-time", no_idle_time::measure),
    ("reads", reads::measure),
    ("fan-out", fan_out::measure),
    ("fan-in", fan_in::measure),
    ("memory", memory::measure),
    ("many-pairs", many_pairs::measure),
    ("state", state::measure),
];

/// The resources that are large everywhere, with their shares of all items in percent.
const LARGE: [(&str, u64); 4] = [
    ("ed-fi/students", 10),
    ("ed-fi/studentSchoolAssociations", 10),
    ("ed-fi/studentSectionAssociations", 50),
    ("ed-fi/grades", 30),
];

/// `items` of them, spread as they are in a district.
fn district(items: u64) -> Vec<(String, u64)> {
    LARGE.iter().map(|(path, share)| ((*path).to_owned(), items * share / 100)).collect()
}

/// A first run of one pair into a fresh state. The directory holds it until it is dropped.
fn first_run(source: &Running, target: &Running, ceiling: Option<u64>) -> (Done, TempDir) {
    publish_all(vec![publication(&source.url, &[&target.url])], ceiling)
}

/// First runs of publications, all at once in one process.
fn publish_all(publications: Vec<Publication>, ceiling: Option<u64>) -> (Done, TempDir) {
    let directory = tempfile::tempdir().expect("a directory for a state");
    let done = publish_again(publications, ceiling, directory.path());
    (done, directory)
}

/// The same of publications whose state is there perhaps.
fn publish_again(
    publications: Vec<Publication>,
    max_concurrency: Option<u64>,
    directory: &Path,
) -> Done {
    let order = Order { publications, directory: directory.to_owned(), max_concurrency };
    let done: Done = child::run("publish", &order);
    for pair in &done.pairs {
        assert_eq!(pair.error, None, "the runs of a bench end well");
    }
    done
}

fn publication(source: &str, targets: &[&str]) -> Publication {
    Publication {
        source: source.to_owned(),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        starts_after: 0,
    }
}

/// What the files of a directory take together, in bytes.
fn bytes_in(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).expect("the directory is the bench's own") {
        let entry = entry.expect("the directory is the bench's own");
        let about = entry.metadata().expect("the directory is the bench's own");
        bytes += if about.is_dir() { bytes_in(&entry.path()) } else { about.len() };
    }
    bytes
}

/// The one in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
