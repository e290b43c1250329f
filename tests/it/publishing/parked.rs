//! What a target will not take is parked by its key, and tried again from the source.

use chrono::TimeDelta;
use serde_json::json;
use tidemark::domain::ParkReason;
use tidemark::engine::runner::RunOptions;
use tidemark::sandbox::{Fault, Harm, Part, Refusal};
use tidemark::state::ParkStatus;

use crate::district::{open_school, standard, student, student_key};
use crate::scene::{Scene, Setting, assert_ended, put};

fn edited(id: &str) -> serde_json::Value {
    let mut student = student(id);
    student["firstName"] = "Later".into();
    student
}

fn invalid() -> Harm {
    Harm::Refuse(Refusal::Validation("the value 'secret 42' is not allowed".to_owned()))
}

#[tokio::test]
async fn a_refused_item_is_parked_the_run_goes_on_and_a_later_run_publishes_it() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    let fault =
        scene.target().fault(Fault::on("/ed-fi/students", invalid()).key("studentUniqueId", "700"));

    let report = scene.run().await;

    assert_ended(&report, "parked");
    assert_eq!(report.stages.upserts.parked, 1);
    assert_eq!(scene.watermark().await, Some(scene.source.newest()));
    let parked = scene.parked().await;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].reason, ParkReason::Invalid);
    assert_eq!(parked[0].error.status, 400);
    assert_eq!(parked[0].key.as_ref().unwrap().get("studentUniqueId"), Some("700"));
    scene.target().repair(fault);
    let repaired = scene.run().await;
    assert_ended(&repaired, "complete");
    scene.assert_agrees();
    assert!(scene.parked().await.is_empty());
}

#[tokio::test]
async fn what_is_parked_is_read_again_as_it_is_now_and_never_from_a_copy() {
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    let fault = scene.target().fault(Fault::on("/ed-fi/students", invalid()));
    scene.run().await;
    put(
        &scene.source,
        "students",
        &json!({"studentUniqueId": "700", "firstName": "Later", "lastSurname": "D", "birthDate": "2010-01-13"}),
    );
    scene.target().repair(fault);

    assert_ended(&scene.run().await, "complete");

    assert_eq!(
        scene.target().item("/ed-fi/students", &student_key("700")).unwrap()["firstName"],
        "Later"
    );
}

#[tokio::test]
async fn r21_a_parked_item_that_is_gone_and_was_not_named_is_settled_and_nothing_deleted() {
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    let fault = scene.target().fault(Fault::on("/ed-fi/students", invalid()));
    scene.run().await;
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    scene.target().repair(fault);

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(scene.parked().await.is_empty());
    assert_eq!(scene.target().count("/ed-fi/students"), 0);
}

#[tokio::test]
async fn r21_a_newer_item_under_the_same_key_settles_the_parked_one() {
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    let fault = scene.target().fault(Fault::on("/ed-fi/students", invalid()).times(1));
    scene.run().await;
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    put(&scene.source, "students", &student("700"));
    scene.target().repair(fault);

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(scene.parked().await.is_empty());
    scene.assert_agrees();
}

#[tokio::test]
async fn r22_a_schedule_tries_what_is_due_and_only_used_up_attempts_make_dead() {
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    scene.target().fault(Fault::on("/ed-fi/students", invalid()));
    let scheduled = RunOptions { allow_deletes: false, all_parked: false };
    scene.run_with(&scheduled).await;

    let not_due = scene.run_with(&scheduled).await.remove(0);
    scene.clock.advance(TimeDelta::hours(7));
    let due = scene.run_with(&scheduled).await.remove(0);

    assert_eq!(not_due.stages.upserts.read, 0);
    assert_ended(&not_due, "parked");
    assert_eq!(due.stages.upserts.parked, 1);
    assert_eq!(scene.parked().await[0].attempts, 2);
    scene.clock.advance(TimeDelta::hours(7));
    scene.run_with(&scheduled).await;
    assert_eq!(
        scene.parked().await[0].status,
        ParkStatus::Dead,
        "three attempts for what is invalid"
    );
    scene.clock.advance(TimeDelta::days(30));
    scene.target().clear_requests();
    assert_ended(&scene.run_with(&scheduled).await.remove(0), "parked");
    assert_eq!(scene.writes("state").len(), 0, "a dead item is not tried");
}

#[tokio::test]
async fn r22_what_waits_for_another_key_is_tried_when_that_key_was_applied_and_nothing_else_is() {
    let scene = Setting::new().policy(|policy| policy.retry.max_attempts = 1).start().await;
    open_school(&scene.source);
    let poison =
        |id| Fault::on("/ed-fi/students", invalid()).method("POST").key("studentUniqueId", id);
    let faults = ["700", "701"].map(|id| scene.target().fault(poison(id)));
    for id in ["700", "701"] {
        put(&scene.source, "students", &student(id));
        put(&scene.source, "studentSchoolAssociations", &crate::district::enrolment(id));
    }
    assert_ended(&scene.run().await, "parked");
    assert!(scene.parked().await.iter().all(|item| item.status == ParkStatus::Dead));
    let scheduled = RunOptions { allow_deletes: false, all_parked: false };
    scene.target().repair(faults[0]);
    put(&scene.source, "students", &edited("700"));
    scene.target().clear_requests();

    let report = scene.run_with(&scheduled).await.remove(0);

    assert_ended(&report, "parked");
    assert_eq!(report.stages.upserts.applied, 2, "the student and who waited for it");
    let waiting = scene.parked().await;
    let keys: Vec<_> = waiting
        .iter()
        .filter_map(|item| item.key.as_ref()?.get("studentUniqueId").map(str::to_owned))
        .collect();
    assert_eq!(keys, ["701", "701"]);
    let waits = waiting.iter().find_map(|item| item.waits_for.clone()).unwrap();
    assert_eq!(waits.key.get("studentUniqueId"), Some("701"));
    assert_eq!(scene.writes("state").len(), 2, "who waits for another is left alone");
}

#[tokio::test]
async fn r22_a_cause_that_comes_after_the_turn_of_who_waits_for_it_calls_all_the_same() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    let (a, b) = (standard("A", None), standard("B", Some("A")));
    let taken = Fault::on("/ed-fi/learningStandards", Harm::Refuse(Refusal::KeyTaken));
    scene.target().fault(taken.method("POST").key("learningStandardId", "A").times(1));
    put(&scene.source, "learningStandards", &a);
    put(&scene.source, "learningStandards", &b);

    // A is taken until the deletes are done; B, which refers to it, is parked long before.
    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r22_a_dead_item_gets_fresh_attempts_when_the_target_is_another_version() {
    let scene = Setting::new().policy(|policy| policy.retry.max_attempts = 1).start().await;
    put(&scene.source, "students", &student("700"));
    let fault = scene.target().fault(Fault::on("/ed-fi/students", invalid()));
    scene.run().await;
    scene.target().repair(fault);
    put(&scene.source, "students", &student("701"));
    assert_ended(&scene.run().await, "parked");
    let mut state = scene.state("state").await;
    state.target.as_mut().unwrap().api_version = "7.2".to_owned();
    let older = tidemark::state::Step { state: Some(state), ..Default::default() };
    scene.store.commit(&scene.pair_id("state"), older).await.unwrap();
    put(&scene.source, "students", &student("702"));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn t2_a_parent_that_is_still_referenced_is_parked_and_deleted_when_nothing_refers_to_it() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    scene.run().await;
    // The target alone has an enrolment of the student.
    put(scene.target(), "studentSchoolAssociations", &crate::district::enrolment("700"));
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "parked");
    assert_eq!(scene.parked().await[0].reason, ParkReason::StillReferenced);
    scene
        .target()
        .delete("/ed-fi/studentSchoolAssociations", &crate::district::enrolment_key("700"))
        .unwrap();
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn t6_r23_a_target_that_refuses_most_of_what_it_gets_fails_the_run_and_nothing_moves() {
    let scene = Scene::start().await;
    for number in 0..150 {
        put(&scene.source, "students", &student(&format!("9{number:04}")));
    }
    scene.target().fault(Fault::everywhere(invalid()).method("POST").part(Part::Items));

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "mostly-refused");
    assert_eq!(scene.watermark().await, None);
    assert!(scene.parked().await.len() >= 50, "what was parked stays");
}

#[tokio::test]
async fn more_than_may_be_parked_fails_the_run() {
    let scene = Setting::new().policy(|policy| policy.retry.max_parked = 3).start().await;
    for number in 0..10 {
        put(&scene.source, "students", &student(&format!("9{number:04}")));
    }
    scene.target().fault(Fault::everywhere(invalid()).method("POST").part(Part::Items));

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "too-many-parked");
    assert_eq!(scene.watermark().await, None);
}

#[tokio::test]
async fn r23a_a_resource_that_is_refused_as_a_whole_is_closed_with_one_dead_record() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    for number in 0..20 {
        put(&scene.source, "learningStandards", &standard(&format!("S{number}"), None));
    }
    let fault = scene.target().fault(
        Fault::on("/ed-fi/learningStandards", Harm::Refuse(Refusal::ResourceClosed)).method("POST"),
    );

    let report = scene.run().await;

    assert_ended(&report, "parked");
    let parked = scene.parked().await;
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (parked[0].reason, parked[0].status),
        (ParkReason::ResourceClosed, ParkStatus::Dead)
    );
    let coverage = scene.store.coverage(&scene.pair_id("state")).await.unwrap();
    assert!(!coverage.spoken_for.contains(&crate::scene::path("learningStandards")));
    // A person has mended the claim set and says so.
    scene.target().repair(fault);
    let mut state = scene.state("state").await;
    state.selection = None;
    let retry = tidemark::state::Step {
        settle: vec![parked[0].id.clone()],
        state: Some(state),
        ..Default::default()
    };
    scene.store.commit(&scene.pair_id("state"), retry).await.unwrap();
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r25_what_was_taken_is_tried_once_more_after_the_deletes() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "learningStandards", &standard("A", None));
    scene.run().await;
    scene.source.delete("/ed-fi/learningStandards", &json!({"learningStandardId": "A"})).unwrap();
    put(&scene.source, "learningStandards", &standard("B", None));
    scene.target().fault(
        Fault::on("/ed-fi/learningStandards", Harm::Refuse(Refusal::KeyTaken))
            .method("POST")
            .times(1),
    );

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}
