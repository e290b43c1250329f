//! Whether the source's credentials reach what they reached at the last commit (R20, S19).
//!
//! The one thing to know: what is shown no more was not deleted (R3), and what is shown for the first
//! time was not changed, so that no feed tells either. Less blocks the pair; more makes every
//! resource that may show more a joiner, on disk before anything is read (R17).

use std::collections::BTreeSet;

use crate::domain::{ChangeVersion, ResourcePath, Scope};
use crate::state::{BlockCause, Coverage, PairState, Step};

use super::observe::{Anomaly, Event, Noted};
use super::run::Surroundings;
use super::{Pair, RunError};

/// What the source said of its credentials, asked once for all pairs that share a view (R13).
pub(super) type ToldScope = tokio::sync::OnceCell<Option<Scope>>;

/// Compares and remembers. What a person should know comes back.
pub(super) async fn check(
    around: &Surroundings,
    pair: &Pair,
    state: &mut PairState,
    reach: Option<ChangeVersion>,
    told: &ToldScope,
) -> Result<Option<String>, RunError> {
    let told = match told.get_or_try_init(|| pair.source.scope()).await {
        Ok(told) => told.clone(),
        Err(error) if state.scope.is_some() => return Err(RunError::Source(error)),
        // A route that never answered is no reason to publish nothing.
        Err(error) => {
            tracing::warn!(
                publication = pair.id.publication,
                kind = error.kind(),
                "the source does not say what its credentials reach"
            );
            None
        }
    };
    let Some(now) = told else { return Ok(None) };
    let before = state.scope.replace(now.clone());
    // Without a watermark everything is read from its beginning anyway.
    let (Some(before), Some(reach)) = (before, reach) else { return Ok(None) };
    if now == before {
        return Ok(None);
    }
    if now.lacks_some_of(&before) {
        return Err(narrowed(pair, &before, &now));
    }
    let noted = Noted::Anomaly(Anomaly::ScopeWidened);
    around.observers.tell(&Event::Noted { pair: &pair.id, noted });
    let coverage = around.store.coverage(&pair.id).await.map_err(RunError::State)?;
    let namespaces_joined = now.namespaces != before.namespaces;
    // Descriptors belong to namespaces and to no organization.
    let joins = |resource: &ResourcePath| namespaces_joined || !resource.is_descriptor();
    let step = Step {
        coverage: Some(widened(coverage, reach, joins)),
        state: Some(state.clone()),
        ..Step::default()
    };
    around.store.commit(&pair.id, step).await.map_err(RunError::State)?;
    let what = if namespaces_joined { "everything" } else { "everything but descriptors" };
    Ok(Some(format!(
        "the source's credentials reach more than before (now {}; before {}): {what} is read from its beginning",
        now.counts(),
        before.counts()
    )))
}

fn narrowed(pair: &Pair, before: &Scope, now: &Scope) -> RunError {
    let publication = &pair.id.publication;
    let reason = format!(
        "the credentials of the source of {} reach less than before (now {}; before {}, some of which is gone): what they no longer show was not deleted, and stays at the target as it is. If that was not meant, have the source give them back what they reached, then `tidemark approve identity {publication} --same-data`; if it was meant, the same, and `tidemark verify --repair --delete-extra` where the target should not have it any more",
        pair.id,
        now.counts(),
        before.counts()
    );
    RunError::Blocked { cause: BlockCause::ScopeNarrowed, reason, deletes: None }
}

/// The watermark stops speaking for what `joins`. Its feeds are read from where they were read to:
/// what the target has of it may have gone or got another key since.
fn widened(
    before: Coverage,
    reach: ChangeVersion,
    joins: impl Fn(&ResourcePath) -> bool,
) -> Coverage {
    let mut after = Coverage {
        begun: before.begun,
        organizations: before.organizations,
        ..Coverage::default()
    };
    let mut begin = |resource: ResourcePath, edge: ChangeVersion| {
        let begun = after.begun.entry(resource).or_insert(edge);
        *begun = edge.min(*begun);
    };
    let mut spoken_for = BTreeSet::new();
    for resource in before.spoken_for {
        match joins(&resource) {
            true => begin(resource, reach),
            false => drop(spoken_for.insert(resource)),
        }
    }
    let mut left = std::collections::BTreeMap::new();
    for (resource, edge) in before.left {
        match joins(&resource) {
            true => begin(resource, edge),
            false => drop(left.insert(resource, edge)),
        }
    }
    Coverage { spoken_for, left, ..after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s19_what_joins_is_begun_where_its_feeds_were_read_to() {
        let path = |name: &str| ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap();
        let before = Coverage {
            spoken_for: [path("students"), path("termDescriptors"), path("schools")].into(),
            left: [(path("grades"), ChangeVersion(3))].into(),
            begun: [(path("schools"), ChangeVersion(5))].into(),
            organizations: None,
        };

        let after = widened(before, ChangeVersion(9), |resource| !resource.is_descriptor());

        assert_eq!(after.spoken_for, [path("termDescriptors")].into());
        assert!(after.left.is_empty());
        let begun = [("students", 9), ("schools", 5), ("grades", 3)];
        assert_eq!(after.begun, begun.map(|(name, at)| (path(name), ChangeVersion(at))).into());
    }
}
