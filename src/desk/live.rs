//! One parked item as it is now: at both ends, and after one attempt. Bodies pass through here and are
//! kept nowhere.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ParkedItem;
use crate::domain::ParkReason;
use crate::state::RefusalRecord;

/// A parked item, and what both ends show of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveItem {
    pub item: ParkedItem,
    pub source: LiveEnd,
    pub target: LiveEnd,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveEnd {
    pub shows: Shows,
    /// As the end spells it.
    #[schema(value_type = Option<serde_json::Value>)]
    pub body: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shows {
    Item,
    Nothing,
    /// It may be there; the credentials do not show it.
    Hidden,
    /// Something came back that is not surely the item.
    Doubtful,
    /// Its key is not known, so that it cannot be asked for.
    NotAsked,
}

/// One attempt of a parked item, of which nothing is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempted {
    pub item: ParkedItem,
    pub outcome: AttemptOutcome,
    /// Why it was refused this time.
    pub reason: Option<ParkReason>,
    pub error: Option<RefusalRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    Applied,
    /// There was nothing to write.
    Skipped,
    Refused,
    /// Only a run can tell: it waits for the associations or the deletes of one.
    WaitsForRun,
}
