//! To be written: what stands here only lets the modules above compile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use url::Url;

#[derive(Debug, thiserror::Error)]
#[error("to be written")]
pub struct HttpError;
impl HttpError {
    pub fn kind(&self) -> &'static str {
        "http"
    }
}

pub trait HttpObserver: Send + Sync {}
pub struct Origins;
#[derive(Clone, Debug)]
pub struct SecretSource;

pub struct ApiRequest;
impl ApiRequest {
    pub fn new(_: Method, _: Url) -> ApiRequest {
        ApiRequest
    }
    pub fn get(url: Url) -> ApiRequest {
        ApiRequest::new(Method::GET, url)
    }
    pub fn post(url: Url) -> ApiRequest {
        ApiRequest::new(Method::POST, url)
    }
    pub fn put(url: Url) -> ApiRequest {
        ApiRequest::new(Method::PUT, url)
    }
    pub fn delete(url: Url) -> ApiRequest {
        ApiRequest::new(Method::DELETE, url)
    }
    pub fn anonymous(self) -> ApiRequest {
        self
    }
    pub fn header(self, _: &'static str, _: &str) -> ApiRequest {
        self
    }
    pub fn accept(self, _: &str) -> ApiRequest {
        self
    }
    pub fn json(self, _: Bytes) -> ApiRequest {
        self
    }
    pub fn max_body_bytes(self, _: usize) -> ApiRequest {
        self
    }
}

pub struct ApiResponse;
impl ApiResponse {
    pub fn status(&self) -> StatusCode {
        StatusCode::OK
    }
    pub fn header(&self, _: &str) -> Option<&str> {
        None
    }
    pub fn body(&self) -> &Bytes {
        static EMPTY: Bytes = Bytes::new();
        &EMPTY
    }
    pub fn into_body(self) -> Bytes {
        Bytes::new()
    }
}

pub struct ApiClient;
impl ApiClient {
    pub async fn send(&self, _: ApiRequest) -> Result<ApiResponse, HttpError> {
        Err(HttpError)
    }
    pub fn requests(&self) -> u64 {
        0
    }
    pub fn stub(_: Arc<dyn HttpObserver>, _: &Origins, _: Duration) -> ApiClient {
        ApiClient
    }
}
