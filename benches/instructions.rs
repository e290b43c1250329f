//! What the inner loops cost in instructions, which no other load on the machine changes.
//!
//! `tools/instructions.py` runs this program under callgrind, once for each name of [`LOOPS`], and
//! compares what is counted within [`counted`] with `benches/instructions.baseline`.
//! The one thing to know: nothing here may depend on time, addresses or chance.

use std::fmt::Write;
use std::hint::black_box;
use std::io::Read;

use bytes::Bytes;
use chrono::DateTime;
use flate2::read::GzDecoder;
use futures_util::FutureExt;
use tidemark::domain::{ChangeVersion, Item, ParkReason, Position, ResourcePath, SourceId, Tally};
use tidemark::edfi::{Shapes, dependencies, split_page};
use tidemark::state::{
    MemoryStore, Operation, PairId, ParkStatus, Parked, Progress, RefusalRecord, StateStore, Step,
};
use tidemark::targets::edfi::cut_what_was_read;

type Loop = fn() -> Box<dyn FnOnce()>;

/// Each prepares its work, and the work is what is counted.
const LOOPS: &[(&str, Loop)] = &[
    ("page-splitting", page_splitting),
    ("stripping", stripping),
    ("natural-keys", natural_keys),
    ("ordering", ordering),
    ("state-commit", state_commit),
];

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    match LOOPS.iter().find(|(known, _)| *known == name) {
        Some((_, prepare)) => {
            let work = prepare();
            counted(work);
        }
        None => {
            for (name, _) in LOOPS {
                println!("{name}");
            }
        }
    }
}

/// Callgrind counts what happens in here (`--toggle-collect`), so its name must survive.
#[inline(never)]
fn counted(work: Box<dyn FnOnce()>) {
    work();
}

const ITEMS: usize = 500;

fn page() -> Bytes {
    let mut page = String::from("[");
    for number in 0..ITEMS {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            page,
            "{comma}{{\"id\":\"{number:032x}\",\"schoolReference\":{{\"schoolId\":255901001,\
             \"link\":{{\"rel\":\"School\",\"href\":\"/ed-fi/schools/0{number:031x}\"}}}},\
             \"studentReference\":{{\"studentUniqueId\":\"{number:06}\",\"link\":{{\"rel\":\
             \"Student\",\"href\":\"/ed-fi/students/1{number:031x}\"}}}},\"entryDate\":\
             \"2026-08-17\",\"entryGradeLevelDescriptor\":\"uri://ed-fi.org/GradeLevelDescriptor\
             #Tenth grade\",\"fullTimeEquivalency\":1.0000,\"primarySchool\":true,\
             \"educationPlans\":["
        );
        for plan in 0..number % 12 {
            let comma = if plan == 0 { "" } else { "," };
            let _ = write!(
                page,
                "{comma}{{\"educationPlanDescriptor\":\"uri://ed-fi.org/EducationPlanDescriptor\
                 #Career {plan}\",\"note\":\"caf\\u00e9 \\\"{plan}\\\"\"}}"
            );
        }
        let _ = write!(
            page,
            "],\"_etag\":\"525016873120883{number:04}\",\"_lastModifiedDate\":\
             \"2026-09-01T12:00:00Z\"}}"
        );
    }
    page.push(']');
    Bytes::from(page)
}

fn resource() -> ResourcePath {
    ResourcePath::parse("/ed-fi/studentSchoolAssociations").expect("a path")
}

fn items() -> Vec<Item> {
    split_page(&page()).expect("our own page")
}

fn page_splitting() -> Box<dyn FnOnce()> {
    let page = page();
    Box::new(move || {
        black_box(split_page(&page).expect("our own page"));
    })
}

fn stripping() -> Box<dyn FnOnce()> {
    let (resource, items) = (resource(), items());
    Box::new(move || {
        for item in &items {
            black_box(cut_what_was_read(&resource, &item.body).expect("our own body"));
        }
    })
}

fn natural_keys() -> Box<dyn FnOnce()> {
    let shape = Shapes::built_in().of(&resource()).expect("the table knows it");
    let items = items();
    Box::new(move || {
        for Item { body, .. } in &items {
            black_box(shape.key_of(body).expect("our own body has its key"));
            black_box(shape.references_of(body));
        }
    })
}

fn ordering() -> Box<dyn FnOnce()> {
    let packed: &[u8] = include_bytes!("../data/edfi/dependencies.graphml.gz");
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text).expect("the project's own data");
    let graph = dependencies::read(text.as_bytes()).expect("the project's own data");
    Box::new(move || {
        black_box(graph.in_order());
        black_box(graph.reversed().in_order());
    })
}

/// A step of a run that parks: what it comes to and how it is encoded. The store is the one in
/// memory, because sled writes from threads of its own.
fn state_commit() -> Box<dyn FnOnce()> {
    let store = MemoryStore::new();
    let pair = PairId { publication: "bench".to_owned(), target: "target".to_owned() };
    let park = (0..100).map(parked).collect();
    let progress = Progress {
        resource: resource(),
        through: ChangeVersion(1000),
        position: Position("here".to_owned()),
        others: vec![Position("there".to_owned())],
        tally: Tally { read: 500, applied: 400, skipped: 0, parked: 100 },
        target_newest: ChangeVersion(2000),
    };
    let step = Step { park, progress: vec![progress], ..Step::default() };
    Box::new(move || {
        let done = store.commit(&pair, step).now_or_never();
        done.expect("memory does not wait").expect("memory takes everything");
        black_box(&store);
    })
}

fn parked(number: usize) -> Parked {
    let then = DateTime::from_timestamp(1_790_000_000, 0).expect("a moment");
    let key = serde_json::json!({"studentUniqueId": format!("{number:06}"), "schoolId": 255901001});
    Parked {
        id: format!("p{number:06}"),
        resource: resource(),
        source_id: Some(SourceId(format!("{number:032x}"))),
        key: Some(serde_json::from_value(key).expect("a key")),
        operation: Operation::Upsert,
        status: ParkStatus::Parked,
        reason: ParkReason::UnresolvedReference,
        error: RefusalRecord { status: 409, ..RefusalRecord::default() },
        attempts: 1,
        early_attempts: 0,
        first_seen_at: then,
        next_attempt_at: then,
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: Some("0123456789abcdef".to_owned()),
    }
}
