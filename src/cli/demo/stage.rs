//! What the story plays on: three simulated APIs, a configuration in a file, and a state on disk,
//! all of which are gone afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::sandbox::{ApiVersion, Sandbox, SandboxOptions, Seed};
use crate::state::{PairId, Parked, RunRecord};
use crate::telemetry;

use super::super::context::Context;
use super::super::failure::Failure;

pub(super) const PUBLICATION: &str = "district-to-state";

pub(super) struct Stage {
    /// The source, with the sample data.
    pub(super) district: Sandbox,
    /// A strict target of version 7.3.
    pub(super) state: Sandbox,
    /// A target of version 6.1.
    pub(super) region: Sandbox,
    pub(super) configuration: String,
    /// What the commands of the story stand on.
    pub(super) commands: Context,
    // The state in it must be closed before it goes, so it is the last to be dropped.
    _directory: Directory,
}

impl Stage {
    pub(super) async fn set(context: &Context) -> Result<Stage, Failure> {
        let sample = SandboxOptions { data: Seed::Sample, ..SandboxOptions::default() };
        let strict = SandboxOptions { strict: true, ..SandboxOptions::default() };
        let older = SandboxOptions { version: ApiVersion::V6_1, ..SandboxOptions::default() };
        let env = BTreeMap::from([
            ("DEMO_KEY".to_owned(), sample.key.clone()),
            ("DEMO_SECRET".to_owned(), sample.secret.clone()),
        ]);
        let district = start(sample).await?;
        let state = start(strict).await?;
        let region = start(older).await?;

        let directory = Directory::make()?;
        let configuration = configuration(
            &directory.0.join("state"),
            [&district.url(), &state.url(), &region.url()],
        );
        let file = directory.0.join("tidemark.yaml");
        fs::write(&file, &configuration).map_err(|error| cannot_write(&file, &error))?;
        let commands = context.for_demo(file, env);
        Ok(Stage { district, state, region, configuration, commands, _directory: directory })
    }

    /// The targets, as the configuration calls them.
    pub(super) fn targets(&self) -> [(&'static str, &Sandbox); 2] {
        [("state", &self.state), ("region", &self.region)]
    }

    /// The newest run of a target in the history.
    pub(super) async fn last_run(&self, target: &str) -> Result<RunRecord, Failure> {
        let assembly = self.commands.assembly()?;
        let runs = assembly.store.runs(&pair(target), 1).await?;
        runs.into_iter().next().ok_or_else(|| {
            Failure::failed(format!("the history has no run of {PUBLICATION} → {target}"))
        })
    }

    /// What waits for a target.
    pub(super) async fn parked(&self, target: &str) -> Result<Vec<Parked>, Failure> {
        let assembly = self.commands.assembly()?;
        Ok(assembly.store.parked(&pair(target), None, usize::MAX).await?)
    }

    pub(super) async fn close(self) {
        self.district.stop().await;
        self.state.stop().await;
        self.region.stop().await;
    }
}

fn pair(target: &str) -> PairId {
    PairId { publication: PUBLICATION.to_owned(), target: target.to_owned() }
}

async fn start(options: SandboxOptions) -> Result<Sandbox, Failure> {
    let started = Sandbox::start(options).await;
    started.map_err(|error| Failure::failed(telemetry::chain(&error)))
}

fn configuration(state: &Path, [district, state_url, region]: [&str; 3]) -> String {
    let state = state.display();
    let connection = |name: &str, url: &str| {
        format!(
            "  {name}:\n    kind: ed-fi\n    url: {url}\n    key: {{env: DEMO_KEY}}\n    secret: \
             {{env: DEMO_SECRET}}\n"
        )
    };
    format!(
        "state:\n  path: {state}\nconnections:\n{}{}{}publications:\n  {PUBLICATION}:\n    \
         source: district\n    targets: [state, region]\n    \
         # The sandbox has no transaction that was open when the first run began.\n    \
         first_overlap_versions: 0\n",
        connection("district", district),
        connection("state", state_url),
        connection("region", region),
    )
}

/// A directory of our own, for this user alone, removed when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Directory, Failure> {
        let name = format!("tidemark-demo-{:08x}", rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        // Not one that somebody else made: that is an error.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| cannot_write(&path, &error))?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // It holds sample data's names at most; a temporary directory is emptied by its system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write {}: {error}; point TMPDIR at a directory that can be written",
        path.display()
    ))
}
