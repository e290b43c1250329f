//! From the configuration and what is remembered of every pair to what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::agenda::{Agenda, Newcomer, Terms};
use super::serve::DaemonError;
use super::{Assembly, pair_ids};
use crate::clock::Timestamp;
use crate::config::{PublicationConfig, Trigger};
use crate::domain::{Outcome, ParkReason};
use crate::schedule::{ScheduleError, Timetable};
use crate::state::{Outline, PairId, ParkStatus, StateError, StateStore};

/// What the agenda is to be brought to.
pub(super) struct Planned {
    terms: Vec<(String, Terms, Vec<Newcomer>)>,
    pairs: BTreeSet<PairId>,
    assembly: Arc<Assembly>,
}

impl Planned {
    /// Reads what is remembered; nothing changes yet.
    pub(super) async fn read(assembly: Arc<Assembly>) -> Result<Planned, DaemonError> {
        let ids = pair_ids(&assembly.config);
        let outlines = assembly.store.outlines(ids.clone()).await.map_err(DaemonError::State)?;
        let mut outlines: BTreeMap<PairId, Outline> = ids.into_iter().zip(outlines).collect();
        let mut terms = Vec::new();
        for (name, publication) in &assembly.config.publications {
            let found = terms_of(publication).map_err(|source| DaemonError::Schedule {
                publication: name.to_string(),
                source,
            })?;
            let mut newcomers = Vec::new();
            for pair in assembly.pairs.get(name.as_str()).into_iter().flatten() {
                let outline = outlines.remove(&pair.id).unwrap_or_default();
                let newcomer = newcomer(&assembly, &pair.id, outline).await;
                newcomers.push(newcomer.map_err(DaemonError::State)?);
            }
            terms.push((name.to_string(), found, newcomers));
        }
        let pairs = assembly.all_pairs().map(|pair| pair.id.clone()).collect();
        Ok(Planned { terms, pairs, assembly })
    }

    /// What the configuration no longer names leaves.
    pub(super) fn put_on(self, agenda: &mut Agenda, now: Timestamp) {
        let config = &self.assembly.config;
        agenda.set_max_running(config.server.max_running);
        let closed = config.connections.iter();
        agenda.set_closed(closed.map(|(name, c)| (name.to_string(), c.closed.clone())).collect());
        for (name, terms, newcomers) in self.terms {
            agenda.add(&name, terms, newcomers, now);
        }
        agenda.keep_only(|id| self.pairs.contains(id));
    }
}

async fn newcomer(
    assembly: &Assembly,
    id: &PairId,
    Outline { last_run, is_blocked, plan, has_parked }: Outline,
) -> Result<Newcomer, StateError> {
    let failed = last_run.as_ref().is_some_and(|run| run.outcome == Outcome::Failed);
    let parked_due_at = match has_parked {
        true => parked_due_at(&*assembly.store, id).await?,
        false => None,
    };
    Ok(Newcomer {
        id: id.clone(),
        plan,
        last_ended_at: last_run.map(|run| run.ended_at),
        failed: failed && !is_blocked,
        parked_due_at,
    })
}

fn terms_of(publication: &PublicationConfig) -> Result<Terms, ScheduleError> {
    let zone = publication.time_zone.name();
    let comparisons = match &publication.verify.schedule {
        Some(cron) => Timetable::cron(cron.as_str(), zone)?,
        None => Timetable::Never,
    };
    let verify_schedule = publication.verify.schedule.as_ref();
    Ok(Terms {
        timetable: timetable(publication)?,
        schedule: schedule_text(publication),
        spread: publication.spread,
        comparisons,
        verify_schedule: verify_schedule.map_or_else(String::new, |cron| format!("{cron} {zone}")),
        after: publication.after.iter().map(ToString::to_string).collect(),
        source: publication.source.to_string(),
        first_delay: publication.retry.first_delay,
    })
}

pub(super) fn timetable(publication: &PublicationConfig) -> Result<Timetable, ScheduleError> {
    match &publication.trigger {
        Trigger::Manual => Ok(Timetable::Never),
        Trigger::Every(interval) => Timetable::every(*interval),
        Trigger::Cron(cron) => Timetable::cron(cron.as_str(), publication.time_zone.name()),
    }
}

/// What a plan was made by: with another text it is made anew.
pub(super) fn schedule_text(publication: &PublicationConfig) -> String {
    let spread = publication.spread.as_secs();
    match &publication.trigger {
        Trigger::Manual => String::new(),
        Trigger::Every(interval) => format!("every {}s +{spread}s", interval.as_secs_f64()),
        Trigger::Cron(cron) => format!("{cron} {} +{spread}s", publication.time_zone),
    }
}

/// When the earliest parked item of a pair is due: not one that is dead, nor a closed resource.
pub(super) async fn parked_due_at(
    store: &dyn StateStore,
    pair: &PairId,
) -> Result<Option<Timestamp>, StateError> {
    const PAGE: usize = 1000;
    let mut earliest: Option<Timestamp> = None;
    let mut after: Option<String> = None;
    loop {
        let page = store.parked(pair, after.as_deref(), PAGE).await?;
        for item in &page {
            if item.status == ParkStatus::Parked && item.reason != ParkReason::ResourceClosed {
                let due = item.next_attempt_at;
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
        }
        if page.len() < PAGE {
            return Ok(earliest);
        }
        after = page.last().map(|item| item.id.clone());
    }
}
