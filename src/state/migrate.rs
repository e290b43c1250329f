//! From an older format to this one: an export of the state as it was, then every record anew.
//!
//! What lives here: what is written. What does not: when, and in which order it becomes durable
//! (`sled.rs`). The one thing to know: the export is whole on disk before anything is changed, all
//! records and the format of the database change in one batch, and the marker follows; whoever is
//! killed in between leaves a state that the next opening migrates, or has only to mark.
//!
//! A new kind of record, or a member that an older reader would take for damage or lose, is a new
//! format: raise [`FORMAT`] and say why there. Older records are read by the
//! same types, so what they lack needs a default (`#[serde(default)]`); where that is not enough,
//! `rewritten` is the place to turn an old record into a new one.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, FORMAT, Trouble};
use super::readable::ReadableCoverage;
use super::records::{self, Table, Writes};
use super::text::{self, RecordsError};
use super::{
    Comparison, Coverage, Draft, Finished, JournalledName, LeftBehind, PairState, Parked, Plan,
    Progress, RememberedKeyChange, RunJournal, RunRecord, SettledTombstone, Verified, Written,
};
use crate::clock::Timestamp;
use crate::domain::SourceId;

/// Where the state as it was is kept: in its own directory, for whoever has to go back.
pub(super) fn export_path(directory: &Path) -> PathBuf {
    directory.join(format!("before-format-{FORMAT}.jsonl"))
}

/// Writes the records as they lie there, for the program that wrote them to import. On disk when it
/// returns `Ok`; an export of an earlier migration gives way.
pub(super) fn export_before(
    table: &dyn Table,
    format: u8,
    directory: &Path,
    now: Timestamp,
) -> Result<io::Result<()>, Trouble> {
    let path = export_path(directory);
    let draft = match Draft::beside(&path) {
        Ok(draft) => draft,
        Err(error) => return Ok(Err(error)),
    };
    let mut out = BufWriter::new(draft.file());
    match text::export_records(table, format, now, &mut out) {
        Ok(()) => {}
        Err(RecordsError::Records(trouble)) => return Err(trouble),
        Err(RecordsError::Write(error)) => return Ok(Err(error)),
    }
    let flushed = out.flush();
    drop(out);
    Ok(flushed.and_then(|()| draft.becomes(&path)))
}

/// Every record of every pair in the format of this program. Fails on the first that cannot be read.
pub(super) fn rewritten(table: &dyn Table) -> Result<Writes, Trouble> {
    let mut writes = Writes::new();
    records::each(table, |key, kind, bytes| {
        writes.insert(key.to_vec(), Some(anew(kind, bytes)?));
        Ok(())
    })?;
    Ok(writes)
}

/// A record of any format that is known, in that of this program.
pub(super) fn anew(kind: codec::Kind, bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    record(kind, bytes)?.written()
}

/// Reads a record of any format that is known.
pub(super) fn record(kind: codec::Kind, bytes: &[u8]) -> Result<Box<dyn Record>, Trouble> {
    use codec::Kind;
    match kind {
        Kind::Comparison => decoded::<Comparison>(bytes),
        Kind::Coverage => decoded::<Coverage>(bytes),
        Kind::Finished => decoded::<Finished>(bytes),
        Kind::KeyChange => decoded::<RememberedKeyChange>(bytes),
        Kind::LeftBehind => decoded::<LeftBehind>(bytes),
        Kind::Tombstone => decoded::<SettledTombstone>(bytes),
        Kind::Verified => decoded::<Verified>(bytes),
        Kind::Written => decoded::<Written>(bytes),
        Kind::WrittenAs => decoded::<SourceId>(bytes),
        Kind::Journal => decoded::<RunJournal>(bytes),
        Kind::Name => decoded::<JournalledName>(bytes),
        Kind::Parked => decoded::<Parked>(bytes),
        Kind::Plan => decoded::<Plan>(bytes),
        Kind::Progress => decoded::<Progress>(bytes),
        Kind::Run => decoded::<RunRecord>(bytes),
        Kind::State => decoded::<PairState>(bytes),
    }
}

/// Whether a record of any format that is known can be read: `Ok` exactly where [`record`] is.
pub(super) fn readable(kind: codec::Kind, bytes: &[u8]) -> Result<(), Trouble> {
    match kind {
        // Most of a fleet's state is lists of resources; building them takes longer than reading.
        codec::Kind::Coverage => codec::decode::<ReadableCoverage>(bytes).map(drop),
        other => record(other, bytes).map(drop),
    }
}

fn decoded<T: DeserializeOwned + Serialize + 'static>(
    bytes: &[u8],
) -> Result<Box<dyn Record>, Trouble> {
    Ok(Box::new(codec::decode::<T>(bytes)?))
}

/// A record that was read, of whatever kind.
pub(super) trait Record {
    /// In the format of this program.
    fn written(&self) -> Result<Vec<u8>, Trouble>;
}

impl<T: Serialize> Record for T {
    fn written(&self) -> Result<Vec<u8>, Trouble> {
        codec::encode(self)
    }
}
