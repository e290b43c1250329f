//! How often a parked item is tried, and when next (R22). What is tried and by whom is asked is in
//! [`super::parked`].
//!
//! The one thing to know: every item costs a bounded number of attempts. What waits for something
//! that comes again and again, and is refused each time in the same way, is tried at pauses that
//! double without end: a thousand nights cost a dozen attempts, and no call is lost.

use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::domain::ParkReason;
use crate::state::{ParkStatus, Parked};

use super::parked::Parking;
use super::{INVALID_ATTEMPTS, RetryPolicy};

/// Attempts before their time that make as much as one at its time: `run` tries what is not due
/// too, however often a crontab starts it.
const EARLY_FOR_ONE: u32 = 10;

/// What stands in a record about its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempts {
    pub status: ParkStatus,
    /// Made at their time, since the item or what refuses it changed.
    pub made: u32,
    /// Made before it.
    pub early: u32,
    pub next_at: Timestamp,
}

impl Attempts {
    pub(super) fn write_to(self, record: &mut Parked) {
        record.status = self.status;
        record.attempts = self.made;
        record.early_attempts = self.early;
        record.next_attempt_at = self.next_at;
    }
}

/// After a refusal: one attempt more, or a first one.
///
/// An item begins anew when a feed brings other bytes of it after it died, and when one that was
/// called after it died is refused in another way. It goes on counting otherwise.
pub(super) fn after_refusal(
    retry: &RetryPolicy,
    before: Option<&Parked>,
    parking: &Parking,
    now: Timestamp,
) -> Attempts {
    let reason = parking.reason;
    let Some(before) = before.filter(|before| !begins_anew(retry, before, parking)) else {
        return counted(retry, reason, 1, 0, now);
    };
    if before.reason != reason {
        // Dead at the most: it was not called yet since it is refused like this.
        let made = before.attempts.saturating_add(1).min(limit(retry, reason));
        return counted(retry, reason, made, before.early_attempts, now);
    }
    if before.next_attempt_at <= now {
        let made = before.attempts.saturating_add(1);
        return counted(retry, reason, made, before.early_attempts, now);
    }
    // Before its time it is no attempt: after a run that failed, the next one meets it all again
    // (R22, R23). Only very many of them come to something.
    let early = before.early_attempts.saturating_add(1);
    let status = status(retry, reason, before.attempts, early);
    Attempts { status, made: before.attempts, early, next_at: before.next_attempt_at }
}

/// After an attempt that could not look at the item.
pub(super) fn after_no_answer(retry: &RetryPolicy, before: &Parked, now: Timestamp) -> Attempts {
    let made = before.attempts.saturating_add(1);
    counted(retry, before.reason, made, before.early_attempts, now)
}

/// What an item waits for was applied. It is due now; so is one that died, for an attempt that
/// decides whether it begins anew. One that was called so and refused in the same way before is due
/// when its pause has passed.
pub(super) fn after_call(retry: &RetryPolicy, before: &Parked, now: Timestamp) -> Attempts {
    if is_paused(retry, before) {
        return Attempts {
            status: ParkStatus::Parked,
            made: before.attempts,
            early: 0,
            next_at: before.next_attempt_at.max(now),
        };
    }
    let is_dead = before.status == ParkStatus::Dead;
    let made = if is_dead { limit(retry, before.reason) } else { before.attempts };
    let early = if is_dead { 0 } else { before.early_attempts };
    Attempts { status: ParkStatus::Parked, made, early, next_at: before.next_attempt_at.min(now) }
}

/// Used up its attempts, was called, and was refused in the same way: it is tried when its pause
/// has passed and not before, whoever asks.
pub(super) fn is_paused(retry: &RetryPolicy, record: &Parked) -> bool {
    record.attempts > limit(retry, record.reason)
}

/// The same answer to the same bytes says nothing new; the wording of a detail may differ.
fn begins_anew(retry: &RetryPolicy, before: &Parked, parking: &Parking) -> bool {
    let same_bytes = before.hash.is_some() && before.hash == parking.hash;
    if before.status == ParkStatus::Dead {
        return parking.news && !same_bytes;
    }
    let Parked { reason, error, hash, .. } = before;
    let refusal = &parking.refusal;
    let same_refusal = *reason == parking.reason
        && error.status == refusal.status
        && error.kind == refusal.kind
        && error.members == refusal.members
        && *hash == parking.hash;
    before.attempts >= limit(retry, *reason) && !same_refusal
}

fn counted(
    retry: &RetryPolicy,
    reason: ParkReason,
    made: u32,
    early: u32,
    now: Timestamp,
) -> Attempts {
    let limit = limit(retry, reason);
    let wait = match made.checked_sub(limit) {
        Some(beyond) => retry.max_delay.saturating_mul(1 << beyond.min(31)),
        None => delay(retry, reason, made),
    };
    // A year, and a time delta can hold it.
    let wait = wait.min(Duration::from_secs(366 * 86_400));
    let wait = TimeDelta::from_std(wait).expect("a year fits a time delta");
    Attempts { status: status(retry, reason, made, early), made, early, next_at: now + wait }
}

fn status(retry: &RetryPolicy, reason: ParkReason, made: u32, early: u32) -> ParkStatus {
    let limit = limit(retry, reason);
    let is_used_up = made >= limit || early >= limit.saturating_mul(EARLY_FOR_ONE);
    if is_used_up || reason == ParkReason::ResourceClosed {
        ParkStatus::Dead
    } else {
        ParkStatus::Parked
    }
}

/// Contract, `retry.max_attempts`.
fn limit(retry: &RetryPolicy, reason: ParkReason) -> u32 {
    match reason {
        ParkReason::Invalid => INVALID_ATTEMPTS.min(retry.max_attempts),
        _ => retry.max_attempts,
    }
}

/// The pause after the `made`th attempt, from `first_delay` to `max_delay`, at the pace of what
/// would have to change before the target gives another answer:
///
/// - What other writers do passes by itself, and soon: an item that is still referenced, contended
///   or held by its new key. The pause doubles.
/// - What people, other programs or other pairs do takes hours: an association, wider credentials,
///   a key given up, a resource outside the selection. The pause is four times as long each time.
/// - A reference calls who waits for it when it comes, so the clock is there only for what somebody
///   else brings to the target. Eight times.
/// - The content of an item that is invalid or too large is refused until source or target change.
///   The longest pause at once.
fn delay(retry: &RetryPolicy, reason: ParkReason, made: u32) -> Duration {
    let growth: u32 = match reason {
        ParkReason::StillReferenced | ParkReason::Contended | ParkReason::WaitsForNewKey => 2,
        ParkReason::Forbidden
        | ParkReason::Taken
        | ParkReason::Doubtful
        | ParkReason::ReferenceOutsideSelection
        | ParkReason::ResourceClosed => 4,
        ParkReason::UnresolvedReference => 8,
        ParkReason::Invalid | ParkReason::TooLarge => return retry.max_delay,
    };
    let factor = growth.saturating_pow(made.saturating_sub(1));
    retry.first_delay.saturating_mul(factor).min(retry.max_delay)
}

#[cfg(test)]
mod tests {
    use crate::domain::{NaturalKey, ResourcePath, SourceId};
    use crate::engine::parked::ParkedBook;
    use crate::state::{Operation, PairId, WaitsFor};
    use crate::targets::Refusal;

    use super::*;

    /// A closed resource is dead from the start (R23a).
    fn reasons_to_try_again() -> impl Iterator<Item = ParkReason> {
        ParkReason::ALL.into_iter().filter(|reason| *reason != ParkReason::ResourceClosed)
    }

    const RUNS: i64 = 1000;

    fn retry() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 40,
            first_delay: Duration::from_secs(60),
            max_delay: Duration::from_secs(6 * 3600),
            max_parked: 10,
        }
    }

    fn resource(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    fn student() -> NaturalKey {
        serde_json::from_str(r#"{"studentUniqueId":"1"}"#).unwrap()
    }

    fn refused(reason: ParkReason) -> Parking {
        Parking {
            resource: resource("studentSchoolAssociations"),
            source_id: Some(SourceId("a".to_owned())),
            key: None,
            operation: Operation::Upsert,
            reason,
            refusal: Refusal { status: 409, ..Refusal::default() },
            waits_for: Some(WaitsFor { resources: vec![resource("students")], key: student() }),
            named_for_deletion: false,
            target_id: None,
            hash: Some("bytes".to_owned()),
            news: false,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// A pair and an item that is refused whenever it is tried.
    struct Poison {
        record: Option<Parked>,
        attempts: u32,
    }

    impl Poison {
        fn new() -> Poison {
            Poison { record: None, attempts: 0 }
        }

        /// One run, with a book read from the store. Whether the item was tried.
        fn run(&mut self, now: Timestamp, all: bool, is_called: bool, refusal: Parking) -> bool {
            let pair = PairId { publication: "p".to_owned(), target: "t".to_owned() };
            let is_new = self.record.is_none();
            let mut book = ParkedBook::new(pair, retry(), self.record.take().into_iter().collect());
            if is_called {
                book.call_who_waits_for(&resource("students"), &student(), now);
            }
            let due = book.due(&refusal.resource, Operation::Upsert, now, all);
            let is_tried = is_new || !due.is_empty();
            if is_tried {
                self.attempts += 1;
                book.park(refusal, now);
            }
            self.record = book.records().next().cloned();
            is_tried
        }

        fn record(&self) -> &Parked {
            self.record.as_ref().unwrap()
        }
    }

    #[test]
    fn a_poison_item_costs_a_bounded_number_of_attempts_over_a_thousand_runs_whatever_the_reason() {
        for reason in reasons_to_try_again() {
            let used_up = if reason == ParkReason::Invalid { 3 } else { 40 };
            for (pause, all) in [(60, true), (60, false), (86_400, true), (86_400, false)] {
                let mut poison = Poison::new();

                for number in 0..RUNS {
                    poison.run(at(number * pause), all, false, refused(reason));
                }

                // Each attempt is worth ten before their time, and those come with `run` alone.
                let most = if all { used_up * 11 } else { used_up };
                let case = format!("{reason:?} every {pause} s, all: {all}");
                assert!((2..=most).contains(&poison.attempts), "{case}: {}", poison.attempts);
                // A thousand minutes are not enough for forty attempts at their time.
                if all || pause == 86_400 {
                    assert_eq!(poison.record().status, ParkStatus::Dead, "{case}");
                }
            }
        }
    }

    #[test]
    fn what_is_called_every_night_and_refused_every_night_costs_few_attempts_beyond_its_own() {
        for reason in reasons_to_try_again() {
            let used_up = if reason == ParkReason::Invalid { 3 } else { 40 };
            for all in [true, false] {
                let mut poison = Poison::new();

                for night in 0..RUNS {
                    poison.run(at(night * 86_400), all, true, refused(reason));
                }

                let beyond = poison.attempts.saturating_sub(used_up);
                assert!((1..=12).contains(&beyond), "{reason:?} {all}: {}", poison.attempts);
            }
        }
    }

    #[test]
    fn r22_a_dead_item_is_tried_at_once_when_it_is_called_for_the_first_time() {
        let mut poison = dead();

        let is_tried = poison.run(at(200), false, true, refused(ParkReason::Invalid));

        assert!(is_tried);
    }

    #[test]
    fn r22_a_call_that_comes_in_a_pause_is_heard_when_the_pause_has_passed() {
        let mut poison = dead();
        poison.run(at(200), false, true, refused(ParkReason::Invalid));

        let in_the_pause = poison.run(at(300), true, true, refused(ParkReason::Invalid));
        let promised = poison.record().clone();
        let later = promised.next_attempt_at + TimeDelta::seconds(1);
        let after_it = poison.run(later, false, false, refused(ParkReason::Invalid));

        assert!(!in_the_pause);
        assert_eq!(promised.status, ParkStatus::Parked);
        assert!(after_it);
    }

    #[test]
    fn r22_who_is_called_and_refused_in_another_way_or_with_other_bytes_begins_anew() {
        let other_bytes =
            Parking { hash: Some("others".to_owned()), ..refused(ParkReason::Invalid) };
        let mut other_member = refused(ParkReason::Invalid);
        other_member.refusal.members = vec!["$.birthDate".to_owned()];
        for (refusal, attempts, status) in [
            (other_bytes, 1, ParkStatus::Parked),
            (other_member, 1, ParkStatus::Parked),
            (refused(ParkReason::Forbidden), 1, ParkStatus::Parked),
            (refused(ParkReason::Invalid), 4, ParkStatus::Dead),
        ] {
            let mut poison = dead();

            poison.run(at(200), false, true, refusal);

            assert_eq!((poison.record().attempts, poison.record().status), (attempts, status));
        }
    }

    #[test]
    fn each_kind_of_refusal_has_its_own_pace_between_the_first_and_the_longest_pause() {
        let longest = 6 * 3600;
        for (reason, expected) in [
            (ParkReason::StillReferenced, [60, 120, 240, 480]),
            (ParkReason::Forbidden, [60, 240, 960, 3840]),
            (ParkReason::UnresolvedReference, [60, 480, 3840, longest]),
            (ParkReason::Invalid, [longest; 4]),
            (ParkReason::TooLarge, [longest; 4]),
        ] {
            let pauses = [1, 2, 3, 4].map(|made| delay(&retry(), reason, made).as_secs());

            assert_eq!(pauses, expected, "{reason:?}");
            assert_eq!(delay(&retry(), reason, u32::MAX).as_secs(), longest);
        }
    }

    /// Invalid, three times.
    fn dead() -> Poison {
        let mut poison = Poison::new();
        for number in 0..3 {
            let now = at((number - 3) * 6 * 3600);
            poison.run(now, false, false, refused(ParkReason::Invalid));
        }
        assert_eq!(poison.record().status, ParkStatus::Dead);
        poison
    }
}
