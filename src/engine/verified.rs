//! What a comparison found, kept for the report to whoever owns the data.

use crate::state::{Step, Verified};

use super::run::{Surroundings, selection_fingerprint};
use super::verify::{Compared, Verification};
use super::{Pair, RunError};

/// Keeps the counts of every resource that was compared, in the place of those before.
pub(super) async fn keep(
    around: &Surroundings,
    pair: &Pair,
    content: bool,
    found: &Verification,
) -> Result<(), RunError> {
    let state = around.store.load(&pair.id).await.map_err(RunError::State)?.unwrap_or_default();
    let (at, configuration) = (around.clock.now(), selection_fingerprint(pair));
    let watermark = state.watermark.as_ref().map(|watermark| watermark.change_version());
    let verified = found.resources.iter().map(|compared| {
        let Compared { resource, source, target, missing, extra, different, parked } = compared;
        Verified {
            resource: resource.clone(),
            at,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: configuration.clone(),
            watermark,
            content,
            source: *source,
            target: *target,
            missing: *missing,
            extra: *extra,
            different: *different,
            parked: *parked,
        }
    });
    let step = Step { verified: verified.collect(), ..Step::default() };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)
}
