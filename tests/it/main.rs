//! Tests over real HTTP on loopback; one binary.

mod edfi_source;
mod sandbox;
