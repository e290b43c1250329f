//! Tidemark keeps target APIs in step with a source API.
//!
//! The modules stand in the order in which a change travels: a configuration names a pair, the
//! schedule rings, the engine runs, a source is read, a target is written, the state remembers.
//! `ARCHITECTURE.md` is the map; `engine/mod.rs` says what a run is.

pub mod cli;
pub mod config;
pub mod schedule;
pub mod engine;
pub mod sources;
pub mod domain;
pub mod targets;
pub mod edfi;
pub mod state;
pub mod desk;
pub mod metrics;
pub mod server;
pub mod http;
pub mod tasks;
pub mod allocator;
pub mod certificate;
pub mod clock;
pub mod core_dumps;
pub mod telemetry;
pub mod daemon;
pub mod sandbox;
