//! Who may take which route: every route of the table, as everybody, on loopback and elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use tidemark::desk::{Caller, Role};
use tidemark::server::{RouteLine, route_table};

use super::desk::KEY;
use super::house::{House, TOKENS, say, settings};
use super::routes::{EVENTS, Example, examples};

/// Everybody who may come, and what they are.
const VISITORS: [(&str, Option<&str>, Option<Role>); 6] = [
    ("nobody", None, None),
    ("viewer", Some("viewer"), Some(Role::Viewer)),
    ("operator", Some("operator"), Some(Role::Operator)),
    ("scoped", Some("scoped"), Some(Role::Operator)),
    ("admin", Some("admin"), Some(Role::Admin)),
    ("an unknown one", Some("Viewer"), None),
];

#[tokio::test]
async fn every_route_lets_in_its_role_and_those_above_it_and_nobody_else() {
    let examples = examples();
    for (place, house, on_loopback) in [
        ("loopback", House::on_loopback().await, true),
        ("elsewhere", House::for_everybody().await, false),
    ] {
        for line in route_table() {
            for (visitor, token, role) in VISITORS {
                let case = format!("{} {} by {visitor}, {place}", line.method, line.path);
                let role = if on_loopback && token.is_none() { Some(Role::Admin) } else { role };

                let status = status_of(&house, &line, &examples, token).await;

                let asked = house.desk.asked().len();
                match role {
                    None => assert_eq!((status, asked), (401, 0), "{case}"),
                    Some(role) if role < line.role => {
                        assert_eq!((status, asked), (403, 0), "{case}");
                    }
                    Some(_) => assert!(status < 300, "{case}: {status}"),
                }
            }
        }
        house.server.stop().await;
    }
}

/// Of the answer to the example of a route.
async fn status_of(
    house: &House,
    line: &RouteLine,
    examples: &[Example],
    token: Option<&str>,
) -> u16 {
    if (line.method, line.path.as_str()) == EVENTS {
        return super::events::Line::open(house, token, "").await.status;
    }
    let example = examples.iter().find(|one| one.method == line.method && one.route == line.path);
    let example = example.unwrap_or_else(|| panic!("{line:?} has no example"));
    let (mut headers, body) = example.sent();
    let bearer = token.map(|token| format!("Authorization: Bearer {token}"));
    headers.extend(bearer.as_deref());
    house.say(example.method, example.path, &headers, &body).await.status
}

/// Written down once more, so that a change of who may do what is a decision of two places.
#[test]
fn what_changes_something_takes_an_operator_and_what_cannot_be_taken_back_an_admin() {
    let of_operators = BTreeSet::from([
        ("POST", "/api/v1/pairs/{publication}/{target}/pause"),
        ("POST", "/api/v1/pairs/{publication}/{target}/resume"),
        ("POST", "/api/v1/publications/{publication}/runs"),
        ("POST", "/api/v1/runs/{id}/cancel"),
        ("POST", "/api/v1/parked/{id}/retry"),
        ("POST", "/api/v1/parked/retry"),
        ("GET", "/api/v1/parked/{id}/live"),
        ("POST", "/api/v1/parked/{id}/attempt"),
        ("POST", "/api/v1/verify/{publication}/{target}"),
        ("POST", "/api/v1/comparisons/{id}/cancel"),
    ]);
    let table = route_table();

    let mut looked_at = 0;
    for line in &table {
        let route = (line.method, line.path.as_str());
        let expected = match route {
            route if of_operators.contains(&route) => Role::Operator,
            (_, "/api/v1/state") => Role::Admin,
            ("GET", _) => Role::Viewer,
            _ => Role::Admin,
        };
        looked_at += usize::from(of_operators.contains(&route));
        assert_eq!(line.role, expected, "{route:?}");
    }
    assert_eq!(looked_at, of_operators.len());
}

#[tokio::test]
async fn the_desk_is_told_who_asks_with_role_and_labels() {
    let house = House::on_loopback().await;
    for (token, name, role, labels) in [
        (None, "loopback", Role::Admin, vec![]),
        (Some("admin"), "token admin", Role::Admin, vec![]),
        (Some("viewer"), "token viewer", Role::Viewer, vec![]),
        (Some("scoped"), "token scoped", Role::Operator, vec![("district", "d1")]),
    ] {
        house.ask("GET", "/api/v1/runs", token).await;

        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(house.desk.callers(), [Caller { name: name.to_owned(), role, labels }]);
    }
}

#[tokio::test]
async fn a_viewer_sees_no_key_of_what_an_operator_sees() {
    let house = House::on_loopback().await;

    for path in ["/api/v1/parked", "/api/v1/parked/item-1"] {
        let viewer = house.ask("GET", path, Some("viewer")).await;
        let operator = house.ask("GET", path, Some("operator")).await;

        assert_eq!((viewer.status, viewer.body.contains(KEY)), (200, false), "{path}");
        assert_eq!((operator.status, operator.body.contains(KEY)), (200, true), "{path}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_for_everybody_and_nothing_else_is() {
    let house = House::for_everybody().await;

    for (path, expected) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/", 303),
        ("/login", 200),
        ("/api/v1/pairs", 401),
        ("/api/v1/openapi.json", 401),
        ("/elsewhere", 401),
    ] {
        assert_eq!(house.get(path).await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn an_address_for_metrics_serves_metrics_and_health_alone() {
    let house =
        House::with(&format!("listen: \"127.0.0.1:0\", metrics_listen: \"127.0.0.1:0\", {TOKENS}"))
            .await;
    let metrics = house.server.metrics_address().unwrap();

    for (path, expected) in
        [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/v1/pairs", 404)]
    {
        let headers = ["Authorization: Bearer admin"];
        assert_eq!(say(metrics, "GET", path, &headers, b"").await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn without_tokens_nobody_gets_in_but_on_loopback() {
    let house = House::with("listen: \"0.0.0.0:0\"").await;

    for token in [None, Some(""), Some("admin")] {
        assert_eq!(house.ask("GET", "/api/v1/pairs", token).await.status, 401, "{token:?}");
    }
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes_and_lets_nobody_in_while_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let house = House::with(&format!(
        "listen: \"0.0.0.0:0\", admin_token: {{file: \"{}\"}}",
        file.display()
    ))
    .await;
    let status = async |token| house.ask("GET", "/api/v1/pairs", Some(token)).await.status;

    assert_eq!(status("first").await, 401);
    std::fs::write(&file, "first\n").unwrap();
    assert_eq!(status("first").await, 200);
    std::fs::write(&file, "other\n").unwrap();
    assert_eq!((status("first").await, status("other").await), (401, 200));
    std::fs::write(&file, "").unwrap();
    assert_eq!((status("other").await, status("").await), (401, 401));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(status("other").await, 401);
}

#[tokio::test]
async fn tokens_that_are_named_anew_replace_those_before() {
    let house = House::on_loopback().await;
    let anew = settings("tokens: [{name: other, role: viewer, token: other}]");

    house.server.admit(&anew, &BTreeMap::new());

    assert_eq!(house.ask("GET", "/api/v1/pairs", Some("admin")).await.status, 401);
    assert_eq!(house.ask("GET", "/api/v1/pairs", Some("other")).await.status, 200);
}

#[tokio::test]
async fn a_token_of_a_variable_counts_once_the_variables_are_known() {
    let tokens = "tokens: [{name: oncall, role: viewer, token: {env: ONCALL}}]";
    let house = House::with(&format!("listen: \"0.0.0.0:0\", {tokens}")).await;
    let before = house.ask("GET", "/api/v1/pairs", Some("secret")).await.status;

    let env = BTreeMap::from([("ONCALL".to_owned(), "secret".to_owned())]);
    house.server.admit(&settings(tokens), &env);

    let after = house.ask("GET", "/api/v1/pairs", Some("secret")).await.status;
    assert_eq!((before, after), (401, 200));
}

#[tokio::test]
async fn only_bearers_are_let_in() {
    let house = House::for_everybody().await;

    for (header, expected) in [
        ("Authorization: Bearer admin", 200),
        ("Authorization: bearer admin", 200),
        ("Authorization: Bearer  admin", 200),
        ("Authorization: Basic admin", 401),
        ("Authorization: admin", 401),
        ("Authorization: Bearer", 401),
        ("Authorization: Bearer admi", 401),
        ("Authorization: Bearer admin2", 401),
        ("Cookie: token=admin", 401),
    ] {
        let answer = house.say("GET", "/api/v1/pairs", &[header], b"").await;

        assert_eq!(answer.status, expected, "{header}");
        if expected == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{header}");
            assert!(!answer.problem().contains("admi "), "{header}");
        }
    }
}
