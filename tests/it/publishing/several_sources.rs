//! Two publications, each with a source of its own, and one target: what one of them loses the other
//! may have (R28a). Nobody has said `shared`.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tidemark::domain::ParkReason;
use tidemark::engine::report::RunReport;
use tidemark::engine::run::Surroundings;
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::engine::{Pair, Policy};
use tidemark::http::Origins;
use tidemark::sandbox::{Fault, Harm, LoggedRequest, Refusal, Sandbox};
use tidemark::sources::edfi::{EdfiSource, PageRoom};
use tidemark::state::{Coverage, PairId, Step};
use tidemark::targets::edfi::EdfiTarget;

use crate::district::{
    SCHOOL, class_period, class_period_key, open_school, school, section, section_key, student,
    student_key,
};
use crate::scene::{Scene, assert_ended, bare, connect, put};

const STUDENTS: &str = "/ed-fi/students";
const PERIODS: &str = "/ed-fi/classPeriods";
const SECTIONS: &str = "/ed-fi/sections";

/// The scene's district, another one, and the target of both.
struct TwoDistricts {
    scene: Scene,
    other: Sandbox,
    origins: Origins,
    /// Where the other district is looked for by who asks it.
    address: String,
    policy: Policy,
}

impl TwoDistricts {
    /// Both have the same school and what `put_both` adds, and both have been published.
    async fn with(put_both: impl Fn(&Sandbox)) -> TwoDistricts {
        let scene = Scene::start().await;
        let other = Sandbox::start(bare()).await.unwrap();
        for source in [&scene.source, &other] {
            open_school(source);
            put_both(source);
        }
        let (origins, address) = (Origins::new(scene.clock.clone()), other.url());
        let policy = Policy { sole_writer: false, ..scene.policy.clone() };
        let two = TwoDistricts { scene, other, origins, address, policy };
        assert_ended(&two.run_other().await, "complete");
        assert_ended(&two.run().await, "complete");
        two.scene.target().clear_requests();
        two.other.clear_requests();
        two
    }

    fn pairs(&self) -> [Pair; 2] {
        let pair = |publication: &str, url: &str| Pair {
            id: PairId { publication: publication.to_owned(), target: "state".to_owned() },
            source: Arc::new(EdfiSource::new(
                connect(publication, url, &self.origins),
                500,
                PageRoom::new(),
            )),
            target: Arc::new(EdfiTarget::new(connect(
                "state",
                &self.scene.target().url(),
                &self.origins,
            ))),
            policy: Arc::new(self.policy.clone()),
        };
        [pair("district-to-state", &self.scene.source.url()), pair("other", &self.address)]
    }

    async fn run_one(&self, number: usize) -> RunReport {
        let pairs = self.pairs();
        let pair = pairs[number].clone();
        let around = Surroundings { configured: Some(pairs.into()), ..self.scene.surroundings() };
        let options = RunOptions { allow_deletes: false, all_parked: true };
        Runner::new(around).run_publication(vec![pair], &options).await.pop().unwrap()
    }

    async fn run(&self) -> RunReport {
        self.run_one(0).await
    }

    async fn run_other(&self) -> RunReport {
        self.run_one(1).await
    }

    fn target_has(&self, path: &str, key: &serde_json::Value) -> bool {
        self.scene.target().item(path, key).is_some()
    }

    fn sent(&self, method: &str) -> usize {
        let fits = |one: &LoggedRequest| one.method == method && one.is_write();
        self.scene.target().requests().iter().filter(|one| fits(one)).count()
    }
}

#[tokio::test]
async fn r28a_what_lives_at_the_source_of_another_publication_is_deleted_when_it_has_gone_there_too()
 {
    let two = TwoDistricts::with(|source| put(source, "students", &student("700"))).await;
    let key = student_key("700");
    two.scene.source.delete(STUDENTS, &key).unwrap();

    let report = two.run().await;

    assert_ended(&report, "complete");
    assert_eq!(two.sent("DELETE"), 0);
    assert!(two.target_has(STUDENTS, &key));
    let [note] = report.notes.as_slice() else { panic!("{:?}", report.notes) };
    assert!(note.starts_with("kept for others: left 1 "), "{note}");
    two.other.delete(STUDENTS, &key).unwrap();
    let report = two.run_other().await;
    assert_ended(&report, "complete");
    assert!(!two.target_has(STUDENTS, &key));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[tokio::test]
async fn r28a_a_name_that_another_publication_has_stays_when_an_item_of_ours_is_renamed() {
    let two = TwoDistricts::with(|source| {
        put(source, "classPeriods", &class_period("Early"));
        put(source, "sections", &section("S7", "ALG-1", "Fall"));
    })
    .await;
    let (early, late) = (class_period_key("Early"), class_period_key("Late"));
    two.scene.source.rename(PERIODS, &early, &late).unwrap();
    let (old, new) = (section_key("S7", "ALG-1", "Fall"), section_key("S8", "ALG-1", "Fall"));
    two.scene.source.rename(SECTIONS, &old, &new).unwrap();

    assert_ended(&two.run().await, "complete");

    assert_eq!((two.sent("PUT"), two.sent("DELETE")), (0, 0));
    for (path, key) in [(PERIODS, &early), (PERIODS, &late), (SECTIONS, &old), (SECTIONS, &new)] {
        assert!(two.target_has(path, key), "{path}");
    }
    // The last to have the old name gives it up, and by then the new one is taken.
    two.other.rename(PERIODS, &early, &late).unwrap();
    assert_ended(&two.run_other().await, "complete");
    assert!(!two.target_has(PERIODS, &early) && two.target_has(PERIODS, &late));
}

#[tokio::test]
async fn r28a_what_may_live_at_a_source_that_does_not_tell_waits_until_it_does() {
    let mut two = TwoDistricts::with(|source| put(source, "students", &student("700"))).await;
    let key = student_key("700");
    two.scene.source.delete(STUDENTS, &key).unwrap();
    let hidden = Harm::Refuse(Refusal::Status(403));
    two.other.fault(Fault::on(STUDENTS, hidden).method("GET").times(1));

    assert_ended(&two.run().await, "parked");

    let parked = two.scene.parked().await;
    assert_eq!((parked.len(), parked[0].reason), (1, ParkReason::Doubtful));
    assert!(parked[0].named_for_deletion);
    two.address = "http://127.0.0.1:9/".to_owned();
    two.scene.clock.advance(TimeDelta::hours(1));
    assert_ended(&two.run().await, "parked");
    assert!(two.target_has(STUDENTS, &key));
    two.address = two.other.url();
    two.other.delete(STUDENTS, &key).unwrap();
    two.scene.clock.advance(TimeDelta::hours(12));
    assert_ended(&two.run().await, "complete");
    assert!(!two.target_has(STUDENTS, &key));
    assert!(two.scene.parked().await.is_empty());
}

#[tokio::test]
async fn r28a_nobody_is_asked_who_does_not_publish_the_same_to_the_same_target() {
    let mut two = TwoDistricts::with(|source| put(source, "students", &student("700"))).await;
    let key = student_key("700");
    two.policy.sole_writer = true;
    two.scene.source.delete(STUDENTS, &key).unwrap();

    assert_ended(&two.run().await, "complete");

    assert!(!two.target_has(STUDENTS, &key), "a person has said that nobody else has it");
    assert!(two.other.requests().is_empty());
    // The other's state says that it publishes elsewhere, or nothing.
    two.policy.sole_writer = false;
    let forgotten = tidemark::state::Step { forget_all: true, ..Default::default() };
    let [_, other] = two.pairs();
    two.scene.store.commit(&other.id, forgotten).await.unwrap();
    put(&two.scene.source, "students", &student("701"));
    assert_ended(&two.run().await, "complete");
    two.scene.source.delete(STUDENTS, &student_key("701")).unwrap();
    assert_ended(&two.run().await, "complete");
    assert!(!two.target_has(STUDENTS, &student_key("701")));
    assert!(two.other.requests().is_empty());
}

/// A second school, and a period of it.
fn open_second_school(source: &Sandbox) {
    let mut school = school();
    school["schoolId"] = json!(SECOND_SCHOOL);
    put(source, "schools", &school);
    let mut period = class_period("Early");
    period["schoolReference"]["schoolId"] = json!(SECOND_SCHOOL);
    put(source, "classPeriods", &period);
}

const SECOND_SCHOOL: i64 = SCHOOL + 1;

fn period_of_second_school() -> Value {
    json!({"classPeriodName": "Early", "schoolId": SECOND_SCHOOL})
}

#[tokio::test]
async fn r28a_what_belongs_to_a_school_that_another_source_never_had_goes_without_a_question() {
    let mut two = TwoDistricts::with(|_| {}).await;
    open_second_school(&two.scene.source);
    assert_ended(&two.run().await, "complete");
    two.address = "http://127.0.0.1:9/".to_owned();
    two.scene.source.delete(PERIODS, &period_of_second_school()).unwrap();

    let report = two.run().await;

    assert_ended(&report, "complete");
    assert!(!two.target_has(PERIODS, &period_of_second_school()));
    assert!(two.other.requests().is_empty());
}

#[tokio::test]
async fn r28a_a_school_that_another_publication_has_brought_meanwhile_is_asked_about_again() {
    let two = TwoDistricts::with(|_| {}).await;
    open_second_school(&two.scene.source);
    assert_ended(&two.run().await, "complete");
    open_second_school(&two.other);
    assert_ended(&two.run_other().await, "complete");
    two.scene.source.delete(PERIODS, &period_of_second_school()).unwrap();

    let report = two.run().await;

    assert_ended(&report, "complete");
    assert!(two.target_has(PERIODS, &period_of_second_school()), "the other has it");
}

#[tokio::test]
async fn r28a_whoever_has_not_read_its_schools_from_the_beginning_is_asked() {
    let two = TwoDistricts::with(|_| {}).await;
    open_second_school(&two.scene.source);
    assert_ended(&two.run().await, "complete");
    open_second_school(&two.other);
    let [_, other] = two.pairs();
    let coverage = two.scene.store.coverage(&other.id).await.unwrap();
    assert!(coverage.organizations.is_some());
    let unfollowed = Coverage { organizations: None, ..coverage };
    let step = Step { coverage: Some(unfollowed), ..Step::default() };
    two.scene.store.commit(&other.id, step).await.unwrap();
    two.scene.source.delete(PERIODS, &period_of_second_school()).unwrap();

    assert_ended(&two.run().await, "complete");

    assert!(two.target_has(PERIODS, &period_of_second_school()), "its source has it");
}
