//! What is known of pairs without asking the database: the state of each as it was committed last,
//! and which have nothing parked. A run that has nothing to do asks for little else, and each
//! question to the database is a thread that has to be woken.
//!
//! The one thing to know: what is in here is on disk. Whoever commits says so after the flush and
//! before the next step may begin; whoever has read from the database says how many steps there were
//! before it read, and is not believed when another has come in between.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{PairId, PairState, Step};

/// As many pairs as there are: of each about as much as its record takes.
#[derive(Default)]
pub(super) struct Known {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Steps of any pair since the database was opened.
    steps: u64,
    pairs: BTreeMap<PairId, KnownPair>,
}

#[derive(Default)]
struct KnownPair {
    /// The inner one is `None` for a pair that has no state.
    state: Option<Option<PairState>>,
    /// `false` where it is not known.
    has_nothing_parked: bool,
}

/// A moment between two steps.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

impl Known {
    /// `None` when the database has to be asked.
    pub(super) fn state(&self, pair: &PairId) -> Option<Option<PairState>> {
        self.lock().pairs.get(pair)?.state.clone()
    }

    pub(super) fn has_nothing_parked(&self, pair: &PairId) -> bool {
        self.lock().pairs.get(pair).is_some_and(|known| known.has_nothing_parked)
    }

    /// To be asked before the database is read.
    pub(super) fn now(&self) -> Moment {
        Moment(self.lock().steps)
    }

    pub(super) fn has_read_state(&self, pair: &PairId, state: Option<&PairState>, since: Moment) {
        self.note(pair, since, |known| known.state = Some(state.cloned()));
    }

    pub(super) fn has_read_nothing_parked(&self, pair: &PairId, since: Moment) {
        self.note(pair, since, |known| known.has_nothing_parked = true);
    }

    fn note(&self, pair: &PairId, since: Moment, note: impl FnOnce(&mut KnownPair)) {
        let mut inner = self.lock();
        if inner.steps == since.0 {
            note(inner.pairs.entry(pair.clone()).or_default());
        }
    }

    /// The step is on disk, and no other is on its way.
    pub(super) fn committed(&self, pair: &PairId, step: &Step) {
        let mut inner = self.lock();
        inner.steps += 1;
        if step.forget_all || step.taken_from.is_some() || !step.erase.is_empty() {
            inner.pairs.remove(pair);
        }
        if let Some(from) = &step.taken_from {
            inner.pairs.remove(from);
        }
        if step.state.is_none() && step.park.is_empty() {
            return;
        }
        let known = inner.pairs.entry(pair.clone()).or_default();
        if let Some(state) = &step.state {
            known.state = Some(Some(state.clone()));
        }
        known.has_nothing_parked &= step.park.is_empty();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is half noted when a holder panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ParkStatus;
    use crate::state::conformance::{pair, parked, state};

    fn of_state(number: i64) -> Step {
        Step { state: Some(state(number)), ..Step::default() }
    }

    #[test]
    fn what_was_read_before_a_step_is_not_believed_after_it() {
        let known = Known::default();
        let before = known.now();
        known.committed(&pair("a"), &of_state(2));
        let park = vec![parked("p1", ParkStatus::Parked)];
        known.committed(&pair("a"), &Step { park, ..Step::default() });

        known.has_read_state(&pair("a"), Some(&state(1)), before);
        known.has_read_nothing_parked(&pair("a"), before);

        assert_eq!(known.state(&pair("a")), Some(Some(state(2))));
        assert!(!known.has_nothing_parked(&pair("a")));
    }

    #[test]
    fn what_was_read_or_committed_last_is_known() {
        let known = Known::default();
        assert_eq!(known.state(&pair("a")), None);

        known.has_read_state(&pair("a"), None, known.now());
        known.has_read_nothing_parked(&pair("a"), known.now());

        assert_eq!(known.state(&pair("a")), Some(None));
        assert!(known.has_nothing_parked(&pair("a")));
        known.committed(&pair("a"), &of_state(3));
        assert_eq!(known.state(&pair("a")), Some(Some(state(3))));
        assert!(known.has_nothing_parked(&pair("a")));
        assert_eq!(known.state(&pair("b")), None);
    }
}
