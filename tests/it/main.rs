//! Tests over real HTTP on loopback; one binary.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod district;
mod scene;
mod publishing;
mod edfi_source;
mod sandbox;
mod peers;
