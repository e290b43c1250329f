//! Claims about the schema for editors.

use config::ValueKind;
use serde_json::{Value as Json, json};

use super::*;

/// Every path of the schema below `mapping`, as the decoder names what it knows.
fn paths(mapping: &Json, before: &[&str], found: &mut BTreeSet<Vec<String>>) {
    for (key, form) in mapping["properties"].as_object().unwrap() {
        let path: Vec<&str> = before.iter().copied().chain([key.as_str()]).collect();
        if form["properties"].is_object() {
            paths(form, &path, found);
        } else {
            found.insert(path.iter().map(|part| (*part).to_owned()).collect());
        }
    }
}

#[test]
fn the_schema_has_every_key_that_works_and_no_other() {
    let text = format!("limits: {{one: {{}}}}\n{}", pair("", ""));
    let mut problems = Vec::new();
    let document = yaml::read("t.yaml", &text, &mut problems).unwrap();
    let tree = stack([Layer::from(document.clone())]);
    let mut report = Report::new(&document.keys);
    entries::decode(&mut report, &tree);
    let is_form_of_secret = |path: &Vec<String>| {
        let of_connection = path.len() == 4 && path[0] == "connections" && path[2] != "tls";
        of_connection || (path.len() == 3 && path[1] == "admin_token")
    };
    let mut known = report.known;
    known.retain(|path| path[0] != "defaults" && path[1] != "state" && !is_form_of_secret(path));

    let schema = schema();
    let mut found = BTreeSet::new();
    for (mapping, path) in [
        (&schema["properties"]["state"], &["state"][..]),
        (&schema["properties"]["server"], &["server"]),
        (&schema["properties"]["telemetry"], &["telemetry"]),
        (&schema["$defs"]["limit"], &["limits", "one"]),
        (&schema["$defs"]["connection"], &["connections", "district"]),
        (&schema["$defs"]["publication"], &["publications", "nightly"]),
    ] {
        paths(mapping, path, &mut found);
    }
    // Its keys are the user's own.
    found.retain(|path| path[2..] != ["labels"]);

    assert!(known.len() > 45, "only {} keys are known", known.len());
    assert_eq!(found, known);
}

#[test]
fn the_schema_says_what_keys_mean_and_their_defaults() {
    let schema = schema();
    let properties = |entry: &str| schema["$defs"][entry]["properties"].clone();

    let timeout = &properties("connection")["timeout"];

    assert_eq!(timeout["description"], "of one request");
    assert_eq!(timeout["default"], "60s");
    assert_eq!(properties("publication")["retry"]["properties"]["max_parked"]["default"], 10_000);
    assert_eq!(properties("connection")["url"]["default"], Json::Null, "it must be given");
}

#[test]
fn what_we_show_fits_the_schema_and_mistakes_do_not() {
    let schema = schema();
    let mut texts = vec![example().to_owned()];
    for name in ["tidemark", "examples/two-pairs", "examples/isolations", "examples/state/tidemark"]
    {
        texts.push(std::fs::read_to_string(format!("config/{name}.yaml")).unwrap());
    }

    for text in &texts {
        assert!(fits(&schema, &schema, &written(text)), "{text}");
    }
    for mistake in [
        "connections: {a: {timout: 30s}}",
        "connections: {A: {}}",
        "connections: {a: {timeout: soon}}",
        "connections: {a: {key: {evn: K}}}",
        "publications: {p: {deletes: remove}}",
        "templates: {t: {for_each: {fil: x}}}",
        "templates: {t: {for_each: [], publications: {p: {retry: {page: 1}}}}}",
        "server: {max_running: many}",
        "servr: {}",
    ] {
        assert!(!fits(&schema, &schema, &written(mistake)), "{mistake}");
    }
}

fn written(text: &str) -> Json {
    let document = yaml::read("t.yaml", text, &mut Vec::new()).unwrap();
    as_json(&Value::new(None, ValueKind::Table(document.root)))
}

/// Every scalar as the text that it is.
fn as_json(value: &Value) -> Json {
    match &value.kind {
        ValueKind::Table(table) => {
            table.iter().map(|(key, value)| (key.clone(), as_json(value))).collect()
        }
        ValueKind::Array(items) => items.iter().map(as_json).collect(),
        ValueKind::String(text) => json!(text),
        _ => Json::Null,
    }
}

/// As much of JSON Schema as ours is written in. A pattern counts where it is of a kind that is
/// known here.
fn fits(root: &Json, schema: &Json, value: &Json) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(root, &root["$defs"][reference.trim_start_matches("#/$defs/")], value);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().any(|choice| fits(root, choice, value));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value);
    }
    let is_allowed = |name: &str| match &schema["type"] {
        Json::String(only) => only == name,
        Json::Array(several) => several.contains(&json!(name)),
        _ => panic!("a schema without a type: {schema}"),
    };
    match value {
        Json::Null => is_allowed("null"),
        Json::String(text) => is_allowed("string") && fits_pattern(&schema["pattern"], text),
        Json::Array(items) => {
            let each = &schema["items"];
            is_allowed("array") && items.iter().all(|item| fits(root, each, item))
        }
        Json::Object(members) => {
            is_allowed("object")
                && members.iter().all(|(key, value)| {
                    let more = &schema["additionalProperties"];
                    fits_pattern(&schema["propertyNames"]["pattern"], key)
                        && match (&schema["properties"][key], more) {
                            (Json::Null, Json::Bool(allowed)) => *allowed,
                            (Json::Null, Json::Null) => true,
                            (Json::Null, more) => fits(root, more, value),
                            (known, _) => fits(root, known, value),
                        }
                })
        }
        Json::Bool(_) | Json::Number(_) => panic!("scalars are texts here"),
    }
}

fn fits_pattern(pattern: &Json, text: &str) -> bool {
    match pattern.as_str() {
        None => true,
        Some("^[a-z0-9-]+$") => PublicationName::parse(text).is_some(),
        Some("^([0-9]+ ?[a-zA-Z]+ ?)+$") => values::duration(text).is_ok(),
        Some("^[0-9]+$") => text.parse::<u64>().is_ok(),
        Some("^https?://") => text.starts_with("http://") || text.starts_with("https://"),
        Some("^([0-9]+|all)$") => text == "all" || text.parse::<u64>().is_ok(),
        Some("\\$\\{[^}]+\\}") => text.contains("${") && text.contains('}'),
        Some("^[0-9]{1,3}(\\.[0-9]{1,2})? ?%$") => values::percent(text).is_ok(),
        Some(pattern) => panic!("a pattern that this test does not know: {pattern}"),
    }
}
