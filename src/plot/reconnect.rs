//! Chart: how long clients were gone, by percentile on a logarithmic axis (as HDR plots have it), a line per cohort.
//!
//! Kaplan–Meier estimates from `reconnects.csv`: outages that did not end are in them, and a line ends where it was not reached.

use super::axis::{self, Axis};
use super::scene::{Anchor, Ink, LABEL, NAME, NOTE, Scene, dash, spread};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::survival::{self, Distribution, Outage};
use super::{Loaded, number};
use crate::results::record::ReconnectRow;
use crate::results::runs::Spread;

const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 262.0;
const HEIGHT: f64 = 540.0;
/// Cohorts beyond this are left out and counted.
const LINES_MAX: usize = 20;

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Time to reconnect (t_ready − t_fault), Kaplan–Meier";
    let (lines, left_out) = lines(loaded);
    let outages: f64 = lines.iter().map(|line| line.distribution.outages).sum();
    if outages <= 0.0 {
        return sheet::empty(loaded, "Nobody had to reconnect", sub, "No open connection was lost: there are no outages to show");
    }
    let mut scene = sheet::open(loaded, WIDTH, HEIGHT, &title(&lines), sub);
    let panel = Panel { left: LEFT, right: RIGHT, top: TOP + 20.0, bottom: HEIGHT - FOOT - 50.0 };
    let times = || lines.iter().flat_map(|line| line.distribution.steps.iter().map(|step| step.0 as f64));
    let seeds = seeds(loaded);
    let ends = || seeds.iter().flat_map(|(_, spread)| [spread.least, spread.most]).flatten().map(|us| us as f64);
    let (least, most) = (times().chain(ends()).fold(f64::MAX, f64::min), times().chain(ends()).fold(0.0, f64::max));
    let wide = least > 0.0 && most / least > 200.0;
    let y = if wide {
        Axis::log(least, most, panel.bottom, panel.top)
    } else {
        Axis::linear(0.0, axis::time_ceiling(most, 5), panel.bottom, panel.top)
    };
    panel.y_axis(&mut scene, &y, &y.time_ticks());
    let name = if wide { "Time to reconnect (logarithmic)" } else { "Time to reconnect" };
    scene.text(MARGIN, panel.top - 14.0, Anchor::Start, NAME, name);
    let decades = decades(&lines);
    let x = Axis::linear(0.0, decades, LEFT, RIGHT);
    panel.x_axis(&mut scene, &x, &percentiles(decades), "Percentile of outages, logarithmic (%)");
    draw_seeds(&mut scene, &seeds, &panel, &x, &y, decades);
    if let Some(runs) = loaded.summary.runs.as_ref().filter(|_| !seeds.is_empty()) {
        let words = format!("bars: least to most of {} seeds · marks: their medians · line: the first", runs.done);
        scene.text(RIGHT, panel.top - 14.0, Anchor::End, NOTE, words);
    }
    for (n, line) in lines.iter().enumerate() {
        draw_line(&mut scene, &x, &y, n, &line.distribution, decades);
    }
    draw_names(&mut scene, &panel, &lines, &y);
    let back: f64 = lines.iter().map(|line| line.distribution.back).sum();
    let more = if left_out > 0 { format!(" · {left_out} further cohorts left out") } else { String::new() };
    let counted = format!(
        "n = {}, {} of them ended{more} · thin: percentiles that need more samples (p99 takes 299) · ✗ where a line ends short of all",
        number::counted(outages.round() as u64, "outage"),
        number::count(back.round() as u64)
    );
    sheet::close(scene, loaded, &counted)
}

/// Percentiles of which the spread over several seeds is known; nothing where there is one seed, or a line for each of several cohorts.
fn seeds(loaded: &Loaded) -> Vec<(f64, Spread)> {
    let runs = loaded.summary.runs.as_ref().filter(|runs| runs.done > 1 && loaded.summary.cohorts.len() == 1);
    runs.map_or_else(Vec::new, |runs| vec![(0.5, runs.reconnect_p50_us), (0.9, runs.reconnect_p90_us), (0.99, runs.reconnect_p99_us)])
}

/// A bar at each percentile from the least to the most of the seeds, with a mark at their median; to the top where some did not reach it.
fn draw_seeds(scene: &mut Scene, seeds: &[(f64, Spread)], panel: &Panel, x: &Axis, y: &Axis, decades: f64) {
    for (quantile, spread) in seeds.iter().filter(|(quantile, _)| place(*quantile) <= decades) {
        let Some(least) = spread.least else { continue };
        let (at, bottom) = (x.at(place(*quantile)), y.at(least as f64));
        let top = spread.most.map_or(panel.top, |most| y.at(most as f64));
        scene.rect(at - 7.0, top, 14.0, (bottom - top).max(1.5), Ink::Heat(1));
        if let Some(median) = spread.median {
            let median = y.at(median as f64);
            scene.rule((at - 11.0, median), (at + 11.0, median), Ink::Strong, 1.6);
        }
    }
}

struct Line {
    cohort: String,
    strategy: String,
    distribution: Distribution,
}

/// The lines, and how many cohorts have none because there are too many.
fn lines(loaded: &Loaded) -> (Vec<Line>, usize) {
    let end_us = loaded.summary.measured_ms * 1000;
    let lines = loaded.summary.cohorts.iter().map(|(cohort, row)| {
        let rows = loaded.reconnects.iter().filter(|row| row.cohort == *cohort);
        let outages = rows.map(|row| outage(row, end_us)).collect();
        Line { cohort: cohort.clone(), strategy: row.strategy.clone(), distribution: survival::estimate(outages) }
    });
    let mut lines: Vec<Line> = lines.filter(|line| line.distribution.outages > 0.0).collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    (lines, left_out)
}

/// An outage that did not end was out until the books were closed, whether or not the client had given up.
pub(super) fn outage(row: &ReconnectRow, end_us: u64) -> Outage {
    let time_us = row.reconnect_us.unwrap_or_else(|| end_us.saturating_sub(row.fault_offset_us));
    Outage { time_us, ended: row.reconnect_us.is_some(), weight: row.weight }
}

fn title(lines: &[Line]) -> String {
    let p = |line: &Line| {
        let quantile = if line.distribution.supported() >= 0.99 { (0.99, "99 %") } else { (0.5, "half") };
        (line.distribution.quantile(quantile.0), quantile.1)
    };
    if let [line] = lines {
        return match p(line) {
            (Some(time), share) => format!("{share} of outages were over within {}", number::time(time)),
            (None, share) => format!("Fewer than {share} of outages ended: {} did", number::percent(line.distribution.reached() * 100.0)),
        };
    }
    let median = |line: &Line| line.distribution.quantile(0.5).unwrap_or(u64::MAX);
    let (Some(fast), Some(slow)) = (lines.iter().min_by_key(|line| median(line)), lines.iter().max_by_key(|line| median(line))) else {
        return String::new();
    };
    let said = |line: &Line| line.distribution.quantile(0.5).map_or_else(|| "not reached".to_string(), number::time);
    format!("Half are back within {} ({}) to {} ({})", said(fast), fast.cohort, said(slow), slow.cohort)
}

/// Length of the axis: as many nines as the largest cohort supports, and what its greatest values need.
fn decades(lines: &[Line]) -> f64 {
    let most = lines.iter().map(|line| line.distribution.outages).fold(1.0, f64::max);
    most.log10().clamp(1.0, 5.0)
}

fn percentiles(decades: f64) -> Vec<(f64, String)> {
    let all: [(f64, &str); 9] = [
        (0.0, "0"),
        (0.5, "50"),
        (0.75, "75"),
        (0.9, "90"),
        (0.95, "95"),
        (0.99, "99"),
        (0.999, "99.9"),
        (0.9999, "99.99"),
        (0.99999, "99.999"),
    ];
    let ticks = all.iter().map(|(q, label)| (place(*q), label.to_string()));
    ticks.filter(|(at, _)| *at <= decades + 1e-6).collect()
}

/// Decades from 0: 0 for 0 %, 1 for 90 %, 2 for 99 %.
fn place(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

fn draw_line(scene: &mut Scene, x: &Axis, y: &Axis, n: usize, distribution: &Distribution, decades: f64) {
    let (mut sure, mut thin) = (Vec::new(), Vec::new());
    let supported = distribution.supported();
    let mut before = 0.0;
    for (time, share) in &distribution.steps {
        let height = y.at(*time as f64);
        let (from, to) = (x.at(place(before)), x.at(place(*share).min(decades)));
        if before <= supported {
            sure.extend([(from, height), (to.min(x.at(place(supported))).max(from), height)]);
        }
        if *share > supported {
            let from = from.max(x.at(place(supported)));
            thin.extend([(from, height), (to.max(from), height)]);
        }
        before = *share;
    }
    if let (Some(last), Some(first)) = (sure.last().copied(), thin.first().copied())
        && last != first
    {
        thin.insert(0, last);
    }
    scene.line(thinned(thin), Ink::Series(n), 1.0, &[]);
    scene.line(thinned(sure), Ink::Series(n), 2.4, dash(n));
    if distribution.reached() < 1.0 - 1e-9
        && let Some((time, share)) = distribution.steps.last()
    {
        scene.text(x.at(place(*share).min(decades)), y.at(*time as f64) + 4.5, Anchor::Middle, NAME.in_ink(Ink::Fault).sized(13.0), "✗");
    }
}

/// Drops points that are less than half a pixel from the last one kept; the last point stays.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let last = points.last().copied();
    for point in points {
        if kept.last().is_none_or(|k| (k.0 - point.0).abs() + (k.1 - point.1).abs() >= 0.5) {
            kept.push(point);
        }
    }
    if kept.last() != last.as_ref() {
        kept.extend(last);
    }
    kept
}

/// Names at the right, in the order of the lines' ends: cohort, strategy, and the percentiles in numbers.
fn draw_names(scene: &mut Scene, panel: &Panel, lines: &[Line], y: &Axis) {
    let end = |line: &Line| y.at(line.distribution.steps.last().map_or(0.0, |step| step.0 as f64));
    let ends: Vec<f64> = lines.iter().map(end).collect();
    let gap = (panel.bottom - panel.top) / lines.len().max(1) as f64;
    let (text, room) = (RIGHT + 42.0, WIDTH - MARGIN - RIGHT - 42.0);
    let detailed = gap >= 76.0;
    let below = if detailed { 54.0 } else { 0.0 };
    let places = spread(&ends, if detailed { 74.0 } else { gap.min(18.0) }, panel.top + 4.0, panel.bottom - below);
    for (n, line) in lines.iter().enumerate() {
        let top = places[n];
        scene.line(vec![(RIGHT + 12.0, top), (RIGHT + 36.0, top)], Ink::Series(n), 2.4, dash(n));
        if !detailed {
            scene.text(text, top + 4.0, Anchor::Start, LABEL, LABEL.fit(&format!("{} · {}", line.cohort, line.strategy), room));
            continue;
        }
        scene.text(text, top + 4.0, Anchor::Start, NAME, NAME.fit(&line.cohort, room));
        scene.text(text, top + 20.0, Anchor::Start, NOTE, NOTE.fit(&in_numbers(&line.distribution), room));
        for (n, part) in NOTE.wrap(&line.strategy, room, 2).into_iter().enumerate() {
            scene.text(text, top + 36.0 + n as f64 * 16.0, Anchor::Start, NOTE, part);
        }
    }
}

fn in_numbers(distribution: &Distribution) -> String {
    let quantile = |q| distribution.quantile(q).map_or_else(|| "—".to_string(), number::time);
    let n = number::count(distribution.outages.round() as u64);
    format!("n = {n}, p50 {}, p90 {}", quantile(0.5), quantile(0.9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_axis_has_a_decade_for_each_nine() {
        for (quantile, at) in [(0.0, 0.0), (0.9, 1.0), (0.99, 2.0), (0.999, 3.0)] {
            assert!((place(quantile) - at).abs() < 1e-9, "{quantile}");
        }
        assert_eq!(percentiles(3.0).last().map(|tick| tick.1.clone()), Some("99.9".to_string()));
    }

    #[test]
    fn a_client_that_gave_up_is_out_to_the_end() {
        let row = ReconnectRow {
            client: 0,
            cohort: "web".to_string(),
            fault: None,
            client_code: 1006,
            fault_offset_us: 3_000_000,
            detect_us: 0,
            backoff_us: 0,
            attempt_us: 0,
            first_reply_us: None,
            reconnect_us: None,
            attempts: 5,
            result: "gave_up".to_string(),
            weight: 2.0,
        };
        assert_eq!(outage(&row, 10_000_000), Outage { time_us: 7_000_000, ended: false, weight: 2.0 });
    }

    #[test]
    fn several_seeds_are_bars_from_their_least_to_their_most() {
        use super::super::scene::Item;
        use crate::results::runs::{Runs, Spread};
        let bars = |scene: &Scene| scene.items.iter().filter(|item| matches!(item, Item::Rect { ink: Ink::Heat(1), .. })).count();
        let mut loaded = super::super::fixture::crash_storm();
        assert_eq!(bars(&scene(&loaded)), 0);
        let of = |us: u64| Spread { least: Some(us), p10: Some(us), median: Some(us * 2), p90: None, most: None };
        let (p50, p90, p99) = (of(500_000), of(1_000_000), of(2_000_000));
        loaded.summary.runs =
            Some(Runs { planned: 9, done: 9, reconnect_p50_us: p50, reconnect_p90_us: p90, reconnect_p99_us: p99, ..Runs::default() });
        let drawn = scene(&loaded);
        assert_eq!(bars(&drawn), 3);
        assert!(drawn.text_boxes().iter().any(|(.., text)| text.starts_with("bars: least to most of 9 seeds")));
        // A line for each of several cohorts, and one bar for all of them, would not go together.
        let more = loaded.summary.cohorts.values().next().cloned().expect("a cohort");
        loaded.summary.cohorts.insert("other".to_owned(), more);
        assert_eq!(bars(&scene(&loaded)), 0);
    }
}
