//! The sandbox seen by a client over HTTP.

mod client;
mod reading;
mod writing;
