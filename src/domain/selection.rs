//! Which resources a publication publishes.
//!
//! (`include` with prerequisites and `include_only`, or everything when both are empty) less
//! (`exclude` with dependents) less `exclude_only`; `descriptors: false` last (contract,
//! "Configuration"). Names are `students` or `/tpdm/candidates`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::graph::ResourceGraph;
use super::resource::ResourcePath;

/// The selection as the configuration states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    pub include: Vec<String>,
    pub include_only: Vec<String>,
    pub exclude: Vec<String>,
    pub exclude_only: Vec<String>,
    pub descriptors: bool,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection {
            include: Vec::new(),
            include_only: Vec::new(),
            exclude: Vec::new(),
            exclude_only: Vec::new(),
            descriptors: true,
        }
    }
}

/// Names that no resource has, each with the nearest that one has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .unknown.iter().map(UnknownResource::to_string).collect::<Vec<_>>().join("; "))]
pub struct SelectionError {
    pub unknown: Vec<UnknownResource>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{list}` names `{name}`, which neither source nor target has{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct UnknownResource {
    pub list: &'static str,
    pub name: String,
    pub nearest: Option<ResourcePath>,
}

impl Selection {
    /// The resources selected from `graph`, which knows every resource of either end.
    ///
    /// # Errors
    /// All unknown names at once.
    pub fn select(&self, graph: &ResourceGraph) -> Result<BTreeSet<ResourcePath>, SelectionError> {
        let mut unknown = Vec::new();
        let mut resolve = |list: &'static str, names: &[String]| -> Vec<ResourcePath> {
            let mut found = Vec::new();
            for name in names {
                match resolve_name(name, graph) {
                    Ok(resource) => found.push(resource),
                    Err(nearest) => {
                        unknown.push(UnknownResource { list, name: name.clone(), nearest })
                    }
                }
            }
            found
        };
        let include = resolve("resources.include", &self.include);
        let include_only = resolve("resources.include_only", &self.include_only);
        let exclude = resolve("resources.exclude", &self.exclude);
        let exclude_only = resolve("resources.exclude_only", &self.exclude_only);
        if !unknown.is_empty() {
            return Err(SelectionError { unknown });
        }

        let mut selected: BTreeSet<ResourcePath> = if include.is_empty() && include_only.is_empty()
        {
            graph.resources().cloned().collect()
        } else {
            include.iter().flat_map(|r| graph.with_prerequisites(r)).chain(include_only).collect()
        };
        for resource in exclude.iter().flat_map(|r| graph.with_dependents(r)).chain(exclude_only) {
            selected.remove(&resource);
        }
        if !self.descriptors {
            selected.retain(|resource| !resource.is_descriptor());
        }
        Ok(selected)
    }
}

/// The resources that a list names, of which `descriptors` and `people` are whole kinds.
///
/// # Errors
/// All unknown names at once.
pub fn named(
    list: &'static str,
    names: &[String],
    graph: &ResourceGraph,
) -> Result<BTreeSet<ResourcePath>, SelectionError> {
    let mut found = BTreeSet::new();
    let mut unknown = Vec::new();
    for name in names {
        match name.as_str() {
            "descriptors" => {
                found.extend(graph.resources().filter(|one| one.is_descriptor()).cloned());
            }
            "people" => found.extend(graph.resources().filter(|one| graph.is_person(one)).cloned()),
            _ => match resolve_name(name, graph) {
                Ok(resource) => _ = found.insert(resource),
                Err(nearest) => {
                    unknown.push(UnknownResource { list, name: name.clone(), nearest });
                }
            },
        }
    }
    if unknown.is_empty() { Ok(found) } else { Err(SelectionError { unknown }) }
}

/// The resource that `name` means, or the nearest known one.
fn resolve_name(name: &str, graph: &ResourceGraph) -> Result<ResourcePath, Option<ResourcePath>> {
    let wanted = if name.starts_with('/') { name.to_owned() } else { format!("/ed-fi/{name}") };
    let same = |resource: &&ResourcePath| resource.as_str().eq_ignore_ascii_case(&wanted);
    if let Some(resource) = graph.resources().find(same) {
        return Ok(resource.clone());
    }
    let closeness = |resource: &&ResourcePath| {
        let likeness =
            strsim::jaro_winkler(&resource.as_str().to_lowercase(), &wanted.to_lowercase());
        (likeness * 1000.0).round().to_string().parse::<u64>().unwrap_or_default()
    };
    let nearest = graph.resources().max_by_key(closeness).filter(|r| closeness(r) > 800);
    Err(nearest.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> ResourceGraph {
        let path = |name: &str| ResourcePath::parse(name).unwrap();
        ResourceGraph::build(
            [],
            [
                (path("/ed-fi/termDescriptors"), path("/ed-fi/sessions")),
                (path("/ed-fi/schools"), path("/ed-fi/sessions")),
                (path("/ed-fi/sessions"), path("/ed-fi/sections")),
                (path("/ed-fi/schools"), path("/tpdm/candidates")),
            ],
            [],
        )
        .unwrap()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_four_lists_and_the_switch_select_as_the_contract_says() {
        let all = [
            "/ed-fi/schools",
            "/ed-fi/sections",
            "/ed-fi/sessions",
            "/ed-fi/termDescriptors",
            "/tpdm/candidates",
        ];
        for (case, selection, wanted) in [
            ("nothing named is everything", Selection::default(), &all[..]),
            (
                "include brings what it needs",
                Selection { include: names(&["sessions"]), ..Default::default() },
                &["/ed-fi/schools", "/ed-fi/sessions", "/ed-fi/termDescriptors"],
            ),
            (
                "include_only does not",
                Selection { include_only: names(&["sessions"]), ..Default::default() },
                &["/ed-fi/sessions"],
            ),
            (
                "exclude takes what needs it along",
                Selection { exclude: names(&["sessions"]), ..Default::default() },
                &["/ed-fi/schools", "/ed-fi/termDescriptors", "/tpdm/candidates"],
            ),
            (
                "exclude_only does not",
                Selection { exclude_only: names(&["sessions"]), ..Default::default() },
                &[
                    "/ed-fi/schools",
                    "/ed-fi/sections",
                    "/ed-fi/termDescriptors",
                    "/tpdm/candidates",
                ],
            ),
            (
                "no descriptors",
                Selection {
                    descriptors: false,
                    include: names(&["sessions"]),
                    ..Default::default()
                },
                &["/ed-fi/schools", "/ed-fi/sessions"],
            ),
            (
                "an extension by its path",
                Selection { include_only: names(&["/tpdm/candidates"]), ..Default::default() },
                &["/tpdm/candidates"],
            ),
        ] {
            let selected = selection.select(&graph()).unwrap();

            assert_eq!(
                selected.iter().map(ResourcePath::as_str).collect::<Vec<_>>(),
                wanted,
                "{case}"
            );
        }
    }

    #[test]
    fn every_unknown_name_is_told_at_once_with_the_nearest_known_one() {
        let selection = Selection {
            include: names(&["sesions"]),
            exclude: names(&["xyzzy"]),
            ..Default::default()
        };

        let error = selection.select(&graph()).unwrap_err().to_string();

        assert!(error.contains("`resources.include` names `sesions`"), "{error}");
        assert!(error.contains("did you mean `/ed-fi/sessions`?"), "{error}");
        assert!(error.contains("`resources.exclude` names `xyzzy`"), "{error}");
    }
}
