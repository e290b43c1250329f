//! What is published: the four lists, joiners, and what a target lacks.

use tidemark::domain::Selection;
use tidemark::sandbox::{SandboxOptions, Standard};

use crate::district::{open_school, section, student};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

async fn published_with(selection: Selection) -> Vec<String> {
    let scene = Setting::new().policy(|policy| policy.selection = selection).start().await;
    open_school(&scene.source);
    scene.run().await;
    let mut written: Vec<String> = scene
        .writes("state")
        .into_iter()
        .filter(|write| write.status < 300)
        .map(|write| write.resource.unwrap().trim_start_matches("/ed-fi/").to_owned())
        .collect();
    written.sort();
    written.dedup();
    written
}

#[tokio::test]
async fn the_four_lists_select_what_they_say() {
    let none = || Selection { descriptors: false, ..Selection::default() };
    for (case, selection, wanted) in [
        (
            "include brings what it needs",
            Selection { include: names(&["sessions"]), ..none() },
            &["localEducationAgencies", "schools", "sessions"][..],
        ),
        (
            "include_only does not",
            Selection { include_only: names(&["localEducationAgencies"]), ..none() },
            &["localEducationAgencies"],
        ),
        (
            "exclude takes what needs it along",
            Selection { exclude: names(&["sessions", "students"]), ..none() },
            &["courses", "localEducationAgencies", "schools"],
        ),
        (
            "exclude_only does not",
            Selection { exclude_only: names(&["studentSectionAssociations"]), ..none() },
            &[
                "courseOfferings",
                "courses",
                "localEducationAgencies",
                "schools",
                "sections",
                "sessions",
                "studentSchoolAssociations",
                "students",
            ],
        ),
    ] {
        assert_eq!(published_with(selection).await, wanted, "{case}");
    }
}

#[tokio::test]
async fn an_unknown_resource_fails_the_run_with_the_nearest_known_one_before_anything_is_written() {
    let scene = Setting::new()
        .policy(|policy| policy.selection.include = names(&["studnts"]))
        .start()
        .await;
    open_school(&scene.source);

    let report = scene.run().await;

    assert_ended(&report, "failed");
    let message = report.error.unwrap().message;
    assert!(message.contains("`studnts`") && message.contains("/ed-fi/students"), "{message}");
    assert_eq!(scene.writes("state").len(), 0);
}

#[tokio::test]
async fn r17_a_resource_that_joins_is_read_from_its_beginning() {
    let mut scene = Setting::new()
        .policy(|policy| policy.selection.exclude_only = names(&["studentSectionAssociations"]))
        .start()
        .await;
    open_school(&scene.source);
    scene.run().await;
    scene.policy.selection.exclude_only.clear();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.upserts.applied, 2, "only what joined");
    scene.assert_agrees();
}

#[tokio::test]
async fn r17_one_that_leaves_keeps_its_lower_edge_and_rejoins_from_there() {
    let mut scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    scene.policy.selection.exclude_only = names(&["studentSectionAssociations", "sections"]);
    scene.run().await;
    put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
    put(&scene.source, "students", &student("700"));
    scene.run().await;
    scene.policy.selection.exclude_only.clear();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.upserts.applied, 1, "what changed while it was away");
    scene.assert_agrees();
}

#[tokio::test]
async fn another_standard_without_the_built_in_table_is_published_all_the_same() {
    let other = SandboxOptions {
        standard: Standard::Other,
        data: tidemark::sandbox::Seed::Sample,
        ..SandboxOptions::default()
    };
    let empty = SandboxOptions {
        standard: Standard::Other,
        data: tidemark::sandbox::Seed::Empty,
        strict: true,
        ..SandboxOptions::default()
    };
    let scene = Setting::new()
        .source(other)
        .target("state", empty)
        .policy(|policy| policy.selection = Selection::default())
        .start()
        .await;

    let report = scene.run().await;

    let parked = scene.parked().await;
    let why: Vec<_> = parked.iter().map(|p| (&p.resource, p.reason, &p.error)).collect();
    assert!(parked.is_empty(), "{why:?}");
    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn t8_a_selected_resource_that_the_target_lacks_fails_the_run_if_the_source_has_items_of_it()
{
    let other = SandboxOptions {
        standard: Standard::Other,
        data: tidemark::sandbox::Seed::Empty,
        ..SandboxOptions::default()
    };
    let scene = Setting::new().source(bare()).target("state", other).start().await;
    open_school(&scene.source);

    let report = scene.run().await;

    assert_ended(&report, "failed");
    let error = report.error.unwrap();
    assert_eq!(error.kind, "missing-at-target");
    assert!(error.message.contains("`/ed-fi/students`"), "{}", error.message);
    assert_eq!(scene.writes("state").len(), 0);
}
