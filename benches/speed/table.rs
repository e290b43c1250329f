//! What the bench prints: one table of figures, goals and verdicts.

use std::fmt;

/// One figure.
pub(crate) struct Row {
    /// The scenario that it comes from.
    pub(crate) scenario: &'static str,
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) goal: String,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    Missed,
    /// There is no goal.
    Told,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Held => "held",
            Verdict::Missed => "**missed**",
            Verdict::Told => "",
        })
    }
}

/// Where a goal lies.
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    None,
}

impl Row {
    /// `show` writes a number in the unit of the figure.
    pub(crate) fn of(
        scenario: &'static str,
        what: impl Into<String>,
        figure: f64,
        goal: Goal,
        show: fn(f64) -> String,
    ) -> Row {
        let (goal, verdict) = match goal {
            Goal::AtMost(most) => (format!("≤ {}", show(most)), held(figure <= most)),
            Goal::AtLeast(least) => (format!("≥ {}", show(least)), held(figure >= least)),
            Goal::None => (String::new(), Verdict::Told),
        };
        let row = Row { scenario, what: what.into(), figure: show(figure), goal, verdict };
        eprintln!("  {}: {} {} {}", row.what, row.figure, row.goal, row.verdict);
        row
    }
}

fn held(holds: bool) -> Verdict {
    if holds { Verdict::Held } else { Verdict::Missed }
}

pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.2}")
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

pub(crate) fn count(number: f64) -> String {
    format!("{number:.0}")
}

pub(crate) fn bytes(bytes: f64) -> String {
    format!("{bytes:.0} B")
}

pub(crate) fn microseconds(seconds: f64) -> String {
    format!("{:.1} µs", seconds * 1e6)
}

pub(crate) fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// The table as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| scenario | figure | | goal | verdict |\n|---|---|---|---|---|\n");
    for Row { scenario, what, figure, goal, verdict } in rows {
        text.push_str(&format!("| {scenario} | {what} | {figure} | {goal} | {verdict} |\n"));
    }
    text
}
