//! A natural key that is to be forgotten.

use super::{FleetDesk, of_state};
use crate::desk::{Caller, DeskError, Selectors, wording};
use crate::metrics::Discarded;
use crate::state::{ErasedKey, PairId, Step};

impl FleetDesk {
    pub(super) async fn count_records_with(
        &self,
        by: &Caller,
        key: &ErasedKey,
    ) -> Result<u64, DeskError> {
        let mut count = 0;
        for pair in self.seen(by, &Selectors::default()).await? {
            count += self.assembly.store.records_with(&pair, key).await.map_err(of_state)?;
        }
        Ok(count)
    }

    /// Refused while any pair that holds it runs: the run would write again what it has in memory.
    pub(super) async fn erase(
        &self,
        by: &Caller,
        key: &ErasedKey,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        let mut held = Vec::new();
        for pair in self.seen(by, &Selectors::default()).await? {
            let count = self.assembly.store.records_with(&pair, key).await.map_err(of_state)?;
            if count > 0 {
                self.refuse_while_running(&pair)?;
                held.push((pair, count));
            }
        }
        let total = held.iter().map(|(_, count)| count).sum();
        for (pair, count) in held {
            let what = wording::count(count, "record");
            let audit = Some(self.record(by, "forget", Some(&pair), what, reason));
            let step = Step { erase: vec![key.clone()], audit, ..Step::default() };
            let before = self.waiting(&pair).await?;
            self.assembly.store.commit(&pair, step).await.map_err(of_state)?;
            let gone = before.saturating_sub(self.waiting(&pair).await?);
            self.assembly.metrics.discarded(&pair, Discarded::Forgotten, gone);
        }
        if total == 0 {
            self.note(self.record(by, "forget", None, wording::count(0, "record"), reason)).await?;
        }
        Ok(total)
    }

    async fn waiting(&self, pair: &PairId) -> Result<u64, DeskError> {
        let counts = self.assembly.store.parked_counts(pair).await.map_err(of_state)?;
        Ok(counts.parked + counts.dead)
    }
}
