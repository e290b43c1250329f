//! `tidemark report --output html`: one page that needs nothing else and prints well.
//!
//! The one thing to know: everything that is put into it is escaped, names of publications and
//! resources too.

use crate::desk::{Report, ReportedResource};

use super::report::{Totals, comparison, left_out, totals, verified, worth_a_row};
use super::show;

/// Black on white, a pair begins on a page of its own, and the head of a table stands on each.
const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;color:#111;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.15rem;margin:2rem 0 .3rem}p{margin:.2rem 0}\
table{border-collapse:collapse;width:100%;margin:.8rem 0}caption{text-align:left;color:#444}\
th,td{padding:.25rem .5rem;border-bottom:1px solid #ccc;text-align:left}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
tr.open td:first-child::before{content:\"! \";font-weight:bold}p.out{color:#444;font-size:.9em}\
@media print{body{margin:0;max-width:none;font-size:10pt}thead{display:table-header-group}\
tr{break-inside:avoid}section+section{break-before:page}}";

pub(super) fn page(reports: &[Report]) -> String {
    let made = reports.first().map(|report| show::moment(report.made_at)).unwrap_or_default();
    let sections: String = reports.iter().map(section).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Completeness</title>\n<style>{STYLE}</style></head>\n<body>\n\
         <h1>Completeness</h1>\n<p>Counted {}. Both ends live: equal counts are a good sign, and \
         the comparison is the proof. A ! marks a resource that is not whole.</p>\n{sections}\
         </body></html>\n",
        escaped(&made)
    )
}

fn section(report: &Report) -> String {
    let Totals { source, target, parked, dead, excluded, resources, whole } = totals(report);
    let caught_up = report.caught_up_at.map_or("never".to_owned(), show::moment);
    let rows: String = worth_a_row(report).into_iter().map(row).collect();
    format!(
        "<section>\n<h2>{} → {}</h2>\n\
         <p><strong>{} of {} whole</strong>: {} at the source, {} at the target, {} parked, {} dead, \
         {} excluded.</p>\n\
         <p>Caught up: {}. Watermark: {}. Configuration: {}.</p>\n<p>{}</p>\n\
         <table><thead><tr><th>Resource</th><th class=\"n\">Source</th><th class=\"n\">Target</th>\
         <th class=\"n\">Parked</th><th class=\"n\">Dead</th>\
         <th>Verified</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n{}</section>\n",
        escaped(&report.publication),
        escaped(&report.target),
        show::number(whole),
        show::count(resources, "resource"),
        show::number(source),
        show::number(target),
        show::number(parked),
        show::number(dead),
        show::number(excluded),
        escaped(&caught_up),
        show::or_dash(report.watermark),
        escaped(&report.configuration),
        escaped(&verified(report)),
        excluded_ones(report)
    )
}

fn row(resource: &ReportedResource) -> String {
    let class = if resource.is_whole() { "" } else { " class=\"open\"" };
    let number = |count: Option<u64>| show::or_dash(count.map(show::number));
    format!(
        "<tr{class}><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td>{}</td></tr>\n",
        escaped(resource.resource.as_str()),
        number(resource.source),
        number(resource.target),
        show::number(resource.parked),
        show::number(resource.dead),
        comparison(resource)
    )
}

/// What the configuration leaves out, by name: whoever owns the data should see that it is meant.
fn excluded_ones(report: &Report) -> String {
    let Some(left_out) = left_out(report) else { return String::new() };
    let named: Vec<String> = report
        .resources
        .iter()
        .filter(|resource| resource.is_excluded())
        .map(|one| format!("{} ({})", one.resource, show::number(one.excluded)))
        .collect();
    format!(
        "<p class=\"out\">The configuration leaves out {}: {}.</p>\n",
        escaped(&left_out),
        escaped(&named.join(", "))
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::clock::Timestamp;

    use super::*;

    #[test]
    fn nothing_that_is_put_into_the_page_can_be_markup() {
        let report = Report {
            publication: "<script>alert('1')</script>".to_owned(),
            target: "a&\"b\"".to_owned(),
            made_at: Timestamp::UNIX_EPOCH,
            configuration: "00ff".to_owned(),
            watermark: None,
            caught_up_at: None,
            last_run: None,
            resources: Vec::new(),
        };

        let page = page(&[report]);

        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"), "{page}");
        assert!(page.contains("a&amp;&quot;b&quot;"), "{page}");
    }
}
