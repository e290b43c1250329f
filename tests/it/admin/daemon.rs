//! The admin API of a daemon with its state and two sandboxes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use tidemark::cli::remote::RemoteDesk;
use tidemark::clock::Clock;
use tidemark::config;
use tidemark::daemon::serve::{Daemon, DaemonError};
use tidemark::desk::{
    Caller, Desk, DeskError, Moved, ParkedChoice, ParkedFilter, Part, Role, Selectors,
};
use tidemark::domain::{ChangeVersion, ParkReason, ResourcePath, Watermark};
use tidemark::http::Url;
use tidemark::sandbox::Sandbox;
use tidemark::state::{
    self, Operation, PairId, PairState, ParkStatus, Parked, RefusalRecord, Step,
};
use tokio_util::sync::CancellationToken;

use super::desk::{KEY, moment};
use super::house::{Answer, say};
use crate::district;
use crate::scene::{bare, put, strict};

/// Far above what anything here takes.
const BOUND: Duration = Duration::from_secs(60);

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), DaemonError>>,
    folder: TempDir,
    _ends: [Sandbox; 2],
}

/// Two publications of two districts, both from one sandbox into one other.
async fn configured(trigger: &str) -> (TempDir, [Sandbox; 2], config::Config) {
    let folder = tempfile::tempdir().unwrap();
    let ends = [Sandbox::start(bare()).await.unwrap(), Sandbox::start(strict()).await.unwrap()];
    put(&ends[0], "localEducationAgencies", &district::agency());
    let mut text = format!(
        "state: {{path: {}}}\nserver:\n  listen: \"127.0.0.1:0\"\n  tokens:\n\
         \x20   - {{name: viewer, role: viewer, token: viewer}}\n\
         \x20   - {{name: d2, role: operator, labels: {{district: d2}}, token: d2}}\nconnections:\n",
        folder.path().join("state").display()
    );
    for (name, end) in ["district", "state"].iter().zip(&ends) {
        let credentials = "key: sandbox-key, secret: sandbox-secret";
        text.push_str(&format!(
            "  {name}: {{kind: ed-fi, url: \"{}\", {credentials}}}\n",
            end.url()
        ));
    }
    text.push_str("publications:\n");
    for name in ["d1", "d2"] {
        text.push_str(&format!(
            "  {name}: {{source: district, targets: [state], labels: {{district: {name}}}, \
             {trigger} resources: {{include_only: [localEducationAgencies], descriptors: false}}}}\n"
        ));
    }
    let config = config::read("t.yaml", &text, &BTreeMap::new()).unwrap().config;
    (folder, ends, config)
}

impl Running {
    async fn start(folder: TempDir, ends: [Sandbox; 2], config: config::Config) -> Running {
        let daemon = Daemon::listen(config).await.unwrap();
        let address = daemon.address();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let ended =
            tokio::spawn(async move { daemon.run(&BTreeMap::new(), Duration::ZERO, until).await });
        let ready = async {
            while say(address, "GET", "/readyz", &[], b"").await.status != 200 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, ready).await.expect("it is ready in time");
        Running { address, stop, ended, folder, _ends: ends }
    }

    fn desk(&self, token: Option<&str>) -> RemoteDesk {
        let url = Url::parse(&format!("http://{}", self.address)).unwrap();
        let token = token.map(|token| SecretString::from(token.to_owned()));
        RemoteDesk::at(url, token, Clock::system()).unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        say(self.address, "GET", path, &[], b"").await
    }

    async fn stop(self) -> TempDir {
        self.stop.cancel();
        tokio::time::timeout(BOUND, self.ended).await.unwrap().unwrap().unwrap();
        self.folder
    }
}

fn pair(publication: &str) -> PairId {
    PairId { publication: publication.to_owned(), target: "state".to_owned() }
}

fn parked(id: &str) -> Parked {
    Parked {
        id: id.to_owned(),
        resource: ResourcePath::parse("/ed-fi/students").unwrap(),
        key: serde_json::from_value(json!({"studentUniqueId": KEY})).unwrap(),
        source_id: None,
        operation: Operation::Upsert,
        status: ParkStatus::Dead,
        reason: ParkReason::Invalid,
        error: RefusalRecord { status: 400, ..RefusalRecord::default() },
        attempts: 3,
        early_attempts: 0,
        first_seen_at: moment(),
        next_attempt_at: moment(),
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: None,
    }
}

/// Whoever asks is known by its token.
fn anybody() -> Caller {
    Caller { name: String::new(), role: Role::Viewer, labels: BTreeMap::new() }
}

#[tokio::test]
async fn a_daemon_is_asked_and_given_orders_and_writes_down_by_whom() {
    let (folder, ends, config) = configured("").await;
    let store = state::open(&folder.path().join("state")).unwrap();
    for (publication, id) in [("d1", "one"), ("d2", "two")] {
        let watermark = Some(Watermark::ChangeVersion(ChangeVersion(230)));
        let state = PairState { watermark, ..PairState::default() };
        let step = Step { state: Some(state), park: vec![parked(id)], ..Step::default() };
        store.commit(&pair(publication), step).await.unwrap();
    }
    drop(store);
    let daemon = Running::start(folder, ends, config).await;
    let (by, all) = (anybody(), Selectors::default());
    let (filter, part) = (ParkedFilter::default(), Part::first());
    let (admin, viewer, d2) =
        (daemon.desk(None), daemon.desk(Some("viewer")), daemon.desk(Some("d2")));

    // A token with labels sees its own, a viewer no keys.
    let seen = d2.pairs(&by, &all).await.unwrap();
    assert_eq!(seen.iter().map(|pair| pair.publication.as_str()).collect::<Vec<_>>(), ["d2"]);
    let items = viewer.parked(&by, &all, &filter, &part).await.unwrap().items;
    assert!(items.len() == 2 && items.iter().all(|item| item.key.is_none()));
    let items = d2.parked(&by, &all, &filter, &part).await.unwrap().items;
    assert_eq!(items[0].key.as_ref().unwrap().get("studentUniqueId"), Some(KEY));
    assert!(matches!(d2.parked_item(&by, "one").await, Err(DeskError::NotThere(_))));

    // What was dead is due, for those that the caller sees.
    let everything = ParkedChoice { ids: vec![], which: Some(Default::default()) };
    assert_eq!(d2.retry(&by, &everything).await, Ok(1));
    assert_eq!(
        viewer.retry(&by, &everything).await,
        Err(DeskError::Forbidden { needed: Role::Operator })
    );
    assert_eq!(admin.parked_item(&by, "two").await.unwrap().status, ParkStatus::Parked);

    // A watermark moves from where it was seen, and from nowhere else.
    let seen = daemon.get("/api/v1/pairs/d1/state").await;
    assert_eq!(seen.header("etag"), Some("\"230\""));
    let at = Some(Some(ChangeVersion(230)));
    let moved = admin.move_watermark(&by, &pair("d1"), Moved::Reset, at, "a restored source").await;
    assert_eq!(moved.unwrap().watermark, None);
    let body = br#"{"reset":true,"reason":"again"}"#;
    let headers = ["If-Match: \"230\"", "Content-Type: application/json"];
    let late = say(daemon.address, "PUT", "/api/v1/pairs/d1/state/watermark", &headers, body).await;
    assert_eq!(late.status, 412, "{late:?}");

    let audit = admin.audit(&by, None, &part).await.unwrap().items;
    let told: Vec<(&str, &str)> =
        audit.iter().map(|entry| (entry.by.as_str(), entry.action.as_str())).collect();
    assert_eq!(told[0], ("loopback", "watermark reset"));
    assert!(told.contains(&("token d2", "parked retry")), "{told:?}");
    assert!(told.contains(&("token d2", "parked read")), "{told:?}");
    assert!(!told.iter().any(|(by, _)| *by == "token viewer"), "{told:?}");
    assert!(!serde_json::to_string(&audit).unwrap().contains(KEY));

    let text = admin.export(&by).await.unwrap();
    assert!(String::from_utf8(text).unwrap().contains(KEY));
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_tells_of_its_runs_as_they_happen() {
    let (folder, ends, config) = configured("every: 1s,").await;
    let daemon = Running::start(folder, ends, config).await;
    let mut line = super::events::Line::at(daemon.address, Some("d2"), "").await;

    let events = line.until("run-ended").await;

    let ended = &events.last().unwrap().data["run"];
    assert_eq!((&ended["publication"], &ended["outcome"]), (&json!("d2"), &json!("complete")));
    let shown = daemon.get(&format!("/api/v1/runs/{}", ended["id"].as_str().unwrap())).await;
    assert_eq!(shown.json()["outcome"], "complete");
    assert_eq!(shown.json()["stages"], ended["stages"]);
    daemon.stop().await;
}
