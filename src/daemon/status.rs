//! How every pair is, in the shape of the contract: for `status` and for `GET pairs`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::Assembly;
use super::planning::schedule_text;
use crate::clock::Timestamp;
use crate::config::{PublicationName, Trigger};
use crate::desk::{Measured, PairCondition, PairStatus};
use crate::domain::{ChangeVersion, Outcome};
use crate::state::{PairId, PairState, ParkedCounts, Pause, Plan, StateError};

/// What only the process that runs a pair knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LivePair {
    pub run_id: Option<String>,
    pub newest: Option<ChangeVersion>,
    /// Due, and held by a limit: which.
    pub waits_for: Option<String>,
    pub next_run_at: Option<Timestamp>,
}

/// What the daemon knows of pairs beside their state.
pub trait LivePairs: Send + Sync {
    /// `None` for a pair that nobody watches: its next run comes from the configuration then.
    fn live(&self, pair: &PairId) -> Option<LivePair>;
}

/// Nobody runs: a command that opened the state itself.
pub struct NobodyRuns;

impl LivePairs for NobodyRuns {
    fn live(&self, _: &PairId) -> Option<LivePair> {
        None
    }
}

/// Every configured pair and every one that has state without being configured, in order of name.
pub async fn status(
    assembly: &Assembly,
    live: &dyn LivePairs,
) -> Result<Vec<PairStatus>, StateError> {
    let mut known: BTreeSet<PairId> = assembly.all_pairs().map(|pair| pair.id.clone()).collect();
    known.extend(assembly.store.pairs().await?);
    let mut statuses = Vec::new();
    for id in known {
        statuses.extend(status_of(assembly, live, id).await?);
    }
    Ok(statuses)
}

/// One of them; `None` for a pair that is neither configured nor has a past.
pub async fn status_of(
    assembly: &Assembly,
    live: &dyn LivePairs,
    id: PairId,
) -> Result<Option<PairStatus>, StateError> {
    let state = assembly.store.load(&id).await?;
    let counts = assembly.store.parked_counts(&id).await?;
    let has_a_past = state.is_some() || counts.parked + counts.dead > 0;
    if !has_a_past && assembly.pair(&id).is_none() {
        return Ok(None); // It was planned and never ran: nothing that anybody would miss.
    }
    let state = state.unwrap_or_default();
    let plan = assembly.store.plan(&id).await?.unwrap_or_default();
    let reason = match ended_without_success(&state) {
        true => last_error(assembly, &id).await?,
        false => None,
    };
    Ok(Some(assembly.status_of(id, (state, plan), counts, reason, live)))
}

/// The last run failed or was stopped.
fn ended_without_success(state: &PairState) -> bool {
    state.last_run.as_ref().is_some_and(|run| run.outcome == Outcome::Failed)
}

/// What the last run failed with, from the history.
async fn last_error(assembly: &Assembly, id: &PairId) -> Result<Option<String>, StateError> {
    let runs = assembly.store.runs(id, 1).await?;
    Ok(runs.into_iter().next().and_then(|run| run.error).map(|(_, message)| message))
}

impl Assembly {
    fn status_of(
        &self,
        id: PairId,
        (state, plan): (PairState, Plan),
        counts: ParkedCounts,
        last_error: Option<String>,
        live: &dyn LivePairs,
    ) -> PairStatus {
        let configured = self.pair(&id).is_some();
        let running = live.live(&id);
        let next_run_at = match &running {
            Some(live) => live.next_run_at,
            None if configured => self.next_tick(&id, &state, &plan),
            None => None,
        };
        let running = running.unwrap_or_default();
        let paused =
            plan.paused.filter(|pause| pause.until.is_none_or(|until| self.clock.now() < until));
        let condition = condition(configured, paused.is_some(), &state, &counts, &running);
        let blocked_by = state.blocked.as_ref().map(|block| block.cause);
        let watermark = state.watermark.as_ref().map(|watermark| watermark.change_version());
        let newest = running.newest.or(state.newest_seen);
        PairStatus {
            labels: self.labels(&id),
            state: condition,
            reason: match condition {
                PairCondition::Blocked => state.blocked.map(|block| block.reason),
                PairCondition::Failing => last_error,
                PairCondition::Waiting => running.waits_for,
                PairCondition::Paused => paused.map(|pause| paused_because(&pause)),
                // Its last run was stopped.
                PairCondition::Degraded | PairCondition::Ok => last_error,
                PairCondition::Running | PairCondition::Orphaned => None,
            },
            watermark,
            newest,
            lag_versions: newest
                .zip(watermark)
                .map(|(newest, watermark)| (newest.0 - watermark.0).max(0)),
            caught_up_at: state.caught_up_at,
            run_id: running.run_id,
            failed_runs: state.failed_runs,
            last_run: state.last_run,
            parked: counts.parked,
            dead: counts.dead,
            next_run_at,
            measured: Measured {
                blocked_by,
                waiting_by_reason: counts.by_reason,
                oldest_waiting: counts.oldest,
                compared: plan.compared,
            },
            publication: id.publication,
            target: id.target,
        }
    }

    fn labels(&self, id: &PairId) -> BTreeMap<String, String> {
        let publication = self.config.publications.get(id.publication.as_str());
        publication.map(|publication| publication.labels.clone()).unwrap_or_default()
    }

    /// When a daemon would run the pair next, by its schedule alone.
    fn next_tick(&self, id: &PairId, state: &PairState, plan: &Plan) -> Option<Timestamp> {
        let name = PublicationName::parse(&id.publication)?;
        let publication = self.config.publications.get(&name)?;
        let now = self.clock.now();
        if let Some(planned) =
            plan.next_tick.filter(|_| plan.schedule == schedule_text(publication))
        {
            return Some(planned.max(now));
        }
        match &publication.trigger {
            Trigger::Manual => None,
            Trigger::Cron(cron) => cron.next_after(now, publication.time_zone),
            Trigger::Every(interval) => {
                let Some(last) = &state.last_run else { return Some(now) };
                let interval = TimeDelta::from_std(*interval).ok()?;
                Some(last.ended_at.checked_add_signed(interval)?.max(now))
            }
        }
    }
}

/// `until 2026-01-31T20:00:00Z: a new server`.
fn paused_because(pause: &Pause) -> String {
    let until = match pause.until {
        Some(until) => format!("until {}", until.format("%Y-%m-%dT%H:%M:%SZ")),
        None => "until somebody resumes it".to_owned(),
    };
    match &pause.reason {
        Some(reason) => format!("{until}: {reason}"),
        None => until,
    }
}

fn condition(
    configured: bool,
    paused: bool,
    state: &PairState,
    counts: &ParkedCounts,
    live: &LivePair,
) -> PairCondition {
    if !configured {
        return PairCondition::Orphaned;
    }
    if paused {
        return PairCondition::Paused;
    }
    if state.blocked.is_some() {
        return PairCondition::Blocked;
    }
    // One that was stopped is told of as failed, and is no failure: the next one goes on from there.
    if ended_without_success(state) && state.failed_runs > 0 {
        return PairCondition::Failing;
    }
    if live.run_id.is_some() {
        return PairCondition::Running;
    }
    if live.waits_for.is_some() {
        return PairCondition::Waiting;
    }
    if counts.parked + counts.dead > 0 {
        return PairCondition::Degraded;
    }
    PairCondition::Ok
}
