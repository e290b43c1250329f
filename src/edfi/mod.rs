//! What both ends of an Ed-Fi API share: discovery, the differences between versions, keys.
//!
//! `sources/edfi` and `targets/edfi` do not know each other; what they would both have to know is
//! here, once. The one thing to know: a version's differences live in `dialect.rs` and nowhere else.

pub mod api;
pub mod dependencies;
pub mod dialect;
pub mod discovery;
pub mod json;
pub mod lookup;
mod open_api;
pub mod problem;
pub mod shapes;
mod token_info;

pub use api::{Api, ApiError, ConnectionSettings, LOOK_AGAIN_AFTER};
pub use dialect::{Dialect, SnapshotStyle};
pub use discovery::{Discovery, Root};
pub use json::{PageShapeError, split_page};
pub use open_api::{MemberDifference, Members};
pub use problem::{Meaning, Problem};
pub use shapes::Shapes;
pub use token_info::TokenInfo;
