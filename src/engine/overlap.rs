//! How far a window reaches back over the one before, and when that is read once more (R14, R15).
//!
//! What lives here: arithmetic with what triggers have seen. What does not: what the overlap brings
//! again and need not be written again, which is [`super::remembered`]. The one thing to know: a
//! change version is a sequence and not an order of commits. A version that was the newest at a
//! moment had been given out by then; whatever carries it, or less, is committed `overlap` later at
//! the latest, or it is lost. So what was read before that is read again.

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::domain::ChangeVersion;
use crate::sources::Isolation;
use crate::state::{FirstWatermark, Overlap, RunRecord, Seen};

use super::{FirstOverlap, Policy};

/// Newest versions that are kept. More of them come only where the overlap is many triggers long,
/// and then every second one is dropped, which makes a window reach farther back.
const SEEN_KEPT: usize = 512;

/// Under snapshots the overlap is read once more so often, whatever is new (R15).
const SNAPSHOT_PASS: TimeDelta = TimeDelta::days(1);

/// A source's clock may be off by so much before an item counts as changed in the overlap.
const CLOCK_MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Notes that `newest` was the live source's newest version at `at`.
pub(super) fn saw(
    overlap: &mut Overlap,
    watermark: Option<ChangeVersion>,
    newest: ChangeVersion,
    at: Timestamp,
) {
    match overlap.seen.last_mut() {
        // A source that went back is another matter (R18).
        Some(last) if newest <= last.newest => last.last_at = last.last_at.max(at),
        Some(_) | None => overlap.seen.push(Seen { newest, first_at: at, last_at: at }),
    }
    if overlap.seen.len() <= SEEN_KEPT {
        return;
    }
    // The moment that the overlap of the watermark reaches back from stays; without another one, a
    // window reaches farther back than it must.
    let anchor = overlap.seen.iter().position(|seen| Some(seen.newest) >= watermark);
    let old = overlap.seen.len() / 2;
    let mut index = 0;
    overlap.seen.retain(|_| {
        index += 1;
        index > old || index % 2 == 1 || anchor == Some(index - 1)
    });
}

/// The pair has a watermark and no history below it: its next run reaches back to the floor.
pub(super) fn begin_at(
    overlap: &mut Overlap,
    watermark: ChangeVersion,
    policy: &Policy,
    at: Timestamp,
) {
    let floor = floor(watermark, policy);
    overlap.first = Some(FirstWatermark { version: watermark, at, floor, succeeded: false });
}

/// How far back what was read for the first time through `version` may be changed by what commits
/// late (R14).
pub(super) fn floor(version: ChangeVersion, policy: &Policy) -> ChangeVersion {
    match policy.first_overlap {
        FirstOverlap::All => ChangeVersion(0),
        FirstOverlap::Versions(versions) => {
            let versions = i64::try_from(versions).unwrap_or(i64::MAX);
            ChangeVersion(version.0.saturating_sub(versions).max(0))
        }
    }
}

/// The version after which the next window reads: at most the watermark (R14).
pub(super) fn reach(overlap: &Overlap, watermark: ChangeVersion, policy: &Policy) -> ChangeVersion {
    let Some(first) = &overlap.first else { return watermark };
    if !first.succeeded {
        return first.floor.min(watermark);
    }
    let length = length(policy);
    if length.is_zero() {
        return watermark;
    }
    let anchor = anchor(overlap, watermark, policy.isolation);
    let reached = anchor.and_then(|anchor| newest_at(overlap, anchor - length));
    match reached {
        Some(version) => version.min(watermark),
        // Nothing is known of that time.
        None => first.floor.min(watermark),
    }
}

/// Whether the overlap is to be read once more though nothing is newer than the watermark (R15).
pub(super) fn pass_is_due(
    overlap: &Overlap,
    watermark: ChangeVersion,
    policy: &Policy,
    now: Timestamp,
) -> bool {
    let is_to_be_read_twice = policy.first_overlap == FirstOverlap::All;
    if is_to_be_read_twice && overlap.first.is_some_and(|first| !first.succeeded) {
        return true;
    }
    if length(policy).is_zero() {
        return false;
    }
    if policy.isolation == Isolation::Snapshot {
        return overlap.read_at.is_some_and(|at| now >= at + SNAPSHOT_PASS);
    }
    !overlap.settled && has_passed(overlap, watermark, policy, now)
}

/// What is remembered once a run that began at `began` has committed `through`.
pub(super) fn after_commit(
    mut overlap: Overlap,
    before: Option<ChangeVersion>,
    through: ChangeVersion,
    policy: &Policy,
    began: Timestamp,
) -> Overlap {
    overlap.commits += 1;
    overlap.read_at = Some(began);
    match (&mut overlap.first, before) {
        (Some(first), Some(_)) => first.succeeded = true,
        (None, _) | (_, None) => begin_at(&mut overlap, through, policy, began),
    }
    let same = before == Some(through);
    overlap.settled = (same && overlap.settled) || has_passed(&overlap, through, policy, began);
    forget_what_no_window_reaches(&mut overlap, through, policy);
    overlap
}

/// Items that were modified since then may come again in the next window, and are worth a hash
/// (R16); `None` without an overlap.
pub(super) fn worth_remembering_since(
    overlap: &Overlap,
    through: ChangeVersion,
    policy: &Policy,
) -> Option<Timestamp> {
    let length = length(policy);
    if length.is_zero() {
        return None;
    }
    let reached = anchor(overlap, through, policy.isolation).map(|anchor| anchor - length);
    let known = reached.and_then(|reached| Some((reached, seen_at(overlap, reached)?)));
    // Else the next window goes to the floor, and brings all of it again.
    let Some((reached, seen)) = known else { return Some(Timestamp::MIN_UTC) };
    // It goes to a version that was seen at some look before that moment, and brings what was modified
    // after the last such look: a day of it where there is one look a night.
    Some(seen.last_at.min(reached) - CLOCK_MARGIN)
}

fn length(policy: &Policy) -> TimeDelta {
    /// Longer than any transaction, and short enough to be added to a moment.
    const LONGEST: TimeDelta = TimeDelta::days(366);
    TimeDelta::from_std(policy.overlap).unwrap_or(LONGEST).min(LONGEST)
}

fn has_passed(
    overlap: &Overlap,
    watermark: ChangeVersion,
    policy: &Policy,
    now: Timestamp,
) -> bool {
    first_seen(overlap, watermark).is_some_and(|at| now >= at + length(policy))
}

/// The moment from which the overlap reaches back: when the version was first seen to be there;
/// under a snapshot the last moment at which it surely was not, because a snapshot may have been
/// taken at any time since.
fn anchor(overlap: &Overlap, version: ChangeVersion, isolation: Isolation) -> Option<Timestamp> {
    if isolation != Isolation::Snapshot {
        return first_seen(overlap, version);
    }
    overlap.seen.iter().rev().find(|seen| seen.newest < version).map(|seen| seen.last_at)
}

fn first_seen(overlap: &Overlap, version: ChangeVersion) -> Option<Timestamp> {
    overlap.seen.iter().find(|seen| seen.newest >= version).map(|seen| seen.first_at)
}

/// What had been seen as the newest version by then.
fn newest_at(overlap: &Overlap, at: Timestamp) -> Option<ChangeVersion> {
    seen_at(overlap, at).map(|seen| seen.newest)
}

fn seen_at(overlap: &Overlap, at: Timestamp) -> Option<&Seen> {
    overlap.seen.iter().rev().find(|seen| seen.first_at <= at)
}

/// The highest version of which it is known that the source had it before `time`: what changes from
/// then on has a higher one. `None` where what is remembered of the pair does not reach back so far.
///
/// Runs tell it too, for longer: what they read through was there before they ended. Not those from
/// before the pair began anew, which may have read another database.
pub fn newest_before(
    overlap: &Overlap,
    runs: &[RunRecord],
    time: Timestamp,
) -> Option<ChangeVersion> {
    let began = overlap.first.as_ref().map(|first| first.at);
    let seen = overlap.seen.iter().filter(|seen| seen.first_at < time).map(|seen| seen.newest);
    let of_this_history = |run: &&RunRecord| began.is_some_and(|began| run.ended_at >= began);
    let read = runs
        .iter()
        .filter(of_this_history)
        .filter(|run| run.ended_at < time)
        .filter_map(|run| run.window.map(|window| window.through));
    seen.chain(read).max()
}

fn forget_what_no_window_reaches(overlap: &mut Overlap, watermark: ChangeVersion, policy: &Policy) {
    let Some(anchor) = anchor(overlap, watermark, policy.isolation) else { return };
    let reached = anchor - length(policy);
    let older = overlap.seen.iter().filter(|seen| seen.first_at <= reached).count();
    overlap.seen.drain(..older.saturating_sub(1));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Selection;
    use crate::engine::{DeleteBrake, Publish, RetryPolicy};

    fn at(minutes: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(minutes * 60, 0).unwrap()
    }

    fn version(number: i64) -> ChangeVersion {
        ChangeVersion(number)
    }

    fn policy(isolation: Isolation, overlap_minutes: u64) -> Policy {
        Policy {
            isolation,
            on_missing_snapshot: None,
            key_changes: Publish::Publish,
            deletes: Publish::Publish,
            selection: Selection::default(),
            overlap: Duration::from_secs(overlap_minutes * 60),
            first_overlap: FirstOverlap::Versions(100),
            brake: DeleteBrake { percent: 10.0, above: 100 },
            retry: RetryPolicy {
                max_attempts: 40,
                first_delay: Duration::from_secs(60),
                max_delay: Duration::from_secs(3600),
                max_parked: 10,
            },
            shared: Vec::new(),
            create_only: Vec::new(),
            sole_writer: true,
            first_run: crate::engine::FirstRun::Full,
            look_again_after: Duration::ZERO,
            max_in_flight: 1,
        }
    }

    /// Runs at these minutes that found these newest versions and committed them.
    fn after_runs(policy: &Policy, runs: &[(i64, i64)]) -> Overlap {
        let mut overlap = Overlap::default();
        let mut before = None;
        for (minute, newest) in runs {
            saw(&mut overlap, before, version(*newest), at(*minute));
            let through = version(*newest);
            overlap = after_commit(overlap, before, through, policy, at(*minute));
            before = Some(through);
        }
        overlap
    }

    #[test]
    fn r14_the_overlap_reaches_back_from_when_the_watermark_was_first_seen_and_not_from_now() {
        let policy = policy(Isolation::Bounded, 15);
        let overlap = after_runs(&policy, &[(0, 1000), (20, 2000), (40, 3000), (60, 4000)]);

        // 4000 was first seen at 60; the newest that had been seen by 45 was 3000.
        assert_eq!(reach(&overlap, version(4000), &policy), version(3000));
    }

    #[test]
    fn r14_under_a_snapshot_it_reaches_back_from_the_last_look_at_which_the_snapshot_was_not_there()
    {
        let policy = policy(Isolation::Snapshot, 15);
        let mut overlap = after_runs(&policy, &[(0, 1000)]);
        for (minute, live) in [(600, 2000), (610, 2500), (1200, 3000), (1210, 3500)] {
            saw(&mut overlap, Some(version(1000)), version(live), at(minute));
        }
        let overlap = after_commit(overlap, Some(version(1000)), version(2800), &policy, at(1210));

        // The snapshot of 2800 was taken after 610; by 595 the live source had shown 1000.
        assert_eq!(reach(&overlap, version(2800), &policy), version(1000));
    }

    #[test]
    fn r14_the_successor_of_the_first_run_reaches_back_so_many_versions() {
        for (first_overlap, floor) in [
            (FirstOverlap::Versions(100), 900),
            (FirstOverlap::All, 0),
            (FirstOverlap::Versions(0), 1000),
        ] {
            for isolation in [Isolation::Snapshot, Isolation::Bounded] {
                let policy = Policy { first_overlap, ..policy(isolation, 15) };
                let overlap = after_runs(&policy, &[(0, 1000)]);

                assert_eq!(reach(&overlap, version(1000), &policy), version(floor));
            }
        }
    }

    #[test]
    fn while_nothing_is_known_of_the_time_before_windows_go_to_the_floor_and_all_is_worth_a_hash() {
        let policy = policy(Isolation::Bounded, 15);
        let early = after_runs(&policy, &[(0, 1000), (1, 1010)]);
        let later = after_runs(&policy, &[(0, 1000), (1, 1010), (20, 1020)]);

        assert_eq!(reach(&early, version(1010), &policy), version(900));
        let since = worth_remembering_since(&early, version(1010), &policy);
        assert_eq!(since, Some(Timestamp::MIN_UTC));
        assert_eq!(reach(&later, version(1020), &policy), version(1010));
        // What is above 1010 was modified after the look at 1, less what clocks may differ.
        assert_eq!(worth_remembering_since(&later, version(1020), &policy), Some(at(1 - 5)));
    }

    #[test]
    fn r16_what_a_snapshot_brings_again_from_the_floor_is_worth_a_hash() {
        let policy = policy(Isolation::Snapshot, 15);
        let overlap = after_runs(&policy, &[(0, 1000), (1500, 1000)]);

        assert_eq!(reach(&overlap, version(1000), &policy), version(900));
        let since = worth_remembering_since(&overlap, version(1000), &policy);
        assert_eq!(since, Some(Timestamp::MIN_UTC));
    }

    #[test]
    fn without_an_overlap_a_window_begins_at_the_watermark() {
        let policy = policy(Isolation::Bounded, 0);
        let overlap = after_runs(&policy, &[(0, 1000), (20, 2000)]);

        assert_eq!(reach(&overlap, version(2000), &policy), version(2000));
        assert!(!pass_is_due(&overlap, version(2000), &policy, at(10_000)));
    }

    #[test]
    fn r15_the_overlap_is_read_once_more_when_it_has_passed_and_then_not_again() {
        let policy = policy(Isolation::Bounded, 15);
        let overlap = after_runs(&policy, &[(0, 1000), (20, 2000)]);

        assert!(!pass_is_due(&overlap, version(2000), &policy, at(34)));
        assert!(pass_is_due(&overlap, version(2000), &policy, at(35)));
        let settled =
            after_commit(overlap.clone(), Some(version(2000)), version(2000), &policy, at(35));
        assert!(!pass_is_due(&settled, version(2000), &policy, at(10_000)));
        let mut moved = overlap;
        saw(&mut moved, Some(version(2000)), version(3000), at(35));
        let moved = after_commit(moved, Some(version(2000)), version(3000), &policy, at(35));
        assert!(pass_is_due(&moved, version(3000), &policy, at(50)), "it settled the old one");
    }

    #[test]
    fn r15_under_snapshots_the_overlap_is_read_once_more_a_day() {
        let policy = policy(Isolation::Snapshot, 15);
        let overlap = after_runs(&policy, &[(0, 1000)]);

        assert!(!pass_is_due(&overlap, version(1000), &policy, at(23 * 60)));
        assert!(pass_is_due(&overlap, version(1000), &policy, at(24 * 60)));
    }

    #[test]
    fn r18_what_a_source_had_before_a_moment_is_known_from_looks_and_from_runs_of_this_history() {
        let policy = policy(Isolation::Bounded, 15);
        let overlap = after_runs(&policy, &[(0, 1000), (20, 2000), (200, 3000)]);
        let run = |minute: i64, through: i64| RunRecord {
            id: minute.to_string(),
            outcome: crate::domain::Outcome::Complete,
            window: Some(crate::domain::Window { after: None, through: version(through) }),
            started_at: at(minute),
            ended_at: at(minute),
            stages: crate::domain::Stages::default(),
            error: None,
        };
        let runs = [run(-10, 9000), run(1, 1000), run(21, 2000), run(201, 3000)];

        for (minute, known) in [
            (0, None),
            (1, None),
            (2, Some(1000)),
            (21, Some(2000)),
            (200, Some(2000)),
            (201, Some(3000)),
            (1000, Some(3000)),
        ] {
            let found = newest_before(&overlap, &runs, at(minute));

            assert_eq!(found, known.map(version), "{minute}");
        }
        assert_eq!(newest_before(&Overlap::default(), &runs, at(1000)), None);
    }

    #[test]
    fn what_is_forgotten_of_the_past_never_shortens_an_overlap() {
        let policy = policy(Isolation::Bounded, 15);
        let many: Vec<(i64, i64)> = (0..5_000).map(|n| (n, n * 10)).collect();
        let overlap = after_runs(&policy, &many);

        let reached = reach(&overlap, version(49_990), &policy);

        assert!(reached <= version(49_840), "{reached:?}");
        assert!(reached >= version(49_000), "{reached:?}");
        assert!(overlap.seen.len() <= 40);
        let mut idle = overlap;
        for minute in 0..5_000 {
            let watermark = Some(version(49_990));
            saw(&mut idle, watermark, version(49_990 + minute), at(5_000 + minute));
            assert!(idle.seen.len() <= SEEN_KEPT);
            assert!(reach(&idle, version(49_990), &policy) <= version(49_840));
        }
    }
}
