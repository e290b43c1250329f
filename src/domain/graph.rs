//! Which resources there are and which must be there before which.
//!
//! A graph, not levels with barriers: a resource may start when what it depends on has finished.
//! The one thing to know: people stand in it once, as what is *created*; what must wait for their
//! association hangs from [`ResourceGraph::people`] (the `#Retry` nodes of the dependency document).

use std::collections::{BTreeMap, BTreeSet};

use super::resource::ResourcePath;

/// The dependency graph of one API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceGraph {
    /// Resource → what must be finished before it starts.
    prerequisites: BTreeMap<ResourcePath, BTreeSet<ResourcePath>>,
    /// People resource → the associations after which its refused updates are tried again.
    people: BTreeMap<ResourcePath, BTreeSet<ResourcePath>>,
}

/// The members of a cycle, in its order; the last depends on the first again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dependencies go round in a circle: {}", .members.iter().map(ResourcePath::as_str).collect::<Vec<_>>().join(" → "))]
pub struct DependencyCycle {
    pub members: Vec<ResourcePath>,
}

impl ResourceGraph {
    /// Builds the graph from `(before, after)` edges, and from the `(people, association)` pairs
    /// that say after what a person's update is tried again. Edges of a resource to itself are
    /// left out: parents come first *within* the resource (R28).
    ///
    /// # Errors
    /// A cycle, with its members: no order would be right.
    pub fn build(
        resources: impl IntoIterator<Item = ResourcePath>,
        edges: impl IntoIterator<Item = (ResourcePath, ResourcePath)>,
        people: impl IntoIterator<Item = (ResourcePath, ResourcePath)>,
    ) -> Result<ResourceGraph, DependencyCycle> {
        let mut graph = ResourceGraph::default();
        for resource in resources {
            graph.prerequisites.entry(resource).or_default();
        }
        for (before, after) in edges {
            if before == after {
                continue;
            }
            graph.prerequisites.entry(before.clone()).or_default();
            graph.prerequisites.entry(after).or_default().insert(before);
        }
        for (person, association) in people {
            graph.people.entry(person).or_default().insert(association);
        }
        match graph.find_cycle() {
            Some(members) => Err(DependencyCycle { members }),
            None => Ok(graph),
        }
    }

    pub fn contains(&self, resource: &ResourcePath) -> bool {
        self.prerequisites.contains_key(resource)
    }

    pub fn resources(&self) -> impl Iterator<Item = &ResourcePath> {
        self.prerequisites.keys()
    }

    pub fn len(&self) -> usize {
        self.prerequisites.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prerequisites.is_empty()
    }

    /// What must be finished before `resource` starts; empty for one that the graph does not know.
    pub fn prerequisites(&self, resource: &ResourcePath) -> impl Iterator<Item = &ResourcePath> {
        self.prerequisites.get(resource).into_iter().flatten()
    }

    /// People, each with the associations that make an update of them possible.
    pub fn people(&self) -> &BTreeMap<ResourcePath, BTreeSet<ResourcePath>> {
        &self.people
    }

    pub fn is_person(&self, resource: &ResourcePath) -> bool {
        self.people.contains_key(resource)
    }

    /// Everything that `resource` needs, itself included.
    pub fn with_prerequisites(&self, resource: &ResourcePath) -> BTreeSet<ResourcePath> {
        self.reach(resource, |at| self.prerequisites(at).cloned().collect())
    }

    /// Everything that needs `resource`, itself included.
    pub fn with_dependents(&self, resource: &ResourcePath) -> BTreeSet<ResourcePath> {
        self.reach(resource, |at| self.dependents(at))
    }

    fn dependents(&self, resource: &ResourcePath) -> Vec<ResourcePath> {
        let needs =
            |(_, before): &(&ResourcePath, &BTreeSet<ResourcePath>)| before.contains(resource);
        self.prerequisites.iter().filter(needs).map(|(after, _)| after.clone()).collect()
    }

    fn reach(
        &self,
        from: &ResourcePath,
        next: impl Fn(&ResourcePath) -> Vec<ResourcePath>,
    ) -> BTreeSet<ResourcePath> {
        let mut seen = BTreeSet::from([from.clone()]);
        let mut open = vec![from.clone()];
        while let Some(at) = open.pop() {
            for found in next(&at) {
                if seen.insert(found.clone()) {
                    open.push(found);
                }
            }
        }
        seen
    }

    /// The graph of `selected` alone. What stood between two selected resources still orders them:
    /// leaving out the middle of a chain must not let its ends swap.
    pub fn restricted_to(&self, selected: &BTreeSet<ResourcePath>) -> ResourceGraph {
        let mut restricted = ResourceGraph::default();
        for resource in selected {
            let before = self.nearest_before(resource, selected);
            restricted.prerequisites.insert(resource.clone(), before);
            if let Some(associations) = self.people.get(resource) {
                let kept = associations.intersection(selected).cloned().collect();
                restricted.people.insert(resource.clone(), kept);
            }
        }
        restricted
    }

    /// Of `selected` what comes next before `resource`. Those that are left out are looked through; what
    /// lies behind a selected one comes before that.
    fn nearest_before(
        &self,
        resource: &ResourcePath,
        selected: &BTreeSet<ResourcePath>,
    ) -> BTreeSet<ResourcePath> {
        let mut nearest = BTreeSet::new();
        let mut left_out = BTreeSet::new();
        let mut open = vec![resource];
        while let Some(at) = open.pop() {
            for before in self.prerequisites(at) {
                if selected.contains(before) {
                    nearest.insert(before.clone());
                } else if left_out.insert(before) {
                    open.push(before);
                }
            }
        }
        nearest
    }

    /// This graph and the resources that only `other` has. Edges of this one stand; a resource
    /// that only `other` has comes after what `other` says it needs.
    pub fn joined_with(&self, other: &ResourceGraph) -> ResourceGraph {
        let mut joined = self.clone();
        for (resource, befores) in &other.prerequisites {
            if !self.contains(resource) {
                joined.prerequisites.insert(resource.clone(), befores.clone());
            }
        }
        for befores in other.prerequisites.values() {
            for before in befores {
                joined.prerequisites.entry(before.clone()).or_default();
            }
        }
        joined
    }

    /// The same graph with every edge turned round: the order of deletes.
    pub fn reversed(&self) -> ResourceGraph {
        let mut reversed =
            ResourceGraph { people: self.people.clone(), ..ResourceGraph::default() };
        for (after, befores) in &self.prerequisites {
            reversed.prerequisites.entry(after.clone()).or_default();
            for before in befores {
                reversed.prerequisites.entry(before.clone()).or_default().insert(after.clone());
            }
        }
        reversed
    }

    /// Every resource after everything that it needs; among equals by name.
    pub fn in_order(&self) -> Vec<ResourcePath> {
        let mut waiting = self.prerequisites.clone();
        let mut order = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let ready: Vec<ResourcePath> = waiting
                .iter()
                .filter(|(_, befores)| befores.iter().all(|before| !waiting.contains_key(before)))
                .map(|(resource, _)| resource.clone())
                .collect();
            if ready.is_empty() {
                break; // A cycle: build() does not let one in.
            }
            for resource in ready {
                waiting.remove(&resource);
                order.push(resource);
            }
        }
        order
    }

    fn find_cycle(&self) -> Option<Vec<ResourcePath>> {
        let ordered: BTreeSet<ResourcePath> = self.in_order().into_iter().collect();
        let stuck = |resource: &ResourcePath| !ordered.contains(resource);
        let mut path = vec![self.prerequisites.keys().find(|r| stuck(r))?.clone()];
        // Every stuck resource has a stuck prerequisite, so walking along them must come round.
        loop {
            let at = path.last().expect("the path begins with a resource");
            let next = self.prerequisites(at).find(|r| stuck(r))?.clone();
            if let Some(start) = path.iter().position(|seen| *seen == next) {
                let mut members = path.split_off(start);
                members.reverse();
                return Some(members);
            }
            path.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    fn graph(edges: &[(&str, &str)]) -> Result<ResourceGraph, DependencyCycle> {
        ResourceGraph::build([], edges.iter().map(|(a, b)| (path(a), path(b))), [])
    }

    #[test]
    fn what_is_needed_comes_first_and_in_reverse_last() {
        let graph = graph(&[("schools", "sessions"), ("sessions", "sections")]).unwrap();

        assert_eq!(graph.in_order(), [path("schools"), path("sessions"), path("sections")]);
        assert_eq!(
            graph.reversed().in_order(),
            [path("sections"), path("sessions"), path("schools")]
        );
    }

    #[test]
    fn a_cycle_names_its_members_and_no_others() {
        let error = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]).unwrap_err();

        let mut members = error.members.clone();
        members.sort();
        assert_eq!(members, [path("b"), path("c")]);
    }

    #[test]
    fn a_resource_that_refers_to_itself_is_no_cycle() {
        assert!(graph(&[("standards", "standards")]).is_ok());
    }

    #[test]
    fn leaving_out_the_middle_of_a_chain_keeps_its_ends_in_order() {
        let graph = graph(&[("a", "b"), ("b", "c")]).unwrap();

        let ends = graph.restricted_to(&BTreeSet::from([path("a"), path("c")]));

        assert_eq!(ends.prerequisites(&path("c")).collect::<Vec<_>>(), [&path("a")]);
    }
    #[test]
    fn of_a_long_chain_each_is_ordered_by_the_one_before_it() {
        let graph = graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")]).unwrap();

        let some = graph.restricted_to(&["a", "b", "d", "e"].map(path).into());

        assert_eq!(some.prerequisites(&path("d")).collect::<Vec<_>>(), [&path("b")]);
        assert_eq!(some.prerequisites(&path("e")).collect::<Vec<_>>(), [&path("d")]);
        let all: BTreeSet<_> = graph.resources().cloned().collect();
        assert_eq!(graph.restricted_to(&all), graph);
    }
}
