//! Rows O: what is parked, renamed, deleted and made again ends as the source has it, whatever came
//! between and in whatever order.

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, FaultId, Harm, Refusal};

use crate::district::{
    class_period, class_period_key, course, enrolment, enrolment_key, offering, offering_key,
    open_school, section, section_key, session, session_key, student, student_key,
};
use crate::scene::{Scene, assert_ended, put};

const PERIODS: &str = "/ed-fi/classPeriods";

fn no() -> Harm {
    Harm::Refuse(Refusal::Validation("no".to_owned()))
}

/// The target takes none of these writes.
fn refuse(scene: &Scene, resource: &str, method: &str) -> FaultId {
    scene.target().fault(Fault::on(resource, no()).method(method))
}

fn rename(scene: &Scene, old: &str, new: &str) {
    scene.source.rename(PERIODS, &class_period_key(old), &class_period_key(new)).unwrap();
}

fn delete(scene: &Scene, name: &str) {
    scene.source.delete(PERIODS, &class_period_key(name)).unwrap();
}

/// A school that is published, with these class periods.
async fn published(periods: &[&str]) -> Scene {
    let scene = Scene::start().await;
    open_school(&scene.source);
    for name in periods {
        put(&scene.source, "classPeriods", &class_period(name));
    }
    assert_ended(&scene.run().await, "complete");
    scene
}

/// A period that can be told from another of the same name.
fn marked(name: &str, official: bool) -> Value {
    let mut period = class_period(name);
    period["officialAttendancePeriod"] = json!(official);
    period
}

async fn assert_settles(scene: &Scene) {
    assert_ended(&scene.run().await, "complete");
    assert!(scene.parked().await.is_empty());
    scene.assert_agrees();
}

#[tokio::test]
async fn o1_what_a_feed_brings_anew_settles_what_was_parked_of_it() {
    let scene = published(&["A"]).await;
    let refused = refuse(&scene, PERIODS, "POST");
    put(&scene.source, "classPeriods", &marked("A", false));
    assert_ended(&scene.run().await, "parked");
    put(&scene.source, "classPeriods", &marked("A", true));
    scene.target().repair(refused);

    assert_settles(&scene).await;

    let item = scene.target().item(PERIODS, &class_period_key("A")).unwrap();
    assert_eq!(item["officialAttendancePeriod"], true);
}

#[tokio::test]
async fn o2_a_parked_update_of_what_was_then_deleted_deletes_it() {
    let scene = published(&["A"]).await;
    let refused = refuse(&scene, PERIODS, "POST");
    put(&scene.source, "classPeriods", &marked("A", true));
    assert_ended(&scene.run().await, "parked");
    delete(&scene, "A");
    scene.target().repair(refused);

    assert_settles(&scene).await;

    assert_eq!(scene.target().count(PERIODS), 0);
}

#[tokio::test]
async fn o3_a_parked_delete_does_not_destroy_what_was_made_again() {
    let scene = published(&["A"]).await;
    let refused = refuse(&scene, PERIODS, "DELETE");
    delete(&scene, "A");
    assert_ended(&scene.run().await, "parked");
    put(&scene.source, "classPeriods", &marked("A", true));
    scene.target().repair(refused);

    assert_settles(&scene).await;

    let item = scene.target().item(PERIODS, &class_period_key("A")).unwrap();
    assert_eq!(item["officialAttendancePeriod"], true);
}

#[tokio::test]
async fn o4_a_parked_item_that_was_renamed_appears_under_its_new_key_alone() {
    let scene = published(&[]).await;
    let refused = refuse(&scene, PERIODS, "POST");
    put(&scene.source, "classPeriods", &class_period("A"));
    assert_ended(&scene.run().await, "parked");
    rename(&scene, "A", "B");
    scene.target().repair(refused);

    assert_settles(&scene).await;

    assert_eq!(scene.target().count(PERIODS), 1);
}

#[tokio::test]
async fn o5_two_items_that_exchange_their_keys_are_exchanged() {
    let scene = published(&[]).await;
    put(&scene.source, "classPeriods", &marked("A", true));
    put(&scene.source, "classPeriods", &marked("B", false));
    assert_settles(&scene).await;
    rename(&scene, "A", "swap");
    rename(&scene, "B", "A");
    rename(&scene, "swap", "B");

    assert_settles(&scene).await;

    let item = scene.target().item(PERIODS, &class_period_key("A")).unwrap();
    assert_eq!(item["officialAttendancePeriod"], false);
}

#[tokio::test]
async fn o6_two_renames_in_one_window_in_two_and_around_a_lost_answer_leave_the_last_name() {
    for (case, run_between, lose_answers) in
        [("one window", false, false), ("two windows", true, false), ("an answer lost", true, true)]
    {
        let scene = published(&["A"]).await;
        if lose_answers {
            let lost = Fault::on(PERIODS, Harm::DropAfterWriting).method("PUT").times(1);
            scene.target().fault(lost);
        }
        rename(&scene, "A", "B");
        if run_between {
            scene.run().await;
        }
        rename(&scene, "B", "C");

        assert_settles(&scene).await;

        assert_eq!(scene.target().count(PERIODS), 1, "{case}");
    }
}

#[tokio::test]
async fn o6_a_run_that_broke_between_two_renames_leaves_the_last_name() {
    let scene = published(&["A"]).await;
    rename(&scene, "A", "B");
    // The PUT is done; then the run fails at its end, before anything was committed.
    let broken = scene.source.fault(Fault::on("/ed-fi/students", Harm::Html).method("GET"));
    put(&scene.source, "students", &student("700"));
    assert_ended(&scene.run().await, "failed");
    scene.source.repair(broken);
    rename(&scene, "B", "C");

    assert_settles(&scene).await;

    assert_eq!(scene.target().count(PERIODS), 1);
}

#[tokio::test]
async fn o7_a_name_that_was_given_back_leaves_nothing_under_the_other() {
    for run_between in [false, true] {
        let scene = published(&["A"]).await;
        rename(&scene, "A", "B");
        if run_between {
            scene.run().await;
        }
        rename(&scene, "B", "A");

        assert_settles(&scene).await;

        assert_eq!(scene.target().count(PERIODS), 1, "run between: {run_between}");
    }
}

#[tokio::test]
async fn o8_what_takes_the_name_of_a_deleted_item_replaces_it() {
    let scene = published(&[]).await;
    put(&scene.source, "classPeriods", &marked("A", true));
    put(&scene.source, "classPeriods", &marked("B", false));
    assert_settles(&scene).await;
    delete(&scene, "A");
    rename(&scene, "B", "A");

    assert_settles(&scene).await;

    let item = scene.target().item(PERIODS, &class_period_key("A")).unwrap();
    assert_eq!(item["officialAttendancePeriod"], false);
    assert_eq!(scene.target().count(PERIODS), 1);
}

#[tokio::test]
async fn o9_deleted_made_again_and_deleted_in_one_window_is_absent() {
    let scene = published(&["A"]).await;
    delete(&scene, "A");
    put(&scene.source, "classPeriods", &class_period("A"));
    delete(&scene, "A");

    assert_settles(&scene).await;

    assert_eq!(scene.target().count(PERIODS), 0);
}

#[tokio::test]
async fn o10_children_that_are_parked_while_their_parent_is_renamed_follow_it() {
    let scene = published(&[]).await;
    let refused = refuse(&scene, "/ed-fi/sections", "POST");
    put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
    assert_ended(&scene.run().await, "parked");
    scene.source.rename("/ed-fi/sessions", &session_key("Fall"), &session_key("Autumn")).unwrap();
    scene.target().repair(refused);

    assert_settles(&scene).await;

    let moved = section_key("S2", "ALG-1", "Autumn");
    assert!(scene.target().item("/ed-fi/sections", &moved).is_some());
}

#[tokio::test]
async fn o11_a_child_that_moves_leaves_a_parent_that_can_be_deleted() {
    let scene = published(&[]).await;
    put(&scene.source, "sessions", &session("Spring"));
    put(&scene.source, "sessions", &session("Winter"));
    put(&scene.source, "courses", &course("GEO-1"));
    put(&scene.source, "courseOfferings", &offering("GEO-1", "Winter"));
    assert_settles(&scene).await;
    let old = offering_key("GEO-1", "Winter");
    let new = offering_key("GEO-1", "Spring");
    if scene.source.rename("/ed-fi/courseOfferings", &old, &new).is_err() {
        // A server that does not allow it is left by deleting and making anew.
        scene.source.delete("/ed-fi/courseOfferings", &old).unwrap();
        put(&scene.source, "courseOfferings", &offering("GEO-1", "Spring"));
    }
    scene.source.delete("/ed-fi/sessions", &session_key("Winter")).unwrap();

    assert_settles(&scene).await;

    assert!(scene.target().item("/ed-fi/courseOfferings", &new).is_some());
    assert!(scene.target().item("/ed-fi/sessions", &session_key("Winter")).is_none());
}

#[tokio::test]
async fn o11_a_person_goes_after_what_refers_to_it() {
    let scene = published(&[]).await;
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "studentSchoolAssociations", &enrolment("700"));
    assert_settles(&scene).await;
    scene.source.delete("/ed-fi/studentSchoolAssociations", &enrolment_key("700")).unwrap();
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();

    assert_settles(&scene).await;

    assert!(scene.target().item("/ed-fi/students", &student_key("700")).is_none());
}
