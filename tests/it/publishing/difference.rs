//! What changed since the watermark: each kind of change, and the window that lies between.

use serde_json::json;

use crate::district::{
    SCHOOL, attends, enrolment_key, open_school, section, section_key, standard, student,
    student_key,
};
use crate::scene::{Scene, Setting, assert_ended, put};
use tidemark::engine::Publish;
use tidemark::engine::runner::RunOptions;
use tidemark::engine::verify::{VerifyOptions, verify};
use tidemark::sandbox::{ApiVersion, Feeds, SandboxOptions};
use tidemark::sources::Isolation;

use crate::scene::{bare, strict};

#[tokio::test]
async fn creates_and_updates_of_the_window_alone_are_published() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    put(&scene.source, "students", &student("604823"));
    put(
        &scene.source,
        "sections",
        &json!({"sectionName": "Algebra", "sectionIdentifier": "S1",
        "courseOfferingReference": {"localCourseCode": "ALG-1", "schoolId": SCHOOL, "schoolYear": 2022, "sessionName": "Fall"}}),
    );

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.upserts.applied, 2);
    scene.assert_agrees();
}

#[tokio::test]
async fn t7_deletes_go_children_first_and_what_is_gone_already_is_success() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1] {
        let scene = Setting::new()
            .source(SandboxOptions { version, ..bare() })
            .target("state", SandboxOptions { version, ..strict() })
            .start()
            .await;
        open_school(&scene.source);
        scene.run().await;
        let attending = json!({"beginDate": "2021-08-23", "localCourseCode": "ALG-1", "schoolId": SCHOOL,
            "schoolYear": 2022, "sectionIdentifier": "S1", "sessionName": "Fall", "studentUniqueId": "604821"});
        for (resource, key) in [
            ("/ed-fi/studentSectionAssociations", &attending),
            ("/ed-fi/studentSchoolAssociations", &enrolment_key("604821")),
            ("/ed-fi/students", &student_key("604821")),
        ] {
            scene.source.delete(resource, key).unwrap();
        }
        scene.target().delete("/ed-fi/studentSectionAssociations", &attending).unwrap();
        scene.target().clear_requests();

        let report = scene.run().await;

        assert_ended(&report, "complete");
        assert_eq!((report.stages.deletes.applied, report.stages.deletes.skipped), (2, 1));
        let deletes: Vec<_> =
            scene.writes("state").into_iter().filter(|w| w.method == "DELETE").collect();
        assert!(deletes.iter().all(|write| write.status == 204), "{deletes:?}");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn what_was_deleted_and_made_again_in_one_window_lives() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "learningStandards", &standard("A", None));
    scene.run().await;
    let key = json!({"learningStandardId": "A"});
    scene.source.delete("/ed-fi/learningStandards", &key).unwrap();
    put(
        &scene.source,
        "learningStandards",
        &json!({"learningStandardId": "A", "description": "Anew",
        "namespace": "uri://ed-fi.org/LearningStandard/LearningStandard.xml",
        "gradeLevels": [{"gradeLevelDescriptor": "uri://ed-fi.org/GradeLevelDescriptor#Ninth grade"}],
        "academicSubjects": [{"academicSubjectDescriptor": "uri://ed-fi.org/AcademicSubjectDescriptor#Mathematics"}]}),
    );

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn s35_r29_a_descriptor_that_lives_again_is_not_deleted_though_its_tombstone_is_told() {
    let scene = Setting::new().policy(|policy| policy.selection.descriptors = true).start().await;
    let descriptor = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "Trimester 9", "shortDescription": "T9"});
    put(&scene.source, "termDescriptors", &descriptor);
    assert_ended(&scene.run().await, "complete");
    let key = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "Trimester 9"});
    scene.source.delete("/ed-fi/termDescriptors", &key).unwrap();
    put(&scene.source, "termDescriptors", &descriptor);

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn descriptors_are_published_updated_and_deleted_like_everything_else() {
    let scene = Setting::new().policy(|policy| policy.selection.descriptors = true).start().await;
    let descriptor = |short: &str| json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "Trimester 9", "shortDescription": short});
    put(&scene.source, "termDescriptors", &descriptor("T9"));
    assert_ended(&scene.run().await, "complete");
    put(&scene.source, "termDescriptors", &descriptor("Ninth"));
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
    let key = json!({"namespace": "uri://ed-fi.org/TermDescriptor", "codeValue": "Trimester 9"});
    scene.source.delete("/ed-fi/termDescriptors", &key).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.deletes.applied, 1);
    scene.assert_agrees();
}

#[tokio::test]
async fn r28_a_tree_of_standards_is_deleted_from_its_leaves() {
    let scene = Scene::start().await;
    for (id, parent) in [("A", None), ("A.1", Some("A")), ("A.1.a", Some("A.1"))] {
        put(&scene.source, "learningStandards", &standard(id, parent));
    }
    scene.run().await;
    for id in ["A.1.a", "A.1", "A"] {
        scene
            .source
            .delete("/ed-fi/learningStandards", &json!({"learningStandardId": id}))
            .unwrap();
    }

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.deletes.applied, 3);
    scene.assert_agrees();
}

#[tokio::test]
async fn under_bounded_the_same_changes_arrive() {
    let scene = Setting::new()
        .policy(|policy| policy.isolation = Isolation::Bounded)
        .source(SandboxOptions { snapshots: tidemark::sandbox::SnapshotMode::None, ..bare() })
        .start()
        .await;
    open_school(&scene.source);
    assert_ended(&scene.run().await, "complete");
    put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
    put(&scene.source, "studentSectionAssociations", &attends("604821", "S2", "ALG-1", "Fall"));
    scene
        .source
        .rename(
            "/ed-fi/sections",
            &section_key("S1", "ALG-1", "Fall"),
            &section_key("S9", "ALG-1", "Fall"),
        )
        .unwrap();

    assert_ended(&scene.run().await, "complete");

    scene.assert_agrees();
}

#[tokio::test]
async fn t23_r27_a_run_that_would_delete_too_much_deletes_nothing_until_a_person_allows_it() {
    let scene = Setting::new().policy(|policy| policy.brake.above = 3).start().await;
    for number in 0..5 {
        put(&scene.source, "learningStandards", &standard(&format!("S{number}"), None));
    }
    scene.run().await;
    for number in 0..5 {
        scene
            .source
            .delete(
                "/ed-fi/learningStandards",
                &json!({"learningStandardId": format!("S{number}")}),
            )
            .unwrap();
    }

    let braked = scene.run().await;
    let still = scene.run().await;
    let allowed =
        scene.run_with(&RunOptions { allow_deletes: true, all_parked: true }).await.remove(0);

    assert_ended(&braked, "failed");
    assert_eq!(braked.error.unwrap().kind, "blocked");
    assert_ended(&still, "failed");
    assert_ended(&allowed, "complete");
    assert_eq!(allowed.stages.deletes.applied, 5);
    scene.assert_agrees();
}

#[tokio::test]
async fn s18_a_source_that_cannot_tell_deletes_or_key_changes_is_refused_unless_told_to_skip() {
    let scene = Setting::new()
        .source(SandboxOptions { feeds: Feeds { deletes: true, key_changes: false }, ..bare() })
        .start()
        .await;
    open_school(&scene.source);
    assert_ended(&scene.run().await, "complete");
    put(&scene.source, "students", &student("604823"));

    let refused = scene.run().await;
    let mut scene = scene;
    scene.policy.key_changes = Publish::Skip;
    let skipped = scene.run().await;

    assert_ended(&refused, "failed");
    assert_eq!(scene.target().count("/ed-fi/students"), 3);
    assert_ended(&skipped, "complete");
}

#[tokio::test]
async fn r17_deletes_that_were_skipped_are_said_to_be_missing_until_verify_has_made_up_for_them() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    scene.run().await;
    scene.policy.deletes = Publish::Skip;
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    let skipping = scene.run().await;
    assert_eq!(skipping.notes, Vec::<String>::new());

    scene.policy.deletes = Publish::Publish;
    let publishing = scene.run().await;

    assert_ended(&publishing, "complete");
    assert!(scene.target().item("/ed-fi/students", &student_key("700")).is_some());
    let [note] = publishing.notes.as_slice() else { panic!("{:?}", publishing.notes) };
    assert!(note.contains("`deletes` was `skip`") && note.contains("--repair"), "{note}");
    let repair = VerifyOptions { repair: true, delete_extra: true, ..VerifyOptions::default() };
    let pair = scene.pairs().remove(0);
    assert!(verify(&scene.surroundings(), &pair, &repair, scene.spool()).await.unwrap().equal);
    scene.assert_agrees();
    put(&scene.source, "students", &student("701"));
    assert_eq!(scene.run().await.notes, Vec::<String>::new());
}

// The source's credentials lose sight of a student. Nothing named it, so it stays; a person who knows
// that nobody else writes there may have it deleted.
#[tokio::test]
async fn r3_what_the_source_shows_no_more_was_not_deleted() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    assert_ended(&scene.run().await, "complete");
    scene.source.mask("/ed-fi/students", &student_key("700"));
    put(&scene.source, "students", &student("801"));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.deletes.read, 0);
    assert!(scene.target().item("/ed-fi/students", &student_key("700")).is_some());
    let pair = scene.pairs().remove(0);
    let around = scene.surroundings();
    let mend = VerifyOptions { repair: true, ..VerifyOptions::default() };
    verify(&around, &pair, &mend, scene.spool()).await.unwrap();
    assert!(scene.target().item("/ed-fi/students", &student_key("700")).is_some());
    let delete = VerifyOptions { delete_extra: true, ..VerifyOptions::default() };
    assert!(verify(&around, &pair, &delete, scene.spool()).await.unwrap().equal);
    assert!(scene.target().item("/ed-fi/students", &student_key("700")).is_none());
}
