//! Where a page begins, in a form that another process can go on from (R12).
//!
//! What lives here: the text of a [`Position`], and under which view it holds. What does not: how a
//! page is read (`paging.rs`, `ranges.rs`). The one thing to know: filters and edges are not in a
//! cursor (`edfi-wire §4`), so the text says what was asked for, and another question does not begin
//! there. No offset is ever in it.

use serde::{Deserialize, Serialize};

use crate::domain::{ChangeVersion, Position, Window};

/// Where one page of a feed begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The token that asks for it, opaque: with Ed-Fi, surrogate ids of the database.
    Cursor(String),
    /// The closed ranges still to be read, the lowest last, and where the open end begins.
    Ranges { ahead: Vec<(i64, i64)>, above: Option<i64> },
}

/// The question that the pages answer. A place is one in the answers to the same question alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) window: Window,
    pub(super) bounded: bool,
    /// The snapshot's newest version and header; `None` for a live database, where what changed
    /// since has left the window or is met again above it (R9).
    pub(super) snapshot: Option<(ChangeVersion, String)>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    question: Question,
    place: Place,
}

impl Question {
    pub(super) fn position(&self, place: Place) -> Position {
        let told = Told { question: self.clone(), place };
        Position(serde_json::to_string(&told).expect("numbers and texts can be written"))
    }

    /// `None` where the position is one of another question, or not of this source at all.
    pub(super) fn place(&self, position: &Position) -> Option<Place> {
        let told: Told = serde_json::from_str(&position.0).ok()?;
        (told.question == *self).then_some(told.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            window: Window { after: Some(ChangeVersion(3)), through: ChangeVersion(9) },
            bounded: true,
            snapshot: Some((ChangeVersion(9), "true".to_owned())),
        }
    }

    #[test]
    fn r12_a_place_is_found_again_by_the_same_question_alone() {
        let places = [
            Place::Cursor("dG9rZW4".to_owned()),
            Place::Ranges { ahead: vec![(7, 9), (4, 6)], above: Some(10) },
        ];
        let others = [
            Question { snapshot: None, ..question() },
            Question { snapshot: Some((ChangeVersion(10), "true".to_owned())), ..question() },
            Question { snapshot: Some((ChangeVersion(9), "other".to_owned())), ..question() },
            Question { bounded: false, ..question() },
            Question { window: Window { after: None, ..question().window }, ..question() },
        ];
        for place in places {
            let position = question().position(place.clone());

            assert_eq!(question().place(&position), Some(place));
            for other in &others {
                assert_eq!(other.place(&position), None, "{other:?}");
            }
        }
    }

    #[test]
    fn what_another_source_wrote_is_no_place() {
        assert_eq!(question().place(&Position("17".to_owned())), None);
    }
}
