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
use crate::state::{FirstWatermark, Overlap, Seen};

use super::{FirstOverlap, Policy};

/// Newest versions that are kept. More of them come only where the overlap is many triggers long,
/// and then every second one is dropped, which makes a window reach farther back.
const SEEN_KEPT: usize = 512;

/// Under snapshots the overlap is read once more so often, whatever is new (R15).
const SNAPSHOT_PASS: TimeDelta = TimeDelta::days(1);

/// A source's clock may be off by so much before an item counts as changed in the overlap.
const CLOCK_MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Notes that `newest` was the live source's newest version at `at`.
pub(super) fn saw(overlap: &mut Overlap, newest: ChangeVersion, at: Timestamp) {
    match overlap.seen.last_mut() {
        // A source that went back is another matter (R18).
        Some(last) if newest <= last.newest => last.last_at = last.last_at.max(at),
        Some(_) | None => overlap.seen.push(Seen { newest, first_at: at, last_at: at }),
    }
    if overlap.seen.len() > SEEN_KEPT {
        let old = overlap.seen.len() / 2;
        let mut index = 0;
        overlap.seen.retain(|_| {
            index += 1;
            index > old || index % 2 == 1
        });
    }
}

/// The pair has a watermark and no history below it: its next run reaches back to the floor.
pub(super) fn begin_at(
    overlap: &mut Overlap,
    watermark: ChangeVersion,
    policy: &Policy,
    at: Timestamp,
) {
    let floor = match policy.first_overlap {
        FirstOverlap::All => 0,
        FirstOverlap::Versions(versions) => {
            watermark.0.saturating_sub(i64::try_from(versions).unwrap_or(i64::MAX)).max(0)
        }
    };
    let floor = ChangeVersion(floor);
    overlap.first = Some(FirstWatermark { version: watermark, at, floor, succeeded: false });
}

/// The version after which the next window reads: at most the watermark (R14).
pub(super) fn reach(
    overlap: &Overlap,
    watermark: ChangeVersion,
    policy: &Policy,
    now: Timestamp,
) -> ChangeVersion {
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
        // Nothing is known of that time. What the successor of the first run read stands until the
        // overlap of the first watermark has passed; then it is read once more (R15).
        None if policy.isolation != Isolation::Snapshot && now < first.at + length => {
            first.version.min(watermark)
        }
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
/// (R16); `None` where that is not known.
pub(super) fn worth_remembering_since(
    overlap: &Overlap,
    through: ChangeVersion,
    policy: &Policy,
) -> Option<Timestamp> {
    let length = length(policy);
    if length.is_zero() {
        return None;
    }
    Some(anchor(overlap, through, policy.isolation)? - length - CLOCK_MARGIN)
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
    overlap.seen.iter().rev().find(|seen| seen.first_at <= at).map(|seen| seen.newest)
}

fn forget_what_no_window_reaches(
    overlap: &mut Overlap,
    watermark: ChangeVersion,
    policy: &Policy,
) {
    let Some(anchor) = anchor(overlap, watermark, policy.isolation) else { return };
    let reached = anchor - length(policy);
    let older = overlap.seen.iter().filter(|seen| seen.first_at <= reached).count();
    overlap.seen.drain(..older.saturating_sub(1));
}
