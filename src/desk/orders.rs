//! Orders as JSON: the bodies that the admin API takes and a command that asks a daemon sends.
//!
//! What lives here: the forms, and what each means at the [`Desk`](super::Desk). What does not: who
//! may give an order (`server/`). The one thing to know: a member that is not known is a mistake, so
//! that a misspelt filter never widens an order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Approval, DeskError, Moved, ParkedChoice, ParkedFilter, Selectors};
use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, ParkReason};
use crate::state::{PairId, ParkStatus};

/// `POST pairs/{publication}/{target}/pause`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PauseOrder {
    /// Without it, until somebody resumes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    pub reason: Option<String>,
}

/// `POST pairs/{publication}/{target}/approve`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveOrder {
    pub decision: Decision,
    /// Of deletes: only if it was this resource.
    #[serde(default)]
    pub resource: Option<String>,
    /// Whoever asks later sees it.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The next run may delete what the blocked one would have.
    Deletes,
    /// The same data under another name: go on from the watermark.
    SameData,
    /// Other data: forget the watermark, and publish everything.
    StartOver,
}

impl ApproveOrder {
    pub fn new(approval: &Approval, reason: &str) -> ApproveOrder {
        let (decision, resource) = match approval {
            Approval::Deletes { resource } => (Decision::Deletes, resource.clone()),
            Approval::SameData => (Decision::SameData, None),
            Approval::StartOver => (Decision::StartOver, None),
        };
        ApproveOrder { decision, resource, reason: reason.to_owned() }
    }

    pub fn approval(&self) -> Result<Approval, DeskError> {
        match (self.decision, &self.resource) {
            (Decision::Deletes, resource) => Ok(Approval::Deletes { resource: resource.clone() }),
            (Decision::SameData, None) => Ok(Approval::SameData),
            (Decision::StartOver, None) => Ok(Approval::StartOver),
            (Decision::SameData | Decision::StartOver, Some(_)) => Err(DeskError::Refused(
                "`resource` goes with the decision `deletes` alone".to_owned(),
            )),
        }
    }
}

/// `PUT pairs/{publication}/{target}/watermark`: one of `to`, `before` and `reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatermarkOrder {
    /// The change version after which the next run reads.
    #[serde(default)]
    pub to: Option<ChangeVersion>,
    /// The highest version that is known to have been newest before this moment.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub before: Option<Timestamp>,
    /// Take it away: the next run publishes everything.
    #[serde(default)]
    pub reset: bool,
    /// Whoever asks later sees it.
    pub reason: String,
}

impl WatermarkOrder {
    pub fn new(to: Moved, reason: &str) -> WatermarkOrder {
        let order = WatermarkOrder { reason: reason.to_owned(), ..WatermarkOrder::default() };
        match to {
            Moved::To(version) => WatermarkOrder { to: Some(version), ..order },
            Moved::Before(moment) => WatermarkOrder { before: Some(moment), ..order },
            Moved::Reset => WatermarkOrder { reset: true, ..order },
        }
    }

    pub fn moved(&self) -> Result<Moved, DeskError> {
        match (self.to, self.before, self.reset) {
            (Some(version), None, false) if version.0 >= 0 => Ok(Moved::To(version)),
            (None, Some(moment), false) => Ok(Moved::Before(moment)),
            (None, None, true) => Ok(Moved::Reset),
            (Some(_), None, false) => {
                Err(DeskError::Refused("a watermark is 0 or more".to_owned()))
            }
            (_, _, _) => Err(DeskError::Refused(
                "say where to: one of `to`, `before` and `reset`".to_owned(),
            )),
        }
    }
}

/// `POST publications/{publication}/runs`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunOrder {
    /// None is all of them.
    pub targets: Vec<String>,
    /// Delete more than `max_deletes` allows.
    pub allow_deletes: bool,
}

/// `POST parked/retry` and `POST parked/discard`: items by their ids, those that every given filter
/// admits, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParkedOrder {
    pub ids: Vec<String>,
    /// Every item there is; goes with no filter.
    pub all: bool,
    /// Names or globs of publications.
    pub publications: Vec<String>,
    /// Each `key=value`.
    pub labels: Vec<String>,
    pub connection: Option<String>,
    pub target: Option<String>,
    /// By path or by collection alone.
    pub resource: Option<String>,
    pub reason: Option<ParkReason>,
    pub status: Option<ParkStatus>,
    /// Why; for more than one item that is given up.
    pub because: Option<String>,
}

impl ParkedOrder {
    pub fn new(choice: &ParkedChoice, because: Option<&str>) -> ParkedOrder {
        let order = ParkedOrder {
            ids: choice.ids.clone(),
            because: because.map(str::to_owned),
            ..ParkedOrder::default()
        };
        let Some((which, filter)) = &choice.which else { return order };
        ParkedOrder {
            all: *which == Selectors::default() && *filter == ParkedFilter::default(),
            publications: which.publications.clone(),
            labels: which.labels.iter().map(|(key, value)| format!("{key}={value}")).collect(),
            connection: which.connection.clone(),
            target: which.target.clone(),
            resource: filter.resource.clone(),
            reason: filter.reason,
            status: filter.status,
            ..order
        }
    }

    pub fn choice(&self) -> Result<ParkedChoice, DeskError> {
        let which = Selectors {
            publications: self.publications.clone(),
            labels: self.labels.iter().map(|label| parse_label(label)).collect::<Result<_, _>>()?,
            connection: self.connection.clone(),
            target: self.target.clone(),
        };
        let filter = ParkedFilter {
            resource: self.resource.clone(),
            reason: self.reason,
            status: self.status,
        };
        let filters = which != Selectors::default() || filter != ParkedFilter::default();
        if self.all && filters {
            return Err(DeskError::Refused("`all` goes with no filter".to_owned()));
        }
        if !self.all && !filters && self.ids.is_empty() {
            return Err(DeskError::Refused(
                "say which items: `ids`, a filter, or `all`".to_owned(),
            ));
        }
        let which = (self.all || filters).then_some((which, filter));
        Ok(ParkedChoice { ids: self.ids.clone(), which })
    }
}

/// `key=value`
pub fn parse_label(label: &str) -> Result<(String, String), DeskError> {
    let parts = label.split_once('=').filter(|(key, _)| !key.is_empty());
    let Some((key, value)) = parts else {
        return Err(DeskError::Refused("a label is written `key=value`".to_owned()));
    };
    Ok((key.to_owned(), value.to_owned()))
}

/// `POST state/move`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveOrder {
    /// The name that the publication had.
    pub old: String,
    /// The name that it has now.
    pub new: String,
}

/// How many items an order was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counted {
    pub count: u64,
}

/// The pairs that an order changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    pub pairs: Vec<PairId>,
}
