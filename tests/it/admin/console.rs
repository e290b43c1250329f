//! The console over real HTTP: who may see and do what, cookies, forms, what a browser may do, and text
//! that somebody else chose. What a browser makes of it is tested in `tests/console`.

use std::collections::{BTreeMap, BTreeSet};

use tidemark::desk::{Caller, Role};
use tidemark::server::{RouteLine, console_table};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::desk::KEY;
use super::house::{Answer, House, settings};

/// Everybody who may come: the token that they typed, and what they are.
const VISITORS: [(&str, Option<&str>, Option<Role>); 5] = [
    ("nobody", None, None),
    ("viewer", Some("viewer"), Some(Role::Viewer)),
    ("operator", Some("operator"), Some(Role::Operator)),
    ("scoped", Some("scoped"), Some(Role::Operator)),
    ("admin", Some("admin"), Some(Role::Admin)),
];

const PAIR: &str = "/pairs/district-to-state/state";

/// What is asked for, or sent, of each route; and what the desk is asked at last.
const EXAMPLES: [(&str, &str, &str, &str); 23] = [
    ("GET /", "/", "", "pairs"),
    ("GET /pairs/{publication}/{target}", "", "", "order district-to-state → state"),
    ("GET /pairs/{publication}/{target}/report", "/report", "", "report district-to-state"),
    ("GET /pairs/{publication}/{target}/report.csv", "/report.csv", "", "report district-to-state"),
    ("GET /pairs/{publication}/{target}/runs/{id}", "/runs/run-1", "", "runs"),
    ("GET /pairs/{publication}/{target}/watermark", "/watermark", "", "closely"),
    ("GET /parked", "/parked?reason=invalid", "", "parked"),
    ("GET /parked.csv", "/parked.csv", "", "parked"),
    ("GET /parked/{id}", "/parked/item-1", "", "parked_item item-1"),
    ("GET /runs", "/runs", "", "runs"),
    ("GET /runs/{id}", "/runs/run-1", "", "run run-1"),
    ("GET /audit", "/audit?since=2026-01-31", "", "audit Some(2026-01-31T00:00:00Z)"),
    ("GET /configuration", "/configuration?name=district", "", "configuration Some(\"district\")"),
    (
        "POST /pairs/{publication}/{target}/run",
        "/run",
        "",
        "start district-to-state [\"state\"] false",
    ),
    (
        "POST /pairs/{publication}/{target}/pause",
        "/pause",
        "hours=&reason=a+holiday",
        "pause district-to-state → state None Some(\"a holiday\")",
    ),
    (
        "POST /pairs/{publication}/{target}/resume",
        "/resume",
        "",
        "resume district-to-state → state",
    ),
    (
        "POST /pairs/{publication}/{target}/approve",
        "/approve",
        "decision=deletes&resource=students&reason=seen",
        "approve district-to-state → state Deletes { resource: Some(\"students\") } seen",
    ),
    (
        "POST /pairs/{publication}/{target}/watermark",
        "/watermark",
        "how=to&to=200&stands_at=230&reason=a+backup&confirm=district-to-state",
        "move_watermark district-to-state → state To(ChangeVersion(200)) Some(Some(ChangeVersion(230))) a backup",
    ),
    (
        "POST /pairs/{publication}/{target}/runs/{id}/cancel",
        "/runs/run-1/cancel",
        "",
        "cancel run-1",
    ),
    (
        "POST /parked/retry",
        "/parked/retry",
        "which=chosen&id=item-1",
        "retry ParkedChoice { ids: [\"item-1\"], which: None }",
    ),
    (
        "POST /parked/discard",
        "/parked/discard",
        "which=all&because=gone",
        "discard ParkedChoice { ids: [], which: Some",
    ),
    ("POST /logout", "/logout", "", ""),
    ("GET /live", "/live", "", ""),
];

/// Somebody with a browser.
struct Visitor {
    cookie: Option<String>,
    csrf: String,
}

impl Visitor {
    /// At the door with a token, or on this machine without one.
    async fn come(house: &House, token: Option<&str>) -> Visitor {
        let cookie = match token {
            Some(token) => Some(log_in(house, token).await),
            None => None,
        };
        let mut visitor = Visitor { cookie, csrf: String::new() };
        visitor.csrf = csrf_of(&visitor.get(house, "/parked").await).unwrap_or_default();
        house.desk.asked();
        visitor
    }

    async fn get(&self, house: &House, path: &str) -> Answer {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}"));
        let headers: Vec<&str> = cookie.iter().map(String::as_str).collect();
        house.say("GET", path, &headers, b"").await
    }

    async fn send(&self, house: &House, path: &str, form: &str) -> Answer {
        let form = format!("csrf={}&{form}", self.csrf);
        self.send_just(house, path, &form).await
    }

    async fn send_just(&self, house: &House, path: &str, form: &str) -> Answer {
        let mut headers = vec!["Content-Type: application/x-www-form-urlencoded"];
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}"));
        headers.extend(cookie.as_deref());
        house.say("POST", path, &headers, form.as_bytes()).await
    }
}

fn csrf_of(page: &Answer) -> Option<String> {
    let (_, after) = page.body.split_once("name=\"csrf\" value=\"")?;
    Some(after.split('"').next()?.to_owned())
}

/// The cookie of a session.
async fn log_in(house: &House, token: &str) -> String {
    let answer = type_token(house, token).await;
    let set = answer.header("set-cookie").unwrap_or_else(|| panic!("{answer:?}"));
    set.split(';').next().unwrap().to_owned()
}

async fn type_token(house: &House, token: &str) -> Answer {
    let door = Visitor { cookie: None, csrf: String::new() };
    let csrf = csrf_of(&door.get(house, "/login").await).unwrap();
    door.send_just(house, "/login", &format!("csrf={csrf}&token={token}&next=/parked")).await
}

fn full(line: &RouteLine, path: &str) -> String {
    match line.path.starts_with("/pairs/") {
        true => format!("{PAIR}{path}"),
        false => path.to_owned(),
    }
}

#[tokio::test]
async fn every_page_and_order_lets_in_its_role_and_those_above_it_and_nobody_else() {
    for (place, house, on_loopback) in [
        ("loopback", House::on_loopback().await, true),
        ("elsewhere", House::for_everybody().await, false),
    ] {
        for line in console_table() {
            let route = format!("{} {}", line.method, line.path);
            let example = EXAMPLES.iter().find(|(of, ..)| *of == route);
            let (_, path, form, question) =
                example.unwrap_or_else(|| panic!("{route} has no example"));
            let path = full(&line, path);
            for (name, token, role) in VISITORS {
                let case = format!("{route} by {name}, {place}");
                let role = if on_loopback && token.is_none() { Some(Role::Admin) } else { role };
                let visitor = Visitor::come(&house, token).await;

                let (status, location) = match line.method {
                    _ if line.path == "/live" => (status_of_line(&house, &visitor).await, None),
                    "GET" => told(&visitor.get(&house, &path).await),
                    _ => told(&visitor.send(&house, &path, form).await),
                };

                let asked = house.desk.asked();
                match role {
                    None if line.method == "GET" => {
                        assert_eq!((status, asked.len()), (303, 0), "{case}");
                        let door = location.is_none_or(|to| to.starts_with("/login?next=%2F"));
                        assert!(door, "{case}");
                    }
                    None => assert_eq!((status, asked.len()), (401, 0), "{case}"),
                    Some(role) if role < line.role => {
                        assert_eq!((status, asked.len()), (403, 0), "{case}");
                    }
                    Some(_) => {
                        assert!(status < 400, "{case}: {status}");
                        let last = asked.last().map(String::as_str).unwrap_or_default();
                        assert!(last.starts_with(question), "{case}: {asked:?}");
                    }
                }
            }
        }
        house.server.stop().await;
    }
}

fn told(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.header("location").map(str::to_owned))
}

/// Of the one answer that does not end.
async fn status_of_line(house: &House, visitor: &Visitor) -> u16 {
    let address = house.address();
    let cookie = visitor.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n"));
    let request =
        format!("GET /live HTTP/1.1\r\nHost: {address}\r\n{}\r\n", cookie.unwrap_or_default());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = String::new();
    BufReader::new(stream).read_line(&mut first).await.unwrap();
    first.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Written down once more, so that a change of who may do what is a decision of two places.
#[test]
fn orders_of_the_console_take_the_roles_that_the_admin_api_asks_for() {
    let admins = BTreeSet::from([
        "POST /pairs/{publication}/{target}/approve",
        "POST /pairs/{publication}/{target}/watermark",
        "GET /pairs/{publication}/{target}/watermark",
        "POST /parked/discard",
    ]);
    let table = console_table();

    for line in &table {
        let route = format!("{} {}", line.method, line.path);
        let expected = match (line.method, line.path.as_str()) {
            _ if admins.contains(route.as_str()) => Role::Admin,
            ("GET", _) | (_, "/logout") => Role::Viewer,
            _ => Role::Operator,
        };
        assert_eq!(line.role, expected, "{route}");
    }
    assert_eq!(table.len(), EXAMPLES.len());
}

#[tokio::test]
async fn the_desk_is_told_who_looks_with_role_and_labels() {
    let house = House::for_everybody().await;
    let visitor = Visitor::come(&house, Some("scoped")).await;

    visitor.get(&house, "/audit").await;

    let labels = BTreeMap::from([("district".to_owned(), "d1".to_owned())]);
    let name = "token scoped".to_owned();
    assert_eq!(house.desk.callers(), [Caller { name, role: Role::Operator, labels }]);
}

#[tokio::test]
async fn an_order_is_given_only_by_a_form_of_the_same_session() {
    for (place, house) in
        [("loopback", House::on_loopback().await), ("elsewhere", House::for_everybody().await)]
    {
        let one = Visitor::come(&house, Some("admin")).await;
        let other = Visitor::come(&house, Some("admin")).await;
        let path = format!("{PAIR}/run");
        let foreign = format!("csrf={}", other.csrf);
        let (longer, shorter) = (format!("csrf={}x", one.csrf), format!("csrf={}", &one.csrf[1..]));

        for form in ["", "csrf=", &foreign, &longer, &shorter] {
            let answer = one.send_just(&house, &path, form).await;

            assert_eq!((answer.status, house.desk.asked().len()), (403, 0), "{place}: {form}");
        }
        assert_eq!(one.send(&house, &path, "").await.status, 303, "{place}");
        let json = ["Content-Type: application/json", "Content-Type: text/plain"];
        for kind in json {
            let cookie = format!("Cookie: {}", one.cookie.clone().unwrap());
            let form = format!("csrf={}", one.csrf);
            let answer = house.say("POST", &path, &[kind, &cookie], form.as_bytes()).await;
            assert_eq!(answer.status, 415, "{place}: {kind}");
        }
    }
}

#[tokio::test]
async fn on_loopback_without_a_token_forms_are_confirmed_too() {
    let house = House::on_loopback().await;
    let visitor = Visitor::come(&house, None).await;
    assert_eq!(visitor.csrf.len(), 43);

    let path = format!("{PAIR}/run");

    assert_eq!(visitor.send_just(&house, &path, "").await.status, 403);
    assert_eq!(house.desk.asked().len(), 0);
    assert_eq!(visitor.send(&house, &path, "").await.status, 303);
}

#[tokio::test]
async fn a_token_becomes_a_cookie_that_is_not_the_token() {
    let house = House::for_everybody().await;

    let answer = type_token(&house, "operator").await;

    assert_eq!((answer.status, answer.header("location")), (303, Some("/parked")));
    let cookie = answer.header("set-cookie").unwrap();
    let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
    assert_eq!(name, format!("tidemark-{}", house.address().port()));
    assert!(value.len() == 43 && !cookie.contains("operator"), "{cookie}");
    for attribute in ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.split("; ").any(|one| one == attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Secure"), "it would not come back without TLS");
    assert_eq!(type_token(&house, "Operator").await.status, 401);
    assert_eq!(type_token(&house, "").await.status, 401);
}

#[tokio::test]
async fn who_leaves_and_whose_token_is_taken_away_is_at_the_door_again() {
    let house = House::for_everybody().await;
    let leaves = Visitor::come(&house, Some("operator")).await;
    let stays = Visitor::come(&house, Some("operator")).await;

    let left = leaves.send(&house, "/logout", "").await;

    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"), "{left:?}");
    assert_eq!(leaves.get(&house, "/").await.status, 303);
    assert_eq!(stays.get(&house, "/").await.status, 200);
    house.server.admit(&settings("admin_token: another"), &BTreeMap::new());
    assert_eq!(stays.get(&house, "/").await.status, 303);
}

#[tokio::test]
async fn a_cookie_is_no_token_for_the_admin_api_nor_for_another_port() {
    let house = House::for_everybody().await;
    let cookie = log_in(&house, "admin").await;
    let moved = cookie.replace("tidemark-", "tidemark-1");

    for (path, cookie) in [("/api/v1/pairs", &cookie), ("/", &moved)] {
        let answer = house.say("GET", path, &[&format!("Cookie: {cookie}")], b"").await;

        assert!([401, 303].contains(&answer.status), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn no_page_of_another_site_asks_for_anything_but_it_may_lead_here() {
    for (place, house) in
        [("loopback", House::on_loopback().await), ("elsewhere", House::for_everybody().await)]
    {
        let visitor = Visitor::come(&house, Some("admin")).await;
        let cookie = format!("Cookie: {}", visitor.cookie.clone().unwrap());
        let form = format!("csrf={}", visitor.csrf);
        let kind = "Content-Type: application/x-www-form-urlencoded";
        for header in
            ["Origin: https://elsewhere.example", "Origin: null", "Sec-Fetch-Site: cross-site"]
        {
            let order = house
                .say("POST", &format!("{PAIR}/run"), &[&cookie, kind, header], form.as_bytes())
                .await;
            let part = house.say("GET", "/parked", &[&cookie, header], b"").await;

            assert_eq!((order.status, part.status), (403, 403), "{place}: {header}");
            assert_eq!(house.desk.asked().len(), 0, "{place}: {header}");
        }

        let link =
            ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];
        let stone = house.say("GET", "/parked?reason=invalid&status=dead", &link, b"").await;

        assert_eq!(stone.status, 200, "{place}");
        let onward = "content=\"0; url=/parked?reason=invalid&amp;status=dead\"";
        assert!(stone.body.contains(onward), "{place}: {}", stone.body);
        assert_eq!(house.desk.asked().len(), 0, "{place}");
    }
}

#[tokio::test]
async fn on_loopback_the_console_answers_under_names_of_this_machine_alone() {
    let house = House::on_loopback().await;

    for (host, expected) in [("rebound.example", 403), ("localhost", 200), ("127.0.0.1", 200)] {
        for path in ["/", "/login", "/parked"] {
            let answer = house.say("GET", path, &[&format!("Host: {host}:8642")], b"").await;

            assert_eq!(answer.status, expected, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_says_that_a_browser_may_do_nothing_but_show_it() {
    let house = House::on_loopback().await;
    let style = asset(&house, "stylesheet\" href=\"").await;

    for path in
        ["/", "/login", PAIR, "/parked/item-1", "/nowhere-to-be-seen.csv", &style, "/assets/x"]
    {
        let answer = house.get(path).await;
        if path.starts_with("/nowhere") {
            continue; // It is not of the console.
        }
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found.trim() == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        let kept = answer.header("cache-control").unwrap();
        assert_eq!(kept.contains("immutable"), path == style, "{path}: {kept}");
        assert!(path == style || kept == "no-store", "{path}: {kept}");
        for inline in ["style=", "<style", "onclick", "onload", "javascript:"] {
            assert!(path == style || !answer.body.contains(inline), "{path}: {inline}");
        }
        assert_eq!(
            answer.body.matches("<script").count(),
            answer.body.matches("<script src=").count()
        );
    }
}

async fn asset(house: &House, before: &str) -> String {
    let page = house.get("/").await;
    let (_, after) = page.body.split_once(before).unwrap();
    after.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_style_and_the_script_are_for_everybody_and_kept_until_they_change() {
    let house = House::on_loopback().await;
    for before in ["rel=\"stylesheet\" href=\"", "<script src=\""] {
        let path = asset(&house, before).await;

        let first = house.get(&path).await;
        let tag = first.header("etag").unwrap();
        let again = house.say("GET", &path, &[&format!("If-None-Match: {tag}")], b"").await;

        assert_eq!((first.status, again.status, again.body.as_str()), (200, 304, ""), "{path}");
        assert!(first.header("cache-control").unwrap().contains("immutable"));
        assert!(first.body.len() < 40_000, "{path} has {} bytes", first.body.len());
    }
    assert_eq!(house.get("/assets/console.css").await.status, 404);
    let elsewhere = House::for_everybody().await;
    assert_eq!(elsewhere.get("/assets/console.css").await.status, 404);
    assert_eq!(elsewhere.get("/login").await.status, 200);
}

#[tokio::test]
async fn text_that_somebody_else_chose_is_never_markup() {
    const MARKUP: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;";
    let house = House::on_loopback().await;
    house.desk.spoil(MARKUP);
    let mut escaped = 0;
    for path in [
        "/",
        PAIR,
        &format!("{PAIR}/runs/run-1"),
        &format!("{PAIR}/watermark"),
        "/parked",
        "/parked/item-1",
        "/runs",
        "/audit",
        "/configuration",
        "/?text=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&label=%22%3E%3Cimg%3E",
        "/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/?did=%3Cscript%3E",
    ] {
        let page = house.get(path).await;

        for markup in ["<script>", "<img", "alert(1)</script>"] {
            assert!(!page.body.contains(markup), "{path}: {markup}");
        }
        escaped += page.body.matches("&lt;script&gt;alert(1)").count();
    }
    assert!(escaped > 30, "only {escaped} texts were spoiled");
}

#[tokio::test]
async fn a_viewer_sees_no_key_and_no_way_to_do_anything() {
    let house = House::for_everybody().await;
    let viewer = Visitor::come(&house, Some("viewer")).await;
    let operator = Visitor::come(&house, Some("operator")).await;

    for path in ["/parked", "/parked/item-1", "/parked.csv"] {
        let (masked, whole) = (viewer.get(&house, path).await, operator.get(&house, path).await);
        assert_eq!((masked.status, masked.body.contains(KEY)), (200, false), "{path}");
        assert_eq!((whole.status, whole.body.contains(KEY)), (200, true), "{path}");
    }
    for (visitor, forms) in
        [(&viewer, vec!["/logout"]), (&operator, vec!["/logout", "/cancel", "/pause"])]
    {
        let page = visitor.get(&house, PAIR).await;
        let actions: Vec<&str> = page.body.split("method=\"post\" action=\"").skip(1).collect();
        let actions: Vec<&str> =
            actions.iter().map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(actions.len(), forms.len(), "{actions:?}");
        assert!(
            actions.iter().zip(&forms).all(|(action, form)| action.ends_with(form)),
            "{actions:?}"
        );
        assert!(!page.body.contains("/watermark\""));
    }
}

#[tokio::test]
async fn a_watermark_is_not_moved_without_the_name_nor_from_another_place() {
    let house = House::on_loopback().await;
    let visitor = Visitor::come(&house, None).await;
    let path = format!("{PAIR}/watermark");
    let form = "how=to&to=200&reason=a+backup";

    for (rest, status) in [
        ("stands_at=230&confirm=district", 400),
        ("stands_at=230", 400),
        ("confirm=district-to-state", 400),
        ("stands_at=229&confirm=district-to-state", 409),
        ("stands_at=230&confirm=district-to-state", 303),
    ] {
        let answer = visitor.send(&house, &path, &format!("{form}&{rest}")).await;

        assert_eq!(answer.status, status, "{rest}: {answer:?}");
    }
}

#[tokio::test]
async fn nothing_is_given_up_without_a_reason() {
    let house = House::on_loopback().await;
    let visitor = Visitor::come(&house, None).await;

    for because in ["", "&because=", "&because=++"] {
        let answer = visitor.send(&house, "/parked/discard", &format!("which=all{because}")).await;

        assert_eq!((answer.status, house.desk.asked().len()), (400, 0), "{because}");
    }
}

#[tokio::test]
async fn until_the_daemon_is_ready_a_page_says_so_and_looks_again() {
    let house = House::on_loopback().await;
    house.is_missing("the state is not open");

    let answer = house.get("/").await;

    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("Not ready: the state is not open."), "{}", answer.body);
    assert!(answer.body.contains("http-equiv=\"refresh\" content=\"3\""));
}
