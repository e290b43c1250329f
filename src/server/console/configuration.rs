//! The configuration in force, value by value, with where each was written. Secrets are hidden.

use axum::extract::Query;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::admission::Visit;
use super::frame::{self, Place, Refusal, told};
use super::pieces::{Slice, command, quoted};
use crate::desk::Setting;
use crate::desk::wording::{count, many};

const AT_ONCE: usize = 200;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Of a connection, a publication, a limit or a section.
    name: String,
    /// A part of a key or a value.
    text: String,
    /// Anything: defaults are left out.
    written: String,
    page: Option<usize>,
}

pub(super) async fn show(visit: Visit, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let name = Some(asked.name.trim()).filter(|name| !name.is_empty());
    let known = visit.desk.configuration(visit.by(), name).await?;
    let text = asked.text.trim().to_lowercase();
    let fits = |setting: &&Setting| {
        (asked.written.is_empty() || setting.origin.is_some())
            && (text.is_empty()
                || setting.key.to_lowercase().contains(&text)
                || setting.value.to_lowercase().contains(&text))
    };
    let settings: Vec<&Setting> = known.settings.iter().filter(fits).collect();
    let slice = Slice::new(asked.page, AT_ONCE, settings.len());
    let main = html! {
        h1 { "Configuration in force" }
        form.filters method="get" action="/configuration" role="search" aria-label="Filter values" {
            label { "Name" input name="name" value=(asked.name) list="names" placeholder="district"; }
            label { "Key or value" input type="search" name="text" value=(asked.text); }
            label { "Show"
                select name="written" {
                    option value="" selected[asked.written.is_empty()] { "all values" }
                    option value="1" selected[!asked.written.is_empty()] { "what was written" }
                }
            }
            datalist #names { @for name in &known.names { option value=(name) {} } }
            button type="submit" { "Filter" }
            a.clear href="/configuration" { "Clear" }
        }
        @if let Some(why) = &known.refused { p.alert role="alert" { (told(why)) } }
        div.scroll tabindex="0" role="region" aria-label="Values" {
            table {
                caption { (count(many(settings.len()), "value")) "; secrets are hidden" }
                thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } th scope="col" { "Written" } } }
                tbody {
                    @for setting in slice.of(&settings) {
                        tr {
                            th scope="row" { code { (setting.key) } }
                            td.address { code { (setting.value) } }
                            td { @match &setting.origin { Some(origin) => code { (origin) }, None => span.quiet { "default" } } }
                        }
                    }
                }
            }
        }
        (slice.pager(&visit.uri))
        (command(&name.map_or("tidemark config show".to_owned(), |name| format!("tidemark config show {}", quoted(name)))))
    };
    Ok(frame::page(&visit, Place::Configuration, "Configuration", None, &main))
}
