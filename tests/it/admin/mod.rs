//! The admin API and the console over real HTTP on loopback, answered by a desk that tests write the answers of; and
//! by a daemon with sandboxes.

mod authorisation;
mod console;
mod daemon;
mod desk;
mod document;
mod events;
mod house;
mod orders;
mod refusals;
mod remote;
mod routes;
mod tls;
