//! Sends the spans that have ended to a collector (`telemetry.otlp.endpoint`).
//!
//! The one thing to know: a collector that is slow or gone costs no run anything. Spans wait in a
//! queue of their own, what does not fit is lost, and a batch that cannot be sent is not tried again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::http::{
    ApiClient, ApiRequest, ClientOptions, HttpError, Origins, RetryPolicy, Unobserved, Url,
};
use crate::telemetry::{self, otlp};

/// Spans of one request.
const AT_ONCE: usize = 512;
/// How long spans are collected before they are sent.
const COLLECTED_FOR: Duration = Duration::from_secs(2);
/// For one request. The end of the process waits no longer for the last one.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Traces {
    spans: otlp::Spans,
    client: ApiClient,
    url: Url,
    /// The last batch could not be sent, and it was said.
    is_down: bool,
}

impl Traces {
    /// `endpoint` is the collector's address without `/v1/traces`, as its documentation has it.
    pub(super) fn to(
        endpoint: &Url,
        spans: otlp::Spans,
        clock: Clock,
    ) -> Result<Traces, HttpError> {
        let mut url = endpoint.clone();
        url.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        let mut options = ClientOptions::new("otlp", url.clone());
        options.timeout = ANSWERED_WITHIN;
        options.retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
        let client = ApiClient::new(options, &Origins::new(clock), Arc::new(Unobserved))?;
        spans.turn_on();
        Ok(Traces { spans, client, url, is_down: false })
    }

    /// Sends until `stop`, and then what is left, once.
    pub(super) async fn go_on(mut self, stop: CancellationToken) {
        loop {
            let mut batch = tokio::select! {
                batch = self.spans.take(AT_ONCE) => batch,
                () = stop.cancelled() => break,
            };
            if batch.is_empty() {
                return; // Nobody tells of spans any more.
            }
            tokio::select! {
                () = tokio::time::sleep(COLLECTED_FOR) => {}
                () = stop.cancelled() => {}
            }
            batch.extend(self.spans.take_now(AT_ONCE.saturating_sub(batch.len())));
            self.send(&batch).await;
        }
        let left = self.spans.take_now(AT_ONCE);
        if !left.is_empty() {
            self.send(&left).await;
        }
    }

    async fn send(&mut self, batch: &[otlp::EndedSpan]) {
        let body = Bytes::from(otlp::encoded(batch));
        let request = ApiRequest::post(self.url.clone()).protobuf(body).anonymous();
        let sending = tokio::time::timeout(ANSWERED_WITHIN, self.client.send(request)).await;
        let why = match sending {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(telemetry::chain(&error)),
            Err(_) => Some("it did not answer in time".to_owned()),
        };
        let lost = self.spans.take_lost();
        match &why {
            Some(error) if !self.is_down => {
                tracing::warn!(error, "traces cannot be sent: those that end meanwhile are lost");
            }
            None if self.is_down => tracing::info!("traces are sent again"),
            Some(_) | None => {}
        }
        if lost > 0 {
            tracing::warn!(spans = lost, "traces were lost: more ended than could be sent");
        }
        self.is_down = why.is_some();
    }
}
