//! What a target lacks of what a publication would bring.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::daemon::Assembly;
use crate::desk::wording::{count, few, many, number};
use crate::domain::ResourcePath;
use crate::edfi::{Api, MemberDifference};
use crate::engine::{Pair, RunError};
use crate::http::ApiRequest;
use crate::telemetry;

use super::{Findings, connection};

/// A page large enough for every school year there is; also the largest that hosts grant.
const PAGE: &str = "500";

pub(super) async fn check(assembly: &Assembly, pair: &Pair) -> Findings {
    let mut findings = Findings::of(&pair.id.target);
    resources(pair, &mut findings).await;
    let source = connection::source_of(assembly, pair);
    let source = source.and_then(|name| assembly.connections.get(name));
    if let (Some(source), Some(target)) = (source, assembly.connections.get(&pair.id.target)) {
        members(pair, source, target, &mut findings).await;
        school_years(pair, source, target, &mut findings).await;
    }
    findings
}

async fn resources(pair: &Pair, findings: &mut Findings) {
    const CHECK: &str = "resources";
    let publication = &pair.id.publication;
    match selected_and_lacking(pair).await {
        Err(error) => {
            findings.error(CHECK, format!("`{publication}`: {}", error.message()), "mend that first");
        }
        Ok((selected, lacking)) if lacking.is_empty() => {
            let selected = count(many(selected), "selected resource");
            findings.ok(CHECK, format!("`{publication}`: the target has all of {selected}"));
        }
        Ok((_, lacking)) => findings.warning(
            CHECK,
            format!("`{publication}`: the target lacks {}", few(&lacking)),
            "install them there or exclude them: a run fails as soon as the source has items of one",
        ),
    }
}

/// What the publication selects of what the source has.
async fn selected(pair: &Pair) -> Result<Vec<ResourcePath>, RunError> {
    let source = pair.source.resources().await.map_err(RunError::Source)?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let both = target.joined_with(&source);
    let selected = pair.policy.selection.select(&both).map_err(RunError::Selection)?;
    Ok(selected.into_iter().filter(|resource| source.contains(resource)).collect())
}

async fn selected_and_lacking(pair: &Pair) -> Result<(usize, Vec<ResourcePath>), RunError> {
    let selected = selected(pair).await?;
    let target = pair.target.resources().await.map_err(RunError::Target)?;
    let lacking = selected.iter().filter(|resource| !target.contains(resource)).cloned().collect();
    Ok((selected.len(), lacking))
}

/// What bodies have at the source and cannot have at the target, and what they must have there.
async fn members(pair: &Pair, source: &Api, target: &Api, findings: &mut Findings) {
    const CHECK: &str = "members";
    let publication = &pair.id.publication;
    let differences = match member_differences(pair, source, target).await {
        Ok(differences) => differences,
        Err(why) => {
            findings.warning(
                CHECK,
                format!("`{publication}`: cannot be compared: {why}"),
                "let the credentials read the OpenAPI documents at both ends",
            );
            return;
        }
    };
    let compared = differences.len();
    if compared == 0 {
        let why = "not both ends describe them in an OpenAPI document: not checked";
        return findings.ok(CHECK, format!("`{publication}`: {why}"));
    }
    let of = |which: fn(&MemberDifference) -> &[String]| -> Vec<String> {
        let differing = differences.iter().filter(|(_, difference)| !which(difference).is_empty());
        differing.map(|(resource, found)| described(resource, which(found))).collect()
    };
    let (lacking, demanded) = (of(|found| &found.lacking), of(|found| &found.demanded));
    if lacking.is_empty() && demanded.is_empty() {
        let resources = count(many(compared), "selected resource");
        findings.ok(CHECK, format!("`{publication}`: the target has all members of {resources}"));
    }
    if !lacking.is_empty() {
        findings.warning(
            CHECK,
            format!("`{publication}`: the target lacks {}", few(&lacking)),
            "bring it to the data model of the source: it refuses these members, or drops them in \
             silence, which `verify --content` finds",
        );
    }
    if !demanded.is_empty() {
        findings.warning(
            CHECK,
            format!("`{publication}`: the target demands {}", few(&demanded)),
            "bring the source to the data model of the target, or exclude the resources: items \
             without these members are refused and parked",
        );
    }
}

/// One resource and some of its members.
fn described(resource: &ResourcePath, members: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = members.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if members.len() > SHOWN {
        text.push_str(&format!(" and {} more", number(many(members.len() - SHOWN))));
    }
    format!("{resource} ({text})")
}

/// Every selected resource that both ends describe, with how they differ.
async fn member_differences(
    pair: &Pair,
    source: &Api,
    target: &Api,
) -> Result<Vec<(ResourcePath, MemberDifference)>, String> {
    let selected = selected(pair).await.map_err(|error| error.message())?;
    let theirs = source.members().await.map_err(|error| telemetry::chain(&error))?;
    let ours = target.members().await.map_err(|error| telemetry::chain(&error))?;
    let compared = |resource: ResourcePath| {
        let difference = ours.against_source(&theirs, &resource)?;
        Some((resource, difference))
    };
    Ok(selected.into_iter().filter_map(compared).collect())
}

/// The document of dependencies leaves them out and clients may not create them (`edfi-wire` §9),
/// so nothing but this look finds that they are missing.
async fn school_years(pair: &Pair, source: &Arc<Api>, target: &Arc<Api>, findings: &mut Findings) {
    const CHECK: &str = "school_years";
    let publication = &pair.id.publication;
    let (source, target) = match (years(source).await, years(target).await) {
        (Ok(source), Ok(target)) => (source, target),
        (Err(why), _) | (_, Err(why)) => {
            findings.warning(
                CHECK,
                format!("`{publication}`: cannot be compared: {why}"),
                "let the credentials read schoolYearTypes at both ends",
            );
            return;
        }
    };
    let missing: Vec<&i64> = source.difference(&target).collect();
    if missing.is_empty() {
        let years = count(many(source.len()), "school year");
        findings.ok(CHECK, format!("`{publication}`: the target has all of {years}"));
    } else {
        findings.warning(
            CHECK,
            format!("`{publication}`: the target lacks {}", few(&missing)),
            "add them at the target: no client may, and what refers to them would be parked",
        );
    }
}

async fn years(api: &Api) -> Result<BTreeSet<i64>, String> {
    let discovery = api.discovered().await.map_err(|error| telemetry::chain(&error))?;
    let resource =
        ResourcePath::parse("/ed-fi/schoolYearTypes").expect("the constant is /schema/collection");
    let mut address = discovery.collection(&resource);
    address.query_pairs_mut().append_pair("limit", PAGE);
    let answer = api.send(ApiRequest::get(address)).await;
    let answer = answer.map_err(|error| telemetry::chain(&error))?;
    if !answer.status().is_success() {
        let connection = api.connection();
        return Err(format!("connection `{connection}` answered {}", answer.status()));
    }
    #[derive(serde::Deserialize)]
    struct Year {
        #[serde(rename = "schoolYear")]
        year: i64,
    }
    let years: Vec<Year> = serde_json::from_slice(answer.body())
        .map_err(|_| format!("connection `{}` answered no list of years", api.connection()))?;
    Ok(years.into_iter().map(|year| year.year).collect())
}
