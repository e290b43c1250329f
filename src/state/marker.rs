//! `tidemark.format`: the small file beside the database that says what the database must hold.
//!
//! A log-structured database whose end was cut off opens without a word, as it was some steps ago.
//! The one thing to know: this file counts the steps that were acknowledged, so that a database
//! with fewer of them is recognised. It is written after a step is on disk and not forced out
//! itself: after a power failure it may say less than is true, never more.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::codec::FORMAT;

const TITLE: &str = "tidemark state";
/// Where the digits of the count begin, for writing them in place.
const STEPS_AT: u64 = "tidemark state\nformat 001\nsteps ".len() as u64;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) format: u8,
    pub(super) steps: u64,
}

/// The file, open for counting.
pub(super) struct Marker {
    file: File,
}

impl Marker {
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join("tidemark.format")
    }

    /// Writes the marker of a database that is about to be made.
    pub(super) fn create(directory: &Path) -> std::io::Result<()> {
        Marker::write(directory, Marked { format: FORMAT, steps: 0 })
    }

    /// Takes the place of the one that is there. Whole or not at all, on disk when it returns `Ok`.
    pub(super) fn write(directory: &Path, marked: Marked) -> std::io::Result<()> {
        let draft = directory.join("tidemark.format.new");
        let mut file = File::create(&draft)?;
        file.write_all(spelt(marked).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, Marker::path(directory))?;
        File::open(directory)?.sync_all()
    }

    /// `None` when there is none; an error with `InvalidData` when it is not what we write.
    pub(super) fn read(directory: &Path) -> std::io::Result<Option<Marked>> {
        match fs::read_to_string(Marker::path(directory)) {
            Ok(text) => parse(&text).map(Some).ok_or_else(|| {
                std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    "its file tidemark.format is damaged",
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn open(directory: &Path) -> std::io::Result<Marker> {
        let file = OpenOptions::new().write(true).open(Marker::path(directory))?;
        Ok(Marker { file })
    }

    /// Notes that so many steps are on disk. Always the same length, in place, within one block.
    pub(super) fn count(&mut self, steps: u64) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(STEPS_AT))?;
        self.file.write_all(format!("{steps:020}").as_bytes())?;
        if steps == 1 {
            // From here on an empty database is a loss and no longer an unfinished beginning.
            self.file.sync_data()?;
        }
        Ok(())
    }
}

fn spelt(marked: Marked) -> String {
    format!("{TITLE}\nformat {:03}\nsteps {:020}\n", marked.format, marked.steps)
}

fn parse(text: &str) -> Option<Marked> {
    let mut lines = text.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let format = lines.next()?.strip_prefix("format ")?.parse().ok()?;
    let steps = lines.next()?.strip_prefix("steps ")?.parse().ok()?;
    Some(Marked { format, steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_written_in_place() {
        let directory = tempfile::tempdir().unwrap();
        Marker::create(directory.path()).unwrap();
        let mut marker = Marker::open(directory.path()).unwrap();

        for steps in [1, 2, 1_000_000_007] {
            marker.count(steps).unwrap();

            let marked = Marker::read(directory.path()).unwrap().unwrap();
            assert_eq!(marked, Marked { format: FORMAT, steps });
        }
    }

    #[test]
    fn a_marker_that_is_not_ours_is_no_marker() {
        for (case, text) in [
            ("empty", ""),
            ("another title", "something else\nformat 001\nsteps 1\n"),
            ("no count", "tidemark state\nformat 001\n"),
            ("a torn count", "tidemark state\nformat 001\nsteps 00\u{0}\u{0}\n"),
        ] {
            assert_eq!(parse(text), None, "{case}");
        }
    }
}
