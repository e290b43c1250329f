//! Every pair of the agenda, and which of them have to be looked at.
//!
//! The one thing to know: most pairs sleep, from when they have run until their next tick, and a
//! look does not go past those: with a thousand pairs it would be the daemon's main work. Whoever
//! changes an entry gets it from here, which wakes it.

use std::collections::{BTreeMap, BTreeSet};

use super::Entry;
use crate::state::PairId;

#[derive(Debug, Default)]
pub(super) struct Pairs {
    all: BTreeMap<PairId, Entry>,
    /// All that do not sleep, and perhaps some that do.
    awake: BTreeSet<PairId>,
    /// By the name under which each stands in a timetable of its own.
    by_name: BTreeMap<String, PairId>,
}

impl Pairs {
    pub(super) fn get(&self, id: &PairId) -> Option<&Entry> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &PairId) -> Option<&mut Entry> {
        let entry = self.all.get_mut(id)?;
        self.awake.insert(id.clone());
        Some(entry)
    }

    pub(super) fn get_mut_by_name(&mut self, name: &str) -> Option<&mut Entry> {
        let id = self.by_name.get(name)?.clone();
        self.get_mut(&id)
    }

    pub(super) fn id_by_name(&self, name: &str) -> Option<&PairId> {
        self.by_name.get(name)
    }

    pub(super) fn get_or_add(&mut self, id: &PairId) -> &mut Entry {
        self.awake.insert(id.clone());
        self.by_name.insert(id.to_string(), id.clone());
        self.all.entry(id.clone()).or_default()
    }

    pub(super) fn of_publication<'p>(
        &'p self,
        publication: &'p str,
    ) -> impl Iterator<Item = (&'p PairId, &'p Entry)> {
        let first = PairId { publication: publication.to_owned(), target: String::new() };
        self.all.range(first..).take_while(move |(id, _)| id.publication == publication)
    }

    pub(super) fn awake(&self) -> impl Iterator<Item = (&PairId, &Entry)> {
        self.awake.iter().filter_map(|id| self.all.get_key_value(id))
    }

    pub(super) fn change_awake(&mut self, change: impl Fn(&mut Entry)) {
        for id in &self.awake {
            self.all.get_mut(id).into_iter().for_each(&change);
        }
    }

    /// Nobody looks any more at those that sleep.
    pub(super) fn let_sleep(&mut self) {
        let all = &self.all;
        self.awake.retain(|id| all.get(id).is_some_and(|entry| !entry.sleeps()));
    }

    /// Those that do not stay are leaving; they are gone when nothing of them runs.
    pub(super) fn keep_only(&mut self, stays: impl Fn(&PairId) -> bool) {
        let leaving: Vec<PairId> = self.all.keys().filter(|id| !stays(id)).cloned().collect();
        for id in leaving {
            let entry = self.get_mut(&id).expect("its name was just read from this table");
            entry.is_leaving = true;
            if entry.running.is_none() {
                self.remove(&id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &PairId) {
        self.all.remove(id);
        self.awake.remove(id);
        self.by_name.remove(&id.to_string());
    }
}
