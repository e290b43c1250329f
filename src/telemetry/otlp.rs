//! Spans that have ended, as a collector of OTLP reads them (protobuf).
//!
//! What lives here: which spans are kept, the queue that they wait in, and their form on the wire.
//! What does not: the sending (`daemon/traces.rs`). The one thing to know: only our own spans are
//! kept and of them only the members in [`SAYS`], none of which can hold a natural key; and nobody
//! waits here: what does not fit into the queue is lost, and counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The spans that are kept, and the members of them that are told.
const KEPT: [&str; 4] = ["pair", "run", "stage", "resource"];
const SAYS: [&str; 6] = ["publication", "target", "run", "stage", "resource", "outcome"];
/// The outcome of a run that is an error to whoever looks at traces.
const FAILED: &str = "failed";
/// Spans that wait to be sent: about a megabyte.
const QUEUED: usize = 4096;

/// What hears of spans that end.
pub struct EndedSpans {
    is_on: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    to: mpsc::Sender<EndedSpan>,
}

/// What sends them takes them from here. Until somebody turns it on, none are kept.
pub struct Spans {
    is_on: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    from: mpsc::Receiver<EndedSpan>,
}

/// One span, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSpan {
    trace: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    name: &'static str,
    /// Nanoseconds since 1970.
    began: u64,
    ended: u64,
    says: Vec<(&'static str, String)>,
}

pub fn ended_spans() -> (EndedSpans, Spans) {
    let (to, from) = mpsc::channel(QUEUED);
    let (is_on, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let ended = EndedSpans { is_on: Arc::clone(&is_on), lost: Arc::clone(&lost), to };
    (ended, Spans { is_on, lost, from })
}

impl Spans {
    /// From now on spans are kept.
    pub fn turn_on(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// At most `most` that have ended; waits for the first.
    pub async fn take(&mut self, most: usize) -> Vec<EndedSpan> {
        let mut taken = Vec::new();
        self.from.recv_many(&mut taken, most).await;
        taken
    }

    /// At most `most` that have ended already.
    pub fn take_now(&mut self, most: usize) -> Vec<EndedSpan> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Ok(span) = self.from.try_recv()
        {
            taken.push(span);
        }
        taken
    }

    /// How many were lost since the last look.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl<S> Layer<S> for EndedSpans
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !self.is_on.load(Ordering::Relaxed) || !is_kept(attributes.metadata()) {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let parent = span.scope().skip(1).find_map(|around| {
            let extensions = around.extensions();
            extensions.get::<EndedSpan>().map(|around| (around.trace, around.id))
        });
        let mut begun = EndedSpan {
            trace: parent.map_or_else(rand::random, |(trace, _)| trace),
            id: rand::random(),
            parent: parent.map(|(_, id)| id),
            name: attributes.metadata().name(),
            began: now(),
            ended: 0,
            says: Vec::new(),
        };
        attributes.record(&mut Says(&mut begun.says));
        span.extensions_mut().insert(begun);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(begun) = span.extensions_mut().get_mut::<EndedSpan>() {
            values.record(&mut Says(&mut begun.says));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(mut ended) = span.extensions_mut().remove::<EndedSpan>() else { return };
        ended.ended = now();
        if self.to.try_send(ended).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn is_kept(metadata: &Metadata<'_>) -> bool {
    let is_ours = metadata.target().split("::").next() == Some(super::OURS);
    is_ours && KEPT.contains(&metadata.name())
}

/// The one place of this program beside its clock that tells the time: a subscriber has no other.
#[expect(clippy::disallowed_methods, reason = "a subscriber is given no clock")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

struct Says<'a>(&'a mut Vec<(&'static str, String)>);

impl Visit for Says<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(name) = SAYS.into_iter().find(|name| *name == field.name()) {
            self.0.push((name, value.to_owned()));
        }
    }

    /// Everything that is told is a text.
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// The body of a request to `/v1/traces`: an `ExportTraceServiceRequest`.
pub fn encoded(spans: &[EndedSpan]) -> Vec<u8> {
    let mut resource = Vec::new();
    put_text_pair(&mut resource, 1, "service.name", super::OURS);
    put_text_pair(&mut resource, 1, "service.version", env!("CARGO_PKG_VERSION"));
    let mut scope = Vec::new();
    put_bytes(&mut scope, 1, super::OURS.as_bytes());
    let mut of_scope = Vec::new();
    put_bytes(&mut of_scope, 1, &scope);
    for span in spans {
        put_bytes(&mut of_scope, 2, &encoded_span(span));
    }
    let mut of_resource = Vec::new();
    put_bytes(&mut of_resource, 1, &resource);
    put_bytes(&mut of_resource, 2, &of_scope);
    let mut request = Vec::new();
    put_bytes(&mut request, 1, &of_resource);
    request
}

fn encoded_span(span: &EndedSpan) -> Vec<u8> {
    /// `SPAN_KIND_INTERNAL`
    const INTERNAL: u64 = 1;
    /// `STATUS_CODE_ERROR`
    const ERROR: u64 = 2;
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &span.trace);
    put_bytes(&mut out, 2, &span.id);
    if let Some(parent) = &span.parent {
        put_bytes(&mut out, 4, parent);
    }
    put_bytes(&mut out, 5, span.name.as_bytes());
    put_number(&mut out, 6, INTERNAL);
    put_fixed(&mut out, 7, span.began);
    put_fixed(&mut out, 8, span.ended);
    for (name, value) in &span.says {
        put_text_pair(&mut out, 9, name, value);
    }
    if span.says.iter().any(|(name, value)| *name == "outcome" && value == FAILED) {
        let mut status = Vec::new();
        put_number(&mut status, 3, ERROR);
        put_bytes(&mut out, 15, &status);
    }
    out
}

/// A `KeyValue` whose value is a text.
fn put_text_pair(out: &mut Vec<u8>, field: u64, name: &str, value: &str) {
    let mut any = Vec::new();
    put_bytes(&mut any, 1, value.as_bytes());
    let mut pair = Vec::new();
    put_bytes(&mut pair, 1, name.as_bytes());
    put_bytes(&mut pair, 2, &any);
    put_bytes(out, field, &pair);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, u64::try_from(bytes.len()).expect("what is in memory has a length"));
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

fn put_fixed(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits fit into a byte");
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn told(work: impl FnOnce(&Spans)) -> Spans {
        let (ended, spans) = ended_spans();
        let subscriber = tracing_subscriber::registry().with(ended);
        tracing::subscriber::with_default(subscriber, || work(&spans));
        spans
    }

    fn a_run() {
        let pair = tracing::error_span!("pair", publication = "p", target = "t");
        let _pair = pair.enter();
        let run = tracing::error_span!("run", run = "r1", outcome = tracing::field::Empty);
        let _run = run.enter();
        let _other = tracing::error_span!("elsewhere", key = "604854").entered();
        let stage = tracing::error_span!("stage", stage = "upserts", key = "604854", number = 7);
        stage.in_scope(|| {});
        run.record("outcome", "failed");
    }

    #[test]
    fn spans_are_of_one_trace_and_say_what_they_may_and_nothing_else() {
        let mut spans = told(|spans| {
            a_run();
            spans.turn_on();
            a_run();
        });

        let taken = spans.take_now(10);
        let names: Vec<&str> = taken.iter().map(|span| span.name).collect();
        assert_eq!(names, ["stage", "run", "pair"], "none of before it was turned on");
        let [stage, run, pair] = &taken[..] else { panic!("three were found") };
        assert_eq!((stage.parent, run.parent, pair.parent), (Some(run.id), Some(pair.id), None));
        assert!(taken.iter().all(|span| span.trace == pair.trace && span.ended >= span.began));
        assert_eq!(stage.says, [("stage", "upserts".to_owned())]);
        assert_eq!(run.says, [("run", "r1".to_owned()), ("outcome", "failed".to_owned())]);
        assert!(!String::from_utf8_lossy(&encoded(&taken)).contains("604854"));
    }

    #[test]
    fn what_nobody_takes_is_lost_and_counted_and_nobody_waits() {
        let mut spans = told(|spans| {
            spans.turn_on();
            for _ in 0..QUEUED + 10 {
                drop(tracing::error_span!("pair", publication = "p", target = "t"));
            }
        });

        assert_eq!(spans.take_lost(), 10);
        assert_eq!(spans.take_now(usize::MAX).len(), QUEUED);
    }

    #[test]
    fn numbers_are_written_as_protobuf_writes_them() {
        for (number, expected) in
            [(0, &[0][..]), (1, &[1]), (127, &[127]), (128, &[128, 1]), (300, &[172, 2])]
        {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, expected, "{number}");
        }
    }
}
