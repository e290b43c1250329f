//! A backup that is taken while a run is in flight, and what a run makes of it afterwards.

use std::sync::Arc;

use serde_json::json;
use tidemark::sandbox::{Fault, Gate, Harm};
use tidemark::state::backup::Backups;
use tidemark::state::text::{self, Text};
use tidemark::state::{MemoryStore, StateStore};

use crate::district::{
    attends, enrolment, enrolment_key, open_school, section, section_key, session_key, student,
    student_key,
};
use crate::scene::{Scene, assert_ended, put};

/// The text of a backup that is written while the next run is held at `resource`, which then goes
/// on to its end.
async fn backup_in_the_middle_of_a_run(scene: &Scene, method: &str, resource: &str) -> String {
    let gate = Gate::new();
    scene.target().fault(Fault::on(resource, Harm::Hold(gate.clone())).method(method).times(1));
    let directory = tempfile::tempdir().unwrap();
    let backups = Backups { directory: directory.path().to_owned(), keep: 1 };
    let (report, text) = tokio::join!(scene.run(), async {
        gate.reached_by(1).await;
        let written = backups.write(&scene.store, scene.clock.now()).await.unwrap().unwrap();
        gate.open();
        std::fs::read_to_string(written).unwrap()
    });
    assert_ended(&report, "complete");
    scene.assert_agrees();
    text
}

async fn imported(text: &str) -> Arc<dyn StateStore> {
    let Ok(Text::Export(steps)) = text::read(text) else { panic!("no export") };
    let store = MemoryStore::new();
    for (pair, step) in steps {
        store.commit(&pair, step).await.unwrap();
    }
    Arc::new(store)
}

#[tokio::test]
async fn an_older_state_that_was_backed_up_in_a_run_is_gone_on_from_and_ends_right() {
    // History: a backup is written in the middle of a first run, or of one with renames, upserts
    // and deletes; the run ends, more happens and is published; then the state is lost and the
    // backup is imported. What it says was under way is long over.
    for (case, method, resource, is_first) in [
        ("a first run", "POST", "/ed-fi/sections", true),
        ("a rename", "PUT", "/ed-fi/sessions", false),
        ("an upsert", "POST", "/ed-fi/students", false),
        ("a delete", "DELETE", "/ed-fi/studentSchoolAssociations", false),
    ] {
        let mut scene = Scene::start().await;
        open_school(&scene.source);
        if !is_first {
            assert_ended(&scene.run().await, "complete");
            change_everything(&scene);
        }

        let text = backup_in_the_middle_of_a_run(&scene, method, resource).await;
        assert!(text.contains(r#""journal":{"#), "{case}: the run had begun");
        let name = if is_first { "Fall" } else { "Autumn" };
        let sessions = "/ed-fi/sessions";
        scene.source.rename(sessions, &session_key(name), &session_key("Late")).unwrap();
        put(&scene.source, "students", &student("605"));
        put(&scene.source, "studentSchoolAssociations", &enrolment("605"));
        assert_ended(&scene.run().await, "complete");
        scene.assert_agrees();
        scene.store = imported(&text).await;
        // What was done since is not known to the backup; nor is this.
        scene.source.delete_with_dependents("/ed-fi/students", &student_key("605")).unwrap();
        let report = scene.run().await;

        assert_ended(&report, "complete");
        let report = scene.run().await;
        assert!(report.error.is_none(), "{case}: {:?}", report.error);
        scene.assert_agrees();
        assert_eq!(scene.watermark().await, Some(scene.source.newest()), "{case}");
    }
}

/// A rename, a new student, an update, and one who leaves.
fn change_everything(scene: &Scene) {
    let source = &scene.source;
    source.rename("/ed-fi/sessions", &session_key("Fall"), &session_key("Autumn")).unwrap();
    put(source, "students", &student("700"));
    put(source, "studentSchoolAssociations", &enrolment("700"));
    put(source, "studentSectionAssociations", &attends("700", "S1", "ALG-1", "Autumn"));
    put(source, "sections", &section("S2", "ALG-1", "Autumn"));
    assert!(source.item("/ed-fi/sections", &section_key("S1", "ALG-1", "Autumn")).is_some());
    let attending = json!({"beginDate": "2021-08-23", "localCourseCode": "ALG-1",
        "schoolId": crate::district::SCHOOL, "schoolYear": 2022, "sectionIdentifier": "S1",
        "sessionName": "Autumn", "studentUniqueId": "604821"});
    source.delete("/ed-fi/studentSectionAssociations", &attending).unwrap();
    source.delete("/ed-fi/studentSchoolAssociations", &enrolment_key("604821")).unwrap();
    source.delete("/ed-fi/students", &student_key("604821")).unwrap();
}
