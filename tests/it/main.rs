//! Tests over real HTTP on loopback; one binary.

mod sandbox;
