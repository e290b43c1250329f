//! Loads data into a world: the built-in sample, or a directory of files.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::rows::Image;
use super::standard::{StandardModel, StandardParts, read_records};
use super::world::World;
use super::{SandboxError, Seed, Standard, other_standard};

static ITEMS: &[u8] = include_bytes!("../../data/edfi/items.ndjson.gz");
static RESOURCES: &[u8] = include_bytes!("../../data/edfi/resources.json.gz");
static FIELDS: &[u8] = include_bytes!("../../data/edfi/fields.json.gz");
static DEPENDENCIES_JSON: &[u8] = include_bytes!("../../data/edfi/dependencies.json.gz");
static DEPENDENCIES_GRAPHML: &[u8] = include_bytes!("../../data/edfi/dependencies.graphml.gz");

/// What a data set is cut to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    SchoolYears,
    Descriptors,
    Everything,
}

/// Fills a new world.
pub(super) fn fill(world: &mut World, standard: Standard, data: &Seed) -> Result<(), SandboxError> {
    match (standard, data) {
        (_, Seed::Directory(directory)) => fill_from_directory(world, directory),
        (Standard::DataStandard52, Seed::Sample) => fill_with_sample(world),
        (Standard::DataStandard52, Seed::Empty) => {
            load(world, &unpacked(ITEMS)?, Extent::SchoolYears)
        }
        (Standard::DataStandard52, Seed::Descriptors) => {
            load(world, &unpacked(ITEMS)?, Extent::Descriptors)
        }
        (Standard::Other, Seed::Sample) => {
            load(world, &other_standard::items(), Extent::Everything)
        }
        (Standard::Other, Seed::Descriptors) => {
            load(world, &other_standard::items(), Extent::Descriptors)
        }
        (Standard::Other, Seed::Empty) => Ok(()),
    }
}

/// Loading takes a second, so a process does it once and its worlds share the tables until they
/// write to them.
fn fill_with_sample(world: &mut World) -> Result<(), SandboxError> {
    static LOADED: OnceLock<(Arc<Image>, i64)> = OnceLock::new();
    if world.standard.resources.iter().any(|model| !model.unknown.is_empty()) {
        // What this host drops, others keep.
        return load(world, &unpacked(ITEMS)?, Extent::Everything);
    }
    if let Some((image, last_tick)) = LOADED.get() {
        world.adopt(image.clone(), *last_tick);
        return Ok(());
    }
    load(world, &unpacked(ITEMS)?, Extent::Everything)?;
    // Whoever comes second may have loaded too; both images say the same.
    let _ = LOADED.set((world.live.clone(), world.last_tick()));
    Ok(())
}

/// Reads lines of items, each part under a line `#endpoint`.
fn load(world: &mut World, text: &str, extent: Extent) -> Result<(), SandboxError> {
    let standard = world.standard.clone();
    let mut model = None;
    for line in text.lines() {
        if let Some(endpoint) = line.strip_prefix('#') {
            let found = standard.find_endpoint(endpoint).ok_or_else(|| unknown(endpoint))?;
            let wanted = match extent {
                Extent::SchoolYears => endpoint == "schoolYearTypes",
                Extent::Descriptors => found.is_descriptor || endpoint == "schoolYearTypes",
                Extent::Everything => true,
            };
            model = wanted.then_some(found);
            continue;
        }
        if let Some(model) = model {
            world.seed(model, line).map_err(|problem| SandboxError::Seed {
                endpoint: model.endpoint.clone(),
                why: problem.detail.clone(),
            })?;
        }
    }
    Ok(())
}

fn unknown(endpoint: &str) -> SandboxError {
    SandboxError::Data(format!("there is no resource '{endpoint}' in this data standard"))
}

/// One line of `descriptors.ndjson`.
#[derive(Deserialize)]
struct DescriptorLine<'a> {
    endpoint: String,
    #[serde(borrow)]
    item: &'a RawValue,
}

fn fill_from_directory(world: &mut World, directory: &Path) -> Result<(), SandboxError> {
    let mut files: HashMap<String, Vec<String>> = HashMap::new();
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| SandboxError::Read { path, source }
    };
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        let Some(endpoint) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".ndjson"))
        else {
            continue;
        };
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if endpoint != "descriptors" {
                files.entry(endpoint.to_owned()).or_default().push(line.to_owned());
                continue;
            }
            let descriptor: DescriptorLine<'_> = serde_json::from_str(line)
                .map_err(|error| SandboxError::Data(format!("descriptors.ndjson: {error}")))?;
            files.entry(descriptor.endpoint).or_default().push(descriptor.item.get().to_owned());
        }
    }
    if !files.contains_key("schoolYearTypes")
        && world.standard.find("/ed-fi/schoolYearTypes").is_some()
    {
        load(world, &unpacked(ITEMS)?, Extent::SchoolYears)?;
    }
    let mut text = String::new();
    for endpoint in load_order(&world.standard)? {
        if let Some(lines) = files.remove(&endpoint) {
            text.push_str(&format!("#{endpoint}\n{}\n", lines.join("\n")));
        }
    }
    if let Some(endpoint) = files.keys().next() {
        return Err(unknown(endpoint));
    }
    load(world, &text, Extent::Everything)
}

/// Endpoints in dependency order, the school years first: the document leaves them out.
fn load_order(standard: &StandardModel) -> Result<Vec<String>, SandboxError> {
    #[derive(Deserialize)]
    struct Entry {
        resource: String,
    }
    let entries: Vec<Entry> = serde_json::from_str(&standard.dependencies_json)
        .map_err(|error| SandboxError::Data(format!("the dependencies: {error}")))?;
    let mut order = vec!["schoolYearTypes".to_owned()];
    for entry in entries {
        let endpoint = entry.resource.rsplit('/').next().unwrap_or_default().to_owned();
        if !order.contains(&endpoint) {
            order.push(endpoint);
        }
    }
    Ok(order)
}

/// What describes Data Standard 5.2.
pub(super) fn data_standard_52_parts() -> Result<StandardParts, SandboxError> {
    let (resources, fields) = read_records(&unpacked(RESOURCES)?, &unpacked(FIELDS)?)?;
    Ok(StandardParts {
        resources,
        fields,
        data_models: vec![(
            "Ed-Fi".to_owned(),
            "5.2.0".to_owned(),
            "The Ed-Fi Data Model 5.2".to_owned(),
        )],
        dependencies_json: unpacked(DEPENDENCIES_JSON)?,
        dependencies_graphml: unpacked(DEPENDENCIES_GRAPHML)?,
    })
}

fn unpacked(bytes: &[u8]) -> Result<String, SandboxError> {
    let mut text = String::new();
    GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .map_err(|error| SandboxError::Data(format!("the built-in data: {error}")))?;
    Ok(text)
}
