//! Rows S: a source that breaks off, lies about lengths, drips, repeats itself, moves under the
//! reader. None of it is ever taken for a whole page.

use std::time::Duration;

use serde_json::Value;
use tidemark::domain::{CanaryKind, ChangeVersion, ParkReason};
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::sandbox::{
    ApiVersion, Backup, Fault, Gate, Harm, Part, Refusal, SandboxOptions, SnapshotMode,
};
use tidemark::sources::Isolation;
use tidemark::state::{BlockCause, Step};

use super::wire::{Act, End, Wire, gzip, json_head, pair_between, run_through, run_within};
use crate::district::{class_period, class_period_key, open_school, student, student_key};
use crate::scene::{Scene, Setting, assert_ended, bare, put};

const STUDENTS: &str = "GET /data/v3/ed-fi/students";

/// A school, and a wire before its source.
async fn wired() -> (Scene, Wire) {
    let scene = Scene::start().await;
    open_school(&scene.source);
    let wire = Wire::to(&scene.source).await;
    (scene, wire)
}

// A daemon runs for months; the database behind an address is replaced one night.
#[tokio::test]
async fn r19_a_process_that_lives_on_notices_another_database_at_its_next_run() {
    let (scene, wire) = wired().await;
    let timeout = Duration::from_secs(20);
    let pair = pair_between(&scene, &wire.url(), &scene.target().url(), timeout, Duration::ZERO);
    let runner = Runner::new(scene.surroundings());
    let options = RunOptions { allow_deletes: false, all_parked: true };
    let first = runner.run_publication(vec![pair.clone()], &options).await.remove(0);
    assert_ended(&first, "complete");
    let another = |root: &[u8]| -> Vec<u8> {
        String::from_utf8_lossy(root).replace("\"5.2.0\"", "\"6.0.0\"").into_bytes()
    };
    wire.hurt("GET / ", 9, Act::with_body(another));

    let second = runner.run_publication(vec![pair], &options).await.remove(0);

    assert_ended(&second, "failed");
    assert_eq!(second.error.unwrap().kind, "blocked");
    assert_eq!(scene.state("state").await.blocked.unwrap().cause, BlockCause::SourceChanged);
}

#[tokio::test]
async fn s2_tokens_that_end_in_the_middle_of_reading_cost_nothing() {
    for after in [0, 3, 9] {
        let scene = Scene::start().await;
        open_school(&scene.source);
        let ends = Fault::everywhere(Harm::ExpireTokens).part(Part::Items);
        scene.source.fault(ends.after(after).times(1));

        let report = scene.run().await;

        assert_ended(&report, "complete");
        scene.assert_agrees();
        let upserts = report.stages.upserts;
        assert_eq!(upserts.read, upserts.applied, "nothing counts twice: {upserts:?}");
    }
}

#[tokio::test]
async fn s8_what_moves_behind_at_and_ahead_of_the_reader_is_neither_lost_nor_left_over() {
    for isolation in [Isolation::Bounded, Isolation::Snapshot] {
        for held in 0..4 {
            let scene = Setting::new()
                .source(SandboxOptions { page_limit: 5, ..bare() })
                .page_size(5)
                .policy(|policy| policy.isolation = isolation)
                .start()
                .await;
            for number in 10..40 {
                put(&scene.source, "students", &student(&number.to_string()));
            }
            let gate = Gate::new();
            scene
                .source
                .fault(Fault::on("/ed-fi/students", Harm::Hold(gate.clone())).after(held).times(1));

            let (first, ()) = tokio::join!(scene.run(), async {
                gate.reached_by(1).await;
                for (number, name) in [(10, "behind"), (20, "near"), (39, "ahead")] {
                    let mut changed = student(&number.to_string());
                    changed["firstName"] = Value::from(name);
                    put(&scene.source, "students", &changed);
                }
                for number in [11, 21, 38] {
                    scene
                        .source
                        .delete("/ed-fi/students", &student_key(&number.to_string()))
                        .unwrap();
                }
                put(&scene.source, "students", &student("99"));
                gate.open();
            });
            let second = scene.run().await;

            if isolation == Isolation::Bounded {
                assert_ended(&first, "complete");
            }
            assert_ne!(second.outcome.as_str(), "failed", "{held} {:?}", second.error);
            scene.assert_agrees();
        }
    }
}

#[tokio::test]
async fn s9_an_item_that_a_page_repeats_is_published_and_no_harm_is_done() {
    let (scene, wire) = wired().await;
    wire.hurt(
        STUDENTS,
        1,
        Act::with_body(|body| {
            let mut page: Vec<Value> = serde_json::from_slice(body).unwrap();
            page.extend(page.clone());
            serde_json::to_vec(&page).unwrap()
        }),
    );

    let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

    assert!(wire.is_spent());
    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn s15_a_source_whose_history_was_purged_blocks_the_pair_before_a_write() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    assert_ended(&scene.run().await, "complete");
    let watermark = scene.watermark().await;
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    put(&scene.source, "students", &student("701"));
    scene.source.purge_history(watermark.unwrap() + 1);
    let nothing_is_lacking = scene.run().await;
    assert_ended(&nothing_is_lacking, "complete");
    scene.source.delete("/ed-fi/students", &student_key("701")).unwrap();
    put(&scene.source, "students", &student("702"));
    let watermark = scene.watermark().await;
    scene.source.purge_history(scene.source.newest());
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(report.error.unwrap().kind, "blocked");
    let blocked = scene.state("state").await.blocked.unwrap();
    assert_eq!(blocked.cause, BlockCause::HistoryPurged);
    assert!(blocked.reason.contains("--start-over"), "{}", blocked.reason);
    assert_eq!(scene.target().requests().len(), 0);
    assert_eq!(scene.watermark().await, watermark);
}

/// A pair that has published a rename and a delete, and the source as it was before both.
async fn with_history() -> (Scene, Backup) {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "classPeriods", &class_period("first"));
    put(&scene.source, "students", &student("700"));
    assert_ended(&scene.run().await, "complete");
    let backup = scene.source.backup();
    rename_first_period(&scene, "second");
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    assert_ended(&scene.run().await, "complete");
    (scene, backup)
}

fn rename_first_period(scene: &Scene, to: &str) {
    let (old, new) = (class_period_key("first"), class_period_key(to));
    scene.source.rename("/ed-fi/classPeriods", &old, &new).unwrap();
}

#[tokio::test]
async fn s14_a_restored_source_that_overtook_the_watermark_blocks_the_pair_before_a_write() {
    let (scene, backup) = with_history().await;
    let watermark = scene.watermark().await;
    scene.source.restore(&backup);
    scene.source.burn_versions(100);
    put(&scene.source, "students", &student("701"));
    assert!(Some(scene.source.newest()) > watermark, "no number tells");
    scene.target().clear_requests();

    for _ in 0..2 {
        let report = scene.run().await;

        assert_ended(&report, "failed");
        assert_eq!(report.error.unwrap().kind, "blocked");
    }
    let blocked = scene.state("state").await.blocked.unwrap();
    assert_eq!(blocked.cause, BlockCause::HistoryChanged);
    for way in ["watermark set", "watermark reset", "verify --repair", "--same-data"] {
        assert!(blocked.reason.contains(way), "{way}: {}", blocked.reason);
    }
    assert_eq!(scene.target().requests().len(), 0);
    assert_eq!(scene.watermark().await, watermark);
}

#[tokio::test]
async fn s14_a_tombstone_alone_tells_a_restored_source_where_nothing_can_have_taken_its_key() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    assert_ended(&scene.run().await, "complete");
    let backup = scene.source.backup();
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    assert_ended(&scene.run().await, "complete");
    scene.source.restore(&backup);
    scene.source.burn_versions(100);
    put(&scene.source, "classPeriods", &class_period("second"));

    let report = scene.run().await;

    assert_ended(&report, "failed");
    assert_eq!(scene.state("state").await.blocked.unwrap().cause, BlockCause::HistoryChanged);
}

#[tokio::test]
async fn r20_what_was_deleted_and_made_again_is_no_other_database() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "classPeriods", &class_period("first"));
    assert_ended(&scene.run().await, "complete");
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    scene.source.delete("/ed-fi/classPeriods", &class_period_key("first")).unwrap();
    assert_ended(&scene.run().await, "complete");
    assert_eq!(scene.state("state").await.canaries.len(), 2);
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "classPeriods", &class_period("first"));

    assert_ended(&scene.run().await, "complete");

    scene.assert_agrees();
    assert_eq!(scene.state("state").await.canaries, [], "neither is told any more");
}

#[tokio::test]
async fn r20_one_of_two_that_is_still_told_is_enough() {
    let (scene, _) = with_history().await;
    // The student is back; the key change is asked for first, as if it had gone.
    let mut state = scene.state("state").await;
    state.canaries[0].version = ChangeVersion(1);
    let step = Step { state: Some(state), ..Step::default() };
    scene.store.commit(&scene.pair_id("state"), step).await.unwrap();
    put(&scene.source, "students", &student("702"));

    assert_ended(&scene.run().await, "complete");

    let left = scene.state("state").await.canaries;
    let kinds: Vec<CanaryKind> = left.iter().map(|canary| canary.kind).collect();
    assert_eq!(kinds, [CanaryKind::Tombstone]);
}

#[tokio::test]
async fn r20_identity_costs_two_requests_when_newest_moved_and_none_when_not() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1] {
        let source = SandboxOptions { version, ..bare() };
        let scene = Setting::new().source(source).start().await;
        open_school(&scene.source);
        put(&scene.source, "classPeriods", &class_period("first"));
        assert_ended(&scene.run().await, "complete");
        rename_first_period(&scene, "second");
        assert_ended(&scene.run().await, "complete");
        let exactly = scene.state("state").await.canaries[0].version;
        let asks = || {
            let asked = scene.source.requests().into_iter();
            let about_it = asked.filter(|request| {
                request.path.ends_with("/token_info")
                    || request.query.contains(&format!("minChangeVersion={exactly}"))
                        && request.query.contains(&format!("maxChangeVersion={exactly}"))
            });
            about_it.count()
        };
        scene.source.clear_requests();

        assert_ended(&scene.run().await, "nothing-to-do");
        let with_nothing_new = asks();
        put(&scene.source, "students", &student("700"));
        scene.source.clear_requests();
        assert_ended(&scene.run().await, "complete");
        let with_news = asks();

        assert_eq!((with_nothing_new, with_news), (0, 2), "{version:?}");
    }
}

#[tokio::test]
async fn s19_credentials_that_reach_less_block_the_pair_before_a_write() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.source.tell_education_organizations(&[255_901, 255_902]);
    assert_ended(&scene.run().await, "complete");
    let watermark = scene.watermark().await;
    // As many as before, but not the same: only the ids tell.
    scene.source.tell_education_organizations(&[255_901, 255_903]);
    put(&scene.source, "students", &student("700"));
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "failed");
    let blocked = scene.state("state").await.blocked.unwrap();
    assert_eq!(blocked.cause, BlockCause::ScopeNarrowed);
    assert!(blocked.reason.contains("was not deleted"), "{}", blocked.reason);
    assert_eq!(scene.target().requests().len(), 0);
    assert_eq!(scene.watermark().await, watermark);
}

#[tokio::test]
async fn s19_what_wider_credentials_show_is_read_from_its_beginning_and_no_feed_is_left_out() {
    for version in [ApiVersion::V7_3, ApiVersion::V6_1] {
        let source = SandboxOptions { version, ..bare() };
        let scene = Setting::new().source(source).start().await;
        open_school(&scene.source);
        for id in ["700", "701", "702"] {
            put(&scene.source, "students", &student(id));
        }
        put(&scene.source, "classPeriods", &class_period("first"));
        scene.source.mask("/ed-fi/students", &student_key("700"));
        assert_ended(&scene.run().await, "complete");
        scene.source.unmask_all();
        scene.source.tell_education_organizations(&[255_901, 255_902]);
        scene.source.delete("/ed-fi/students", &student_key("701")).unwrap();
        rename_first_period(&scene, "second");
        // The first attempt to read what joined breaks off.
        let gone = Fault::on("/ed-fi/students", Harm::Html).method("GET").part(Part::Items);
        let gone = scene.source.fault(gone);
        let failed = scene.run().await;
        scene.source.repair(gone);

        let report = scene.run().await;

        assert_ended(&failed, "failed");
        let note = failed.notes.iter().find(|note| note.contains("reach more than before"));
        assert!(note.is_some(), "{:?}", failed.notes);
        assert_ended(&report, "complete");
        scene.assert_agrees();
        assert!(report.stages.deletes.applied > 0, "{:?}", report.stages);
        put(&scene.source, "students", &student("703"));
        let next = scene.run().await;
        assert_eq!(next.stages.upserts.read, 1, "what joined is spoken for");
    }
}

#[tokio::test]
async fn s19_what_narrower_credentials_had_finished_is_read_again_with_wider_ones() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "students", &student("701"));
    scene.source.mask("/ed-fi/students", &student_key("700"));
    let late = Fault::on("/ed-fi/studentSectionAssociations", Harm::Html).part(Part::Items);
    let late = scene.source.fault(late.method("GET"));
    assert_ended(&scene.run().await, "failed");
    scene.source.repair(late);
    scene.source.unmask_all();
    scene.source.tell_education_organizations(&[255_901, 255_902]);

    assert_ended(&scene.run().await, "complete");

    scene.assert_agrees();
}

#[tokio::test]
async fn s19_a_source_that_does_not_tell_what_its_credentials_reach_is_published_all_the_same() {
    let (scene, wire) = wired().await;
    wire.hurt("POST /oauth/token_info", 9, Act::with_body(|_| b"not found".to_vec()));

    let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
    assert_eq!(scene.state("state").await.scope, None);
}

#[tokio::test]
async fn s21_a_page_that_breaks_off_anywhere_is_void_and_read_again() {
    let chunk = |body: &[u8]| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let half = &body[..body.len() / 2];
        [&head[..], format!("{:x}\r\n", half.len()).as_bytes(), half, b"\r\n"].concat()
    };
    let cut = |share: usize| {
        move |body: &[u8]| {
            [json_head(body.len(), "").as_slice(), &body[..body.len() * share / 10]].concat()
        }
    };
    let acts = [
        (
            "a header without an end",
            Act::remade(End::Closed, |_| b"HTTP/1.1 200 OK\r\nX-A: ".to_vec()),
        ),
        ("a reset at once", Act::remade(End::Reset, |_| Vec::new())),
        ("a reset within", Act::remade(End::Reset, cut(5))),
        ("nothing of the body", Act::remade(End::Closed, cut(0))),
        ("nearly all of the body", Act::remade(End::Closed, cut(9))),
        ("chunks without an end", Act::remade(End::Closed, chunk)),
        (
            "a length that is too large",
            Act::remade(End::Closed, |body| {
                [json_head(body.len() + 7, "").as_slice(), body].concat()
            }),
        ),
        (
            "compression that breaks off",
            Act::remade(End::Closed, |body| {
                let zipped = gzip(body);
                let half = &zipped[..zipped.len() / 2];
                [json_head(half.len(), "Content-Encoding: gzip\r\n").as_slice(), half].concat()
            }),
        ),
    ];
    for (case, act) in acts {
        let (scene, wire) = wired().await;
        wire.hurt(STUDENTS, 1, act);

        let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

        assert!(wire.is_spent(), "{case}");
        assert_ended(&report, "complete");
        scene.assert_agrees();
        assert_eq!(report.stages.upserts.read, report.stages.upserts.applied, "{case}");
    }
}

#[tokio::test]
async fn s22_a_page_that_ends_with_its_connection_is_judged_by_its_json() {
    let by_end = |body: &[u8], length: usize| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        [&head[..], &body[..length]].concat()
    };
    for (case, outcome, act) in [
        ("whole", "complete", Act::remade(End::Closed, move |body| by_end(body, body.len()))),
        ("cut", "failed", Act::remade(End::Closed, move |body| by_end(body, body.len() - 1))),
        ("empty", "failed", Act::remade(End::Closed, move |body| by_end(body, 0))),
        (
            "a length that is too small",
            "failed",
            Act::remade(End::Closed, |body| {
                [json_head(body.len() - 1, "").as_slice(), body].concat()
            }),
        ),
    ] {
        let (scene, wire) = wired().await;
        wire.hurt(STUDENTS, 1, act);

        let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

        assert!(wire.is_spent(), "{case}");
        assert_ended(&report, outcome);
        if outcome == "failed" {
            assert_eq!(report.error.unwrap().kind, "unexpected-answer", "{case}");
            assert_eq!(scene.watermark().await, None, "{case}");
            assert_eq!(scene.target().count("/ed-fi/students"), 0, "{case}: nothing of it is used");
        }
        let again = run_through(&scene, &wire.url(), &scene.target().url()).await;
        assert_ended(&again, if outcome == "failed" { "complete" } else { "nothing-to-do" });
        scene.assert_agrees();
    }
}

#[tokio::test]
async fn s24_a_page_that_is_too_large_is_read_again_in_smaller_ones_and_nothing_else_is() {
    let (scene, wire) = wired().await;
    let giant = vec![b' '; (64 << 20) + 1];
    wire.hurt(STUDENTS, 2, Act::raw(&[json_head(giant.len(), ""), giant].concat()));

    let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

    assert!(wire.is_spent());
    assert_ended(&report, "complete");
    scene.assert_agrees();
    let asked = wire.lines("GET /data/v3/ed-fi/students?");
    for (line, size) in asked.iter().zip(["=500", "=250", "=125"]) {
        assert!(line.contains(size), "{asked:?}");
    }
    let sections = wire.lines("GET /data/v3/ed-fi/sections?");
    assert!(sections[0].contains("=500"), "others are read as before: {sections:?}");
}

#[tokio::test]
async fn s24_an_item_that_is_too_large_is_parked_and_the_rest_goes_on() {
    let (scene, wire) = wired().await;
    wire.hurt(
        STUDENTS,
        1,
        Act::with_body(|body| {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let large = format!("\"note\":\"{}\",\"firstName\"", "x".repeat(17 << 20));
            text.replacen("\"firstName\"", &large, 1).into_bytes()
        }),
    );

    let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

    assert!(wire.is_spent());
    assert_ended(&report, "parked");
    let parked = scene.parked().await;
    let reasons: Vec<_> =
        parked.iter().map(|record| (record.resource.as_str(), record.reason)).collect();
    assert!(reasons.contains(&("/ed-fi/students", ParkReason::TooLarge)), "{reasons:?}");
    assert_eq!(scene.target().count("/ed-fi/students"), 1, "the other one is there");
    assert_eq!(scene.target().count("/ed-fi/sections"), 1);
    // It was large once: what is parked is read again as it is now.
    let again = run_through(&scene, &wire.url(), &scene.target().url()).await;
    assert_ended(&again, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn s25_a_compressed_bomb_is_not_unpacked_and_smaller_pages_are_asked_for() {
    let (scene, wire) = wired().await;
    // A hundred mebibytes of blanks in a hundred kibibytes.
    let bomb = gzip(&vec![b' '; 100 << 20]);
    let head = json_head(bomb.len(), "Content-Encoding: gzip\r\n");
    wire.hurt(STUDENTS, 1, Act::raw(&[head, bomb].concat()));

    let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

    assert!(wire.is_spent());
    assert_ended(&report, "complete");
    scene.assert_agrees();
    let asked = wire.lines(STUDENTS);
    assert!(asked[0].contains("=500"), "{asked:?}");
    assert!(asked[1..].iter().any(|line| line.contains("=250")), "{asked:?}");
}

#[tokio::test]
async fn s28_statuses_that_pass_are_ridden_out_and_park_nothing() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    let resources = ["schools", "courses", "sessions", "sections", "students", "courseOfferings"];
    for (resource, status) in resources.into_iter().zip([408, 425, 500, 502, 503, 504]) {
        let harm = Harm::Refuse(Refusal::Status(status));
        let fault = Fault::on(&format!("/ed-fi/{resource}"), harm).method("GET");
        scene.source.fault(fault.part(Part::Items).times(1));
    }

    let report = scene.run().await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
    assert!(scene.parked().await.is_empty());
}

#[tokio::test]
async fn s29_an_answer_that_stalls_or_drips_is_given_up_and_asked_for_again() {
    let acts = [
        ("a header that stalls", Act::remade(End::Silent, |_| b"HTTP/1.1 200 OK\r\n".to_vec())),
        (
            "a body that stalls",
            Act::remade(End::Silent, |body| {
                [json_head(body.len(), "").as_slice(), &body[..9]].concat()
            }),
        ),
        ("a byte at a time", Act::Drip(Duration::from_millis(30))),
    ];
    for (case, act) in acts {
        let (scene, wire) = wired().await;
        wire.hurt(STUDENTS, 1, act);

        let second = Duration::from_secs(1);
        let report = run_within(&scene, &wire.url(), &scene.target().url(), second).await;

        assert!(wire.is_spent(), "{case}");
        assert_ended(&report, "complete");
        scene.assert_agrees();
        // A body may only have been too much; what never began is asked for as it was.
        let again = if case == "a body that stalls" { "=250" } else { "=500" };
        let asked = wire.lines("GET /data/v3/ed-fi/students?");
        assert!(asked[1].contains(again), "{case}: {asked:?}");
    }
}

#[tokio::test]
async fn s32_a_connection_that_closed_while_it_was_idle_costs_an_attempt_and_no_item() {
    let (scene, wire) = wired().await;
    wire.hurt(STUDENTS, 1, Act::remade(End::Closed, |_| Vec::new()));

    let report = run_through(&scene, &wire.url(), &scene.target().url()).await;

    assert!(wire.is_spent());
    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn s33_a_member_that_nobody_knows_arrives_as_it_was_sent() {
    let (scene, wire) = wired().await;
    let target = Wire::to(scene.target()).await;
    wire.hurt(
        STUDENTS,
        1,
        Act::with_body(|body| {
            let text = String::from_utf8(body.to_vec()).unwrap();
            text.replace("\"firstName\"", "\"newMember\":{\"a\":1e400,\"b\":[]},\"firstName\"")
                .into_bytes()
        }),
    );

    let report = run_through(&scene, &wire.url(), &target.url()).await;

    assert!(wire.is_spent());
    // What the target makes of it is its own affair: it may refuse the item, never lose it.
    assert!(report.stages.is_conserved());
    assert_eq!(
        report.stages.upserts.applied + report.stages.upserts.parked,
        report.stages.upserts.read
    );
    assert!(target.carried(r#""newMember":{"a":1e400,"b":[]}"#));
}

#[tokio::test]
async fn s5_a_snapshot_that_is_missing_is_never_read_around_in_silence() {
    let scene = Setting::new()
        .source(SandboxOptions { snapshots: SnapshotMode::None, ..bare() })
        .start()
        .await;
    open_school(&scene.source);

    let report = scene.run().await;

    assert_ended(&report, "failed");
    let live = |read: &tidemark::sandbox::LoggedRequest| read.part == Part::Items;
    assert!(!scene.source.requests().iter().any(live), "no item was read");
    assert_eq!(scene.writes("state").len(), 0);
}
