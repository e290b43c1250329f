//! Orders to the runs of the daemon, as the desk gives them.
//!
//! The one thing to know: a run has its id when it begins, so whoever starts one waits for that a
//! little; one that something holds is on the agenda all the same, and begins when it may.

use std::time::Duration;

use async_trait::async_trait;

use super::agenda::{Wanted, Wish};
use super::at_work::AtWork;
use super::desk::RunControl;
use super::serve::DaemonError;
use super::status::LivePairs;
use crate::clock::Timestamp;
use crate::desk::{
    ComparisonShown, DeskError, LogLevelShown, RefusedConfiguration, RunShown, Started,
};
use crate::engine::verify::VerifyOptions;
use crate::state::PairId;
use crate::telemetry::{self, LogLevel};

/// How long whoever starts a run waits for its id.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[async_trait]
impl RunControl for AtWork {
    fn live_pairs(&self) -> &dyn LivePairs {
        self
    }

    fn is_running(&self, pair: &PairId) -> bool {
        self.runs(pair)
    }

    fn under_way(&self, pair: &PairId) -> Option<RunShown> {
        self.watch().under_way(pair)
    }

    async fn start(&self, pairs: &[PairId], allow_deletes: bool) -> Result<Started, DeskError> {
        let mut before = Vec::new();
        for pair in pairs {
            before.push(self.last_run(pair).await?);
        }
        let wishes = self.run_now(pairs, Wanted { allow_deletes }).await.map_err(failed)?;
        let mut started = Started::default();
        let mut begin = Vec::new();
        let mut paused = Vec::new();
        for ((pair, wish), before) in wishes.into_iter().zip(before) {
            match wish {
                Wish::Granted => begin.push((pair, before)),
                Wish::AlreadyRunning => {
                    started.already_running.extend(self.watch().of(&pair).run_id);
                }
                Wish::Paused => paused.push(pair.to_string()),
                // The configuration has changed this moment.
                Wish::Unknown => {}
            }
        }
        if begin.is_empty() {
            let why = match (started.already_running.is_empty(), paused.first()) {
                (false, _) => "every pair runs already".to_owned(),
                (true, Some(pair)) => format!("{pair} is paused: resume it first"),
                (true, None) => "the configuration no longer names these pairs".to_owned(),
            };
            return Err(DeskError::Conflict(why));
        }
        let (runs, waiting) = self.ids_of(begin).await?;
        started.runs = runs;
        started.waiting = waiting.into_iter().map(|pair| pair.target).collect();
        Ok(started)
    }

    fn compare(
        &self,
        pair: &PairId,
        options: &VerifyOptions,
    ) -> Result<ComparisonShown, DeskError> {
        self.compare_now(pair, options)
    }

    fn comparison(&self, id: &str) -> Option<(PairId, ComparisonShown)> {
        AtWork::comparison(self, id)
    }

    fn cancel_comparison(&self, id: &str) -> bool {
        AtWork::cancel_comparison(self, id)
    }

    fn refused_configuration(&self) -> Option<RefusedConfiguration> {
        AtWork::refused_configuration(self)
    }

    fn log_level(&self) -> Option<LogLevelShown> {
        self.verbosity().shown()
    }

    fn set_log_level(&self, level: LogLevel, lasting: Duration) -> bool {
        self.verbosity().set(level, lasting)
    }

    async fn cancel(&self, pair: &PairId) -> Result<(), DeskError> {
        match AtWork::cancel(self, std::slice::from_ref(pair)).is_empty() {
            true => Err(DeskError::Conflict(format!("{pair} does not run"))),
            false => Ok(()),
        }
    }

    async fn pause(
        &self,
        pair: &PairId,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) -> Result<(), DeskError> {
        let pair = std::slice::from_ref(pair);
        AtWork::pause(self, pair, until, reason.map(str::to_owned)).await.map_err(failed)?;
        Ok(())
    }

    async fn resume(&self, pair: &PairId) -> Result<(), DeskError> {
        AtWork::resume(self, std::slice::from_ref(pair)).await.map_err(failed)?;
        Ok(())
    }

    async fn parked_due(&self, pair: &PairId) -> Result<(), DeskError> {
        AtWork::parked_due(self, pair).await.map_err(failed)
    }
}

impl AtWork {
    /// The ids of runs that begin, or began and have ended since (nothing to do is a run too), and
    /// the pairs whose runs something holds.
    async fn ids_of(
        &self,
        mut begin: Vec<(PairId, Option<String>)>,
    ) -> Result<(Vec<String>, Vec<PairId>), DeskError> {
        let patience = tokio::time::Instant::now() + BEGINS_WITHIN;
        let mut ids = Vec::new();
        loop {
            let mut waiting = Vec::new();
            for (pair, before) in begin {
                let begun = self.watch().of(&pair).run_id;
                let ended = self.last_run(&pair).await?.filter(|id| Some(id) != before.as_ref());
                match begun.or(ended) {
                    Some(id) => ids.push(id),
                    None => waiting.push((pair, before)),
                }
            }
            if waiting.is_empty() || tokio::time::Instant::now() >= patience {
                return Ok((ids, waiting.into_iter().map(|(pair, _)| pair).collect()));
            }
            begin = waiting;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn last_run(&self, pair: &PairId) -> Result<Option<String>, DeskError> {
        let state = self.assembly().store.load(pair).await;
        let state = state.map_err(|error| DeskError::State(error.to_string()))?;
        Ok(state.and_then(|state| state.last_run).map(|run| run.id))
    }
}

fn failed(error: DaemonError) -> DeskError {
    DeskError::Failed(telemetry::chain(&error))
}
