//! What the configuration of the Ed-Fi API Publisher says of how far it came.
//!
//! It keeps, at each source connection, one JSON map from the name of a target (or
//! `namespace:target`) to the last change version that was published there. Here names of
//! connections lead to the pairs of a configuration.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::{Config, ConnectionConfig};
use crate::domain::ChangeVersion;
use crate::state::PairId;

/// The members that hold the map, in lower case: as an object, or as an object in a text.
const MAPS: [&str; 2] = ["lastchangeversionsprocessedbytargetname", "lastchangeversionsprocessed"];

pub(super) struct Found {
    pub(super) watermarks: BTreeMap<PairId, ChangeVersion>,
    /// A sentence for each watermark that no pair of the configuration answers to.
    pub(super) unmapped: Vec<String>,
}

/// The watermarks of its connections, by the pairs that publish between the same two.
///
/// # Errors
/// A sentence part: what the text is not.
pub(super) fn watermarks(text: &str, config: &Config) -> Result<Found, String> {
    // The message of the JSON library would quote the text, which holds secrets.
    let json: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("line {} is no JSON", error.line()))?;
    let connections = connections(&json);
    let mut found = Found { watermarks: BTreeMap::new(), unmapped: Vec::new() };
    let mut told = 0;
    for source in &connections {
        for (target, version) in processed(source)? {
            told += 1;
            map(source, &target, version, &connections, config, &mut found)?;
        }
    }
    if told == 0 {
        return Err("no connection in it has `lastChangeVersionsProcessed`, so it tells of no \
                    watermark"
            .to_owned());
    }
    if found.watermarks.is_empty() {
        return Err(format!(
            "no watermark in it belongs to a pair of the configuration: {}",
            found.unmapped.join("; ")
        ));
    }
    Ok(found)
}

struct Connection<'a> {
    name: &'a str,
    url: Option<&'a str>,
    members: &'a serde_json::Map<String, Value>,
}

/// Every object with a name, wherever the file has it: a list, under `connections`, or alone.
fn connections(json: &Value) -> Vec<Connection<'_>> {
    match json {
        Value::Array(all) => all.iter().flat_map(connections).collect(),
        Value::Object(members) => match member(members, "name").and_then(Value::as_str) {
            Some(name) => {
                let url = member(members, "url").and_then(Value::as_str);
                vec![Connection { name, url, members }]
            }
            None => {
                let inside = ["connections", "source", "target"];
                let inside = inside.into_iter().filter_map(|name| member(members, name));
                inside.flat_map(connections).collect()
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Its names of members are written in any case.
fn member<'a>(members: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn processed(source: &Connection<'_>) -> Result<Vec<(String, i64)>, String> {
    let Some(value) = MAPS.iter().find_map(|name| member(source.members, name)) else {
        return Ok(Vec::new());
    };
    let unclear = || {
        format!(
            "`lastChangeVersionsProcessed` of connection `{}` is no map of versions",
            source.name
        )
    };
    let inner;
    let map = match value {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) if text.trim().is_empty() => return Ok(Vec::new()),
        Value::String(text) => {
            inner = serde_json::from_str::<Value>(text).map_err(|_| unclear())?;
            inner.as_object()
        }
        other => other.as_object(),
    };
    let mut versions = Vec::new();
    for (target, version) in map.ok_or_else(unclear)? {
        let version = version.as_i64().filter(|version| *version >= 0).ok_or_else(unclear)?;
        versions.push((target.clone(), version));
    }
    Ok(versions)
}

fn map(
    source: &Connection<'_>,
    target: &str,
    version: i64,
    connections: &[Connection<'_>],
    config: &Config,
    found: &mut Found,
) -> Result<(), String> {
    let plain = target.rsplit_once(':').map_or(target, |(_, name)| name);
    let target_url = connections
        .iter()
        .find(|connection| connection.name.eq_ignore_ascii_case(plain))
        .and_then(|connection| connection.url);
    let mut mapped = false;
    for (name, publication) in &config.publications {
        let from = &config.connections[&publication.source];
        if !is_same(source.name, source.url, publication.source.as_str(), from) {
            continue;
        }
        for to in &publication.targets {
            if !is_same(plain, target_url, to.as_str(), &config.connections[to]) {
                continue;
            }
            mapped = true;
            let pair = PairId { publication: name.to_string(), target: to.to_string() };
            let shown = pair.to_string();
            let before = found.watermarks.insert(pair, ChangeVersion(version));
            if before.is_some_and(|before| before.0 != version) {
                return Err(format!("it tells two watermarks for {shown}: leave one of them in"));
            }
        }
    }
    if !mapped {
        found.unmapped.push(format!(
            "no publication goes from `{}` to `{plain}` (version {version})",
            source.name
        ));
    }
    Ok(())
}

/// The same connection by its name, in which case and `_` do not count, or by its address.
fn is_same(name: &str, url: Option<&str>, ours: &str, connection: &ConnectionConfig) -> bool {
    let plain = name.to_lowercase().replace(['_', ' ', '.'], "-");
    let address = |text: &str| text.trim_end_matches('/').to_lowercase();
    plain == ours || url.is_some_and(|url| address(url) == address(connection.url.as_str()))
}
