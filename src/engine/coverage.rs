//! What the watermark speaks for: before the run, while it goes on, and once it is committed (R17,
//! R23a).

use std::collections::BTreeSet;

use crate::domain::{ChangeVersion, ResourcePath};
use crate::state::{Coverage, Forgotten};

use super::overlap;
use super::under_way::{Run, lock};

impl Run {
    /// What is read from its beginning is so until a run of it is committed: one that fails leaves
    /// items at the target that only the feeds can name (I9), also of what commits late (R14).
    pub(super) fn coverage_with_begun(&self) -> Coverage {
        let mut coverage = self.coverage.clone();
        coverage.organizations = self.organizations.known();
        coverage.begun.clone_from(&self.begun_before);
        for resource in self.graph.resources() {
            if self.window_of(resource).is_some_and(|window| window.after.is_none()) {
                let since = overlap::floor(self.window.through, &self.pair.policy);
                coverage.begun.entry(resource.clone()).or_insert(since);
            }
        }
        coverage
    }

    /// What the watermark speaks for once this run is committed, if that is not what it did
    /// before (R17, R23a).
    pub(super) fn changed_coverage(&self) -> Option<Coverage> {
        let after = self.coverage_after();
        (after != self.coverage_with_begun()).then_some(after)
    }

    fn coverage_after(&self) -> Coverage {
        let closed = lock(&self.closed).clone();
        let mut after = self.coverage_with_begun();
        for resource in self.graph.resources().filter(|resource| !closed.contains(*resource)) {
            after.left.remove(resource);
            after.begun.remove(resource);
            after.spoken_for.insert(resource.clone());
        }
        let left: Vec<_> = after
            .spoken_for
            .iter()
            .filter(|resource| !self.graph.contains(resource) || closed.contains(*resource))
            .cloned()
            .collect();
        for resource in left {
            after.spoken_for.remove(&resource);
            if let Some(version) = self.lower_edge {
                after.left.insert(resource, version);
            }
        }
        after
    }

    /// Whether the run read its window at all: one that is for parked items or joiners alone settles
    /// nothing of the overlap.
    pub(super) fn looked_back(&self) -> bool {
        let nothing_is_newer = self.window.after == Some(self.window.through);
        !(nothing_is_newer && self.reach == self.window.after)
    }

    /// What of the run's resources no later window will need (R7, R16).
    pub(super) fn passed_by(&self, next_reach: ChangeVersion) -> Forgotten {
        let is_open = |resource: &&ResourcePath| !self.is_closed(resource);
        let resources = self.graph.resources().filter(is_open).cloned().collect();
        Forgotten {
            below: Some((ChangeVersion(next_reach.0 + 1), resources)),
            ..Forgotten::default()
        }
    }

    /// Resources for which the watermark does not speak once this run is committed, those included
    /// that a run before it began to read and did not come to the end of.
    pub(super) fn left(&self) -> BTreeSet<ResourcePath> {
        let Coverage { left, begun, .. } = self.coverage_after();
        let closed = lock(&self.closed).clone();
        left.into_keys().chain(begun.into_keys()).chain(closed).collect()
    }
}
