//! One item: created, read, changed, deleted (edfi-wire §7).

use std::borrow::Cow;

use axum::http::Method;

use super::{must_get, view};
use crate::sandbox::authorize;
use crate::sandbox::document::Json;
use crate::sandbox::options::PeopleAuthorization;
use crate::sandbox::problem::Problem;
use crate::sandbox::render::item;
use crate::sandbox::rows::RowName;
use crate::sandbox::server::{Asked, Reply, Shared};
use crate::sandbox::standard::ResourceModel;
use crate::sandbox::world::{Effect, World, Written, etag_of};

/// `POST` to a collection.
pub(in crate::sandbox) fn post(
    shared: &Shared,
    asked: &Asked,
    number: u16,
) -> Result<Reply, Problem> {
    let model = shared.standard.resource(number);
    must_be_open(model, "Create")?;
    must_be_json(asked)?;
    let mut world = shared.write();
    let written = world.upsert(model, asked.text()?, asked.header("if-match"))?;
    let status = if written.effect == Effect::Created { 201 } else { 200 };
    Ok(located(shared, &world, model, &written, status))
}

/// What has an id in its path.
pub(in crate::sandbox) fn answer(
    shared: &Shared,
    asked: &Asked,
    number: u16,
    id: u128,
) -> Result<Reply, Problem> {
    let model = shared.standard.resource(number);
    if asked.method == Method::PUT {
        must_be_open(model, "Update")?;
        must_be_json(asked)?;
        let body = match shared.options.version.put_names_its_id() {
            true => Cow::Owned(without_its_id(asked.text()?, id)?),
            false => Cow::Borrowed(asked.text()?),
        };
        let mut world = shared.write();
        let written = world.update(model, id, &body, asked.header("if-match"))?;
        return Ok(located(shared, &world, model, &written, 204));
    }
    if asked.method == Method::DELETE {
        must_be_open(model, "Delete")?;
        let mut world = shared.write();
        // 8 has nothing to say about what is not there.
        if shared.options.version.is_8() && world.find(model, id).is_none() {
            return Ok(Reply::empty(404));
        }
        world.remove(model, id, asked.header("if-match"))?;
        return Ok(Reply::empty(204));
    }
    must_get(asked)?;
    read(shared, asked, model, id)
}

/// The body of a PUT to a server that wants it to hold the id of its path, and does.
fn without_its_id(text: &str, id: u128) -> Result<String, Problem> {
    let document = Json::parse(text).map_err(|why| Problem::unreadable_body(&why))?;
    let told = document.get("id").and_then(Json::text);
    let told = told.and_then(|told| u128::from_str_radix(&told.replace('-', ""), 16).ok());
    if told != Some(id) {
        return Err(Problem::identifier_differs());
    }
    let Json::Object(mut members) = document else { return Err(Problem::identifier_differs()) };
    members.retain(|(name, _)| name != "id");
    let mut body = String::new();
    Json::Object(members).write(&mut body);
    Ok(body)
}

/// An id that cannot be one.
pub(in crate::sandbox) fn bad_id(id: &str) -> Problem {
    Problem::invalid(vec![("$.id".to_owned(), format!("The value '{id}' is not valid."))])
}

fn read(shared: &Shared, asked: &Asked, model: &ResourceModel, id: u128) -> Result<Reply, Problem> {
    let world = shared.read();
    let image = view(shared, &world, asked)?;
    let salt = world.salt();
    let row = image.table(model.number).by_id(id ^ salt).ok_or_else(Problem::no_such_item)?;
    world.check_mask(model, &row.key)?;
    if shared.options.people == PeopleAuthorization::Relationships {
        let name = RowName { resource: model.number, surrogate: row.surrogate };
        authorize::may_touch(&shared.standard, &image, name)?;
    }
    let etag = etag_of(row);
    if asked.header("if-none-match").is_some_and(|known| known.trim_matches('"') == etag) {
        return Ok(Reply::empty(304));
    }
    let mut body = String::new();
    item(shared.links(&image), row, salt, &mut body);
    Ok(Reply::json(200, body).header("ETag", format!("\"{etag}\"")))
}

fn located(
    shared: &Shared,
    world: &World,
    model: &ResourceModel,
    written: &Written,
    status: u16,
) -> Reply {
    let Some(row) = world.live.row(written.row) else { return Reply::empty(status) };
    let place = format!(
        "{}/{}{}{}/{:032x}",
        shared.base(),
        shared.options.version.data_path(),
        shared.year_inside(),
        model.path(),
        world.shown_id(row)
    );
    Reply::empty(status).header("Location", place).header("ETag", format!("\"{}\"", etag_of(row)))
}

/// School years belong to whoever runs the server (edfi-wire §10).
fn must_be_open(model: &ResourceModel, action: &str) -> Result<(), Problem> {
    if model.endpoint == "schoolYearTypes" {
        return Err(Problem::action_closed(action, &model.name));
    }
    Ok(())
}

fn must_be_json(asked: &Asked) -> Result<(), Problem> {
    match asked.header("content-type") {
        Some(media_type) if media_type.contains("json") => Ok(()),
        Some(_) | None => Err(Problem::unsupported_media_type()),
    }
}
