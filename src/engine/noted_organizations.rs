//! The education organizations that a run reads, kept with what the watermark speaks for.
//!
//! The one thing to know: what is on disk as settled has had its organizations put on disk before or
//! with it, so that a run which is gone on with never lacks one.

use std::sync::Mutex;

use tokio::sync::MutexGuard;

use crate::domain::{Item, KeyShape, Organizations, ResourcePath};
use crate::state::{Coverage, Step};

use super::under_way::lock;

pub(super) struct NotedOrganizations {
    noted: Mutex<Noted>,
    /// Held from when they are taken to be written until they are: what was noted first must not be
    /// written last.
    turn: tokio::sync::Mutex<()>,
}

struct Noted {
    /// `None` where they were not followed from the beginning.
    all: Option<Organizations>,
    has_more_than_is_written: bool,
}

impl NotedOrganizations {
    /// Goes on from what is known; a run that reads everything knows all in the end.
    pub(super) fn begin(coverage: &Coverage, begins_anew: bool) -> NotedOrganizations {
        let nothing = begins_anew.then(Organizations::default);
        let all = coverage.organizations.clone().or(nothing);
        let noted = Noted { all, has_more_than_is_written: false };
        NotedOrganizations { noted: Mutex::new(noted), turn: tokio::sync::Mutex::default() }
    }

    pub(super) fn known(&self) -> Option<Organizations> {
        lock(&self.noted).all.clone()
    }

    /// A page of a resource whose items are organizations.
    pub(super) fn note(&self, resource: &ResourcePath, shape: &KeyShape, page: &[Item]) {
        let mut noted = lock(&self.noted);
        for item in page {
            let Some(all) = &mut noted.all else { return };
            let key = shape.key_of(&item.body);
            let id = key.as_ref().and_then(|key| key.iter().next());
            let is_new = id.is_some_and(|(_, id)| all.add(resource, id));
            let are_too_many = all.are_too_many();
            noted.has_more_than_is_written |= is_new;
            if are_too_many {
                noted.all = None;
            }
        }
    }

    /// Puts into a step what no step had so far. To be held until the step is committed.
    pub(super) async fn join(
        &self,
        step: &mut Step,
        coverage: impl FnOnce() -> Coverage,
    ) -> Option<MutexGuard<'_, ()>> {
        if step.coverage.is_none() && !lock(&self.noted).has_more_than_is_written {
            return None;
        }
        let turn = self.turn.lock().await;
        let mut changed = step.coverage.take().unwrap_or_else(coverage);
        let mut noted = lock(&self.noted);
        noted.has_more_than_is_written = false;
        changed.organizations = noted.all.clone();
        step.coverage = Some(changed);
        Some(turn)
    }
}
