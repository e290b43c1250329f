//! Both ends asked, and nothing written: what a run would do, what connections can do; and whether
//! the ends are equal, which is work of the daemon.

use super::{FleetDesk, of_run, of_state};
use crate::config::ConnectionConfig;
use crate::daemon::check::check_all;
use crate::daemon::select::SelectError;
use crate::daemon::unreadable;
use crate::desk::wording::many;
use crate::desk::{
    Caller, Checks, Comparing, ComparisonShown, DeskError, PlanShown, ResourcePlanned, Selectors,
};
use crate::domain::{ResourceGraph, ResourcePath};
use crate::engine::plan::plan;
use crate::engine::verify::VerifyOptions;
use crate::engine::{Pair, RunError};
use crate::state::PairId;

impl FleetDesk {
    pub(super) async fn planned(&self, pair: &Pair) -> Result<PlanShown, DeskError> {
        self.refuse_without_secrets(pair)?;
        let store = &self.assembly.store;
        let plan = plan(&**store, pair).await.map_err(of_run)?;
        let parked = store.parked_counts(&pair.id).await.map_err(of_state)?.parked;
        let resources = plan.resources.into_iter().map(|resource| ResourcePlanned {
            resource: resource.resource.to_string(),
            key_changes: resource.key_changes,
            upserts: resource.upserts,
            deletes: resource.deletes,
        });
        Ok(PlanShown {
            publication: plan.publication,
            target: plan.target,
            window: plan.window,
            estimate_seconds: plan.estimate_seconds,
            parked,
            resources: resources.collect(),
        })
    }

    pub(super) async fn checked(
        &self,
        by: &Caller,
        which: &Selectors,
    ) -> Result<Checks, DeskError> {
        let pairs = self.chosen(by, which)?;
        let everything = by.labels.is_empty() && *which == Selectors::default();
        if pairs.is_empty() && !everything {
            return Err(DeskError::NotThere(SelectError::Nothing.to_string()));
        }
        Ok(Checks { checks: check_all(&self.assembly, &pairs, everything).await })
    }

    pub(super) async fn begin_comparison(
        &self,
        by: &Caller,
        pair: &Pair,
        wanted: &Comparing,
    ) -> Result<ComparisonShown, DeskError> {
        if wanted.delete_extra && !pair.policy.sole_writer {
            let publication = pair.id.publication.clone();
            let error = RunError::NotSoleWriter { publication };
            return Err(DeskError::Refused(error.message()));
        }
        let control = self.control()?;
        let options = self.options_of(pair, wanted).await?;
        let begun = control.compare(&pair.id, &options)?;
        let writes = wanted.repair || wanted.delete_extra;
        let action = if writes { "repair" } else { "verify" };
        self.note(self.record(by, action, Some(&pair.id), String::new(), None)).await?;
        Ok(begun)
    }

    /// What a person asks of `verify`, with the names of resources as the APIs spell them.
    pub async fn options_of(
        &self,
        pair: &Pair,
        wanted: &Comparing,
    ) -> Result<VerifyOptions, DeskError> {
        let publication = self.assembly.config.publications.get(pair.id.publication.as_str());
        let always = publication.is_some_and(|publication| publication.verify.content);
        Ok(VerifyOptions {
            resources: resources(pair, &wanted.resources).await?,
            content: wanted.content || always,
            repair: wanted.repair,
            delete_extra: wanted.delete_extra,
            allow_deletes: wanted.allow_deletes,
        })
    }

    pub(super) async fn show_comparison(
        &self,
        by: &Caller,
        id: &str,
    ) -> Result<ComparisonShown, DeskError> {
        let (pair, mut shown) = self.asked_comparison(by, id)?;
        if shown.ended_at.is_none() && shown.waits_for.is_none() {
            let under_way = self.assembly.store.comparison(&pair).await.map_err(of_state)?;
            shown.compared = under_way.map_or(0, |under_way| many(under_way.compared.len()));
        }
        Ok(shown)
    }

    pub(super) async fn end_comparison(&self, by: &Caller, id: &str) -> Result<(), DeskError> {
        let (pair, shown) = self.asked_comparison(by, id)?;
        if !self.control()?.cancel_comparison(&shown.id) {
            return Err(DeskError::Conflict("the comparison has ended".to_owned()));
        }
        self.note(self.record(by, "cancel", Some(&pair), "a comparison".to_owned(), None)).await
    }

    fn asked_comparison(
        &self,
        by: &Caller,
        id: &str,
    ) -> Result<(PairId, ComparisonShown), DeskError> {
        let found = self.control()?.comparison(id).filter(|(pair, _)| self.sees(by, pair));
        found.ok_or_else(|| {
            DeskError::NotThere(format!(
                "there is no comparison `{id}`: a daemon that was started again forgets who asked, \
                 and whoever asks the same again goes on from where it stopped"
            ))
        })
    }

    /// A secret that cannot be read is a mistake of the configuration, and is said as one.
    fn refuse_without_secrets(&self, pair: &Pair) -> Result<(), DeskError> {
        let config = &self.assembly.config;
        let publication = config.publications.get(pair.id.publication.as_str());
        let ends = config.connections.iter().filter(|(name, _)| {
            name.as_str() == pair.id.target
                || publication.is_some_and(|publication| publication.source == **name)
        });
        let env = self.assembly.env();
        let what = |(name, connection): (_, &ConnectionConfig)| unreadable(name, connection, env);
        let problems: Vec<String> = ends.flat_map(what).collect();
        if problems.is_empty() { Ok(()) } else { Err(DeskError::Refused(problems.join("\n"))) }
    }
}

async fn resources(pair: &Pair, names: &[String]) -> Result<Vec<ResourcePath>, DeskError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let source = pair.source.resources().await.map_err(RunError::Source).map_err(of_run)?;
    let target = pair.target.resources().await.map_err(RunError::Target).map_err(of_run)?;
    let both = target.joined_with(&source);
    names.iter().map(|name| resource(&both, name)).collect()
}

fn resource(known: &ResourceGraph, name: &str) -> Result<ResourcePath, DeskError> {
    let wanted = if name.starts_with('/') { name.to_owned() } else { format!("/ed-fi/{name}") };
    let found = known.resources().find(|resource| resource.as_str() == wanted);
    let found = found.or_else(|| known.resources().find(|r| r.collection() == name));
    found.cloned().ok_or_else(|| {
        let near = known
            .resources()
            .map(|resource| (strsim::damerau_levenshtein(resource.as_str(), &wanted), resource))
            .min();
        let hint = near.map(|(_, near)| format!("; did you mean `{near}`?")).unwrap_or_default();
        DeskError::Refused(format!("neither end has a resource `{name}`{hint}"))
    })
}
