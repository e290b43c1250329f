//! Tests over real HTTP on loopback; one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod district;
mod scene;
mod edfi_target;
mod publishing;
mod edfi_source;
mod sandbox;
mod peers;
