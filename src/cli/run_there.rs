//! `tidemark run` while a daemon holds the state: the runs are started there, and followed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::desk::{PairCondition, PairStatus, RunShown};
use crate::domain::Outcome;

use super::arguments::{Output, RunArguments};
use super::at_desk::AtDesk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::signals::Signals;
use super::{runs, show};

/// From one question about a run to the next.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(
    context: &Context,
    at: &AtDesk,
    arguments: &RunArguments,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    if arguments.max_running.is_some() {
        return Err(Failure::usage(
            "a daemon holds the state, and it runs as many pairs at once as its \
             `server.max_running` says: leave `--max-running` out",
        ));
    }
    let started = start(at, arguments).await?;
    let mut ended = Vec::new();
    for id in &started {
        tokio::select! {
            run = follow(at, id) => ended.push(run?),
            () = signals.received() => {
                show::error(
                    "no longer followed: the runs go on in the daemon; `tidemark cancel` ends them",
                );
                return Ok(Exit::Failed);
            }
        }
    }
    match context.output() {
        Output::Json => show::json("runs", &ended)?,
        Output::Text => show::answer(&runs::told(&ended))?,
    }
    Ok(worst(&ended))
}

/// The ids of the runs that began now, and of those that went on already.
async fn start(at: &AtDesk, arguments: &RunArguments) -> Result<Vec<String>, Failure> {
    let mut pairs = at.pairs(&arguments.selector).await?;
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    if arguments.first {
        pairs.retain(|pair| pair.watermark.is_none());
    }
    let mut targets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for PairStatus { publication, target, .. } in pairs {
        targets.entry(publication).or_default().push(target);
    }
    let mut ids = Vec::new();
    for (publication, targets) in targets {
        let allow = arguments.allow_deletes;
        let started = at.desk.start(&at.by, &publication, &targets, allow).await?;
        for id in started.already_running {
            show::note(&format!("{publication}: run {id} went on already, and is followed"));
            ids.push(id);
        }
        ids.extend(started.runs);
    }
    Ok(ids)
}

async fn follow(at: &AtDesk, id: &str) -> Result<RunShown, Failure> {
    loop {
        let run = at.desk.run(&at.by, id).await?;
        if run.outcome.is_some() {
            return Ok(run);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Of 1, 3 and 0 the worst (contract, "Exit status").
fn worst(runs: &[RunShown]) -> Exit {
    let any = |outcome| runs.iter().any(|run| run.outcome == Some(outcome));
    if any(Outcome::Failed) {
        return Exit::Failed;
    }
    if any(Outcome::Parked) { Exit::Parked } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::daemon::desk::{FleetDesk, RunControl};
    use crate::daemon::status::{LivePairs, NobodyRuns};
    use crate::desk::{Caller, DeskError, Role, Started};
    use crate::domain::Stages;
    use crate::state::{MemoryStore, PairId, RunRecord, StateStore, Step};

    /// A daemon whose run ends when it has been asked of three times.
    struct AtWork {
        store: Arc<MemoryStore>,
        asked: AtomicU64,
        outcome: Outcome,
    }

    impl AtWork {
        fn record(&self) -> RunRecord {
            RunRecord {
                id: "r1".to_owned(),
                outcome: self.outcome,
                window: None,
                started_at: Timestamp::UNIX_EPOCH,
                ended_at: Timestamp::UNIX_EPOCH,
                stages: Stages::default(),
                error: None,
            }
        }
    }

    #[async_trait]
    impl RunControl for AtWork {
        fn live_pairs(&self) -> &dyn LivePairs {
            &NobodyRuns
        }

        fn is_running(&self, _: &PairId) -> bool {
            false
        }

        fn under_way(&self, pair: &PairId) -> Option<RunShown> {
            if self.asked.fetch_add(1, Ordering::Relaxed) < 3 {
                return Some(RunShown { outcome: None, ..RunShown::ended(pair, self.record()) });
            }
            None
        }

        async fn start(&self, pairs: &[PairId], _: bool) -> Result<Started, DeskError> {
            assert_eq!(pairs.len(), 1);
            Ok(Started { runs: vec!["r1".to_owned()], already_running: Vec::new() })
        }

        async fn cancel(&self, _: &PairId) -> Result<(), DeskError> {
            Ok(())
        }

        async fn pause(
            &self,
            _: &PairId,
            _: Option<Timestamp>,
            _: Option<&str>,
        ) -> Result<(), DeskError> {
            Ok(())
        }

        async fn resume(&self, _: &PairId) -> Result<(), DeskError> {
            Ok(())
        }

        async fn parked_due(&self, _: &PairId) -> Result<(), DeskError> {
            Ok(())
        }
    }

    /// A desk of one pair, and the state that its runs end in.
    fn before_a_daemon(outcome: Outcome) -> (AtDesk, Arc<AtWork>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidemark.yaml");
        let connection = "{kind: ed-fi, url: \"http://127.0.0.1:9/\", key: k, secret: s}";
        let text = format!(
            "connections:\n  a: {connection}\n  b: {connection}\n\
             publications:\n  p: {{source: a, targets: [b]}}\n"
        );
        std::fs::write(&path, text.replacen(":9/", ":9/a/", 1)).unwrap();
        let env = BTreeMap::new();
        let config = crate::config::load(&path, &env).unwrap().config;
        let store = Arc::new(MemoryStore::new());
        let held: Arc<dyn StateStore> = Arc::<MemoryStore>::clone(&store);
        let clock = Clock::held_at(Timestamp::UNIX_EPOCH);
        let assembly = crate::daemon::assemble(config, &env, held, clock).unwrap();
        let at_work = Arc::new(AtWork { store, asked: AtomicU64::new(0), outcome });
        let control: Arc<dyn RunControl> = Arc::<AtWork>::clone(&at_work) as Arc<dyn RunControl>;
        let desk = FleetDesk::new(Arc::new(assembly), Some(control));
        let by =
            Caller { name: "user x".to_owned(), role: Role::Admin, labels: Default::default() };
        (AtDesk { desk: Box::new(desk), by }, at_work)
    }

    fn everything() -> RunArguments {
        RunArguments {
            selector: Default::default(),
            first: false,
            max_running: None,
            allow_deletes: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_is_started_where_the_state_is_and_followed_to_its_end() {
        let (at, at_work) = before_a_daemon(Outcome::Parked);

        let started = start(&at, &everything()).await.unwrap();
        let following = follow(&at, "r1");
        tokio::pin!(following);
        let early = following.as_mut().now_or_never();
        let pair = PairId { publication: "p".to_owned(), target: "b".to_owned() };
        let step = Step { run: Some(at_work.record()), ..Step::default() };
        at_work.asked.store(3, Ordering::Relaxed);
        at_work.store.commit(&pair, step).await.unwrap();
        let ended = following.await.unwrap();

        assert_eq!(started, ["r1"]);
        assert!(early.is_none(), "it still goes on");
        assert_eq!(ended.outcome, Some(Outcome::Parked));
        assert_eq!(worst(&[ended]), Exit::Parked);
    }

    #[tokio::test]
    async fn first_runs_are_those_of_pairs_without_a_watermark() {
        let (at, at_work) = before_a_daemon(Outcome::Complete);
        let watermark = crate::domain::Watermark::ChangeVersion(crate::domain::ChangeVersion(7));
        let state = crate::state::PairState {
            watermark: Some(watermark),
            ..crate::state::PairState::default()
        };
        let pair = PairId { publication: "p".to_owned(), target: "b".to_owned() };
        let step = Step { state: Some(state), ..Step::default() };
        at_work.store.commit(&pair, step).await.unwrap();

        let started = start(&at, &RunArguments { first: true, ..everything() }).await.unwrap();

        assert!(started.is_empty());
    }
}
