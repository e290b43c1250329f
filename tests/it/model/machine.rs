//! The reference state machine: what can happen next, given what has happened.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use tidemark::engine::FirstOverlap;
use tidemark::sources::Isolation;

use super::LATE_COMMITS;
use super::district::District;
use super::generator;
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
    /// What lives in the other district, if there is one.
    pub(super) elsewhere: District,
    /// Slow transactions that have begun and not ended.
    pub(super) slow: usize,
    pub(super) refuses: bool,
    pub(super) runs: usize,
    /// The process of the last run ended in the middle of it.
    pub(super) crashed: bool,
    /// What was deleted or given up its name last, and what was renamed last from what, oldest
    /// first: edits that come back to it are what an overlap has to bear (R5, R7).
    pub(super) gone: VecDeque<Thing>,
    pub(super) renamed: VecDeque<(Thing, Thing)>,
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
    /// How far the run after the first one reaches back. No transaction is open for longer.
    pub(super) first_overlap: FirstOverlap,
    /// The feed of key changes tells the first old and the last new key of an item, and no hop
    /// between them, as it does where thousands changed (R7).
    pub(super) folds: bool,
    /// Another district publishes to the same target, people and descriptors among them (R28a).
    pub(super) elsewhere: bool,
    /// Both say that what both write is shared.
    pub(super) shared: bool,
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
    /// The state as it was exported so many runs ago is imported.
    Import(u8),
    /// Edits in the other district.
    EditElsewhere(Vec<Step>),
    /// A run of the other district.
    RunElsewhere(Vec<Trouble>),
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
    /// The same, and the snapshot is replaced by one of afterwards (R11).
    Renewed(u16, Vec<Step>),
    /// The snapshot is replaced, at this call of the source, by one from so many before it (R11).
    PutBack(u16, u8),
    /// The collection is left out of the selection.
    Without(&'static str),
    /// No new snapshot is taken for it: the last one is served, or one from so many before it.
    OldSnapshot(u8),
    /// Parked items wait until they are due.
    Scheduled,
    /// The other district does not answer.
    Silent,
}

pub(super) struct Machine;

impl ReferenceStateMachine for Machine {
    type State = State;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<State> {
        generator::frame().prop_map(State::beginning).boxed()
    }

    fn transitions(state: &State) -> BoxedStrategy<Transition> {
        generator::transitions(state)
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
            Transition::Run(troubles) => {
                state.runs += 1;
                state.crashed = false;
                for trouble in troubles {
                    state.crashed |= matches!(trouble, Trouble::Crash(..));
                    // They happen after the run at the latest.
                    if let Some(steps) = trouble.edits() {
                        state.edit(steps);
                    }
                }
            }
            Transition::EditElsewhere(steps) => {
                for step in steps {
                    state.elsewhere.edit(step);
                }
            }
            Transition::RollBack(_) | Transition::Import(_) | Transition::RunElsewhere(_) => {}
        }
        state
    }

    fn preconditions(state: &State, transition: &Transition) -> bool {
        match transition {
            Transition::End(_) => state.slow > 0,
            Transition::Begin(_) => state.may_begin(),
            Transition::Edit(_)
            | Transition::RollBack(_)
            | Transition::Refuse(_)
            | Transition::Repair
            | Transition::Run(_)
            | Transition::Import(_)
            | Transition::EditElsewhere(_)
            | Transition::RunElsewhere(_) => true,
        }
    }
}

impl Trouble {
    /// What is done to the source in the course of it.
    pub(super) fn edits(&self) -> Option<&[Step]> {
        match self {
            Trouble::Meanwhile(_, steps) | Trouble::Renewed(_, steps) => Some(steps),
            Trouble::Crash(..)
            | Trouble::Fail(..)
            | Trouble::Lost(_)
            | Trouble::Repeated(_)
            | Trouble::Stop(..)
            | Trouble::FullDisk(_)
            | Trouble::PutBack(..)
            | Trouble::Without(_)
            | Trouble::OldSnapshot(_)
            | Trouble::Scheduled
            | Trouble::Silent => None,
        }
    }
}

impl State {
    pub(super) fn beginning(frame: Frame) -> State {
        State {
            frame,
            district: District::default(),
            elsewhere: District::default(),
            slow: 0,
            refuses: false,
            runs: 0,
            crashed: false,
            gone: VecDeque::new(),
            renamed: VecDeque::new(),
        }
    }

    pub(super) fn may_begin(&self) -> bool {
        LATE_COMMITS && self.slow < SLOW_AT_ONCE
    }

    fn edit(&mut self, steps: &[Step]) {
        for step in steps {
            let before: BTreeSet<Thing> = self.district.things().collect();
            self.district.edit(step);
            let after: BTreeSet<Thing> = self.district.things().collect();
            note(&mut self.gone, before.difference(&after).copied());
            if let Step::Rename(old, new) = step {
                note(&mut self.renamed, after.get(new).map(|new| (*old, *new)));
            }
        }
    }
}

fn note<T>(lately: &mut VecDeque<T>, things: impl IntoIterator<Item = T>) {
    for thing in things {
        lately.push_back(thing);
        if lately.len() > LATELY {
            lately.pop_front();
        }
    }
}
