//! Key changes: by PUT where every guard of R6 allows it, by plain agreement everywhere else.

use serde_json::json;
use tidemark::sandbox::{Fault, Harm, Refusal, Sandbox};

use crate::district::{
    SCHOOL, attends, class_period, class_period_key, open_school, section, section_key, session_key,
};
use crate::scene::{Scene, Setting, assert_ended, put};

fn target_id(sandbox: &Sandbox, resource: &str, key: &serde_json::Value) -> Option<String> {
    sandbox.id(resource, key)
}

#[tokio::test]
async fn a_rename_keeps_the_targets_id_and_its_dependents() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    let (old, new) = (section_key("S1", "ALG-1", "Fall"), section_key("S9", "ALG-1", "Fall"));
    let before = target_id(scene.target(), "/ed-fi/sections", &old);
    scene.source.rename("/ed-fi/sections", &old, &new).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.key_changes.applied, 1);
    assert_eq!(target_id(scene.target(), "/ed-fi/sections", &new), before);
    scene.assert_agrees();
}

#[tokio::test]
async fn r5_the_rename_of_a_session_cascades_and_every_dependent_keeps_its_id() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    let before = target_id(scene.target(), "/ed-fi/sections", &section_key("S1", "ALG-1", "Fall"));
    scene.source.rename("/ed-fi/sessions", &session_key("Fall"), &session_key("Autumn")).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.key_changes.applied, 1, "{:?}", report.stages);
    assert_eq!(
        target_id(scene.target(), "/ed-fi/sections", &section_key("S1", "ALG-1", "Autumn")),
        before
    );
    scene.assert_agrees();
}

#[tokio::test]
async fn r5_a_child_deleted_under_its_old_name_is_deleted_though_its_parent_was_renamed() {
    // History: the section is deleted under the session's old name, then the session is renamed.
    // At the target the rename moves the section's key, so that its tombstone finds nothing.
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "sections", &section("S2", "ALG-1", "Fall"));
    scene.run().await;
    scene.source.delete("/ed-fi/sections", &section_key("S2", "ALG-1", "Fall")).unwrap();
    scene.source.rename("/ed-fi/sessions", &session_key("Fall"), &session_key("Autumn")).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn chains_and_swaps_end_right() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    for name in ["A", "B", "X", "Y"] {
        put(&scene.source, "classPeriods", &class_period(name));
    }
    scene.run().await;
    let rename = |old: &str, new: &str| {
        scene
            .source
            .rename("/ed-fi/classPeriods", &class_period_key(old), &class_period_key(new))
            .unwrap();
    };
    rename("B", "C");
    rename("A", "B");
    rename("X", "swap");
    rename("Y", "X");
    rename("swap", "Y");

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn a_key_that_was_renamed_away_and_made_anew_is_both() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "classPeriods", &class_period("A"));
    scene.run().await;
    scene
        .source
        .rename("/ed-fi/classPeriods", &class_period_key("A"), &class_period_key("B"))
        .unwrap();
    put(&scene.source, "classPeriods", &class_period("A"));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
    assert_eq!(scene.target().count("/ed-fi/classPeriods"), 2);
}

#[tokio::test]
async fn renamed_and_then_deleted_is_gone_under_both_names() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "classPeriods", &class_period("A"));
    scene.run().await;
    scene
        .source
        .rename("/ed-fi/classPeriods", &class_period_key("A"), &class_period_key("B"))
        .unwrap();
    scene.source.delete("/ed-fi/classPeriods", &class_period_key("B")).unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(scene.target().count("/ed-fi/classPeriods"), 0);
}

#[tokio::test]
async fn plain_agreement_alone_converges_where_every_put_is_refused() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    scene
        .target()
        .fault(Fault::everywhere(Harm::Refuse(Refusal::Validation("no".to_owned()))).method("PUT"));
    scene.source.rename("/ed-fi/sessions", &session_key("Fall"), &session_key("Autumn")).unwrap();
    put(&scene.source, "studentSectionAssociations", &attends("604821", "S1", "ALG-1", "Autumn"));

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert_eq!(report.stages.key_changes.applied, 0);
    scene.assert_agrees();
}

#[tokio::test]
async fn r6_no_put_when_a_resource_whose_key_contains_the_renamed_one_is_not_in_the_run() {
    let scene = Setting::new()
        .policy(|policy| {
            policy.selection.exclude_only = vec!["studentSectionAssociations".to_owned()]
        })
        .start()
        .await;
    open_school(&scene.source);
    scene.run().await;
    scene
        .source
        .rename(
            "/ed-fi/sections",
            &section_key("S1", "ALG-1", "Fall"),
            &section_key("S9", "ALG-1", "Fall"),
        )
        .unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    assert!(scene.writes("state").iter().all(|write| write.method != "PUT"));
    let key = section_key("S9", "ALG-1", "Fall");
    assert!(scene.target().item("/ed-fi/sections", &key).is_some());
    assert!(scene.target().item("/ed-fi/sections", &section_key("S1", "ALG-1", "Fall")).is_none());
}

#[tokio::test]
async fn r6_the_old_item_stays_while_the_new_one_is_parked() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "classPeriods", &class_period("A"));
    scene.run().await;
    scene
        .source
        .rename("/ed-fi/classPeriods", &class_period_key("A"), &class_period_key("B"))
        .unwrap();
    scene
        .target()
        .fault(Fault::everywhere(Harm::Refuse(Refusal::Validation("no".to_owned()))).method("PUT"));
    let refused = scene.target().fault(
        Fault::on("/ed-fi/classPeriods", Harm::Refuse(Refusal::Validation("no".to_owned())))
            .method("POST"),
    );

    let report = scene.run().await;

    assert_ended(&report, "parked");
    assert!(scene.target().item("/ed-fi/classPeriods", &class_period_key("A")).is_some());
    scene.target().repair(refused);
    assert_ended(&scene.run().await, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn r2_a_rename_in_case_alone_does_not_delete_the_item() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "classPeriods", &class_period("first"));
    scene.run().await;
    scene
        .source
        .rename("/ed-fi/classPeriods", &class_period_key("first"), &class_period_key("First"))
        .unwrap();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
    assert_eq!(json!(scene.target().count("/ed-fi/classPeriods")), json!(1), "school {SCHOOL}");
}
