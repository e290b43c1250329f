//! A state of an older format is exported, migrated, and survives a kill at any point of it.

use super::super::StateView;
use super::*;
use crate::domain::{ChangeVersion, Watermark};
use crate::state::codec::PAIR_SPACE;
use crate::state::conformance::{everything, has_everything, pair};
use crate::state::text::{self, Text};

const OLDER: u8 = FORMAT - 1;

async fn filled(path: &Path) {
    let store = open(path).unwrap();
    for name in ["a", "b"] {
        store.commit(&pair(name), everything()).await.unwrap();
    }
}

/// Makes it what the program of an older format would have left.
fn make_older(path: &Path, format: u8) {
    let db = open_engine(path).unwrap();
    for entry in db.scan_prefix([PAIR_SPACE]) {
        let (key, bytes) = entry.unwrap();
        let mut bytes = bytes.to_vec();
        bytes[0] = format;
        db.insert(key, bytes).unwrap();
    }
    db.insert(FORMAT_KEY, &[format]).unwrap();
    db.flush().unwrap();
    drop(db);
    mark(path, format);
}

fn mark(path: &Path, format: u8) {
    let steps = Marker::read(path).unwrap().unwrap().steps;
    Marker::write(path, Marked { format, steps }).unwrap();
}

/// The format of every record of the database, its own, and the marker's.
fn formats(path: &Path) -> Vec<u8> {
    let db = open_engine(path).unwrap();
    let mut formats: Vec<u8> =
        db.scan_prefix([PAIR_SPACE]).map(|entry| entry.unwrap().1[0]).collect();
    assert!(formats.len() > 10, "only {} records", formats.len());
    formats.push(db.get(FORMAT_KEY).unwrap().unwrap()[0]);
    formats.push(Marker::read(path).unwrap().unwrap().format);
    formats.sort_unstable();
    formats.dedup();
    formats
}

async fn has_all(store: &dyn StateStore) {
    for name in ["a", "b"] {
        has_everything(store, &pair(name)).await;
    }
}

#[tokio::test]
async fn an_older_format_is_exported_beside_and_then_migrated() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    make_older(directory.path(), OLDER);

    let store = open(directory.path()).unwrap();

    has_all(&*store).await;
    drop(store);
    assert_eq!(formats(directory.path()), [FORMAT]);
    let text = fs::read_to_string(migrate::export_path(directory.path())).unwrap();
    assert!(text.starts_with(&format!("{{\"format\":{OLDER},")), "for the program before");
    let Ok(Text::Export(steps)) = text::read(&text) else { panic!("no export") };
    let imported = crate::state::MemoryStore::new();
    for (pair, step) in steps {
        imported.commit(&pair, step).await.unwrap();
    }
    for name in ["a", "b"] {
        let mut expected = open(directory.path()).unwrap().whole(&pair(name)).await.unwrap();
        expected.finished.clear();
        expected.progress.clear();
        let found = imported.whole(&pair(name)).await.unwrap();
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_export_of_a_migration_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    make_older(directory.path(), OLDER);

    drop(open(directory.path()).unwrap());

    let export = fs::metadata(migrate::export_path(directory.path())).unwrap();
    assert_eq!(export.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_state_of_this_format_is_not_exported() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;

    drop(open(directory.path()).unwrap());

    assert!(!migrate::export_path(directory.path()).exists());
}

#[tokio::test]
async fn a_migration_that_was_killed_anywhere_is_ended_by_the_next_opening() {
    type Case = (&'static str, fn(&Path));
    let cases: [Case; 4] = [
        ("within the export", |path| {
            make_older(path, OLDER);
            let mut draft = migrate::export_path(path).into_os_string();
            draft.push(".tmp");
            fs::write(draft, b"{\"format\":").unwrap();
        }),
        ("after the export, or there is one of long ago", |path| {
            make_older(path, OLDER);
            fs::write(migrate::export_path(path), b"of another day").unwrap();
        }),
        ("before the marker", |path| mark(path, OLDER)),
        ("within the marker", |path| {
            mark(path, OLDER);
            fs::write(path.join("tidemark.format.new"), b"tidem").unwrap();
        }),
    ];
    for (case, kill) in cases {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path()).await;
        kill(directory.path());
        let was_older = Marker::read(directory.path()).unwrap().unwrap().format == OLDER;
        assert!(was_older, "{case}");

        let store = open(directory.path()).unwrap();

        has_all(&*store).await;
        drop(store);
        assert_eq!(formats(directory.path()), [FORMAT], "{case}");
        if let Ok(text) = fs::read_to_string(migrate::export_path(directory.path())) {
            assert!(text::read(&text).is_ok(), "{case}");
        }
    }
}

#[tokio::test]
async fn a_migration_without_room_for_its_export_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    make_older(directory.path(), OLDER);
    // A directory can no more be replaced by a file than a full disk can take one.
    fs::create_dir(migrate::export_path(directory.path())).unwrap();
    fs::write(migrate::export_path(directory.path()).join("x"), b"").unwrap();

    let refused = open(directory.path()).err().unwrap();

    assert!(matches!(refused, StateError::Unreadable { .. }), "{refused}");
    assert!(refused.to_string().contains("disk has room"), "{refused}");
    assert_eq!(formats(directory.path()), [OLDER]);
}

#[tokio::test]
async fn a_database_that_is_older_than_its_marker_says_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    make_older(directory.path(), OLDER);
    mark(directory.path(), FORMAT);

    let refused = open(directory.path()).err().unwrap();

    assert!(matches!(refused, StateError::Unreadable { .. }), "{refused}");
    assert!(refused.to_string().contains("format key"), "{refused}");
}

/// A state that was opened for the first time and killed, by a program of an older format.
#[tokio::test]
async fn an_older_state_with_nothing_in_it_is_begun() {
    let directory = tempfile::tempdir().unwrap();
    Marker::write(directory.path(), Marked { format: OLDER, steps: 0 }).unwrap();
    drop(open_engine(directory.path()).unwrap());

    filled(directory.path()).await;

    assert_eq!(formats(directory.path()), [FORMAT]);
}

/// The records to the letter as the program of the first format wrote them.
#[tokio::test]
async fn what_the_first_format_wrote_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let db = open_engine(directory.path()).unwrap();
    let records = [
        (
            "s",
            r#"{"watermark":230,"blocked":{"cause":"deletes","reason":"many","since":"2026-01-31T10:00:00Z"},"source":null,"failed_runs":1}"#,
        ),
        ("c", r#"{"spoken_for":["/ed-fi/students"],"left":{"/tpdm/candidates":3}}"#),
        (
            "j",
            r#"{"run_id":"r","window":{"after":230,"through":250},"began_at":"2026-01-31T10:00:00Z"}"#,
        ),
    ];
    for (letter, json) in records {
        let mut key = super::super::codec::pair_prefix(&pair("a"));
        key.extend_from_slice(letter.as_bytes());
        db.insert(key, [&[1], json.as_bytes()].concat()).unwrap();
    }
    db.insert(FORMAT_KEY, &[1]).unwrap();
    db.insert(STEPS_KEY, &3_u64.to_be_bytes()).unwrap();
    db.flush().unwrap();
    drop(db);
    Marker::write(directory.path(), Marked { format: 1, steps: 3 }).unwrap();

    let store = open(directory.path()).unwrap();

    let state = store.load(&pair("a")).await.unwrap().unwrap();
    assert_eq!(state.watermark, Some(Watermark::ChangeVersion(ChangeVersion(230))));
    assert_eq!(state.failed_runs, 1);
    assert_eq!(store.coverage(&pair("a")).await.unwrap().spoken_for.len(), 1);
    let journal = store.journal(&pair("a")).await.unwrap().unwrap();
    assert_eq!((journal.run_id.as_str(), journal.selection.as_str()), ("r", ""));
}
