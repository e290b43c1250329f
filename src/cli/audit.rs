//! `tidemark audit`: who did what, when and why.

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::desk::{AuditEntry, Part};

use super::arguments::{AuditCommand, AuditListArguments, Output, Since};
use super::at_desk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::show::{self, Column};

pub(super) async fn run(context: &Context, command: AuditCommand) -> Result<Exit, Failure> {
    context.log_quietly()?;
    match command {
        AuditCommand::List(arguments) => list(context, &arguments).await,
    }
}

async fn list(context: &Context, arguments: &AuditListArguments) -> Result<Exit, Failure> {
    let since = arguments.since.map(|since| begins(since, context.clock.now())).transpose()?;
    let at = at_desk::desk(context).await?;
    let mut entries: Vec<AuditEntry> = Vec::new();
    let mut part = Part { after: None, limit: Part::LONGEST };
    loop {
        let page = at.desk.audit(&at.by, since, &part).await?;
        entries.extend(page.items);
        match page.next {
            Some(next) => part.after = Some(next),
            None => break,
        }
    }
    match context.output() {
        Output::Json => show::json_list(&entries)?,
        Output::Text if entries.is_empty() => show::answer("nothing is in the audit")?,
        Output::Text => show::answer(&table(&entries))?,
    }
    Ok(Exit::Done)
}

fn begins(since: Since, now: Timestamp) -> Result<Timestamp, Failure> {
    match since {
        Since::Moment(moment) => Ok(moment),
        Since::Before(duration) => TimeDelta::from_std(duration)
            .ok()
            .and_then(|gone| now.checked_sub_signed(gone))
            .ok_or_else(|| Failure::usage("`--since` reaches back further than time does")),
    }
}

fn table(entries: &[AuditEntry]) -> String {
    let columns = [
        Column::Text("when"),
        Column::Text("who"),
        Column::Text("did"),
        Column::Text("pair"),
        Column::Text("what"),
        Column::Text("why"),
    ];
    let row = |entry: &AuditEntry| {
        let pair = entry.publication.as_ref().zip(entry.target.as_ref());
        vec![
            show::moment(entry.at),
            entry.by.clone(),
            entry.action.clone(),
            show::or_dash(pair.map(|(publication, target)| format!("{publication} → {target}"))),
            entry.what.clone(),
            entry.reason.clone().unwrap_or_default(),
        ]
    };
    show::table(&columns, entries.iter().map(row).collect())
}
