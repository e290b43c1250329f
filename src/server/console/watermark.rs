//! A watermark that a person moves: what would be gone first, then the name typed to confirm.

use axum::response::Response;
use maud::{Markup, html};

use super::admission::Visit;
use super::forms::Form;
use super::frame::{self, Place, Refusal, csrf};
use super::pair::{self, Named, back, find};
use super::pieces::{command, past, path_of, quoted};
use crate::clock::Timestamp;
use crate::desk::wording::{count, many, number};
use crate::desk::{DeskError, Moved, PairDetail, PairStatus};
use crate::domain::ChangeVersion;

pub(super) async fn show(visit: Visit, named: Named) -> Result<Response, Refusal> {
    let id = pair::id(named);
    let pair = find(&visit, &id).await?;
    let detail = visit.desk.closely(visit.by(), &id).await?;
    let title = format!("Watermark of {} → {}", pair.publication, pair.target);
    let main = html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href=(path_of(&pair)) { (pair.publication) " → " (pair.target) } }
        h1 { "Move the watermark" }
        p {
            "It stands at " b { @match pair.watermark { Some(at) => (number(at.0.unsigned_abs())), None => "none" } }
            ", reached " (past(visit.now, pair.caught_up_at)) ". The next run reads what changed at the source after it."
        }
        (what_would_go(&visit, &pair, &detail))
        @if pair.run_id.is_some() {
            p.alert { "The pair is running: cancel the run, or wait for its end." }
        } @else {
            (form(&visit, &pair))
        }
        (command(&format!("tidemark watermark set {} --target {} --to VERSION --reason 'why' --yes", quoted(&pair.publication), quoted(&pair.target))))
    };
    Ok(frame::page(&visit, Place::Fleet, &title, None, &main))
}

fn what_would_go(visit: &Visit, pair: &PairStatus, detail: &PairDetail) -> Markup {
    html! {
        section.decide aria-labelledby="gone" {
            h2 #gone { "What would be gone" }
            ul {
                @if let Some(unfinished) = &detail.unfinished {
                    li {
                        "The run that began " (past(visit.now, Some(unfinished.began_at)))
                        " and was not finished, with " (count(many(unfinished.finished.len()), "resource"))
                        " that need not have been sent again."
                    }
                }
                @if let Some(blocked) = &detail.blocked { li { "What blocks the pair: " (blocked.reason) } }
                li { "What was remembered of both ends: the next run takes them as they are then, so nothing notices that one was restored or replaced before it." }
                li { "What was remembered of late commits and of bytes that were sent: the next run sends them again." }
                li { "Approvals of deletes that no run has used." }
                li { "When taken away: that " (count(many(detail.spoken_for.len()), "resource")) " were read through the watermark. The next run publishes everything." }
            }
            h2 { "What stays" }
            p { (count(pair.parked, "parked item")) " and " (count(pair.dead, "dead one")) ", the history of runs, the audit, and all data at both ends." }
            p { "A watermark that is too high leaves out for good what lies below it, until a comparison finds it. One that is too low costs time and nothing else." }
        }
    }
}

fn form(visit: &Visit, pair: &PairStatus) -> Markup {
    let stands_at = pair.watermark.map_or("none".to_owned(), |at| at.to_string());
    html! {
        form.stack method="post" action={ (path_of(pair)) "/watermark" } {
            (csrf(visit))
            input type="hidden" name="stands_at" value=(stands_at);
            fieldset {
                legend { "Where to" }
                label.inline { input type="radio" name="how" value="to" required; " to a version" }
                label { "Version" input name="to" inputmode="numeric" pattern="[0-9]*" autocomplete="off"; }
                label.inline { input type="radio" name="how" value="before"; " to what was newest before a moment" }
                label { "Moment, such as 2026-01-31T10:00:00Z" input name="before" autocomplete="off"; }
                label.inline { input type="radio" name="how" value="reset"; " take it away: the next run publishes everything" }
            }
            label { "Reason, for whoever asks later" input name="reason" required autocomplete="off"; }
            label { "To confirm, type " b { (pair.publication) } input name="confirm" required autocomplete="off" spellcheck="false"; }
            button.danger type="submit" { "Move the watermark" }
        }
    }
}

pub(super) async fn move_it(visit: Visit, named: Named, form: Form) -> Result<Response, Refusal> {
    let id = pair::id(named);
    if form.text("confirm") != Some(id.publication.as_str()) {
        let why = "the name that was typed is not that of the publication, so nothing was moved";
        return Err(DeskError::Refused(why.to_owned()).into());
    }
    let to = wanted(&form)?;
    let stands_at = stood_at(&form)?;
    let reason = form.text("reason").unwrap_or_default();
    visit.desk.move_watermark(visit.by(), &id, to, Some(stands_at), reason).await?;
    Ok(back(&id, "moved"))
}

fn wanted(form: &Form) -> Result<Moved, DeskError> {
    let refused = |why: &str| DeskError::Refused(why.to_owned());
    match form.text("how") {
        Some("to") => {
            let version = form.text("to").and_then(|to| to.replace(',', "").parse::<i64>().ok());
            let version = version.filter(|version| *version >= 0);
            version
                .map(|version| Moved::To(ChangeVersion(version)))
                .ok_or_else(|| refused("a version is a number, 0 or more"))
        }
        Some("before") => {
            let moment = form.text("before").and_then(|moment| moment.parse::<Timestamp>().ok());
            moment
                .map(Moved::Before)
                .ok_or_else(|| refused("a moment is written such as 2026-01-31T10:00:00Z"))
        }
        Some("reset") => Ok(Moved::Reset),
        Some(_) | None => Err(refused("say where to")),
    }
}

/// Where the watermark stood when the page was made: nobody decides about another.
fn stood_at(form: &Form) -> Result<Option<ChangeVersion>, DeskError> {
    let gone =
        || DeskError::Refused("open the page again: it says where the watermark stands".to_owned());
    match form.text("stands_at") {
        Some("none") => Ok(None),
        Some(version) => version.parse().map(|at| Some(ChangeVersion(at))).map_err(|_| gone()),
        None => Err(gone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_is_moved_only_to_what_was_said() {
        let wanted = |body: &str| wanted(&Form::parse(body.as_bytes())).ok();

        assert_eq!(wanted("how=to&to=1,234"), Some(Moved::To(ChangeVersion(1234))));
        assert_eq!(wanted("how=reset&to=5"), Some(Moved::Reset));
        assert!(matches!(wanted("how=before&before=2026-01-31T10:00:00Z"), Some(Moved::Before(_))));
        for body in ["", "to=5", "how=to", "how=to&to=-1", "how=to&to=x", "how=before&before=then"]
        {
            assert_eq!(wanted(body), None, "{body}");
        }
        assert_eq!(stood_at(&Form::parse(b"stands_at=none")).unwrap(), None);
        assert!(stood_at(&Form::parse(b"")).is_err());
    }
}
