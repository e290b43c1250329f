//! Pages, windows, cursors and filters of a server that holds the sample data.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, Sandbox, SandboxOptions, Seed};

use super::client::{Answer, Client, sandbox};

fn ids(page: &Answer) -> Vec<String> {
    let items = page.json();
    items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_sample_is_all_there_and_every_row_has_a_version_of_its_own() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;

    let total: usize = server.resources().iter().map(|resource| server.count(resource)).sum();
    let page = client.get("/ed-fi/sections?totalCount=True&limit=2").await;

    assert_eq!(total, 34_288);
    assert_eq!(client.newest().await, 34_288 + 1);
    assert_eq!(page.header("Total-Count"), Some("532"));
    assert_eq!(page.count(), 2);
}

#[tokio::test]
async fn every_item_of_the_sample_passes_the_checks_of_a_write() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let before = server.newest();

    for resource in server.resources() {
        for body in server.bodies(&resource) {
            let created = server
                .upsert_text(&resource, &body)
                .unwrap_or_else(|refused| panic!("{refused}: {body}"));

            assert!(!created);
        }
    }

    // Nothing of it was a change, either.
    assert_eq!(server.newest(), before);
}

#[tokio::test]
async fn pages_by_offset_hold_every_item_once() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1] {
        let server = sandbox(version, Seed::Sample).await;
        let client = Client::of(&server).await;
        let mut seen = BTreeSet::new();
        let mut offset = 0;

        loop {
            let page = client.get(&format!("/ed-fi/students?limit=500&offset={offset}")).await;
            if page.count() == 0 {
                break;
            }
            offset += page.count();
            seen.extend(ids(&page));
        }

        assert_eq!((offset, seen.len()), (960, 960));
    }
}

#[tokio::test]
async fn a_cursor_walk_ends_with_an_empty_page_without_token() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let mut seen = BTreeSet::new();
    let mut pages = 0;
    let mut page = client.get("/ed-fi/students?maxChangeVersion=99999999").await;

    while let Some(token) = page.header("Next-Page-Token") {
        seen.extend(ids(&page));
        pages += 1;
        let token = token.to_owned();
        page = client
            .get(&format!(
                "/ed-fi/students?pageToken={token}&pageSize=300&maxChangeVersion=99999999"
            ))
            .await;
    }

    assert_eq!((seen.len(), page.count(), pages), (960, 0, 3));
}

#[tokio::test]
async fn partitions_hold_every_item_once() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let resource = "/ed-fi/studentSectionAssociations";

    let parts = client.get(&format!("{resource}/partitions?number=3")).await.json();
    let tokens = parts["pageTokens"].as_array().unwrap().clone();
    let mut seen = BTreeSet::new();
    let mut read = 0;
    for token in &tokens {
        let mut token = token.as_str().unwrap().to_owned();
        loop {
            let page = client.get(&format!("{resource}?pageToken={token}&pageSize=500")).await;
            let Some(next) = page.header("Next-Page-Token") else { break };
            token = next.to_owned();
            read += page.count();
            seen.extend(ids(&page));
        }
    }

    assert_eq!(tokens.len(), 3);
    assert_eq!((read, seen.len()), (7738, 7738));
    let small = client.get("/ed-fi/students/partitions").await.json();
    assert_eq!(small["pageTokens"].as_array().unwrap().len(), 1);
    let none = client.get("/ed-fi/cohorts/partitions").await.json();
    assert_eq!(none, json!({"pageTokens": []}));
}

#[tokio::test]
async fn both_edges_of_a_window_belong_to_it() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let mut versions = Vec::new();
    for id in ["1", "2", "3"] {
        let item = json!({"studentUniqueId": id, "birthDate": "2010-01-13", "firstName": "A",
            "lastSurname": "B"});
        server.upsert("/ed-fi/students", &item).unwrap();
        versions.push(server.newest());
    }

    for (min, max, count) in [
        (versions[0], versions[2], 3),
        (versions[1], versions[1], 1),
        (versions[1], versions[2], 2),
        (versions[2] + 1, versions[2] + 9, 0),
        (versions[2], versions[0], 0),
    ] {
        let path = format!("/ed-fi/students?minChangeVersion={min}&maxChangeVersion={max}");
        assert_eq!(client.get(&path).await.count(), count, "{min}..{max}");
    }
}

#[tokio::test]
async fn order_is_that_of_insertion_on_7_3_and_that_of_the_key_on_6_1() {
    for (version, expected) in
        [(ApiVersion::V7_3, ["9", "10", "1"]), (ApiVersion::V6_1, ["1", "10", "9"])]
    {
        let server = sandbox(version, Seed::Empty).await;
        let client = Client::of(&server).await;
        for id in ["9", "10", "1"] {
            let item = json!({"studentUniqueId": id, "birthDate": "2010-01-13", "firstName": "A",
                "lastSurname": "B"});
            server.upsert("/ed-fi/students", &item).unwrap();
        }

        let page = client.get("/ed-fi/students").await.json();

        let order: Vec<&str> = page
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["studentUniqueId"].as_str().unwrap())
            .collect();
        assert_eq!(order, expected, "{version:?}");
    }
}

#[tokio::test]
async fn items_are_found_by_key_and_unknown_parameters_ignored() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let id = ids(&client.get("/ed-fi/students?studentUniqueId=604821").await).remove(0);

    for (query, count) in [
        ("students?studentUniqueId=604821".to_owned(), 1),
        ("students?STUDENTUNIQUEID=604821".to_owned(), 1),
        ("students?studentUniqueId=none".to_owned(), 0),
        ("students?nonsense=604821".to_owned(), 500),
        ("students?studentUniqueId=".to_owned(), 500),
        ("students?q=x&limit=3".to_owned(), 3),
        (format!("students?id={id}"), 1),
        ("sessions?schoolId=255901001&schoolYear=2022&sessionName=2021-2022%20Fall%20Semester".to_owned(), 1),
        ("sessions?termDescriptor=uri%3A%2F%2Fed-fi.org%2FTermDescriptor%23Fall%20Semester".to_owned(), 3),
        ("termDescriptors?namespace=uri%3A%2F%2Fed-fi.org%2FTermDescriptor&codeValue=Fall%20Semester".to_owned(), 1),
        ("sections?schoolId=255901107&limit=500".to_owned(), 256),
    ] {
        let page = client.get(&format!("/ed-fi/{query}")).await;

        assert_eq!(page.count(), count, "{query}");
    }
}

#[tokio::test]
async fn paging_mistakes_are_told_in_the_words_of_the_version() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let old = sandbox(ApiVersion::V6_1, Seed::Sample).await;
    let (client, old) = (Client::of(&server).await, Client::of(&old).await);
    let token = client.get("/ed-fi/students?limit=1").await;
    let token = token.header("Next-Page-Token").unwrap().to_owned();

    for (query, words) in [
        ("limit=501".to_owned(), "Limit must be a value between 0 and 500."),
        ("limit=-1".to_owned(), "Limit must be a value between 0 and 500."),
        ("offset=-1".to_owned(), "Offset cannot be a negative value."),
        (format!("pageToken={token}&offset=0"), "cannot be used together"),
        ("pageSize=5".to_owned(), "PageToken is required when pageSize is specified."),
        ("offset=1&pageSize=5".to_owned(), "Use limit instead of pageSize"),
        (format!("pageToken={token}&limit=5"), "Use pageSize instead of limit"),
        (format!("pageToken={token}&pageSize=501"), "PageSize must be a value between 0 and 500."),
        (format!("pageToken={token}&totalCount=true"), "Total count cannot be determined"),
        ("pageToken=nonsense".to_owned(), "The page token provided was invalid."),
        ("minChangeVersion=x".to_owned(), "data-validation-failed"),
    ] {
        let answer = client.get(&format!("/ed-fi/students?{query}")).await;

        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text.contains(words), "{query}: {}", answer.text);
    }
    let answer = old.get("/ed-fi/students?limit=501").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.starts_with("{\"message\":\"Limit must be omitted"), "{}", answer.text);
    assert_eq!(old.get("/ed-fi/students?limit=1").await.header("Next-Page-Token"), None);
    assert_eq!(old.get("/ed-fi/students/partitions").await.status, 400);
}

#[tokio::test]
async fn links_are_left_out_where_the_host_has_none() {
    let server = Sandbox::start(SandboxOptions {
        links: false,
        data: Seed::Sample,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let client = Client::of(&server).await;

    let page = client.get("/ed-fi/sections?limit=50").await;

    assert_eq!(page.count(), 50);
    assert!(!page.text.contains("\"link\""));
}

#[tokio::test]
async fn what_is_served_is_what_was_posted_and_nothing_else() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;

    let served = client.get("/ed-fi/sections?limit=500").await.json();

    let kept = server.items("/ed-fi/sections");
    for (served, kept) in served.as_array().unwrap().iter().zip(&kept) {
        let mut served = served.clone();
        for member in ["id", "_etag", "_lastModifiedDate"] {
            assert!(served.as_object_mut().unwrap().remove(member).is_some(), "{member}");
        }
        without_links(&mut served);
        assert_eq!(&served, kept);
    }
}

fn without_links(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("link");
            members.values_mut().for_each(without_links);
        }
        Value::Array(items) => items.iter_mut().for_each(without_links),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn a_directory_of_files_is_loaded_in_dependency_order() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write(
        "descriptors.ndjson",
        r#"{"endpoint":"programTypeDescriptors","item":{"namespace":"uri://x","codeValue":"A","shortDescription":"A"}}"#,
    );
    write("localEducationAgencies.ndjson", r#"{"localEducationAgencyId":7}"#);
    write(
        "programs.ndjson",
        r#"{"programName":"P","programTypeDescriptor":"uri://x#A","educationOrganizationReference":{"educationOrganizationId":7}}"#,
    );

    let server = sandbox(ApiVersion::V7_3, Seed::Directory(directory.path().to_owned())).await;

    assert_eq!(server.count("/ed-fi/programs"), 1);
    assert_eq!(server.count("/ed-fi/schoolYearTypes"), 21);
}
