//! Missing references: fetched from the source and published first, if their resource is selected.

use crate::district::{open_school, section, section_key, student, student_key};
use crate::scene::strict;
use crate::scene::{Scene, Setting, assert_ended, put};
use tidemark::sandbox::{ApiVersion, SandboxOptions};

#[tokio::test]
async fn t1_r24_what_the_target_lost_is_fetched_and_published_before_what_refers_to_it() {
    for version in ApiVersion::ALL {
        let scene =
            Setting::new().target("state", SandboxOptions { version, ..strict() }).start().await;
        open_school(&scene.source);
        scene.run().await;
        // Somebody deleted the offering at the target, and the section with it.
        let attends = |id: &str| {
            serde_json::json!({"beginDate": "2021-08-23", "localCourseCode": "ALG-1", "schoolId": 255_901_001,
            "schoolYear": 2022, "sectionIdentifier": "S1", "sessionName": "Fall", "studentUniqueId": id})
        };
        for id in ["604821", "604822"] {
            scene.target().delete("/ed-fi/studentSectionAssociations", &attends(id)).unwrap();
        }
        scene.target().delete("/ed-fi/sections", &section_key("S1", "ALG-1", "Fall")).unwrap();
        scene
            .target()
            .delete("/ed-fi/courseOfferings", &crate::district::offering_key("ALG-1", "Fall"))
            .unwrap();
        put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));

        let report = scene.run().await;

        assert_ended(&report, "complete");
        assert!(
            scene.target().item("/ed-fi/sections", &section_key("S2", "ALG-1", "Fall")).is_some()
        );
        assert!(
            scene
                .target()
                .item("/ed-fi/courseOfferings", &crate::district::offering_key("ALG-1", "Fall"))
                .is_some()
        );
    }
}

#[tokio::test]
async fn r24_a_school_is_fetched_for_what_refers_to_it_as_an_education_organization() {
    let scene = Scene::start().await;
    put(&scene.source, "localEducationAgencies", &crate::district::agency());
    put(&scene.source, "schools", &crate::district::school());
    scene.run().await;
    let school = serde_json::json!({"schoolId": crate::district::SCHOOL});
    scene.target().delete("/ed-fi/schools", &school).unwrap();
    put(&scene.source, "courses", &crate::district::course("ALG-1"));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r24_a_reference_outside_the_selection_parks_the_item_and_says_so() {
    let scene = Setting::new()
        .policy(|policy| policy.selection.exclude_only = vec!["students".to_owned()])
        .start()
        .await;
    open_school(&scene.source);

    let report = scene.run().await;

    assert_ended(&report, "parked");
    let parked = scene.parked().await;
    let outside = parked.iter().filter(|p| p.reason.as_str() == "reference-outside-selection");
    assert!(
        outside.count() >= 2,
        "{:?}",
        parked.iter().map(|p| (&p.resource, p.reason)).collect::<Vec<_>>()
    );
    assert_eq!(scene.target().count("/ed-fi/students"), 0);
}

#[tokio::test]
async fn a_thousandfold_refused_parent_is_tried_once_and_its_dependants_wait_for_it() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    let refused = scene.target().fault(
        tidemark::sandbox::Fault::on(
            "/ed-fi/students",
            tidemark::sandbox::Harm::Refuse(tidemark::sandbox::Refusal::Validation(
                "no".to_owned(),
            )),
        )
        .key("studentUniqueId", "604821"),
    );

    let report = scene.run().await;

    assert_ended(&report, "parked");
    let posts = scene.writes("state").into_iter().filter(|w| {
        w.resource.as_deref() == Some("/ed-fi/students")
            && w.key.as_deref() == Some("studentUniqueId=604821")
    });
    assert_eq!(posts.count(), 1, "an item is tried once a run (R22)");
    scene.target().repair(refused);
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
    assert!(scene.target().item("/ed-fi/students", &student_key("604821")).is_some());
    let _ = student("604821");
}
