//! What commands stand on: the environment, the configuration, the state and the clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::SecretString;

use crate::clock::Clock;
use crate::config::{self, Config, ConnectionConfig, ConnectionName, Loaded};
use crate::daemon::{self, Assembly};
use crate::engine::Pair;
use crate::http::Url;
use crate::state::{MemoryStore, StateStore};
use crate::telemetry::{self, LogLevel, Logging};

use super::arguments::{Form, Global, Output};
use super::failure::Failure;
use super::show;

pub(super) struct Context {
    global: Global,
    pub(super) env: BTreeMap<String, String>,
    pub(super) clock: Clock,
    is_demo: bool,
    has_warned: AtomicBool,
}

impl Context {
    pub(super) fn new(global: Global) -> Context {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Context {
            global,
            env,
            clock: Clock::system(),
            is_demo: false,
            has_warned: AtomicBool::new(false),
        }
    }

    /// For the commands that the demo types: their own configuration and secrets, and the log that
    /// is set up already.
    pub(super) fn for_demo(&self, config: PathBuf, secrets: BTreeMap<String, String>) -> Context {
        let global = Global { config: Some(config), ..self.global.clone() };
        let mut env = secrets;
        env.extend(self.env.get("TERM").map(|term| ("TERM".to_owned(), term.clone())));
        Context {
            global,
            env,
            clock: self.clock.clone(),
            is_demo: true,
            has_warned: AtomicBool::new(false),
        }
    }

    /// Whether a command is part of the demo, which people read at one sitting.
    pub(super) fn is_demo(&self) -> bool {
        self.is_demo
    }

    pub(super) fn output(&self) -> Output {
        match self.global.output {
            Form::Text | Form::Csv | Form::Html => Output::Text,
            Form::Json => Output::Json,
        }
    }

    /// The command line lets it through to `parked list` and `report` alone.
    pub(super) fn wants_csv(&self) -> bool {
        self.global.output == Form::Csv
    }

    /// The command line lets it through to `report` alone.
    pub(super) fn wants_html(&self) -> bool {
        self.global.output == Form::Html
    }

    /// The daemon that is to be asked, where `--server` names one.
    pub(super) fn server(&self) -> Result<Option<Url>, Failure> {
        let Some(text) = &self.global.server else { return Ok(None) };
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url {
            Some(url) => Ok(Some(url)),
            None => Err(Failure::usage("`--server` is an address such as http://127.0.0.1:8642")),
        }
    }

    /// The token of `--token-file`.
    pub(super) fn token(&self) -> Result<Option<SecretString>, Failure> {
        let Some(path) = &self.global.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the token file {}: {error}", path.display()))
        })?;
        Ok(Some(SecretString::from(text.trim().to_owned())))
    }

    /// Logs to standard error, by default only what a person should look at.
    pub(super) fn log_quietly(&self) -> Result<(), Failure> {
        if self.is_demo {
            return Ok(());
        }
        let level = self.log_level("warn");
        telemetry::init(self.global.log_format, level).map_err(|e| Failure::failed(e.to_string()))
    }

    /// Logs to `writer`, which shares the terminal with progress bars.
    pub(super) fn log_quietly_to<W>(&self, writer: W) -> Result<(), Failure>
    where
        W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
    {
        if self.is_demo {
            return Ok(());
        }
        let level = self.log_level("warn");
        telemetry::init_to(self.global.log_format, level, true, writer)
            .map_err(|e| Failure::failed(e.to_string()))
    }

    /// Logs to standard error as a daemon does, which goes on when nobody reads it.
    pub(super) fn log_fully(&self) -> Result<Logging, Failure> {
        let level = self.log_level("info");
        telemetry::init_queued(self.global.log_format, level)
            .map_err(|error| Failure::failed(telemetry::chain(&error)))
    }

    fn log_level(&self, default: &str) -> LogLevel {
        let default = default.parse().expect("the default is a level");
        self.global.log_level.unwrap_or(default)
    }

    pub(super) fn config_path(&self) -> Result<PathBuf, Failure> {
        Ok(config::find_path(self.global.config.clone(), &self.env)?)
    }

    /// The configuration without mistakes; its warnings are printed.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let loaded = self.loaded()?;
        // A command that looks again and again has said so once.
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            for warning in &loaded.warnings {
                show::warning(&warning.to_string());
            }
        }
        Ok(loaded.config)
    }

    /// The same for a process that must not wait for whoever reads its warnings: they are logged.
    pub(super) fn config_logging_warnings(&self) -> Result<Config, Failure> {
        let loaded = self.loaded()?;
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "the configuration");
        }
        Ok(loaded.config)
    }

    fn loaded(&self) -> Result<Loaded, Failure> {
        let path = config::find_path(self.global.config.clone(), &self.env)?;
        Ok(config::load(&path, &self.env)?)
    }

    /// Everything put together, ready to run, with the state open for this process alone.
    pub(super) fn assembly(&self) -> Result<Assembly, Failure> {
        let config = self.config()?;
        let store = daemon::open_state(&config)?;
        daemon::assemble(config, &self.env, store, self.clock.clone())
            .map_err(|error| Failure::usage(telemetry::chain(&error)))
    }

    /// The same without the state, for what only looks at the APIs.
    pub(super) fn assembly_without_state(&self) -> Result<Assembly, Failure> {
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
        daemon::assemble(self.config()?, &self.env, store, self.clock.clone())
            .map_err(|error| Failure::usage(telemetry::chain(&error)))
    }

    /// Every secret that `pairs` need can be read: otherwise the configuration is wrong, and it is
    /// said before anything is asked of anyone.
    pub(super) fn require_secrets(&self, config: &Config, pairs: &[Pair]) -> Result<(), Failure> {
        let needed = |name: &ConnectionName| {
            pairs.iter().any(|pair| {
                let publication = config.publications.iter();
                let mut publication =
                    publication.filter(|(n, _)| n.as_str() == pair.id.publication);
                pair.id.target == name.as_str() || publication.any(|(_, p)| p.source == *name)
            })
        };
        let connections = config.connections.iter().filter(|(name, _)| needed(name));
        let problems: Vec<String> =
            connections.flat_map(|(name, connection)| self.unreadable(name, connection)).collect();
        if problems.is_empty() { Ok(()) } else { Err(Failure::usage(problems.join("\n"))) }
    }

    /// What is wrong with the secrets of a connection, each with its key path.
    pub(super) fn unreadable(
        &self,
        name: &ConnectionName,
        connection: &ConnectionConfig,
    ) -> Vec<String> {
        daemon::unreadable(name, connection, &self.env)
    }
}
