//! Orders as JSON: the bodies that the admin API takes and a command that asks a daemon sends.
//!
//! What lives here: the forms, and what each means at the [`Desk`](super::Desk). What does not: who
//! may give an order (`server/`). The one thing to know: a member that is not known is a mistake, so
//! that a misspelt filter never widens an order.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Approval, Comparing, Decided, DeskError, Moved, ParkedChoice, ParkedFilter, Selectors,
};
use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, NaturalKey, ParkReason, ResourcePath};
use crate::state::{ErasedKey, PairId, ParkStatus};

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

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Deletes => "deletes",
            Decision::SameData => "same-data",
            Decision::StartOver => "start-over",
        }
    }
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

/// What an approval would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WouldDecide {
    /// `null` where there is nothing of the kind to decide.
    pub decided: Option<Decided>,
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

/// `POST verify/{publication}/{target}`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompareOrder {
    /// By path or by collection alone; none is every selected one.
    pub resources: Vec<String>,
    /// Compare the bodies too; also where the publication says so.
    pub content: bool,
}

impl CompareOrder {
    pub fn comparing(self) -> Comparing {
        let CompareOrder { resources, content } = self;
        Comparing { resources, content, ..Comparing::default() }
    }
}

/// `POST verify/{publication}/{target}/repair`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RepairOrder {
    /// By path or by collection alone; none is every selected one.
    pub resources: Vec<String>,
    /// Compare the bodies too; also where the publication says so.
    pub content: bool,
    /// Publish what is missing or different.
    pub repair: bool,
    /// Delete what only the target has: where the pair alone writes to it.
    pub delete_extra: bool,
    /// Delete more than `max_deletes` allows.
    pub allow_deletes: bool,
}

impl RepairOrder {
    pub fn new(wanted: &Comparing) -> RepairOrder {
        let Comparing { resources, content, repair, delete_extra, allow_deletes } = wanted.clone();
        RepairOrder { resources, content, repair, delete_extra, allow_deletes }
    }

    pub fn comparing(self) -> Result<Comparing, DeskError> {
        let RepairOrder { resources, content, repair, delete_extra, allow_deletes } = self;
        if !repair && !delete_extra {
            return Err(DeskError::Refused(
                "say what is to be repaired: `repair`, `delete_extra`, or both".to_owned(),
            ));
        }
        Ok(Comparing { resources, content, repair, delete_extra, allow_deletes })
    }
}

/// `POST forget`. The key cannot be printed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetOrder {
    /// Whose key it is, by path.
    #[schema(value_type = String, example = "/ed-fi/students")]
    pub resource: ResourcePath,
    #[schema(value_type = BTreeMap<String, Value>)]
    pub key: NaturalKey,
    /// Only count the records that would be changed or removed.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for whoever asks later; never the key.
    #[serde(default)]
    pub reason: Option<String>,
}

impl ForgetOrder {
    pub fn new(key: &ErasedKey, dry_run: bool, reason: Option<&str>) -> ForgetOrder {
        let ErasedKey { resource, key } = key.clone();
        ForgetOrder { resource, key, dry_run, reason: reason.map(str::to_owned) }
    }

    pub fn erased(&self) -> Result<ErasedKey, DeskError> {
        let resource = ResourcePath::parse(self.resource.as_str());
        match resource.filter(|_| !self.key.is_empty()) {
            Some(resource) => Ok(ErasedKey { resource, key: self.key.clone() }),
            None => Err(DeskError::Refused(
                "`resource` is a path such as `/ed-fi/students`, and `key` has a member".to_owned(),
            )),
        }
    }
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

/// `PUT log-level`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevelOrder {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Such as `10m`, which is usual; at most a day.
    #[serde(default)]
    pub r#for: Option<String>,
}

impl LogLevelOrder {
    /// Without a word about it.
    pub const USUALLY: Duration = Duration::from_secs(10 * 60);
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    pub fn new(level: &str, lasting: Duration) -> LogLevelOrder {
        let lasting = humantime::format_duration(lasting).to_string();
        LogLevelOrder { level: level.to_owned(), r#for: Some(lasting) }
    }

    pub fn lasting(&self) -> Result<Duration, DeskError> {
        let Some(text) = &self.r#for else { return Ok(LogLevelOrder::USUALLY) };
        let lasting = humantime::parse_duration(text).ok();
        let lasting = lasting.filter(|lasting| !lasting.is_zero() && *lasting <= Self::LONGEST);
        lasting.ok_or_else(|| {
            DeskError::Refused("`for` is a duration such as `10m`, at most a day".to_owned())
        })
    }
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
