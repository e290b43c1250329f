//! What clients see of a database at one moment, without HTTP. Nothing that is written later
//! changes it: a snapshot is a view that is kept, and a server of the present takes a new one for
//! every answer.

use std::sync::Arc;

use super::authorize;
use super::database::Database;
use super::direct::Refused;
use super::feeds;
use super::options::PeopleAuthorization;
use super::problem::Problem;
use super::query::Query;
use super::references::part_from_query;
use super::render;
use super::rows::{Image, Key, Row, RowName};
use super::standard::{ResourceModel, StandardModel};
use super::world::Effect;

/// A database at one moment. Resources are named by path, `/ed-fi/students`.
#[derive(Clone, Debug)]
pub struct View {
    standard: Arc<StandardModel>,
    image: Arc<Image>,
    people: PeopleAuthorization,
    salt: u128,
}

/// One item as a client sees it, without links.
#[derive(Clone, Debug)]
pub struct Shown {
    row: Arc<Row>,
    salt: u128,
}

impl Shown {
    /// 32 hexadecimal digits.
    pub fn id(&self) -> String {
        hex(self.row.id ^ self.salt)
    }

    pub fn version(&self) -> i64 {
        self.row.version
    }

    /// Where a cursor stands when it has come to this item: later ones have larger numbers.
    pub fn position(&self) -> i32 {
        self.row.surrogate
    }

    /// The bytes that were posted.
    pub fn body(&self) -> &Arc<str> {
        &self.row.body
    }

    /// The bytes that are answered: with `id`, `_etag` and `_lastModifiedDate`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        render::item(None, &self.row, self.salt, &mut text);
        text
    }
}

impl Database {
    /// What clients see now.
    pub fn view(&self) -> View {
        let world = self.read();
        View {
            standard: self.standard.clone(),
            image: world.live.clone(),
            people: world.people,
            salt: world.salt(),
        }
    }

    /// What POST does: creates or updates by key. The id of the item, and whether it is new.
    pub fn post(&self, resource: &str, body: &str) -> Result<(String, bool), Refused> {
        let model = self.model(resource);
        let mut world = self.write();
        let written = world.upsert(model, body, None);
        let written = written.map_err(|problem| self.refused(model, &problem))?;
        let row = world.live.row(written.row).expect("what was just written is there");
        Ok((hex(world.shown_id(row)), written.effect == Effect::Created))
    }

    /// What PUT does: updates the item of that id, its key too.
    pub fn put(&self, resource: &str, id: &str, body: &str) -> Result<(), Refused> {
        let model = self.model(resource);
        let id = read_id(id).ok_or_else(|| self.refused(model, &Problem::nothing_to_update()))?;
        let written = self.write().update(model, id, body, None);
        written.map(|_| ()).map_err(|problem| self.refused(model, &problem))
    }

    /// What DELETE does to the item of that id.
    pub fn remove(&self, resource: &str, id: &str) -> Result<(), Refused> {
        let model = self.model(resource);
        let id = read_id(id).ok_or_else(|| self.refused(model, &Problem::nothing_to_delete()))?;
        let removed = self.write().remove(model, id, None);
        removed.map(|_| ()).map_err(|problem| self.refused(model, &problem))
    }
}

impl View {
    /// What the sequence had last given.
    pub fn newest(&self) -> i64 {
        self.image.newest
    }

    /// The items with a version from `min` to `max` that the caller may see, in the order in which
    /// they were created.
    pub fn items(&self, resource: &str, min: i64, max: i64) -> Vec<Shown> {
        let model = self.model(resource);
        let rows = self.image.table(model.number).rows.values();
        let shown = rows.filter(|row| (min..=max).contains(&row.version));
        shown.filter(|row| self.may_see(model, row)).map(|row| self.shown(row)).collect()
    }

    /// The item of that id. One that the caller may not see is refused with 403.
    pub fn item(&self, resource: &str, id: &str) -> Option<Result<Shown, u16>> {
        let model = self.model(resource);
        let row = self.image.table(model.number).by_id(read_id(id)? ^ self.salt)?;
        Some(if self.may_see(model, row) { Ok(self.shown(row)) } else { Err(403) })
    }

    /// The item with exactly this key, given as names and plain values, if the caller may see it.
    pub fn find(&self, resource: &str, key: &[(&str, &str)]) -> Option<Shown> {
        let model = self.model(resource);
        let mut parts = Vec::with_capacity(model.key.len());
        for field in &model.key {
            let (_, text) = key.iter().find(|(name, _)| *name == field.name)?;
            parts.push(part_from_query(field.kind, text));
        }
        let key: Key = parts.into();
        let row = self.image.table(model.number).by_key(&key)?;
        self.may_see(model, row).then(|| self.shown(row))
    }

    /// The entries of `/deletes` with a version from `min` to `max`, ascending.
    pub fn deletes(&self, resource: &str, min: i64, max: i64) -> Vec<String> {
        feeds::deletes(&self.image, self.model(resource), &between(min, max), self.salt)
    }

    /// The entries of `/keyChanges` with a version from `min` to `max`, ascending, hop by hop: as
    /// a client gets to know them that asks for one version at a time.
    pub fn key_changes(&self, resource: &str, min: i64, max: i64) -> Vec<String> {
        feeds::hops(&self.image, self.model(resource), &between(min, max), self.salt)
    }

    /// The same with one entry for all the names that an item had, as one answer tells them: its
    /// first old key and its last new one.
    pub fn folded_key_changes(&self, resource: &str, min: i64, max: i64) -> Vec<String> {
        feeds::key_changes(&self.image, self.model(resource), &between(min, max), self.salt)
    }

    /// The same moment for a caller who may see everything.
    pub fn of_everyone(mut self) -> View {
        self.people = PeopleAuthorization::NoFurther;
        self
    }

    fn model(&self, resource: &str) -> &ResourceModel {
        match self.standard.find(resource) {
            Some(model) => model,
            None => panic!("the sandbox has no resource '{resource}'"),
        }
    }

    fn may_see(&self, model: &ResourceModel, row: &Row) -> bool {
        let name = RowName { resource: model.number, surrogate: row.surrogate };
        self.people == PeopleAuthorization::NoFurther
            || authorize::is_reachable(&self.standard, &self.image, name)
    }

    fn shown(&self, row: &Arc<Row>) -> Shown {
        Shown { row: row.clone(), salt: self.salt }
    }
}

fn between(min: i64, max: i64) -> Query {
    Query { min: Some(min), max: Some(max), ..Query::default() }
}

fn hex(id: u128) -> String {
    format!("{id:032x}")
}

fn read_id(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok()
}
