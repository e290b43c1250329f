//! One parked item as it is now: looked at at both ends, or tried once. Nothing is kept but the audit's
//! word that it was done.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{FleetDesk, of_run, of_state};
use crate::desk::{
    AttemptOutcome, Attempted, Caller, DeskError, LiveEnd, LiveItem, ParkedItem, Shows,
};
use crate::engine::Pair;
use crate::engine::observe::Observers;
use crate::engine::run::Surroundings;
use crate::engine::single::{self, Attempt, Shown};
use crate::state::{MemoryStore, PairId, StateStore};

impl FleetDesk {
    pub(super) async fn look_at(&self, by: &Caller, id: &str) -> Result<LiveItem, DeskError> {
        let (id, parked) = self.with_id(by, id).await?;
        let pair = self.configured(by, &id)?;
        self.note(self.record(by, "parked read live", Some(&id), "1 item".to_owned(), None))
            .await?;
        let found = single::look(&pair, &parked).await.map_err(of_run)?;
        Ok(LiveItem {
            item: ParkedItem::new(&id, parked),
            source: end(found.source)?,
            target: end(found.target)?,
        })
    }

    pub(super) async fn try_once(&self, by: &Caller, id: &str) -> Result<Attempted, DeskError> {
        let (id, parked) = self.with_id(by, id).await?;
        let pair = self.configured(by, &id)?;
        self.refuse_while_running(&id)?;
        let state = self.assembly.store.load(&id).await.map_err(of_state)?.unwrap_or_default();
        if let Some(block) = state.blocked {
            return Err(DeskError::Conflict(format!(
                "{id} is blocked, and nothing is written until a person has decided: {}",
                block.reason
            )));
        }
        self.note(self.record(by, "parked tried", Some(&id), "1 item".to_owned(), None)).await?;
        let around = self.aside(&id).await?;
        let outcome = single::attempt(&around, &pair, &parked).await.map_err(of_run)?;
        let item = ParkedItem::new(&id, parked);
        Ok(match outcome {
            Attempt::Applied => ended(item, AttemptOutcome::Applied),
            Attempt::Skipped => ended(item, AttemptOutcome::Skipped),
            Attempt::WaitsForRun => ended(item, AttemptOutcome::WaitsForRun),
            Attempt::Refused(now) => Attempted {
                item,
                outcome: AttemptOutcome::Refused,
                reason: Some(now.reason),
                error: Some(now.error),
            },
        })
    }

    fn configured(&self, by: &Caller, id: &PairId) -> Result<Pair, DeskError> {
        self.seen_pair(by, id).map_err(|_| {
            DeskError::Conflict(format!("the configuration no longer names {id}: it has no ends"))
        })
    }

    /// Surroundings whose store is a copy of what is known of the pair: what happens there is gone
    /// with it.
    async fn aside(&self, id: &PairId) -> Result<Surroundings, DeskError> {
        let copy = MemoryStore::new();
        let whole = self.assembly.store.whole(id).await.map_err(of_state)?;
        copy.commit(id, whole).await.map_err(of_state)?;
        Ok(Surroundings {
            store: Arc::new(copy),
            clock: self.assembly.clock.clone(),
            observers: Observers(Vec::new()),
            stop: CancellationToken::new(),
            configured: None,
        })
    }
}

fn ended(item: ParkedItem, outcome: AttemptOutcome) -> Attempted {
    Attempted { item, outcome, reason: None, error: None }
}

fn end(shown: Shown) -> Result<LiveEnd, DeskError> {
    let (shows, body) = match shown {
        Shown::There(body) => {
            let body = serde_json::from_slice(body.bytes());
            let body = body.map_err(|_| {
                DeskError::Failed("what came back of the item is no JSON object".to_owned())
            })?;
            (Shows::Item, Some(body))
        }
        Shown::Absent => (Shows::Nothing, None),
        Shown::Hidden => (Shows::Hidden, None),
        Shown::Doubtful => (Shows::Doubtful, None),
        Shown::NotAsked => (Shows::NotAsked, None),
    };
    Ok(LiveEnd { shows, body })
}
