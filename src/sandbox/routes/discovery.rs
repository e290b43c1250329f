//! What a client finds out before it reads: the root document, the dependencies, the snapshots
//! (edfi-wire §1, §3, §9).

use super::{must_get, view};
use crate::sandbox::document::quoted;
use crate::sandbox::options::SnapshotMode;
use crate::sandbox::problem::Problem;
use crate::sandbox::server::{Asked, Reply, Shared};
use crate::sandbox::snapshot::Snapshot;
use crate::sandbox::version::{ApiVersion, SnapshotHeader};

/// `GET /`.
pub(in crate::sandbox) fn root(shared: &Shared, asked: &Asked) -> Result<Reply, Problem> {
    must_get(asked)?;
    let base = shared.base();
    let models: Vec<String> = shared
        .standard
        .data_models
        .iter()
        .map(|(name, version, informational)| {
            format!(
                "{{\"name\":{},\"version\":{},\"informationalVersion\":{}}}",
                quoted(name),
                quoted(version),
                quoted(informational)
            )
        })
        .collect();
    let models = models.join(",");
    let version = shared.options.version.as_str();
    let body = match shared.options.version {
        ApiVersion::V5_3 | ApiVersion::V6_1 => root_by_mode(shared, &models),
        ApiVersion::V7_1 | ApiVersion::V7_2 => format!(
            "{{\"version\":\"{version}\",\"informationalVersion\":\"{version}\",\"suite\":\"3\",\
             \"build\":\"{version}.1440.0\",\"dataModels\":[{models}],\"urls\":{{\
             \"dependencies\":\"{base}/metadata/data/v3/dependencies\",\
             \"openApiMetadata\":\"{base}/metadata/\",\"oauth\":\"{base}/oauth/token\",\
             \"dataManagementApi\":\"{base}/data/v3/\",\"xsdMetadata\":\"{base}/metadata/xsd\",\
             \"changeQueries\":\"{base}/changeQueries/v1/\"}}}}"
        ),
        ApiVersion::V7_3 => format!(
            "{{\"version\":\"7.3\",\"applicationName\":\"Ed-Fi Alliance ODS/API\",\
             \"informationalVersion\":\"7.3.2\",\"suite\":\"3\",\"build\":\"7.3.20240.0\",\
             \"dataModels\":[{models}],\"urls\":{{\
             \"dependencies\":\"{base}/metadata/data/v3/dependencies\",\
             \"openApiMetadata\":\"{base}/metadata/\",\"oauth\":\"{base}/oauth/token\",\
             \"oauthTokenIntrospection\":\"{base}/oauth/token_info\",\
             \"dataManagementApi\":\"{base}/data/v3/\",\"xsdMetadata\":\"{base}/metadata/xsd\",\
             \"changeQueries\":\"{base}/changeQueries/v1/\"}}}}"
        ),
        ApiVersion::V8_0 => format!(
            "{{\"version\":\"8.0.0\",\"applicationName\":\"Ed-Fi API\",\
             \"informationalVersion\":\"8.0.0\",\"dataModels\":[{models}],\"urls\":{{\
             \"dependencies\":\"{base}/metadata/dependencies\",\
             \"openApiMetadata\":\"{base}/metadata/specifications\",\
             \"oauth\":\"{base}/oauth/token\",\"tokenInfo\":\"{base}/oauth/token_info\",\
             \"dataManagementApi\":\"{base}/data\",\
             \"changeQueries\":\"{base}/changeQueries/v1/\",\
             \"xsdMetadata\":\"{base}/metadata/xsd\"}}}}"
        ),
    };
    Ok(Reply::json(200, body))
}

/// Before 7.0: with the mode, and with the school year inside the addresses. 5.3 does not name
/// the address of change queries even where they are on.
fn root_by_mode(shared: &Shared, models: &str) -> String {
    let base = shared.base();
    let version = shared.options.version.as_str();
    let year = shared.year_inside();
    let mode = if year.is_empty() { "Shared Instance" } else { "Year Specific" };
    let change_queries = match shared.options.version {
        ApiVersion::V5_3 => String::new(),
        _ => format!(",\"changeQueries\":\"{base}/changeQueries/v1{year}\""),
    };
    format!(
        "{{\"version\":\"{version}\",\"informationalVersion\":\"{version}\",\"suite\":\"3\",\
         \"build\":\"{version}.901.0\",\"apiMode\":\"{mode}\",\"dataModels\":[{models}],\
         \"urls\":{{\"dependencies\":\"{base}/metadata/data/v3{year}/dependencies\",\
         \"openApiMetadata\":\"{base}/metadata{year}\",\"oauth\":\"{base}/oauth/token\",\
         \"dataManagementApi\":\"{base}/data/v3{year}\",\
         \"xsdMetadata\":\"{base}/metadata{year}/xsd\"{change_queries}}}}}"
    )
}

/// The dependencies, as a graph if the client accepts one.
pub(in crate::sandbox) fn dependencies(shared: &Shared, asked: &Asked) -> Result<Reply, Problem> {
    must_get(asked)?;
    let wants_graph =
        asked.header("accept").is_some_and(|accept| accept.contains("application/graphml"));
    if wants_graph {
        let mut reply = Reply::json(200, shared.standard.dependencies_graphml.clone());
        reply.media_type = "application/graphml";
        return Ok(reply);
    }
    Ok(Reply::json(200, shared.standard.dependencies_json.clone()))
}

/// The list of OpenAPI documents.
pub(in crate::sandbox) fn metadata_list(shared: &Shared, asked: &Asked) -> Result<Reply, Problem> {
    must_get(asked)?;
    let base = shared.base();
    let entries: Vec<String> = ["Resources", "Descriptors"]
        .iter()
        .map(|name| {
            let section = name.to_ascii_lowercase();
            let place = match shared.options.version.is_8() {
                true => format!("specifications/{section}-spec.json"),
                false => format!("data/v3{}/{section}/swagger.json", shared.year_inside()),
            };
            format!(
                "{{\"name\":\"{name}\",\"endpointUri\":\"{base}/metadata/{place}\",\
                 \"prefix\":\"\"}}"
            )
        })
        .collect();
    Ok(Reply::json(200, format!("[{}]", entries.join(","))))
}

/// The snapshots of an old server: a list, or the one of that id.
pub(in crate::sandbox) fn snapshots(
    shared: &Shared,
    asked: &Asked,
    id: Option<&str>,
) -> Result<Reply, Problem> {
    if shared.options.version.snapshots() != SnapshotHeader::Identifier {
        return Err(Problem::no_such_route());
    }
    must_get(asked)?;
    // The header, if it is sent, must name one that is there.
    view(shared, &shared.read(), asked)?;
    if id.is_none() && shared.options.snapshots == SnapshotMode::Auto {
        shared.write().take_snapshot();
    }
    let world = shared.read();
    let all = world.snapshots.all();
    let Some(id) = id else {
        let items: Vec<String> = all.iter().rev().map(written).collect();
        return Ok(Reply::json(200, format!("[{}]", items.join(","))));
    };
    let found = all.iter().find(|snapshot| snapshot.identifier.eq_ignore_ascii_case(id));
    let found = found.ok_or_else(Problem::no_such_item)?;
    Ok(Reply::json(200, written(found)))
}

fn written(snapshot: &Snapshot) -> String {
    format!(
        "{{\"id\":\"{0}\",\"snapshotIdentifier\":\"{0}\",\"snapshotDateTime\":\"{1}\"}}",
        snapshot.identifier,
        snapshot.moment.format("%Y-%m-%dT%H:%M:%S%.6fZ")
    )
}
