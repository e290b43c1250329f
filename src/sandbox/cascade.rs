//! A key change and everything that follows from it, in the order in which the real triggers
//! number it (observed §1): the row, then level by level the dependents' rows, and the record of a
//! changed key after the rows that it reaches directly.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::document::Json;
use super::problem::Problem;
use super::references::{OldKeys, Prepared, key_of, key_of_reference, prepare_during};
use super::rows::{Key, Row, RowName};
use super::standard::ResourceModel;
use super::validate::are_distinct_key_parts;
use super::world::{Effect, World, Written};

/// Gives a row another key and lets its dependents follow. All or nothing.
pub(super) fn rename(
    world: &mut World,
    model: &ResourceModel,
    row: &Row,
    prepared: Prepared,
) -> Result<Written, Problem> {
    if world.live.table(model.number).by_key.contains_key(&prepared.key) {
        return Err(Problem::key_taken(&model.name));
    }
    // The tables are shared until they are written, so undoing is putting the old ones back.
    let before = world.live.clone();
    let name = RowName { resource: model.number, surrogate: row.surrogate };
    let hop = Hop { row: name, id: row.id, old: row.key.clone(), new: prepared.key.clone() };
    world.store(model.number, row, prepared);
    if let Err(problem) = follow(world, hop) {
        // What a transaction used of the sequence stays used.
        let newest = world.live.newest;
        world.live = before;
        world.live_mut().newest = newest;
        return Err(problem);
    }
    Ok(Written { row: name, effect: Effect::Renamed })
}

/// A row whose key changed and whose dependents have not followed yet.
struct Hop {
    row: RowName,
    id: u128,
    old: Key,
    new: Key,
}

fn follow(world: &mut World, first: Hop) -> Result<(), Problem> {
    let standard = world.standard.clone();
    let mut old_keys = OldKeys::new();
    old_keys.insert((first.row.resource, first.old.clone()), first.row.surrogate);
    let mut waiting = VecDeque::from([first]);
    while let Some(hop) = waiting.pop_front() {
        let table = world.live.table(hop.row.resource);
        let dependents: Vec<RowName> =
            table.needed_by.get(&hop.row.surrogate).into_iter().flatten().copied().collect();
        for dependent in dependents {
            let Some(row) = world.live.row(dependent).cloned() else { continue };
            let model = standard.resource(dependent.resource);
            let prepared = followed(world, model, &row, &hop, &old_keys)?;
            let old = row.key.clone();
            let new = prepared.key.clone();
            if new != old {
                refuse_taken(world, model, &new, dependent)?;
            }
            world.store(dependent.resource, &row, prepared);
            if new != old {
                old_keys.insert((dependent.resource, old.clone()), dependent.surrogate);
                waiting.push_back(Hop { row: dependent, id: row.id, old, new });
            }
        }
        let model = standard.resource(hop.row.resource);
        world.record_key_change(model, hop.id, hop.old, hop.new);
    }
    Ok(())
}

fn refuse_taken(
    world: &World,
    model: &ResourceModel,
    key: &Key,
    row: RowName,
) -> Result<(), Problem> {
    match world.live.table(model.number).by_key.get(key) {
        Some(holder) if *holder != row.surrogate => Err(Problem::key_taken(&model.name)),
        Some(_) | None => Ok(()),
    }
}

/// The dependent's body with the new key wherever it named the old one.
fn followed(
    world: &World,
    model: &ResourceModel,
    row: &Arc<Row>,
    hop: &Hop,
    old_keys: &OldKeys,
) -> Result<Prepared, Problem> {
    let mut document = Json::parse(&row.body).map_err(|why| Problem::unreadable_body(&why))?;
    for reference in &model.references {
        if !reference.targets.contains(&hop.row.resource) {
            continue;
        }
        let changed: HashMap<&str, String> = reference
            .members
            .iter()
            .zip(hop.old.iter().zip(hop.new.iter()))
            .filter(|(_, (old, new))| old != new)
            .map(|(member, (_, new))| (member.as_str(), new.json()))
            .collect();
        let mut is_at_root = false;
        for object in objects_at(&mut document, &reference.path.0) {
            let named = key_of_reference(&world.standard, reference, hop.row.resource, object);
            if named.as_ref() != Some(&hop.old) {
                continue;
            }
            for (member, raw) in &changed {
                if let Some(value) = object.get_mut(member) {
                    *value = Json::Scalar(raw.clone().into());
                }
            }
            is_at_root = reference.path.is_single();
        }
        if is_at_root {
            for (member, raw) in &changed {
                unify(model, &mut document, &reference.path.member(member), raw);
            }
        }
    }
    debug_assert!(key_of(model, &document).is_some(), "a stored row has its key");
    prepare_during(&world.standard, &world.live, model, &document, old_keys)
}

/// One column of the database stands in several places of the body.
fn unify(
    model: &ResourceModel,
    document: &mut Json<'_>,
    changed: &super::document::Path,
    raw: &str,
) {
    for (one, other) in &model.equal {
        if are_distinct_key_parts(model, one, other) {
            continue;
        }
        if one == changed {
            document.set(other, raw);
        } else if other == changed {
            document.set(one, raw);
        }
    }
}

fn objects_at<'j, 'a>(
    document: &'j mut Json<'a>,
    steps: &[super::document::Step],
) -> Vec<&'j mut Json<'a>> {
    let Some((step, rest)) = steps.split_first() else { return vec![document] };
    let Some(value) = document.get_mut(&step.name) else { return Vec::new() };
    if !step.each {
        return objects_at(value, rest);
    }
    let Json::Array(items) = value else { return Vec::new() };
    items.iter_mut().flat_map(|item| objects_at(item, rest)).collect()
}
