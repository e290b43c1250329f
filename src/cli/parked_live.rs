//! `tidemark parked show --live` and `parked retry --show`: an item as it is now. Bodies are printed,
//! and kept nowhere.

use crate::desk::{AttemptOutcome, Attempted, LiveEnd, LiveItem, Shows, advice};

use super::arguments::Output;
use super::at_desk::AtDesk;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::parked::{one, short, with_the_way_on};
use super::show;

pub(super) async fn look(context: &Context, at: &AtDesk, ids: &[String]) -> Result<Exit, Failure> {
    let mut items = Vec::new();
    for id in ids {
        items.push(at.desk.look(&at.by, id).await.map_err(with_the_way_on)?);
    }
    match context.output() {
        Output::Json => show::json_list(&items)?,
        Output::Text => {
            show::answer(&items.iter().map(both_ends).collect::<Vec<_>>().join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn both_ends(live: &LiveItem) -> String {
    let mut text = one(&live.item);
    text.push_str(&end("the source", &live.source));
    text.push_str(&end("the target", &live.target));
    text
}

fn end(name: &str, end: &LiveEnd) -> String {
    let what = match end.shows {
        Shows::Item => "shows:",
        Shows::Nothing => "does not have it",
        Shows::Hidden => "does not show it to these credentials",
        Shows::Doubtful => "shows something that is not surely it: look at it there",
        Shows::NotAsked => "was not asked: its key is not known",
    };
    let body = end.body.as_ref().map(|body| indented(body.get())).unwrap_or_default();
    format!("\n{name} {what}\n{body}")
}

/// A member a line, every value as it was spelt.
fn indented(json: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut in_text, mut escaped) = (1, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    out.push_str("  ");
    for letter in json.trim().chars() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            out.push(letter);
            continue;
        }
        match letter {
            '{' | '[' => {
                depth += 1;
                out.push(letter);
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_whitespace() => {}
            '"' => {
                in_text = true;
                out.push(letter);
            }
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}

/// One attempt of each; ends 0 only when the target took them all.
pub(super) async fn try_once(
    context: &Context,
    at: &AtDesk,
    ids: &[String],
) -> Result<Exit, Failure> {
    if ids.is_empty() {
        return Err(Failure::usage("`parked retry --show` wants the ID of an item"));
    }
    let mut attempts = Vec::new();
    for id in ids {
        attempts.push(at.desk.attempt(&at.by, id).await.map_err(with_the_way_on)?);
    }
    match context.output() {
        Output::Json => show::json_list(&attempts)?,
        Output::Text => {
            show::answer(&attempts.iter().map(tried).collect::<Vec<_>>().join("\n"))?;
        }
    }
    let taken = |attempt: &Attempted| match attempt.outcome {
        AttemptOutcome::Applied | AttemptOutcome::Skipped => true,
        AttemptOutcome::Refused | AttemptOutcome::WaitsForRun => false,
    };
    Ok(if attempts.iter().all(taken) { Exit::Done } else { Exit::Parked })
}

fn tried(attempt: &Attempted) -> String {
    let item = format!("{} of {}", short(&attempt.item.id), attempt.item.resource);
    match attempt.outcome {
        AttemptOutcome::Applied => format!(
            "{item}: the target took it; the next run finds it so and settles the record: tidemark \
             run {}\n",
            attempt.item.publication
        ),
        AttemptOutcome::Skipped => format!(
            "{item}: there was nothing to write: it has gone at the source, or belongs to somebody \
             else\n"
        ),
        AttemptOutcome::WaitsForRun => format!(
            "{item}: only a run can try it, in its turn among the others: tidemark parked retry {}\n",
            short(&attempt.item.id)
        ),
        AttemptOutcome::Refused => refused(&item, attempt),
    }
}

fn refused(item: &str, attempt: &Attempted) -> String {
    let reason = attempt.reason.unwrap_or(attempt.item.reason);
    let mut text = format!("{item}: refused: {}\n", reason.as_str());
    if let Some(error) = &attempt.error {
        if error.status > 0 {
            text.push_str(&format!("  target's status  {}\n", error.status));
        }
        if let Some(kind) = &error.kind {
            text.push_str(&format!("  type             {kind}\n"));
        }
        if !error.members.is_empty() {
            text.push_str(&format!("  members          {}\n", error.members.join(", ")));
        }
        if let Some(detail) = &error.detail {
            text.push_str(&show::wrapped(detail, "  detail           ", "                   "));
        }
    }
    text.push_str(&show::wrapped(advice(reason), "  what to do       ", "                   "));
    text.push_str("  nothing of this attempt was kept\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_printed_a_member_a_line_with_every_value_as_it_was_spelt() {
        let body = r#"{"amount":1.10,"name":"a, \"b\": {c}","refs":[{"id":1},2]}"#;

        let shown = indented(body);

        assert_eq!(
            shown,
            "  {\n    \"amount\": 1.10,\n    \"name\": \"a, \\\"b\\\": {c}\",\n    \"refs\": [\n      {\n        \"id\": 1\n      },\n      2\n    ]\n  }\n"
        );
    }
}
