//! What each version says on the wire that another does not (edfi-wire §11).

use reqwest::Method;
use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, Sandbox, SandboxOptions, Seed};

use super::client::{Answer, Client, sandbox};

const SCHOOL: i64 = 255_901_001;

fn data(version: ApiVersion) -> &'static str {
    match version {
        ApiVersion::V8_0 => "/data/ed-fi",
        _ => "/data/v3/ed-fi",
    }
}

fn period(name: &str) -> Value {
    json!({"classPeriodName": name, "schoolReference": {"schoolId": SCHOOL}})
}

fn period_key(name: &str) -> Value {
    json!({"classPeriodName": name, "schoolId": SCHOOL})
}

/// A sandbox of this version with a school, and a client of it.
async fn with_school(version: ApiVersion) -> (Sandbox, Client) {
    let server = sandbox(version, Seed::Empty).await;
    let school = json!({"schoolId": SCHOOL, "nameOfInstitution": "Grand Bend High School"});
    server.seed("/ed-fi/schools", &school).unwrap();
    let client = Client::of(&server).await;
    (server, client)
}

async fn write(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    client.send(method, path, &[], Some(body.to_string())).await
}

async fn read(client: &Client, path: &str) -> Answer {
    client.send(Method::GET, path, &[], None).await
}

#[tokio::test]
async fn every_root_leads_to_what_it_names() {
    for version in ApiVersion::ALL {
        let (_server, client) = with_school(version).await;

        let root = read(&client, "/").await.json();

        assert!(root["version"].as_str().unwrap().starts_with(version.as_str()), "{root}");
        let urls = root["urls"].as_object().unwrap();
        let old = matches!(version, ApiVersion::V5_3 | ApiVersion::V6_1);
        assert_eq!(root.get("apiMode").is_some(), old, "{version:?}");
        let named = matches!(version, ApiVersion::V7_3 | ApiVersion::V8_0);
        assert_eq!(root.get("applicationName").is_some(), named, "{version:?}");
        assert_eq!(urls.contains_key("changeQueries"), version != ApiVersion::V5_3);
        for name in ["dependencies", "openApiMetadata"] {
            let path = urls[name].as_str().unwrap().strip_prefix(&client.url).unwrap();
            assert_eq!(read(&client, path).await.status, 200, "{version:?} {name}");
        }
        let list = urls["openApiMetadata"].as_str().unwrap().strip_prefix(&client.url).unwrap();
        for section in read(&client, list).await.json().as_array().unwrap() {
            let path = section["endpointUri"].as_str().unwrap();
            let path = path.strip_prefix(&client.url).unwrap();
            assert_eq!(read(&client, path).await.status, 200, "{version:?} {path}");
        }
        let data_url = urls["dataManagementApi"].as_str().unwrap().trim_end_matches('/');
        let data_path = data_url.strip_prefix(&client.url).unwrap();
        let schools = read(&client, &format!("{data_path}/ed-fi/schools")).await;
        assert_eq!((schools.status.as_u16(), schools.count()), (200, 1), "{version:?}");
    }
}

#[tokio::test]
async fn change_versions_of_5_3_begin_with_a_capital() {
    for version in ApiVersion::ALL {
        let (_server, client) = with_school(version).await;

        let answer = client.changes(&[]).await.json();

        let name =
            if version == ApiVersion::V5_3 { "NewestChangeVersion" } else { "newestChangeVersion" };
        assert!(answer[name].is_i64(), "{version:?}: {answer}");
    }
}

#[tokio::test]
async fn deletes_of_5_3_are_ids_25_at_a_time_and_it_has_no_key_changes() {
    for version in ApiVersion::ALL {
        let (server, client) = with_school(version).await;
        for number in 0..30 {
            let name = format!("p{number}");
            server.upsert("/ed-fi/classPeriods", &period(&name)).unwrap();
            server.delete("/ed-fi/classPeriods", &period_key(&name)).unwrap();
        }
        server.upsert("/ed-fi/classPeriods", &period("p0")).unwrap();
        let periods = format!("{}/classPeriods", data(version));

        let told = read(&client, &format!("{periods}/deletes?totalCount=true")).await;
        let more = read(&client, &format!("{periods}/deletes?limit=100")).await;
        let renamed = read(&client, &format!("{periods}/keyChanges")).await;

        let is_5_3 = version == ApiVersion::V5_3;
        assert_eq!(told.count(), if is_5_3 { 25 } else { 29 }, "{version:?}");
        assert_eq!(more.count(), if is_5_3 { 30 } else { 29 }, "what lives again, {version:?}");
        assert_eq!(told.json()[0].get("keyValues").is_none(), is_5_3, "{version:?}");
        assert_eq!(told.header("total-count").is_none(), is_5_3, "{version:?}");
        assert_eq!(renamed.status, if is_5_3 { 404 } else { 200 }, "{version:?}");
    }
}

#[tokio::test]
async fn a_descriptor_that_lives_again_is_told_as_deleted_by_all_but_8_0() {
    for version in ApiVersion::ALL {
        let (server, client) = with_school(version).await;
        let term = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "T9", "shortDescription": "T9"});
        let key = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "T9"});
        server.upsert("/ed-fi/termDescriptors", &term).unwrap();
        server.delete("/ed-fi/termDescriptors", &key).unwrap();
        server.upsert("/ed-fi/termDescriptors", &term).unwrap();

        let told = read(&client, &format!("{}/termDescriptors/deletes", data(version))).await;

        assert_eq!(told.count(), usize::from(version != ApiVersion::V8_0), "{version:?}");
    }
}

#[tokio::test]
async fn refusals_are_written_as_the_version_writes_them() {
    for version in ApiVersion::ALL {
        let (_server, client) = with_school(version).await;
        let enrolment = json!({"studentReference": {"studentUniqueId": "1"},
            "schoolReference": {"schoolId": 9}, "entryDate": "2021-08-23",
            "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Ninth grade"});
        let session = json!({"sessionName": "Fall", "schoolReference": {"schoolId": 9},
            "schoolYearTypeReference": {"schoolYear": 2022}, "beginDate": "2021-08-23",
            "endDate": "2021-12-17", "totalInstructionalDays": 81,
            "termDescriptor": "uri://ed-fi.org/TermDescriptor#Fall Semester"});
        let server = sandbox(version, Seed::Descriptors).await;
        let full = Client::of(&server).await;

        let people = format!("{}/studentSchoolAssociations", data(version));
        let person = write(&full, Method::POST, &people, &enrolment).await;
        let sessions = format!("{}/sessions", data(version));
        let other = write(&full, Method::POST, &sessions, &session).await;
        let wrong = read(&client, &format!("{}/students?limit=501", data(version))).await;

        let (person_body, other_body) = (person.json(), other.json());
        match version {
            ApiVersion::V5_3 | ApiVersion::V6_1 | ApiVersion::V7_1 => {
                assert_eq!((person.status.as_u16(), other.status.as_u16()), (400, 409));
                assert_eq!(person_body["message"], "Student reference could not be resolved.");
                let correlated = version == ApiVersion::V7_1;
                assert_eq!(person_body.get("correlationId").is_some(), correlated, "{version:?}");
                assert!(person_body.get("type").is_none());
            }
            ApiVersion::V7_2 | ApiVersion::V7_3 => {
                assert_eq!((person.status.as_u16(), other.status.as_u16()), (409, 409));
                let kind = "urn:ed-fi:api:data-conflict:unresolved-reference";
                assert_eq!(person_body["type"], kind);
                assert!(person_body.get("validationErrors").is_none());
            }
            ApiVersion::V8_0 => {
                assert_eq!((person.status.as_u16(), other.status.as_u16()), (409, 409));
                let all = person_body["validationErrors"].as_object().unwrap();
                let names: Vec<&str> = all.keys().map(String::as_str).collect();
                assert_eq!(names, ["$.schoolReference", "$.studentReference"], "{person_body}");
                assert_eq!(other_body["errors"], json!([]));
            }
        }
        assert_eq!(wrong.status, 400);
        let words = match version {
            ApiVersion::V5_3 | ApiVersion::V6_1 => "between 1 and max value defined",
            ApiVersion::V7_1 | ApiVersion::V7_2 => {
                "Limit must be omitted or set to a value between 0 and 500."
            }
            ApiVersion::V7_3 => "Limit must be a value between 0 and 500.",
            ApiVersion::V8_0 => {
                "Limit must be omitted or set to a numeric value between 0 and 500."
            }
        };
        assert!(wrong.text.contains(words), "{version:?}: {}", wrong.text);
    }
}

#[tokio::test]
async fn cursors_belong_to_7_3_alone_and_8_0_wants_edges_the_right_way_round() {
    for version in ApiVersion::ALL {
        let (_server, client) = with_school(version).await;
        let schools = format!("{}/schools", data(version));

        let page = read(&client, &format!("{schools}?limit=1")).await;
        let partitions = read(&client, &format!("{schools}/partitions")).await;
        let edges = format!("{schools}?minChangeVersion=9&maxChangeVersion=3");
        let upside_down = read(&client, &edges).await;

        let has_cursors = version == ApiVersion::V7_3;
        assert_eq!(page.header("next-page-token").is_some(), has_cursors, "{version:?}");
        assert_eq!(partitions.status == 200, has_cursors, "{version:?}");
        let refused = version == ApiVersion::V8_0;
        assert_eq!(upside_down.status, if refused { 400 } else { 200 }, "{version:?}");
    }
}

#[tokio::test]
async fn version_8_0_wants_the_id_in_a_put_and_says_nothing_of_what_is_gone() {
    let (server, client) = with_school(ApiVersion::V8_0).await;
    server.upsert("/ed-fi/classPeriods", &period("A")).unwrap();
    server.upsert("/ed-fi/classPeriods", &period("C")).unwrap();
    let id = server.id("/ed-fi/classPeriods", &period_key("A")).unwrap();
    let place = format!("/data/ed-fi/classPeriods/{id}");
    let named = |id: &str, name: &str| {
        let mut body = period(name);
        body["id"] = json!(id);
        body
    };

    let unnamed = write(&client, Method::PUT, &place, &period("B")).await;
    let other = write(&client, Method::PUT, &place, &named(&"0".repeat(32), "B")).await;
    let taken = write(&client, Method::PUT, &place, &named(&id, "C")).await;
    let renamed = write(&client, Method::PUT, &place, &named(&id, "B")).await;
    let gone = client.send(Method::DELETE, &place, &[], None).await;
    let again = client.send(Method::DELETE, &place, &[], None).await;

    assert_eq!((unnamed.status.as_u16(), other.status.as_u16()), (400, 400));
    assert_eq!(taken.json()["type"], "urn:ed-fi:api:identity-conflict");
    assert_eq!(renamed.status, 204);
    assert!(renamed.header("location").unwrap().ends_with(&place));
    assert_eq!((gone.status.as_u16(), again.status.as_u16()), (204, 404));
    assert_eq!(again.text, "");
}

#[tokio::test]
async fn version_8_0_hands_out_jwt_and_serves_live_data_whatever_the_header_asks() {
    let (server, client) = with_school(ApiVersion::V8_0).await;
    server.take_snapshot();
    server.upsert("/ed-fi/classPeriods", &period("A")).unwrap();
    let header = [("Use-Snapshot", "true")];

    let read = client.send(Method::GET, "/data/ed-fi/classPeriods", &header, None).await;
    let path = "/data/ed-fi/classPeriods";
    let written = client.send(Method::POST, path, &header, Some(period("B").to_string())).await;

    assert_eq!(client.authorization().split('.').count(), 3);
    assert_eq!(read.count(), 1, "live data");
    assert_eq!(written.status, 201);
    let tokens = Sandbox::start(SandboxOptions {
        version: ApiVersion::V8_0,
        token_limit: 0,
        ..SandboxOptions::default()
    });
    Client::of(&tokens.await.unwrap()).await;
}
