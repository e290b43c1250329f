//! What the simulated database holds: rows, their keys, and what is remembered of rows that are
//! gone or had another key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::document::quoted;

/// One part of a natural key. Numbers sort as numbers, as a database sorts them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum KeyPart {
    Number(i64),
    Text(String),
}

impl KeyPart {
    /// The part as JSON text.
    pub(super) fn json(&self) -> String {
        match self {
            KeyPart::Number(number) => number.to_string(),
            KeyPart::Text(text) => quoted(text),
        }
    }

    /// The part as a person writes it.
    pub(super) fn plain(&self) -> String {
        match self {
            KeyPart::Number(number) => number.to_string(),
            KeyPart::Text(text) => text.clone(),
        }
    }
}

/// A natural key, in the order of the resource's key fields.
pub(super) type Key = Arc<[KeyPart]>;

/// A row anywhere: the resource's number and the row's surrogate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowName {
    pub(super) resource: u16,
    pub(super) surrogate: i32,
}

/// One live item.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) surrogate: i32,
    /// Salted by the world before anyone sees it.
    pub(super) id: u128,
    pub(super) key: Key,
    /// The item as it was posted, without what only a server may say.
    pub(super) body: Arc<str>,
    /// Where in the body a reference's object ends, and the row it leads to.
    pub(super) links: Vec<(usize, RowName)>,
    /// Every row that must exist as long as this one does: references and descriptors.
    pub(super) needs: BTreeSet<RowName>,
    pub(super) version: i64,
    /// Ticks of 100 ns since the year 1, as .NET counts.
    pub(super) modified: i64,
}

/// An item that was deleted.
#[derive(Clone, Debug)]
pub(super) struct Tombstone {
    pub(super) id: u128,
    pub(super) key: Key,
    pub(super) version: i64,
}

/// A key that became another: one record a hop.
#[derive(Clone, Debug)]
pub(super) struct KeyChange {
    pub(super) id: u128,
    pub(super) old: Key,
    pub(super) new: Key,
    pub(super) version: i64,
}

/// Everything of one resource.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<i32, Arc<Row>>,
    pub(super) by_key: BTreeMap<Key, i32>,
    pub(super) by_id: HashMap<u128, i32>,
    pub(super) by_version: BTreeMap<i64, i32>,
    pub(super) tombstones: Vec<Tombstone>,
    pub(super) key_changes: Vec<KeyChange>,
    /// Which rows need a row of this table.
    pub(super) needed_by: HashMap<i32, BTreeSet<RowName>>,
    pub(super) next_surrogate: i32,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            rows: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_id: HashMap::new(),
            by_version: BTreeMap::new(),
            tombstones: Vec::new(),
            key_changes: Vec::new(),
            needed_by: HashMap::new(),
            // Real aggregate ids begin near the smallest 32-bit number.
            next_surrogate: i32::MIN + 1,
        }
    }
}

impl Table {
    pub(super) fn by_key(&self, key: &Key) -> Option<&Arc<Row>> {
        self.by_key.get(key).and_then(|surrogate| self.rows.get(surrogate))
    }

    pub(super) fn by_id(&self, id: u128) -> Option<&Arc<Row>> {
        self.by_id.get(&id).and_then(|surrogate| self.rows.get(surrogate))
    }

    /// Puts a row in, in the place of the one with its surrogate if there is one.
    pub(super) fn put(&mut self, row: Row) {
        if let Some(before) = self.rows.get(&row.surrogate) {
            self.by_version.remove(&before.version);
            if self.by_key.get(&before.key) == Some(&row.surrogate) && before.key != row.key {
                self.by_key.remove(&before.key);
            }
        }
        self.by_version.insert(row.version, row.surrogate);
        self.by_key.insert(row.key.clone(), row.surrogate);
        self.by_id.insert(row.id, row.surrogate);
        self.rows.insert(row.surrogate, Arc::new(row));
    }

    pub(super) fn remove(&mut self, row: &Row) {
        self.rows.remove(&row.surrogate);
        self.by_key.remove(&row.key);
        self.by_id.remove(&row.id);
        self.by_version.remove(&row.version);
        self.needed_by.remove(&row.surrogate);
    }
}

/// The database at one moment. Tables are shared with every image that was taken since they were
/// last written, so taking one is cheap.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) tables: Vec<Arc<Table>>,
    /// What the sequence last gave.
    pub(super) newest: i64,
    /// Of the deletes and key changes that are still told; 0 before anything was purged.
    pub(super) oldest: i64,
}

impl Image {
    pub(super) fn table(&self, resource: u16) -> &Table {
        &self.tables[usize::from(resource)]
    }

    pub(super) fn row(&self, name: RowName) -> Option<&Arc<Row>> {
        self.table(name.resource).rows.get(&name.surrogate)
    }
}
