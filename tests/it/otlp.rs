//! Traces of a daemon, as a collector reads them.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::Desk;
use crate::process::{BOUND, Process};

/// What arrived, each body with its content type.
type Batches = watch::Receiver<Vec<(String, Vec<u8>)>>;

async fn collector() -> (String, Batches) {
    let (arrived, batches) = watch::channel(Vec::new());
    let take = move |headers: axum::http::HeaderMap, body: Bytes| {
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        arrived.send_modify(|batches| batches.push((kind, body.to_vec())));
        async {}
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/v1/traces", post(take))).await.unwrap();
    });
    (url, batches)
}

#[derive(Clone, Debug)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    says: BTreeMap<String, String>,
}

/// The fields of one protobuf message: numbers are left out, everything else is bytes.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        match tag & 7 {
            0 => drop(varint(&mut message)),
            1 => message = &message[8..],
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                found.push((tag >> 3, message[..length].to_vec()));
                message = &message[length..];
            }
            other => panic!("no wire type {other} is in use"),
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in 0.. {
        let byte = message[0];
        *message = &message[1..];
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn only(message: &[u8], field: u64) -> Vec<Vec<u8>> {
    fields(message).into_iter().filter(|(found, _)| *found == field).map(|(_, b)| b).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in only(request, 1) {
        for scope in only(&resource, 2) {
            found.extend(only(&scope, 2).iter().map(|span| {
                let one = |field| only(span, field).pop().unwrap_or_default();
                let says = only(span, 9).into_iter().map(|pair| {
                    let value = only(&pair, 2).pop().unwrap();
                    (text(&only(&pair, 1)[0]), text(&only(&value, 1)[0]))
                });
                Span {
                    trace: one(1),
                    id: one(2),
                    parent: one(4),
                    name: text(&one(5)),
                    says: says.collect(),
                }
            }));
        }
    }
    found
}

fn all(batches: &[(String, Vec<u8>)]) -> Vec<Span> {
    batches.iter().flat_map(|(_, body)| spans(body)).collect()
}

fn configured(desk: &Desk, endpoint: &str) {
    desk.configure(&format!(
        "server: {{listen: \"127.0.0.1:0\"}}\ntelemetry: {{otlp: {{endpoint: \"{endpoint}\"}}}}\n{}",
        desk.usual("    every: 1s\n")
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_runs_stages_and_resources_and_no_natural_key() {
    let (url, mut batches) = collector().await;
    let desk = Desk::new().await;
    configured(&desk, &url);

    let mut daemon = Process::begin(desk.command(&["serve"]));
    daemon.read_on();
    let of_students =
        |span: &Span| span.says.get("resource").is_some_and(|r| r == "/ed-fi/students");
    let arrive = batches.wait_for(|batches| all(batches).iter().any(|span| span.name == "pair"));
    tokio::time::timeout(BOUND, arrive).await.expect("traces arrive").unwrap();
    let said = daemon.stop().await;

    let spans = all(&batches.borrow());
    let by_id = |id: &[u8]| spans.iter().find(|span| span.id == id).expect("its parent is there");
    let resource = spans.iter().find(|span| of_students(span)).expect("a resource is there");
    let stage = by_id(&resource.parent);
    let run = by_id(&stage.parent);
    let pair = by_id(&run.parent);
    assert_eq!((stage.name.as_str(), &stage.says["stage"]), ("stage", &"upserts".to_owned()));
    assert_eq!((run.name.as_str(), &run.says["outcome"]), ("run", &"complete".to_owned()));
    assert_eq!((pair.name.as_str(), &pair.says["target"]), ("pair", &"state".to_owned()));
    assert!([resource, stage, run].iter().all(|span| span.trace == pair.trace));
    assert!(pair.parent.is_empty());
    assert!(said.contains(&run.says["run"]), "the log has the same run: {said}");
    for (kind, body) in batches.borrow().iter() {
        assert_eq!(kind, "application/x-protobuf");
        for secret in ["S-70", "sandbox-key", "sandbox-secret"] {
            assert!(!String::from_utf8_lossy(body).contains(secret), "{secret}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_up_no_run_and_no_end() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let desk = Desk::new().await;
    configured(&desk, &format!("http://{}", silent.local_addr().unwrap()));

    let mut daemon = Process::begin(desk.command(&["serve"]));
    daemon.read_on();
    let published = desk.target.until(|| desk.target.count("/ed-fi/students") == 3);
    tokio::time::timeout(BOUND, published).await.expect("it publishes");

    daemon.stop().await;
}
