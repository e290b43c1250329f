//! What a token is good for, as the host tells it (`edfi-wire §2`): education organizations,
//! namespaces, the claim set. Not every host has the route, and none has to be believed about
//! permissions; the one thing to know is that what it does not tell is no error.

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;

use super::{Api, ApiError};
use crate::http::ApiRequest;

/// The answer of `/oauth/token_info`, as far as it is of use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    education_organizations: Option<Vec<EducationOrganization>>,
    namespace_prefixes: Option<Vec<String>>,
    claim_set: Option<ClaimSet>,
}

#[derive(Debug, Deserialize)]
struct EducationOrganization {
    education_organization_id: Value,
}

#[derive(Debug, Deserialize)]
struct ClaimSet {
    name: String,
}

impl TokenInfo {
    /// Their ids as text.
    pub fn education_organizations(&self) -> impl Iterator<Item = String> {
        let all = self.education_organizations.iter().flatten();
        all.map(|organization| match &organization.education_organization_id {
            Value::String(id) => id.clone(),
            id => id.to_string(),
        })
    }

    pub fn namespaces(&self) -> impl Iterator<Item = String> {
        self.namespace_prefixes.iter().flatten().cloned()
    }

    pub fn claim_set(&self) -> Option<&str> {
        self.claim_set.as_ref().map(|set| set.name.as_str())
    }

    fn read(body: &Bytes) -> Option<TokenInfo> {
        serde_json::from_slice(body).ok()
    }
}

impl Api {
    /// What the connection's token is good for, in one request; `None` where the host does not
    /// tell. The token is sent to the place that it came from and to no other.
    pub async fn token_info(&self) -> Result<Option<TokenInfo>, ApiError> {
        let discovery = self.discovered().await?;
        let http = |source| ApiError::Http {
            connection: self.connection().to_owned(),
            doing: "asking what the token is good for".to_owned(),
            source,
        };
        let Some(token) = self.token().await.map_err(http)? else { return Ok(None) };
        let mut address = discovery.token.clone();
        let path = format!("{}_info", address.path().trim_end_matches('/'));
        address.set_path(&path);
        let body = serde_json::json!({ "token": token.expose_secret() }).to_string();
        let request = ApiRequest::post(address).json(Bytes::from(body));
        let answer = self.send(request).await.map_err(http)?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        Ok(TokenInfo::read(answer.body()))
    }
}
