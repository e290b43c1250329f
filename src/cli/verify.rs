//! `tidemark verify`: compares source and target; 0 only when they are equal.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::daemon::desk::FleetDesk;
use crate::daemon::{self, Assembly, comparisons};
use crate::desk::{Comparing, DeskError, ResourceCompared, VerificationShown};
use crate::engine::verify::{Verification, verify};
use crate::engine::{Pair, RunError};
use crate::state::PairId;

use super::arguments::{Output, VerifyArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};
use super::signals::Signals;
use super::{at_desk, choose, verify_there};

pub(super) async fn run(context: &Context, arguments: VerifyArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let signals = Signals::listen()?;
    if context.server()?.is_some() {
        let at = at_desk::desk(context).await?;
        return verify_there::run(context, &at, &arguments, signals).await;
    }
    match context.assembly() {
        Ok(assembly) => run_here(context, assembly, &arguments, signals).await,
        Err(locked) if locked.exit == Exit::Locked => {
            let at = at_desk::of_the_daemon(context, locked).await?;
            verify_there::run(context, &at, &arguments, signals).await
        }
        Err(failure) => Err(failure),
    }
}

impl VerifyArguments {
    pub(super) fn writes(&self) -> bool {
        self.repair || self.delete_extra
    }

    pub(super) fn comparing(&self) -> Comparing {
        Comparing {
            resources: self.resources.clone(),
            content: self.content,
            repair: self.repair,
            delete_extra: self.delete_extra,
            allow_deletes: self.allow_deletes,
        }
    }
}

async fn run_here(
    context: &Context,
    assembly: Assembly,
    arguments: &VerifyArguments,
    signals: Signals,
) -> Result<Exit, Failure> {
    let pairs = if arguments.writes() && !choose::says_nothing(&arguments.selector) {
        choose::pairs_to_change(&assembly, &arguments.selector, arguments.yes, "`verify --repair`")?
    } else {
        choose::pairs(&assembly, &arguments.selector)?
    };
    refuse_to_write_to_many(arguments, pairs.len())?;
    context.require_secrets(&assembly.config, &pairs)?;

    let stop = CancellationToken::new();
    let desk = FleetDesk::new(Arc::new(assembly), None);
    let wanted = arguments.comparing();
    let work = verify_all(&desk, &pairs, &wanted, &stop);
    let verified = signals.heeding(&stop, || show::note("stopping"), work).await?;
    answer(context, &verified, pairs.len())
}

pub(super) fn refuse_to_write_to_many(
    arguments: &VerifyArguments,
    pairs: usize,
) -> Result<(), Failure> {
    match arguments.writes() && pairs > 1 && !arguments.yes {
        true => Err(Failure::usage(format!(
            "that would write to the targets of {pairs} pairs; add `--yes` if that is meant"
        ))),
        false => Ok(()),
    }
}

/// Of so many pairs these could be compared.
pub(super) fn answer(
    context: &Context,
    verified: &[VerificationShown],
    pairs: usize,
) -> Result<Exit, Failure> {
    let all_equal = verified.len() == pairs && verified.iter().all(|found| found.equal);
    match context.output() {
        Output::Json => show::json("verify", &verified.iter().map(Told::of).collect::<Vec<_>>())?,
        Output::Text => {
            show::answer(&verified.iter().map(one).collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(if all_equal { Exit::Done } else { Exit::Failed })
}

/// As the contract shapes it.
#[derive(Serialize)]
struct Told<'a> {
    publication: &'a str,
    target: &'a str,
    equal: bool,
    resources: &'a [ResourceCompared],
}

impl Told<'_> {
    fn of(found: &VerificationShown) -> Told<'_> {
        let VerificationShown { publication, target, equal, resources, .. } = found;
        Told { publication, target, equal: *equal, resources }
    }
}

/// As many pairs at once as may run, told of in order. A pair that cannot be compared is said so and
/// left out.
async fn verify_all(
    desk: &FleetDesk,
    pairs: &[Pair],
    wanted: &Comparing,
    stop: &CancellationToken,
) -> Result<Vec<VerificationShown>, Failure> {
    let assembly = desk.assembly();
    let comparing = pairs.iter().map(|pair| async move {
        // What had not begun is left as it is.
        if stop.is_cancelled() {
            return Ok(None);
        }
        let compared = verify_one(desk, pair, wanted, stop).await;
        Ok(Some((&pair.id, compared?)))
    });
    let at_once = assembly.config.server.max_running;
    let mut comparing = stream::iter(comparing).buffered(at_once);
    let mut verified = Vec::new();
    while let Some(compared) = comparing.next().await {
        let compared: Result<_, DeskError> = compared;
        let Some((id, compared)) = compared? else { continue };
        match compared {
            Ok(verification) => {
                went_on(id, verification.goes_on_from);
                verified.push(comparisons::shown(&verification, assembly.clock.now()));
            }
            Err(RunError::Interrupted) => show::error(&format!(
                "{id}: interrupted before it was compared; the same command goes on from here"
            )),
            Err(error) => show::error(&format!("{id}: {}", error.message())),
        }
    }
    Ok(verified)
}

async fn verify_one(
    desk: &FleetDesk,
    pair: &Pair,
    wanted: &Comparing,
    stop: &CancellationToken,
) -> Result<Result<Verification, RunError>, DeskError> {
    let assembly = desk.assembly();
    let options = desk.options_of(pair, wanted).await?;
    let around = assembly.surroundings(Vec::new(), stop.clone());
    let directory = daemon::spool_directory(&assembly.config);
    Ok(verify(&around, pair, &options, &directory).await)
}

pub(super) fn went_on(pair: &PairId, from: Option<crate::clock::Timestamp>) {
    if let Some(began) = from {
        let began = began.format("%Y-%m-%d %H:%M UTC");
        show::note(&format!("{pair}: went on with a comparison begun {began}"));
    }
}

/// The sums, then the resources that differ; the others are only counted.
fn one(verification: &VerificationShown) -> String {
    let pair = format!("{} → {}", verification.publication, verification.target);
    let items = verification.resources.iter().map(|resource| resource.source).sum();
    let compared = format!(
        "{} of {}",
        show::count(items, "item"),
        show::count(show::many(verification.resources.len()), "resource")
    );
    if verification.equal {
        return format!("{pair}: equal: {compared}\n");
    }
    let differs = |resource: &&ResourceCompared| {
        let ResourceCompared { missing, extra, different, parked, .. } = resource;
        missing + extra.unwrap_or(0) + different + parked > 0
    };
    let rows = verification.resources.iter().filter(differs).map(|resource| {
        vec![
            format!("  {}", resource.resource),
            show::number(resource.source),
            show::number(resource.target),
            show::number(resource.missing),
            show::or_dash(resource.extra.map(show::number)),
            show::number(resource.different),
            show::number(resource.parked),
        ]
    });
    let columns = [
        Column::Text("  resource"),
        Column::Number("source"),
        Column::Number("target"),
        Column::Number("missing"),
        Column::Number("extra"),
        Column::Number("different"),
        Column::Number("parked"),
    ];
    let table = show::table(&columns, rows.collect());
    let next = if verification.resources.iter().any(|r| r.missing + r.different > 0) {
        format!(
            "\nto publish what is missing or different: tidemark verify {} --target {} --repair\n",
            verification.publication, verification.target
        )
    } else if verification.resources.iter().any(|r| r.parked > 0) {
        "\nwhat is missing is parked: see `tidemark parked list`\n".to_owned()
    } else {
        String::new()
    };
    format!("{pair}: NOT equal: {compared}\n\n{table}{next}")
}
