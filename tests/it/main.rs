//! Tests over real HTTP on loopback; one binary.

mod district;
mod scene;
mod publishing;
mod edfi_source;
mod sandbox;
