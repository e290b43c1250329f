//! What must live at the source, worked out from the edits alone: the reference that histories are
//! drawn from, and that the simulated database has to agree with.

use std::collections::{BTreeMap, BTreeSet};

use crate::simulation::history::{Step, Thing};

/// Every living thing with what its content refers to beside its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct District {
    living: BTreeMap<Thing, Option<Thing>>,
}

impl District {
    pub(super) fn holds(&self, thing: Thing) -> bool {
        self.living.contains_key(&thing)
    }

    pub(super) fn things(&self) -> impl Iterator<Item = Thing> {
        self.living.keys().copied()
    }

    pub(super) fn edit(&mut self, step: &Step) {
        match step {
            Step::Put(thing, content) => self.put(*thing, *content),
            Step::Delete(thing) => self.delete(*thing),
            Step::Rename(old, new) => self.rename(*old, *new),
            Step::Run(_) => unreachable!("a run is not an edit"),
        }
    }

    fn put(&mut self, thing: Thing, content: u8) {
        for needed in thing.needs() {
            if !self.holds(needed) {
                self.put(needed, 0);
            }
        }
        let refers_to = thing.refers_to(content);
        let possible = refers_to.filter(|to| self.holds(*to) && !self.is_below(*to, thing));
        self.living.insert(thing, possible);
    }

    /// Whether a standard is below another: nobody makes a circle of them.
    fn is_below(&self, thing: Thing, above: Thing) -> bool {
        let mut at = thing;
        while at != above {
            match self.living.get(&at) {
                Some(Some(parent @ Thing::Standard(_))) => at = *parent,
                _ => return false,
            }
        }
        matches!(thing, Thing::Standard(_))
    }

    fn delete(&mut self, thing: Thing) {
        let mut gone = BTreeSet::from([thing]);
        loop {
            let depends = |(other, refers_to): &(&Thing, &Option<Thing>)| {
                !gone.contains(*other)
                    && (refers_to.is_some_and(|to| gone.contains(&to))
                        || stands_on(**other).into_iter().any(|needed| gone.contains(&needed)))
            };
            let more: Vec<Thing> =
                self.living.iter().filter(depends).map(|(other, _)| *other).collect();
            if more.is_empty() {
                break;
            }
            gone.extend(more);
        }
        if self.holds(thing) {
            self.living.retain(|other, _| !gone.contains(other));
        }
    }

    fn rename(&mut self, old: Thing, new: Thing) {
        if !self.may_rename(old, new) {
            return;
        }
        let before = std::mem::take(&mut self.living);
        for (thing, refers_to) in before {
            let refers_to = refers_to.map(|to| followed(to, old, new));
            self.living.insert(followed(thing, old, new), refers_to);
        }
    }

    /// The server changes keys of this kind, the old one lives and the new one is free.
    pub(super) fn may_rename(&self, old: Thing, new: Thing) -> bool {
        let same_kind = match (old, new) {
            (Thing::Session(_), Thing::Session(_)) | (Thing::Period(_), Thing::Period(_)) => true,
            (Thing::Section(_, c, s), Thing::Section(_, d, t)) => (c, s) == (d, t),
            (Thing::Attends(n, _, c, s), Thing::Attends(m, b, d, t)) => {
                (n, c, s) == (m, d, t) && self.holds(Thing::Section(b, d, t))
            }
            _ => false,
        };
        same_kind && self.holds(old) && !self.holds(new)
    }
}

/// Whose rows the database wants to be there as long as the thing lives. A student may leave the
/// school and stay in a section.
fn stands_on(thing: Thing) -> Vec<Thing> {
    match thing {
        Thing::Attends(student, section, course, session) => {
            vec![Thing::Student(student), Thing::Section(section, course, session)]
        }
        other => other.needs(),
    }
}

/// A thing after the rename of what its key contains.
fn followed(thing: Thing, old: Thing, new: Thing) -> Thing {
    if thing == old {
        return new;
    }
    match (thing, old, new) {
        (Thing::Offering(c, s), Thing::Session(a), Thing::Session(b)) if s == a => {
            Thing::Offering(c, b)
        }
        (Thing::Section(n, c, s), Thing::Session(a), Thing::Session(b)) if s == a => {
            Thing::Section(n, c, b)
        }
        (Thing::Attends(n, x, c, s), Thing::Session(a), Thing::Session(b)) if s == a => {
            Thing::Attends(n, x, c, b)
        }
        (Thing::Attends(n, x, c, s), Thing::Section(a, d, t), Thing::Section(b, ..))
            if (x, c, s) == (a, d, t) =>
        {
            Thing::Attends(n, b, c, s)
        }
        (other, ..) => other,
    }
}
