//! Tests over real HTTP on loopback, and of the text of the project; one binary.

mod documents;
mod edfi_source;
mod layers;
mod sandbox;
mod source_text;
