//! The desk of a daemon that runs elsewhere: every question and order over its admin API.
//!
//! What lives here: how a question travels, and how an answer comes back. What does not: the forms
//! (`desk/orders.rs`), which commands ask (`cli/`). The one thing to know: who asks is not sent: the
//! daemon knows a caller by its token, or as whoever is on its machine, and does not take our word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::config::ServerConfig;
use crate::desk::orders::{
    ApproveOrder, Changed, CompareOrder, Counted, ForgetOrder, LogLevelOrder, MoveOrder,
    ParkedOrder, PauseOrder, RepairOrder, RunOrder, WatermarkOrder, WouldDecide,
};
use crate::desk::{
    Approval, Attempted, AuditEntry, Caller, Checks, Comparing, ComparisonShown, Decided, Desk,
    DeskError, LiveItem, Moved, Page, PairStatus, ParkedChoice, ParkedFilter, ParkedItem, Part,
    PlanShown, ProcessStatus, Report, Role, RunShown, Selectors, Started, StatusReport,
    VerificationShown,
};
use crate::domain::ChangeVersion;
use crate::http::{
    ApiClient, ApiRequest, ApiResponse, ClientOptions, HttpError, Method, Origins, RetryPolicy,
    StatusCode, Unobserved, Url,
};
use crate::state::{ErasedKey, PairId};
use crate::telemetry;

use super::context::Context;
use super::failure::Failure;

/// A state as text may be large.
const LARGEST_ANSWER: usize = 1 << 30;
/// The daemon gives up on its own before.
const ANSWERED_WITHIN: Duration = Duration::from_secs(11 * 60);

/// A daemon, asked over HTTP.
pub struct RemoteDesk {
    client: ApiClient,
    /// `…/api/v1`
    base: Url,
    token: Option<SecretString>,
}

impl RemoteDesk {
    /// The daemon that `--server` names, with the token of `--token-file`; without them the one at
    /// `server.listen` of the configuration, with its `admin_token` where this process can read it.
    /// Nothing is sent yet.
    pub(super) fn reach(context: &Context) -> Result<RemoteDesk, Failure> {
        let token = context.token()?;
        let (url, token) = match context.server()? {
            Some(url) => (url, token),
            None => {
                let config = context.config()?;
                let url = here(&config.server)?;
                (url, token.or_else(|| admin_token(&config.server, &context.env)))
            }
        };
        RemoteDesk::at(url, token, context.clock.clone())
            .map_err(|error| Failure::failed(telemetry::chain(&error)))
    }

    /// The daemon at this address, for whoever brings this token. Nothing is sent yet.
    pub fn at(
        url: Url,
        token: Option<SecretString>,
        clock: Clock,
    ) -> Result<RemoteDesk, HttpError> {
        let mut options = ClientOptions::new("server", url.clone());
        options.timeout = ANSWERED_WITHIN;
        // A person waits: what does not answer is said soon.
        options.retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        let client = ApiClient::new(options, &Origins::new(clock), Arc::new(Unobserved))?;
        let mut base = url;
        base.set_path(&format!("{}/api/v1", base.path().trim_end_matches('/')));
        Ok(RemoteDesk { client, base, token })
    }

    /// Whether a daemon answers there, whatever it says.
    pub(super) async fn is_there(&self) -> bool {
        let mut url = self.base.clone();
        url.set_path(&self.base.path().replace("/api/v1", "/healthz"));
        let request = ApiRequest::get(url).anonymous().any_status();
        self.client.send(request).await.is_ok()
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an address that is asked has a path").extend(path);
        url
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, DeskError> {
        read(self.send(ApiRequest::get(url)).await?)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        order: &impl Serialize,
    ) -> Result<T, DeskError> {
        let request = ApiRequest::post(self.url(path)).json(body(order)?);
        read(self.send(request).await?)
    }

    /// Whatever the daemon answers. What changes something carries a key, because it may be sent
    /// more than once.
    async fn send(&self, request: ApiRequest) -> Result<ApiResponse, DeskError> {
        let mut request = request.anonymous().any_status().max_body_bytes(LARGEST_ANSWER);
        if *request.method() != Method::GET {
            let key = format!("{:032x}", rand::random::<u128>());
            request = request.header("idempotency-key", &key);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", &format!("Bearer {}", token.expose_secret()));
        }
        self.client.send(request).await.map_err(|error| {
            DeskError::NotNow(format!("no daemon answers: {}", telemetry::chain(&error)))
        })
    }
}

/// Where the daemon of this configuration is asked from this machine.
fn here(config: &ServerConfig) -> Result<Url, Failure> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}"))
        .map_err(|_| Failure::usage("`server.listen` is no address that can be asked"))
}

fn admin_token(config: &ServerConfig, env: &BTreeMap<String, String>) -> Option<SecretString> {
    config.admin_token.as_ref()?.read(env).ok()
}

fn body(order: &impl Serialize) -> Result<Bytes, DeskError> {
    serde_json::to_vec(order)
        .map(Bytes::from)
        .map_err(|_| DeskError::Refused("this order cannot be written as JSON".to_owned()))
}

/// The problem of an answer that is one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    detail: String,
    needed_role: Option<Role>,
    already_running: Option<Vec<String>>,
    state_failed: bool,
}

/// The answer, or why there is none.
fn read<T: DeserializeOwned>(answer: ApiResponse) -> Result<T, DeskError> {
    let answer = succeeded(answer)?;
    serde_json::from_slice(answer.body()).map_err(|_| {
        DeskError::Failed(
            "the server answered in another form than this version of tidemark knows: use the \
             same version on both sides"
                .to_owned(),
        )
    })
}

fn succeeded(answer: ApiResponse) -> Result<ApiResponse, DeskError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let told: Told = serde_json::from_slice(answer.body()).unwrap_or_default();
    let detail = match told.detail.is_empty() {
        true => format!("the server answered {status}: see that it is a tidemark daemon"),
        false => told.detail,
    };
    Err(match status {
        StatusCode::NOT_FOUND => DeskError::NotThere(detail),
        StatusCode::FORBIDDEN => match told.needed_role {
            Some(needed) => DeskError::Forbidden { needed },
            None => DeskError::Refused(detail),
        },
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => DeskError::Conflict(detail),
        StatusCode::SERVICE_UNAVAILABLE => DeskError::NotNow(detail),
        _ if told.state_failed => DeskError::State(detail),
        status if status.is_client_error() => DeskError::Refused(detail),
        _ => DeskError::Failed(detail),
    })
}

fn add(url: &mut Url, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        url.query_pairs_mut().append_pair(name, value);
    }
}

fn add_selectors(url: &mut Url, which: &Selectors) {
    let labels: Vec<String> =
        which.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listed = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
    add(url, "publication", listed(&which.publications).as_deref());
    add(url, "label", listed(&labels).as_deref());
    add(url, "connection", which.connection.as_deref());
    add(url, "target", which.target.as_deref());
}

fn add_part(url: &mut Url, part: &Part) {
    add(url, "limit", Some(&part.limit.to_string()));
    add(url, "after", part.after.as_deref());
}

#[async_trait]
impl Desk for RemoteDesk {
    async fn pairs(&self, _: &Caller, which: &Selectors) -> Result<Vec<PairStatus>, DeskError> {
        let mut pairs = Vec::new();
        let mut after = None;
        loop {
            let mut url = self.url(&["pairs"]);
            add_selectors(&mut url, which);
            add(&mut url, "after", after.as_deref());
            let part: StatusReport = self.get(url).await?;
            pairs.extend(part.pairs);
            after = part.next;
            if after.is_none() {
                return Ok(pairs);
            }
        }
    }

    async fn parked(
        &self,
        _: &Caller,
        which: &Selectors,
        filter: &ParkedFilter,
        part: &Part,
    ) -> Result<Page<ParkedItem>, DeskError> {
        let mut url = self.url(&["parked"]);
        add_selectors(&mut url, which);
        add(&mut url, "resource", filter.resource.as_deref());
        add(&mut url, "reason", filter.reason.map(|reason| reason.as_str()));
        let status = filter.status.map(|status| match status {
            crate::state::ParkStatus::Parked => "parked",
            crate::state::ParkStatus::Dead => "dead",
        });
        add(&mut url, "status", status);
        add_part(&mut url, part);
        self.get(url).await
    }

    async fn look(&self, _: &Caller, id: &str) -> Result<LiveItem, DeskError> {
        self.get(self.url(&["parked", id, "live"])).await
    }

    async fn attempt(&self, _: &Caller, id: &str) -> Result<Attempted, DeskError> {
        let url = self.url(&["parked", id, "attempt"]);
        read(self.send(ApiRequest::post(url)).await?)
    }

    async fn records_with(&self, _: &Caller, key: &ErasedKey) -> Result<u64, DeskError> {
        let order = ForgetOrder::new(key, true, None);
        let counted: Counted = self.post(&["forget"], &order).await?;
        Ok(counted.count)
    }

    async fn forget_key(
        &self,
        _: &Caller,
        key: &ErasedKey,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        let order = ForgetOrder::new(key, false, reason);
        let counted: Counted = self.post(&["forget"], &order).await?;
        Ok(counted.count)
    }

    async fn would_approve(
        &self,
        _: &Caller,
        pair: &PairId,
        approval: &Approval,
    ) -> Result<Option<Decided>, DeskError> {
        let mut url = self.url(&["pairs", &pair.publication, &pair.target, "approve"]);
        let ApproveOrder { decision, resource, .. } = ApproveOrder::new(approval, "");
        add(&mut url, "decision", Some(decision.as_str()));
        add(&mut url, "resource", resource.as_deref());
        let would: WouldDecide = self.get(url).await?;
        Ok(would.decided)
    }

    async fn plan(&self, _: &Caller, pair: &PairId) -> Result<PlanShown, DeskError> {
        self.get(self.url(&["plan", &pair.publication, &pair.target])).await
    }

    async fn check(&self, _: &Caller, which: &Selectors) -> Result<Checks, DeskError> {
        let mut url = self.url(&["checks"]);
        add_selectors(&mut url, which);
        self.get(url).await
    }

    async fn compare(
        &self,
        _: &Caller,
        pair: &PairId,
        wanted: &Comparing,
    ) -> Result<ComparisonShown, DeskError> {
        let PairId { publication, target } = pair;
        if wanted.repair || wanted.delete_extra {
            let path = ["verify", publication, target, "repair"];
            return self.post(&path, &RepairOrder::new(wanted)).await;
        }
        let Comparing { resources, content, .. } = wanted.clone();
        self.post(&["verify", publication, target], &CompareOrder { resources, content }).await
    }

    async fn comparison(&self, _: &Caller, id: &str) -> Result<ComparisonShown, DeskError> {
        self.get(self.url(&["comparisons", id])).await
    }

    async fn cancel_comparison(&self, _: &Caller, id: &str) -> Result<(), DeskError> {
        let url = self.url(&["comparisons", id, "cancel"]);
        succeeded(self.send(ApiRequest::post(url)).await?)?;
        Ok(())
    }

    async fn process(&self, _: &Caller) -> Result<ProcessStatus, DeskError> {
        self.get(self.url(&["status"])).await
    }

    async fn set_log_level(
        &self,
        _: &Caller,
        level: &str,
        lasting: Duration,
    ) -> Result<ProcessStatus, DeskError> {
        let order = body(&LogLevelOrder::new(level, lasting))?;
        read(self.send(ApiRequest::put(self.url(&["log-level"])).json(order)).await?)
    }

    async fn pair(&self, _: &Caller, pair: &PairId) -> Result<PairStatus, DeskError> {
        self.get(self.url(&["pairs", &pair.publication, &pair.target])).await
    }

    async fn parked_item(&self, _: &Caller, id: &str) -> Result<ParkedItem, DeskError> {
        self.get(self.url(&["parked", id])).await
    }

    async fn retry(&self, _: &Caller, choice: &ParkedChoice) -> Result<u64, DeskError> {
        let order = ParkedOrder::new(choice, None);
        let counted: Counted = self.post(&["parked", "retry"], &order).await?;
        Ok(counted.count)
    }

    async fn discard(
        &self,
        _: &Caller,
        choice: &ParkedChoice,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        let order = ParkedOrder::new(choice, reason);
        let counted: Counted = self.post(&["parked", "discard"], &order).await?;
        Ok(counted.count)
    }

    async fn move_watermark(
        &self,
        _: &Caller,
        pair: &PairId,
        to: Moved,
        if_at: Option<Option<ChangeVersion>>,
        reason: &str,
    ) -> Result<PairStatus, DeskError> {
        let tag = match if_at {
            None => "*".to_owned(),
            Some(None) => "\"none\"".to_owned(),
            Some(Some(version)) => format!("\"{version}\""),
        };
        let url = self.url(&["pairs", &pair.publication, &pair.target, "watermark"]);
        let order = body(&WatermarkOrder::new(to, reason))?;
        read(self.send(ApiRequest::put(url).header("if-match", &tag).json(order)).await?)
    }

    async fn approve(
        &self,
        _: &Caller,
        pair: &PairId,
        approval: &Approval,
        reason: &str,
    ) -> Result<Decided, DeskError> {
        let path = ["pairs", &pair.publication, &pair.target, "approve"];
        self.post(&path, &ApproveOrder::new(approval, reason)).await
    }

    async fn runs(
        &self,
        _: &Caller,
        which: &Selectors,
        part: &Part,
    ) -> Result<Page<RunShown>, DeskError> {
        let mut url = self.url(&["runs"]);
        add_selectors(&mut url, which);
        add_part(&mut url, part);
        self.get(url).await
    }

    async fn run(&self, _: &Caller, id: &str) -> Result<RunShown, DeskError> {
        self.get(self.url(&["runs", id])).await
    }

    async fn start(
        &self,
        _: &Caller,
        publication: &str,
        targets: &[String],
        allow_deletes: bool,
    ) -> Result<Started, DeskError> {
        let url = self.url(&["publications", publication, "runs"]);
        let order = RunOrder { targets: targets.to_vec(), allow_deletes };
        let answer = self.send(ApiRequest::post(url).json(body(&order)?)).await?;
        if answer.status() == StatusCode::CONFLICT
            && let Ok(told) = serde_json::from_slice::<Told>(answer.body())
            && let Some(already_running) = told.already_running
        {
            return Ok(Started { already_running, ..Started::default() });
        }
        read(answer)
    }

    async fn cancel(&self, _: &Caller, run: &str) -> Result<(), DeskError> {
        let url = self.url(&["runs", run, "cancel"]);
        succeeded(self.send(ApiRequest::post(url)).await?)?;
        Ok(())
    }

    async fn pause(
        &self,
        _: &Caller,
        pair: &PairId,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) -> Result<PairStatus, DeskError> {
        let order = PauseOrder { until, reason: reason.map(str::to_owned) };
        self.post(&["pairs", &pair.publication, &pair.target, "pause"], &order).await
    }

    async fn resume(&self, _: &Caller, pair: &PairId) -> Result<PairStatus, DeskError> {
        let url = self.url(&["pairs", &pair.publication, &pair.target, "resume"]);
        read(self.send(ApiRequest::post(url)).await?)
    }

    async fn audit(
        &self,
        _: &Caller,
        since: Option<Timestamp>,
        part: &Part,
    ) -> Result<Page<AuditEntry>, DeskError> {
        let mut url = self.url(&["audit"]);
        add(&mut url, "since", since.map(|since| since.to_rfc3339()).as_deref());
        add_part(&mut url, part);
        self.get(url).await
    }

    async fn verification(
        &self,
        _: &Caller,
        pair: &PairId,
    ) -> Result<VerificationShown, DeskError> {
        self.get(self.url(&["verify", &pair.publication, &pair.target])).await
    }

    async fn report(&self, _: &Caller, pair: &PairId) -> Result<Report, DeskError> {
        self.get(self.url(&["report", &pair.publication, &pair.target])).await
    }

    async fn export(&self, _: &Caller) -> Result<Vec<u8>, DeskError> {
        let request = ApiRequest::get(self.url(&["state"])).accept("application/x-ndjson");
        Ok(succeeded(self.send(request).await?)?.into_body().into())
    }

    async fn import(
        &self,
        _: &Caller,
        text: &str,
        replace: bool,
    ) -> Result<Vec<PairId>, DeskError> {
        let mut url = self.url(&["state"]);
        add(&mut url, "replace", replace.then_some("true"));
        let lines = Bytes::copy_from_slice(text.as_bytes());
        let changed: Changed = read(self.send(ApiRequest::post(url).lines(lines)).await?)?;
        Ok(changed.pairs)
    }

    async fn move_state(&self, _: &Caller, old: &str, new: &str) -> Result<Vec<PairId>, DeskError> {
        let order = MoveOrder { old: old.to_owned(), new: new.to_owned() };
        let changed: Changed = self.post(&["state", "move"], &order).await?;
        Ok(changed.pairs)
    }

    async fn forget_state(
        &self,
        _: &Caller,
        pair: &PairId,
        reason: Option<&str>,
    ) -> Result<(), DeskError> {
        let mut url = self.url(&["state", &pair.publication, &pair.target]);
        add(&mut url, "because", reason);
        succeeded(self.send(ApiRequest::delete(url)).await?)?;
        Ok(())
    }
}
