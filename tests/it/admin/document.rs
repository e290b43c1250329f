//! The OpenAPI document against the table of routes, and real answers against its schemas.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tidemark::server::route_table;

use super::events::Line;
use super::house::House;
use super::routes::{Body, EVENTS, examples};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

async fn document(house: &House) -> Value {
    house.get("/api/v1/openapi.json").await.json()
}

#[tokio::test]
async fn the_document_has_every_route_of_the_table_with_its_role_and_no_other() {
    let house = House::on_loopback().await;
    let document = document(&house).await;

    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            let roles = item[method]["security"][0]["token"].as_array().unwrap();
            let role = roles[0].as_str().unwrap().to_owned();
            documented.insert((method.to_uppercase(), path.clone(), role));
        }
    }

    let table = route_table()
        .into_iter()
        .map(|line| (line.method.to_owned(), line.path, line.role.as_str().to_owned()));
    assert_eq!(documented, table.collect::<BTreeSet<_>>());
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
}

#[tokio::test]
async fn every_route_of_the_contract_is_there() {
    let table: BTreeSet<String> =
        route_table().into_iter().map(|line| format!("{} {}", line.method, line.path)).collect();

    for route in [
        "GET pairs",
        "GET pairs/{publication}/{target}",
        "POST pairs/{publication}/{target}/pause",
        "POST pairs/{publication}/{target}/resume",
        "POST pairs/{publication}/{target}/approve",
        "PUT pairs/{publication}/{target}/watermark",
        "POST publications/{publication}/runs",
        "GET runs",
        "GET runs/{id}",
        "POST runs/{id}/cancel",
        "GET parked",
        "GET parked/{id}",
        "POST parked/{id}/retry",
        "DELETE parked/{id}",
        "POST parked/retry",
        "POST parked/discard",
        "GET verify/{publication}/{target}",
        "GET report/{publication}/{target}",
        "GET plan/{publication}/{target}",
        "GET checks",
        "POST verify/{publication}/{target}",
        "GET audit",
        "GET state",
        "POST state",
        "GET events",
        "GET openapi.json",
    ] {
        let (method, path) = route.split_once(' ').unwrap();
        assert!(table.contains(&format!("{method} /api/v1/{path}")), "{route}");
    }
}

#[tokio::test]
async fn every_route_answers_and_takes_what_the_document_says() {
    let house = House::on_loopback().await;
    let document = document(&house).await;
    let mut answered = BTreeSet::from([(EVENTS.0.to_owned(), EVENTS.1.to_owned())]);
    for example in examples() {
        let case = format!("{} {}", example.method, example.path);
        let operation = &document["paths"][example.route][example.method.to_lowercase()];
        let (headers, body) = example.sent();

        let answer = house.say(example.method, example.path, &headers, &body).await;

        let described = &operation["responses"][example.status.to_string()];
        assert!(described.is_object(), "{case}: {} is not described", example.status);
        let content = described["content"].as_object();
        match answer.header("content-type") {
            None => assert!(content.is_none() && answer.body.is_empty(), "{case}"),
            Some("application/json") => {
                let schema = &content.unwrap()["application/json"]["schema"];
                fits(&document, schema, &answer.json(), &case);
            }
            Some(kind) => assert!(content.unwrap().contains_key(kind), "{case}: {kind}"),
        }
        if let Body::Json(body) = &example.body {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            fits(&document, schema, body, &format!("{case}, as it was sent"));
        }
        parameters_are_described(operation, example.path, &case);
        answered.insert((example.method.to_owned(), example.route.to_owned()));
    }
    let table = route_table().into_iter().map(|line| (line.method.to_owned(), line.path));
    assert_eq!(answered, table.collect());
}

#[tokio::test]
async fn refusals_and_events_have_the_form_that_the_document_says() {
    let house = House::on_loopback().await;
    let document = document(&house).await;
    let responses = &document["paths"]["/api/v1/pairs"]["get"]["responses"];
    let problem = &responses["default"]["content"]["application/problem+json"]["schema"];

    let nowhere = house.get("/nowhere").await.json();
    let forbidden = house.ask("GET", "/api/v1/state", Some("viewer")).await.json();
    let busy = house.say("POST", "/api/v1/publications/busy/runs", &[], b"").await.json();
    let mut line = Line::open(&house, None, "").await;
    super::events::a_run(&house.progress);
    let events = line.until("run-ended").await;

    for told in [nowhere, forbidden, busy] {
        fits(&document, problem, &told, "a problem");
    }
    let responses = &document["paths"]["/api/v1/events"]["get"]["responses"];
    let schema = &responses["200"]["content"]["text/event-stream"]["schema"];
    assert_eq!(events.len(), 3);
    for event in events {
        fits(&document, schema, &event.data, "an event");
    }
}

#[test]
fn what_does_not_fit_a_schema_is_noticed() {
    let document = serde_json::json!({"components": {"schemas": {"A": {
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": ["integer", "null"], "minimum": 0}, "b": {"enum": ["x"]}}
    }}}});
    let schema = serde_json::json!({"$ref": "#/components/schemas/A"});
    for (value, expected) in [
        (r#"{"a":1,"b":"x"}"#, true),
        (r#"{"a":null}"#, true),
        (r#"{"b":"x"}"#, false),
        (r#"{"a":"1"}"#, false),
        (r#"{"a":1.5}"#, false),
        (r#"{"a":1,"b":"y"}"#, false),
        (r#"{"a":1,"c":1}"#, false),
        ("[]", false),
    ] {
        let value = serde_json::from_str(value).unwrap();
        assert_eq!(why_not(&document, &schema, &value).is_none(), expected, "{value}");
    }
}

/// The parameters of an example are those that the document knows.
fn parameters_are_described(operation: &Value, path: &str, case: &str) {
    let described = operation["parameters"].as_array().cloned().unwrap_or_default();
    let known = |place: &str| -> BTreeSet<String> {
        let here = described.iter().filter(|parameter| parameter["in"] == place);
        here.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    let query = path.split_once('?').map_or("", |(_, query)| query);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let name = part.split('=').next().unwrap();
        assert!(known("query").contains(name), "{case}: {name} is not described");
    }
    for parameter in &described {
        assert!(parameter["schema"].is_object(), "{case}: {parameter}");
    }
}

fn fits(document: &Value, schema: &Value, value: &Value, case: &str) {
    if let Some(why) = why_not(document, schema, value) {
        panic!("{case}: {why}\n{value:#}");
    }
}

/// Why a value is not of a schema; a member that the schema does not know is a reason.
fn why_not(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let Some(schema) = schema.as_object() else { return Some(format!("no schema: {schema}")) };
    if let Some(Value::String(reference)) = schema.get("$ref") {
        let target = document.pointer(reference.trim_start_matches('#'));
        return why_not(document, target.expect("a reference leads somewhere"), value);
    }
    for keyword in schema.keys() {
        const KNOWN: [&str; 19] = [
            "type",
            "properties",
            "required",
            "items",
            "enum",
            "oneOf",
            "anyOf",
            "allOf",
            "format",
            "minimum",
            "description",
            "example",
            "examples",
            "additionalProperties",
            "default",
            "propertyNames",
            "title",
            "maximum",
            "const",
        ];
        assert!(KNOWN.contains(&keyword.as_str()), "this test does not know `{keyword}`");
    }
    let of_type = type_fits(schema, value)
        .or_else(|| enum_fits(schema, value))
        .or_else(|| parts_fit(document, schema, value));
    let composed = composition_fits(document, schema, value);
    of_type.or(composed)
}

fn type_fits(schema: &Map<String, Value>, value: &Value) -> Option<String> {
    let kinds: Vec<&str> = match schema.get("type") {
        None => return None,
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(kind) => vec![kind.as_str().unwrap()],
    };
    let is_one = kinds.iter().any(|kind| match *kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("unknown type {kind}"),
    });
    if !is_one {
        return Some(format!("{value} is none of {kinds:?}"));
    }
    let minimum = schema.get("minimum").and_then(Value::as_f64);
    let is_below = minimum.zip(value.as_f64()).is_some_and(|(minimum, value)| value < minimum);
    let is_moment = schema.get("format").is_some_and(|format| format == "date-time");
    let is_no_moment = is_moment
        && value.as_str().is_some_and(|text| text.parse::<tidemark::clock::Timestamp>().is_err());
    (is_below || is_no_moment).then(|| format!("{value} is not of {schema:?}"))
}

fn enum_fits(schema: &Map<String, Value>, value: &Value) -> Option<String> {
    let words = schema.get("enum")?.as_array().unwrap();
    (!words.contains(value)).then(|| format!("{value} is none of {words:?}"))
}

fn parts_fit(document: &Value, schema: &Map<String, Value>, value: &Value) -> Option<String> {
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        return values.iter().find_map(|value| why_not(document, items, value));
    }
    let members = value.as_object()?;
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let missing = required.iter().find(|name| !members.contains_key(name.as_str().unwrap()));
    if let Some(missing) = missing {
        return Some(format!("{missing} is missing"));
    }
    let Some(Value::Object(properties)) = schema.get("properties") else { return None };
    members.iter().find_map(|(name, value)| match properties.get(name) {
        Some(schema) => why_not(document, schema, value).map(|why| format!("{name}: {why}")),
        None => Some(format!("{name} is not described")),
    })
}

fn composition_fits(
    document: &Value,
    schema: &Map<String, Value>,
    value: &Value,
) -> Option<String> {
    let all = schema.get("allOf").and_then(Value::as_array);
    if let Some(why) = all.into_iter().flatten().find_map(|one| why_not(document, one, value)) {
        return Some(why);
    }
    for keyword in ["oneOf", "anyOf"] {
        let Some(Value::Array(choices)) = schema.get(keyword) else { continue };
        let whys: Vec<String> =
            choices.iter().filter_map(|one| why_not(document, one, value)).collect();
        let fitting = choices.len() - whys.len();
        if fitting == 0 || (keyword == "oneOf" && fitting > 1) {
            return Some(format!(
                "{fitting} of {} choices fit: {}",
                choices.len(),
                whys.join("; ")
            ));
        }
    }
    None
}
