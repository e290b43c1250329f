//! The Ed-Fi target against the sandbox, in every version, over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::{Value, json};

use tidemark::clock::Clock;
use tidemark::domain::{Body, Item, NaturalKey, ParkReason, ResourcePath, SourceId, TargetId};
use tidemark::edfi::{Api, ConnectionSettings};
use tidemark::http::{Origins, Unobserved, Url};
use tidemark::sandbox::{
    ApiVersion, Fault, Harm, PeopleAuthorization, Sandbox, SandboxOptions, Seed, Standard,
};
use tidemark::targets::edfi::EdfiTarget;
use tidemark::targets::{Deleted, Disposition, Match, Target, WriteError};

const VERSIONS: [ApiVersion; 6] = ApiVersion::ALL;
const SCHOOL: i64 = 255_901_001;

fn resource(name: &str) -> ResourcePath {
    ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
}

fn periods() -> ResourcePath {
    resource("classPeriods")
}

/// As a source sends it: with everything that a target must not see.
fn item(mut body: Value) -> Item {
    let members = body.as_object_mut().unwrap();
    members.insert("id".to_owned(), json!("5ca1ab1e"));
    members.insert("_etag".to_owned(), json!("1"));
    members.insert("_lastModifiedDate".to_owned(), json!("2026-01-01T00:00:00Z"));
    for (name, value) in members.iter_mut().filter(|(name, _)| name.ends_with("Reference")) {
        value["link"] = json!({"rel": name.trim_end_matches("Reference"), "href": "/x"});
    }
    let bytes = Bytes::from(serde_json::to_vec(&body).unwrap());
    Item { id: SourceId("5ca1ab1e".to_owned()), body: Body(bytes) }
}

fn period(name: &str) -> Item {
    item(json!({"classPeriodName": name, "schoolReference": {"schoolId": SCHOOL}}))
}

fn key(key: Value) -> NaturalKey {
    serde_json::from_value(key).unwrap()
}

fn period_key(name: &str) -> NaturalKey {
    key(json!({"classPeriodName": name, "schoolId": SCHOOL}))
}

fn strict(version: ApiVersion) -> SandboxOptions {
    SandboxOptions { version, strict: true, data: Seed::Descriptors, ..Default::default() }
}

async fn with_school(options: SandboxOptions) -> Sandbox {
    let sandbox = Sandbox::start(options).await.unwrap();
    let school = json!({"schoolId": SCHOOL, "nameOfInstitution": "Grand Bend High School"});
    sandbox.seed("/ed-fi/schools", &school).unwrap();
    sandbox
}

fn settings(url: &str) -> ConnectionSettings {
    ConnectionSettings {
        tls: tidemark::http::ClientTls::default(),
        name: "state".to_owned(),
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
    }
}

fn target_of(settings: ConnectionSettings) -> EdfiTarget {
    let origins = Origins::new(Clock::system());
    EdfiTarget::new(Api::new(settings, &origins, Arc::new(Unobserved)).unwrap())
}

fn target(sandbox: &Sandbox) -> EdfiTarget {
    target_of(settings(&sandbox.url()))
}

async fn one(target: &EdfiTarget, resource: &ResourcePath, key: &NaturalKey) -> TargetId {
    match target.find(resource, key).await.unwrap() {
        Match::One(found) => found.id,
        other => panic!("not one: {other:?}"),
    }
}

async fn all(target: &EdfiTarget, resource: &ResourcePath) -> Vec<TargetId> {
    let mut pages = target.pages(resource);
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        assert!(!page.is_empty(), "a page is never empty");
        ids.extend(page.into_iter().map(|found| found.id));
    }
    ids
}

#[tokio::test]
async fn an_item_is_created_replaced_found_renamed_and_deleted() {
    for version in VERSIONS {
        let sandbox = with_school(strict(version)).await;
        let target = target(&sandbox);

        let created = target.upsert(&periods(), &period("A")).await.unwrap();
        let again = target.upsert(&periods(), &period("A")).await.unwrap();

        assert!(created.created && !again.created, "{version:?}");
        let id = created.id.unwrap();
        assert_eq!(again.id.as_ref(), Some(&id));
        assert_eq!(one(&target, &periods(), &period_key("A")).await, id);

        target.rename(&periods(), &id, &period("B")).await.unwrap();

        assert!(matches!(target.find(&periods(), &period_key("A")).await, Ok(Match::None)));
        let shown = target.get(&periods(), &id).await.unwrap().unwrap();
        assert_eq!(shown.key, Some(period_key("B")));

        assert_eq!(target.delete(&periods(), &id).await.unwrap(), Deleted::Deleted);
        assert_eq!(target.delete(&periods(), &id).await.unwrap(), Deleted::AlreadyGone);
        assert!(target.get(&periods(), &id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_was_sent_is_what_the_target_shows() {
    let sandbox = with_school(strict(ApiVersion::V7_3)).await;
    let target = target(&sandbox);
    let body = json!({
        "classPeriodName": "Ümlaut  \"quoted\"",
        "schoolReference": {"schoolId": SCHOOL},
        "officialAttendancePeriod": true,
        "meetingTimes": [{"startTime": "08:00:00", "endTime": "09:00:00"}],
    });

    let id = target.upsert(&periods(), &item(body.clone())).await.unwrap().id.unwrap();

    let shown = target.get(&periods(), &id).await.unwrap().unwrap();
    let shown: Value = serde_json::from_slice(shown.body.bytes()).unwrap();
    for (name, value) in body.as_object().unwrap() {
        if name != "schoolReference" {
            assert_eq!(&shown[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn everything_is_counted_and_paged_once() {
    for version in VERSIONS {
        let sandbox = with_school(SandboxOptions { page_limit: 7, ..strict(version) }).await;
        let target = target(&sandbox);
        assert_eq!(all(&target, &periods()).await.len(), 0);
        for number in 0..21 {
            target.upsert(&periods(), &period(&format!("p{number}"))).await.unwrap();
        }

        let ids = all(&target, &periods()).await;

        assert_eq!(ids.len(), 21, "{version:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 21);
        assert_eq!(target.count(&periods()).await.unwrap(), 21);
        assert!(target.newest().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn refusals_mean_the_same_in_every_version() {
    for version in VERSIONS {
        let options = SandboxOptions { people: PeopleAuthorization::NoFurther, ..strict(version) };
        let sandbox = with_school(options).await;
        let target = target(&sandbox);
        let refusal = |error: &WriteError| error.refusal().unwrap().clone();

        let no_school = item(json!({"classPeriodName":"A","schoolReference":{"schoolId":999}}));
        let unresolved = target.upsert(&periods(), &no_school).await.unwrap_err();
        assert_eq!(unresolved.disposition(), Disposition::ResolveReference, "{version:?}");
        let missing = refusal(&unresolved).missing;
        assert!(missing.iter().any(|name| name.eq_ignore_ascii_case("school")), "{missing:?}");

        let invalid = item(json!({"schoolReference":{"schoolId":SCHOOL}}));
        let invalid = target.upsert(&periods(), &invalid).await.unwrap_err();
        assert_eq!(invalid.disposition(), Disposition::Park(ParkReason::Invalid));
        assert_eq!(refusal(&invalid).members, ["$.classPeriodName"], "{version:?}");

        target.upsert(&periods(), &period("A")).await.unwrap();
        let schools = resource("schools");
        let school = one(&target, &schools, &key(json!({"schoolId": SCHOOL}))).await;
        let referenced = target.delete(&schools, &school).await.unwrap_err();
        assert_eq!(
            referenced.disposition(),
            Disposition::AwaitDeletes(ParkReason::StillReferenced),
            "{version:?}"
        );

        let renamed = item(json!({"schoolId": 7, "nameOfInstitution": "x"}));
        let rename = target.rename(&schools, &school, &renamed).await.unwrap_err();
        assert_eq!(rename.disposition(), Disposition::PlainAgreement, "{version:?}");

        target.upsert(&periods(), &period("B")).await.unwrap();
        let b = one(&target, &periods(), &period_key("B")).await;
        let taken = target.rename(&periods(), &b, &period("A")).await.unwrap_err();
        assert_eq!(taken.disposition(), Disposition::PlainAgreement, "{version:?}");

        let unknown = resource("nonexistents");
        let closed = target.upsert(&unknown, &period("A")).await.unwrap_err();
        assert_eq!(closed.disposition(), Disposition::CloseResource, "{version:?}");
    }
}

#[tokio::test]
async fn r4_a_default_that_the_server_ignores_makes_no_match_of_a_stranger() {
    for version in VERSIONS {
        let sandbox = with_school(strict(version)).await;
        let target = target(&sandbox);
        target.upsert(&periods(), &period("A")).await.unwrap();
        target.upsert(&periods(), &period("B")).await.unwrap();

        // An empty value is not listened to: every period of the school comes back.
        let found = target.find(&periods(), &period_key("")).await.unwrap();

        assert!(matches!(found, Match::None), "{version:?} {found:?}");
    }
}

#[tokio::test]
async fn t24_r4_a_full_page_of_strangers_is_doubt() {
    let options = SandboxOptions { page_limit: 2, ..strict(ApiVersion::V7_3) };
    let sandbox = with_school(options).await;
    let target = target(&sandbox);
    for name in ["A", "B", "C"] {
        target.upsert(&periods(), &period(name)).await.unwrap();
    }

    let found = target.find(&periods(), &period_key("")).await.unwrap();

    assert!(matches!(found, Match::Doubtful { .. }), "{found:?}");
}

#[tokio::test]
async fn a_reference_to_an_organization_finds_the_school_by_its_own_name() {
    let sandbox = with_school(strict(ApiVersion::V7_3)).await;
    let target = target(&sandbox);
    let abstractly = key(json!({"educationOrganizationId": SCHOOL}));

    assert!(matches!(target.find(&resource("schools"), &abstractly).await, Ok(Match::One(_))));
}

#[tokio::test]
async fn r1_another_standard_is_known_from_its_openapi_document() {
    for version in VERSIONS {
        let options = SandboxOptions { standard: Standard::Other, ..strict(version) };
        let sandbox = Sandbox::start(options).await.unwrap();
        let target = target(&sandbox);
        let campus = item(json!({"campusCode": 1, "title": "North"}));
        target.upsert(&resource("campuses"), &campus).await.unwrap();
        let term = |title: &str| {
            item(json!({"termTitle": title, "startsOn": "2026-01-01",
                "campusReference": {"campusCode": 1}}))
        };
        let terms = resource("terms");
        let id = target.upsert(&terms, &term("Fall")).await.unwrap().id.unwrap();

        let shape = target.key_shape(&terms).await.unwrap().unwrap();

        assert!(shape.key_is_updatable && shape.key_contains(&resource("campuses")));
        let fall = key(json!({"campusCode": 1, "termTitle": "Fall"}));
        assert_eq!(one(&target, &terms, &fall).await, id, "{version:?}");
        let shown = target.get(&terms, &id).await.unwrap().unwrap();
        assert_eq!(shown.key, Some(fall));
        let groups = target.key_shape(&resource("groups")).await.unwrap().unwrap();
        assert!(groups.key_contains(&terms) && groups.refers_to(&resource("topics")));
        assert!(!groups.key_contains(&resource("topics")));
        let extension = ResourcePath::parse("/sample/clubs").unwrap();
        assert!(target.key_shape(&extension).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_built_in_table_costs_no_request() {
    let sandbox = with_school(strict(ApiVersion::V7_3)).await;
    let target = target(&sandbox);
    target.capabilities().await.unwrap();
    let before = target.requests();

    target.key_shape(&resource("sections")).await.unwrap().unwrap();
    target.key_shape(&resource("termDescriptors")).await.unwrap().unwrap();

    assert_eq!(target.requests(), before);
}

#[tokio::test]
async fn tenant_year_and_slashes_are_discovered() {
    for (version, year, tenant, slash) in [
        (ApiVersion::V7_3, None, None, "/"),
        (ApiVersion::V7_3, None, Some("north"), ""),
        (ApiVersion::V7_3, Some(2026), Some("north"), "/"),
        (ApiVersion::V6_1, Some(2022), None, ""),
        (ApiVersion::V5_3, Some(2022), None, ""),
        (ApiVersion::V7_1, Some(2026), Some("north"), ""),
        (ApiVersion::V8_0, Some(2026), Some("north"), ""),
    ] {
        let tenant = tenant.map(str::to_owned);
        let sandbox = with_school(SandboxOptions { year, tenant, ..strict(version) }).await;
        let school_year = year.filter(|_| matches!(version, ApiVersion::V6_1 | ApiVersion::V5_3));
        let url = format!("{}{slash}", sandbox.url());
        let target = target_of(ConnectionSettings { school_year, ..settings(&url) });

        let upserted = target.upsert(&periods(), &period("A")).await;

        assert!(upserted.is_ok(), "{url} {version:?}: {upserted:?}");
        assert!(target.newest().await.unwrap().is_some());
        assert!(target.resources().await.unwrap().contains(&periods()));
        let fingerprint = target.capabilities().await.unwrap().fingerprint.clone();
        assert!(year.is_none_or(|year| fingerprint.data_url.contains(&year.to_string())));
    }
}

#[tokio::test]
async fn an_answer_of_another_shape_fails_and_is_never_an_empty_one() {
    for harm in [Harm::Html, Harm::InvalidUtf8, Harm::NotAnArray] {
        let sandbox = with_school(strict(ApiVersion::V7_3)).await;
        let target = target(&sandbox);
        target.upsert(&periods(), &period("A")).await.unwrap();
        sandbox.fault(Fault::on("/ed-fi/classPeriods", harm.clone()).method("GET"));

        let found = target.find(&periods(), &period_key("A")).await;
        let page = target.pages(&periods()).next().await;

        assert!(matches!(found, Err(WriteError::Shape { .. })), "{harm:?} {found:?}");
        assert!(matches!(page, Err(WriteError::Shape { .. })), "{harm:?}");
        let told = found.unwrap_err().to_string();
        assert!(
            told.starts_with(
                "looking up an item of /ed-fi/classPeriods at connection `state`: the answer"
            ),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_sign_in_page_is_no_upsert_and_a_redirect_is_an_error() {
    for (harm, is_shape) in
        [(Harm::Html, true), (Harm::Redirect("http://127.0.0.1:9/".to_owned()), false)]
    {
        let sandbox = with_school(strict(ApiVersion::V7_3)).await;
        let target = target(&sandbox);
        sandbox.fault(Fault::on("/ed-fi/classPeriods", harm.clone()).method("POST"));

        let error = target.upsert(&periods(), &period("A")).await.unwrap_err();

        assert_eq!(matches!(error, WriteError::Shape { .. }), is_shape, "{error:?}");
        assert_eq!(error.disposition(), Disposition::FailRun);
    }
}

#[tokio::test]
async fn no_write_carries_a_snapshot_header_and_no_error_a_key() {
    let sandbox = with_school(strict(ApiVersion::V7_3)).await;
    let target = target(&sandbox);
    let missing = item(json!({"classPeriodName": "SECRETNAME",
        "schoolReference": {"schoolId": 4_815_162_342_i64}}));

    let error = target.upsert(&periods(), &missing).await.unwrap_err();

    assert!(sandbox.requests().iter().all(|request| !request.from_snapshot));
    let told = format!("{error} {error:?}");
    assert!(!told.contains("SECRETNAME") && !told.contains("4815162342"), "{told}");
}
