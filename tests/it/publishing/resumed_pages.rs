//! R12 in the middle of a resource: a run that was killed is gone on with at the page that it was
//! at, and what it had settled before is not sent again.

use std::collections::BTreeSet;

use tidemark::domain::{ChangeVersion, Position};
use tidemark::engine::report::RunReport;
use tidemark::sandbox::{
    ApiVersion, Fault, Gate, Harm, Part, PeopleAuthorization, Refusal, SandboxOptions, SnapshotMode,
};
use tidemark::sources::Isolation;
use tidemark::state::{Progress, Step};

use crate::district::{class_period, enrolment, open_school, student};
use crate::scene::{Scene, Setting, assert_ended, bare, put, strict};

const PERIODS: &str = "/ed-fi/classPeriods";
const PAGE: usize = 5;
const ITEMS: usize = 40;
/// What a school has beside its class periods.
const OTHERS: u64 = 12;
/// With cursors, and without.
const VERSIONS: [ApiVersion; 2] = [ApiVersion::V7_3, ApiVersion::V6_1];

/// Forty class periods at a source that is read five at a time.
async fn scene(version: ApiVersion, isolation: Isolation) -> Scene {
    let snapshots = SnapshotMode::Manual;
    let scene = Setting::new()
        .source(SandboxOptions { version, snapshots, ..bare() })
        .page_size(PAGE)
        .policy(|policy| policy.isolation = isolation)
        .start()
        .await;
    open_school(&scene.source);
    for number in 0..ITEMS {
        put(&scene.source, "classPeriods", &class_period(&format!("P{number}")));
    }
    scene.source.take_snapshot();
    scene
}

/// A run that ends as if its process was killed, while the item after `written` of a resource is
/// written.
async fn killed(scene: &Scene, resource: &str, written: usize) -> BTreeSet<String> {
    let gate = Gate::new();
    let held = Fault::on(resource, Harm::Hold(gate.clone())).method("POST").after(written);
    let held = scene.target().fault(held);
    tokio::select! {
        report = scene.run() => panic!("it was not held: {:?}", report.error),
        () = gate.reached_by(1) => {}
    }
    let sent = sent(scene, resource);
    scene.target().repair(held);
    scene.target().clear_requests();
    sent
}

/// Keys of what the target took of a resource.
fn sent(scene: &Scene, resource: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for write in scene.writes("state") {
        if write.resource.as_deref() == Some(resource) && write.status < 300 && write.status > 0 {
            keys.extend(write.key);
        }
    }
    keys
}

fn repeated(before: &BTreeSet<String>, after: &BTreeSet<String>) -> usize {
    before.intersection(after).count()
}

#[track_caller]
fn assert_is_of_the_whole_run(report: &RunReport) {
    assert_ended(report, "complete");
    assert!(report.resumed);
    assert_eq!(report.stages.upserts.applied, OTHERS + ITEMS as u64, "{:?}", report.stages);
}

#[tokio::test]
async fn r12_a_run_that_was_killed_in_the_middle_of_a_resource_repeats_at_most_one_page() {
    for version in VERSIONS {
        for isolation in [Isolation::Snapshot, Isolation::Bounded, Isolation::Open] {
            let scene = scene(version, isolation).await;
            let before = killed(&scene, PERIODS, 23).await;
            assert!(before.len() > 3 * PAGE, "{version:?} {isolation:?}: {}", before.len());

            let report = scene.run().await;

            let after = sent(&scene, PERIODS);
            let repeated = repeated(&before, &after);
            assert!(repeated <= PAGE, "{version:?} {isolation:?}: {repeated} were sent again");
            assert_eq!(before.union(&after).count(), ITEMS, "{version:?} {isolation:?}");
            assert_is_of_the_whole_run(&report);
            scene.assert_agrees();
            assert_eq!(scene.store.progress(&scene.pair_id("state")).await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn r12_a_run_that_is_killed_again_and_again_goes_on_each_time() {
    for version in VERSIONS {
        let scene = scene(version, Isolation::Snapshot).await;
        let first = killed(&scene, PERIODS, 12).await;
        let second = killed(&scene, PERIODS, 12).await;

        let report = scene.run().await;

        let third = sent(&scene, PERIODS);
        assert!(repeated(&first, &second) <= PAGE, "{version:?}");
        assert!(repeated(&second, &third) <= PAGE, "{version:?}");
        assert_eq!(repeated(&first, &third), 0, "{version:?}");
        assert_is_of_the_whole_run(&report);
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r12_what_a_page_left_parked_is_parked_when_the_run_is_gone_on_with() {
    let scene = scene(ApiVersion::V7_3, Isolation::Snapshot).await;
    let poison = || {
        Fault::on(PERIODS, Harm::Refuse(Refusal::Status(400)))
            .method("POST")
            .key("classPeriodName", "P1")
    };
    scene.target().fault(poison());
    let before = killed(&scene, PERIODS, 23).await;
    scene.target().fault(poison());

    let report = scene
        .run_with(&tidemark::engine::runner::RunOptions { allow_deletes: false, all_parked: false })
        .await
        .pop()
        .unwrap();

    assert_ended(&report, "parked");
    assert!(report.resumed && repeated(&before, &sent(&scene, PERIODS)) <= PAGE);
    assert_eq!(scene.parked().await.len(), 1);
    assert_eq!((report.stages.upserts.parked, report.parked), (1, 1));
    assert_eq!(report.stages.upserts.applied, OTHERS + ITEMS as u64 - 1);
}

#[tokio::test]
async fn r11_under_another_snapshot_a_resource_is_read_again_from_its_beginning() {
    for version in VERSIONS {
        let scene = scene(version, Isolation::Snapshot).await;
        let through = scene.source.newest();
        killed(&scene, PERIODS, 23).await;
        put(&scene.source, "students", &student("700"));
        put(&scene.source, "studentSchoolAssociations", &enrolment("700"));
        scene.source.drop_snapshot();
        scene.source.take_snapshot();

        let reports = scene.run_all().await;

        assert_eq!(sent(&scene, PERIODS).len(), ITEMS, "{version:?}: all of it");
        assert_eq!(reports[0].window.unwrap().through, ChangeVersion(through), "{version:?}");
        assert_is_of_the_whole_run(&reports[0]);
        assert_ended(&reports[1], "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r12_where_the_server_refuses_its_old_token_the_resource_is_read_from_its_beginning() {
    let scene = scene(ApiVersion::V7_3, Isolation::Snapshot).await;
    killed(&scene, PERIODS, 23).await;
    let refused = Fault::on(PERIODS, Harm::Refuse(Refusal::Status(400))).method("GET");
    scene.source.fault(refused.part(Part::Items).times(1));

    let report = scene.run().await;

    assert_eq!(sent(&scene, PERIODS).len(), ITEMS);
    assert_is_of_the_whole_run(&report);
    scene.assert_agrees();
}

#[tokio::test]
async fn r12_a_page_of_which_somebody_waits_for_an_association_is_read_again() {
    // History: the first page of students has one whom the target has and does not let be changed
    // before its enrolment is there; the run is killed two pages later. Only its memory knew who
    // waited.
    let scene = Setting::new()
        .target("state", SandboxOptions { people: PeopleAuthorization::Relationships, ..strict() })
        .page_size(PAGE)
        .start()
        .await;
    open_school(&scene.source);
    put(scene.target(), "students", &student("604821"));
    let mut changed = student("604821");
    changed["firstName"] = "Ty".into();
    put(&scene.source, "students", &changed);
    for number in 0..20 {
        let id = format!("7{number:02}");
        put(&scene.source, "students", &student(&id));
        put(&scene.source, "studentSchoolAssociations", &enrolment(&id));
    }
    killed(&scene, "/ed-fi/students", 14).await;

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r18_a_target_that_was_restored_meanwhile_gets_the_resource_again_and_so_after_that() {
    // History: the target is restored from a backup after a run was killed; the next run begins anew
    // and is killed too, when the target has grown to newer versions than it ever had. What the first
    // of them had settled is still not there.
    let scene = scene(ApiVersion::V7_3, Isolation::Snapshot).await;
    killed(&scene, PERIODS, 23).await;
    let mut progress = scene.store.progress(&scene.pair_id("state")).await.unwrap();
    let [progress] = &mut progress[..] else { panic!("one resource was under way") };
    progress.target_newest = ChangeVersion(1_000_000);
    let step = Step { progress: vec![progress.clone()], ..Step::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();

    killed(&scene, PERIODS, 2).await;

    assert_eq!(scene.store.progress(&scene.pair_id("state")).await.unwrap(), []);
    let report = scene.run().await;
    assert_eq!(sent(&scene, PERIODS).len(), ITEMS);
    assert_is_of_the_whole_run(&report);
    scene.assert_agrees();
}

#[tokio::test]
async fn what_another_program_wrote_as_a_position_is_not_begun_at() {
    let scene = scene(ApiVersion::V7_3, Isolation::Snapshot).await;
    killed(&scene, PERIODS, 23).await;
    let pair = scene.pair_id("state");
    let progress: Vec<Progress> = scene.store.progress(&pair).await.unwrap();
    let strange = |progress: Progress| Progress { position: Position("?".to_owned()), ..progress };
    let progress = progress.into_iter().map(strange).collect();
    scene.store.commit(&pair, Step { progress, ..Step::default() }).await.unwrap();

    let report = scene.run().await;

    assert_eq!(sent(&scene, PERIODS).len(), ITEMS);
    assert_is_of_the_whole_run(&report);
}

#[tokio::test]
async fn r11_pages_of_an_image_that_took_the_place_of_the_view_are_not_gone_on_after() {
    // History: a run opens an image; an older one takes its place before the first page; the run is
    // killed some pages later. The next image has the newest version of the first, and not what the
    // pages were read from.
    let scene = scene(ApiVersion::V7_3, Isolation::Snapshot).await;
    for number in 0..PAGE {
        let mut changed = class_period(&format!("P{number}"));
        changed["officialAttendancePeriod"] = true.into();
        put(&scene.source, "classPeriods", &changed);
    }
    scene.source.take_snapshot();
    let reading = Gate::new();
    let held = Fault::on(PERIODS, Harm::Hold(reading.clone())).part(Part::Items).times(1);
    scene.source.fault(held);
    let meanwhile = async {
        reading.reached_by(1).await;
        scene.source.put_back_oldest_snapshot();
        reading.open();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = killed(&scene, PERIODS, 23) => {}
        () = meanwhile => {}
    }
    scene.source.take_snapshot();

    let reports = scene.run_all().await;

    assert_ended(reports.last().unwrap(), "complete");
    scene.assert_agrees();
}
