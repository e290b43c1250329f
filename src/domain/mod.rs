//! The words of the program as types: pure, no I/O, no clock.
//!
//! the tallies of a run. What does not: how any API spells them. The one thing to know: an
//! [`Item`] is a slice of the page it came in, and neither it nor a [`NaturalKey`] can be printed.

pub mod change;
pub mod key;
pub mod resource;
pub mod window;
pub mod outcome;

pub use change::{Body, Item, KeyChange, SourceId, TargetId, Tombstone};
pub use key::{KeyText, NaturalKey};
pub use outcome::{Outcome, ParkReason, Stage, Stages, Tally};
pub use resource::ResourcePath;
pub use window::{ChangeVersion, Watermark, Window};
