//! Histories in which something once went wrong, as small as they could be made, named by what
//! they taught.

use tidemark::sandbox::ApiVersion;
use tidemark::sources::Isolation;

use super::assert_agrees;
use super::history::Step::{Delete, Put, Rename, Run};
use super::history::Thing::{Attends, Session};
use super::history::{Frame, History};

/// What most histories have in common.
fn frame() -> Frame {
    Frame {
        source: ApiVersion::V7_3,
        target: ApiVersion::V7_3,
        isolation: Isolation::Snapshot,
        page_size: 2,
        people: false,
        descriptors: false,
    }
}

/// R6: the new name of the session is taken, so plain agreement renames it, and its sections must
/// not be sent by PUT to an offering that is not there yet.
#[test]
fn r6_no_put_of_an_item_whose_parent_is_not_at_the_target_under_its_new_key() {
    assert_agrees(&History {
        frame: frame(),
        steps: vec![
            Put(Attends(2, 2, 1, 0), 1),
            Put(Session(1), 1),
            Run(vec![]),
            Delete(Session(1)),
            Rename(Session(0), Session(1)),
        ],
    });
    assert_agrees(&History {
        frame: frame(),
        steps: vec![
            Put(Attends(0, 1, 0, 3), 1),
            Put(Attends(2, 3, 1, 1), 1),
            Run(vec![]),
            Rename(Session(3), Session(4)),
            Rename(Session(1), Session(3)),
        ],
    });
}
