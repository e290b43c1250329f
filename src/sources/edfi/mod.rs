//! One Ed-Fi API as a source.
mod feeds;
mod limit;
mod ranges;
