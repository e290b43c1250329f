//! A night with many districts: small sources, one target for all of them, one template over a CSV,
//! one daemon, and what goes wrong in a night. As many districts as `TIDEMARK_DISTRICTS` says, 40
//! unless it says so; what is printed after `account:` goes into docs/samples/ by `tools/soak.sh`.
//!
//! The one thing to know: nothing here names a healthy district. What a district has to suffer is
//! its [`Fate`], and everything that is claimed in the end is claimed of all with that fate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidemark::cli::remote::RemoteDesk;
use tidemark::clock::Clock;
use tidemark::config;
use tidemark::daemon::serve::{Daemon, DaemonError, Reloading};
use tidemark::desk::{Caller, Desk, PairCondition, PairStatus, Role, Selectors};
use tidemark::http::Url;
use tidemark::sandbox::{Backup, Fault, Harm, Part, Refusal, Sandbox, SandboxOptions, Seed};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::Ended;
use crate::scene::{put, strict};
use crate::serve::{eventually_within, metric, sandbox};

/// Far above what any step takes with this many districts.
fn bound(districts: usize) -> Duration {
    Duration::from_secs(90 + districts as u64)
}

const RESOURCES: [&str; 4] = [
    "/ed-fi/localEducationAgencies",
    "/ed-fi/schools",
    "/ed-fi/students",
    "/ed-fi/studentSchoolAssociations",
];

/// What the night does to a district.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Well,
    /// Its API does not answer.
    Down,
    /// Somebody mistyped its secret, so that it was never published.
    WrongSecret,
    /// Its database was put back to before the first load.
    Restored,
    /// Its claim set lost a resource.
    ClaimLacks,
}

/// One in twenty is down; the others that suffer are alone.
fn fate(number: usize) -> Fate {
    match number {
        5 => Fate::WrongSecret,
        7 => Fate::Restored,
        9 => Fate::ClaimLacks,
        _ if number % 20 == 3 => Fate::Down,
        _ => Fate::Well,
    }
}

impl Fate {
    /// How the pair of a district with this fate is in the morning.
    fn condition(self) -> PairCondition {
        match self {
            Fate::Well => PairCondition::Ok,
            Fate::Restored => PairCondition::Blocked,
            Fate::Down | Fate::WrongSecret | Fate::ClaimLacks => PairCondition::Failing,
        }
    }

    /// What its reason has to say: what is wrong, and what to do.
    fn told(self, name: &str) -> Vec<String> {
        match self {
            Fate::Well => Vec::new(),
            Fate::Down => {
                vec![format!("`{name}`"), "check the address and that the API is up".to_owned()]
            }
            Fate::WrongSecret => vec![format!("`{name}`"), "secret".to_owned()],
            Fate::Restored => vec!["tidemark approve".to_owned()],
            Fate::ClaimLacks => {
                vec!["/ed-fi/studentSchoolAssociations".to_owned(), "grant Read".to_owned()]
            }
        }
    }
}

struct District {
    number: usize,
    name: String,
    source: Sandbox,
    /// What it held before anything was published.
    before: Backup,
}

impl District {
    /// A district with an agency, a school and two students, in a database with four descriptors.
    async fn open(number: usize, data: &TempDir) -> District {
        let data = Seed::Directory(data.path().to_owned());
        let source = sandbox(SandboxOptions { data, ..SandboxOptions::default() }).await;
        let name = format!("d-{number:03}");
        let mut district = District { number, name, before: source.backup(), source };
        district.source.tell_education_organizations(&[district.agency()]);
        let (agency, school) = (district.agency(), district.school());
        let kinds = "EducationOrganizationCategory";
        let categories = |of: &str| json!([{(category(kinds)): descriptor(kinds, of)}]);
        put(
            &district.source,
            "localEducationAgencies",
            &json!({
                "localEducationAgencyId": agency,
                "nameOfInstitution": format!("District {number}"),
                "categories": categories("Local Education Agency"),
                "localEducationAgencyCategoryDescriptor":
                    descriptor("LocalEducationAgencyCategory", "Independent"),
            }),
        );
        put(
            &district.source,
            "schools",
            &json!({
                "schoolId": school,
                "nameOfInstitution": format!("School of district {number}"),
                "educationOrganizationCategories": categories("School"),
                "gradeLevels": [{(category("GradeLevel")): descriptor("GradeLevel", "Ninth grade")}],
                "localEducationAgencyReference": {"localEducationAgencyId": agency},
            }),
        );
        district.before = district.source.backup();
        for student in 1..=2 {
            district.enrol(student);
        }
        district
    }

    fn fate(&self) -> Fate {
        fate(self.number)
    }

    fn publication(&self) -> String {
        format!("{}-to-state", self.name)
    }

    fn agency(&self) -> i64 {
        255_000 + self.number as i64
    }

    fn school(&self) -> i64 {
        self.agency() * 1000 + 1
    }

    fn student(&self, student: u32) -> String {
        format!("{:03}-{student:04}", self.number)
    }

    fn call(&self, student: u32, name: &str) {
        let item = json!({
            "studentUniqueId": self.student(student),
            "firstName": name,
            "lastSurname": "Dyer",
            "birthDate": "2010-01-13",
        });
        put(&self.source, "students", &item);
    }

    fn enrol(&self, student: u32) {
        self.call(student, "Tyrone");
        let item = json!({
            "studentReference": {"studentUniqueId": self.student(student)},
            "schoolReference": {"schoolId": self.school()},
            "entryDate": "2021-08-23",
            "entryGradeLevelDescriptor": descriptor("GradeLevel", "Ninth grade"),
        });
        put(&self.source, "studentSchoolAssociations", &item);
    }

    /// One more student, one with another name, and one who left.
    fn work_a_day(&self) {
        self.enrol(3);
        self.call(1, "Tyra");
        let left = self.enrolment(2);
        self.source.delete("/ed-fi/studentSchoolAssociations", &left).unwrap();
    }

    fn enrolment(&self, student: u32) -> Value {
        json!({
            "entryDate": "2021-08-23",
            "schoolId": self.school(),
            "studentUniqueId": self.student(student),
        })
    }

    /// The keys of this district that the target should hold and does not, or holds otherwise.
    fn differences(&self, target: &BTreeMap<String, BTreeMap<String, Value>>) -> Vec<String> {
        let mut differences = Vec::new();
        let here = self.source.all();
        for resource in RESOURCES {
            for (key, body) in here.get(resource).into_iter().flatten() {
                if target.get(resource).and_then(|there| there.get(key)) != Some(body) {
                    differences.push(format!("{resource} {key}"));
                }
            }
        }
        differences
    }
}

fn category(kind: &str) -> String {
    let mut name = format!("{kind}Descriptor");
    name[..1].make_ascii_lowercase();
    name
}

fn descriptor(kind: &str, value: &str) -> String {
    format!("uri://ed-fi.org/{kind}Descriptor#{value}")
}

/// What every district begins with: a database that is loaded in no time.
fn small_data() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut descriptors = String::new();
    for (kind, value) in [
        ("EducationOrganizationCategory", "Local Education Agency"),
        ("EducationOrganizationCategory", "School"),
        ("LocalEducationAgencyCategory", "Independent"),
        ("GradeLevel", "Ninth grade"),
    ] {
        let line = json!({"endpoint": format!("{}s", category(kind)), "item": {
            "namespace": format!("uri://ed-fi.org/{kind}Descriptor"),
            "codeValue": value,
            "shortDescription": value,
        }});
        writeln!(descriptors, "{line}").unwrap();
    }
    let year = json!({
        "schoolYear": 2022, "currentSchoolYear": true, "schoolYearDescription": "2021-2022",
    });
    std::fs::write(data.path().join("descriptors.ndjson"), descriptors).unwrap();
    std::fs::write(data.path().join("schoolYearTypes.ndjson"), format!("{year}\n")).unwrap();
    data
}

/// Districts, the state that they report to, and a configuration of them on disk.
struct Region {
    districts: Vec<District>,
    target: Sandbox,
    folder: TempDir,
}

impl Region {
    async fn open(count: usize) -> Region {
        let data = small_data();
        let mut districts = Vec::new();
        for number in 1..=count {
            districts.push(District::open(number, &data).await);
        }
        let region = Region {
            districts,
            target: sandbox(strict()).await,
            folder: tempfile::tempdir().unwrap(),
        };
        region.write_districts();
        region.write_template("");
        region
    }

    fn of(&self, fate: Fate) -> impl Iterator<Item = &District> {
        self.districts.iter().filter(move |district| district.fate() == fate)
    }

    fn suffering(&self) -> impl Iterator<Item = &District> {
        self.districts.iter().filter(|district| district.fate() != Fate::Well)
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("tidemark.yaml")
    }

    fn write_districts(&self) {
        let secrets = self.folder.path().join("secrets");
        std::fs::create_dir(&secrets).unwrap();
        let write = |connection: &str, secret: &str| {
            std::fs::write(secrets.join(format!("{connection}-key")), "sandbox-key\n").unwrap();
            std::fs::write(secrets.join(format!("{connection}-secret")), secret).unwrap();
        };
        write("state", "sandbox-secret\n");
        let mut rows = "id,url,wave\n".to_owned();
        for district in &self.districts {
            let wave = (district.number - 1) % WAVES + 1;
            writeln!(rows, "{},{},{wave}", district.name, district.source.url()).unwrap();
            match district.fate() {
                Fate::WrongSecret => write(&district.name, "sandbox-secert\n"),
                _ => write(&district.name, "sandbox-secret\n"),
            }
        }
        std::fs::write(self.folder.path().join("districts.csv"), rows).unwrap();
    }

    /// `when` is when the publications run.
    fn write_template(&self, when: &str) {
        let text = format!(
            "state:\n  path: {folder}/state\n  secrets_dir: {folder}/secrets\n\
             server: {{listen: \"127.0.0.1:0\", max_running: 16}}\n\
             limits: {{state: {{max_concurrency: 64}}}}\n\
             defaults:\n\
             \x20 connection: {{kind: ed-fi, timeout: 10s}}\n\
             \x20 publication:\n\
             \x20   targets: [state]\n\
             \x20   first_overlap_versions: 0\n\
             \x20   sole_writer: false\n\
             \x20   resources: {{descriptors: false, include_only: [localEducationAgencies, schools, \
             students, studentSchoolAssociations]}}\n{when}\
             connections:\n\
             \x20 state: {{url: \"{target}\", limit: state}}\n\
             templates:\n\
             \x20 district:\n\
             \x20   for_each: {{file: districts.csv}}\n\
             \x20   connections: {{\"${{id}}\": {{url: \"${{url}}\"}}}}\n\
             \x20   publications:\n\
             \x20     \"${{id}}-to-state\": {{source: \"${{id}}\", labels: {{wave: \"${{wave}}\"}}}}\n",
            folder = self.folder.path().display(),
            target = self.target.url(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// The command as a person types it beside the daemon at `server`, or without one.
    async fn tidemark(&self, server: Option<SocketAddr>, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        command.args(arguments).env_clear().env("TIDEMARK_CONFIG", self.config());
        command.stdin(Stdio::null()).kill_on_drop(true);
        if let Some(address) = server {
            command.arg("--server").arg(format!("http://{address}"));
        }
        let ended = tokio::time::timeout(bound(self.districts.len()), command.output());
        let ended = ended.await.unwrap_or_else(|_| panic!("{arguments:?} ends")).unwrap();
        Ended {
            code: ended.status.code().unwrap(),
            out: String::from_utf8(ended.stdout).unwrap(),
            err: String::from_utf8(ended.stderr).unwrap(),
        }
    }
}

const WAVES: usize = 3;

/// The daemon of the region, in this process.
struct Serving {
    address: SocketAddr,
    desk: RemoteDesk,
    reload: Arc<Notify>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), DaemonError>>,
    patience: Duration,
}

impl Serving {
    async fn start(region: &Region) -> Serving {
        let env = BTreeMap::new();
        let loaded = config::load(&region.config(), &env).unwrap();
        let reload = Arc::new(Notify::new());
        let reloading =
            Reloading { path: region.config(), env: env.clone(), now: Arc::clone(&reload) };
        let daemon = Daemon::listen(loaded.config).await.unwrap().reloading(reloading);
        let address = daemon.address();
        let handle = daemon.handle();
        let url = Url::parse(&format!("http://{address}")).unwrap();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let ended = tokio::spawn(async move { daemon.run(&env, Duration::ZERO, until).await });
        let serving = Serving {
            address,
            desk: RemoteDesk::at(url, None, Clock::system()).unwrap(),
            reload,
            stop,
            ended,
            patience: bound(region.districts.len()),
        };
        serving.eventually("ready", async || handle.at_work().is_some()).await;
        serving
    }

    async fn eventually(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        if !eventually_within(self.patience, holds).await {
            let pairs = self.pairs().await;
            let odd: Vec<_> = pairs.iter().filter(|p| p.state != PairCondition::Ok).collect();
            panic!("never came: {what}; not ok: {odd:#?}");
        }
    }

    async fn pairs(&self) -> Vec<PairStatus> {
        let anybody = Caller { name: String::new(), role: Role::Viewer, labels: BTreeMap::new() };
        self.desk.pairs(&anybody, &Selectors::default()).await.unwrap()
    }

    /// Of the exchanges with the state's API so far, those without an answer or with a refusal.
    async fn troubles(&self, status: &str) -> f64 {
        let labels = [r#"connection="state""#, status];
        let (_, text) = crate::serve::get(self.address, "/metrics").await;
        let lines = text.lines().filter(|line| line.starts_with("tidemark_http_requests_total{"));
        let ours = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
        ours.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(self.patience, self.ended).await.expect("it ends").unwrap().unwrap();
    }
}

fn districts_wanted() -> usize {
    std::env::var("TIDEMARK_DISTRICTS").map_or(40, |count| count.parse().unwrap())
}

/// Lines of the account that a soak keeps.
fn account(lines: &str) {
    for line in lines.lines() {
        println!("account: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_night_every_healthy_district_is_equal_and_the_others_are_named() {
    let count = districts_wanted();
    let began = Instant::now();
    let region = Region::open(count).await;
    account(&format!("{count} districts opened after {} s", began.elapsed().as_secs()));
    let serving = Serving::start(&region).await;

    load_by_wave(&region, &serving).await;
    account(&format!("first loads ended after {} s", began.elapsed().as_secs()));
    assert_loaded(&region);

    fall_ill(&region);
    night(&region, &serving).await;
    account(&format!("the night ended after {} s", began.elapsed().as_secs()));

    let pairs = serving.pairs().await;
    assert_named(&region, &pairs);
    assert_eq!(metric(serving.address, "tidemark_unaccounted_changes_total", &[]).await, 0.0);
    let shown =
        region.tidemark(Some(serving.address), &["status", "--state", "blocked,failing"]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    account(&shown.out);
    serving.stop().await;

    verify(&region).await;
    account(&format!("verified after {} s", began.elapsed().as_secs()));
}

/// A person has them published, wave by wave, and sees which could not be.
async fn load_by_wave(region: &Region, serving: &Serving) {
    for wave in 1..=WAVES {
        let label = format!("wave={wave}");
        let here = |district: &&District| (district.number - 1) % WAVES + 1 == wave;
        let refused = region.of(Fate::WrongSecret).filter(here).count();

        let ran = region.tidemark(Some(serving.address), &["run", "--first", "-l", &label]).await;

        assert_eq!(ran.code, i32::from(refused > 0), "{}{}", ran.out, ran.err);
        for district in region.districts.iter().filter(here) {
            let (name, told) = (district.publication(), &ran.out);
            assert!(told.contains(&name), "{name} is told: {told}{}", ran.err);
        }
    }
}

fn assert_loaded(region: &Region) {
    let target = region.target.all();
    for district in &region.districts {
        let differences = district.differences(&target);
        match district.fate() {
            Fate::WrongSecret => assert!(!differences.is_empty()),
            _ => assert_eq!(differences, Vec::<String>::new()),
        }
    }
}

/// What happens to the districts before the night.
fn fall_ill(region: &Region) {
    for district in &region.districts {
        district.work_a_day();
        match district.fate() {
            Fate::Well | Fate::WrongSecret => {}
            Fate::Down => district.source.go_down(),
            Fate::Restored => district.source.restore(&district.before),
            Fate::ClaimLacks => {
                let closed = Harm::Refuse(Refusal::ResourceClosed);
                district.source.fault(Fault::on("/ed-fi/studentSchoolAssociations", closed));
            }
        }
    }
}

/// The schedule comes with a reload. The target throttles, and is restarted while it is written to.
async fn night(region: &Region, serving: &Serving) {
    let wide = (region.districts.len() / 8).max(5);
    let throttled = Harm::Throttle { retry_after: Some(1) };
    let every_other = Fault::everywhere(throttled).part(Part::Items).method("POST").after(3);
    let throttling = region.target.fault(every_other.times(2));
    let students = region.target.count("/ed-fi/students");
    let every = wide * 2;
    region.write_template(&format!("    every: {every}s\n    spread: {wide}s\n"));
    serving.reload.notify_one();

    serving
        .eventually("a third of the night", async || {
            let written = region.target.count("/ed-fi/students") - students;
            written >= region.districts.len() / 3
        })
        .await;
    assert!(serving.troubles(r#"status="4xx""#).await > 0.0, "the target has throttled");
    let before = serving.troubles(r#"status="none""#).await;
    region.target.go_down();
    serving
        .eventually("somebody finds the target gone", async || {
            serving.troubles(r#"status="none""#).await > before
        })
        .await;
    region.target.come_up();
    region.target.repair(throttling);

    serving.eventually("the end of the night", async || has_ended(region, serving).await).await;
}

/// Every pair is how its district's fate has it, and the healthy ones have caught up.
async fn has_ended(region: &Region, serving: &Serving) -> bool {
    let conditions: BTreeMap<String, Fate> =
        region.districts.iter().map(|it| (it.publication(), it.fate())).collect();
    let pairs = serving.pairs().await;
    let settled = pairs.iter().all(|pair| {
        let fate = conditions[&pair.publication];
        pair.state == fate.condition()
            && (fate != Fate::Well || (pair.lag_versions == Some(0) && pair.failed_runs == 0))
    });
    settled && {
        let target = region.target.all();
        region.of(Fate::Well).all(|district| district.differences(&target).is_empty())
    }
}

/// Whoever is not well is shown with what is wrong and what to do, and nobody else is.
fn assert_named(region: &Region, pairs: &[PairStatus]) {
    let suffering: BTreeSet<_> = region.suffering().map(District::publication).collect();
    let shown: BTreeSet<_> = pairs
        .iter()
        .filter(|pair| pair.state != PairCondition::Ok)
        .map(|pair| pair.publication.clone())
        .collect();
    assert_eq!(shown, suffering);
    for district in region.suffering() {
        let pair = pairs.iter().find(|pair| pair.publication == district.publication()).unwrap();
        let reason = pair.reason.as_deref().unwrap_or_default();
        for part in district.fate().told(&district.name) {
            assert!(reason.contains(&part), "{:?} says {part}: {reason}", district.fate());
        }
    }
}

/// Key by key and body by body, by the command and by looking.
async fn verify(region: &Region) {
    let healthy: Vec<String> = region.of(Fate::Well).map(District::publication).collect();
    let mut arguments = vec!["verify", "--content", "--output", "json"];
    arguments.extend(healthy.iter().map(String::as_str));

    let verified = region.tidemark(None, &arguments).await;

    assert_eq!(verified.code, 0, "{}", verified.err);
    let told = verified.json();
    let equal = told["verify"].as_array().unwrap().iter().filter(|one| one["equal"] == true);
    assert_eq!(equal.count(), healthy.len());
    account(&format!("{} of {} districts verify equal", healthy.len(), region.districts.len()));
    let target = region.target.all();
    for district in region.of(Fate::Well) {
        assert_eq!(district.differences(&target), Vec::<String>::new(), "{}", district.name);
    }
    for district in &region.districts {
        let left = region.target.item("/ed-fi/studentSchoolAssociations", &district.enrolment(2));
        let is_gone = matches!(district.fate(), Fate::Well | Fate::WrongSecret);
        assert_eq!(left.is_none(), is_gone, "{}: who left is gone, and nobody else", district.name);
    }
}
