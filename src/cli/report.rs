//! `tidemark report`: completeness, for the one who owns the data. Not a natural key in it.

use crate::clock::Timestamp;
use crate::desk::{PairCondition, Report, ReportedResource};

use super::arguments::{Output, ReportArguments};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};
use super::{at_desk, report_page};

/// Ends 0 when, as far as counting tells, every pair is whole, and 3 when something waits.
pub(super) async fn run(context: &Context, arguments: &ReportArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    let at = at_desk::desk(context).await?;
    let mut pairs = at.pairs(&arguments.selector).await?;
    pairs.retain(|pair| pair.state != PairCondition::Orphaned);
    let mut reports = Vec::new();
    for pair in &pairs {
        reports.push(at.desk.report(&at.by, &pair.id()).await?);
    }
    if context.wants_html() {
        show::answer(&report_page::page(&reports))?;
    } else if context.wants_csv() {
        show::answer(&csv(&reports))?;
    } else {
        match context.output() {
            Output::Json => show::json("report", &reports)?,
            Output::Text => {
                let now = context.clock.now();
                let texts: Vec<String> = reports.iter().map(|report| text(report, now)).collect();
                show::answer(&texts.join("\n"))?;
            }
        }
    }
    let waits = |resource: &ReportedResource| resource.parked + resource.dead > 0;
    let something_waits = reports.iter().any(|report| report.resources.iter().any(waits));
    Ok(if something_waits { Exit::Parked } else { Exit::Done })
}

/// The totals of a report.
pub(super) struct Totals {
    pub(super) source: u64,
    pub(super) target: u64,
    pub(super) parked: u64,
    pub(super) dead: u64,
    pub(super) excluded: u64,
    /// Resources with items that the configuration selects.
    pub(super) resources: u64,
    /// Those of them that count the same at both ends, with nothing waiting.
    pub(super) whole: u64,
}

pub(super) fn totals(report: &Report) -> Totals {
    let sum = |of: fn(&ReportedResource) -> u64| report.resources.iter().map(of).sum();
    let selected: Vec<_> = report.selected().filter(|resource| !resource.is_empty()).collect();
    Totals {
        source: report.selected().filter_map(|resource| resource.source).sum(),
        target: sum(|resource| resource.target.unwrap_or(0)),
        parked: sum(|resource| resource.parked),
        dead: sum(|resource| resource.dead),
        excluded: sum(|resource| resource.excluded),
        resources: show::many(selected.len()),
        whole: show::many(selected.iter().filter(|resource| resource.is_whole()).count()),
    }
}

/// The ones that are not whole first; those without items are left out.
pub(super) fn worth_a_row(report: &Report) -> Vec<&ReportedResource> {
    let mut rows: Vec<_> = report.selected().filter(|resource| !resource.is_empty()).collect();
    rows.sort_by_key(|resource| resource.is_whole());
    rows
}

/// `3,322 items of 198 resources`; `None` where the configuration leaves nothing out.
pub(super) fn left_out(report: &Report) -> Option<String> {
    let excluded: Vec<u64> = report
        .resources
        .iter()
        .filter(|resource| resource.is_excluded())
        .map(|resource| resource.excluded)
        .collect();
    (!excluded.is_empty()).then(|| {
        format!(
            "{} of {}",
            show::count(excluded.iter().sum(), "item"),
            show::count(show::many(excluded.len()), "resource")
        )
    })
}

/// `equal`, `NOT equal`, or `-` where nobody compared.
pub(super) fn comparison(resource: &ReportedResource) -> &'static str {
    match resource.was_equal() {
        Some(true) => "equal",
        Some(false) => "NOT equal",
        None => "-",
    }
}

/// When the oldest of the comparisons was, with which version, and whether under the configuration
/// in force.
pub(super) fn verified(report: &Report) -> String {
    let found = || report.resources.iter().filter_map(|resource| resource.verified.as_ref());
    let Some(oldest) = found().min_by_key(|verified| verified.at) else {
        return format!("never compared: tidemark verify {}", report.publication);
    };
    let other = match found().all(|verified| verified.configuration == report.configuration) {
        true => "the configuration in force",
        false => "another configuration than the one in force",
    };
    let what = if found().all(|verified| verified.content) { "keys and bodies" } else { "keys" };
    let equal =
        found().all(|one| one.missing + one.extra.unwrap_or(0) + one.different + one.parked == 0);
    format!(
        "{} compared {}{}: {}, by version {}, under {other} ({})",
        what,
        show::moment(oldest.at),
        oldest.watermark.map(|at| format!(" at watermark {at}")).unwrap_or_default(),
        if equal { "equal" } else { "NOT equal" },
        oldest.program,
        oldest.configuration
    )
}

fn text(report: &Report, now: Timestamp) -> String {
    let all = totals(report);
    let mut text = format!(
        "{} → {}: {} of {} whole\n  {} at the source, {} at the target, {} parked, {} dead, {} excluded\n",
        report.publication,
        report.target,
        show::number(all.whole),
        show::count(all.resources, "resource"),
        show::number(all.source),
        show::number(all.target),
        show::number(all.parked),
        show::number(all.dead),
        show::number(all.excluded)
    );
    let published = report.caught_up_at.map(|at| format!("caught up {}", show::ago(now, at)));
    let published = published.unwrap_or_else(|| "never caught up".to_owned());
    let at = report.watermark.map(|at| format!(", watermark {at}")).unwrap_or_default();
    text.push_str(&format!("  {published}{at}; configuration {}\n", report.configuration));
    text.push_str(&show::wrapped(&verified(report), "  ", "  "));
    let rows: Vec<Vec<String>> = worth_a_row(report).into_iter().map(row).collect();
    if !rows.is_empty() {
        let columns = [
            Column::Text("  resource"),
            Column::Number("source"),
            Column::Number("target"),
            Column::Number("parked"),
            Column::Number("dead"),
            Column::Text("verified"),
        ];
        text.push('\n');
        text.push_str(&show::table(&columns, rows));
    }
    if let Some(left_out) = left_out(report) {
        let left_out =
            format!("the configuration leaves out {left_out}; `--output csv` names them");
        text.push('\n');
        text.push_str(&show::wrapped(&left_out, "  ", "  "));
    }
    text
}

fn row(resource: &ReportedResource) -> Vec<String> {
    vec![
        format!("  {}", resource.resource),
        show::or_dash(resource.source.map(show::number)),
        show::or_dash(resource.target.map(show::number)),
        show::number(resource.parked),
        show::number(resource.dead),
        comparison(resource).to_owned(),
    ]
}

/// A row a resource, empty ones too; the members of the JSON as columns.
fn csv(reports: &[Report]) -> String {
    let columns = [
        "publication",
        "target",
        "resource",
        "source",
        "target_count",
        "parked",
        "dead",
        "excluded",
        "verified_at",
        "verified_version",
        "verified_configuration",
        "configuration",
        "verified_equal",
        "missing",
        "extra",
        "different",
    ];
    let rows = reports
        .iter()
        .flat_map(|report| report.resources.iter().map(move |resource| csv_row(report, resource)));
    show::csv(&columns, rows)
}

fn csv_row(report: &Report, resource: &ReportedResource) -> Vec<String> {
    let found = resource.verified.as_ref();
    let of = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
    vec![
        report.publication.clone(),
        report.target.clone(),
        resource.resource.to_string(),
        of(resource.source),
        of(resource.target),
        resource.parked.to_string(),
        resource.dead.to_string(),
        resource.excluded.to_string(),
        found.map(|found| show::moment(found.at)).unwrap_or_default(),
        found.map(|found| found.program.clone()).unwrap_or_default(),
        found.map(|found| found.configuration.clone()).unwrap_or_default(),
        report.configuration.clone(),
        resource.was_equal().map(|equal| equal.to_string()).unwrap_or_default(),
        of(found.map(|found| found.missing)),
        of(found.and_then(|found| found.extra)),
        of(found.map(|found| found.different)),
    ]
}
