//! `tidemark plan`: what a run would do, without writing.

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;

use crate::desk::{PairCondition, PairStatus, PlanShown, ResourcePlanned};
use crate::domain::Window;

use super::arguments::{Output, PlanArguments};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

/// Pairs planned at once.
const AT_ONCE: usize = 32;

pub(super) async fn run(context: &Context, arguments: &PlanArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let at = at_desk::desk(context).await?;
    let mut pairs = at.pairs(&arguments.selector).await?;
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    let ids: Vec<_> = pairs.iter().map(PairStatus::id).collect();
    let planning = ids.iter().map(|id| {
        let at = &at;
        async move { (id, at.desk.plan(&at.by, id).await) }
    });
    let planned: Vec<_> = stream::iter(planning).buffered(AT_ONCE).collect().await;

    let mut plans = Vec::new();
    let mut exit = Exit::Done;
    for (id, planned) in planned {
        match planned {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                let failure = Failure::from(error);
                show::error(&format!("{id}: {}", failure.message));
                exit = failure.exit;
            }
        }
    }
    match context.output() {
        Output::Json => show::json("plan", &plans.iter().map(Told::of).collect::<Vec<_>>())?,
        Output::Text => show::answer(&plans.iter().map(one).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(exit)
}

/// As the contract shapes it: the rest is for people.
#[derive(Serialize)]
struct Told<'a> {
    publication: &'a str,
    target: &'a str,
    window: Window,
    resources: &'a [ResourcePlanned],
}

impl Told<'_> {
    fn of(plan: &PlanShown) -> Told<'_> {
        let PlanShown { publication, target, window, resources, .. } = plan;
        Told { publication, target, window: *window, resources }
    }
}

fn one(plan: &PlanShown) -> String {
    let pair = format!("{} → {}", plan.publication, plan.target);
    if plan.resources.is_empty() {
        let through = plan.window.through;
        let waiting = waiting(plan);
        return format!(
            "{pair}: nothing to do: nothing is newer than version {through}\n{waiting}"
        );
    }
    let mut total = ["  in all".to_owned()].to_vec();
    let sum = |of: fn(&ResourcePlanned) -> u64| show::number(plan.resources.iter().map(of).sum());
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
    format!("{pair}: {}\n\n{table}{time}{}", show::window(&plan.window), waiting(plan))
}

/// Parked items are in no feed, and the next run tries them all the same.
fn waiting(plan: &PlanShown) -> String {
    match plan.parked {
        0 => String::new(),
        parked => format!("and {} to be tried again\n", show::count(parked, "parked item")),
    }
}
