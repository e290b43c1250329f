//! What POST, PUT and DELETE do and refuse.

use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, PeopleAuthorization, Sandbox, SandboxOptions, Seed, Standard};

use super::client::{Client, sandbox};

fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "birthDate": "2010-01-13", "firstName": "A", "lastSurname": "B"})
}

#[tokio::test]
async fn a_post_creates_then_updates_then_changes_nothing() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;

    let created = client.post("/ed-fi/students", &student("1")).await;
    let first = client.newest().await;
    let unchanged = client.post("/ed-fi/students", &student("1")).await;
    let second = client.newest().await;
    let mut changed = student("1");
    changed["middleName"] = json!("C");
    let updated = client.post("/ed-fi/students", &changed).await;
    let third = client.newest().await;

    assert_eq!(created.status, 201);
    assert_eq!(unchanged.status, 200);
    assert_eq!(updated.status, 200);
    assert_eq!((second, third), (first, first + 1));
    assert_eq!(created.header("etag"), unchanged.header("etag"));
    assert_ne!(created.header("etag"), updated.header("etag"));
    assert_eq!(created.header("location"), updated.header("location"));
    let place = created.header("location").unwrap();
    assert!(place.starts_with(&format!("{}/data/v3/ed-fi/students/", server.url())), "{place}");
}

#[tokio::test]
async fn an_item_is_served_in_the_bytes_in_which_it_was_posted() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let body = r#"{"studentReference":{"studentUniqueId":"604821","link":{"rel":"x","href":"y"}},"schoolReference":{"schoolId":255901107},"entryDate":"2024-08-23","entryGradeLevelDescriptor":"uri:\/\/ed-fi.org\/GradeLevelDescriptor#Second grade","fullTimeEquivalency":0.50,"_etag":"1"}"#;

    let path = "/data/v3/ed-fi/studentSchoolAssociations";
    let posted = client.send(reqwest::Method::POST, path, &[], Some(body.to_owned())).await;
    let read = client
        .get("/ed-fi/studentSchoolAssociations?studentUniqueId=604821&entryDate=2024-08-23")
        .await;

    assert_eq!(posted.status, 201, "{}", posted.text);
    let kept = r#""entryDate":"2024-08-23","entryGradeLevelDescriptor":"uri:\/\/ed-fi.org\/GradeLevelDescriptor#Second grade","fullTimeEquivalency":0.50,"#;
    assert!(read.text.contains(kept), "{}", read.text);
    assert_eq!(read.count(), 1);
    let item = &read.json()[0];
    assert_eq!(item["studentReference"]["link"]["rel"], "Student");
    let school = server.id("/ed-fi/schools", &json!({"schoolId": 255901107})).unwrap();
    assert_eq!(item["schoolReference"]["link"]["href"], format!("/ed-fi/schools/{school}"));
    assert!(!read.text.contains("\"rel\":\"x\""));
}

#[tokio::test]
async fn bad_bodies_are_refused_as_the_real_server_refuses_them() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let old = sandbox(ApiVersion::V6_1, Seed::Sample).await;
    let clients = [Client::of(&server).await, Client::of(&old).await];
    let with = |base: &Value, member: &str, value: Value| {
        let mut item = base.clone();
        item[member] = value;
        item
    };
    let school = 255_901_107;
    let enrolment = json!({"studentReference": {"studentUniqueId": "604821"},
        "schoolReference": {"schoolId": school}, "entryDate": "2024-08-23",
        "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Second grade"});
    let nobody = with(&enrolment, "studentReference", json!({"studentUniqueId": "nobody"}));
    let nowhere = with(&enrolment, "schoolReference", json!({"schoolId": 1}));
    let mut no_name = student("9");
    no_name.as_object_mut().unwrap().remove("firstName");
    let offering = json!({"localCourseCode": "ALG-1", "schoolReference": {"schoolId": school},
        "sessionReference": {"schoolId": 255_901_001, "schoolYear": 2022, "sessionName": "2021-2022 Fall Semester"},
        "courseReference": {"courseCode": "ALG-1", "educationOrganizationId": 255_901_001}});
    let students = "/ed-fi/students";
    let enrolments = "/ed-fi/studentSchoolAssociations";
    // The path, the body, the status and the words of each version.
    let cases = [
        (
            students,
            with(&student("9"), "id", json!("1")),
            (400, "constructed incorrectly"),
            (400, "Resource identifiers"),
        ),
        (
            students,
            no_name,
            (400, "\"$.firstName\":[\"firstName is required.\"]"),
            (400, "\"request.firstName\""),
        ),
        (
            students,
            with(&student("9"), "birthDate", json!("13 January")),
            (400, "$.birthDate"),
            (400, "request.birthDate"),
        ),
        (
            students,
            with(&student("9"), "firstName", json!("x".repeat(76))),
            (400, "maximum length of 75"),
            (400, "maximum length of 75"),
        ),
        (
            students,
            with(&student("9"), "firstName", json!(7)),
            (400, "$.firstName"),
            (400, "request.firstName"),
        ),
        (students, student(" 9"), (400, "leading or trailing spaces"), (400, "trailing spaces")),
        (
            students,
            with(&student("9"), "birthSexDescriptor", json!("uri://ed-fi.org/SexDescriptor#None")),
            (400, "does not exist"),
            (400, "does not exist"),
        ),
        (
            students,
            with(&student("9"), "personReference", json!({"personId": "1"})),
            (400, "is missing the following properties: sourceSystemDescriptor"),
            (400, "missing the following"),
        ),
        (
            "/ed-fi/courseOfferings",
            offering,
            (400, "All values supplied for 'schoolId' must match"),
            (400, "must match"),
        ),
        (
            enrolments,
            nobody,
            (409, "urn:ed-fi:api:data-conflict:unresolved-reference"),
            (400, "{\"message\":\"Student reference could not be resolved.\"}"),
        ),
        (
            enrolments,
            nowhere,
            (409, "The referenced 'School' item does not exist."),
            (409, "the related 'school' resource does not exist"),
        ),
        (
            "/ed-fi/schoolYearTypes",
            json!({"schoolYear": 2050, "currentSchoolYear": false, "schoolYearDescription": "2050"}),
            (403, "access-denied:action"),
            (403, "message"),
        ),
        ("/ed-fi/nothings", json!({}), (404, "urn:ed-fi:api:not-found"), (404, "message")),
    ];

    for (path, body, new, old) in cases {
        for (client, (status, words)) in clients.iter().zip([new, old]) {
            let answer = client.post(path, &body).await;

            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            assert!(answer.text.contains(words), "{path}: '{words}' is not in {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_strict_server_refuses_what_belongs_to_it_at_every_depth() {
    let server = Sandbox::start(SandboxOptions {
        strict: true,
        data: Seed::Sample,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let client = Client::of(&server).await;

    for path in
        ["/id", "/_etag", "/_lastModifiedDate", "/link", "/schoolReference/link", "/list/0/id"]
    {
        let mut body = json!({"schoolReference": {"schoolId": 255901107}, "list": [{}],
            "classPeriodName": "Late"});
        let (parent, name) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = json!({});

        let answer = client.post("/ed-fi/classPeriods", &body).await;

        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
    }
    let clean = json!({"schoolReference": {"schoolId": 255901107}, "classPeriodName": "Late"});
    assert_eq!(client.post("/ed-fi/classPeriods", &clean).await.status, 201);
}

#[tokio::test]
async fn an_abstract_organisation_is_resolved_by_any_concrete_one() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;

    for (organisation, status) in [(255_901, 201), (255_901_001, 201), (7, 409)] {
        let program = json!({"programName": "Chess", "educationOrganizationReference":
            {"educationOrganizationId": organisation},
            "programTypeDescriptor": "uri://ed-fi.org/ProgramTypeDescriptor#Bilingual"});
        let answer = client.post("/ed-fi/programs", &program).await;

        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let read =
        client.get("/ed-fi/programs?programName=Chess&educationOrganizationId=255901001").await;
    assert_eq!(read.json()[0]["educationOrganizationReference"]["link"]["rel"], "School");
}

#[tokio::test]
async fn a_parent_is_deleted_only_after_its_children() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let program = json!({"programName": "Chess", "educationOrganizationReference":
        {"educationOrganizationId": 255901},
        "programTypeDescriptor": "uri://ed-fi.org/ProgramTypeDescriptor#Bilingual"});
    client.post("/ed-fi/programs", &program).await;
    let child = json!({"beginDate": "2022-01-01",
        "educationOrganizationReference": {"educationOrganizationId": 255901},
        "programReference": {"educationOrganizationId": 255901, "programName": "Chess",
            "programTypeDescriptor": "uri://ed-fi.org/ProgramTypeDescriptor#Bilingual"},
        "studentReference": {"studentUniqueId": "604821"}});
    let posted = client.post("/ed-fi/studentProgramAssociations", &child).await;
    let child_id = posted.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    let program_id = client.get("/ed-fi/programs?programName=Chess").await.json()[0]["id"].clone();
    let program_path = format!("/ed-fi/programs/{}", program_id.as_str().unwrap());

    let too_early = client.delete(&program_path).await;
    let of_child = client.delete(&format!("/ed-fi/studentProgramAssociations/{child_id}")).await;
    let in_time = client.delete(&program_path).await;
    let again = client.delete(&program_path).await;

    assert_eq!(too_early.status, 409);
    assert!(too_early.text.contains("dependent-item-exists"));
    assert!(too_early.text.contains("StudentProgramAssociation"));
    assert_eq!(of_child.status, 204);
    assert_eq!(in_time.status, 204);
    assert_eq!(again.status, 404);
    assert!(again.text.contains("Resource to delete was not found."));
}

#[tokio::test]
async fn a_write_on_a_wrong_etag_is_refused() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let created = client.post("/ed-fi/students", &student("1")).await;
    let path = created.header("location").unwrap().replace(&server.url(), "");
    let etag = created.header("etag").unwrap().to_owned();

    let wrong = [("If-Match", "\"7\"")];
    let stale = client.send(reqwest::Method::DELETE, &path, &wrong, None).await;
    let known = client.send(reqwest::Method::GET, &path, &[("If-None-Match", &etag)], None).await;
    let right = client.send(reqwest::Method::DELETE, &path, &[("If-Match", &etag)], None).await;

    assert_eq!(stale.status, 412);
    assert!(stale.text.contains("optimistic-lock-failed"));
    assert_eq!((known.status.as_u16(), known.text.as_str()), (304, ""));
    assert_eq!(right.status, 204);
}

#[tokio::test]
async fn a_person_is_touched_only_through_an_association() {
    let server = Sandbox::start(SandboxOptions {
        people: PeopleAuthorization::Relationships,
        data: Seed::Sample,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let client = Client::of(&server).await;
    let mut changed = student("new");
    changed["middleName"] = json!("C");
    let health = json!({"asOfDate": "2022-01-01", "studentReference": {"studentUniqueId": "new"},
        "educationOrganizationReference": {"educationOrganizationId": 255901}});

    let created = client.post("/ed-fi/students", &student("new")).await;
    let path = created.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    let path = format!("/ed-fi/students/{path}");
    let updated = client.post("/ed-fi/students", &changed).await;
    let by_key = client.get("/ed-fi/students?studentUniqueId=new").await;
    let by_id = client.get(&path).await;
    let deleted = client.delete(&path).await;
    let about = client.post("/ed-fi/studentHealths", &health).await;

    assert_eq!(created.status, 201);
    assert_eq!(updated.status, 403);
    assert!(updated.text.contains("urn:ed-fi:api:security:authorization\""), "{}", updated.text);
    assert_eq!(by_key.count(), 0);
    assert_eq!(by_id.status, 403);
    assert_eq!(deleted.status, 403);
    assert_eq!(about.status, 403);

    let enrolment = json!({"studentReference": {"studentUniqueId": "new"},
        "schoolReference": {"schoolId": 255901107}, "entryDate": "2024-08-23",
        "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Second grade"});
    assert_eq!(client.post("/ed-fi/studentSchoolAssociations", &enrolment).await.status, 201);

    assert_eq!(client.post("/ed-fi/students", &changed).await.status, 200);
    assert_eq!(client.get("/ed-fi/students?studentUniqueId=new").await.count(), 1);
    assert_eq!(client.get(&path).await.status, 200);
}

#[tokio::test]
async fn another_standard_has_its_own_resources_keys_and_order() {
    let server = Sandbox::start(SandboxOptions {
        standard: Standard::Other,
        data: Seed::Sample,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let client = Client::of(&server).await;

    let page = client.get("/ed-fi/placements?learnerCode=L-007").await;
    let missing = client.get("/ed-fi/students").await;
    let club = json!({"clubName": "New", "campusReference": {"campusCode": 2}});
    let created = client.post("/sample/clubs", &club).await;
    let order =
        client.send(reqwest::Method::GET, "/metadata/data/v3/dependencies", &[], None).await.json();

    assert_eq!(page.json()[0]["groupReference"]["termTitle"], "Spring");
    assert!(page.text.contains("\"mark\":7.50"), "{}", page.text);
    assert_eq!(missing.status, 404);
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(order.as_array().unwrap().len(), 10);
    assert_eq!(server.resources().len(), 10);
}
