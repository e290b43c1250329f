//! The dependency document in its two forms, made into one graph (`edfi-wire §9`).
//!
//! People are in the document twice: created early, updated after their association. GraphML
//! spells the second as `students#Retry`, the JSON form as a second entry with `Update` alone. In
//! the graph they stand once, and the associations hang from [`ResourceGraph::people`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::domain::{DependencyCycle, ResourceGraph, ResourcePath};

const RETRY: &str = "#Retry";

/// After which associations people can be updated, where the document does not say it.
const ASSOCIATIONS: &[(&str, &[&str])] = &[
    ("/ed-fi/students", &["/ed-fi/studentSchoolAssociations"]),
    (
        "/ed-fi/staffs",
        &[
            "/ed-fi/staffEducationOrganizationEmploymentAssociations",
            "/ed-fi/staffEducationOrganizationAssignmentAssociations",
        ],
    ),
    ("/ed-fi/contacts", &["/ed-fi/studentContactAssociations", "/ed-fi/studentSchoolAssociations"]),
    ("/ed-fi/parents", &["/ed-fi/studentParentAssociations", "/ed-fi/studentSchoolAssociations"]),
];

/// Why a dependency document is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DependenciesError {
    #[error("the dependency document is not what it should be: {0}")]
    Shape(String),

    #[error(transparent)]
    Cycle(#[from] DependencyCycle),
}

/// Reads either form; which one it is shows in its first byte.
///
/// # Errors
/// Another document, a cut one, a name that is no resource, an empty one, or a cycle.
pub fn read(document: &[u8]) -> Result<ResourceGraph, DependenciesError> {
    let text = std::str::from_utf8(document).map_err(|_| shape("it is not valid UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let graph = match text.as_bytes().first() {
        Some(b'<') => read_graphml(text)?,
        Some(b'[') => read_levels(text)?,
        Some(_) | None => return Err(shape("it is neither GraphML nor a JSON array")),
    };
    if graph.is_empty() {
        return Err(shape("it names no resource"));
    }
    Ok(graph)
}

fn read_graphml(text: &str) -> Result<ResourceGraph, DependenciesError> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options)
        .map_err(|_| shape("it is HTML, or GraphML that was cut off"))?;
    if document.root_element().tag_name().name() != "graphml" {
        return Err(shape("it is HTML or XML of another kind"));
    }
    let mut resources = Vec::new();
    let mut edges = Vec::new();
    for element in document.descendants() {
        let attribute = |name: &str| {
            element.attribute(name).ok_or_else(|| shape("an element of its graph has no name"))
        };
        match element.tag_name().name() {
            "node" => resources.push(Node::parse(attribute("id")?)?),
            "edge" => {
                edges
                    .push((Node::parse(attribute("source")?)?, Node::parse(attribute("target")?)?));
            }
            _ => {}
        }
    }
    Ok(fold(resources, edges)?)
}

/// A resource, or its second turn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    resource: ResourcePath,
    is_retry: bool,
}

impl Node {
    fn parse(name: &str) -> Result<Node, DependenciesError> {
        let (plain, is_retry) = match name.strip_suffix(RETRY) {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let resource = ResourcePath::parse(plain)
            .ok_or_else(|| shape("it names something that is no `/schema/collection`"))?;
        Ok(Node { resource, is_retry })
    }
}

/// Lets people stand in the graph once: what comes after their second turn comes after them and
/// after every association that their second turn waits for.
fn fold(nodes: Vec<Node>, edges: Vec<(Node, Node)>) -> Result<ResourceGraph, DependencyCycle> {
    let mut people: BTreeMap<ResourcePath, BTreeSet<ResourcePath>> = BTreeMap::new();
    for (before, after) in &edges {
        if after.is_retry && before.resource != after.resource {
            people.entry(after.resource.clone()).or_default().insert(before.resource.clone());
        }
    }
    // Hosts before 7 tell a graph without second turns, though they refuse people just the same.
    let known: BTreeSet<&ResourcePath> = nodes.iter().map(|node| &node.resource).collect();
    for (person, associations) in ASSOCIATIONS {
        let Some(person) = ResourcePath::parse(person).filter(|person| known.contains(person))
        else {
            continue;
        };
        let present = parsed(associations).filter(|association| known.contains(association));
        people.entry(person).or_insert_with(|| present.collect());
    }
    people.retain(|_, associations| !associations.is_empty());

    let mut folded = Vec::new();
    for (before, after) in &edges {
        if after.is_retry {
            continue;
        }
        folded.push((before.resource.clone(), after.resource.clone()));
        if before.is_retry {
            let associations = people.get(&before.resource).into_iter().flatten();
            folded.extend(associations.map(|a| (a.clone(), after.resource.clone())));
        }
    }
    let pairs =
        people.iter().flat_map(|(person, after)| after.iter().map(|a| (person.clone(), a.clone())));
    ResourceGraph::build(nodes.into_iter().map(|node| node.resource), folded, pairs)
}

#[derive(Deserialize)]
struct Entry {
    resource: String,
    order: i64,
    #[serde(default)]
    operations: Vec<String>,
}

/// Levels tell no edges, so every resource waits for the whole level before its own.
fn read_levels(text: &str) -> Result<ResourceGraph, DependenciesError> {
    let entries: Vec<Entry> = serde_json::from_str(text)
        .map_err(|_| shape("its entries are not resources with an order, or it was cut off"))?;
    let mut levels: BTreeMap<i64, Vec<ResourcePath>> = BTreeMap::new();
    let mut updates: Vec<(ResourcePath, i64)> = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in entries {
        let node = Node::parse(&entry.resource)?;
        let creates = entry.operations.iter().any(|name| name.eq_ignore_ascii_case("create"));
        if creates || entry.operations.is_empty() {
            seen.insert(node.resource.clone());
            levels.entry(entry.order).or_default().push(node.resource);
        } else {
            updates.push((node.resource, entry.order));
        }
    }
    let mut pairs = Vec::new();
    for (person, order) in updates {
        let associations = associations_of(&person, order, &seen, &levels);
        pairs.extend(associations.into_iter().map(|a| (person.clone(), a)));
        if seen.insert(person.clone()) {
            // Never created here, but named: it must not get lost.
            levels.entry(order).or_default().push(person);
        }
    }
    let mut edges = Vec::new();
    for (before, after) in levels.values().zip(levels.values().skip(1)) {
        for after in after {
            edges.extend(before.iter().map(|before| (before.clone(), after.clone())));
        }
    }
    Ok(ResourceGraph::build(seen, edges, pairs)?)
}

fn associations_of(
    person: &ResourcePath,
    order: i64,
    known: &BTreeSet<ResourcePath>,
    levels: &BTreeMap<i64, Vec<ResourcePath>>,
) -> Vec<ResourcePath> {
    let named = ASSOCIATIONS.iter().find(|(name, _)| *name == person.as_str());
    let named: Vec<ResourcePath> = named
        .into_iter()
        .flat_map(|(_, associations)| parsed(associations))
        .filter(|resource| known.contains(resource))
        .collect();
    if !named.is_empty() {
        return named;
    }
    levels.get(&(order - 1)).into_iter().flatten().filter(|r| *r != person).cloned().collect()
}

fn parsed<'a>(names: &'a [&str]) -> impl Iterator<Item = ResourcePath> + 'a {
    names.iter().filter_map(|name| ResourcePath::parse(name))
}

fn shape(what: &str) -> DependenciesError {
    DependenciesError::Shape(what.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn path(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    fn graphml(nodes: &[&str], edges: &[(&str, &str)]) -> String {
        let nodes: String =
            nodes.iter().map(|node| format!("<node id=\"/ed-fi/{node}\"/>")).collect();
        let edges: String = edges
            .iter()
            .map(|(a, b)| format!("<edge source=\"/ed-fi/{a}\" target=\"/ed-fi/{b}\"/>"))
            .collect();
        format!(
            "<?xml version=\"1.0\"?><graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\"><graph id=\"g\" edgedefault=\"directed\">{nodes}{edges}</graph></graphml>"
        )
    }

    const ENROLMENT: &[(&str, &str)] = &[
        ("students", "studentSchoolAssociations"),
        ("studentSchoolAssociations", "students#Retry"),
        ("students#Retry", "grades"),
    ];

    #[test]
    fn people_stand_in_the_graph_once_and_know_their_association() {
        let document = graphml(&["students#Retry", "lonely"], ENROLMENT);

        let graph = read(document.as_bytes()).unwrap();

        assert_eq!(
            graph.resources().cloned().collect::<Vec<_>>(),
            [path("grades"), path("lonely"), path("studentSchoolAssociations"), path("students")]
        );
        assert_eq!(
            graph.prerequisites(&path("grades")).cloned().collect::<Vec<_>>(),
            [path("studentSchoolAssociations"), path("students")]
        );
        assert_eq!(
            graph.people().get(&path("students")),
            Some(&BTreeSet::from([path("studentSchoolAssociations")]))
        );
    }

    #[test]
    fn people_of_a_graph_without_second_turns_wait_for_the_associations_that_are_known() {
        let nodes = ["students", "studentSchoolAssociations", "staffs"];
        let document = graphml(&nodes, &[("students", "studentSchoolAssociations")]);

        let graph = read(document.as_bytes()).unwrap();

        assert_eq!(
            graph.people().get(&path("students")),
            Some(&BTreeSet::from([path("studentSchoolAssociations")]))
        );
        assert!(!graph.is_person(&path("staffs")));
    }

    #[test]
    fn levels_put_every_resource_after_the_level_before() {
        let document = br#"[
            {"resource":"/ed-fi/schools","order":1,"operations":["Create","Update"]},
            {"resource":"/ed-fi/students","order":1,"operations":["Create"]},
            {"resource":"/ed-fi/studentSchoolAssociations","order":2,"operations":["Create","Update"]},
            {"resource":"/ed-fi/students","order":3,"operations":["Update"]},
            {"resource":"/ed-fi/grades","order":4,"operations":["Create","Update"]},
            {"resource":"/x/elders","order":4,"operations":["Create"]},
            {"resource":"/x/bonds","order":6,"operations":["Create","Update"]},
            {"resource":"/x/elders","order":7,"operations":["Update"]}]"#;

        let graph = read(document).unwrap();

        assert_eq!(
            graph.prerequisites(&path("grades")).cloned().collect::<Vec<_>>(),
            [path("studentSchoolAssociations")]
        );
        assert_eq!(
            graph.people().get(&path("students")),
            Some(&BTreeSet::from([path("studentSchoolAssociations")]))
        );
        let elders = ResourcePath::parse("/x/elders").unwrap();
        let bonds = ResourcePath::parse("/x/bonds").unwrap();
        assert_eq!(graph.people().get(&elders), Some(&BTreeSet::from([bonds])));
    }

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn both_forms_of_a_real_document_tell_the_same_people_and_no_other_order() {
        let graphml = unpacked(include_bytes!("../../data/edfi/dependencies.graphml.gz"));
        let json = unpacked(include_bytes!("../../data/edfi/dependencies.json.gz"));

        let by_edges = read(&graphml).unwrap();
        let by_levels = read(&json).unwrap();

        assert_eq!(by_edges.len(), 348);
        assert_eq!(
            by_edges.resources().collect::<Vec<_>>(),
            by_levels.resources().collect::<Vec<_>>()
        );
        assert_eq!(
            by_edges.people().keys().collect::<Vec<_>>(),
            [&path("contacts"), &path("staffs"), &path("students")]
        );
        for (person, associations) in by_edges.people() {
            assert!(by_levels.people()[person].is_superset(associations), "{person}");
        }
        let order = by_levels.in_order();
        let turn = |resource| order.iter().position(|other| other == resource);
        for resource in by_edges.resources() {
            for before in by_edges.prerequisites(resource) {
                assert!(turn(before) < turn(resource), "{before} before {resource}");
            }
        }
    }

    #[test]
    fn a_cycle_names_its_members() {
        let document = graphml(&[], &[("a", "b"), ("b", "a")]);

        let error = read(document.as_bytes()).unwrap_err();

        assert!(matches!(&error, DependenciesError::Cycle(cycle) if cycle.members.len() == 2));
    }

    #[test]
    fn what_is_no_dependency_document_is_an_error_and_never_an_empty_graph() {
        let whole = graphml(&["a"], ENROLMENT);
        for document in [
            "",
            "[]",
            "{}",
            "<html><body>Sign in</body></html>",
            "<html><br></html>",
            &whole[..whole.len() - 20],
            &graphml(&[], &[]),
            "[{\"resource\":\"/ed-fi/a\"}]",
            "[{\"resource\":\"a\",\"order\":1}]",
        ] {
            let error = read(document.as_bytes());

            assert!(matches!(error, Err(DependenciesError::Shape(_))), "{document}");
        }
    }
}
