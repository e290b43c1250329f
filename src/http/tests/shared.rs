//! What connections share that name one limit, and the hours in which they are left alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::super::{ClosedUntil, SharedLimit};
use super::*;

#[tokio::test]
async fn connections_to_different_origins_share_the_permits_of_one_limit() {
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let start = || {
        let (now, peak, gate) = (Arc::clone(&now), Arc::clone(&peak), Arc::clone(&gate));
        Api::start(move |_| {
            let (now, peak, gate) = (Arc::clone(&now), Arc::clone(&peak), Arc::clone(&gate));
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _passed = gate.acquire().await.unwrap();
                now.fetch_sub(1, Ordering::SeqCst);
                answer(200, &[], BODY)
            }
        })
    };
    let (one, other) = (start().await, start().await);
    let limit = Arc::new(SharedLimit::new(Some(3), 0));
    let client = |api: &Api| {
        let shared_limit = Some(Arc::clone(&limit));
        client_with(ClientOptions { shared_limit, ..options(&api.url) })
    };
    let (to_one, to_other) = (client(&one), client(&other));

    let requests = join_all((0..6).flat_map(|_| {
        [to_one.send(ApiRequest::get(one.at("/x"))), to_other.send(ApiRequest::get(other.at("/x")))]
    }));
    let opening = async {
        while now.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(12);
    };
    let (answers, ()) = tokio::join!(requests, opening);

    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(peak.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn nothing_is_sent_to_a_connection_that_is_closed_until_it_opens() {
    let api = Api::start(|_| async { answer(200, &[], BODY) }).await;
    let is_open = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (opened, counted) = (Arc::clone(&is_open), Arc::clone(&asked));
    let closed_until: ClosedUntil = Arc::new(move |now| {
        counted.fetch_add(1, Ordering::SeqCst);
        (!opened.load(Ordering::SeqCst)).then_some(now + chrono::TimeDelta::milliseconds(1))
    });
    let options = ClientOptions { closed_until: Some(closed_until), ..options(&api.url) };
    let client = client_with(options);

    let waiting = client.send(ApiRequest::get(api.at("/x")));
    let opening = async {
        while asked.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
        let sent = api.count("/x");
        is_open.store(true, Ordering::SeqCst);
        sent
    };
    let (answered, sent_before) = tokio::join!(waiting, opening);

    assert_eq!(sent_before, 0);
    assert!(answered.is_ok());
    assert_eq!(api.count("/x"), 1);
}

#[tokio::test]
async fn connections_share_the_requests_a_second_of_one_limit() {
    let api = Api::start(|_| async { answer(200, &[], BODY) }).await;
    let shared_limit = Some(Arc::new(SharedLimit::new(None, 20)));
    let options = || ClientOptions { shared_limit: shared_limit.clone(), ..options(&api.url) };
    let clients = [client_with(options()), client_with(options())];
    let began = tokio::time::Instant::now();

    for client in clients.iter().cycle().take(5) {
        client.send(ApiRequest::get(api.at("/x"))).await.unwrap();
    }

    // Never sooner: four spacings of a twentieth of a second.
    assert!(began.elapsed() >= Duration::from_millis(200));
}
