//! What one connection is and can do.

use std::sync::Arc;

use crate::config::{Isolation, OnMissingSnapshot, PublicationConfig, Publish};
use crate::daemon::{Assembly, unreadable};
use crate::desk::wording::{count, many};
use crate::edfi::{Api, Discovery, SnapshotStyle};
use crate::engine::Pair;
use crate::http::ApiRequest;
use crate::sources::{self, SourceError};
use crate::telemetry;

use super::Findings;

/// The connection that a pair reads from.
pub(super) fn source_of<'a>(assembly: &'a Assembly, pair: &Pair) -> Option<&'a str> {
    Some(publication_of(assembly, pair)?.source.as_str())
}

pub(super) fn uses(assembly: &Assembly, pair: &Pair, connection: &str) -> bool {
    pair.id.target == connection || source_of(assembly, pair) == Some(connection)
}

fn publication_of<'a>(assembly: &'a Assembly, pair: &Pair) -> Option<&'a PublicationConfig> {
    let named = |(name, _): &(&crate::config::PublicationName, &PublicationConfig)| {
        name.as_str() == pair.id.publication
    };
    assembly.config.publications.iter().find(named).map(|(_, publication)| publication)
}

/// Everything about one connection; what cannot be known after a failure is left out.
pub(super) async fn check(
    assembly: &Assembly,
    pairs: &[Pair],
    name: &str,
    api: &Arc<Api>,
) -> Findings {
    let mut findings = Findings::of(name);
    let connections = assembly.config.connections.iter();
    for (known, connection) in connections {
        if known.as_str() != name {
            continue;
        }
        for problem in unreadable(known, connection, assembly.env()) {
            let (message, action) = problem.rsplit_once(": ").unwrap_or((&problem, ""));
            findings.error("secrets", message, action);
        }
    }
    if !findings.checks.is_empty() {
        return findings;
    }

    let Some(discovery) = discovery(api, &mut findings).await else { return findings };
    if !token(api, &mut findings).await {
        return findings;
    }
    permissions(api, &mut findings).await;
    let read_by: Vec<&Pair> =
        pairs.iter().filter(|pair| source_of(assembly, pair) == Some(name)).collect();
    change_queries(api, &discovery, !read_by.is_empty(), &mut findings).await;
    dependencies(api, &mut findings).await;
    if let Some(pair) = read_by.first() {
        let readers: Vec<&PublicationConfig> =
            read_by.iter().filter_map(|pair| publication_of(assembly, pair)).collect();
        snapshots(pair, &discovery, &readers, &mut findings).await;
        feeds(&discovery, &readers, &mut findings);
    }
    findings
}

async fn discovery(api: &Api, findings: &mut Findings) -> Option<Arc<Discovery>> {
    match api.discovered().await {
        Ok(discovery) => {
            let models: Vec<String> = discovery
                .root
                .data_models
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect();
            let version = &discovery.root.version;
            findings.ok("discovery", format!("Ed-Fi ODS/API {version} with {}", models.join(", ")));
            Some(discovery)
        }
        Err(error) => {
            findings.failed("discovery", &error);
            None
        }
    }
}

async fn token(api: &Api, findings: &mut Findings) -> bool {
    match api.token().await {
        Ok(_) => {
            findings.ok("token", "the credentials are taken");
            true
        }
        Err(error) => {
            findings.failed("token", &error);
            false
        }
    }
}

/// Not every host has the route, and it says little of a run: what it does not tell is no error.
async fn permissions(api: &Api, findings: &mut Findings) {
    let Ok(Some(info)) = api.token_info().await else {
        findings.ok("permissions", "the host does not tell: not checked");
        return;
    };
    let claims = info.claim_set().map_or_else(String::new, |name| format!("claim set {name}; "));
    let organizations = many(info.education_organizations().count());
    let organizations = count(organizations, "education organization");
    findings.ok("permissions", format!("{claims}{organizations}"));
}

async fn change_queries(
    api: &Api,
    discovery: &Discovery,
    is_source: bool,
    findings: &mut Findings,
) {
    const CHECK: &str = "change_queries";
    let answer = api.send(ApiRequest::get(discovery.available_change_versions())).await;
    match answer {
        Err(error) => findings.failed(CHECK, &error),
        Ok(answer) if answer.status().is_success() => match newest(answer.body()) {
            Some(newest) => {
                findings.ok(CHECK, format!("the newest change version is {newest}"));
            }
            None => findings.error(
                CHECK,
                "the newest change version is not told in a way that can be read",
                "check what stands between here and the API",
            ),
        },
        Ok(answer) if is_source => findings.error(
            CHECK,
            format!("the newest change version cannot be asked for ({})", answer.status()),
            "enable change queries at the source (its `ChangeQueries` feature), and let the \
             credentials read them",
        ),
        Ok(answer) => findings.warning(
            CHECK,
            format!("there are none ({})", answer.status()),
            "a target works without, but one that was restored is not noticed",
        ),
    }
}

/// `newestChangeVersion`, whatever its capitals (`edfi-wire` §3).
fn newest(body: &[u8]) -> Option<i64> {
    let answer: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let newest =
        answer.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("newestChangeVersion"))?;
    newest.1.as_i64()
}

async fn dependencies(api: &Api, findings: &mut Findings) {
    match api.dependencies().await {
        Ok(graph) => {
            let resources = count(many(graph.len()), "resource");
            findings.ok("dependencies", format!("{resources}, in an order without a cycle"));
        }
        Err(error) => findings.failed("dependencies", &error),
    }
}

async fn snapshots(
    pair: &Pair,
    discovery: &Discovery,
    readers: &[&PublicationConfig],
    findings: &mut Findings,
) {
    const CHECK: &str = "snapshots";
    let needed = readers.iter().any(|publication| {
        publication.isolation == Isolation::Snapshot
            && publication.on_missing_snapshot == OnMissingSnapshot::Fail
    });
    let missing = match discovery.dialect.snapshots {
        SnapshotStyle::None => Some("this version has none".to_owned()),
        SnapshotStyle::UseSnapshotHeader | SnapshotStyle::SnapshotIdentifier => {
            match pair.source.open(sources::Isolation::Snapshot).await {
                Ok(reader) => {
                    let newest = reader.newest();
                    findings.ok(CHECK, format!("there is one, through version {newest}"));
                    None
                }
                Err(SourceError::SnapshotMissing { .. }) => {
                    Some("this version has them, and there is none now".to_owned())
                }
                Err(error) => Some(telemetry::chain(&error)),
            }
        }
    };
    let Some(missing) = missing else { return };
    if needed {
        findings.error(
            CHECK,
            missing,
            "create one at the source, or set `isolation: bounded` or `on_missing_snapshot: bounded`",
        );
    } else {
        findings.ok(CHECK, format!("{missing}; the publications do without"));
    }
}

fn feeds(discovery: &Discovery, readers: &[&PublicationConfig], findings: &mut Findings) {
    let dialect = discovery.dialect;
    let wanted = |of: fn(&PublicationConfig) -> Publish| {
        readers.iter().any(|publication| of(publication) == Publish::Publish)
    };
    for (check, told, wanted) in [
        ("deletes", dialect.deletes_have_keys, wanted(|publication| publication.deletes)),
        ("key_changes", dialect.key_changes, wanted(|publication| publication.key_changes)),
    ] {
        match (told, wanted) {
            (true, _) => findings.ok(check, "the source tells them"),
            (false, false) => findings.ok(check, "the source does not tell them; skipped"),
            (false, true) => findings.error(
                check,
                "the source cannot tell them",
                format!("set `{check}: skip`, and use `tidemark verify` to find what that leaves"),
            ),
        }
    }
    if dialect.cursor_paging {
        findings.ok("cursor_paging", "pages are read by cursor");
    } else {
        findings.ok("cursor_paging", "there is none: closed ranges of versions are read instead");
    }
}
