//! What sled must survive and what we must refuse: other processes, damage, kills.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rand::{Rng, SeedableRng};

use super::*;
use crate::domain::{ChangeVersion, Watermark};
use crate::state::conformance::{name, pair, parked, plan, run, state};
use crate::state::{ParkStatus, StateView, Step};

fn refusal(path: &Path) -> StateError {
    match open(path) {
        Ok(_) => panic!("the state at {} was opened", path.display()),
        Err(error) => error,
    }
}

/// The step that makes everything of a pair speak of `number`.
fn step(number: i64) -> Step {
    let id = |number: i64, item: i64| format!("item-{number}-{item}");
    Step {
        state: Some(state(number)),
        park: (0..5).map(|item| parked(&id(number, item), ParkStatus::Parked)).collect(),
        settle: (0..5).map(|item| id(number - 1, item)).collect(),
        end_journal: true,
        names: (0..3).map(|_| name(&number.to_string(), None)).collect(),
        run: Some(run(number)),
        ..Step::default()
    }
}

async fn committed(path: &Path, steps: i64) {
    let store = open(path).unwrap();
    for number in 1..=steps {
        store.commit(&pair("a"), step(number)).await.unwrap();
    }
}

/// The number of the last step, when everything of the pair speaks of that step and no other.
async fn last_whole_step(store: &dyn StateStore) -> i64 {
    let Some(found) = store.load(&pair("a")).await.unwrap() else {
        assert_eq!(store.parked(&pair("a"), None, 100).await.unwrap(), []);
        return 0;
    };
    let Some(Watermark::ChangeVersion(ChangeVersion(number))) = found.watermark else {
        panic!("a step without a watermark")
    };
    let whole = step(number);
    assert_eq!(store.parked(&pair("a"), None, 100).await.unwrap(), whole.park);
    assert_eq!(store.names(&pair("a")).await.unwrap(), whole.names[..1]);
    assert_eq!(store.runs(&pair("a"), 1).await.unwrap(), [whole.run.unwrap()]);
    number
}

/// Every file of the database with its bytes.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() && !file.ends_with("lock") {
            let bytes = fs::read(&file).unwrap();
            files.push((file, bytes));
        }
    }
    files.sort();
    files
}

#[test]
fn p6_a_second_opener_is_told_who_holds_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let held = open(directory.path()).unwrap();

    let refused = refusal(directory.path());

    let StateError::Locked { path, holder } = &refused else { panic!("{refused}") };
    assert_eq!(*path, directory.path().display().to_string());
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    drop(held);
    assert!(open(directory.path()).is_ok());
}

#[tokio::test]
async fn p8_damage_is_refused_by_name_and_changes_nothing() {
    type Case = (&'static str, fn(&Path), &'static str);
    let cases: [Case; 7] = [
        ("half of the database is gone", |path| cut(&path.join("db"), 2), "steps are missing"),
        ("the database is empty", |path| cut(&path.join("db"), 1_000_000_000), ""),
        (
            "the database is gone",
            |path| {
                for (file, _) in files(path) {
                    if !file.ends_with("tidemark.format") {
                        fs::remove_file(file).unwrap();
                    }
                }
            },
            "its database file is gone",
        ),
        ("the database is zeroed", |path| overwrite(&path.join("db"), 0), ""),
        ("the configuration is rubbish", |path| overwrite(&path.join("conf"), 0xa5), ""),
        (
            "the marker is gone",
            |path| fs::remove_file(Marker::path(path)).unwrap(),
            "no file tidemark.format",
        ),
        ("the marker is torn", |path| cut(&Marker::path(path), 2), "tidemark.format is damaged"),
    ];
    for (case, damage, says) in cases {
        let directory = tempfile::tempdir().unwrap();
        committed(directory.path(), 40).await;
        damage(directory.path());
        let before = files(directory.path());

        let refused = refusal(directory.path());

        let StateError::Unreadable { path, what, repair } = &refused else {
            panic!("{case}: {refused}")
        };
        assert_eq!(*path, directory.path().display().to_string(), "{case}");
        assert!(what.contains(says), "{case}: {what}");
        assert!(repair.contains("backup") && repair.contains("watermark set"), "{case}: {repair}");
        assert!(files(directory.path()) == before, "{case}: a file was changed");
    }
}

/// Cuts a file down to its first `part`th.
fn cut(file: &Path, part: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / part).unwrap();
}

fn overwrite(file: &Path, byte: u8) {
    let length = fs::metadata(file).unwrap().len();
    fs::write(file, vec![byte; usize::try_from(length).unwrap()]).unwrap();
}

#[tokio::test]
async fn p8_a_flipped_byte_is_harmless_or_refused_but_never_a_loss() {
    let directory = tempfile::tempdir().unwrap();
    // Opened more than once, so that there is a snapshot and both it and the log can be hit.
    committed(directory.path(), 10).await;
    committed(directory.path(), 20).await;
    let whole = files(directory.path());
    let mut random = rand::rngs::SmallRng::seed_from_u64(20);
    let mut refused = 0;

    // Round 0 damages nothing: the copy itself must open.
    for round in 0..31 {
        let damaged = tempfile::tempdir().unwrap();
        for (file, bytes) in &whole {
            let mut bytes = bytes.clone();
            if round > 0 && (file.ends_with("db") || round % 5 == 0 && is_snapshot(file)) {
                let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
                let at = random.random_range(0..=written);
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            fs::write(damaged.path().join(file.file_name().unwrap()), bytes).unwrap();
        }

        match open(damaged.path()) {
            Ok(store) => {
                assert_eq!(last_whole_step(&*store).await, 20);
            }
            Err(StateError::Unreadable { .. }) if round > 0 => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }

    assert!(refused > 0, "no flip was ever noticed");
}

fn is_snapshot(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."))
}

#[tokio::test]
async fn p10_a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    committed(directory.path(), 1).await;
    fs::write(
        Marker::path(directory.path()),
        format!("tidemark state\nformat {:03}\nsteps 00000000000000000001\n", FORMAT + 1),
    )
    .unwrap();
    let before = files(directory.path());

    let refused = refusal(directory.path());

    assert!(
        matches!(refused, StateError::Newer { found, known: FORMAT, .. } if found == FORMAT + 1),
        "{refused}"
    );
    assert!(files(directory.path()) == before, "a file was changed");
}

#[tokio::test]
async fn p10_a_record_of_a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path()).unwrap();
    let key = super::super::codec::parked_key(&pair("a"), "p1");
    store.shared.db.insert(key, b"\x07{}").unwrap();
    drop(store);

    let refused = refusal(directory.path());

    assert!(matches!(refused, StateError::Newer { found: 7, .. }), "{refused}");
}

#[test]
fn a_database_of_somebody_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = ::sled::open(directory.path()).unwrap();
    theirs.insert("theirs", "data").unwrap();
    drop(theirs);

    let refused = refusal(directory.path());

    assert!(refused.to_string().contains("no file tidemark.format"), "{refused}");
    assert!(!Marker::path(directory.path()).exists());
}

#[test]
fn an_opening_that_was_killed_before_its_first_step_is_finished_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    Marker::create(directory.path()).unwrap();
    drop(::sled::open(directory.path()).unwrap());

    let opened = open(directory.path());

    assert!(opened.is_ok());
}

#[tokio::test]
async fn p7_a_snapshot_that_a_full_disk_left_unfinished_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    committed(directory.path(), 3).await;
    let unfinished = "snap.00000000FFFFFFFF.generating";
    fs::write(directory.path().join(unfinished), b"torn").unwrap();

    let store = open(directory.path()).unwrap();

    assert_eq!(last_whole_step(&*store).await, 3);
    assert!(!directory.path().join(unfinished).exists());
    assert!(directory.path().join(format!("aside.{unfinished}")).exists());
}

#[tokio::test]
async fn what_a_killed_opening_left_of_its_copy_is_not_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    committed(directory.path(), 3).await;
    let copy = directory.path().join(REHEARSAL);
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("db"), b"torn").unwrap();

    let store = open(directory.path()).unwrap();

    assert_eq!(last_whole_step(&*store).await, 3);
    assert!(!copy.exists());
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("file");
    fs::write(&taken, b"").unwrap();

    let refused = refusal(&taken.join("state"));

    assert!(matches!(refused, StateError::Unreadable { .. }), "{refused}");
    assert!(refused.to_string().contains("can be read and written"), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn state_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    committed(&path, 1).await;

    let held = open(&path).unwrap();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for (file, _) in files(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(held);
}

#[tokio::test]
async fn plans_of_a_thousand_pairs_are_one_step() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path()).unwrap();
    let steps = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counting = Arc::clone(&steps);
    store.watch_commits(Arc::new(move |_| {
        counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));

    let plans = (0..1000).map(|number| (pair(&number.to_string()), plan())).collect();
    store.keep_plans(plans).await.unwrap();

    assert_eq!(steps.load(std::sync::atomic::Ordering::Relaxed), 1);
    drop(store);
    let opened = open(place.path()).unwrap();
    assert_eq!(opened.plan(&pair("999")).await.unwrap(), Some(plan()));
}

#[tokio::test]
async fn p19_after_an_error_every_call_fails_and_what_was_committed_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path()).unwrap();
    let faults = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&faults);
    store.watch_faults(Arc::new(move |why| told.lock().unwrap().push(why)));
    store.commit(&pair("a"), step(1)).await.unwrap();
    assert!(faults.lock().unwrap().is_empty());
    let state_key = super::super::codec::kind_prefix(&pair("b"), super::super::codec::Kind::State);
    store.shared.db.insert(&state_key, b"\x01{\"blocked\":\"604854\"}").unwrap();

    let first = store.load(&pair("b")).await.unwrap_err();

    assert!(matches!(first, StateError::Failed { doing: "reading a pair", .. }), "{first}");
    assert!(!first.to_string().contains("604854"), "{first}");
    for later in [
        store.load(&pair("a")).await.map(drop),
        store.commit(&pair("a"), step(2)).await,
        store.pairs().await.map(drop),
    ] {
        let later = later.unwrap_err();
        assert!(later.to_string().contains("an earlier call failed"), "{later}");
    }
    assert_eq!(*faults.lock().unwrap(), ["damaged", "engine", "engine", "engine"]);
    store.shared.db.remove(&state_key).unwrap();
    drop(store);
    assert_eq!(last_whole_step(&*open(directory.path()).unwrap()).await, 1);
}

/// The part of a killed process: this test, started again with the variable set.
const VICTIM: &str = "TIDEMARK_TEST_STATE_VICTIM";

/// I3, I4, P1: nothing that was acknowledged is lost, and no half of a step is ever seen.
#[tokio::test]
async fn p1_a_killed_process_loses_nothing_it_had_acknowledged() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return commit_until_killed(Path::new(&path)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = rand::rng();
    let mut last = 0;

    for round in 1..=30 {
        let acknowledged = kill_after(directory.path(), random.random_range(0..25));

        let store = open(directory.path()).unwrap();
        let found = last_whole_step(&*store).await;
        assert!(
            found >= acknowledged.max(last),
            "round {round}: {acknowledged} was acknowledged, {found} is there"
        );
        last = found;
    }
    assert!(last > 0, "no victim ever committed");
}

async fn commit_until_killed(path: &Path) {
    let store = open(path).unwrap();
    let mut number = last_whole_step(&*store).await;
    // Past the test harness, which would keep what is printed until the end that never comes.
    let mut out = io::stdout();
    writeln!(out, "\nopened").unwrap();
    loop {
        number += 1;
        store.commit(&pair("a"), step(number)).await.unwrap();
        writeln!(out, "acknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Starts a victim, kills it when it has acknowledged so many steps (with none: as soon as it has
/// opened), and tells the last one it did acknowledge.
fn kill_after(path: &Path, steps: usize) -> i64 {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("state::sled::tests::p1_a_killed_process_loses_nothing_it_had_acknowledged")
        .env(VICTIM, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let (mut acknowledged, mut seen, mut killed) = (0, 0, false);
    // After the kill the pipe still has what was acknowledged before it.
    for line in lines {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("acknowledged ") {
            // The last line may have been cut off by the kill.
            acknowledged = number.parse().unwrap_or(acknowledged).max(acknowledged);
            seen += 1;
        } else if line != "opened" {
            continue;
        }
        if seen >= steps && !killed {
            victim.kill().unwrap();
            killed = true;
        }
    }
    victim.wait().unwrap();
    assert!(killed, "the victim ended by itself");
    acknowledged
}

/// What each pair is told to have is what the database has, whoever asked for it before.
async fn assert_told_as_kept(store: &SledStore, done: &str) {
    for pair in ["a", "b", "c"].map(pair) {
        let db = &*store.shared.db;
        let (state, items) = (records::load(db, &pair), records::parked(db, &pair, None, 10));
        assert_eq!(store.load(&pair).await.unwrap(), state.unwrap(), "{pair} after {done}");
        let told = store.parked(&pair, None, 10).await.unwrap();
        assert_eq!(told, items.unwrap(), "{pair} after {done}");
    }
}

#[tokio::test]
async fn what_is_told_without_the_disk_is_what_is_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path()).unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(20260131);

    assert_told_as_kept(&store, "nothing").await;
    for number in 1..=200 {
        let (of, from) = (pair(["a", "b"][number % 2]), pair(["b", "c"][number % 2]));
        let id = format!("item-{}", random.random_range(0..2));
        let (done, step) = match random.random_range(0..7) {
            0 => ("a state", Step { state: Some(state(number as i64)), ..Step::default() }),
            1 => ("parking", Step { park: vec![parked(&id, ParkStatus::Dead)], ..Step::default() }),
            2 => ("settling", Step { settle: vec![id], ..Step::default() }),
            3 => ("forgetting", Step { forget_all: true, ..Step::default() }),
            4 => {
                let state = Some(state(number as i64));
                ("beginning anew", Step { state, forget_all: true, ..Step::default() })
            }
            5 => ("taking over", Step { taken_from: Some(from), ..Step::default() }),
            _ => ("a run", Step { run: Some(run(number as i64)), ..Step::default() }),
        };
        store.commit(&of, step).await.unwrap();

        assert_told_as_kept(&store, done).await;
    }
    let known = &store.shared.known;
    assert!(["a", "b", "c"].map(pair).iter().all(|pair| known.state(pair).is_some()));
}
