//! Who may ask what, over real HTTP on loopback.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A daemon that has pairs, and is ready or not.
struct Daemon {
    missing: Option<String>,
}

#[async_trait]
impl Answers for Daemon {
    fn missing(&self) -> Option<String> {
        self.missing.clone()
    }

    async fn metrics(&self) -> Option<String> {
        self.missing.is_none().then(|| "tidemark_build_info 1\n".to_owned())
    }

    async fn pairs(&self) -> Result<serde_json::Value, String> {
        match self.missing() {
            None => Ok(serde_json::json!({"pairs": []})),
            Some(missing) => Err(missing),
        }
    }
}

/// Serves what would be served at `address`, on loopback.
async fn served_as_at(address: &str, missing: Option<&str>) -> (SocketAddr, Tasks) {
    let answers = Arc::new(Daemon { missing: missing.map(str::to_owned) });
    let routes = router(address.parse().unwrap(), answers);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let loopback = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let stop = tasks.stop_token();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    tasks.spawn("server", serving.into_future());
    (loopback, tasks)
}

/// The status and the whole answer of a GET that calls the address `host`.
async fn get(address: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

async fn statuses(address: &str, missing: Option<&str>) -> Vec<(&'static str, u16)> {
    let (loopback, tasks) = served_as_at(address, missing).await;
    let mut statuses = Vec::new();
    for path in ["/healthz", "/readyz", "/metrics", "/api/v1/pairs", "/elsewhere"] {
        statuses.push((path, get(loopback, path, "localhost").await.0));
    }
    tasks.stop().await;
    statuses
}

#[tokio::test]
async fn an_address_that_is_not_loopback_serves_health_and_metrics_and_nothing_else() {
    for (address, expected) in [
        ("127.0.0.1:8642", [200, 200, 200, 200, 404]),
        ("[::1]:8642", [200, 200, 200, 200, 404]),
        ("192.0.2.1:8642", [200, 200, 200, 401, 401]),
        ("0.0.0.0:8642", [200, 200, 200, 401, 401]),
    ] {
        let statuses = statuses(address, None).await;

        assert_eq!(statuses.iter().map(|(_, status)| *status).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn what_is_not_ready_is_alive() {
    let statuses = statuses("127.0.0.1:8642", Some("the state is not open")).await;

    let expected = [200, 503, 503, 503, 404];
    assert_eq!(statuses.iter().map(|(_, status)| *status).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_refusal_is_a_problem_in_the_standard_form() {
    let (loopback, tasks) = served_as_at("127.0.0.1:8642", None).await;

    let (status, answer) = get(loopback, "/nowhere", "localhost").await;

    assert_eq!(status, 404);
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(answer.contains(r#""title":"Not Found""#), "{answer}");
    tasks.stop().await;
}

#[tokio::test]
async fn a_browser_that_was_led_here_under_another_name_learns_nothing() {
    let (loopback, tasks) = served_as_at("127.0.0.1:8642", None).await;

    let (status, answer) = get(loopback, "/api/v1/pairs", "district.example:8642").await;

    assert_eq!(status, 403);
    assert!(!answer.contains("pairs"), "{answer}");
    tasks.stop().await;
}

#[test]
fn only_names_of_this_machine_are_loopback_names() {
    for (host, expected) in [
        ("localhost", true),
        ("LOCALHOST:8642", true),
        ("127.0.0.1:8642", true),
        ("127.0.0.1", true),
        ("[::1]:8642", true),
        ("[::1]", true),
        ("district.example:8642", false),
        ("localhost.example", false),
        ("192.0.2.1:8642", false),
    ] {
        assert_eq!(is_loopback_name(host), expected, "{host}");
    }
}
