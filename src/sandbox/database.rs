//! The simulated database by itself: with a server in front of it a [`Sandbox`](super::Sandbox),
//! without one the cheap world of tests that play many histories.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::options::{SandboxOptions, Standard};
use super::rows::Image;
use super::standard::StandardModel;
use super::version::ApiVersion;
use super::world::World;
use super::{SandboxError, seed};

/// What a sandbox holds. What it does about a write is in `direct.rs`, what it shows at one
/// moment is a [`View`](super::View).
#[derive(Debug)]
pub struct Database {
    pub(super) standard: Arc<StandardModel>,
    pub(super) version: ApiVersion,
    world: RwLock<World>,
}

/// What a database held at one moment.
#[derive(Clone, Debug)]
pub struct Backup {
    live: Arc<Image>,
    last_tick: i64,
}

impl Database {
    /// A database with the data, the standard and the rules of `options`; where it would listen
    /// and who may ask does not matter.
    pub fn load(options: &SandboxOptions) -> Result<Database, SandboxError> {
        let standard = match options.standard {
            Standard::DataStandard52 => StandardModel::data_standard_52()?,
            Standard::Other => StandardModel::other()?,
        };
        let standard = match options.lacks.as_slice() {
            [] => standard,
            lacks => Arc::new(standard.without(lacks)?),
        };
        let mut world = World::new(standard, options);
        seed::fill(&mut world, options.standard, &options.data)?;
        Ok(Database::of(world, options.version))
    }

    /// Another database that holds the same for now, with the rules of `options`. The ids that
    /// clients see are its own, and the same in every copy with this `seed`. Rows are shared until
    /// they are written, so a copy costs next to nothing.
    pub fn copy(&self, options: &SandboxOptions, seed: u64) -> Database {
        Database::of(self.read().copy(options, seed), options.version)
    }

    /// What it holds now, to be put back.
    pub fn backup(&self) -> Backup {
        let world = self.read();
        Backup { live: world.live.clone(), last_tick: world.last_tick() }
    }

    /// Holds what it held then, and nothing since: also the sequence of versions goes back.
    pub fn restore(&self, backup: &Backup) {
        self.write().adopt(backup.live.clone(), backup.last_tick);
    }

    fn of(world: World, version: ApiVersion) -> Database {
        Database { standard: world.standard.clone(), version, world: RwLock::new(world) }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }
}
