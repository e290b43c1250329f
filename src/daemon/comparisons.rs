//! Comparisons that somebody asked for: what was asked, how far each is, and what came of it.
//!
//! What lives here: the table. What does not: when one begins (`agenda.rs`), the comparing
//! (`engine/verify.rs`). The one thing to know: it is in memory alone, so a restart forgets who asked
//! but not how far the comparison had come: whoever asks the same again goes on from there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::desk::{ComparisonShown, DeskError, ResourceCompared, RunFault, VerificationShown};
use crate::engine::verify::{Verification, VerifyOptions};
use crate::state::PairId;

/// Those that have ended are kept for whoever asks late; the oldest go first.
const KEPT: usize = 2048;

#[derive(Default)]
pub(super) struct Comparisons {
    asked: Mutex<VecDeque<Asked>>,
}

struct Asked {
    pair: PairId,
    options: VerifyOptions,
    has_begun: bool,
    shown: ComparisonShown,
}

/// What a comparison ended with.
pub(super) enum Found {
    Compared { found: VerificationShown, goes_on_from: Option<Timestamp> },
    Failed(RunFault),
}

impl Comparisons {
    /// Puts down that somebody wants `pair` compared. Who asks for the same that has not ended gets
    /// that one.
    pub(super) fn ask(
        &self,
        pair: &PairId,
        options: &VerifyOptions,
        now: Timestamp,
    ) -> Result<ComparisonShown, DeskError> {
        let mut asked = self.asked();
        if let Some(other) = asked.iter().find(|one| one.pair == *pair && one.is_open()) {
            return match other.options == *options {
                true => Ok(other.shown.clone()),
                false => Err(DeskError::Conflict(format!(
                    "{pair} is being compared, and what was asked then is something else: wait for \
                     {}, or cancel it",
                    other.shown.id
                ))),
            };
        }
        while asked.len() >= KEPT
            && let Some(oldest) = asked.iter().position(|one| !one.is_open())
        {
            asked.remove(oldest);
        }
        let shown = ComparisonShown {
            id: format!("{:016x}", rand::random::<u64>()),
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            asked_at: now,
            waits_for: None,
            compared: 0,
            ended_at: None,
            goes_on_from: None,
            found: None,
            error: None,
        };
        let (pair, options) = (pair.clone(), options.clone());
        asked.push_back(Asked { pair, options, has_begun: false, shown: shown.clone() });
        Ok(shown)
    }

    /// The one that begins now for `pair`, if somebody asked for one: its id and what was asked.
    pub(super) fn begin(&self, pair: &PairId) -> Option<(String, VerifyOptions)> {
        let mut asked = self.asked();
        let one = asked.iter_mut().find(|one| one.pair == *pair && one.is_open())?;
        one.has_begun = true;
        Some((one.shown.id.clone(), one.options.clone()))
    }

    pub(super) fn end(&self, id: &str, found: Found, now: Timestamp) {
        let mut asked = self.asked();
        let Some(one) = asked.iter_mut().find(|one| one.shown.id == id && one.is_open()) else {
            return;
        };
        one.shown.ended_at = Some(now);
        match found {
            Found::Compared { found, goes_on_from } => {
                one.shown.compared = crate::desk::wording::many(found.resources.len());
                one.shown.goes_on_from = goes_on_from;
                one.shown.found = Some(found);
            }
            Found::Failed(why) => one.shown.error = Some(why),
        }
    }

    /// Nothing of `pair` goes on any more: what had begun and has no end has none.
    pub(super) fn left(&self, pair: &PairId, now: Timestamp) {
        let open = |one: &Asked| one.pair == *pair && one.is_open() && one.has_begun;
        let left = self.asked().iter().find(|one| open(one)).map(|one| one.shown.id.clone());
        if let Some(id) = left {
            self.end(&id, fault("defect", "it ended without a result: see the log"), now);
        }
    }

    /// The one whose id begins with `id`, where only one does, its pair, and whether it has begun.
    pub(super) fn find(&self, id: &str) -> Option<(PairId, ComparisonShown, bool)> {
        let asked = self.asked();
        let mut found = asked.iter().filter(|one| one.shown.id.starts_with(id));
        let one = found.next().filter(|one| one.shown.id == id || found.next().is_none())?;
        Some((one.pair.clone(), one.shown.clone(), one.has_begun))
    }

    fn asked(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.asked.lock().expect("nothing panics while it holds the comparisons")
    }
}

impl Asked {
    fn is_open(&self) -> bool {
        self.shown.ended_at.is_none()
    }
}

pub(super) fn fault(kind: &str, message: &str) -> Found {
    Found::Failed(RunFault { kind: kind.to_owned(), message: message.to_owned() })
}

/// What was found, for whoever asks over whatever way.
pub fn shown(verification: &Verification, verified_at: Timestamp) -> VerificationShown {
    let resources = verification.resources.iter().map(|resource| ResourceCompared {
        resource: resource.resource.to_string(),
        source: resource.source,
        target: resource.target,
        missing: resource.missing,
        extra: resource.extra,
        different: resource.different,
        parked: resource.parked,
    });
    VerificationShown {
        publication: verification.publication.clone(),
        target: verification.target.clone(),
        equal: verification.equal,
        verified_at,
        resources: resources.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> PairId {
        PairId { publication: "p".to_owned(), target: "t".to_owned() }
    }

    fn content() -> VerifyOptions {
        VerifyOptions { content: true, ..VerifyOptions::default() }
    }

    #[test]
    fn who_asks_the_same_gets_the_same_and_who_asks_something_else_is_told() {
        let comparisons = Comparisons::default();
        let now = Timestamp::UNIX_EPOCH;

        let first = comparisons.ask(&pair(), &content(), now).unwrap();
        let same = comparisons.ask(&pair(), &content(), now).unwrap();
        let other = comparisons.ask(&pair(), &VerifyOptions::default(), now);
        comparisons.end(&first.id, fault("cancelled", ""), now);
        let next = comparisons.ask(&pair(), &VerifyOptions::default(), now).unwrap();

        assert_eq!(first.id, same.id);
        assert!(matches!(other, Err(DeskError::Conflict(_))));
        assert_ne!(first.id, next.id);
    }

    #[test]
    fn what_has_begun_and_was_left_has_ended_and_what_waits_goes_on_waiting() {
        let comparisons = Comparisons::default();
        let now = Timestamp::UNIX_EPOCH;
        let asked = comparisons.ask(&pair(), &content(), now).unwrap();

        comparisons.left(&pair(), now);
        let waiting = comparisons.find(&asked.id).unwrap().1;
        let begun = comparisons.begin(&pair());
        comparisons.left(&pair(), now);
        let left = comparisons.find(&asked.id).unwrap().1;

        assert_eq!(waiting.ended_at, None);
        assert_eq!(begun, Some((asked.id, content())));
        assert_eq!(left.error.unwrap().kind, "defect");
    }

    #[test]
    fn so_many_are_kept_and_what_goes_on_is_among_them() {
        let comparisons = Comparisons::default();
        let now = Timestamp::UNIX_EPOCH;
        let open = comparisons.ask(&pair(), &content(), now).unwrap();
        for number in 0..KEPT + 10 {
            let pair = PairId { publication: format!("p{number}"), target: "t".to_owned() };
            let asked = comparisons.ask(&pair, &content(), now).unwrap();
            comparisons.end(&asked.id, fault("cancelled", ""), now);
        }

        assert_eq!(comparisons.asked().len(), KEPT);
        assert!(comparisons.find(&open.id).is_some());
    }
}
