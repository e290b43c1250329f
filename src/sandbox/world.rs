//! The simulated database and its only writer. One sequence numbers every write, each write is one
//! transaction, and the order of the numbers is that of the real triggers (observed §1).

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::authorize::{self, Standing};
use super::cascade;
use super::document::Json;
use super::options::{PeopleAuthorization, SandboxOptions};
use super::problem::Problem;
use super::references::{Prepared, key_of, prepare};
use super::rows::{Image, Key, KeyChange, Row, RowName, Table, Tombstone};
use super::snapshot::Snapshots;
use super::standard::{ResourceModel, StandardModel};
use super::validate::validate;
use crate::clock::Clock;

/// Ticks of 100 ns between the year 1 and 1970.
const TICKS_BEFORE_1970: i64 = 621_355_968_000_000_000;

/// Members that a strict target refuses at every depth.
const OF_THE_SERVER: [&str; 4] = ["id", "_etag", "_lastModifiedDate", "link"];

/// The database, its snapshots and the rules of its server.
#[derive(Debug)]
pub(super) struct World {
    pub(super) standard: Arc<StandardModel>,
    /// Shared with every view of it until it is written.
    pub(super) live: Arc<Image>,
    pub(super) snapshots: Snapshots,
    pub(super) people: PeopleAuthorization,
    namespaces: Vec<String>,
    pub(super) strict: bool,
    /// Items that the caller may neither see nor touch.
    masked: HashSet<(u16, Key)>,
    /// Numbers that the next writes take instead of the next of the sequence, ascending.
    reserved: VecDeque<i64>,
    clock: Clock,
    last_tick: i64,
    /// Makes the ids of two sandboxes differ although they loaded the same data.
    salt: u128,
    /// Where the ids of new rows come from.
    ids: SmallRng,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) row: RowName,
    pub(super) effect: Effect,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Created,
    Updated,
    /// The same representation: no new version.
    Unchanged,
    Renamed,
}

impl World {
    pub(super) fn new(standard: Arc<StandardModel>, options: &SandboxOptions) -> World {
        let tables = standard.resources.iter().map(|_| Arc::new(Table::default())).collect();
        World {
            standard,
            live: Arc::new(Image { tables, newest: 1, oldest: 0 }),
            snapshots: Snapshots::new(options.snapshots),
            people: options.people,
            namespaces: options.namespaces.clone(),
            strict: options.strict,
            masked: HashSet::new(),
            reserved: VecDeque::new(),
            clock: options.clock.clone(),
            last_tick: 0,
            salt: rand::random(),
            ids: SmallRng::from_os_rng(),
        }
    }

    /// A world that holds the same under ids that `seed` decides, with the rules of `options` and
    /// no snapshots.
    pub(super) fn copy(&self, options: &SandboxOptions, seed: u64) -> World {
        let mut ids = SmallRng::seed_from_u64(seed);
        let salt = ids.random();
        let mut copy = World { salt, ids, ..World::new(self.standard.clone(), options) };
        copy.adopt(self.live.clone(), self.last_tick);
        copy
    }

    /// Creates or updates by natural key: what POST does.
    pub(super) fn upsert(
        &mut self,
        model: &ResourceModel,
        text: &str,
        if_match: Option<&str>,
    ) -> Result<Written, Problem> {
        let document = self.read_body(text)?;
        if document.get("id").is_some() {
            return Err(Problem::identifier_in_body());
        }
        validate(&self.live, model, &document)?;
        let existing = key_of(model, &document)
            .and_then(|key| self.live.table(model.number).by_key(&key).cloned());
        self.authorize(model, existing.as_deref(), &document)?;
        let prepared = prepare(&self.standard, &self.live, model, &document)?;
        match existing {
            None => Ok(self.insert(model.number, prepared)),
            Some(row) => {
                self.check_etag(&row, if_match)?;
                Ok(self.replace(model.number, &row, prepared))
            }
        }
    }

    /// Updates the item of that id, its key too where the resource allows it: what PUT does.
    pub(super) fn update(
        &mut self,
        model: &ResourceModel,
        id: u128,
        text: &str,
        if_match: Option<&str>,
    ) -> Result<Written, Problem> {
        let document = self.read_body(text)?;
        let row = self.find(model, id).ok_or_else(Problem::nothing_to_update)?;
        validate(&self.live, model, &document)?;
        let key = key_of(model, &document).unwrap_or_else(|| row.key.clone());
        if key != row.key && !model.updatable {
            return Err(Problem::key_change_not_supported(&model.name));
        }
        self.authorize(model, Some(&row), &document)?;
        self.check_etag(&row, if_match)?;
        let prepared = prepare(&self.standard, &self.live, model, &document)?;
        if prepared.key == row.key {
            return Ok(self.replace(model.number, &row, prepared));
        }
        cascade::rename(self, model, &row, prepared)
    }

    /// Removes the item of that id: what DELETE does.
    pub(super) fn remove(
        &mut self,
        model: &ResourceModel,
        id: u128,
        if_match: Option<&str>,
    ) -> Result<Key, Problem> {
        let row = self.find(model, id).ok_or_else(Problem::nothing_to_delete)?;
        let name = RowName { resource: model.number, surrogate: row.surrogate };
        self.authorize_existing(model, &row)?;
        self.check_etag(&row, if_match)?;
        let dependents = self.live.table(model.number).needed_by.get(&row.surrogate);
        if let Some(by) = dependents.and_then(|rows| rows.iter().find(|one| **one != name)) {
            let by = &self.standard.resource(by.resource).name;
            return Err(Problem::dependent_item(&model.name, by));
        }
        self.forget_needs(name, &row.needs);
        let version = self.next_version_above(self.written_at(model.number, &row));
        let table = self.table_mut(model.number);
        table.remove(&row);
        table.tombstones.push(Tombstone { id: row.id, key: row.key.clone(), version });
        Ok(row.key.clone())
    }

    /// Puts an item in without asking whether it is valid: how trusted data is loaded.
    pub(super) fn seed(&mut self, model: &ResourceModel, text: &str) -> Result<(), Problem> {
        let document = Json::parse(text).map_err(|why| Problem::unreadable_body(&why))?;
        let prepared = prepare(&self.standard, &self.live, model, &document)?;
        self.insert(model.number, prepared);
        Ok(())
    }

    fn read_body<'b>(&self, text: &'b str) -> Result<Json<'b>, Problem> {
        let document = Json::parse(text).map_err(|why| Problem::unreadable_body(&why))?;
        if !matches!(document, Json::Object(_)) {
            return Err(Problem::unreadable_body("an object is expected"));
        }
        if self.strict
            && let Some(name) = document.has_member_anywhere(&OF_THE_SERVER)
        {
            return Err(Problem::server_member_in_body(&name));
        }
        Ok(document)
    }

    fn authorize(
        &self,
        model: &ResourceModel,
        existing: Option<&Row>,
        document: &Json<'_>,
    ) -> Result<(), Problem> {
        if let Some(row) = existing {
            self.authorize_existing(model, row)?;
        }
        authorize::may_name(&self.namespaces, model, document, Standing::Proposed)?;
        match self.people {
            PeopleAuthorization::NoFurther => Ok(()),
            PeopleAuthorization::Relationships => {
                authorize::may_propose(&self.standard, &self.live, model, document)
            }
        }
    }

    /// Refuses to change or remove what the caller may not touch.
    fn authorize_existing(&self, model: &ResourceModel, row: &Row) -> Result<(), Problem> {
        self.check_mask(model, &row.key)?;
        if model.namespace.is_some() {
            let stored = Json::parse(&row.body).map_err(|why| Problem::unreadable_body(&why))?;
            authorize::may_name(&self.namespaces, model, &stored, Standing::Existing)?;
        }
        match self.people {
            PeopleAuthorization::NoFurther => Ok(()),
            PeopleAuthorization::Relationships => {
                let name = RowName { resource: model.number, surrogate: row.surrogate };
                authorize::may_touch(&self.standard, &self.live, name)
            }
        }
    }

    fn check_etag(&self, row: &Row, if_match: Option<&str>) -> Result<(), Problem> {
        match if_match {
            Some(etag) if etag.trim_matches('"') != etag_of(row) => {
                Err(Problem::modified_by_another())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn insert(&mut self, resource: u16, prepared: Prepared) -> Written {
        let version = self.next_version_above(self.freed_at(resource, &prepared.key));
        let modified = self.tick();
        let id = self.ids.random();
        let table = self.table_mut(resource);
        let surrogate = table.next_surrogate;
        table.next_surrogate += 1;
        let Prepared { key, body, links, needs } = prepared;
        table.put(Row { surrogate, id, key, body, links, needs: needs.clone(), version, modified });
        let row = RowName { resource, surrogate };
        self.remember_needs(row, &needs);
        Written { row, effect: Effect::Created }
    }

    fn replace(&mut self, resource: u16, row: &Row, prepared: Prepared) -> Written {
        let name = RowName { resource, surrogate: row.surrogate };
        if is_same_representation(&row.body, &prepared.body) {
            return Written { row: name, effect: Effect::Unchanged };
        }
        self.store(resource, row, prepared);
        Written { row: name, effect: Effect::Updated }
    }

    /// Writes a new state of a row under a new version.
    pub(super) fn store(&mut self, resource: u16, row: &Row, prepared: Prepared) {
        let name = RowName { resource, surrogate: row.surrogate };
        self.forget_needs(name, &row.needs);
        let freed = self.freed_at(resource, &prepared.key);
        let version = self.next_version_above(self.written_at(resource, row).max(freed));
        let modified = self.tick();
        let Prepared { key, body, links, needs } = prepared;
        self.remember_needs(name, &needs);
        let changed = Row {
            surrogate: row.surrogate,
            id: row.id,
            key,
            body,
            links,
            needs,
            version,
            modified,
        };
        self.table_mut(resource).put(changed);
    }

    /// Keeps the record of a key that became another, under a version of its own.
    pub(super) fn record_key_change(
        &mut self,
        model: &ResourceModel,
        id: u128,
        old: Key,
        new: Key,
    ) {
        if model.is_derived || model.is_descriptor {
            return;
        }
        let row = self.live.table(model.number).by_id(id);
        let version =
            self.next_version_above(row.map_or(0, |row| self.written_at(model.number, row)));
        self.table_mut(model.number).key_changes.push(KeyChange { id, old, new, version });
    }

    /// Takes the next number of the sequence; in a slow transaction the next one that it took
    /// before, unless another has meanwhile written the row under a higher one.
    fn next_version_above(&mut self, written: i64) -> i64 {
        while let Some(version) = self.reserved.pop_front() {
            if version > written {
                return version;
            }
        }
        self.live_mut().newest += 1;
        self.live.newest
    }

    /// The last version under which anything of a row was written, the record of its key included:
    /// a slow transaction waits for whoever holds the row, and numbers its own write after that.
    fn written_at(&self, resource: u16, row: &Row) -> i64 {
        if self.reserved.is_empty() {
            return row.version;
        }
        let changes = self.live.table(resource).key_changes.iter();
        let of_row = changes.filter(|change| change.id == row.id).map(|change| change.version);
        of_row.max().unwrap_or(0).max(row.version)
    }

    /// The version under which a key was given up last, as far as a slow transaction has to know:
    /// it waits for whoever holds the key.
    fn freed_at(&self, resource: u16, key: &Key) -> i64 {
        if self.reserved.is_empty() {
            return 0;
        }
        let table = self.live.table(resource);
        let gone = table.tombstones.iter().filter(|gone| gone.key == *key);
        let renamed = table.key_changes.iter().filter(|change| change.old == *key);
        let freed = gone.map(|gone| gone.version).chain(renamed.map(|change| change.version));
        freed.max().unwrap_or(0)
    }

    /// Uses numbers up without writing, as a transaction does that is rolled back.
    pub(super) fn burn_versions(&mut self, count: i64) {
        self.live_mut().newest += count;
    }

    /// Takes numbers now for writes that become visible later, as a slow transaction does.
    pub(super) fn reserve_versions(&mut self, count: i64) -> Vec<i64> {
        let first = self.live.newest + 1;
        self.live_mut().newest += count;
        (first..=self.live.newest).collect()
    }

    /// From now on writes take these numbers, as far as they go.
    pub(super) fn use_versions(&mut self, reserved: Vec<i64>) {
        self.reserved = reserved.into();
    }

    pub(super) fn mask(&mut self, model: &ResourceModel, key: Key) {
        self.masked.insert((model.number, key));
    }

    pub(super) fn unmask_all(&mut self) {
        self.masked.clear();
    }

    pub(super) fn is_masked(&self, model: &ResourceModel, key: &Key) -> bool {
        !self.masked.is_empty() && self.masked.contains(&(model.number, key.clone()))
    }

    pub(super) fn check_mask(&self, model: &ResourceModel, key: &Key) -> Result<(), Problem> {
        if self.is_masked(model, key) { Err(authorize::denied(model)) } else { Ok(()) }
    }

    fn tick(&mut self) -> i64 {
        let now = self.clock.now().timestamp_micros() * 10 + TICKS_BEFORE_1970;
        self.last_tick = now.max(self.last_tick + 1);
        self.last_tick
    }

    fn table_mut(&mut self, resource: u16) -> &mut Table {
        Arc::make_mut(&mut self.live_mut().tables[usize::from(resource)])
    }

    pub(super) fn live_mut(&mut self) -> &mut Image {
        Arc::make_mut(&mut self.live)
    }

    fn remember_needs(&mut self, row: RowName, needs: &BTreeSet<RowName>) {
        for needed in needs {
            let table = self.table_mut(needed.resource);
            table.needed_by.entry(needed.surrogate).or_default().insert(row);
        }
    }

    fn forget_needs(&mut self, row: RowName, needs: &BTreeSet<RowName>) {
        for needed in needs {
            let table = self.table_mut(needed.resource);
            if let Some(rows) = table.needed_by.get_mut(&needed.surrogate) {
                rows.remove(&row);
            }
        }
    }

    pub(super) fn find(&self, model: &ResourceModel, id: u128) -> Option<Arc<Row>> {
        self.live.table(model.number).by_id(self.inner_id(id)).cloned()
    }

    pub(super) fn salt(&self) -> u128 {
        self.salt
    }

    /// Takes over what another world of the same standard holds, under ids of this one's own.
    pub(super) fn adopt(&mut self, live: Arc<Image>, last_tick: i64) {
        self.live = live;
        self.last_tick = last_tick;
    }

    pub(super) fn last_tick(&self) -> i64 {
        self.last_tick
    }

    fn inner_id(&self, shown: u128) -> u128 {
        shown ^ self.salt
    }

    /// The id of a row as clients see it.
    pub(super) fn shown_id(&self, row: &Row) -> u128 {
        row.id ^ self.salt
    }

    pub(super) fn take_snapshot(&mut self) {
        self.snapshots.take(self.live.clone(), self.clock.now());
    }

    /// Forgets what was deleted and renamed below that version.
    pub(super) fn purge_history(&mut self, below: i64) {
        let live = self.live_mut();
        live.oldest = below;
        for table in &mut live.tables {
            let table = Arc::make_mut(table);
            table.tombstones.retain(|gone| gone.version >= below);
            table.key_changes.retain(|change| change.version >= below);
        }
    }

    pub(super) fn put_back_oldest_snapshot(&mut self) {
        self.snapshots.put_back_oldest(self.clock.now());
    }
}

/// The same members with the same values, in whatever order.
fn is_same_representation(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one.len() == other.len() && value(one) == value(other)
}

/// .NET's `DateTime.ToBinary` of the modification time, in UTC.
pub(super) fn etag_of(row: &Row) -> String {
    (row.modified | (1 << 62)).to_string()
}

/// The modification time as items carry it.
pub(super) fn last_modified(row: &Row) -> String {
    let ticks = row.modified - TICKS_BEFORE_1970;
    let moment = chrono::DateTime::from_timestamp(
        ticks.div_euclid(10_000_000),
        u32::try_from(ticks.rem_euclid(10_000_000) * 100).unwrap_or_default(),
    )
    .unwrap_or_default();
    format!("{}.{:07}Z", moment.format("%Y-%m-%dT%H:%M:%S"), moment.timestamp_subsec_nanos() / 100)
}
