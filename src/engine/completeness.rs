//! How much of a source its target has, by counting: for the report to whoever owns the data.
//!
//! What lives here: the counts of both ends, now. What does not: what is parked and what a comparison
//! found, which the state knows. The one thing to know: both ends live, so that equal counts are a good
//! sign and no proof; `verify` is.

use futures_util::StreamExt;

use crate::domain::ResourcePath;
use crate::sources::{Isolation, Reader, SourceError};
use crate::targets::WriteError;

use super::run::selection_fingerprint;
use super::{Pair, RunError};

/// Resources counted at once.
const AT_ONCE: usize = 8;

/// The counts of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Hash of the selection and policies, as a comparison keeps it.
    pub configuration: String,
    /// In the target's order, then what it does not have.
    pub resources: Vec<CountedResource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedResource {
    pub resource: ResourcePath,
    /// The configuration selects it.
    pub selected: bool,
    /// `None` where the credentials may not read it.
    pub source: Option<u64>,
    /// The same; also `None` where the target does not have it, or where it is not selected.
    pub target: Option<u64>,
}

/// Counts every resource of the source, selected or not, at both ends.
pub async fn count(pair: &Pair) -> Result<Completeness, RunError> {
    let reader = pair.source.open(Isolation::Open).await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let both = target.joined_with(&source);
    let selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    let order: Vec<ResourcePath> =
        both.in_order().into_iter().filter(|resource| source.contains(resource)).collect();
    let counts = order.into_iter().map(|resource| {
        let (reader, selected) = (&*reader, selected.contains(&resource));
        let at_target = selected && target.contains(&resource);
        async move { count_one(pair, reader, resource, selected, at_target).await }
    });
    let mut counting = futures_util::stream::iter(counts.collect::<Vec<_>>()).buffered(AT_ONCE);
    let mut resources = Vec::new();
    while let Some(counted) = counting.next().await {
        resources.push(counted?);
    }
    Ok(Completeness { configuration: selection_fingerprint(pair), resources })
}

async fn count_one(
    pair: &Pair,
    reader: &dyn Reader,
    resource: ResourcePath,
    selected: bool,
    at_target: bool,
) -> Result<CountedResource, RunError> {
    let source = match reader.count(&resource, None).await {
        Ok(count) => Some(count),
        Err(SourceError::Refused { .. }) => None,
        Err(error) => return Err(RunError::Source(error)),
    };
    let target = match at_target {
        true => match pair.target.count(&resource).await {
            Ok(count) => Some(count),
            Err(WriteError::Refused { .. }) => None,
            Err(error) => return Err(RunError::Target(error)),
        },
        false => None,
    };
    Ok(CountedResource { resource, selected, source, target })
}
