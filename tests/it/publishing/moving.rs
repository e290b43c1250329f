//! Isolation without a snapshot (contract, "Isolation"; R8, R9): what `bounded`, `open` and
//! `combined` read of a source that moves while it is read, and that nothing falls between two
//! pages of it.

use std::collections::BTreeSet;

use serde_json::Value;
use tidemark::engine::Publish;
use tidemark::engine::report::RunReport;
use tidemark::sandbox::{ApiVersion, Fault, Gate, Harm, Part, Sandbox, SandboxOptions};
use tidemark::sources::Isolation;

use crate::district::{student, student_key};
use crate::sandbox::client::Client;
use crate::scene::{Scene, Setting, assert_ended, install_provider, put};

const STUDENTS: &str = "/ed-fi/students";
/// With cursors; without; and without keys of what was deleted.
const VERSIONS: [ApiVersion; 3] = [ApiVersion::V7_3, ApiVersion::V6_1, ApiVersion::V5_3];
const WITHOUT_SNAPSHOT: [Isolation; 3] = [Isolation::Bounded, Isolation::Open, Isolation::Combined];
const PAGE: usize = 5;
/// How many requests for pages something moves before.
const MOVES: usize = 12;

/// A source that tells deletes by their keys: 5.3 does not.
fn tells_deletes(version: ApiVersion) -> bool {
    version != ApiVersion::V5_3
}

fn pages_of_students(version: ApiVersion) -> SandboxOptions {
    SandboxOptions { version, page_limit: PAGE, ..SandboxOptions::default() }
}

async fn with_students(version: ApiVersion, isolation: Isolation) -> Scene {
    let scene = Setting::new()
        .source(pages_of_students(version))
        .target("state", SandboxOptions { strict: true, ..SandboxOptions::default() })
        .page_size(PAGE)
        .policy(|policy| {
            policy.isolation = isolation;
            if !tells_deletes(version) {
                policy.deletes = Publish::Skip;
                policy.key_changes = Publish::Skip;
            }
        })
        .start()
        .await;
    enrol(&scene.source);
    scene
}

/// Sixty students, `s100` to `s159`, in the order of their keys.
fn enrol(source: &Sandbox) {
    for number in 0..60 {
        put(source, "students", &student(&id(number)));
    }
}

fn id(number: usize) -> String {
    format!("s{}", 100 + number)
}

fn changed(id: &str, name: &str) -> Value {
    let mut student = student(id);
    student["firstName"] = Value::from(name);
    student
}

/// Updates, deletes and inserts behind, at and ahead of a reader of `PAGE` items a page who has read
/// so many of them.
fn move_around(source: &Sandbox, pages: usize, deletes: bool) {
    let at = pages * PAGE;
    let updated = [at.checked_sub(4), Some(at), Some(at + 6)];
    for number in updated.into_iter().flatten().filter(|number| number % 3 != 0 && *number < 60) {
        put(source, "students", &changed(&id(number), &format!("Moved {pages}")));
    }
    for inserted in [at.checked_sub(2), Some(at + 1), Some(at + 8)].into_iter().flatten() {
        put(source, "students", &student(&format!("{}-{pages}", id(inserted))));
    }
    let gone = [at.checked_sub(3), Some(at + 2), Some(at + 7)];
    for number in gone.into_iter().flatten().filter(|number| number % 3 != 0 && deletes) {
        // Another move may have come first.
        let _ = source.delete(STUDENTS, &student_key(&id(number)));
    }
}

/// One run, and something moves before each of its first requests for a page of students.
async fn run_while_moving(scene: &Scene, deletes: bool) -> RunReport {
    let gates: Vec<Gate> = (0..MOVES).map(|_| Gate::new()).collect();
    for (number, gate) in gates.iter().enumerate() {
        let page = Fault::on(STUDENTS, Harm::Hold(gate.clone())).method("GET").part(Part::Items);
        scene.source.fault(page.after(number).times(1));
    }
    let moving = async {
        for (pages, gate) in gates.iter().enumerate() {
            gate.reached_by(1).await;
            move_around(&scene.source, pages, deletes);
            gate.open();
        }
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        report = scene.run() => report,
        () = moving => unreachable!("it waits for the run"),
    };
    scene.source.repair_all();
    report
}

/// Every student of the source whose content nobody has touched.
fn stood_still(source: &Sandbox) -> BTreeSet<String> {
    let untouched = |number: &usize| {
        let item = source.item(STUDENTS, &student_key(&id(*number)));
        item.is_some_and(|item| item["firstName"] == "Tyrone")
    };
    (0..60).filter(untouched).map(id).collect()
}

fn assert_has(target: &Sandbox, wanted: &BTreeSet<String>, case: &str) {
    for id in wanted {
        let there = target.item(STUDENTS, &student_key(id)).is_some();
        assert!(there, "{case}: {id} stood still and was missed");
    }
}

#[tokio::test]
async fn r9_nothing_that_stands_still_falls_between_two_pages_of_what_moves() {
    for version in VERSIONS {
        for isolation in WITHOUT_SNAPSHOT {
            let case = format!("{version:?} {isolation:?}");
            let deletes = tells_deletes(version);
            let scene = with_students(version, isolation).await;

            let first = run_while_moving(&scene, deletes).await;

            assert_ended(&first, "complete");
            let still = stood_still(&scene.source);
            assert!(still.len() >= 20, "{case}: {} stood still", still.len());
            assert_has(scene.target(), &still, &case);
            assert_ended(&scene.run().await, "complete");
            scene.assert_agrees();

            // The same of a difference: everything changes, and moves while that is read.
            for number in 0..60 {
                if scene.source.item(STUDENTS, &student_key(&id(number))).is_some() {
                    put(&scene.source, "students", &changed(&id(number), "Tyrone"));
                    put(&scene.source, "students", &changed(&id(number), "Anew"));
                    put(&scene.source, "students", &changed(&id(number), "Tyrone"));
                }
            }
            let second = run_while_moving(&scene, false).await;
            assert_ended(&second, "complete");
            assert_has(scene.target(), &stood_still(&scene.source), &case);
            assert_ended(&scene.run().await, "complete");
            scene.assert_agrees();
        }
    }
}

#[tokio::test]
async fn r9_counting_offsets_would_miss_what_the_moves_of_these_tests_shift() {
    install_provider();
    for version in VERSIONS {
        let sandbox = Sandbox::start(pages_of_students(version)).await.unwrap();
        enrol(&sandbox);
        let client = Client::of(&sandbox).await;
        let newest = sandbox.newest();

        let mut told = BTreeSet::new();
        for page in 0.. {
            move_around(&sandbox, page, true);
            let query =
                format!("{STUDENTS}?offset={}&limit={PAGE}&maxChangeVersion={newest}", page * PAGE);
            let items = client.get(&query).await.json();
            let items = items.as_array().unwrap().clone();
            if items.is_empty() {
                break;
            }
            told.extend(
                items.iter().map(|item| item["studentUniqueId"].as_str().unwrap().to_owned()),
            );
        }

        let missed = stood_still(&sandbox).difference(&told).count();
        assert!(missed > 0, "{version:?}: the moves shift nothing");
    }
}

#[tokio::test]
async fn what_changes_meanwhile_comes_when_the_isolation_says() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1, ApiVersion::V8_0] {
        for isolation in WITHOUT_SNAPSHOT {
            let case = format!("{version:?} {isolation:?}");
            let scene = with_students(version, isolation).await;
            assert_ended(&scene.run().await, "complete");
            put(&scene.source, "students", &changed("s100", "Before"));
            let through = scene.source.newest();
            let gate = Gate::new();
            let page = Fault::on(STUDENTS, Harm::Hold(gate.clone())).part(Part::Items).times(1);
            scene.source.fault(page);

            let (report, ()) = tokio::join!(scene.run(), async {
                gate.reached_by(1).await;
                put(&scene.source, "students", &changed("s101", "Meanwhile"));
                put(&scene.source, "students", &student("s900"));
                scene.source.delete(STUDENTS, &student_key("s102")).unwrap();
                gate.open();
            });

            assert_ended(&report, "complete");
            assert_eq!(scene.watermark().await, Some(through), "{case}: newest when it began");
            let there = |id: &str| scene.target().item(STUDENTS, &student_key(id));
            let upserts_come_now = isolation != Isolation::Bounded;
            let deletes_come_now = isolation == Isolation::Open;
            assert_eq!(there("s101").unwrap()["firstName"] == "Meanwhile", upserts_come_now);
            assert_eq!(there("s900").is_some(), upserts_come_now, "{case}");
            assert_eq!(there("s102").is_none(), deletes_come_now, "{case}");
            let again = scene.run().await;
            assert_ended(&again, "complete");
            assert_eq!(again.stages.upserts.read, 2, "{case}: again next time");
            assert_eq!(again.stages.deletes.read, 1, "{case}: again next time");
            scene.assert_agrees();
        }
    }
}
