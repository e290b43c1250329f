//! `tidemark status`: a line of totals, then a row for each pair.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::daemon::Assembly;
use crate::daemon::status::{NobodyRuns, status};
use crate::desk::{PairCondition, PairStatus};

use super::arguments::{Output, StatusArguments};
use super::ask;
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::not_yet;
use super::show::{self, Column};

pub(super) async fn run(context: &Context, arguments: &StatusArguments) -> Result<Exit, Failure> {
    not_yet::option("--watch", arguments.watch)?;
    not_yet::option("--state", arguments.state.is_some())?;
    not_yet::option("--sort", arguments.sort.is_some())?;
    context.log_quietly()?;
    let (assembly, mut pairs) = here_or_from_the_daemon(context).await?;
    // Without a selector orphans are shown too.
    if !choose::says_nothing(&arguments.selector) {
        let chosen = choose::pairs(&assembly, &arguments.selector)?;
        pairs.retain(|status| {
            chosen.iter().any(|pair| {
                pair.id.publication == status.publication && pair.id.target == status.target
            })
        });
    }
    match context.output() {
        Output::Json => show::json("pairs", &pairs)?,
        Output::Text => show::answer(&text(&pairs, context.clock.now()))?,
    }
    Ok(Exit::Done)
}

/// The state is opened here, unless a daemon holds it: then it is asked, and knows what runs.
async fn here_or_from_the_daemon(
    context: &Context,
) -> Result<(Assembly, Vec<PairStatus>), Failure> {
    let locked = match context.assembly() {
        Ok(assembly) => {
            let pairs = status(&assembly, &NobodyRuns).await?;
            return Ok((assembly, pairs));
        }
        Err(failure) if failure.exit == Exit::Locked => failure,
        Err(failure) => return Err(failure),
    };
    let assembly = context.assembly_without_state()?;
    match ask::pairs(&assembly.config, context.clock.clone()).await {
        Some(pairs) => Ok((assembly, pairs)),
        None => Err(locked),
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
        let last_run = pair
            .last_run
            .as_ref()
            .map(|run| format!("{}, {}", run.outcome.as_str(), show::ago(now, run.ended_at)));
        vec![
            pair.publication.clone(),
            pair.target.clone(),
            pair.state.as_str().to_owned(),
            show::or_dash(pair.watermark),
            show::or_dash(pair.lag_versions),
            last_run.unwrap_or_else(|| "never".to_owned()),
            show::number(pair.parked),
            show::number(pair.dead),
            show::or_dash(pair.next_run_at.map(show::moment)),
        ]
    };
    let mut text = totals(pairs);
    text.push_str("\n\n");
    text.push_str(&show::table(&columns, pairs.iter().map(row).collect()));
    let reasons = pairs.iter().filter_map(|pair| {
        let reason = pair.reason.as_ref()?;
        let name = format!("{} → {}", pair.publication, pair.target);
        Some((name, format!("{}: {reason}", pair.state.as_str())))
    });
    for (pairs, reason) in show::told_once(reasons.collect()) {
        text.push_str(&format!("\n{pairs}\n  {reason}\n"));
    }
    text
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
        states.join(", "),
        show::number(parked),
        show::number(dead)
    )
}
