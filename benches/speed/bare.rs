//! The bare loop: the same bodies to the same place with the same client, and nothing else. What
//! Tidemark is compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemark::domain::{Body, ResourcePath};
use tidemark::edfi::split_page;
use tidemark::targets::edfi::cut;

use crate::content::{PAGE, Page};
use crate::usage::{self, Usage};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) items: u64,
    pub(crate) at_once: u64,
    pub(crate) body_bytes: (usize, usize),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) usage: Usage,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
}

pub(crate) async fn post_all(order: Order) -> Done {
    let bodies = Arc::new(bodies(order.body_bytes));
    let client = client();
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..order.at_once {
        let (bodies, client, next) = (Arc::clone(&bodies), client.clone(), Arc::clone(&next));
        let (url, items) = (order.url.clone(), order.items);
        loops.spawn(async move {
            let url = reqwest::Url::parse(&url).expect("the server's own address");
            loop {
                let item = next.fetch_add(1, Relaxed);
                if item >= items {
                    return;
                }
                let body = bodies[item as usize % bodies.len()].clone();
                let request = client
                    .post(url.clone())
                    .header("accept", "application/json")
                    .header("content-type", "application/json")
                    .header("authorization", "Bearer bench")
                    .body(body);
                let answer = request.send().await.expect("the server of the bench answers");
                assert!(answer.status().is_success(), "the target of a bare loop takes everything");
                answer.bytes().await.expect("the server of the bench ends its answers");
            }
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended.expect("a loop does not panic");
    }
    Done { usage: usage::of_this_process(), seconds: began.elapsed().as_secs_f64() }
}

/// What arrives at a target of one page of the source.
fn bodies(body_bytes: (usize, usize)) -> Vec<Bytes> {
    let page = Bytes::from(Page::prepare(body_bytes).of(0, PAGE as u64));
    let resource = ResourcePath::parse("/ed-fi/students").expect("a path");
    let items = split_page(&page).expect("our own page");
    let cut = |body: Body| cut(&resource, &body).expect("our own body");
    items.into_iter().map(|item| cut(item.body)).collect()
}

/// As `src/http/wire.rs` makes it.
fn client() -> reqwest::Client {
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent("tidemark-bench")
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .gzip(true)
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(60))
        .pool_idle_timeout(Duration::from_secs(20))
        .tls_certs_only([])
        .build()
        .expect("a client for plain http")
}
