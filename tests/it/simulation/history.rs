//! What a history is made of: small values that can be drawn, dropped one by one and printed as
//! the Rust that makes them. Names are numbers here; [`crate::simulation::district`] spells them.

use std::fmt;

use tidemark::sandbox::ApiVersion;
use tidemark::sources::Isolation;

/// An item by its key. The numbers choose from a handful of names, so that keys meet again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Period(u8),
    Course(u8),
    Session(u8),
    /// Course and session.
    Offering(u8, u8),
    /// Identifier, course and session.
    Section(u8, u8, u8),
    Student(u8),
    Enrolment(u8),
    /// Student, then section, course and session.
    Attends(u8, u8, u8, u8),
    Standard(u8),
    GradeLevel(u8),
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Creates or replaces an item at the source, what it needs first. The number is its content.
    Put(Thing, u8),
    /// Deletes an item at the source, what depends on it first.
    Delete(Thing),
    /// Gives an item of the source the key of another of its kind.
    Rename(Thing, Thing),
    /// One run, and what goes wrong in it.
    Run(Vec<Trouble>),
}

/// Something that goes wrong in one run. Numbers of requests are counted from the run's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A request of one side that is harmed, after so many others passed, and perhaps a few more.
    Harm(Side, Hurt, u8, u8),
    /// Every write of a collection is refused at the target.
    Poison(&'static str),
    /// Every PUT is refused.
    NoRename,
    /// The target refuses the whole collection until a person mends it.
    Close(&'static str),
    /// Every write of a collection is answered by what fails the run.
    Fail(&'static str),
    /// The run is asked to stop when the side was asked so many things.
    Stop(Side, u8),
    /// The run's process ends at that moment.
    Crash(Side, u8),
    /// The source is edited at that moment of its reading: `Put`, `Delete` and `Rename` only.
    Meanwhile(u8, Vec<Step>),
    /// The same, and the snapshot is replaced by one of afterwards (R11).
    Renewed(u8, Vec<Step>),
    /// The snapshot is put back, at that moment of reading, to the oldest that is kept.
    PutBack(u8),
    /// The collection is left out of the selection.
    Without(&'static str),
    /// No new snapshot is taken for it.
    OldSnapshot,
    /// Parked items wait until they are due.
    Scheduled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Target,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurt {
    /// 500, and nothing was done.
    Error,
    /// 500, though it was done.
    FailAfterWriting,
    DropAfterWriting,
    Drop,
    Throttle,
    ExpireTokens,
    /// What ends a run at once: a redirection.
    Redirect,
}

/// What holds for a whole history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) source: ApiVersion,
    pub(super) target: ApiVersion,
    pub(super) isolation: Isolation,
    pub(super) page_size: usize,
    /// People are reached through their associations at the target.
    pub(super) people: bool,
    /// Grade levels are published.
    pub(super) descriptors: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) frame: Frame,
    pub(super) steps: Vec<Step>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Frame {{ source: ApiVersion::{:?}, target: ApiVersion::{:?}, isolation: Isolation::{:?}, page_size: {}, people: {}, descriptors: {} }}",
            self.source, self.target, self.isolation, self.page_size, self.people, self.descriptors
        )
    }
}

/// As `regressions.rs` wants it.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "History {{ frame: {:?}, steps: vec![", self.frame)?;
        for step in &self.steps {
            writeln!(f, "    {},", format!("{step:?}").replace('[', "vec!["))?;
        }
        write!(f, "] }}")
    }
}
