//! What no single value can tell: references between entries, publications that meet each other,
//! and secrets that cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use url::{Host, Url};

use super::decode::{Placed, Report};
use super::entries::{Decoded, References};
use super::names::{ConnectionName, PublicationName};
use super::problem::{Problem, hint};
use super::tree::{Config, ConnectionConfig, PublicationConfig, ResourcesConfig, SoleWriter};

/// Reports limits and connections that do not exist, and connections that are named twice or are
/// source and target at once.
pub(super) fn references(decoded: &Decoded, report: &mut Report<'_>) {
    let limits: Vec<&str> = decoded.limits.iter().map(String::as_str).collect();
    for named in &decoded.limited {
        if !limits.contains(&named.value.as_str()) {
            let hint = hint(named.value.as_str(), &limits);
            let message = format!("no limit is called `{}`{hint}", named.value);
            report.problem(&named.path, named.place.clone(), message);
        }
    }
    predecessors(decoded, report);
    let known: BTreeSet<&str> = decoded.names.iter().map(String::as_str).collect();
    for References { source, targets, .. } in &decoded.references {
        for named in source.iter().chain(targets) {
            if !known.contains(named.value.as_str()) {
                let known: Vec<&str> = known.iter().copied().collect();
                let hint = hint(named.value.as_str(), &known);
                complain(report, named, format!("no connection is called `{}`{hint}", named.value));
            }
        }
        for (index, target) in targets.iter().enumerate() {
            if source.as_ref().is_some_and(|source| source.value == target.value) {
                let message = format!("`{}` is the source: name another target", target.value);
                complain(report, target, message);
            }
            if targets[..index].iter().any(|earlier| earlier.value == target.value) {
                let message = format!("`{}` is named twice: remove one", target.value);
                complain(report, target, message);
            }
        }
    }
}

/// Reports publications in `after` that do not exist, and those that wait for each other.
fn predecessors(decoded: &Decoded, report: &mut Report<'_>) {
    let by_name: BTreeMap<&str, &References> =
        decoded.references.iter().map(|named| (named.publication.as_str(), named)).collect();
    let known: Vec<&str> = by_name.keys().copied().collect();
    for References { publication, after, .. } in &decoded.references {
        for named in after {
            let name = named.value.as_str();
            let message = if !by_name.contains_key(name) {
                format!("no publication is called `{name}`{}", hint(name, &known))
            } else if waits_for(name, publication, &by_name) {
                format!("`{name}` waits for `{publication}` in its turn: neither would ever run")
            } else {
                continue;
            };
            report.problem(&named.path, named.place.clone(), message);
        }
    }
}

/// Whether `one` waits for `other`, be it through more of them; it waits for itself.
fn waits_for(one: &str, other: &str, by_name: &BTreeMap<&str, &References>) -> bool {
    let (mut ahead, mut seen) = (vec![one], BTreeSet::new());
    while let Some(name) = ahead.pop() {
        if name == other {
            return true;
        }
        if seen.insert(name) {
            let after = by_name.get(name).map(|named| named.after.as_slice()).unwrap_or_default();
            ahead.extend(after.iter().map(|named| named.value.as_str()));
        }
    }
    false
}

fn complain(report: &mut Report<'_>, named: &Placed<ConnectionName>, message: String) {
    report.problem(&named.path, named.place.clone(), message);
}

/// Warns of what is allowed and seldom meant.
pub(super) fn doubts(config: &Config, report: &mut Report<'_>) {
    if config.publications.is_empty() {
        let message = "no publication is configured: there is nothing to publish".to_owned();
        report.warning(&[], None, message);
    }
    for (name, connection) in &config.connections {
        in_the_clear(name, connection, report);
    }
    let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, publication) in &config.publications {
        same_address(config, name, publication, report);
        let earlier = by_source.entry(&publication.source).or_default();
        overlaps(earlier, name, publication, report);
        earlier.push((name, publication));
    }
    several_owners(config, report);
}

/// Credentials and data about children go in the clear beyond private networks.
fn in_the_clear(name: &ConnectionName, connection: &ConnectionConfig, report: &mut Report<'_>) {
    if connection.url.scheme() == "https" || is_private(&connection.url) {
        return;
    }
    let path = ["connections".to_owned(), name.to_string(), "url".to_owned()];
    let place = report.key_place(&path);
    let message = "key, secret and data are sent in the clear, perhaps beyond a private network: \
                   write https://";
    report.warning(&path, place, message.to_owned());
}

/// Whether an address is one of this machine or of a private network, as far as can be told without
/// asking anybody: a name without a dot, or one that only private networks have.
fn is_private(url: &Url) -> bool {
    const PRIVATE: [&str; 5] = [".local", ".internal", ".svc", ".lan", ".localhost"];
    match url.host() {
        Some(Host::Ipv4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || PRIVATE.iter().any(|end| name.ends_with(end))
        }
        None => false,
    }
}

fn same_address(
    config: &Config,
    name: &PublicationName,
    publication: &PublicationConfig,
    report: &mut Report<'_>,
) {
    for target in &publication.targets {
        if config.is_same_data(&publication.source, target) {
            let message = format!(
                "the source `{}` and the target `{target}` have the same address: make sure that \
                 their keys lead to different data",
                publication.source
            );
            warn(report, name, "targets", message);
        }
    }
}

/// `earlier` are those of the same source.
fn overlaps(
    earlier: &[(&PublicationName, &PublicationConfig)],
    name: &PublicationName,
    publication: &PublicationConfig,
    report: &mut Report<'_>,
) {
    for (other_name, other) in earlier {
        if !may_meet(&other.resources, &publication.resources) {
            continue;
        }
        for target in publication.targets.iter().filter(|target| other.targets.contains(target)) {
            let message = format!(
                "publishes from `{}` to `{target}` as `{other_name}` does, and their resources \
                 may overlap: select different ones",
                publication.source
            );
            warn(report, name, "resources", message);
        }
    }
}

/// Publications of different sources that would each rename and delete the same resources of one
/// target: said once for the target. Who writes `sole_writer: false` knows of the others.
fn several_owners(config: &Config, report: &mut Report<'_>) {
    let mut by_data: BTreeMap<_, Vec<(&PublicationName, &ConnectionName)>> = BTreeMap::new();
    for (name, publication) in &config.publications {
        if publication.sole_writer == SoleWriter::No || owns_nothing(publication) {
            continue;
        }
        for target in &publication.targets {
            let Some(connection) = config.connections.get(target) else { continue };
            by_data.entry(address(connection)).or_default().push((name, target));
        }
    }
    for writers in by_data.into_values() {
        let of = |name: &PublicationName| &config.publications[name];
        let meets = |(one, _): &&(&PublicationName, &ConnectionName)| {
            writers.iter().any(|(other, _)| {
                of(one).source != of(other).source
                    && may_meet(&of(one).resources, &of(other).resources)
            })
        };
        let owners: Vec<_> = writers.iter().filter(meets).collect();
        let Some((first, target)) = owners.first() else { continue };
        let names: Vec<String> = owners.iter().map(|(name, _)| format!("`{name}`")).collect();
        let message = format!(
            "{} each rename and delete at `{target}`, and their resources may be the same: list \
             what they have in common under `shared` or `create_only`, or write `sole_writer: \
             false` where that is meant",
            few(&names)
        );
        warn(report, first, "targets", message);
    }
}

/// `a, b and 598 more`.
fn few(names: &[String]) -> String {
    match names {
        [one, other] => format!("{one} and {other}"),
        [one, other, rest @ ..] => format!("{one}, {other} and {} more", rest.len()),
        few => few.join(", "),
    }
}

/// Everything that it lists is shared, or somebody else's.
fn owns_nothing(publication: &PublicationConfig) -> bool {
    let given_up = |resource: &String| {
        let mut lists = publication.shared.iter().chain(&publication.create_only);
        lists.any(|name| plain(name) == plain(resource))
    };
    spelled_out(&publication.resources).is_some_and(|only| only.iter().all(given_up))
}

fn warn(report: &mut Report<'_>, name: &PublicationName, key: &str, message: String) {
    let path = ["publications".to_owned(), name.to_string(), key.to_owned()];
    let place = report.key_place(&path);
    report.warning(&path, place, message);
}

/// Whether two selections may hold the same resource. What depends on what is not known here, so
/// only selections that are spelled out are told apart.
fn may_meet(one: &ResourcesConfig, other: &ResourcesConfig) -> bool {
    let (Some(one_only), Some(other_only)) = (spelled_out(one), spelled_out(other)) else {
        return !(leaves_out(one, other) || leaves_out(other, one));
    };
    one_only.iter().any(|resource| other_only.iter().any(|same| plain(same) == plain(resource)))
}

/// The only resources of a selection, when it lists them one by one.
fn spelled_out(resources: &ResourcesConfig) -> Option<&[String]> {
    let lists = resources.include.is_empty() && !resources.include_only.is_empty();
    lists.then_some(&resources.include_only)
}

/// Whether `one` excludes by name everything that `other` spells out.
fn leaves_out(one: &ResourcesConfig, other: &ResourcesConfig) -> bool {
    let excluded = |resource: &String| {
        let mut names = one.exclude.iter().chain(&one.exclude_only);
        names.any(|name| plain(name) == plain(resource))
    };
    spelled_out(other).is_some_and(|only| only.iter().all(excluded))
}

/// `/ed-fi/students` and `students` are the same.
fn plain(resource: &str) -> &str {
    resource.strip_prefix("/ed-fi/").unwrap_or(resource)
}

impl Config {
    /// Whether a publication may take the data of a target for its own: nobody else writes to it,
    /// or a person said so. `auto` looks at every publication that writes to the same address,
    /// school year and instance with a selection that may hold the same resources.
    pub fn is_sole_writer(&self, name: &PublicationName, target: &ConnectionName) -> bool {
        let Some(publication) = self.publications.get(name) else {
            return false;
        };
        match publication.sole_writer {
            SoleWriter::Yes => true,
            SoleWriter::No => false,
            SoleWriter::Auto => self.publications.iter().all(|(other_name, other)| {
                other_name == name
                    || !other.targets.iter().any(|theirs| self.is_same_data(theirs, target))
                    || !may_meet(&other.resources, &publication.resources)
            }),
        }
    }

    /// Every secret that cannot be read now, in order of name.
    pub fn check_secrets(&self, env: &BTreeMap<String, String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, connection) in &self.connections {
            for (key, secret) in [("key", &connection.key), ("secret", &connection.secret)] {
                let Err(error) = secret.read(env) else {
                    continue;
                };
                let message = match error.source() {
                    Some(cause) => format!("{error} ({cause})"),
                    None => error.to_string(),
                };
                problems.push(Problem {
                    key_path: format!("connections.{name}.{key}"),
                    place: secret.place().cloned(),
                    message,
                });
            }
        }
        problems
    }

    fn is_same_data(&self, one: &ConnectionName, other: &ConnectionName) -> bool {
        if one == other {
            return true;
        }
        match (self.connections.get(one), self.connections.get(other)) {
            (Some(one), Some(other)) => address(one) == address(other),
            _ => false,
        }
    }
}

fn address(connection: &ConnectionConfig) -> (&str, Option<u16>, Option<&str>) {
    let url = connection.url.as_str().trim_end_matches('/');
    (url, connection.school_year, connection.instance.as_deref())
}
