//! What `/deletes` and `/keyChanges` tell (edfi-wire §5): what is gone and has not come back, and
//! one entry for all the names that an item had within the window.

use std::collections::HashMap;

use super::document::write_name;
use super::query::Query;
use super::rows::{Image, Key, KeyChange};
use super::standard::ResourceModel;

/// One entry as JSON text.
pub(super) type Entry = String;

/// The deletes of the window whose key is free, oldest first. Descriptors are told even if they
/// live again: so does the real server.
pub(super) fn deletes(
    image: &Image,
    model: &ResourceModel,
    query: &Query,
    salt: u128,
) -> Vec<Entry> {
    told(image, model, query, salt, model.is_descriptor)
}

/// The same as 8 tells it, which hides descriptors that live again too.
pub(super) fn deletes_of_what_is_gone(
    image: &Image,
    model: &ResourceModel,
    query: &Query,
    salt: u128,
) -> Vec<Entry> {
    told(image, model, query, salt, false)
}

fn told(
    image: &Image,
    model: &ResourceModel,
    query: &Query,
    salt: u128,
    even_if_living: bool,
) -> Vec<Entry> {
    let table = image.table(model.number);
    let mut told: Vec<_> = table
        .tombstones
        .iter()
        .filter(|gone| query.is_in_window(gone.version))
        .filter(|gone| even_if_living || !table.by_key.contains_key(&gone.key))
        .collect();
    // They were kept in the order of commits, which is not that of the versions.
    told.sort_by_key(|gone| gone.version);
    told.into_iter()
        .map(|gone| {
            let mut out =
                format!("{{\"id\":\"{:032x}\",\"changeVersion\":{}", gone.id ^ salt, gone.version);
            write_key(&mut out, "keyValues", model, &gone.key);
            out.push('}');
            out
        })
        .collect()
}

/// The deletes of the window as servers before 6.0 tell them: without keys, and those whose key
/// lives again too.
pub(super) fn deletes_without_keys(
    image: &Image,
    model: &ResourceModel,
    query: &Query,
    salt: u128,
) -> Vec<Entry> {
    let tombstones = image.table(model.number).tombstones.iter();
    tombstones
        .filter(|gone| query.is_in_window(gone.version))
        .map(|gone| {
            format!("{{\"id\":\"{:032x}\",\"changeVersion\":{}}}", gone.id ^ salt, gone.version)
        })
        .collect()
}

/// The key changes of the window, one an item: its first old key, its last new key and the last
/// version.
pub(super) fn key_changes(
    image: &Image,
    model: &ResourceModel,
    query: &Query,
    salt: u128,
) -> Vec<Entry> {
    let mut collapsed: Vec<KeyChange> = Vec::new();
    let mut positions: HashMap<u128, usize> = HashMap::new();
    let table = image.table(model.number);
    for change in table.key_changes.iter().filter(|change| query.is_in_window(change.version)) {
        match positions.get(&change.id) {
            Some(position) => {
                collapsed[*position].new = change.new.clone();
                collapsed[*position].version = change.version;
            }
            None => {
                positions.insert(change.id, collapsed.len());
                collapsed.push(change.clone());
            }
        }
    }
    collapsed.sort_by_key(|change| change.version);
    collapsed.iter().map(|change| told_key_change(model, change, salt)).collect()
}

/// The key changes of the window hop by hop, as a client gets to know them that asks for one
/// version at a time.
pub(super) fn hops(image: &Image, model: &ResourceModel, query: &Query, salt: u128) -> Vec<Entry> {
    let hops = image.table(model.number).key_changes.iter();
    let mut hops: Vec<_> = hops.filter(|change| query.is_in_window(change.version)).collect();
    hops.sort_by_key(|change| change.version);
    hops.into_iter().map(|change| told_key_change(model, change, salt)).collect()
}

fn told_key_change(model: &ResourceModel, change: &KeyChange, salt: u128) -> Entry {
    let mut out =
        format!("{{\"id\":\"{:032x}\",\"changeVersion\":{}", change.id ^ salt, change.version);
    write_key(&mut out, "oldKeyValues", model, &change.old);
    write_key(&mut out, "newKeyValues", model, &change.new);
    out.push('}');
    out
}

fn write_key(out: &mut String, name: &str, model: &ResourceModel, key: &Key) {
    out.push(',');
    write_name(out, name);
    out.push_str(&key_json(model, key));
}

/// A key as the flat object of the feeds.
pub(super) fn key_json(model: &ResourceModel, key: &Key) -> String {
    let members: Vec<String> = model
        .key
        .iter()
        .zip(key.iter())
        .map(|(field, part)| {
            let mut member = String::new();
            write_name(&mut member, &field.name);
            member.push_str(&part.json());
            member
        })
        .collect();
    format!("{{{}}}", members.join(","))
}
