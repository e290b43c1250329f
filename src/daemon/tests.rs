//! The wiring, without a network: what becomes of a configuration, and how pairs are said to be.

use std::time::Duration;

use super::select::SelectError;
use super::status::{LivePair, LivePairs, NobodyRuns, status};
use super::*;
use crate::desk::{PairCondition, Selectors};
use crate::domain::{ChangeVersion, Outcome, ParkReason, ResourcePath, Watermark};
use crate::state::{
    Block, BlockCause, LastRun, MemoryStore, Operation, PairState, ParkStatus, Parked,
    RefusalRecord, Step,
};

const CONFIGURATION: &str = r#"
connections:
  district: {kind: ed-fi, url: "http://127.0.0.1:9/", key: {env: NOT_SET}, secret: s, max_concurrency: 40}
  state: {kind: ed-fi, url: "http://127.0.0.1:9/state", key: k, secret: s, max_concurrency: 40}
  mirror: {kind: ed-fi, url: "http://127.0.0.1:9/mirror", key: k, secret: s}
publications:
  district-to-state:
    source: district
    targets: [state, mirror]
    labels: {region: north}
    every: 30m
    isolation: bounded
    deletes: skip
    max_deletes: 0.25%
    retry: {first_delay: 2m}
    resources: {include: [students], descriptors: false}
  state-to-mirror:
    source: state
    targets: [mirror]
    labels: {region: south}
    on_missing_snapshot: bounded
"#;

fn moment(text: &str) -> crate::clock::Timestamp {
    text.parse().unwrap()
}

fn assembly() -> Assembly {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidemark.yaml");
    std::fs::write(&path, CONFIGURATION).unwrap();
    let env = BTreeMap::new();
    let config = crate::config::load(&path, &env).unwrap().config;
    let clock = Clock::held_at(moment("2026-01-31T10:00:00Z"));
    assemble(config, &env, Arc::new(MemoryStore::new()), clock).unwrap()
}

fn pair_named(publication: &str, target: &str) -> PairId {
    PairId { publication: publication.to_owned(), target: target.to_owned() }
}

#[test]
fn a_secret_that_is_missing_keeps_no_configuration_from_being_assembled() {
    let assembly = assembly();

    let names: Vec<String> = assembly.all_pairs().map(|pair| pair.id.to_string()).collect();

    assert_eq!(
        names,
        ["district-to-state → state", "district-to-state → mirror", "state-to-mirror → mirror"]
    );
    assert_eq!(assembly.connections.len(), 3);
}

#[test]
fn the_policy_of_a_pair_is_what_its_publication_says() {
    let assembly = assembly();

    let policy = &assembly.pair(&pair_named("district-to-state", "state")).unwrap().policy;
    let other = &assembly.pair(&pair_named("state-to-mirror", "mirror")).unwrap().policy;

    assert_eq!(policy.isolation, Isolation::Bounded);
    assert_eq!(policy.on_missing_snapshot, None);
    assert_eq!(policy.deletes, Publish::Skip);
    assert_eq!(policy.key_changes, Publish::Publish);
    assert_eq!(policy.brake, DeleteBrake { percent: 0.25, above: 100 });
    assert_eq!(policy.retry.first_delay, Duration::from_secs(120));
    assert_eq!(policy.selection.include, ["students"]);
    assert!(!policy.selection.descriptors);
    assert!(policy.sole_writer, "nobody else writes to `state`");
    assert_eq!(policy.max_in_flight, 40, "no more than the connection allows");

    assert_eq!(other.isolation, Isolation::Snapshot);
    assert_eq!(other.on_missing_snapshot, Some(Isolation::Bounded));
    assert!(!other.sole_writer, "two publications write to `mirror`");
    assert_eq!(other.max_in_flight, MAX_IN_FLIGHT);
}

#[test]
fn selectors_narrow_and_nothing_given_is_everything() {
    let assembly = assembly();
    let some = |text: &str| Some(text.to_owned());
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    for (case, selectors, expected) in [
        ("nothing", Selectors::default(), 3),
        (
            "a name",
            Selectors { publications: names(&["state-to-mirror"]), ..Selectors::default() },
            1,
        ),
        ("a glob", Selectors { publications: names(&["*-to-*"]), ..Selectors::default() }, 3),
        (
            "a label",
            Selectors {
                labels: vec![("region".to_owned(), "north".to_owned())],
                ..Selectors::default()
            },
            2,
        ),
        ("a target", Selectors { target: some("mirror"), ..Selectors::default() }, 2),
        ("a connection", Selectors { connection: some("state"), ..Selectors::default() }, 2),
        (
            "a name and a target",
            Selectors {
                publications: names(&["district-*"]),
                target: some("mirror"),
                ..Selectors::default()
            },
            1,
        ),
    ] {
        let selected = assembly.pairs_of(&selectors).expect(case);

        assert_eq!(selected.values().map(Vec::len).sum::<usize>(), expected, "{case}");
    }
}

#[test]
fn a_selection_of_nothing_says_what_was_wrong() {
    let assembly = assembly();
    let unknown =
        Selectors { publications: vec!["distrct-to-state".to_owned()], ..Selectors::default() };
    let elsewhere = Selectors { target: Some("stat".to_owned()), ..Selectors::default() };
    let nothing = Selectors {
        publications: vec!["state-to-mirror".to_owned()],
        target: Some("state".to_owned()),
        ..Selectors::default()
    };

    let refused = |selectors: &Selectors| assembly.pairs_of(selectors).err().unwrap();

    assert_eq!(
        refused(&unknown).to_string(),
        "no publication is called `distrct-to-state`; did you mean `district-to-state`?"
    );
    assert_eq!(
        refused(&elsewhere).to_string(),
        "no connection is called `stat`; did you mean `state`?"
    );
    assert_eq!(refused(&nothing), SelectError::Nothing);
}

fn parked(id: &str) -> Parked {
    Parked {
        id: id.to_owned(),
        resource: ResourcePath::parse("/ed-fi/students").unwrap(),
        source_id: None,
        key: None,
        operation: Operation::Upsert,
        status: ParkStatus::Dead,
        reason: ParkReason::Invalid,
        error: RefusalRecord { status: 400, kind: None, members: Vec::new(), detail: None },
        attempts: 3,
        early_attempts: 0,
        first_seen_at: moment("2026-01-31T09:00:00Z"),
        next_attempt_at: moment("2026-01-31T09:10:00Z"),
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: Some("00ff".to_owned()),
    }
}

fn ran(outcome: Outcome) -> PairState {
    PairState {
        watermark: Some(Watermark::ChangeVersion(ChangeVersion(230))),
        last_run: Some(LastRun {
            id: "r".to_owned(),
            outcome,
            ended_at: moment("2026-01-31T09:45:00Z"),
        }),
        failed_runs: u32::from(outcome == Outcome::Failed),
        ..PairState::default()
    }
}

/// Everything that was told of one pair, and nothing of the others.
struct Told(PairId, LivePair);

impl LivePairs for Told {
    fn live(&self, pair: &PairId) -> Option<LivePair> {
        (*pair == self.0).then(|| self.1.clone())
    }
}

#[tokio::test]
async fn the_state_of_a_pair_is_the_first_that_holds() {
    let blocked = Block {
        cause: BlockCause::SourceRegressed,
        reason: "the source was restored".to_owned(),
        since: moment("2026-01-31T09:00:00Z"),
        deletes: None,
    };
    let running = || LivePair { run_id: Some("r2".to_owned()), ..LivePair::default() };
    let waiting = || LivePair { waits_for: Some("a limit".to_owned()), ..LivePair::default() };
    let blocked_and_failing = PairState { blocked: Some(blocked), ..ran(Outcome::Failed) };
    for (case, state, dead, live, expected) in [
        ("new", PairState::default(), 0, LivePair::default(), PairCondition::Ok),
        ("blocked", blocked_and_failing, 1, running(), PairCondition::Blocked),
        ("failing", ran(Outcome::Failed), 1, running(), PairCondition::Failing),
        ("running", ran(Outcome::Complete), 1, running(), PairCondition::Running),
        ("waiting", ran(Outcome::Complete), 1, waiting(), PairCondition::Waiting),
        ("dead items", ran(Outcome::Parked), 1, LivePair::default(), PairCondition::Degraded),
        ("well", ran(Outcome::Complete), 0, LivePair::default(), PairCondition::Ok),
    ] {
        let assembly = assembly();
        let id = pair_named("district-to-state", "state");
        let park = (0..dead).map(|n| parked(&n.to_string())).collect();
        let step = Step { state: Some(state), park, ..Step::default() };
        assembly.store.commit(&id, step).await.unwrap();

        let statuses = status(&assembly, &Told(id.clone(), live)).await.unwrap();

        let status = statuses.iter().find(|status| status.target == "state").unwrap();
        assert_eq!(status.state, expected, "{case}");
        assert_eq!(status.dead, dead, "{case}");
    }
}

#[tokio::test]
async fn without_a_daemon_the_next_run_comes_from_the_configuration() {
    let assembly = assembly();
    let id = pair_named("district-to-state", "state");
    let step = Step { state: Some(ran(Outcome::Complete)), ..Step::default() };
    assembly.store.commit(&id, step).await.unwrap();

    let statuses = status(&assembly, &NobodyRuns).await.unwrap();

    let next: Vec<_> = statuses.iter().map(|status| status.next_run_at).collect();
    let soon = Some(moment("2026-01-31T10:15:00Z"));
    let at_once = Some(moment("2026-01-31T10:00:00Z"));
    assert_eq!(next, [at_once, soon, None], "mirror never ran, state did, the third is manual");
}

#[tokio::test]
async fn a_pair_that_the_configuration_no_longer_names_is_an_orphan() {
    let assembly = assembly();
    let id = pair_named("former", "state");
    let step = Step { state: Some(ran(Outcome::Failed)), ..Step::default() };
    assembly.store.commit(&id, step).await.unwrap();

    let statuses = status(&assembly, &NobodyRuns).await.unwrap();

    let orphan = statuses.iter().find(|status| status.publication == "former").unwrap();
    assert_eq!(orphan.state, PairCondition::Orphaned);
    assert_eq!(orphan.next_run_at, None);
}

#[tokio::test]
async fn a_status_has_the_shape_of_the_contract() {
    let assembly = assembly();
    let id = pair_named("district-to-state", "state");
    let step = Step { state: Some(ran(Outcome::Complete)), ..Step::default() };
    assembly.store.commit(&id, step).await.unwrap();
    let live = LivePair { newest: Some(ChangeVersion(250)), ..LivePair::default() };

    let statuses = status(&assembly, &Told(id, live)).await.unwrap();

    let shown = serde_json::to_value(&statuses[1]).unwrap();
    let expected = serde_json::json!({
        "publication": "district-to-state", "target": "state", "labels": {"region": "north"},
        "state": "ok", "reason": null, "watermark": 230, "newest": 250, "lag_versions": 20,
        "caught_up_at": null, "run_id": null, "failed_runs": 0,
        "last_run": {"id": "r", "outcome": "complete", "ended_at": "2026-01-31T09:45:00Z"},
        "parked": 0, "dead": 0, "next_run_at": null,
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn freshness_counts_from_the_schedule_and_from_the_end_of_closed_hours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidemark.yaml");
    let text = r#"
connections:
  district:
    {kind: ed-fi, url: "http://127.0.0.1:9/", key: k, secret: s, closed: [{cron: "0 0 20 * * *", for: 10h}]}
  state:
    {kind: ed-fi, url: "http://127.0.0.1:9/state", key: k, secret: s, closed: [{cron: "0 0 6 * * *", for: 1h}]}
publications:
  hourly: {source: district, targets: [state], schedule: "0 0 * * * *"}
  by-hand: {source: district, targets: [state]}
"#;
    std::fs::write(&path, text).unwrap();
    let config = crate::config::load(&path, &BTreeMap::new()).unwrap().config;
    let clock = Clock::held_at(moment("2026-01-31T10:00:00Z"));
    let store = Arc::new(MemoryStore::new());
    let assembly = assemble(config, &BTreeMap::new(), store, clock).unwrap();
    let fresh_until = |publication: &str, caught_up: &str| {
        let mut pair = empty_status(&pair_named(publication, "state"));
        pair.caught_up_at = Some(moment(caught_up));
        front::figures(&pair, &assembly).fresh_until
    };

    for (caught_up, until) in [
        ("2026-01-31T10:00:00Z", "2026-01-31T11:00:00Z"),
        ("2026-01-31T10:59:59Z", "2026-01-31T11:00:00Z"),
        // One end is closed from 20:00 to 6:00, and then the other for another hour.
        ("2026-01-31T19:10:00Z", "2026-02-01T07:00:00Z"),
        ("2026-01-31T05:00:00Z", "2026-01-31T07:00:00Z"),
    ] {
        assert_eq!(fresh_until("hourly", caught_up), Some(moment(until)), "{caught_up}");
    }
    assert_eq!(fresh_until("by-hand", "2026-01-31T10:00:00Z"), None, "nothing is promised");
}

fn empty_status(pair: &PairId) -> crate::desk::PairStatus {
    crate::desk::PairStatus {
        publication: pair.publication.clone(),
        target: pair.target.clone(),
        labels: BTreeMap::new(),
        state: PairCondition::Ok,
        reason: None,
        watermark: None,
        newest: None,
        lag_versions: None,
        caught_up_at: None,
        run_id: None,
        failed_runs: 0,
        last_run: None,
        parked: 0,
        dead: 0,
        next_run_at: None,
        measured: crate::desk::Measured::default(),
    }
}
