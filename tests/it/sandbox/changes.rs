//! Key changes with their cascades, tombstones, windows and snapshots.

use reqwest::Method;
use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, Sandbox, SandboxOptions, Seed, SnapshotMode};

use super::client::{Client, sandbox};

const SCHOOL: u32 = 255_901_107;

fn session(name: &str) -> Value {
    json!({"sessionName": name, "schoolReference": {"schoolId": SCHOOL},
        "schoolYearTypeReference": {"schoolYear": 2023}, "beginDate": "2022-08-23",
        "endDate": "2022-12-17", "termDescriptor": "uri://ed-fi.org/TermDescriptor#Fall Semester",
        "totalInstructionalDays": 81})
}

fn offering(session: &str) -> Value {
    json!({"localCourseCode": "X", "schoolReference": {"schoolId": SCHOOL},
        "sessionReference": {"schoolId": SCHOOL, "schoolYear": 2023, "sessionName": session},
        "courseReference": {"courseCode": "X", "educationOrganizationId": SCHOOL}})
}

fn section(session: &str) -> Value {
    json!({"sectionIdentifier": "S", "courseOfferingReference": {"localCourseCode": "X",
        "schoolId": SCHOOL, "schoolYear": 2023, "sessionName": session}})
}

/// A session, an offering of it and a section of that.
fn build_chain(server: &Sandbox, name: &str) -> i64 {
    let course = json!({"courseCode": "X", "courseTitle": "X", "numberOfParts": 1,
        "educationOrganizationReference": {"educationOrganizationId": SCHOOL},
        "identificationCodes": []});
    server.upsert("/ed-fi/courses", &course).unwrap();
    server.upsert("/ed-fi/sessions", &session(name)).unwrap();
    server.upsert("/ed-fi/courseOfferings", &offering(name)).unwrap();
    server.upsert("/ed-fi/sections", &section(name)).unwrap();
    server.newest()
}

async fn session_path(client: &Client, name: &str) -> String {
    let found = client
        .get(&format!("/ed-fi/sessions?schoolId={SCHOOL}&schoolYear=2023&sessionName={name}"))
        .await;
    format!("/ed-fi/sessions/{}", found.json()[0]["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_key_change_numbers_rows_and_records_as_the_real_triggers_do() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let before = build_chain(&server, "F24");

    let path = session_path(&client, "F24").await;
    let renamed = client.put(&path, &session("Fall24")).await;

    // The rows of session, offering and section, and the records of each, after `before`.
    assert_eq!(renamed.status, 204, "{}", renamed.text);
    let key = json!({"schoolId": SCHOOL, "schoolYear": 2023, "sessionName": "Fall24",
        "localCourseCode": "X", "sectionIdentifier": "S"});
    let row = |resource: &str| server.version(resource, &key).unwrap() - before;
    assert_eq!(
        (row("/ed-fi/sessions"), row("/ed-fi/courseOfferings"), row("/ed-fi/sections")),
        (1, 2, 4)
    );
    for (resource, number) in [("sessions", 3), ("courseOfferings", 5), ("sections", 6)] {
        let feed = client.get(&format!("/ed-fi/{resource}/keyChanges?totalCount=true")).await;
        let entry = &feed.json()[0];
        assert_eq!(feed.header("Total-Count"), Some("1"), "{resource}");
        assert_eq!(entry["changeVersion"].as_i64().unwrap() - before, number, "{resource}");
        assert_eq!(entry["oldKeyValues"]["sessionName"], "F24");
        assert_eq!(entry["newKeyValues"]["sessionName"], "Fall24");
        assert_eq!(entry["newKeyValues"]["schoolYear"], 2023);
    }
    let section = server.item("/ed-fi/sections", &key).unwrap();
    assert_eq!(section["courseOfferingReference"]["sessionName"], "Fall24");
    assert_eq!(client.newest().await, before + 6);
}

#[tokio::test]
async fn key_changes_collapse_to_one_entry_within_the_window() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    build_chain(&server, "A");
    let path = session_path(&client, "A").await;
    client.put(&path, &session("B")).await;
    let middle = client.newest().await;
    client.put(&path, &session("C")).await;

    let names = |entries: Value| -> Vec<(String, String)> {
        let name = |value: &Value| value["sessionName"].as_str().unwrap().to_owned();
        let entries = entries.as_array().unwrap().iter();
        entries.map(|one| (name(&one["oldKeyValues"]), name(&one["newKeyValues"]))).collect()
    };
    let whole = client.get("/ed-fi/sessions/keyChanges").await;
    let second =
        client.get(&format!("/ed-fi/sessions/keyChanges?minChangeVersion={}", middle + 1)).await;

    assert_eq!(names(whole.json()), [("A".to_owned(), "C".to_owned())]);
    assert_eq!(names(second.json()), [("B".to_owned(), "C".to_owned())]);
}

#[tokio::test]
async fn a_rename_is_refused_where_it_must_be() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    build_chain(&server, "A");
    server.upsert("/ed-fi/sessions", &session("Taken")).unwrap();
    let before = server.all();

    let path = session_path(&client, "A").await;
    let taken = client.put(&path, &session("Taken")).await;
    let gone = client.put(&format!("/ed-fi/sessions/{:032x}", 7), &session("B")).await;
    let posted = client.get("/ed-fi/students?studentUniqueId=604821").await;
    let student = format!("/ed-fi/students/{}", posted.json()[0]["id"].as_str().unwrap());
    let mut body = posted.json()[0].clone();
    body["studentUniqueId"] = json!("other");
    let fixed = client.put(&student, &body).await;

    assert_eq!(taken.status, 409);
    assert!(taken.text.contains("non-unique-identity"));
    assert_eq!(gone.status, 404);
    assert_eq!(fixed.status, 400);
    assert!(fixed.text.contains("key-change-not-supported"), "{}", fixed.text);
    assert_eq!(server.all(), before);
}

#[tokio::test]
async fn a_key_that_lives_again_is_no_longer_told_as_deleted() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    build_chain(&server, "A");
    let key = json!({"schoolId": SCHOOL, "schoolYear": 2023, "sessionName": "A",
        "localCourseCode": "X", "sectionIdentifier": "S"});

    server.delete("/ed-fi/sections", &key).unwrap();
    let once = client.get("/ed-fi/sections/deletes").await;
    server.upsert("/ed-fi/sections", &section("A")).unwrap();
    let hidden = client.get("/ed-fi/sections/deletes?totalCount=true").await;
    server.delete("/ed-fi/sections", &key).unwrap();
    let twice = client.get("/ed-fi/sections/deletes?totalCount=true").await;

    assert_eq!(once.json()[0]["keyValues"], key);
    assert_eq!((hidden.count(), hidden.header("Total-Count")), (0, Some("0")));
    assert_eq!((twice.count(), twice.header("Total-Count")), (2, Some("2")));
    let versions: Vec<i64> = twice
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["changeVersion"].as_i64().unwrap())
        .collect();
    assert!(versions[0] < versions[1]);
    assert_ne!(twice.json()[0]["id"], twice.json()[1]["id"]);
}

#[tokio::test]
async fn a_descriptor_that_lives_again_is_still_told_as_deleted() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let term = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "Long",
        "shortDescription": "Long"});
    let key = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "Long"});

    server.upsert("/ed-fi/termDescriptors", &term).unwrap();
    server.delete("/ed-fi/termDescriptors", &key).unwrap();
    server.upsert("/ed-fi/termDescriptors", &term).unwrap();

    let feed = client.get("/ed-fi/termDescriptors/deletes").await;
    assert_eq!(feed.json()[0]["keyValues"], key);
    assert_eq!(client.get("/ed-fi/termDescriptors/keyChanges").await.count(), 0);
    assert_eq!(client.get("/ed-fi/schools/keyChanges").await.count(), 0);
}

#[tokio::test]
async fn feeds_refuse_a_limit_of_nothing() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;

    for (path, status) in [
        ("/ed-fi/students/deletes?limit=0", 400),
        ("/ed-fi/students/deletes?limit=501", 400),
        ("/ed-fi/students/keyChanges?offset=-1", 400),
        ("/ed-fi/students/keyChanges?limit=1&offset=3", 200),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_old_snapshot_stays_as_it_was_until_it_is_renewed() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let header = [("Use-Snapshot", "true")];
    let then = client.changes(&header).await.json();
    build_chain(&server, "A");

    let still = client.get_with("/ed-fi/courses?courseCode=X", &header).await;
    let live = client.get("/ed-fi/courses?courseCode=X").await;
    let off = client.get_with("/ed-fi/courses?courseCode=X", &[("Use-Snapshot", "no")]).await;
    let now = client.changes(&header).await.json();
    let renewed = client.get_with("/ed-fi/courses?courseCode=X", &header).await;

    assert_eq!((still.count(), live.count(), off.count(), renewed.count()), (0, 1, 1, 1));
    assert!(then["newestChangeVersion"].as_i64() < now["newestChangeVersion"].as_i64());
    assert_eq!(now["oldestChangeVersion"], 0);
}

#[tokio::test]
async fn writes_under_the_snapshot_header_are_refused_whatever_it_says() {
    let servers = [
        (ApiVersion::V7_3, "Use-Snapshot", "false"),
        (ApiVersion::V7_2, "Use-Snapshot", "false"),
        (ApiVersion::V7_1, "Use-Snapshot", "false"),
        (ApiVersion::V5_3, "Snapshot-Identifier", "x"),
        (ApiVersion::V6_1, "Snapshot-Identifier", "x"),
    ];
    for (version, name, value) in servers {
        let server = sandbox(version, Seed::Empty).await;
        let client = Client::of(&server).await;

        let body = Some("{}".to_owned());
        let path = "/data/v3/ed-fi/students";
        let answer = client.send(Method::POST, path, &[(name, value)], body).await;

        assert_eq!(answer.status, 405, "{version:?}");
    }
}

#[tokio::test]
async fn a_server_without_a_snapshot_says_so_in_the_words_of_its_version() {
    for (version, name, status, words) in [
        (ApiVersion::V7_3, "Use-Snapshot", 404, "Snapshot not found."),
        (ApiVersion::V7_2, "Use-Snapshot", 404, "urn:ed-fi:api:not-found"),
        (ApiVersion::V7_1, "Use-Snapshot", 404, "{\"message\":\"Snapshot not found.\",\"corr"),
        (ApiVersion::V6_1, "Snapshot-Identifier", 410, "{\"message\":\"Snapshot not available.\"}"),
    ] {
        let server = Sandbox::start(SandboxOptions {
            version,
            snapshots: SnapshotMode::Manual,
            ..SandboxOptions::default()
        })
        .await
        .unwrap();
        let client = Client::of(&server).await;

        for path in ["/ed-fi/students", "/ed-fi/students/deletes", "/ed-fi/students/keyChanges"] {
            let answer = client.get_with(path, &[(name, "true")]).await;

            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            assert!(answer.text.contains(words), "{path}: {}", answer.text);
        }
        assert_eq!(client.changes(&[(name, "true")]).await.status, status);
        server.take_snapshot();
        if version != ApiVersion::V6_1 {
            assert_eq!(client.changes(&[(name, "true")]).await.status, 200);
        }
    }
}

#[tokio::test]
async fn an_old_server_lists_its_snapshots_and_reads_from_the_one_that_is_named() {
    let server = sandbox(ApiVersion::V6_1, Seed::Sample).await;
    let client = Client::of(&server).await;
    let list = client.send(Method::GET, "/changeQueries/v1/snapshots", &[], None).await.json();
    let identifier = list[0]["snapshotIdentifier"].as_str().unwrap().to_owned();
    let header = [("Snapshot-Identifier", identifier.as_str())];
    build_chain(&server, "A");

    let still = client.get_with("/ed-fi/courses?courseCode=X", &header).await;
    let again = client.send(Method::GET, "/changeQueries/v1/snapshots", &[], None).await.json();
    let path = format!("/changeQueries/v1/snapshots/{identifier}");
    let one = client.send(Method::GET, &path, &[], None).await;

    assert_eq!(still.count(), 0);
    assert_ne!(again[0]["snapshotIdentifier"], list[0]["snapshotIdentifier"]);
    assert_eq!(one.json()["snapshotIdentifier"], identifier.as_str());
    let newer = again[0]["snapshotIdentifier"].as_str().unwrap();
    let now =
        client.get_with("/ed-fi/courses?courseCode=X", &[("Snapshot-Identifier", newer)]).await;
    assert_eq!(now.count(), 1);
}

#[tokio::test]
async fn a_slow_transaction_becomes_visible_below_the_newest_version() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let first = server.newest();

    let reserved = server.reserve_version();
    server.upsert("/ed-fi/sessions", &session("Quick")).unwrap();
    let newest = client.newest().await;
    let window = format!("/ed-fi/sessions?minChangeVersion={}", first + 1);
    let before = client.get(&window).await.count();
    server.upsert_late("/ed-fi/sessions", &session("Slow"), reserved).unwrap();

    assert_eq!((reserved, newest), (first + 1, first + 2));
    assert_eq!(client.newest().await, newest);
    assert_eq!((before, client.get(&window).await.count()), (1, 2));
    assert_eq!(client.get(&format!("/ed-fi/sessions?minChangeVersion={newest}")).await.count(), 1);
}

#[tokio::test]
async fn a_rolled_back_write_leaves_a_gap() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let before = client.newest().await;

    server.burn_versions(3);

    assert_eq!(client.newest().await, before + 3);
}

#[tokio::test]
async fn a_reference_in_a_collection_follows_a_renamed_item_too() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    build_chain(&server, "A");
    let period = json!({"classPeriodName": "Early", "schoolReference": {"schoolId": SCHOOL}});
    server.upsert("/ed-fi/classPeriods", &period).unwrap();
    let mut meeting = section("A");
    meeting["classPeriods"] =
        json!([{"classPeriodReference": {"classPeriodName": "Early", "schoolId": SCHOOL}}]);
    server.upsert("/ed-fi/sections", &meeting).unwrap();
    let key = server.key_of("/ed-fi/sections", &meeting).unwrap();
    let before = server.version("/ed-fi/sections", &key).unwrap();

    let old = json!({"classPeriodName": "Early", "schoolId": SCHOOL});
    let new = json!({"classPeriodName": "Late", "schoolId": SCHOOL});
    server.rename("/ed-fi/classPeriods", &old, &new).unwrap();

    let followed = server.item("/ed-fi/sections", &key).unwrap();
    let name = &followed["classPeriods"][0]["classPeriodReference"]["classPeriodName"];
    assert_eq!(name, "Late");
    assert!(server.version("/ed-fi/sections", &key).unwrap() > before);
    // The section's own key did not change, so its feed says nothing.
    let client = Client::of(&server).await;
    assert_eq!(client.get("/ed-fi/sections/keyChanges").await.count(), 0);
    assert_eq!(client.get("/ed-fi/classPeriods/keyChanges").await.count(), 1);
}

#[tokio::test]
async fn a_session_of_the_sample_is_renamed_with_everything_that_hangs_on_it() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let old = json!({"schoolId": 255_901_107, "schoolYear": 2022,
        "sessionName": "2021-2022 Fall Semester"});
    let mut new = old.clone();
    new["sessionName"] = json!("Fall");
    let dependents = server.dependents("/ed-fi/sessions", &old);

    server.rename("/ed-fi/sessions", &old, &new).unwrap();

    assert!(dependents > 1000, "{dependents}");
    assert_eq!(server.dependents("/ed-fi/sessions", &new), dependents);
    for resource in ["/ed-fi/sections", "/ed-fi/grades", "/ed-fi/studentSectionAssociations"] {
        for item in server.items(resource) {
            let key = server.key_of(resource, &item).unwrap();
            assert_eq!(server.item(resource, &key), Some(item));
            let is_old =
                key["schoolId"] == 255_901_107 && key["sessionName"] == "2021-2022 Fall Semester";
            assert!(!is_old, "{key}");
        }
    }
}
