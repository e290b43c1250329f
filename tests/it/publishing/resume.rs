//! R12: a run that did not come to its commit is gone on from: the resources that it had finished.
//! Those that were under way are the matter of `resumed_pages.rs`.

use tidemark::domain::ChangeVersion;
use tidemark::sandbox::{Fault, Gate, Harm, SandboxOptions, SnapshotMode};
use tidemark::state::{Finished, Step};
use tokio_util::sync::CancellationToken;

use tidemark::sources::Isolation;

use crate::district::{
    attends, enrolment, open_school, section, section_key, session_key, student,
};
use crate::scene::{Scene, Setting, assert_ended, bare, path, put};

/// A first run that is asked to end while the sections are written.
async fn interrupted(scene: &mut Scene) {
    interrupted_at(scene, "sections").await;
}

async fn interrupted_at(scene: &mut Scene, resource: &str) {
    let gate = Gate::new();
    let resource = format!("/ed-fi/{resource}");
    let held = Fault::on(&resource, Harm::Hold(gate.clone())).method("POST").times(1);
    scene.target().fault(held);
    let (report, ()) = tokio::join!(scene.run(), async {
        gate.reached_by(1).await;
        scene.stop.cancel();
        gate.open();
    });
    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "interrupted");
    scene.stop = CancellationToken::new();
    scene.target().clear_requests();
}

fn written(scene: &Scene, resource: &str) -> usize {
    let resource = format!("/ed-fi/{resource}");
    scene.writes("state").iter().filter(|w| w.resource.as_deref() == Some(&*resource)).count()
}

#[tokio::test]
async fn r12_what_was_finished_is_not_sent_again_and_the_report_is_of_the_whole_run() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    interrupted(&mut scene).await;

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(report.resumed);
    assert_eq!(report.stages.upserts.applied, 12);
    assert_eq!(written(&scene, "localEducationAgencies") + written(&scene, "schools"), 0);
    assert_eq!(written(&scene, "studentSectionAssociations"), 2);
    scene.assert_agrees();
    assert!(!scene.run().await.resumed, "the commit has ended the journal");
}

#[tokio::test]
async fn r11_what_was_finished_stands_though_the_snapshot_is_another_and_the_rest_follows_at_once()
{
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    interrupted(&mut scene).await;
    let through = scene.source.newest();
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "studentSchoolAssociations", &enrolment("700"));

    let reports = scene.run_all().await;

    assert_eq!(reports.len(), 2);
    assert!(reports[0].resumed && !reports[1].resumed);
    assert_eq!(reports[0].window.unwrap().through, ChangeVersion(through));
    assert_ended(&reports[1], "complete");
    assert_eq!(scene.watermark().await, Some(scene.source.newest()));
    scene.assert_agrees();
}

#[tokio::test]
async fn r18_a_target_that_was_restored_meanwhile_gets_everything_again() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    interrupted(&mut scene).await;
    // Its own newest version is below what it was when the schools were finished.
    let step = Step {
        finished: vec![Finished {
            resource: path("schools"),
            through: ChangeVersion(scene.source.newest()),
            tally: Default::default(),
            target_newest: ChangeVersion(1_000_000),
        }],
        ..Step::default()
    };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(!report.resumed);
    assert_eq!(written(&scene, "schools"), 1);
    scene.assert_agrees();
}

#[tokio::test]
async fn r8_what_was_deleted_after_the_window_is_found_though_a_rename_of_the_run_moves_its_key() {
    // History: a run writes a section and is interrupted; the section is deleted and its session
    // renamed; the run that goes on has an upper edge below both. The rename is read all the same,
    // and moves the section's key at the target, where no later tombstone would find it.
    let mut scene =
        Setting::new().policy(|policy| policy.isolation = Isolation::Bounded).start().await;
    open_school(&scene.source);
    assert_ended(&scene.run().await, "complete");
    put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "studentSchoolAssociations", &enrolment("700"));
    put(&scene.source, "studentSectionAssociations", &attends("700", "S1", "ALG-1", "Fall"));
    interrupted_at(&mut scene, "studentSectionAssociations").await;
    assert!(scene.target().item("/ed-fi/sections", &section_key("S2", "ALG-1", "Fall")).is_some());
    scene.source.delete("/ed-fi/sections", &section_key("S2", "ALG-1", "Fall")).unwrap();
    scene.source.rename("/ed-fi/sessions", &session_key("Fall"), &session_key("Autumn")).unwrap();

    let reports = scene.run_all().await;

    assert!(reports[0].resumed);
    assert_ended(&reports[1], "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn another_question_is_not_gone_on_with() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    interrupted(&mut scene).await;
    scene.policy.selection.exclude_only = vec!["courses".to_owned()];

    let report = scene.run().await;

    assert!(!report.resumed);
}

#[tokio::test]
async fn an_older_snapshot_is_not_gone_on_with() {
    let mut scene = Setting::new()
        .source(SandboxOptions { snapshots: SnapshotMode::Manual, ..bare() })
        .start()
        .await;
    open_school(&scene.source);
    scene.source.take_snapshot();
    interrupted(&mut scene).await;
    let mut journal = scene.store.journal(&scene.pair_id("state")).await.unwrap().unwrap();
    journal.window.through = ChangeVersion(journal.window.through.0 + 10);
    let step = Step { journal: Some(journal), ..Step::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(!report.resumed);
    scene.assert_agrees();
}
