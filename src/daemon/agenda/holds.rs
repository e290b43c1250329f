//! What keeps a pair that is due from running, in words for whoever looks at it.

use std::collections::BTreeSet;

use super::{Agenda, Entry, Job, Why};
use crate::clock::Timestamp;
use crate::state::PairId;

impl Agenda {
    /// Why a pair that is due does not run; `None` when it runs, or is not due.
    pub fn waits_for(&self, id: &PairId, now: Timestamp) -> Option<String> {
        let entry = self.pairs.get(id)?;
        entry.next_job()?;
        let full = || "as many pairs run as `server.max_running` allows".to_owned();
        Some(self.held(id, now).unwrap_or_else(full))
    }

    /// What holds a pair beside the limit of pairs at once.
    pub(super) fn held(&self, id: &PairId, now: Timestamp) -> Option<String> {
        let entry = self.pairs.get(id)?;
        if entry.is_paused(now) {
            return Some("it is paused".to_owned());
        }
        if let Some((connection, until)) = self.closed_connection(id, now) {
            let until = until.format("%Y-%m-%dT%H:%M:%SZ");
            return Some(format!("connection `{connection}` is closed until {until}"));
        }
        if let Some((connection, why)) = self.locked_connection(id) {
            return Some(format!("connection `{connection}`: {why}"));
        }
        let other = self.still_to_come(id, entry)?;
        Some(format!("`after`: the run of `{other}` has not ended"))
    }

    /// The end of a pair that is closed now, and until when.
    fn closed_connection(&self, id: &PairId, now: Timestamp) -> Option<(String, Timestamp)> {
        let source = self.publications.get(&id.publication)?.source.as_str();
        for connection in [source, id.target.as_str()] {
            let hours = self.closed.get(connection).into_iter().flatten();
            if let Some(until) = hours.filter_map(|hours| hours.closed_until(now)).max() {
                return Some((connection.to_owned(), until));
            }
        }
        None
    }

    fn locked_connection(&self, id: &PairId) -> Option<(&str, &str)> {
        let source = self.publications.get(&id.publication)?.source.as_str();
        let mut locked = [source, id.target.as_str()].into_iter();
        locked.find_map(|name| {
            let (connection, why) = self.locked.get_key_value(name)?;
            Some((connection.as_str(), why.as_str()))
        })
    }

    /// The connections of every pair that is due: their secrets are about to be needed.
    pub fn needed(&self) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        for (id, _) in self.pairs.awake().filter(|(_, entry)| entry.next_job().is_some()) {
            if let Some(terms) = self.publications.get(&id.publication) {
                needed.insert(terms.source.clone());
                needed.insert(id.target.clone());
            }
        }
        needed
    }

    /// What runs though a connection of it has closed: it is to stop, and goes on afterwards.
    pub fn to_stop(&self, now: Timestamp) -> Vec<(PairId, String)> {
        let running = self.pairs.awake().filter(|(_, entry)| entry.running.is_some());
        let closed = running.filter_map(|(id, _)| {
            let (connection, _) = self.closed_connection(id, now)?;
            Some((id.clone(), connection))
        });
        closed.collect()
    }

    /// A publication of `after` of which a run of the same tick, or of one before, has not ended.
    fn still_to_come(&self, id: &PairId, entry: &Entry) -> Option<&str> {
        let due = entry.due.filter(|due| due.why == Why::Tick)?;
        let after = &self.publications.get(&id.publication)?.after;
        let comes = |publication: &String| {
            let pairs = self.pairs.of_publication(publication);
            let mut ahead = pairs.filter(|(_, entry)| entry.paused.is_none());
            ahead.any(|(id, entry)| {
                let runs = matches!(entry.running, Some(Job::Run(_)));
                let is_due = entry.due.is_some_and(|due| due.why == Why::Tick);
                let name = super::slot(id, self.spread_of(id));
                let next = self.ticks.tick_of(&name);
                let in_its_spread = due.tick.zip(next).is_some_and(|(tick, next)| next <= tick);
                runs || is_due || in_its_spread
            })
        };
        after.iter().find(|publication| comes(publication)).map(String::as_str)
    }
}
