//! Starts a resource when what it needs has finished: a graph, no barriers (I20).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use tokio::task::JoinSet;
use tracing::Instrument;

use crate::domain::{ResourceGraph, ResourcePath};

use super::{RunError, spans};

/// Resources in flight at once. What their pages hold in memory is bounded by the reader.
const IN_FLIGHT: usize = 64;

/// Runs `work` once for every resource of `graph`, each after what it needs, several at a time; of
/// those that are ready, first what the longest chain of others waits for.
/// The first error ends it; work in flight is dropped, which loses nothing: what a target
/// acknowledged is only ever done again.
pub(super) async fn visit<F, W>(graph: &ResourceGraph, mut work: W) -> Result<(), RunError>
where
    W: FnMut(ResourcePath) -> F,
    F: Future<Output = Result<(), RunError>> + Send + 'static,
{
    let mut waiting: BTreeMap<ResourcePath, BTreeSet<ResourcePath>> = graph
        .resources()
        .map(|resource| (resource.clone(), graph.prerequisites(resource).cloned().collect()))
        .collect();
    let chains = chains(graph);
    let mut running = JoinSet::new();

    loop {
        while running.len() < IN_FLIGHT {
            let ready = waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(r, _)| r);
            let longest = ready.rev().max_by_key(|resource| chains.get(*resource)).cloned();
            let Some(resource) = longest else { break };
            waiting.remove(&resource);
            let (work, span) = (work(resource.clone()), spans::of_resource(&resource));
            running.spawn(async move { work.await.map(|()| resource) }.instrument(span));
        }
        let Some(ended) = running.join_next().await else { return Ok(()) };
        let finished = match ended {
            Ok(result) => result?,
            // A panic in a stage is a defect; it ends this run's process part as a panic would.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        for needs in waiting.values_mut() {
            needs.remove(&finished);
        }
    }
}

/// How many resources one after the other need each resource.
fn chains(graph: &ResourceGraph) -> BTreeMap<ResourcePath, usize> {
    let mut chains: BTreeMap<ResourcePath, usize> = BTreeMap::new();
    for resource in graph.in_order().into_iter().rev() {
        let own = *chains.entry(resource.clone()).or_default();
        for needed in graph.prerequisites(&resource) {
            let longest = chains.entry(needed.clone()).or_default();
            *longest = (*longest).max(own + 1);
        }
    }
    chains
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn path(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    #[tokio::test]
    async fn a_resource_starts_when_what_it_needs_has_finished_and_not_when_its_level_has() {
        // given: c needs only a, and b (of the same level as a) never finishes before c began
        let graph = ResourceGraph::build([path("b")], [(path("a"), path("c"))], []).unwrap();
        let (started, begun) = tokio::sync::oneshot::channel::<()>();
        let started = Arc::new(Mutex::new(Some(started)));
        let begun = Arc::new(tokio::sync::Mutex::new(Some(begun)));
        let log = Arc::new(Mutex::new(Vec::new()));

        // when
        visit(&graph, |resource| {
            let (started, begun, log) =
                (Arc::clone(&started), Arc::clone(&begun), Arc::clone(&log));
            async move {
                match resource.collection() {
                    "b" => begun.lock().await.take().unwrap().await.unwrap(),
                    "c" => started.lock().unwrap().take().unwrap().send(()).unwrap(),
                    _ => (),
                }
                log.lock().unwrap().push(resource);
                Ok(())
            }
        })
        .await
        .unwrap();

        // then
        let log = log.lock().unwrap();
        let at = |name: &str| log.iter().position(|r| *r == path(name)).unwrap();
        assert!(at("a") < at("c"));
        assert_eq!(log.len(), 3);
    }

    #[tokio::test]
    async fn what_the_longest_chain_waits_for_comes_first() {
        let edges = [(path("z"), path("y")), (path("y"), path("x")), (path("b"), path("c"))];
        let graph = ResourceGraph::build([path("a")], edges, []).unwrap();
        let begun = Arc::new(Mutex::new(Vec::new()));

        visit(&graph, |resource| {
            begun.lock().unwrap().push(resource.collection().to_owned());
            async { Ok(()) }
        })
        .await
        .unwrap();

        assert_eq!(begun.lock().unwrap()[..3], ["z", "b", "a"]);
    }

    #[tokio::test]
    async fn the_first_error_ends_it() {
        let graph = ResourceGraph::build([], [(path("a"), path("b"))], []).unwrap();

        let ended = visit(&graph, |resource| async move {
            assert_eq!(resource, path("a"), "what needs it must not start");
            Err(RunError::Interrupted)
        })
        .await;

        assert!(matches!(ended, Err(RunError::Interrupted)));
    }
}
