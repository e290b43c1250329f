//! Asking the daemon that holds the state, for what it answers in this version: how pairs are.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::desk::{PairStatus, StatusReport};
use crate::http::{ApiClient, ApiRequest, ClientOptions, Origins, Unobserved, Url};

/// How the pairs of the daemon at `server.listen` are; `None` when no daemon answers there, so
/// that whoever holds the state is somebody else.
pub(super) async fn pairs(config: &Config, clock: Clock) -> Option<Vec<PairStatus>> {
    let url = Url::parse(&format!("http://{}/api/v1/pairs", config.server.listen)).ok()?;
    let options = ClientOptions::new("server", url.clone());
    let client = ApiClient::new(options, &Origins::new(clock), Arc::new(Unobserved)).ok()?;
    let answer = client.send(ApiRequest::get(url).anonymous()).await.ok()?;
    let report: StatusReport = serde_json::from_slice(answer.body()).ok()?;
    answer.status().is_success().then_some(report.pairs)
}
