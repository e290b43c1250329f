//! Random histories: a source that is edited, runs in which things go wrong, and at the end a
//! target that has to agree (I6), with invariants that have to hold in every run (I2, I8, I14).
//!
//! A history is drawn from a seed ([`generator`]), played over real HTTP ([`play`]), and made
//! smaller when it goes wrong ([`shrinking`]); what is left belongs into [`regressions`].
//!
//! `TIDEMARK_HISTORIES` says how many are played, `TIDEMARK_SEED` with which seed they begin.

pub(crate) mod district;
mod generator;
pub(crate) mod history;
mod play;
mod regressions;
mod shrinking;
mod stage;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tidemark::sandbox::Sandbox;

use history::{History, Step, Thing};
use stage::Ends;

/// Histories of an ordinary run of the tests.
const HISTORIES: u64 = 120;
/// More than there are cores: much of a history is waiting before a request is sent again.
const PLAYERS: usize = 8;

#[test]
fn every_history_ends_in_agreement() {
    let first = number("TIDEMARK_SEED", 1);
    let last = first + number("TIDEMARK_HISTORIES", HISTORIES);
    let next = AtomicU64::new(first);
    let wrong = Mutex::new(Vec::new());

    std::thread::scope(|threads| {
        for _ in 0..PLAYERS {
            threads.spawn(|| {
                block_on(async {
                    let mut ends = Ends::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= last || wrong.lock().unwrap().len() >= 3 {
                            return;
                        }
                        let history = generator::history(seed);
                        if let Err(why) = play::play(&mut ends, &history).await {
                            eprintln!("seed {seed} went wrong, and is being made smaller: {why}");
                            let small = shrinking::shrink(&mut ends, history, why).await;
                            wrong.lock().unwrap().push((seed, small));
                        }
                    }
                });
            });
        }
    });

    let wrong = wrong.into_inner().unwrap();
    for (seed, (history, why)) in &wrong {
        eprintln!("seed {seed}: {why}\n{history}\n");
    }
    assert!(wrong.is_empty(), "{} histories went wrong; see above", wrong.len());
}

/// Puts in what every history needs.
pub(crate) fn begin(source: &Sandbox) {
    district::begin(source, true);
}

/// Takes out all that histories put in.
pub(crate) fn empty(target: &Sandbox) {
    district::begin(target, false);
}

/// Edits a source as the history of a seed does, descriptors apart.
pub(crate) fn edit_at_random(source: &Sandbox, seed: u64) {
    for step in generator::history(seed).steps {
        if !matches!(step, Step::Run(_) | Step::Put(Thing::GradeLevel(_), _)) {
            district::edit(source, &step);
        }
    }
}

/// Renames what a source has, many times over.
pub(crate) fn rename_at_random(source: &Sandbox, seed: u64) {
    for step in generator::renames(seed) {
        district::edit(source, &step);
    }
}

/// The first item of a source that has not changed since a version and is not at the target.
pub(crate) fn unsettled(source: &Sandbox, target: &Sandbox, through: i64) -> Option<String> {
    for collection in published() {
        let path = format!("/ed-fi/{collection}");
        for item in source.items(&path) {
            let key = source.key_of(&path, &item)?;
            let is_settled = target.item(&path, &key).as_ref() == Some(&item);
            if source.version(&path, &key)? <= through && !is_settled {
                return Some(format!("{collection} {}", stage::spelt(&key)));
            }
        }
    }
    None
}

/// The collections that histories publish, descriptors apart.
pub(crate) fn published() -> Vec<&'static str> {
    let all = district::COLLECTIONS.into_iter().chain(district::BESIDE);
    all.filter(|collection| !collection.ends_with("Descriptors")).collect()
}

/// The first item in which two ends differ.
pub(crate) fn disagreement(source: &Sandbox, target: &Sandbox) -> Option<String> {
    let (source, target) = (stage::everything(source), stage::everything(target));
    let keys = source.keys().chain(target.keys());
    let mut published = keys.filter(|(collection, _)| !collection.ends_with("Descriptors"));
    let differs = published.find(|key| source.get(*key) != target.get(*key));
    differs.map(|(collection, key)| format!("{collection} {key}"))
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => default,
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// Plays a history that once went wrong.
#[track_caller]
fn assert_agrees(history: &History) {
    let verdict = block_on(play::play(&mut Ends::default(), history));
    assert_eq!(verdict, Ok(()), "{history}");
}
