//! A bar for every resource in flight and a line over all of them, removed when they are done.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

use crate::domain::{ResourcePath, Stage, Tally};
use crate::engine::observe::{Event, Observer};
use crate::state::PairId;

use super::super::{run_report, show};

/// What is done sooner never shows a bar: it would only flicker.
const FLICKER: Duration = Duration::from_millis(120);
/// Bars at once; the line over all counts everything.
const MOST_BARS: usize = 12;
const DRAWS_A_SECOND: u8 = 15;

pub(super) struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    flight: Mutex<Flight>,
    colours: bool,
}

#[derive(Default)]
struct Flight {
    running: HashSet<PairId>,
    pairs_ended: usize,
    stage: Option<Stage>,
    resources_done: u64,
    settled: Tally,
    shown: usize,
    resources: HashMap<(PairId, Stage, ResourcePath), InFlight>,
}

struct InFlight {
    since: Instant,
    expected: Option<u64>,
    settled: u64,
    bar: Option<ProgressBar>,
}

impl Bars {
    pub(super) fn new() -> Bars {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND);
        let all = MultiProgress::with_draw_target(target);
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let overall = all.add(ProgressBar::new_spinner());
        overall.set_style(overall_style(colours));
        Bars { all, overall, flight: Mutex::default(), colours }
    }

    /// Nothing is drawn before: a configuration may still be refused.
    pub(super) fn begin(&self) {
        self.overall.reset_elapsed();
        self.overall.set_message("connecting");
        self.overall.enable_steady_tick(Duration::from_millis(120));
    }

    /// A line above the bars.
    pub(super) fn say(&self, line: &str) {
        // A terminal that is gone cannot be told so.
        let _ = self.all.println(line);
    }

    pub(super) fn finish(&self) {
        self.overall.finish_and_clear();
        let _ = self.all.clear();
    }

    /// Log lines go above the bars.
    pub(super) fn log_writer(&self) -> AboveBars {
        AboveBars(self.all.clone())
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, pair: &PairId, stage: Stage, resource: &ResourcePath, tally: &Tally) {
        let mut flight = self.flight();
        flight.settled.add(*tally);
        let items = tally.applied + tally.skipped + tally.parked;
        self.overall.inc(items);
        let room = flight.shown < MOST_BARS;
        let name = match flight.running.len() {
            0 | 1 => resource.collection().to_owned(),
            _ => format!("{}: {}", pair.target, resource.collection()),
        };
        let key = (pair.clone(), stage, resource.clone());
        let Some(in_flight) = flight.resources.get_mut(&key) else { return };
        in_flight.settled += items;
        if let Some(bar) = &in_flight.bar {
            bar.inc(items);
            return;
        }
        if room && in_flight.since.elapsed() > FLICKER {
            in_flight.bar = Some(self.bar(&name, in_flight));
            flight.shown += 1;
        }
    }

    fn bar(&self, name: &str, in_flight: &InFlight) -> ProgressBar {
        let bar = match in_flight.expected {
            Some(expected) => ProgressBar::new(expected.max(in_flight.settled)),
            None => ProgressBar::no_length(),
        };
        let bar = self.all.add(bar.with_elapsed(in_flight.since.elapsed()));
        bar.set_style(resource_style(in_flight.expected.is_some(), self.colours));
        bar.set_prefix(shortened(name));
        bar.set_position(in_flight.settled);
        bar
    }

    fn finish_resource(&self, pair: &PairId, stage: Stage, resource: &ResourcePath) {
        let mut flight = self.flight();
        let key = (pair.clone(), stage, resource.clone());
        let Some(in_flight) = flight.resources.remove(&key) else { return };
        if in_flight.settled > 0 {
            flight.resources_done += 1;
        }
        if let Some(bar) = in_flight.bar {
            flight.shown -= 1;
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
        self.overall.set_message(summary(&flight));
    }

    /// What was in flight when a run of `pair` failed is in flight no more.
    fn forget(&self, pair: &PairId) {
        let mut flight = self.flight();
        let left: Vec<_> =
            flight.resources.keys().filter(|(of, _, _)| of == pair).cloned().collect();
        for key in left {
            if let Some(bar) = flight.resources.remove(&key).and_then(|gone| gone.bar) {
                flight.shown -= 1;
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        }
    }
}

impl Observer for Bars {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::RunStarted { pair, .. } => {
                let mut flight = self.flight();
                flight.running.insert((*pair).clone());
                self.overall.set_message(summary(&flight));
            }
            Event::StageStarted { stage, .. } => {
                let mut flight = self.flight();
                flight.stage = Some(*stage);
                self.overall.set_message(summary(&flight));
            }
            Event::ResourceStarted { pair, stage, resource, expected } => {
                let key = ((*pair).clone(), *stage, (*resource).clone());
                let in_flight = InFlight {
                    since: Instant::now(),
                    expected: expected.filter(|expected| *expected > 0),
                    settled: 0,
                    bar: None,
                };
                self.flight().resources.insert(key, in_flight);
            }
            Event::Noted { .. } => {}
            Event::Settled { pair, stage, resource, tally } => {
                self.settle(pair, *stage, resource, tally);
            }
            Event::ResourceFinished { pair, stage, resource } => {
                self.finish_resource(pair, *stage, resource);
            }
            Event::RunEnded { pair, report } => {
                self.forget(pair);
                let mut flight = self.flight();
                flight.running.remove(*pair);
                flight.pairs_ended += 1;
                let more_to_come = !flight.running.is_empty();
                if more_to_come {
                    self.say(&run_report::headline(report));
                }
                self.overall.set_message(summary(&flight));
            }
        }
    }

    fn wants_totals(&self) -> bool {
        true
    }
}

/// Names reach 60 letters; their beginnings tell most of them apart.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 32;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let beginning: String = name.chars().take(LONGEST - 1).collect();
    format!("{beginning}…")
}

/// `upserts · 12 resources done · 3 parked`
fn summary(flight: &Flight) -> String {
    let mut parts = Vec::new();
    if flight.running.len() + flight.pairs_ended > 1 {
        parts.push(format!("{} running, {} ended", flight.running.len(), flight.pairs_ended));
    }
    if let Some(stage) = flight.stage {
        parts.push(stage.to_string());
    }
    parts.push(format!("{} done", show::count(flight.resources_done, "resource")));
    if flight.settled.parked > 0 {
        parts.push(format!("{} parked", show::number(flight.settled.parked)));
    }
    parts.join(" · ")
}

fn overall_style(colours: bool) -> ProgressStyle {
    let template = if colours {
        "{spinner:.cyan} {human_pos:.bold} items  {rate:.dim}  {elapsed}  {msg}"
    } else {
        "{spinner} {human_pos} items  {rate}  {elapsed}  {msg}"
    };
    styled(template)
}

fn resource_style(with_length: bool, colours: bool) -> ProgressStyle {
    styled(match (with_length, colours) {
        (true, true) => {
            "  {prefix:32!} {wide_bar:.cyan/black.bright} {count:>13} {mean:>9.dim} {left:>10}"
        }
        (true, false) => "  {prefix:32!} {wide_bar} {count:>13} {mean:>9} {left:>10}",
        (false, true) => "  {prefix:32!} {human_pos:>9} items {mean:>9.dim}",
        (false, false) => "  {prefix:32!} {human_pos:>9} items {mean:>9}",
    })
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants, and a test makes them all")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .progress_chars("━━─")
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}/s", show::number(whole(state.per_sec())));
        })
        .with_key("count", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let expected = state.len().unwrap_or(0);
            let _ = write!(out, "{}/{}", show::number(state.pos()), show::number(expected));
        })
        .with_key("mean", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}/s", show::number(whole(mean(state))));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let left = state.len().unwrap_or(0).saturating_sub(state.pos());
            let left = whole(as_float(left) / mean(state));
            if left > 0 {
                let _ = write!(out, "{}:{:02} left", left / 60, left % 60);
            }
        })
        .with_key("elapsed", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let elapsed = state.elapsed().as_secs();
            let _ = write!(out, "{}:{:02}", elapsed / 60, elapsed % 60);
        })
}

/// Items a second since the resource began: a bar begins later and would guess from less.
fn mean(state: &ProgressState) -> f64 {
    as_float(state.pos()) / state.elapsed().as_secs_f64().max(0.001)
}

/// Counts of items are far below where this loses one.
fn as_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// A rate as people read it. Rates are far below what an integer holds.
fn whole(rate: f64) -> u64 {
    if rate.is_finite() { Duration::from_secs_f64(rate.clamp(0.0, 1e12)).as_secs() } else { 0 }
}

/// Where log lines go while bars are shown.
#[derive(Clone)]
pub(super) struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl<'w> MakeWriter<'w> for AboveBars {
    type Writer = AboveBars;

    fn make_writer(&'w self) -> AboveBars {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for colours in [true, false] {
            overall_style(colours);
            resource_style(true, colours);
            resource_style(false, colours);
        }
    }
}
