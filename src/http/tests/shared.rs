//! What connections share that name one limit or one origin, and the hours in which they are left alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::super::concurrency::Limiter;
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

/// Answers when it is told to, and counts who waits for that.
async fn held_up(gate: &Arc<Semaphore>, waiting: &Arc<AtomicUsize>) -> Api {
    let (gate, waiting) = (Arc::clone(gate), Arc::clone(waiting));
    Api::start(move |_| {
        let (gate, waiting) = (Arc::clone(&gate), Arc::clone(&waiting));
        async move {
            waiting.fetch_add(1, Ordering::SeqCst);
            let _passed = gate.acquire().await.unwrap();
            answer(200, &[], BODY)
        }
    })
    .await
}

#[tokio::test]
async fn an_origin_that_stands_still_keeps_no_permits_of_a_shared_limit_from_another() {
    const BEGUN: usize = Limiter::START;
    let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let still = held_up(&gate, &waiting).await;
    let quick = Api::start(|_| async { answer(200, &[], BODY) }).await;
    // One permit more than the origin that stands still takes of itself.
    let shared_limit = Some(Arc::new(SharedLimit::new(Some(BEGUN + 1), 0)));
    let client = |api: &Api| {
        client_with(ClientOptions { shared_limit: shared_limit.clone(), ..options(&api.url) })
    };
    let (to_still, to_quick) = (client(&still), client(&quick));

    let many = join_all((0..BEGUN * 2).map(|_| to_still.send(ApiRequest::get(still.at("/x")))));
    let meanwhile = async {
        while waiting.load(Ordering::SeqCst) < BEGUN {
            tokio::task::yield_now().await;
        }
        let answered = to_quick.send(ApiRequest::get(quick.at("/x")));
        let answered = tokio::time::timeout(Duration::from_secs(10), answered).await;
        gate.add_permits(BEGUN * 2);
        answered
    };
    let (all, answered) = tokio::join!(many, meanwhile);

    assert!(answered.expect("it waits for nobody").is_ok());
    assert!(all.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_shared_limit_that_is_used_up_keeps_an_origin_from_nobody_else() {
    let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let still = held_up(&gate, &waiting).await;
    let api = Api::start(|_| async { answer(200, &[], BODY) }).await;
    let shared_limit = Some(Arc::new(SharedLimit::new(Some(1), 0)));
    let origins = Origins::new(Clock::system());
    let client = |api: &Api, shared_limit: Option<Arc<SharedLimit>>| {
        let options = ClientOptions { shared_limit, ..options(&api.url) };
        ApiClient::new(options, &origins, Arc::new(Unobserved)).unwrap()
    };
    let to_still = client(&still, shared_limit.clone());
    let (limited, free) = (client(&api, shared_limit), client(&api, None));

    let holding = to_still.send(ApiRequest::get(still.at("/x")));
    let many = async {
        while waiting.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let wanted = Limiter::START * 2;
        join_all((0..wanted).map(|_| limited.send(ApiRequest::get(api.at("/limited"))))).await
    };
    let meanwhile = async {
        while waiting.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let answered = free.send(ApiRequest::get(api.at("/free")));
        let answered = tokio::time::timeout(Duration::from_secs(10), answered).await;
        let sent = api.count("/limited");
        gate.add_permits(1);
        (answered, sent)
    };
    let (held, all, (answered, sent)) = tokio::join!(holding, many, meanwhile);

    assert!(answered.expect("it waits for nobody").is_ok());
    assert_eq!(sent, 0);
    assert!(held.is_ok() && all.iter().all(Result::is_ok));
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

#[tokio::test]
async fn connections_that_are_made_together_share_the_sockets_of_their_origin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (url, opened) = (address_of(&listener), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while socket.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    socket.write_all(answer).await.expect("the client listens");
                }
            });
        }
    });
    let origins = origins();
    let new = || ApiClient::new(options(&url), &origins, Arc::new(Unobserved)).expect("a client");

    for client in [new(), new(), new()] {
        client.send(ApiRequest::get(url.clone())).await.expect("an answer");
        // The socket is free again a moment after its answer is here.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    assert_eq!(opened.load(Ordering::SeqCst), 1);
}
