//! The files of one comparison: keyed hashes of keys and bodies with the ids of their items.
//!
//! What lives here: how an entry is spelt, and files that can be cut back to what is known to be on
//! disk. What does not: which files there are and what is in them (`compare.rs`). The one thing to
//! know: no natural key and no body gets here, and the key of the hashes is in no file (ADR 0015). Ids
//! are surrogates, and the state holds them anyway.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::domain::NaturalKey;
use crate::state::SpoolKey;

use super::meaning::meaning;

/// Why a comparison could not keep what it has read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct SpoolError {
    path: String,
    #[source]
    source: io::Error,
}

/// The directory of one comparison.
pub(super) struct Spool {
    directory: PathBuf,
    key: SpoolKey,
}

/// One item of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of its natural key.
    pub(super) key: [u8; KEY],
    /// Of what its body means; 0 where bodies are not compared.
    pub(super) content: u64,
    /// The id that this end gave it.
    pub(super) id: String,
}

/// Two million keys share none of so many bytes by chance.
const KEY: usize = 16;

impl Entry {
    /// A number that spreads evenly over the entries of a resource, the same at both ends.
    pub(super) fn spread(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.key[..8]);
        u64::from_be_bytes(first)
    }
}

impl Spool {
    /// The directory `id` under `parent`, for its owner alone; made where there is none.
    pub(super) fn open(parent: &Path, id: &str, key: SpoolKey) -> Result<Spool, SpoolError> {
        let directory = parent.join(id);
        let mut maker = fs::DirBuilder::new();
        maker.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
        maker.create(&directory).map_err(|source| at(&directory, source))?;
        Ok(Spool { directory, key })
    }

    pub(super) fn hash_of_key(&self, key: &NaturalKey) -> [u8; KEY] {
        let mut text = Vec::new();
        for (name, value) in key.iter() {
            for part in [name, value] {
                text.extend_from_slice(&part.len().to_be_bytes());
                text.extend_from_slice(part.as_bytes());
            }
        }
        self.hash(&text)
    }

    pub(super) fn hash_of_content(&self, body: &[u8]) -> u64 {
        let hash = self.hash(&meaning(body));
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(first)
    }

    /// Twice, so that who sees one hash can not make that of a longer text of it.
    fn hash(&self, text: &[u8]) -> [u8; KEY] {
        let inner = Sha256::new().chain_update(self.key.0).chain_update(text).finalize();
        let outer = Sha256::new().chain_update(self.key.0).chain_update(inner).finalize();
        let mut hash = [0; KEY];
        hash.copy_from_slice(&outer[..KEY]);
        hash
    }

    /// A file to go on with after its first `bytes`; whatever it has beyond goes. `None` where it has
    /// not so many.
    pub(super) fn writer(&self, name: &str, bytes: u64) -> Result<Option<Writer>, SpoolError> {
        let path = self.directory.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let cut = || -> io::Result<Option<File>> {
            let mut file = options.open(&path)?;
            if file.metadata()?.len() < bytes {
                return Ok(None);
            }
            file.set_len(bytes)?;
            file.seek(io::SeekFrom::Start(bytes))?;
            Ok(Some(file))
        };
        let file = cut().map_err(|source| at(&path, source))?;
        Ok(file.map(|file| Writer { path, file: BufWriter::new(file), bytes, synced: bytes }))
    }

    pub(super) fn new_writer(&self, name: &str) -> Result<Writer, SpoolError> {
        let writer = self.writer(name, 0)?;
        Ok(writer.expect("no file has less than nothing"))
    }

    /// The first `bytes` of a file.
    pub(super) fn entries(&self, name: &str, bytes: u64) -> Result<Entries, SpoolError> {
        let path = self.directory.join(name);
        let file = File::open(&path).map_err(|source| at(&path, source))?;
        Ok(Entries { path, file: BufReader::new(file), left: bytes })
    }

    /// All of a file; nothing where there is none.
    pub(super) fn whole(&self, name: &str) -> Result<Entries, SpoolError> {
        let path = self.directory.join(name);
        match fs::metadata(&path) {
            Ok(file) => self.entries(name, file.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.new_writer(name)?;
                self.entries(name, 0)
            }
            Err(error) => Err(at(&path, error)),
        }
    }

    pub(super) fn remove(&self, name: &str) {
        remove_file(&self.directory.join(name));
    }

    /// Removes the directory and everything in it.
    pub(super) fn discard(&self) {
        remove_directory(&self.directory);
    }
}

/// The ids of comparisons that have files under `parent`.
pub(super) fn there(parent: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Removes the files of a comparison.
pub(super) fn discard(parent: &Path, id: &str) {
    remove_directory(&parent.join(id));
}

/// What cannot be removed now is removed by the next comparison, and says nothing without its key.
fn remove_directory(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        told_unless_gone(&error);
    }
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        told_unless_gone(&error);
    }
}

fn told_unless_gone(error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        tracing::warn!(%error, "could not remove the files of a comparison");
    }
}

fn at(path: &Path, source: io::Error) -> SpoolError {
    SpoolError { path: path.display().to_string(), source }
}

/// A file that grows by an entry at a time.
pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    synced: u64,
}

impl Writer {
    pub(super) fn write(&mut self, entry: &Entry) -> Result<(), SpoolError> {
        let id = entry.id.as_bytes();
        let length = u32::try_from(id.len()).expect("an id is shorter than 4 GiB");
        let mut write = || -> io::Result<()> {
            self.file.write_all(&entry.key)?;
            self.file.write_all(&entry.content.to_be_bytes())?;
            self.file.write_all(&length.to_be_bytes())?;
            self.file.write_all(id)
        };
        write().map_err(|source| at(&self.path, source))?;
        self.bytes += HEAD + u64::from(length);
        Ok(())
    }

    /// Hands everything to the system, for whoever reads it in this process.
    pub(super) fn flush(&mut self) -> Result<u64, SpoolError> {
        self.file.flush().map_err(|source| at(&self.path, source))?;
        Ok(self.bytes)
    }

    /// Everything is on disk when it returns: so many bytes.
    pub(super) fn sync(&mut self) -> Result<u64, SpoolError> {
        if self.synced == self.flush()? {
            return Ok(self.bytes);
        }
        self.file.get_ref().sync_data().map_err(|source| at(&self.path, source))?;
        self.synced = self.bytes;
        Ok(self.bytes)
    }
}

const HEAD: u64 = KEY as u64 + 8 + 4;

/// The entries of a file, one in memory at a time.
pub(super) struct Entries {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
}

impl Iterator for Entries {
    type Item = Result<Entry, SpoolError>;

    fn next(&mut self) -> Option<Result<Entry, SpoolError>> {
        if self.left == 0 {
            return None;
        }
        Some(self.read().map_err(|source| at(&self.path, source)))
    }
}

impl Entries {
    fn read(&mut self) -> io::Result<Entry> {
        let mut key = [0; KEY];
        let mut content = [0; 8];
        let mut length = [0; 4];
        self.file.read_exact(&mut key)?;
        self.file.read_exact(&mut content)?;
        self.file.read_exact(&mut length)?;
        let length = u64::from(u32::from_be_bytes(length));
        let entry_bytes = HEAD + length;
        let Some(left) = self.left.checked_sub(entry_bytes) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry is cut off"));
        };
        let mut id = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut id)?;
        if u64::try_from(id.len()).ok() != Some(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let id = String::from_utf8(id)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an id is no text"))?;
        self.left = left;
        Ok(Entry { key, content: u64::from_be_bytes(content), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::KeyText;

    fn spool(directory: &Path, key: u8) -> Spool {
        Spool::open(directory, "one", SpoolKey([key; 32])).unwrap()
    }

    fn entry(id: &str) -> Entry {
        Entry { key: [1; KEY], content: 7, id: id.to_owned() }
    }

    fn key(parts: &[(&str, &str)]) -> NaturalKey {
        let part =
            |(name, value): &(&str, &str)| ((*name).to_owned(), KeyText::Text((*value).to_owned()));
        parts.iter().map(part).collect()
    }

    #[test]
    fn a_file_is_gone_on_with_after_what_is_known_to_be_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let spool = spool(directory.path(), 1);
        let mut writer = spool.new_writer("source").unwrap();
        writer.write(&entry("a")).unwrap();
        let known = writer.sync().unwrap();
        writer.write(&entry("unknown")).unwrap();
        drop(writer);

        let mut again = spool.writer("source", known).unwrap().unwrap();
        again.write(&entry("b")).unwrap();
        let bytes = again.sync().unwrap();

        let ids: Vec<String> =
            spool.entries("source", bytes).unwrap().map(|entry| entry.unwrap().id).collect();
        assert_eq!(ids, ["a", "b"]);
        assert!(spool.writer("source", bytes + 1).unwrap().is_none(), "it has not so much");
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error_and_never_a_shorter_one() {
        let directory = tempfile::tempdir().unwrap();
        let spool = spool(directory.path(), 1);
        let mut writer = spool.new_writer("source").unwrap();
        writer.write(&entry("abc")).unwrap();
        let bytes = writer.sync().unwrap();
        let file = OpenOptions::new().write(true).open(directory.path().join("one/source"));
        let file = file.unwrap();

        for length in (0..bytes).rev() {
            file.set_len(length).unwrap();

            let read: Result<Vec<Entry>, SpoolError> =
                spool.entries("source", bytes).unwrap().collect();

            assert!(read.is_err(), "{length}");
        }
    }

    #[test]
    fn hashes_tell_nothing_to_who_has_another_key_and_keys_apart_to_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (spool(directory.path(), 1), spool(directory.path(), 2));
        let student = key(&[("studentUniqueId", "604854")]);

        assert_eq!(one.hash_of_key(&student), one.hash_of_key(&student.clone()));
        assert_ne!(one.hash_of_key(&student), other.hash_of_key(&student));
        assert_ne!(
            one.hash_of_key(&key(&[("a", "bc"), ("d", "e")])),
            one.hash_of_key(&key(&[("a", "b"), ("cd", "e")]))
        );
        assert_ne!(one.hash_of_content(b"{\"a\":1}"), one.hash_of_content(b"{\"a\":2}"));
    }

    #[cfg(unix)]
    #[test]
    fn only_their_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let spool = spool(directory.path(), 1);
        spool.new_writer("source").unwrap();

        for (path, mode) in [("one", 0o700), ("one/source", 0o600)] {
            let found = fs::metadata(directory.path().join(path)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{path}");
        }
    }

    #[test]
    fn what_nobody_needs_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        for id in ["kept", "left"] {
            let spool = Spool::open(directory.path(), id, SpoolKey([0; 32])).unwrap();
            spool.new_writer("source").unwrap();
        }

        for id in there(directory.path()).iter().filter(|id| *id != "kept") {
            discard(directory.path(), id);
        }

        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].file_name(), "kept");
    }
}
