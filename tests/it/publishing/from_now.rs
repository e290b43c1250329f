//! Pairs that begin without a first publication, and pairs that may not (contract, `first_run`).

use std::time::Duration;

use chrono::TimeDelta;
use tidemark::engine::verify::{VerifyOptions, verify};
use tidemark::engine::{FirstOverlap, FirstRun, RunError};
use tidemark::sandbox::{SandboxOptions, SnapshotMode};
use tidemark::sources::Isolation;
use tidemark::state::{PairState, Step};

use crate::district::{open_school, school, student, student_key};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

async fn from_now() -> Scene {
    let options = SandboxOptions { snapshots: SnapshotMode::Manual, ..bare() };
    let scene = Setting::new()
        .source(options)
        .policy(|policy| {
            policy.first_run = FirstRun::FromNow;
            policy.isolation = Isolation::Bounded;
            policy.overlap = Duration::from_secs(15 * 60);
            policy.first_overlap = FirstOverlap::Versions(100_000);
        })
        .start()
        .await;
    open_school(&scene.source);
    scene
}

#[tokio::test]
async fn from_now_publishes_nothing_says_so_and_then_what_changes() {
    let scene = from_now().await;
    let newest = scene.source.newest();

    let first = scene.run().await;

    assert_ended(&first, "complete");
    assert_eq!((first.window.unwrap().after, first.stages.upserts.read), (None, 0));
    let [note] = first.notes.as_slice() else { panic!("{:?}", first.notes) };
    assert!(note.contains("from-now") && note.contains("verify"), "{note}");
    assert_eq!(scene.watermark().await, Some(newest));
    assert!(scene.writes("state").is_empty());
    assert_ended(&scene.run().await, "nothing-to-do");

    put(&scene.source, "students", &student("801"));
    scene.clock.advance(TimeDelta::hours(1));
    let second = scene.run().await;

    assert_ended(&second, "complete");
    assert_eq!(second.window.unwrap().after.map(|after| after.0), Some(newest));
    assert_eq!(second.stages.upserts.applied, 1, "and nothing that was there before");
    assert_eq!(scene.target().count("/ed-fi/students"), 1);
}

// Even with an overlap that reaches far back, and with a settling pass.
#[tokio::test]
async fn r14_no_window_of_a_pair_that_began_from_now_reaches_below_its_beginning() {
    let scene = from_now().await;
    let late = scene.source.reserve_version();
    put(&scene.source, "students", &student("900"));
    assert_ended(&scene.run().await, "complete");
    scene.source.upsert_late("/ed-fi/students", &student("899"), late).unwrap();

    for id in ["901", "902", "903"] {
        scene.clock.advance(TimeDelta::minutes(20));
        put(&scene.source, "students", &student(id));
        assert_ended(&scene.run().await, "complete");
    }

    assert_eq!(scene.target().count("/ed-fi/students"), 3, "what is newer alone");
}

#[tokio::test]
async fn r17_nothing_that_was_selected_joins_a_pair_that_began_from_now_and_what_is_selected_later_does()
 {
    let mut scene = from_now().await;
    scene.policy.selection.exclude_only = vec!["students".to_owned()];
    assert_ended(&scene.run().await, "complete");
    let mut renamed = school();
    renamed["nameOfInstitution"] = serde_json::json!("Another");
    put(&scene.source, "schools", &renamed);
    assert_ended(&scene.run().await, "complete");
    assert_eq!(scene.target().count("/ed-fi/sessions"), 0);

    scene.policy.selection.exclude_only = Vec::new();
    let joining = scene.run().await;

    assert_ended(&joining, "complete");
    assert_eq!(scene.target().count("/ed-fi/students"), 2, "it is read from its beginning");
    assert_eq!(scene.target().count("/ed-fi/sessions"), 0);
}

#[tokio::test]
async fn a_pair_that_began_from_now_deletes_what_is_deleted_later_and_verify_finds_what_is_missing()
{
    let scene = from_now().await;
    for id in ["604821", "604822"] {
        put(scene.target(), "students", &student(id));
    }
    put(&scene.source, "students", &student("801"));
    assert_ended(&scene.run().await, "complete");
    put(scene.target(), "students", &student("801"));
    scene.source.delete("/ed-fi/students", &student_key("801")).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.deletes.applied, 1);
    assert!(scene.target().item("/ed-fi/students", &student_key("801")).is_none());
    let pair = scene.pairs().remove(0);
    let repair = VerifyOptions { repair: true, ..VerifyOptions::default() };
    let around = scene.surroundings();
    let missing = verify(&around, &pair, &VerifyOptions::default(), scene.spool()).await.unwrap();
    assert!(!missing.equal);
    assert!(verify(&around, &pair, &repair, scene.spool()).await.unwrap().equal);
    scene.assert_agrees();
}

#[tokio::test]
async fn a_person_who_takes_the_watermark_away_has_everything_published_whatever_first_run_says() {
    for first_run in [FirstRun::FromNow, FirstRun::Refuse] {
        let mut scene = from_now().await;
        scene.policy.first_run = first_run;
        let state = Some(PairState { started_over: true, ..PairState::default() });
        let step = Step { state, ..Step::default() };
        scene.store.commit(&scene.pair_id("state"), step).await.unwrap();

        assert_ended(&scene.run().await, "complete");

        scene.assert_agrees();
    }
}

#[tokio::test]
async fn p9_a_pair_without_a_watermark_that_may_have_no_first_run_fails_and_says_the_way_out() {
    let mut scene = from_now().await;
    scene.policy.first_run = FirstRun::Refuse;

    let report = scene.run().await;

    assert_ended(&report, "failed");
    let error = report.error.unwrap();
    assert_eq!(error.kind, "first-run");
    assert!(error.message.contains("tidemark watermark set"), "{}", error.message);
    assert!(!report.may_pass);
    assert!(scene.writes("state").is_empty());
    assert_eq!(scene.watermark().await, None);
    let pair = scene.pairs().remove(0);
    let planned = tidemark::engine::plan::plan(&*scene.store, &pair).await;
    assert!(matches!(planned, Err(RunError::FirstRun { .. })), "{planned:?}");
}

// Under a snapshot the pair begins at what the snapshot has: what is newer comes with the next one.
#[tokio::test]
async fn from_now_under_a_snapshot_begins_at_the_snapshot() {
    let mut scene = from_now().await;
    scene.policy.isolation = Isolation::Snapshot;
    scene.source.take_snapshot();
    let newest = scene.source.newest();
    put(&scene.source, "students", &student("801"));

    assert_ended(&scene.run().await, "complete");

    assert_eq!(scene.watermark().await, Some(newest));
    scene.source.drop_snapshot();
    scene.source.take_snapshot();
    assert_ended(&scene.run().await, "complete");
    assert_eq!(scene.target().count("/ed-fi/students"), 1);
}
