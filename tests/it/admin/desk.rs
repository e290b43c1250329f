//! A desk that answers every question with a full example, and remembers what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use serde_json::value::RawValue;
use tidemark::clock::Timestamp;
use tidemark::desk::{
    Approval, AttemptOutcome, Attempted, AuditEntry, Blocked, Caller, Check, CheckStatus, Checks,
    Comparing, ComparisonShown, ConfigurationProblem, ConnectionDetail, Decided, Desk, DeskError,
    LiveEnd, LiveItem, LogLevelShown, Moved, OrderedResource, Page, PairCondition, PairDetail,
    PairStatus, ParkedChoice, ParkedFilter, ParkedItem, Part, PlanShown, ProcessStatus,
    RefusedConfiguration, Report, ReportedResource, ResourceCompared, ResourceOrder,
    ResourcePlanned, Role, RunFault, RunShown, Selectors, Setting, Settings, Shows, Started,
    Unfinished, VerificationShown,
};
use tidemark::domain::{ChangeVersion, Outcome, ParkReason, ResourcePath, Stages, Tally, Window};
use tidemark::state::{
    BlockCause, ErasedKey, LastRun, Operation, PairId, ParkStatus, RefusalRecord, WaitsFor,
};
use tokio::sync::Notify;

/// In no answer to a viewer, and in no problem.
pub(crate) const KEY: &str = "604854";

pub(crate) fn pair() -> PairId {
    PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
}

pub(crate) fn moment() -> Timestamp {
    "2026-01-31T10:00:00Z".parse().unwrap()
}

pub(crate) fn status() -> PairStatus {
    PairStatus {
        publication: pair().publication,
        target: pair().target,
        labels: BTreeMap::from([("district".to_owned(), "d1".to_owned())]),
        state: PairCondition::Degraded,
        reason: Some("it has parked items".to_owned()),
        watermark: Some(ChangeVersion(230)),
        newest: Some(ChangeVersion(231)),
        lag_versions: Some(1),
        caught_up_at: Some(moment()),
        run_id: Some("run-1".to_owned()),
        failed_runs: 2,
        last_run: Some(LastRun {
            id: "run-0".to_owned(),
            outcome: Outcome::Parked,
            ended_at: moment(),
        }),
        parked: 3,
        dead: 1,
        next_run_at: Some(moment()),
        measured: Default::default(),
    }
}

/// An orphan that never ran, of which nearly nothing is known.
pub(crate) fn orphan() -> PairStatus {
    PairStatus {
        publication: "gone".to_owned(),
        labels: BTreeMap::new(),
        state: PairCondition::Orphaned,
        reason: None,
        watermark: None,
        newest: None,
        lag_versions: None,
        caught_up_at: None,
        run_id: None,
        last_run: None,
        next_run_at: None,
        ..status()
    }
}

pub(crate) fn item() -> ParkedItem {
    ParkedItem {
        id: "item-1".to_owned(),
        publication: pair().publication,
        target: pair().target,
        resource: resource("students"),
        key: serde_json::from_value(json!({"studentUniqueId": KEY, "year": 2026})).unwrap(),
        operation: Operation::KeyChange,
        status: ParkStatus::Parked,
        reason: ParkReason::UnresolvedReference,
        error: RefusalRecord {
            status: 409,
            kind: Some("urn:ed-fi:api:data-conflict:unresolved-reference".to_owned()),
            members: vec!["$.schoolReference".to_owned()],
            detail: Some("…".to_owned()),
        },
        attempts: 2,
        first_seen_at: moment(),
        next_attempt_at: Some(moment()),
        waits_for: Some(WaitsFor {
            resources: vec![resource("schools")],
            key: serde_json::from_value(json!({"schoolId": 255901})).unwrap(),
        }),
    }
}

fn resource(collection: &str) -> ResourcePath {
    serde_json::from_value(json!(format!("/ed-fi/{collection}"))).unwrap()
}

pub(crate) fn run() -> RunShown {
    let tally = Tally { read: 3, applied: 1, skipped: 1, parked: 1 };
    RunShown {
        id: "run-1".to_owned(),
        publication: pair().publication,
        target: pair().target,
        outcome: Some(Outcome::Failed),
        window: Some(Window { after: Some(ChangeVersion(1)), through: ChangeVersion(9) }),
        started_at: moment(),
        ended_at: Some(moment()),
        duration_seconds: Some(1.25),
        stages: Stages { upserts: tally, ..Stages::default() },
        error: Some(RunFault { kind: "timeout".to_owned(), message: "no answer".to_owned() }),
    }
}

pub(crate) fn entry() -> AuditEntry {
    AuditEntry {
        id: "entry-1".to_owned(),
        at: moment(),
        by: "token oncall".to_owned(),
        action: "watermark set".to_owned(),
        publication: Some(pair().publication),
        target: Some(pair().target),
        what: "to 230".to_owned(),
        reason: Some("a restored backup".to_owned()),
    }
}

fn verification() -> VerificationShown {
    let compared = ResourceCompared {
        resource: "/ed-fi/students".to_owned(),
        source: 960,
        target: 959,
        missing: 1,
        extra: None,
        different: 0,
        parked: 1,
    };
    VerificationShown {
        publication: pair().publication,
        target: pair().target,
        equal: false,
        verified_at: moment(),
        resources: vec![compared],
    }
}

fn process() -> ProcessStatus {
    let problem = ConfigurationProblem {
        file: Some("tidemark.yaml".to_owned()),
        line: Some(3),
        message: "servr: unknown section".to_owned(),
    };
    ProcessStatus {
        version: "0.1.0".to_owned(),
        refused_configuration: Some(RefusedConfiguration {
            since: moment(),
            problems: vec![problem],
        }),
        log_level: Some(LogLevelShown { level: "debug".to_owned(), until: Some(moment()) }),
    }
}

fn comparison() -> ComparisonShown {
    ComparisonShown {
        id: "comparison-1".to_owned(),
        publication: pair().publication,
        target: pair().target,
        asked_at: moment(),
        waits_for: Some("it is paused".to_owned()),
        compared: 1,
        ended_at: Some(moment()),
        goes_on_from: Some(moment()),
        found: Some(verification()),
        error: Some(RunFault { kind: "timeout".to_owned(), message: "no answer".to_owned() }),
    }
}

/// A key cannot be printed, and here it has to be told apart.
fn values(key: &ErasedKey) -> String {
    key.key.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn page<T>(item: T) -> Page<T> {
    Page { items: vec![item], next: Some("further".to_owned()) }
}

/// What was asked, by whom, and what is answered in place of the examples.
#[derive(Default)]
pub(crate) struct Scripted {
    asked: Mutex<Vec<(Caller, String)>>,
    error: Mutex<Option<DeskError>>,
    /// Runs of the publication `slow` are started when it says so.
    pub(crate) go_on: Notify,
    /// Stands wherever an answer has text that somebody else chose.
    spoiled: Mutex<Option<String>>,
}

impl Scripted {
    /// From now on every question fails.
    pub(crate) fn fail(&self, error: DeskError) {
        *self.error.lock().unwrap() = Some(error);
    }

    /// From now on every text of an answer that somebody else could choose is this one.
    pub(crate) fn spoil(&self, text: &str) {
        *self.spoiled.lock().unwrap() = Some(text.to_owned());
    }

    fn text(&self, usual: &str) -> String {
        self.spoiled.lock().unwrap().clone().unwrap_or_else(|| usual.to_owned())
    }

    fn status(&self) -> PairStatus {
        let usual = status();
        PairStatus {
            reason: Some(self.text("it has parked items")),
            labels: BTreeMap::from([("district".to_owned(), self.text("d1"))]),
            ..usual
        }
    }

    fn item(&self, by: &Caller) -> ParkedItem {
        let item = item();
        let key = |usual: &str| {
            serde_json::from_value(json!({"studentUniqueId": self.text(usual), "year": 2026}))
                .unwrap()
        };
        let error = RefusalRecord {
            kind: item.error.kind.as_deref().map(|kind| self.text(kind)),
            members: vec![self.text("$.schoolReference")],
            detail: Some(self.text("…")),
            ..item.error
        };
        let waits_for = item.waits_for.map(|what| WaitsFor { key: key("255901"), ..what });
        let item = ParkedItem { key: Some(key(KEY)), error, waits_for, ..item };
        if by.role < Role::Operator { item.masked() } else { item }
    }

    fn entry(&self) -> AuditEntry {
        let reason = Some(self.text("a restored backup"));
        AuditEntry { by: self.text("token oncall"), what: self.text("to 230"), reason, ..entry() }
    }

    fn run(&self) -> RunShown {
        let error = RunFault { kind: self.text("timeout"), message: self.text("no answer") };
        RunShown { error: Some(error), ..run() }
    }

    /// The questions and orders since the last look, without those of every pair.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().map(|(_, question)| question).collect()
    }

    pub(crate) fn has_been_asked(&self) -> bool {
        !self.asked.lock().unwrap().is_empty()
    }

    pub(crate) fn callers(&self) -> Vec<Caller> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().map(|(by, _)| by).collect()
    }

    fn answer<T>(&self, by: &Caller, question: String, answer: T) -> Result<T, DeskError> {
        self.asked.lock().unwrap().push((by.clone(), question));
        match self.error.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }
}

#[async_trait]
impl Desk for Scripted {
    async fn pairs(&self, by: &Caller, which: &Selectors) -> Result<Vec<PairStatus>, DeskError> {
        self.answer(by, format!("pairs {which:?}"), vec![self.status(), orphan()])
    }

    async fn process(&self, by: &Caller) -> Result<ProcessStatus, DeskError> {
        self.answer(by, "process".to_owned(), process())
    }

    async fn set_log_level(
        &self,
        by: &Caller,
        level: &str,
        lasting: Duration,
    ) -> Result<ProcessStatus, DeskError> {
        self.answer(by, format!("set_log_level {level} {lasting:?}"), process())
    }

    async fn pair(&self, by: &Caller, pair: &PairId) -> Result<PairStatus, DeskError> {
        let known = [status(), orphan()].into_iter().find(|known| known.id() == *pair);
        let found = self.answer(by, format!("pair {pair}"), known)?;
        found.ok_or_else(|| DeskError::NotThere(format!("there is no pair {pair}")))
    }

    async fn parked(
        &self,
        by: &Caller,
        which: &Selectors,
        filter: &ParkedFilter,
        part: &Part,
    ) -> Result<Page<ParkedItem>, DeskError> {
        // A part after the first is the last.
        let next = part.after.is_none().then(|| "further".to_owned());
        let mut items = vec![self.item(by)];
        if self.spoiled.lock().unwrap().is_some() {
            // One that waits for nothing but itself: its refusal is shown.
            items.push(ParkedItem { id: "item-2".to_owned(), waits_for: None, ..self.item(by) });
        }
        let answer = Page { items, next };
        self.answer(by, format!("parked {which:?} {filter:?} {part:?}"), answer)
    }

    async fn parked_item(&self, by: &Caller, id: &str) -> Result<ParkedItem, DeskError> {
        self.answer(by, format!("parked_item {id}"), self.item(by))
    }

    async fn retry(&self, by: &Caller, choice: &ParkedChoice) -> Result<u64, DeskError> {
        self.answer(by, format!("retry {choice:?}"), 7)
    }

    async fn discard(
        &self,
        by: &Caller,
        choice: &ParkedChoice,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        self.answer(by, format!("discard {choice:?} {reason:?}"), 8)
    }

    async fn move_watermark(
        &self,
        by: &Caller,
        pair: &PairId,
        to: Moved,
        if_at: Option<Option<ChangeVersion>>,
        reason: &str,
    ) -> Result<PairStatus, DeskError> {
        let stands_at = status().watermark;
        let question = format!("move_watermark {pair} {to:?} {if_at:?} {reason}");
        if if_at.is_some_and(|expected| expected != stands_at) {
            self.answer(by, question, ())?;
            return Err(DeskError::Conflict("the watermark has moved since".to_owned()));
        }
        self.answer(by, question, status())
    }

    async fn approve(
        &self,
        by: &Caller,
        pair: &PairId,
        approval: &Approval,
        reason: &str,
    ) -> Result<Decided, DeskError> {
        let decided = Decided {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            was: "blocked".to_owned(),
            now: "not".to_owned(),
        };
        self.answer(by, format!("approve {pair} {approval:?} {reason}"), decided)
    }

    async fn would_approve(
        &self,
        by: &Caller,
        pair: &PairId,
        approval: &Approval,
    ) -> Result<Option<Decided>, DeskError> {
        let decided = Decided {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            was: "blocked".to_owned(),
            now: "not".to_owned(),
        };
        let decided = (*approval != Approval::SameData).then_some(decided);
        self.answer(by, format!("would_approve {pair} {approval:?}"), decided)
    }

    async fn look(&self, by: &Caller, id: &str) -> Result<LiveItem, DeskError> {
        let body = RawValue::from_string(json!({"studentUniqueId": KEY}).to_string()).unwrap();
        let live = LiveItem {
            item: item(),
            source: LiveEnd { shows: Shows::Item, body: Some(body) },
            target: LiveEnd { shows: Shows::NotAsked, body: None },
        };
        self.answer(by, format!("look {id}"), live)
    }

    async fn attempt(&self, by: &Caller, id: &str) -> Result<Attempted, DeskError> {
        let tried = Attempted {
            item: item(),
            outcome: AttemptOutcome::Refused,
            reason: Some(ParkReason::Invalid),
            error: Some(item().error),
        };
        self.answer(by, format!("attempt {id}"), tried)
    }

    async fn records_with(&self, by: &Caller, key: &ErasedKey) -> Result<u64, DeskError> {
        self.answer(by, format!("records_with {} {}", key.resource, values(key)), 5)
    }

    async fn forget_key(
        &self,
        by: &Caller,
        key: &ErasedKey,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        self.answer(by, format!("forget_key {} {} {reason:?}", key.resource, values(key)), 6)
    }

    async fn plan(&self, by: &Caller, pair: &PairId) -> Result<PlanShown, DeskError> {
        let students = ResourcePlanned {
            resource: "/ed-fi/students".to_owned(),
            key_changes: 1,
            upserts: 120,
            deletes: 4,
        };
        let plan = PlanShown {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            window: Window { after: None, through: ChangeVersion(9) },
            estimate_seconds: Some(60),
            parked: 3,
            resources: vec![students],
        };
        self.answer(by, format!("plan {pair}"), plan)
    }

    async fn check(&self, by: &Caller, which: &Selectors) -> Result<Checks, DeskError> {
        let check = Check {
            connection: "state".to_owned(),
            check: "token".to_owned(),
            status: CheckStatus::Error,
            message: "the credentials are refused".to_owned(),
            action: Some("check them".to_owned()),
        };
        self.answer(by, format!("check {which:?}"), Checks { checks: vec![check] })
    }

    async fn compare(
        &self,
        by: &Caller,
        pair: &PairId,
        wanted: &Comparing,
    ) -> Result<ComparisonShown, DeskError> {
        self.answer(by, format!("compare {pair} {wanted:?}"), comparison())
    }

    async fn comparison(&self, by: &Caller, id: &str) -> Result<ComparisonShown, DeskError> {
        self.answer(by, format!("comparison {id}"), comparison())
    }

    async fn cancel_comparison(&self, by: &Caller, id: &str) -> Result<(), DeskError> {
        self.answer(by, format!("cancel_comparison {id}"), ())
    }

    async fn runs(
        &self,
        by: &Caller,
        which: &Selectors,
        part: &Part,
    ) -> Result<Page<RunShown>, DeskError> {
        self.answer(by, format!("runs {which:?} {part:?}"), page(self.run()))
    }

    async fn run(&self, by: &Caller, id: &str) -> Result<RunShown, DeskError> {
        self.answer(by, format!("run {id}"), self.run())
    }

    async fn start(
        &self,
        by: &Caller,
        publication: &str,
        targets: &[String],
        allow_deletes: bool,
    ) -> Result<Started, DeskError> {
        let question = format!("start {publication} {targets:?} {allow_deletes}");
        let already_running = vec!["run-0".to_owned()];
        if publication == "slow" {
            let begun = self.answer(
                by,
                question,
                Started { runs: vec!["run-1".to_owned()], already_running, waiting: vec![] },
            );
            self.go_on.notified().await;
            return begun;
        }
        // A publication of this name has begun everything already.
        let runs = if publication == "busy" { vec![] } else { vec!["run-1".to_owned()] };
        let waiting = targets.to_vec();
        self.answer(by, question, Started { runs, already_running, waiting })
    }

    async fn cancel(&self, by: &Caller, run: &str) -> Result<(), DeskError> {
        self.answer(by, format!("cancel {run}"), ())
    }

    async fn pause(
        &self,
        by: &Caller,
        pair: &PairId,
        until: Option<Timestamp>,
        reason: Option<&str>,
    ) -> Result<PairStatus, DeskError> {
        self.answer(by, format!("pause {pair} {until:?} {reason:?}"), status())
    }

    async fn resume(&self, by: &Caller, pair: &PairId) -> Result<PairStatus, DeskError> {
        self.answer(by, format!("resume {pair}"), status())
    }

    async fn audit(
        &self,
        by: &Caller,
        since: Option<Timestamp>,
        part: &Part,
    ) -> Result<Page<AuditEntry>, DeskError> {
        self.answer(by, format!("audit {since:?} {part:?}"), page(self.entry()))
    }

    async fn verification(
        &self,
        by: &Caller,
        pair: &PairId,
    ) -> Result<VerificationShown, DeskError> {
        self.answer(by, format!("verification {pair}"), verification())
    }

    async fn report(&self, by: &Caller, pair: &PairId) -> Result<Report, DeskError> {
        let reported = ReportedResource {
            resource: ResourcePath::parse("/ed-fi/students").unwrap(),
            source: Some(960),
            target: None,
            parked: 1,
            dead: 0,
            excluded: 0,
            verified: None,
        };
        let report = Report {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            made_at: moment(),
            configuration: "5f".to_owned(),
            watermark: Some(ChangeVersion(230)),
            caught_up_at: Some(moment()),
            last_run: None,
            resources: vec![reported],
        };
        self.answer(by, format!("report {pair}"), report)
    }

    async fn closely(&self, by: &Caller, pair: &PairId) -> Result<PairDetail, DeskError> {
        let connection = ConnectionDetail {
            name: self.text("district"),
            url: self.text("https://api.district.example"),
            in_force: 8,
            ceiling: 512,
            locked: Some(self.text("the secret's file is empty")),
        };
        let detail = PairDetail {
            schedule: self.text("0 */15 * * * * (UTC)"),
            isolation: "snapshot",
            connections: vec![connection],
            unfinished: Some(Unfinished {
                run: "run-1".to_owned(),
                window: Window { after: None, through: ChangeVersion(9) },
                reach: None,
                began_at: moment(),
                finished: BTreeSet::from([resource("schools")]),
            }),
            blocked: Some(Blocked {
                cause: BlockCause::Deletes,
                reason: self.text("it would delete much"),
                since: moment(),
                deletes: Some((resource("students"), 7)),
            }),
            ..PairDetail::default()
        };
        self.answer(by, format!("closely {pair}"), detail)
    }

    async fn order(
        &self,
        by: &Caller,
        pair: &PairId,
        _: Duration,
    ) -> Result<ResourceOrder, DeskError> {
        let ordered = |name: &str, after: &[&str]| OrderedResource {
            resource: resource(name),
            after: after.iter().map(|name| resource(name)).collect(),
            is_selected: true,
        };
        let resources = vec![ordered("schools", &[]), ordered("students", &["schools"])];
        self.answer(by, format!("order {pair}"), ResourceOrder { resources })
    }

    async fn configuration(&self, by: &Caller, name: Option<&str>) -> Result<Settings, DeskError> {
        let setting = Setting {
            key: "connections.district.timeout".to_owned(),
            value: self.text("60s"),
            origin: Some(self.text("tidemark.yaml:3:5")),
        };
        let settings = Settings {
            settings: vec![setting],
            names: vec![self.text("district")],
            refused: Some(self.text("it has a mistake")),
        };
        self.answer(by, format!("configuration {name:?}"), settings)
    }

    async fn export(&self, by: &Caller) -> Result<Vec<u8>, DeskError> {
        self.answer(by, "export".to_owned(), b"{\"line\":1}\n{\"line\":2}\n".to_vec())
    }

    async fn import(
        &self,
        by: &Caller,
        text: &str,
        replace: bool,
    ) -> Result<Vec<PairId>, DeskError> {
        self.answer(by, format!("import {text:?} {replace}"), vec![pair()])
    }

    async fn move_state(
        &self,
        by: &Caller,
        old: &str,
        new: &str,
    ) -> Result<Vec<PairId>, DeskError> {
        self.answer(by, format!("move_state {old} {new}"), vec![pair()])
    }

    async fn forget_state(
        &self,
        by: &Caller,
        pair: &PairId,
        reason: Option<&str>,
    ) -> Result<(), DeskError> {
        self.answer(by, format!("forget_state {pair} {reason:?}"), ())
    }
}
