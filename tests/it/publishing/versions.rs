//! Every version of the API at either end: the same night, told and taken in each one's own words.

use serde_json::json;
use tidemark::domain::ParkReason;
use tidemark::engine::{Policy, Publish};
use tidemark::sandbox::{ApiVersion, Fault, Harm, Refusal, SandboxOptions, SnapshotMode};
use tidemark::sources::Isolation;

use crate::district::{
    course, enrolment, enrolment_key, offering, offering_key, open_school, section, section_key,
    student, student_key,
};
use crate::scene::{Scene, Setting, assert_ended, bare, put, strict};

/// What a publication from a source of this version has to say: 8.0 has no snapshots, 5.3 tells
/// neither keys of deletes nor key changes.
fn as_the_source_allows(version: ApiVersion, policy: &mut Policy) {
    match version {
        ApiVersion::V8_0 => policy.isolation = Isolation::Bounded,
        ApiVersion::V5_3 => {
            policy.deletes = Publish::Skip;
            policy.key_changes = Publish::Skip;
        }
        ApiVersion::V6_1 | ApiVersion::V7_1 | ApiVersion::V7_2 | ApiVersion::V7_3 => {}
    }
}

async fn between(source: ApiVersion, target: ApiVersion, page_size: usize) -> Scene {
    Setting::new()
        .source(SandboxOptions { version: source, ..bare() })
        .target("state", SandboxOptions { version: target, ..strict() })
        .policy(|policy| as_the_source_allows(source, policy))
        .page_size(page_size)
        .start()
        .await
}

const OLD: [&str; 3] = ["S1", "ALG-1", "Fall"];
const NEW: [&str; 3] = ["S9", "ALG-1", "Fall"];

fn key_of([id, code, session]: [&str; 3]) -> serde_json::Value {
    section_key(id, code, session)
}

/// A first run in which one student is refused, then a night of creates, an update, a rename and
/// a delete, with a course and a student that somebody removed from the target meanwhile; at the
/// end the refused student is taken. `told` says whether the source tells deletes and renames.
async fn a_night(scene: &Scene, told: bool) {
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "students", &student("701"));
    put(&scene.source, "courses", &course("BIO-1"));
    put(&scene.source, "sections", &section("S5", "ALG-1", "Fall"));
    let invalid = Harm::Refuse(Refusal::Validation("no".to_owned()));
    let refused =
        scene.target().fault(Fault::on("/ed-fi/students", invalid).key("studentUniqueId", "700"));
    let first = scene.run().await;
    assert_ended(&first, "parked");
    let parked = scene.parked().await;
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].reason, parked[0].error.status), (ParkReason::Invalid, 400));
    let id = scene.target().id("/ed-fi/sections", &key_of(OLD)).unwrap();

    put(&scene.source, "students", &student("604823"));
    put(
        &scene.source,
        "students",
        &json!({"studentUniqueId": "604821", "firstName": "Ty", "lastSurname": "D", "birthDate": "2010-01-13"}),
    );
    scene.source.delete("/ed-fi/sections", &section_key("S5", "ALG-1", "Fall")).unwrap();
    scene.source.rename("/ed-fi/sections", &key_of(OLD), &key_of(NEW)).unwrap();
    scene.target().delete("/ed-fi/courses", &course_key("BIO-1")).unwrap();
    put(&scene.source, "courseOfferings", &offering("BIO-1", "Fall"));
    scene.target().delete("/ed-fi/students", &student_key("701")).unwrap();
    put(&scene.source, "studentSchoolAssociations", &enrolment("701"));
    let night = scene.run().await;

    assert_ended(&night, "parked");
    let target = scene.target();
    assert!(target.item("/ed-fi/courseOfferings", &offering_key("BIO-1", "Fall")).is_some());
    assert!(target.item("/ed-fi/studentSchoolAssociations", &enrolment_key("701")).is_some());
    assert!(target.item("/ed-fi/sections", &key_of(NEW)).is_some());
    if told {
        assert_eq!(night.stages.key_changes.applied, 1);
        assert_eq!(target.id("/ed-fi/sections", &key_of(NEW)), Some(id), "the PUT keeps the id");
        assert_eq!(night.stages.deletes.applied, 1);
    }
    target.repair(refused);
    let last = scene.run().await;
    assert_ended(&last, "complete");
    assert!(scene.parked().await.is_empty());
    assert_eq!(scene.watermark().await, Some(scene.source.newest()));
    assert_ended(&scene.run().await, "nothing-to-do");
}

fn course_key(code: &str) -> serde_json::Value {
    json!({"courseCode": code, "educationOrganizationId": crate::district::SCHOOL})
}

#[tokio::test]
async fn every_version_that_tells_its_keys_is_published_into_7_3() {
    for version in ApiVersion::ALL.into_iter().filter(|version| *version != ApiVersion::V5_3) {
        let scene = between(version, ApiVersion::V7_3, 500).await;

        a_night(&scene, true).await;

        scene.assert_agrees();
    }
}

#[tokio::test]
async fn every_version_takes_what_7_3_publishes() {
    for version in ApiVersion::ALL {
        let scene = between(ApiVersion::V7_3, version, 500).await;

        a_night(&scene, true).await;

        scene.assert_agrees();
    }
}

#[tokio::test]
async fn every_version_is_published_into_itself_whatever_the_size_of_its_pages() {
    for version in ApiVersion::ALL {
        for page_size in [1, 3] {
            let scene = between(version, version, page_size).await;
            open_school(&scene.source);

            assert_ended(&scene.run().await, "complete");

            scene.assert_agrees();
        }
    }
}

#[tokio::test]
async fn what_5_3_tells_is_published_and_what_it_cannot_tell_stays_behind() {
    let scene = between(ApiVersion::V5_3, ApiVersion::V7_3, 500).await;

    a_night(&scene, false).await;

    let (source, target) = (scene.source.all(), scene.target().all());
    for (resource, items) in &source {
        for (key, body) in items {
            assert_eq!(target[resource].get(key), Some(body), "{resource} {key}");
        }
    }
    let left = [key_of(OLD), section_key("S5", "ALG-1", "Fall")];
    assert!(left.iter().all(|key| scene.target().item("/ed-fi/sections", key).is_some()));
    let feeds = scene.source.requests().into_iter().filter(|request| {
        request.path.ends_with("/deletes") || request.path.ends_with("/keyChanges")
    });
    assert_eq!(feeds.count(), 0, "what is skipped is not asked for");
}

#[tokio::test]
async fn a_5_3_source_is_refused_unless_the_publication_says_skip_for_both() {
    for (deletes, key_changes, names) in [
        (Publish::Publish, Publish::Skip, "deletes"),
        (Publish::Skip, Publish::Publish, "key_changes"),
    ] {
        let mut scene = between(ApiVersion::V5_3, ApiVersion::V7_3, 500).await;
        open_school(&scene.source);
        scene.policy.deletes = deletes;
        scene.policy.key_changes = key_changes;

        let report = scene.run().await;

        assert_ended(&report, "failed");
        let error = report.error.unwrap();
        assert_eq!(error.kind, "cannot-tell");
        assert!(error.message.contains(&format!("{names}: skip")), "{}", error.message);
        assert!(scene.writes("state").is_empty());
    }
}

#[tokio::test]
async fn r11_every_version_says_that_its_snapshot_is_missing_and_bounded_does_without() {
    for version in ApiVersion::ALL {
        // 8.0 ignores the header, so that what it would serve is not held still.
        let snapshots = match version {
            ApiVersion::V8_0 => SnapshotMode::Auto,
            _ => SnapshotMode::None,
        };
        let mut scene = Setting::new()
            .source(SandboxOptions { version, snapshots, ..bare() })
            .policy(|policy| as_the_source_allows(version, policy))
            .policy(|policy| policy.isolation = Isolation::Snapshot)
            .start()
            .await;
        open_school(&scene.source);

        let missing = scene.run().await;
        scene.policy.on_missing_snapshot = Some(Isolation::Bounded);
        let without = scene.run().await;

        assert_ended(&missing, "failed");
        let error = missing.error.unwrap();
        assert_eq!(error.kind, "snapshot-missing", "{version:?}");
        assert!(error.message.contains("`district`"), "{version:?}: {}", error.message);
        assert_ended(&without, "complete");
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn cursors_are_used_where_they_are_and_ranges_everywhere_else() {
    for version in ApiVersion::ALL {
        let scene = between(version, ApiVersion::V7_3, 2).await;
        open_school(&scene.source);

        assert_ended(&scene.run().await, "complete");

        let pages: Vec<_> = scene
            .source
            .requests()
            .into_iter()
            .filter(|request| request.resource.as_deref() == Some("/ed-fi/students"))
            .collect();
        let by_cursor = pages.iter().any(|page| page.query.contains("pageToken="));
        let by_offset = pages
            .iter()
            .any(|page| page.query.contains("offset=") && !page.query.contains("offset=0"));
        assert_eq!(by_cursor, version == ApiVersion::V7_3, "{version:?}");
        assert!(!by_offset, "{version:?}: {pages:?}");
    }
}
