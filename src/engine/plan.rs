//! What a run would do, without writing: the window, the resources in order, counts per stage.

use futures_util::StreamExt;
use serde::Serialize;

use crate::domain::{ResourcePath, Window};
use crate::sources::Reader;
use crate::state::StateView;

use super::ownership::Ownership;
use super::{Pair, Publish, RunError, first_run, runner};

/// Counts asked for at once.
const AT_ONCE: usize = 8;

/// The plan of one pair (contract, `{"plan":[…]}`).
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub publication: String,
    pub target: String,
    pub window: Window,
    /// Of a first run: how long it takes if the target answers each write as quickly as it answered
    /// a look-up just now, and bears as many at once as are tried at first.
    /// For people; the contract's JSON has no place for it.
    #[serde(skip)]
    pub estimate_seconds: Option<u64>,
    /// In the target's order; resources without changes are left out.
    pub resources: Vec<PlannedResource>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PlannedResource {
    pub resource: ResourcePath,
    pub key_changes: u64,
    pub upserts: u64,
    pub deletes: u64,
}

/// Asks the source what a run of `pair` would find. Nothing is written, at the target or in the
/// state.
pub async fn plan(state: &dyn StateView, pair: &Pair) -> Result<Plan, RunError> {
    let reader = runner::open_view(&*pair.source, &pair.policy).await.map_err(RunError::Source)?;
    let known = state.load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
    first_run::check(pair, &known)?;
    let watermark = known.watermark.as_ref();
    let coverage = state.coverage(&pair.id).await.map_err(RunError::State)?;
    let window = Window { after: watermark.map(|w| w.change_version()), through: reader.newest() };
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let both = target.joined_with(&source);
    let mut selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    let reads_nothing = first_run::begins_from_now(pair, &known);
    selected.retain(|resource| source.contains(resource) && !reads_nothing);

    let ownership = Ownership::of(&pair.policy, &both).map_err(RunError::Selection)?;
    let order = both.restricted_to(&selected).in_order();
    let counts = order.into_iter().map(|resource| {
        let joins = window.after.is_some() && !coverage.spoken_for.contains(&resource);
        let edge = coverage.left.get(&resource).copied();
        let own = if joins { Window { after: edge, through: window.through } } else { window };
        let reader = &reader;
        let may_delete = ownership.is_own(&resource);
        async move { count(pair, &**reader, resource, own, may_delete).await }
    });
    let mut counting = futures_util::stream::iter(counts.collect::<Vec<_>>()).buffered(AT_ONCE);
    let mut resources = Vec::new();
    while let Some(planned) = counting.next().await {
        let planned = planned?;
        if planned.key_changes + planned.upserts + planned.deletes > 0 {
            resources.push(planned);
        }
    }
    let estimate_seconds = match window.after {
        None => estimate(pair, &resources).await?,
        Some(_) => None,
    };
    Ok(Plan {
        estimate_seconds,
        publication: pair.id.publication.clone(),
        target: pair.id.target.clone(),
        window,
        resources,
    })
}

/// A first run is mostly waiting for the target. Concurrency adapts once it runs, so this is an
/// order of magnitude and no promise.
async fn estimate(pair: &Pair, resources: &[PlannedResource]) -> Result<Option<u64>, RunError> {
    const LOOKS: u32 = 3;
    const WRITES_AT_ONCE: u32 = 8;
    let Some(first) = resources.first() else { return Ok(None) };
    // The first look pays for the connection and the token.
    pair.target.count(&first.resource).await.map_err(RunError::Target)?;
    let began = tokio::time::Instant::now();
    for _ in 0..LOOKS {
        pair.target.count(&first.resource).await.map_err(RunError::Target)?;
    }
    let one_write = began.elapsed() / LOOKS / WRITES_AT_ONCE;
    let writes: u64 = resources.iter().map(|resource| resource.upserts).sum();
    let seconds = one_write.saturating_mul(u32::try_from(writes).unwrap_or(u32::MAX)).as_secs();
    Ok(Some(seconds.max(1)))
}

async fn count(
    pair: &Pair,
    reader: &dyn Reader,
    resource: ResourcePath,
    window: Window,
    may_delete: bool,
) -> Result<PlannedResource, RunError> {
    let mut planned = PlannedResource { resource, key_changes: 0, upserts: 0, deletes: 0 };
    if window.after.is_some_and(|after| after >= window.through) {
        return Ok(planned);
    }
    let resource = &planned.resource;
    planned.upserts = reader.count(resource, Some(window)).await.map_err(RunError::Source)?;
    let Some(after) = window.after else { return Ok(planned) };
    if pair.policy.key_changes == Publish::Publish && !resource.is_descriptor() {
        let mut changes = reader.key_changes(resource, after);
        while let Some(page) = changes.next().await.map_err(RunError::Source)? {
            planned.key_changes += u64::try_from(page.len()).unwrap_or(u64::MAX);
        }
    }
    if may_delete && pair.policy.deletes == Publish::Publish {
        planned.deletes =
            reader.count_tombstones(&planned.resource, window).await.map_err(RunError::Source)?;
    }
    Ok(planned)
}
