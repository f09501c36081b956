//! Chart of a comparison: for each cohort, the worst first, how the clients came back and when they attempted, real and simulated.
//!
//! Not one of the charts of a run: it takes two.

use super::Loaded;
use super::axis::{self, Axis};
use super::scene::{Dash, Ink, LABEL, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::fidelity::{self, Compared, Comparison};
use crate::number;

const ROW: f64 = 188.0;
/// Cohorts beyond this are left out and counted.
const ROWS_MAX: usize = 12;
/// Room of a row above its panels, and below them.
const HEAD: f64 = 46.0;
const TICKS: f64 = 26.0;
const LEFT: (f64, f64) = (76.0, 440.0);
const RIGHT: (f64, f64) = (536.0, WIDTH - MARGIN - 12.0);
/// Real is broad and pale, simulated thin, dark and dashed: it lies on top, and both are seen where they agree.
const REAL: (Ink, f64, Dash) = (Ink::Series(1), 4.5, &[]);
const SIMULATED: (Ink, f64, Dash) = (Ink::Series(0), 1.7, &[7.0, 3.0]);

/// Draws it.
pub fn scene(comparison: &Comparison, real: &Loaded, simulated: &Loaded) -> Scene {
    let rows = comparison.cohorts.len().min(ROWS_MAX);
    let height = TOP + 30.0 + rows as f64 * ROW + FOOT;
    let sub = "Run on real sockets and simulation compared, the worst cohort first";
    let mut scene = sheet::open(real, WIDTH, height, &title(comparison), sub);
    legend(&mut scene);
    let longest = |loaded: &Loaded| {
        let all = comparison.cohorts.iter().filter_map(|cohort| fidelity::times(loaded, &cohort.cohort).0.last().copied());
        all.max().unwrap_or(1)
    };
    let time = axis::time_ceiling(longest(real).max(longest(simulated)) as f64, 6);
    let window = window(real, simulated);
    for (n, cohort) in comparison.cohorts.iter().take(ROWS_MAX).enumerate() {
        let top = TOP + 30.0 + n as f64 * ROW;
        head(&mut scene, cohort, top);
        let (upper, lower) = (top + HEAD, top + ROW - TICKS);
        came_back(&mut scene, Panel { left: LEFT.0, right: LEFT.1, top: upper, bottom: lower }, time, cohort, (real, simulated));
        attempted(&mut scene, Panel { left: RIGHT.0, right: RIGHT.1, top: upper, bottom: lower }, window, cohort, (real, simulated));
    }
    let left_out = comparison.cohorts.len() - rows;
    let more = if left_out > 0 { format!(" · {} left out", number::counted(left_out as u64, "more cohort")) } else { String::new() };
    let outages: u64 = comparison.cohorts.iter().map(|cohort| cohort.outages.real).sum();
    sheet::close(scene, real, &format!("n = {} on real sockets{more}", number::counted(outages, "outage")))
}

fn title(comparison: &Comparison) -> String {
    let Some(worst) = comparison.cohorts.first() else { return "Nothing to compare".to_owned() };
    let ks = worst.ks_judged();
    match comparison.result {
        "pass" => format!("Simulation and run agree: the largest KS distance is {ks:.3} ({})", worst.cohort),
        "fail" => format!("Simulation and run differ: {} by {}", worst.cohort, worst.beyond.join(", ")),
        _ => "Inconclusive: the runs cannot be compared".to_owned(),
    }
}

fn legend(scene: &mut Scene) {
    let y = TOP + 4.0;
    let mut x = MARGIN;
    for (name, (ink, width, dash)) in [("real", REAL), ("simulated", SIMULATED)] {
        scene.line(vec![(x, y - 4.0), (x + 34.0, y - 4.0)], ink, width, dash);
        scene.text(x + 42.0, y, TextAnchor::Start, LABEL, name);
        x += 60.0 + LABEL.width(name) + 20.0;
    }
}

/// Name and figures of a cohort, and what its panels show.
fn head(scene: &mut Scene, cohort: &Compared, top: f64) {
    let y = top + 14.0;
    let mark = match cohort.result {
        "pass" => "✓",
        "fail" => "✗",
        _ => "–",
    };
    let name = format!("{mark} {} · {}", cohort.cohort, cohort.strategy);
    let ks = if cohort.jitter {
        format!("KS {:.3}", cohort.ks)
    } else {
        format!("KS {:.3} after {:+.1} ms ({:.3} before)", cohort.ks_shifted, cohort.shift_ms, cohort.ks)
    };
    let quantile = |one: &fidelity::QuantilePair| {
        let error = one.error_percent.map_or_else(|| "n/a".to_owned(), |error| format!("{error:+.1} %"));
        format!("p{:.0} {error}", one.quantile * 100.0)
    };
    let quantiles: Vec<_> = cohort.quantiles.iter().map(quantile).collect();
    let figures = format!("{ks} · {} · attempts {:+.1} %", quantiles.join(", "), cohort.attempts_error_percent);
    let figures = NOTE.fit(&figures, WIDTH - 2.0 * MARGIN);
    let room = WIDTH - 2.0 * MARGIN - NOTE.width(&figures) - 20.0;
    scene.text(MARGIN, y, TextAnchor::Start, NAME, NAME.fit(&name, room));
    scene.text(WIDTH - MARGIN, y, TextAnchor::End, NOTE, figures);
    scene.text(LEFT.0, y + 19.0, TextAnchor::Start, NOTE, "Share back (%), by time since the fault");
    scene.text(RIGHT.0, y + 19.0, TextAnchor::Start, NOTE, "Attempts in each interval, by offset in the run");
}

fn came_back(scene: &mut Scene, panel: Panel, most: f64, cohort: &Compared, runs: (&Loaded, &Loaded)) {
    let y = Axis::linear(0.0, 100.0, panel.bottom, panel.top);
    panel.y_axis(scene, &y, &[0.0, 50.0, 100.0].map(|share| (share, number::trimmed(share, 0))));
    let x = Axis::linear(0.0, most, panel.left, panel.right);
    let (ticks, unit) = axis::offset_ticks(most, 6);
    x_axis(scene, panel, &x, &ticks, unit);
    for (loaded, (ink, width, dash)) in [(runs.0, REAL), (runs.1, SIMULATED)] {
        let (times, all) = fidelity::times(loaded, &cohort.cohort);
        let mut points = vec![(panel.left, panel.bottom)];
        for (n, time) in times.iter().enumerate() {
            let (at, before) = (x.at(*time as f64), y.at(n as f64 * 100.0 / all as f64));
            points.extend([(at, before), (at, y.at((n + 1) as f64 * 100.0 / all as f64))]);
        }
        let end = points.last().map_or(panel.bottom, |last| last.1);
        points.push((panel.right, end));
        scene.line(points, ink, width, dash);
    }
}

fn attempted(scene: &mut Scene, panel: Panel, window: (f64, f64), cohort: &Compared, runs: (&Loaded, &Loaded)) {
    let series = |loaded: &Loaded| fidelity::attempts_over_time(loaded, &cohort.cohort);
    let (real, simulated) = (series(runs.0), series(runs.1));
    let inside = |at: u64| (window.0..=window.1).contains(&(at as f64 * 1e3));
    let most = real.iter().chain(&simulated).filter(|(at, _)| inside(*at)).map(|(_, n)| *n).max().unwrap_or(0);
    let ticks = axis::count_ticks(most as f64, 2);
    let y = Axis::linear(0.0, ticks.last().copied().unwrap_or(1.0), panel.bottom, panel.top);
    panel.y_axis(scene, &y, &sheet::count_labels(&ticks));
    let x = Axis::linear(window.0, window.1, panel.left, panel.right);
    let (all, unit) = axis::offset_ticks(window.1, 8);
    let ticks: Vec<_> = all.into_iter().filter(|(at, _)| *at >= window.0).collect();
    x_axis(scene, panel, &x, &ticks, unit);
    for (series, (ink, width, dash)) in [(real, REAL), (simulated, SIMULATED)] {
        let length = series.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(100) as f64 * 1e3;
        let mut points = Vec::new();
        for (at, n) in series.iter().filter(|(at, _)| inside(*at)) {
            let (from, height) = (*at as f64 * 1e3, y.at(*n as f64));
            points.extend([(x.at(from), height), (x.at(from + length), height)]);
        }
        scene.line(points, ink, width, dash);
    }
}

/// Ticks without a name: that stands above the panel, with the unit on the last tick.
fn x_axis(scene: &mut Scene, panel: Panel, x: &Axis, ticks: &[(f64, String)], unit: &str) {
    scene.rule((panel.left, panel.bottom), (panel.right, panel.bottom), Ink::Axis, 1.0);
    for (n, (value, label)) in ticks.iter().enumerate() {
        let at = x.at(*value);
        scene.rule((at, panel.bottom), (at, panel.bottom + 4.0), Ink::Axis, 1.0);
        let text = if n + 1 == ticks.len() { format!("{label} {unit}") } else { label.clone() };
        scene.text(at, panel.bottom + 17.0, TextAnchor::Middle, NOTE, text);
    }
}

/// The part of the run with outages in it, µs: from a little before the first to a little after the last attempt.
fn window(real: &Loaded, simulated: &Loaded) -> (f64, f64) {
    let rows = || real.reconnects.iter().chain(&simulated.reconnects);
    let end = real.summary.measured_ms as f64 * 1e3;
    let from = rows().map(|row| row.fault_offset_us).min().unwrap_or(0) as f64;
    let until = rows().map(|row| row.fault_offset_us + row.reconnect_us.unwrap_or(u64::MAX / 2)).max().unwrap_or(0) as f64;
    ((from - 0.5e6).max(0.0), (until + 0.5e6).min(end))
}
