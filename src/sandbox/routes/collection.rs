//! Many items: pages by offset and by cursor, partitions, and the feeds beside them (edfi-wire §4,
//! §5, §8).

use std::sync::Arc;

use super::{must_get, view};
use crate::sandbox::authorize;
use crate::sandbox::document::Json;
use crate::sandbox::feeds::Entry;
use crate::sandbox::options::PeopleAuthorization;
use crate::sandbox::problem::Problem;
use crate::sandbox::query::{Page, Query, write_token};
use crate::sandbox::references::part_from_query;
use crate::sandbox::render::item;
use crate::sandbox::rows::{Image, Key, Row, RowName};
use crate::sandbox::server::{Asked, Reply, Shared};
use crate::sandbox::standard::ResourceModel;
use crate::sandbox::version::Order;
use crate::sandbox::world::World;

/// A partition holds at least this many pages, so that small sets are not cut up.
const PAGES_IN_A_PARTITION: usize = 5;

/// `GET` of a collection.
pub(in crate::sandbox) fn items(
    shared: &Shared,
    asked: &Asked,
    number: u16,
) -> Result<Reply, Problem> {
    must_get(asked)?;
    let query = Query::read(&asked.query, shared.options.version)?;
    let page = query.page(shared.options.version, shared.options.page_limit)?;
    let world = shared.read();
    let image = view(shared, &world, asked)?;
    let model = shared.standard.resource(number);
    let matches = matching(shared, &world, &image, model, &query);
    let rows: Vec<&Arc<Row>> = match page {
        Page::Offset { offset, limit } => {
            matches.iter().skip(offset).take(limit).copied().collect()
        }
        Page::Cursor { from, to, size } => matches
            .iter()
            .filter(|row| (from..=to).contains(&row.surrogate))
            .take(size)
            .copied()
            .collect(),
    };
    let salt = world.salt();
    let mut body = String::from("[");
    for (position, row) in rows.iter().enumerate() {
        if position > 0 {
            body.push(',');
        }
        item(shared.links(&image), row, salt, &mut body);
    }
    body.push(']');
    let mut reply = Reply::json(200, body);
    if query.total_count {
        reply = reply.header("Total-Count", matches.len().to_string());
    }
    if let Some(last) = rows.last()
        && shared.options.version.has_cursors()
    {
        let end = match page {
            Page::Offset { .. } => i32::MAX,
            Page::Cursor { to, .. } => to,
        };
        reply = reply.header("Next-Page-Token", write_token(last.surrogate + 1, end));
    }
    Ok(reply)
}

/// `GET` of a collection's partitions.
pub(in crate::sandbox) fn partitions(
    shared: &Shared,
    asked: &Asked,
    number: u16,
) -> Result<Reply, Problem> {
    must_get(asked)?;
    let query = Query::read(&asked.query, shared.options.version)?;
    let wanted = query.number.unwrap_or(10);
    let wanted = usize::try_from(wanted)
        .ok()
        .filter(|wanted| (1..=200).contains(wanted))
        .ok_or_else(|| Problem::parameter("Number of partitions must be between 1 and 200."))?;
    let world = shared.read();
    let image = view(shared, &world, asked)?;
    let matches = matching(shared, &world, &image, shared.standard.resource(number), &query);
    let smallest = match query.allow_small_partitions {
        true => 1,
        false => PAGES_IN_A_PARTITION * shared.options.page_limit,
    };
    let size = matches.len().div_ceil(wanted).max(smallest);
    let starts: Vec<i32> =
        matches.chunks(size).filter_map(|part| Some(part.first()?.surrogate)).collect();
    let tokens: Vec<String> = starts
        .iter()
        .enumerate()
        .map(|(position, start)| {
            let end = starts.get(position + 1).map_or(i32::MAX, |next| next - 1);
            format!("\"{}\"", write_token(*start, end))
        })
        .collect();
    Ok(Reply::json(200, format!("{{\"pageTokens\":[{}]}}", tokens.join(","))))
}

/// `GET` of `/deletes` or `/keyChanges`.
pub(in crate::sandbox) fn feed(
    shared: &Shared,
    asked: &Asked,
    number: u16,
    entries: fn(&Image, &ResourceModel, &Query, u128) -> Vec<Entry>,
) -> Result<Reply, Problem> {
    must_get(asked)?;
    let query = Query::read(&asked.query, shared.options.version)?;
    let page = query.feed_page(shared.options.version, shared.options.page_limit)?;
    let world = shared.read();
    let image = view(shared, &world, asked)?;
    let salt = world.salt();
    let entries = entries(&image, shared.standard.resource(number), &query, salt);
    let (offset, limit) = match page {
        Page::Offset { offset, limit } => (offset, limit),
        Page::Cursor { .. } => (0, shared.options.page_limit),
    };
    let shown: Vec<&str> = entries.iter().skip(offset).take(limit).map(String::as_str).collect();
    let mut reply = Reply::json(200, format!("[{}]", shown.join(",")));
    if query.total_count && shared.options.version.tells_keys() {
        reply = reply.header("Total-Count", entries.len().to_string());
    }
    Ok(reply)
}

/// Every row that the query is about and the caller may see, in the server's order.
fn matching<'i>(
    shared: &Shared,
    world: &World,
    image: &'i Image,
    model: &ResourceModel,
    query: &Query,
) -> Vec<&'i Arc<Row>> {
    let table = image.table(model.number);
    let filters = Filters::of(model, query);
    let mut rows: Vec<&Arc<Row>> = match filters.whole_key(model) {
        Some(key) => table.by_key(&key).into_iter().collect(),
        None => in_window(table, query),
    };
    rows.retain(|row| query.is_in_window(row.version) && filters.accept(model, row));
    rows.retain(|row| !world.is_masked(model, &row.key));
    if let Some(id) = &query.id {
        let wanted = u128::from_str_radix(&id.replace('-', ""), 16).ok();
        rows.retain(|row| Some(row.id ^ world.salt()) == wanted);
    }
    if shared.options.people == PeopleAuthorization::Relationships {
        rows.retain(|row| {
            let name = RowName { resource: model.number, surrogate: row.surrogate };
            authorize::out_of_reach(&shared.standard, image, name).is_none()
        });
    }
    match shared.options.version.order() {
        Order::Key => rows.sort_by(|one, other| one.key.cmp(&other.key)),
        Order::InsertionOrVersion if query.max.is_some() => {
            rows.sort_unstable_by_key(|row| row.version);
        }
        Order::Insertion | Order::InsertionOrVersion => {
            rows.sort_unstable_by_key(|row| row.surrogate);
        }
    }
    rows
}

fn in_window<'i>(table: &'i crate::sandbox::rows::Table, query: &Query) -> Vec<&'i Arc<Row>> {
    let first = table.by_version.first_key_value().map(|(version, _)| *version);
    let last = table.by_version.last_key_value().map(|(version, _)| *version);
    let is_everything = first.is_none_or(|version| query.is_in_window(version))
        && last.is_none_or(|version| query.is_in_window(version));
    if is_everything {
        return table.rows.values().collect();
    }
    let min = query.min.unwrap_or(i64::MIN);
    let max = query.max.unwrap_or(i64::MAX);
    if min > max {
        return Vec::new();
    }
    table
        .by_version
        .range(min..=max)
        .filter_map(|(_, surrogate)| table.rows.get(surrogate))
        .collect()
}

/// The filters that the server knows; it ignores all others, and those with a default value.
struct Filters<'q>(Vec<(&'q str, &'q str)>);

impl<'q> Filters<'q> {
    fn of(model: &ResourceModel, query: &'q Query) -> Filters<'q> {
        let known = query.filters.iter().filter(|(name, value)| {
            model.queryable.contains_key(name)
                && !matches!(value.as_str(), "" | "0")
                && !value.eq_ignore_ascii_case("false")
        });
        Filters(known.map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }

    /// The key, if the filters name all of it.
    fn whole_key(&self, model: &ResourceModel) -> Option<Key> {
        let mut parts = Vec::with_capacity(model.key.len());
        for field in &model.key {
            let (_, value) =
                self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(&field.name))?;
            parts.push(part_from_query(field.kind, value));
        }
        Some(parts.into())
    }

    fn accept(&self, model: &ResourceModel, row: &Row) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut document = None;
        self.0.iter().all(|(name, value)| {
            let in_key = model.key.iter().position(|field| field.name.eq_ignore_ascii_case(name));
            if let Some(position) = in_key {
                return row.key[position] == part_from_query(model.key[position].kind, value);
            }
            let document = document
                .get_or_insert_with(|| Json::parse(&row.body).unwrap_or(Json::Array(vec![])));
            model.queryable[*name].iter().any(|(path, _)| {
                document
                    .at(path)
                    .and_then(|found| found.text())
                    .is_some_and(|text| text.eq_ignore_ascii_case(value))
            })
        })
    }
}
