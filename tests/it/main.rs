//! Tests over real HTTP on loopback; one binary.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod sandbox;
mod peers;
