//! Which part of the API a path leads to, and the rules that hold for all of them.

pub(super) mod collection;
pub(super) mod discovery;
pub(super) mod item;
pub(super) mod oauth;
pub(super) mod openapi;

use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use super::faults::Part;
use super::feeds;
use super::options::SnapshotMode;
use super::problem::Problem;
use super::rows::Image;
use super::server::{Asked, Reply, Shared};
use super::version::{ApiVersion, SnapshotHeader};
use super::world::World;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Root,
    Token,
    TokenInfo,
    MetadataList,
    /// `resources` or `descriptors`.
    OpenApi(String),
    Dependencies,
    NewestVersion,
    Snapshots,
    Snapshot(String),
    Collection(u16),
    Partitions(u16),
    Deletes(u16),
    KeyChanges(u16),
    Item(u16, u128),
    /// An item's path whose id is none.
    BadId(u16, String),
    Nowhere,
}

impl Route {
    pub(super) fn of(shared: &Shared, path: &str) -> Route {
        let mut segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        for expected in shared.prefix() {
            if segments.first().is_none_or(|first| !first.eq_ignore_ascii_case(&expected)) {
                return Route::Nowhere;
            }
            segments.remove(0);
        }
        let lower: Vec<String> = segments.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let lower = if shared.options.version.is_8() { as_before_8(&lower) } else { lower };
        // A year-specific host of the old kind has the year inside its paths.
        let year = shared.year_inside();
        let lower = match year.strip_prefix('/') {
            None => lower,
            Some(year) => match without_year(&lower, year) {
                Some(lower) => lower,
                None => return Route::Nowhere,
            },
        };
        match lower.as_slice() {
            [] => Route::Root,
            ["oauth", "token"] => Route::Token,
            ["oauth", "token_info"] => Route::TokenInfo,
            ["metadata"] => Route::MetadataList,
            ["metadata", "data", "v3", "dependencies"] => Route::Dependencies,
            ["metadata", "data", "v3", section @ ("resources" | "descriptors"), "swagger.json"] => {
                Route::OpenApi((*section).to_owned())
            }
            ["changequeries", "v1", "availablechangeversions"] => Route::NewestVersion,
            ["changequeries", "v1", "snapshots"] => Route::Snapshots,
            ["changequeries", "v1", "snapshots", id] => Route::Snapshot((*id).to_owned()),
            ["data", "v3", schema, resource, rest @ ..] => {
                Route::in_data(shared, &format!("/{schema}/{resource}"), rest)
            }
            _ => Route::Nowhere,
        }
    }

    fn in_data(shared: &Shared, resource: &str, rest: &[&str]) -> Route {
        let Some(model) = shared.standard.find(resource) else { return Route::Nowhere };
        let number = model.number;
        match rest {
            [] => Route::Collection(number),
            ["deletes"] => Route::Deletes(number),
            ["keychanges"] if shared.options.version.tells_keys() => Route::KeyChanges(number),
            ["keychanges"] => Route::Nowhere,
            ["partitions"] if shared.options.version.has_cursors() => Route::Partitions(number),
            [id] => match u128::from_str_radix(&id.replace('-', ""), 16) {
                Ok(id_number) if id.replace('-', "").len() == 32 => Route::Item(number, id_number),
                Ok(_) | Err(_) => Route::BadId(number, (*id).to_owned()),
            },
            _ => Route::Nowhere,
        }
    }

    pub(super) fn part(&self) -> Part {
        match self {
            Route::Root => Part::Root,
            Route::Token | Route::TokenInfo => Part::Token,
            Route::MetadataList | Route::OpenApi(_) => Part::Metadata,
            Route::Dependencies => Part::Dependencies,
            Route::NewestVersion => Part::NewestVersion,
            Route::Snapshots | Route::Snapshot(_) => Part::Snapshots,
            Route::Collection(_) | Route::Item(..) | Route::BadId(..) => Part::Items,
            Route::Partitions(_) => Part::Partitions,
            Route::Deletes(_) => Part::Deletes,
            Route::KeyChanges(_) => Part::KeyChanges,
            Route::Nowhere => Part::Nowhere,
        }
    }

    pub(super) fn resource(&self) -> Option<u16> {
        match self {
            Route::Collection(number)
            | Route::Partitions(number)
            | Route::Deletes(number)
            | Route::KeyChanges(number)
            | Route::Item(number, _)
            | Route::BadId(number, _) => Some(*number),
            Route::Root
            | Route::Token
            | Route::TokenInfo
            | Route::MetadataList
            | Route::OpenApi(_)
            | Route::Dependencies
            | Route::NewestVersion
            | Route::Snapshots
            | Route::Snapshot(_)
            | Route::Nowhere => None,
        }
    }
}

/// Where a path of version 8 would lead before it.
fn as_before_8<'s>(segments: &[&'s str]) -> Vec<&'s str> {
    match segments {
        ["data", rest @ ..] => [&["data", "v3"], rest].concat(),
        ["metadata", "dependencies"] => vec!["metadata", "data", "v3", "dependencies"],
        ["metadata", "specifications"] => vec!["metadata"],
        ["metadata", "specifications", "resources-spec.json"] => {
            vec!["metadata", "data", "v3", "resources", "swagger.json"]
        }
        ["metadata", "specifications", "descriptors-spec.json"] => {
            vec!["metadata", "data", "v3", "descriptors", "swagger.json"]
        }
        ["metadata", ..] => vec!["nowhere"],
        _ => segments.to_vec(),
    }
}

/// Takes the year out of the places where a year-specific host has it.
fn without_year<'s>(segments: &[&'s str], year: &str) -> Option<Vec<&'s str>> {
    let place = match segments {
        ["data", "v3", ..] | ["changequeries", "v1", ..] => 2,
        ["metadata", "data", "v3", ..] => 3,
        ["metadata", ..] => 1,
        _ => return Some(segments.to_vec()),
    };
    if segments.get(place) != Some(&year) {
        // The list of documents is the same with or without it.
        return (segments == ["metadata"]).then(|| segments.to_vec());
    }
    let mut rest = segments.to_vec();
    rest.remove(place);
    Some(rest)
}

/// Answers one request that no fault answers.
pub(super) fn answer(shared: &Shared, route: &Route, asked: &Asked) -> Result<Reply, Problem> {
    match route {
        Route::Root => discovery::root(shared, asked),
        Route::Token => oauth::token(shared, asked),
        Route::TokenInfo => oauth::token_info(shared, asked),
        Route::MetadataList => discovery::metadata_list(shared, asked),
        Route::OpenApi(section) => openapi::document(shared, asked, section),
        Route::Dependencies => discovery::dependencies(shared, asked),
        Route::Nowhere => Err(Problem::no_such_route()),
        Route::NewestVersion
        | Route::Snapshots
        | Route::Snapshot(_)
        | Route::Collection(_)
        | Route::Partitions(_)
        | Route::Deletes(_)
        | Route::KeyChanges(_)
        | Route::Item(..)
        | Route::BadId(..) => {
            oauth::authenticate(shared, asked)?;
            answer_to_client(shared, route, asked)
        }
    }
}

fn answer_to_client(shared: &Shared, route: &Route, asked: &Asked) -> Result<Reply, Problem> {
    if !asked.is_get() && has_snapshot_header(shared, asked) {
        return Err(Problem::snapshots_are_read_only());
    }
    match route {
        Route::NewestVersion => newest_version(shared, asked),
        Route::Snapshots => discovery::snapshots(shared, asked, None),
        Route::Snapshot(id) => discovery::snapshots(shared, asked, Some(id)),
        Route::Collection(number) if asked.method == axum::http::Method::POST => {
            item::post(shared, asked, *number)
        }
        Route::Collection(number) => collection::items(shared, asked, *number),
        Route::Partitions(number) => collection::partitions(shared, asked, *number),
        Route::Deletes(_) if !shared.options.feeds.deletes => {
            Err(Problem::feature_disabled("ChangeQueries"))
        }
        Route::KeyChanges(_) if !shared.options.feeds.key_changes => {
            Err(Problem::feature_disabled("ChangeQueries"))
        }
        Route::Deletes(number) => {
            let entries = match shared.options.version {
                ApiVersion::V5_3 => feeds::deletes_without_keys,
                ApiVersion::V8_0 => feeds::deletes_of_what_is_gone,
                _ => feeds::deletes,
            };
            collection::feed(shared, asked, *number, entries)
        }
        Route::KeyChanges(number) => collection::feed(shared, asked, *number, feeds::key_changes),
        Route::Item(number, id) => item::answer(shared, asked, *number, *id),
        Route::BadId(_, id) => Err(item::bad_id(id)),
        Route::Root
        | Route::Token
        | Route::TokenInfo
        | Route::MetadataList
        | Route::OpenApi(_)
        | Route::Dependencies
        | Route::Nowhere => Err(Problem::no_such_route()),
    }
}

fn newest_version(shared: &Shared, asked: &Asked) -> Result<Reply, Problem> {
    must_get(asked)?;
    let renews = shared.options.version.snapshots() == SnapshotHeader::UseSnapshot
        && shared.options.snapshots == SnapshotMode::Auto
        && asks_for_snapshot(shared, asked);
    if renews {
        shared.write().take_snapshot();
    }
    let world = shared.read();
    let image = view(shared, &world, asked)?;
    let (oldest, newest) = (image.oldest, image.newest);
    let body = match shared.options.version {
        ApiVersion::V5_3 => {
            format!("{{\"OldestChangeVersion\":{oldest},\"NewestChangeVersion\":{newest}}}")
        }
        _ => format!("{{\"oldestChangeVersion\":{oldest},\"newestChangeVersion\":{newest}}}"),
    };
    Ok(Reply::json(200, body))
}

/// What a GET reads.
pub(super) enum View<'w> {
    /// The present, held still by whoever holds the world.
    Live(&'w Image),
    Taken(Arc<Image>),
}

impl Deref for View<'_> {
    type Target = Image;

    fn deref(&self) -> &Image {
        match self {
            View::Live(image) => image,
            View::Taken(image) => image,
        }
    }
}

/// The present, or the snapshot that the request names.
pub(super) fn view<'w>(
    shared: &Shared,
    world: &'w World,
    asked: &Asked,
) -> Result<View<'w>, Problem> {
    if !asks_for_snapshot(shared, asked) {
        return Ok(View::Live(&world.live));
    }
    let header = shared.options.version.snapshots();
    let image = match header {
        SnapshotHeader::UseSnapshot => world.snapshots.current(),
        SnapshotHeader::Identifier => {
            world.snapshots.named(asked.header("snapshot-identifier").unwrap_or_default())
        }
        SnapshotHeader::Ignored => return Ok(View::Live(&world.live)),
    };
    image.map(View::Taken).ok_or_else(|| Problem::no_snapshot(header))
}

/// Whether the header asks for a snapshot, and not only is there.
pub(super) fn asks_for_snapshot(shared: &Shared, asked: &Asked) -> bool {
    match shared.options.version.snapshots() {
        SnapshotHeader::UseSnapshot => asked
            .header("use-snapshot")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
        SnapshotHeader::Identifier => asked.header("snapshot-identifier").is_some(),
        SnapshotHeader::Ignored => false,
    }
}

/// Writes are refused whatever the header says.
fn has_snapshot_header(shared: &Shared, asked: &Asked) -> bool {
    match shared.options.version.snapshots() {
        SnapshotHeader::UseSnapshot => asked.header("use-snapshot").is_some(),
        SnapshotHeader::Identifier => asked.header("snapshot-identifier").is_some(),
        SnapshotHeader::Ignored => false,
    }
}

pub(super) fn must_get(asked: &Asked) -> Result<(), Problem> {
    if asked.is_get() { Ok(()) } else { Err(Problem::method_not_allowed()) }
}

/// The tokens of the server, held for a moment.
pub(super) fn tokens(shared: &Shared) -> std::sync::MutexGuard<'_, oauth::Tokens> {
    shared.tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
