//! Histories by hand: those in which something once went wrong, as small as the model made them,
//! and their neighbours in which nothing may.

use tidemark::engine::FirstOverlap;
use tidemark::sources::Isolation;

use super::machine::Transition::{Begin, Edit, End, Refuse, Repair, Run};
use super::machine::Trouble::{Crash, Lost, Meanwhile, Without};
use super::machine::{Frame, Refused};
use super::{Transition, assert_agrees};
use crate::simulation::history::Side::Target;
use crate::simulation::history::Step::{Delete, Put, Rename};
use crate::simulation::history::Thing::{
    Attends, Course, Enrolment, Offering, Period, Section, Session, Student,
};

/// What most histories have in common.
const FRAME: Frame = Frame {
    isolation: Isolation::Snapshot,
    page_size: 1,
    by_version: false,
    people: false,
    descriptors: false,
    first_overlap: FirstOverlap::Versions(1_000_000),
    folds: false,
    elsewhere: false,
};

/// An offering is deleted and its session renamed; a run crashes at its n-th call of the target.
fn deleted_below_a_rename(call: u16) -> Vec<Transition> {
    vec![
        Edit(vec![Put(Offering(0, 1), 0)]),
        Run(vec![]),
        Edit(vec![Delete(Course(0)), Rename(Session(1), Session(2))]),
        Run(vec![Crash(Target, call)]),
    ]
}

/// R5: the PUT of the session moves the offering to a key that no tombstone tells.
#[test]
fn r5_what_a_crashed_run_moved_is_found_by_the_id_that_it_journalled() {
    for call in 0..20 {
        assert_agrees(FRAME, &deleted_below_a_rename(call));
    }
}

/// R5: and renamed on, after the crash.
#[test]
fn r5_what_a_crashed_run_moved_is_found_though_the_rename_goes_on() {
    for call in 0..20 {
        let mut history = deleted_below_a_rename(call);
        history.push(Edit(vec![Rename(Session(2), Session(0))]));
        assert_agrees(FRAME, &history);
    }
}

/// R6: what was refused under its new key keeps its old one until the target takes it.
#[test]
fn r6_a_rename_that_is_refused_keeps_the_old_item_until_it_is_taken() {
    let history = [
        Edit(vec![Put(Period(0), 1), Put(Section(0, 0, 0), 4)]),
        Run(vec![]),
        Refuse(Refused::Item(Period(2))),
        Edit(vec![Rename(Period(0), Period(2))]),
        Run(vec![]),
        Repair,
        Run(vec![]),
    ];
    assert_agrees(FRAME, &history);
}

/// I11: a swap whose answers are lost, one after the other.
#[test]
fn i11_a_swap_of_which_any_answer_is_lost_ends_right() {
    for write in 0..8 {
        let swap = [(0, 4), (1, 0), (4, 1)].map(|(old, new)| Rename(Session(old), Session(new)));
        let history = [
            Edit(vec![Put(Section(0, 0, 0), 1), Put(Section(1, 1, 1), 1)]),
            Run(vec![]),
            Edit(swap.to_vec()),
            Run(vec![Lost(write)]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R2, R6: an old key that differs from the new one in case alone lives again as another item.
#[test]
fn r6_an_old_key_that_lives_again_is_looked_up_though_it_is_nearly_the_new_one() {
    assert_agrees(
        FRAME,
        &[
            Edit(vec![Put(Offering(0, 1), 0)]),
            Run(vec![]),
            Edit(vec![Delete(Course(0)), Rename(Session(1), Session(0)), Put(Offering(0, 1), 0)]),
        ],
    );
}

/// R5: the PUT of a crashed run moved the offering; its key lives again, which hides its tombstone.
#[test]
fn r5_what_a_crashed_run_moved_goes_though_its_key_lives_again() {
    for call in 0..40 {
        let mut history = deleted_below_a_rename(call);
        history.push(Edit(vec![Put(Offering(0, 1), 0)]));
        assert_agrees(FRAME, &history);
    }
}

/// The same without a snapshot and without a crash: the key lives again while the run goes on.
#[test]
fn r5_what_a_rename_moved_goes_though_its_key_lives_again_meanwhile() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Offering(0, 1), 0)]),
            Run(vec![]),
            Edit(vec![Delete(Course(0)), Rename(Session(1), Session(2))]),
            Run(vec![Meanwhile(call, vec![Put(Offering(0, 1), 0)])]),
        ];
        assert_agrees(Frame { isolation: Isolation::Bounded, ..FRAME }, &history);
    }
}

/// R15: what a crashed run had finished was read before the transaction ended; the run that goes on
/// from it commits when the overlap has passed, and settles nothing that was read before.
#[test]
fn r15_what_a_crashed_run_has_finished_is_read_once_more() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Section(0, 0, 0), 0)]),
            Run(vec![]),
            Begin(3),
            Edit(vec![Put(Period(1), 1), Put(Course(1), 1), Put(Section(1, 1, 1), 1)]),
            Run(vec![Crash(Target, call)]),
            End(vec![Put(Period(2), 1), Put(Session(2), 1)]),
            Run(vec![]),
        ];
        assert_agrees(Frame { isolation: Isolation::Bounded, ..FRAME }, &history);
    }
}

/// R5: the old key of a deleted offering lives again; the PUT of a crashed run moved what had it.
#[test]
fn r5_what_moved_on_from_an_old_key_goes_though_that_key_lives_again() {
    for call in 0..30 {
        let history = [
            Edit(vec![Put(Section(2, 0, 0), 0), Put(Student(0), 0), Put(Student(1), 0)]),
            Begin(1),
            Run(vec![]),
            End(vec![Rename(Session(0), Session(2))]),
            Edit(vec![Delete(Offering(0, 2)), Rename(Session(2), Session(1))]),
            Run(vec![Crash(Target, call)]),
            Edit(vec![Put(Section(2, 0, 0), 0)]),
            Edit(vec![Delete(Session(1))]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R17: what leaves keeps the lower edge of the overlap, also when it leaves in a run that has
/// nothing new to read.
#[test]
fn r17_what_leaves_keeps_the_lower_edge_of_the_overlap() {
    let history = [
        Edit(vec![Put(Enrolment(2), 0)]),
        Begin(1),
        Run(vec![]),
        Run(vec![Without("studentSchoolAssociations")]),
        End(vec![Delete(Student(2))]),
        Edit(vec![Put(Period(0), 0)]),
    ];
    assert_agrees(Frame { isolation: Isolation::Bounded, ..FRAME }, &history);
}

/// R6: two sessions have had one name; the one that is parked under its new key is all that the
/// target has of it, whatever old key of the other names it.
#[test]
fn r6_an_old_name_of_two_items_is_left_while_one_of_them_waits_for_its_new_key() {
    let history = [
        Edit(vec![Put(Attends(0, 0, 0, 1), 0)]),
        Edit(vec![Rename(Session(1), Session(3)), Rename(Session(3), Session(1))]),
        Edit(vec![Put(Session(3), 0)]),
        Begin(1),
        Run(vec![]),
        End(vec![Rename(Session(3), Session(0))]),
        Edit(vec![Delete(Offering(0, 0)), Rename(Session(0), Session(0))]),
        Edit(vec![Delete(Offering(0, 0)), Rename(Session(0), Session(2))]),
        Run(vec![Meanwhile(15, vec![Rename(Session(2), Session(0))]), Crash(Target, 12)]),
        Refuse(Refused::Item(Session(0))),
        Run(vec![]),
    ];
    assert_agrees(FRAME, &history);
}

/// R5: a name that was not at the target when it was journalled is there when the run that wrote it
/// has crashed.
#[test]
fn r5_a_name_that_a_crashed_run_wrote_after_journalling_it_is_looked_up_again() {
    for call in 10..30 {
        let history = [
            Edit(vec![Put(Attends(0, 0, 0, 0), 0), Put(Section(3, 1, 0), 0)]),
            Edit(vec![Rename(Section(3, 1, 0), Section(0, 1, 0))]),
            Run(vec![]),
            Edit(vec![Put(Section(3, 1, 0), 0)]),
            Run(vec![Crash(Target, call)]),
            Edit(vec![Delete(Offering(1, 0)), Rename(Session(0), Session(1))]),
            Edit(vec![Put(Period(0), 0)]),
        ];
        assert_agrees(Frame { page_size: 3, ..FRAME }, &history);
    }
}
