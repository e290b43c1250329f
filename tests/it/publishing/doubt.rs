//! Doubt stops the pair, loudly; faults fail the run; and nothing moves on a guess.

use tidemark::sandbox::{Fault, Harm, Part, Refusal, SandboxOptions, SnapshotMode};
use tidemark::sources::Isolation;
use tidemark::state::BlockCause;

use crate::district::{open_school, student};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

#[tokio::test]
async fn a_missing_snapshot_fails_the_run_before_anything_was_written_and_says_what_to_do() {
    for version in [tidemark::sandbox::ApiVersion::V7_3, tidemark::sandbox::ApiVersion::V6_1] {
        let scene = Setting::new()
            .source(SandboxOptions { version, snapshots: SnapshotMode::None, ..bare() })
            .start()
            .await;
        open_school(&scene.source);

        let report = scene.run().await;

        assert_ended(&report, "failed");
        let error = report.error.unwrap();
        assert_eq!(error.kind, "snapshot-missing");
        assert!(error.message.contains("on_missing_snapshot"), "{}", error.message);
        assert_eq!(scene.target().requests().len(), 0);
    }
}

#[tokio::test]
async fn a_missing_snapshot_is_read_around_where_the_configuration_says_so() {
    let scene = Setting::new()
        .source(SandboxOptions { snapshots: SnapshotMode::None, ..bare() })
        .policy(|policy| policy.on_missing_snapshot = Some(Isolation::Bounded))
        .start()
        .await;
    open_school(&scene.source);

    assert_ended(&scene.run().await, "complete");

    scene.assert_agrees();
}

#[tokio::test]
async fn s6_a_snapshot_that_vanishes_in_the_middle_of_a_run_fails_it_and_the_next_one_mends_it() {
    let scene = Setting::new()
        .source(SandboxOptions { snapshots: SnapshotMode::Manual, ..bare() })
        .start()
        .await;
    open_school(&scene.source);
    scene.source.take_snapshot();
    scene.source.fault(Fault::on("/ed-fi/sessions", Harm::DropSnapshot).times(1));

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "snapshot-missing");
    assert_eq!(scene.watermark().await, None);
    scene.source.take_snapshot();
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn s13_r18_a_live_source_below_the_watermark_blocks_the_pair() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    // The same address, an older database: what a restore leaves behind.
    let mut state = scene.state("state").await;
    state.watermark = Some(tidemark::domain::Watermark::ChangeVersion(
        tidemark::domain::ChangeVersion(scene.source.newest() + 1000),
    ));
    let step = tidemark::state::Step { state: Some(state), ..Default::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "blocked");
    assert_eq!(scene.state("state").await.blocked.unwrap().cause, BlockCause::SourceRegressed);
    assert_eq!(scene.target().requests().len(), 0);
    scene.policy.retry.max_attempts = 1;
    assert_ended(&scene.run().await, "failed");
}

#[tokio::test]
async fn r18_an_old_snapshot_is_nothing_to_do_and_moves_nothing() {
    let scene = Setting::new()
        .source(SandboxOptions { snapshots: SnapshotMode::Manual, ..bare() })
        .start()
        .await;
    open_school(&scene.source);
    scene.source.take_snapshot();
    scene.run().await;
    let watermark = scene.watermark().await.unwrap();
    put(&scene.source, "students", &student("700"));
    let mut state = scene.state("state").await;
    state.watermark = Some(tidemark::domain::Watermark::ChangeVersion(
        tidemark::domain::ChangeVersion(watermark + 1),
    ));
    let step = tidemark::state::Step { state: Some(state), ..Default::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();

    let report = scene.run().await;

    assert_ended(&report, "nothing-to-do");
    assert_eq!(scene.watermark().await, Some(watermark + 1));
}

#[tokio::test]
async fn t21_r18_a_target_that_was_restored_blocks_the_pair_before_a_write() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    let mut state = scene.state("state").await;
    state.target_newest = state.target_newest.map(|v| tidemark::domain::ChangeVersion(v.0 + 1000));
    assert!(state.target_newest.is_some(), "the target's newest is remembered at each commit");
    let step = tidemark::state::Step { state: Some(state), ..Default::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();
    put(&scene.source, "students", &student("700"));
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(scene.state("state").await.blocked.unwrap().cause, BlockCause::TargetRegressed);
    assert_eq!(scene.writes("state").len(), 0);
}

#[tokio::test]
async fn r19_another_database_behind_the_same_name_blocks_the_pair() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    let mut state = scene.state("state").await;
    let fingerprint = state.target.as_mut().unwrap();
    fingerprint.data_models.insert("Ed-Fi".to_owned(), "4.0.0".to_owned());
    let step = tidemark::state::Step { state: Some(state), ..Default::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();
    put(&scene.source, "students", &student("700"));

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(scene.state("state").await.blocked.unwrap().cause, BlockCause::TargetChanged);
}

#[tokio::test]
async fn s26_bad_answers_of_a_source_fail_the_run_and_are_never_an_empty_page() {
    for (case, harm) in [
        ("html", Harm::Html),
        ("invalid utf-8", Harm::InvalidUtf8),
        ("not an array", Harm::NotAnArray),
        ("a redirect", Harm::Redirect("http://127.0.0.1:1/".to_owned())),
        ("a forbidden resource", Harm::Refuse(Refusal::ResourceClosed)),
        ("a resource that is not there", Harm::Refuse(Refusal::NoSuchResource)),
    ] {
        let scene = Scene::start().await;
        open_school(&scene.source);
        let fault =
            scene.source.fault(Fault::on("/ed-fi/students", harm).method("GET").part(Part::Items));

        let report = scene.run().await;

        assert_ended(&report, "failed");
        let message = report.error.unwrap().message;
        assert!(message.contains("students"), "{case}: {message}");
        assert!(!message.contains("Tyrone"), "{case}: {message}");
        assert_eq!(scene.watermark().await, None, "{case}");
        scene.source.repair(fault);
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn faults_that_pass_are_ridden_out() {
    for (case, harm) in [
        ("a write that was done and answered 500", Harm::FailAfterWriting),
        ("a write that was done and not answered", Harm::DropAfterWriting),
        ("a connection that ends", Harm::Drop),
        ("throttling", Harm::Throttle { retry_after: Some(0) }),
        ("tokens that end", Harm::ExpireTokens),
    ] {
        let scene = Scene::start().await;
        open_school(&scene.source);
        scene.target().fault(Fault::on("/ed-fi/students", harm).method("POST").times(1));

        let report = scene.run().await;

        assert_ended(&report, "complete");
        scene.assert_agrees();
        assert!(scene.parked().await.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn an_interrupted_run_says_so_and_the_next_one_publishes_the_window() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    let gate = tidemark::sandbox::Gate::new();
    scene
        .target()
        .fault(Fault::on("/ed-fi/sections", Harm::Hold(gate.clone())).method("POST").times(1));

    let (report, ()) = tokio::join!(scene.run(), async {
        gate.reached_by(1).await;
        scene.stop.cancel();
        gate.open();
    });

    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "interrupted");
    assert_eq!(scene.watermark().await, None);
    scene.stop = tokio_util::sync::CancellationToken::new();
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
}
