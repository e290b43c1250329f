//! What can be asked and ordered of pairs, by whoever does: commands, the admin API, the console.
//!
//! What lives here: the questions and orders ([`Desk`]), who asks ([`Caller`]), and the shapes of the
//! answers, which are those of the contract. What does not: how a pair is asked (`daemon/desk.rs`),
//! how a question travels (`server/`, `cli/`). The one thing to know: a caller sees the pairs that
//! its labels name and no other; to it, those are not there.

mod audit;
pub mod causes;
mod checks;
mod closely;
mod compared;
mod live;
pub mod orders;
mod pairs;
mod parked;
mod planned;
mod process;
mod report;
mod runs;
pub mod wording;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::domain::ChangeVersion;
use crate::state::{ErasedKey, PairId};

pub use self::audit::AuditEntry;
pub use self::checks::{Check, CheckStatus, Checks};
pub use self::closely::{
    Blocked, Compared, ConnectionDetail, OrderedResource, PairDetail, ResourceOrder, Setting,
    Settings, Unfinished, Waiting,
};
pub use self::compared::{Comparing, ComparisonShown, ResourceCompared, VerificationShown};
pub use self::live::{AttemptOutcome, Attempted, LiveEnd, LiveItem, Shows};
pub use self::pairs::{Measured, PairCondition, PairStatus, Selectors, StatusReport, fits};
pub use self::parked::{ParkedChoice, ParkedFilter, ParkedItem, advice};
pub use self::planned::{PlanShown, ResourcePlanned};
pub use self::process::{ConfigurationProblem, LogLevelShown, ProcessStatus, RefusedConfiguration};
pub use self::report::{Report, ReportedResource};
pub use self::runs::{RunFault, RunShown, Started};

/// What a caller may do. Each role may do what the ones before it may (contract, "Admin API").
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks, and sees keys masked.
    Viewer,
    /// Sees keys; runs, cancels, pauses, retries.
    Operator,
    /// Moves watermarks, approves, discards, repairs, reads the state.
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For the audit: `token oncall`, `user root`.
    pub name: String,
    pub role: Role,
    /// Sees only pairs with all of these labels; empty sees all.
    pub labels: BTreeMap<String, String>,
}

/// A part of a list, and where the next one begins (contract, `{"items":[…],"next":null}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What `after` is to be for the next part; `None` after the last.
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The `next` of the part before.
    pub after: Option<String>,
    /// 1 to [`Part::LONGEST`].
    pub limit: usize,
}

impl Part {
    pub const LONGEST: usize = 1000;
    pub const USUAL: usize = 100;

    pub fn first() -> Part {
        Part { after: None, limit: Part::USUAL }
    }
}

/// Where a watermark is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    To(ChangeVersion),
    /// The highest version that is known to have been newest before the moment.
    Before(Timestamp),
    /// Taken away: the next run publishes everything.
    Reset,
}

/// What a person decides about a blocked pair (R18, R19, R27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The next run may delete what the blocked one would have; of one resource, where it is named.
    Deletes { resource: Option<String> },
    /// The same data under another name: go on from the watermark.
    SameData,
    /// Other data: forget the watermark, and publish everything.
    StartOver,
}

/// A decision that was made: what was, and what is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    pub publication: String,
    pub target: String,
    pub was: String,
    pub now: String,
}

/// Why there is no answer. Texts name the way out; none repeats a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// Nothing of that name, or nothing that the caller sees.
    #[error("{0}")]
    NotThere(String),

    /// The question or order makes no sense as it stands.
    #[error("{0}")]
    Refused(String),

    /// It makes sense, and what it is about is not as it supposes.
    #[error("{0}")]
    Conflict(String),

    /// The caller's role does not allow it.
    #[error("a token with the role {} is needed", .needed.as_str())]
    Forbidden { needed: Role },

    /// Nobody can answer now: the state is not open, or the daemon is stopping.
    #[error("{0}")]
    NotNow(String),

    /// An API failed.
    #[error("{0}")]
    Failed(String),

    /// The state failed: the process that holds it is to end.
    #[error("{0}")]
    State(String),
}

/// Answers questions about pairs and takes orders. Every order is written into the audit in the step
/// that carries it out, and so is every reading of natural keys.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Configured pairs and orphans, in order of name.
    async fn pairs(&self, by: &Caller, which: &Selectors) -> Result<Vec<PairStatus>, DeskError>;

    /// How the process is that answers.
    async fn process(&self, by: &Caller) -> Result<ProcessStatus, DeskError>;

    /// Logs as much as `level` says for so long, and then as before.
    async fn set_log_level(
        &self,
        by: &Caller,
        level: &str,
        lasting: Duration,
    ) -> Result<ProcessStatus, DeskError>;

    /// One of them.
    async fn pair(&self, by: &Caller, pair: &PairId) -> Result<PairStatus, DeskError>;

    /// Parked and dead items in order of pair and id. Keys are `None` for a viewer.
    async fn parked(
        &self,
        by: &Caller,
        which: &Selectors,
        filter: &ParkedFilter,
        part: &Part,
    ) -> Result<Page<ParkedItem>, DeskError>;

    /// The item whose id begins with `id`, where only one does.
    async fn parked_item(&self, by: &Caller, id: &str) -> Result<ParkedItem, DeskError>;

    /// Makes items due now, dead ones too, with fresh attempts; tells how many.
    async fn retry(&self, by: &Caller, choice: &ParkedChoice) -> Result<u64, DeskError>;

    /// Gives items up; tells how many. The watermark stays.
    async fn discard(
        &self,
        by: &Caller,
        choice: &ParkedChoice,
        reason: Option<&str>,
    ) -> Result<u64, DeskError>;

    /// Moves the watermark of a pair; with `if_at` only if it stands there.
    async fn move_watermark(
        &self,
        by: &Caller,
        pair: &PairId,
        to: Moved,
        if_at: Option<Option<ChangeVersion>>,
        reason: &str,
    ) -> Result<PairStatus, DeskError>;

    /// Decides about a pair that is blocked.
    async fn approve(
        &self,
        by: &Caller,
        pair: &PairId,
        approval: &Approval,
        reason: &str,
    ) -> Result<Decided, DeskError>;

    /// What [`Desk::approve`] would make of a pair, and nothing is done; `None` where there is nothing
    /// of the kind to decide.
    async fn would_approve(
        &self,
        by: &Caller,
        pair: &PairId,
        approval: &Approval,
    ) -> Result<Option<Decided>, DeskError>;

    /// A configured pair, looked at closely. Asks neither end.
    async fn closely(&self, by: &Caller, pair: &PairId) -> Result<PairDetail, DeskError> {
        let _ = (by, pair);
        Err(only_for_the_console())
    }

    /// The resources of a pair in their order, as both ends tell it. It is given up after `within`:
    /// whoever looks at a pair whose end is down still sees the rest.
    async fn order(
        &self,
        by: &Caller,
        pair: &PairId,
        within: Duration,
    ) -> Result<ResourceOrder, DeskError> {
        let _ = (by, pair, within);
        Err(only_for_the_console())
    }

    /// The configuration in force; of the entries of one name, where one is given.
    async fn configuration(&self, by: &Caller, name: Option<&str>) -> Result<Settings, DeskError> {
        let _ = (by, name);
        Err(only_for_the_console())
    }

    /// How complete the target of a pair is. Asks both ends for their counts.
    async fn report(&self, by: &Caller, pair: &PairId) -> Result<Report, DeskError>;

    /// A parked item, read at both ends as it is now. Nothing is kept.
    async fn look(&self, by: &Caller, id: &str) -> Result<LiveItem, DeskError>;

    /// Tries a parked item once, now. Nothing is kept: the next run tries it as if this had not been.
    async fn attempt(&self, by: &Caller, id: &str) -> Result<Attempted, DeskError>;

    /// How many records [`Desk::forget_key`] would change or remove.
    async fn records_with(&self, by: &Caller, key: &ErasedKey) -> Result<u64, DeskError>;

    /// Erases a natural key, and every key that contains it, from all that is remembered; tells how
    /// many records that were. The audit says that it was done, and never of what.
    async fn forget_key(
        &self,
        by: &Caller,
        key: &ErasedKey,
        reason: Option<&str>,
    ) -> Result<u64, DeskError>;

    /// Runs that ended and those under way, newest first.
    async fn runs(
        &self,
        by: &Caller,
        which: &Selectors,
        part: &Part,
    ) -> Result<Page<RunShown>, DeskError>;

    async fn run(&self, by: &Caller, id: &str) -> Result<RunShown, DeskError>;

    /// Starts runs of a publication now: of all its pairs, or of those with these targets.
    async fn start(
        &self,
        by: &Caller,
        publication: &str,
        targets: &[String],
        allow_deletes: bool,
    ) -> Result<Started, DeskError>;

    /// Tells a run to save its progress and end.
    async fn cancel(&self, by: &Caller, run: &str) -> Result<(), DeskError>;

    /// No run of the pair begins until it is resumed, or until the moment.
    async fn pause(
        &self,
        by: &Caller,
        pair: &PairId,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) -> Result<PairStatus, DeskError>;

    async fn resume(&self, by: &Caller, pair: &PairId) -> Result<PairStatus, DeskError>;

    /// Who did what, when and why, newest first.
    async fn audit(
        &self,
        by: &Caller,
        since: Option<Timestamp>,
        part: &Part,
    ) -> Result<Page<AuditEntry>, DeskError>;

    /// Those that have state, configured or not, in order of name.
    async fn with_state(&self, by: &Caller) -> Result<Vec<PairStatus>, DeskError> {
        let mut pairs = self.pairs(by, &Selectors::default()).await?;
        pairs.retain(PairStatus::has_a_past);
        Ok(pairs)
    }

    /// What a run of the pair would do. Asks both ends, and writes nothing.
    async fn plan(&self, by: &Caller, pair: &PairId) -> Result<PlanShown, DeskError>;

    /// What connections can do, what their credentials may do, and what targets lack. Asks them all;
    /// where nothing narrows, also those that no publication uses.
    async fn check(&self, by: &Caller, which: &Selectors) -> Result<Checks, DeskError>;

    /// The last comparison of the pair's ends that was kept.
    async fn verification(
        &self,
        by: &Caller,
        pair: &PairId,
    ) -> Result<VerificationShown, DeskError>;

    /// Compares both ends of the pair as soon as nothing holds it; who asks the same twice gets the
    /// same comparison.
    async fn compare(
        &self,
        by: &Caller,
        pair: &PairId,
        wanted: &Comparing,
    ) -> Result<ComparisonShown, DeskError>;

    /// How far a comparison that somebody asked for has come, and what it found.
    async fn comparison(&self, by: &Caller, id: &str) -> Result<ComparisonShown, DeskError>;

    /// Tells a comparison to end; the next one that asks the same goes on from there.
    async fn cancel_comparison(&self, by: &Caller, id: &str) -> Result<(), DeskError>;

    /// The whole state as text (`state export`).
    async fn export(&self, by: &Caller) -> Result<Vec<u8>, DeskError>;

    /// Takes such a text, or lines of watermarks, over; tells which pairs it changed. Those that
    /// have state already only with `replace`.
    async fn import(
        &self,
        by: &Caller,
        text: &str,
        replace: bool,
    ) -> Result<Vec<PairId>, DeskError>;

    /// A publication has another name now: its state follows; tells the pairs that have it then.
    async fn move_state(&self, by: &Caller, old: &str, new: &str)
    -> Result<Vec<PairId>, DeskError>;

    /// Removes everything that is known of a pair; of one that is configured, with a reason.
    async fn forget_state(
        &self,
        by: &Caller,
        pair: &PairId,
        reason: Option<&str>,
    ) -> Result<(), DeskError>;
}

/// What only pages show, which are made where the desk is: nobody asks it through another process.
fn only_for_the_console() -> DeskError {
    DeskError::NotNow("this is shown by the console of the daemon: open it in a browser".to_owned())
}
