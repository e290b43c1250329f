//! Orders: what the desk is asked, once, and lists in parts.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::house::{Answer, House};
use super::routes::examples;

#[tokio::test]
async fn every_route_asks_the_desk_what_it_was_asked() {
    let house = House::on_loopback().await;
    for example in examples() {
        let case = format!("{} {}", example.method, example.path);
        let (headers, body) = example.sent();

        let answer = house.say(example.method, example.path, &headers, &body).await;

        assert_eq!(answer.status, example.status, "{case}: {answer:?}");
        let asked = house.desk.asked();
        match example.question {
            "" => assert!(asked.is_empty(), "{case}: {asked:?}"),
            question => assert!(asked[0].starts_with(question), "{case}: {asked:?}"),
        }
    }
}

#[tokio::test]
async fn filters_reach_the_desk() {
    let house = House::on_loopback().await;

    house
        .get("/api/v1/parked?publication=a,b*&label=k=v,l=w&connection=c&target=t&resource=students&reason=too-large&status=parked&limit=7&after=x")
        .await;

    let asked = house.desk.asked();
    assert_eq!(
        asked[0],
        "parked Selectors { publications: [\"a\", \"b*\"], labels: [(\"k\", \"v\"), (\"l\", \"w\")], \
         connection: Some(\"c\"), target: Some(\"t\") } ParkedFilter { resource: Some(\"students\"), \
         reason: Some(TooLarge), status: Some(Parked) } Part { after: Some(\"x\"), limit: 7 }"
    );
}

#[tokio::test]
async fn pairs_come_in_parts_and_by_state() {
    let house = House::on_loopback().await;

    let all = house.get("/api/v1/pairs").await.json();
    let first = house.get("/api/v1/pairs?limit=1").await.json();
    let next = first["next"].as_str().unwrap();
    let second = house.get(&format!("/api/v1/pairs?limit=1&after={next}")).await.json();
    let orphans = house.get("/api/v1/pairs?state=orphaned,paused").await.json();

    let names = |list: &Value| -> Vec<String> {
        let pairs = list["pairs"].as_array().unwrap().iter();
        pairs.map(|pair| pair["publication"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&all), ["district-to-state", "gone"]);
    assert_eq!(
        (names(&first), names(&second)),
        (vec![names(&all)[0].clone()], vec![names(&all)[1].clone()])
    );
    assert_eq!((&all["next"], &second["next"]), (&Value::Null, &Value::Null));
    assert_eq!(names(&orphans), ["gone"]);
}

#[tokio::test]
async fn the_tag_of_a_pair_is_what_its_watermark_is_moved_from() {
    let house = House::on_loopback().await;
    let shown = house.get("/api/v1/pairs/district-to-state/state").await;
    let never_ran = house.get("/api/v1/pairs/gone/state").await;
    let if_match = format!("If-Match: {}", shown.header("etag").unwrap());
    let headers = [if_match.as_str(), "Content-Type: application/json"];

    let moved = house.say(
        "PUT",
        "/api/v1/pairs/district-to-state/state/watermark",
        &headers,
        br#"{"reset":true,"reason":"r"}"#,
    );

    assert_eq!(moved.await.status, 200);
    assert_eq!(shown.header("etag"), Some("\"230\""));
    assert_eq!(never_ran.header("etag"), Some("\"none\""));
    let asked = house.desk.asked();
    let order = "move_watermark district-to-state → state Reset Some(Some(ChangeVersion(230))) r";
    assert_eq!(asked.last().unwrap(), order);
}

/// Far above what anything here takes.
const BOUND: Duration = Duration::from_secs(30);

/// An order to run, with a key.
async fn run(house: &House, key: &str, token: &str, body: &str) -> Answer {
    let (key, token) =
        (format!("Idempotency-Key: {key}"), format!("Authorization: Bearer {token}"));
    let headers = [key.as_str(), token.as_str(), "Content-Type: application/json"];
    let path = "/api/v1/publications/district-to-state/runs";
    house.say("POST", path, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn an_order_with_the_same_key_is_carried_out_once_and_answered_twice() {
    let house = House::on_loopback().await;

    let first = run(&house, "k", "operator", "{}").await;
    let again = run(&house, "k", "operator", "{}").await;

    assert_eq!((first.status, &first.body), (202, &again.body));
    assert_eq!(again.status, 202);
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(house.desk.asked().len(), 1);
}

#[tokio::test]
async fn a_key_is_of_one_caller_one_route_and_one_body() {
    let house = House::on_loopback().await;
    run(&house, "k", "operator", "{}").await;

    let other_body = run(&house, "k", "operator", r#"{"allow_deletes":true}"#).await;
    let other_caller = run(&house, "k", "admin", "{}").await;
    let other_key = run(&house, "l", "operator", "{}").await;
    let headers = ["Idempotency-Key: k", "Authorization: Bearer operator"];
    let other_route = house.say("POST", "/api/v1/runs/run-1/cancel", &headers, b"").await;

    assert_eq!(other_body.status, 422);
    other_body.problem();
    assert_eq!((other_caller.status, other_key.status, other_route.status), (202, 202, 202));
    // Cancelling shows the run too.
    assert_eq!(house.desk.asked().len(), 5);
}

#[tokio::test]
async fn an_order_that_failed_may_be_tried_again_with_its_key() {
    let house = House::on_loopback().await;
    house.desk.fail(tidemark::desk::DeskError::NotNow("it is stopping".to_owned()));

    let first = run(&house, "k", "operator", "{}").await;
    let again = run(&house, "k", "operator", "{}").await;

    assert_eq!((first.status, again.status), (503, 503));
    assert_eq!(house.desk.asked().len(), 2);
}

#[tokio::test]
async fn without_a_key_an_order_is_carried_out_each_time() {
    let house = House::on_loopback().await;
    let path = "/api/v1/publications/district-to-state/runs";

    house.tell("POST", path, &json!({})).await;
    house.tell("POST", path, &json!({})).await;

    assert_eq!(house.desk.asked().len(), 2);
}

#[tokio::test]
async fn an_order_goes_on_when_its_client_goes_away_and_is_not_begun_again() {
    let house = House::on_loopback().await;
    let address = house.address();
    let path = "/api/v1/publications/slow/runs";
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nIdempotency-Key: k\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let begun = async {
        while !house.desk.has_been_asked() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, begun).await.expect("it is begun in time");

    drop(client);
    // The server has time to see that the client is gone.
    for _ in 0..20 {
        house.get("/healthz").await;
    }
    house.desk.go_on.notify_one();
    let again = house.say("POST", path, &["Idempotency-Key: k"], b"").await;

    assert_eq!(again.status, 202);
    assert_eq!(house.desk.asked(), ["start slow [] false"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_said_to_and_the_order_goes_on() {
    let house = House::on_loopback().await;
    let path = "/api/v1/publications/slow/runs";

    // The clock runs ahead while nothing else happens.
    let too_long = house.say("POST", path, &["Idempotency-Key: k"], b"").await;
    house.desk.go_on.notify_one();
    let again = house.say("POST", path, &["Idempotency-Key: k"], b"").await;

    assert_eq!(too_long.status, 503);
    assert!(too_long.problem().contains("too long"));
    assert_eq!(again.status, 202);
    assert_eq!(house.desk.asked(), ["start slow [] false"]);
}
