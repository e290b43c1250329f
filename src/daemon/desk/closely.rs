//! One pair, looked at closely.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FleetDesk, of_run, of_state};
use crate::config::{ConnectionName, Isolation, PublicationName, Trigger};
use crate::desk::{
    Blocked, Compared, ConnectionDetail, DeskError, OrderedResource, PairDetail, ResourceOrder,
    Unfinished, Waiting,
};
use crate::domain::ResourcePath;
use crate::engine::{Pair, RunError};
use crate::state::{PairId, ParkStatus, Verified};

impl FleetDesk {
    pub(super) async fn detail(&self, pair: &Pair) -> Result<PairDetail, DeskError> {
        let store = &self.assembly.store;
        let state = store.load(&pair.id).await.map_err(of_state)?.unwrap_or_default();
        let coverage = store.coverage(&pair.id).await.map_err(of_state)?;
        let plan = store.plan(&pair.id).await.map_err(of_state)?.unwrap_or_default();
        let mut waiting: BTreeMap<ResourcePath, Waiting> = BTreeMap::new();
        for item in self.all_of(&pair.id).await? {
            let of_resource = waiting.entry(item.resource).or_default();
            match item.status {
                ParkStatus::Parked => of_resource.parked += 1,
                ParkStatus::Dead => of_resource.dead += 1,
            }
        }
        let compared = store.verified(&pair.id).await.map_err(of_state)?;
        let detail = PairDetail {
            is_sole_writer: pair.policy.sole_writer,
            unfinished: self.unfinished(&pair.id).await?,
            blocked: state.blocked.map(|block| Blocked {
                cause: block.cause,
                reason: block.reason,
                since: block.since,
                deletes: block.deletes.map(|deletes| (deletes.resource, deletes.count)),
            }),
            paused: plan.paused.map(|pause| pause.until),
            spoken_for: coverage.spoken_for,
            begun: coverage.begun.into_keys().collect(),
            waiting,
            compared: compared.into_iter().map(seen).collect(),
            ..self.configured_detail(&pair.id)
        };
        Ok(detail)
    }

    /// What the configuration says.
    fn configured_detail(&self, id: &PairId) -> PairDetail {
        let config = &self.assembly.config;
        let publication =
            PublicationName::parse(&id.publication).and_then(|name| config.publications.get(&name));
        let Some(publication) = publication else { return PairDetail::default() };
        let target = ConnectionName::parse(&id.target);
        let ends = [Some(publication.source.clone()), target];
        PairDetail {
            schedule: match &publication.trigger {
                Trigger::Manual => String::new(),
                Trigger::Every(interval) => {
                    format!("every {}", humantime::format_duration(*interval))
                }
                Trigger::Cron(cron) => format!("{cron} ({})", publication.time_zone),
            },
            isolation: match publication.isolation {
                Isolation::Snapshot => "snapshot",
                Isolation::Bounded => "bounded",
                Isolation::Open => "open",
                Isolation::Combined => "combined",
            },
            connections: ends.iter().flatten().filter_map(|name| self.connection(name)).collect(),
            ..PairDetail::default()
        }
    }

    fn connection(&self, name: &ConnectionName) -> Option<ConnectionDetail> {
        let config = self.assembly.config.connections.get(name)?;
        let api = self.assembly.connections.get(name.as_str())?;
        Some(ConnectionDetail {
            name: name.to_string(),
            url: config.url.to_string(),
            in_force: api.limit_in_force().min(config.max_concurrency),
            ceiling: config.max_concurrency,
            locked: self.assembly.locked(name.as_str()),
        })
    }

    async fn unfinished(&self, id: &PairId) -> Result<Option<Unfinished>, DeskError> {
        let store = &self.assembly.store;
        let Some(journal) = store.journal(id).await.map_err(of_state)? else { return Ok(None) };
        let finished = store.finished(id).await.map_err(of_state)?;
        Ok(Some(Unfinished {
            run: journal.run_id,
            window: journal.window,
            reach: journal.reach,
            began_at: journal.began_at,
            finished: finished.into_iter().map(|finished| finished.resource).collect(),
        }))
    }

    /// Both ends are asked for what they usually have told already.
    pub(super) async fn in_order(
        &self,
        pair: &Pair,
        within: Duration,
    ) -> Result<ResourceOrder, DeskError> {
        let asking = tokio::time::timeout(within, ordered(pair));
        match asking.await {
            Ok(ordered) => ordered.map_err(of_run),
            Err(_) => Err(DeskError::Failed(format!(
                "{}: an end does not say now in which order its resources go; `tidemark check {}` \
                 looks at both",
                pair.id, pair.id.publication
            ))),
        }
    }
}

async fn ordered(pair: &Pair) -> Result<ResourceOrder, RunError> {
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let both = target.joined_with(&source);
    let selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    let ordered = both.in_order().into_iter().filter(|resource| source.contains(resource));
    let resources = ordered.map(|resource| OrderedResource {
        after: both.prerequisites(&resource).cloned().collect(),
        is_selected: selected.contains(&resource),
        resource,
    });
    Ok(ResourceOrder { resources: resources.collect() })
}

fn seen(found: Verified) -> (ResourcePath, Compared) {
    let differs = found.missing + found.extra.unwrap_or(0) + found.different + found.parked > 0;
    (found.resource, Compared { at: found.at, is_equal: !differs })
}
