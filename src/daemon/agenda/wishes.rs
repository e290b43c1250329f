//! What a person wants now: a run, or a comparison.

use super::{Agenda, Due, Job, Why};
use crate::clock::Timestamp;
use crate::state::PairId;

/// What a person wants of a run that he asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The delete brake was looked at (R27).
    pub allow_deletes: bool,
}

/// What became of the wish for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It begins as soon as nothing holds it.
    Granted,
    AlreadyRunning,
    /// Resume it first.
    Paused,
    Unknown,
}

impl Agenda {
    /// A person wants a run now.
    pub fn want(&mut self, id: &PairId, wanted: Wanted, now: Timestamp) -> Wish {
        let Some(entry) = self.pairs.get_mut(id).filter(|entry| !entry.is_leaving) else {
            return Wish::Unknown;
        };
        if matches!(entry.running, Some(Job::Run(_))) {
            return Wish::AlreadyRunning;
        }
        if entry.is_paused(now) {
            return Wish::Paused;
        }
        entry.wanted = Some((now, wanted));
        entry.has_changed = true;
        entry.fall_due(Due { since: now, why: Why::Wanted, tick: None });
        Wish::Granted
    }

    /// A person wants both ends compared now. It is not remembered over a restart.
    pub fn want_comparison(&mut self, id: &PairId, now: Timestamp) -> Wish {
        let Some(entry) = self.pairs.get_mut(id).filter(|entry| !entry.is_leaving) else {
            return Wish::Unknown;
        };
        if entry.is_paused(now) {
            return Wish::Paused;
        }
        entry.comparison_wanted.get_or_insert(now);
        Wish::Granted
    }

    /// Nobody wants that comparison any more.
    pub fn unwant_comparison(&mut self, id: &PairId) {
        if let Some(entry) = self.pairs.get_mut(id) {
            entry.comparison_wanted = None;
        }
    }
}
