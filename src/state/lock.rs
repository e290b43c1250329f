//! Our own lock on a state directory, and the name of whoever holds it.
//!
//! The store's engine has a lock too, but says neither who holds it nor lets go of it at once when
//! it is closed. The one thing to know: the operating system drops this lock with its holder, so a
//! process that was killed leaves none behind; the text in the file is for people only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;

/// Held for as long as it lives.
pub(super) struct StateLock {
    _file: File,
}

/// Why there is no lock.
pub(super) enum NotLocked {
    /// Who holds it, as ` (process 42 since …)`; empty when that cannot be read.
    Held {
        holder: String,
    },
    Failed(std::io::Error),
}

impl StateLock {
    /// Takes the lock of a directory that is there, at once or not at all.
    pub(super) fn take(directory: &Path, now: Timestamp) -> Result<StateLock, NotLocked> {
        // Opened without truncation: the text belongs to the holder until we are it.
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(lock_path(directory))
            .map_err(NotLocked::Failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(NotLocked::Held { holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(NotLocked::Failed(error)),
        }
        sign(&mut file, now).map_err(NotLocked::Failed)?;
        Ok(StateLock { _file: file })
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

fn sign(file: &mut File, now: Timestamp) -> std::io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "process {} since {}", std::process::id(), now.format("%Y-%m-%dT%H:%M:%SZ"))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(200).read_to_string(&mut text) {
        Ok(read) if read > 0 => format!(" ({})", text.trim()),
        Ok(_) | Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_second_taker_learns_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let now = Clock::system().now();
        let _held = StateLock::take(directory.path(), now).ok().unwrap();

        let refused = StateLock::take(directory.path(), now).err().unwrap();

        let NotLocked::Held { holder } = refused else { panic!("the lock is held") };
        assert!(holder.contains(&format!("process {} since ", std::process::id())), "{holder}");
    }

    #[test]
    fn a_lock_that_was_dropped_can_be_taken() {
        let directory = tempfile::tempdir().unwrap();
        let now = Clock::system().now();
        drop(StateLock::take(directory.path(), now).ok().unwrap());

        let taken = StateLock::take(directory.path(), now);

        assert!(taken.is_ok());
    }
}
