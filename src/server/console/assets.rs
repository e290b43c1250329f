//! The style sheet and the script, out of the binary. Their names change with what is in them, so a
//! browser may keep them for good, and never shows a page with those of another version.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::frame::Refusal;

struct Asset {
    /// Without the folder.
    name: String,
    tag: String,
    kind: &'static str,
    text: &'static str,
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("console.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("js", "text/javascript; charset=utf-8", include_str!("console.js"))
});

impl Asset {
    fn new(ending: &str, kind: &'static str, text: &'static str) -> Asset {
        let hash = Sha256::digest(text.as_bytes());
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Asset { name: format!("console-{hash}.{ending}"), tag: format!("\"{hash}\""), kind, text }
    }
}

pub(super) fn style() -> String {
    format!("/assets/{}", STYLE.name)
}

pub(super) fn script() -> String {
    format!("/assets/{}", SCRIPT.name)
}

pub(super) async fn show(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let all = [&*STYLE, &*SCRIPT];
    let Some(asset) = all.into_iter().find(|asset| asset.name == name) else {
        return Refusal::new(StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let kept = [
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::ETAG, asset.tag.as_str()),
    ];
    let is_there = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| *tag == *asset.tag);
    match is_there {
        true => (StatusCode::NOT_MODIFIED, kept).into_response(),
        false => (kept, [(header::CONTENT_TYPE, asset.kind)], asset.text).into_response(),
    }
}
