//! What is asked of a source: no more than is needed, and what is large in parts at once.

use std::collections::BTreeMap;

use tidemark::sandbox::SnapshotMode;
use tidemark::sandbox::{ApiVersion, Fault, Gate, Harm, LoggedRequest, Part, SandboxOptions};

use crate::district::{class_period, open_school, student};
use crate::scene::{Scene, Setting, assert_ended, bare, put, strict};

/// The reads of a run that are not about who the API is.
fn reads(scene: &Scene) -> Vec<LoggedRequest> {
    let is_discovery =
        |part: Part| matches!(part, Part::Root | Part::Token | Part::Metadata | Part::Dependencies);
    scene.source.requests().into_iter().filter(|read| !is_discovery(read.part)).collect()
}

fn told(read: &LoggedRequest) -> String {
    format!("{} {}?{}", read.method, read.path, read.query)
}

#[tokio::test]
async fn a_first_run_asks_for_no_deletes_no_key_changes_and_no_counts() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.source.clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    let reads = reads(&scene);
    assert!(reads.iter().any(|read| read.part == Part::Items));
    for read in &reads {
        let needless = matches!(read.part, Part::Deletes | Part::KeyChanges);
        assert!(!needless && !read.query.contains("totalCount"), "{}", told(read));
    }
}

#[tokio::test]
async fn nothing_new_costs_at_most_three_requests_after_discovery_and_token() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1] {
        let scene = Setting::new().source(SandboxOptions { version, ..bare() }).start().await;
        open_school(&scene.source);
        scene.run().await;
        scene.source.clear_requests();

        let report = scene.run().await;

        assert_ended(&report, "nothing-to-do");
        let reads: Vec<String> = reads(&scene).iter().map(told).collect();
        assert!(reads.len() <= 3, "{version:?}: {reads:#?}");
    }
}

#[tokio::test]
async fn one_change_costs_at_most_one_request_for_each_resource_and_feed_and_no_counts() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    put(&scene.source, "students", &student("604830"));
    scene.source.clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.upserts.applied, 1);
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for read in reads(&scene) {
        // A page of a feed may say how many there are; nothing is asked for that alone.
        assert!(!read.query.contains("limit=1&totalCount"), "{}", told(&read));
        if matches!(read.part, Part::Items | Part::Deletes | Part::KeyChanges) {
            *asked.entry(read.path).or_default() += 1;
        }
    }
    // A short page is believed to be the last only once the server has been seen to fill one (R10),
    // so a process that has just begun asks once more where something was told.
    asked.entry("/data/v3/ed-fi/students".to_owned()).and_modify(|times| *times -= 1);
    let often: BTreeMap<_, _> = asked.into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(often.is_empty(), "{often:#?}");
}

#[tokio::test]
async fn in_a_window_of_changes_no_read_waits_for_what_its_resource_depends_on() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    put(&scene.source, "students", &student("604830"));
    let (school, period) = (Gate::new(), Gate::new());
    for (resource, gate) in [("/ed-fi/schools", &school), (PERIODS, &period)] {
        scene.source.fault(Fault::on(resource, Harm::Hold(gate.clone())).part(Part::Items));
    }
    let let_go = async {
        school.reached_by(1).await;
        period.reached_by(1).await;
        scene.source.repair_all();
        school.open();
        period.open();
    };

    let (report, ()) = tokio::join!(scene.run(), let_go);

    assert_ended(&report, "complete");
    assert_eq!(report.stages.upserts.applied, 1);
    scene.assert_agrees();
}

const PERIODS: &str = "/ed-fi/classPeriods";
const PAGE: usize = 5;
const MANY: usize = 160;

/// A source whose pages are small, so that what is not much is large.
async fn with_small_pages() -> Scene {
    with_small_pages_for(Setting::new()).await
}

async fn with_small_pages_for(setting: Setting) -> Scene {
    let source = SandboxOptions { page_limit: PAGE, snapshots: SnapshotMode::Manual, ..bare() };
    let scene = setting.source(source).page_size(PAGE).start().await;
    open_school(&scene.source);
    for number in 0..MANY {
        put(&scene.source, "classPeriods", &class_period(&format!("P{number}")));
    }
    scene.source.take_snapshot();
    scene
}

/// How often the target took each item of the large resource.
fn written(scene: &Scene) -> BTreeMap<String, usize> {
    let mut written = BTreeMap::new();
    for write in scene.writes("state") {
        if write.resource.as_deref() == Some(PERIODS) && (200..300).contains(&write.status) {
            *written.entry(write.key.unwrap_or_default()).or_default() += 1;
        }
    }
    written
}

#[tokio::test]
async fn a_large_resource_is_read_in_parts_at_once_and_every_item_is_written_once() {
    let scene = with_small_pages().await;
    scene.source.clear_requests();
    // Held until as many pages are asked for at once as there are parts.
    let gate = Gate::new();
    let hold = Fault::on(PERIODS, Harm::Hold(gate.clone())).method("GET").after(3);
    scene.source.fault(hold);
    let let_go = async {
        gate.reached_by(4).await;
        scene.source.repair_all();
        gate.open();
    };

    let (report, ()) = tokio::join!(scene.run(), let_go);

    assert_ended(&report, "complete");
    let written = written(&scene);
    assert_eq!(written.len(), MANY);
    assert!(written.values().all(|times| *times == 1));
    assert!(reads(&scene).iter().any(|read| read.part == Part::Partitions));
    scene.assert_agrees();
}

#[tokio::test]
async fn four_targets_read_a_large_resource_in_the_same_parts_and_no_page_for_each_of_them() {
    let mut setting = Setting::new();
    for name in ["a", "b", "c", "d"] {
        setting = setting.target(name, strict());
    }
    let scene = with_small_pages_for(setting).await;
    scene.source.clear_requests();

    for report in scene.run_all().await {
        assert_ended(&report, "complete");
        scene.assert_target_agrees(&report.target);
    }

    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for read in reads(&scene).iter().filter(|read| read.path.contains("/classPeriods")) {
        let what = if read.part == Part::Partitions { "parts".to_owned() } else { told(read) };
        *asked.entry(what).or_default() += 1;
    }
    assert_eq!(asked.get("parts"), Some(&1), "{asked:#?}");
    // The page ahead of the first one is read once more in its part, and nothing oftener.
    assert!(asked.values().all(|times| *times <= 2), "{asked:#?}");
}

#[tokio::test]
async fn a_source_that_refuses_to_tell_parts_is_read_page_by_page() {
    let scene = with_small_pages().await;
    let refused = Harm::Refuse(tidemark::sandbox::Refusal::NoSuchResource);
    scene.source.fault(Fault::on(PERIODS, refused).part(Part::Partitions));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r12_a_run_that_was_killed_within_several_parts_repeats_at_most_a_page_of_each() {
    let scene = with_small_pages().await;
    let gate = Gate::new();
    let held = Fault::on(PERIODS, Harm::Hold(gate.clone())).method("POST").after(MANY / 2);
    let held = scene.target().fault(held);
    tokio::select! {
        report = scene.run() => panic!("it was not held: {:?}", report.error),
        () = gate.reached_by(PAGE) => {}
    }
    let before = written(&scene);
    scene.target().repair(held);
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(report.resumed);
    scene.assert_agrees();
    let again = written(&scene).into_keys().filter(|key| before.contains_key(key)).count();
    let parts = 8;
    assert!(before.len() > MANY / 3, "{}", before.len());
    assert!(again <= parts * PAGE, "{again} of {} were written again", before.len());
}
