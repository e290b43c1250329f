//! From a configuration to pairs that can run: which API, which source, which target, which policy.
//!
//! What lives here: the wiring that every command shares. What does not: what a run does
//! (`engine/`), what is asked of the daemon over HTTP (`server/`). The one thing to know:
//! [`assemble`] sends nothing and reads no secret, so a connection that is down or whose secret is
//! missing harms the pairs that use it and nobody else.
//!
//! [`desk`] answers what is asked of pairs, [`select`] finds the pairs that somebody means,
//! [`status`] says how they are, [`serve`] is the life of the process, in which [`at_work`] runs them
//! when they are due, as [`agenda`] says, and [`backups`] keeps exports of the state.

pub mod agenda;
pub mod at_work;
pub mod backups;
mod check;
pub mod comparisons;
pub mod desk;
mod control;
mod front;
mod group;
mod planning;
mod reload;
pub mod select;
pub mod serve;
pub mod status;
#[cfg(feature = "otlp")]
mod traces;
mod verbosity;
pub mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{
    Config, ConnectionConfig, ConnectionName, LimitConfig, LimitName, OnMissingSnapshot, Percent,
    PublicationConfig, PublicationName, Secret,
};
use crate::domain::Selection;
use crate::edfi::{Api, ConnectionSettings};
use crate::engine::observe::{Observer, Observers};
use crate::engine::run::Surroundings;
use crate::engine::runner::Runner;
use crate::engine::{DeleteBrake, FirstOverlap, FirstRun, Pair, Policy, Publish, RetryPolicy};
use crate::http::{
    Cause, ClientTls, ClosedUntil, HttpError, HttpObserver, Origins, SecretSource, SharedLimit,
};
use crate::metrics::Metrics;
use crate::sources::Isolation;
use crate::sources::edfi::{EdfiSource, PageRoom};
use crate::state::{PairId, StateError, StateStore};
use crate::targets::edfi::EdfiTarget;
use crate::telemetry;

use crate::desk::PairCondition;

/// Writes in flight at once for one pair; the connection's ceiling and the origin's adaptive limit
/// lie below it or above it, and the lowest counts.
const MAX_IN_FLIGHT: usize = 512;

/// What a run that is killed may have to read again, in time; each look is two requests.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Every pair of a configuration, with what they share.
pub struct Assembly {
    pub config: Config,
    /// By publication, in the order in which the configuration names the targets.
    pub pairs: BTreeMap<String, Vec<Pair>>,
    /// One for each connection, shared by every pair that uses it.
    pub connections: BTreeMap<String, Arc<Api>>,
    pub store: Arc<dyn StateStore>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    shared: Shared,
}

/// What connections share, and stays when some of them change.
struct Shared {
    origins: Origins,
    pages: PageRoom,
    limits: BTreeMap<LimitName, (LimitConfig, Arc<SharedLimit>)>,
    env: Arc<BTreeMap<String, String>>,
    stop: CancellationToken,
}

/// Why a configuration could not be turned into pairs.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    #[error("connection `{connection}` cannot be used")]
    Connection {
        connection: String,
        #[source]
        source: HttpError,
    },

    /// The configuration was not checked: its reader refuses this.
    #[error("publication `{publication}` names the connection `{connection}`, which there is not")]
    UnknownConnection { publication: String, connection: String },
}

/// Opens the state that the configuration names. Blocks while it reads.
pub fn open_state(config: &Config) -> Result<Arc<dyn StateStore>, StateError> {
    crate::state::open(&config.state.path)
}

/// Where comparisons keep what they have read (`engine::verify`).
pub fn spool_directory(config: &Config) -> PathBuf {
    config.state.path.join("verify")
}

/// Makes every pair of `config`; `env` is where `{env: NAME}` secrets are looked up.
pub fn assemble(
    config: Config,
    env: &BTreeMap<String, String>,
    store: Arc<dyn StateStore>,
    clock: Clock,
) -> Result<Assembly, AssemblyError> {
    Ok(prepare(config, env, clock, &CancellationToken::new())?.on(store))
}

/// Everything of an [`Assembly`] but its state, so that the one can be made while the other is
/// opened.
pub struct Prepared {
    config: Config,
    pairs: BTreeMap<String, Vec<Pair>>,
    connections: BTreeMap<String, Arc<Api>>,
    clock: Clock,
    metrics: Arc<Metrics>,
    shared: Shared,
}

/// Makes every pair of `config`, of which no wait for an API outlasts `stop`: give it the token that
/// runs are stopped by, or a pause that a server asked for holds up the end of the process.
pub fn prepare(
    config: Config,
    env: &BTreeMap<String, String>,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Prepared, AssemblyError> {
    let metrics = Arc::new(Metrics::new(
        &pair_ids(&config),
        &PairCondition::WORDS,
        config.server.metrics_resource_pairs,
    ));
    let shared = Shared {
        origins: Origins::new(clock.clone()),
        pages: PageRoom::new(),
        limits: limits(&config, &BTreeMap::new()),
        env: Arc::new(env.clone()),
        stop: stop.clone(),
    };
    put_together(config, clock, metrics, shared, None)
}

impl Prepared {
    pub fn on(self, store: Arc<dyn StateStore>) -> Assembly {
        let Prepared { config, pairs, connections, clock, metrics, shared } = self;
        let counting = Arc::clone(&metrics);
        store.watch_commits(Arc::new(move |took| counting.committed(took)));
        let counting = Arc::clone(&metrics);
        store.watch_faults(Arc::new(move |why| counting.state_failed(why)));
        Assembly { config, pairs, connections, store, clock, metrics, shared }
    }
}

impl Assembly {
    /// The same process under another configuration: what has not changed stays as it is, with its
    /// tokens and limits and whatever it has learnt.
    pub fn under(&self, config: Config) -> Result<Assembly, AssemblyError> {
        self.metrics.watch_pairs(&pair_ids(&config));
        let shared = Shared {
            origins: self.shared.origins.clone(),
            pages: self.shared.pages.clone(),
            limits: limits(&config, &self.shared.limits),
            env: Arc::clone(&self.shared.env),
            stop: self.shared.stop.clone(),
        };
        let (metrics, clock) = (Arc::clone(&self.metrics), self.clock.clone());
        let prepared = put_together(config, clock, metrics, shared, Some(self))?;
        Ok(prepared.on(Arc::clone(&self.store)))
    }

    /// Where `{env: NAME}` secrets are looked up.
    fn env(&self) -> &BTreeMap<String, String> {
        &self.shared.env
    }

    /// Whether looking for the secrets of a connection asks the disk.
    pub fn has_secrets_in_files(&self, connection: &str) -> bool {
        let config = self.config.connections.get(connection);
        config.is_some_and(|config| config.key.is_in_a_file() || config.secret.is_in_a_file())
    }

    /// Why the secrets of a connection cannot be read now; `None` when they can.
    pub fn locked(&self, connection: &str) -> Option<String> {
        let config = self.config.connections.get(connection)?;
        let mut secrets = [&config.key, &config.secret].into_iter();
        let error = secrets.find_map(|secret| secret.read(&self.shared.env).err())?;
        Some(error.to_string())
    }
}

fn put_together(
    config: Config,
    clock: Clock,
    metrics: Arc<Metrics>,
    shared: Shared,
    before: Option<&Assembly>,
) -> Result<Prepared, AssemblyError> {
    let connections = connections(&config, &metrics, &shared, before)?;
    let mut pairs = BTreeMap::new();
    for (name, publication) in &config.publications {
        let known = before.and_then(|before| before.unchanged(&config, name, &connections));
        let of_publication = match known {
            Some(pairs) => pairs,
            None => pairs_of_publication(&config, name, publication, &connections, &shared.pages)?,
        };
        pairs.insert(name.to_string(), of_publication);
    }
    Ok(Prepared { config, pairs, connections, clock, metrics, shared })
}

/// The names of every pair of a configuration, in order.
pub fn pair_ids(config: &Config) -> Vec<PairId> {
    let mut ids = Vec::new();
    for (name, publication) in &config.publications {
        for target in &publication.targets {
            ids.push(pair_id(name, target));
        }
    }
    ids
}

impl Assembly {
    /// What runs of these pairs need; the metrics watch beside `observers`.
    pub fn surroundings(
        &self,
        observers: Vec<Arc<dyn Observer>>,
        stop: CancellationToken,
    ) -> Surroundings {
        let metrics: Arc<dyn Observer> = Arc::clone(&self.metrics) as Arc<dyn Observer>;
        let mut all = vec![metrics];
        all.extend(observers);
        Surroundings {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            observers: Observers(all),
            stop,
            configured: Some(self.all_pairs().cloned().collect()),
        }
    }

    pub fn runner(&self, observers: Vec<Arc<dyn Observer>>, stop: CancellationToken) -> Runner {
        Runner::new(self.surroundings(observers, stop))
    }

    /// Every pair, in order of name.
    pub fn all_pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.values().flatten()
    }

    pub fn pair(&self, id: &PairId) -> Option<&Pair> {
        self.pairs.get(&id.publication)?.iter().find(|pair| pair.id == *id)
    }
}

/// What is wrong with the secrets of a connection, each with its key path.
pub fn unreadable(
    name: &ConnectionName,
    connection: &ConnectionConfig,
    env: &BTreeMap<String, String>,
) -> Vec<String> {
    let secrets = [("key", &connection.key), ("secret", &connection.secret)].into_iter();
    let problems = secrets.filter_map(|(key, secret)| {
        let error = secret.read(env).err()?;
        Some(format!("connections.{name}.{key}: {}", telemetry::chain(&error)))
    });
    problems.collect()
}

fn pair_id(publication: &PublicationName, target: &ConnectionName) -> PairId {
    PairId { publication: publication.to_string(), target: target.to_string() }
}

impl Assembly {
    /// The pairs of a publication, when neither it nor what it uses is another under `config`.
    fn unchanged(
        &self,
        config: &Config,
        name: &PublicationName,
        connections: &BTreeMap<String, Arc<Api>>,
    ) -> Option<Vec<Pair>> {
        let publication = config.publications.get(name)?;
        let is_same = |connection: &ConnectionName| {
            let before = self.connections.get(connection.as_str());
            let now = connections.get(connection.as_str());
            before.zip(now).is_some_and(|(before, now)| Arc::ptr_eq(before, now))
        };
        let writes_alone = |target: &ConnectionName| {
            self.config.is_sole_writer(name, target) == config.is_sole_writer(name, target)
        };
        let stays = self.config.publications.get(name) == Some(publication)
            && is_same(&publication.source)
            && publication.targets.iter().all(|target| is_same(target) && writes_alone(target));
        if stays { self.pairs.get(name.as_str()).cloned() } else { None }
    }
}

/// One [`Api`] for each connection, whether a publication uses it or not: `check` looks at all.
/// Those that are the same as `before` are the same.
fn connections(
    config: &Config,
    metrics: &Arc<Metrics>,
    shared: &Shared,
    before: Option<&Assembly>,
) -> Result<BTreeMap<String, Arc<Api>>, AssemblyError> {
    let mut connections = BTreeMap::new();
    for (name, connection) in &config.connections {
        let limit = connection.limit.as_ref().and_then(|limit| shared.limits.get(limit));
        if let Some(known) = before.and_then(|before| before.same_api(name, connection, limit)) {
            connections.insert(name.to_string(), known);
            continue;
        }
        let observer = Arc::clone(metrics) as Arc<dyn HttpObserver>;
        let limit = limit.map(|(_, limit)| Arc::clone(limit));
        let settings = settings(name, connection, &shared.env, limit);
        let api = Api::new_until(settings, &shared.origins, observer, shared.stop.clone());
        let api = api
            .map_err(|source| AssemblyError::Connection { connection: name.to_string(), source })?;
        connections.insert(name.to_string(), api);
    }
    Ok(connections)
}

impl Assembly {
    fn same_api(
        &self,
        name: &ConnectionName,
        connection: &ConnectionConfig,
        limit: Option<&(LimitConfig, Arc<SharedLimit>)>,
    ) -> Option<Arc<Api>> {
        let before = self.config.connections.get(name).filter(|before| *before == connection)?;
        let limit_before = before.limit.as_ref().and_then(|limit| self.shared.limits.get(limit));
        let same_limit = limit.map(|(config, _)| config) == limit_before.map(|(config, _)| config);
        if same_limit { self.connections.get(name.as_str()).cloned() } else { None }
    }
}

/// Those that are the same as before keep their permits, with what is in flight.
fn limits(
    config: &Config,
    before: &BTreeMap<LimitName, (LimitConfig, Arc<SharedLimit>)>,
) -> BTreeMap<LimitName, (LimitConfig, Arc<SharedLimit>)> {
    let mut limits = BTreeMap::new();
    for (name, limit) in &config.limits {
        let known = before.get(name).filter(|(before, _)| before == limit).cloned();
        let made = || {
            let rate = limit.max_requests_per_second.unwrap_or(0);
            (limit.clone(), Arc::new(SharedLimit::new(limit.max_concurrency, rate)))
        };
        limits.insert(name.clone(), known.unwrap_or_else(made));
    }
    limits
}

fn settings(
    name: &ConnectionName,
    connection: &ConnectionConfig,
    env: &Arc<BTreeMap<String, String>>,
    shared_limit: Option<Arc<SharedLimit>>,
) -> ConnectionSettings {
    ConnectionSettings {
        name: name.to_string(),
        url: connection.url.clone(),
        key: secret_source(&connection.key, env),
        secret: secret_source(&connection.secret, env),
        token_url: connection.token_url.clone(),
        scope: connection.scope.clone(),
        school_year: connection.school_year,
        instance: connection.instance.clone(),
        tls: ClientTls {
            authorities: connection.tls.authorities.clone(),
            certificate: connection.tls.shown.clone().map(|shown| (shown.certificate, shown.key)),
        },
        timeout: connection.timeout,
        max_concurrency: connection.max_concurrency,
        max_requests_per_second: connection.max_requests_per_second.unwrap_or(0),
        shared_limit,
        closed_until: closed_until(connection),
        look_again_after: crate::edfi::LOOK_AGAIN_AFTER,
    }
}

fn closed_until(connection: &ConnectionConfig) -> Option<ClosedUntil> {
    if connection.closed.is_empty() {
        return None;
    }
    let closed = connection.closed.clone();
    Some(Arc::new(move |now| closed.iter().filter_map(|hours| hours.closed_until(now)).max()))
}

/// Read at each renewal of a token, so that a file that changed or appeared is seen.
fn secret_source(secret: &Secret, env: &Arc<BTreeMap<String, String>>) -> SecretSource {
    let (secret, env) = (secret.clone(), Arc::clone(env));
    Arc::new(move || secret.read(&env).map_err(|error| Arc::new(error) as Cause))
}

fn pairs_of_publication(
    config: &Config,
    name: &PublicationName,
    publication: &PublicationConfig,
    connections: &BTreeMap<String, Arc<Api>>,
    pages: &PageRoom,
) -> Result<Vec<Pair>, AssemblyError> {
    let api = |connection: &ConnectionName| {
        connections.get(connection.as_str()).ok_or_else(|| AssemblyError::UnknownConnection {
            publication: name.to_string(),
            connection: connection.to_string(),
        })
    };
    let page_size = usize::try_from(publication.page_size).unwrap_or(usize::MAX);
    let source = Arc::clone(api(&publication.source)?);
    let source = Arc::new(EdfiSource::new(source, page_size, pages.clone()));
    let mut pairs = Vec::new();
    for target in &publication.targets {
        let ceiling = config.connections.get(target).map_or(1, |c| c.max_concurrency);
        let sole_writer = config.is_sole_writer(name, target);
        pairs.push(Pair {
            id: pair_id(name, target),
            source: source.clone(),
            target: Arc::new(EdfiTarget::new(Arc::clone(api(target)?))),
            policy: Arc::new(policy(publication, sole_writer, ceiling)),
        });
    }
    Ok(pairs)
}

fn policy(publication: &PublicationConfig, sole_writer: bool, ceiling: usize) -> Policy {
    let resources = &publication.resources;
    let retry = &publication.retry;
    Policy {
        isolation: isolation(publication.isolation),
        on_missing_snapshot: match publication.on_missing_snapshot {
            OnMissingSnapshot::Fail => None,
            OnMissingSnapshot::ReadAs(other) => Some(isolation(other)),
        },
        key_changes: publish(publication.key_changes),
        deletes: publish(publication.deletes),
        selection: Selection {
            include: resources.include.clone(),
            include_only: resources.include_only.clone(),
            exclude: resources.exclude.clone(),
            exclude_only: resources.exclude_only.clone(),
            descriptors: resources.descriptors,
        },
        overlap: publication.overlap,
        first_overlap: match publication.first_overlap_versions {
            crate::config::FirstOverlap::Versions(versions) => FirstOverlap::Versions(versions),
            crate::config::FirstOverlap::All => FirstOverlap::All,
        },
        first_run: match publication.first_run {
            crate::config::FirstRun::Full => FirstRun::Full,
            crate::config::FirstRun::FromNow => FirstRun::FromNow,
            crate::config::FirstRun::Refuse => FirstRun::Refuse,
        },
        brake: DeleteBrake {
            percent: percent(publication.max_deletes),
            above: publication.max_deletes_above,
        },
        retry: RetryPolicy {
            max_attempts: retry.max_attempts,
            first_delay: retry.first_delay,
            max_delay: retry.max_delay,
            max_parked: retry.max_parked,
        },
        sole_writer,
        shared: publication.shared.clone(),
        create_only: publication.create_only.clone(),
        look_again_after: LOOK_AGAIN_AFTER,
        max_in_flight: MAX_IN_FLIGHT.min(ceiling),
    }
}

fn isolation(isolation: crate::config::Isolation) -> Isolation {
    match isolation {
        crate::config::Isolation::Snapshot => Isolation::Snapshot,
        crate::config::Isolation::Bounded => Isolation::Bounded,
        crate::config::Isolation::Open => Isolation::Open,
        crate::config::Isolation::Combined => Isolation::Combined,
    }
}

fn publish(publish: crate::config::Publish) -> Publish {
    match publish {
        crate::config::Publish::Publish => Publish::Publish,
        crate::config::Publish::Skip => Publish::Skip,
    }
}

/// The configuration counts in hundredths of a percent; of ten thousand that is a whole number.
fn percent(percent: Percent) -> f64 {
    let hundredths = u32::try_from(percent.of(10_000)).unwrap_or(10_000);
    f64::from(hundredths) / 100.0
}

#[cfg(test)]
mod tests;
