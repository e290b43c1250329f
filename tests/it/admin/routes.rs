//! Examples of requests, one or more for each route: what the other tests go through.

use serde_json::{Value, json};

use super::desk::KEY;

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
        get("/api/v1/status", "/api/v1/status", "process"),
        Example {
            method: "PUT",
            ..post(
                "/api/v1/log-level",
                "/api/v1/log-level",
                Body::Json(json!({"level": "debug", "for": "2m"})),
                "set_log_level debug 120s",
            )
        },
        get("/api/v1/pairs", "/api/v1/pairs?label=district=d1&state=degraded", "pairs"),
        get(PAIR, "/api/v1/pairs/district-to-state/state", "pair district-to-state → state"),
        get(PAIR, "/api/v1/pairs/gone/state", "pair gone → state"),
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
        get(
            "/api/v1/pairs/{publication}/{target}/approve",
            "/api/v1/pairs/district-to-state/state/approve?decision=deletes&resource=students",
            "would_approve district-to-state → state Deletes { resource: Some(\"students\") }",
        ),
        get(
            "/api/v1/pairs/{publication}/{target}/approve",
            "/api/v1/pairs/district-to-state/state/approve?decision=same-data",
            "would_approve district-to-state → state SameData",
        ),
        get("/api/v1/parked/{id}/live", "/api/v1/parked/item-1/live", "look item-1"),
        post(
            "/api/v1/parked/{id}/attempt",
            "/api/v1/parked/item-1/attempt",
            Body::None,
            "attempt item-1",
        ),
        post(
            "/api/v1/forget",
            "/api/v1/forget",
            Body::Json(json!({
                "resource": "/ed-fi/students", "key": {"studentUniqueId": KEY, "year": 2026},
                "dry_run": true,
            })),
            "records_with /ed-fi/students studentUniqueId=604854,year=2026",
        ),
        post(
            "/api/v1/forget",
            "/api/v1/forget",
            Body::Json(json!({
                "resource": "/ed-fi/students", "key": {"studentUniqueId": KEY}, "reason": "asked",
            })),
            "forget_key /ed-fi/students studentUniqueId=604854 Some(\"asked\")",
        ),
        get("/api/v1/plan/{publication}/{target}", "/api/v1/plan/d/state", "plan d → state"),
        get("/api/v1/checks", "/api/v1/checks?publication=d*&target=state&label=a=b", "check"),
        get(
            "/api/v1/verify/{publication}/{target}",
            "/api/v1/verify/gone/state",
            "verification gone → state",
        ),
        Example {
            status: 202,
            ..post(
                "/api/v1/verify/{publication}/{target}",
                "/api/v1/verify/district-to-state/state",
                Body::Json(json!({"resources": ["students"], "content": true})),
                "compare district-to-state → state Comparing { resources: [\"students\"], \
                 content: true, repair: false, delete_extra: false, allow_deletes: false }",
            )
        },
        Example {
            status: 202,
            ..post(
                "/api/v1/verify/{publication}/{target}/repair",
                "/api/v1/verify/district-to-state/state/repair",
                Body::Json(json!({"repair": true, "delete_extra": true, "allow_deletes": true})),
                "compare district-to-state → state Comparing { resources: [], content: false, \
                 repair: true, delete_extra: true, allow_deletes: true }",
            )
        },
        get(
            "/api/v1/comparisons/{id}",
            "/api/v1/comparisons/comparison-1",
            "comparison comparison-1",
        ),
        Example {
            status: 202,
            ..post(
                "/api/v1/comparisons/{id}/cancel",
                "/api/v1/comparisons/comparison-1/cancel",
                Body::None,
                "cancel_comparison comparison-1",
            )
        },
        get(
            "/api/v1/report/{publication}/{target}",
            "/api/v1/report/gone/state",
            "report gone → state",
        ),
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
