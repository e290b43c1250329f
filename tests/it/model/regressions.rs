//! Histories by hand: those in which something once went wrong, as small as the model made them,
//! and their neighbours in which nothing may.

use tidemark::engine::FirstOverlap;
use tidemark::sources::Isolation;

use super::machine::Transition::{
    Begin, Edit, EditElsewhere, End, Import, Refuse, Repair, RollBack, Run, RunElsewhere,
};
use super::machine::Trouble::{
    Crash, Fail, FullDisk, Lost, Meanwhile, OldSnapshot, PutBack, Renewed, Silent, Stop, Without,
};
use super::machine::{Frame, Refused};
use super::{Transition, assert_agrees};
use crate::simulation::history::Side::{Source, Target};
use crate::simulation::history::Step::{Delete, Put, Rename};
use crate::simulation::history::Thing::{
    Attends, Course, Enrolment, GradeLevel, Offering, Period, Section, Session, Standard, Student,
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
    shared: false,
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

/// R20: the canary is a tombstone whose key is taken between two requests of a run that reads the
/// present. The item that explains it is newer than what the run began with.
#[test]
fn r20_a_key_that_is_taken_while_the_run_asks_explains_why_its_tombstone_is_gone() {
    for call in 0..8 {
        let history = [
            Run(vec![]),
            Edit(vec![Put(Session(0), 0), Delete(Session(0))]),
            Run(vec![]),
            Edit(vec![Put(Student(0), 0)]),
            Run(vec![Meanwhile(call, vec![Put(Session(0), 0)])]),
        ];
        for isolation in [Isolation::Bounded, Isolation::Open, Isolation::Combined] {
            assert_agrees(Frame { isolation, ..FRAME }, &history);
        }
    }
}

/// R11: what a view told that was lost lies above the watermark that the run commits through an
/// older one. It is not dealt with by that.
#[test]
fn r11_a_rename_that_a_lost_view_told_is_dealt_with_by_the_next_run() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Session(3), 0)]),
            Edit(vec![Rename(Session(3), Session(0))]),
            Run(vec![]),
            Edit(vec![Rename(Session(0), Session(3))]),
            Run(vec![PutBack(call, 0)]),
            Run(vec![]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R5: the run that moved the offering was broken off, and the state from before it is imported:
/// the id that it journalled is told by no feed.
#[test]
fn r5_what_a_crashed_run_moved_is_found_though_an_older_state_is_imported() {
    for call in 0..20 {
        let mut history = deleted_below_a_rename(call);
        history.extend([Import(1), Edit(vec![Put(Period(0), 0)])]);
        assert_agrees(FRAME, &history);
    }
}

/// I9: students were read after the imported state was exported, so they are read from their
/// beginning once more, and one of them has gone since.
#[test]
fn i9_what_was_read_since_an_imported_state_and_deleted_does_not_stay() {
    let history = [
        Edit(vec![Put(Student(1), 0)]),
        Run(vec![Without("students")]),
        Run(vec![]),
        Edit(vec![Delete(Student(1))]),
        Import(1),
        Edit(vec![Put(Period(0), 0)]),
    ];
    assert_agrees(FRAME, &history);
}

/// R28a: what both districts write goes by neither, and a rename leaves the old name to the other.
#[test]
fn r28a_what_the_other_district_has_is_neither_deleted_nor_renamed() {
    let history = [
        Edit(vec![Put(Student(0), 0), Put(Period(0), 0), Put(GradeLevel(0), 0)]),
        EditElsewhere(vec![Put(Student(0), 1), Put(Period(0), 1), Put(GradeLevel(0), 1)]),
        Run(vec![]),
        RunElsewhere(vec![]),
        Edit(vec![Delete(Student(0)), Rename(Period(0), Period(2)), Delete(GradeLevel(0))]),
        Run(vec![]),
        RunElsewhere(vec![]),
    ];
    assert_agrees(Frame { elsewhere: true, shared: true, descriptors: true, ..FRAME }, &history);
}

/// R7: a run that crashed wrote the session under a name that the feed folds away afterwards.
#[test]
fn r7_a_name_that_was_told_once_is_remembered_though_the_feed_folds_it_away() {
    for call in 0..30 {
        let history = [
            Edit(vec![Put(Session(0), 0)]),
            Run(vec![]),
            Refuse(Refused::Renames),
            Edit(vec![Rename(Session(0), Session(2))]),
            Run(vec![Crash(Target, call)]),
            Edit(vec![Rename(Session(2), Session(3))]),
            Run(vec![]),
        ];
        assert_agrees(Frame { folds: true, ..FRAME }, &history);
    }
}

/// R7: the session was renamed between the feed and its page, and written under a name that no feed
/// has told when it is renamed once more: the id that the target answered is all that is known of it.
#[test]
fn r7_what_was_written_under_a_name_that_no_feed_told_goes_by_its_id() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Session(0), 0)]),
            Run(vec![]),
            Edit(vec![Put(Session(0), 1)]),
            Run(vec![Meanwhile(call, vec![Rename(Session(0), Session(2))])]),
            Refuse(Refused::Renames),
            Edit(vec![Rename(Session(2), Session(3))]),
            Run(vec![]),
        ];
        assert_agrees(Frame { isolation: Isolation::Open, folds: true, ..FRAME }, &history);
    }
}

/// R7: the overlap reaches back over a rename of the window before, and the feed folds the name that
/// the target has into one that it had earlier.
#[test]
fn r7_a_name_of_the_window_before_goes_though_the_feed_folds_it_away() {
    for renames in [vec![], vec![Refuse(Refused::Renames)]] {
        let mut history = vec![Edit(vec![Put(Session(0), 0)]), Run(vec![])];
        history.extend(renames);
        history.extend([
            Edit(vec![Rename(Session(0), Session(2))]),
            Run(vec![]),
            Edit(vec![Rename(Session(2), Session(3))]),
            Run(vec![]),
        ]);
        assert_agrees(Frame { folds: true, ..FRAME }, &history);
    }
}

/// R2: what is left under an old key that differs from the new one in case alone goes, if the item
/// has gone under its new key as well.
#[test]
fn r2_an_old_key_that_is_nearly_the_new_one_goes_when_nothing_lives_under_either() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Session(1), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Session(1), Session(2))]),
            Run(vec![PutBack(call, 0)]),
            Edit(vec![Rename(Session(2), Session(0)), Delete(Session(0))]),
            Run(vec![]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R11: a page came from an image that is older than the watermark before the run noticed it: the
/// offering is written under a name that a committed run had dealt with.
#[test]
fn r11_what_a_run_read_from_an_older_image_before_it_noticed_goes_again() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Session(1), 0), Put(Section(0, 1, 3), 0)]),
            Run(vec![]),
            Edit(vec![
                Rename(Session(3), Session(4)),
                Rename(Session(1), Session(3)),
                Rename(Session(4), Session(1)),
            ]),
            Run(vec![]),
            Run(vec![]),
            Edit(vec![Delete(Section(0, 1, 1))]),
            Run(vec![PutBack(call, 2)]),
        ];
        assert_agrees(Frame { page_size: 4, by_version: true, ..FRAME }, &history);
    }
}

/// R26: the association went in a run that did not publish what hangs on the person.
#[test]
fn r26_what_hangs_on_a_person_whom_nobody_sees_stays() {
    let history = [
        Edit(vec![Put(Attends(0, 0, 0, 0), 0)]),
        Run(vec![]),
        Edit(vec![Delete(Student(0))]),
        Run(vec![Without("studentSectionAssociations")]),
    ];
    for isolation in [Isolation::Snapshot, Isolation::Bounded] {
        assert_agrees(Frame { isolation, people: true, ..FRAME }, &history);
    }
}

/// R14, I9: a first run crashed, and what it wrote is deleted by a transaction that commits below
/// the version which that run had read to.
#[test]
fn r14_what_a_crashed_first_run_wrote_goes_though_its_delete_commits_late() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Offering(0, 0), 0)]),
            Begin(1),
            Run(vec![Crash(Target, call)]),
            End(vec![Delete(Offering(0, 0))]),
            Run(vec![]),
        ];
        let first_overlap = FirstOverlap::Versions(5);
        assert_agrees(Frame { first_overlap, ..FRAME }, &history);
    }
}

/// R11: a tombstone was dealt with through one view, and the item written again from an older one,
/// through which the run was committed.
#[test]
fn r11_what_went_before_the_view_was_replaced_by_an_older_one_goes_again() {
    for call in 0..40 {
        for crashes in [vec![], vec![Run(vec![Crash(Target, 7)])]] {
            let mut history = vec![
                Edit(vec![Put(Attends(0, 0, 0, 1), 0)]),
                Run(vec![]),
                Run(vec![]),
                Edit(vec![Delete(Session(1))]),
                Edit(vec![Put(Period(0), 0)]),
            ];
            history.extend(crashes);
            history.extend([Run(vec![PutBack(call, 1)]), Edit(vec![Put(Period(0), 0)])]);
            assert_agrees(Frame { page_size: 1, by_version: true, ..FRAME }, &history);
        }
    }
}

/// R11, R16: the same with deletes that were committed below the watermark.
#[test]
fn r11_what_was_deleted_late_goes_again_after_an_older_view() {
    for call in 0..40 {
        for back in 0..3 {
            let history = [
                Edit(vec![Put(Attends(0, 0, 0, 1), 0)]),
                Begin(3),
                Edit(vec![Put(Period(1), 0)]),
                Run(vec![]),
                End(vec![Delete(Session(1))]),
                Edit(vec![Put(Period(0), 0)]),
                Run(vec![Crash(Target, 7)]),
                Run(vec![PutBack(call, back)]),
                Edit(vec![Put(Period(0), 0)]),
            ];
            assert_agrees(Frame { page_size: 1, by_version: true, ..FRAME }, &history);
        }
    }
}

/// R11, R12, I8: the class period under the old name is another one by now, which the run had
/// finished; an older image knows nothing of it.
#[test]
fn r11_nothing_goes_by_the_word_of_a_view_that_is_lost() {
    for call in 0..40 {
        for back in 0..3 {
            let history = [
                Edit(vec![Put(Period(1), 0)]),
                Run(vec![]),
                Run(vec![]),
                Edit(vec![Rename(Period(1), Period(2)), Put(Period(1), 0)]),
                Run(vec![PutBack(call, back)]),
            ];
            assert_agrees(Frame { page_size: 2, by_version: true, ..FRAME }, &history);
        }
    }
}

/// R11, R16: a run crashed that had read of a late rename, and the next one read through a snapshot
/// from before it, with the same newest version.
#[test]
fn r11_a_late_rename_is_dealt_with_again_after_an_older_snapshot() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Section(0, 0, 1), 0)]),
            Edit(vec![Put(Period(0), 0)]),
            Begin(3),
            Run(vec![Crash(Source, 2)]),
            End(vec![Rename(Session(1), Session(0))]),
            Run(vec![Crash(Source, call)]),
            Run(vec![OldSnapshot(1)]),
            Edit(vec![Delete(Session(0))]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R5, R6: a refused item keeps its old name, and the rename of its session moves that name at the
/// target to one that nobody tells.
#[test]
fn r6_what_waits_for_its_new_key_is_known_by_its_id_when_a_rename_above_moved_it() {
    for repair in [vec![], vec![Repair]] {
        let mut history = vec![
            Edit(vec![Put(Attends(0, 0, 1, 2), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Section(0, 1, 2), Section(3, 1, 2))]),
            Edit(vec![Rename(Session(2), Session(1))]),
            Refuse(Refused::Item(Section(3, 1, 1))),
            Run(vec![]),
            Run(vec![]),
        ];
        history.extend(repair);
        history.push(Edit(vec![Put(Period(0), 0)]));
        history.push(Run(vec![]));
        assert_agrees(FRAME, &history);
    }
}

/// R7: without an upper edge an item is written under a name that no feed had told by then, and the
/// feed folds that name away once it has another: the target id that the item had tells it.
#[test]
fn r7_what_was_written_under_a_name_that_the_feed_folds_away_goes() {
    let frame = Frame { isolation: Isolation::Open, folds: true, ..FRAME };
    for call in 0..20 {
        let periods = [
            Edit(vec![Put(Period(1), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Period(1), Period(0))]),
            Run(vec![]),
            Edit(vec![Put(Period(2), 0)]),
            Edit(vec![Put(Period(2), 0)]),
            Run(vec![Meanwhile(call, vec![Rename(Period(0), Period(1))])]),
            Edit(vec![Rename(Period(1), Period(0))]),
            Edit(vec![Put(Period(2), 0)]),
        ];
        assert_agrees(frame, &periods);
        let sessions = [
            Edit(vec![Put(Session(2), 0)]),
            Begin(1),
            Run(vec![]),
            Edit(vec![Put(Period(0), 0)]),
            RollBack(1),
            Run(vec![Meanwhile(call, vec![Rename(Session(2), Session(0))])]),
            Edit(vec![Rename(Session(0), Session(1))]),
            Edit(vec![Put(Period(0), 0)]),
        ];
        assert_agrees(Frame { first_overlap: FirstOverlap::All, ..frame }, &sessions);
    }
}

/// The same of a first run, which keeps no history: what changed while it went on is told hop by hop.
#[test]
fn r7_what_a_first_run_wrote_under_a_name_that_came_meanwhile_goes() {
    let frame = Frame { isolation: Isolation::Open, folds: true, ..FRAME };
    for call in 0..20 {
        let history = [
            Edit(vec![Put(Section(2, 0, 1), 0)]),
            Edit(vec![Rename(Section(2, 0, 1), Section(1, 0, 1))]),
            Run(vec![Meanwhile(call, vec![Rename(Section(1, 0, 1), Section(0, 0, 1))])]),
            Edit(vec![Rename(Session(1), Session(2))]),
            Refuse(Refused::Renames),
            Run(vec![]),
        ];
        assert_agrees(frame, &history);
    }
}

/// R28a without a word of sharing: an item goes when the last of the two districts has lost it.
#[test]
fn r28a_what_two_districts_have_goes_when_both_have_lost_it() {
    let frame = Frame { elsewhere: true, descriptors: true, ..FRAME };
    let both = vec![Put(Period(0), 0), Put(Student(0), 0)];
    let [ours, theirs] =
        [Edit(vec![Delete(Period(0)), Delete(Student(0))]), EditElsewhere(both.clone())];
    for silent in [vec![], vec![Silent]] {
        let history = [
            Edit(both.clone()),
            theirs.clone(),
            Run(vec![]),
            RunElsewhere(vec![]),
            ours.clone(),
            Run(silent.clone()),
            EditElsewhere(vec![Delete(Student(0)), Rename(Period(0), Period(2))]),
            RunElsewhere(silent),
            Run(vec![]),
        ];
        assert_agrees(frame, &history);
    }
}

/// R28a, R6: a name that the other district has is not taken from it by a PUT.
#[test]
fn r28a_what_is_renamed_keeps_its_old_name_where_the_other_has_it() {
    let frame = Frame { elsewhere: true, descriptors: true, ..FRAME };
    for call in 0..20 {
        let history = [
            Edit(vec![Put(Section(0, 0, 0), 4)]),
            EditElsewhere(vec![Put(Period(0), 1)]),
            Run(vec![]),
            RunElsewhere(vec![]),
            Edit(vec![Rename(Period(0), Period(3))]),
            Run(vec![Crash(Target, call)]),
            Run(vec![]),
            EditElsewhere(vec![Rename(Period(0), Period(3))]),
            RunElsewhere(vec![]),
        ];
        assert_agrees(frame, &history);
    }
}

/// R21, R11: an image from before the item takes the place of the one that was opened, and what is
/// parked is not settled by its word.
#[test]
fn r21_what_an_older_image_does_not_show_stays_parked() {
    for call in 0..20 {
        let history = [
            Run(vec![]),
            Run(vec![]),
            Edit(vec![Put(Section(0, 0, 0), 0)]),
            Refuse(Refused::Items("courses")),
            Run(vec![]),
            Edit(vec![Put(Session(0), 0)]),
            Run(vec![PutBack(call, 1)]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R16: under snapshots the overlap is read again every day, from the last look before it on, and what
/// was modified between two looks is not written again each time.
#[test]
fn r16_what_every_pass_over_the_overlap_brings_again_is_written_once() {
    for between in 0..3 {
        let mut history = vec![Run(vec![]), Run(vec![]), Edit(vec![Put(Section(0, 0, 0), 0)])];
        history.extend(vec![Run(vec![]); between]);
        history.push(Edit(vec![Rename(Section(0, 0, 0), Section(1, 0, 0))]));
        assert_agrees(FRAME, &history);
    }
}

/// R7, R17: what joined was written under a name that the feed folds away afterwards.
#[test]
fn r7_the_name_under_which_a_joiner_was_written_goes_though_the_feed_folds_it_away() {
    for elsewhere in [3, 0] {
        let history = [
            Begin(1),
            Edit(vec![Put(Section(0, 0, 1), 0), Put(Session(3), 0)]),
            Run(vec![Without("courseOfferings")]),
            Edit(vec![Rename(Session(1), Session(2))]),
            Run(vec![]),
            End(vec![
                Rename(Session(3), Session(4)),
                Rename(Session(2), Session(elsewhere)),
                Rename(Session(4), Session(2)),
            ]),
            Edit(vec![Put(Period(0), 0)]),
        ];
        assert_agrees(Frame { folds: true, ..FRAME }, &history);
    }
}

/// R7: the item was written under a name that the feed folds away, and is deleted under another.
#[test]
fn r7_what_is_deleted_goes_by_the_id_that_it_was_written_under_last() {
    let renamed_meanwhile = [
        Edit(vec![Put(Period(1), 0)]),
        Run(vec![]),
        Edit(vec![Rename(Period(1), Period(2)), Rename(Period(2), Period(1))]),
        Run(vec![Meanwhile(7, vec![Rename(Period(1), Period(2))])]),
        Edit(vec![Rename(Period(2), Period(0)), Delete(Period(0))]),
    ];
    let renamed_above_it_meanwhile = [
        Edit(vec![Put(Section(1, 1, 2), 0)]),
        Run(vec![]),
        Edit(vec![Rename(Section(1, 1, 2), Section(2, 1, 2))]),
        Run(vec![Meanwhile(3, vec![Rename(Session(2), Session(0))])]),
        Edit(vec![Rename(Session(0), Session(1)), Delete(Session(1)), Put(Period(0), 0)]),
    ];
    for history in [renamed_meanwhile, renamed_above_it_meanwhile] {
        let frame = Frame { isolation: Isolation::Bounded, folds: true, ..FRAME };
        assert_agrees(frame, &history);
    }
}

/// R6: an item that is parked was called so once, and was written under another name since: what
/// another item leaves under the first goes.
#[test]
fn r6_a_name_that_a_parked_item_had_before_it_was_last_written_holds_nothing_back() {
    let history = [
        Edit(vec![Put(Session(0), 0)]),
        Run(vec![]),
        Edit(vec![Rename(Session(0), Session(1)), Rename(Session(1), Session(3))]),
        Edit(vec![Put(Session(1), 0)]),
        Refuse(Refused::Renames),
        Run(vec![]),
        Edit(vec![Rename(Session(1), Session(0))]),
        Refuse(Refused::Item(Session(3))),
        Run(vec![]),
    ];
    assert_agrees(FRAME, &history);
}

/// R5, R7: an item comes back to a name under which the target had it, and a rename above it has moved
/// that meanwhile.
#[test]
fn r5_what_the_target_had_under_a_name_that_came_back_goes_if_it_was_moved() {
    for call in 10..20 {
        let history = [
            Edit(vec![Put(Section(0, 0, 1), 0)]),
            Run(vec![Crash(Source, 5)]),
            Edit(vec![Put(Student(0), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Session(1), Session(3)), Put(Session(1), 0)]),
            Run(vec![Stop(Target, 13)]),
            Edit(vec![Rename(Session(1), Session(0))]),
            Import(0),
            Run(vec![Crash(Source, call)]),
            Edit(vec![Rename(Session(3), Session(1))]),
        ];
        assert_agrees(Frame { isolation: Isolation::Bounded, page_size: 2, ..FRAME }, &history);
    }
}

/// R26: what hangs on a person whom the target does not show stays, and what it refers to waits under
/// the name that it had when it was parked, though a rename has moved it.
#[test]
fn r26_what_an_unseen_association_refers_to_stays_parked_under_its_old_name() {
    let history = [
        Edit(vec![Put(Attends(2, 2, 1, 0), 0)]),
        Run(vec![]),
        Edit(vec![Delete(Student(2))]),
        Run(vec![Without("studentSectionAssociations")]),
        Edit(vec![Delete(Offering(1, 0)), Rename(Session(0), Session(1))]),
    ];
    assert_agrees(Frame { people: true, ..FRAME }, &history);
}

/// R11: sessions are done when the run breaks off that finds the answer of an offering lost. The next one
/// goes on after them, is served an older snapshot, and is told by it that the session of that time lives.
#[test]
fn r11_what_a_lost_view_shows_is_not_written_where_nothing_is_read_again() {
    for call in 0..30 {
        let history = [
            Run(vec![]),
            Edit(vec![Put(Period(0), 0), Put(Section(0, 0, 1), 0), Put(Attends(0, 0, 0, 0), 0)]),
            Edit(vec![Delete(Section(2, 1, 0)), Rename(Session(0), Session(2))]),
            Run(vec![]),
            Edit(vec![Delete(Session(2)), Put(Session(2), 1)]),
            Run(vec![]),
            Edit(vec![Delete(Offering(1, 1)), Rename(Session(1), Session(3))]),
            Run(vec![Lost(8)]),
            Run(vec![PutBack(call, 2)]),
            Run(vec![]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R7, R23a: a run that crashed wrote the session under a name that the feed folds away afterwards, and
/// then the target closed the collection for longer than the overlap reaches back.
#[test]
fn r23a_what_was_told_of_a_closed_resource_is_kept_until_it_is_open_again() {
    for call in 0..30 {
        let mut history = vec![
            Edit(vec![Put(Session(0), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Session(0), Session(1))]),
            Run(vec![Crash(Target, call)]),
            Refuse(Refused::Collection("sessions")),
            Edit(vec![Rename(Session(1), Session(2))]),
        ];
        for n in 0..6 {
            history.push(Edit(vec![Put(Period(n % 4), n)]));
            history.push(Run(vec![]));
        }
        assert_agrees(Frame { folds: true, ..FRAME }, &history);
    }
}

/// R5, R8: the rename is told by a feed without an upper edge, and its PUT moves an offering that was
/// deleted before it, beyond the window.
#[test]
fn r5_what_was_deleted_beyond_the_window_goes_though_a_rename_beyond_it_moved_it() {
    for isolation in [Isolation::Bounded, Isolation::Open] {
        for call in 0..40 {
            let meanwhile = vec![Delete(Offering(0, 0)), Rename(Session(0), Session(1))];
            let history = [
                Edit(vec![Put(Offering(0, 0), 0)]),
                Run(vec![]),
                Edit(vec![Put(Period(0), 0)]),
                Run(vec![Meanwhile(call, meanwhile)]),
            ];
            assert_agrees(Frame { isolation, ..FRAME }, &history);
        }
    }
}

/// R8: a session that is renamed beyond the window loses its old name no sooner than it has the new one.
#[test]
fn r8_a_rename_that_a_window_tears_leaves_the_target_with_one_of_the_names() {
    for isolation in [Isolation::Bounded, Isolation::Open] {
        for call in 0..40 {
            let history = [
                Edit(vec![Put(Session(0), 0)]),
                Run(vec![]),
                Refuse(Refused::Renames),
                Edit(vec![Put(Period(0), 0)]),
                Run(vec![Meanwhile(call, vec![Rename(Session(0), Session(1))])]),
            ];
            assert_agrees(Frame { isolation, ..FRAME }, &history);
        }
    }
}

/// R18, I7: a snapshot from before the watermark publishes nothing, and the watermark stays.
#[test]
fn r18_a_snapshot_that_is_older_than_the_watermark_is_left_alone() {
    for back in 0..4 {
        let history = [
            Edit(vec![Put(Period(0), 0)]),
            Run(vec![]),
            Edit(vec![Put(Period(0), 1)]),
            Run(vec![]),
            Edit(vec![Put(Period(0), 2)]),
            Run(vec![]),
            Run(vec![OldSnapshot(back)]),
            Run(vec![OldSnapshot(back)]),
            Run(vec![]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R6: a rename by PUT would move what hangs on it, and what is left out of the run has names that
/// nobody would find again.
#[test]
fn r6_nothing_is_renamed_by_put_while_something_that_hangs_on_it_is_left_out() {
    for without in ["courseOfferings", "sections"] {
        let gone = vec![Delete(Section(0, 0, 0)), Delete(Offering(0, 0))];
        let history = [
            Edit(vec![Put(Section(0, 0, 0), 0)]),
            Run(vec![]),
            Edit(gone),
            Edit(vec![Rename(Session(0), Session(1))]),
            Run(vec![Without(without)]),
            Run(vec![]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// R11, R17: a view that was lost told that the section was renamed, and the older one that took its place
/// was committed. In the run that deals with it what hangs on the section is left out.
#[test]
fn r11_what_a_lost_view_told_of_what_is_left_out_afterwards_is_dealt_with_when_it_joins() {
    for call in 0..30 {
        let history = [
            Begin(1),
            Edit(vec![Put(Attends(0, 2, 1, 1), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Section(2, 1, 1), Section(0, 1, 1)), Delete(Section(0, 1, 1))]),
            Run(vec![Crash(Source, 0)]),
            Run(vec![PutBack(call, 1)]),
            End(vec![Put(Attends(0, 0, 1, 1), 0)]),
            Run(vec![Without("studentSectionAssociations")]),
        ];
        assert_agrees(FRAME, &history);
    }
}

/// I8: the PUT of a run has renamed the session, and it is renamed once more before the deletes. What its
/// target id shows then lives no more, and an old name of another session has had that id.
#[test]
fn i8_what_was_renamed_a_moment_ago_is_not_taken_for_what_moved_on() {
    for call in 0..40 {
        let history = [
            Edit(vec![Put(Session(1), 0)]),
            Run(vec![]),
            Edit(vec![Delete(Offering(0, 1)), Rename(Session(1), Session(2))]),
            Edit(vec![Put(Offering(0, 1), 0)]),
            Edit(vec![Delete(Offering(0, 1)), Rename(Session(1), Session(3))]),
            Run(vec![Meanwhile(call, vec![Rename(Session(2), Session(0))])]),
        ];
        assert_agrees(Frame { isolation: Isolation::Bounded, ..FRAME }, &history);
    }
}

/// R8, I8: without a snapshot, an old name of one item was taken by another, which is renamed while the
/// deletes are asked for: what the target has there is that one's.
#[test]
fn r8_an_old_name_is_not_deleted_while_it_is_all_that_the_target_has_of_another() {
    assert_agrees(
        Frame { isolation: Isolation::Bounded, page_size: 2, ..FRAME },
        &[
            Edit(vec![Put(Session(0), 0)]),
            Edit(vec![Delete(Offering(0, 0)), Rename(Session(0), Session(2))]),
            Run(vec![Meanwhile(0, vec![Rename(Session(2), Session(1))])]),
            Edit(vec![Put(Session(2), 0)]),
            Run(vec![Crash(Source, 2)]),
            Run(vec![Meanwhile(18, vec![Rename(Session(2), Session(0))])]),
        ],
    );
    assert_agrees(
        Frame { isolation: Isolation::Bounded, page_size: 3, ..FRAME },
        &[
            Edit(vec![
                Put(Section(0, 0, 2), 0),
                Put(Period(3), 0),
                Put(Period(1), 0),
                Put(Period(1), 0),
            ]),
            Edit(vec![Delete(Offering(0, 1)), Rename(Session(1), Session(0))]),
            Run(vec![Crash(Target, 4)]),
            Edit(vec![Rename(Period(3), Period(2)), Put(Period(3), 0)]),
            Run(vec![Meanwhile(57, vec![Rename(Period(3), Period(0))])]),
        ],
    );
}

/// R8, R11: the same, where a view that was lost told the rename.
#[test]
fn r8_what_a_lost_view_renamed_is_not_deleted_as_the_old_name_of_another() {
    assert_agrees(
        FRAME,
        &[
            Begin(1),
            End(vec![Put(Period(0), 0), Put(Session(2), 0), Put(Attends(2, 0, 1, 1), 0)]),
            Edit(vec![Delete(Enrolment(2))]),
            Begin(1),
            Edit(vec![Delete(Course(1))]),
            Run(vec![Renewed(0, vec![Rename(Session(2), Session(0))])]),
            Edit(vec![Delete(Session(0))]),
            End(vec![Rename(Session(1), Session(2))]),
            Run(vec![Fail(Source, 41)]),
            Run(vec![PutBack(1, 1)]),
        ],
    );
}

/// R6: the tombstone of another item of that name settles nothing that waits under it.
#[test]
fn r6_what_waits_for_its_new_key_outlives_the_tombstone_of_another() {
    assert_agrees(
        FRAME,
        &[
            Run(vec![Meanwhile(0, vec![Put(Offering(0, 0), 0)])]),
            Run(vec![]),
            Edit(vec![Delete(Offering(0, 0)), Put(Offering(0, 0), 0)]),
            Run(vec![Meanwhile(0, vec![Rename(Session(0), Session(2))])]),
            Run(vec![Without("sessions")]),
        ],
    );
}

/// R7, R17: a run that was broken off had begun to read it and remembered its key change; the next one
/// leaves it out.
#[test]
fn r17_what_was_begun_and_then_left_out_is_dealt_with_when_it_joins() {
    assert_agrees(
        Frame { isolation: Isolation::Bounded, by_version: true, ..FRAME },
        &[
            Edit(vec![Put(Student(0), 0), Put(Offering(0, 2), 0)]),
            Run(vec![Crash(Source, 15)]),
            Edit(vec![Rename(Session(2), Session(3))]),
            Edit(vec![Delete(Session(3))]),
            Run(vec![Crash(Source, 6)]),
            Run(vec![Without("sessions")]),
            Edit(vec![Put(Period(0), 0)]),
        ],
    );
}

/// R6: the id of what waits for its new key outlives an import, and is not taken for that of something
/// that was deleted.
#[test]
fn r6_what_waits_for_its_new_key_waits_after_an_import_too() {
    assert_agrees(
        FRAME,
        &[
            Edit(vec![Put(Session(1), 0)]),
            Edit(vec![Rename(Session(1), Session(3))]),
            Run(vec![]),
            Edit(vec![Delete(Offering(1, 3)), Rename(Session(3), Session(0))]),
            Refuse(Refused::Item(Session(0))),
            Run(vec![]),
            Import(0),
            Run(vec![]),
        ],
    );
}

/// R7: what was written under a name that the feed folds away was renamed on and deleted, and another item
/// has its last name, which hides its tombstone.
#[test]
fn r7_what_was_written_under_a_folded_name_goes_though_its_tombstone_is_hidden() {
    assert_agrees(
        Frame { isolation: Isolation::Open, folds: true, ..FRAME },
        &[
            Run(vec![]),
            Edit(vec![Put(Section(2, 0, 2), 0)]),
            Run(vec![Meanwhile(3, vec![Rename(Section(2, 0, 2), Section(1, 0, 2))])]),
            Edit(vec![Rename(Section(1, 0, 2), Section(0, 0, 2)), Delete(Section(0, 0, 2))]),
            Edit(vec![Put(Section(0, 0, 2), 0)]),
        ],
    );
}

/// R11, R16: a page of a view that took the place of the opened one brings back what was deleted. The run
/// ends there; the next one deals with its tombstone again, though a committed run has.
#[test]
fn r11_what_a_lost_view_brought_back_goes_though_its_tombstone_was_dealt_with() {
    for call in 20..32 {
        assert_agrees(
            FRAME,
            &[
                // Little time passes between the runs, so that the tombstone stays within the overlap.
                Begin(1),
                Run(vec![]),
                Edit(vec![Put(Period(0), 0), Put(Period(3), 0), Put(Period(2), 0)]),
                Run(vec![]),
                Edit(vec![Delete(Period(2))]),
                Run(vec![]),
                Edit(vec![Put(Period(0), 1), Put(Period(3), 1)]),
                Run(vec![PutBack(call, 1)]),
                Run(vec![]),
            ],
        );
    }
}

/// R6: two sessions swap their names, and the one that is parked keeps an older name of its own. The name
/// that both have had is the other's by then, and goes when that one is renamed on.
#[test]
fn r6_a_name_that_another_was_written_under_since_is_not_kept_for_the_one_that_is_parked() {
    assert_agrees(
        FRAME,
        &[
            Begin(1),
            End(vec![Put(Session(3), 0), Put(Session(1), 0)]),
            Refuse(Refused::Item(Session(1))),
            Run(vec![]),
            Edit(vec![
                Rename(Session(3), Session(4)),
                Rename(Session(1), Session(3)),
                Rename(Session(4), Session(1)),
            ]),
            Run(vec![]),
            Edit(vec![Delete(Offering(0, 3)), Rename(Session(3), Session(0))]),
            Run(vec![]),
        ],
    );
}

/// R26: a student goes with the only enrolment. The student's id was looked up before that went, and waits
/// with what cannot be deleted any more.
#[test]
fn r26_a_person_whose_association_goes_is_parked_under_the_id_that_was_looked_up() {
    assert_agrees(
        Frame { people: true, ..FRAME },
        &[
            Edit(vec![Put(Enrolment(0), 0)]),
            Run(vec![]),
            Run(vec![]),
            Edit(vec![Delete(Enrolment(0)), Delete(Student(0))]),
            Run(vec![]),
            Run(vec![]),
        ],
    );
}

/// R5: a session is renamed after the feed of sections was read and before that of sessions. Its PUT moves
/// the section all the same; after a crash the session is renamed on, and the feed folds both.
#[test]
fn r5_what_a_put_moves_is_journalled_though_its_feed_was_read_before_the_rename() {
    for meanwhile in 0..8 {
        for crash in [13, 15, 17, 19, 21] {
            assert_agrees(
                Frame {
                    isolation: Isolation::Bounded,
                    first_overlap: FirstOverlap::Versions(0),
                    folds: true,
                    ..FRAME
                },
                &[
                    Edit(vec![Put(Section(0, 1, 3), 0)]),
                    Edit(vec![Rename(Session(3), Session(2))]),
                    Run(vec![]),
                    Edit(vec![Put(Session(3), 0)]),
                    Edit(vec![Rename(Session(3), Session(0))]),
                    Run(vec![
                        Meanwhile(meanwhile, vec![Rename(Session(2), Session(3))]),
                        Crash(Source, crash),
                    ]),
                    Edit(vec![
                        Delete(Session(2)),
                        Rename(Session(0), Session(2)),
                        Rename(Session(3), Session(0)),
                    ]),
                ],
            );
        }
    }
}

/// R6: a section is refused under its new key, another one has its old key for a while and is refused as
/// well. When that one has gone, the first one's record names what the target has under the old key.
#[test]
fn r6_what_stays_for_a_refused_item_is_parked_when_who_had_its_name_meanwhile_goes() {
    assert_agrees(
        FRAME,
        &[
            Begin(1),
            Run(vec![]),
            Run(vec![]),
            End(vec![Put(Section(3, 0, 3), 0)]),
            Run(vec![]),
            Run(vec![]),
            Run(vec![]),
            Edit(vec![Rename(Section(3, 0, 3), Section(0, 0, 3))]),
            Run(vec![]),
            Refuse(Refused::Items("sections")),
            Edit(vec![Rename(Session(3), Session(0))]),
            Edit(vec![Put(Section(0, 0, 3), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Session(3), Session(1)), Delete(Session(1))]),
            Run(vec![]),
        ],
    );
}

/// R7: a session comes to the name of a deleted one while the run goes on, and is renamed on before the
/// next: the feed folds both renames, and nothing names what the target has under that name.
#[test]
fn r7_a_name_that_lives_again_for_a_while_is_looked_at_once_more() {
    for meanwhile in 16..36 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, folds: true, ..FRAME },
            &[
                Edit(vec![Put(Section(0, 0, 2), 0)]),
                Run(vec![]),
                Edit(vec![Put(Session(0), 0)]),
                Edit(vec![Rename(Session(2), Session(1)), Delete(Session(1))]),
                Run(vec![Meanwhile(meanwhile, vec![Rename(Session(0), Session(2))])]),
                Edit(vec![Rename(Session(2), Session(0))]),
            ],
        );
    }
}

/// R5: the tombstone of an offering is hidden while another has its key, and that one moves on before the
/// guards of R6 look whether the name of the session is free.
#[test]
fn r5_nothing_is_renamed_by_put_whose_name_lived_when_the_tombstones_were_read() {
    for meanwhile in 6..20 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, ..FRAME },
            &[
                Begin(1),
                Edit(vec![Put(Offering(1, 3), 0), Put(Offering(1, 1), 0)]),
                Run(vec![]),
                End(vec![Delete(Offering(1, 3)), Rename(Session(3), Session(0))]),
                Edit(vec![Rename(Session(1), Session(3))]),
                Run(vec![Meanwhile(meanwhile, vec![Rename(Session(3), Session(2))])]),
            ],
        );
    }
}

/// R5: a crashed run has moved the section that a journalled name had, and then written another one under
/// it. When that is deleted below a rename, the name alone finds the first one.
#[test]
fn r5_what_was_written_under_a_journalled_name_is_found_beside_what_had_it_before() {
    for crash in 28..44 {
        assert_agrees(
            Frame { isolation: Isolation::Open, by_version: true, ..FRAME },
            &[
                Edit(vec![Put(Section(3, 0, 3), 0)]),
                Edit(vec![Put(Offering(0, 2), 0)]),
                Run(vec![]),
                Edit(vec![
                    Rename(Section(3, 0, 3), Section(4, 0, 3)),
                    Rename(Section(4, 0, 3), Section(0, 0, 3)),
                ]),
                Run(vec![Lost(6)]),
                Edit(vec![Rename(Session(2), Session(0))]),
                Edit(vec![Put(Section(3, 0, 3), 0)]),
                Run(vec![Crash(Source, crash)]),
                Edit(vec![Delete(Offering(0, 3)), Rename(Session(3), Session(1))]),
            ],
        );
    }
}

/// R5, R11: a stopped run has moved an offering, an older state is imported, and the next run reads an older
/// view in which nothing of that has happened: the id that was journalled outlives its commit.
#[test]
fn r5_what_a_stopped_run_moved_is_found_after_an_import_and_an_older_view() {
    for stop in [15, 16, 17, 18, 19, 20] {
        assert_agrees(
            FRAME,
            &[
                Edit(vec![Put(Section(1, 1, 3), 0)]),
                Edit(vec![Put(Period(0), 0)]),
                Run(vec![Without("classPeriods")]),
                Edit(vec![Rename(Session(3), Session(0))]),
                Edit(vec![Delete(Offering(1, 0)), Rename(Session(0), Session(1))]),
                Run(vec![Fail(Source, 0)]),
                Edit(vec![Delete(Offering(0, 3)), Rename(Session(3), Session(0))]),
                Run(vec![Stop(Source, stop)]),
                Import(1),
                Run(vec![OldSnapshot(2)]),
            ],
        );
    }
}

/// R20: a tombstone is hidden because its key lives again when the run asks for it, and nothing has its key
/// any more when the run asks who.
#[test]
fn r20_a_key_that_is_given_up_while_the_run_asks_explains_why_its_tombstone_was_gone() {
    for meanwhile in 0..10 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, ..FRAME },
            &[
                Edit(vec![Put(Attends(0, 0, 0, 2), 0)]),
                Edit(vec![Delete(Session(2)), Rename(Session(0), Session(2))]),
                Run(vec![Crash(Target, 0)]),
                Run(vec![]),
                Edit(vec![Put(Offering(0, 2), 0)]),
                Run(vec![Meanwhile(meanwhile, vec![Delete(Course(0))])]),
            ],
        );
    }
}

/// R8: an imported state remembers nothing, and one name was that of a deleted item and of one that a rename
/// has moved since. What the target shows under its id is the living one's, though that moves on meanwhile.
#[test]
fn r8_what_a_rename_moved_is_not_deleted_as_what_once_had_its_old_name() {
    for meanwhile in 14..34 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, ..FRAME },
            &[
                Begin(1),
                Edit(vec![Put(Section(0, 1, 2), 0)]),
                Edit(vec![Delete(Offering(1, 2)), Put(Offering(1, 2), 0)]),
                Run(vec![]),
                Run(vec![]),
                Import(0),
                Repair,
                End(vec![Rename(Session(2), Session(0)), Rename(Session(0), Session(2))]),
                Edit(vec![
                    Rename(Session(2), Session(4)),
                    Rename(Session(3), Session(2)),
                    Rename(Session(4), Session(3)),
                ]),
                Run(vec![Meanwhile(meanwhile, vec![Rename(Session(3), Session(4))])]),
            ],
        );
    }
}

/// R7: sessions swap their names while offerings join, after the feed of those was read and before they were.
/// What was written under a name of the swap goes when the next feed folds that name away.
#[test]
fn r7_a_name_that_a_joiner_had_while_it_was_read_goes_though_the_feed_folds_it_away() {
    for meanwhile in 0..12 {
        assert_agrees(
            Frame { isolation: Isolation::Open, folds: true, ..FRAME },
            &[
                Edit(vec![Put(Student(0), 0)]),
                Begin(1),
                Run(vec![Without("courseOfferings"), Meanwhile(0, vec![Put(Offering(0, 3), 0)])]),
                Edit(vec![Rename(Session(3), Session(0))]),
                End(vec![Put(Offering(1, 3), 0)]),
                Run(vec![Meanwhile(
                    meanwhile,
                    vec![
                        Rename(Session(3), Session(4)),
                        Rename(Session(0), Session(3)),
                        Rename(Session(4), Session(0)),
                    ],
                )]),
                Edit(vec![Rename(Session(0), Session(4))]),
            ],
        );
    }
}

/// R5: a name that outlived an older view leads to an id that is gone; what a crashed run has moved since is
/// left behind by it.
#[test]
fn r5_what_was_written_again_under_a_name_that_was_kept_is_found_after_a_crash() {
    for crash in 14..26 {
        assert_agrees(
            Frame { first_overlap: FirstOverlap::All, ..FRAME },
            &[
                Edit(vec![Put(Section(1, 0, 0), 0)]),
                Edit(vec![Rename(Session(0), Session(1)), Rename(Session(1), Session(0))]),
                Edit(vec![Rename(Session(0), Session(1))]),
                Run(vec![Meanwhile(0, vec![Delete(Offering(0, 1))]), Crash(Source, 49)]),
                Edit(vec![Delete(Offering(0, 1)), Rename(Session(1), Session(2))]),
                Run(vec![]),
                Import(1),
                Run(vec![OldSnapshot(1)]),
                Run(vec![Crash(Source, crash)]),
            ],
        );
    }
}

/// R14, I9: what was read since an imported state may be changed by what was open when that was made.
#[test]
fn r14_what_commits_late_below_an_imported_watermark_goes_though_it_was_read_since() {
    assert_agrees(
        Frame { isolation: Isolation::Bounded, ..FRAME },
        &[
            Edit(vec![Put(Section(0, 0, 1), 0)]),
            Edit(vec![Rename(Session(1), Session(0))]),
            Begin(6),
            Edit(vec![Put(Session(1), 0)]),
            Run(vec![Without("sessions")]),
            Run(vec![]),
            Run(vec![]),
            Import(2),
            End(vec![Delete(Session(0))]),
        ],
    );
}

/// R8, R14: whose the name was that a first run wrote, and that two have had, nobody knows.
#[test]
fn r8_what_a_first_run_wrote_and_a_moving_source_renames_comes_anew() {
    assert_agrees(
        Frame { isolation: Isolation::Bounded, ..FRAME },
        &[
            Edit(vec![Put(Session(1), 0)]),
            Run(vec![FullDisk(0)]),
            Edit(vec![Rename(Session(1), Session(2)), Put(Session(1), 0)]),
            Run(vec![]),
            Run(vec![Meanwhile(8, vec![Rename(Session(1), Session(0))])]),
        ],
    );
}

/// R5, R6: what waited for its new key came back to its old one, while a rename above it had moved what
/// the target had of it.
#[test]
fn r5_what_waited_goes_by_its_id_though_its_name_lives_again() {
    for call in 20..36 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, page_size: 2, ..FRAME },
            &[
                Edit(vec![Put(Attends(0, 0, 0, 0), 0)]),
                Edit(vec![Rename(Session(0), Session(2))]),
                Run(vec![]),
                Edit(vec![Rename(Session(2), Session(3)), Put(Session(2), 0)]),
                Run(vec![Crash(Target, call), Meanwhile(30, vec![Rename(Session(2), Session(1))])]),
                Refuse(Refused::Items("sessions")),
                Run(vec![]),
                Edit(vec![Rename(Session(3), Session(2))]),
                Edit(vec![Put(Period(0), 0)]),
            ],
        );
    }
}

/// R7: a killed run wrote an item under a name that its feed had not told, and that the item gave up.
#[test]
fn r7_what_a_killed_run_wrote_under_a_name_of_a_moment_goes() {
    for call in 15..35 {
        assert_agrees(
            Frame {
                isolation: Isolation::Open,
                page_size: 4,
                by_version: true,
                first_overlap: FirstOverlap::All,
                folds: true,
                ..FRAME
            },
            &[
                Run(vec![]),
                Edit(vec![
                    Put(Attends(2, 0, 0, 2), 0),
                    Put(Attends(0, 2, 1, 1), 0),
                    Put(Offering(0, 3), 0),
                    Put(Attends(1, 0, 0, 0), 0),
                ]),
                Run(vec![
                    Meanwhile(3, vec![Rename(Section(2, 1, 1), Section(1, 1, 1))]),
                    Crash(Target, call),
                ]),
                Edit(vec![Rename(Section(1, 1, 1), Section(2, 1, 1))]),
            ],
        );
    }
}

/// R8: a name was left and taken again, and given up while the next run looked at it once more. Its item
/// lives, and what the target has under it is all that it has of that item.
#[test]
fn r8_what_lives_again_stays_while_its_item_is_renamed() {
    for call in 40..52 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, page_size: 1, ..FRAME },
            &[
                Edit(vec![Put(Section(0, 1, 0), 0)]),
                Run(vec![Meanwhile(0, vec![Rename(Session(0), Session(4))])]),
                Edit(vec![Rename(Session(4), Session(0))]),
                Run(vec![]),
                Run(vec![Meanwhile(3, vec![Rename(Section(0, 1, 0), Section(3, 1, 0))])]),
                Run(vec![Crash(Source, 37)]),
                Edit(vec![Rename(Section(3, 1, 0), Section(1, 1, 0))]),
                Run(vec![Meanwhile(
                    call,
                    vec![Delete(Section(1, 1, 0)), Rename(Session(0), Session(1))],
                )]),
            ],
        );
    }
}

/// R8: a rename above it moved what was deleted to a name that another item has had, which the target
/// never had: nothing of that one was torn.
#[test]
fn r8_what_was_deleted_goes_under_whatever_name_a_rename_above_gave_it() {
    for call in 10..20 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, page_size: 1, ..FRAME },
            &[
                Edit(vec![Put(Offering(0, 2), 0), Put(Offering(0, 1), 0)]),
                Run(vec![]),
                Begin(1),
                Edit(vec![Delete(Offering(0, 1)), Rename(Session(1), Session(0))]),
                End(vec![Put(Offering(0, 0), 0)]),
                Run(vec![Meanwhile(call, vec![Rename(Session(0), Session(1))])]),
            ],
        );
    }
}

/// R14: a first run that was broken off is gone on with at the edge that it had, and its overlap reaches
/// back from there.
#[test]
fn r14_the_first_overlap_reaches_back_from_the_edge_of_a_run_that_was_broken_off() {
    for call in 8..20 {
        assert_agrees(
            Frame {
                isolation: Isolation::Bounded,
                page_size: 1,
                by_version: true,
                first_overlap: FirstOverlap::Versions(9),
                ..FRAME
            },
            &[
                Begin(1),
                Edit(vec![Put(Standard(1), 0), Put(Attends(0, 0, 0, 0), 0)]),
                Run(vec![
                    Meanwhile(0, vec![Delete(Course(0)), Put(Course(0), 0)]),
                    Stop(Source, call),
                ]),
                End(vec![Put(Standard(0), 0)]),
            ],
        );
    }
}

/// R8: what was written before a state was imported is nobody's: where two have had its name, it comes anew.
#[test]
fn r8_what_was_written_before_an_import_and_is_renamed_meanwhile_comes_anew() {
    for call in 4..14 {
        assert_agrees(
            Frame { isolation: Isolation::Bounded, page_size: 1, ..FRAME },
            &[
                Run(vec![]),
                Edit(vec![Put(Period(1), 0)]),
                Edit(vec![Rename(Period(1), Period(0)), Rename(Period(0), Period(1))]),
                Edit(vec![Rename(Period(1), Period(2)), Put(Period(1), 0)]),
                Run(vec![]),
                Run(vec![]),
                Run(vec![]),
                Import(2),
                Run(vec![Meanwhile(call, vec![Rename(Period(1), Period(0))])]),
            ],
        );
    }
}

/// R5, R11: a run that was gone on with renamed what its snapshot showed beyond its window; an older one took
/// that one's place, and its commit kept the names.
#[test]
fn r11_names_of_what_is_newer_than_the_window_outlive_its_commit() {
    for call in 12..26 {
        assert_agrees(
            Frame { isolation: Isolation::Snapshot, page_size: 2, ..FRAME },
            &[
                Run(vec![Meanwhile(0, vec![Put(Attends(0, 0, 0, 3), 0), Put(Offering(0, 2), 0)])]),
                Run(vec![]),
                Edit(vec![Delete(Offering(0, 3)), Rename(Session(3), Session(0))]),
                Run(vec![Lost(0)]),
                Run(vec![FullDisk(14)]),
                Edit(vec![Delete(Offering(0, 2)), Rename(Session(2), Session(1))]),
                Run(vec![PutBack(call, 0)]),
            ],
        );
    }
}

/// I8: what a newer view has moved is judged by none that is older.
#[test]
fn r11_what_a_newer_view_left_behind_is_not_deleted_by_an_older_one() {
    for call in 10..18 {
        assert_agrees(
            Frame { isolation: Isolation::Snapshot, page_size: 1, ..FRAME },
            &[
                Edit(vec![Put(Section(2, 0, 3), 0), Put(Session(2), 0)]),
                Run(vec![]),
                Edit(vec![Rename(Section(2, 0, 3), Section(0, 0, 3)), Put(Section(2, 0, 3), 0)]),
                Run(vec![Fail(Source, 0)]),
                Run(vec![Fail(Source, 0)]),
                Edit(vec![Delete(Section(2, 0, 3)), Rename(Session(3), Session(2))]),
                RollBack(1),
                Run(vec![Stop(Source, call)]),
                Import(1),
                Run(vec![OldSnapshot(3), Without("classPeriods")]),
            ],
        );
    }
}

/// R8: what a run wrote that was broken off before it kept it is nobody's: where two have had its name, it
/// comes anew.
#[test]
fn r8_what_was_written_by_a_run_that_was_broken_off_comes_anew() {
    for call in 3..10 {
        assert_agrees(
            Frame {
                isolation: Isolation::Bounded,
                page_size: 2,
                first_overlap: FirstOverlap::Versions(2),
                ..FRAME
            },
            &[
                Run(vec![]),
                Edit(vec![Put(Period(0), 0), Put(Student(0), 0), Put(Session(2), 0)]),
                Edit(vec![Rename(Session(2), Session(1)), Put(Session(2), 0)]),
                Run(vec![Lost(4)]),
                Run(vec![Meanwhile(call, vec![Rename(Session(2), Session(0))])]),
            ],
        );
    }
}

/// R7: what waited is written by a run that reads nothing, under a name of a moment that a late commit gave
/// it and no feed tells any more.
#[test]
fn r7_what_a_run_for_parked_items_wrote_under_a_name_of_a_moment_goes() {
    assert_agrees(
        Frame { isolation: Isolation::Snapshot, page_size: 1, folds: true, ..FRAME },
        &[
            Run(vec![]),
            Edit(vec![Put(Offering(0, 0), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Session(0), Session(1)), Rename(Session(1), Session(0))]),
            Begin(8),
            Refuse(Refused::Item(Session(0))),
            Run(vec![]),
            End(vec![Rename(Session(0), Session(1))]),
            Run(vec![]),
            Edit(vec![Rename(Session(1), Session(0))]),
        ],
    );
}

/// R7: what is renamed and deleted has a tombstone, which the feed hides when another has its key; what it
/// was written under for a while, no feed tells where it folds renames.
#[test]
fn r7_what_was_written_under_a_name_of_a_moment_goes_though_its_tombstone_is_hidden() {
    for call in 5..9 {
        assert_agrees(
            Frame { isolation: Isolation::Open, folds: true, ..FRAME },
            &[
                Run(vec![]),
                Begin(1),
                End(vec![Put(Section(3, 0, 1), 0)]),
                Run(vec![Meanwhile(call, vec![Rename(Session(1), Session(0))])]),
                Edit(vec![Rename(Session(0), Session(1))]),
                Edit(vec![Delete(Session(1)), Put(Session(1), 0)]),
                Run(vec![]),
            ],
        );
    }
}

/// I1: a state that was exported earlier and speaks for more than what came after it, which an older
/// snapshot has written, is agreed upon again from there.
#[test]
fn i1_an_imported_watermark_does_not_pass_by_what_an_older_view_has_written_since() {
    assert_agrees(
        Frame { first_overlap: FirstOverlap::Versions(0), ..FRAME },
        &[
            Edit(vec![Put(Section(0, 0, 1), 0)]),
            Begin(1),
            Run(vec![Crash(Target, 0)]),
            End(vec![Rename(Session(1), Session(0))]),
            Run(vec![]),
            Run(vec![]),
            Import(2),
            Run(vec![OldSnapshot(2)]),
            Import(1),
        ],
    );
}

/// R28a: what the other district had begun to write when it was shut out goes when it may go on.
#[test]
fn r28a_what_another_pair_has_begun_and_lost_may_be_there_while_it_is_shut_out() {
    assert_agrees(
        Frame {
            isolation: Isolation::Bounded,
            page_size: 2,
            descriptors: true,
            elsewhere: true,
            ..FRAME
        },
        &[
            EditElsewhere(vec![Put(Period(3), 0), Put(Period(0), 0)]),
            RunElsewhere(vec![Fail(Source, 41)]),
            EditElsewhere(vec![Delete(Period(3))]),
            Refuse(Refused::Collection("classPeriods")),
            RunElsewhere(vec![]),
            Edit(vec![Put(Period(0), 0)]),
        ],
    );
}

/// I1, R17: what was shut out is behind the watermark, and was written from an older view: a state that
/// speaks for it through a newer version reads it from there. (The first two runs are there for the time
/// between the others: the overlap of that state does not reach back so far.)
#[test]
fn i1_what_is_shut_out_and_behind_is_read_after_an_import_though_the_source_is_silent() {
    assert_agrees(
        Frame { first_overlap: FirstOverlap::Versions(0), ..FRAME },
        &[
            Run(vec![]),
            Run(vec![]),
            Edit(vec![Put(Period(0), 0)]),
            Run(vec![]),
            Edit(vec![Put(Period(0), 1)]),
            Run(vec![Fail(Source, 0)]),
            Edit(vec![Put(Period(0), 2), Put(Offering(0, 0), 0)]),
            Run(vec![]),
            Edit(vec![Put(Offering(0, 0), 1)]),
            Run(vec![]),
            Edit(vec![Put(Offering(0, 0), 2)]),
            Run(vec![]),
            Import(3),
            Run(vec![OldSnapshot(3)]),
            Refuse(Refused::Collection("classPeriods")),
            Run(vec![]),
            Import(2),
        ],
    );
}

/// R20: of a state whose watermark an import lowers, a snapshot that reaches the watermark need not tell
/// what lies above it.
#[test]
fn r20_an_older_snapshot_is_not_asked_for_what_lies_above_a_lowered_watermark() {
    assert_agrees(
        FRAME,
        &[
            Run(vec![]),
            Begin(1),
            Run(vec![]),
            Edit(vec![Put(Session(1), 0)]),
            End(vec![Delete(Session(1))]),
            Run(vec![]),
            Run(vec![]),
            Import(3),
            Import(0),
            Run(vec![OldSnapshot(2)]),
        ],
    );
}

/// R6: what a rename above it moved is all that the target has of an item that it refuses under its new key,
/// and waits for that one though another that had its old name meanwhile is gone.
#[test]
fn r6_what_a_rename_moved_waits_for_its_new_key_though_another_of_its_old_name_is_gone() {
    assert_agrees(
        FRAME,
        &[
            Run(vec![]),
            Edit(vec![Put(Section(2, 0, 3), 0)]),
            Run(vec![]),
            Edit(vec![Rename(Section(2, 0, 3), Section(0, 0, 3)), Put(Section(2, 0, 3), 0)]),
            Edit(vec![Delete(Section(2, 0, 3))]),
            Edit(vec![Rename(Section(0, 0, 3), Section(1, 0, 3))]),
            Edit(vec![Rename(Session(3), Session(2))]),
            Refuse(Refused::Item(Section(1, 0, 2))),
            Run(vec![]),
        ],
    );
}

/// R14: what commits late under a name that another gave up in the same transaction comes with the overlap.
#[test]
fn r14_what_takes_over_a_name_and_its_content_late_comes_with_the_overlap() {
    assert_agrees(
        Frame { page_size: 3, descriptors: true, ..FRAME },
        &[
            Edit(vec![Put(Period(0), 0), Put(Offering(0, 0), 0)]),
            Refuse(Refused::Item(Period(0))),
            Begin(3),
            Run(vec![Crash(Source, 39)]),
            End(vec![Rename(Period(0), Period(1)), Put(Period(0), 0)]),
            Run(vec![]),
        ],
    );
}

/// R14: a view of a time at which a transaction went on is none that `first_overlap_versions` speaks of, and
/// is not served to what is a first run again after an import.
#[test]
fn r14_what_is_a_first_run_again_after_an_import_sees_no_transaction_under_way() {
    assert_agrees(
        Frame { first_overlap: FirstOverlap::Versions(0), ..FRAME },
        &[
            Edit(vec![Put(Offering(0, 0), 0)]),
            Run(vec![Lost(0)]),
            Run(vec![]),
            Begin(3),
            Run(vec![]),
            Import(2),
            End(vec![Put(Period(0), 0)]),
            Run(vec![PutBack(0, 0)]),
        ],
    );
}

/// R6, R7: what waits for its new key was written under a name of a moment, which the feed folds away: that
/// name waits by the id that was remembered.
#[test]
fn r6_what_was_written_under_a_folded_name_waits_by_its_id_while_its_new_key_is_refused() {
    assert_agrees(
        Frame { isolation: Isolation::Open, folds: true, ..FRAME },
        &[
            Edit(vec![Put(Section(1, 0, 2), 0)]),
            Run(vec![]),
            Edit(vec![Delete(Offering(0, 2)), Rename(Session(2), Session(0))]),
            Refuse(Refused::Item(Session(2))),
            Edit(vec![Put(Session(1), 0)]),
            Edit(vec![Put(Student(0), 0)]),
            Run(vec![Meanwhile(6, vec![Rename(Session(1), Session(3))])]),
            Edit(vec![
                Delete(Session(0)),
                Rename(Session(2), Session(0)),
                Rename(Session(3), Session(2)),
            ]),
            Run(vec![]),
        ],
    );
}

/// R5, R6: a rename above it moves what was deleted to an old name of an item that is parked under its new
/// key. It goes all the same: the target has nothing of that other item.
#[test]
fn r5_what_was_deleted_goes_though_a_rename_moved_it_to_an_old_name_of_a_parked_item() {
    assert_agrees(
        FRAME,
        &[
            Run(vec![]),
            Edit(vec![Put(Offering(1, 2), 0)]),
            Refuse(Refused::Item(Session(2))),
            Edit(vec![Rename(Session(2), Session(3)), Rename(Session(3), Session(2))]),
            Run(vec![]),
            Run(vec![]),
            Edit(vec![Put(Offering(1, 1), 0)]),
            Run(vec![]),
            Edit(vec![Delete(Offering(1, 1)), Rename(Session(1), Session(3))]),
            Run(vec![]),
        ],
    );
}
