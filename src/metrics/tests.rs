//! What is counted is what happened.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    ChangeVersion, Outcome, ParkReason, ResourcePath, Stage, Stages, Tally, Window,
};
use crate::engine::observe::{Anomaly, Noted};
use crate::engine::report::{ReportedError, Requests, RunReport};
use crate::http::{Exchange, Method};
use crate::state::{ComparedWhole, Unlike};

fn pair() -> PairId {
    PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
}

fn students() -> ResourcePath {
    ResourcePath::parse("/ed-fi/students").unwrap()
}

fn report(outcome: Outcome, upserts: Tally, error: Option<&str>) -> RunReport {
    RunReport {
        id: "r".to_owned(),
        publication: pair().publication,
        target: pair().target,
        outcome,
        window: Some(Window { after: None, through: ChangeVersion(7) }),
        resumed: false,
        started_at: chrono::DateTime::UNIX_EPOCH,
        duration_seconds: 2.0,
        stages: Stages { upserts, ..Stages::default() },
        requests: Requests::default(),
        error: error.map(|kind| ReportedError { kind: kind.to_owned(), message: String::new() }),
        parked: 0,
        dead: 0,
        not_visible: 0,
        notes: Vec::new(),
        may_pass: false,
        stopped: None,
    }
}

fn moment(seconds: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap()
}

/// The value of the one sample with this name and all of these labels.
fn sample(metrics: &Metrics, name: &str, labels: &[&str]) -> Option<f64> {
    let text = metrics.text();
    let fits = |line: &&str| {
        line.split(['{', ' ']).next() == Some(name)
            && labels.iter().all(|label| line.contains(label))
    };
    text.lines().find(fits).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn every_metric_is_on_the_page_about_metrics() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page, Metrics::documentation()).unwrap();
    }

    let written = std::fs::read_to_string(page).unwrap();

    assert_eq!(written, Metrics::documentation(), "run the test with UPDATE_DOCS=1");
}

#[test]
fn what_the_pairs_of_the_configuration_can_count_is_there_at_zero() {
    let metrics = Metrics::new(&[pair()], &["ok", "failing"], 0);

    for (name, labels) in [
        ("tidemark_runs_total", vec![r#"outcome="failed""#]),
        ("tidemark_changes_total", vec![r#"stage="deletes""#, r#"outcome="parked""#]),
        ("tidemark_changes_read_total", vec![r#"target="state""#]),
        ("tidemark_unaccounted_changes_total", vec![r#"target="state""#]),
        ("tidemark_not_visible_total", vec![r#"target="state""#]),
        ("tidemark_end_to_end_latency_seconds_count", vec![r#"target="state""#]),
        ("tidemark_pair_state", vec![r#"state="failing""#]),
        ("tidemark_run_duration_seconds_count", vec![r#"target="state""#]),
    ] {
        assert_eq!(sample(&metrics, name, &labels), Some(0.0), "{name}");
    }
}

#[test]
fn what_is_seldom_is_there_at_zero_where_pairs_are_few() {
    let metrics = Metrics::new(&[pair()], &["ok"], 1);

    for (name, label) in [
        ("tidemark_changes_read_total", r#"stage="key_changes""#),
        ("tidemark_parked_retries_total", r#"outcome="parked""#),
        ("tidemark_discarded_items_total", r#"intentional="false""#),
        ("tidemark_discarded_items_total", r#"reason="given-up""#),
    ] {
        assert_eq!(sample(&metrics, name, &[label]), Some(0.0), "{name}");
    }
}

#[test]
fn what_became_of_changes_is_told_by_resource_and_stage_and_adds_up() {
    let metrics = Metrics::new(&[pair()], &[], 1);
    let pair = &pair();
    let resource = &students();
    let tally = Tally { read: 3, applied: 2, skipped: 1, parked: 0 };

    metrics.observe(&Event::Settled { pair, stage: Stage::Upserts, resource, tally });
    metrics.observe(&Event::Settled { pair, stage: Stage::Upserts, resource, tally });
    metrics.observe(&Event::Settled { pair, stage: Stage::Deletes, resource, tally });

    let text = metrics.text();
    let told: Vec<&str> =
        text.lines().filter(|line| line.starts_with("tidemark_changes_total")).collect();
    let expected = [("applied", "deletes", 2), ("applied", "upserts", 4)]
        .into_iter()
        .chain([("parked", "deletes", 0), ("parked", "upserts", 0)])
        .chain([("skipped", "deletes", 1), ("skipped", "upserts", 2)])
        .map(|(outcome, stage, count)| {
            format!(
                "tidemark_changes_total{{outcome=\"{outcome}\",publication=\"district-to-state\",\
                 resource=\"/ed-fi/students\",stage=\"{stage}\",target=\"state\"}} {count}"
            )
        });
    assert_eq!(told, expected.collect::<Vec<_>>());
}

#[test]
fn the_label_resource_is_left_out_above_so_many_pairs() {
    let tally = Tally { read: 3, applied: 2, skipped: 1, parked: 0 };
    for (resource_pairs, labelled) in [(1, true), (0, false)] {
        let metrics = Metrics::new(&[pair()], &[], resource_pairs);

        metrics.observe(&Event::Settled {
            pair: &pair(),
            stage: Stage::Upserts,
            resource: &students(),
            tally,
        });

        let applied = [r#"outcome="applied""#, r#"stage="upserts""#];
        assert_eq!(sample(&metrics, "tidemark_changes_total", &applied), Some(2.0));
        assert_eq!(metrics.text().contains("/ed-fi/students"), labelled);
    }
}

#[test]
fn p15_what_many_pairs_have_to_tell_does_not_grow_with_what_they_publish() {
    let mut pairs = Vec::new();
    for number in 0..600 {
        pairs.push(PairId { publication: format!("d-{number}"), target: "state".to_owned() });
    }
    let metrics = Metrics::new(&pairs, &["ok", "failing"], 20);
    let before = metrics.text().lines().count();
    let tally = Tally { read: 3, applied: 2, skipped: 1, parked: 0 };

    for pair in &pairs {
        for number in 0..20 {
            let resource = &ResourcePath::parse(&format!("/ed-fi/resource{number}s")).unwrap();
            metrics.observe(&Event::Settled { pair, stage: Stage::Upserts, resource, tally });
        }
    }

    let applied = [r#"publication="d-7""#, r#"outcome="applied""#, r#"stage="upserts""#];
    assert_eq!(sample(&metrics, "tidemark_changes_total", &applied), Some(40.0));
    assert_eq!(metrics.text().lines().count(), before);
}

#[test]
fn i14_what_a_run_cannot_account_for_is_counted_and_an_interruption_is_not() {
    let lost = Tally { read: 5, applied: 3, skipped: 1, parked: 0 };
    let whole = Tally { read: 5, applied: 3, skipped: 1, parked: 1 };
    for (case, report, expected) in [
        ("a whole run", report(Outcome::Parked, whole, None), 0.0),
        ("a run that lost one", report(Outcome::Complete, lost, None), 1.0),
        ("one that noticed", report(Outcome::Failed, lost, Some("not-conserved")), 1.0),
        ("an interruption", report(Outcome::Failed, lost, Some("interrupted")), 0.0),
    ] {
        let metrics = Metrics::new(&[pair()], &[], 1);

        metrics.observe(&Event::RunEnded { pair: &pair(), report: &report });

        let counted = sample(&metrics, "tidemark_unaccounted_changes_total", &[]);
        assert_eq!(counted, Some(expected), "{case}");
        let discarded = sample(&metrics, "tidemark_discarded_items_total", &["unaccounted"]);
        assert_eq!(discarded, Some(expected), "{case}");
        assert_eq!(sample(&metrics, "tidemark_run_duration_seconds_sum", &[]), Some(2.0));
    }
}

#[test]
fn a_pair_is_in_one_state_at_a_time() {
    let metrics = Metrics::new(&[pair()], &["ok", "failing"], 1);

    for state in ["failing", "ok"] {
        metrics.show(&pair(), &PairFigures { state, ..PairFigures::default() });
    }

    assert_eq!(sample(&metrics, "tidemark_pair_state", &[r#"state="ok""#]), Some(1.0));
    assert_eq!(sample(&metrics, "tidemark_pair_state", &[r#"state="failing""#]), Some(0.0));
}

fn exchange<'a>(method: &'a Method, outcome: Result<u16, &'static str>) -> Exchange<'a> {
    Exchange { method, outcome, took: Duration::from_millis(3), sent: 7, received: 40 }
}

#[test]
fn requests_count_by_class_and_failures_by_kind() {
    let metrics = Metrics::new(&[], &[], 1);
    let at = Endpoint { connection: "state", origin: "http://127.0.0.1:1" };

    metrics.exchanges(at).ended(&exchange(&Method::POST, Ok(201)));
    metrics.exchanges(at).ended(&exchange(&Method::POST, Err("timeout")));

    let requests = "tidemark_http_requests_total";
    assert_eq!(sample(&metrics, requests, &[r#"status="2xx""#]), Some(1.0));
    assert_eq!(sample(&metrics, requests, &[r#"status="none""#]), Some(1.0));
    assert_eq!(sample(&metrics, "tidemark_http_errors_total", &["timeout"]), Some(1.0));
}

#[test]
fn the_run_under_way_has_a_beginning_and_the_one_that_failed_an_error_until_another_ends() {
    let metrics = Metrics::new(&[pair()], &[], 1);
    let window = Window { after: None, through: ChangeVersion(7) };
    let at = chrono::DateTime::from_timestamp(1_000, 0).unwrap();
    let begun = "tidemark_run_start_timestamp_seconds";
    let error = "tidemark_last_run_error";

    metrics.observe(&Event::RunStarted { pair: &pair(), run: "r", window, at });
    assert_eq!(sample(&metrics, begun, &[]), Some(1_000.0));

    let failed = |kind| report(Outcome::Failed, Tally::default(), Some(kind));
    for kind in ["unreachable", "credentials"] {
        metrics.observe(&Event::RunEnded { pair: &pair(), report: &failed(kind) });
        assert_eq!(sample(&metrics, error, &[kind]), Some(1.0));
    }
    assert_eq!(sample(&metrics, error, &["unreachable"]), None);
    assert_eq!(sample(&metrics, begun, &[]), Some(0.0));

    let complete = report(Outcome::Complete, Tally::default(), None);
    metrics.observe(&Event::RunEnded { pair: &pair(), report: &complete });
    assert_eq!(sample(&metrics, error, &[]), None);
}

/// Beyond what runs and requests tell.
fn in_every_trouble() -> PairFigures {
    PairFigures {
        state: "blocked",
        blocked_by: Some("deletes"),
        watermark: Some(ChangeVersion(1)),
        newest: Some(ChangeVersion(2)),
        lag_versions: Some(1),
        waiting_by_reason: BTreeMap::from([(ParkReason::Invalid, 1), (ParkReason::Forbidden, 2)]),
        compared: Some(ComparedWhole {
            at: moment(1),
            equal: false,
            unlike: Unlike { missing: 1, extra: 0, different: 1 },
        }),
        ..PairFigures::default()
    }
}

/// Every pair has had each kind of trouble that a label can tell, and each source of its own.
#[test]
fn six_hundred_pairs_stay_under_fifty_thousand_series() {
    let pairs: Vec<PairId> = (0..600)
        .map(|n| PairId { publication: format!("d{n}-to-state"), target: "state".to_owned() })
        .collect();
    let metrics = Metrics::new(&pairs, &crate::desk::PairCondition::WORDS, 20);

    for (n, pair) in pairs.iter().enumerate() {
        let connection = format!("d{n}");
        let origin = format!("https://d{n}.example");
        let at = Endpoint { connection: &connection, origin: &origin };
        let failed = report(Outcome::Failed, Tally::default(), Some("unreachable"));
        metrics.observe(&Event::RunEnded { pair, report: &failed });
        let exchanges = metrics.exchanges(at);
        for answer in [Ok(200), Ok(429), Ok(500), Err("timeout"), Err("unreachable")] {
            exchanges.ended(&exchange(&Method::GET, answer));
        }
        for answer in [Ok(200), Ok(401)] {
            exchanges.ended(&exchange(&Method::POST, answer));
        }
        for why in ["429", "timeout"] {
            metrics.retried(at, why);
        }
        metrics.paused(at, Duration::from_secs(1), moment(1));
        metrics.limit(at, 3);
        exchanges.in_flight(1);
        metrics.budget_exhausted(at);
        metrics.certificate(at, CertificateOf::Server, moment(1));
        metrics.show(pair, &in_every_trouble());
        metrics.token_renewed(at, Ok(moment(1)));
        metrics.token_renewed(at, Err("credentials"));
        for noted in [
            Noted::Anomaly(Anomaly::SnapshotMissing),
            Noted::Retried { outcome: "parked" },
            Noted::Arrived { after: Duration::from_secs(9) },
        ] {
            metrics.observe(&Event::Noted { pair, noted });
        }
    }

    // What a person gives up is not all over the fleet.
    for pair in &pairs[..32] {
        metrics.discarded(pair, Discarded::GivenUp, 1);
    }
    // As many as run at once unless told otherwise.
    let window = Window { after: None, through: ChangeVersion(7) };
    for pair in &pairs[..32] {
        metrics.observe(&Event::RunStarted { pair, run: "r", window, at: moment(1) });
    }

    let series = metrics.text().lines().filter(|line| !line.starts_with('#')).count();
    assert!((40_000..50_000).contains(&series), "{series}");
}

#[test]
fn what_waits_is_told_by_why_and_what_blocks_by_its_cause_until_it_is_over() {
    let metrics = Metrics::new(&[pair()], &["ok", "blocked"], 1);
    let waiting = "tidemark_waiting_items";

    metrics.show(&pair(), &in_every_trouble());
    assert_eq!(sample(&metrics, waiting, &["forbidden"]), Some(2.0));
    assert_eq!(sample(&metrics, "tidemark_pair_blocked", &[r#"reason="deletes""#]), Some(1.0));

    let better = PairFigures {
        state: "ok",
        waiting_by_reason: BTreeMap::from([(ParkReason::Invalid, 3)]),
        oldest_waiting: Some(moment(77)),
        ..PairFigures::default()
    };
    metrics.show(&pair(), &better);
    assert_eq!(sample(&metrics, waiting, &["forbidden"]), None);
    assert_eq!(sample(&metrics, waiting, &["invalid"]), Some(3.0));
    assert_eq!(sample(&metrics, "tidemark_oldest_waiting_timestamp_seconds", &[]), Some(77.0));
    assert_eq!(sample(&metrics, "tidemark_pair_blocked", &[]), None);

    metrics.forget_pair(&pair());
    assert_eq!(sample(&metrics, waiting, &[]), None);
}

#[test]
fn a_run_under_way_tells_how_many_resources_it_began_and_ended() {
    let metrics = Metrics::new(&[pair()], &[], 1);
    let (pair, resource) = (&pair(), &students());
    let window = Window { after: None, through: ChangeVersion(7) };
    let (stage, resources) = (Stage::Upserts, "tidemark_run_resources");

    metrics.observe(&Event::RunStarted { pair, run: "r", window, at: moment(9) });
    assert_eq!(sample(&metrics, resources, &["finished"]), Some(0.0));
    metrics.observe(&Event::ResourceStarted { pair, stage, resource, expected: None });
    metrics.observe(&Event::ResourceStarted { pair, stage, resource, expected: None });
    metrics.observe(&Event::ResourceFinished { pair, stage, resource });

    assert_eq!(sample(&metrics, resources, &["started"]), Some(2.0));
    assert_eq!(sample(&metrics, resources, &["finished"]), Some(1.0));
    let asked = sample(&metrics, "tidemark_newest_seen_timestamp_seconds", &[]);
    assert_eq!(asked, Some(9.0));

    let complete = report(Outcome::Complete, Tally::default(), None);
    metrics.observe(&Event::RunEnded { pair, report: &complete });
    assert_eq!(sample(&metrics, resources, &[]), None);
}

#[test]
fn an_idle_source_was_asked_when_a_run_last_found_nothing() {
    let metrics = Metrics::new(&[pair()], &["ok"], 1);
    let found_nothing = |at| PairFigures { last_success: Some(moment(at)), ..Default::default() };

    for at in [500, 800] {
        metrics.show(&pair(), &found_nothing(at));

        let asked = sample(&metrics, "tidemark_newest_seen_timestamp_seconds", &[]);
        assert_eq!(asked, Some(at as f64));
    }
}

#[test]
fn what_an_api_asked_for_and_what_is_shown_to_it_is_told_by_moments() {
    let metrics = Metrics::new(&[], &[], 1);
    let at = Endpoint { connection: "state", origin: "https://127.0.0.1:1" };

    metrics.paused(at, Duration::from_secs(60), moment(600));
    metrics.paused(at, Duration::from_secs(5), moment(550));
    metrics.token_renewed(at, Ok(moment(1800)));
    metrics.certificate(at, CertificateOf::Client, moment(9000));
    let exchanges = metrics.exchanges(at);
    exchanges.in_flight(1);
    exchanges.in_flight(1);
    exchanges.in_flight(-1);
    exchanges.ended(&exchange(&Method::GET, Ok(200)));

    let value = |name, labels: &[&str]| sample(&metrics, name, labels);
    assert_eq!(value("tidemark_http_not_before_timestamp_seconds", &[]), Some(600.0));
    assert_eq!(value("tidemark_token_expiry_timestamp_seconds", &[]), Some(1800.0));
    let certificate = "tidemark_tls_certificate_expiry_timestamp_seconds";
    assert_eq!(value(certificate, &[r#"kind="client""#]), Some(9000.0));
    assert_eq!(value("tidemark_http_requests_in_flight", &[]), Some(1.0));
    assert_eq!(value("tidemark_http_body_bytes_total", &["received"]), Some(40.0));
    assert_eq!(value("tidemark_http_retry_budget_exhausted_total", &[]), Some(0.0));
}

#[test]
fn the_process_tells_its_room_its_log_its_configuration_and_its_certificate() {
    let metrics = Metrics::new(&[], &[], 1);
    let value = |name| sample(&metrics, name, &[]);
    assert_eq!(value("tidemark_server_certificate_expiry_timestamp_seconds"), None);

    metrics.show_process(&ProcessFigures {
        state_bytes: Some(123),
        free_bytes: Some(456),
        lost_log_records: 3,
        certificate_ends: Some(moment(9)),
    });
    metrics.committed(Duration::from_millis(3));
    assert_eq!(value("tidemark_state_poisoned"), Some(0.0));
    metrics.state_failed("engine");
    metrics.reloaded(Some(moment(5)));
    metrics.configured("before");
    metrics.configured("after");

    assert_eq!(value("tidemark_state_size_bytes"), Some(123.0));
    assert_eq!(value("tidemark_state_free_bytes"), Some(456.0));
    assert_eq!(value("tidemark_log_records_lost_total"), Some(3.0));
    assert_eq!(value("tidemark_server_certificate_expiry_timestamp_seconds"), Some(9.0));
    assert_eq!(value("tidemark_state_commit_duration_seconds_count"), Some(1.0));
    assert_eq!(value("tidemark_state_poisoned"), Some(1.0));
    assert_eq!(sample(&metrics, "tidemark_state_errors_total", &["engine"]), Some(1.0));
    assert_eq!(value("tidemark_config_reload_timestamp_seconds"), Some(5.0));
    assert_eq!(sample(&metrics, "tidemark_config_info", &["before"]), None);
    assert_eq!(sample(&metrics, "tidemark_config_info", &["after"]), Some(1.0));
}

#[test]
fn what_a_comparison_found_is_told_until_another_finds_both_ends_equal() {
    let metrics = Metrics::new(&[pair()], &["ok"], 1);
    let unlike = Unlike { missing: 2, extra: 3, different: 5 };
    let compared = Some(ComparedWhole { at: moment(7), equal: false, unlike });
    let found = |word| sample(&metrics, "tidemark_compared_unlike_items", &[word]);
    assert_eq!(found("missing"), None);

    metrics.show(&pair(), &PairFigures { compared, ..PairFigures::default() });

    assert_eq!(["missing", "extra", "different"].map(found), [Some(2.0), Some(3.0), Some(5.0)]);
    let equal = Some(ComparedWhole { at: moment(8), equal: true, unlike: Unlike::default() });
    metrics.show(&pair(), &PairFigures { compared: equal, ..PairFigures::default() });
    assert_eq!(["missing", "extra", "different"].map(found), [None; 3]);
}

#[test]
fn every_kind_of_anomaly_is_there_at_zero_for_a_few_pairs_and_for_a_fleet_once_it_was_seen() {
    for (resource_pairs, before) in [(1, Some(0.0)), (0, None)] {
        let metrics = Metrics::new(&[pair()], &["ok"], resource_pairs);
        for kind in Anomaly::ALL {
            let counted = || sample(&metrics, "tidemark_source_anomalies_total", &[kind.as_str()]);
            assert_eq!(counted(), before, "{kind:?}");

            let noted = Noted::Anomaly(kind);
            metrics.observe(&Event::Noted { pair: &pair(), noted });

            assert_eq!(counted(), Some(1.0), "{kind:?}");
        }
    }
}
