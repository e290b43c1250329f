//! The reference state machine: what can happen next, given what has happened.

use std::collections::{BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest_state_machine::ReferenceStateMachine;
use tidemark::sources::Isolation;

use super::LATE_COMMITS;
use super::district::District;
use crate::simulation::district::COLLECTIONS;
use crate::simulation::history::{Side, Step, Thing};

/// Transactions that are open at once at most.
const SLOW_AT_ONCE: usize = 2;

/// Names that are remembered to come back to.
const LATELY: usize = 4;

/// What has happened, as far as it says what can happen next.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) frame: Frame,
    pub(super) district: District,
    /// Slow transactions that have begun and not ended.
    pub(super) slow: usize,
    pub(super) refuses: bool,
    /// What was deleted or given up its name last, and what was renamed last, oldest first: edits
    /// that come back to it are what an overlap has to bear (R5, R7).
    gone: VecDeque<Thing>,
    renamed: VecDeque<Thing>,
}

/// What holds for a whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) isolation: Isolation,
    pub(super) page_size: usize,
    /// Pages come in the order of versions, from servers without cursors.
    pub(super) by_version: bool,
    /// People are reached through their associations at the target.
    pub(super) people: bool,
    /// Grade levels are published.
    pub(super) descriptors: bool,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Transition {
    /// Edits at the source, each a transaction of its own.
    Edit(Vec<Step>),
    /// A transaction takes so many change versions and goes on.
    Begin(u32),
    /// The oldest transaction that goes on ends with these edits.
    End(Vec<Step>),
    /// A transaction is rolled back; its versions are used up.
    RollBack(u32),
    /// The target refuses something until it is repaired.
    Refuse(Refused),
    Repair,
    Run(Vec<Trouble>),
}

/// What a target refuses for good, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Every write of the item with this key.
    Item(Thing),
    /// Every delete of the item with this key.
    Delete(Thing),
    /// Every item of the collection.
    Items(&'static str),
    /// Every PUT.
    Renames,
    /// The collection as a whole.
    Collection(&'static str),
}

/// Something that goes wrong in one run. Numbers are of calls or writes since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The run ends at this call, as if its process was killed.
    Crash(Side, u16),
    /// This call fails and has no effect.
    Fail(Side, u16),
    /// This write takes effect, and its answer is lost for good.
    Lost(u16),
    /// This write takes effect, its answer is lost, and it is sent again.
    Repeated(u16),
    /// The run is asked to stop at this call.
    Stop(Side, u16),
    /// The store breaks after so many commits.
    FullDisk(u16),
    /// The source is edited at this call of its own.
    Meanwhile(u16, Vec<Step>),
    /// The collection is left out of the selection.
    Without(&'static str),
    /// No new snapshot is taken for it.
    OldSnapshot,
    /// Parked items wait until they are due.
    Scheduled,
}

pub(super) struct Machine;

impl ReferenceStateMachine for Machine {
    type State = State;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<State> {
        let frame = (
            prop_oneof![2 => Just(Isolation::Snapshot), 1 => Just(Isolation::Bounded)],
            1..=4_usize,
            any::<bool>(),
            prop::bool::weighted(0.12),
            prop::bool::weighted(0.15),
        );
        frame
            .prop_map(|(isolation, page_size, by_version, people, descriptors)| {
                State::beginning(Frame { isolation, page_size, by_version, people, descriptors })
            })
            .boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Transition> {
        let mut all = vec![
            (10, edits(state).prop_map(Transition::Edit).boxed()),
            (6, troubles(state).prop_map(Transition::Run).boxed()),
            (1, (1..4_u32).prop_map(Transition::RollBack).boxed()),
            (1, refused(state).prop_map(Transition::Refuse).boxed()),
        ];
        if state.refuses {
            all.push((2, Just(Transition::Repair).boxed()));
        }
        if LATE_COMMITS && state.slow < SLOW_AT_ONCE {
            all.push((2, (1..12_u32).prop_map(Transition::Begin).boxed()));
        }
        if state.slow > 0 {
            all.push((3, late_edits(state).prop_map(Transition::End).boxed()));
        }
        prop::strategy::Union::new_weighted(all).boxed()
    }

    fn apply(mut state: State, transition: &Transition) -> State {
        match transition {
            Transition::Edit(steps) => state.edit(steps),
            Transition::End(steps) => {
                state.edit(steps);
                state.slow -= 1;
            }
            Transition::Begin(_) => state.slow += 1,
            Transition::Refuse(_) => state.refuses = true,
            Transition::Repair => state.refuses = false,
            // They happen after the run at the latest.
            Transition::Run(troubles) => {
                for trouble in troubles {
                    if let Trouble::Meanwhile(_, steps) = trouble {
                        state.edit(steps);
                    }
                }
            }
            Transition::RollBack(_) => {}
        }
        state
    }

    fn preconditions(state: &State, transition: &Transition) -> bool {
        match transition {
            Transition::End(_) => state.slow > 0,
            Transition::Begin(_) => state.slow < SLOW_AT_ONCE,
            Transition::Edit(_)
            | Transition::RollBack(_)
            | Transition::Refuse(_)
            | Transition::Repair
            | Transition::Run(_) => true,
        }
    }
}

impl State {
    pub(super) fn beginning(frame: Frame) -> State {
        State {
            frame,
            district: District::default(),
            slow: 0,
            refuses: false,
            gone: VecDeque::new(),
            renamed: VecDeque::new(),
        }
    }

    fn edit(&mut self, steps: &[Step]) {
        for step in steps {
            let before: BTreeSet<Thing> = self.district.things().collect();
            self.district.edit(step);
            let after: BTreeSet<Thing> = self.district.things().collect();
            note(&mut self.gone, before.difference(&after));
            if let Step::Rename(_, new) = step {
                note(&mut self.renamed, after.get(new));
            }
        }
    }
}

fn note<'a>(lately: &mut VecDeque<Thing>, things: impl IntoIterator<Item = &'a Thing>) {
    for thing in things {
        lately.push_back(*thing);
        if lately.len() > LATELY {
            lately.pop_front();
        }
    }
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
    let lives = |thing: &Thing| state.district.holds(*thing);
    let renamed: Vec<Thing> = state.renamed.iter().copied().filter(lives).collect();
    if renamed.is_empty() {
        return None;
    }
    let drawn = (select(renamed), 0..4_u8, 0..5_u8);
    let steps = drawn.prop_map(|(thing, name, kind)| match kind {
        0 => vec![Step::Delete(thing)],
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
        let is_edit = |trouble: &Trouble| matches!(trouble, Trouble::Meanwhile(..));
        if troubles.iter().all(is_edit) {
            troubles.truncate(1);
        }
        troubles
    });
    prop_oneof![2 => Just(Vec::new()), 3 => some]
}

fn trouble(state: &State) -> impl Strategy<Value = Trouble> + use<> {
    let call = prop_oneof![
        2 => (Just(Side::Source), 0..60_u16),
        3 => (Just(Side::Target), 0..60_u16),
    ];
    prop_oneof![
        4 => call.clone().prop_map(|(side, n)| Trouble::Crash(side, n)),
        2 => call.clone().prop_map(|(side, n)| Trouble::Fail(side, n)),
        2 => (0..12_u16).prop_map(Trouble::Lost),
        2 => (0..12_u16).prop_map(Trouble::Repeated),
        1 => call.prop_map(|(side, n)| Trouble::Stop(side, n)),
        1 => (0..25_u16).prop_map(Trouble::FullDisk),
        3 => (0..60_u16, edits(state)).prop_map(|(n, steps)| Trouble::Meanwhile(n, steps)),
        1 => select(&COLLECTIONS[1..]).prop_map(Trouble::Without),
        1 => Just(Trouble::OldSnapshot),
        1 => Just(Trouble::Scheduled),
    ]
}
