//! Change versions, the window of a run and the watermark it leaves behind.
//!
//! The one thing to know: windows are *after … through*, servers ask *min … max*, both inclusive.
//! The only "plus one" of the program is here.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A value of the source's one change sequence. Not an order of commits (observed §1).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct ChangeVersion(pub i64);

impl fmt::Display for ChangeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a page of a source's feed begins, as text that outlives the process (R12). What it says is
/// the source's own matter; never a natural key, and never an offset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub String);

/// How far a pair has been published, in whatever its source counts. Closed, so that the console
/// can show it and "never back" can be checked where there is an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Watermark {
    ChangeVersion(ChangeVersion),
}

impl Watermark {
    pub fn change_version(&self) -> ChangeVersion {
        match self {
            Watermark::ChangeVersion(version) => *version,
        }
    }
}

/// What a run covers: after the watermark (`None`: everything), through the version that the
/// source reported when the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    pub after: Option<ChangeVersion>,
    pub through: ChangeVersion,
}

impl Window {
    /// Inclusive lower edge as the server wants it; `None` when the window begins at the beginning.
    pub fn min_change_version(&self) -> Option<ChangeVersion> {
        self.after.map(|after| ChangeVersion(after.0 + 1))
    }

    /// Inclusive upper edge as the server wants it.
    pub fn max_change_version(&self) -> ChangeVersion {
        self.through
    }

    /// The same `through`, from the beginning: what a joiner reads (R17).
    pub fn from_the_beginning(&self) -> Window {
        Window { after: None, through: self.through }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_one_past_the_watermark() {
        for (case, after, min) in [
            ("a first run is open below", None, None),
            ("one past the watermark", Some(7), Some(8)),
            ("zero is a watermark like any other", Some(0), Some(1)),
        ] {
            let window = Window { after: after.map(ChangeVersion), through: ChangeVersion(9) };

            assert_eq!(window.min_change_version(), min.map(ChangeVersion), "{case}");
        }
    }
}
