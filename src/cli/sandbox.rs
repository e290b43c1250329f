//! `tidemark sandbox`: a simulated Ed-Fi ODS/API until somebody ends it.

use serde_json::json;

use crate::sandbox::{Sandbox, SandboxOptions, Seed};
use crate::telemetry;

use super::arguments::{Output, SandboxArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show;
use super::signals::Signals;

/// A real 7.3 grants 15 at once; that would end a morning of trying things out.
const TOKENS: usize = 10_000;

pub(super) async fn run(context: &Context, arguments: SandboxArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let mut signals = Signals::listen()?;
    let data = match arguments.data {
        Some(directory) => Seed::Directory(directory),
        None if arguments.empty => Seed::Empty,
        None => Seed::Sample,
    };
    let options = SandboxOptions {
        listen: arguments.listen,
        version: arguments.version,
        data,
        // Whoever tries commands by hand takes a token with each.
        token_limit: TOKENS,
        clock: context.clock.clone(),
        ..SandboxOptions::default()
    };
    let (key, secret) = (options.key.clone(), options.secret.clone());

    let sandbox = Sandbox::start(options).await;
    let sandbox = sandbox.map_err(|error| Failure::failed(telemetry::chain(&error)))?;

    let items: usize = sandbox.resources().iter().map(|resource| sandbox.count(resource)).sum();
    let url = sandbox.url();
    let version = arguments.version.as_str();
    match context.output() {
        Output::Json => show::json_object(&json!({
            "url": url, "key": key, "secret": secret, "version": version, "items": items,
        }))?,
        Output::Text => show::answer(&format!(
            "a sandbox of Ed-Fi ODS/API {version} with {}\n\n  url:    {url}\n  key:    \
             {key}\n  secret: {secret}\n\nIt keeps everything in memory and ends with Ctrl-C.",
            show::count(show::many(items), "item")
        ))?,
    }

    signals.received().await;
    sandbox.stop().await;
    Ok(Exit::Done)
}
