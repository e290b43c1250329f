//! Progress over server-sent events.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidemark::domain::{ChangeVersion, Outcome, ResourcePath, Stage, Stages, Tally, Window};
use tidemark::engine::observe::{Event, Observer};
use tidemark::engine::report::{Requests, RunReport};
use tidemark::server::Progress;
use tidemark::state::PairId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::desk::{moment, pair};
use super::house::House;

/// Far above what anything here takes.
const BOUND: Duration = Duration::from_secs(30);

/// A client that listens.
pub(crate) struct Line {
    pub(crate) status: u16,
    reader: BufReader<TcpStream>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) data: Value,
}

impl Line {
    pub(crate) async fn open(house: &House, token: Option<&str>, query: &str) -> Line {
        Line::at(house.address(), token, query).await
    }

    pub(crate) async fn at(address: SocketAddr, token: Option<&str>, query: &str) -> Line {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET /api/v1/events{query} HTTP/1.1\r\nHost: {address}\r\nLast-Event-ID: 7\r\n{}\r\n",
            bearer.unwrap_or_default()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).await.unwrap() > 2 {}
        Line { status: head.split(' ').nth(1).unwrap().parse().unwrap(), reader }
    }

    /// `None` when the line has ended.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        let (mut name, mut id, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(BOUND, self.reader.read_line(&mut line)).await;
            if read.expect("something is told in time").unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            // Other lines are the sizes of chunks, comments and the ends of events.
            if let Some(text) = line.strip_prefix("event: ") {
                name = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().ok();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = serde_json::from_str(text).ok();
            } else if line.is_empty() && data.is_some() {
                return Some(Told { name: name?, id: id?, data: data? });
            }
        }
    }

    /// All events through the first of this name.
    pub(crate) async fn until(&mut self, name: &str) -> Vec<Told> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.expect("the line goes on");
            let is_last = event.name == name;
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
}

fn students() -> ResourcePath {
    ResourcePath::parse("/ed-fi/students").unwrap()
}

const WINDOW: Window = Window { after: None, through: ChangeVersion(9) };
const ONE: Tally = Tally { read: 1, applied: 1, skipped: 0, parked: 0 };

fn begin(progress: &Progress, pair: &PairId) {
    progress.observe(&Event::RunStarted { pair, run: "run-1", window: WINDOW, at: moment() });
    let stage = Stage::Upserts;
    progress.observe(&Event::StageStarted { pair, stage });
    let expected = Some(3);
    progress.observe(&Event::ResourceStarted { pair, stage, resource: &students(), expected });
}

fn settle(progress: &Progress, pair: &PairId) {
    let resource = students();
    let event = Event::Settled { pair, stage: Stage::Upserts, resource: &resource, tally: ONE };
    progress.observe(&event);
}

fn end(progress: &Progress, pair: &PairId) {
    let resource = students();
    progress.observe(&Event::ResourceFinished { pair, stage: Stage::Upserts, resource: &resource });
    let report = RunReport {
        id: "run-1".to_owned(),
        publication: pair.publication.clone(),
        target: pair.target.clone(),
        outcome: Outcome::Complete,
        window: Some(WINDOW),
        resumed: false,
        started_at: moment(),
        duration_seconds: 1.25,
        stages: Stages { upserts: ONE, ..Stages::default() },
        requests: Requests::default(),
        error: None,
        parked: 0,
        dead: 0,
        not_visible: 0,
        notes: Vec::new(),
        may_pass: false,
        stopped: None,
    };
    progress.observe(&Event::RunEnded { pair, report: &report });
}

/// A run of one pair with three students.
pub(crate) fn a_run(progress: &Progress) {
    begin(progress, &pair());
    for _ in 0..3 {
        settle(progress, &pair());
    }
    end(progress, &pair());
}

#[tokio::test]
async fn a_run_is_told_from_its_beginning_to_its_end_with_sums() {
    let house = House::on_loopback().await;
    let mut line = Line::open(&house, None, "").await;

    begin(&house.progress, &pair());
    let begun = line.until("progress").await;
    for _ in 0..3 {
        settle(&house.progress, &pair());
    }
    end(&house.progress, &pair());
    let ended = line.until("run-ended").await;

    let names: Vec<&str> = begun.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["run-started", "progress"]);
    assert_eq!(begun[0].data["window"], json!({"after": null, "through": 9}));
    assert_eq!(begun[1].data["expected"], 3);
    // What happened at once is told at once.
    assert_eq!(ended.len(), 2, "{ended:?}");
    let all = json!({"read": 3, "applied": 3, "skipped": 0, "parked": 0});
    assert_eq!(ended[0].data["tally"], all);
    assert_eq!(ended[0].data["finished"], true);
    assert_eq!(ended[1].data["run"]["outcome"], "complete");
    assert_eq!(ended[1].data["run"]["ended_at"], "2026-01-31T10:00:01.250Z");
    let ids: Vec<u64> = begun.iter().chain(&ended).map(|event| event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[tokio::test]
async fn who_comes_in_the_middle_of_a_run_is_told_how_far_it_is() {
    let house = House::on_loopback().await;
    begin(&house.progress, &pair());
    settle(&house.progress, &pair());

    let mut line = Line::open(&house, None, "").await;
    let picture = line.until("progress").await;

    assert_eq!(picture[0].name, "run-started");
    assert_eq!(picture[1].data["tally"]["applied"], 1);
}

#[tokio::test]
async fn a_token_with_labels_hears_of_its_pairs_alone() {
    let house = House::on_loopback().await;
    let own = PairId { publication: "d1".to_owned(), target: "state".to_owned() };
    let mut line = Line::open(&house, Some("scoped"), "").await;

    a_run(&house.progress);
    begin(&house.progress, &own);
    end(&house.progress, &own);
    let events = line.until("run-ended").await;

    assert_eq!(events.last().unwrap().data["run"]["publication"], "d1");
    assert!(!format!("{events:?}").contains(&pair().publication), "{events:?}");
}

#[tokio::test]
async fn a_line_may_be_about_some_publications() {
    let house = House::on_loopback().await;
    let mut line = Line::open(&house, None, "?publication=d*1,x&target=state").await;
    let own = PairId { publication: "d1".to_owned(), target: "state".to_owned() };

    a_run(&house.progress);
    begin(&house.progress, &own);
    end(&house.progress, &own);
    let events = line.until("run-ended").await;

    assert_eq!(events.last().unwrap().data["run"]["publication"], "d1");
}

#[tokio::test]
async fn who_is_too_slow_is_told_so_and_gets_a_new_picture() {
    let house = House::on_loopback().await;
    let mut line = Line::open(&house, None, "").await;
    begin(&house.progress, &pair());

    // No more than the line keeps may wait for it, however much happens.
    for number in 0..2000 {
        let other = PairId { publication: format!("d{number}"), target: "state".to_owned() };
        begin(&house.progress, &other);
        end(&house.progress, &other);
    }
    let missed = line.until("missed").await;
    let picture = line.until("progress").await;

    assert!(missed.len() <= 1001, "{}", missed.len());
    let expected = [pair().publication, pair().publication];
    let told: Vec<&Value> = picture.iter().map(|event| &event.data["publication"]).collect();
    assert_eq!(told, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn only_so_many_listen_at_once_and_who_leaves_makes_room() {
    let house = House::on_loopback().await;
    let mut lines = Vec::new();
    for _ in 0..64 {
        lines.push(Line::open(&house, None, "").await);
    }

    let one_more = Line::open(&house, None, "").await;
    drop(lines);
    let status = tokio::time::timeout(BOUND, async {
        loop {
            // A line that was left is noticed when something is sent.
            a_run(&house.progress);
            let line = Line::open(&house, None, "").await;
            if line.status == 200 {
                return line.status;
            }
        }
    });

    assert_eq!(one_more.status, 503);
    assert_eq!(status.await.unwrap(), 200);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_lines() {
    let house = House::on_loopback().await;
    let mut line = Line::open(&house, None, "").await;

    house.server.stop().await;

    assert_eq!(line.next().await, None);
}
