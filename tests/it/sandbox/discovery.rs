//! The root document, tokens, dependencies, metadata and paths with years and tenants.

use reqwest::Method;
use serde_json::{Value, json};
use tidemark::sandbox::{ApiVersion, Sandbox, SandboxError, SandboxOptions, Seed};

use super::client::{Answer, Client, sandbox};

#[tokio::test]
async fn the_root_document_is_that_of_the_version() {
    let new = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let old = sandbox(ApiVersion::V6_1, Seed::Empty).await;

    let new_root = get(&new, "/").await.json();
    let old_root = get(&old, "/").await.json();

    assert_eq!(new_root["version"], "7.3");
    assert_eq!(new_root.get("apiMode"), None);
    assert_eq!(new_root["urls"]["dataManagementApi"], format!("{}/data/v3/", new.url()));
    assert_eq!(new_root["dataModels"][0]["version"], "5.2.0");
    assert_eq!(old_root["version"], "6.1");
    assert_eq!(old_root["apiMode"], "Shared Instance");
    assert_eq!(old_root["urls"]["dataManagementApi"], format!("{}/data/v3", old.url()));
    assert_eq!(old_root["urls"]["changeQueries"], format!("{}/changeQueries/v1", old.url()));
}

/// A GET without token.
async fn get(sandbox: &Sandbox, path: &str) -> Answer {
    let client = Client::of(sandbox).await;
    let answer = client.http.get(format!("{}{path}", sandbox.url())).send().await.unwrap();
    Answer {
        status: answer.status(),
        headers: answer.headers().clone(),
        text: answer.text().await.unwrap(),
    }
}

#[tokio::test]
async fn a_year_stands_where_the_version_has_it() {
    for (version, data, changes) in [
        (ApiVersion::V7_3, "/data/v3/ed-fi/students", "/changeQueries/v1/availableChangeVersions"),
        (
            ApiVersion::V6_1,
            "/data/v3/2022/ed-fi/students",
            "/changeQueries/v1/2022/availableChangeVersions",
        ),
    ] {
        let options = SandboxOptions { version, year: Some(2022), ..SandboxOptions::default() };
        let server = Sandbox::start(options).await.unwrap();
        let client = Client::of(&server).await;

        let items = client.send(Method::GET, data, &[], None).await;
        let newest = client.send(Method::GET, changes, &[], None).await;
        let root = client.send(Method::GET, "/", &[], None).await.json();
        let base = root["urls"]["dataManagementApi"].as_str().unwrap().to_owned();

        assert_eq!((items.status.as_u16(), newest.status.as_u16()), (200, 200), "{version:?}");
        assert!(base.contains("/2022"), "{base}");
        let dependencies = root["urls"]["dependencies"].as_str().unwrap();
        assert_eq!(client.http.get(dependencies).send().await.unwrap().status(), 200);
        if version == ApiVersion::V6_1 {
            let missing = client.send(Method::GET, "/data/v3/ed-fi/students", &[], None).await;
            assert_eq!(missing.status, 404);
            assert_eq!(root["apiMode"], "Year Specific");
        } else {
            assert!(server.url().ends_with("/2022"));
        }
    }
}

#[tokio::test]
async fn a_tenant_stands_before_everything() {
    let options = SandboxOptions { tenant: Some("north".to_owned()), ..SandboxOptions::default() };
    let server = Sandbox::start(options).await.unwrap();
    let client = Client::of(&server).await;

    assert!(server.url().ends_with("/north"));
    assert_eq!(client.get("/ed-fi/students").await.status, 200);
    let host = server.url().replace("/north", "/south");
    assert_eq!(client.http.get(host).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn dependencies_are_a_list_or_a_graph_by_what_is_accepted() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let path = "/metadata/data/v3/dependencies";

    let list = client.send(Method::GET, path, &[], None).await;
    let accept = [("Accept", "application/graphml")];
    let graph = client.send(Method::GET, path, &accept, None).await;

    assert_eq!(list.count(), 351);
    assert_eq!(graph.header("content-type"), Some("application/graphml"));
    assert!(graph.text.contains("<node id=\"/ed-fi/students#Retry\"/>"));
}

#[tokio::test]
async fn credentials_are_taken_from_the_header_or_the_body() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let form = "application/x-www-form-urlencoded";
    let json_type = "application/json";
    let right = "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=";
    let wrong = "Basic c2FuZGJveC1rZXk6eA==";
    let grant = "grant_type=client_credentials";
    let in_body =
        "grant_type=client_credentials&client_id=sandbox-key&client_secret=sandbox-secret";
    let in_json = r#"{"grant_type":"Client_Credentials","client_id":"sandbox-key","client_secret":"sandbox-secret"}"#;

    for (authorization, media_type, body, status, words) in [
        (right, form, grant, 200, "\"expires_in\":1800"),
        ("", form, in_body, 200, "\"token_type\":\"bearer\""),
        ("", json_type, in_json, 200, "access_token"),
        (right, form, "grant_type=client_credentials&scope=255901", 200, "\"scope\":\"255901\""),
        (right, form, in_body, 400, "invalid_client"),
        (wrong, form, grant, 401, "{\"error\":\"invalid_client\"}"),
        ("Bearer x", form, grant, 401, "invalid_client"),
        ("", form, grant, 401, "invalid_request"),
        ("Basic %", form, grant, 400, "invalid_request"),
        (right, form, "grant_type=password", 400, "unsupported_grant_type"),
        (right, "text/plain", grant, 415, "unsupported-media-type"),
    ] {
        let mut request = client.http.post(format!("{}/oauth/token", server.url()));
        if !authorization.is_empty() {
            request = request.header("Authorization", authorization);
        }
        let answer = request.header("Content-Type", media_type).body(body).send().await.unwrap();

        let seen = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_eq!(seen, status, "{authorization} {body}: {text}");
        assert!(text.contains(words), "{authorization} {body}: {text}");
    }
}

#[tokio::test]
async fn only_7_3_limits_the_tokens_of_a_client() {
    for (version, status) in [(ApiVersion::V7_3, 429), (ApiVersion::V6_1, 200)] {
        let server = sandbox(version, Seed::Empty).await;
        let mut client = Client::of(&server).await;
        for _ in 1..15 {
            client = Client::of(&server).await;
        }

        let answer = client
            .http
            .post(format!("{}/oauth/token", server.url()))
            .basic_auth("sandbox-key", Some("sandbox-secret"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
            .send()
            .await
            .unwrap();

        assert_eq!(answer.status(), status, "{version:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_living_token_is_refused() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;

    let anonymous = get(&server, "/data/v3/ed-fi/students").await;
    server.expire_tokens();
    let expired = client.get("/ed-fi/students").await;

    for (answer, words) in
        [(anonymous, "Authorization header is missing."), (expired, "Invalid token")]
    {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.text.contains("urn:ed-fi:api:security:authentication"));
        assert!(answer.text.contains(words), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_token_ends_when_its_time_is_over() {
    let options =
        SandboxOptions { token_lifetime: std::time::Duration::ZERO, ..SandboxOptions::default() };
    let server = Sandbox::start(options).await.unwrap();
    let client = Client::of(&server).await;

    assert_eq!(client.get("/ed-fi/students").await.status, 401);
}

#[tokio::test]
async fn token_info_tells_only_of_the_token_that_asks() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let own = client.authorization().replace("Bearer ", "");

    for (token, status) in [(own.as_str(), 200), ("other", 400)] {
        let body = Some(json!({"token": token}).to_string());
        let answer = client.send(Method::POST, "/oauth/token_info", &[], body).await;

        assert_eq!(answer.status, status);
        assert_eq!(answer.json().get("active").is_some(), status == 200);
    }
}

#[tokio::test]
async fn the_openapi_document_names_keys_and_what_may_change_them() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;

    let list = get(&server, "/metadata/").await.json();
    let place = list[0]["endpointUri"].as_str().unwrap().replace(&server.url(), "");
    let document = get(&server, &place).await.json();

    let parameters = &document["paths"]["/ed-fi/sections"]["get"]["parameters"];
    let named = |name: &str| -> Value {
        let mut all = parameters.as_array().unwrap().iter();
        all.find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(named("sessionName")["x-Ed-Fi-isIdentity"], true);
    assert_eq!(named("sessionName")["x-Ed-Fi-isUpdatable"], true);
    assert_eq!(named("sequenceOfCourse").get("x-Ed-Fi-isIdentity"), None);
    assert_eq!(named("limit")["maximum"], 500);
    assert!(document["paths"].get("/ed-fi/sections/keyChanges").is_some());
    assert_eq!(
        document["definitions"]["edFi_section"]["properties"]["courseOfferingReference"]["$ref"],
        "#/definitions/edFi_courseOfferingReference"
    );
}

#[tokio::test]
async fn what_is_not_loopback_is_refused() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let options =
            SandboxOptions { listen: address.parse().unwrap(), ..SandboxOptions::default() };

        let error = Sandbox::start(options).await.unwrap_err();

        assert!(matches!(error, SandboxError::NotLoopback(_)), "{address}: {error}");
    }
    let other = "7.0".parse::<ApiVersion>().unwrap_err();
    assert!(other.contains("not in this version"), "{other}");
    assert!(other.ends_with("use 5.3, 6.1, 7.1, 7.2, 7.3 or 8.0"), "{other}");
}

#[tokio::test]
async fn methods_that_do_not_fit_are_refused() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let id = format!("/ed-fi/students/{:032x}", 1);

    for (method, path, status) in [
        (Method::PATCH, "/ed-fi/students", 405),
        (Method::PUT, "/ed-fi/students", 405),
        (Method::DELETE, "/ed-fi/students", 405),
        (Method::POST, id.as_str(), 405),
        (Method::GET, id.as_str(), 404),
        (Method::GET, "/ed-fi/students/nonsense", 400),
        (Method::GET, "/nowhere/students", 404),
    ] {
        let path = format!("/data/v3{path}");
        let body = Some(json!({}).to_string());
        let answer = client.send(method.clone(), &path, &[], body).await;

        assert_eq!(answer.status, status, "{method} {path}");
    }
}
