//! `tidemark status`: a line of totals, then a row for each pair.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::desk::{PairCondition, PairStatus, ProcessStatus, RefusedConfiguration};
use crate::domain::Outcome;

use super::arguments::{Output, Sort, StatusArguments};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};
use super::signals::Signals;

/// From one look of `--watch` to the next.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// With more pairs than this the worst come first, unless somebody says otherwise.
const READ_AT_A_GLANCE: usize = 10;

pub(super) async fn run(context: &Context, arguments: &StatusArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let states = states(&arguments.state)?;
    if arguments.watch {
        return watch(context, arguments, &states).await;
    }
    let (process, pairs) = statuses(context, arguments).await?;
    show::answer(&answer(context, arguments, &states, &process, pairs)?)?;
    Ok(Exit::Done)
}

/// Looks again and again until it is interrupted. The state is let go of between two looks, so that
/// runs can begin; one that holds it is waited for.
async fn watch(
    context: &Context,
    arguments: &StatusArguments,
    states: &[PairCondition],
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    loop {
        let text = match statuses(context, arguments).await {
            Ok((process, pairs)) => answer(context, arguments, states, &process, pairs)?,
            Err(locked) if locked.exit == Exit::Locked => format!("{}\n", locked.message),
            Err(failure) => return Err(failure),
        };
        let is_screen = io::stdout().is_terminal();
        // Home, then what is left of the screen: the old rows stay until new ones are there.
        let text = if is_screen { format!("\u{1b}[H\u{1b}[2J{text}") } else { text };
        show::answer(&text)?;
        tokio::select! {
            () = signals.received() => return Ok(Exit::Done),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn statuses(
    context: &Context,
    arguments: &StatusArguments,
) -> Result<(ProcessStatus, Vec<PairStatus>), Failure> {
    let at = at_desk::desk(context).await?;
    Ok((at.desk.process(&at.by).await?, at.pairs(&arguments.selector).await?))
}

fn answer(
    context: &Context,
    arguments: &StatusArguments,
    states: &[PairCondition],
    process: &ProcessStatus,
    mut pairs: Vec<PairStatus>,
) -> Result<String, Failure> {
    if !states.is_empty() {
        pairs.retain(|pair| states.contains(&pair.state));
    }
    let now = context.clock.now();
    match (arguments.sort, context.output()) {
        (Some(by), _) => sort(&mut pairs, by, now),
        (None, Output::Text) if pairs.len() > READ_AT_A_GLANCE => {
            sort(&mut pairs, Sort::Worst, now);
        }
        (None, _) => {}
    }
    match context.output() {
        Output::Json => show::json_object_text(&Shown {
            pairs: &pairs,
            refused_configuration: process.refused_configuration.as_ref(),
        }),
        Output::Text => Ok(refused(process, now) + &text(&pairs, now)),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    pairs: &'a [PairStatus],
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_configuration: Option<&'a RefusedConfiguration>,
}

/// What is wrong with the configuration on disk, before everything else: what is shown below is not
/// what somebody has written since.
fn refused(process: &ProcessStatus, now: Timestamp) -> String {
    let Some(refused) = &process.refused_configuration else { return String::new() };
    let mut text = format!(
        "the configuration on disk was refused {}, and the last good one is in force:\n",
        show::ago(now, refused.since)
    );
    for problem in &refused.problems {
        text.push_str(&format!("  {problem}\n"));
    }
    text.push('\n');
    text
}

fn states(words: &[String]) -> Result<Vec<PairCondition>, Failure> {
    let state = |word: &String| {
        let known = serde_json::from_value(serde_json::Value::String(word.clone()));
        known.map_err(|_| {
            Failure::usage(format!(
                "there is no state `{word}`: {} are known",
                PairCondition::WORDS.join(", ")
            ))
        })
    };
    words.iter().map(state).collect()
}

/// Pairs that are alike stay in order of name.
fn sort(pairs: &mut [PairStatus], by: Sort, now: Timestamp) {
    let age =
        |moment: Option<Timestamp>| moment.map_or(i64::MAX, |then| (now - then).num_seconds());
    match by {
        Sort::Name => {}
        Sort::Worst => {
            pairs.sort_by_key(|pair| (pair.state.badness(), Reverse(pair.parked + pair.dead)))
        }
        Sort::Lag => pairs.sort_by_key(|pair| Reverse(pair.lag_versions.unwrap_or(i64::MAX))),
        Sort::Parked => pairs.sort_by_key(|pair| Reverse(pair.parked + pair.dead)),
        Sort::LastRun => {
            pairs.sort_by_key(|pair| Reverse(age(pair.last_run.as_ref().map(|run| run.ended_at))));
        }
        Sort::NextRun => pairs.sort_by_key(|pair| (pair.next_run_at.is_none(), pair.next_run_at)),
    }
}

fn text(pairs: &[PairStatus], now: Timestamp) -> String {
    let columns = [
        Column::Text("publication"),
        Column::Text("target"),
        Column::Text("state"),
        Column::Number("watermark"),
        Column::Number("lag"),
        Column::Text("last run"),
        Column::Number("parked"),
        Column::Number("dead"),
        Column::Text("next run"),
    ];
    let row = |pair: &PairStatus| {
        vec![
            pair.publication.clone(),
            pair.target.clone(),
            pair.state.as_str().to_owned(),
            show::or_dash(pair.watermark),
            show::or_dash(pair.lag_versions),
            last_run(pair, now),
            show::number(pair.parked),
            show::number(pair.dead),
            show::or_dash(pair.next_run_at.map(|next| show::until(now, next))),
        ]
    };
    let mut text = totals(pairs);
    text.push_str("\n\n");
    text.push_str(&show::table(&columns, pairs.iter().map(row).collect()));
    for (pairs, reason) in show::told_once(reasons(pairs)) {
        text.push_str(&format!("\n{pairs}\n  {reason}\n"));
    }
    if let Some(failing) = pairs.iter().find(|pair| pair.state == PairCondition::Failing) {
        let name = &failing.publication;
        text.push_str(&format!(
            "\nWhat fails is tried again by itself where that may help. `tidemark check {name}` looks \
             whether it would succeed now; `tidemark run {name}` does not wait\n"
        ));
    }
    text
}

/// Why pairs are blocked, failing or waiting, each with its name.
fn reasons(pairs: &[PairStatus]) -> Vec<(String, String)> {
    let told = pairs.iter().filter_map(|pair| {
        let reason = pair.reason.as_ref()?;
        let name = format!("{} → {}", pair.publication, pair.target);
        Some((name, format!("{}: {reason}", pair.state.as_str())))
    });
    told.collect()
}

/// The outcome only where it is not what one hopes for: the state says the rest.
fn last_run(pair: &PairStatus, now: Timestamp) -> String {
    let Some(run) = &pair.last_run else { return "never".to_owned() };
    let ago = show::ago(now, run.ended_at);
    match run.outcome {
        Outcome::Failed => format!("failed {ago}"),
        Outcome::Complete | Outcome::Parked | Outcome::NothingToDo => ago,
    }
}

/// `3 pairs: 2 ok, 1 failing; 4 parked, 1 dead`
fn totals(pairs: &[PairStatus]) -> String {
    let mut states: BTreeMap<PairCondition, u64> = BTreeMap::new();
    for pair in pairs {
        *states.entry(pair.state).or_default() += 1;
    }
    let states: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    let parked = pairs.iter().map(|pair| pair.parked).sum();
    let dead = pairs.iter().map(|pair| pair.dead).sum();
    format!(
        "{}: {}; {} parked, {} dead",
        show::count(show::many(pairs.len()), "pair"),
        if states.is_empty() { "none".to_owned() } else { states.join(", ") },
        show::number(parked),
        show::number(dead)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, state: PairCondition, parked: u64, lag: Option<i64>) -> PairStatus {
        PairStatus {
            publication: name.to_owned(),
            target: "state".to_owned(),
            labels: BTreeMap::new(),
            state,
            reason: None,
            watermark: None,
            newest: None,
            lag_versions: lag,
            caught_up_at: None,
            run_id: None,
            failed_runs: 0,
            last_run: None,
            parked,
            dead: 0,
            next_run_at: None,
            measured: Default::default(),
        }
    }

    fn sorted(by: Sort) -> Vec<String> {
        let mut pairs = vec![
            pair("a", PairCondition::Ok, 0, Some(3)),
            pair("b", PairCondition::Degraded, 2, Some(0)),
            pair("c", PairCondition::Blocked, 0, None),
            pair("d", PairCondition::Degraded, 9, Some(5)),
            pair("e", PairCondition::Failing, 0, Some(1)),
        ];
        sort(&mut pairs, by, Timestamp::UNIX_EPOCH);
        pairs.into_iter().map(|pair| pair.publication).collect()
    }

    #[test]
    fn what_wants_a_person_most_comes_first() {
        assert_eq!(sorted(Sort::Worst), ["c", "e", "d", "b", "a"]);
        assert_eq!(sorted(Sort::Lag), ["c", "d", "a", "e", "b"], "an unknown lag is the worst");
        assert_eq!(sorted(Sort::Parked), ["d", "b", "a", "c", "e"]);
        assert_eq!(sorted(Sort::Name), ["a", "b", "c", "d", "e"]);
    }
}
