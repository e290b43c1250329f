//! `tidemark run` while a daemon holds the state: the runs are started there, and followed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use crate::desk::{PairCondition, PairStatus, RunShown, Started};
use crate::domain::Outcome;
use crate::state::PairId;

use super::arguments::{Output, RunArguments};
use super::at_desk::AtDesk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::signals::Signals;
use super::{runs, show};

/// From one question about a run to the next.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Orders on the way at once: each waits a little for the ids of its runs.
const STARTED_AT_ONCE: usize = 128;
/// Runs that are asked of at once.
const FOLLOWED_AT_ONCE: usize = 32;

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
    let followed = async {
        let begun = start(at, arguments).await?;
        follow_all(at, begun).await
    };
    let ended = tokio::select! {
        ended = followed => ended?,
        () = signals.received() => {
            show::error(
                "no longer followed: the runs go on in the daemon; `tidemark cancel` ends them",
            );
            return Ok(Exit::Failed);
        }
    };
    match context.output() {
        Output::Json => show::json("runs", &ended)?,
        Output::Text => show::answer(&runs::told(&ended))?,
    }
    Ok(worst(&ended))
}

/// A run that is to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Begun {
    Run(String),
    /// Something holds it: it is the first run of the pair that is not this one.
    Waiting {
        pair: PairId,
        last: Option<String>,
    },
}

/// All of them at once: those that began now, those that went on already, and those that wait.
async fn start(at: &AtDesk, arguments: &RunArguments) -> Result<Vec<Begun>, Failure> {
    let mut pairs = at.pairs(&arguments.selector).await?;
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    if arguments.first {
        pairs.retain(|pair| pair.watermark.is_none());
    }
    let mut publications: BTreeMap<String, Vec<PairStatus>> = BTreeMap::new();
    for pair in pairs {
        publications.entry(pair.publication.clone()).or_default().push(pair);
    }
    let starting = publications.iter().map(|(publication, pairs)| async move {
        let targets: Vec<String> = pairs.iter().map(|pair| pair.target.clone()).collect();
        let allow = arguments.allow_deletes;
        let started = at.desk.start(&at.by, publication, &targets, allow).await?;
        Ok::<_, Failure>(begun(publication, pairs, started))
    });
    let started: Vec<_> = stream::iter(starting).buffered(STARTED_AT_ONCE).collect().await;
    let mut begun = Vec::new();
    for started in started {
        begun.extend(started?);
    }
    Ok(begun)
}

fn begun(publication: &str, pairs: &[PairStatus], started: Started) -> Vec<Begun> {
    for id in &started.already_running {
        show::note(&format!("{publication}: run {id} went on already, and is followed"));
    }
    let runs = started.already_running.into_iter().chain(started.runs).map(Begun::Run);
    let waiting = pairs.iter().filter(|pair| started.waiting.contains(&pair.target));
    let waiting = waiting.map(|pair| {
        let last = pair.last_run.as_ref().map(|run| run.id.clone());
        Begun::Waiting { pair: pair.id(), last }
    });
    runs.chain(waiting).collect()
}

/// Every run to its end, in order.
async fn follow_all(at: &AtDesk, begun: Vec<Begun>) -> Result<Vec<RunShown>, Failure> {
    let following = begun.into_iter().map(|begun| async move {
        match begun {
            Begun::Run(id) => follow(at, &id).await.map(Some),
            Begun::Waiting { pair, last } => match wait_for(at, &pair, last).await? {
                Some(id) => follow(at, &id).await.map(Some),
                None => Ok(None),
            },
        }
    });
    let ended: Vec<_> = stream::iter(following).buffered(FOLLOWED_AT_ONCE).collect().await;
    let mut runs = Vec::new();
    for run in ended {
        runs.extend(run?);
    }
    Ok(runs)
}

/// The id of the run that begins when nothing holds it any more; `None` where somebody has paused
/// the pair meanwhile.
async fn wait_for(
    at: &AtDesk,
    pair: &PairId,
    last: Option<String>,
) -> Result<Option<String>, Failure> {
    let mut said = None;
    loop {
        let status = at.desk.pair(&at.by, pair).await?;
        let ended = status.last_run.map(|run| run.id).filter(|id| Some(id) != last.as_ref());
        if let Some(id) = status.run_id.or(ended) {
            return Ok(Some(id));
        }
        if status.state == PairCondition::Paused {
            show::error(&format!("{pair} was paused before its run began"));
            return Ok(None);
        }
        if status.state == PairCondition::Waiting && said != status.reason {
            said = status.reason;
            show::note(&format!("{pair} waits: {}", said.as_deref().unwrap_or("for its turn")));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
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
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use async_trait::async_trait;
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::daemon::desk::{FleetDesk, RunControl};
    use crate::daemon::status::{LivePairs, NobodyRuns};
    use crate::desk::{
        Caller, ComparisonShown, DeskError, LogLevelShown, RefusedConfiguration, Role, Started,
    };
    use crate::domain::Stages;
    use crate::engine::verify::VerifyOptions;
    use crate::state::{LastRun, MemoryStore, PairState, RunRecord, StateStore, Step};
    use crate::telemetry::LogLevel;

    /// A daemon whose run ends when it has been asked of three times.
    struct AtWork {
        store: Arc<MemoryStore>,
        asked: AtomicU64,
        /// Its run begins later, when somebody else has ended.
        is_held: bool,
        /// What it leaves behind is written at the moment when it is asked whether the run goes on.
        ends_when_asked: AtomicBool,
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
            if self.ends_when_asked.load(Ordering::Relaxed) {
                let step = Step { run: Some(self.record()), ..Step::default() };
                self.store.commit(pair, step).now_or_never().unwrap().unwrap();
            }
            None
        }

        async fn start(&self, pairs: &[PairId], _: bool) -> Result<Started, DeskError> {
            assert_eq!(pairs.len(), 1);
            let (runs, waiting) = match self.is_held {
                true => (Vec::new(), vec!["b".to_owned()]),
                false => (vec!["r1".to_owned()], Vec::new()),
            };
            Ok(Started { runs, waiting, ..Started::default() })
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

        fn compare(&self, _: &PairId, _: &VerifyOptions) -> Result<ComparisonShown, DeskError> {
            Err(DeskError::NotNow("nothing is compared here".to_owned()))
        }

        fn comparison(&self, _: &str) -> Option<(PairId, ComparisonShown)> {
            None
        }

        fn cancel_comparison(&self, _: &str) -> bool {
            false
        }

        fn refused_configuration(&self) -> Option<RefusedConfiguration> {
            None
        }

        fn log_level(&self) -> Option<LogLevelShown> {
            None
        }

        fn set_log_level(&self, _: LogLevel, _: Duration) -> bool {
            false
        }
    }

    /// A desk of one pair, and the state that its runs end in.
    fn before_a_daemon(outcome: Outcome) -> (AtDesk, Arc<AtWork>) {
        before(outcome, false)
    }

    fn before(outcome: Outcome, is_held: bool) -> (AtDesk, Arc<AtWork>) {
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
        let at_work = Arc::new(AtWork {
            store,
            asked: AtomicU64::new(0),
            is_held,
            ends_when_asked: AtomicBool::new(false),
            outcome,
        });
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

        assert_eq!(started, [Begun::Run("r1".to_owned())]);
        assert!(early.is_none(), "it still goes on");
        assert_eq!(ended.outcome, Some(Outcome::Parked));
        assert_eq!(worst(&[ended]), Exit::Parked);
    }

    #[tokio::test]
    async fn a_run_that_ends_while_it_is_looked_for_is_found() {
        let (at, at_work) = before_a_daemon(Outcome::Complete);
        at_work.asked.store(3, Ordering::Relaxed);
        at_work.ends_when_asked.store(true, Ordering::Relaxed);

        let ended = follow(&at, "r1").await.unwrap();

        assert_eq!(ended.outcome, Some(Outcome::Complete));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_something_holds_is_waited_for_and_followed_too() {
        let (at, at_work) = before(Outcome::Complete, true);
        let pair = PairId { publication: "p".to_owned(), target: "b".to_owned() };
        at_work.asked.store(3, Ordering::Relaxed);
        let ended_as = |id: &str| {
            let record = RunRecord { id: id.to_owned(), ..at_work.record() };
            let last =
                LastRun { id: id.to_owned(), outcome: record.outcome, ended_at: record.ended_at };
            let state = PairState { last_run: Some(last), ..PairState::default() };
            Step { state: Some(state), run: Some(record), ..Step::default() }
        };
        at_work.store.commit(&pair, ended_as("r0")).await.unwrap();

        let begun = start(&at, &everything()).await.unwrap();
        let following = follow_all(&at, begun.clone());
        tokio::pin!(following);
        let early = following.as_mut().now_or_never();
        at_work.store.commit(&pair, ended_as("r1")).await.unwrap();
        let ended = following.await.unwrap();

        assert_eq!(begun, [Begun::Waiting { pair, last: Some("r0".to_owned()) }]);
        assert!(early.is_none(), "the run before is another one");
        assert_eq!(ended.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["r1"]);
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
