//! One run of one pair as `tidemark run` does it, in a process that does nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tidemark::clock::Clock;
use tidemark::engine::runner::RunOptions;
use tidemark::{config, daemon};
use tokio_util::sync::CancellationToken;

use crate::usage::{self, Usage};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) source: String,
    pub(crate) target: String,
    /// Where the state is, and the configuration.
    pub(crate) directory: PathBuf,
    /// Nothing is set where there is none.
    pub(crate) max_concurrency: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) usage: Usage,
    /// Of the run, from its first request to its commit.
    pub(crate) seconds: f64,
    pub(crate) outcome: String,
    pub(crate) error: Option<String>,
    pub(crate) applied: u64,
    pub(crate) source_requests: u64,
    pub(crate) target_requests: u64,
}

pub(crate) async fn publish(order: Order) -> Done {
    let path = order.directory.join("tidemark.yaml");
    std::fs::write(&path, configuration(&order)).expect("the directory is the bench's own");
    let loaded = config::load(&path, &BTreeMap::new()).expect("the bench's own configuration");
    let store = daemon::open_state(&loaded.config).expect("the state is the bench's own");
    let clock = Clock::system();
    let assembly = daemon::assemble(loaded.config, &BTreeMap::new(), Arc::clone(&store), clock)
        .expect("whole");
    let runner = assembly.runner(Vec::new(), CancellationToken::new());
    let pairs = assembly.pairs["bench"].clone();
    let began = Instant::now();
    let reports = runner.run_publication(pairs, &RunOptions::default()).await;
    let seconds = began.elapsed().as_secs_f64();
    let report = &reports[0];
    Done {
        seconds,
        outcome: format!("{:?}", report.outcome),
        error: report.error.as_ref().map(|error| error.message.clone()),
        applied: report.stages.upserts.applied,
        source_requests: report.requests.source,
        target_requests: report.requests.target,
        usage: usage::of_this_process(),
    }
}

fn configuration(order: &Order) -> String {
    let Order { source, target, directory, max_concurrency } = order;
    let ceiling =
        max_concurrency.map_or_else(String::new, |most| format!("    max_concurrency: {most}\n"));
    let connection = |name: &str, url: &str, more: &str| {
        format!(
            "  {name}:\n    kind: ed-fi\n    url: {url}\n    key: bench\n    secret: bench\n{more}"
        )
    };
    format!(
        "state:\n  path: {}\nconnections:\n{}{}publications:\n  bench:\n    source: source\n    targets: [target]\n",
        directory.join("state").display(),
        connection("source", source, ""),
        connection("target", target, &ceiling),
    )
}
