//! Answers to what is asked and ordered of pairs, from the configuration, the state and the daemon's
//! own knowledge.
//!
//! What lives here: [`FleetDesk`], and which pairs a caller sees. What does not: the questions
//! (`desk/`), the running (`serve.rs`). The one thing to know: a command without a daemon asks the
//! same desk as the admin API does, so that both do the same.

mod approve;
mod closely;
mod configured;
mod forget;
mod history;
mod live;
mod looking;
mod parked;
mod process;
mod report;
mod state;
mod watermark;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;

use super::Assembly;
use super::select::SelectError;
use super::status::{LivePairs, NobodyRuns, status_of};
use crate::clock::Timestamp;
use crate::desk::{
    Approval, Attempted, AuditEntry, Caller, Checks, Comparing, ComparisonShown, Decided, Desk,
    DeskError, LiveItem, LogLevelShown, Moved, Page, PairDetail, PairStatus, ParkedChoice,
    ParkedFilter, ParkedItem, Part, PlanShown, ProcessStatus, RefusedConfiguration, Report,
    ResourceOrder, RunShown, Selectors, Settings, Started, VerificationShown,
};
use crate::domain::ChangeVersion;
use crate::engine::verify::VerifyOptions;
use crate::engine::{Pair, RunError};
use crate::state::{AuditRecord, ErasedKey, PairId, StateError};
use crate::telemetry::LogLevel;

/// Whose runs are asked of and given orders: the daemon at work.
#[async_trait]
pub trait RunControl: Send + Sync {
    fn live_pairs(&self) -> &dyn LivePairs;

    fn is_running(&self, pair: &PairId) -> bool;

    /// The run of the pair that goes on, as far as it has come.
    fn under_way(&self, pair: &PairId) -> Option<RunShown>;

    /// Runs that begin now; tells their ids, and those of runs that went on already.
    async fn start(&self, pairs: &[PairId], allow_deletes: bool) -> Result<Started, DeskError>;

    /// Tells the run of a pair to save its progress and end.
    async fn cancel(&self, pair: &PairId) -> Result<(), DeskError>;

    async fn pause(
        &self,
        pair: &PairId,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) -> Result<(), DeskError>;

    async fn resume(&self, pair: &PairId) -> Result<(), DeskError>;

    /// Parked items of the pair are due now.
    async fn parked_due(&self, pair: &PairId) -> Result<(), DeskError>;

    /// Both ends of the pair are compared as soon as nothing holds it.
    fn compare(&self, pair: &PairId, options: &VerifyOptions)
    -> Result<ComparisonShown, DeskError>;

    /// A comparison that somebody asked for, by its id or as much of it as only one begins with.
    fn comparison(&self, id: &str) -> Option<(PairId, ComparisonShown)>;

    /// Tells it to end; `false` where it has.
    fn cancel_comparison(&self, id: &str) -> bool;

    /// What is wrong with the configuration on disk, where another is in force.
    fn refused_configuration(&self) -> Option<RefusedConfiguration>;

    /// How much is logged; `None` where nobody said how that is changed.
    fn log_level(&self) -> Option<LogLevelShown>;

    /// Logs so much for so long; `false` where nobody said how that is changed.
    fn set_log_level(&self, level: LogLevel, lasting: Duration) -> bool;
}

/// The desk of one configuration. Made anew for each question, so that a reload is seen by the next.
pub struct FleetDesk {
    assembly: Arc<Assembly>,
    /// `None` in a command that opened the state itself: nothing runs then.
    at_work: Option<Arc<dyn RunControl>>,
    /// Where the configuration was read; `None` where it was not.
    written: Option<Written>,
}

/// Where a configuration is written.
#[derive(Clone, Debug)]
pub struct Written {
    pub path: PathBuf,
    pub env: BTreeMap<String, String>,
}

impl FleetDesk {
    pub fn new(assembly: Arc<Assembly>, at_work: Option<Arc<dyn RunControl>>) -> FleetDesk {
        FleetDesk { assembly, at_work, written: None }
    }

    /// The same, which can tell where each value was written.
    pub fn written(self, written: Option<Written>) -> FleetDesk {
        FleetDesk { written, ..self }
    }

    pub fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    fn live(&self) -> &dyn LivePairs {
        match &self.at_work {
            Some(at_work) => at_work.live_pairs(),
            None => &NobodyRuns,
        }
    }

    fn control(&self) -> Result<&dyn RunControl, DeskError> {
        self.at_work.as_deref().ok_or_else(|| {
            DeskError::Conflict("no daemon holds this state: start `tidemark serve`".to_owned())
        })
    }

    /// The configured pairs that the caller means and sees.
    fn chosen(&self, by: &Caller, which: &Selectors) -> Result<Vec<Pair>, DeskError> {
        let mut which = which.clone();
        which.labels.extend(by.labels.clone());
        match self.assembly.pairs_of(&which) {
            Ok(pairs) => Ok(pairs.into_values().flatten().collect()),
            Err(SelectError::Nothing | SelectError::NoPublications) => Ok(Vec::new()),
            Err(
                error @ (SelectError::UnknownPublication { .. }
                | SelectError::UnknownConnection { .. }),
            ) => Err(DeskError::NotThere(error.to_string())),
        }
    }

    /// The same by name, with orphans where nothing narrows.
    async fn seen(&self, by: &Caller, which: &Selectors) -> Result<BTreeSet<PairId>, DeskError> {
        let chosen = self.chosen(by, which)?;
        let mut seen: BTreeSet<PairId> = chosen.into_iter().map(|pair| pair.id).collect();
        if by.labels.is_empty() && *which == Selectors::default() {
            seen.extend(self.assembly.store.pairs().await.map_err(of_state)?);
        }
        Ok(seen)
    }

    /// With its ends, so no orphan.
    fn seen_pair(&self, by: &Caller, id: &PairId) -> Result<Pair, DeskError> {
        let pair = self.assembly.pair(id).filter(|_| self.sees(by, id));
        pair.cloned().ok_or_else(|| no_pair(id))
    }

    /// An orphan has no labels, so only a caller without any sees it.
    pub fn sees(&self, by: &Caller, id: &PairId) -> bool {
        if by.labels.is_empty() {
            return true;
        }
        let publication = self.assembly.config.publications.get(id.publication.as_str());
        publication.is_some_and(|publication| {
            by.labels.iter().all(|(key, value)| publication.labels.get(key) == Some(value))
        })
    }

    async fn status_of(&self, id: &PairId) -> Result<PairStatus, DeskError> {
        let found = status_of(&self.assembly, self.live(), id.clone()).await.map_err(of_state)?;
        found.ok_or_else(|| no_pair(id))
    }

    fn record(
        &self,
        by: &Caller,
        action: &str,
        pair: Option<&PairId>,
        what: String,
        reason: Option<&str>,
    ) -> AuditRecord {
        let at = self.assembly.clock.now();
        let (by, action, pair) = (by.name.clone(), action.to_owned(), pair.cloned());
        let reason = reason.map(str::to_owned);
        let id = format!("{:016x}", rand::random::<u64>());
        AuditRecord { id, at, by, action, pair, what, reason }
    }

    /// Writes down what was read, and lets go of what is too old.
    async fn note(&self, record: AuditRecord) -> Result<(), DeskError> {
        // What is longer than time itself keeps everything.
        let kept = TimeDelta::from_std(self.assembly.config.state.audit_for).ok();
        let before = kept.and_then(|kept| record.at.checked_sub_signed(kept));
        self.assembly.store.note(record, before).await.map_err(of_state)
    }
}

fn no_pair(id: &PairId) -> DeskError {
    DeskError::NotThere(format!("there is no pair {id}"))
}

fn of_state(error: StateError) -> DeskError {
    DeskError::State(error.to_string())
}

fn of_run(error: RunError) -> DeskError {
    DeskError::Failed(error.message())
}

/// A reason that says something.
fn said(reason: &str) -> Result<&str, DeskError> {
    let reason = reason.trim();
    match reason.is_empty() {
        true => {
            Err(DeskError::Refused("a reason is wanted: whoever asks later sees it".to_owned()))
        }
        false => Ok(reason),
    }
}

#[async_trait]
impl Desk for FleetDesk {
    async fn pairs(&self, by: &Caller, which: &Selectors) -> Result<Vec<PairStatus>, DeskError> {
        let mut pairs = Vec::new();
        for id in self.seen(by, which).await? {
            let found = status_of(&self.assembly, self.live(), id).await.map_err(of_state)?;
            pairs.extend(found);
        }
        Ok(pairs)
    }

    async fn process(&self, by: &Caller) -> Result<ProcessStatus, DeskError> {
        Ok(self.process_status(by))
    }

    async fn set_log_level(
        &self,
        by: &Caller,
        level: &str,
        lasting: Duration,
    ) -> Result<ProcessStatus, DeskError> {
        self.log_more_or_less(by, level, lasting).await
    }

    async fn pair(&self, by: &Caller, pair: &PairId) -> Result<PairStatus, DeskError> {
        match self.sees(by, pair) {
            true => self.status_of(pair).await,
            false => Err(no_pair(pair)),
        }
    }

    async fn parked(
        &self,
        by: &Caller,
        which: &Selectors,
        filter: &ParkedFilter,
        part: &Part,
    ) -> Result<Page<ParkedItem>, DeskError> {
        self.list_parked(by, which, filter, part).await
    }

    async fn parked_item(&self, by: &Caller, id: &str) -> Result<ParkedItem, DeskError> {
        self.show_parked(by, id).await
    }

    async fn retry(&self, by: &Caller, choice: &ParkedChoice) -> Result<u64, DeskError> {
        self.retry_parked(by, choice).await
    }

    async fn discard(
        &self,
        by: &Caller,
        choice: &ParkedChoice,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        self.discard_parked(by, choice, reason).await
    }

    async fn move_watermark(
        &self,
        by: &Caller,
        pair: &PairId,
        to: Moved,
        if_at: Option<Option<ChangeVersion>>,
        reason: &str,
    ) -> Result<PairStatus, DeskError> {
        let pair = self.seen_pair(by, pair)?;
        self.refuse_while_running(&pair.id)?;
        self.set_watermark(by, &pair, to, if_at, said(reason)?).await?;
        self.status_of(&pair.id).await
    }

    async fn approve(
        &self,
        by: &Caller,
        pair: &PairId,
        approval: &Approval,
        reason: &str,
    ) -> Result<Decided, DeskError> {
        let pair = self.seen_pair(by, pair)?;
        self.decide(by, &pair, approval, said(reason)?).await
    }

    async fn would_approve(
        &self,
        by: &Caller,
        pair: &PairId,
        approval: &Approval,
    ) -> Result<Option<Decided>, DeskError> {
        let pair = self.seen_pair(by, pair)?;
        if !self.is_about(&pair, approval).await? {
            return Ok(None);
        }
        let (decided, _) = self.would_decide(&pair, approval).await?;
        Ok(Some(decided))
    }

    async fn plan(&self, by: &Caller, pair: &PairId) -> Result<PlanShown, DeskError> {
        self.planned(&self.seen_pair(by, pair)?).await
    }

    async fn check(&self, by: &Caller, which: &Selectors) -> Result<Checks, DeskError> {
        self.checked(by, which).await
    }

    async fn compare(
        &self,
        by: &Caller,
        pair: &PairId,
        wanted: &Comparing,
    ) -> Result<ComparisonShown, DeskError> {
        self.begin_comparison(by, &self.seen_pair(by, pair)?, wanted).await
    }

    async fn comparison(&self, by: &Caller, id: &str) -> Result<ComparisonShown, DeskError> {
        self.show_comparison(by, id).await
    }

    async fn cancel_comparison(&self, by: &Caller, id: &str) -> Result<(), DeskError> {
        self.end_comparison(by, id).await
    }

    async fn verification(
        &self,
        by: &Caller,
        pair: &PairId,
    ) -> Result<VerificationShown, DeskError> {
        self.last_comparison(&self.seen_pair(by, pair)?.id).await
    }

    async fn closely(&self, by: &Caller, pair: &PairId) -> Result<PairDetail, DeskError> {
        self.detail(&self.seen_pair(by, pair)?).await
    }

    async fn order(
        &self,
        by: &Caller,
        pair: &PairId,
        within: Duration,
    ) -> Result<ResourceOrder, DeskError> {
        self.in_order(&self.seen_pair(by, pair)?, within).await
    }

    async fn configuration(&self, by: &Caller, name: Option<&str>) -> Result<Settings, DeskError> {
        self.settings(by, name).await
    }

    async fn report(&self, by: &Caller, pair: &PairId) -> Result<Report, DeskError> {
        self.completeness(&self.seen_pair(by, pair)?).await
    }

    async fn look(&self, by: &Caller, id: &str) -> Result<LiveItem, DeskError> {
        self.look_at(by, id).await
    }

    async fn attempt(&self, by: &Caller, id: &str) -> Result<Attempted, DeskError> {
        self.try_once(by, id).await
    }

    async fn records_with(&self, by: &Caller, key: &ErasedKey) -> Result<u64, DeskError> {
        self.count_records_with(by, key).await
    }

    async fn forget_key(
        &self,
        by: &Caller,
        key: &ErasedKey,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        self.erase(by, key, reason).await
    }

    async fn with_state(&self, by: &Caller) -> Result<Vec<PairStatus>, DeskError> {
        let known = self.assembly.store.pairs().await.map_err(of_state)?;
        let mut pairs = self.pairs(by, &Selectors::default()).await?;
        pairs.retain(|pair| known.contains(&pair.id()));
        Ok(pairs)
    }

    async fn runs(
        &self,
        by: &Caller,
        which: &Selectors,
        part: &Part,
    ) -> Result<Page<RunShown>, DeskError> {
        self.list_runs(by, which, part).await
    }

    async fn run(&self, by: &Caller, id: &str) -> Result<RunShown, DeskError> {
        self.show_run(by, id).await
    }

    async fn start(
        &self,
        by: &Caller,
        publication: &str,
        targets: &[String],
        allow_deletes: bool,
    ) -> Result<Started, DeskError> {
        let which =
            Selectors { publications: vec![publication.to_owned()], ..Selectors::default() };
        let mut pairs = self.chosen(by, &which)?;
        pairs.retain(|pair| {
            pair.id.publication == publication
                && (targets.is_empty() || targets.contains(&pair.id.target))
        });
        if pairs.is_empty() {
            return Err(DeskError::NotThere(format!(
                "there is no publication `{publication}` with such a target"
            )));
        }
        let ids: Vec<PairId> = pairs.into_iter().map(|pair| pair.id).collect();
        let started = self.control()?.start(&ids, allow_deletes).await?;
        let what = format!("{} begun", started.runs.len());
        let first = ids.first().filter(|_| ids.len() == 1);
        self.note(self.record(by, "run", first, what, None)).await?;
        Ok(started)
    }

    async fn cancel(&self, by: &Caller, run: &str) -> Result<(), DeskError> {
        let shown = self.show_run(by, run).await?;
        if shown.outcome.is_some() {
            return Err(DeskError::Conflict("the run has ended".to_owned()));
        }
        let pair = PairId { publication: shown.publication, target: shown.target };
        self.control()?.cancel(&pair).await?;
        self.note(self.record(by, "cancel", Some(&pair), String::new(), None)).await
    }

    async fn pause(
        &self,
        by: &Caller,
        pair: &PairId,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) -> Result<PairStatus, DeskError> {
        let pair = self.seen_pair(by, pair)?;
        self.control()?.pause(&pair.id, until, reason).await?;
        let what = until.map(|until| format!("until {}", until.to_rfc3339())).unwrap_or_default();
        self.note(self.record(by, "pause", Some(&pair.id), what, reason)).await?;
        self.status_of(&pair.id).await
    }

    async fn resume(&self, by: &Caller, pair: &PairId) -> Result<PairStatus, DeskError> {
        let pair = self.seen_pair(by, pair)?;
        self.control()?.resume(&pair.id).await?;
        self.note(self.record(by, "resume", Some(&pair.id), String::new(), None)).await?;
        self.status_of(&pair.id).await
    }

    async fn audit(
        &self,
        by: &Caller,
        since: Option<Timestamp>,
        part: &Part,
    ) -> Result<Page<AuditEntry>, DeskError> {
        self.list_audit(by, since, part).await
    }

    async fn export(&self, by: &Caller) -> Result<Vec<u8>, DeskError> {
        self.export_state(by).await
    }

    async fn import(
        &self,
        by: &Caller,
        text: &str,
        replace: bool,
    ) -> Result<Vec<PairId>, DeskError> {
        self.import_state(by, text, replace).await
    }

    async fn move_state(
        &self,
        by: &Caller,
        old: &str,
        new: &str,
    ) -> Result<Vec<PairId>, DeskError> {
        self.rename(by, old, new).await
    }

    async fn forget_state(
        &self,
        by: &Caller,
        pair: &PairId,
        reason: Option<&str>,
    ) -> Result<(), DeskError> {
        self.forget(by, pair, reason).await
    }
}

#[cfg(test)]
mod tests;
