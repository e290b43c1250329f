//! Servers and networks that misbehave: never mistaken for a whole answer, always one sentence.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// The head of an answer of so many bytes, and what of it is really sent.
fn claimed(length: usize, headers: &str, sent: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), sent].concat()
}

fn with_query(url: &Url) -> ApiRequest {
    ApiRequest::get(url.join(&format!("/students?{QUERY}")).expect("a path"))
}

#[tokio::test]
async fn a_redirect_is_an_error_and_nobody_is_followed() {
    for status in [301, 302, 303, 304, 307, 308] {
        let elsewhere = Api::start(|_| async { json(200, "[]") }).await;
        let location = elsewhere.at(&format!("/login?{QUERY}#{TOKEN}")).to_string();
        let api = Api::start(move |_| {
            let location = location.clone();
            async move { answer(status, &[("location", &location)], "") }
        })
        .await;

        let body = Bytes::from_static(BODY.as_bytes());
        let request = ApiRequest::post(api.at(&format!("/students?{QUERY}"))).json(body);
        let error = plain_client(&api.url).send(request).await.expect_err("a redirect");

        assert_eq!(error.kind(), "redirected");
        let text = told(&error);
        assert!(text.contains(&elsewhere.at("/login").to_string()), "{text}");
        assert!(text.contains("`url`"), "{text}");
        assert!(elsewhere.seen().is_empty());
        assert_eq!(api.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_cut_body_is_never_taken_for_a_whole_one() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[{},\r\n".to_vec();
    let zipped = gzip(b"[{},{}]");
    let half = &zipped[..zipped.len() / 2];
    let cases = [
        claimed(1000, "", b"[{\"id\":\"sentinel-body-3f10\"},"),
        claimed(1000, "", b""),
        chunked,
        // Whole by its length, cut within its compression.
        claimed(half.len(), "Content-Encoding: gzip\r\n", half),
        claimed(20, "Content-Encoding: gzip\r\n", b"this is no gzip at a"),
    ];
    for bytes in cases {
        let url = raw_api(vec![bytes]).await;
        let client = plain_client(&url);

        let error = client.send(with_query(&url)).await.expect_err("half an answer");

        assert_eq!(error.kind(), "body-cut");
        assert_eq!(client.requests(), 3);
        assert!(told(&error).contains("cut off"), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_body_that_was_cut_once_is_read_again() {
    let url = raw_api(vec![claimed(10, "", b"[{}"), claimed(4, "", b"[{}]")]).await;

    let response = plain_client(&url).send(with_query(&url)).await.expect("an answer");

    assert_eq!(&response.body()[..], b"[{}]");
}

#[tokio::test]
async fn a_connection_that_closes_before_its_answer_is_tried_again() {
    let url = raw_api(vec![b"".to_vec(), b"HTTP/1.1 20".to_vec(), claimed(2, "", b"[]")]).await;
    let client = plain_client(&url);

    let request = ApiRequest::post(url.clone()).json(Bytes::from_static(b"{}"));
    let response = client.send(request).await.expect("an answer");

    assert_eq!(&response.body()[..], b"[]");
    assert_eq!(client.requests(), 3);
}

#[tokio::test]
async fn a_server_that_never_answers_a_connection_is_named() {
    for bytes in [b"".to_vec(), b"\x15\x03\x01\x00\x02\x02\x28".to_vec()] {
        let url = raw_api(vec![bytes]).await;

        let error = plain_client(&url).send(with_query(&url)).await.expect_err("no answer");

        assert_eq!(error.kind(), "disconnected");
        let text = told(&error);
        assert!(text.contains("connection `state`") && text.contains("3 times in a row"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_however_it_comes() {
    let large = vec![b' '; 5000];
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n".as_slice(),
        &large,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let zipped = gzip(&vec![b' '; 1 << 20]);
    let cases = [
        claimed(5000, "", &large),
        chunked,
        claimed(zipped.len(), "Content-Encoding: gzip\r\n", &zipped),
    ];
    for bytes in cases {
        let url = raw_api(vec![bytes]).await;
        let client = client_with(ClientOptions { max_body_bytes: 4096, ..options(&url) });

        let error = client.send(with_query(&url)).await.expect_err("too large");

        assert_eq!(error.kind(), "too-large");
        assert_eq!(error.disposition(), Disposition::AskForLess);
        assert_eq!(client.requests(), 1);
        assert!(told(&error).contains("4096 bytes"));
    }
}

#[tokio::test]
async fn a_limit_of_one_request_stands_in_for_the_clients() {
    let url = raw_api(vec![claimed(5000, "", &vec![b' '; 5000])]).await;
    let client = client_with(ClientOptions { max_body_bytes: 4096, ..options(&url) });

    let response = client.send(with_query(&url).max_body_bytes(5000)).await;

    assert_eq!(response.expect("it fits").body().len(), 5000);
}

#[tokio::test]
async fn a_compressed_answer_arrives_as_it_was() {
    let body = b"[{\"a\":1.10}]".repeat(500);
    let zipped = gzip(&body);
    let url = raw_api(vec![claimed(zipped.len(), "Content-Encoding: gzip\r\n", &zipped)]).await;

    let response = plain_client(&url).send(with_query(&url)).await.expect("an answer");

    assert_eq!(response.body(), &body);
}

#[tokio::test]
async fn a_large_answer_in_many_pieces_arrives_whole() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let url = raw_api(vec![claimed(body.len(), "", &body)]).await;

    let response = plain_client(&url).send(with_query(&url)).await.expect("an answer");

    assert!(response.body() == &body, "the bytes differ");
}

#[tokio::test]
async fn s30_a_host_that_cannot_be_reached_is_named_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = address_of(&listener);
    drop(listener);
    let client = plain_client(&url);

    let error = client.send(with_query(&url)).await.expect_err("nobody listens");

    assert_eq!(error.kind(), "unreachable");
    assert_eq!(client.requests(), 1);
    let text = told(&error);
    assert!(text.starts_with("cannot reach connection `state` at http://127.0.0.1:"), "{text}");
    assert!(text.contains("connection refused; check the address"), "{text}");
}

#[tokio::test]
async fn a_host_that_answered_before_is_given_time_to_start_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = address_of(&listener);
    drop(listener);
    let client = plain_client(&url);
    client.shared.home.has_answered();

    let error = client.send(with_query(&url)).await.expect_err("nobody listens");

    assert_eq!(error.kind(), "unreachable");
    assert_eq!(client.requests(), 3);
}

#[tokio::test]
async fn s31_https_to_a_port_that_speaks_plain_http_says_so() {
    let api = Api::start(|_| async { json(200, "[]") }).await;
    let mut secure = api.url.clone();
    secure.set_scheme("https").expect("a scheme");
    let client = plain_client(&secure);

    let error = client.send(with_query(&secure)).await.expect_err("no TLS");

    assert_eq!(error.kind(), "tls");
    assert_eq!(error.disposition(), Disposition::NeedsAPerson);
    assert_eq!(client.requests(), 1);
    assert!(told(&error).contains("it does not speak TLS"), "{}", told(&error));
}

#[tokio::test]
async fn a_server_that_is_too_slow_is_a_timeout() {
    let api = Api::start(|_| std::future::pending()).await;
    let client =
        client_with(ClientOptions { timeout: Duration::from_millis(30), ..options(&api.url) });

    let error = client.send(with_query(&api.url)).await.expect_err("no answer");

    assert_eq!(error.kind(), "timeout");
    assert_eq!(client.requests(), 3);
    assert!(told(&error).contains("within 30ms, 3 times in a row"), "{}", told(&error));
    assert!(client.limit_in_force() < 8);
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_told_before_anything_is() {
    let api = Api::start(|_| async { json(200, "[]") }).await;

    let request = with_query(&api.url).header("snapshot-identifier", "a\r\nb");
    let error = plain_client(&api.url).send(request).await.expect_err("a line break");

    assert_eq!(error.kind(), "invalid-request");
    assert!(api.seen().is_empty());
    told(&error);
}

#[test]
fn requests_and_answers_print_neither_query_nor_headers_nor_body() {
    let url = Url::parse(&format!("http://user:{SECRET}@127.0.0.1/x?{QUERY}")).expect("one");
    let request = ApiRequest::post(url)
        .header("authorization", TOKEN)
        .json(Bytes::from_static(BODY.as_bytes()));
    let response = ApiResponse {
        certificate: None,
        status: StatusCode::OK,
        headers: request.headers.iter().cloned().collect(),
        body: request.body.clone().expect("it has one"),
    };

    assert_eq!(format!("{request:?}"), "POST http://127.0.0.1/x");
    assert_eq!(format!("{response:?}"), format!("200 OK with {} bytes", BODY.len()));
}
