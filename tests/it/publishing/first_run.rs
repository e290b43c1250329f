//! The first publication: everything, in order, once.

use std::collections::BTreeMap;

use serde_json::json;
use tidemark::sandbox::{ApiVersion, Part, SandboxOptions};

use crate::district::{open_school, standard};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

#[tokio::test]
async fn a_first_run_publishes_everything_and_the_next_finds_nothing_to_do() {
    let scene = Scene::start().await;
    open_school(&scene.source);

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.window.unwrap().after, None);
    assert_eq!(report.stages.upserts.applied, 12);
    assert_eq!(scene.watermark().await, Some(scene.source.newest()));
    scene.assert_agrees();
    assert_ended(&scene.run().await, "nothing-to-do");
}

#[tokio::test]
async fn pages_of_every_size_publish_the_same() {
    for (version, page_size) in
        [(ApiVersion::V7_3, 1), (ApiVersion::V6_1, 1), (ApiVersion::V6_1, 3)]
    {
        let scene = Setting::new()
            .source(SandboxOptions { version, ..bare() })
            .page_size(page_size)
            .start()
            .await;
        open_school(&scene.source);

        let report = scene.run().await;

        assert_ended(&report, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn all_bytes_of_a_body_but_what_a_target_must_not_see_arrive_as_they_left() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    let odd = r#"{ "studentUniqueId" : "7", "firstName":"Tyr\u00f6ne","lastSurname":"D\/yer",
        "birthDate":"2010-01-13", "somethingUnknown":{"kept":1.10,"list":[1e2,-0.0]} }"#;
    scene.source.upsert_text("/ed-fi/students", odd).unwrap();

    assert_ended(&scene.run().await, "complete");

    let (source, target) =
        (scene.source.bodies("/ed-fi/students"), scene.target().bodies("/ed-fi/students"));
    let arrived = target.iter().find(|body| body.contains("somethingUnknown")).unwrap();
    for kept in [r#""Tyr\u00f6ne""#, r#""D\/yer""#, "1.10", "1e2", "-0.0"] {
        assert!(arrived.contains(kept), "{kept}");
    }
    assert_eq!(source.len(), target.len());
}

#[tokio::test]
async fn no_child_is_written_before_its_parent_and_nothing_is_refused_in_a_clean_run() {
    let scene = Scene::start().await;
    open_school(&scene.source);

    assert_ended(&scene.run().await, "complete");

    let writes = scene.writes("state");
    assert!(writes.iter().all(|write| write.status < 300), "{writes:?}");
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for write in &writes {
        let resource = write.resource.clone().unwrap();
        first.entry(resource.clone()).or_insert(write.sequence);
        last.insert(resource, write.sequence);
    }
    for (parent, child) in [
        ("localEducationAgencies", "schools"),
        ("schools", "sessions"),
        ("sessions", "courseOfferings"),
        ("courses", "courseOfferings"),
        ("courseOfferings", "sections"),
        ("students", "studentSchoolAssociations"),
        ("studentSchoolAssociations", "studentSectionAssociations"),
        ("sections", "studentSectionAssociations"),
    ] {
        assert!(
            last[&format!("/ed-fi/{parent}")] < first[&format!("/ed-fi/{child}")],
            "{parent} before {child}"
        );
    }
}

#[tokio::test]
async fn r28_parents_of_a_resource_that_refers_to_itself_come_first_within_a_page() {
    let scene = Scene::start().await;
    // The source holds children before parents: the parent was deleted and made anew.
    for (id, parent) in [("A", None), ("A.1", None), ("A.1.a", None)] {
        put(&scene.source, "learningStandards", &standard(id, parent));
    }
    put(&scene.source, "learningStandards", &standard("Z", None));
    put(&scene.source, "learningStandards", &standard("A.1", Some("Z")));
    put(&scene.source, "learningStandards", &standard("A", Some("A.1")));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    let writes = scene.writes("state");
    assert!(writes.iter().all(|write| write.status < 300), "no 409 within one page: {writes:?}");
    scene.assert_agrees();
}

#[tokio::test]
async fn r28_a_parent_on_a_later_page_is_fetched_first() {
    let scene = Setting::new().page_size(1).start().await;
    put(&scene.source, "learningStandards", &standard("A", None));
    put(&scene.source, "learningStandards", &standard("Z", None));
    put(&scene.source, "learningStandards", &standard("A", Some("Z")));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn a_run_with_nothing_new_asks_three_times_at_most_and_writes_nothing() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1] {
        let scene = Setting::new().source(SandboxOptions { version, ..bare() }).start().await;
        open_school(&scene.source);
        scene.run().await;
        scene.source.clear_requests();
        scene.target().clear_requests();

        let report = scene.run().await;

        assert_ended(&report, "nothing-to-do");
        let mut asked = scene.source.requests();
        assert_eq!(report.requests.source, u64::try_from(asked.len()).unwrap());
        asked.extend(scene.target().requests());
        let beyond = asked.iter().filter(|r| !matches!(r.part, Part::Root | Part::Token)).count();
        assert!((2..=3).contains(&beyond), "{asked:?}");
        assert!(asked.iter().all(|request| request.method == "GET" || request.part == Part::Token));
    }
}

#[tokio::test]
async fn a_first_run_asks_for_no_deletes_and_no_key_changes() {
    let scene = Scene::start().await;
    open_school(&scene.source);

    scene.run().await;

    let asked = scene.source.requests();
    let feeds =
        asked.iter().filter(|r| r.path.ends_with("/deletes") || r.path.ends_with("/keyChanges"));
    assert_eq!(feeds.count(), 0);
}

#[tokio::test]
async fn every_read_of_a_run_carries_the_snapshot_and_no_write_does() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    put(
        &scene.source,
        "students",
        &json!({"studentUniqueId": "604821", "firstName": "Ty", "lastSurname": "D", "birthDate": "2010-01-13"}),
    );
    scene.source.clear_requests();

    assert_ended(&scene.run().await, "complete");

    let live: Vec<_> =
        scene.source.requests().into_iter().filter(|request| !request.from_snapshot).collect();
    for request in &live {
        assert!(request.resource.is_none(), "read live: {request:?}");
    }
    assert!(scene.target().requests().iter().all(|request| !request.from_snapshot));
}
