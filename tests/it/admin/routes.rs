//! Examples of requests, one or more for each route: what the other tests go through.

use serde_json::{Value, json};

/// One request that is answered.
pub(crate) struct Example {
    pub(crate) method: &'static str,
    /// As the document writes it.
    pub(crate) route: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<&'static str>,
    pub(crate) body: Body,
    /// Of its answer.
    pub(crate) status: u16,
    /// What the desk is asked first; empty for what no desk answers.
    pub(crate) question: &'static str,
}

pub(crate) enum Body {
    None,
    Json(Value),
    Lines(&'static str),
}

impl Example {
    pub(crate) fn sent(&self) -> (Vec<&'static str>, Vec<u8>) {
        let mut headers = self.headers.clone();
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Json(json) => {
                headers.push("Content-Type: application/json");
                json.to_string().into_bytes()
            }
            Body::Lines(lines) => {
                headers.push("Content-Type: application/x-ndjson");
                lines.as_bytes().to_vec()
            }
        };
        (headers, body)
    }
}

const PAIR: &str = "/api/v1/pairs/{publication}/{target}";

/// In no order; that every route has one is tested.
pub(crate) fn examples() -> Vec<Example> {
    let get = |route, path, question| Example {
        method: "GET",
        route,
        path,
        headers: vec![],
        body: Body::None,
        status: 200,
        question,
    };
    let post = |route, path, body, question| Example {
        method: "POST",
        body,
        ..get(route, path, question)
    };
    vec![
        get("/api/v1/openapi.json", "/api/v1/openapi.json", ""),
        get("/api/v1/pairs", "/api/v1/pairs?label=district=d1&state=degraded", "pairs"),
        get(PAIR, "/api/v1/pairs/district-to-state/state", "pairs"),
        get(PAIR, "/api/v1/pairs/gone/state", "pairs"),
        post(
            "/api/v1/pairs/{publication}/{target}/pause",
            "/api/v1/pairs/district-to-state/state/pause",
            Body::Json(json!({"until": "2026-02-01T00:00:00Z", "reason": "a holiday"})),
            "pause district-to-state → state Some(2026-02-01T00:00:00Z) Some(\"a holiday\")",
        ),
        post(
            "/api/v1/pairs/{publication}/{target}/pause",
            "/api/v1/pairs/district-to-state/state/pause",
            Body::None,
            "pause district-to-state → state None None",
        ),
        post(
            "/api/v1/pairs/{publication}/{target}/resume",
            "/api/v1/pairs/district-to-state/state/resume",
            Body::None,
            "resume district-to-state → state",
        ),
        post(
            "/api/v1/pairs/{publication}/{target}/approve",
            "/api/v1/pairs/district-to-state/state/approve",
            Body::Json(json!({"decision": "deletes", "resource": "students", "reason": "seen"})),
            "approve district-to-state → state Deletes { resource: Some(\"students\") } seen",
        ),
        Example {
            headers: vec!["If-Match: \"230\""],
            method: "PUT",
            ..post(
                "/api/v1/pairs/{publication}/{target}/watermark",
                "/api/v1/pairs/district-to-state/state/watermark",
                Body::Json(json!({"to": 200, "reason": "a restored backup"})),
                "move_watermark district-to-state → state To(ChangeVersion(200)) \
                 Some(Some(ChangeVersion(230))) a restored backup",
            )
        },
        Example {
            status: 202,
            ..post(
                "/api/v1/publications/{publication}/runs",
                "/api/v1/publications/district-to-state/runs",
                Body::Json(json!({"targets": ["state"], "allow_deletes": true})),
                "start district-to-state [\"state\"] true",
            )
        },
        get("/api/v1/runs", "/api/v1/runs?publication=district-*&limit=5&after=run-9", "runs"),
        get("/api/v1/runs/{id}", "/api/v1/runs/run-1", "run run-1"),
        Example {
            status: 202,
            ..post(
                "/api/v1/runs/{id}/cancel",
                "/api/v1/runs/run-1/cancel",
                Body::None,
                "cancel run-1",
            )
        },
        get(
            "/api/v1/parked",
            "/api/v1/parked?resource=students&reason=invalid&status=dead&connection=state",
            "parked",
        ),
        get("/api/v1/parked/{id}", "/api/v1/parked/item-1", "parked_item item-1"),
        post(
            "/api/v1/parked/{id}/retry",
            "/api/v1/parked/item-1/retry",
            Body::None,
            "retry ParkedChoice { ids: [\"item-1\"], which: None }",
        ),
        Example {
            method: "DELETE",
            ..get("/api/v1/parked/{id}", "/api/v1/parked/item-1?because=gone", "discard")
        },
        post(
            "/api/v1/parked/retry",
            "/api/v1/parked/retry",
            Body::Json(json!({"reason": "invalid", "labels": ["district=d1"]})),
            "retry ParkedChoice { ids: [], which: Some",
        ),
        post(
            "/api/v1/parked/discard",
            "/api/v1/parked/discard",
            Body::Json(json!({"all": true, "because": "a test district"})),
            "discard ParkedChoice { ids: [], which: Some",
        ),
        get("/api/v1/verify/{publication}/{target}", "/api/v1/verify/gone/state", "pairs"),
        get("/api/v1/report/{publication}/{target}", "/api/v1/report/gone/state", "pairs"),
        get("/api/v1/audit", "/api/v1/audit?since=2026-01-31T00:00:00Z", "audit Some(2026-01-31"),
        get("/api/v1/state", "/api/v1/state", "export"),
        post(
            "/api/v1/state",
            "/api/v1/state?replace=true",
            Body::Lines("{\"line\":1}\n"),
            "import \"{\\\"line\\\":1}\\n\" true",
        ),
        post(
            "/api/v1/state/move",
            "/api/v1/state/move",
            Body::Json(json!({"old": "gone", "new": "district-to-state"})),
            "move_state gone district-to-state",
        ),
        Example {
            method: "DELETE",
            status: 204,
            ..get(
                "/api/v1/state/{publication}/{target}",
                "/api/v1/state/gone/state?because=closed",
                "forget_state gone → state Some(\"closed\")",
            )
        },
    ]
}

/// The one route whose answer does not end.
pub(crate) const EVENTS: (&str, &str) = ("GET", "/api/v1/events");
