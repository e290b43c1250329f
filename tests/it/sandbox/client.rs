//! A client for these tests: one token, and answers with everything in them.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tidemark::sandbox::{ApiVersion, Sandbox, SandboxOptions, Seed};

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn count(&self) -> usize {
        self.json().as_array().expect("an array").len()
    }
}

/// A client of one sandbox.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    token: String,
}

impl Client {
    pub(crate) async fn of(sandbox: &Sandbox) -> Client {
        // Another test of this binary may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let url = sandbox.url();
        let answer = http
            .post(format!("{url}/oauth/token"))
            .basic_auth("sandbox-key", Some("sandbox-secret"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
            .send()
            .await
            .unwrap();
        let value: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let token = value["access_token"].as_str().unwrap().to_owned();
        Client { http, url, token }
    }

    /// Sends a request to a path under the server's URL.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("Authorization", self.authorization());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, &format!("/data/v3{path}"), headers, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, &format!("/data/v3{path}"), &[], Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, &format!("/data/v3{path}"), &[], Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, &format!("/data/v3{path}"), &[], None).await
    }

    pub(crate) async fn newest(&self) -> i64 {
        let answer = self.changes(&[]).await;
        answer.json()["newestChangeVersion"].as_i64().unwrap()
    }

    pub(crate) async fn changes(&self, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, "/changeQueries/v1/availableChangeVersions", headers, None).await
    }
}

/// A sandbox of a version that holds something.
pub(crate) async fn sandbox(version: ApiVersion, data: Seed) -> Sandbox {
    Sandbox::start(SandboxOptions { version, data, ..SandboxOptions::default() }).await.unwrap()
}
