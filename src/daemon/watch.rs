//! What the daemon sees of the runs: one line in the log when each begins and ends, and what of it
//! is known only while the process lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::desk::RunShown;
use crate::domain::{ChangeVersion, Outcome, Stages, Window};
use crate::engine::observe::{Event, Observer};
use crate::engine::report::RunReport;
use crate::state::PairId;

/// Runs that are under way, and what the sources last told.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    seen: Mutex<BTreeMap<PairId, Sight>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the run that is under way.
    pub run_id: Option<String>,
    pub newest: Option<ChangeVersion>,
}

#[derive(Debug, Default)]
struct Sight {
    under_way: Option<RunShown>,
    newest: Option<ChangeVersion>,
}

impl Watch {
    pub fn new(clock: Clock) -> Watch {
        Watch { clock, seen: Mutex::default() }
    }

    pub fn of(&self, pair: &PairId) -> Seen {
        let seen = self.seen();
        let Some(sight) = seen.get(pair) else { return Seen::default() };
        let run_id = sight.under_way.as_ref().map(|run| run.id.clone());
        Seen { run_id, newest: sight.newest }
    }

    /// The run that goes on, as far as it has come. One that resumes another began when this process
    /// took it up.
    pub fn under_way(&self, pair: &PairId) -> Option<RunShown> {
        self.seen().get(pair)?.under_way.clone()
    }

    fn begun(&self, pair: &PairId, run: &str, window: Window) -> RunShown {
        RunShown {
            id: run.to_owned(),
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            outcome: None,
            window: Some(window),
            started_at: self.clock.now(),
            ended_at: None,
            duration_seconds: None,
            stages: Stages::default(),
            error: None,
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<PairId, Sight>> {
        self.seen.lock().expect("nothing panics while it holds what was seen")
    }
}

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::RunStarted { pair, run, window, .. } => {
                let mut seen = self.seen();
                let sight = seen.entry((*pair).clone()).or_default();
                sight.under_way = Some(self.begun(pair, run, *window));
                sight.newest = Some(window.through);
            }
            Event::Settled { pair, stage, tally, .. } => {
                let mut seen = self.seen();
                let under_way = seen.get_mut(*pair).and_then(|sight| sight.under_way.as_mut());
                if let Some(run) = under_way {
                    run.stages.of_mut(*stage).add(*tally);
                }
            }
            Event::RunEnded { pair, report } => {
                let mut seen = self.seen();
                let sight = seen.entry((*pair).clone()).or_default();
                sight.under_way = None;
                sight.newest = report.window.map(|window| window.through).or(sight.newest);
            }
            Event::StageStarted { .. }
            | Event::ResourceStarted { .. }
            | Event::Noted { .. }
            | Event::ResourceFinished { .. } => {}
        }
    }
}

/// Writes the lines; the spans of the run say of which pair and run they are. A run that had nothing
/// to do is one for those who look closely.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunLog;

impl Observer for RunLog {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::RunStarted { window, .. } => tracing::info!(
                after = window.after.map(|after| after.0),
                through = window.through.0,
                "run began"
            ),
            Event::RunEnded { report, .. } => log_end(report),
            Event::StageStarted { .. }
            | Event::ResourceStarted { .. }
            | Event::Noted { .. }
            | Event::Settled { .. }
            | Event::ResourceFinished { .. } => {}
        }
    }
}

fn log_end(report: &RunReport) {
    let seconds = report.duration_seconds;
    let counts = counts(report);
    for note in &report.notes {
        tracing::warn!(note, "a run has something to say");
    }
    match (report.outcome, &report.error) {
        (Outcome::Failed, Some(error)) if report.was_stopped() => tracing::warn!(
            seconds,
            %counts,
            kind = error.kind,
            "run stopped: the next one goes on from there"
        ),
        (Outcome::Failed, error) => {
            let (kind, message) = error
                .as_ref()
                .map_or(("", ""), |error| (error.kind.as_str(), error.message.as_str()));
            tracing::error!(
                seconds, %counts, kind, error = message, "run failed"
            );
        }
        (Outcome::NothingToDo, _) => {
            tracing::debug!(seconds, "nothing to do");
        }
        (Outcome::Complete, _) => {
            tracing::info!(seconds, %counts, "run complete");
        }
        (Outcome::Parked, _) => tracing::warn!(
            seconds,
            %counts,
            parked = report.parked,
            dead = report.dead,
            "run complete, with items parked"
        ),
    }
}

/// `key changes 1, upserts 120, deletes 4`: what each stage applied.
fn counts(report: &RunReport) -> String {
    let stages = &report.stages;
    format!(
        "key changes {}, upserts {}, deletes {}",
        stages.key_changes.applied, stages.upserts.applied, stages.deletes.applied
    )
}
