//! One run: what changed at a source since a pair's watermark is brought into agreement at its
//! target, and the watermark moves in the one commit that settles the whole window.
//!
//! # What a run is
//!
//! The feeds of a source only say *where to look*. A natural key is **touched** when a feed
//! mentions it, or because it was parked before. For each touched key the run looks at one view
//! of the source and makes the target agree: it lives, so upsert it; it does not and something
//! named it, so delete it if it is there. That is idempotent: delivering at least once is as good
//! as once, and recovering from a crash is doing it again.
//!
//! [`run`] is the specification, [`runner`] turns a trigger into runs. The stages have a file
//! each: [`key_changes`], [`upserts`] with its [`pages`], [`deletes`], and what they share is a run
//! [`under_way`] with its [`coverage`] and its [`journal`]. Before them stand [`first_run`],
//! [`identity`], [`canaries`], [`scope`], [`overlap`] and [`resume`]; [`history`], [`remembered`] and
//! [`left_behind`] are what an overlap has to know of what it brings again. Pairs that stand together
//! read together, as a [`cohort`].
//! [`order`] starts a resource when what it needs has finished; [`apply`] is one change at one
//! target, [`references`] what it needs there first; [`names`] are target ids looked up before
//! anything moves, [`brake`] stops what would delete too much, [`ownership`] is what a
//! person has said belongs to others too, and [`others`] asks them; [`parked`] is what waits. [`plan`], [`completeness`] and [`verify`] look without
//! publishing, [`verified`] is what is kept of the last, and [`single`] is one item for whoever mends it.
//!
//! # Invariants held here
//!
//! * I1: the watermark moves only in [`run`]'s last commit, after every change of the window was
//!   applied, unneeded or durably parked.
//! * I4, R5: names are journalled before the first PUT.
//! * I8, R3, R4: a DELETE is sent only for a key that was named, does not live at the source and
//!   was found at the target with every field equal.
//! * I14: `read = applied + skipped + parked` in every stage; a run that cannot say so fails.
//! * I20: key changes, upserts, deletes; parents before children, children before parents.
//! * I22, R18 to R20: doubt about identity blocks the pair before anything is written.
//!
//! # Races that are accepted
//!
//! * Two self-referencing items that refer to each other only at the target, both deleted, stay
//!   parked as still referenced.
//! * Two items that exchange a unique value stay parked as taken.
//! * Without a snapshot, a key that lived when the key changes were read and has gone when the
//!   guard asks can leave one item behind, which `verify` finds.
//! * What another pair publishes between the question whether its source has a key (R28a) and the
//!   delete of it is gone, and `verify` of that pair finds it.

pub mod runner;
pub mod stopping;
pub mod run;
mod cohort;
mod under_way;
mod identity;
mod canaries;
mod scope;
mod overlap;
mod first_run;
mod remembered;
mod resume;
mod order;
mod history;
mod journal;
mod key_changes;
mod ahead;
mod upserts;
mod pages;
mod lanes;
mod coverage;
mod noted_organizations;
mod deletes;
mod left_behind;
mod names;
mod brake;
mod references;
mod apply;
mod ownership;
mod others;
pub mod parked;
mod attempts;
pub mod plan;
pub mod verify;
mod verified;
pub mod completeness;
pub mod single;
pub mod observe;
mod spans;
pub mod report;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{ResourcePath, Selection, SelectionError};
use crate::sources::{Isolation, Source, SourceError};
use crate::state::{BlockCause, Deletes, PairId, StateError};
use crate::targets::{Target, WriteError};

pub use overlap::newest_before;
use stopping::Interruption;

/// One publication and one of its targets, ready to run.
#[derive(Clone)]
pub struct Pair {
    pub id: PairId,
    pub source: Arc<dyn Source>,
    pub target: Arc<dyn Target>,
    pub policy: Arc<Policy>,
}

impl Pair {
    /// The same pair for one run: what it sends is counted from nothing and carries the run's id.
    fn for_run(&self, run: &str, stop: &CancellationToken) -> Pair {
        Pair {
            id: self.id.clone(),
            source: self.source.for_run(run, stop.clone()),
            target: self.target.for_run(run, stop.clone()),
            policy: Arc::clone(&self.policy),
        }
    }
}

/// How a publication wants to be published. Filled from the configuration; the defaults are there.
#[derive(Clone, Debug)]
pub struct Policy {
    pub isolation: Isolation,
    /// What to do without a snapshot; `None`: fail.
    pub on_missing_snapshot: Option<Isolation>,
    pub key_changes: Publish,
    pub deletes: Publish,
    pub selection: Selection,
    /// How far back a window reaches over the one before; zero for not at all (R14).
    pub overlap: Duration,
    pub first_overlap: FirstOverlap,
    pub first_run: FirstRun,
    pub brake: DeleteBrake,
    pub retry: RetryPolicy,
    /// Nobody else writes to the same data: `verify` may look for extras (R3).
    pub sole_writer: bool,
    /// Resources that others write too, by name, with `descriptors` and `people` for whole kinds:
    /// upserted, never renamed or deleted (R28a).
    pub shared: Vec<String>,
    /// Resources that belong to somebody else: written only where they are missing (R28a).
    pub create_only: Vec<String>,
    /// While a run goes on, its view is looked at again after so long, and what is finished by then
    /// is journalled (R11, R12).
    pub look_again_after: Duration,
    /// Writes in flight at once for one pair, below the adaptive limit of the origin.
    pub max_in_flight: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    Publish,
    Skip,
}

/// How far back the run after the first one reaches: the first has no history (R14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOverlap {
    Versions(u64),
    /// Everything is read twice, the second time at once.
    All,
}

/// What a pair does that was never published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstRun {
    /// Publishes everything.
    Full,
    /// Takes what is newest for its watermark, and publishes nothing.
    FromNow,
    /// Fails: its state may have been lost.
    Refuse,
}

/// R27: more than `above` items of a resource *and* more than `share` of what the source shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeleteBrake {
    /// Of (would be deleted + lives), in percent.
    pub percent: f64,
    pub above: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub max_attempts: u32,
    pub first_delay: Duration,
    pub max_delay: Duration,
    /// What a pair may hold; beyond it the run fails and nothing advances.
    pub max_parked: u64,
}

/// Attempts that an invalid item gets for one version of it (contract, `retry.max_attempts`).
pub const INVALID_ATTEMPTS: u32 = 3;

/// Why a run failed: nothing moved, the next one does it again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the source could not be read")]
    Source(#[source] SourceError),

    /// The same, before there was a view; shared by all pairs that wanted to read through it.
    #[error("the source could not be read")]
    View(#[source] Arc<SourceError>),

    #[error("the target could not be written")]
    Target(#[source] WriteError),

    #[error("the state could not be used")]
    State(#[source] StateError),

    /// A person has to decide first.
    #[error("{reason}")]
    Blocked { cause: BlockCause, reason: String, deletes: Option<Deletes> },

    /// P9.
    #[error(
        "publication `{publication}` has no watermark, and `first_run: refuse`: nothing was published. If its state was lost, import a backup, or say how far it had come with `tidemark watermark set {publication} --to VERSION`; to publish everything, `tidemark watermark reset {publication}`"
    )]
    FirstRun { publication: String },

    #[error("the selection does not fit the connections: {0}")]
    Selection(SelectionError),

    #[error("the target has no {}, and the source has items of it: exclude it, or install it at the target", list(.resources))]
    MissingAtTarget { resources: Vec<ResourcePath> },

    #[error(
        "the source cannot tell {what}: set `{key}: skip` to publish without, and use `verify` to find what that leaves behind"
    )]
    CannotTell { what: &'static str, key: &'static str },

    /// R23.
    #[error(
        "the target refused {refused} of {answered} writes for good; nothing was moved. Look at `tidemark parked list`: a common reason is credentials or a data standard that does not fit"
    )]
    MostlyRefused { refused: u64, answered: u64 },

    #[error(
        "more items would be parked than the {max} that `retry.max_parked` allows; nothing was moved. Mend the cause that `tidemark parked list --group-by reason` shows first"
    )]
    TooManyParked { max: u64 },

    #[error("the run was interrupted; nothing is lost, the next run publishes the window again")]
    Interrupted,

    /// One run was stopped, and others went on.
    #[error("{}", stopped(.0))]
    Stopped(Interruption),

    #[error(
        "the key of `{resource}` is not known: the API's OpenAPI document does not tell it; leave the resource out with `exclude_only`, or have the document enabled"
    )]
    UnknownKey { resource: ResourcePath },

    #[error(
        "publication `{publication}` is not the only writer to its target (`sole_writer`): what looks extra may belong to another; nothing was deleted"
    )]
    NotSoleWriter { publication: String },

    #[error(
        "what was compared could not be kept in a file: see that the disk of `state.path` has room; `verify` goes on where it stopped"
    )]
    Spool(#[source] verify::SpoolError),

    #[error(
        "the run ended in a defect of this program; nothing was moved, and other runs go on. Please report this"
    )]
    Defect,

    /// I14: a defect of this program, not of either API.
    #[error(
        "the run cannot account for every change it read (read ≠ applied + skipped + parked); nothing was moved. Please report this"
    )]
    NotConserved,
}

impl RunError {
    /// `error.kind` of the report.
    pub fn kind(&self) -> &'static str {
        match self {
            RunError::Source(error) => error.kind(),
            RunError::View(error) => error.kind(),
            RunError::Target(error) => error.kind(),
            RunError::State(_) => "state",
            RunError::Blocked { .. } => "blocked",
            RunError::FirstRun { .. } => "first-run",
            RunError::Selection(_) => "selection",
            RunError::MissingAtTarget { .. } => "missing-at-target",
            RunError::CannotTell { .. } => "cannot-tell",
            RunError::MostlyRefused { .. } => "mostly-refused",
            RunError::TooManyParked { .. } => "too-many-parked",
            RunError::Interrupted => "interrupted",
            RunError::Stopped(why) => why.kind(),
            RunError::UnknownKey { .. } => "unknown-key",
            RunError::NotSoleWriter { .. } => "not-sole-writer",
            RunError::Spool(_) => "spool",
            RunError::Defect => "defect",
            RunError::NotConserved => "not-conserved",
        }
    }

    /// One sentence: what happened and, from the causes, why. What lies deeper than what the seams
    /// say is the same again in the words of a library.
    pub fn message(&self) -> String {
        const SEAM_AND_WIRE: usize = 2;
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        for _ in 0..SEAM_AND_WIRE {
            let Some(error) = cause else { break };
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Whether trying again by itself may help: what passes, not what a person must decide.
    pub fn may_pass(&self) -> bool {
        match self {
            RunError::Source(_)
            | RunError::View(_)
            | RunError::Target(_)
            | RunError::State(_)
            | RunError::MostlyRefused { .. }
            | RunError::TooManyParked { .. }
            | RunError::MissingAtTarget { .. }
            | RunError::Spool(_)
            | RunError::Defect
            | RunError::Interrupted
            | RunError::Stopped(Interruption::Closed { .. }) => true,
            RunError::Blocked { .. }
            | RunError::FirstRun { .. }
            | RunError::Selection(_)
            | RunError::CannotTell { .. }
            | RunError::UnknownKey { .. }
            | RunError::NotSoleWriter { .. }
            | RunError::Stopped(Interruption::Deadline | Interruption::Cancelled)
            | RunError::NotConserved => false,
        }
    }
}

impl From<verify::SpoolError> for RunError {
    fn from(error: verify::SpoolError) -> RunError {
        RunError::Spool(error)
    }
}

fn stopped(why: &Interruption) -> String {
    let what = match why {
        Interruption::Deadline => "the run lasted as long as its `deadline` allows".to_owned(),
        Interruption::Cancelled => "the run was cancelled".to_owned(),
        Interruption::Closed { connection } => {
            format!("connection `{connection}` is closed from now on")
        }
    };
    format!("{what}; nothing is lost, the next run goes on with it")
}

fn list(resources: &[ResourcePath]) -> String {
    resources.iter().map(|r| format!("`{r}`")).collect::<Vec<_>>().join(", ")
}
