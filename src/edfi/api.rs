//! One Ed-Fi API, reached and understood.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use url::Url;

use super::discovery::Discovery;
use crate::domain::{KeyShape, ResourceGraph, ResourcePath};
use crate::http::{
    ApiClient, ApiRequest, ApiResponse, HttpError, HttpObserver, Origins, SecretSource,
};

/// One connection, as the configuration describes it.
#[derive(Clone, Debug)]
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

/// One Ed-Fi API. Discovery happens once, when it is first needed; a failure is not remembered.
pub struct Api {
    settings: ConnectionSettings,
    client: ApiClient,
    discovery: OnceCell<Arc<Discovery>>,
}

impl Api {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        settings: ConnectionSettings,
        origins: &Origins,
        observer: Arc<dyn HttpObserver>,
    ) -> Result<Arc<Api>, HttpError> {
        let client = ApiClient::stub(observer, origins, settings.timeout);
        Ok(Arc::new(Api { settings, client, discovery: OnceCell::new() }))
    }

    pub fn connection(&self) -> &str {
        &self.settings.name
    }

    /// What the root document tells, whatever the version: ask [`Api::accepted`] unless the
    /// question is which version it is.
    pub async fn discovered(&self) -> Result<Arc<Discovery>, ApiError> {
        self.discovery.get_or_try_init(|| self.discover()).await.cloned()
    }

    /// The same, of a version that this program works with.
    pub async fn accepted(&self) -> Result<Arc<Discovery>, ApiError> {
        self.discovered().await
    }

    /// Sends with the connection's token; nothing else is added.
    pub async fn send(&self, request: ApiRequest) -> Result<ApiResponse, HttpError> {
        self.client.send(request).await
    }

    /// Which resources there are and which must be there before which. Kept for a while.
    pub async fn dependencies(&self) -> Result<Arc<ResourceGraph>, ApiError> {
        Err(self.unusable("to be written".to_owned()))
    }

    /// What the key of this resource is called and where it is (R1). Costs requests only where
    /// the built-in table does not answer.
    pub async fn key_shape(
        &self,
        _resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, ApiError> {
        Err(self.unusable("to be written".to_owned()))
    }

    /// Requests sent so far, retries included.
    pub fn requests(&self) -> u64 {
        self.client.requests()
    }

    async fn discover(&self) -> Result<Arc<Discovery>, ApiError> {
        Err(self.unusable("to be written".to_owned()))
    }

    fn unusable(&self, what: String) -> ApiError {
        ApiError::Unusable { connection: self.settings.name.clone(), what }
    }
}
