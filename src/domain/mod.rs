//! The words of the program as types: pure, no I/O, no clock.
//!
//! What lives here: versions, windows, natural keys, items, the resource graph, the selection and
//! the tallies of a run. What does not: how any API spells them. The one thing to know: an
//! [`Item`] is a slice of the page it came in, and neither it nor a [`NaturalKey`] can be printed.

pub mod change;
pub mod key;
pub mod resource;
pub mod scan;
pub mod shape;
pub mod graph;
pub mod selection;
pub mod window;
pub mod identity;
pub mod organizations;
pub mod outcome;

pub use change::{Body, Item, KeyChange, SourceId, TargetId, Tombstone};
pub use graph::{DependencyCycle, ResourceGraph};
pub use identity::{Canary, CanaryKind, Fingerprint, Scope};
pub use key::{KeyText, NaturalKey};
pub use organizations::Organizations;
pub use outcome::{Outcome, ParkReason, Stage, Stages, Tally};
pub use resource::ResourcePath;
pub use selection::{Selection, SelectionError, named};
pub use shape::{KeyField, KeyShape, Reference, ReferenceShape};
pub use window::{ChangeVersion, Position, Watermark, Window};
