//! The model: random histories against the real engine, with simulated databases behind seams in
//! memory, so that thousands of histories cost what a few cost over a wire.
//!
//! What can happen is a reference state machine ([`machine`]) that knows what lives at the source
//! ([`district`]); what happens is played ([`play`]) with an oracle after every run ([`oracle`]);
//! a history that goes wrong is made smaller and printed. `tests/it/simulation` plays fewer
//! histories over real HTTP: what both ends say on the wire is its matter, not that of this one.
//!
//! `TIDEMARK_HISTORIES` says how many are played, or `TIDEMARK_MINUTES` how long; `TIDEMARK_SEED` with
//! which seed they begin, `TIDEMARK_TRIES` how many are played at most to make a wrong one smaller.

mod district;
mod elsewhere;
mod ends;
mod generator;
mod machine;
mod oracle;
mod people;
mod play;
mod regressions;
mod script;
mod source;
mod target;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use machine::{Frame, Machine, State, Transition};

/// Whether transactions may commit below a version that is visible already (R14 to R16). What they
/// write is lost without an overlap.
const LATE_COMMITS: bool = true;

/// Histories of an ordinary run of the tests.
const HISTORIES: u64 = 3_000;
/// Histories drawn from one seed: those of a seed that failed are not played to the end.
const IN_A_BATCH: u64 = 50;
const PLAYERS: usize = 2;
/// Wrong histories after which no more are looked for, unless it was told how long to look.
const ENOUGH: usize = 3;
/// Histories that are played at most to make one smaller.
const TRIES: u64 = 3_000;

/// A history that went wrong.
struct Wrong {
    seed: u64,
    /// How many had been played before it.
    played: u64,
    why: String,
    state: State,
    history: Vec<Transition>,
}

#[test]
fn every_history_of_the_model_ends_in_agreement() {
    let first = number("TIDEMARK_SEED", 1);
    let (histories, longest, enough) = match std::env::var_os("TIDEMARK_MINUTES") {
        Some(_) => (u64::MAX, Duration::from_mins(number("TIDEMARK_MINUTES", 0)), usize::MAX),
        None => (number("TIDEMARK_HISTORIES", HISTORIES), Duration::MAX, ENOUGH),
    };
    let next = AtomicU64::new(0);
    let played = AtomicU64::new(0);
    let wrong = Mutex::new(Vec::new());
    let began = Instant::now();

    std::thread::scope(|threads| {
        for _ in 0..PLAYERS {
            threads.spawn(|| {
                loop {
                    let batch = next.fetch_add(1, Ordering::Relaxed);
                    if batch * IN_A_BATCH >= histories
                        || began.elapsed() >= longest
                        || wrong.lock().unwrap().len() >= enough
                    {
                        return;
                    }
                    if let Err(found) = play_batch(first + batch, &played) {
                        // At once: a soak may be ended before it ends.
                        println!("{found}");
                        wrong.lock().unwrap().push(found);
                    }
                }
            });
        }
    });

    let played = played.into_inner();
    let seconds = began.elapsed().as_secs_f64();
    let wrong = wrong.into_inner().unwrap();
    println!(
        "account: {played} histories of the model in {seconds:.0} s, {:.0} a second, \
         from seed {first}; {} wrong",
        played as f64 / seconds,
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} histories went wrong; see above", wrong.len());
}

/// The histories of one seed.
fn play_batch(seed: u64, played: &AtomicU64) -> Result<(), Box<Wrong>> {
    let config = Config {
        cases: u32::try_from(IN_A_BATCH).expect("a batch is small"),
        failure_persistence: None,
        max_shrink_iters: u32::try_from(number("TIDEMARK_TRIES", TRIES)).unwrap(),
        ..Config::default()
    };
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &entropy);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = runtime();
    // Shrinking is not playing.
    let found_at = AtomicU64::new(0);

    let ended = runner.run(&Machine::sequential_strategy(1..24), |(state, history, seen)| {
        if found_at.load(Ordering::Relaxed) == 0 {
            played.fetch_add(1, Ordering::Relaxed);
        }
        let did = || {
            if let Some(seen) = &seen {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        };
        let verdict = runtime.block_on(play::play(&state, &history, did));
        if verdict.is_err() {
            let now = played.load(Ordering::Relaxed);
            let _ = found_at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
        verdict.map_err(TestCaseError::fail)
    });
    match ended {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, (state, history, _))) => Err(Box::new(Wrong {
            seed,
            played: found_at.into_inner(),
            why: why.message().to_owned(),
            state,
            history,
        })),
        Err(TestError::Abort(why)) => panic!("no history could be drawn: {why}"),
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "history {} (seed {}) went wrong: {}", self.played, self.seed, self.why)?;
        writeln!(f, "assert_agrees({:?}, &[", self.state.frame)?;
        for transition in &self.history {
            writeln!(f, "    {},", format!("{transition:?}").replace('[', "vec!["))?;
        }
        write!(f, "]);")
    }
}

/// Plays a history that was written by hand.
#[track_caller]
fn assert_agrees(frame: Frame, history: &[Transition]) {
    let state = State::beginning(frame);
    let verdict = runtime().block_on(play::play(&state, history, || {}));
    assert_eq!(verdict, Ok(()), "{history:?}");
}

/// One thread, so that a history is the same whenever it is played.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a whole number"),
        Err(_) => default,
    }
}
