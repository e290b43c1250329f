//! The JSON Schema of a configuration, for editors.
//!
//! What lives here: the type of every key. What does not: what it means and its default, which are
//! the comment and the value that `config/reference.yaml` has for it. The one thing to know: an
//! editor reads `60` as a number and we read every scalar as text, so the schema allows both
//! wherever both mean the same.

use std::collections::BTreeMap;

use config::{Value as Written, ValueKind};
use serde_json::{Map, Value, json};

use super::example;
use super::problem::Place;
use super::yaml;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const NAME: &str = "^[a-z0-9-]+$";
/// What `humantime` reads, as far as a pattern can tell.
const DURATION: &str = "^([0-9]+ ?[a-zA-Z]+ ?)+$";
/// A scalar of a template, of which nothing is known before its row is.
const COLUMN: &str = "\\$\\{[^}]+\\}";

/// How a key is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Duration,
    /// A whole number from this one on.
    Whole(u64),
    Boolean,
    OneOf(&'static [&'static str]),
    Pattern(&'static str),
    Secret,
    /// A list of texts.
    Texts,
    /// Names and texts that the user invents.
    Labels,
    /// A list of mappings with keys of their own.
    ListOf(&'static [Key]),
    /// A mapping with keys of its own.
    Keys(&'static [Key]),
}

type Key = (&'static str, Form);

const STATE: &[Key] = &[
    ("store", Form::OneOf(&["sled"])),
    ("path", Form::Text),
    ("secrets_dir", Form::Text),
    ("backup", Form::Keys(BACKUP)),
    ("audit_for", Form::Duration),
];

const BACKUP: &[Key] = &[("every", Form::Duration), ("path", Form::Text), ("keep", Form::Whole(1))];

const SERVER: &[Key] = &[
    ("listen", Form::Text),
    ("metrics_listen", Form::Text),
    ("max_running", Form::Whole(1)),
    ("metrics_resource_pairs", Form::Whole(0)),
    ("admin_token", Form::Secret),
    ("tokens", Form::ListOf(TOKEN)),
    ("tls", Form::Keys(TLS)),
];

const TOKEN: &[Key] = &[
    ("name", Form::Text),
    ("role", Form::OneOf(&["viewer", "operator", "admin"])),
    ("labels", Form::Labels),
    ("token", Form::Secret),
];

const CONNECTION_TLS: &[Key] =
    &[("authorities", Form::Text), ("certificate", Form::Text), ("key", Form::Text)];

const TLS: &[Key] = &[("certificate", Form::Text), ("key", Form::Text)];

const TELEMETRY: &[Key] = &[("otlp", Form::Keys(OTLP))];

const OTLP: &[Key] = &[("endpoint", Form::Pattern("^https?://"))];

const LIMIT: &[Key] =
    &[("max_concurrency", Form::Whole(1)), ("max_requests_per_second", Form::Whole(0))];

const CONNECTION: &[Key] = &[
    ("kind", Form::OneOf(&["ed-fi"])),
    ("url", Form::Pattern("^https?://")),
    ("key", Form::Secret),
    ("secret", Form::Secret),
    ("token_url", Form::Pattern("^https?://")),
    ("scope", Form::Text),
    ("school_year", Form::Whole(1000)),
    ("instance", Form::Text),
    ("tls", Form::Keys(CONNECTION_TLS)),
    ("timeout", Form::Duration),
    ("max_concurrency", Form::Whole(1)),
    ("max_requests_per_second", Form::Whole(0)),
    ("limit", Form::Pattern(NAME)),
    ("closed", Form::ListOf(CLOSED)),
];

const CLOSED: &[Key] = &[("cron", Form::Text), ("for", Form::Duration), ("time_zone", Form::Text)];

const VERIFY: &[Key] = &[("schedule", Form::Text), ("content", Form::Boolean)];

const PUBLICATION: &[Key] = &[
    ("source", Form::Pattern(NAME)),
    ("targets", Form::Texts),
    ("labels", Form::Labels),
    ("schedule", Form::Text),
    ("every", Form::Duration),
    ("time_zone", Form::Text),
    ("spread", Form::Duration),
    ("deadline", Form::Duration),
    ("after", Form::Texts),
    ("verify", Form::Keys(VERIFY)),
    ("isolation", Form::OneOf(&["snapshot", "bounded", "open", "combined"])),
    ("on_missing_snapshot", Form::OneOf(&["fail", "bounded", "open", "combined"])),
    ("overlap", Form::Duration),
    ("first_overlap_versions", Form::Pattern("^([0-9]+|all)$")),
    ("key_changes", Form::OneOf(&["publish", "skip"])),
    ("deletes", Form::OneOf(&["publish", "skip"])),
    ("max_deletes", Form::Pattern("^[0-9]{1,3}(\\.[0-9]{1,2})? ?%$")),
    ("max_deletes_above", Form::Whole(0)),
    ("sole_writer", Form::OneOf(&["auto", "true", "false"])),
    ("shared", Form::Texts),
    ("create_only", Form::Texts),
    ("page_size", Form::Whole(1)),
    ("resources", Form::Keys(RESOURCES)),
    ("retry", Form::Keys(RETRY)),
    ("first_run", Form::OneOf(&["full", "from-now", "refuse"])),
];

const RESOURCES: &[Key] = &[
    ("include", Form::Texts),
    ("include_only", Form::Texts),
    ("exclude", Form::Texts),
    ("exclude_only", Form::Texts),
    ("descriptors", Form::Boolean),
];

const RETRY: &[Key] = &[
    ("max_attempts", Form::Whole(1)),
    ("first_delay", Form::Duration),
    ("max_delay", Form::Duration),
    ("max_parked", Form::Whole(1)),
];

/// What a whole configuration may hold, as JSON Schema.
pub fn schema() -> Value {
    let reference = Reference::read();
    let plain = Writer { reference: &reference, in_template: false };
    let filled = Writer { reference: &reference, in_template: true };
    let (district, publication) =
        (["connections", "district"], ["publications", "district-to-state"]);
    let named = |entry: &str| {
        json!({
            "type": ["object", "null"],
            "propertyNames": {"pattern": NAME},
            "additionalProperties": {"$ref": format!("#/$defs/{entry}")},
        })
    };
    let of_template = |entry: &str| {
        json!({
            "type": ["object", "null"],
            "additionalProperties": {"$ref": format!("#/$defs/{entry}-of-template")},
        })
    };
    json!({
        "$schema": DIALECT,
        "title": "Tidemark",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "state": plain.mapping(&["state"], STATE),
            "server": plain.mapping(&["server"], SERVER),
            "telemetry": plain.mapping(&["telemetry"], TELEMETRY),
            "limits": named("limit"),
            "defaults": {
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": {
                    "connection": {"$ref": "#/$defs/connection"},
                    "publication": {"$ref": "#/$defs/publication"},
                },
            },
            "templates": {
                "type": ["object", "null"],
                "additionalProperties": {"$ref": "#/$defs/template"},
            },
            "connections": named("connection"),
            "publications": named("publication"),
        },
        "$defs": {
            "limit": plain.mapping(&["limits"], LIMIT),
            "connection": plain.mapping(&district, CONNECTION),
            "publication": plain.mapping(&publication, PUBLICATION),
            "connection-of-template": filled.mapping(&district, CONNECTION),
            "publication-of-template": filled.mapping(&publication, PUBLICATION),
            "template": {
                "type": "object",
                "description": "entries for each row: `${column}` is put into scalars and names",
                "additionalProperties": false,
                "required": ["for_each"],
                "properties": {
                    "for_each": {"anyOf": [
                        {
                            "type": "object",
                            "additionalProperties": false,
                            "required": ["file"],
                            "properties": {"file": {
                                "type": "string",
                                "description": "a CSV file with a header, seen from this file",
                            }},
                        },
                        {"type": "array", "items": {"type": "object"}},
                    ]},
                    "connections": of_template("connection"),
                    "publications": of_template("publication"),
                },
            },
        },
    })
}

struct Writer<'a> {
    reference: &'a Reference,
    in_template: bool,
}

impl Writer<'_> {
    fn mapping(&self, path: &[&str], keys: &[Key]) -> Value {
        let mut properties = Map::new();
        for (key, form) in keys {
            let path: Vec<&str> = path.iter().copied().chain([*key]).collect();
            properties.insert((*key).to_owned(), self.property(&path, *form));
        }
        json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": properties,
        })
    }

    fn property(&self, path: &[&str], form: Form) -> Value {
        let mut property = match form {
            Form::Keys(keys) => return self.mapping(path, keys),
            Form::Text => json!({"type": ["string", "number", "boolean", "null"]}),
            Form::Duration => json!({"type": ["string", "null"], "pattern": DURATION}),
            Form::Pattern(pattern) => {
                json!({"type": ["string", "integer", "null"], "pattern": pattern})
            }
            Form::Whole(least) => {
                json!({"type": ["integer", "string", "null"], "minimum": least, "pattern": "^[0-9]+$"})
            }
            Form::Boolean => json!({"enum": [true, false, "true", "false", null]}),
            Form::OneOf(words) => json!({"enum": words_and_booleans(words)}),
            Form::Secret => secret(),
            Form::Texts => {
                json!({"type": ["array", "null"], "items": self.or_column(json!({"type": "string"}))})
            }
            Form::ListOf(keys) => {
                json!({"type": ["array", "null"], "items": self.mapping(path, keys)})
            }
            Form::Labels => json!({
                "type": ["object", "null"],
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            }),
        };
        if self.in_template && !matches!(form, Form::Texts | Form::Labels | Form::ListOf(_)) {
            property = self.or_column(property);
        }
        if let Value::Object(property) = &mut property {
            property
                .extend(self.reference.comment(path).map(|text| ("description".to_owned(), text)));
            if !matches!(form, Form::Secret) {
                property
                    .extend(self.reference.default(path).map(|text| ("default".to_owned(), text)));
            }
        }
        property
    }

    fn or_column(&self, form: Value) -> Value {
        if !self.in_template {
            return form;
        }
        json!({"anyOf": [form, {"type": "string", "pattern": COLUMN}]})
    }
}

/// An editor reads `true` as a truth and not as the text.
fn words_and_booleans(words: &[&str]) -> Vec<Value> {
    let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
    if words.contains(&"true") {
        all.extend([json!(true), json!(false)]);
    }
    all.push(Value::Null);
    all
}

fn secret() -> Value {
    let one = |key: &str| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": [key],
            "properties": {key: {"type": "string"}},
        })
    };
    json!({"anyOf": [one("env"), one("file"), {"type": ["string", "null"]}]})
}

/// `config/reference.yaml`: the comments and defaults of every key.
struct Reference {
    root: Written,
    keys: BTreeMap<Vec<String>, Place>,
}

impl Reference {
    fn read() -> Reference {
        let mut problems = Vec::new();
        let document = yaml::read("reference.yaml", example(), &mut problems).unwrap_or_default();
        Reference { root: Written::new(None, ValueKind::Table(document.root)), keys: document.keys }
    }

    /// What stands behind a key.
    fn comment(&self, path: &[&str]) -> Option<Value> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        let Some(Place::File { line, .. }) = self.keys.get(&path) else { return None };
        let (_, comment) = example().lines().nth(line - 1)?.split_once(" # ")?;
        Some(json!(comment.trim()))
    }

    fn default(&self, path: &[&str]) -> Option<Value> {
        let is_required = self.comment(path).is_some_and(|comment| {
            comment.as_str().is_some_and(|comment| comment.starts_with("required"))
        });
        let found = path.iter().try_fold(&self.root, |value, key| match &value.kind {
            ValueKind::Table(table) => table.get(*key),
            _ => None,
        });
        match found.map(|value| &value.kind) {
            _ if is_required => None,
            Some(ValueKind::String(text)) => {
                Some(text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)))
            }
            _ => None,
        }
    }
}
