//! What goes wrong when it is told to, and what is written down of requests.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tidemark::sandbox::{
    ApiVersion, Fault, Gate, Harm, Part, Refusal, Sandbox, SandboxOptions, Seed,
};

use super::client::{Client, sandbox};

fn student(id: &str) -> Value {
    json!({"studentUniqueId": id, "birthDate": "2010-01-13", "firstName": "A", "lastSurname": "B"})
}

#[tokio::test]
async fn a_refusal_hits_the_named_item_and_no_other() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let refusal = Harm::Refuse(Refusal::Validation("no".to_owned()));
    let fault = server.fault(Fault::on("/ed-fi/students", refusal).key("studentUniqueId", "2"));

    let passed = client.post("/ed-fi/students", &student("1")).await;
    let refused = client.post("/ed-fi/students", &student("2")).await;
    server.repair(fault);
    let repaired = client.post("/ed-fi/students", &student("2")).await;

    assert_eq!((passed.status.as_u16(), refused.status.as_u16()), (201, 400));
    assert!(refused.text.contains("data-validation-failed"), "{}", refused.text);
    assert_eq!(repaired.status, 201);
}

#[tokio::test]
async fn each_refusal_has_its_status() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;

    for (refusal, status, words) in [
        (Refusal::Unauthenticated, 401, "security:authentication"),
        (Refusal::NoRelationship, 403, "security:authorization\""),
        (Refusal::ResourceClosed, 403, "access-denied:resource"),
        (Refusal::NoSuchResource, 404, "not-found"),
        (Refusal::UnresolvedReference("School".to_owned()), 409, "unresolved-reference"),
        (Refusal::KeyTaken, 409, "non-unique-identity"),
        (Refusal::Status(503), 503, "system"),
    ] {
        server.fault(Fault::on("/ed-fi/students", Harm::Refuse(refusal)).times(1));
        let answer = client.post("/ed-fi/students", &student("1")).await;

        assert_eq!(answer.status, status);
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    assert_eq!(server.count("/ed-fi/students"), 0);
}

#[tokio::test]
async fn a_write_takes_effect_although_the_answer_says_otherwise() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    server.fault(Fault::everywhere(Harm::FailAfterWriting).method("POST").times(1));
    server.fault(Fault::everywhere(Harm::DropAfterWriting).method("POST").after(1).times(1));

    let failed = client.post("/ed-fi/students", &student("1")).await;
    let dropped = client
        .http
        .post(format!("{}/data/v3/ed-fi/students", server.url()))
        .header("Authorization", client.authorization())
        .header("Content-Type", "application/json")
        .body(student("2").to_string())
        .send()
        .await;

    assert_eq!(failed.status, 500);
    assert!(dropped.is_err());
    assert_eq!(server.count("/ed-fi/students"), 2);
    let statuses: Vec<u16> =
        server.requests().iter().filter(|one| one.is_write()).map(|one| one.status).collect();
    assert_eq!(statuses, [500, 0]);
}

#[tokio::test]
async fn pages_are_spoilt_as_told() {
    let server = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&server).await;
    let throttle = Harm::Throttle { retry_after: Some(7) };

    for (harm, status, is_json) in [
        (Harm::Html, 200, false),
        (Harm::NotAnArray, 200, true),
        (Harm::Redirect("http://127.0.0.1:1/".to_owned()), 302, false),
        (throttle, 429, true),
    ] {
        server.fault(Fault::on("/ed-fi/students", harm.clone()).times(1));
        let answer = client.get("/ed-fi/students").await;

        assert_eq!(answer.status, status, "{harm:?}");
        let value = serde_json::from_str::<Value>(&answer.text);
        assert_eq!(value.is_ok(), is_json, "{harm:?}");
        assert!(!value.is_ok_and(|value| value.is_array()), "{harm:?}");
        if status == 429 {
            assert_eq!(answer.header("Retry-After"), Some("7"));
        }
    }
    for harm in [Harm::CutBody, Harm::InvalidUtf8] {
        server.fault(Fault::on("/ed-fi/students", harm.clone()).times(1));
        let answer = client
            .http
            .get(format!("{}/data/v3/ed-fi/students", server.url()))
            .header("Authorization", client.authorization())
            .send()
            .await
            .unwrap();

        let bytes = answer.bytes().await;

        let is_spoilt = match bytes {
            Err(_) => true,
            Ok(bytes) => std::str::from_utf8(&bytes).is_err(),
        };
        assert!(is_spoilt, "{harm:?}");
    }
    assert_eq!(client.get("/ed-fi/students").await.count(), 500);
}

#[tokio::test]
async fn a_gate_holds_requests_until_it_opens() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let gate = Gate::new();
    server.fault(Fault::everywhere(Harm::Hold(gate.clone())).part(Part::Deletes));

    let mut held = std::pin::pin!(client.get("/ed-fi/students/deletes"));
    tokio::select! {
        _ = &mut held => panic!("the gate is shut"),
        () = gate.reached_by(1) => {}
    }
    gate.open();

    assert_eq!(held.await.status, 200);
}

#[tokio::test]
async fn a_snapshot_can_go_or_move_in_mid_run() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let header = [("Use-Snapshot", "true")];
    server.upsert("/ed-fi/students", &student("1")).unwrap();
    server.fault(Fault::on("/ed-fi/students", Harm::MoveSnapshot).after(1).times(1));
    server.fault(Fault::on("/ed-fi/students", Harm::DropSnapshot).after(2).times(1));

    let before = client.get_with("/ed-fi/students", &header).await;
    let moved = client.get_with("/ed-fi/students", &header).await;
    let gone = client.get_with("/ed-fi/students", &header).await;

    assert_eq!((before.count(), moved.count(), gone.status.as_u16()), (0, 1, 404));
}

#[tokio::test]
async fn a_host_goes_down_and_comes_back_under_its_address() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let url = format!("{}/", server.url());

    server.go_down();
    let down = client.http.get(&url).send().await;
    server.come_up();
    let up = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Ok(answer) = client.http.get(&url).send().await {
                return answer.status();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;

    assert!(down.is_err());
    assert_eq!(up.unwrap(), 200);
}

#[tokio::test]
async fn requests_are_written_down_with_the_key_that_they_wrote() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    server.clear_requests();

    client.post("/ed-fi/students", &student("1")).await;
    let id = server.id("/ed-fi/students", &json!({"studentUniqueId": "1"})).unwrap();
    client.delete(&format!("/ed-fi/students/{id}")).await;
    client.get_with("/ed-fi/students?limit=0", &[("Use-Snapshot", "true")]).await;

    let seen: Vec<(String, Option<String>, u16, bool)> = server
        .requests()
        .into_iter()
        .map(|one| (one.method, one.key, one.status, one.from_snapshot))
        .collect();
    let key = Some("studentUniqueId=1".to_owned());
    assert_eq!(
        seen,
        [
            (Method::POST.to_string(), key.clone(), 201, false),
            (Method::DELETE.to_string(), key, 204, false),
            (Method::GET.to_string(), None, 200, true),
        ]
    );
}

#[tokio::test]
async fn a_masked_item_is_not_seen_and_not_touched() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    for id in ["1", "2"] {
        server.upsert("/ed-fi/students", &student(id)).unwrap();
    }
    let key = json!({"studentUniqueId": "2"});
    let path = format!("/ed-fi/students/{}", server.id("/ed-fi/students", &key).unwrap());

    server.mask("/ed-fi/students", &key);
    let seen = client.get("/ed-fi/students").await;
    let by_key = client.get("/ed-fi/students?studentUniqueId=2").await;
    let read = client.get(&path).await;
    let written = client.post("/ed-fi/students", &student("2")).await;
    let deleted = client.delete(&path).await;
    server.unmask_all();

    assert_eq!((seen.count(), by_key.count()), (1, 0));
    for answer in [read, written, deleted] {
        assert_eq!(answer.status, 403, "{}", answer.text);
    }
    assert_eq!(client.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_stopped_sandbox_answers_nobody_and_frees_its_port() {
    let server = sandbox(ApiVersion::V7_3, Seed::Empty).await;
    let client = Client::of(&server).await;
    let (url, listen) = (format!("{}/", server.url()), server.address());

    server.stop().await;
    let gone = client.http.get(&url).send().await;
    let next = Sandbox::start(SandboxOptions { listen, ..SandboxOptions::default() }).await;

    assert!(gone.is_err());
    assert_eq!(next.unwrap().address(), listen);
}
