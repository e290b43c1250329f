//! What a real server refuses beyond the shape of a body: texts, numbers and namespaces that it
//! does not take, and what is about people whom the caller cannot reach (edfi-wire §7, §10).

use reqwest::Method;
use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, PeopleAuthorization, Sandbox, SandboxOptions, Seed};

use super::client::{Answer, Client, sandbox};

const SCHOOL: i64 = 255_901_001;

fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "birthDate": "2010-01-13", "firstName": "A", "lastSurname": "B"})
}

fn with(mut item: Value, pointer: &str, value: Value) -> Value {
    *item.pointer_mut(pointer).unwrap() = value;
    item
}

fn enrolment(student: &str) -> Value {
    json!({"studentReference": {"studentUniqueId": student},
        "schoolReference": {"schoolId": SCHOOL}, "entryDate": "2024-08-23",
        "entryGradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Ninth grade",
        "fullTimeEquivalency": 0.5})
}

fn id_of(answer: &Answer) -> String {
    answer.header("location").unwrap().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn texts_and_numbers_that_a_column_does_not_take_are_refused_in_the_words_of_the_version() {
    let new = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let old = sandbox(ApiVersion::V6_1, Seed::Sample).await;
    let clients = [Client::of(&new).await, Client::of(&old).await];
    let school = json!({"schoolId": 7, "nameOfInstitution": "A school",
        "educationOrganizationCategories": [], "gradeLevels": []});
    let students = "/ed-fi/students";
    let enrolments = "/ed-fi/studentSchoolAssociations";
    let first_name = |text: &str| with(student("9"), "/firstName", json!(text));
    let equivalency =
        |number: f64| with(enrolment("604821"), "/fullTimeEquivalency", json!(number));
    // The path, the body, and the member and the words, or nothing if it is taken.
    let cases = [
        (students, first_name("<script>"), Some(("firstName", "potentially dangerous value"))),
        (students, first_name("a </b>"), Some(("firstName", "potentially dangerous value"))),
        (students, first_name("&#65;"), Some(("firstName", "potentially dangerous value"))),
        (students, first_name("1 < 2 > 0 & <"), None),
        (students, first_name(" "), Some(("firstName", "firstName is required."))),
        ("/ed-fi/schools", school.clone(), None),
        (
            "/ed-fi/schools",
            with(school, "/schoolId", json!(0)),
            Some(("schoolId", "schoolId is required.")),
        ),
        (
            enrolments,
            with(enrolment("604821"), "/schoolReference/schoolId", json!(0)),
            Some(("schoolReference", "is missing the following properties: schoolId")),
        ),
        (
            enrolments,
            equivalency(10.0),
            Some(("fullTimeEquivalency", "must be between -9.9999 and 9.9999.")),
        ),
        (enrolments, equivalency(9.9999), None),
        (enrolments, equivalency(0.0), None),
    ];

    for (path, body, refused) in cases {
        for (client, root) in clients.iter().zip(["$", "request"]) {
            let answer = client.post(path, &body).await;

            match refused {
                None => assert!(answer.status.is_success(), "{body}: {}", answer.text),
                Some((member, words)) => {
                    assert_eq!(answer.status, 400, "{body}: {}", answer.text);
                    let wrong = match root {
                        "$" => answer.json()["validationErrors"].clone(),
                        _ => answer.json()["modelState"].clone(),
                    };
                    let why = wrong[format!("{root}.{member}")][0].as_str().unwrap();
                    assert!(why.contains(words), "{why}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_second_of_two_equal_items_of_a_list_is_named_by_its_place() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let level = json!({"gradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Ninth grade"});
    let school = json!({"schoolId": 7, "nameOfInstitution": "A school",
        "educationOrganizationCategories": [], "gradeLevels": [level, level]});

    let answer = client.post("/ed-fi/schools", &school).await;

    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("The 2nd item of the gradeLevels has"), "{}", answer.text);
}

#[tokio::test]
async fn an_id_that_is_none_is_told_as_it_was_sent() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;

    let answer = client.get("/ed-fi/students/x1").await;

    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["validationErrors"]["$.id"][0], "The value 'x1' is not valid.");
}

/// A descriptor under a namespace.
fn descriptor(namespace: &str) -> Value {
    json!({"namespace": namespace, "codeValue": "Robotics", "shortDescription": "Robotics"})
}

#[tokio::test]
async fn nobody_writes_under_a_namespace_that_is_not_theirs() {
    const KIND: &str =
        "urn:ed-fi:api:security:authorization:namespace:access-denied:namespace-mismatch";
    for version in ApiVersion::ALL {
        let server = Sandbox::start(SandboxOptions {
            version,
            namespaces: vec!["uri://ed-fi.org".to_owned()],
            data: Seed::Sample,
            ..SandboxOptions::default()
        })
        .await
        .unwrap();
        let client = Client::of(&server).await;
        let data = if version == ApiVersion::V8_0 { "/data" } else { "/data/v3" };
        let foreign = descriptor("uri://elsewhere.org/ProgramTypeDescriptor");
        let seeded = json!({"namespace": "uri://elsewhere.org/TermDescriptor",
            "codeValue": "Ever", "shortDescription": "Ever"});
        server.seed("/ed-fi/termDescriptors", &seeded).unwrap();
        let standing = server.id("/ed-fi/termDescriptors", &seeded).unwrap();
        let standing = format!("{data}/ed-fi/termDescriptors/{standing}");
        let assessment = json!({"assessmentIdentifier": "A", "assessmentTitle": "A",
            "namespace": "uri://elsewhere.org/A", "academicSubjects": []});
        let descriptors = format!("{data}/ed-fi/programTypeDescriptors");
        let post = async |path: &str, body: &Value| {
            client.send(Method::POST, path, &[], Some(body.to_string())).await
        };

        let created = post(&descriptors, &foreign).await;
        let assessed = post(&format!("{data}/ed-fi/assessments"), &assessment).await;
        let own = post(&descriptors, &descriptor("URI://ed-fi.org/ProgramTypeDescriptor")).await;
        let read = client.send(Method::GET, &standing, &[], None).await;
        let deleted = client.send(Method::DELETE, &standing, &[], None).await;

        assert_eq!(own.status, 201, "{version:?}: {}", own.text);
        assert_eq!(read.status, 200, "{version:?}: whoever may read descriptors reads all");
        for (answer, existing) in [(created, ""), (assessed, ""), (deleted, "existing ")] {
            assert_eq!(answer.status, 403, "{version:?}: {}", answer.text);
            let body = answer.json();
            match version {
                ApiVersion::V5_3 | ApiVersion::V6_1 | ApiVersion::V7_1 => {
                    let message = body["message"].as_str().unwrap();
                    let words = "NamespacePrefix claims: 'uri://ed-fi.org'.";
                    assert!(message.ends_with(words), "{version:?}: {message}");
                }
                ApiVersion::V7_2 | ApiVersion::V7_3 | ApiVersion::V8_0 => {
                    assert_eq!(body["type"], KIND, "{version:?}");
                    let detail = body["detail"].as_str().unwrap();
                    let words = format!("The {existing}'Namespace' value of the ");
                    assert!(detail.contains(&words), "{version:?}: {detail}");
                    let prefixes = "associated namespace prefixes ('uri://ed-fi.org').";
                    assert!(detail.ends_with(prefixes), "{version:?}: {detail}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_names_a_person_in_a_key_that_it_refers_to_is_reached_through_the_person() {
    let server = Sandbox::start(SandboxOptions {
        people: PeopleAuthorization::Relationships,
        data: Seed::Sample,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let client = Client::of(&server).await;
    let grades = server.items("/ed-fi/grades");
    let person = grades[0]["studentSectionAssociationReference"]["studentUniqueId"].clone();
    let person = person.as_str().unwrap();
    let of_person = format!("/ed-fi/grades?studentUniqueId={person}");
    let other_person = with(
        grades[0].clone(),
        "/studentSectionAssociationReference/studentUniqueId",
        json!("nobody"),
    );
    let before = client.get(&of_person).await;
    let id = before.json()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/ed-fi/grades/{id}");
    let mut changed = grades[0].clone();
    changed["letterGradeEarned"] = json!("B");

    for enrolment in server.items("/ed-fi/studentSchoolAssociations") {
        if enrolment["studentReference"]["studentUniqueId"] == person {
            let key = server.key_of("/ed-fi/studentSchoolAssociations", &enrolment).unwrap();
            server.delete("/ed-fi/studentSchoolAssociations", &key).unwrap();
        }
    }

    assert!(before.count() > 0);
    assert_eq!(client.get(&of_person).await.count(), 0);
    assert_eq!(client.get(&path).await.status, 403);
    assert_eq!(client.post("/ed-fi/grades", &changed).await.status, 403);
    assert_eq!(client.delete(&path).await.status, 403);
    // Nobody knows whether there is such a person: that is no conflict (edfi-wire §0).
    assert_eq!(client.post("/ed-fi/grades", &other_person).await.status, 403);

    assert_eq!(
        client.post("/ed-fi/studentSchoolAssociations", &enrolment(person)).await.status,
        201
    );
    assert_eq!(client.post("/ed-fi/grades", &changed).await.status, 200);
    assert_eq!(id_of(&client.post("/ed-fi/grades", &changed).await), id);
    assert_eq!(client.delete(&path).await.status, 204);
}
