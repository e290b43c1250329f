//! A person decides about a blocked pair: what was and what is are shown, and only a yes counts.

use serde_json::{Value, json};
use tidemark::sandbox::Sandbox;
use tidemark::state::{PairId, PairState, Step};

use super::Desk;
use crate::district;
use crate::scene::{bare, put};

const WORDS: [&str; 2] = ["--reason", "the year was closed"];

impl Desk {
    /// Two of three students have gone, and the brake lets neither of them go.
    pub(super) async fn braked() -> Desk {
        let desk = Desk::new().await;
        desk.configure(&desk.usual("    max_deletes: 1%\n    max_deletes_above: 1\n"));
        desk.tidemark(&["run"]).await;
        for id in ["S-701", "S-702"] {
            desk.source.delete("/ed-fi/students", &district::student_key(id)).unwrap();
        }
        desk
    }

    async fn reason(&self) -> (Value, String) {
        let status = self.tidemark(&["status", "--output", "json"]).await.json();
        let pair = &status["pairs"][0];
        (pair["state"].clone(), pair["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Changes what is remembered, as only a restored or another database could.
    async fn remember(&self, change: impl FnOnce(&mut PairState)) {
        let store = tidemark::state::open(&self.directory.path().join("state")).unwrap();
        let pair =
            PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() };
        let mut state = store.load(&pair).await.unwrap().unwrap();
        change(&mut state);
        store.commit(&pair, Step { state: Some(state), ..Step::default() }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_deletes_go_on_when_a_person_allowed_that_many_and_only_that_many() {
    let desk = Desk::braked().await;
    let approve = ["approve", "deletes", "district-to-state"];

    let braked = desk.tidemark(&["run"]).await;
    let (state, reason) = desk.reason().await;
    let unexplained = desk.tidemark(&[&approve[..], &["--yes"]].concat()).await;
    let unsure = desk.tidemark(&[&approve[..], &WORDS].concat()).await;
    let other =
        desk.tidemark(&[&approve[..], &WORDS, &["--yes", "--resource", "schools"]].concat()).await;
    let (still, _) = desk.reason().await;
    let approved = desk.tidemark(&[&approve[..], &WORDS, &["--yes"]].concat()).await;
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!((braked.code, state), (1, json!("blocked")));
    assert!(reason.contains("`tidemark approve deletes district-to-state`"), "{reason}");
    assert_eq!((unexplained.code, unsure.code, other.code), (2, 2, 2));
    assert!(unexplained.err.contains("--reason"), "{}", unexplained.err);
    for says in ["--yes", "would delete 2 of the items", "up to 2 items of `/ed-fi/students`"] {
        assert!(unsure.err.contains(says), "{says}: {}", unsure.err);
    }
    assert!(other.err.contains("of `schools`"), "{}", other.err);
    assert_eq!(still, "blocked");
    assert_eq!(approved.code, 0, "{}", approved.err);
    assert_eq!(run.json()["runs"][0]["stages"]["deletes"]["applied"], 2, "{}", run.out);
    assert_eq!(desk.target.count("/ed-fi/students"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_what_was_allowed_does_not_hold_for_more_nor_for_the_run_after() {
    let desk = Desk::braked().await;
    let approve = ["approve", "deletes", "district-to-state", "--reason", "x", "--yes"];

    desk.tidemark(&["run"]).await;
    desk.tidemark(&approve).await;
    desk.source.delete("/ed-fi/students", &district::student_key("S-703")).unwrap();
    let more = desk.tidemark(&["run"]).await;
    let (_, reason) = desk.reason().await;
    let nothing_went = desk.target.count("/ed-fi/students");
    desk.tidemark(&approve).await;
    let allowed = desk.tidemark(&["run"]).await;
    let all_went = desk.target.count("/ed-fi/students");
    for id in ["S-704", "S-705"] {
        put(&desk.source, "students", &district::student(id));
    }
    desk.tidemark(&["run"]).await;
    for id in ["S-704", "S-705"] {
        desk.source.delete("/ed-fi/students", &district::student_key(id)).unwrap();
    }
    let after = desk.tidemark(&["run"]).await;

    assert_eq!((more.code, nothing_went), (1, 3), "{}", more.out);
    assert!(reason.contains("would delete 3 of the items"), "{reason}");
    assert_eq!((allowed.code, all_went), (0, 0), "{}", allowed.out);
    assert_eq!((after.code, desk.target.count("/ed-fi/students")), (1, 2), "{}", after.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn r19_the_same_data_under_another_name_goes_on_and_other_data_starts_over() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let moved = Sandbox::start(bare()).await.unwrap();
    put(&moved, "localEducationAgencies", &district::agency());
    let usual = desk.usual("");
    desk.configure(&usual.replace(&desk.target.url(), &moved.url()));
    put(&desk.source, "students", &district::student("S-704"));
    let approve = ["approve", "identity", "district-to-state", "--reason", "moved", "--yes"];

    let early = desk.tidemark(&[&approve[..], &["--same-data"]].concat()).await;
    let blocked = desk.tidemark(&["run"]).await;
    let (state, reason) = desk.reason().await;
    let unclear = desk.tidemark(&approve).await;
    let same = desk.tidemark(&[&approve[..], &["--same-data", "--output", "json"]].concat()).await;
    let status = desk.tidemark(&["watermark", "show", "--output", "json"]).await;
    desk.configure(&usual);
    let back = desk.tidemark(&["run"]).await;
    let over = desk.tidemark(&[&approve[..], &["--start-over"]].concat()).await;
    let run = desk.tidemark(&["run", "--output", "json"]).await;

    assert_eq!((early.code, blocked.code, unclear.code), (2, 1, 2), "{}", early.err);
    assert_eq!(state, "blocked");
    assert!(reason.contains("approve identity district-to-state --same-data"), "{reason}");
    assert_eq!(same.code, 0, "{}", same.err);
    assert!(same.json()["items"][0]["now"].as_str().unwrap().contains(&moved.url()));
    assert_eq!(status.json()["items"][0]["watermark"], desk.source.newest() - 1);
    assert_eq!((back.code, over.code), (1, 0), "{}{}", back.out, over.err);
    assert_eq!(run.json()["runs"][0]["window"]["after"], Value::Null);
    assert_eq!(run.json()["runs"][0]["outcome"], "complete", "{}", run.out);
    assert_eq!(desk.target.count("/ed-fi/students"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn r18_a_source_whose_versions_went_back_is_not_the_same_data() {
    let desk = Desk::new().await;
    desk.tidemark(&["run"]).await;
    let far = tidemark::domain::ChangeVersion(desk.source.newest() + 1000);
    desk.remember(|state| {
        state.watermark = Some(tidemark::domain::Watermark::ChangeVersion(far));
    })
    .await;
    let approve = ["approve", "identity", "district-to-state", "--reason", "restored", "--yes"];

    let blocked = desk.tidemark(&["run"]).await;
    let same = desk.tidemark(&[&approve[..], &["--same-data"]].concat()).await;
    let over = desk.tidemark(&[&approve[..], &["--start-over"]].concat()).await;
    let run = desk.tidemark(&["run"]).await;

    assert_eq!((blocked.code, same.code, over.code, run.code), (1, 2, 0, 0), "{}", run.out);
    assert!(same.err.contains("tidemark watermark set"), "{}", same.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_credentials_that_were_meant_to_reach_less_go_on_when_a_person_says_so() {
    let desk = Desk::new().await;
    desk.configure(&desk.usual(""));
    desk.tidemark(&["run"]).await;
    desk.source.tell_education_organizations(&[]);
    put(&desk.source, "students", &district::student("S-800"));
    let approve = ["approve", "identity", "district-to-state", "--same-data"];

    let blocked = desk.tidemark(&["run"]).await;
    let (state, reason) = desk.reason().await;
    let approved = desk.tidemark(&[&approve[..], &WORDS, &["--yes"]].concat()).await;
    let run = desk.tidemark(&["run"]).await;
    desk.source.tell_education_organizations(&[255_901]);
    put(&desk.source, "students", &district::student("S-801"));
    let wider = desk.tidemark(&["run"]).await;

    assert_eq!((blocked.code, state), (1, json!("blocked")));
    assert!(reason.contains("approve identity district-to-state --same-data"), "{reason}");
    assert_eq!(approved.code, 0, "{}", approved.err);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(wider.code, 0, "{}", wider.err);
    let told = format!("{}{}", wider.out, wider.err);
    assert!(told.contains("reach more than before"), "the new scope is what is known: {told}");
}
