//! How a run goes or went, resource by resource: progress with rates and an estimate, a timeline, and
//! which took longest.

use std::time::Duration;

use maud::{Markup, html};

use super::pieces::{badge, figure, tally};
use crate::desk::wording::{count, many, number, seconds};
use crate::domain::{Stage, Tally};
use crate::server::events::{Course, ResourceCourse};

/// Resources of a timeline: those that took longest.
const MOST_BARS: usize = 40;
/// Those that were finished last are seen to be.
const SHOWN_FINISHED: usize = 6;
/// A rate from less says nothing.
const SOONEST_RATE: Duration = Duration::from_millis(500);
const FEWEST_FOR_RATE: u64 = 10;
const WIDTH: f64 = 720.0;
const NAMES: f64 = 200.0;
const ROW: usize = 18;

/// What is under way first, then what was finished last.
pub(super) fn progress(course: &Course) -> Markup {
    let mut resources: Vec<&ResourceCourse> = course.resources.iter().collect();
    resources.sort_by_key(|one| (one.finished, std::cmp::Reverse(one.began)));
    let finished = course.resources.iter().filter(|one| one.finished).count();
    let under_way = resources.len() - finished;
    let shown: Vec<&ResourceCourse> =
        resources.iter().take(under_way + SHOWN_FINISHED).copied().collect();
    let settled: u64 = course.resources.iter().map(|one| settled(&one.tally)).sum();
    html! {
        p {
            b { (number(settled)) } " settled in " (seconds(course.took.as_secs_f64()))
            @if let Some(rate) = rate(settled, course.took) { ", " (number(rate)) " a second" }
            "; finished " (finished) " of " (count(many(course.resources.len()), "resource")) " begun"
            @if let Some(left) = estimate(course) { "; about " (seconds(left.as_secs_f64())) " more for what was begun" }
            "."
        }
        div.scroll tabindex="0" role="region" aria-label="Progress by resource" {
            table {
                caption { "Progress by resource" }
                thead { tr {
                    th scope="col" { "Resource" } th scope="col" { "Stage" } th scope="col" { "Progress" }
                    th.n scope="col" { "Settled" } th.n scope="col" { "Expected" } th.n scope="col" { "A second" }
                    th.n scope="col" { "Parked" } th.n scope="col" { "Left" }
                } }
                tbody { @for one in &shown { (row(one)) } }
            }
        }
        @if resources.len() > shown.len() {
            p.quiet { (number(many(resources.len() - shown.len()))) " more are finished." }
        }
    }
}

fn row(one: &ResourceCourse) -> Markup {
    let done = settled(&one.tally);
    html! {
        tr id={ "progress-" (one.stage.as_str()) (one.resource.as_str().replace('/', "-")) } {
            th scope="row" { (one.resource) }
            td { (one.stage) }
            td {
                @if one.finished {
                    (badge("ok", "✓", "finished"))
                } @else if let Some(expected) = one.expected.filter(|expected| *expected > 0) {
                    progress max=(expected) value=(done.min(expected)) aria-label={ "Progress of " (one.resource) } {}
                } @else {
                    (badge("running", "▶", "under way"))
                }
            }
            td.n { (number(done)) }
            td.n { (figure(one.expected)) }
            td.n { (figure(rate(done, one.took))) }
            td.n { (tally(one.tally.parked)) }
            td.n { @match left(one) { Some(left) => (seconds(left.as_secs_f64())), None => (figure(None)) } }
        }
    }
}

fn settled(tally: &Tally) -> u64 {
    tally.applied + tally.skipped + tally.parked
}

fn rate(settled: u64, took: Duration) -> Option<u64> {
    (took >= SOONEST_RATE).then(|| (settled as f64 / took.as_secs_f64()).round() as u64)
}

/// At the rate so far; nothing is said of what has hardly begun.
fn left(one: &ResourceCourse) -> Option<Duration> {
    let done = settled(&one.tally);
    if done < FEWEST_FOR_RATE || one.took < SOONEST_RATE {
        return None;
    }
    let more = remaining(one)? as f64 / done as f64;
    Duration::try_from_secs_f64(one.took.as_secs_f64() * more).ok()
}

fn remaining(one: &ResourceCourse) -> Option<u64> {
    let expected = one.expected.filter(|_| !one.finished)?;
    expected.checked_sub(settled(&one.tally)).filter(|more| *more > 0)
}

/// Of everything that was begun, at the rate of the whole run: what goes on side by side shares it.
fn estimate(course: &Course) -> Option<Duration> {
    let done: u64 = course.resources.iter().map(|one| settled(&one.tally)).sum();
    let more: u64 = course.resources.iter().filter_map(remaining).sum();
    if more == 0 || done < FEWEST_FOR_RATE || course.took < SOONEST_RATE {
        return None;
    }
    Duration::try_from_secs_f64(course.took.as_secs_f64() * more as f64 / done as f64).ok()
}

/// A bar for each resource, from when it began to when it was finished.
pub(super) fn timeline(course: &Course) -> Markup {
    let mut resources = with_descriptors_as_one(&course.resources);
    resources.sort_by_key(|(_, one)| std::cmp::Reverse(one.took));
    resources.truncate(MOST_BARS);
    resources.sort_by_key(|(_, one)| (one.stage, one.began));
    let end = course.resources.iter().map(|one| one.began + one.took).max().unwrap_or_default();
    let whole = end.max(course.took).as_secs_f64().max(0.001);
    let height = (resources.len() + 1) * ROW + 6;
    let at = |moment: Duration| NAMES + (WIDTH - NAMES) * moment.as_secs_f64() / whole;
    html! {
        figure {
            figcaption { "When each resource was worked on, over " (seconds(whole)) }
            div.scroll tabindex="0" role="region" aria-label="Timeline of resources" {
                svg.timeline viewBox={ "0 0 " (WIDTH) " " (height) } width=(WIDTH) height=(height) role="img" aria-label="Timeline of resources" {
                    @for part in 0..=4 {
                        @let x = NAMES + (WIDTH - NAMES) * f64::from(part) / 4.0;
                        line.grid x1=(round(x)) x2=(round(x)) y1="0" y2=(height - ROW) {}
                        text.tick x=(round(x)) y=(height - 4) text-anchor=(if part == 4 { "end" } else { "middle" }) { (seconds(whole * f64::from(part) / 4.0)) }
                    }
                    @for (index, (name, one)) in resources.iter().enumerate() {
                        @let y = index * ROW + 2;
                        text.name x="0" y=(y + 12) { (shortened(name)) }
                        rect class={ "bar stage-" (one.stage.as_str()) @if one.tally.parked > 0 { " parked" } }
                            x=(round(at(one.began))) y=(y) height=(ROW - 4) rx="2"
                            width=(round((at(one.began + one.took) - at(one.began)).max(2.0))) {
                            title { (name) ", " (one.stage) ": " (number(settled(&one.tally))) " settled in " (seconds(one.took.as_secs_f64())) }
                        }
                    }
                }
            }
            p.legend {
                @for stage in Stage::ALL { span class={ "key stage-" (stage.as_str()) } aria-hidden="true" {} (stage) " " }
            }
        }
    }
}

/// Descriptors are many, small and read beside each other.
fn with_descriptors_as_one(resources: &[ResourceCourse]) -> Vec<(String, ResourceCourse)> {
    let mut bars: Vec<(String, ResourceCourse)> = Vec::new();
    for stage in Stage::ALL {
        let of_stage = resources.iter().filter(|one| one.stage == stage);
        let (descriptors, others): (Vec<&ResourceCourse>, Vec<&ResourceCourse>) =
            of_stage.partition(|one| one.resource.is_descriptor());
        bars.extend(
            others.into_iter().map(|one| (one.resource.collection().to_owned(), one.clone())),
        );
        let Some(mut sum) = descriptors.first().map(|first| (*first).clone()) else { continue };
        let end = descriptors.iter().map(|one| one.began + one.took).max().unwrap_or_default();
        sum.began = descriptors.iter().map(|one| one.began).min().unwrap_or_default();
        sum.took = end.saturating_sub(sum.began);
        for one in descriptors.iter().skip(1) {
            sum.tally.add(one.tally);
        }
        bars.push((count(many(descriptors.len()), "descriptor"), sum));
    }
    bars
}

fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn shortened(name: &str) -> String {
    const MOST: usize = 30;
    match name.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

pub(super) fn slowest(course: &Course) -> Markup {
    let mut resources: Vec<&ResourceCourse> = course.resources.iter().collect();
    resources.sort_by_key(|one| std::cmp::Reverse(one.took));
    html! {
        div.scroll tabindex="0" role="region" aria-label="What took longest" {
            table {
                caption { "What took longest" }
                thead { tr {
                    th scope="col" { "Resource" } th scope="col" { "Stage" } th.n scope="col" { "Took" }
                    th.n scope="col" { "Read" } th.n scope="col" { "Applied" } th.n scope="col" { "Skipped" }
                    th.n scope="col" { "Parked" } th.n scope="col" { "A second" }
                } }
                tbody {
                    @for one in resources.iter().take(15) {
                        tr {
                            th scope="row" { (one.resource) }
                            td { (one.stage) }
                            td.n { (seconds(one.took.as_secs_f64())) }
                            td.n { (number(one.tally.read)) }
                            td.n { (number(one.tally.applied)) }
                            td.n { (tally(one.tally.skipped)) }
                            td.n { (tally(one.tally.parked)) }
                            td.n { (figure(rate(settled(&one.tally), one.took))) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ResourcePath;

    fn course(expected: Option<u64>, applied: u64, seconds: u64) -> ResourceCourse {
        ResourceCourse {
            stage: Stage::Upserts,
            resource: ResourcePath::parse("/ed-fi/students").unwrap(),
            expected,
            tally: Tally { read: applied, applied, ..Tally::default() },
            finished: false,
            began: Duration::ZERO,
            took: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn descriptors_are_one_bar_from_the_first_beginning_to_the_last_end() {
        let descriptor = |name: &str, began, took| ResourceCourse {
            resource: ResourcePath::parse(&format!("/ed-fi/{name}Descriptors")).unwrap(),
            began: Duration::from_secs(began),
            took: Duration::from_secs(took),
            ..course(None, 5, 1)
        };
        let resources = [descriptor("a", 1, 2), course(None, 7, 9), descriptor("b", 2, 6)];

        let bars = with_descriptors_as_one(&resources);

        let told: Vec<(&str, u64, u64, u64)> = bars
            .iter()
            .map(|(name, one)| {
                (name.as_str(), one.began.as_secs(), one.took.as_secs(), one.tally.applied)
            })
            .collect();
        assert_eq!(told, [("students", 0, 9, 7), ("2 descriptors", 1, 7, 10)]);
    }

    #[test]
    fn what_is_left_goes_by_the_rate_so_far() {
        assert_eq!(left(&course(Some(400), 100, 10)), Some(Duration::from_secs(30)));
        assert_eq!(left(&course(None, 100, 10)), None, "nobody knows how many there are");
        assert_eq!(left(&course(Some(400), 9, 10)), None, "too few say how fast it goes");
        assert_eq!(left(&course(Some(100), 120, 10)), None, "there were more than expected");
        assert_eq!(left(&ResourceCourse { finished: true, ..course(Some(400), 100, 10) }), None);
        let both = vec![course(Some(400), 100, 10), course(Some(300), 0, 1)];
        let run = Course { took: Duration::from_secs(10), resources: both, ..Course::default() };
        assert_eq!(estimate(&run), Some(Duration::from_secs(60)));
        assert_eq!(rate(100, Duration::from_secs(10)), Some(10));
        assert_eq!(rate(100, Duration::from_millis(10)), None);
    }
}
