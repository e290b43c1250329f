//! `make bench`: what Tidemark costs and how fast it is, each figure as a ratio inside one run.
//!
//! A scenario is a file under `scenarios/`; [`scenarios::ALL`] names them. What a scenario needs at
//! the other end is [`server`], in a process of its own. Arguments: names of scenarios, `short` or
//! `long`, `--keep` to write the table into docs/performance.md.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to say")]
#![allow(clippy::disallowed_methods, reason = "what is measured here is the time of the machine")]

mod bare;
mod child;
mod content;
mod page;
mod play;
mod publish;
mod scenarios;
mod server;
mod table;
mod usage;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How much is published: `short` ends in a few minutes, `long` has the sizes of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Short,
    Normal,
    Long,
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // What cargo says to every bench.
    arguments.retain(|argument| argument != "--bench");
    match arguments.first().map(String::as_str) {
        Some("serve") => runtime().block_on(server::serve(order(&arguments))).unwrap(),
        Some("bare") => tell(&runtime().block_on(bare::post_all(order(&arguments)))),
        Some("publish") => tell(&runtime().block_on(publish::publish(order(&arguments)))),
        _ => bench(&arguments),
    }
}

fn bench(arguments: &[String]) {
    let mut size = Size::Normal;
    let mut keep = false;
    let mut names = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "short" => size = Size::Short,
            "normal" => size = Size::Normal,
            "long" => size = Size::Long,
            "--keep" => keep = true,
            name => names.push(name),
        }
    }
    let known: Vec<&str> = scenarios::ALL.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        eprintln!("error: no scenario `{unknown}`; there are {}", known.join(", "));
        std::process::exit(2);
    }
    let mut rows = Vec::new();
    for (name, scenario) in scenarios::ALL {
        if names.is_empty() || names.contains(name) {
            eprintln!("{name}");
            rows.extend(scenario(size));
        }
    }
    let table = table::table(&rows);
    println!("{table}");
    if keep {
        page::keep(&table, size);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

fn order<O: DeserializeOwned>(arguments: &[String]) -> O {
    serde_json::from_str(&arguments[1]).unwrap()
}

fn tell(done: &impl Serialize) {
    println!("{}", serde_json::to_string(done).unwrap());
}
