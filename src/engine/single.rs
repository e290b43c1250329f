//! One parked item, for whoever mends it: looked at at both ends, or tried once.
//!
//! The one thing to know: nothing of it is kept. The caller gives [`attempt`] surroundings whose store
//! is a copy, so that what the attempt would park, settle or learn is gone with it; what it writes to
//! the target is what the next run would write.

use crate::domain::{Body, Item, NaturalKey};
use crate::sources::{Isolation, Lookup};
use crate::state::{Operation, Parked};
use crate::targets::Match;

use super::apply::{self, Settled, Turn};
use super::run::Surroundings;
use super::runner::{RunOptions, open_view};
use super::under_way::Run;
use super::{Pair, RunError};

/// What one end shows of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    There(Body),
    Absent,
    /// It may be there; the credentials do not show it.
    Hidden,
    /// Something came back that is not surely the item.
    Doubtful,
    /// Its key is not known, so that it cannot be asked for.
    NotAsked,
}

/// The item at both ends, as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BothEnds {
    pub source: Shown,
    pub target: Shown,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Attempt {
    Applied,
    /// There was nothing to write: it has gone at the source, or belongs to somebody else.
    Skipped,
    /// As the target refused it now.
    Refused(Box<Parked>),
    /// Only a run can tell: it waits for the associations or the deletes of one.
    WaitsForRun,
}

/// Reads the live databases, whatever the publication's isolation.
pub async fn look(pair: &Pair, parked: &Parked) -> Result<BothEnds, RunError> {
    let reader = pair.source.open(Isolation::Open).await.map_err(RunError::Source)?;
    let resource = &parked.resource;
    let found = match (&parked.source_id, &parked.key) {
        (Some(id), _) => Some(reader.get(resource, id).await.map_err(RunError::Source)?),
        (None, Some(key)) => Some(reader.find(resource, key).await.map_err(RunError::Source)?),
        (None, None) => None,
    };
    let mut key = parked.key.clone();
    let source = match found {
        Some(Lookup::Lives(item)) => {
            // The item may have another key by now: that is the one that the target is asked for.
            key = key_of(&*reader, parked, &item).await?.or(key);
            Shown::There(item.body)
        }
        Some(Lookup::Absent) => Shown::Absent,
        Some(Lookup::Hidden) => Shown::Hidden,
        None => Shown::NotAsked,
    };
    let target = match &key {
        None => Shown::NotAsked,
        Some(key) => match pair.target.find(resource, key).await.map_err(RunError::Target)? {
            Match::One(found) => Shown::There(found.body),
            Match::None => Shown::Absent,
            Match::Doubtful { .. } => Shown::Doubtful,
        },
    };
    Ok(BothEnds { source, target })
}

async fn key_of(
    reader: &dyn crate::sources::Reader,
    parked: &Parked,
    item: &Item,
) -> Result<Option<NaturalKey>, RunError> {
    let shape = reader.key_shape(&parked.resource).await.map_err(RunError::Source)?;
    Ok(shape.and_then(|shape| shape.key_of(&item.body)))
}

/// Reads the item again as it is now and upserts it once, publishing first what it refers to where
/// that is missing, as a run does.
pub async fn attempt(
    around: &Surroundings,
    pair: &Pair,
    parked: &Parked,
) -> Result<Attempt, RunError> {
    let (Operation::Upsert, Some(id)) = (parked.operation, &parked.source_id) else {
        return Ok(Attempt::WaitsForRun);
    };
    let reader = open_view(&*pair.source, &pair.policy).await.map_err(RunError::Source)?;
    let through = reader.newest();
    let run = Run::to_look(around, pair, reader, through, &RunOptions::default()).await?;
    if run.is_closed(&parked.resource) {
        return Ok(Attempt::WaitsForRun);
    }
    let settled = apply::upsert_by_id(&run, &parked.resource, id, Turn::Retry).await?;
    run.commit_parked().await?;
    match settled {
        Settled::Applied => Ok(Attempt::Applied),
        Settled::Skipped => Ok(Attempt::Skipped),
        Settled::Deferred => Ok(Attempt::WaitsForRun),
        Settled::Parked => {
            let after = around.store.parked(&pair.id, None, usize::MAX).await;
            let mut after = after.map_err(RunError::State)?.into_iter();
            let refused = after.find(|other| other.id == parked.id);
            Ok(Attempt::Refused(Box::new(refused.unwrap_or_else(|| parked.clone()))))
        }
    }
}
