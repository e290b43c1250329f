//! `tidemark plan`: what a run would do, without writing.

use futures_util::StreamExt;
use futures_util::stream;

use crate::engine::plan::{Plan, plan};
use crate::state::{PairId, StateView};

use super::arguments::{Output, PlanArguments};
use super::choose;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

pub(super) async fn run(context: &Context, arguments: &PlanArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let assembly = context.assembly()?;
    let pairs = choose::pairs(&assembly, &arguments.selector)?;
    context.require_secrets(&assembly.config, &pairs)?;
    let planning = pairs.iter().map(|pair| {
        let assembly = &assembly;
        async move { (pair, plan(&*assembly.store, pair).await) }
    });
    let at_once = assembly.config.server.max_running;
    let planned: Vec<_> = stream::iter(planning).buffered(at_once).collect().await;

    let mut plans = Vec::new();
    let mut exit = Exit::Done;
    for (pair, planned) in planned {
        match planned {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                show::error(&format!("{}: {}", pair.id, error.message()));
                exit = Exit::Failed;
            }
        }
    }
    match context.output() {
        Output::Json => show::json("plan", &plans)?,
        Output::Text => {
            let mut texts = Vec::new();
            for plan in &plans {
                texts.push(one(plan) + &waiting(&*assembly.store, plan).await?);
            }
            show::answer(&texts.join("\n"))?;
        }
    }
    Ok(exit)
}

/// Parked items are in no feed, and the next run tries them all the same.
async fn waiting(state: &dyn StateView, plan: &Plan) -> Result<String, Failure> {
    let pair = PairId { publication: plan.publication.clone(), target: plan.target.clone() };
    let parked = state.parked_counts(&pair).await?.parked;
    if parked == 0 {
        return Ok(String::new());
    }
    Ok(format!("and {} to be tried again\n", show::count(parked, "parked item")))
}

fn one(plan: &Plan) -> String {
    let pair = format!("{} → {}", plan.publication, plan.target);
    if plan.resources.is_empty() {
        let through = plan.window.through;
        return format!("{pair}: nothing to do: nothing is newer than version {through}\n");
    }
    let mut total = ["  in all".to_owned()].to_vec();
    let sum = |of: fn(&crate::engine::plan::PlannedResource) -> u64| {
        show::number(plan.resources.iter().map(of).sum())
    };
    total.extend([sum(|r| r.key_changes), sum(|r| r.upserts), sum(|r| r.deletes)]);
    let rows = plan.resources.iter().map(|resource| {
        vec![
            format!("  {}", resource.resource),
            show::number(resource.key_changes),
            show::number(resource.upserts),
            show::number(resource.deletes),
        ]
    });
    let columns = [
        Column::Text("  resource"),
        Column::Number("key changes"),
        Column::Number("upserts"),
        Column::Number("deletes"),
    ];
    let table = show::table(&columns, rows.chain([total]).collect());
    let time = plan.estimate_seconds.map_or(String::new(), |seconds| {
        let about = show::seconds(f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)));
        format!("\nabout {about}, if the target goes on answering as quickly as it did just now\n")
    });
    format!("{pair}: {}\n\n{table}{time}", show::window(&plan.window))
}
