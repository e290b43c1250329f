//! The runs of one start: pairs of one publication that begin together, each told of when it has
//! ended, so that a slow target does not hold up the next run of the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::agenda::{self, Ending, Job, Start, Wanted};
use super::comparisons::{self, Comparisons, Found};
use super::planning::parked_due_at;
use super::serve::DaemonError;
use super::{Assembly, spool_directory};
use crate::clock::Timestamp;
use crate::config::PublicationConfig;
use crate::domain::Outcome;
use crate::engine::report::RunReport;
use crate::engine::runner::{RunOptions, Runner};
use crate::engine::stopping::{Interruption, StopSwitch};
use crate::engine::verify::{Compared, Verification, VerifyOptions};
use crate::engine::{Pair, RunError};
use crate::state::{PairId, StateError, Unlike};

/// How the runs of a group ended, or what the store said when it was asked.
pub(super) type GroupEnded = Result<Vec<(PairId, Ending)>, DaemonError>;

pub(super) struct Group {
    /// The configuration that it began under, and ends under.
    pub(super) assembly: Arc<Assembly>,
    pub(super) runner: Arc<Runner>,
    pub(super) comparisons: Arc<Comparisons>,
    pub(super) early: mpsc::UnboundedSender<(PairId, Ending)>,
    pub(super) start: Start,
    /// One for each pair of the start.
    pub(super) switches: Vec<StopSwitch>,
}

impl Group {
    pub(super) async fn run(self) -> GroupEnded {
        match self.start.job {
            Job::Run(wanted) => self.publish(wanted).await,
            Job::Compare => self.compare().await,
        }
    }

    async fn publish(self, wanted: Option<Wanted>) -> GroupEnded {
        let mut endings = Vec::new();
        let mut pairs = Vec::new();
        for (id, switch) in self.start.pairs.iter().zip(&self.switches) {
            let state = self.assembly.store.load(id).await.map_err(state_failed)?;
            // It has been said when it was blocked, and stays so until a person has decided.
            let is_blocked = state.is_some_and(|state| state.blocked.is_some());
            if is_blocked && wanted.is_none() {
                endings.push((id.clone(), Ending::NeedsAPerson));
            } else {
                pairs.extend(self.assembly.pair(id).cloned().zip(Some(switch.clone())));
            }
        }
        let mut silent: BTreeSet<PairId> = pairs.iter().map(|(pair, _)| pair.id.clone()).collect();
        let (told, mut reports) = mpsc::unbounded_channel();
        let options = RunOptions {
            allow_deletes: wanted.is_some_and(|wanted| wanted.allow_deletes),
            all_parked: wanted.is_some(),
        };
        // The channel is closed with the last run, which ends the noting.
        let runs = self.runner.run_each_until(pairs, &options, move |report| {
            told.send(report).expect("who notes waits for the last run");
        });
        let noting = async {
            while let Some(report) = reports.recv().await {
                let id = PairId {
                    publication: report.publication.clone(),
                    target: report.target.clone(),
                };
                silent.remove(&id);
                let ending = self.ending(&id, &report).await?;
                if self.early.send((id.clone(), ending)).is_err() {
                    endings.push((id, ending)); // The daemon is stopping and counts the rest.
                }
            }
            Ok(())
        };
        let ((), noted) = tokio::join!(runs, noting);
        noted?;
        endings.extend(silent.into_iter().map(|id| (id, Ending::MayPass)));
        Ok(endings)
    }

    fn publication(&self) -> Option<&PublicationConfig> {
        self.assembly.config.publications.get(self.start.publication.as_str())
    }

    async fn ending(&self, id: &PairId, report: &RunReport) -> Result<Ending, DaemonError> {
        let kind = report.error.as_ref().map(|error| error.kind.as_str());
        if let (Some("state"), Some(error)) = (kind, &report.error) {
            return Err(DaemonError::StateFailed { message: error.message.clone() });
        }
        match report.outcome {
            Outcome::Failed if kind == Some("interrupted") => Ok(Ending::Stopped),
            Outcome::Failed => Ok(failure(report)),
            Outcome::Complete | Outcome::NothingToDo => Ok(Ending::Done { parked_due_at: None }),
            Outcome::Parked => {
                let due = parked_due_at(&*self.assembly.store, id).await;
                Ok(Ending::Done { parked_due_at: due.map_err(state_failed)? })
            }
        }
    }

    /// One after the other: a comparison reads everything at both ends.
    async fn compare(self) -> GroupEnded {
        let mut endings = Vec::new();
        for (id, switch) in self.start.pairs.iter().zip(&self.switches) {
            let Some(pair) = self.assembly.pair(id).cloned() else { continue };
            let ending = self.compare_pair(pair, switch).await?;
            if self.early.send((id.clone(), ending)).is_err() {
                endings.push((id.clone(), ending)); // The daemon is stopping and counts the rest.
            }
        }
        Ok(endings)
    }

    async fn compare_pair(&self, pair: Pair, switch: &StopSwitch) -> Result<Ending, DaemonError> {
        let id = pair.id.clone();
        let asked = self.comparisons.begin(&id);
        let options = match &asked {
            Some((_, options)) => options.clone(),
            None => {
                let content = self.publication().is_some_and(|config| config.verify.content);
                VerifyOptions { content, ..VerifyOptions::default() }
            }
        };
        let directory = spool_directory(&self.assembly.config);
        let compared = self.runner.compare(pair, &options, &directory, switch.clone()).await;
        if let Some((asked, _)) = asked {
            let now = self.assembly.clock.now();
            self.comparisons.end(&asked, found(&compared, now), now);
        }
        // What was looked for in a part says nothing of the whole.
        let is_whole = options.resources.is_empty();
        match compared {
            Some(Ok(found)) => {
                log_found(&id, &found);
                let whole = agenda::Found { equal: found.equal, unlike: unlike(&found) };
                Ok(Ending::Compared(Some(whole).filter(|_| is_whole)))
            }
            Some(Err(RunError::State(error))) => Err(state_failed(error)),
            Some(Err(error)) => {
                let (PairId { publication, target }, message) = (&id, error.message());
                tracing::warn!(publication, target, error = message, "could not compare");
                Ok(Ending::Compared(None))
            }
            None => Ok(Ending::Compared(None)),
        }
    }
}

fn found(compared: &Option<Result<Verification, RunError>>, now: Timestamp) -> Found {
    match compared {
        Some(Ok(verification)) => Found::Compared {
            found: comparisons::shown(verification, now),
            goes_on_from: verification.goes_on_from,
        },
        Some(Err(error)) => comparisons::fault(error.kind(), &error.message()),
        None => {
            comparisons::fault("running", "a run of the pair goes on: ask again when it has ended")
        }
    }
}

fn log_found(pair: &PairId, found: &Verification) {
    let PairId { publication, target } = pair;
    if found.equal {
        return tracing::info!(publication, target, "compared: both ends are equal");
    }
    let Unlike { missing, extra, different } = unlike(found);
    tracing::warn!(
        publication,
        target,
        missing,
        different,
        extra,
        parked = found.resources.iter().map(|resource| resource.parked).sum::<u64>(),
        "compared: the ends differ; `tidemark verify` shows where"
    );
}

fn unlike(found: &Verification) -> Unlike {
    let sum = |of: fn(&Compared) -> u64| found.resources.iter().map(of).sum();
    Unlike {
        missing: sum(|resource| resource.missing),
        extra: sum(|resource| resource.extra.unwrap_or(0)),
        different: sum(|resource| resource.different),
    }
}

fn failure(report: &RunReport) -> Ending {
    match &report.stopped {
        Some(Interruption::Closed { .. }) => Ending::Closed,
        Some(Interruption::Deadline | Interruption::Cancelled) => Ending::NeedsAPerson,
        None if report.may_pass => Ending::MayPass,
        None => Ending::NeedsAPerson,
    }
}

pub(super) fn state_failed(error: StateError) -> DaemonError {
    DaemonError::StateFailed { message: error.to_string() }
}
