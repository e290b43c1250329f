//! What is sent, what is sent again, and what is passed up.

use futures_util::future::join_all;

use super::super::retry::parse_retry_after;
use super::*;

#[tokio::test]
async fn an_answer_arrives_with_status_headers_and_body() {
    let api = Api::start(|_| async { answer(201, &[("location", "/x/1")], BODY) }).await;

    let request = ApiRequest::post(api.at("/x")).json(Bytes::from_static(b"{}"));
    let response = plain_client(&api.url).send(request).await.expect("an answer");

    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.header("Location"), Some("/x/1"));
    assert_eq!(response.body(), BODY);
    let seen = &api.seen()[0];
    assert_eq!((seen.method.as_str(), &seen.body[..]), ("POST", &b"{}"[..]));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("tidemark/")));
}

#[tokio::test]
async fn what_a_caller_must_interpret_is_passed_up() {
    for status in [200, 204, 400, 403, 404, 405, 409, 410, 412, 413, 414, 415, 422] {
        let api = Api::start(move |_| async move { answer(status, &[], "") }).await;

        let response = plain_client(&api.url).send(ApiRequest::get(api.at("/x"))).await;

        assert_eq!(response.expect("an answer").status().as_u16(), status);
        assert_eq!(api.count("/x"), 1);
    }
}

#[tokio::test]
async fn html_with_status_200_is_passed_up() {
    let html = "<html>welcome</html>";
    let api =
        Api::start(move |_| async move { answer(200, &[("content-type", "text/html")], html) })
            .await;

    let response = plain_client(&api.url).send(ApiRequest::get(api.at("/"))).await;

    let response = response.expect("an answer");
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.body(), html);
}

#[tokio::test]
async fn what_may_pass_is_sent_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let api = Api::start(move |seen| async move {
            if seen.number < 3 { answer(status, &[], "") } else { answer(200, &[], BODY) }
        })
        .await;
        let client = plain_client(&api.url);

        let request = ApiRequest::post(api.at("/x")).json(Bytes::from_static(b"{}"));
        let response = client.send(request).await;

        assert_eq!(response.expect("an answer").body(), BODY);
        assert_eq!(client.requests(), 3);
        assert!(api.seen().iter().all(|seen| &seen.body[..] == b"{}"));
    }
}

#[tokio::test]
async fn what_does_not_pass_is_given_up_with_its_last_status() {
    let api = Api::start(|seen| async move {
        if seen.path == "/throttled" { answer(429, &[], BODY) } else { answer(503, &[], BODY) }
    })
    .await;
    let client = plain_client(&api.url);

    let throttled = client.send(ApiRequest::get(api.at("/throttled?studentUniqueId=1"))).await;
    let failed = client.send(ApiRequest::get(api.at("/failed"))).await;

    let throttled = throttled.expect_err("three refusals");
    let failed = failed.expect_err("three failures");
    assert_eq!((throttled.kind(), failed.kind()), ("throttled", "server-error"));
    assert_eq!(throttled.disposition(), Disposition::MayPass);
    assert_eq!(api.count("/failed"), 3);
    assert!(told(&throttled).contains("429"));
    let text = told(&failed);
    assert!(text.contains("connection `state`") && text.contains("/failed"), "{text}");
    assert!(text.contains("503") && text.contains("3 times in a row"), "{text}");
}

#[tokio::test]
async fn the_retry_budget_of_an_origin_ends_retries_before_their_attempts_do() {
    let api = Api::start(|_| async { answer(500, &[], "") }).await;
    let mut options = options(&api.url);
    options.retry.max_attempts = 1_000_000;
    options.retry.first_delay = Duration::ZERO;
    let client = client_with(options);

    let error = client.send(ApiRequest::get(api.at("/x"))).await.expect_err("it always fails");

    assert_eq!(error.kind(), "server-error");
    // A reserve of a hundred and five more for each second that this takes.
    assert!((100..400).contains(&api.count("/x")), "{}", api.count("/x"));
}

#[tokio::test]
async fn t13_retry_after_closes_the_origin_for_every_connection() {
    let api = Api::start(|_| async { answer(429, &[("retry-after", "120")], "") }).await;
    let origins = origins();
    let mut one = options(&api.url);
    one.retry.max_attempts = 1;
    let one = ApiClient::new(one, &origins, Arc::new(Unobserved)).expect("a client");
    let other = ApiClient::new(options(&api.url), &origins, Arc::new(Unobserved));
    let stop = CancellationToken::new();
    let other = other.expect("a client").for_run("run", stop.clone());

    one.send(ApiRequest::get(api.at("/x"))).await.expect_err("throttled");
    let closed_until = one.shared.home.closed_until().expect("a closed origin");
    let waiting = tokio::spawn({
        let request = ApiRequest::get(api.at("/x"));
        async move { other.send(request).await }
    });
    tokio::task::yield_now().await;
    stop.cancel();
    let stopped = waiting.await.expect("no panic").expect_err("it had to wait");

    assert!(closed_until > Instant::now() + Duration::from_secs(100));
    assert_eq!(stopped.kind(), "stopped");
    assert_eq!(api.count("/x"), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_sends_before_an_origin_opens() {
    let url = Url::parse("http://127.0.0.1:9/").expect("an address");
    let client = plain_client(&url);
    let began = Instant::now();

    client.shared.home.close_for(Duration::from_secs(120));
    client.shared.home.close_for(Duration::from_secs(60));
    client.until_open(&client.shared.home).await.expect("an open origin");

    assert_eq!(began.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_is_cut_to_a_quarter_of_an_hour() {
    let url = Url::parse("http://127.0.0.1:9/").expect("an address");
    let client = plain_client(&url);
    let error = HttpError::Throttled {
        place: client.place(&ApiRequest::get(url)),
        status: StatusCode::TOO_MANY_REQUESTS,
        attempts: 1,
    };

    client.before_next(&client.shared.home, error, Some(Duration::MAX), 1).await.expect("again");

    let closed_until = client.shared.home.closed_until().expect("a closed origin");
    assert!(closed_until <= Instant::now() + Duration::from_secs(15 * 60));
}

#[test]
fn s27_retry_after_is_read_as_seconds_milliseconds_or_a_date() {
    let now = DateTime::parse_from_rfc3339("2026-01-31T10:00:00Z").expect("a moment");
    let read = |text: &str| parse_retry_after(text, now.with_timezone(&Utc));
    let seconds = |seconds| Some(Duration::from_secs(seconds));

    assert_eq!(read("120"), seconds(120));
    assert_eq!(read(" 7 "), seconds(7));
    assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
    assert_eq!(read("3600"), seconds(3600));
    assert_eq!(read("30000"), seconds(30));
    assert_eq!(read("Sat, 31 Jan 2026 10:02:00 GMT"), seconds(120));
    assert_eq!(read("1000000000"), seconds(1_000_000));
    assert_eq!(read("inf"), Some(Duration::MAX));
    for nothing in [
        "",
        "0",
        "0.00000000000012",
        "-5",
        "NaN",
        "soon",
        "Sat, 31 Jan 2026 09:00:00 GMT",
        "31.01.2026",
    ] {
        assert_eq!(read(nothing), None, "{nothing}");
    }
}

#[tokio::test]
async fn a_date_in_retry_after_is_measured_by_the_servers_own_clock() {
    // The server's clock is years off, and its two dates are half a minute apart.
    let headers = [
        ("date", "Fri, 01 Jan 2010 00:00:00 GMT"),
        ("retry-after", "Fri, 01 Jan 2010 00:00:30 GMT"),
    ];
    let api = Api::start(move |_| async move { answer(503, &headers, "") }).await;
    let mut options = options(&api.url);
    options.retry.max_attempts = 1;
    let client = client_with(options);

    client.send(ApiRequest::get(api.at("/x"))).await.expect_err("it is closed");

    let closed_until = client.shared.home.closed_until().expect("a closed origin");
    let wait = closed_until - Instant::now();
    assert!(wait <= Duration::from_secs(30), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait() {
    let url = Url::parse("http://127.0.0.1:9/").expect("an address");
    let stop = CancellationToken::new();
    let client = plain_client(&url).for_run("run", stop.clone());
    client.shared.home.close_for(Duration::from_secs(3600));
    let began = Instant::now();

    let waiting = client.send(ApiRequest::get(url));
    let cancelling = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    let (answer, ()) = tokio::join!(waiting, cancelling);

    assert_eq!(answer.expect_err("stopped").disposition(), Disposition::Stopped);
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn each_request_of_a_run_carries_its_id_and_its_own_number() {
    let api = Api::start(|_| async { answer(200, &[], "") }).await;
    let connection = plain_client(&api.url);
    let client = connection.for_run("run-7", CancellationToken::new());

    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");
    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    let ids: Vec<_> =
        api.seen().iter().map(|seen| seen.header("correlation-id").map(str::to_owned)).collect();
    assert_eq!(ids, [Some("run-7-1".to_owned()), Some("run-7-2".to_owned())]);
    assert_eq!((client.requests(), connection.requests()), (2, 0));
}

#[tokio::test]
async fn no_more_than_max_concurrency_are_in_flight() {
    let (in_flight, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let api = Api::start({
        let most = Arc::clone(&most);
        move |_| {
            let (in_flight, most) = (Arc::clone(&in_flight), Arc::clone(&most));
            async move {
                most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                in_flight.fetch_sub(1, Ordering::SeqCst);
                answer(200, &[], "")
            }
        }
    })
    .await;
    let client = client_with(ClientOptions { max_concurrency: 3, ..options(&api.url) });

    let sends = (0..60).map(|_| client.send(ApiRequest::get(api.at("/x"))));
    let answers = join_all(sends).await;

    assert!(answers.iter().all(Result::is_ok));
    assert!(most.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn the_limit_of_an_origin_shrinks_on_429_and_grows_back() {
    let strict = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let api = Api::start({
        let strict = Arc::clone(&strict);
        move |seen| {
            let refused = strict.load(Ordering::SeqCst) && seen.number <= 6;
            async move { answer(if refused { 429 } else { 200 }, &[], "") }
        }
    })
    .await;
    let limits = Arc::new(Limits::default());
    let mut options = options(&api.url);
    options.retry.max_attempts = 10;
    let client = ApiClient::new(options, &origins(), limits.clone()).expect("a client");
    let many = |count: usize| {
        let (client, api) = (&client, &api);
        join_all((0..count).map(move |_| client.send(ApiRequest::get(api.at("/x")))))
    };
    let before = client.limit_in_force();

    assert!(many(3).await.iter().all(Result::is_ok));
    let shrunk = client.limit_in_force();
    strict.store(false, Ordering::SeqCst);
    assert!(many(400).await.iter().all(Result::is_ok));

    assert!(shrunk < before, "{shrunk} of {before}");
    assert!(client.limit_in_force() > shrunk, "{} after {shrunk}", client.limit_in_force());
    assert_eq!(
        limits.seen.lock().expect("no test panics here").last(),
        Some(&client.limit_in_force())
    );
}

#[derive(Default)]
struct Limits {
    seen: Mutex<Vec<usize>>,
}

impl HttpObserver for Limits {
    fn limit(&self, endpoint: Endpoint<'_>, in_force: usize) {
        assert_eq!(endpoint.connection, "state");
        self.seen.lock().expect("no test panics here").push(in_force);
    }
}

#[tokio::test]
async fn an_observer_hears_of_exchanges_and_retries_without_paths() {
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);
    struct At(Heard, String, String);
    impl Exchanges for At {
        fn ended(&self, exchange: &Exchange<'_>) {
            let At(heard, connection, origin) = self;
            let Exchange { method, outcome, .. } = exchange;
            let line = format!("{connection} {method} {outcome:?} {origin}");
            heard.0.lock().expect("no test panics here").push(line);
        }
    }
    impl HttpObserver for Heard {
        fn exchanges(&self, at: Endpoint<'_>) -> Arc<dyn Exchanges> {
            Arc::new(At(self.clone(), at.connection.to_owned(), at.origin.to_owned()))
        }
        fn retried(&self, _: Endpoint<'_>, why: &'static str) {
            self.0.lock().expect("no test panics here").push(format!("again: {why}"));
        }
    }
    let api =
        Api::start(|seen| async move { answer(if seen.number == 1 { 503 } else { 200 }, &[], "") })
            .await;
    let heard = Arc::new(Heard::default());
    let client = ApiClient::new(options(&api.url), &origins(), heard.clone()).expect("a client");

    let address = api.at(&format!("/students?{QUERY}"));
    client.send(ApiRequest::get(address)).await.expect("an answer");

    let origin = api.url.as_str().trim_end_matches('/');
    assert_eq!(
        *heard.0.lock().expect("no test panics here"),
        [
            format!("state GET Ok(503) {origin}"),
            "again: server-error".to_owned(),
            format!("state GET Ok(200) {origin}"),
        ]
    );
}

#[tokio::test]
async fn a_ceiling_on_requests_per_second_holds_the_next_one_back() {
    let api = Api::start(|_| async { answer(200, &[], "") }).await;
    let stop = CancellationToken::new();
    let mut client = client_with(ClientOptions { max_requests_per_second: 1, ..options(&api.url) });
    client = client.for_run("run", stop.clone());

    client.send(ApiRequest::get(api.at("/x"))).await.expect("the first goes at once");
    let waiting = tokio::spawn({
        let request = ApiRequest::get(api.at("/x"));
        async move { client.send(request).await }
    });
    tokio::task::yield_now().await;
    stop.cancel();

    let stopped = waiting.await.expect("no panic").expect_err("it had to wait");
    assert_eq!(stopped.kind(), "stopped");
    assert_eq!(api.count("/x"), 1);
}

#[tokio::test]
async fn connections_to_one_origin_share_its_limit_and_others_do_not() {
    let busy = Api::start(|_| async { answer(503, &[], "") }).await;
    let idle = Api::start(|_| async { answer(200, &[], "") }).await;
    let origins = origins();
    let new = |url| ApiClient::new(options(url), &origins, Arc::new(Unobserved)).expect("a client");
    let (one, other, elsewhere) = (new(&busy.url), new(&busy.url), new(&idle.url));

    one.send(ApiRequest::get(busy.at("/x"))).await.expect_err("busy");

    assert!(other.limit_in_force() < elsewhere.limit_in_force());
    assert_eq!(one.limit_in_force(), other.limit_in_force());
}
