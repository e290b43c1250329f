//! `tidemark config`: says what is wrong with a configuration, where its values came from, and what
//! there may be in one.

use serde_json::{Value, json};

use crate::config::{self, Origin, Place, ShownValue};

use super::arguments::{ConfigCommand, Output};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

pub(super) fn run(context: &Context, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check => check(context),
        ConfigCommand::Example => show::answer(config::example()).map(|()| Exit::Done),
        ConfigCommand::Show { name } => show_values(context, name.as_deref()),
        ConfigCommand::Schema => show::json_object(&config::schema()).map(|()| Exit::Done),
    }
}

/// Everything at once: mistakes, warnings, and secrets that cannot be read.
fn check(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let connections = config.connections.iter();
    let unreadable: Vec<String> =
        connections.flat_map(|(name, connection)| context.unreadable(name, connection)).collect();
    if !unreadable.is_empty() {
        return Err(Failure::usage(unreadable.join("\n")));
    }
    let pairs: usize = config.publications.values().map(|p| p.targets.len()).sum();
    let (connections, publications) = (config.connections.len(), config.publications.len());
    match context.output() {
        Output::Json => show::json_object(&json!({
            "ok": true, "connections": connections, "publications": publications, "pairs": pairs,
        }))?,
        Output::Text => {
            let count = |many: usize, one| show::count(show::many(many), one);
            show::answer(&format!(
                "the configuration is right: {}, {}, {}; `tidemark check` reaches the APIs",
                count(connections, "connection"),
                count(publications, "publication"),
                count(pairs, "pair")
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// Every value with the file and line that it came from, and the row of its template.
fn show_values(context: &Context, name: Option<&str>) -> Result<Exit, Failure> {
    let values = config::show(&context.config_path()?, &context.env, name)?;
    match context.output() {
        Output::Json => {
            let values: Vec<Value> = values.iter().map(as_json).collect();
            show::json("values", &values)?;
        }
        Output::Text => {
            let columns = [Column::Text("key"), Column::Text("value"), Column::Text("from")];
            let rows = values.iter().map(|ShownValue { key, value, origin }| {
                let from = match origin {
                    Origin::Default => "default".to_owned(),
                    Origin::Written(place) => place.to_string(),
                };
                vec![key.clone(), value.clone(), from]
            });
            show::answer(&show::table(&columns, rows.collect()))?;
        }
    }
    Ok(Exit::Done)
}

fn as_json(value: &ShownValue) -> Value {
    let ShownValue { key, value, origin } = value;
    let mut shown = json!({
        "key": key, "value": value, "default": *origin == Origin::Default, "variable": null,
        "file": null, "line": null, "template": null, "row": null,
    });
    match origin {
        Origin::Default => {}
        Origin::Written(Place::Variable(name)) => shown["variable"] = json!(name),
        Origin::Written(Place::File { file, line, row, .. }) => {
            shown["file"] = json!(file);
            shown["line"] = json!(line);
            if let Some(row) = row {
                shown["template"] = json!(row.template);
                shown["row"] = json!({"file": row.file, "line": row.line});
            }
        }
    }
    shown
}
