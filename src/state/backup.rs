//! Backups: a directory of exports, the newest of them kept.
//!
//! What lives here: names, one backup, and which go. What does not: when one is due
//! (`daemon/backups.rs`) and the form of the text (`text.rs`). The one thing to know: the name of a
//! backup carries the moment that it is of, in UTC, and a file with any other name is somebody
//! else's and never touched.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDateTime;

use super::text::{self, ExportError};
use super::{Draft, StateError, StateStore};
use crate::clock::Timestamp;

const PREFIX: &str = "tidemark-";
/// Sorts as the moments do, and no file system objects to it.
const MOMENT: &str = "%Y%m%dT%H%M%SZ";
const ENDING: &str = ".jsonl";

/// Where backups are kept, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backups {
    pub directory: PathBuf,
    /// At least 1.
    pub keep: usize,
}

/// Why there is no new backup. Those from before are as they were.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(
        "the directory of backups, {path}, cannot be used: see that it can be read and written by this user, or name another one with `state.backup.path`"
    )]
    Directory {
        path: String,
        #[source]
        source: io::Error,
    },

    #[error("the backup {path} cannot be written: see that the disk has room")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },

    #[error("the state cannot be read for a backup")]
    State(#[source] StateError),
}

impl Backups {
    /// Writes what the store has now, and removes the oldest beyond those that are kept. Whole and
    /// on disk when it returns its path; `None` when there is nothing yet that could be lost.
    pub async fn write(
        &self,
        store: &Arc<dyn StateStore>,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, BackupError> {
        if store.pairs().await.map_err(BackupError::State)?.is_empty() {
            return Ok(None);
        }
        let (backups, store) = (self.clone(), Arc::clone(store));
        let runtime = tokio::runtime::Handle::current();
        // Files block: on a thread for it, from which the store can be waited for.
        let written =
            tokio::task::spawn_blocking(move || backups.write_here(&runtime, &*store, now));
        written.await.expect("writing a backup does not panic").map(Some)
    }

    fn write_here(
        &self,
        runtime: &tokio::runtime::Handle,
        store: &dyn StateStore,
        now: Timestamp,
    ) -> Result<PathBuf, BackupError> {
        make_directory(&self.directory).map_err(|source| self.unusable(source))?;
        let path = self.directory.join(name_of(now));
        let unwritten = |source| BackupError::Write { path: path.display().to_string(), source };
        let draft = Draft::beside(&path).map_err(unwritten)?;
        let mut out = BufWriter::new(draft.file());
        runtime.block_on(text::export(store, now, &mut out)).map_err(|error| match error {
            ExportError::State(error) => BackupError::State(error),
            ExportError::Write(source) => unwritten(source),
        })?;
        out.flush().map_err(unwritten)?;
        drop(out);
        draft.becomes(&path).map_err(unwritten)?;
        self.remove_beyond(&path).map_err(|source| self.unusable(source))?;
        Ok(path)
    }

    /// The moment of the newest backup; `None` when there is none, or no directory yet.
    pub fn newest(&self) -> Result<Option<Timestamp>, BackupError> {
        let there = self.there().map_err(|source| self.unusable(source))?;
        Ok(there.last().map(|(moment, _)| *moment))
    }

    /// Whatever a clock that went back has named newer: what was just written stays.
    fn remove_beyond(&self, written: &Path) -> io::Result<()> {
        let mut others = self.there()?;
        others.retain(|(_, path)| path != written);
        let kept = self.keep.saturating_sub(1);
        for (_, path) in others.iter().take(others.len().saturating_sub(kept)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Every backup, oldest first.
    fn there(&self) -> io::Result<Vec<(Timestamp, PathBuf)>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut there = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy());
            if let Some(moment) = name.and_then(|name| moment_of(&name)) {
                there.push((moment, path));
            }
        }
        there.sort();
        Ok(there)
    }

    fn unusable(&self, source: io::Error) -> BackupError {
        BackupError::Directory { path: self.directory.display().to_string(), source }
    }
}

/// With access for its owner alone; one that is there stays as it is.
fn make_directory(path: &Path) -> io::Result<()> {
    let mut maker = fs::DirBuilder::new();
    maker.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
    maker.create(path)
}

fn name_of(moment: Timestamp) -> String {
    format!("{PREFIX}{}{ENDING}", moment.format(MOMENT))
}

fn moment_of(name: &str) -> Option<Timestamp> {
    let text = name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?;
    Some(NaiveDateTime::parse_from_str(text, MOMENT).ok()?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{moment, pair, state};
    use super::super::text::Text;
    use super::super::{MemoryStore, Step};
    use super::*;

    fn backups(directory: &Path, keep: usize) -> Backups {
        Backups { directory: directory.join("backups"), keep }
    }

    async fn store() -> Arc<dyn StateStore> {
        let store = MemoryStore::new();
        let step = Step { state: Some(state(9)), ..Step::default() };
        store.commit(&pair("a"), step).await.unwrap();
        Arc::new(store)
    }

    fn names(backups: &Backups) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&backups.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_backup_carries_its_moment_and_reads_as_an_export() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 3);

        let written = backups.write(&store().await, moment(0)).await.unwrap().unwrap();

        assert_eq!(written.file_name().unwrap(), "tidemark-20241004T000000Z.jsonl");
        let text = fs::read_to_string(&written).unwrap();
        let Ok(Text::Export(steps)) = text::read(&text) else { panic!("no export") };
        assert_eq!(steps[&pair("a")].state, Some(state(9)));
        assert_eq!(backups.newest().unwrap(), Some(moment(0)));
    }

    #[tokio::test]
    async fn the_newest_are_kept_and_what_is_no_backup_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 2);
        let store = store().await;
        let theirs = ["notes.txt", "tidemark-of-old.jsonl", "tidemark-20241004T000000Z.jsonl.bak"];
        fs::create_dir(&backups.directory).unwrap();
        for name in theirs {
            fs::write(backups.directory.join(name), b"theirs").unwrap();
        }

        for minute in 0..4 {
            backups.write(&store, moment(minute)).await.unwrap();
        }

        let mut expected = theirs.map(str::to_owned).to_vec();
        expected.extend([name_of(moment(2)), name_of(moment(3))]);
        expected.sort();
        assert_eq!(names(&backups), expected);
    }

    #[tokio::test]
    async fn a_backup_after_the_clock_went_back_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 1);
        let store = store().await;

        for minute in [5, 3] {
            backups.write(&store, moment(minute)).await.unwrap();
        }

        assert_eq!(names(&backups), [name_of(moment(3))]);
    }

    #[tokio::test]
    async fn of_a_state_with_nothing_in_it_there_is_no_backup() {
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 1);
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());

        let written = backups.write(&store, moment(0)).await.unwrap();

        assert_eq!(written, None);
        assert_eq!(backups.newest().unwrap(), None);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("backups"), b"a file").unwrap();
        let backups = backups(directory.path(), 1);

        let refused = backups.write(&store().await, moment(0)).await.unwrap_err();

        assert!(matches!(refused, BackupError::Directory { .. }), "{refused}");
        assert!(refused.to_string().contains("state.backup.path"), "{refused}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn backups_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let backups = backups(directory.path(), 1);

        let written = backups.write(&store().await, moment(0)).await.unwrap().unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&backups.directory), mode(&written)), (0o700, 0o600));
    }
}
