//! Scenarios: source and targets are sandboxes over loopback, and the assertion is the whole
//! target's state.

mod first_run;
mod from_now;
mod difference;
mod renames;
mod people;
mod references;
mod parked;
mod selection;
mod doubt;
mod many_targets;
mod several_sources;
mod overlap;
mod resume;
mod resumed_pages;
mod backups;
mod snapshots;
mod moving;
mod reads;
mod versions;
