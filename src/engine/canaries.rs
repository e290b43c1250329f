//! Old records that the source must still tell: by them a database that was restored, or replaced,
//! and has higher versions than the watermark is told from the one that was read (R20, S14).
//!
//! What lives here: which records are remembered and what it means that one is missing. The one
//! thing to know: a missing record proves nothing where it may be missing for another reason. A
//! tombstone is not told while its key lives again, and no key is kept by which to ask; but then an
//! item of its resource is newer than it. Only what nothing explains blocks the pair.

use std::collections::BTreeMap;

use crate::domain::{Canary, CanaryKind, ChangeVersion, ResourcePath, Window};
use crate::sources::{Isolation, Reader, SourceError};
use crate::state::{BlockCause, PairState};

use super::{Pair, RunError};

/// How many are remembered of a pair.
const KEPT: usize = 2;

/// The newest record that each feed has told to a run.
#[derive(Default)]
pub(super) struct Told(BTreeMap<(CanaryKind, ResourcePath), Canary>);

impl Told {
    /// Nothing above `through` is remembered: the watermark does not speak for it.
    pub(super) fn note(&mut self, canary: Canary, through: ChangeVersion) {
        let slot = (canary.kind, canary.resource.clone());
        let known = self.0.get(&slot).is_some_and(|known| known.version >= canary.version);
        if canary.version <= through && !known {
            self.0.insert(slot, canary);
        }
    }

    /// What is remembered from now on: the newest, because a backup from before it lacks it; of two
    /// feeds, because one may be missing for a reason; a key change first, because it may not. What
    /// was remembered `before` fills up.
    pub(super) fn chosen(&self, before: &[Canary]) -> Vec<Canary> {
        let mut newest: Vec<&Canary> = self.0.values().collect();
        newest.sort_by_key(|canary| std::cmp::Reverse(canary.version));
        let first_of = |kind| newest.iter().copied().find(|canary| canary.kind == kind);
        let best = [first_of(CanaryKind::KeyChange), first_of(CanaryKind::Tombstone)];
        let mut chosen: Vec<Canary> = Vec::new();
        for canary in best.into_iter().flatten().chain(newest.iter().copied()).chain(before) {
            let is_of =
                |other: &Canary| other.kind == canary.kind && other.resource == canary.resource;
            if chosen.len() < KEPT && !chosen.iter().any(is_of) {
                chosen.push(canary.clone());
            }
        }
        chosen.sort_by_key(|canary| canary.kind);
        chosen
    }
}

/// What the source says about one of them.
enum Answer {
    Told,
    /// It is not told, and something may explain that.
    Explained,
    Lost,
}

/// Blocks the pair when the source tells none of the records that it must have, and nothing explains
/// one of them. One request where the first is told; those that are not are forgotten.
pub(super) async fn check(
    pair: &Pair,
    state: &mut PairState,
    reader: &dyn Reader,
) -> Result<(), RunError> {
    let mut lost = Vec::new();
    while let Some(canary) = state.canaries.first() {
        match ask(reader, canary).await? {
            Answer::Told => return Ok(()),
            Answer::Explained => {}
            Answer::Lost => lost.push(canary.clone()),
        }
        state.canaries.remove(0);
    }
    let Some(canary) = lost.first() else { return Ok(()) };
    // A snapshot that took the place of the one that was opened may be older (R11).
    reader.confirm().await.map_err(RunError::Source)?;
    let publication = &pair.id.publication;
    let feed = match canary.kind {
        CanaryKind::KeyChange => "key changes",
        CanaryKind::Tombstone => "deletes",
    };
    let reason = format!(
        "the source of {} no longer tells what it told in the {feed} of `{}` at version {}, though its newest version is {}: it was restored to before that and written to since, or it is another database. If it was restored, set the watermark to a version from before the backup with `tidemark watermark set`; if it is other data, publish everything again with `tidemark watermark reset`; after either `tidemark verify --repair --delete-extra`. If it is the same data and its history was only cleared, go on with `tidemark approve identity {publication} --same-data`",
        pair.id,
        canary.resource,
        canary.version,
        reader.newest()
    );
    Err(RunError::Blocked { cause: BlockCause::HistoryChanged, reason, deletes: None })
}

async fn ask(reader: &dyn Reader, canary: &Canary) -> Result<Answer, RunError> {
    match reader.tells(canary).await {
        Ok(true) => return Ok(Answer::Told),
        // What was purged below the oldest version was told to be (S15).
        Ok(false) if canary.version < reader.oldest() => return Ok(Answer::Explained),
        Ok(false) => {}
        // The feed is closed to us, which says nothing of what is in it.
        Err(SourceError::Refused { .. }) => return Ok(Answer::Explained),
        Err(error) => return Err(RunError::Source(error)),
    }
    match canary.kind {
        CanaryKind::KeyChange => Ok(Answer::Lost),
        CanaryKind::Tombstone if lives_perhaps_again(reader, canary).await? => {
            Ok(Answer::Explained)
        }
        // What had taken its key may have been deleted between the two questions.
        CanaryKind::Tombstone => match reader.tells(canary).await {
            Ok(true) => Ok(Answer::Told),
            Ok(false) => Ok(Answer::Lost),
            Err(error) => Err(RunError::Source(error)),
        },
    }
}

/// An item that has taken the key of a deleted one since is newer than the tombstone. It may have
/// taken it a moment ago, and be newer than the run's own view where that is of the present.
async fn lives_perhaps_again(reader: &dyn Reader, canary: &Canary) -> Result<bool, RunError> {
    let through = match reader.isolation() {
        Isolation::Snapshot => reader.newest(),
        Isolation::Bounded | Isolation::Open | Isolation::Combined => ChangeVersion(i64::MAX),
    };
    let since = Window { after: Some(canary.version), through };
    match reader.count(&canary.resource, Some(since)).await {
        Ok(newer) => Ok(newer > 0),
        Err(SourceError::Refused { .. }) => Ok(true),
        Err(error) => Err(RunError::Source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SourceId;

    fn canary(kind: CanaryKind, resource: &str, version: i64) -> Canary {
        Canary {
            resource: ResourcePath::parse(&format!("/ed-fi/{resource}")).unwrap(),
            kind,
            id: SourceId(version.to_string()),
            version: ChangeVersion(version),
        }
    }

    #[test]
    fn r20_the_newest_of_two_feeds_are_remembered_and_a_key_change_comes_first() {
        use CanaryKind::{KeyChange, Tombstone};
        for (case, told, before, wanted) in [
            ("nothing told", vec![], vec![(Tombstone, "a", 1)], vec![1]),
            (
                "one of each kind",
                vec![(Tombstone, "a", 5), (Tombstone, "b", 6), (KeyChange, "a", 3)],
                vec![(Tombstone, "c", 1)],
                vec![3, 6],
            ),
            (
                "the newest of a feed",
                vec![(Tombstone, "a", 5), (Tombstone, "a", 7), (Tombstone, "a", 6)],
                vec![(Tombstone, "a", 1), (KeyChange, "b", 2)],
                vec![2, 7],
            ),
            ("beyond the window", vec![(Tombstone, "a", 11)], vec![], vec![]),
        ] {
            let mut all = Told::default();
            for (kind, resource, version) in told {
                all.note(canary(kind, resource, version), ChangeVersion(10));
            }
            let before: Vec<Canary> = before.into_iter().map(|(k, r, v)| canary(k, r, v)).collect();

            let chosen = all.chosen(&before);

            let versions: Vec<i64> = chosen.iter().map(|canary| canary.version.0).collect();
            assert_eq!(versions, wanted, "{case}");
        }
    }
}
