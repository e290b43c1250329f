//! The OpenAPI documents of resources and descriptors: what clients read in them, not all that a
//! real server writes.

use serde_json::{Map, Value, json};

use super::must_get;
use crate::sandbox::document::Step;
use crate::sandbox::problem::Problem;
use crate::sandbox::server::{Asked, Reply, Shared};
use crate::sandbox::standard::{FieldKind, FieldModel, ReferenceModel, ResourceModel};

/// `GET /metadata/data/v3/{section}/swagger.json`.
pub(in crate::sandbox) fn document(
    shared: &Shared,
    asked: &Asked,
    section: &str,
) -> Result<Reply, Problem> {
    must_get(asked)?;
    let wants_descriptors = section == "descriptors";
    let mut paths = Map::new();
    let mut tags = Vec::new();
    let mut definitions = Map::new();
    for model in &shared.standard.resources {
        if model.is_descriptor != wants_descriptors {
            continue;
        }
        add_paths(shared, model, &mut paths);
        tags.push(
            json!({"name": model.endpoint, "description": format!("The {} entity.", model.name)}),
        );
        definitions.insert(definition_name(model), definition(model));
        for reference in &model.references {
            definitions.insert(
                format!("edFi_{}", reference_name(reference)),
                reference_definition(reference),
            );
        }
    }
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "Ed-Fi ODS/API", "version": "3"},
        "basePath": format!("/{}", shared.options.version.data_path()),
        "tags": tags,
        "paths": paths,
        "definitions": definitions,
    });
    Ok(Reply::json(200, document.to_string()))
}

fn add_paths(shared: &Shared, model: &ResourceModel, paths: &mut Map<String, Value>) {
    let path = model.path();
    let tags = json!([model.endpoint]);
    let mut of_collection = paging(shared);
    of_collection.extend(queryable(model));
    let feed = paging(shared);
    let get = |parameters: &Vec<Value>| json!({"get": {"tags": tags, "parameters": parameters}});
    let place = format!("#/definitions/{}", definition_name(model));
    let body = json!([{"name": model.name, "in": "body", "schema": {"$ref": place}}]);
    paths.insert(
        path.clone(),
        json!({"get": {"tags": tags, "parameters": of_collection},
               "post": {"tags": tags, "parameters": body}}),
    );
    let mut put = json!({"tags": tags});
    if model.updatable {
        put["x-Ed-Fi-isUpdatable"] = json!(true);
    }
    paths.insert(
        format!("{path}/{{id}}"),
        json!({"get": {"tags": tags}, "put": put, "delete": {"tags": tags}}),
    );
    if shared.options.feeds.deletes {
        paths.insert(format!("{path}/deletes"), get(&feed));
    }
    if shared.options.feeds.key_changes && shared.options.version.tells_keys() {
        paths.insert(format!("{path}/keyChanges"), get(&feed));
    }
    if shared.options.version.has_cursors() {
        paths.insert(format!("{path}/partitions"), get(&feed));
    }
}

fn paging(shared: &Shared) -> Vec<Value> {
    let limit = shared.options.page_limit;
    let integer = |name: &str| json!({"name": name, "in": "query", "type": "integer"});
    let mut parameters = vec![
        integer("offset"),
        json!({"name": "limit", "in": "query", "type": "integer", "minimum": 0,
               "maximum": limit, "default": limit}),
        integer("minChangeVersion"),
        integer("maxChangeVersion"),
        json!({"name": "totalCount", "in": "query", "type": "boolean"}),
    ];
    if shared.options.version.has_cursors() {
        parameters.push(json!({"name": "pageToken", "in": "query", "type": "string"}));
        parameters.push(integer("pageSize"));
    }
    parameters
}

fn queryable(model: &ResourceModel) -> Vec<Value> {
    let mut parameters = Vec::new();
    for field in &model.key {
        let mut parameter = json!({"name": field.name, "in": "query", "type": kind(field.kind)});
        parameter["x-Ed-Fi-isIdentity"] = json!(true);
        if model.updatable {
            parameter["x-Ed-Fi-isUpdatable"] = json!(true);
        }
        parameters.push(parameter);
    }
    for field in model.fields.iter().filter(|field| field.path.0.len() == 1) {
        let name = field.path.leaf();
        if model.key_names().all(|key| key != name) {
            parameters.push(json!({"name": name, "in": "query", "type": kind(field.kind)}));
        }
    }
    parameters
}

fn kind(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Int32 | FieldKind::Int64 => "integer",
        FieldKind::Decimal => "number",
        FieldKind::Boolean => "boolean",
        FieldKind::String
        | FieldKind::Date
        | FieldKind::Time
        | FieldKind::DateTime
        | FieldKind::Descriptor => "string",
    }
}

fn definition_name(model: &ResourceModel) -> String {
    let mut name = model.name.clone();
    if let Some(first) = name.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    let schema = if model.schema == "ed-fi" { "edFi" } else { model.schema.as_str() };
    format!("{schema}_{name}")
}

fn definition(model: &ResourceModel) -> Value {
    let mut definition = object(model, &[]);
    definition["properties"]["id"] = json!({"type": "string"});
    definition
}

/// The object at a place of a body, with everything below it.
fn object(model: &ResourceModel, place: &[Step]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for reference in &model.references {
        let Some([step, deeper @ ..]) = reference.path.0.strip_prefix(place) else { continue };
        if deeper.is_empty() {
            let definition = format!("#/definitions/edFi_{}", reference_name(reference));
            properties.insert(step.name.clone(), json!({"$ref": definition}));
            if reference.required {
                required.push(json!(step.name));
            }
        } else if !properties.contains_key(&step.name) {
            properties.insert(step.name.clone(), member(model, place, step));
        }
    }
    for collection in &model.collections {
        if let Some([step, ..]) = collection.path.0.strip_prefix(place)
            && !properties.contains_key(&step.name)
        {
            properties.insert(step.name.clone(), member(model, place, step));
        }
    }
    for field in &model.fields {
        let Some([step, deeper @ ..]) = field.path.0.strip_prefix(place) else { continue };
        if properties.contains_key(&step.name) {
            continue;
        }
        if !deeper.is_empty() {
            properties.insert(step.name.clone(), member(model, place, step));
            continue;
        }
        if field.required {
            required.push(json!(step.name));
        }
        properties.insert(step.name.clone(), scalar(model, field));
    }
    json!({"type": "object", "required": required, "properties": properties})
}

/// An object or a list of them, a step below a place.
fn member(model: &ResourceModel, place: &[Step], step: &Step) -> Value {
    let below = object(model, &[place, std::slice::from_ref(step)].concat());
    if step.each { json!({"type": "array", "items": below}) } else { below }
}

fn scalar(model: &ResourceModel, field: &FieldModel) -> Value {
    let mut property = json!({"type": kind(field.kind)});
    if let Some(longest) = field.max_length {
        property["maxLength"] = json!(longest);
    }
    if model.key.iter().any(|key| key.path == field.path) {
        property["x-Ed-Fi-isIdentity"] = json!(true);
        if model.updatable {
            property["x-Ed-Fi-isUpdatable"] = json!(true);
        }
    }
    property
}

fn reference_name(reference: &ReferenceModel) -> String {
    let mut name = format!("{}Reference", reference.entity);
    if let Some(first) = name.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    name
}

fn reference_definition(reference: &ReferenceModel) -> Value {
    let mut properties = Map::new();
    for member in &reference.members {
        properties.insert(member.clone(), json!({"type": "string"}));
    }
    properties.insert("link".to_owned(), json!({"type": "object"}));
    json!({"type": "object", "required": reference.members, "properties": properties})
}
