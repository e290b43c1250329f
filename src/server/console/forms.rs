//! What a form says: names and values, some names several times.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};

use super::frame::Refusal;
use crate::desk::DeskError;
use crate::server::Reception;

/// A form whose origin was confirmed.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Arc<Vec<(String, String)>>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Form {
        Form(Arc::new(url::form_urlencoded::parse(body).into_owned().collect()))
    }

    /// Without the spaces around it; `None` where nothing was typed.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.0.iter().filter(|(found, _)| found == name);
        values.map(|(_, value)| value.trim()).filter(|value| !value.is_empty()).collect()
    }
}

impl FromRequestParts<Arc<Reception>> for Form {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Reception>) -> Result<Form, Refusal> {
        Ok(parts.extensions.get::<Form>().cloned().unwrap_or_default())
    }
}

/// A word that JSON would spell so; `None` for an empty one.
pub(super) fn word<'t, T: Deserialize<'t>>(
    name: &str,
    text: Option<&'t str>,
) -> Result<Option<T>, DeskError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let reader: StrDeserializer<'t, WordError> = text.into_deserializer();
    T::deserialize(reader)
        .map(Some)
        .map_err(|_| DeskError::Refused(format!("`{name}` is a word that there is not")))
}
