//! How this protocol's reads are spelt: one view's header on every one of them, what an answer
//! that is not a page means, and the records of each feed.
//!
//! The one thing to know: nothing but a whole array of objects ever becomes a page. No message of
//! this module holds a query, a body or a key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::limit::{LimitRefusal, PageLimit, Portion};
use super::paging::{CursorPage, CursorRequests};
use super::ranges::{Answer, Range, RangeRequests};
use crate::domain::{
    ChangeVersion, Item, KeyChange, NaturalKey, ResourcePath, SourceId, Tombstone,
};
use crate::edfi::json::split_objects;
use crate::edfi::{Api, ApiError, Discovery, Meaning, PageShapeError, Problem, split_page};
use crate::http::{ApiRequest, ApiResponse, Disposition, HttpError};
use crate::sources::SourceError;

/// What is being read, as messages say it.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    Newest,
    Snapshots,
    Items(ResourcePath),
    Partitions(ResourcePath),
    OneItem(ResourcePath),
    Deletes(ResourcePath),
    KeyChanges(ResourcePath),
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reading::Newest => f.write_str("reading the newest change version"),
            Reading::Snapshots => f.write_str("listing the snapshots"),
            Reading::Items(resource) => write!(f, "reading {resource}"),
            Reading::Partitions(resource) => write!(f, "reading the partitions of {resource}"),
            Reading::OneItem(resource) => write!(f, "looking up an item of {resource}"),
            Reading::Deletes(resource) => write!(f, "reading the deletes of {resource}"),
            Reading::KeyChanges(resource) => write!(f, "reading the key changes of {resource}"),
        }
    }
}

impl Reading {
    /// What to do about a refusal.
    fn advice(&self, status: u16) -> String {
        match (self, status) {
            (Reading::Items(resource) | Reading::OneItem(resource), 403) => format!(
                "; the credentials may not read {resource}: grant Read, or exclude it with `resources.exclude_only`"
            ),
            (Reading::Deletes(resource) | Reading::KeyChanges(resource), 403) => format!(
                "; the credentials may not read changes of {resource}: grant ReadChanges, or exclude it with `resources.exclude_only`"
            ),
            (Reading::Snapshots, 403) => {
                "; the credentials may not read snapshots: grant Read on publishing/snapshots, or set `isolation: bounded`".to_owned()
            }
            (Reading::Items(resource) | Reading::OneItem(resource), 404 | 405) => format!(
                "; the API does not serve {resource}: exclude it with `resources.exclude_only`"
            ),
            (
                Reading::Deletes(resource) | Reading::KeyChanges(resource),
                404 | 405,
            ) => format!(
                "; the API does not tell changes of {resource}: turn on its change queries, or set `deletes: skip` and `key_changes: skip`"
            ),
            (Reading::Newest, 404 | 405) => {
                "; the API does not serve change queries: turn them on at the source".to_owned()
            }
            (_, _) => String::new(),
        }
    }
}

/// One view of one API: what it is and the header that holds it still.
pub(super) struct View {
    api: Arc<Api>,
    discovery: Arc<Discovery>,
    /// Sent with every read; none for the live view.
    header: Option<(&'static str, String)>,
}

impl View {
    /// The same view for one run.
    pub(super) fn for_run(&self, run: &str, stop: CancellationToken) -> View {
        View {
            api: self.api.for_run(run, stop),
            discovery: Arc::clone(&self.discovery),
            header: self.header.clone(),
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.api.requests()
    }

    pub(super) fn live(api: Arc<Api>, discovery: Arc<Discovery>) -> View {
        View { api, discovery, header: None }
    }

    pub(super) fn held_by(
        api: Arc<Api>,
        discovery: Arc<Discovery>,
        header: (&'static str, String),
    ) -> View {
        View { api, discovery, header: Some(header) }
    }

    /// The live view of the same API.
    pub(super) fn without_header(&self) -> View {
        View::live(Arc::clone(&self.api), Arc::clone(&self.discovery))
    }

    pub(super) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    pub(super) fn connection(&self) -> &str {
        self.api.connection()
    }

    /// The value of the header that holds the view, where there is one.
    pub(super) fn header_value(&self) -> Option<&str> {
        self.header.as_ref().map(|(_, value)| value.as_str())
    }

    /// Reads `url` under the view. Any status that is the caller's to interpret comes back, but
    /// for the one that says that the snapshot has gone.
    pub(super) async fn get(
        &self,
        reading: &Reading,
        url: Url,
    ) -> Result<ApiResponse, SourceError> {
        let answer = self.exchange(ApiRequest::get(url)).await;
        self.held_still(answer.map_err(|source| self.unanswered(reading, source))?)
    }

    /// Reads `url` under the view and wants 200.
    pub(super) async fn read(
        &self,
        reading: &Reading,
        url: Url,
    ) -> Result<ApiResponse, SourceError> {
        let response = self.get(reading, url).await?;
        if response.status().as_u16() == 200 {
            return Ok(response);
        }
        Err(self.refused(reading, &response))
    }

    /// Reads a page of the `portion` of the limit in force. What is too much for the server is
    /// learnt for good, what is too much for us or does not come in time for this portion alone,
    /// and the page is asked for again with less; how many records were asked for in the end comes
    /// back too.
    pub(super) async fn get_page(
        &self,
        reading: &Reading,
        limit: &PageLimit,
        portion: &Portion,
        url: impl Fn(usize) -> Url + Send + Sync,
    ) -> Result<(ApiResponse, usize), SourceError> {
        loop {
            let asked = portion.of(limit.get());
            let mut request = ApiRequest::get(url(asked));
            if asked > 1 {
                request = request.divisible();
            }
            match self.exchange(request).await {
                Ok(response) if is_refused_for_less(&response, limit, asked) => tracing::info!(
                    connection = self.connection(),
                    asked,
                    limit = limit.get(),
                    "the API allows smaller pages than `page_size`"
                ),
                Ok(response) => {
                    portion.was_received(asked);
                    return Ok((self.held_still(response)?, asked));
                }
                Err(error) if asked > 1 && error.disposition() == Disposition::AskForLess => {
                    portion.was_too_much(asked);
                    tracing::info!(
                        connection = self.connection(),
                        asked,
                        kind = error.kind(),
                        "a page was too much: it is asked for in smaller ones"
                    );
                }
                Err(source) => return Err(self.unanswered(reading, source)),
            }
        }
    }

    async fn exchange(&self, request: ApiRequest) -> Result<ApiResponse, HttpError> {
        let mut request = request;
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        self.api.send(request).await
    }

    /// The answer, unless it says that what holds the view still has gone.
    fn held_still(&self, response: ApiResponse) -> Result<ApiResponse, SourceError> {
        if self.header.is_some() && says_snapshot_is_missing(&response) {
            return Err(self.snapshot_missing());
        }
        Ok(response)
    }

    /// How many records `url` stands for, in one request: one record is asked for, because servers
    /// differ in whether none may be (`edfi-wire §4`).
    pub(super) async fn count(&self, reading: &Reading, url: Url) -> Result<u64, SourceError> {
        let mut url = url;
        url.query_pairs_mut().append_pair("limit", "1").append_pair("totalCount", "true");
        let response = self.read(reading, url).await?;
        total_count(&response).ok_or_else(|| {
            self.shape(reading, "the count that was asked for (`Total-Count`) is missing")
        })
    }

    /// Where each of about `number` parts of a window begins, as cursors; empty where the server
    /// does not cut it up (`edfi-wire §4`). It is worth nothing but speed, so that it is refused is
    /// no error.
    pub(super) async fn partitions(
        &self,
        resource: &ResourcePath,
        window: Range,
        number: usize,
    ) -> Result<Vec<String>, SourceError> {
        #[derive(Deserialize)]
        struct Partitions {
            #[serde(rename = "pageTokens")]
            page_tokens: Vec<String>,
        }
        let mut url = with_range(self.discovery.partitions(resource), window);
        url.query_pairs_mut().append_pair("number", &number.to_string());
        let answer = match self.get(&Reading::Partitions(resource.clone()), url).await {
            Ok(answer) if answer.status().as_u16() == 200 => answer,
            Err(error @ SourceError::SnapshotMissing { .. }) => return Err(error),
            Ok(_) | Err(_) => return Ok(Vec::new()),
        };
        let told: Option<Partitions> = serde_json::from_slice(answer.body()).ok();
        Ok(told.map_or_else(Vec::new, |told| told.page_tokens))
    }

    /// The newest change version that the view knows.
    pub(super) async fn newest(&self) -> Result<ChangeVersion, SourceError> {
        Ok(self.versions().await?.newest)
    }

    /// The change versions that the view knows.
    pub(super) async fn versions(&self) -> Result<Versions, SourceError> {
        let reading = Reading::Newest;
        let response = self.read(&reading, self.discovery.available_change_versions()).await?;
        Versions::read(response.body()).ok_or_else(|| {
            self.shape(&reading, "the answer is no JSON object with a `newestChangeVersion`")
        })
    }

    fn unanswered(&self, reading: &Reading, source: HttpError) -> SourceError {
        SourceError::Http {
            connection: self.connection().to_owned(),
            reading: reading.to_string(),
            source: Box::new(source),
        }
    }

    pub(super) fn snapshot_missing(&self) -> SourceError {
        SourceError::SnapshotMissing { connection: self.connection().to_owned() }
    }

    pub(super) fn snapshot_replaced(&self) -> SourceError {
        SourceError::SnapshotReplaced { connection: self.connection().to_owned() }
    }

    pub(super) fn shape(&self, reading: &Reading, what: &str) -> SourceError {
        SourceError::Shape {
            connection: self.connection().to_owned(),
            reading: reading.to_string(),
            what: what.to_owned(),
        }
    }

    pub(super) fn refused(&self, reading: &Reading, response: &ApiResponse) -> SourceError {
        let status = response.status().as_u16();
        SourceError::Refused {
            connection: self.connection().to_owned(),
            reading: reading.to_string(),
            status,
            advice: reading.advice(status),
        }
    }
}

/// Whether the server takes less than was asked for, which is learnt, and can be asked for it.
fn is_refused_for_less(response: &ApiResponse, limit: &PageLimit, asked: usize) -> bool {
    if response.status().as_u16() != 400 {
        return false;
    }
    let refusal = LimitRefusal::read(response.body());
    refusal.is_some_and(|refusal| limit.refused(asked, refusal.most))
}

/// 410 is 6.x and before, 404 with a word about it is 7.x (`edfi-wire §3`).
fn says_snapshot_is_missing(response: &ApiResponse) -> bool {
    match response.status().as_u16() {
        410 => true,
        404 => {
            let body = response.body();
            Problem::parse(404, body).meaning == Meaning::SnapshotMissing
                || String::from_utf8_lossy(body).to_lowercase().contains("snapshot not ")
        }
        _ => false,
    }
}

/// What `availableChangeVersions` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    /// Of the feeds of names. Every version so far answers 0 (`edfi-wire §3`).
    pub(super) oldest: ChangeVersion,
    pub(super) newest: ChangeVersion,
}

impl Versions {
    /// Older versions spell the members with a capital (`edfi-wire §3`).
    fn read(body: &Bytes) -> Option<Versions> {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
        let version = |wanted: &str| {
            let (_, value) = members.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            value.get().parse().ok().map(ChangeVersion)
        };
        let oldest = version("oldestChangeVersion").unwrap_or(ChangeVersion(0));
        Some(Versions { oldest, newest: version("newestChangeVersion")? })
    }
}

fn total_count(response: &ApiResponse) -> Option<u64> {
    response.header("total-count")?.trim().parse().ok()
}

/// What went wrong while the API was being understood, as what it means for reading.
pub(super) fn not_understood(error: ApiError) -> SourceError {
    match error {
        ApiError::Http { connection, doing, source } => {
            SourceError::Http { connection, reading: doing, source: Box::new(source) }
        }
        ApiError::Shape { connection, doing, what } => {
            SourceError::Shape { connection, reading: doing, what }
        }
        ApiError::Refused { connection, doing, status } => {
            SourceError::Refused { connection, reading: doing, status, advice: String::new() }
        }
        ApiError::Unusable { connection, what } => SourceError::Unusable { connection, what },
    }
}

/// The requests for one feed of one resource under one view.
pub(super) struct Requests<T> {
    view: Arc<View>,
    reading: Reading,
    url: Url,
    limit: Arc<PageLimit>,
    portion: Portion,
    records_of: fn(&Bytes) -> Result<Vec<T>, PageShapeError>,
    /// Where the cursor begins; ranges bring their own edges.
    window: Range,
}

impl Requests<Item> {
    pub(super) fn items(
        view: Arc<View>,
        resource: &ResourcePath,
        limit: Arc<PageLimit>,
        window: Range,
    ) -> Requests<Item> {
        let url = view.discovery().collection(resource);
        let reading = Reading::Items(resource.clone());
        let portion = Portion::whole();
        Requests { view, reading, url, limit, portion, records_of: split_page, window }
    }
}

impl Requests<KeyChange> {
    pub(super) fn key_changes(
        view: Arc<View>,
        resource: &ResourcePath,
        limit: Arc<PageLimit>,
    ) -> Requests<KeyChange> {
        let url = view.discovery().key_changes(resource);
        let reading = Reading::KeyChanges(resource.clone());
        let window = Range::open(0);
        let portion = Portion::whole();
        Requests { view, reading, url, limit, portion, records_of: key_changes_of, window }
    }
}

impl Requests<Tombstone> {
    pub(super) fn tombstones(
        view: Arc<View>,
        resource: &ResourcePath,
        limit: Arc<PageLimit>,
    ) -> Requests<Tombstone> {
        let url = view.discovery().deletes(resource);
        let reading = Reading::Deletes(resource.clone());
        let window = Range::open(0);
        let portion = Portion::whole();
        Requests { view, reading, url, limit, portion, records_of: tombstones_of, window }
    }
}

impl<T> Requests<T> {
    /// A page of this feed, or why there is none.
    async fn page_of(
        &self,
        url: impl Fn(usize) -> Url + Send + Sync,
    ) -> Result<(ApiResponse, usize), SourceError> {
        let (response, asked) =
            self.view.get_page(&self.reading, &self.limit, &self.portion, url).await?;
        if response.status().as_u16() == 200 {
            return Ok((response, asked));
        }
        Err(self.view.refused(&self.reading, &response))
    }

    fn records(&self, response: &ApiResponse) -> Result<Vec<T>, SourceError> {
        (self.records_of)(response.body())
            .map_err(|error| self.view.shape(&self.reading, &error.what))
    }

    fn nonsense(&self, what: &str) -> SourceError {
        self.view.shape(&self.reading, what)
    }
}

/// Adds the edges of `range` to the query. From the very beginning no lower edge is sent, so that
/// rows without a version are not left out.
pub(super) fn with_range(mut url: Url, range: Range) -> Url {
    let mut query = url.query_pairs_mut();
    if range.from > 0 {
        query.append_pair("minChangeVersion", &range.from.to_string());
    }
    if let Some(to) = range.to {
        query.append_pair("maxChangeVersion", &to.to_string());
    }
    drop(query);
    url
}

#[async_trait]
impl<T: Send> RangeRequests for Requests<T> {
    type Record = T;

    fn limit(&self) -> &PageLimit {
        &self.limit
    }

    async fn ask(&self, range: Range, count: bool) -> Result<Answer<T>, SourceError> {
        let url = with_range(self.url.clone(), range);
        let ask_for = |limit: usize| {
            let mut url = url.clone();
            url.query_pairs_mut()
                .append_pair("offset", "0")
                .append_pair("limit", &limit.to_string());
            if count {
                url.query_pairs_mut().append_pair("totalCount", "true");
            }
            url
        };
        let (response, limit) = self.page_of(ask_for).await?;
        let total = total_count(&response).filter(|_| count);
        Ok(Answer { records: self.records(&response)?, limit, total })
    }

    async fn newest(&self) -> Result<ChangeVersion, SourceError> {
        self.view.newest().await
    }

    fn nonsense(&self, what: &str) -> SourceError {
        Requests::nonsense(self, what)
    }

    fn too_many_at_once(&self) -> SourceError {
        SourceError::Unusable {
            connection: self.view.connection().to_owned(),
            what: format!(
                "{}: one change version holds more than the {} records of one answer; raise `page_size`, and the API's own limit",
                self.reading,
                self.limit.get()
            ),
        }
    }
}

#[async_trait]
impl CursorRequests for Requests<Item> {
    fn limit(&self) -> &PageLimit {
        &self.limit
    }

    async fn page(&self, token: Option<&str>) -> Result<CursorPage, SourceError> {
        let url = with_range(self.url.clone(), self.window);
        let ask_for = |limit: usize| {
            let mut url = url.clone();
            let limit = limit.to_string();
            match token {
                None => url.query_pairs_mut().append_pair("limit", &limit),
                Some(token) => url
                    .query_pairs_mut()
                    .append_pair("pageToken", token)
                    .append_pair("pageSize", &limit),
            };
            url
        };
        let (response, limit) = self.page_of(ask_for).await?;
        let next = response.header("next-page-token").filter(|token| !token.is_empty());
        Ok(CursorPage { items: self.records(&response)?, limit, next: next.map(str::to_owned) })
    }

    fn nonsense(&self, what: &str) -> SourceError {
        Requests::nonsense(self, what)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTombstone {
    #[serde(alias = "Id")]
    id: String,
    change_version: i64,
    #[serde(default)]
    key_values: Option<NaturalKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKeyChange {
    id: String,
    change_version: i64,
    old_key_values: NaturalKey,
    new_key_values: NaturalKey,
}

fn tombstones_of(page: &Bytes) -> Result<Vec<Tombstone>, PageShapeError> {
    let tombstone = |record: WireTombstone| Tombstone {
        id: SourceId(record.id),
        version: ChangeVersion(record.change_version),
        key: record.key_values.filter(|key| !key.is_empty()),
    };
    records_of(
        page,
        tombstone,
        "the answer holds a delete without `id`, `changeVersion` or plain `keyValues`",
    )
}

fn key_changes_of(page: &Bytes) -> Result<Vec<KeyChange>, PageShapeError> {
    let key_change = |record: WireKeyChange| KeyChange {
        id: SourceId(record.id),
        version: ChangeVersion(record.change_version),
        old: record.old_key_values,
        new: record.new_key_values,
    };
    let wrong = "the answer holds a key change without `id`, `changeVersion` or plain key values";
    records_of(page, key_change, wrong)
}

/// The parser's own message could quote a key, so it is not repeated.
fn records_of<W, T>(page: &Bytes, record: fn(W) -> T, wrong: &str) -> Result<Vec<T>, PageShapeError>
where
    W: for<'de> Deserialize<'de>,
{
    let mut records = Vec::new();
    for object in split_objects(page)? {
        let read = serde_json::from_slice(&object)
            .map_err(|_| PageShapeError { what: wrong.to_owned() })?;
        records.push(record(read));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_read_in_every_casing() {
        for (case, body, wanted) in [
            ("7.3", r#"{"oldestChangeVersion":0,"newestChangeVersion":1234}"#, Some(1234)),
            ("5.2", r#"{"OldestChangeVersion":0,"NewestChangeVersion":7}"#, Some(7)),
            ("no number", r#"{"newestChangeVersion":"7"}"#, None),
            ("something else", "<html></html>", None),
            ("an array", "[]", None),
        ] {
            let read = Versions::read(&Bytes::from_static(body.as_bytes()));
            let newest = read.map(|versions| versions.newest);

            assert_eq!(newest, wanted.map(ChangeVersion), "{case}");
        }
    }

    #[test]
    fn from_the_beginning_no_lower_edge_is_sent() {
        let url = Url::parse("http://127.0.0.1/data").unwrap();
        for (case, range, wanted) in [
            ("first run", Range::closed(0, 9), Some("maxChangeVersion=9")),
            ("difference", Range::closed(3, 9), Some("minChangeVersion=3&maxChangeVersion=9")),
            ("no upper edge", Range::open(3), Some("minChangeVersion=3")),
        ] {
            assert_eq!(with_range(url.clone(), range).query(), wanted, "{case}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let students = ResourcePath::parse("/ed-fi/students").unwrap();
        for (case, reading, status, wanted) in [
            ("items", Reading::Items(students.clone()), 403, "grant Read,"),
            ("deletes", Reading::Deletes(students.clone()), 403, "grant ReadChanges"),
            ("key changes", Reading::KeyChanges(students), 404, "`key_changes: skip`"),
            ("snapshots", Reading::Snapshots, 403, "publishing/snapshots"),
            ("change queries", Reading::Newest, 404, "turn them on"),
        ] {
            let advice = reading.advice(status);

            assert!(advice.contains(wanted), "{case}: {advice}");
        }
    }
}
