//! The configuration: files and variables read, merged and checked whole, then typed.
//!
//! What does not live here: what the engine does with it, and how a command shows it. The one
//! thing to know: a configuration is taken whole or not at all, and every mistake in it is
//! reported at once, with its key path, its place and the nearest known name.
//!
//! A file travels through `yaml` (positions, texts), `templates` (entries for each row), `layers`
//! (defaults, files, variables), `entries` (keys, types, defaults) and `check` (what entries say of
//! each other). `shown` tells where each value came from, `schema` tells editors what there may be.

mod check;
mod cron;
mod decode;
mod entries;
mod layers;
mod names;
mod not_yet;
mod problem;
mod rows;
mod schema;
mod secret;
mod server;
mod shown;
mod templates;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::Value;
use sha2::{Digest, Sha256};

pub use cron::CronSchedule;
pub use names::{ConnectionName, LimitName, PublicationName};
pub use problem::{ConfigProblems, Place, Problem, Row};
pub use schema::schema;
pub use secret::{Secret, SecretError};
pub use server::{ADMIN_TOKEN, TlsConfig, TokenConfig, TokenRole};
pub use shown::{Origin, ShownValue, load_and_show, show};
pub use tree::{
    BackupConfig, ClosedHours, Config, ConnectionConfig, FirstOverlap, FirstRun, Isolation,
    LimitConfig, OnMissingSnapshot, Percent, PublicationConfig, Publish, ResourcesConfig,
    RetryConfig, ServerConfig, SoleWriter, StateConfig, Trigger, VerifyConfig,
};

use decode::Report;
use entries::Decoded;
use layers::{Layer, defaults, environment, is_ours, read_files, read_text, stack};
use problem::in_order;
use yaml::Document;

/// A configuration without mistakes, and what it makes one doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
    /// Every file that was read, those of rows included; secrets apart.
    pub files: Vec<PathBuf>,
}

/// Where the configuration is: `--config`, then `TIDEMARK_CONFIG`, then `config/tidemark.yaml`,
/// then `/etc/tidemark`. Whether it can be read is for [`load`] to say.
pub fn find_path(
    flag: Option<PathBuf>,
    env: &BTreeMap<String, String>,
) -> Result<PathBuf, ConfigProblems> {
    if let Some(path) = flag {
        return Ok(path);
    }
    if let Some(path) = env.get("TIDEMARK_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let usual = ["config/tidemark.yaml", "/etc/tidemark"].map(PathBuf::from);
    usual.into_iter().find(|path| path.exists()).ok_or_else(|| {
        let message = "no configuration: give --config, set TIDEMARK_CONFIG or write \
                       config/tidemark.yaml (`tidemark config example` prints one)"
            .to_owned();
        ConfigProblems(vec![Problem { key_path: String::new(), place: None, message }])
    })
}

/// Reads and checks a file, or the `*.yaml` of a directory, under the variables of `env`.
pub fn load(path: &Path, env: &BTreeMap<String, String>) -> Result<Loaded, ConfigProblems> {
    Ok(load_merged(path, env, Want::Values)?.loaded)
}

/// The same for one text, which messages call `file`.
pub fn read(
    file: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigProblems> {
    let mut problems = Vec::new();
    match read_text(file, text, &mut problems) {
        Ok(document) => {
            let (warnings, files) = (Vec::new(), Vec::new());
            let documents = vec![document];
            let merged = check_whole(documents, env, Want::Values, problems, warnings, files)?;
            Ok(merged.loaded)
        }
        Err(problem) => {
            problems.push(problem);
            Err(ConfigProblems(in_order(problems)))
        }
    }
}

/// A configuration, and the tree that it was read from.
struct Merged {
    loaded: Loaded,
    tree: Value,
    /// Where every key was written.
    written: BTreeMap<Vec<String>, Place>,
    /// As its report has noted it.
    known: BTreeSet<Vec<String>>,
}

/// What is wanted of a configuration that is read.
#[derive(Clone, Copy)]
enum Want {
    Values,
    /// And every key that it may set.
    Known,
}

fn load_merged(
    path: &Path,
    env: &BTreeMap<String, String>,
    want: Want,
) -> Result<Merged, ConfigProblems> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let Ok((documents, files)) = read_files(path, &mut problems, &mut warnings) else {
        return Err(ConfigProblems(in_order(problems)));
    };
    check_whole(documents, env, want, problems, warnings, files)
}

fn check_whole(
    mut documents: Vec<Document>,
    env: &BTreeMap<String, String>,
    want: Want,
    mut problems: Vec<Problem>,
    mut warnings: Vec<Problem>,
    mut files: Vec<PathBuf>,
) -> Result<Merged, ConfigProblems> {
    let mut made = templates::expand(&mut documents, &mut problems);
    warnings.append(&mut made.warnings);
    files.append(&mut made.files);
    documents.push(made.entries);
    let written: BTreeMap<Vec<String>, Place> =
        documents.iter_mut().flat_map(|document| std::mem::take(&mut document.keys)).collect();

    let tree = merge(documents, &written, env, &mut problems);
    let mut report = match want {
        Want::Values => Report::of_values(&written),
        Want::Known => Report::new(&written),
    };
    let decoded = entries::decode(&mut report, &tree);
    check::references(&decoded, &mut report);
    let Decoded { config, .. } = decoded;
    check::doubts(&config, &mut report);

    problems.append(&mut report.problems);
    warnings.append(&mut report.warnings);
    let known = report.known;
    if !problems.is_empty() {
        return Err(ConfigProblems(in_order(problems)));
    }
    let loaded = Loaded { config, warnings: in_order(warnings), files };
    Ok(Merged { loaded, tree, written, known })
}

/// A text that changes when what [`load`] would read does: the names and contents of the files of
/// `path` and of `others`, whatever links lead to them.
pub fn fingerprint(path: &Path, others: &[PathBuf]) -> String {
    let mut files = layers::files_of(path, &mut Vec::new()).unwrap_or_default();
    files.extend(others.iter().cloned());
    files.sort();
    files.dedup();
    let mut hash = Sha256::new();
    for file in files {
        let content = std::fs::read(&file).ok();
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update([0, u8::from(content.is_some())]);
        let content = content.unwrap_or_default();
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every key with its default and a comment: `config/reference.yaml`.
pub fn example() -> &'static str {
    include_str!("../../config/reference.yaml")
}

/// Variables may name what the files name and what every entry can have, so the files are read
/// once for their keys alone; what is wrong with them is told when everything is in place.
fn merge(
    files: Vec<Document>,
    written: &BTreeMap<Vec<String>, Place>,
    env: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Value {
    let mut layers: Vec<Layer> = files.into_iter().map(Layer::from).collect();
    layers.extend(of_variables(&layers, written, env, problems).map(Layer::from));
    let of_defaults = defaults(&layers);
    layers.insert(0, Layer::from(of_defaults));
    stack(layers)
}

/// `None` where there is no variable of ours.
fn of_variables(
    files: &[Layer],
    written: &BTreeMap<Vec<String>, Place>,
    env: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Option<Document> {
    if !env.keys().any(|name| is_ours(name)) {
        return None;
    }
    let of_files = stack(files.iter().cloned());
    let mut report = Report::new(written);
    entries::decode(&mut report, &of_files);
    Some(environment(env, &report.known, problems))
}
