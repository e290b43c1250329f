//! What a client finds out before it reads: the root document, the dependencies, the snapshots
//! (edfi-wire §1, §3, §9).

use super::{must_get, view};
use crate::sandbox::document::quoted;
use crate::sandbox::options::{ApiVersion, SnapshotMode};
use crate::sandbox::problem::Problem;
use crate::sandbox::server::{Asked, Reply, Shared};
use crate::sandbox::snapshot::Snapshot;

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
    let body = match shared.options.version {
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
        ApiVersion::V6_1 => {
            let year = shared.options.year.map(|year| format!("/{year}")).unwrap_or_default();
            let mode = if year.is_empty() { "Shared Instance" } else { "Year Specific" };
            format!(
                "{{\"version\":\"6.1\",\"informationalVersion\":\"6.1\",\"suite\":\"3\",\
                 \"build\":\"6.1.901.0\",\"apiMode\":\"{mode}\",\"dataModels\":[{models}],\
                 \"urls\":{{\"dependencies\":\"{base}/metadata/data/v3{year}/dependencies\",\
                 \"openApiMetadata\":\"{base}/metadata{year}\",\"oauth\":\"{base}/oauth/token\",\
                 \"dataManagementApi\":\"{base}/data/v3{year}\",\
                 \"xsdMetadata\":\"{base}/metadata{year}/xsd\",\
                 \"changeQueries\":\"{base}/changeQueries/v1{year}\"}}}}"
            )
        }
    };
    Ok(Reply::json(200, body))
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
    let year = match shared.options.version {
        ApiVersion::V6_1 => shared.options.year.map(|year| format!("/{year}")).unwrap_or_default(),
        ApiVersion::V7_3 => String::new(),
    };
    let entries: Vec<String> = ["Resources", "Descriptors"]
        .iter()
        .map(|name| {
            let section = name.to_ascii_lowercase();
            format!(
                "{{\"name\":\"{name}\",\"endpointUri\":\
                 \"{base}/metadata/data/v3{year}/{section}/swagger.json\",\"prefix\":\"\"}}"
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
    if shared.options.version != ApiVersion::V6_1 {
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
