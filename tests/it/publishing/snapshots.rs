//! R11: a snapshot that is replaced while a run reads from it. The run goes on through the new one:
//! what it has finished stands, the rest is read again, and it commits the smallest newest version
//! that it has seen.

use std::time::Duration;

use tidemark::engine::report::RunReport;
use tidemark::sandbox::{ApiVersion, Fault, Gate, Harm, Part, SandboxOptions, SnapshotMode};

use crate::district::{
    course, enrolment, open_school, section, section_key, session_key, student, student_key,
};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

/// One of each way to name a snapshot.
const VERSIONS: [ApiVersion; 2] = [ApiVersion::V7_3, ApiVersion::V6_1];

/// Longer than any test: the view is looked at when it is opened and at the end alone.
const HOUR: Duration = Duration::from_secs(3600);

/// A school at a source whose snapshots are made by hand, and one of them.
async fn snapshotted(version: ApiVersion) -> Scene {
    looked_at_every(version, Duration::ZERO).await
}

async fn looked_at_every(version: ApiVersion, look_again_after: Duration) -> Scene {
    let snapshots = SnapshotMode::Manual;
    let scene = Setting::new()
        .source(SandboxOptions { version, snapshots, ..bare() })
        .policy(|policy| policy.look_again_after = look_again_after)
        .start()
        .await;
    open_school(&scene.source);
    scene.source.take_snapshot();
    scene
}

fn replace_snapshot(scene: &Scene) {
    scene.source.drop_snapshot();
    scene.source.take_snapshot();
}

/// The collection of a resource is asked for.
fn reading(resource: &str, gate: &Gate) -> Fault {
    let resource = format!("/ed-fi/{resource}");
    Fault::on(&resource, Harm::Hold(gate.clone())).part(Part::Items).times(1)
}

/// The view is looked at once more, which is the last that a run asks of a source.
fn confirming(gate: &Gate, after: usize) -> Fault {
    Fault::everywhere(Harm::Hold(gate.clone())).part(Part::NewestVersion).after(after).times(1)
}

/// A run, and what happens at the source while a request of it is held.
async fn run_and_meanwhile(
    scene: &Scene,
    held: impl FnOnce(&Gate) -> Fault,
    meanwhile: impl FnOnce(&Scene),
) -> RunReport {
    let gate = Gate::new();
    scene.source.fault(held(&gate));
    run_beside(scene, &gate, meanwhile).await
}

/// The same where it is a write that is held: what that waits for is finished by then.
async fn run_and_while_writing(
    scene: &Scene,
    resource: &str,
    meanwhile: impl FnOnce(&Scene),
) -> RunReport {
    let gate = Gate::new();
    let held = Fault::on(&format!("/ed-fi/{resource}"), Harm::Hold(gate.clone()));
    scene.target().fault(held.part(Part::Items).times(1));
    run_beside(scene, &gate, meanwhile).await
}

async fn run_beside(scene: &Scene, gate: &Gate, meanwhile: impl FnOnce(&Scene)) -> RunReport {
    let (report, ()) = tokio::join!(scene.run(), async {
        gate.reached_by(1).await;
        meanwhile(scene);
        gate.open();
    });
    report
}

fn written(scene: &Scene, resource: &str) -> usize {
    let resource = format!("/ed-fi/{resource}");
    scene.writes("state").iter().filter(|w| w.resource.as_deref() == Some(&*resource)).count()
}

#[tokio::test]
async fn r11_a_snapshot_that_is_replaced_before_the_first_write_costs_nothing_but_reading() {
    for version in VERSIONS {
        let scene = snapshotted(version).await;
        let through = scene.source.newest();
        let held =
            |gate: &Gate| Fault::everywhere(Harm::Hold(gate.clone())).part(Part::Items).times(1);

        let report = run_and_meanwhile(&scene, held, |scene| {
            assert_eq!(scene.writes("state").len(), 0);
            put(&scene.source, "students", &student("700"));
            replace_snapshot(scene);
        })
        .await;

        assert_ended(&report, "complete");
        assert!(!report.resumed, "{version:?}: it is one run");
        assert_eq!(scene.watermark().await, Some(through), "{version:?}");
        assert!(scene.target().item("/ed-fi/students", &student_key("700")).is_none());
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn s7_r11_in_the_middle_what_was_finished_stands_and_the_rest_is_read_from_the_new_snapshot()
{
    for version in VERSIONS {
        let scene = snapshotted(version).await;
        let through = scene.source.newest();

        let report = run_and_meanwhile(
            &scene,
            |gate| reading("sections", gate),
            |scene| {
                put(&scene.source, "courses", &course("ALG-2"));
                let mut changed = section("S1", "ALG-1", "Fall");
                changed["sectionName"] = "Changed".into();
                put(&scene.source, "sections", &changed);
                scene.source.delete("/ed-fi/students", &student_key("604822")).unwrap_err();
                put(&scene.source, "students", &student("700"));
                put(&scene.source, "studentSchoolAssociations", &enrolment("700"));
                replace_snapshot(scene);
            },
        )
        .await;

        assert_ended(&report, "complete");
        assert_eq!(report.window.unwrap().through.0, through, "{version:?}");
        assert_eq!(scene.watermark().await, Some(through), "{version:?}");
        for finished in ["localEducationAgencies", "schools", "courses", "courseOfferings"] {
            assert_eq!(written(&scene, finished), 1, "{version:?}: {finished} was sent again");
        }
        let sent = scene.source.requests().len() as u64;
        assert_eq!(report.requests.source, sent, "{version:?}: every request is counted");
        let second = scene.run().await;
        assert_ended(&second, "complete");
        assert!(!second.resumed, "{version:?}: the commit has ended the journal");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r11_at_the_end_everything_stands_and_what_was_deleted_is_told() {
    for version in VERSIONS {
        let scene = snapshotted(version).await;
        put(&scene.source, "students", &student("700"));
        replace_snapshot(&scene);
        assert_ended(&scene.run().await, "complete");
        scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
        put(&scene.source, "courses", &course("ALG-2"));
        replace_snapshot(&scene);
        let through = scene.source.newest();
        scene.target().clear_requests();

        let report = run_and_meanwhile(
            &scene,
            // Once when it is opened, once when the courses are finished, and then at the end.
            |gate| confirming(gate, 2),
            |scene| {
                put(&scene.source, "students", &student("701"));
                replace_snapshot(scene);
            },
        )
        .await;

        assert_ended(&report, "complete");
        assert_eq!(report.stages.deletes.applied, 1, "{version:?}: {:?}", report.stages);
        assert_eq!(scene.writes("state").len(), 2, "{version:?}: a course, a deleted student");
        assert_eq!(scene.watermark().await, Some(through), "{version:?}");
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
    }
}

/// Replaces the snapshot so many times, each time when the view is looked at once more.
async fn run_replaced(scene: &Scene, times: usize) -> RunReport {
    let gates: Vec<Gate> = (0..times).map(|_| Gate::new()).collect();
    for (number, gate) in gates.iter().enumerate() {
        // Each view is asked for its newest version twice: when it is opened and at the end.
        scene.source.fault(confirming(gate, 2 * number + 1));
    }
    let (report, ()) = tokio::join!(scene.run(), async {
        for (number, gate) in gates.iter().enumerate() {
            gate.reached_by(1).await;
            put(&scene.source, "students", &student(&format!("8{times}{number}")));
            replace_snapshot(scene);
            gate.open();
        }
    });
    scene.source.repair_all();
    report
}

#[tokio::test]
async fn r11_a_snapshot_that_is_replaced_time_and_again_fails_the_run_in_the_end() {
    for version in VERSIONS {
        let scene = looked_at_every(version, HOUR).await;
        let through = scene.source.newest();
        assert_ended(&run_replaced(&scene, 3).await, "complete");
        assert_eq!(scene.watermark().await, Some(through), "{version:?}");
        replace_snapshot(&scene);

        let report = run_replaced(&scene, 4).await;

        assert_ended(&report, "failed");
        let error = report.error.unwrap();
        let kinds = ["snapshot-replaced", "snapshot-missing"];
        assert!(kinds.contains(&&*error.kind), "{version:?}: {error:?}");
        assert_eq!(scene.watermark().await, Some(through), "{version:?}");
        scene.run_all().await;
        assert_ended(&scene.run().await, "nothing-to-do");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r11_an_older_image_lowers_what_is_committed_and_nothing_is_lost() {
    for version in VERSIONS {
        let scene = snapshotted(version).await;
        assert_ended(&scene.run().await, "complete");
        put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
        replace_snapshot(&scene);
        let older = scene.source.newest();
        put(&scene.source, "sections", &section("S3", "ALG-1", "Fall"));
        put(&scene.source, "courses", &course("ALG-2"));
        scene.source.take_snapshot();
        scene.target().clear_requests();

        let report = run_and_while_writing(&scene, "sections", |scene| {
            scene.source.put_back_oldest_snapshot();
        })
        .await;

        assert_ended(&report, "complete");
        assert_eq!(scene.watermark().await, Some(older), "{version:?}");
        assert_eq!(written(&scene, "courses"), 1, "{version:?}: it was finished, and stands");
        let there = |id| scene.target().item("/ed-fi/sections", &section_key(id, "ALG-1", "Fall"));
        assert!(there("S2").is_some(), "{version:?}");
        scene.source.take_snapshot();
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r5_names_outlive_a_run_that_renamed_and_then_lost_its_newer_image() {
    // History: a section is deleted and its session renamed; a run renames the session at the
    // target, which moves the section's key there, and then its snapshot is put back to the image
    // from before. The section's tombstone comes in the next window, under the old key.
    for version in VERSIONS {
        let scene = snapshotted(version).await;
        put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
        replace_snapshot(&scene);
        assert_ended(&scene.run().await, "complete");
        put(&scene.source, "students", &student("700"));
        replace_snapshot(&scene);
        let older = scene.source.newest();
        scene.source.delete("/ed-fi/sections", &section_key("S2", "ALG-1", "Fall")).unwrap();
        let autumn = session_key("Autumn");
        scene.source.rename("/ed-fi/sessions", &session_key("Fall"), &autumn).unwrap();
        scene.source.take_snapshot();

        let report = run_and_meanwhile(
            &scene,
            |gate| reading("students", gate),
            |scene| scene.source.put_back_oldest_snapshot(),
        )
        .await;

        assert_ended(&report, "complete");
        assert_eq!(scene.watermark().await, Some(older), "{version:?}");
        assert!(scene.target().item("/ed-fi/sessions", &autumn).is_some(), "{version:?}: by PUT");
        scene.source.take_snapshot();
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r18_an_image_from_before_the_watermark_is_not_gone_on_with() {
    for version in VERSIONS {
        let scene = snapshotted(version).await;
        put(&scene.source, "courses", &course("ALG-2"));
        scene.source.take_snapshot();
        assert_ended(&scene.run().await, "complete");
        let watermark = scene.watermark().await;
        put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
        scene.source.take_snapshot();

        let report = run_and_meanwhile(
            &scene,
            |gate| reading("sections", gate),
            |scene| scene.source.put_back_oldest_snapshot(),
        )
        .await;

        assert_ended(&report, "failed");
        assert_eq!(scene.watermark().await, watermark, "{version:?}");
        assert!(scene.state("state").await.blocked.is_none(), "{version:?}: it is merely old");
        assert_ended(&scene.run().await, "nothing-to-do");
        scene.source.take_snapshot();
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r11_another_snapshot_with_the_same_newest_version_is_another_snapshot() {
    let scene = snapshotted(ApiVersion::V6_1).await;
    let through = scene.source.newest();

    let report = run_and_meanwhile(&scene, |gate| confirming(gate, 1), replace_snapshot).await;

    assert_ended(&report, "complete");
    assert_eq!(scene.watermark().await, Some(through));
    assert_eq!(written(&scene, "sections"), 1, "what was finished stands");
    let opened = scene.source.requests();
    let opened = opened.iter().filter(|request| request.part == Part::NewestVersion);
    assert!(opened.count() >= 4, "each of the two was asked when it was opened and at the end");
    scene.assert_agrees();
}
