//! To be written.

#[derive(Debug, thiserror::Error)]
#[error("to be written")]
pub struct HttpError;
impl HttpError {
    pub fn kind(&self) -> &'static str {
        "http"
    }
}
