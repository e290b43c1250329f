//! The tombstones of a run, read once before the first delete, and the brake on them (R27).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;

use crate::domain::{Canary, CanaryKind, ResourcePath, Tombstone};
use crate::sources::TombstonePages;
use crate::state::{BlockCause, Deletes};
use crate::targets::Match;

use super::under_way::Run;
use super::{Publish, RunError, ahead, remembered};

/// Tombstones of a run held in memory; a resource that brings more is read again (R30).
const HELD: usize = 50_000;

/// What the deletes feed of one resource told.
pub(super) enum Told {
    All(Vec<Tombstone>),
    /// Too many to hold: read again, page by page, when they are needed.
    Many,
}

/// Every feed of the run that told anything, when the stage of the deletes has come (R29).
pub(super) async fn tombstones(run: &Arc<Run>) -> Result<BTreeMap<ResourcePath, Told>, RunError> {
    if run.pair.policy.deletes == Publish::Skip {
        return Ok(BTreeMap::new());
    }
    let mut feeds = Vec::new();
    for resource in run.graph.resources().filter(|one| run.ownership.is_own(one)) {
        if let Some(pages) = run.tombstones(resource) {
            let resource = resource.clone();
            feeds.push(async move {
                let told = read(run, &resource, pages).await;
                (resource, told)
            });
        }
    }
    let mut reading = futures_util::stream::iter(feeds).buffer_unordered(ahead::FEEDS_AT_ONCE);
    let mut read = Vec::new();
    while let Some((resource, told)) = reading.next().await {
        run.check_stop()?;
        read.push((resource, told?));
    }
    drop(reading);

    // Not in between: feeds that nobody goes on with hold permits that a question here may need.
    let mut all = BTreeMap::new();
    for (resource, (count, told)) in read.into_iter().filter(|(_, (count, _))| *count > 0) {
        check(run, &resource, count, &told).await?;
        all.insert(resource, told);
    }
    Ok(all)
}

async fn read(
    run: &Run,
    resource: &ResourcePath,
    mut pages: Box<dyn TombstonePages>,
) -> Result<(u64, Told), RunError> {
    let mut count: u64 = 0;
    let mut held = Vec::new();
    while let Some(page) = pages.next().await.map_err(RunError::Source)? {
        for tombstone in &page {
            run.note_told(Canary {
                resource: resource.clone(),
                kind: CanaryKind::Tombstone,
                id: tombstone.id.clone(),
                version: tombstone.version,
            });
        }
        let page = remembered::unsettled(run, resource, page).await?;
        count += u64::try_from(page.len()).unwrap_or(u64::MAX);
        if held.len() + page.len() <= HELD {
            held.extend(page);
        }
    }
    let whole = u64::try_from(held.len()).is_ok_and(|held| held == count);
    Ok((count, if whole { Told::All(held) } else { Told::Many }))
}

/// Fails before the first delete when a resource would lose more than the brake allows, unless a
/// person allowed it.
async fn check(
    run: &Arc<Run>,
    resource: &ResourcePath,
    tombstones: u64,
    told: &Told,
) -> Result<(), RunError> {
    let brake = run.pair.policy.brake;
    if run.options.allow_deletes || tombstones <= brake.above {
        return Ok(());
    }
    // D is what would be deleted, not what was told: much of it may be gone already.
    let would_delete = match told {
        Told::All(tombstones) => count_at_target(run, resource, tombstones).await?,
        Told::Many => tombstones,
    };
    if would_delete <= run.allowed_deletes(resource).await? {
        return Ok(());
    }
    check_count(run, resource, would_delete).await
}

/// Fails when `would_delete` items of a resource are more than the brake allows.
pub(super) async fn check_count(
    run: &Arc<Run>,
    resource: &ResourcePath,
    would_delete: u64,
) -> Result<(), RunError> {
    let brake = run.pair.policy.brake;
    if run.options.allow_deletes || would_delete <= brake.above {
        return Ok(());
    }
    // Where the source cannot say how many live, the floor alone decides.
    let lives = run.reader.count(resource, None).await.unwrap_or(0);
    if within(would_delete, lives, brake.percent) {
        return Ok(());
    }
    let reason = format!(
        "the run would delete {would_delete} of the items of `{resource}`, of which the source shows {lives} more; the brake is at {}% (`max_deletes`). If that is intended, allow that many with `tidemark approve deletes {}`, or run once with `--allow-deletes`",
        brake.percent, run.pair.id.publication
    );
    let deletes = Deletes { resource: resource.clone(), count: would_delete };
    Err(RunError::Blocked { cause: BlockCause::Deletes, reason, deletes: Some(deletes) })
}

#[expect(clippy::cast_precision_loss, reason = "counts of items are far below 2^52")]
fn within(would_delete: u64, lives: u64, percent: f64) -> bool {
    would_delete as f64 <= (would_delete + lives) as f64 * percent / 100.0
}

async fn count_at_target(
    run: &Arc<Run>,
    resource: &ResourcePath,
    tombstones: &[Tombstone],
) -> Result<u64, RunError> {
    const LOOK_UPS_AT_ONCE: usize = 32;
    let mut look_ups = Vec::new();
    for key in tombstones.iter().filter_map(|tombstone| tombstone.key.as_ref()) {
        look_ups.push(async move { run.target(|target| target.find(resource, key)).await });
    }
    let mut asked = futures_util::stream::iter(look_ups).buffer_unordered(LOOK_UPS_AT_ONCE);
    let mut there = 0;
    while let Some(found) = asked.next().await {
        match found {
            Ok(Match::One(_) | Match::Doubtful { .. }) => there += 1,
            Ok(Match::None) => {}
            Err(error) if error.refusal().is_some() => there += 1,
            Err(error) => return Err(RunError::Target(error)),
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r27_the_share_is_of_what_would_go_and_what_stays() {
        for (case, would_delete, lives, allowed) in [
            ("a tenth of all is within 10 %", 100, 900, true),
            ("one more is not", 101, 899, false),
            ("everything is not", 500, 0, false),
        ] {
            assert_eq!(within(would_delete, lives, 10.0), allowed, "{case}");
        }
    }
}
