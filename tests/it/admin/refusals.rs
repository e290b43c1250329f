//! What is refused, and how: problem details everywhere, bounds, other origins.

use serde_json::json;
use tidemark::desk::{DeskError, Role};

use super::house::House;

#[tokio::test]
async fn every_refusal_is_a_problem_in_the_standard_form() {
    let house = House::on_loopback().await;
    let json = "Content-Type: application/json";
    let approve = "/api/v1/pairs/a/b/approve";
    let watermark = "/api/v1/pairs/district-to-state/state/watermark";
    for (case, method, path, headers, body, status) in [
        ("no such path", "GET", "/nowhere", vec![], "", 404),
        ("no such route", "GET", "/api/v1/nowhere", vec![], "", 404),
        ("no such pair", "GET", "/api/v1/pairs/a/b", vec![], "", 404),
        ("no such method", "DELETE", "/api/v1/pairs", vec![], "", 405),
        ("no such method of metrics", "POST", "/metrics", vec![], "", 405),
        ("an unknown parameter", "GET", "/api/v1/pairs?lable=a=b", vec![], "", 400),
        ("an unknown state", "GET", "/api/v1/pairs?state=fine", vec![], "", 400),
        ("an unknown reason", "GET", "/api/v1/parked?reason=604854", vec![], "", 400),
        ("a label without value", "GET", "/api/v1/pairs?label=a", vec![], "", 400),
        ("a limit of none", "GET", "/api/v1/runs?limit=0", vec![], "", 400),
        ("a limit of too many", "GET", "/api/v1/runs?limit=1001", vec![], "", 400),
        ("a limit in words", "GET", "/api/v1/runs?limit=604854x", vec![], "", 400),
        ("no moment", "GET", "/api/v1/audit?since=604854", vec![], "", 400),
        ("no JSON", "POST", approve, vec![json], "604854", 400),
        ("half of it", "POST", approve, vec![json], "{\"decision\":", 400),
        ("more than one", "POST", approve, vec![json], "{} {}", 400),
        ("no reason", "POST", approve, vec![json], "{\"decision\":\"deletes\"}", 400),
        ("an unknown word", "POST", approve, vec![json], "{\"decision\":\"604854\"}", 400),
        ("an unknown member", "POST", "/api/v1/parked/retry", vec![json], "{\"x\":604854}", 400),
        ("nothing chosen", "POST", "/api/v1/parked/retry", vec![json], "{}", 400),
        (
            "all and a filter",
            "POST",
            "/api/v1/parked/retry",
            vec![json],
            "{\"all\":true,\"target\":\"a\"}",
            400,
        ),
        ("no content type", "POST", approve, vec![], "{}", 415),
        (
            "a form",
            "POST",
            approve,
            vec!["Content-Type: application/x-www-form-urlencoded"],
            "decision=deletes",
            415,
        ),
        ("a state in JSON", "POST", "/api/v1/state", vec![json], "{}", 415),
        ("no If-Match", "PUT", watermark, vec![json], "{\"to\":1,\"reason\":\"r\"}", 428),
        (
            "another If-Match",
            "PUT",
            watermark,
            vec![json, "If-Match: \"229\""],
            "{\"to\":1,\"reason\":\"r\"}",
            412,
        ),
        (
            "no tag",
            "PUT",
            watermark,
            vec![json, "If-Match: 230"],
            "{\"to\":1,\"reason\":\"r\"}",
            400,
        ),
        ("no place", "PUT", watermark, vec![json, "If-Match: *"], "{\"reason\":\"r\"}", 400),
        (
            "two places",
            "PUT",
            watermark,
            vec![json, "If-Match: *"],
            "{\"to\":1,\"reset\":true,\"reason\":\"r\"}",
            400,
        ),
        (
            "below nothing",
            "PUT",
            watermark,
            vec![json, "If-Match: *"],
            "{\"to\":-1,\"reason\":\"r\"}",
            400,
        ),
        ("an empty key", "POST", "/api/v1/runs/a/cancel", vec!["Idempotency-Key: "], "", 400),
    ] {
        let answer = house.say(method, path, &headers, body.as_bytes()).await;

        assert_eq!(answer.status, status, "{case}: {answer:?}");
        assert!(!answer.problem().contains("604854"), "{case}: {answer:?}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{case}");
    }
}

#[tokio::test]
async fn what_the_desk_refuses_has_its_status() {
    let house = House::on_loopback().await;
    for (error, status) in [
        (DeskError::NotThere("there is none".to_owned()), 404),
        (DeskError::Refused("it makes no sense".to_owned()), 400),
        (DeskError::Conflict("it is otherwise".to_owned()), 409),
        (DeskError::Forbidden { needed: Role::Admin }, 403),
        (DeskError::NotNow("it is stopping".to_owned()), 503),
        (DeskError::Failed("the source does not answer".to_owned()), 502),
        (DeskError::State("the disk is full".to_owned()), 500),
    ] {
        house.desk.fail(error.clone());

        let answer = house.get("/api/v1/runs").await;

        assert_eq!(answer.status, status, "{error:?}");
        assert_eq!(answer.problem(), error.to_string());
    }
}

#[tokio::test]
async fn when_every_pair_runs_already_a_conflict_names_the_runs() {
    let house = House::on_loopback().await;

    let answer = house.tell("POST", "/api/v1/publications/busy/runs", &json!({})).await;

    assert_eq!(answer.status, 409);
    answer.problem();
    assert_eq!(answer.json()["already_running"], json!(["run-0"]));
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_and_a_state_may_be_larger() {
    let house = House::on_loopback().await;
    let over = "x".repeat((1 << 20) + 1);
    let order = format!("{{\"old\":\"{over}\",\"new\":\"a\"}}");

    let too_large = house.say(
        "POST",
        "/api/v1/state/move",
        &["Content-Type: application/json"],
        order.as_bytes(),
    );
    let too_large = too_large.await;
    let state = house.say(
        "POST",
        "/api/v1/state",
        &["Content-Type: application/x-ndjson"],
        over.as_bytes(),
    );
    let state = state.await;

    assert_eq!(too_large.status, 413);
    too_large.problem();
    assert_eq!(state.status, 200);
    assert_eq!(house.desk.asked().len(), 1);
}

#[tokio::test]
async fn a_browser_that_was_led_here_learns_nothing_and_orders_nothing() {
    let house = House::on_loopback().await;
    let address = house.address();
    let (own, other) = (format!("Origin: http://{address}"), "Origin: http://district.example");
    let elsewhere = format!("Origin: http://{}:1", address.ip());
    for (case, headers, expected) in [
        ("another name for this address", vec!["Host: district.example:8642"], 403),
        ("its own name", vec!["Host: localhost:8642"], 200),
        ("a page of its own", vec![own.as_str()], 200),
        ("a page of another site", vec![other], 403),
        ("a page of another port", vec![elsewhere.as_str()], 403),
        ("a page that hides", vec!["Origin: null"], 403),
        ("another site without an origin", vec!["Sec-Fetch-Site: cross-site"], 403),
        ("a program", vec![], 200),
    ] {
        for (method, path) in
            [("GET", "/api/v1/runs"), ("POST", "/api/v1/pairs/district-to-state/state/resume")]
        {
            let answer = house.say(method, path, &headers, b"").await;

            assert_eq!(answer.status, expected, "{case}: {method} {path}");
            let asked = house.desk.asked().len();
            assert_eq!(asked > 0, expected == 200, "{case}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_ready_is_alive_and_says_what_is_missing() {
    let house = House::on_loopback().await;
    house.is_missing("the state is not open");

    for (path, expected) in [("/healthz", 200), ("/readyz", 503), ("/metrics", 503)] {
        assert_eq!(house.get(path).await.status, expected, "{path}");
    }
    assert!(house.get("/readyz").await.body.contains("the state is not open"));
    let pairs = house.get("/api/v1/pairs").await;
    assert_eq!(pairs.status, 503);
    assert!(pairs.problem().contains("the state is not open"));
    assert_eq!(house.get("/api/v1/openapi.json").await.status, 200);
}

#[tokio::test]
async fn no_answer_may_be_stored_on_the_way() {
    let house = House::on_loopback().await;

    assert_eq!(house.get("/api/v1/parked").await.header("cache-control"), Some("no-store"));
}
