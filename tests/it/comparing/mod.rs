//! `verify` of large resources: what it holds, where it goes on, and what it leaves behind.

mod ends;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use tempfile::TempDir;
use tidemark::clock::Clock;
use tidemark::domain::{ChangeVersion, Selection, Watermark};
use tidemark::engine::observe::Observers;
use tidemark::engine::run::Surroundings;
use tidemark::engine::verify::{Verification, VerifyOptions, verify};
use tidemark::engine::{Pair, Policy, RunError};
use tidemark::state::{MemoryStore, PairId, PairState, StateStore, StateView, Step};

use crate::scene;
use ends::{LargeSource, LargeTarget, World};

struct Stage {
    world: World,
    store: Arc<MemoryStore>,
    clock: Clock,
    directory: TempDir,
}

fn pair_id() -> PairId {
    PairId { publication: "district-to-state".to_owned(), target: "state".to_owned() }
}

impl Stage {
    fn of(source: Range<u64>, target: Range<u64>) -> Stage {
        Stage {
            world: World::of(source, target),
            store: Arc::new(MemoryStore::new()),
            clock: Clock::held_at(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap()),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// What a process does that asks for it, and is asked to stop after so many answers.
    async fn verify_until(
        &mut self,
        stop_at: u64,
        options: &VerifyOptions,
    ) -> Result<Verification, RunError> {
        self.world.reopened();
        self.world.stop_at.store(stop_at, Ordering::Relaxed);
        self.store = Arc::new(self.store.reopened());
        let world = std::mem::replace(&mut self.world, World::of(0..0, 0..0));
        let world = Arc::new(world);
        let policy = Policy { selection: Selection::default(), ..scene::policy() };
        let pair = Pair {
            id: pair_id(),
            source: Arc::new(LargeSource(Arc::clone(&world))),
            target: Arc::new(LargeTarget(Arc::clone(&world))),
            policy: Arc::new(policy),
        };
        let around = Surroundings {
            store: Arc::clone(&self.store) as Arc<dyn StateStore>,
            clock: self.clock.clone(),
            observers: Observers::default(),
            stop: world.stop.clone(),
            configured: None,
        };
        let verified = verify(&around, &pair, options, self.directory.path()).await;
        drop(pair);
        self.world = Arc::into_inner(world).expect("nothing goes on after a comparison");
        verified
    }

    async fn verify(&mut self, options: &VerifyOptions) -> Verification {
        self.verify_until(u64::MAX, options).await.unwrap()
    }

    fn source_pages(&self) -> u64 {
        self.world.source_pages.load(Ordering::Relaxed)
    }

    fn target_pages(&self) -> u64 {
        self.world.target_pages.load(Ordering::Relaxed)
    }

    fn looks(&self) -> u64 {
        self.world.looks.load(Ordering::Relaxed)
    }

    async fn is_remembered(&self) -> bool {
        self.store.comparison(&pair_id()).await.unwrap().is_some()
    }
}

fn content() -> VerifyOptions {
    VerifyOptions { content: true, ..VerifyOptions::default() }
}

fn counts(verification: &Verification) -> (u64, u64, u64, Option<u64>, u64) {
    let [one] = verification.resources.as_slice() else { panic!("{verification:?}") };
    (one.source, one.target, one.missing, one.extra, one.different)
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn r30_a_resource_of_any_size_is_compared_with_as_few_entries_in_memory() {
    for items in [20_000, 120_000] {
        let mut stage = Stage::of(0..items, 0..items + 3);
        stage.world.not_at_target = BTreeSet::from([7, items / 2, items - 1]);
        *stage.world.different_at_target.lock().unwrap() = BTreeSet::from([0, items / 3]);

        let found = stage.verify(&content()).await;

        assert_eq!(counts(&found), (items, items, 3, Some(3), 2));
        assert!(found.most_held > 0 && found.most_held <= 50_000, "{}", found.most_held);
        assert_eq!(files(stage.directory.path()), Vec::<std::path::PathBuf>::new());
        assert!(!stage.is_remembered().await);
    }
}

#[tokio::test]
async fn a_comparison_that_was_interrupted_goes_on_where_it_stopped_and_finds_the_same() {
    const ITEMS: u64 = 40_000;
    let pages = ITEMS / 500;
    let mut stage = Stage::of(0..ITEMS, 0..ITEMS + 2);
    stage.world.not_at_target = BTreeSet::from([1, 39_999]);
    for (case, stop_at, source_pages, target_pages) in [
        ("while the source was read", pages - 10, 31, pages + 1),
        ("while the target was read", pages + 1 + 50, 0, 41),
        ("while differences were looked at", 2 * pages + 5, 0, 0),
    ] {
        let stopped = stage.verify_until(stop_at, &content()).await;

        assert!(matches!(stopped, Err(RunError::Interrupted)), "{case}: {stopped:?}");
        let found = stage.verify(&content()).await;

        assert_eq!(counts(&found), (ITEMS, ITEMS, 2, Some(2), 0), "{case}");
        assert!(found.goes_on_from.is_some(), "{case}");
        assert!(stage.source_pages() <= source_pages, "{case}: {}", stage.source_pages());
        assert!(stage.target_pages() <= target_pages + 1, "{case}: {}", stage.target_pages());
        assert_eq!(files(stage.directory.path()), Vec::<std::path::PathBuf>::new(), "{case}");
    }
}

#[tokio::test]
async fn a_comparison_is_gone_on_with_for_the_same_question_of_the_same_ends_alone() {
    let whole = 12_000 / 500 + 1;
    for (case, goes_on) in [
        ("nothing has changed", true),
        ("bodies are not asked for", false),
        ("another database", false),
        ("another snapshot", false),
        ("another watermark", false),
        ("a day has passed", false),
        ("the file is gone", false),
    ] {
        let mut stage = Stage::of(0..12_000, 0..12_000);
        stage.verify_until(23, &content()).await.unwrap_err();
        let mut options = content();
        match case {
            "bodies are not asked for" => options.content = false,
            "another database" => {
                *stage.world.data_url.lock().unwrap() = "http://other.invalid/data/v3".to_owned();
            }
            "another snapshot" => stage.world.newest.store(101, Ordering::Relaxed),
            "another watermark" => {
                let watermark = Some(Watermark::ChangeVersion(ChangeVersion(9)));
                let state = Some(PairState { watermark, ..PairState::default() });
                let step = Step { state, ..Step::default() };
                stage.store.commit(&pair_id(), step).await.unwrap();
            }
            "a day has passed" => stage.clock.advance(TimeDelta::days(1)),
            "the file is gone" => {
                for file in files(stage.directory.path()) {
                    std::fs::remove_file(file).unwrap();
                }
            }
            _ => {}
        }

        let found = stage.verify(&options).await;

        assert!(found.equal, "{case}");
        assert_eq!(stage.source_pages() < whole, goes_on, "{case}: {}", stage.source_pages());
        assert_eq!(files(stage.directory.path()), Vec::<std::path::PathBuf>::new(), "{case}");
    }
}

#[tokio::test]
async fn what_is_missing_is_published_and_extras_deleted_though_the_repair_was_interrupted() {
    const ITEMS: u64 = 2_000;
    let whole = VerifyOptions { repair: true, delete_extra: true, ..content() };
    let mut stage = Stage::of(0..ITEMS, 0..ITEMS + 20);
    stage.world.not_at_target = (100..150).collect();
    *stage.world.different_at_target.lock().unwrap() = (200..220).collect();
    // Two looks at what is missing or different, one at what is extra, and then the repair.
    let compared = 2 * (ITEMS / 500 + 1) + 2 * 70 + 20;
    stage.verify_until(compared + 20, &whole).await.unwrap_err();
    assert!(!stage.world.written.lock().unwrap().is_empty(), "it had begun to repair");
    assert!(stage.world.deleted.lock().unwrap().is_empty(), "and not ended");

    let found = stage.verify(&whole).await;

    assert!(found.equal, "{found:?}");
    assert_eq!(stage.world.written.lock().unwrap().len(), 70);
    assert_eq!(*stage.world.deleted.lock().unwrap(), (ITEMS..ITEMS + 20).collect());
    assert_eq!(stage.source_pages(), ITEMS / 500 + 1, "the first comparison was not done again");
    assert!(stage.looks() > 0);
}

#[tokio::test]
async fn files_that_no_comparison_goes_on_with_are_removed_by_the_next() {
    let mut stage = Stage::of(0..30_000, 0..30_000);
    stage.verify_until(50, &content()).await.unwrap_err();
    let before = files(stage.directory.path());
    assert!(!before.is_empty());

    stage.verify_until(50, &VerifyOptions::default()).await.unwrap_err();

    let after = files(stage.directory.path());
    assert!(!after.is_empty() && after.iter().all(|file| !before.contains(file)), "{after:?}");
}

#[tokio::test]
async fn no_natural_key_and_no_body_is_in_the_files_nor_is_their_key() {
    let mut stage = Stage::of(0..30_000, 0..30_000);
    stage.verify_until(70, &content()).await.unwrap_err();
    let key = stage.store.comparison(&pair_id()).await.unwrap().unwrap().key;

    let files = files(stage.directory.path());

    assert!(!files.is_empty());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|part| part == what);
        // Six bytes and more: keyed hashes are as good as random, and hold any three by chance.
        for what in
            [&b"uri://"[..], b"C10000", b"C17171", b"C29999", b"\"same\"", b"codeValue", &key.0]
        {
            assert!(!holds(what), "{} of {}", String::from_utf8_lossy(what), file.display());
        }
    }
}
