//! What commits late is seen all the same: windows reach back over one another (R14 to R16).

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tidemark::domain::Outcome;
use tidemark::engine::runner::RunOptions;
use tidemark::engine::{FirstOverlap, Policy};
use tidemark::sandbox::{Fault, Harm, Part, Refusal, SandboxOptions, SnapshotMode};
use tidemark::sources::Isolation;

use crate::district::{
    class_period, class_period_key, open_school, section_key, session_key, student, student_key,
};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

/// Fifteen minutes, and nothing more for the successor of the first run.
fn overlapping(policy: &mut Policy) {
    policy.overlap = Duration::from_secs(15 * 60);
    policy.first_overlap = FirstOverlap::Versions(0);
}

fn live(isolation: Isolation) -> Setting {
    Setting::new().policy(|policy| {
        overlapping(policy);
        policy.isolation = isolation;
    })
}

const WITHOUT_SNAPSHOT: [Isolation; 3] = [Isolation::Bounded, Isolation::Open, Isolation::Combined];

/// Two runs that found something, so that the pair has a history.
async fn with_history(scene: &Scene) {
    open_school(&scene.source);
    scene.source.take_snapshot();
    assert_ended(&scene.run().await, "complete");
    for id in ["801", "802"] {
        scene.clock.advance(TimeDelta::minutes(20));
        put(&scene.source, "students", &student(id));
        scene.source.take_snapshot();
        assert_ended(&scene.run().await, "complete");
    }
}

// A takes version 25 and stays open, B takes 26 and commits: newest is 26. A reader that goes on
// after 26 never sees A.
#[tokio::test]
async fn s20_r14_what_commits_late_below_the_watermark_is_published_by_the_next_run() {
    for isolation in WITHOUT_SNAPSHOT {
        let scene = live(isolation).start().await;
        with_history(&scene).await;
        let late = scene.source.reserve_version();
        put(&scene.source, "students", &student("900"));
        assert_ended(&scene.run().await, "complete");
        scene.clock.advance(TimeDelta::minutes(5));
        scene.source.upsert_late("/ed-fi/students", &student("899"), late).unwrap();
        put(&scene.source, "students", &student("901"));

        let report = scene.run().await;

        assert_ended(&report, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn r15_what_commits_late_to_a_source_that_falls_silent_is_published_by_a_settling_pass() {
    for isolation in WITHOUT_SNAPSHOT {
        let scene = live(isolation).start().await;
        with_history(&scene).await;
        let late = scene.source.reserve_version();
        put(&scene.source, "students", &student("900"));
        assert_ended(&scene.run().await, "complete");
        scene.source.upsert_late("/ed-fi/students", &student("899"), late).unwrap();
        scene.clock.advance(TimeDelta::minutes(14));
        assert_ended(&scene.run().await, "nothing-to-do");
        assert!(scene.target().item("/ed-fi/students", &student_key("899")).is_none());

        scene.clock.advance(TimeDelta::minutes(1));
        let pass = scene.run().await;
        let after = scene.run().await;

        assert_ended(&pass, "complete");
        scene.assert_agrees();
        scene.clock.advance(TimeDelta::days(1));
        assert_ended(&after, "nothing-to-do");
        assert_ended(&scene.run().await, "nothing-to-do");
    }
}

#[tokio::test]
async fn r14_a_snapshot_that_missed_a_late_commit_is_made_up_for_by_the_next_one() {
    let snapshots = SnapshotMode::Manual;
    let scene =
        live(Isolation::Snapshot).source(SandboxOptions { snapshots, ..bare() }).start().await;
    with_history(&scene).await;
    let late = scene.source.reserve_version();
    put(&scene.source, "students", &student("900"));
    scene.source.take_snapshot();
    scene.source.upsert_late("/ed-fi/students", &student("899"), late).unwrap();
    scene.clock.advance(TimeDelta::hours(24));
    assert_ended(&scene.run().await, "complete");
    assert!(scene.target().item("/ed-fi/students", &student_key("899")).is_none());

    put(&scene.source, "students", &student("901"));
    scene.source.take_snapshot();
    scene.clock.advance(TimeDelta::hours(24));
    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r14_the_successor_of_the_first_run_reaches_back_as_far_as_it_was_told() {
    for (versions, seen) in
        [(FirstOverlap::Versions(1_000_000), true), (FirstOverlap::Versions(0), false)]
    {
        let scene =
            live(Isolation::Bounded).policy(|policy| policy.first_overlap = versions).start().await;
        let late = scene.source.reserve_version();
        open_school(&scene.source);
        scene.run().await;
        scene.source.upsert_late("/ed-fi/students", &student("899"), late).unwrap();
        put(&scene.source, "students", &student("900"));

        assert_ended(&scene.run().await, "complete");

        let published = scene.target().item("/ed-fi/students", &student_key("899")).is_some();
        assert_eq!(published, seen, "{versions:?}");
    }
}

#[tokio::test]
async fn r14_a_pair_that_is_to_be_read_twice_at_first_has_its_second_run_at_once() {
    let scene = Setting::new()
        .policy(|policy| {
            policy.isolation = Isolation::Bounded;
            policy.first_overlap = FirstOverlap::All;
        })
        .start()
        .await;
    open_school(&scene.source);

    let reports = scene.run_all().await;

    let windows: Vec<_> = reports.iter().map(|r| r.window.unwrap().after.is_some()).collect();
    assert_eq!(windows, [false, true]);
    assert_eq!(reports[0].stages.upserts.read, reports[1].stages.upserts.read);
    assert_ended(&scene.run().await, "nothing-to-do");
}

#[tokio::test]
async fn o12_r16_what_the_overlap_brings_again_unchanged_is_not_written_again() {
    for isolation in [Isolation::Snapshot, Isolation::Bounded] {
        let scene = Setting::new()
            .policy(|policy| {
                policy.overlap = Duration::from_secs(365 * 86_400);
                policy.isolation = isolation;
            })
            .start()
            .await;
        open_school(&scene.source);
        scene.run().await;
        for id in ["801", "802", "803"] {
            put(&scene.source, "students", &student(id));
            scene.clock.advance(TimeDelta::minutes(1));
            scene.source.take_snapshot();
            scene.run().await;
        }
        scene.source.delete("/ed-fi/students", &student_key("801")).unwrap();
        put(&scene.source, "students", &student("804"));
        scene.source.take_snapshot();
        scene.run().await;
        scene.target().clear_requests();
        put(&scene.source, "students", &student("805"));
        scene.source.take_snapshot();

        let report = scene.run().await;

        assert_ended(&report, "complete");
        assert!(report.stages.upserts.skipped >= 2, "{isolation:?}: {:?}", report.stages);
        assert_eq!(report.stages.deletes.read, 0, "a settled tombstone is not acted on twice");
        assert_eq!(scene.writes("state").len(), 1, "{isolation:?}: {:?}", report.stages);
        scene.assert_agrees();
    }
}

// The overlap brings X again with the bytes that were written before. Meanwhile the target lost it
// to a run that was broken off: the hash must not be believed.
#[tokio::test]
async fn r16_after_a_run_that_was_broken_off_no_hash_is_believed() {
    let scene = live(Isolation::Bounded)
        .policy(|policy| policy.overlap = Duration::from_secs(365 * 86_400))
        .start()
        .await;
    open_school(&scene.source);
    scene.run().await;
    put(&scene.source, "students", &student("801"));
    scene.run().await;
    put(&scene.source, "students", &student("802"));
    let fault = scene.source.fault(Fault::on("/ed-fi/sections", Harm::CutBody));
    assert_ended(&scene.run().await, "failed");
    scene.source.repair(fault);
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    let students = scene.writes("state");
    let written = students.iter().filter(|w| w.key.as_deref() == Some("studentUniqueId=801"));
    assert_eq!(written.count(), 1);
}

#[tokio::test]
async fn r22_a_parked_item_that_the_overlap_brings_again_is_not_tried_before_it_is_due() {
    let scene = live(Isolation::Bounded)
        .policy(|policy| policy.overlap = Duration::from_secs(365 * 86_400))
        .start()
        .await;
    open_school(&scene.source);
    scene.run().await;
    let poison = Harm::Refuse(Refusal::Validation("no".to_owned()));
    scene.target().fault(Fault::on("/ed-fi/students", poison).key("studentUniqueId", "700"));
    put(&scene.source, "students", &student("700"));
    let scheduled = RunOptions { allow_deletes: false, all_parked: false };
    scene.run_with(&scheduled).await;

    for number in 0..5 {
        put(&scene.source, "students", &student(&format!("80{number}")));
        let report = scene.run_with(&scheduled).await.remove(0);

        assert_ended(&report, "parked");
        assert_eq!(report.stages.upserts.parked, 1, "it counts as parked");
    }
    assert_eq!(scene.parked().await[0].attempts, 1);
    // It changes: the feed brings news, and that is an attempt.
    let edited = json!({"studentUniqueId": "700", "firstName": "Later", "lastSurname": "D", "birthDate": "2010-01-13"});
    put(&scene.source, "students", &edited);
    scene.clock.advance(TimeDelta::hours(7));
    scene.run_with(&scheduled).await;
    assert_eq!(scene.parked().await[0].attempts, 2);
}

// A -> B in one window, B -> C in the next; the overlap reads A -> C alone, and B is what the target
// still has if the second run was broken off before it could rename.
#[tokio::test]
async fn r7_keys_that_a_collapse_hides_are_remembered_from_the_run_before() {
    for isolation in [Isolation::Snapshot, Isolation::Bounded] {
        let scene = live(isolation)
            .policy(|policy| policy.overlap = Duration::from_secs(365 * 86_400))
            .start()
            .await;
        open_school(&scene.source);
        put(&scene.source, "classPeriods", &class_period("A"));
        scene.run().await;
        for (old, new) in [("A", "B"), ("B", "C"), ("C", "D")] {
            let (old, new) = (class_period_key(old), class_period_key(new));
            scene.source.rename("/ed-fi/classPeriods", &old, &new).unwrap();
            scene.clock.advance(TimeDelta::minutes(1));
            scene.source.take_snapshot();

            let report = scene.run().await;

            assert_ended(&report, "complete");
            assert_eq!(report.stages.key_changes.read, 1, "each is acted on once: {report:?}");
            scene.assert_agrees();
        }
    }
}

// The row of a rename lies in one window and its record is never told (the history was purged, or
// it commits later): the id under which the item was written tells the old key.
#[tokio::test]
async fn r7_the_target_id_under_which_an_item_was_written_names_its_old_key() {
    let scene = live(Isolation::Bounded)
        .policy(|policy| policy.overlap = Duration::from_secs(365 * 86_400))
        .start()
        .await;
    open_school(&scene.source);
    scene.run().await;
    put(&scene.source, "classPeriods", &class_period("A"));
    scene.run().await;
    scene
        .source
        .rename("/ed-fi/classPeriods", &class_period_key("A"), &class_period_key("B"))
        .unwrap();
    let purge =
        scene.source.fault(Fault::on("/ed-fi/classPeriods", Harm::Empty).part(Part::KeyChanges));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.source.repair(purge);
    scene.assert_agrees();
}

#[tokio::test]
async fn a_cascade_within_the_overlap_is_followed_and_settles() {
    for isolation in [Isolation::Snapshot, Isolation::Bounded] {
        let scene = live(isolation).start().await;
        with_history(&scene).await;
        for (old, new) in [("Fall", "Autumn"), ("Autumn", "Harvest")] {
            scene.source.rename("/ed-fi/sessions", &session_key(old), &session_key(new)).unwrap();
            scene.clock.advance(TimeDelta::minutes(1));
            scene.source.take_snapshot();
            assert_ended(&scene.run().await, "complete");
            scene.assert_agrees();
        }
        let key = section_key("S1", "ALG-1", "Harvest");
        assert!(scene.target().item("/ed-fi/sections", &key).is_some());
        scene.clock.advance(TimeDelta::hours(25));

        let pass = scene.run().await;

        assert_eq!(pass.outcome, Outcome::Complete, "{pass:?}");
        assert_eq!(pass.stages.key_changes.applied, 0);
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn a_run_for_parked_items_alone_reads_nothing_of_the_overlap_again_and_settles_nothing() {
    let scene = live(Isolation::Bounded).start().await;
    with_history(&scene).await;
    let late = scene.source.reserve_version();
    let poison = Harm::Refuse(Refusal::Validation("no".to_owned()));
    let fault =
        scene.target().fault(Fault::on("/ed-fi/students", poison).key("studentUniqueId", "900"));
    put(&scene.source, "students", &student("900"));
    assert_ended(&scene.run().await, "parked");
    scene.target().repair(fault);
    scene.source.upsert_late("/ed-fi/students", &student("899"), late).unwrap();
    scene.clock.advance(TimeDelta::minutes(14));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.upserts.read, 1, "{report:?}");
    scene.clock.advance(TimeDelta::minutes(1));
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
}
