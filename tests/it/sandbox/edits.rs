//! The demo's day of edits.

use serde_json::json;
use tidemark::sandbox::{ApiVersion, Seed, edits::day_of_edits};

use super::client::{Client, sandbox};

#[tokio::test]
async fn a_day_of_edits_leaves_something_in_every_feed() {
    let source = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let client = Client::of(&source).await;
    let before = source.newest();

    let day = day_of_edits(&source).unwrap();

    let window = format!("minChangeVersion={}&totalCount=true", before + 1);
    let count = async |path: &str| -> usize {
        let answer = client.get(&format!("/ed-fi/{path}?{window}")).await;
        answer.header("Total-Count").unwrap().parse().unwrap()
    };
    assert_eq!(day.story.len(), 10, "{:#?}", day.story);
    assert_eq!(count("students").await, 43);
    assert_eq!(count("courses").await, 5);
    assert_eq!(count("programTypeDescriptors").await, 1);
    assert_eq!(count("classPeriods/keyChanges").await, 3);
    assert_eq!(count("locations/keyChanges").await, 2);
    assert_eq!(count("sessions/keyChanges").await, 1);
    assert_eq!(count("sections/keyChanges").await, 61);
    assert!(count("studentSectionAssociations/keyChanges").await > 0);
    assert_eq!(count("sections/deletes").await, 1);
    assert!(count("studentSectionAssociations/deletes").await > 0);
    assert_eq!(count("studentProgramAssociations/deletes").await, 4);
    assert_eq!(count("studentProgramAssociations").await, 2);
}

#[tokio::test]
async fn the_refusal_of_the_day_hits_one_course() {
    let source = sandbox(ApiVersion::V7_3, Seed::Sample).await;
    let day = day_of_edits(&source).unwrap();
    let target = sandbox(ApiVersion::V6_1, Seed::Sample).await;
    let client = Client::of(&target).await;
    let fault = target.fault(day.refusal());
    let refused = source.item(&day.refused_resource, &day.refused_key).unwrap();

    let mut refusals = 0;
    for course in source.items("/ed-fi/courses") {
        let answer = client.post("/ed-fi/courses", &course).await;
        refusals += usize::from(answer.status == 400);
    }
    target.repair(fault);
    let repaired = client.post("/ed-fi/courses", &refused).await;

    assert_eq!(refusals, 1);
    assert_eq!(repaired.status, 200);
    assert_eq!(target.count("/ed-fi/courses"), source.count("/ed-fi/courses"));
    assert_ne!(day.refused_key, json!({}));
}
