//! Completeness of a pair: both ends counted, with what is parked and what was compared.

use std::collections::BTreeMap;

use super::{FleetDesk, of_run, of_state};
use crate::desk::{DeskError, Report, ReportedResource, ResourceCompared, VerificationShown};
use crate::domain::ResourcePath;
use crate::engine::Pair;
use crate::engine::completeness::{self, CountedResource};
use crate::state::{PairId, ParkStatus, Verified};

/// Parked and dead items of one resource.
#[derive(Clone, Copy, Default)]
struct Waiting {
    parked: u64,
    dead: u64,
}

impl FleetDesk {
    pub(super) async fn completeness(&self, pair: &Pair) -> Result<Report, DeskError> {
        let store = &self.assembly.store;
        let counted = completeness::count(pair).await.map_err(of_run)?;
        let mut waiting: BTreeMap<ResourcePath, Waiting> = BTreeMap::new();
        for item in self.all_of(&pair.id).await? {
            let of_resource = waiting.entry(item.resource).or_default();
            match item.status {
                ParkStatus::Parked => of_resource.parked += 1,
                ParkStatus::Dead => of_resource.dead += 1,
            }
        }
        let verified = store.verified(&pair.id).await.map_err(of_state)?;
        let mut verified: BTreeMap<ResourcePath, Verified> =
            verified.into_iter().map(|found| (found.resource.clone(), found)).collect();
        let state = store.load(&pair.id).await.map_err(of_state)?.unwrap_or_default();
        let resources = counted.resources.into_iter().map(
            |CountedResource { resource, selected, source, target }| {
                let Waiting { parked, dead } = waiting.remove(&resource).unwrap_or_default();
                let excluded = if selected { 0 } else { source.unwrap_or(0) };
                let verified = verified.remove(&resource);
                ReportedResource { resource, source, target, parked, dead, excluded, verified }
            },
        );
        Ok(Report {
            publication: pair.id.publication.clone(),
            target: pair.id.target.clone(),
            made_at: self.assembly.clock.now(),
            configuration: counted.configuration,
            watermark: state.watermark.as_ref().map(|watermark| watermark.change_version()),
            caught_up_at: state.caught_up_at,
            last_run: state.last_run,
            resources: resources.collect(),
        })
    }

    /// What the last comparisons found, resource by resource; they may be of several days.
    pub(super) async fn last_comparison(
        &self,
        pair: &PairId,
    ) -> Result<VerificationShown, DeskError> {
        let found = self.assembly.store.verified(pair).await.map_err(of_state)?;
        let Some(verified_at) = found.iter().map(|verified| verified.at).max() else {
            return Err(DeskError::NotThere(format!(
                "{pair} was never compared: `tidemark verify` does it"
            )));
        };
        let equal = found.iter().all(|found| {
            found.missing + found.extra.unwrap_or(0) + found.different + found.parked == 0
        });
        let resources = found.into_iter().map(|found| ResourceCompared {
            resource: found.resource.to_string(),
            source: found.source,
            target: found.target,
            missing: found.missing,
            extra: found.extra,
            different: found.different,
            parked: found.parked,
        });
        Ok(VerificationShown {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            equal,
            verified_at,
            resources: resources.collect(),
        })
    }
}
