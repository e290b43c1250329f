//! Writing to an Ed-Fi API.
//!
//! What lives here: one request a method, and what its answer means. What does not: retries and
//! tokens (`http/`), discovery and the differences between versions (`edfi/`). The one thing to
//! know: nothing is believed by its status alone. A sign-in page is no upsert, a page of strangers
//! is no match, and what cannot be read is never an empty answer.

mod lookup;
mod pages;
mod quick;
mod refusal;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::domain::{
    Body, ChangeVersion, Item, KeyShape, NaturalKey, ParkReason, Position, ResourceGraph,
    ResourcePath, TargetId,
};
use crate::edfi::json::{is_markup, single_item, split_page};
use crate::edfi::{Api, ApiError, Problem, lookup as asking};
use crate::http::{ApiRequest, ApiResponse, HttpError};
use crate::targets::{
    Deleted, Disposition, Found, FoundPages, Match, Refusal, Target, TargetCapabilities, Upserted,
    WriteError,
};

pub use wire::{cut, cut_what_was_read};

use refusal::{Doing, classify};

/// An Ed-Fi API as a target.
pub struct EdfiTarget {
    api: Arc<Api>,
}

impl EdfiTarget {
    pub fn new(api: Arc<Api>) -> EdfiTarget {
        EdfiTarget { api }
    }
}

#[async_trait]
impl Target for EdfiTarget {
    async fn capabilities(&self) -> Result<Arc<TargetCapabilities>, WriteError> {
        let discovery = self.api.discovered().await?;
        Ok(Arc::new(TargetCapabilities {
            api_version: discovery.root.version.clone(),
            fingerprint: discovery.fingerprint.clone(),
        }))
    }

    async fn resources(&self) -> Result<Arc<ResourceGraph>, WriteError> {
        Ok(self.api.dependencies().await?)
    }

    async fn newest(&self) -> Result<Option<ChangeVersion>, WriteError> {
        let at = At { api: &self.api, doing: "reading the newest change version", resource: None };
        let discovery = self.api.discovered().await?;
        let answer = at.send(ApiRequest::get(discovery.available_change_versions())).await?;
        // The feature is off, or not for these credentials: it is not offered (R18).
        if matches!(answer.status().as_u16(), 403..=405) {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(at.refused(Doing::Read, &answer));
        }
        wire::newest_change_version(answer.body()).map(Some).map_err(|what| at.shape(what))
    }

    async fn upsert(&self, resource: &ResourcePath, item: &Item) -> Result<Upserted, WriteError> {
        let at = self.at("writing an item of", resource);
        let discovery = self.api.discovered().await?;
        let body = at.body_for_target(resource, &item.body)?;
        let answer = at.send(ApiRequest::post(discovery.collection(resource)).json(body)).await?;
        if !answer.status().is_success() {
            return Err(at.refused(Doing::Post, &answer));
        }
        at.not_for_people(&answer)?;
        Ok(Upserted {
            id: answer.header("location").and_then(wire::id_of_location),
            created: answer.status().as_u16() == 201,
        })
    }

    async fn rename(
        &self,
        resource: &ResourcePath,
        id: &TargetId,
        item: &Item,
    ) -> Result<(), WriteError> {
        let at = self.at("renaming an item of", resource);
        let discovery = self.api.discovered().await?;
        let mut body = at.body_for_target(resource, &item.body)?;
        if discovery.dialect.put_names_its_id {
            body = wire::naming(id, &body);
        }
        let answer = at.send(ApiRequest::put(discovery.item(resource, &id.0)).json(body)).await?;
        if !answer.status().is_success() {
            return Err(at.refused(Doing::Put, &answer));
        }
        at.not_for_people(&answer)
    }

    async fn delete(&self, resource: &ResourcePath, id: &TargetId) -> Result<Deleted, WriteError> {
        let at = self.at("deleting an item of", resource);
        let discovery = self.api.discovered().await?;
        let answer = at.send(ApiRequest::delete(discovery.item(resource, &id.0))).await?;
        if matches!(answer.status().as_u16(), 404 | 410) {
            return Ok(Deleted::AlreadyGone);
        }
        if !answer.status().is_success() {
            return Err(at.refused(Doing::Delete, &answer));
        }
        at.not_for_people(&answer)?;
        Ok(Deleted::Deleted)
    }

    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Match, WriteError> {
        // Nothing to ask by would bring anything: the only item of a collection is no match.
        if key.is_empty() {
            return Ok(Match::Doubtful { members: Vec::new() });
        }
        let at = self.at("looking up an item of", resource);
        let discovery = self.api.discovered().await?;
        let shape = self.api.key_shape(resource).await?;
        let url = asking::by_key(&discovery, resource, key, shape.as_deref());
        let answer = at.send(ApiRequest::get(url.clone())).await?;
        // A value that the server cannot even read as one of the key's: in doubt, not absent.
        if answer.status().as_u16() == 400 {
            let members = Problem::parse(400, answer.body()).members;
            return Ok(Match::Doubtful { members });
        }
        let page = at.page(&answer)?;

        let wanted = shape.as_ref().map_or_else(|| key.clone(), |shape| shape.in_own_words(key));
        let seen = page.len();
        let judged = lookup::judge(&wanted, shape.as_deref(), page);
        if seen == 0 || !matches!(judged, Match::None) {
            return Ok(judged);
        }
        // Strangers came back: a part of the key was not listened to. Only if they are all that
        // there is does their being strangers say that the item is not there.
        let rest = asking::beginning_at(url, seen as u64);
        let rest = at.send(ApiRequest::get(rest)).await?;
        if at.page(&rest)?.is_empty() {
            return Ok(Match::None);
        }
        Ok(Match::Doubtful { members: wanted.iter().map(|(name, _)| name.to_owned()).collect() })
    }

    async fn get(
        &self,
        resource: &ResourcePath,
        id: &TargetId,
    ) -> Result<Option<Found>, WriteError> {
        let at = self.at("reading an item of", resource);
        let discovery = self.api.discovered().await?;
        let shape = self.api.key_shape(resource).await?;
        let answer = at.send(ApiRequest::get(discovery.item(resource, &id.0))).await?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(at.refused(Doing::Read, &answer));
        }
        let item = single_item(answer.body()).map_err(|error| at.shape(error.what))?;
        Ok(Some(found(item, shape.as_deref())))
    }

    async fn count(&self, resource: &ResourcePath) -> Result<u64, WriteError> {
        let at = self.at("counting the items of", resource);
        let discovery = self.api.discovered().await?;
        let mut url = discovery.collection(resource);
        url.query_pairs_mut().append_pair("totalCount", "true").append_pair("limit", "0");
        let answer = at.send(ApiRequest::get(url)).await?;
        at.page(&answer)?;
        let count = answer.header("total-count").and_then(|count| count.trim().parse().ok());
        count.ok_or_else(|| at.shape("the answer has no `Total-Count`".to_owned()))
    }

    fn pages(&self, resource: &ResourcePath) -> Box<dyn FoundPages> {
        Box::new(pages::Pages::new(Arc::clone(&self.api), resource.clone()))
    }

    fn pages_from(
        &self,
        resource: &ResourcePath,
        position: &Position,
    ) -> Option<Box<dyn FoundPages>> {
        let pages = pages::Pages::from(Arc::clone(&self.api), resource.clone(), position);
        Some(Box::new(pages))
    }

    async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, WriteError> {
        Ok(self.api.key_shape(resource).await?)
    }

    fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<dyn Target> {
        Arc::new(EdfiTarget::new(self.api.for_run(run, stop)))
    }

    fn requests(&self) -> u64 {
        self.api.requests()
    }

    fn at_once(&self) -> usize {
        self.api.at_once()
    }
}

impl EdfiTarget {
    fn at<'a>(&'a self, doing: &'static str, resource: &'a ResourcePath) -> At<'a> {
        At { api: &self.api, doing, resource: Some(resource) }
    }
}

/// In bytes. No item of a school is as large; one that is would cost a target's memory first.
const LARGEST_ITEM: usize = 16 << 20;

/// What is being done at which connection: the beginning of every error's text.
struct At<'a> {
    api: &'a Api,
    doing: &'static str,
    resource: Option<&'a ResourcePath>,
}

impl At<'_> {
    fn doing(&self) -> String {
        match self.resource {
            Some(resource) => format!("{} {resource}", self.doing),
            None => self.doing.to_owned(),
        }
    }

    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, WriteError> {
        self.api.send(request).await.map_err(|source| self.http(source))
    }

    /// What of a body a target may see. One that is not JSON never left a page reader; if it did,
    /// it is this item that is wrong and not the target.
    fn body_for_target(&self, resource: &ResourcePath, body: &Body) -> Result<Bytes, WriteError> {
        if body.bytes().len() > LARGEST_ITEM {
            let what = "the item is larger than 16 MiB and was not sent";
            return Err(self.not_sent(ParkReason::TooLarge, what));
        }
        wire::cut_what_was_read(resource, body).map_err(|_| {
            self.not_sent(ParkReason::Invalid, "the item is not a JSON object and was not sent")
        })
    }

    fn not_sent(&self, reason: ParkReason, what: &str) -> WriteError {
        WriteError::Refused {
            connection: self.api.connection().to_owned(),
            doing: self.doing(),
            disposition: Disposition::Park(reason),
            refusal: Box::new(Refusal { detail: Some(what.to_owned()), ..Refusal::default() }),
        }
    }

    /// The items of a page that was asked for, or what the refusal means.
    fn page(&self, answer: &ApiResponse) -> Result<Vec<Item>, WriteError> {
        if !answer.status().is_success() {
            return Err(self.refused(Doing::Read, answer));
        }
        split_page(answer.body()).map_err(|error| self.shape(error.what))
    }

    /// A sign-in page answers 200 to everything, and has written nothing.
    fn not_for_people(&self, answer: &ApiResponse) -> Result<(), WriteError> {
        match is_markup(answer.body()) {
            true => Err(self.shape("the answer is HTML or XML".to_owned())),
            false => Ok(()),
        }
    }

    fn refused(&self, doing: Doing, answer: &ApiResponse) -> WriteError {
        let problem = Problem::parse(answer.status().as_u16(), answer.body());
        let (disposition, refusal) = classify(doing, problem);
        let refusal = Box::new(refusal);
        let connection = self.api.connection().to_owned();
        WriteError::Refused { connection, doing: self.doing(), disposition, refusal }
    }

    fn shape(&self, what: String) -> WriteError {
        let connection = self.api.connection().to_owned();
        WriteError::Shape { connection, doing: self.doing(), what }
    }

    fn http(&self, source: HttpError) -> WriteError {
        let connection = self.api.connection().to_owned();
        WriteError::Http { connection, doing: self.doing(), source: Box::new(source) }
    }
}

fn found(item: Item, shape: Option<&KeyShape>) -> Found {
    let key = shape.and_then(|shape| shape.key_of(&item.body));
    Found { id: TargetId(item.id.0), key, body: item.body }
}

impl From<ApiError> for WriteError {
    fn from(error: ApiError) -> WriteError {
        match error {
            ApiError::Http { connection, doing, source } => {
                WriteError::Http { connection, doing, source: Box::new(source) }
            }
            ApiError::Shape { connection, doing, what } => {
                WriteError::Shape { connection, doing, what }
            }
            ApiError::Refused { connection, doing, status } => WriteError::Unusable {
                connection,
                what: format!("{doing} was refused with status {status}"),
            },
            ApiError::Unusable { connection, what } => WriteError::Unusable { connection, what },
        }
    }
}
