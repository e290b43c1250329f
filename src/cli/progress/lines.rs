//! Plain lines: when a run and its stages start, what every resource came to, how the run ended.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::{ResourcePath, Stage, Tally};
use crate::engine::observe::{Event, Observer};
use crate::state::PairId;

use super::super::show;

pub(super) struct Lines {
    /// Leaves out what each resource came to.
    brief: bool,
    tallies: Mutex<HashMap<(PairId, Stage, ResourcePath), Tally>>,
}

impl Observer for Lines {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::RunStarted { pair, window, .. } => {
                show::note(&format!("{pair}: {}", show::window(window)));
            }
            Event::StageStarted { pair, stage } => show::note(&format!("{pair}: {stage}")),
            Event::ResourceStarted { .. } | Event::Noted { .. } => {}
            Event::Settled { .. } | Event::ResourceFinished { .. } if self.brief => {}
            Event::Settled { pair, stage, resource, tally } => {
                let key = ((*pair).clone(), *stage, (*resource).clone());
                self.tallies().entry(key).or_default().add(*tally);
            }
            Event::ResourceFinished { pair, stage, resource } => {
                let key = ((*pair).clone(), *stage, (*resource).clone());
                let Some(tally) = self.tallies().remove(&key) else { return };
                let Tally { applied, skipped, parked, .. } = tally;
                show::note(&format!(
                    "{pair}: {stage}: {resource}: {applied} applied, {skipped} skipped, {parked} parked"
                ));
            }
            Event::RunEnded { pair, report } => {
                show::note(&format!("{pair}: ended: {}", report.outcome.as_str()));
            }
        }
    }
}

impl Lines {
    pub(super) fn new(brief: bool) -> Lines {
        Lines { brief, tallies: Mutex::default() }
    }

    fn tallies(&self) -> std::sync::MutexGuard<'_, HashMap<(PairId, Stage, ResourcePath), Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
