//! State on this machine's disk, in sled. No sled type leaves this file and `sled/`.
//!
//! What lives here: opening without ever changing what cannot be read, and making one step one
//! durable batch. What does not: reading it back (`sled/reads.rs`), what a step means (`records.rs`)
//! and how it is spelt (`codec.rs`).
//! The one thing to know: a commit counts only when its flush has returned, and the first error
//! after opening is the last thing this store does; sled stays broken once it is, and a store that
//! goes on after a failed write would be guessing.

mod known;
mod reads;

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::sled::{Batch, Db, Tree};
use async_trait::async_trait;

use self::known::Known;
use super::codec::{FORMAT, FORMAT_KEY, OLDEST, STEPS_KEY, Trouble};
use super::lock::{NotLocked, StateLock};
use super::marker::{Marked, Marker};
use super::migrate;
use super::records::{self, Entries, Table, Writes};
use super::{AuditRecord, CommitWatcher, FaultWatcher, PairId, Plan, StateError, StateStore, Step};
use crate::clock::{Clock, Timestamp};

/// The state of a fleet is small; sled's own default would be a gigabyte.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// sled lets go of its own lock some time after it was closed. We hold ours by then, so whoever
/// has it is on the way out.
const WAIT_FOR_ENGINE: Duration = Duration::from_secs(10);
/// A copy of the database that is opened first; never more than a copy.
const REHEARSAL: &str = "rehearsal";

const RESTORE: &str = "restore the directory from a backup, or move it aside and start over: then \
     `tidemark watermark set` tells each pair how far it had come";
const MAKE_ROOM: &str = "see that the directory can be read and written by this user and that the \
     disk has room, then start again";

/// Opens the state in a directory, which is made when there is none. Blocks while it reads: call it
/// before there is anything else to do, or on a thread for blocking work.
///
/// A database that cannot be read whole is refused and left as it was: its copy is opened first.
pub fn open(path: &Path) -> Result<Arc<dyn StateStore>, StateError> {
    let store = SledStore::open(path)?;
    Ok(Arc::new(store))
}

struct SledStore {
    shared: Arc<Shared>,
}

/// Fields are dropped in order: the database is closed before the lock is let go.
struct Shared {
    db: Db,
    /// One step at a time: a step reads what it removes, and steps are counted.
    writer: Mutex<Writer>,
    known: Known,
    /// The first error after opening.
    broken: OnceLock<String>,
    watcher: OnceLock<CommitWatcher>,
    fault_watcher: OnceLock<FaultWatcher>,
    path: String,
    _lock: StateLock,
}

struct Writer {
    steps: u64,
    marker: Marker,
}

impl SledStore {
    fn open(path: &Path) -> Result<SledStore, StateError> {
        let place = Place { path: path.to_owned() };
        place.make_directory()?;
        let lock = place.lock()?;
        let marked = place.marked()?;
        place.set_unfinished_snapshots_aside()?;
        if place.has_database() {
            place.rehearse(marked)?;
        } else if marked.steps > 0 {
            return Err(place.unreadable("its database file is gone"));
        }
        let (db, steps) = place.open_database(marked)?;
        if marked.format < FORMAT {
            place.mark_migrated(steps)?;
        }
        place.keep_private();
        let marker = Marker::open(path).map_err(|error| place.unusable(&error))?;
        Ok(SledStore {
            shared: Arc::new(Shared {
                db,
                writer: Mutex::new(Writer { steps, marker }),
                known: Known::default(),
                broken: OnceLock::new(),
                watcher: OnceLock::new(),
                fault_watcher: OnceLock::new(),
                path: place.shown(),
                _lock: lock,
            }),
        })
    }

    /// What can be said without the disk. Fails where the disk would not be asked any more.
    fn in_memory<T>(
        &self,
        doing: &'static str,
        ask: impl FnOnce(&Known) -> Option<T>,
    ) -> Result<Option<T>, StateError> {
        let shared = &self.shared;
        shared.still_whole().map_err(|trouble| shared.fail(&trouble, doing))?;
        Ok(ask(&shared.known))
    }

    /// Does blocking work on a thread for it. The work goes on to its end even when the caller is
    /// cancelled, so that no flush is ever left half way.
    async fn on_disk<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Shared) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StateError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || {
            shared.still_whole().map_err(|trouble| shared.fail(&trouble, doing))?;
            work(&shared).map_err(|trouble| shared.poison(&trouble, doing))
        });
        done.await.unwrap_or_else(|_| {
            let trouble = Trouble::Engine("the database engine stopped in the middle".to_owned());
            Err(self.shared.poison(&trouble, doing))
        })
    }
}

impl Shared {
    fn still_whole(&self) -> Result<(), Trouble> {
        match self.broken.get() {
            None => Ok(()),
            Some(what) => Err(Trouble::Engine(format!("an earlier call failed: {what}"))),
        }
    }

    fn poison(&self, trouble: &Trouble, doing: &'static str) -> StateError {
        self.broken.get_or_init(|| trouble.what());
        self.fail(trouble, doing)
    }

    fn fail(&self, trouble: &Trouble, doing: &'static str) -> StateError {
        if let Some(watcher) = self.fault_watcher.get() {
            watcher(trouble.word());
        }
        trouble.failed(&self.path, doing)
    }

    fn commit(&self, pair: &PairId, step: &Step) -> Result<(), Trouble> {
        let work = |table: &dyn Table| records::writes(table, pair, step);
        self.write(work, |known| known.committed(pair, step))
    }

    /// I3, I4: one batch, and `Ok` only after the flush that covers it.
    fn write(
        &self,
        work: impl FnOnce(&dyn Table) -> Result<Writes, Trouble>,
        when_on_disk: impl FnOnce(&Known),
    ) -> Result<(), Trouble> {
        // A panic of an earlier holder has poisoned the store, and `still_whole` has said so; this
        // call was already waiting.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.still_whole()?;
        let began = tokio::time::Instant::now();
        let steps = writer.steps + 1;
        let mut batch = batch_of(work(&*self.db)?);
        batch.insert(STEPS_KEY, &steps.to_be_bytes());
        self.db.apply_batch(batch).map_err(engine)?;
        self.db.flush().map_err(engine)?;
        writer.steps = steps;
        when_on_disk(&self.known);
        writer.marker.count(steps).map_err(|error| Trouble::Engine(error.to_string()))?;
        if let Some(watcher) = self.watcher.get() {
            watcher(began.elapsed());
        }
        Ok(())
    }
}

/// A step that changes neither the state of a pair nor what it has parked.
fn nothing_is_known_of_it(_: &Known) {}

fn batch_of(writes: Writes) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in writes {
        match value {
            Some(bytes) => batch.insert(key, bytes),
            None => batch.remove(key),
        }
    }
    batch
}

fn engine(error: ::sled::Error) -> Trouble {
    Trouble::Engine(match error {
        ::sled::Error::Corruption { .. } => "a part of the database is corrupted".to_owned(),
        ::sled::Error::Io(error) if is_out_of_room(&error) => {
            "there is no room left on the disk: make some, then start again".to_owned()
        }
        ::sled::Error::Io(error) => format!("the database engine could not go on: {error}"),
        other => format!("the database engine could not go on: {other}"),
    })
}

/// The disk is full, or a file may not grow any further. sled hands on some errors as text alone.
fn is_out_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let text = error.to_string();
    [FileTooLarge, QuotaExceeded, StorageFull]
        .into_iter()
        .any(|kind| error.kind() == kind || text.contains(&format!("kind: {kind:?}")))
}

/// A state directory on the way to being open.
struct Place {
    path: PathBuf,
}

impl Place {
    fn make_directory(&self) -> Result<(), StateError> {
        if self.path.is_dir() {
            return Ok(());
        }
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
        maker.create(&self.path).map_err(|error| self.unusable(&error))
    }

    fn lock(&self) -> Result<StateLock, StateError> {
        StateLock::take(&self.path, Clock::system().now()).map_err(|refused| match refused {
            NotLocked::Held { holder } => StateError::Locked { path: self.shown(), holder },
            NotLocked::Failed(error) => self.unusable(&error),
        })
    }

    /// What the database must hold. Written before the first database is, so that files without it
    /// are either not ours or not whole.
    fn marked(&self) -> Result<Marked, StateError> {
        match Marker::read(&self.path) {
            Ok(Some(marked)) if marked.format > FORMAT => {
                Err(self.refused(&Trouble::Newer { found: marked.format }))
            }
            Ok(Some(marked)) if marked.format >= OLDEST => Ok(marked),
            Ok(Some(_)) => Err(self.unreadable("its file tidemark.format names no known format")),
            Ok(None) if self.has_database() => {
                Err(self.unreadable("there are database files but no file tidemark.format"))
            }
            Ok(None) => {
                Marker::create(&self.path).map_err(|error| self.unusable(&error))?;
                Ok(Marked { format: FORMAT, steps: 0 })
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.unreadable(&error.to_string()))
            }
            Err(error) => Err(self.unusable(&error)),
        }
    }

    fn has_database(&self) -> bool {
        ["db", "conf"].iter().any(|name| self.path.join(name).exists())
    }

    /// A disk that filled up while sled was opening leaves a snapshot that it takes for a whole one
    /// at the next opening (`reliability §6.3`). The log has everything that it would have had.
    fn set_unfinished_snapshots_aside(&self) -> Result<(), StateError> {
        for name in self.file_names().map_err(|error| self.unusable(&error))? {
            if !is_unfinished_snapshot(&name) {
                continue;
            }
            let aside = self.path.join(format!("aside.{name}"));
            fs::rename(self.path.join(&name), aside).map_err(|error| self.unusable(&error))?;
            tracing::warn!(file = name, "moved an unfinished database snapshot aside");
        }
        Ok(())
    }

    /// Opens a copy and reads all of it. Opening repairs what it takes for a torn end, so the
    /// database itself is opened only when the copy proved to be whole. If it has an older format,
    /// it is exported here: before the database is touched.
    fn rehearse(&self, marked: Marked) -> Result<(), StateError> {
        let copy = self.path.join(REHEARSAL);
        remove_directory(&copy).map_err(|error| self.unusable(&error))?;
        self.copy_database(&copy).map_err(|error| self.unusable(&error))?;
        let whole = guarded(|| {
            let db = open_engine(&copy)?;
            let found = check(&db, marked)?;
            records::verify(&*db)?;
            if found.format == FORMAT {
                return Ok(Ok(()));
            }
            migrate::export_before(&*db, found.format, &self.path, Clock::system().now())
        });
        if let Err(error) = remove_directory(&copy) {
            // The next opening removes it.
            tracing::warn!(%error, "could not remove the copy of the state that was checked");
        }
        let exported = whole.map_err(|trouble| self.refused(&trouble))?;
        exported.map_err(|error| self.unusable(&error))
    }

    fn copy_database(&self, copy: &Path) -> io::Result<()> {
        fs::create_dir_all(copy.join("blobs"))?;
        for name in self.file_names()? {
            if name == "db" || name == "conf" || name.starts_with("snap.") {
                fs::copy(self.path.join(&name), copy.join(&name))?;
            }
        }
        let blobs = self.path.join("blobs");
        if !blobs.is_dir() {
            return Ok(());
        }
        for blob in fs::read_dir(blobs)? {
            let blob = blob?;
            fs::copy(blob.path(), copy.join("blobs").join(blob.file_name()))?;
        }
        Ok(())
    }

    fn open_database(&self, marked: Marked) -> Result<(Db, u64), StateError> {
        guarded(|| {
            let db = open_engine(&self.path)?;
            let found = check(&db, marked)?;
            if found.format < FORMAT {
                rewrite(&db)?;
                let (from, to) = (found.format, FORMAT);
                let before = migrate::export_path(&self.path);
                tracing::info!(from, to, before = %before.display(), "state migrated");
            }
            Ok((db, found.steps))
        })
        .map_err(|trouble| self.refused(&trouble))
    }

    /// Last, so that a marker of this format always has a database of it.
    fn mark_migrated(&self, steps: u64) -> Result<(), StateError> {
        Marker::write(&self.path, Marked { format: FORMAT, steps })
            .map_err(|error| self.unusable(&error))
    }

    /// Natural keys are in these files: nobody else's business. Best effort, the directory is ours;
    /// where it was made by somebody else, with more rights, this is all that there is.
    fn keep_private(&self) {
        for name in self.file_names().unwrap_or_default() {
            self.keep_for_owner(&name, 0o600);
        }
        self.keep_for_owner("blobs", 0o700);
    }

    fn keep_for_owner(&self, name: &str, mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let private = fs::Permissions::from_mode(mode);
            if let Err(error) = fs::set_permissions(self.path.join(name), private) {
                tracing::debug!(file = name, %error, "could not make a state file private");
            }
        }
    }

    fn file_names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn refused(&self, trouble: &Trouble) -> StateError {
        match trouble {
            Trouble::Newer { found } => {
                StateError::Newer { path: self.shown(), found: *found, known: FORMAT }
            }
            Trouble::Engine(what) | Trouble::Damaged(what) => self.unreadable(what),
        }
    }

    fn unreadable(&self, what: &str) -> StateError {
        StateError::Unreadable {
            path: self.shown(),
            what: what.to_owned(),
            repair: RESTORE.to_owned(),
        }
    }

    /// The disk or its permissions stand in the way, not the state.
    fn unusable(&self, error: &io::Error) -> StateError {
        StateError::Unreadable {
            path: self.shown(),
            what: error.to_string(),
            repair: MAKE_ROOM.to_owned(),
        }
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

fn is_unfinished_snapshot(name: &str) -> bool {
    name.starts_with("snap.") && name.ends_with(".generating")
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// sled meets some damage with a panic; here it is one more way of not being readable.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Trouble::Engine("the database engine stumbled over damaged data".to_owned()))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "opening blocks its thread, which no clock of tokio's can pause"
)]
fn open_engine(path: &Path) -> Result<Db, Trouble> {
    let config = ::sled::Config::new().path(path).cache_capacity(CACHE_BYTES);
    let began = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(error) if is_still_locked(&error) && began.elapsed() < WAIT_FOR_ENGINE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(engine(error)),
        }
    }
}

/// sled has no kind for it: only the text tells.
fn is_still_locked(error: &::sled::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Every record and the format of the database in one batch: all of it is there, or nothing.
fn rewrite(db: &Db) -> Result<(), Trouble> {
    let mut batch = batch_of(migrate::rewritten(&**db)?);
    batch.insert(FORMAT_KEY, &[FORMAT]);
    db.apply_batch(batch).map_err(engine)?;
    db.flush().map_err(engine)?;
    Ok(())
}

/// Proves that the database is ours and has every step that was acknowledged; tells what it has, in
/// the form in which the marker tells what it must have.
fn check(db: &Db, marked: Marked) -> Result<Marked, Trouble> {
    let format = match db.get(FORMAT_KEY).map_err(engine)?.as_deref() {
        Some([found, ..]) if *found > FORMAT => return Err(Trouble::Newer { found: *found }),
        // A migration was killed before its marker was written, or this is no migration.
        Some([found]) if *found == marked.format || *found == FORMAT => *found,
        Some(_) => return Err(Trouble::Damaged("its format key is damaged".to_owned())),
        // Nothing was ever acknowledged: the first opening did not get to its end.
        None if marked.steps == 0 && db.is_empty() => return begin(db),
        None => return Err(Trouble::Damaged("the database has no format key".to_owned())),
    };
    let steps = db.get(STEPS_KEY).map_err(engine)?.map(|bytes| <[u8; 8]>::try_from(&*bytes));
    let Some(Ok(steps)) = steps else {
        return Err(Trouble::Damaged("its count of steps is missing".to_owned()));
    };
    let steps = u64::from_be_bytes(steps);
    if steps < marked.steps {
        let (lost, of) = (marked.steps - steps, marked.steps);
        return Err(Trouble::Damaged(format!(
            "the last {lost} of {of} steps are missing from the database"
        )));
    }
    Ok(Marked { format, steps })
}

fn begin(db: &Db) -> Result<Marked, Trouble> {
    let mut batch = Batch::default();
    batch.insert(FORMAT_KEY, &[FORMAT]);
    batch.insert(STEPS_KEY, &0_u64.to_be_bytes());
    db.apply_batch(batch).map_err(engine)?;
    db.flush().map_err(engine)?;
    Ok(Marked { format: FORMAT, steps: 0 })
}

impl Table for Tree {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(Tree::get(self, key).map_err(engine)?.map(|bytes| bytes.to_vec()))
    }

    fn range(&self, from: Vec<u8>, until: Vec<u8>) -> Entries<'_> {
        Box::new(Tree::range(self, from..until).map(|entry| {
            let (key, bytes) = entry.map_err(engine)?;
            Ok((key.to_vec(), bytes.to_vec()))
        }))
    }
}

#[async_trait]
impl StateStore for SledStore {
    fn watch_commits(&self, told: CommitWatcher) {
        // Of two who want to know, the first is told: a process has one.
        let _ = self.shared.watcher.set(told);
    }

    fn watch_faults(&self, told: FaultWatcher) {
        let _ = self.shared.fault_watcher.set(told);
    }

    async fn commit(&self, pair: &PairId, step: Step) -> Result<(), StateError> {
        let pair = pair.clone();
        self.on_disk("saving a step", move |shared| shared.commit(&pair, &step)).await
    }

    async fn keep_plans(&self, plans: Vec<(PairId, Plan)>) -> Result<(), StateError> {
        self.on_disk("saving plans", move |shared| {
            shared.write(|_| records::write_plans(&plans), nothing_is_known_of_it)
        })
        .await
    }

    async fn note(
        &self,
        record: AuditRecord,
        forget_before: Option<Timestamp>,
    ) -> Result<(), StateError> {
        self.on_disk("writing the audit", move |shared| {
            let work = |table: &dyn Table| records::note(table, &record, forget_before);
            shared.write(work, nothing_is_known_of_it)
        })
        .await
    }
}

#[cfg(test)]
#[path = "sled_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "migration_tests.rs"]
mod migration_tests;
