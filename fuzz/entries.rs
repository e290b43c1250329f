//! What each fuzz target does with its bytes: read them as the program would, and hold the reading
//! to what must be true of any.
//!
//! The targets in `fuzz_targets/` and the test of the saved corpus (`tests/it/corpus.rs`) share
//! this file. An entry panics where the program is wrong, and returns otherwise.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tidemark::domain::ResourcePath;
use tidemark::edfi::json::{single_item, split_objects};
use tidemark::edfi::{Problem, Shapes, dependencies as dependency_documents, split_page};
use tidemark::http::parse_retry_after;
use tidemark::state::text::{self, Text};
use tidemark::state::{MemoryStore, StateStore, examine};
use tidemark::{config, targets};

pub(crate) type Entry = fn(&[u8]);

/// By the name of the directory of its corpus.
pub(crate) const ENTRIES: [(&str, Entry); 7] = [
    ("configuration", configuration),
    ("dependencies", dependencies),
    ("page", page),
    ("problem", problem),
    ("retry_after", retry_after),
    ("state_record", state_record),
    ("state_text", state_text),
];

/// A page of a collection, or of a feed. What is split is what any parser finds, and every item can
/// be looked into and sent on.
pub(crate) fn page(data: &[u8]) {
    let answer = Bytes::copy_from_slice(data);
    let elements = || -> Vec<&RawValue> {
        serde_json::from_slice(data).expect("what is split is an array for every parser")
    };
    if let Ok(objects) = split_objects(&answer) {
        let objects: Vec<&[u8]> = objects.iter().map(|object| &object[..]).collect();
        let elements: Vec<&[u8]> =
            elements().iter().map(|element| element.get().as_bytes()).collect();
        assert_eq!(objects, elements);
    }
    let Ok(items) = split_page(&answer) else { return };
    assert_eq!(items.len(), elements().len());
    for item in items {
        let alone = single_item(&item.body.0).expect("an item of a page is an item");
        assert_eq!(alone.id, item.id);
        for resource in ["/ed-fi/studentSchoolAssociations", "/ed-fi/termDescriptors"] {
            let resource = ResourcePath::parse(resource).expect("it is one");
            let shape = Shapes::built_in().of(&resource).expect("it is built in");
            let _ = shape.key_of(&item.body);
            let _ = shape.references_of(&item.body);
            let sent = targets::edfi::cut(&resource, &item.body).expect("it was split");
            let unread = targets::edfi::cut_what_was_read(&resource, &item.body);
            assert_eq!(unread.expect("it was split"), sent);
            let sent: &RawValue = serde_json::from_slice(&sent).expect("what is left is JSON");
            assert!(sent.get().starts_with('{'));
        }
    }
}

/// The body of a refusal, after two bytes for its status. What is kept of it is short, and has no
/// digit: an id, a date or a number could be a student's.
pub(crate) fn problem(data: &[u8]) {
    let Some(([high, low], body)) = data.split_first_chunk() else { return };
    let status = u16::from_be_bytes([*high, *low]);
    let problem = Problem::parse(status, body);
    assert_eq!(problem.status, status);
    assert!(problem.members.len() <= 20);
    for text in problem.detail.iter().chain(&problem.title) {
        assert!(text.chars().count() <= 201, "{} letters", text.chars().count());
        assert!(!text.contains(|c: char| c.is_numeric() || c.is_control()));
    }
    for name in &problem.missing {
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic()));
    }
}

/// A header in seconds, milliseconds or as a date: a wait that is none is not told.
pub(crate) fn retry_after(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("a moment of 2026");
    let wait = parse_retry_after(text, now);
    assert_ne!(wait, Some(std::time::Duration::ZERO));
    if let Ok(seconds @ 1..10_800) = text.trim().parse::<u64>() {
        assert_eq!(wait, Some(std::time::Duration::from_secs(seconds)));
    }
}

/// GraphML or JSON. A graph that is taken can be put into an order that keeps it, both ways.
pub(crate) fn dependencies(data: &[u8]) {
    let Ok(graph) = dependency_documents::read(data) else { return };
    for graph in [graph.reversed(), graph] {
        let order = graph.in_order();
        assert_eq!(order.len(), graph.len());
        let place: BTreeMap<&ResourcePath, usize> =
            order.iter().enumerate().map(|(place, resource)| (resource, place)).collect();
        for resource in &order {
            for before in graph.prerequisites(resource) {
                assert!(place[before] < place[resource], "{before:?} comes before {resource:?}");
            }
        }
    }
}

/// A file of YAML. Every mistake of it can be told.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::read("t.yaml", text, &BTreeMap::new()) {
        Ok(loaded) => {
            for warning in loaded.warnings {
                let _ = warning.to_string();
            }
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "refused without a reason"),
    }
}

/// A stored value after the letter of its kind; and the same bytes as a key. What is read is written
/// as something that reads as the same.
pub(crate) fn state_record(data: &[u8]) {
    let _ = examine(data, b"\x01{}");
    let Some((kind, value)) = data.split_first() else { return };
    let key = [b"\x01\x00\x00\x00\x01a\x00\x00\x00\x01b", &[*kind][..]].concat();
    if let Ok(anew) = examine(&key, value) {
        assert_eq!(examine(&key, &anew), Ok(anew));
    }
}

/// A text to be imported, as it is and with the last line that proves it whole. What is imported is
/// exported as a text that says the same.
pub(crate) fn state_text(data: &[u8]) {
    let Ok(given) = std::str::from_utf8(data) else { return };
    let _ = text::read(given);
    let Ok(Text::Export(steps)) = text::read(&sealed(given)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("no I/O is needed");
    let exported = runtime.block_on(async {
        let store = MemoryStore::new();
        for (pair, step) in steps {
            store.commit(&pair, step).await.expect("what was read can be kept");
        }
        exported(&store).await
    });
    let Ok(Text::Export(steps)) = text::read(&exported) else {
        panic!("what was exported cannot be imported")
    };
    let again = runtime.block_on(async {
        let store = MemoryStore::new();
        for (pair, step) in steps {
            store.commit(&pair, step).await.expect("what was exported can be kept");
        }
        self::exported(&store).await
    });
    assert_eq!(exported, again);
}

async fn exported(store: &MemoryStore) -> String {
    let mut out = Vec::new();
    let epoch = chrono::DateTime::UNIX_EPOCH;
    text::export(store, epoch, &mut out).await.expect("memory takes what is written to it");
    String::from_utf8(out).expect("an export is text")
}

fn sealed(text: &str) -> String {
    let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    let records = text.lines().count().saturating_sub(1);
    let mut hash = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        write!(hash, "{byte:02x}").expect("a string takes what is written to it");
    }
    format!("{text}{{\"records\":{records},\"sha256\":\"{hash}\"}}\n")
}
