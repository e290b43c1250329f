//! Who answers a command: the state that it opens itself, or the daemon that holds it.
//!
//! What lives here: which of the two, who asks, and whole lists from parts. What does not: the answers,
//! which are the desk's (`desk/`). The one thing to know: commands see a [`Desk`] and cannot tell which
//! of the two it is.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crate::daemon::desk::FleetDesk;
use crate::desk::{
    Caller, Desk, DeskError, PairCondition, PairStatus, ParkedFilter, ParkedItem, Part, Role,
    RunShown, Selectors,
};

use super::arguments::Selector;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::remote::RemoteDesk;
use super::{choose, show};

/// A desk, and who stands before it.
pub(super) struct AtDesk {
    pub(super) desk: Box<dyn Desk>,
    pub(super) by: Caller,
}

/// The daemon that `--server` names; without it the state is opened here, unless a daemon holds it:
/// then that is asked.
pub(super) async fn desk(context: &Context) -> Result<AtDesk, Failure> {
    if context.server()?.is_some() {
        return Ok(over_http(context, RemoteDesk::reach(context)?));
    }
    match context.assembly() {
        Ok(assembly) => Ok(AtDesk::here(context, FleetDesk::new(Arc::new(assembly), None))),
        Err(failure) if failure.exit == Exit::Locked => of_the_daemon(context, failure).await,
        Err(failure) => Err(failure),
    }
}

/// The desk of the daemon that holds the state. Where nobody answers, whoever holds it is no daemon:
/// `locked` says so.
pub(super) async fn of_the_daemon(context: &Context, locked: Failure) -> Result<AtDesk, Failure> {
    let desk = RemoteDesk::reach(context)?;
    match desk.is_there().await {
        true => Ok(over_http(context, desk)),
        false => Err(locked),
    }
}

/// The daemon takes nobody's word for who asks: the name is for nobody but us.
fn over_http(context: &Context, desk: RemoteDesk) -> AtDesk {
    AtDesk { desk: Box::new(desk), by: caller(context) }
}

/// For the audit: whoever runs the process, who may do everything with a state that they can open.
fn caller(context: &Context) -> Caller {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| context.env.get(name).cloned());
    let numbered = || std::fs::metadata("/proc/self").ok().map(|of_us| of_us.uid().to_string());
    let user = named.or_else(numbered).unwrap_or_else(|| "unknown".to_owned());
    Caller { name: format!("user {user}"), role: Role::Admin, labels: Default::default() }
}

impl AtDesk {
    /// Before a desk of this process.
    pub(super) fn here(context: &Context, desk: FleetDesk) -> AtDesk {
        AtDesk { desk: Box::new(desk), by: caller(context) }
    }

    /// The same person, looking at what shows no keys: nothing of it is written into the audit.
    pub(super) fn without_keys(&self) -> Caller {
        Caller { role: Role::Viewer, ..self.by.clone() }
    }

    /// The chosen pairs, orphans among them where nothing narrows.
    pub(super) async fn pairs(&self, selector: &Selector) -> Result<Vec<PairStatus>, Failure> {
        let selectors = choose::selectors(selector)?;
        let pairs = self.desk.pairs(&self.by, &selectors).await?;
        match pairs.is_empty() {
            true if selectors == Selectors::default() => Err(Failure::usage(
                "the configuration has no publication: add one under `publications`",
            )),
            true => Err(Failure::usage(
                "no pair fits all of that: `tidemark status` lists what there is",
            )),
            false => Ok(pairs),
        }
    }

    /// The same for a command that changes something: it has to say what, and `--yes` to more than
    /// one pair. Orphans have nothing that it could change.
    pub(super) async fn pairs_to_change(
        &self,
        selector: &Selector,
        yes: bool,
        what: &str,
    ) -> Result<Vec<PairStatus>, Failure> {
        choose::refuse_unsaid(selector, what)?;
        let mut pairs = self.pairs(selector).await?;
        pairs.retain(|pair| pair.state != PairCondition::Orphaned);
        if pairs.len() > 1 && !yes {
            return Err(Failure::usage(format!(
                "{what} would change {}: {}; add `--yes` if that is meant",
                show::count(show::many(pairs.len()), "pair"),
                show::few(&pairs.iter().map(PairStatus::id).collect::<Vec<_>>())
            )));
        }
        Ok(pairs)
    }

    /// Every parked item that fits, by pair and id.
    pub(super) async fn parked(
        &self,
        by: &Caller,
        which: &Selectors,
        filter: &ParkedFilter,
    ) -> Result<Vec<ParkedItem>, Failure> {
        let mut items = Vec::new();
        let mut part = Part { after: None, limit: Part::LONGEST };
        loop {
            let page = self.desk.parked(by, which, filter, &part).await?;
            items.extend(page.items);
            match page.next {
                Some(next) => part.after = Some(next),
                None => return Ok(items),
            }
        }
    }

    /// The newest runs that fit, at most `most`.
    pub(super) async fn runs(
        &self,
        which: &Selectors,
        most: usize,
    ) -> Result<Vec<RunShown>, Failure> {
        let mut runs = Vec::new();
        let mut after = None;
        while runs.len() < most {
            let limit = (most - runs.len()).min(Part::LONGEST);
            let page = self.desk.runs(&self.by, which, &Part { after, limit }).await?;
            runs.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(runs)
    }
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Failure {
        let exit = match error {
            DeskError::NotThere(_)
            | DeskError::Refused(_)
            | DeskError::Conflict(_)
            | DeskError::Forbidden { .. } => Exit::Usage,
            DeskError::NotNow(_) | DeskError::Failed(_) => Exit::Failed,
            DeskError::State(_) => Exit::Unreadable,
        };
        Failure { exit, message: error.to_string() }
    }
}
