//! Rows T: a target that refuses, fails, throttles, loses answers and says odd things.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tidemark::domain::ParkReason;
use tidemark::engine::Policy;
use tidemark::engine::runner::RunOptions;
use tidemark::sandbox::{Fault, Harm, LoggedRequest, Refusal, SandboxOptions};
use tidemark::state::ParkStatus;

use super::wire::{Act, Wire, run_through};
use crate::cli::Desk;
use crate::district::{
    class_period, class_period_key, open_school, section_key, student, student_key,
};
use crate::scene::{Scene, Setting, assert_ended, bare, put, strict};

const PERIODS: &str = "/ed-fi/classPeriods";

fn refused_with(status: u16) -> Harm {
    Harm::Refuse(Refusal::Status(status))
}

/// Requests of one method for one resource.
fn sent(requests: &[LoggedRequest], method: &str, resource: &str) -> usize {
    let fits =
        |one: &&LoggedRequest| one.method == method && one.resource.as_deref() == Some(resource);
    requests.iter().filter(fits).count()
}

#[tokio::test]
async fn t3_a_rename_that_meets_a_taken_key_is_created_and_deleted_instead() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    scene.run().await;
    scene.target().fault(Fault::everywhere(Harm::Refuse(Refusal::KeyTaken)).method("PUT"));
    let (old, new) = (section_key("S1", "ALG-1", "Fall"), section_key("S9", "ALG-1", "Fall"));
    scene.source.rename("/ed-fi/sections", &old, &new).unwrap();

    assert_ended(&scene.run().await, "complete");

    scene.assert_agrees();
}

#[tokio::test]
async fn t4_of_several_users_who_write_at_once_the_item_is_read_again_and_tried_once() {
    let contended = r#"{"type":"urn:ed-fi:api:data-conflict:multi-user-conflict","status":409}"#;
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    let wire = Wire::to(scene.target()).await;
    wire.hurt("POST /data/v3/ed-fi/students", 1, Act::answer(409, contended));

    let report = run_through(&scene, &scene.source.url(), &wire.url()).await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
    assert_eq!(wire.seen("POST /data/v3/ed-fi/students"), 2);
}

/// A sandbox of a host that knows less than the standard says.
fn lacking(lacks: &[(&str, &str)]) -> SandboxOptions {
    let lacks = lacks.iter().map(|(path, member)| ((*path).to_owned(), (*member).to_owned()));
    SandboxOptions { lacks: lacks.collect(), ..bare() }
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_members_that_a_target_lacks_or_demands_are_named_by_check_before_it_drops_them() {
    let students = "/ed-fi/students";
    let source = lacking(&[("/ed-fi/schools", "nameOfInstitution")]);
    let target = lacking(&[(students, "middleName"), (students, "otherNames")]);
    let desk = Desk::with(source, target).await;
    let with_middle_name = |number: u32| {
        let mut student = student(&format!("S-70{number}"));
        student["middleName"] = json!("Nobody");
        student
    };

    let checked = desk.tidemark(&["check", "--output", "json"]).await;
    // What the target does with them all the same, and how that is found afterwards.
    desk.configure(
        &desk.usual("").replace("[localEducationAgencies, schools, students]", "[students]"),
    );
    desk.source.upsert(students, &with_middle_name(1)).unwrap();
    let ran = desk.tidemark(&["run"]).await;
    let verified = desk.tidemark(&["verify", "--content", "--output", "json"]).await;

    let report = checked.json();
    let rows = report["checks"].as_array().unwrap().iter();
    let rows: Vec<&Value> = rows.filter(|row| row["check"] == "members").collect();
    let told: Vec<(&str, &str, &str)> = rows
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap();
            (text("connection"), text("status"), text("message"))
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "state",
                "warning",
                "`district-to-state`: the target lacks /ed-fi/students (middleName, otherNames)"
            ),
            (
                "state",
                "warning",
                "`district-to-state`: the target demands /ed-fi/schools (nameOfInstitution)"
            ),
        ]
    );
    assert!(rows.iter().all(|row| row["action"].is_string()), "{rows:?}");
    assert_eq!(checked.code, 0, "a warning is no error");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let found = verified.json()["verify"][0]["resources"][0]["different"].clone();
    assert_eq!((verified.code, found), (1, json!(1)), "{}", verified.out);
}

#[tokio::test]
async fn t10_a_precondition_that_failed_is_tried_once_more_and_then_parked() {
    for (times, outcome) in [(1, "complete"), (9, "parked")] {
        let scene = Scene::start().await;
        put(&scene.source, "students", &student("700"));
        scene
            .target()
            .fault(Fault::on("/ed-fi/students", refused_with(412)).method("POST").times(times));

        let report = scene.run().await;

        assert_ended(&report, outcome);
        let parked = scene.parked().await;
        assert!(parked.iter().all(|item| item.reason == ParkReason::Contended), "{parked:?}");
        assert_eq!(sent(&scene.target().requests(), "POST", "/ed-fi/students"), 2);
        let id = scene.source.id("/ed-fi/students", &student_key("700")).unwrap();
        let read_again = |request: &LoggedRequest| request.path.ends_with(&id);
        assert_eq!(scene.source.requests().into_iter().filter(read_again).count(), 1);
    }
}

#[tokio::test]
async fn t11_a_poison_item_costs_three_attempts_over_any_number_of_runs() {
    // Each run here is a process of its own, with a token of its own.
    let patient = |options| SandboxOptions { token_limit: 10_000, ..options };
    let scene =
        Setting::new().source(patient(bare())).target("state", patient(strict())).start().await;
    put(&scene.source, "students", &student("700"));
    let poison = Harm::Refuse(Refusal::Member("birthDate".to_owned(), "no".to_owned()));
    scene.target().fault(Fault::on("/ed-fi/students", poison).key("studentUniqueId", "700"));

    for number in 0..24 {
        put(&scene.source, "students", &student(&format!("9{number}")));
        let options = RunOptions { allow_deletes: false, all_parked: number % 2 == 0 };
        assert_ended(&scene.run_with(&options).await[0], "parked");
        scene.clock.advance(TimeDelta::hours(12));
    }

    let attempts = scene.writes("state").iter().filter(|write| write.status == 400).count();
    assert_eq!(attempts, 3);
    let parked = scene.parked().await;
    assert_eq!((parked.len(), parked[0].status), (1, ParkStatus::Dead));
    assert_eq!(scene.target().count("/ed-fi/students"), 24);
}

#[tokio::test]
async fn t12_what_is_too_large_for_the_target_is_parked_as_that_and_the_rest_goes_on() {
    for status in [413, 414] {
        let scene = Scene::start().await;
        open_school(&scene.source);
        put(&scene.source, "students", &student("700"));
        let fault = Fault::on("/ed-fi/students", refused_with(status));
        scene.target().fault(fault.method("POST").key("studentUniqueId", "700"));

        let report = scene.run().await;

        assert_ended(&report, "parked");
        let parked = scene.parked().await;
        assert_eq!((parked.len(), parked[0].reason), (1, ParkReason::TooLarge), "{status}");
        assert_eq!(scene.target().count("/ed-fi/students"), 2);
        assert_eq!(scene.watermark().await, Some(scene.source.newest()));
    }
}

#[tokio::test]
async fn t15_a_write_whose_answer_was_lost_is_done_once_and_counted_once() {
    for harm in [Harm::DropAfterWriting, Harm::FailAfterWriting] {
        let scene = Scene::start().await;
        open_school(&scene.source);
        for name in ["A", "B", "C"] {
            put(&scene.source, "classPeriods", &class_period(name));
        }
        scene.run().await;
        for method in ["POST", "PUT", "DELETE"] {
            scene.target().fault(Fault::on(PERIODS, harm.clone()).method(method).times(1));
        }
        let key = class_period_key;
        scene.source.rename(PERIODS, &key("A"), &key("Z")).unwrap();
        scene.source.delete(PERIODS, &key("B")).unwrap();
        put(&scene.source, "classPeriods", &class_period("D"));

        let report = scene.run().await;

        assert_ended(&report, "complete");
        scene.assert_agrees();
        assert!(scene.parked().await.is_empty(), "{harm:?}");
        let deletes = report.stages.deletes;
        assert_eq!(deletes.applied + deletes.skipped, deletes.read, "{harm:?}: {deletes:?}");
    }
}

#[tokio::test]
async fn t16_of_a_write_the_status_decides_and_an_empty_answer_is_one() {
    for head in ["204 No Content", "201 Created", "200 OK"] {
        let scene = Scene::start().await;
        put(&scene.source, "students", &student("700"));
        let wire = Wire::to(scene.target()).await;
        let bare = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        wire.hurt("POST /data/v3/ed-fi/students", 1, Act::after_writing(bare.as_bytes()));

        let report = run_through(&scene, &scene.source.url(), &wire.url()).await;

        assert_ended(&report, "complete");
        scene.assert_agrees();
        assert_eq!(wire.seen("POST /data/v3/ed-fi/students"), 1, "{head}");
    }
}

#[tokio::test]
async fn t17_a_redirected_write_fails_the_run_and_nobody_else_receives_it() {
    for status in [301, 302, 303, 307, 308] {
        let scene = Scene::start().await;
        put(&scene.source, "students", &student("700"));
        let elsewhere = Wire::to(scene.target()).await;
        let wire = Wire::to(scene.target()).await;
        let away = format!(
            "HTTP/1.1 {status} Away\r\nLocation: {}/data/v3/ed-fi/students\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n",
            elsewhere.url()
        );
        wire.hurt("POST /data/v3/ed-fi/students", 99, Act::raw(away.as_bytes()));

        let report = run_through(&scene, &scene.source.url(), &wire.url()).await;

        assert_ended(&report, "failed");
        assert_eq!(report.error.unwrap().kind, "redirected", "{status}");
        assert_eq!(elsewhere.seen(""), 0, "{status}");
        assert_eq!(scene.watermark().await, None);
    }
}

#[tokio::test]
async fn t18_an_interim_answer_is_none_and_an_early_one_is_the_answer() {
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "students", &student("701"));
    let wire = Wire::to(scene.target()).await;
    wire.hurt(
        "POST /data/v3/ed-fi/students",
        1,
        Act::before(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
    );

    let report = run_through(&scene, &scene.source.url(), &wire.url()).await;

    assert_ended(&report, "complete");
    scene.assert_agrees();
}

#[tokio::test]
async fn t18_a_refusal_before_the_body_was_read_is_a_refusal() {
    let scene = Scene::start().await;
    put(&scene.source, "students", &student("700"));
    let source = Wire::to(&scene.source).await;
    source.hurt(
        "GET /data/v3/ed-fi/students",
        1,
        Act::with_body(|page| {
            let page = String::from_utf8_lossy(page);
            page.replace("Tyrone", &"x".repeat(4 << 20)).into_bytes()
        }),
    );
    let early = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let wire = Wire::to(scene.target()).await;
    wire.hurt("POST /data/v3/ed-fi/students", 1, Act::unread(early.as_bytes()));

    let report = run_through(&scene, &source.url(), &wire.url()).await;

    assert_ended(&report, "parked");
    let parked = scene.parked().await;
    assert_eq!((parked.len(), parked[0].reason), (1, ParkReason::TooLarge));
}

#[tokio::test]
async fn t19_tokens_that_end_in_the_middle_of_a_run_cost_nothing() {
    let scene = Scene::start().await;
    open_school(&scene.source);
    for after in [0, 3, 6] {
        scene
            .target()
            .fault(Fault::everywhere(Harm::ExpireTokens).method("POST").after(after).times(1));
    }

    assert_ended(&scene.run().await, "complete");

    scene.assert_agrees();
    assert!(scene.target().item("/ed-fi/students", &student_key("604821")).is_some());
}

#[tokio::test]
async fn t22_r28a_what_others_write_too_is_never_renamed_nor_deleted() {
    let shared = |policy: &mut Policy| policy.shared = vec!["people".into(), "classPeriods".into()];
    let scene = Setting::new().policy(shared).start().await;
    open_school(&scene.source);
    put(&scene.source, "students", &student("700"));
    put(&scene.source, "classPeriods", &class_period("Early"));
    assert_ended(&scene.run().await, "complete");
    // Another district of the same state has the student and the class period too, and one more.
    put(scene.target(), "students", &student("another"));
    scene.source.delete("/ed-fi/students", &student_key("700")).unwrap();
    let (old, new) = (class_period_key("Early"), class_period_key("Late"));
    scene.source.rename("/ed-fi/classPeriods", &old, &new).unwrap();
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    let lives = |path: &str, key: &Value| scene.target().item(path, key).is_some();
    assert!(lives("/ed-fi/students", &student_key("700")));
    assert!(lives("/ed-fi/students", &student_key("another")));
    assert!(lives("/ed-fi/classPeriods", &old) && lives("/ed-fi/classPeriods", &new));
    let requests = scene.target().requests();
    for (method, resource) in [("PUT", "/ed-fi/classPeriods"), ("DELETE", "/ed-fi/classPeriods")] {
        assert_eq!(sent(&requests, method, resource), 0, "{method} {resource}");
    }
    assert_eq!(sent(&requests, "DELETE", "/ed-fi/students"), 0);
}

#[tokio::test]
async fn t22_r28a_what_belongs_to_somebody_else_is_written_only_where_it_is_missing() {
    let theirs = |policy: &mut Policy| policy.create_only = vec!["classPeriods".into()];
    let scene = Setting::new().policy(theirs).start().await;
    open_school(&scene.source);
    put(&scene.source, "classPeriods", &class_period("Missing"));
    assert_ended(&scene.run().await, "complete");
    let period = "/ed-fi/classPeriods";
    let marked = |name: &str, officially: bool| {
        let mut item = class_period(name);
        item["officialAttendancePeriod"] = json!(officially);
        item
    };
    // Both ends say of the same class period what the other does not.
    put(scene.target(), "classPeriods", &marked("There", true));
    put(&scene.source, "classPeriods", &marked("There", false));
    put(&scene.source, "classPeriods", &marked("Missing", true));
    put(&scene.source, "classPeriods", &class_period("New"));
    scene.target().clear_requests();

    let report = scene.run().await;

    assert_ended(&report, "complete");
    let at_target = |name: &str| scene.target().item(period, &class_period_key(name)).unwrap();
    assert_eq!(at_target("There"), marked("There", true), "it is another's");
    assert_eq!(at_target("Missing"), class_period("Missing"), "it was there by then");
    assert_eq!(at_target("New"), class_period("New"));
    assert_eq!(sent(&scene.target().requests(), "POST", period), 1);

    scene.source.delete(period, &class_period_key("New")).unwrap();
    assert_ended(&scene.run().await, "complete");
    assert!(scene.target().item(period, &class_period_key("New")).is_some());
}
