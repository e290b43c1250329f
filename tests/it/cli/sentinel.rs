//! Nothing of a person leaves by a side door (contract "Words": parked; I18): unique words are
//! planted in credentials and in every member of students' records, a whole story is told by the
//! built program at `--log-level trace` against peers that quote all they were sent, and then every
//! byte that the program printed, served or kept is searched for them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tidemark::sandbox::{Fault, Harm, Part, Refusal, Sandbox, SandboxOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Desk, Ended, ended};
use crate::district;
use crate::process::Process;
use crate::scene::{bare, put};

const SOURCE_KEY: &str = "zqv-source-key-41c7";
const SOURCE_SECRET: &str = "zqv-source-secret-9ab2";
const TARGET_KEY: &str = "zqv-target-key-77d0";
const TARGET_SECRET: &str = "zqv-target-secret-e3f8";

/// Values of bodies that are no part of a key, and credentials: they are kept nowhere.
const NEVER: &[&str] = &[
    SOURCE_KEY,
    SOURCE_SECRET,
    TARGET_KEY,
    TARGET_SECRET,
    "Zqvfirst",
    "Zqvlast",
    "Zqvmiddle",
    "1903-07-",
    "Zqvtitle",
];
/// Parts of natural keys of what was never parked: kept nowhere at rest.
const KEYS_OF_THE_SETTLED: &[&str] = &["zqv-applied", "zqv-left"];
/// Parts of natural keys of what was parked.
const KEYS_OF_THE_PARKED: &[&str] = &["zqv-invalid", "zqv-forbidden", "zqv-waiting"];
/// Parts of natural keys of what got another key, and of a person that was deleted: the journal of
/// that run had them (R5, R26), and let them go when it ended.
const KEYS_OF_THE_JOURNAL: &[&str] =
    &["zqv-old-section", "zqv-new-section", "zqv-moved", "zqv-deleted"];

const RESOURCES: &str = "localEducationAgencies, schools, courses, sessions, courseOfferings, \
    sections, students, studentSchoolAssociations, studentSectionAssociations";

fn student(id: &str, number: u32) -> Value {
    json!({
        "studentUniqueId": id,
        "firstName": format!("Zqvfirst{number}"),
        "middleName": format!("Zqvmiddle {number}"),
        "lastSurname": format!("Zqvlast O'{number}"),
        "birthDate": format!("1903-07-{number:02}"),
    })
}

/// Two sandboxes with credentials of their own and a source full of sentinels.
async fn planted() -> Desk {
    let guarded = |key: &str, secret: &str| SandboxOptions {
        key: key.to_owned(),
        secret: secret.to_owned(),
        token_limit: 10_000,
        ..bare()
    };
    let desk =
        Desk::with(guarded(SOURCE_KEY, SOURCE_SECRET), guarded(TARGET_KEY, TARGET_SECRET)).await;
    let directory = desk.directory.path();
    std::fs::write(directory.join("target-secret"), TARGET_SECRET).unwrap();
    desk.configure(&format!(
        "state: {{path: state}}\n\
         server: {{listen: \"127.0.0.1:0\"}}\n\
         connections:\n\
         \x20 district: {{kind: ed-fi, url: \"{}\", key: {SOURCE_KEY}, secret: {{env: ZQV}}}}\n\
         \x20 state: {{kind: ed-fi, url: \"{}\", key: {TARGET_KEY}, secret: {{file: {}}}}}\n\
         publications:\n\
         \x20 district-to-state:\n\
         \x20   source: district\n\
         \x20   targets: [state]\n\
         \x20   every: 1s\n\
         \x20   resources: {{include_only: [{RESOURCES}], descriptors: false}}\n",
        desk.source.url(),
        desk.target.url(),
        directory.join("target-secret").display(),
    ));
    district::open_school(&desk.source);
    put(&desk.source, "sections", &district::section("zqv-old-section", "ALG-1", "Fall"));
    for (number, id) in (1..).zip(["zqv-applied", "zqv-deleted", "zqv-invalid", "zqv-forbidden"]) {
        put(&desk.source, "students", &student(id, number));
    }
    put(&desk.source, "students", &student("zqv-waiting", 9));
    put(&desk.source, "students", &student("zqv-moved", 8));
    put(&desk.source, "studentSchoolAssociations", &district::enrolment("zqv-applied"));
    put(&desk.source, "students", &student("zqv-left", 7));
    put(&desk.source, "studentSchoolAssociations", &district::enrolment("zqv-left"));
    put(&desk.source, "studentSchoolAssociations", &district::enrolment("zqv-waiting"));
    put(
        &desk.source,
        "studentSectionAssociations",
        &district::attends("zqv-moved", "zqv-old-section", "ALG-1", "Fall"),
    );
    desk
}

/// Refusals of every sort, each of which quotes what it refuses.
fn quote_what_is_refused(target: &Sandbox) {
    let of = |id: &str, harm| {
        Fault::on("/ed-fi/students", harm).method("POST").key("studentUniqueId", id)
    };
    target.fault(of("zqv-invalid", Harm::Echo(400)));
    target.fault(of("zqv-forbidden", Harm::Echo(403)));
    let missing = Harm::Refuse(Refusal::UnresolvedReference("School".to_owned()));
    target.fault(
        Fault::on("/ed-fi/studentSchoolAssociations", missing)
            .method("POST")
            .key("studentUniqueId", "zqv-waiting"),
    );
    // What passes is said in the log.
    target.fault(of("zqv-applied", Harm::Echo(500)).times(1));
    target.fault(Fault::everywhere(Harm::Echo(409)).method("PUT"));
}

/// Everything that was printed or served, with what it was.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    async fn of(&mut self, desk: &Desk, words: &[&str]) -> Ended {
        for format in ["text", "json"] {
            // The last of the two is what the caller looks at.
            let ended = self.once(desk, words, format).await;
            if format == "json" {
                return ended;
            }
        }
        unreachable!("json is one of the formats")
    }

    async fn once(&mut self, desk: &Desk, words: &[&str], format: &str) -> Ended {
        let mut command = desk.command(words);
        command.args(["--log-level", "trace", "--log-format", format, "--output", format]);
        command.env("ZQV", SOURCE_SECRET);
        let ended = ended(command).await;
        self.0.push((format!("{words:?} {format}"), format!("{}\n{}", ended.out, ended.err)));
        ended
    }

    /// Nothing of what was said holds one of these.
    #[track_caller]
    fn assert_free_of(&self, sentinels: &[String]) {
        for (what, text) in &self.0 {
            for sentinel in sentinels {
                let line = text.lines().find(|line| line.contains(sentinel.as_str()));
                assert!(line.is_none(), "{sentinel} in what {what} said: {line:?}");
            }
        }
    }
}

fn owned(lists: &[&[&str]]) -> Vec<String> {
    lists.concat().into_iter().map(str::to_owned).collect()
}

/// Each token that either end gave.
fn tokens(desk: &Desk) -> Vec<String> {
    let tokens = [desk.source.tokens(), desk.target.tokens()].concat();
    assert!(!tokens.is_empty());
    tokens
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// `serve` until it has caught up with what the source has now, asked for all that it tells.
async fn serve(desk: &Desk, said: &mut Said) {
    put(&desk.source, "students", &student("zqv-applied", 23));
    let mut command = desk.command(&["serve", "--log-level", "trace"]);
    command.env("ZQV", SOURCE_SECRET);
    let mut process = Process::begin(command);
    let address = process.is_ready().await.to_string();
    let caught_up = format!("\"watermark\":{}", desk.source.newest());
    while !get(&address, "/api/v1/pairs").await.contains(&caught_up) {
        process.says("run complete").await;
    }
    for path in ["/metrics", "/api/v1/pairs", "/readyz", "/nowhere?studentUniqueId=x"] {
        said.0.push((path.to_owned(), get(&address, path).await));
    }
    let log = process.stop().await;
    assert!(log.contains("run complete"), "{log}");
    said.0.push(("serve".to_owned(), log));
}

/// Every byte below a directory, file by file.
fn bytes_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_below(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[track_caller]
fn assert_kept_free_of(desk: &Desk, sentinels: &[String]) {
    for (file, bytes) in bytes_below(&desk.directory.path().join("state")) {
        for sentinel in sentinels {
            assert!(!holds(&bytes, sentinel), "{sentinel} in {file}");
        }
    }
}

/// What was deleted from the database may lie in its file until its space is used again; no record
/// that can be read has it.
async fn assert_records_hold_keys_of_the_parked_alone(desk: &Desk) {
    let store = tidemark::state::open(&desk.directory.path().join("state")).unwrap();
    for pair in store.pairs().await.unwrap() {
        assert_eq!(store.names(&pair).await.unwrap(), [], "the journal ended");
        let parked = format!("{:?}", store.parked(&pair, None, 1000).await.unwrap());
        let rest = format!(
            "{:?} {:?} {:?} {:?}",
            store.load(&pair).await.unwrap(),
            store.coverage(&pair).await.unwrap(),
            store.journal(&pair).await.unwrap(),
            store.runs(&pair, 1000).await.unwrap(),
        );
        assert!(!rest.contains("zqv") && !rest.contains("Zqv"), "{rest}");
        for sentinel in [KEYS_OF_THE_JOURNAL, KEYS_OF_THE_SETTLED].concat() {
            assert!(!parked.contains(sentinel), "{sentinel} in {parked}");
        }
    }
}

fn assert_private(directory: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory), 0o700, "{}", directory.display());
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_private(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_no_name_and_no_key_of_a_student_leaves_by_a_side_door() {
    let desk = planted().await;
    quote_what_is_refused(&desk.target);
    let mut said = Said::default();
    let mut shown = Said::default();

    // A first run that parks, a difference, comparisons, and what a person looks at.
    assert_eq!(said.of(&desk, &["config", "check"]).await.code, 0);
    said.of(&desk, &["check"]).await;
    assert_eq!(said.of(&desk, &["plan"]).await.code, 0);
    let first = said.once(&desk, &["run"], "text").await;
    desk.source.delete("/ed-fi/students", &district::student_key("zqv-deleted")).unwrap();
    let left = district::enrolment_key("zqv-left");
    desk.source.delete("/ed-fi/studentSchoolAssociations", &left).unwrap();
    let key = |name: &str| district::section_key(name, "ALG-1", "Fall");
    desk.source
        .rename("/ed-fi/sections", &key("zqv-old-section"), &key("zqv-new-section"))
        .unwrap();
    let second = said.once(&desk, &["run"], "json").await;
    said.of(&desk, &["status"]).await;
    let verified = said.of(&desk, &["verify", "--content"]).await;
    said.of(&desk, &["watermark", "show"]).await;
    let listed = shown.of(&desk, &["parked", "list"]).await;
    let items = listed.json()["items"].as_array().unwrap().clone();
    for item in &items {
        shown.of(&desk, &["parked", "show", item["id"].as_str().unwrap()]).await;
    }
    said.of(&desk, &["parked", "retry", "--all"]).await;

    // Runs that fail because an end quotes what it was asked, by body, by query and by token.
    put(&desk.source, "students", &student("zqv-applied", 21));
    for fault in [
        Fault::on("/ed-fi/students", Harm::Echo(400)).method("GET").part(Part::Items),
        Fault::on("/ed-fi/students", Harm::Echo(403)).method("GET").part(Part::Items),
        Fault::everywhere(Harm::Echo(400)).part(Part::NewestVersion),
        Fault::everywhere(Harm::Echo(400)).part(Part::Token),
        Fault::everywhere(Harm::Echo(401)).part(Part::Token),
    ] {
        let harm = desk.source.fault(fault.clone());
        let failed = said.once(&desk, &["run"], "json").await;
        assert_eq!(failed.code, 1, "{fault:?}: {}{}", failed.out, failed.err);
        said.once(&desk, &["check"], "text").await;
        said.once(&desk, &["verify"], "text").await;
        desk.source.repair(harm);
        let harm = desk.target.fault(fault);
        said.once(&desk, &["run"], "json").await;
        said.once(&desk, &["check"], "text").await;
        said.once(&desk, &["verify", "--content"], "text").await;
        desk.target.repair(harm);
        put(&desk.source, "students", &student("zqv-applied", 22));
    }
    serve(&desk, &mut said).await;

    assert_eq!((first.code, second.code, verified.code), (3, 3, 1), "{}", second.out);
    let reasons: Vec<&str> = items.iter().map(|item| item["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"invalid") && reasons.contains(&"unresolved-reference"));
    assert!(reasons.contains(&"forbidden"), "{reasons:?}");
    assert_eq!(desk.target.count("/ed-fi/sections"), 2, "the renamed one, not both");
    let bodies = [owned(&[NEVER]), tokens(&desk)].concat();
    let keys = [KEYS_OF_THE_SETTLED, KEYS_OF_THE_PARKED, KEYS_OF_THE_JOURNAL];
    said.assert_free_of(&[bodies.clone(), owned(&keys)].concat());
    shown.assert_free_of(&[bodies.clone(), owned(&[KEYS_OF_THE_SETTLED])].concat());
    let list = &shown.0[0].1;
    assert!(list.contains("zqv-invalid"), "the search finds what is there: {list}");

    assert_private(&desk.directory.path().join("state"));
    assert_kept_free_of(&desk, &[bodies, owned(&[KEYS_OF_THE_SETTLED])].concat());
    let kept = bytes_below(&desk.directory.path().join("state"));
    let finds = |text: &str| kept.iter().any(|(_, bytes)| holds(bytes, text));
    assert!(finds("zqv-invalid"), "the search finds what is kept of a parked item");
    assert_records_hold_keys_of_the_parked_alone(&desk).await;
}
