//! One pair, looked at closely: how it is made, what it is in the middle of, and in which order its
//! resources go. No natural key is in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, ResourcePath, Window};
use crate::state::BlockCause;

/// What the configuration, the state and the process know of a pair beside its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairDetail {
    /// In words, with the time zone; empty where only a person starts it.
    pub schedule: String,
    /// As the configuration spells it: `snapshot`.
    pub isolation: &'static str,
    /// Nobody else writes to the same data.
    pub is_sole_writer: bool,
    /// The source, then the target.
    pub connections: Vec<ConnectionDetail>,
    /// A run that began and was not committed: the next one goes on with it (R12).
    pub unfinished: Option<Unfinished>,
    pub blocked: Option<Blocked>,
    /// Nobody is paused longer than this says; `None` within is until somebody resumes.
    pub paused: Option<Option<Timestamp>>,
    /// Resources that the watermark speaks for (R17).
    pub spoken_for: BTreeSet<ResourcePath>,
    /// Are being read from their beginning (R17).
    pub begun: BTreeSet<ResourcePath>,
    /// Parked and dead items; resources without any are not in it.
    pub waiting: BTreeMap<ResourcePath, Waiting>,
    /// What the last comparison found of each resource that was compared.
    pub compared: BTreeMap<ResourcePath, Compared>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionDetail {
    pub name: String,
    pub url: String,
    /// How many requests its origin is sent at once now.
    pub in_force: usize,
    /// The most that the configuration lets it have.
    pub ceiling: usize,
    /// Why its secrets cannot be read now.
    pub locked: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub run: String,
    pub window: Window,
    /// The version after which it reads, overlap included.
    pub reach: Option<ChangeVersion>,
    pub began_at: Timestamp,
    /// Of which every upsert is settled.
    pub finished: BTreeSet<ResourcePath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub cause: BlockCause,
    pub reason: String,
    pub since: Timestamp,
    /// What would have been deleted (R27).
    pub deletes: Option<(ResourcePath, u64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub parked: u64,
    pub dead: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub at: Timestamp,
    pub is_equal: bool,
}

/// The resources of a pair, each after everything that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceOrder {
    pub resources: Vec<OrderedResource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedResource {
    pub resource: ResourcePath,
    /// What must be finished before it begins.
    pub after: Vec<ResourcePath>,
    /// The configuration publishes it.
    pub is_selected: bool,
}

/// A value of the configuration in force, with where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `connections.district.timeout`.
    pub key: String,
    /// As it was written; secrets hidden.
    pub value: String,
    /// File, line and row; `None` for a default.
    pub origin: Option<String>,
}

/// The configuration, as far as the caller may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub settings: Vec<Setting>,
    /// What can be asked for by name.
    pub names: Vec<String>,
    /// Why what is on disk is not what is in force, where that is so.
    pub refused: Option<String>,
}
