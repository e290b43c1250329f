//! One Ed-Fi API, reached and understood.
//!
//! What lives here: what is asked now and then and kept. The one thing to know: everything is asked
//! when it is first needed, by one asker at a time, and a failure is not remembered. A run keeps the
//! root document that it began with; a later run looks again, because another database may stand
//! behind the same address by then (R19).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::dependencies::{self, DependenciesError};
use super::discovery::{Discovery, RootError};
use super::json::is_markup;
use super::open_api::{self, Members, Metadata};
use super::shapes::Shapes;
use crate::domain::{Fingerprint, KeyShape, ResourceGraph, ResourcePath};
use crate::http::{
    ApiClient, ApiRequest, ApiResponse, ClientOptions, ClientTls, ClosedUntil, Credentials,
    HttpError, HttpObserver, Origins, SecretSource, SharedLimit,
};

/// How long the root document and the dependencies are believed. Another database behind the same
/// address, or a new extension, is seen after that at the latest.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);

/// One connection, as the configuration describes it.
#[derive(Clone)]
pub struct ConnectionSettings {
    pub name: String,
    /// Where the root document is.
    pub url: Url,
    pub key: SecretSource,
    pub secret: SecretSource,
    pub token_url: Option<Url>,
    pub scope: Option<String>,
    pub school_year: Option<u16>,
    pub instance: Option<String>,
    pub timeout: Duration,
    pub max_concurrency: usize,
    /// 0: no fixed rate.
    pub max_requests_per_second: u32,
    /// Whom it trusts and what it shows.
    pub tls: ClientTls,
    pub shared_limit: Option<Arc<SharedLimit>>,
    /// Hours in which no request is sent.
    pub closed_until: Option<ClosedUntil>,
    /// How long the root document and the dependencies are believed: [`LOOK_AGAIN_AFTER`].
    pub look_again_after: Duration,
}

/// Why an API could not be understood. Each names the connection.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{doing} of connection `{connection}`")]
    Http {
        connection: String,
        doing: String,
        #[source]
        source: HttpError,
    },

    /// HTML, a truncated document, something else than was due.
    #[error("{doing} of connection `{connection}`: {what}")]
    Shape { connection: String, doing: String, what: String },

    #[error("{doing} of connection `{connection}` was refused with status {status}")]
    Refused { connection: String, doing: String, status: u16 },

    /// A version, an address or a graph that cannot be used; the text says what to do.
    #[error("connection `{connection}`: {what}")]
    Unusable { connection: String, what: String },
}

/// One Ed-Fi API, for one run after [`Api::for_run`].
pub struct Api {
    known: Arc<Known>,
    client: ApiClient,
    /// What this run goes by.
    discovery: OnceCell<Arc<Discovery>>,
}

/// What is learnt of an API, whoever asks first.
struct Known {
    settings: ConnectionSettings,
    discovery: Mutex<Option<(Instant, Arc<Discovery>)>>,
    dependencies: Mutex<Option<(Instant, Arc<ResourceGraph>)>>,
    /// Of the API that had this fingerprint.
    open_api: Mutex<Option<(Fingerprint, Arc<Shapes>)>>,
    members: OnceCell<Arc<Members>>,
}

impl Api {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        settings: ConnectionSettings,
        origins: &Origins,
        observer: Arc<dyn HttpObserver>,
    ) -> Result<Arc<Api>, HttpError> {
        Api::new_until(settings, origins, observer, CancellationToken::new())
    }

    /// The same, of which no wait outlasts `stop`: neither a pause that the server asked for nor
    /// one before another attempt.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new_until(
        settings: ConnectionSettings,
        origins: &Origins,
        observer: Arc<dyn HttpObserver>,
        stop: CancellationToken,
    ) -> Result<Arc<Api>, HttpError> {
        let options = ClientOptions {
            stop,
            timeout: settings.timeout,
            max_concurrency: settings.max_concurrency,
            max_requests_per_second: settings.max_requests_per_second,
            tls: settings.tls.clone(),
            shared_limit: settings.shared_limit.clone(),
            closed_until: settings.closed_until.clone(),
            ..ClientOptions::new(&settings.name, settings.url.clone())
        };
        let client = ApiClient::new(options, origins, observer)?;
        let known = Known {
            settings,
            discovery: Mutex::default(),
            dependencies: Mutex::default(),
            open_api: Mutex::default(),
            members: OnceCell::new(),
        };
        Ok(Arc::new(Api { known: Arc::new(known), client, discovery: OnceCell::new() }))
    }

    /// The same API for one run: its requests are counted from nothing and carry the run's id, and
    /// no wait outlasts `stop`.
    pub fn for_run(&self, run: &str, stop: CancellationToken) -> Arc<Api> {
        let client = self.client.for_run(run, stop);
        Arc::new(Api { known: Arc::clone(&self.known), client, discovery: OnceCell::new() })
    }

    pub fn connection(&self) -> &str {
        &self.known.settings.name
    }

    /// What the root document tells. A version that this program does not work with is an error.
    pub async fn discovered(&self) -> Result<Arc<Discovery>, ApiError> {
        if let Some(discovery) = self.discovery.get() {
            return Ok(Arc::clone(discovery));
        }
        // Once a run, and asked of every request: what it needs is not part of theirs.
        Box::pin(self.discovery.get_or_try_init(|| self.discovered_lately())).await.cloned()
    }

    async fn discovered_lately(&self) -> Result<Arc<Discovery>, ApiError> {
        let mut kept = self.known.discovery.lock().await;
        if let Some((since, discovery)) = kept.as_ref()
            && since.elapsed() < self.known.settings.look_again_after
        {
            return Ok(Arc::clone(discovery));
        }
        let discovery = self.discover().await?;
        *kept = Some((Instant::now(), Arc::clone(&discovery)));
        Ok(discovery)
    }

    /// Sends with the connection's token; nothing else is added. Ask for [`Api::discovered`] first:
    /// it is what brings the credentials.
    pub async fn send(&self, request: ApiRequest) -> Result<ApiResponse, HttpError> {
        self.client.send(request).await
    }

    /// The token itself, for the one route that wants it in a body: what the credentials may do.
    pub async fn token(&self) -> Result<Option<secrecy::SecretString>, HttpError> {
        self.client.token().await
    }

    /// Which resources there are and which must be there before which. Kept for a while.
    pub async fn dependencies(&self) -> Result<Arc<ResourceGraph>, ApiError> {
        let mut kept = self.known.dependencies.lock().await;
        if let Some((since, graph)) = kept.as_ref()
            && since.elapsed() < self.known.settings.look_again_after
        {
            return Ok(Arc::clone(graph));
        }
        let graph = Arc::new(self.read_dependencies().await?);
        *kept = Some((Instant::now(), Arc::clone(&graph)));
        Ok(graph)
    }

    /// What the key of this resource is called and where it is (R1); `None` when neither the
    /// built-in table nor the API's OpenAPI document knows. Costs requests, once, only where the
    /// table does not answer: another data standard than 5.2, an extension.
    pub async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, ApiError> {
        let discovery = self.discovered().await?;
        let standard = discovery.data_standard().unwrap_or_default();
        let built_in = Shapes::built_in().of(resource);
        if resource.is_descriptor() || standard.starts_with("5.2") && built_in.is_some() {
            return Ok(built_in);
        }
        let told = self.open_api_shapes(&discovery).await?.of(resource);
        let is_near = standard.starts_with("4.") || standard.starts_with("5.");
        Ok(told.or_else(|| built_in.filter(|_| is_near)))
    }

    /// The members that bodies have, as the API's OpenAPI documents tell them; empty where it has
    /// none. Descriptors have the same everywhere and are left out. Costs requests, once.
    pub async fn members(&self) -> Result<Arc<Members>, ApiError> {
        self.known.members.get_or_try_init(|| self.read_members()).await.cloned()
    }

    /// How many requests the origin of the connection is sent at once now.
    pub fn limit_in_force(&self) -> usize {
        self.client.limit_in_force()
    }

    /// Requests sent so far, retries included; of one run after [`Api::for_run`].
    pub fn requests(&self) -> u64 {
        self.client.requests()
    }

    /// How many requests are sent at once now at most.
    pub fn at_once(&self) -> usize {
        self.client.at_once()
    }

    async fn discover(&self) -> Result<Arc<Discovery>, ApiError> {
        let document = self.root_document().await?;
        let discovery =
            Discovery::read(&document, &self.known.settings).map_err(|e| self.root_error(e))?;
        let credentials = Credentials {
            token_url: discovery.token.clone(),
            key: Arc::clone(&self.known.settings.key),
            secret: Arc::clone(&self.known.settings.secret),
            scope: self.known.settings.scope.clone(),
        };
        self.client
            .set_credentials(credentials)
            .map_err(|source| self.http("setting the credentials", source))?;
        // What the root document of this very connection names belongs to it.
        self.client.trust(&discovery.data);
        self.client.trust(&discovery.change_queries);
        for url in [&discovery.dependencies, &discovery.open_api].into_iter().flatten() {
            self.client.trust(url);
        }
        Ok(Arc::new(discovery))
    }

    /// Virtual directories differ in whether they want the slash at the end.
    async fn root_document(&self) -> Result<bytes::Bytes, ApiError> {
        const DOING: &str = "reading the root document";
        let bare = self.known.settings.url.path().trim_end_matches('/').to_owned();
        let mut status = 0;
        for path in [format!("{bare}/"), bare] {
            let mut url = self.known.settings.url.clone();
            url.set_path(&path);
            let answer = self.client.send(ApiRequest::get(url).anonymous()).await;
            let answer = answer.map_err(|source| self.http(DOING, source))?;
            if answer.status().is_success() {
                return Ok(answer.into_body());
            }
            status = answer.status().as_u16();
            if status != 404 || path == "/" {
                break;
            }
        }
        Err(self.unusable(format!(
            "its `url` answered {status} where the root document was due; check that it is the base address of the API, as in https://host/WebApi"
        )))
    }

    async fn read_dependencies(&self) -> Result<ResourceGraph, ApiError> {
        const DOING: &str = "reading the dependencies";
        let discovery = self.discovered().await?;
        let Some(url) = &discovery.dependencies else {
            return Err(self.unusable(
                "its root document names no dependencies; switch the feature AggregateDependencies on".to_owned(),
            ));
        };
        let graphml = ApiRequest::get(url.clone()).accept("application/graphml");
        let mut answer = self.client.send(graphml).await.map_err(|e| self.http(DOING, e))?;
        if answer.status().is_client_error() {
            let json = ApiRequest::get(url.clone());
            answer = self.client.send(json).await.map_err(|e| self.http(DOING, e))?;
        }
        if !answer.status().is_success() {
            let status = answer.status().as_u16();
            return Err(self.refused(DOING, status));
        }
        dependencies::read(answer.body()).map_err(|error| match error {
            DependenciesError::Shape(what) => self.shape(DOING, what),
            DependenciesError::Cycle(cycle) => self.unusable(cycle.to_string()),
        })
    }

    async fn open_api_shapes(&self, discovery: &Discovery) -> Result<Arc<Shapes>, ApiError> {
        let mut kept = self.known.open_api.lock().await;
        if let Some((of, shapes)) = kept.as_ref()
            && *of == discovery.fingerprint
        {
            return Ok(Arc::clone(shapes));
        }
        let shapes = self.read_open_api(discovery).await?;
        *kept = Some((discovery.fingerprint.clone(), Arc::clone(&shapes)));
        Ok(shapes)
    }

    async fn read_open_api(&self, discovery: &Discovery) -> Result<Arc<Shapes>, ApiError> {
        let mut shapes = Shapes::default();
        for document in self.open_api_documents(discovery).await? {
            match open_api::read_document(&document) {
                Ok(told) => shapes.extend(told),
                Err(_) => self.tell_undescribed(),
            }
        }
        Ok(Arc::new(shapes))
    }

    async fn read_members(&self) -> Result<Arc<Members>, ApiError> {
        let discovery = self.discovered().await?;
        let mut members = Members::default();
        for document in self.open_api_documents(&discovery).await? {
            match open_api::read_members(&document) {
                Ok(told) => members.extend(told),
                Err(_) => self.tell_undescribed(),
            }
        }
        Ok(Arc::new(members))
    }

    /// An API that does not describe itself is no error: its keys are then not known (R1).
    async fn open_api_documents(
        &self,
        discovery: &Discovery,
    ) -> Result<Vec<bytes::Bytes>, ApiError> {
        let Some(url) = &discovery.open_api else { return Ok(Vec::new()) };
        let Some(answer) = self.open_api_document(url.clone()).await? else {
            return Ok(Vec::new());
        };
        let sections = match open_api::read_metadata(&answer) {
            Ok(Metadata::Document) => return Ok(vec![answer]),
            Ok(Metadata::Sections(sections)) => sections,
            Err(_) => {
                self.tell_undescribed();
                return Ok(Vec::new());
            }
        };
        let mut documents = Vec::new();
        for section in sections {
            let url = discovery.address(&section.address, &self.known.settings);
            let url = url.map_err(|error| self.root_error(error))?;
            self.client.trust(&url);
            documents.extend(self.open_api_document(url).await?);
        }
        Ok(documents)
    }

    async fn open_api_document(&self, url: Url) -> Result<Option<bytes::Bytes>, ApiError> {
        let answer = self.client.send(ApiRequest::get(url)).await;
        let answer = answer.map_err(|source| self.http("reading the OpenAPI document", source))?;
        if answer.status().is_success() && !is_markup(answer.body()) {
            return Ok(Some(answer.into_body()));
        }
        self.tell_undescribed();
        Ok(None)
    }

    fn tell_undescribed(&self) {
        tracing::warn!(
            connection = self.connection(),
            "no OpenAPI document can be read: resources that the built-in table does not know are looked up by id"
        );
    }

    fn root_error(&self, error: RootError) -> ApiError {
        match error {
            RootError::Shape(what) => {
                self.unusable(format!("{what}; check that `url` is the base address of the API"))
            }
            RootError::Unusable(what) => self.unusable(what),
        }
    }

    fn http(&self, doing: &str, source: HttpError) -> ApiError {
        let connection = self.known.settings.name.clone();
        ApiError::Http { connection, doing: doing.to_owned(), source }
    }

    fn refused(&self, doing: &str, status: u16) -> ApiError {
        let connection = self.known.settings.name.clone();
        ApiError::Refused { connection, doing: doing.to_owned(), status }
    }

    fn shape(&self, doing: &str, what: String) -> ApiError {
        let connection = self.known.settings.name.clone();
        ApiError::Shape { connection, doing: doing.to_owned(), what }
    }

    fn unusable(&self, what: String) -> ApiError {
        ApiError::Unusable { connection: self.known.settings.name.clone(), what }
    }
}
