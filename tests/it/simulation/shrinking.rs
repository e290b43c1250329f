//! Makes a history that goes wrong smaller, as long as it goes wrong.

use super::history::{History, Step, Trouble};
use super::play::play;
use super::stage::Ends;

/// Histories that are played at most to find a smaller one.
const TRIES: usize = 400;

/// The smallest history found, and what is wrong with it.
pub(super) async fn shrink(ends: &mut Ends, found: History, why: String) -> (History, String) {
    let mut best = (found, why);
    let mut tries = 0;
    loop {
        let mut smaller = None;
        for candidate in candidates(&best.0) {
            tries += 1;
            if tries > TRIES {
                return best;
            }
            if let Err(why) = play(ends, &candidate).await {
                smaller = Some((candidate, why));
                break;
            }
        }
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Everything that is one thing less, large parts first.
fn candidates(history: &History) -> Vec<History> {
    let mut all = Vec::new();
    let mut with = |steps: Vec<Step>| all.push(History { frame: history.frame, steps });
    let steps = &history.steps;
    for size in [8, 4, 2, 1] {
        if size > steps.len() {
            continue;
        }
        for start in (0..=steps.len() - size).rev().step_by(size) {
            let mut fewer = steps.clone();
            fewer.drain(start..start + size);
            with(fewer);
        }
    }
    for (position, step) in steps.iter().enumerate() {
        let mut instead = |step: Step| {
            let mut steps = steps.clone();
            steps[position] = step;
            with(steps);
        };
        match step {
            Step::Run(troubles) => {
                for number in 0..troubles.len() {
                    let mut fewer = troubles.clone();
                    fewer.remove(number);
                    instead(Step::Run(fewer));
                    if let Trouble::Meanwhile(moment, edits) | Trouble::Renewed(moment, edits) =
                        &troubles[number]
                    {
                        for edit in 0..edits.len() {
                            let mut edits = edits.clone();
                            edits.remove(edit);
                            let mut troubles = troubles.clone();
                            troubles[number] = match troubles[number] {
                                Trouble::Renewed(..) => Trouble::Renewed(*moment, edits),
                                _ => Trouble::Meanwhile(*moment, edits),
                            };
                            instead(Step::Run(troubles));
                        }
                    }
                }
            }
            Step::Put(thing, content) if *content > 1 => instead(Step::Put(*thing, 1)),
            Step::Put(..) | Step::Delete(_) | Step::Rename(..) => {}
        }
    }
    all
}
