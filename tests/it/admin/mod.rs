//! The admin API over real HTTP on loopback, answered by a desk that tests write the answers of; and
//! by a daemon with sandboxes.

mod authorisation;
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
