//! `tidemark forget`: erases a natural key from all that is remembered.
//!
//! The key comes on standard input, so that it is in no history of a shell and in no list of processes,
//! and it is printed nowhere.

use std::io::Read;

use crate::domain::{NaturalKey, ResourcePath};
use crate::state::ErasedKey;

use super::arguments::{ForgetArguments, Output};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;

/// A natural key is a few short values.
const LONGEST_KEY: u64 = 64 * 1024;

pub(super) async fn run(context: &Context, arguments: &ForgetArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let resource = resource(&arguments.resource)?;
    let erased = ErasedKey { resource, key: key_from_stdin()? };
    let at = at_desk::desk(context).await?;
    let held = at.desk.records_with(&at.by, &erased).await?;
    if !arguments.yes {
        return Err(Failure::usage(format!(
            "`forget` would erase the key from {}, other keys that contain it among them: what waits \
             under one is given up. Add `--yes` if that is meant",
            show::count(held, "record")
        )));
    }
    let reason = arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let forgotten = at.desk.forget_key(&at.by, &erased, reason).await?;
    match context.output() {
        Output::Json => show::json("forgotten", &forgotten)?,
        Output::Text => show::answer(&format!(
            "{} forgotten. Exports and backups that were written before still hold the key until they \
             are deleted",
            show::count(forgotten, "record")
        ))?,
    }
    Ok(Exit::Done)
}

/// `students` or `/tpdm/candidates`.
fn resource(name: &str) -> Result<ResourcePath, Failure> {
    let path = if name.starts_with('/') { name.to_owned() } else { format!("/ed-fi/{name}") };
    ResourcePath::parse(&path).ok_or_else(|| {
        Failure::usage(format!("`{name}` is no resource: write `students` or `/tpdm/candidates`"))
    })
}

/// One JSON object of names and values. What is wrong with it is said without repeating it.
fn key_from_stdin() -> Result<NaturalKey, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST_KEY).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("cannot read the key: {error}")))?;
    let key = serde_json::from_str::<NaturalKey>(&text).ok().filter(|key| !key.is_empty());
    key.ok_or_else(|| {
        Failure::usage(
            "standard input holds no key: write it as JSON, such as {\"studentUniqueId\":\"…\"}",
        )
    })
}
