//! One token a connection, one renewal at a time, and what a token endpoint may do wrong.

use futures_util::future::join_all;

use super::*;

/// Accepts the token with this number and refuses all others.
fn accepts(seen: &Seen, number: u64) -> Response {
    let good = format!("Bearer {TOKEN}-{number}");
    if seen.authorization.as_ref() == Some(&good) { json(200, "[]") } else { json(401, "{}") }
}

async fn a_hundred(client: &ApiClient, api: &Api) -> Vec<Result<ApiResponse, HttpError>> {
    join_all((0..100).map(|_| client.send(ApiRequest::get(api.at("/x"))))).await
}

#[tokio::test]
async fn a_hundred_requests_share_one_token() {
    let api = Api::with_tokens(|seen| accepts(seen, 1)).await;
    let client = client(&api);

    let answers = a_hundred(&client, &api).await;

    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((api.count("/oauth/token"), api.count("/x")), (1, 100));
    assert_eq!(client.requests(), 101);
}

#[tokio::test]
async fn a_token_is_asked_for_by_form_with_basic_credentials() {
    let api = Api::with_tokens(|_| json(200, "[]")).await;
    let credentials = Credentials { scope: Some("255901 & co".to_owned()), ..api.credentials() };
    let client = client_with(ClientOptions { credentials: Some(credentials), ..options(&api.url) });

    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    let asked = &api.seen()[0];
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{KEY}:{SECRET}"),
    );
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.authorization, Some(format!("Basic {basic}")));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(&asked.body[..], b"grant_type=client_credentials&scope=255901+%26+co");
}

#[tokio::test]
async fn a_401_under_a_hundred_requests_renews_the_token_once() {
    let revoked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let api = Api::with_tokens({
        let revoked = Arc::clone(&revoked);
        move |seen| accepts(seen, if revoked.load(Ordering::SeqCst) { 2 } else { 1 })
    })
    .await;
    let client = client(&api);
    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    revoked.store(true, Ordering::SeqCst);
    let answers = a_hundred(&client, &api).await;

    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(api.count("/oauth/token"), 2);
}

#[tokio::test]
async fn s1_a_second_401_fails() {
    let api = Api::with_tokens(|_| answer(401, &[], BODY)).await;
    let client = client(&api);

    let address = api.at(&format!("/x?{QUERY}"));
    let error = client.send(ApiRequest::get(address)).await.expect_err("refused twice");

    assert_eq!(error.kind(), "credentials");
    assert_eq!(error.disposition(), Disposition::NeedsAPerson);
    assert_eq!((api.count("/oauth/token"), api.count("/x")), (2, 2));
    assert!(told(&error).contains("`token_url`"), "{}", told(&error));
}

#[tokio::test]
async fn secrets_are_read_again_for_each_renewal() {
    let api = Api::with_tokens(|seen| accepts(seen, 2)).await;
    let reads = Arc::new(AtomicU64::new(0));
    let secret: SecretSource = Arc::new({
        let reads = Arc::clone(&reads);
        move || {
            let number = reads.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(SecretString::from(format!("secret-{number}")))
        }
    });
    let credentials = Credentials { secret, ..api.credentials() };
    let client = client_with(ClientOptions { credentials: Some(credentials), ..options(&api.url) });

    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    assert_eq!(reads.load(Ordering::SeqCst), 2);
    let asked: Vec<_> = api.seen().into_iter().filter(|seen| seen.path == "/oauth/token").collect();
    assert_ne!(asked[0].authorization, asked[1].authorization);
}

#[tokio::test]
async fn wrong_credentials_say_what_to_check_and_are_tried_once_for_all_who_wait() {
    let api = Api::start(|_| async { json(401, r#"{"error":"invalid_client"}"#) }).await;
    let client = client(&api);

    let answers = a_hundred(&client, &api).await;

    assert_eq!(api.count("/oauth/token"), 1);
    for answer in answers {
        let error = answer.expect_err("no token");
        assert_eq!(error.kind(), "credentials");
        let text = told(&error);
        assert!(text.contains("connection `state`") && text.contains("/oauth/token"), "{text}");
        assert!(text.contains("invalid_client") && text.contains("`key` and `secret`"), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_in_words_that_we_do_not_know_is_not_repeated() {
    let api = Api::start(|_| async {
        json(401, &format!(r#"{{"error":"{BODY}","error_description":"{KEY}"}}"#))
    })
    .await;

    let error = client(&api).send(ApiRequest::get(api.at("/x"))).await.expect_err("no token");

    assert_eq!(error.kind(), "credentials");
    told(&error);
}

#[tokio::test]
async fn what_is_no_token_endpoint_is_named() {
    let cases: [(u16, &str, &str); 6] = [
        (200, "<html>sign in</html>", "not JSON"),
        (200, r#"{"expires_in":1800}"#, "access_token"),
        (200, r#"{"access_token":""}"#, "access_token"),
        (200, r#"{"access_token":"a\nb"}"#, "access_token"),
        (404, "nothing here", "404"),
        (415, "{}", "415"),
    ];
    for (status, body, expected) in cases {
        let api = Api::start(move |_| async move { json(status, body) }).await;

        let error = client(&api).send(ApiRequest::get(api.at("/x"))).await.expect_err("no token");

        assert_eq!(error.kind(), "token-endpoint");
        let text = told(&error);
        assert!(text.contains(expected) && text.contains("`token_url`"), "{text}");
        assert_eq!(api.count("/x"), 0);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_fails_for_a_moment_is_asked_again() {
    let api = Api::start(|seen| async move {
        match (seen.path.as_str(), seen.number) {
            ("/oauth/token", 1) => answer(503, &[], ""),
            ("/oauth/token", _) => json(200, r#"{"access_token":"t","token_type":"BEARER"}"#),
            _ => json(200, "[]"),
        }
    })
    .await;

    client(&api).send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    assert_eq!(api.count("/oauth/token"), 2);
}

#[tokio::test]
async fn s3_too_many_tokens_is_not_asked_again() {
    let problem = r#"{"type":"urn:ed-fi:api:security:authentication:too-many-tokens"}"#;
    let api = Api::start(move |_| async move { json(429, problem) }).await;

    let error = client(&api).send(ApiRequest::get(api.at("/x"))).await.expect_err("no token");

    assert_eq!(error.kind(), "too-many-tokens");
    assert_eq!(api.count("/oauth/token"), 1);
    told(&error);
}

#[tokio::test]
async fn an_early_renewal_that_fails_goes_on_with_the_old_token() {
    let api = Api::start(|seen| async move {
        let problem = r#"{"type":"urn:ed-fi:api:security:authentication:too-many-tokens"}"#;
        match (seen.path.as_str(), seen.number) {
            ("/oauth/token", 1) => json(200, r#"{"access_token":"t","expires_in":100000}"#),
            ("/oauth/token", _) => json(429, problem),
            _ => json(200, "[]"),
        }
    })
    .await;
    let client = client(&api);
    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    client.shared.tokens.make_due();
    let answers = a_hundred(&client, &api).await;

    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((api.count("/oauth/token"), api.count("/x")), (2, 101));
}

#[tokio::test]
async fn an_early_renewal_is_made_by_one_while_others_go_on() {
    let api = Api::with_tokens(|_| json(200, "[]")).await;
    let client = client(&api);
    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    client.shared.tokens.make_due();
    a_hundred(&client, &api).await;
    client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");

    assert_eq!(api.count("/oauth/token"), 2);
    let last = api.seen().into_iter().rfind(|seen| seen.path == "/x");
    let last = last.expect("some requests").authorization;
    assert_eq!(last, Some(format!("Bearer {TOKEN}-2")));
}

#[tokio::test]
async fn an_expires_in_that_makes_no_sense_costs_no_further_token() {
    for nonsense in ["null", "0", "-1", "1800000000", "\"soon\"", "1e300"] {
        let api = Api::start(move |seen| async move {
            if seen.path == "/oauth/token" {
                json(200, &format!(r#"{{"access_token":"t","expires_in":{nonsense}}}"#))
            } else {
                json(200, "[]")
            }
        })
        .await;
        let client = client(&api);

        a_hundred(&client, &api).await;

        assert_eq!(api.count("/oauth/token"), 1, "{nonsense}");
    }
}

#[tokio::test]
async fn credentials_that_are_set_again_keep_their_token() {
    let api = Api::with_tokens(|_| json(200, "[]")).await;
    let client = plain_client(&api.url);
    assert!(!client.has_credentials());

    for _ in 0..3 {
        client.set_credentials(api.credentials()).expect("the same host");
        client.send(ApiRequest::get(api.at("/x"))).await.expect("an answer");
    }

    assert_eq!(api.count("/oauth/token"), 1);
}

#[tokio::test]
async fn an_anonymous_request_carries_no_token() {
    let api = Api::with_tokens(|_| json(401, "{}")).await;
    let client = client(&api);

    let response = client.send(ApiRequest::get(api.at("/")).anonymous()).await;

    assert_eq!(response.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    assert_eq!(api.seen()[0].authorization, None);
    assert_eq!(api.count("/oauth/token"), 0);
}

#[tokio::test]
async fn a_401_without_credentials_asks_for_some() {
    let api = Api::start(|_| async { json(401, "{}") }).await;

    let error = plain_client(&api.url).send(ApiRequest::get(api.at("/x"))).await;

    let error = error.expect_err("no credentials");
    assert_eq!(error.kind(), "credentials");
    assert!(told(&error).contains("set `key` and `secret`"));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_an_error_of_its_own() {
    let api = Api::with_tokens(|_| json(200, "[]")).await;
    let key: SecretSource = Arc::new(|| {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        Err(Arc::new(missing) as Cause)
    });
    let credentials = Credentials { key, ..api.credentials() };
    let client = client_with(ClientOptions { credentials: Some(credentials), ..options(&api.url) });

    let error = client.send(ApiRequest::get(api.at("/x"))).await.expect_err("no key");

    assert!(told(&error).contains("no such file"));
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn s17_a_token_is_sent_to_no_other_origin_unless_that_is_trusted() {
    let api = Api::with_tokens(|_| json(200, "[]")).await;
    let other = Api::start(|_| async { json(200, "[]") }).await;
    let client = client(&api);

    let refused = client.send(ApiRequest::get(other.at("/x"))).await.expect_err("foreign");
    assert_eq!(refused.kind(), "foreign-origin");
    assert!(other.seen().is_empty());
    client.trust(&other.url);
    client.send(ApiRequest::get(other.at("/x"))).await.expect("an answer");

    assert_eq!(other.count("/x"), 1);
    told(&refused);
}

#[tokio::test]
async fn credentials_of_an_https_address_do_not_travel_in_the_clear() {
    let api = Api::with_tokens(|_| json(200, "[]")).await;
    let secure = Url::parse("https://127.0.0.1:1/").expect("an address");
    let client = plain_client(&secure);

    let refused = client.set_credentials(api.credentials()).expect_err("in the clear");

    assert_eq!(refused.kind(), "foreign-origin");
    assert!(!client.has_credentials());
}

#[tokio::test]
async fn a_run_that_stops_while_it_renews_does_not_fail_the_others() {
    let api = Api::start(|seen| async move {
        if seen.path == "/oauth/token" {
            // The first is never answered: its run is stopped meanwhile.
            if seen.number == 1 {
                std::future::pending::<()>().await;
            }
            json(200, r#"{"access_token":"t","expires_in":1800}"#)
        } else {
            json(200, "[]")
        }
    })
    .await;
    let connection = client(&api);
    let leader = tokio::spawn({
        let (client, url) = (connection.clone(), api.at("/x"));
        async move { client.send(ApiRequest::get(url)).await }
    });
    while api.count("/oauth/token") == 0 {
        tokio::task::yield_now().await;
    }

    leader.abort();
    let answer = connection.send(ApiRequest::get(api.at("/x"))).await;

    assert!(answer.is_ok());
}
