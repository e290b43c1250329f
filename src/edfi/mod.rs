//! What both ends of an Ed-Fi API share: discovery, the differences between versions, keys.
//!
//! `sources/edfi` and `targets/edfi` do not know each other; what they would both have to know is
//! here, once. The one thing to know: a version's differences live in `dialect.rs` and nowhere else.
