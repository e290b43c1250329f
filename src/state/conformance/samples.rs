//! What the tests of stores commit: every kind of record, with every member set.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::super::*;
use crate::domain::{CanaryKind, KeyChange, KeyText, Tally};

pub(in crate::state) fn pair(name: &str) -> PairId {
    PairId { publication: name.to_owned(), target: "state".to_owned() }
}

pub(in crate::state) fn moment(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
}

pub(in crate::state) fn state(watermark: i64) -> PairState {
    PairState {
        watermark: Some(Watermark::ChangeVersion(ChangeVersion(watermark))),
        blocked: Some(Block {
            cause: crate::state::BlockCause::Deletes,
            reason: "asked to".to_owned(),
            since: moment(1),
            deletes: Some(crate::state::Deletes { resource: students(), count: 500 }),
        }),
        source: Some(Fingerprint {
            data_url: "http://source/data/v3".to_owned(),
            school_year: None,
            instance: Some("one".to_owned()),
            data_models: BTreeMap::from([("Ed-Fi".to_owned(), "5.2.0".to_owned())]),
            api_version: "7.3".to_owned(),
        }),
        target: None,
        target_newest: Some(ChangeVersion(7)),
        left_out: LeftOut { key_changes: false, deletes: true },
        overlap: Overlap {
            seen: vec![Seen { newest: ChangeVersion(7), first_at: moment(1), last_at: moment(4) }],
            first: None,
            commits: 3,
            broken_off: 1,
            read_at: Some(moment(2)),
            settled: true,
            again_after: Some(4),
        },
        selection: Some("hash".to_owned()),
        newest_seen: Some(ChangeVersion(231)),
        caught_up_at: Some(moment(2)),
        last_run: Some(LastRun {
            id: "run".to_owned(),
            outcome: Outcome::Parked,
            ended_at: moment(3),
        }),
        failed_runs: 2,
        allowed_deletes: BTreeMap::from([(students(), 500)]),
        names_through: Some(ChangeVersion(240)),
        started_over: true,
        canaries: vec![Canary {
            resource: students(),
            kind: CanaryKind::Tombstone,
            id: SourceId("0a".to_owned()),
            version: ChangeVersion(6),
        }],
        scope: Some(Scope::of(["1".to_owned()], ["uri://a".to_owned()])),
    }
}

pub(in crate::state) fn students() -> ResourcePath {
    ResourcePath::parse("/ed-fi/students").unwrap()
}

pub(in crate::state) fn key(number: &str) -> NaturalKey {
    [
        ("amount".to_owned(), KeyText::Bare(number.to_owned())),
        ("studentUniqueId".to_owned(), KeyText::Text(format!("student \"{number}\""))),
    ]
    .into_iter()
    .collect()
}

pub(in crate::state) fn parked(id: &str, status: ParkStatus) -> Parked {
    Parked {
        id: id.to_owned(),
        resource: students(),
        source_id: Some(SourceId("a1".to_owned())),
        key: Some(key("1.10")),
        operation: Operation::Upsert,
        status,
        reason: ParkReason::Invalid,
        error: RefusalRecord {
            status: 400,
            kind: Some("urn:bad-request".to_owned()),
            members: vec!["$.birthDate".to_owned()],
            detail: None,
        },
        attempts: 2,
        early_attempts: 0,
        first_seen_at: moment(4),
        next_attempt_at: moment(5),
        waits_for: None,
        named_for_deletion: true,
        target_id: Some(TargetId("b2".to_owned())),
        hash: Some("00ff".to_owned()),
    }
}

pub(in crate::state) fn window(through: i64) -> Window {
    Window { after: None, through: ChangeVersion(through) }
}

pub(in crate::state) fn journal(run_id: &str) -> RunJournal {
    RunJournal {
        run_id: run_id.to_owned(),
        window: window(9),
        reach: Some(ChangeVersion(1)),
        began_at: moment(6),
        source: None,
        target: None,
        selection: "all".to_owned(),
        scope: Some("00ff".to_owned()),
    }
}

pub(in crate::state) fn name(number: &str, target_id: Option<&str>) -> JournalledName {
    JournalledName {
        resource: students(),
        key: key(number),
        target_id: target_id.map(|id| TargetId(id.to_owned())),
        deleted: target_id.is_none(),
    }
}

pub(in crate::state) fn run(number: i64) -> RunRecord {
    RunRecord {
        id: format!("run-{number}"),
        outcome: Outcome::Complete,
        window: Some(window(number)),
        started_at: moment(number),
        ended_at: moment(number + 1),
        stages: Stages {
            upserts: Tally { read: 3, applied: 1, skipped: 1, parked: 1 },
            ..Stages::default()
        },
        error: Some(("source".to_owned(), "it went away".to_owned())),
    }
}

pub(in crate::state) fn coverage() -> Coverage {
    let mut organizations = Organizations::default();
    organizations.add(&students(), "255901001");
    Coverage {
        spoken_for: BTreeSet::from([students()]),
        left: BTreeMap::from([(
            ResourcePath::parse("/tpdm/candidates").unwrap(),
            ChangeVersion(3),
        )]),
        begun: BTreeMap::from([(students(), ChangeVersion(7))]),
        organizations: Some(organizations),
    }
}

pub(in crate::state) fn finished() -> Finished {
    Finished {
        resource: students(),
        through: ChangeVersion(230),
        tally: Tally { read: 3, applied: 2, skipped: 0, parked: 1 },
        target_newest: ChangeVersion(17),
    }
}

pub(in crate::state) fn progress() -> Progress {
    Progress {
        resource: ResourcePath::parse("/ed-fi/sections").unwrap(),
        through: ChangeVersion(230),
        position: Position("here".to_owned()),
        others: vec![Position("there".to_owned())],
        tally: Tally { read: 2, applied: 2, skipped: 0, parked: 0 },
        target_newest: ChangeVersion(18),
    }
}

pub(in crate::state) fn plan() -> Plan {
    let since = "2026-01-31T10:00:00Z".parse().unwrap();
    Plan {
        schedule: "0 0 20 * * *".to_owned(),
        next_tick: Some(since),
        failures: 2,
        paused: Some(Pause { since, until: None, reason: Some("a new server".to_owned()) }),
        ..Plan::default()
    }
}

pub(in crate::state) fn everything() -> Step {
    Step {
        state: Some(state(9)),
        coverage: Some(coverage()),
        park: vec![parked("p1", ParkStatus::Parked), parked("p2", ParkStatus::Dead)],
        journal: Some(journal("run-1")),
        plan: Some(plan()),
        names: vec![name("1", Some("t1")), name("2", None)],
        finished: vec![finished()],
        progress: vec![progress()],
        run: Some(run(1)),
        verified: vec![verified_of("/ed-fi/students", 5)],
        ..Step::default()
    }
}

pub(in crate::state) fn verified_of(resource: &str, missing: u64) -> Verified {
    Verified {
        resource: ResourcePath::parse(resource).unwrap(),
        at: moment(8),
        program: "0.1.0".to_owned(),
        configuration: "00ff".to_owned(),
        watermark: Some(ChangeVersion(230)),
        content: true,
        source: 960,
        target: 955,
        missing,
        extra: None,
        different: 0,
        parked: 1,
    }
}

pub(in crate::state) fn key_change(id: &str, version: i64) -> RememberedKeyChange {
    let change = KeyChange {
        id: SourceId(id.to_owned()),
        version: ChangeVersion(version),
        old: key("1"),
        new: key("2"),
    };
    RememberedKeyChange { resource: students(), change, commits: 3 }
}

pub(in crate::state) fn tombstone(id: &str, version: i64) -> SettledTombstone {
    let (id, version) = (SourceId(id.to_owned()), ChangeVersion(version));
    SettledTombstone { resource: students(), id, version, commits: 3 }
}

pub(in crate::state) fn written(id: &str, target_id: &str, through: i64) -> Written {
    Written {
        resource: students(),
        id: SourceId(id.to_owned()),
        target_id: TargetId(target_id.to_owned()),
        hash: "00ff".to_owned(),
        through: ChangeVersion(through),
        broken_off: 1,
    }
}

pub(in crate::state) fn left_behind(id: &str, target_id: &str) -> LeftBehind {
    LeftBehind {
        resource: students(),
        id: SourceId(id.to_owned()),
        target_id: TargetId(target_id.to_owned()),
        lived_as: None,
    }
}
