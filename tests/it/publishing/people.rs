//! People: created early, updated after their association, and only what was refused.

use tidemark::sandbox::{PeopleAuthorization, SandboxOptions};

use crate::district::{enrolment, enrolment_key, open_school, student, student_key};
use crate::scene::{Scene, Setting, assert_ended, put, strict};
use serde_json::json;

async fn scene() -> Scene {
    Setting::new()
        .target("state", SandboxOptions { people: PeopleAuthorization::Relationships, ..strict() })
        .start()
        .await
}

#[tokio::test]
async fn s34_a_person_that_is_refused_before_its_association_is_updated_after_it() {
    let scene = scene().await;
    open_school(&scene.source);
    // The target has the student already, without an enrolment: an update is refused.
    put(scene.target(), "students", &student("604821"));
    put(
        &scene.source,
        "students",
        &json!({"studentUniqueId": "604821", "firstName": "Ty", "lastSurname": "New", "birthDate": "2010-01-13"}),
    );

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
    let writes: Vec<_> = scene
        .writes("state")
        .into_iter()
        .filter(|w| w.resource.as_deref() == Some("/ed-fi/students"))
        .collect();
    assert_eq!(writes.iter().filter(|write| write.status == 403).count(), 1);
    assert_eq!(writes.len(), 3, "only what was refused is tried again: {writes:?}");
}

#[tokio::test]
async fn t5_a_person_without_an_association_is_parked_as_forbidden_and_published_when_there_is_one()
{
    let scene = scene().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    scene.run().await;
    put(
        &scene.source,
        "students",
        &json!({"studentUniqueId": "700", "firstName": "Ty", "lastSurname": "New", "birthDate": "2010-01-13"}),
    );

    let parked = scene.run().await;
    put(&scene.source, "studentSchoolAssociations", &enrolment("700"));
    let published = scene.run().await;

    assert_ended(&parked, "parked");
    assert_ended(&published, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r26_a_person_is_found_before_the_association_that_shows_it_is_deleted() {
    let scene = scene().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "studentSchoolAssociations", &enrolment("700"));
    scene.run().await;
    scene.source.delete("/ed-fi/studentSchoolAssociations", &enrolment_key("700")).unwrap();
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();

    let report = scene.run().await;

    // The association goes; the person is asked for by the id that was remembered, and whether
    // its deletion is allowed is the target's word.
    assert!(
        scene.target().item("/ed-fi/studentSchoolAssociations", &enrolment_key("700")).is_none()
    );
    let asked = scene.writes("state");
    let person = asked
        .iter()
        .filter(|w| w.method == "DELETE" && w.resource.as_deref() == Some("/ed-fi/students"));
    assert_eq!(person.count(), 1);
    assert!(report.stages.is_conserved());
}

#[tokio::test]
async fn r26_a_deleted_person_that_the_target_does_not_show_is_skipped_and_said_to_be_not_visible()
{
    let scene = scene().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    scene.run().await;
    // Nothing relates the student to an organization there, so no look-up shows it.
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!((report.stages.deletes.skipped, report.not_visible), (1, 1));
    assert!(
        report.notes.iter().any(|note| note.starts_with("not visible: skipped 1 ")),
        "{report:?}"
    );
}
