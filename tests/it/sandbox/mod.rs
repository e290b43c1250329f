//! The sandbox seen by a client over HTTP.

mod changes;
mod client;
mod clients;
mod discovery;
mod faults;
mod reading;
mod writing;
