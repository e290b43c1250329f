//! What is left on disk, and how long a commit takes.

use std::time::Instant;

use tidemark::clock::Clock;
use tidemark::domain::{ParkReason, ResourcePath, SourceId};
use tidemark::state::{Operation, PairId, ParkStatus, Parked, RefusalRecord, Step};

use super::{bytes_in, district, first_run, median};
use crate::Size;
use crate::child::Running;
use crate::play::Play;
use crate::table::{Goal, Row, bytes, mebibytes, milliseconds};

const NAME: &str = "state";
const PARKED: u64 = 10_000;
const COMMITS: usize = 200;

pub(super) fn measure(size: Size) -> Vec<Row> {
    let items = match size {
        Size::Short => 20_000,
        Size::Normal => 200_000,
        Size::Long => 2_000_000,
    };
    let play = Play { body_bytes: (1 << 10, 3 << 10), ..Play::default() };
    let source = Running::start(&Play { items: district(items), ..play.clone() });
    let target = Running::start(&play);
    let (_, directory) = first_run(&source, &target, None);
    let left = bytes_in(&directory.path().join("state")) as f64;
    let what = format!("a pair after a first run of {items} items");
    let most = f64::from(10 << 20);
    let mut rows = vec![Row::of(NAME, what, left, Goal::AtMost(most), mebibytes)];

    let directory = tempfile::tempdir().expect("a directory for a state");
    let (commit, each) =
        tokio::runtime::Runtime::new().expect("a runtime").block_on(park(directory.path()));
    rows.push(Row::of(NAME, "a commit of one parked item", commit, Goal::None, milliseconds));
    rows.push(Row::of(NAME, "an item that is parked", each, Goal::None, bytes));
    rows
}

/// How long a commit takes and what a parked item adds to the disk.
async fn park(directory: &std::path::Path) -> (f64, f64) {
    let store = tidemark::state::open(&directory.join("state")).expect("a fresh state");
    let pair = PairId { publication: "bench".to_owned(), target: "target".to_owned() };
    let mut took = Vec::new();
    for number in 0..COMMITS {
        let step = Step { park: vec![parked(number as u64)], ..Step::default() };
        let began = Instant::now();
        store.commit(&pair, step).await.expect("the disk is the bench's own");
        took.push(began.elapsed().as_secs_f64());
    }
    let before = bytes_in(directory) as f64;
    for first in (0..PARKED).step_by(500) {
        let many = (first..first + 500).map(|number| parked(1_000_000 + number)).collect();
        store.commit(&pair, Step { park: many, ..Step::default() }).await.expect("as before");
    }
    drop(store);
    (median(took), (bytes_in(directory) as f64 - before) / PARKED as f64)
}

fn parked(number: u64) -> Parked {
    let now = Clock::system().now();
    let key =
        serde_json::json!({"studentUniqueId": format!("{number:012}"), "schoolId": 255901001});
    Parked {
        id: format!("p{number:012}"),
        resource: ResourcePath::parse("/ed-fi/studentSchoolAssociations").expect("a path"),
        source_id: Some(SourceId(format!("{number:032x}"))),
        key: Some(serde_json::from_value(key).expect("a key")),
        operation: Operation::Upsert,
        status: ParkStatus::Parked,
        reason: ParkReason::UnresolvedReference,
        error: RefusalRecord { status: 409, ..RefusalRecord::default() },
        attempts: 1,
        early_attempts: 0,
        first_seen_at: now,
        next_attempt_at: now,
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: Some("0123456789abcdef".to_owned()),
    }
}
