//! Tests over real HTTP on loopback, and of the text of the project; one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests end with the tasks that they start")]

mod admin;
mod district;
mod scene;
mod catalogue;
mod cli;
mod comparing;
mod corpus;
mod demo;
mod documents;
mod edfi_source;
mod edfi_target;
mod kills;
mod layers;
mod lifecycle;
mod long_service;
mod model;
mod night;
#[cfg(feature = "otlp")]
mod otlp;
mod peers;
mod process;
mod publishing;
mod sandbox;
mod serve;
mod serve_changes;
mod serve_metrics;
mod simulation;
mod source_text;
