//! One run of one pair as `tidemark run` does it, in a process that does nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemark::clock::Clock;
use tidemark::engine::runner::RunOptions;
use tidemark::{config, daemon};
use tokio_util::sync::CancellationToken;

use crate::usage::{self, Usage};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Order {
    pub(crate) publications: Vec<Publication>,
    /// Where the state is, and the configuration.
    pub(crate) directory: PathBuf,
    /// Of every target; nothing is set where there is none.
    pub(crate) max_concurrency: Option<u64>,
}

/// Addresses; one that comes again is one connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Publication {
    pub(crate) source: String,
    pub(crate) targets: Vec<String>,
    /// In milliseconds, after the run of the process began.
    pub(crate) starts_after: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) usage: Usage,
    /// From the first request to the last commit.
    pub(crate) seconds: f64,
    /// In the order of the publications and of their targets.
    pub(crate) pairs: Vec<PairDone>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PairDone {
    /// Of its own run.
    pub(crate) seconds: f64,
    pub(crate) error: Option<String>,
    pub(crate) applied: u64,
    pub(crate) source_requests: u64,
}

pub(crate) async fn publish(order: Order) -> Done {
    let path = order.directory.join("tidemark.yaml");
    std::fs::write(&path, configuration(&order)).expect("the directory is the bench's own");
    let loaded = config::load(&path, &BTreeMap::new()).expect("the bench's own configuration");
    let store = daemon::open_state(&loaded.config).expect("the state is the bench's own");
    let clock = Clock::system();
    let assembly = daemon::assemble(loaded.config, &BTreeMap::new(), Arc::clone(&store), clock)
        .expect("whole");
    let runner = Arc::new(assembly.runner(Vec::new(), CancellationToken::new()));
    let began = Instant::now();
    let mut runs = Vec::new();
    for (number, publication) in order.publications.iter().enumerate() {
        let (runner, pairs) = (Arc::clone(&runner), assembly.pairs[&name(number)].clone());
        let starts_after = Duration::from_millis(publication.starts_after);
        runs.push(tokio::spawn(async move {
            tokio::time::sleep(starts_after).await;
            runner.run_publication(pairs, &RunOptions::default()).await
        }));
    }
    let mut pairs = Vec::new();
    for run in runs {
        for report in run.await.expect("a run does not panic") {
            pairs.push(PairDone {
                seconds: report.duration_seconds,
                error: report.error.as_ref().map(|error| error.message.clone()),
                applied: report.stages.upserts.applied,
                source_requests: report.requests.source,
            });
        }
    }
    Done { pairs, seconds: began.elapsed().as_secs_f64(), usage: usage::of_this_process() }
}

/// In an order that is that of the numbers.
fn name(number: usize) -> String {
    format!("p-{number:04}")
}

fn configuration(order: &Order) -> String {
    let ceiling = order
        .max_concurrency
        .map_or_else(String::new, |most| format!("    max_concurrency: {most}\n"));
    let mut connections = BTreeMap::new();
    let mut publications = String::new();
    for (number, publication) in order.publications.iter().enumerate() {
        let mut connection = |url: &String, more: &str| {
            let next = format!("c-{:04}", connections.len());
            connections.entry(url.clone()).or_insert((next, more.to_owned())).0.clone()
        };
        let source = connection(&publication.source, "");
        let targets: Vec<String> =
            publication.targets.iter().map(|url| connection(url, &ceiling)).collect();
        publications.push_str(&format!(
            "  {}:\n    source: {source}\n    targets: [{}]\n",
            name(number),
            targets.join(", ")
        ));
    }
    let mut text =
        format!("state:\n  path: {}\nconnections:\n", order.directory.join("state").display());
    for (url, (name, more)) in connections {
        text.push_str(&format!(
            "  {name}:\n    kind: ed-fi\n    url: {url}\n    key: bench\n    secret: bench\n{more}"
        ));
    }
    format!("{text}publications:\n{publications}")
}
