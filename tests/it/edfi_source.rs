//! The Ed-Fi source against the sandbox, in both versions, over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use tidemark::clock::Clock;
use tidemark::domain::{ChangeVersion, Item, NaturalKey, ResourcePath, SourceId, Window};
use tidemark::edfi::{Api, ConnectionSettings};
use tidemark::http::{Origins, Unobserved, Url};
use tidemark::sandbox::{
    ApiVersion, Fault, Harm, Part, Refusal, Sandbox, SandboxOptions, SnapshotMode,
};
use tidemark::sources::edfi::{EdfiSource, PageRoom};
use tidemark::sources::{Isolation, Lookup, Reader, Source, SourceError};

/// Those that have snapshots and tell keys; 5.3 and 8.0 have tests of their own.
const VERSIONS: [ApiVersion; 4] =
    [ApiVersion::V7_3, ApiVersion::V7_2, ApiVersion::V7_1, ApiVersion::V6_1];
const PERIODS: &str = "/ed-fi/classPeriods";
const SCHOOL: i64 = 255_901_001;

fn periods() -> ResourcePath {
    ResourcePath::parse(PERIODS).unwrap()
}

fn period(name: &str) -> Value {
    json!({ "classPeriodName": name, "schoolReference": { "schoolId": SCHOOL } })
}

fn key(name: &str) -> Value {
    json!({ "classPeriodName": name, "schoolId": SCHOOL })
}

fn natural(key: &Value) -> NaturalKey {
    serde_json::from_value(key.clone()).unwrap()
}

async fn sandbox(options: SandboxOptions) -> Sandbox {
    let sandbox = Sandbox::start(options).await.unwrap();
    let school = json!({ "schoolId": SCHOOL, "nameOfInstitution": "Grand Bend High School" });
    sandbox.seed("/ed-fi/schools", &school).unwrap();
    sandbox
}

/// A sandbox whose snapshots are taken by hand, with class periods `p000` and so on.
async fn with_periods(version: ApiVersion, count: usize) -> Sandbox {
    let snapshots = SnapshotMode::Manual;
    let sandbox = sandbox(SandboxOptions { version, snapshots, ..Default::default() }).await;
    for number in 0..count {
        sandbox.upsert(PERIODS, &period(&format!("p{number:03}"))).unwrap();
    }
    sandbox.take_snapshot();
    sandbox
}

fn source(sandbox: &Sandbox, page_size: usize) -> EdfiSource {
    source_at(&sandbox.url(), page_size)
}

fn source_at(url: &str, page_size: usize) -> EdfiSource {
    let settings = ConnectionSettings {
        tls: tidemark::http::ClientTls::default(),
        name: "district".to_owned(),
        url: Url::parse(url).unwrap(),
        key: Arc::new(|| Ok(SecretString::from("sandbox-key"))),
        secret: Arc::new(|| Ok(SecretString::from("sandbox-secret"))),
        token_url: None,
        scope: None,
        school_year: None,
        instance: None,
        timeout: Duration::from_secs(30),
        max_concurrency: 8,
        max_requests_per_second: 0,
        shared_limit: None,
        closed_until: None,
        look_again_after: tidemark::edfi::LOOK_AGAIN_AFTER,
    };
    let origins = Origins::new(Clock::system());
    let api = Api::new(settings, &origins, Arc::new(Unobserved)).unwrap();
    EdfiSource::new(api, page_size, PageRoom::new())
}

fn everything(reader: &Arc<dyn Reader>) -> Window {
    Window { after: None, through: reader.newest() }
}

async fn upserts(reader: &Arc<dyn Reader>, window: Window) -> Result<Vec<Item>, SourceError> {
    let mut pages = reader.upserts(&periods(), window);
    let mut all = Vec::new();
    while let Some(page) = pages.next().await? {
        assert!(!page.is_empty(), "a page is never empty");
        all.extend(page);
    }
    Ok(all)
}

fn names(items: &[Item]) -> BTreeSet<String> {
    let name = |item: &Item| {
        let body: Value = serde_json::from_slice(item.body.bytes()).unwrap();
        body["classPeriodName"].as_str().unwrap().to_owned()
    };
    items.iter().map(name).collect()
}

#[tokio::test]
async fn every_item_is_read_once_by_cursor_and_by_ranges_under_the_snapshot() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 57).await;
        let source = source(&sandbox, 7);
        let reader = source.open(Isolation::Snapshot).await.unwrap();

        let items = upserts(&reader, everything(&reader)).await.unwrap();

        assert_eq!(items.len(), 57, "{version:?}");
        assert_eq!(names(&items).len(), 57, "{version:?}");
        let reads = sandbox.requests();
        let mut reads = reads.iter().filter(|request| {
            matches!(request.part, Part::Items | Part::NewestVersion | Part::Deletes)
        });
        assert!(reads.all(|request| request.from_snapshot && request.status == 200));
        assert_eq!(source.requests(), sandbox.requests().len() as u64, "{version:?}");
    }
}

#[tokio::test]
async fn a_snapshot_holds_the_view_still_while_the_database_moves() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 20).await;
        let source = source(&sandbox, 4);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let mut pages = reader.upserts(&periods(), everything(&reader));

        let mut items = pages.next().await.unwrap().unwrap();
        for number in 0..10 {
            sandbox.delete(PERIODS, &key(&format!("p{number:03}"))).unwrap();
        }
        sandbox.upsert(PERIODS, &period("late")).unwrap();
        while let Some(page) = pages.next().await.unwrap() {
            items.extend(page);
        }

        assert_eq!(names(&items).len(), 20, "{version:?}");
        assert!(!names(&items).contains("late"), "{version:?}");
        assert!(source.live_newest().await.unwrap() > reader.newest(), "{version:?}");
        reader.confirm().await.unwrap();
    }
}

#[tokio::test]
async fn r11_a_snapshot_that_was_replaced_is_noticed() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 3).await;
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();

        sandbox.upsert(PERIODS, &period("late")).unwrap();
        sandbox.drop_snapshot();
        sandbox.take_snapshot();

        let error = reader.confirm().await.unwrap_err();
        let noticed = matches!(
            error,
            SourceError::SnapshotReplaced { .. } | SourceError::SnapshotMissing { .. }
        );
        assert!(noticed, "{version:?}: {error}");
    }
}

#[tokio::test]
async fn a_missing_snapshot_is_told_at_once_and_says_what_to_do() {
    for version in VERSIONS {
        let snapshots = SnapshotMode::None;
        let sandbox = sandbox(SandboxOptions { version, snapshots, ..Default::default() }).await;
        let source = source(&sandbox, 500);

        let Err(error) = source.open(Isolation::Snapshot).await else {
            panic!("there is no snapshot");
        };

        assert!(matches!(error, SourceError::SnapshotMissing { .. }), "{version:?}: {error}");
        assert!(error.to_string().contains("`district`"), "{error}");
        assert!(source.live_newest().await.is_ok(), "{version:?}");
        assert!(source.open(Isolation::Bounded).await.is_ok(), "{version:?}");
    }
}

#[tokio::test]
async fn a_snapshot_that_goes_in_mid_run_is_never_an_absent_item() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 30).await;
        let source = source(&sandbox, 5);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let id = SourceId(sandbox.id(PERIODS, &key("p001")).unwrap());

        sandbox.drop_snapshot();

        let missing = |error: SourceError| matches!(error, SourceError::SnapshotMissing { .. });
        let window = everything(&reader);
        let after = ChangeVersion(0);
        assert!(missing(reader.get(&periods(), &id).await.unwrap_err()), "{version:?}");
        assert!(missing(reader.find(&periods(), &natural(&key("p001"))).await.unwrap_err()));
        assert!(missing(upserts(&reader, window).await.unwrap_err()), "{version:?}");
        assert!(missing(key_changes(&*reader, after).await.unwrap_err()), "{version:?}");
        assert!(missing(reader.tombstones(&periods(), window).next().await.err().unwrap()));
        assert!(missing(reader.count(&periods(), None).await.unwrap_err()), "{version:?}");
        assert!(missing(reader.confirm().await.unwrap_err()), "{version:?}");
    }
}

#[tokio::test]
async fn a_window_brings_what_changed_in_it_and_nothing_else() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 12).await;
        let source = source(&sandbox, 500);
        let after = ChangeVersion(sandbox.newest());
        sandbox.upsert(PERIODS, &period("new")).unwrap();
        sandbox.rename(PERIODS, &key("p003"), &key("renamed")).unwrap();
        sandbox.take_snapshot();
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let window = Window { after: Some(after), through: reader.newest() };

        let items = upserts(&reader, window).await.unwrap();

        let wanted: BTreeSet<String> = ["new", "renamed"].map(str::to_owned).into();
        assert_eq!(names(&items), wanted, "{version:?}");
        assert_eq!(reader.count(&periods(), Some(window)).await.unwrap(), 2, "{version:?}");
        assert_eq!(reader.count(&periods(), None).await.unwrap(), 13, "{version:?}");
    }
}

#[tokio::test]
async fn a_bounded_view_reads_what_is_live_up_to_its_edge_and_sends_no_header() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 20).await;
        let source = source(&sandbox, 4);
        let reader = source.open(Isolation::Bounded).await.unwrap();
        let mut pages = reader.upserts(&periods(), everything(&reader));

        let mut items = pages.next().await.unwrap().unwrap();
        for number in (0..20).step_by(5) {
            let item = json!({ "classPeriodName": format!("p{number:03}"),
                "schoolReference": { "schoolId": SCHOOL }, "officialAttendancePeriod": true });
            sandbox.upsert(PERIODS, &item).unwrap();
        }
        sandbox.upsert(PERIODS, &period("late")).unwrap();
        while let Some(page) = pages.next().await.unwrap() {
            items.extend(page);
        }

        let read = names(&items);
        let left_alone = (0..20).filter(|number| number % 5 != 0);
        for name in left_alone.map(|number| format!("p{number:03}")) {
            assert!(read.contains(&name), "{version:?}: {name} was missed");
        }
        assert!(!read.contains("late"), "{version:?}");
        assert!(sandbox.requests().iter().all(|request| !request.from_snapshot), "{version:?}");
        reader.confirm().await.unwrap();
    }
}

#[tokio::test]
async fn s12_a_lower_limit_of_the_server_is_learnt_from_it() {
    for version in VERSIONS {
        let options = SandboxOptions { version, page_limit: 6, ..Default::default() };
        let sandbox = sandbox(options).await;
        for number in 0..25 {
            sandbox.upsert(PERIODS, &period(&format!("p{number:03}"))).unwrap();
        }
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();

        let found = reader.find(&periods(), &natural(&key("p007"))).await.unwrap();
        let items = upserts(&reader, everything(&reader)).await.unwrap();

        assert_eq!(names(&items).len(), 25, "{version:?}");
        assert!(matches!(found, Lookup::Lives(_)), "{version:?}");
    }
}

#[tokio::test]
async fn r7_key_changes_are_told_hop_by_hop_though_the_feed_collapses() {
    for version in VERSIONS {
        for page_size in [1, 2, 500] {
            let sandbox = with_periods(version, 6).await;
            let source = source(&sandbox, page_size);
            let after = ChangeVersion(sandbox.newest());
            for (old, new) in
                [("p000", "a"), ("p001", "b"), ("a", "c"), ("p002", "d"), ("c", "e"), ("e", "p000")]
            {
                sandbox.rename(PERIODS, &key(old), &key(new)).unwrap();
            }
            sandbox.take_snapshot();
            let reader = source.open(Isolation::Snapshot).await.unwrap();

            let changes = key_changes(&*reader, after).await.unwrap();

            let hops: Vec<(&str, &str)> = changes
                .iter()
                .map(|change| {
                    let name = "classPeriodName";
                    (change.old.get(name).unwrap(), change.new.get(name).unwrap())
                })
                .collect();
            let wanted = [
                ("p000", "a"),
                ("p001", "b"),
                ("a", "c"),
                ("p002", "d"),
                ("c", "e"),
                ("e", "p000"),
            ];
            assert_eq!(hops, wanted, "{version:?} by {page_size}");
            assert!(changes.is_sorted_by_key(|change| change.version), "{version:?}");
            assert_eq!(changes[0].old.get("schoolId"), Some("255901001"), "{version:?}");
        }
    }
}

#[tokio::test]
async fn tombstones_come_in_order_with_their_keys_and_are_counted() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 15).await;
        let source = source(&sandbox, 4);
        let after = ChangeVersion(sandbox.newest());
        for number in 0..11 {
            sandbox.delete(PERIODS, &key(&format!("p{number:03}"))).unwrap();
        }
        sandbox.upsert(PERIODS, &period("p005")).unwrap();
        sandbox.take_snapshot();
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let window = Window { after: Some(after), through: reader.newest() };

        let mut pages = reader.tombstones(&periods(), window);
        let mut told = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            told.extend(page);
        }

        let names: Vec<&str> = told
            .iter()
            .map(|tombstone| tombstone.key.as_ref().unwrap().get("classPeriodName").unwrap())
            .collect();
        let wanted =
            ["p000", "p001", "p002", "p003", "p004", "p006", "p007", "p008", "p009", "p010"];
        assert_eq!(names, wanted, "{version:?}");
        assert_eq!(reader.count_tombstones(&periods(), window).await.unwrap(), 10, "{version:?}");
        let asked = sandbox.requests();
        assert!(asked.iter().all(|request| !request.query.contains("offset=4")), "{version:?}");
    }
}

#[tokio::test]
async fn an_item_is_found_by_id_and_by_key_or_is_absent() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 3).await;
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let id = SourceId(sandbox.id(PERIODS, &key("p001")).unwrap());

        let by_id = reader.get(&periods(), &id).await.unwrap();
        let by_key = reader.find(&periods(), &natural(&key("p001"))).await.unwrap();
        let by_no_id = reader.get(&periods(), &SourceId("0".repeat(32))).await.unwrap();
        let by_no_key = reader.find(&periods(), &natural(&key("nobody"))).await.unwrap();

        let (Lookup::Lives(by_id), Lookup::Lives(by_key)) = (by_id, by_key) else {
            panic!("{version:?}: it lives");
        };
        assert_eq!(by_id.id, id, "{version:?}");
        assert_eq!(by_key.id, id, "{version:?}");
        assert_eq!(by_id.body, by_key.body, "{version:?}");
        assert!(matches!(by_no_id, Lookup::Absent), "{version:?}");
        assert!(matches!(by_no_key, Lookup::Absent), "{version:?}");
    }
}

#[tokio::test]
async fn an_item_that_is_not_shown_is_hidden_and_not_absent() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 3).await;
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let id = SourceId(sandbox.id(PERIODS, &key("p001")).unwrap());

        sandbox.fault(Fault::on(PERIODS, Harm::Refuse(Refusal::NoRelationship)));

        assert!(matches!(reader.get(&periods(), &id).await.unwrap(), Lookup::Hidden));
        let found = reader.find(&periods(), &natural(&key("p001"))).await.unwrap();
        assert!(matches!(found, Lookup::Hidden), "{version:?}");
    }
}

#[tokio::test]
async fn answers_of_another_shape_are_errors_and_never_empty_pages() {
    for version in VERSIONS {
        for harm in [Harm::Html, Harm::InvalidUtf8, Harm::NotAnArray] {
            let sandbox = with_periods(version, 3).await;
            let source = source(&sandbox, 500);
            let reader = source.open(Isolation::Snapshot).await.unwrap();
            let window = everything(&reader);
            let case = format!("{version:?}, {harm:?}");
            sandbox.rename(PERIODS, &key("p000"), &key("x")).unwrap();
            sandbox.delete(PERIODS, &key("x")).unwrap();
            sandbox.fault(Fault::on(PERIODS, harm));

            let errors = [
                upserts(&reader, window).await.unwrap_err(),
                key_changes(&*reader, ChangeVersion(0)).await.unwrap_err(),
                reader.tombstones(&periods(), window).next().await.err().unwrap(),
                reader.find(&periods(), &natural(&key("p001"))).await.unwrap_err(),
            ];

            for error in errors {
                assert!(matches!(error, SourceError::Shape { .. }), "{case}: {error}");
                let text = error.to_string();
                assert!(text.contains(PERIODS) && text.contains("`district`"), "{case}: {text}");
                assert!(!text.contains("p001") && !text.contains('?'), "{case}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_that_is_cut_off_and_a_redirect_are_errors_of_the_wire() {
    let elsewhere = Harm::Redirect("http://127.0.0.1:1/elsewhere".to_owned());
    for (version, harm) in [(ApiVersion::V7_3, Harm::CutBody), (ApiVersion::V6_1, elsewhere)] {
        let sandbox = with_periods(version, 9).await;
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        sandbox.fault(Fault::on(PERIODS, harm.clone()));

        let error = upserts(&reader, everything(&reader)).await.unwrap_err();

        assert!(matches!(error, SourceError::Http { .. }), "{harm:?}: {error}");
        assert!(error.to_string().contains(PERIODS), "{error}");
    }
}

#[tokio::test]
async fn refusals_name_the_resource_and_what_to_grant() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 3).await;
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let window = everything(&reader);
        sandbox.fault(Fault::on(PERIODS, Harm::Refuse(Refusal::ResourceClosed)));

        let of_items = upserts(&reader, window).await.unwrap_err().to_string();
        let deletes = reader.tombstones(&periods(), window).next().await.err().unwrap();
        let changes = key_changes(&*reader, ChangeVersion(0)).await.unwrap_err();

        assert!(of_items.contains("status 403") && of_items.contains("grant Read,"), "{of_items}");
        for error in [deletes, changes] {
            assert!(error.to_string().contains("grant ReadChanges"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_quiet_resource_costs_one_request_a_feed() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 5).await;
        let source = source(&sandbox, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let window = Window { after: Some(reader.newest()), through: reader.newest() };
        sandbox.clear_requests();

        let items = upserts(&reader, window).await.unwrap();
        let changes = key_changes(&*reader, reader.newest()).await.unwrap();
        let deletes = reader.tombstones(&periods(), window).next().await.unwrap();

        assert!(items.is_empty() && changes.is_empty() && deletes.is_none(), "{version:?}");
        assert!(sandbox.requests().len() <= 3, "{version:?}: {}", sandbox.requests().len());
    }
}

#[tokio::test]
async fn capabilities_say_what_each_version_can_tell() {
    for version in ApiVersion::ALL {
        let name = version.as_str();
        let cursors = version == ApiVersion::V7_3;
        let snapshots = version != ApiVersion::V8_0;
        let keys = version != ApiVersion::V5_3;
        let sandbox = sandbox(SandboxOptions { version, ..Default::default() }).await;

        let can = source(&sandbox, 500).capabilities().await.unwrap();

        assert!(can.api_version.starts_with(name), "{name}: {}", can.api_version);
        assert_eq!(can.cursor_paging, cursors, "{name}");
        assert_eq!(can.snapshots, snapshots, "{name}");
        assert_eq!((can.deletes, can.key_changes), (keys, keys), "{name}");
        assert!(can.fingerprint.data_url.starts_with(&sandbox.url()), "{name}");
    }
}

#[tokio::test]
async fn resources_and_keys_are_known_from_discovery_on() {
    for version in VERSIONS {
        let sandbox = with_periods(version, 1).await;
        let source = source(&sandbox, 500);

        let graph = source.resources().await.unwrap();
        let reader = source.open(Isolation::Snapshot).await.unwrap();
        let shape = reader.key_shape(&periods()).await.unwrap().unwrap();

        let schools = ResourcePath::parse("/ed-fi/schools").unwrap();
        assert!(graph.prerequisites(&periods()).any(|before| *before == schools), "{version:?}");
        let names: BTreeSet<&str> = shape.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["classPeriodName", "schoolId"]), "{version:?}");
    }
}

/// A server that says that it is of `version` and answers every read with `status` and `body`.
async fn scripted(version: &str, status: u16, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let root = json!({
        "version": version,
        "dataModels": [{ "name": "Ed-Fi", "version": "5.2.0", "informationalVersion": "" }],
        "urls": {
            "dependencies": format!("{url}/metadata/data/v3/dependencies"),
            "openApiMetadata": format!("{url}/metadata/"),
            "oauth": format!("{url}/oauth/token"),
            "dataManagementApi": format!("{url}/data/v3/"),
            "changeQueries": format!("{url}/changeQueries/v1/"),
        },
    });
    let router = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let (status, body) = match uri.path() {
            "/" => (200, root.to_string()),
            "/oauth/token" => (200, r#"{"access_token":"t","expires_in":1800}"#.to_owned()),
            path if path.ends_with("availableChangeVersions") => {
                (200, r#"{"OldestChangeVersion":0,"NewestChangeVersion":9}"#.to_owned())
            }
            _ => (status, body.to_owned()),
        };
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        async move { (status, body) }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn a_server_without_snapshots_counts_as_one_whose_snapshot_is_missing() {
    let source = source_at(&scripted("8.0.0", 200, "[]").await, 500);

    let held_still = source.open(Isolation::Snapshot).await.err().unwrap();
    let bounded = source.open(Isolation::Bounded).await.unwrap();

    assert!(matches!(held_still, SourceError::SnapshotMissing { .. }), "{held_still}");
    assert_eq!(bounded.newest(), ChangeVersion(9));
}

#[tokio::test]
async fn a_version_that_is_not_worked_with_is_refused_by_its_name() {
    for version in ["7.0", "5.2", "9.0.0"] {
        let source = source_at(&scripted(version, 200, "[]").await, 500);

        let refused = source.open(Isolation::Bounded).await.err().unwrap();

        let SourceError::Unusable { what, .. } = &refused else { panic!("{refused}") };
        assert!(what.contains(&format!("{version} is not in this version")), "{what}");
    }
}

#[tokio::test]
async fn what_a_proxy_says_is_never_an_absent_item() {
    let id = SourceId("0123456789abcdef0123456789abcdef".to_owned());
    for (case, status, body) in [
        ("HTML under 404", 404, "<!doctype html><h1>404</h1>"),
        ("HTML under 200", 200, "<html>sign in</html>"),
        ("nothing under 200", 200, ""),
        ("another item", 200, r#"{"id":"ffff456789abcdef0123456789abcdef"}"#),
        ("an item without an id", 200, r#"{"classPeriodName":"p001"}"#),
    ] {
        let source = source_at(&scripted("7.3", status, body).await, 500);
        let reader = source.open(Isolation::Snapshot).await.unwrap();

        let error = reader.get(&periods(), &id).await.unwrap_err();

        assert!(matches!(error, SourceError::Shape { .. }), "{case}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_question_leaves_it_open_whether_the_key_lives() {
    let page: Vec<Value> = (0..100)
        .map(|n| {
            json!({ "id": format!("{n:032x}"), "classPeriodName": format!("other {n}"),
                "schoolReference": { "schoolId": SCHOOL } })
        })
        .collect();
    let page: &'static str = Value::from(page).to_string().leak();
    let source = source_at(&scripted("7.3", 200, page).await, 500);
    let reader = source.open(Isolation::Snapshot).await.unwrap();

    let nobody = reader.find(&periods(), &natural(&key("p001"))).await.unwrap();
    let somebody = reader.find(&periods(), &natural(&key("OTHER 7 "))).await.unwrap();

    assert!(matches!(nobody, Lookup::Hidden), "{nobody:?}");
    let Lookup::Lives(item) = somebody else { panic!("case and trailing space are forgiven (R2)") };
    assert_eq!(item.id.0, format!("{:032x}", 7));
}

#[tokio::test]
async fn under_bounded_8_0_is_read_whole_though_its_pages_change_their_order() {
    // Without an upper edge pages come in the order of insertion, with one in that of the change
    // version; either way there is no token to go on by.
    let sandbox = with_periods(ApiVersion::V8_0, 23).await;
    sandbox
        .upsert(
            PERIODS,
            &json!({ "classPeriodName": "p003", "officialAttendancePeriod": true,
        "schoolReference": { "schoolId": SCHOOL } }),
        )
        .unwrap();
    let source = source(&sandbox, 4);
    let reader = source.open(Isolation::Bounded).await.unwrap();
    sandbox.rename(PERIODS, &key("p001"), &key("q001")).unwrap();
    sandbox.delete(PERIODS, &key("p002")).unwrap();

    let whole = Window { after: None, through: reader.newest() };
    let items = upserts(&reader, whole).await.unwrap();
    let changes = key_changes(&*reader, reader.newest()).await.unwrap();
    let after = Window { after: Some(reader.newest()), through: ChangeVersion(sandbox.newest()) };
    let deletes = reader.tombstones(&periods(), after).next().await.unwrap().unwrap();

    assert_eq!(items.len(), 21, "what changed meanwhile belongs to the next window");
    assert_eq!((changes.len(), deletes.len()), (1, 1));
    assert!(sandbox.requests().iter().all(|request| !request.query.contains("pageToken")));
}

#[tokio::test]
async fn a_5_3_source_is_read_under_the_snapshot_that_it_lists() {
    let sandbox = with_periods(ApiVersion::V5_3, 23).await;
    let source = source(&sandbox, 4);
    let reader = source.open(Isolation::Snapshot).await.unwrap();
    sandbox.upsert(PERIODS, &period("later")).unwrap();
    sandbox.clear_requests();

    let whole = Window { after: None, through: reader.newest() };
    let items = upserts(&reader, whole).await.unwrap();
    let confirmed = reader.confirm().await;
    sandbox.take_snapshot();

    assert_eq!(items.len(), 23);
    assert!(confirmed.is_ok());
    let read = sandbox.requests();
    let pages = read.iter().filter(|request| request.resource.is_some());
    assert!(pages.into_iter().all(|page| page.from_snapshot));
    assert!(source.live_newest().await.unwrap() > reader.newest());
}

/// The whole key-change feed of the class periods.
async fn key_changes(
    reader: &dyn Reader,
    after: ChangeVersion,
) -> Result<Vec<tidemark::domain::KeyChange>, SourceError> {
    let mut pages = reader.key_changes(&periods(), after);
    let mut all = Vec::new();
    while let Some(page) = pages.next().await? {
        all.extend(page);
    }
    Ok(all)
}
