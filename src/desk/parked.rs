//! Parked and dead items, as they are shown and chosen.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Selectors;
use super::causes::{cause, leaves};
use super::wording::{moment, word};
use crate::clock::Timestamp;
use crate::domain::{NaturalKey, ParkReason, ResourcePath};
use crate::state::{Operation, PairId, ParkStatus, Parked, RefusalRecord, WaitsFor};

/// One parked item (contract, `items[]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParkedItem {
    pub id: String,
    pub publication: String,
    pub target: String,
    #[schema(value_type = String, example = "/ed-fi/students")]
    pub resource: ResourcePath,
    /// `None` where it is not known, or not for the caller to see.
    #[schema(value_type = Option<BTreeMap<String, Value>>)]
    pub key: Option<NaturalKey>,
    pub operation: Operation,
    pub status: ParkStatus,
    pub reason: ParkReason,
    pub error: RefusalRecord,
    pub attempts: u32,
    #[schema(value_type = String, format = DateTime)]
    pub first_seen_at: Timestamp,
    /// `None` for a dead one: nothing is planned.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    pub waits_for: Option<WaitsFor>,
}

impl ParkedItem {
    /// What a table of items for another program begins with: the members of the contract's JSON.
    pub const COLUMNS: [&str; 15] = [
        "id",
        "publication",
        "target",
        "resource",
        "key",
        "operation",
        "status",
        "reason",
        "error_status",
        "error_type",
        "error_members",
        "attempts",
        "first_seen_at",
        "next_attempt_at",
        "waits_for",
    ];

    /// One for each of [`ParkedItem::COLUMNS`].
    pub fn cells(&self) -> [String; 15] {
        [
            self.id.clone(),
            self.publication.clone(),
            self.target.clone(),
            self.resource.to_string(),
            self.key.as_ref().map(leaves).unwrap_or_default(),
            word(&self.operation),
            word(&self.status),
            self.reason.as_str().to_owned(),
            self.error.status.to_string(),
            self.error.kind.clone().unwrap_or_default(),
            self.error.members.join(" "),
            self.attempts.to_string(),
            moment(self.first_seen_at),
            self.next_attempt_at.map(moment).unwrap_or_default(),
            self.waits_for.as_ref().map(cause).unwrap_or_default(),
        ]
    }

    pub fn new(pair: &PairId, parked: Parked) -> ParkedItem {
        let planned = parked.status == ParkStatus::Parked;
        ParkedItem {
            id: parked.id,
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            resource: parked.resource,
            key: parked.key,
            operation: parked.operation,
            status: parked.status,
            reason: parked.reason,
            error: parked.error,
            attempts: parked.attempts,
            first_seen_at: parked.first_seen_at,
            next_attempt_at: planned.then_some(parked.next_attempt_at),
            waits_for: parked.waits_for,
        }
    }

    pub fn pair(&self) -> PairId {
        PairId { publication: self.publication.clone(), target: self.target.clone() }
    }

    /// Without the keys, for who may not see them.
    pub fn masked(self) -> ParkedItem {
        ParkedItem { key: None, waits_for: None, ..self }
    }
}

/// Which items of the pairs; each given member narrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// By path or by collection alone.
    pub resource: Option<String>,
    pub reason: Option<ParkReason>,
    pub status: Option<ParkStatus>,
}

impl ParkedFilter {
    pub fn admits(&self, parked: &Parked) -> bool {
        self.fits(&parked.resource, parked.reason, parked.status)
    }

    /// The same of one that is shown.
    pub fn admits_shown(&self, item: &ParkedItem) -> bool {
        self.fits(&item.resource, item.reason, item.status)
    }

    fn fits(&self, resource: &ResourcePath, reason: ParkReason, status: ParkStatus) -> bool {
        self.resource.as_ref().is_none_or(|name| {
            resource.as_str() == name.as_str() || resource.collection() == name.as_str()
        }) && self.reason.is_none_or(|wanted| wanted == reason)
            && self.status.is_none_or(|wanted| wanted == status)
    }
}

/// Items by their ids, or those of pairs that a filter admits; with both, all of them, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedChoice {
    /// Whole, or as much as only one begins with.
    pub ids: Vec<String>,
    /// `None`: those with these ids alone.
    pub which: Option<(Selectors, ParkedFilter)>,
}

/// What a person does about it.
pub fn advice(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Invalid => {
            "the target does not take the content: correct it at the source, or what the target \
             expects of it"
        }
        ParkReason::Forbidden => {
            "the credentials may not write it: publish what links it to their organizations, or \
             have them widened"
        }
        ParkReason::UnresolvedReference => {
            "something it refers to is not at the target: publish that, and it follows"
        }
        ParkReason::ReferenceOutsideSelection => {
            "it refers to a resource that is not selected: include that, or exclude this"
        }
        ParkReason::StillReferenced => {
            "something at the target still refers to it: it goes when that has gone"
        }
        ParkReason::Taken => {
            "its key or a unique value is taken at the target: see what has it there"
        }
        ParkReason::TooLarge => "it is larger than the target takes: have its limit raised",
        ParkReason::Contended => "others write it at the same moment: it is tried again",
        ParkReason::Doubtful => {
            "it cannot be told apart at the target, so it was left alone: look at it there"
        }
        ParkReason::ResourceClosed => {
            "the target refuses the whole resource: have the credentials' claim set widened, then \
             `tidemark parked retry --reason resource-closed`"
        }
        ParkReason::WaitsForNewKey => "its old key stays until the item under its new key is taken",
    }
}
