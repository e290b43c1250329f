//! The sandbox seen by a client over HTTP.

mod changes;
mod client;
mod reading;
mod writing;
