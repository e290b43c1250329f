//! The failure catalogue, row by row: `s7_…` is row S7 of the table in `docs/faults.md`, which also
//! names the tests elsewhere that hold the other rows.

mod ordering;
mod process;
mod source;
mod target;
mod tls;
mod wire;
