//! What the overlap needs, as records: how a step writes and forgets them, how they are read back.
//!
//! What lives here: the part of `records.rs` that is about an overlap; the records themselves are in
//! `overlap.rs`. The one thing to know: records are kept in order of resource and id, so that all
//! that is known of one item lies together.

use super::codec::{self, Kind, Trouble};
use super::records::{Table, Writes, remove_all, under};
use super::{Forgotten, LeftBehind, PairId, RememberedKeyChange, SettledTombstone, Step, Written};
use crate::domain::{ChangeVersion, ResourcePath, SourceId, TargetId};

pub(super) fn write(
    table: &dyn Table,
    pair: &PairId,
    step: &Step,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    for remembered in &step.key_changes {
        let RememberedKeyChange { resource, change, .. } = remembered;
        let key = codec::version_key(pair, Kind::KeyChange, resource, &change.id, change.version);
        writes.insert(key, Some(codec::encode(remembered)?));
    }
    for tombstone in &step.tombstones {
        let SettledTombstone { resource, id, version, .. } = tombstone;
        let key = codec::version_key(pair, Kind::Tombstone, resource, id, *version);
        writes.insert(key, Some(codec::encode(tombstone)?));
    }
    // First all of it: two items may have changed their target ids for each other's.
    for written in &step.written {
        forget_written(table, pair, &written.resource, &written.id, writes)?;
    }
    for written in &step.written {
        let Written { resource, id, target_id, .. } = written;
        let key = codec::id_prefix(pair, Kind::Written, resource, &id.0);
        writes.insert(key, Some(codec::encode(written)?));
        let key = codec::id_prefix(pair, Kind::WrittenAs, resource, &target_id.0);
        writes.insert(key, Some(codec::encode(id)?));
    }
    for left in &step.left_behind {
        let mut key = codec::id_prefix(pair, Kind::LeftBehind, &left.resource, &left.id.0);
        key.extend_from_slice(left.target_id.0.as_bytes());
        writes.insert(key, Some(codec::encode(left)?));
    }
    Ok(())
}

pub(super) fn forget(
    table: &dyn Table,
    pair: &PairId,
    forgotten: &Forgotten,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    for (resource, id) in &forgotten.written {
        forget_written(table, pair, resource, id, writes)?;
    }
    if let Some((version, resources)) = &forgotten.below {
        for resource in resources {
            forget_below(table, pair, resource, *version, writes)?;
        }
    }
    if forgotten.all {
        for kind in
            [Kind::KeyChange, Kind::Tombstone, Kind::Written, Kind::WrittenAs, Kind::LeftBehind]
        {
            remove_all(table, &codec::kind_prefix(pair, kind), writes)?;
        }
    }
    Ok(())
}

fn forget_written(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    id: &SourceId,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    let key = codec::id_prefix(pair, Kind::Written, resource, &id.0);
    let Some(bytes) = table.get(&key)? else { return Ok(()) };
    let written: Written = codec::decode(&bytes)?;
    writes.insert(key, None);
    // The target id may be another item's by now.
    if written_as(table, pair, resource, &written.target_id)?.as_ref() == Some(id) {
        let key = codec::id_prefix(pair, Kind::WrittenAs, resource, &written.target_id.0);
        writes.insert(key, None);
    }
    Ok(())
}

fn forget_below(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    version: ChangeVersion,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    for entry in under(table, &codec::resource_prefix(pair, Kind::KeyChange, resource)) {
        let (key, bytes) = entry?;
        if codec::decode::<RememberedKeyChange>(&bytes)?.change.version < version {
            writes.insert(key, None);
        }
    }
    for entry in under(table, &codec::resource_prefix(pair, Kind::Tombstone, resource)) {
        let (key, bytes) = entry?;
        if codec::decode::<SettledTombstone>(&bytes)?.version < version {
            writes.insert(key, None);
        }
    }
    for entry in under(table, &codec::resource_prefix(pair, Kind::Written, resource)) {
        let written: Written = codec::decode(&entry?.1)?;
        if written.through < version {
            forget_written(table, pair, resource, &written.id, writes)?;
        }
    }
    Ok(())
}

pub(super) fn key_changes(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    after: Option<&SourceId>,
    limit: usize,
) -> Result<Vec<RememberedKeyChange>, Trouble> {
    let prefix = codec::resource_prefix(pair, Kind::KeyChange, resource);
    let from = match after {
        Some(id) => codec::end_of(&codec::id_prefix(pair, Kind::KeyChange, resource, &id.0)),
        None => prefix.clone(),
    };
    let mut page: Vec<RememberedKeyChange> = Vec::new();
    for entry in table.range(from, codec::end_of(&prefix)) {
        let next: RememberedKeyChange = codec::decode(&entry?.1)?;
        let is_another = page.last().is_some_and(|last| last.change.id != next.change.id);
        if page.len() >= limit && is_another {
            break;
        }
        page.push(next);
    }
    Ok(page)
}

pub(super) fn key_changes_of(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    id: &SourceId,
) -> Result<Vec<RememberedKeyChange>, Trouble> {
    under(table, &codec::id_prefix(pair, Kind::KeyChange, resource, &id.0))
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}

pub(super) fn settled_tombstones(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    tombstones: &[(SourceId, ChangeVersion)],
) -> Result<Vec<SettledTombstone>, Trouble> {
    let mut settled = Vec::new();
    for (id, version) in tombstones {
        let key = codec::version_key(pair, Kind::Tombstone, resource, id, *version);
        if let Some(bytes) = table.get(&key)? {
            settled.push(codec::decode(&bytes)?);
        }
    }
    Ok(settled)
}

pub(super) fn written(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    ids: &[SourceId],
) -> Result<Vec<Written>, Trouble> {
    let mut known = Vec::new();
    for id in ids {
        let key = codec::id_prefix(pair, Kind::Written, resource, &id.0);
        if let Some(bytes) = table.get(&key)? {
            known.push(codec::decode(&bytes)?);
        }
    }
    Ok(known)
}

pub(super) fn written_as(
    table: &dyn Table,
    pair: &PairId,
    resource: &ResourcePath,
    id: &TargetId,
) -> Result<Option<SourceId>, Trouble> {
    match table.get(&codec::id_prefix(pair, Kind::WrittenAs, resource, &id.0))? {
        Some(bytes) => codec::decode(&bytes).map(Some),
        None => Ok(None),
    }
}

pub(super) fn left_behind(table: &dyn Table, pair: &PairId) -> Result<Vec<LeftBehind>, Trouble> {
    under(table, &codec::kind_prefix(pair, Kind::LeftBehind))
        .map(|entry| codec::decode(&entry?.1))
        .collect()
}
