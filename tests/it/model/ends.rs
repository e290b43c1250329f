//! What both ends are made of: databases without a server, the resources they have, and how the
//! engine's names become the database's.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tidemark::clock::Clock;
use tidemark::domain::{Fingerprint, KeyShape, NaturalKey, ResourceGraph, ResourcePath};
use tidemark::edfi::Shapes;
use tidemark::sandbox::{Database, PeopleAuthorization, SandboxOptions, Seed, Shown, View};

use crate::simulation::district::COLLECTIONS;
use crate::{district, scene};

/// Above the things of a history, and part of most of their keys.
const ABOVE: [&str; 2] = ["localEducationAgencies", "schools"];

/// Everything that both ends have.
pub(super) static GRAPH: LazyLock<Arc<ResourceGraph>> = LazyLock::new(|| Arc::new(graph()));

/// A database that holds what every history begins with, written long before: what is written after
/// it cannot be older, and an item's date says whether it is worth a hash (R16).
static BARE: LazyLock<Database> = LazyLock::new(|| {
    let clock = Clock::held_at(chrono::DateTime::from_timestamp(1_780_000_000, 0).unwrap());
    let options = SandboxOptions { data: Seed::Descriptors, clock, ..SandboxOptions::default() };
    Database::load(&options).unwrap()
});

pub(super) fn source(options: &SandboxOptions) -> Database {
    let source = BARE.copy(options, 1);
    source.upsert("/ed-fi/localEducationAgencies", &district::agency()).unwrap();
    source.upsert("/ed-fi/schools", &district::school()).unwrap();
    source
}

/// The other district, which has the same school above what it publishes.
pub(super) fn source_elsewhere(options: &SandboxOptions) -> Database {
    let source = BARE.copy(options, 3);
    source.upsert("/ed-fi/localEducationAgencies", &district::agency()).unwrap();
    source.upsert("/ed-fi/schools", &district::school()).unwrap();
    source
}

pub(super) fn target(options: &SandboxOptions, people: bool) -> Database {
    let people = match people {
        true => PeopleAuthorization::Relationships,
        false => PeopleAuthorization::NoFurther,
    };
    BARE.copy(&SandboxOptions { strict: true, people, ..options.clone() }, 2)
}

fn graph() -> ResourceGraph {
    let resources: Vec<ResourcePath> =
        ABOVE.iter().chain(&COLLECTIONS).map(|name| scene::path(name)).collect();
    let mut edges = Vec::new();
    for resource in &resources {
        let shape = shape_of(resource);
        let referred = shape.references.iter().flat_map(|reference| &reference.resources);
        for before in referred.filter(|before| resources.contains(before)) {
            edges.push((before.clone(), resource.clone()));
        }
        if !resource.is_descriptor() {
            edges.push((scene::path("gradeLevelDescriptors"), resource.clone()));
        }
    }
    // What depends on a student waits until the student can be reached.
    let enrolments = scene::path("studentSchoolAssociations");
    edges.push((enrolments.clone(), scene::path("studentSectionAssociations")));
    ResourceGraph::build(resources, edges, [(scene::path("students"), enrolments)]).unwrap()
}

pub(super) fn shape_of(resource: &ResourcePath) -> Arc<KeyShape> {
    Shapes::built_in().of(resource).unwrap()
}

pub(super) fn fingerprint(name: &str) -> Fingerprint {
    Fingerprint {
        data_url: format!("http://{name}.invalid/data/v3"),
        school_year: None,
        instance: None,
        data_models: BTreeMap::from([("Ed-Fi".to_owned(), "5.2.0".to_owned())]),
        api_version: "7.3".to_owned(),
    }
}

/// The parts of a key by the names that the resource has for them.
pub(super) fn in_own_words(resource: &ResourcePath, key: &NaturalKey) -> NaturalKey {
    shape_of(resource).in_own_words(key)
}

pub(super) fn parts(key: &NaturalKey) -> Vec<(&str, &str)> {
    key.iter().collect()
}

/// The natural key of a stored body.
pub(super) fn key_of(resource: &ResourcePath, body: &str) -> NaturalKey {
    let body = tidemark::domain::Body(Bytes::copy_from_slice(body.as_bytes()));
    shape_of(resource).key_of(&body).expect("what is stored has its key")
}

/// The bytes of an item as it is read, less what only a server says. The words are those of
/// the simulated database.
pub(super) fn without_server_members(text: &str) -> String {
    let start = text.find(',').expect("the id comes first") + 1;
    let end = text.rfind(",\"_etag\":\"").expect("the etag comes after the content");
    format!("{{{}}}", &text[start..end])
}

/// The keys of all that a view holds of a resource.
pub(super) fn keys(view: &View, resource: &ResourcePath) -> BTreeSet<NaturalKey> {
    let items = view.items(resource.as_str(), i64::MIN, i64::MAX);
    items.iter().map(|shown| key_of(resource, shown.body())).collect()
}

/// The keys of what one view holds and another did not, or not as this item.
pub(super) fn keys_of_other_items(
    before: &View,
    after: &View,
    resource: &ResourcePath,
) -> BTreeSet<NaturalKey> {
    let items = after.items(resource.as_str(), i64::MIN, i64::MAX);
    let is_other = |shown: &&Shown| before.item(resource.as_str(), &shown.id()).is_none();
    items.iter().filter(is_other).map(|shown| key_of(resource, shown.body())).collect()
}

/// Whether a transaction went on when a view was seen, that had been given its versions before the last
/// so many: it has committed since, and the view does not show it.
pub(super) fn hides_what_came_late(view: &View, now: &View, last: i64) -> bool {
    let through = view.newest() - last;
    GRAPH.resources().any(|resource| {
        let name = resource.as_str();
        let shown = |shown: &Shown| {
            let then = view.item(name, &shown.id()).and_then(Result::ok);
            then.is_some_and(|then| then.version() == shown.version())
        };
        !now.items(name, i64::MIN, through).iter().all(shown)
            || now.deletes(name, i64::MIN, through) != view.deletes(name, i64::MIN, through)
    })
}

/// A key in which two views differ, with what each has.
pub(super) struct Difference {
    pub(super) key: NaturalKey,
    pub(super) ours: Option<Shown>,
    pub(super) theirs: Option<Shown>,
}

/// Keys in which two views differ, in order. Keys are read of what is not the same bytes alone.
pub(super) fn differences(ours: &View, theirs: &View, resource: &ResourcePath) -> Vec<Difference> {
    let all = |view: &View| view.items(resource.as_str(), i64::MIN, i64::MAX);
    let (ours, theirs) = (all(ours), all(theirs));
    let bodies = |shown: &[Shown]| -> HashSet<Arc<str>> {
        shown.iter().map(|shown| shown.body().clone()).collect()
    };
    let (our_bodies, their_bodies) = (bodies(&ours), bodies(&theirs));
    let mut differ: BTreeMap<NaturalKey, (Option<Shown>, Option<Shown>)> = BTreeMap::new();
    for shown in ours.into_iter().filter(|shown| !their_bodies.contains(shown.body())) {
        let key = key_of(resource, shown.body());
        differ.entry(key).or_default().0 = Some(shown);
    }
    for shown in theirs.into_iter().filter(|shown| !our_bodies.contains(shown.body())) {
        let key = key_of(resource, shown.body());
        differ.entry(key).or_default().1 = Some(shown);
    }
    let differ = differ.into_iter().map(|(key, (ours, theirs))| Difference { key, ours, theirs });
    differ.filter(|one| !is_same(one)).collect()
}

/// The same members with the same values, in whatever order.
fn is_same(difference: &Difference) -> bool {
    let value = |shown: &Option<Shown>| {
        shown
            .as_ref()
            .and_then(|shown| serde_json::from_str::<serde_json::Value>(shown.body()).ok())
    };
    value(&difference.ours) == value(&difference.theirs)
}
