//! Histories in which something once went wrong, as small as they could be made, named by what
//! they taught.

use tidemark::sandbox::ApiVersion;
use tidemark::sources::Isolation;

use super::assert_agrees;
use super::history::Step::{Delete, Put, Rename, Run};
use super::history::Thing::{Attends, Enrolment, Period, Section, Session, Student};
use super::history::Trouble::{Close, Fail, PutBack};
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

/// I9: a first run that fails has written items. What became of them before a run was committed is
/// told by feeds that a run from the beginning did not read.
#[test]
fn i9_what_a_failed_first_run_wrote_is_renamed_and_deleted_by_the_next() {
    for then in [Rename(Period(1), Period(4)), Delete(Period(1)), Delete(Session(3))] {
        assert_agrees(&History {
            frame: Frame { isolation: Isolation::Bounded, ..frame() },
            steps: vec![
                Put(Attends(0, 0, 0, 3), 1),
                Put(Period(1), 1),
                Run(vec![Fail("studentSectionAssociations")]),
                then,
            ],
        });
    }
}

/// I9 and R23a: the same for a resource that was closed in the middle of its first reading.
#[test]
fn i9_what_was_written_before_a_resource_was_closed_is_deleted_when_it_joins() {
    assert_agrees(&History {
        frame: Frame { page_size: 1, ..frame() },
        steps: vec![
            Put(Attends(0, 0, 0, 3), 1),
            Put(Period(1), 1),
            Run(vec![Fail("studentSectionAssociations")]),
            Run(vec![Close("classPeriods")]),
            Delete(Period(1)),
        ],
    });
}

/// I14: a person who waits for the association is referred to by it, and taken up once more.
#[test]
fn i14_a_person_that_a_feed_and_a_reference_bring_is_counted_twice() {
    assert_agrees(&History {
        frame: Frame { people: true, ..frame() },
        steps: vec![
            Put(Attends(0, 0, 1, 0), 1),
            Run(vec![]),
            Delete(Student(0)),
            Run(vec![]),
            Put(Attends(0, 2, 1, 2), 1),
            Run(vec![Close("studentSchoolAssociations")]),
            Put(Student(0), 1),
            Put(Enrolment(0), 1),
        ],
    });
}

/// R23a and I1: what was parked of a resource that is closed later stays parked. It was settled as
/// absent, though it lives, and no feed would have brought it again.
#[test]
fn r23a_what_is_parked_waits_while_its_resource_is_closed() {
    assert_agrees(&History {
        frame: Frame { page_size: 4, ..frame() },
        steps: vec![
            Put(Section(1, 1, 1), 1),
            Run(vec![Close("courses")]),
            Put(Section(0, 1, 1), 1),
            Run(vec![Close("sections")]),
        ],
    });
}

/// R11, R16: the image that the run goes on through is older than the one it began with. What the
/// newer one showed is not settled by a commit at the older one's version.
#[test]
fn r11_what_only_a_lost_view_showed_is_read_again_though_the_overlap_remembers_it() {
    for request in 20..30 {
        assert_agrees(&History {
            frame: Frame { target: ApiVersion::V6_1, page_size: 1, ..frame() },
            steps: vec![
                Put(Student(2), 0),
                Run(vec![]),
                Put(Section(2, 1, 2), 1),
                Run(vec![PutBack(request)]),
            ],
        });
    }
}
