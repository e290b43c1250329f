//! What is drawn: edits that meet, and what goes wrong in a run.
//!
//! The one thing to know: most of what can go wrong needs two or three rare things one after the
//! other, so what happened lately is likely to be touched again ([`super::machine::State`]).

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use tidemark::engine::FirstOverlap;
use tidemark::sources::Isolation;

use super::machine::{Frame, Refused, State, Transition, Trouble};
use crate::simulation::district::COLLECTIONS;
use crate::simulation::history::{Side, Step, Thing};

pub(super) fn frame() -> impl Strategy<Value = Frame> {
    let isolation = prop_oneof![
        6 => Just(Isolation::Snapshot),
        3 => Just(Isolation::Bounded),
        1 => Just(Isolation::Open),
        1 => Just(Isolation::Combined),
    ];
    let first_overlap = prop_oneof![
        3 => Just(FirstOverlap::Versions(1_000_000)),
        3 => (0..12_u64).prop_map(FirstOverlap::Versions),
        1 => Just(FirstOverlap::All),
    ];
    let weighted = |p| prop::bool::weighted(p);
    let others = (weighted(0.12), weighted(0.15), weighted(0.2), weighted(0.1));
    let others = (others, weighted(0.3));
    (isolation, 1..=4_usize, any::<bool>(), first_overlap, others).prop_map(
        |(isolation, page_size, by_version, first_overlap, others)| {
            let ((people, descriptors, folds, elsewhere), shared) = others;
            Frame {
                isolation,
                page_size,
                by_version,
                people: people && !elsewhere,
                descriptors: descriptors || elsewhere,
                first_overlap,
                // A name that ours had for a moment keeps what the other has under it, and is told by
                // nobody where the feed folds it away.
                folds: folds && (shared || !elsewhere),
                elsewhere,
                shared: shared && elsewhere,
            }
        },
    )
}

pub(super) fn transitions(state: &State) -> BoxedStrategy<Transition> {
    let mut all = vec![
        (10, edits(state).prop_map(Transition::Edit).boxed()),
        (6, troubles(state).prop_map(Transition::Run).boxed()),
        (1, (1..4_u32).prop_map(Transition::RollBack).boxed()),
        (1, refused(state).prop_map(Transition::Refuse).boxed()),
    ];
    if state.refuses {
        all.push((2, Just(Transition::Repair).boxed()));
    }
    if state.may_begin() {
        all.push((2, (1..12_u32).prop_map(Transition::Begin).boxed()));
    }
    if state.slow > 0 {
        all.push((3, late_edits(state).prop_map(Transition::End).boxed()));
    }
    if state.crashed {
        // What the run had done is undone at the source before the next one looks.
        all.extend(undone(state).map(|edit| (4, edit)));
        all.push((2, Just(Transition::Refuse(Refused::Renames)).boxed()));
    }
    if state.runs > 1 {
        all.push((1, (0..4_u8).prop_map(Transition::Import).boxed()));
    }
    if state.frame.elsewhere {
        all.push((5, edits_elsewhere(state).prop_map(Transition::EditElsewhere).boxed()));
        all.push((4, faults_elsewhere().prop_map(Transition::RunElsewhere).boxed()));
    }
    prop::strategy::Union::new_weighted(all).boxed()
}

/// The last rename is taken back.
fn undone(state: &State) -> Option<BoxedStrategy<Transition>> {
    let (old, new) = *state.renamed.back()?;
    Some(Just(Transition::Edit(vec![Step::Rename(new, old)])).boxed())
}

/// What a slow transaction did: it often touches what was renamed while it went on.
fn late_edits(state: &State) -> BoxedStrategy<Vec<Step>> {
    match renamed_on(state) {
        Some(on) => prop_oneof![2 => edits(state), 2 => on].boxed(),
        None => edits(state),
    }
}

/// What was renamed lately goes on to another name, or back, or is deleted.
fn renamed_on(state: &State) -> Option<BoxedStrategy<Vec<Step>>> {
    let lives = |(_, new): &(Thing, Thing)| state.district.holds(*new);
    let renamed: Vec<(Thing, Thing)> = state.renamed.iter().copied().filter(lives).collect();
    if renamed.is_empty() {
        return None;
    }
    let drawn = (select(renamed), 0..4_u8, 0..6_u8);
    let steps = drawn.prop_map(|((before, thing), name, kind)| match kind {
        0 => vec![Step::Delete(thing)],
        1 => vec![Step::Rename(thing, before)],
        _ => vec![Step::Rename(thing, called(thing, name))],
    });
    Some(steps.boxed())
}

/// Something below a session is deleted and the session renamed: the name that its tombstone tells
/// is not what a rename by PUT makes of it (R5).
fn deleted_below_a_rename(living: &[Thing]) -> Option<BoxedStrategy<Vec<Step>>> {
    let below: Vec<(Thing, Thing)> = living
        .iter()
        .filter_map(|thing| match thing {
            Thing::Offering(_, session)
            | Thing::Section(_, _, session)
            | Thing::Attends(_, _, _, session) => Some((*thing, Thing::Session(*session))),
            _ => None,
        })
        .collect();
    if below.is_empty() {
        return None;
    }
    let drawn = (select(below), 0..4_u8);
    let steps = drawn.prop_map(|((thing, session), name)| {
        vec![Step::Delete(thing), Step::Rename(session, called(session, name))]
    });
    Some(steps.boxed())
}

/// Edits that belong together, or some of them.
fn edits(state: &State) -> BoxedStrategy<Vec<Step>> {
    let living: Vec<Thing> = state.district.things().collect();
    let put = (thing(state.frame.descriptors), 0..10_u8);
    let put = put.prop_map(|(thing, content)| vec![Step::Put(thing, content)]);
    if living.is_empty() {
        return vec(put, 1..6).prop_map(|puts| puts.concat()).boxed();
    }
    let change = (select(living.clone()), 0..10_u8);
    let change = change.prop_map(|(thing, content)| vec![Step::Put(thing, content)]);
    let delete = (select(living.clone()), 0..10_u8, any::<bool>());
    let delete = delete.prop_map(|(thing, content, again)| match again {
        true => vec![Step::Delete(thing), Step::Put(thing, content)],
        false => vec![Step::Delete(thing)],
    });
    let mut all = vec![(4, put.boxed()), (2, change.boxed()), (3, delete.boxed())];
    if !state.gone.is_empty() {
        let gone: Vec<Thing> = state.gone.iter().copied().collect();
        let again = (select(gone), 0..10_u8);
        all.push((1, again.prop_map(|(thing, n)| vec![Step::Put(thing, n)]).boxed()));
    }
    all.extend(deleted_below_a_rename(&living).map(|steps| (1, steps)));
    all.extend(renamed_on(state).map(|steps| (1, steps)));
    let can_be_renamed: Vec<Thing> = living.into_iter().filter(|thing| has_names(*thing)).collect();
    if !can_be_renamed.is_empty() {
        all.push((5, renames(can_be_renamed).boxed()));
    }
    prop::strategy::Union::new_weighted(all).boxed()
}

fn renames(living: Vec<Thing>) -> impl Strategy<Value = Vec<Step>> {
    let drawn = (select(living), 0..4_u8, 0..4_u8, 0..10_u8, 0..8_u8);
    let whole = drawn.prop_map(|(a, b, c, content, kind)| {
        let (b, c, aside) = (called(a, b), called(a, c), called(a, 4));
        match kind {
            0..=2 => vec![Step::Rename(a, b)],
            // There and back, by a detour or not.
            3 => vec![Step::Rename(a, b), Step::Rename(b, a)],
            4 => vec![Step::Rename(a, aside), Step::Rename(b, a), Step::Rename(aside, b)],
            // The old name is taken at once, the new one was just given up.
            5 => vec![Step::Rename(a, b), Step::Put(a, content)],
            6 => vec![Step::Delete(b), Step::Rename(a, b), Step::Rename(c, a)],
            _ => vec![Step::Rename(a, b), Step::Rename(c, a), Step::Delete(b)],
        }
    });
    whole.prop_flat_map(|steps| {
        let most = steps.len();
        prop_oneof![3 => Just(steps.clone()), 1 => subsequence(steps, 1..=most)]
    })
}

fn thing(descriptors: bool) -> impl Strategy<Value = Thing> {
    let numbers = (0..2_u8, 0..4_u8, 0..4_u8, 0..3_u8);
    let kinds = if descriptors { 19 } else { 17 };
    (0..kinds, numbers).prop_map(|(kind, (course, session, n, student))| match kind {
        0..=2 => Thing::Period(n),
        3 => Thing::Course(course),
        4..=5 => Thing::Session(session),
        6 => Thing::Offering(course, session),
        7..=9 => Thing::Section(n, course, session),
        10 => Thing::Student(student),
        11 => Thing::Enrolment(student),
        12..=13 => Thing::Attends(student, n, course, session),
        14..=16 => Thing::Standard(n),
        _ => Thing::GradeLevel(n % 2),
    })
}

fn has_names(thing: Thing) -> bool {
    called(thing, 0) != called(thing, 1)
}

/// The thing under another name of its kind, if the server changes such names.
fn called(thing: Thing, name: u8) -> Thing {
    match thing {
        Thing::Session(_) => Thing::Session(name),
        Thing::Period(_) => Thing::Period(name),
        Thing::Section(_, course, session) => Thing::Section(name, course, session),
        Thing::Attends(student, _, course, session) => {
            Thing::Attends(student, name, course, session)
        }
        other => other,
    }
}

fn refused(state: &State) -> BoxedStrategy<Refused> {
    let living: Vec<Thing> = state.district.things().collect();
    let item = match living.is_empty() {
        true => thing(state.frame.descriptors).boxed(),
        false => select(living).boxed(),
    };
    let collection = select(&COLLECTIONS[1..]);
    prop_oneof![
        4 => item.clone().prop_map(Refused::Item),
        2 => item.prop_map(Refused::Delete),
        1 => collection.clone().prop_map(Refused::Items),
        1 => Just(Refused::Renames),
        1 => collection.prop_map(Refused::Collection),
    ]
    .boxed()
}

fn troubles(state: &State) -> impl Strategy<Value = Vec<Trouble>> + use<> {
    let some = vec(trouble(state), 1..3).prop_map(|mut troubles| {
        // Two would happen in an order that only the run knows.
        if troubles.iter().all(|trouble| trouble.edits().is_some()) {
            troubles.truncate(1);
        }
        troubles
    });
    prop_oneof![2 => Just(Vec::new()), 3 => some]
}

fn trouble(state: &State) -> impl Strategy<Value = Trouble> + use<> {
    let of_snapshots = match state.frame.isolation {
        Isolation::Snapshot => prop_oneof![
            3 => (0..4_u8).prop_map(Trouble::OldSnapshot),
            3 => (0..40_u16, edits(state)).prop_map(|(n, steps)| Trouble::Renewed(n, steps)),
            1 => (0..40_u16, 0..3_u8).prop_map(|(n, back)| Trouble::PutBack(n, back)),
        ]
        .boxed(),
        Isolation::Bounded | Isolation::Open | Isolation::Combined => fault().boxed(),
    };
    prop_oneof![
        14 => fault(),
        3 => (0..60_u16, edits(state)).prop_map(|(n, steps)| Trouble::Meanwhile(n, steps)),
        1 => select(&COLLECTIONS[1..]).prop_map(Trouble::Without),
        2 => of_snapshots,
        1 => Just(Trouble::Scheduled),
        if state.frame.elsewhere { 2 } else { 0 } => Just(Trouble::Silent),
    ]
}

/// What goes wrong in a run of the other district.
fn faults_elsewhere() -> impl Strategy<Value = Vec<Trouble>> {
    prop_oneof![
        4 => Just(Vec::new()),
        2 => fault().prop_map(|fault| vec![fault]),
        1 => Just(vec![Trouble::Silent]),
    ]
}

/// What goes wrong on the way, whatever either end holds.
fn fault() -> impl Strategy<Value = Trouble> {
    let call = prop_oneof![
        2 => (Just(Side::Source), 0..60_u16),
        3 => (Just(Side::Target), 0..60_u16),
    ];
    prop_oneof![
        6 => call.clone().prop_map(|(side, n)| Trouble::Crash(side, n)),
        2 => call.clone().prop_map(|(side, n)| Trouble::Fail(side, n)),
        2 => (0..12_u16).prop_map(Trouble::Lost),
        2 => (0..12_u16).prop_map(Trouble::Repeated),
        1 => call.prop_map(|(side, n)| Trouble::Stop(side, n)),
        1 => (0..25_u16).prop_map(Trouble::FullDisk),
    ]
}

/// The other district has people, descriptors and class periods by the names that ours has.
fn edits_elsewhere(state: &State) -> BoxedStrategy<Vec<Step>> {
    let thing = (0..6_u8, 0..4_u8, 0..3_u8).prop_map(|(kind, n, student)| match kind {
        0..=2 => Thing::Period(n),
        3..=4 => Thing::Student(student),
        _ => Thing::GradeLevel(n % 2),
    });
    let put = (thing, 0..10_u8).prop_map(|(thing, content)| vec![Step::Put(thing, content)]);
    let living: Vec<Thing> = state.elsewhere.things().collect();
    if living.is_empty() {
        return vec(put, 1..4).prop_map(|puts| puts.concat()).boxed();
    }
    let change =
        (select(living), 0..4_u8, any::<bool>()).prop_map(|(thing, name, goes)| {
            match goes || !has_names(thing) {
                true => vec![Step::Delete(thing)],
                false => vec![Step::Rename(thing, called(thing, name))],
            }
        });
    prop_oneof![2 => put, 2 => change].boxed()
}
