//! The sandbox seen by a client over HTTP.

mod changes;
pub(crate) mod client;
mod discovery;
mod edits;
mod faults;
mod reading;
mod refusals;
mod writing;
mod versions;
