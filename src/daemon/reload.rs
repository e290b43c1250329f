//! Another configuration while the daemon runs: seen on disk, or said by a signal.
//!
//! The one thing to know: it is read and checked whole before anything of it counts. One with
//! mistakes leaves the last good one in force, and says so until it is mended. Files are compared by
//! what is in them, so it does not matter how they were replaced: written over, renamed, or by a
//! link that leads elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::at_work::AtWork;
use crate::config::{self, Config, ConfigProblems, Loaded, Place, Problem};
use crate::desk::ConfigurationProblem;
use crate::server::Server;
use crate::telemetry;

/// Between two looks at the files. What changes is taken when it has stood still for one of them, so
/// that files which are still being written are not.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Where the configuration is looked for again.
#[derive(Clone, Debug)]
pub struct Reloading {
    pub path: PathBuf,
    pub env: BTreeMap<String, String>,
    /// Somebody wants it to be read now.
    pub now: Arc<Notify>,
}

pub(super) struct Reloader {
    reloading: Reloading,
    at_work: Arc<AtWork>,
    server: Arc<Server>,
    /// Of the configuration that was read last, good or bad.
    read: Option<String>,
    /// As the last look found it.
    seen: Option<String>,
    /// Files of rows that it named.
    files: Vec<PathBuf>,
}

impl Reloader {
    pub(super) fn new(reloading: Reloading, at_work: Arc<AtWork>, server: Arc<Server>) -> Reloader {
        Reloader { reloading, at_work, server, read: None, seen: None, files: Vec::new() }
    }

    /// Looks until `stop`.
    pub(super) async fn go_on(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.reloading.now.notified() => true,
                () = tokio::time::sleep(LOOK_AGAIN) => false,
            };
            let found = self.fingerprint().await;
            let stands_still = self.seen.as_ref() == Some(&found);
            let is_another = self.read.as_ref() != Some(&found);
            self.seen = Some(found.clone());
            if asked || (stands_still && is_another) {
                self.read = Some(found);
                self.reload(asked).await;
            }
        }
    }

    async fn fingerprint(&self) -> String {
        let (path, files) = (self.reloading.path.clone(), self.files.clone());
        let looking = tokio::task::spawn_blocking(move || config::fingerprint(&path, &files));
        looking.await.expect("looking at files does not panic")
    }

    async fn reload(&mut self, asked: bool) {
        let Reloading { path, env, .. } = self.reloading.clone();
        let reading = tokio::task::spawn_blocking(move || config::load(&path, &env));
        match reading.await.expect("reading a configuration does not panic") {
            Ok(loaded) => self.take(loaded, asked).await,
            Err(problems) => self.refuse(&problems),
        }
    }

    async fn take(&mut self, loaded: Loaded, asked: bool) {
        let Loaded { config, warnings, files } = loaded;
        if self.files != files {
            self.files = files;
            // They are part of what is compared from now on.
            let found = self.fingerprint().await;
            (self.read, self.seen) = (Some(found.clone()), Some(found));
        }
        let before = self.at_work.assembly();
        let hash = self.read.clone().unwrap_or_default();
        let config = with_what_stays(config, &before.config);
        if config.publications.is_empty() && !before.config.publications.is_empty() {
            // A file that is being written is empty at first; nobody means to stop everything so.
            return self.say_refused(as_a_whole(
                "the configuration on disk names no publication: start again if that is meant",
            ));
        }
        let was_refused = self.at_work.refused_configuration().is_some();
        if config == before.config {
            before.metrics.configured(short(&hash));
            if asked || was_refused {
                self.at_work.refuse_configuration(None);
                before.metrics.reloaded(Some(before.clock.now()));
                tracing::info!("the configuration on disk is the one in force");
            }
            return;
        }
        for warning in &warnings {
            tracing::warn!(%warning, "the configuration");
        }
        let assembled = before.under(config).map(Arc::new);
        let assembly = match assembled {
            Ok(assembly) => assembly,
            Err(error) => return self.say_refused(as_a_whole(&telemetry::chain(&error))),
        };
        if let Err(error) = self.at_work.put_in_force(Arc::clone(&assembly)).await {
            return self.say_refused(as_a_whole(&telemetry::chain(&error)));
        }
        self.server.admit(&assembly.config.server, &self.reloading.env);
        self.at_work.refuse_configuration(None);
        assembly.metrics.reloaded(Some(assembly.clock.now()));
        assembly.metrics.configured(short(&hash));
        tracing::info!(
            publications = assembly.pairs.len(),
            pairs = assembly.all_pairs().count(),
            "another configuration is in force"
        );
    }

    fn refuse(&self, problems: &ConfigProblems) {
        for problem in &problems.0 {
            tracing::error!(%problem, "the configuration on disk has a mistake");
        }
        self.say_refused(problems.0.iter().map(problem_shown).collect());
    }

    fn say_refused(&self, why: Vec<ConfigurationProblem>) {
        tracing::error!("the last good configuration stays in force; mend the one on disk");
        self.at_work.refuse_configuration(Some(why));
        self.at_work.assembly().metrics.reloaded(None);
    }
}

/// Enough of a hash to tell two configurations apart.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Not about any one place.
fn as_a_whole(message: &str) -> Vec<ConfigurationProblem> {
    vec![ConfigurationProblem { file: None, line: None, message: message.to_owned() }]
}

fn problem_shown(problem: &Problem) -> ConfigurationProblem {
    let (file, line) = match &problem.place {
        Some(Place::File { file, line, .. }) => (Some(file.clone()), u64::try_from(*line).ok()),
        Some(Place::Variable(name)) => (Some(name.clone()), None),
        None => (None, None),
    };
    let message = match problem.key_path.is_empty() {
        true => problem.message.clone(),
        false => format!("{}: {}", problem.key_path, problem.message),
    };
    ConfigurationProblem { file, line, message }
}

/// What a process cannot change while it runs stays as it was.
fn with_what_stays(mut config: Config, before: &Config) -> Config {
    let asked = (config.state.clone(), config.server.clone(), config.otlp.clone());
    config.state = before.state.clone();
    config.otlp.clone_from(&before.otlp);
    config.server.listen = before.server.listen;
    config.server.metrics_listen = before.server.metrics_listen;
    config.server.tls.clone_from(&before.server.tls);
    config.server.metrics_resource_pairs = before.server.metrics_resource_pairs;
    if asked != (config.state.clone(), config.server.clone(), config.otlp.clone()) {
        tracing::warn!(
            "`state`, `telemetry`, `server.listen`, `server.metrics_listen`, `server.tls` and \
             `server.metrics_resource_pairs` change at the next start"
        );
    }
    config
}
