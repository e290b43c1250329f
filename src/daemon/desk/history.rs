//! What was: runs and the audit.

use std::collections::BTreeSet;

use super::{FleetDesk, of_state};
use crate::clock::Timestamp;
use crate::desk::{AuditEntry, Caller, DeskError, Page, Part, RunShown, Selectors};
use crate::state::{PairId, RUNS_KEPT, RunRecord};

impl FleetDesk {
    /// In order of beginning, newest first; `after` is the id of the last run of the part before.
    pub(super) async fn list_runs(
        &self,
        by: &Caller,
        which: &Selectors,
        part: &Part,
    ) -> Result<Page<RunShown>, DeskError> {
        let seen = self.seen(by, which).await?;
        let mut runs = self.all_runs(&seen).await?;
        if let Some(after) = &part.after {
            let Some(at) = runs.iter().position(|run| run.id == *after) else {
                return Err(DeskError::Refused(
                    "`after` is not the `next` of a part of this list".to_owned(),
                ));
            };
            runs.drain(..=at);
        }
        let is_last = runs.len() <= part.limit;
        runs.truncate(part.limit);
        let next = runs.last().filter(|_| !is_last).map(|run| run.id.clone());
        Ok(Page { items: runs, next })
    }

    pub(super) async fn show_run(&self, by: &Caller, id: &str) -> Result<RunShown, DeskError> {
        let mut found = self.runs_named(by, id).await?.into_iter();
        let Some(run) = found.next() else {
            return Err(DeskError::NotThere(format!(
                "there is no run `{id}`: of each pair the last {RUNS_KEPT} are kept"
            )));
        };
        if run.id != id && found.next().is_some() {
            return Err(DeskError::Refused(format!(
                "more than one run begins with `{id}`: type more of it"
            )));
        }
        Ok(run)
    }

    /// Those whose ids begin with `id`, ended or under way: no other record is read.
    async fn runs_named(&self, by: &Caller, id: &str) -> Result<Vec<RunShown>, DeskError> {
        let mut runs = Vec::new();
        for pair in self.seen(by, &Selectors::default()).await? {
            let under_way = self.under_way(&pair).filter(|run| run.id.starts_with(id));
            let ended = self.assembly.store.runs_named(&pair, id).await.map_err(of_state)?;
            runs.extend(each_once(&pair, under_way, ended));
        }
        Ok(runs)
    }

    /// To be asked before the records are: a run that ends in between is in both, and never in neither.
    fn under_way(&self, pair: &PairId) -> Option<RunShown> {
        self.at_work.as_ref()?.under_way(pair)
    }

    /// Those that ended and those under way, newest first.
    async fn all_runs(&self, pairs: &BTreeSet<PairId>) -> Result<Vec<RunShown>, DeskError> {
        let mut runs = Vec::new();
        for pair in pairs {
            let under_way = self.under_way(pair);
            let ended = self.assembly.store.runs(pair, RUNS_KEPT).await.map_err(of_state)?;
            runs.extend(each_once(pair, under_way, ended));
        }
        runs.sort_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
        Ok(runs)
    }

    pub(super) async fn list_audit(
        &self,
        by: &Caller,
        since: Option<Timestamp>,
        part: &Part,
    ) -> Result<Page<AuditEntry>, DeskError> {
        let mut items: Vec<AuditEntry> = Vec::new();
        let mut after = part.after.clone();
        loop {
            let records = self.assembly.store.audit(since, after.as_deref(), Part::LONGEST).await;
            let records = records.map_err(of_state)?;
            let is_last = records.len() < Part::LONGEST;
            after = records.last().map(|record| record.id.clone());
            for record in records {
                // What was about many pairs is for those who see all of them.
                let seen = match &record.pair {
                    Some(pair) => self.sees(by, pair),
                    None => by.labels.is_empty(),
                };
                if !seen {
                    continue;
                }
                if items.len() == part.limit {
                    let next = items.last().map(|entry| entry.id.clone());
                    return Ok(Page { items, next });
                }
                items.push(record.into());
            }
            if is_last {
                return Ok(Page { items, next: None });
            }
        }
    }
}

/// As its record tells it, where there is one.
fn each_once(pair: &PairId, under_way: Option<RunShown>, ended: Vec<RunRecord>) -> Vec<RunShown> {
    let under_way = under_way.filter(|run| ended.iter().all(|ended| ended.id != run.id));
    ended.into_iter().map(|run| RunShown::ended(pair, run)).chain(under_way).collect()
}
