//! One source, several targets: each pair has its own state and pace (I13).

use std::sync::Arc;

use tidemark::engine::observe::{Event, Observer, Observers};
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::sandbox::{ApiVersion, SandboxOptions};

use crate::district::{open_school, student, student_key};
use crate::scene::{Scene, Setting, assert_ended, put, strict};

#[tokio::test]
async fn t14_of_two_targets_one_is_down_and_the_other_is_published_all_the_same() {
    let scene = Setting::new()
        .target("down", strict())
        .target("state", SandboxOptions { version: ApiVersion::V6_1, ..strict() })
        .start()
        .await;
    open_school(&scene.source);
    scene.named("down").go_down();

    let reports = scene.run_all().await;

    assert_eq!(reports[0].target, "down");
    assert_ended(&reports[0], "failed");
    assert_ended(&reports[1], "complete");
    scene.assert_target_agrees("state");
    assert_eq!(scene.state("down").await.watermark, None);
    scene.named("down").come_up();
    put(&scene.source, "students", &student("700"));
    let reports = scene.run_all().await;
    assert_ended(&reports[0], "complete");
    assert_ended(&reports[1], "complete");
    scene.assert_target_agrees("down");
    scene.assert_target_agrees("state");
    assert_eq!(scene.state("down").await.watermark, scene.state("state").await.watermark);
}

#[tokio::test]
async fn r13_the_pairs_of_a_publication_read_newest_once() {
    let scene = Setting::new()
        .target("a", strict())
        .target("b", strict())
        .policy(|policy| policy.look_again_after = std::time::Duration::from_secs(3600))
        .start()
        .await;
    open_school(&scene.source);

    let reports = scene.run_all().await;

    let opened =
        scene.source.requests().into_iter().filter(|r| r.path.ends_with("availableChangeVersions"));
    // Once to open the view for both; and each sees that it is still the same, unless the other has
    // looked since the last answer came.
    let opened = opened.count();
    assert!((2..=3).contains(&opened), "{opened}");
    assert_eq!(reports[0].window, reports[1].window);
}

#[tokio::test]
async fn every_request_is_counted_for_the_run_that_sent_it_and_carries_its_id() {
    let scene = Setting::new().target("a", strict()).target("b", strict()).start().await;
    open_school(&scene.source);

    let reports = scene.run_all().await;

    for report in &reports {
        let sent = scene.named(&report.target).requests();
        // The token, which is the connection's, is counted and carries no run.
        assert_eq!(report.requests.target, u64::try_from(sent.len()).unwrap());
        let carries = |id: &String| id.starts_with(&format!("{}-", report.id));
        let of_the_run =
            sent.iter().filter_map(|r| r.correlation_id.as_ref()).filter(|id| carries(id));
        assert!(of_the_run.count() >= 12);
    }
    let asked = u64::try_from(scene.source.requests().len()).unwrap();
    let of_a_run = ["/dependencies", "/token_info"];
    let requests = scene.source.requests();
    let opening = requests
        .iter()
        .take_while(|request| !of_a_run.iter().any(|end| request.path.ends_with(end)))
        .count();
    let shared = u64::try_from(opening).unwrap();
    let counted: u64 = reports.iter().map(|report| report.requests.source).sum();
    assert_eq!(counted, asked + shared, "opening the view is part of both runs");
}

/// Stands for a defect of the program that meets the pair `a` alone.
struct Panics;

impl Observer for Panics {
    fn observe(&self, event: &Event<'_>) {
        if let Event::StageStarted { pair, .. } = event {
            assert!(pair.target != "a", "a defect");
        }
    }
}

#[tokio::test]
async fn p2_a_panic_fails_its_run_and_nothing_else() {
    let scene = Setting::new().target("a", strict()).target("b", strict()).start().await;
    open_school(&scene.source);
    let mut around = scene.surroundings();
    around.observers = Observers(vec![Arc::new(Panics)]);

    let options = RunOptions::default();
    let reports = Runner::new(around).run_publication(scene.pairs(), &options).await;

    assert_ended(&reports[0], "failed");
    assert_eq!(reports[0].error.as_ref().unwrap().kind, "defect");
    assert_eq!(scene.state("a").await.watermark, None);
    assert_ended(&reports[1], "complete");
    assert_ended(&scene.run_all().await[0], "complete");
    scene.assert_target_agrees("a");
}

/// What a source was asked, by what for: `GET /ed-fi/students?…`, how often.
fn asked(scene: &Scene) -> std::collections::BTreeMap<String, usize> {
    let mut asked = std::collections::BTreeMap::new();
    for request in scene.source.requests() {
        *asked.entry(format!("{} {}", request.method, request.path)).or_default() += 1;
    }
    asked
}

/// A day at a school, published to so many targets at one watermark; what the source was asked in
/// the first run and in the second.
async fn a_day_with(targets: usize) -> [std::collections::BTreeMap<String, usize>; 2] {
    let mut setting = Setting::new()
        .policy(|policy| policy.look_again_after = std::time::Duration::from_secs(3600));
    for number in 0..targets {
        setting = setting.target(&format!("target-{number}"), strict());
    }
    let scene = setting.page_size(2).start().await;
    open_school(&scene.source);
    for number in 0..9 {
        put(&scene.source, "students", &student(&format!("70{number}")));
    }
    let mut days = Vec::new();
    for day in 0..2 {
        let reports = scene.run_all().await;
        for report in &reports {
            assert_ended(report, "complete");
            scene.assert_target_agrees(&report.target);
        }
        days.push(asked(&scene));
        if day == 0 {
            scene.source.clear_requests();
            put(&scene.source, "students", &student("800"));
            scene.source.delete("/ed-fi/students", &student_key("708")).unwrap();
        }
    }
    days.try_into().unwrap()
}

#[tokio::test]
async fn however_many_targets_stand_at_one_watermark_the_source_is_read_once() {
    let alone = a_day_with(1).await;

    for targets in [2, 4, 8] {
        let together = a_day_with(targets).await;

        for (day, (one, many)) in alone.iter().zip(&together).enumerate() {
            // Looks at the view are shared where they come together, which is a matter of time.
            let is_look = |what: &str| what.ends_with("/availableChangeVersions");
            let more: Vec<String> = many
                .iter()
                .filter(|(what, count)| one.get(*what) != Some(count) && !is_look(what))
                .map(|(what, count)| format!("{what}: {count}, not {:?}", one.get(what)))
                .collect();
            assert!(more.is_empty(), "day {day}, {targets} targets: {}", more.join("\n"));
        }
    }
}
