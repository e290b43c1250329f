//! A direct view of what a database holds and direct writes to it, without HTTP: for tests, and
//! for the demo's day of edits. Direct writes keep the rules of the wire.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::database::Database;
use super::feeds;
use super::problem::Problem;
use super::query::Query;
use super::references::part_from_query;
use super::rows::{Image, Key, Row, RowName};
use super::server::key_text;
use super::standard::ResourceModel;
use super::world::Effect;

/// The sandbox refused a direct write, as it would refuse a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox refused a write to {resource} with {status}: {why}")]
pub struct Refused {
    pub resource: String,
    pub status: u16,
    pub why: String,
    /// The body of the answer that a client would get.
    pub answer: String,
}

/// How many entries the feeds of a window have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub items: usize,
    pub key_changes: usize,
    pub deletes: usize,
}

impl Database {
    /// How many items a resource such as `/ed-fi/students` has.
    ///
    /// # Panics
    /// If there is no such resource: a mistake of the caller.
    pub fn count(&self, resource: &str) -> usize {
        let model = self.model(resource);
        self.read().live.table(model.number).rows.len()
    }

    /// The items of a resource as they were posted, in the order in which they were created.
    pub fn items(&self, resource: &str) -> Vec<Value> {
        let model = self.model(resource);
        let world = self.read();
        world.live.table(model.number).rows.values().map(|row| value(row)).collect()
    }

    /// The items of a resource in the very bytes in which they are kept.
    pub fn bodies(&self, resource: &str) -> Vec<Arc<str>> {
        let model = self.model(resource);
        let world = self.read();
        world.live.table(model.number).rows.values().map(|row| row.body.clone()).collect()
    }

    /// Everything that lives: path of the resource to key text to item. Resources without items
    /// are left out.
    pub fn all(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        let world = self.read();
        let mut all = BTreeMap::new();
        for model in &self.standard.resources {
            let table = world.live.table(model.number);
            if table.rows.is_empty() {
                continue;
            }
            let items =
                table.rows.values().map(|row| (key_text(model, &row.key), value(row))).collect();
            all.insert(model.path(), items);
        }
        all
    }

    /// The item of that key, given as a flat object of key fields.
    pub fn item(&self, resource: &str, key: &Value) -> Option<Value> {
        let model = self.model(resource);
        let world = self.read();
        let key = read_key(model, key)?;
        world.live.table(model.number).by_key(&key).map(|row| value(row))
    }

    /// The id under which clients see the item of that key, in 32 hexadecimal digits.
    pub fn id(&self, resource: &str, key: &Value) -> Option<String> {
        let model = self.model(resource);
        let world = self.read();
        let key = read_key(model, key)?;
        let row = world.live.table(model.number).by_key(&key)?;
        Some(format!("{:032x}", world.shown_id(row)))
    }

    /// The change version of the item of that key.
    pub fn version(&self, resource: &str, key: &Value) -> Option<i64> {
        let model = self.model(resource);
        let world = self.read();
        let key = read_key(model, key)?;
        world.live.table(model.number).by_key(&key).map(|row| row.version)
    }

    /// The newest change version of the present.
    pub fn newest(&self) -> i64 {
        self.read().live.newest
    }

    /// Forgets what was deleted and renamed below that version, and says so as the oldest one.
    pub fn purge_history(&self, below: i64) {
        self.write().purge_history(below);
    }

    /// Uses up numbers of the sequence, as rolled-back transactions do.
    pub fn burn_versions(&self, count: u32) {
        self.write().burn_versions(i64::from(count));
    }

    /// Takes a change version for a write that becomes visible later, as a slow transaction does;
    /// [`Database::upsert_late`] ends it.
    pub fn reserve_version(&self) -> i64 {
        self.write().reserve_versions(1)[0]
    }

    /// Takes change versions for writes that become visible later, as a slow transaction does;
    /// [`Database::commit_late`] ends it.
    pub fn reserve_versions(&self, count: u32) -> Vec<i64> {
        self.write().reserve_versions(i64::from(count))
    }

    /// An upsert under a version that was reserved before: a commit below the newest version.
    pub fn upsert_late(&self, resource: &str, item: &Value, version: i64) -> Result<(), Refused> {
        self.commit_late(vec![version], || self.upsert(resource, item).map(|_| ()))
    }

    /// The end of a slow transaction: what `edits` writes takes the reserved versions as far as
    /// they go, but never one below that of a row which others have written meanwhile. Nobody else
    /// may write as long as it takes.
    pub fn commit_late<T>(&self, reserved: Vec<i64>, edits: impl FnOnce() -> T) -> T {
        self.write().use_versions(reserved);
        let edited = edits();
        self.write().use_versions(Vec::new());
        edited
    }

    /// Hides the item of that key from clients, who are refused when they touch it: what an
    /// authorisation by relationships does where no relationship leads.
    pub fn mask(&self, resource: &str, key: &Value) {
        let model = self.model(resource);
        if let Some(key) = read_key(model, key) {
            self.write().mask(model, key);
        }
    }

    /// Lets clients see everything again.
    pub fn unmask_all(&self) {
        self.write().unmask_all();
    }

    /// Creates an item or updates the one of its key, as POST does; true if it is new.
    pub fn upsert(&self, resource: &str, item: &Value) -> Result<bool, Refused> {
        self.upsert_text(resource, &item.to_string())
    }

    /// The same for a body whose bytes matter.
    pub fn upsert_text(&self, resource: &str, item: &str) -> Result<bool, Refused> {
        let model = self.model(resource);
        let written = self.write().upsert(model, item, None);
        let written = written.map_err(|problem| self.refused(model, &problem))?;
        Ok(written.effect == Effect::Created)
    }

    /// Loads an item without checks: how school years come in.
    pub fn seed(&self, resource: &str, item: &Value) -> Result<(), Refused> {
        let model = self.model(resource);
        let seeded = self.write().seed(model, &item.to_string());
        seeded.map_err(|problem| self.refused(model, &problem))
    }

    /// Gives the item of one key another, as PUT does; what depends on it follows.
    pub fn rename(&self, resource: &str, old: &Value, new: &Value) -> Result<(), Refused> {
        let model = self.model(resource);
        let mut world = self.write();
        let row = read_key(model, old)
            .and_then(|key| world.live.table(model.number).by_key(&key).cloned())
            .ok_or_else(|| self.refused(model, &Problem::nothing_to_update()))?;
        let mut body = value(&row);
        for field in &model.key {
            let Some(part) = new.get(&field.name) else { continue };
            set(&mut body, model, &field.path, part);
        }
        let id = world.shown_id(&row);
        let renamed = world.update(model, id, &body.to_string(), None);
        renamed.map(|_| ()).map_err(|problem| self.refused(model, &problem))
    }

    /// Deletes the item of that key, as DELETE does.
    pub fn delete(&self, resource: &str, key: &Value) -> Result<(), Refused> {
        let model = self.model(resource);
        let mut world = self.write();
        let row = read_key(model, key)
            .and_then(|key| world.live.table(model.number).by_key(&key).cloned())
            .ok_or_else(|| self.refused(model, &Problem::nothing_to_delete()))?;
        let id = world.shown_id(&row);
        let removed = world.remove(model, id, None);
        removed.map(|_| ()).map_err(|problem| self.refused(model, &problem))
    }

    /// Deletes the item of that key and, first, everything that depends on it, children before
    /// their parents; says how many items that were.
    pub fn delete_with_dependents(&self, resource: &str, key: &Value) -> Result<usize, Refused> {
        let model = self.model(resource);
        let mut world = self.write();
        let row = read_key(model, key)
            .and_then(|key| world.live.table(model.number).by_key(&key).cloned())
            .ok_or_else(|| self.refused(model, &Problem::nothing_to_delete()))?;
        let root = RowName { resource: model.number, surrogate: row.surrogate };
        let order = children_first(&world.live, root);
        for name in &order {
            let model = self.standard.resource(name.resource);
            let Some(row) = world.live.row(*name) else { continue };
            let id = world.shown_id(row);
            world.remove(model, id, None).map_err(|problem| self.refused(model, &problem))?;
        }
        Ok(order.len())
    }

    /// How many items depend on the one of that key, directly or not.
    pub fn dependents(&self, resource: &str, key: &Value) -> usize {
        let model = self.model(resource);
        let world = self.read();
        let Some(row) = read_key(model, key)
            .and_then(|key| world.live.table(model.number).by_key(&key).cloned())
        else {
            return 0;
        };
        let root = RowName { resource: model.number, surrogate: row.surrogate };
        children_first(&world.live, root).len() - 1
    }

    /// What the feeds of the present tell of the versions after that one, over all resources.
    pub fn told_since(&self, version: i64) -> Told {
        let window = Query { min: Some(version + 1), ..Query::default() };
        let world = self.read();
        let mut told = Told::default();
        for model in &self.standard.resources {
            let table = world.live.table(model.number);
            told.items += table.by_version.range(version + 1..).count();
            told.key_changes += feeds::key_changes(&world.live, model, &window, 0).len();
            told.deletes += feeds::deletes(&world.live, model, &window, 0).len();
        }
        told
    }

    /// Takes a snapshot of the present, which clients read from then on.
    pub fn take_snapshot(&self) {
        self.write().take_snapshot();
    }

    /// Drops every snapshot but the oldest, and offers that one anew: what a host does that goes
    /// back to an earlier image.
    pub fn put_back_oldest_snapshot(&self) {
        self.write().put_back_oldest_snapshot();
    }

    /// Drops every snapshot.
    pub fn drop_snapshot(&self) {
        self.write().snapshots.drop_all();
    }

    /// The path of every resource that this sandbox has.
    pub fn resources(&self) -> Vec<String> {
        self.standard.resources.iter().map(ResourceModel::path).collect()
    }

    /// The key of an item as a flat object, as the feeds write it.
    pub fn key_of(&self, resource: &str, item: &Value) -> Option<Value> {
        let model = self.model(resource);
        let text = item.to_string();
        let document = super::document::Json::parse(&text).ok()?;
        let key = super::references::key_of(model, &document)?;
        serde_json::from_str(&feeds::key_json(model, &key)).ok()
    }

    pub(super) fn model(&self, resource: &str) -> &ResourceModel {
        match self.standard.find(resource) {
            Some(model) => model,
            None => panic!("the sandbox has no resource '{resource}'"),
        }
    }

    pub(super) fn refused(&self, model: &ResourceModel, problem: &Problem) -> Refused {
        let why = problem
            .invalid
            .first()
            .map_or_else(|| problem.detail.clone(), |(path, why)| format!("{path}: {why}"));
        Refused {
            resource: model.path(),
            status: problem.status_on(self.version),
            why,
            answer: problem.body_on(self.version, ""),
        }
    }
}

/// A row and everything that depends on it, in an order in which they can be deleted.
fn children_first(image: &Image, root: RowName) -> Vec<RowName> {
    fn visit(image: &Image, row: RowName, seen: &mut HashSet<RowName>, order: &mut Vec<RowName>) {
        if !seen.insert(row) {
            return;
        }
        let dependents = image.table(row.resource).needed_by.get(&row.surrogate);
        for dependent in dependents.into_iter().flatten() {
            visit(image, *dependent, seen, order);
        }
        order.push(row);
    }
    let mut order = Vec::new();
    visit(image, root, &mut HashSet::new(), &mut order);
    order
}

fn value(row: &Row) -> Value {
    serde_json::from_str(&row.body).expect("what is stored was read as JSON")
}

fn read_key(model: &ResourceModel, key: &Value) -> Option<Key> {
    let mut parts = Vec::with_capacity(model.key.len());
    for field in &model.key {
        let text = match key.get(&field.name)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        parts.push(part_from_query(field.kind, &text));
    }
    Some(parts.into())
}

/// Sets a key part wherever the body holds it: unified keys stand in several places.
fn set(body: &mut Value, model: &ResourceModel, path: &super::document::Path, part: &Value) {
    let mut places = vec![path];
    for (one, other) in &model.equal {
        if super::validate::are_distinct_key_parts(model, one, other) {
            continue;
        }
        if one == path {
            places.push(other);
        } else if other == path {
            places.push(one);
        }
    }
    for place in places {
        let mut here = Some(&mut *body);
        for step in &place.0 {
            here = here.and_then(|value| value.get_mut(&step.name));
        }
        if let Some(here) = here {
            *here = part.clone();
        }
    }
}
