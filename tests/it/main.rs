//! Tests over real HTTP on loopback; one binary.

mod cli;
mod district;
mod scene;
mod edfi_target;
mod publishing;
mod edfi_source;
mod sandbox;
mod serve;
