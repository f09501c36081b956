//! Chart: the capacity knee. Throughput and latency against load, each run a dot, with the limit, its spread and the knee.
//!
//! With two parameters it is a map: the limit of the second for each value of the first. From `capacity.json` and `steps.csv` alone.

mod map;
mod parts;

use super::axis::{self, Axis};
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor, spread};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::{ChartFile, ChartSvg, DrawError, RenderError, draw};
use crate::number;
use crate::results::capacity::{LimitRow, Search, StepRow};
use crate::results::capacity_limit::curve;
pub use parts::limit_words;
use parts::{DOT, LEFT, RIGHT, counted, dot, legend, made, value_ticks};
use std::path::Path;

/// Name of its files, without extension.
pub const NAME_OF_FILES: &str = "capacity";
const ABOUT: &str = "throughput and latency against load, with the limit and the knee";
const LANE: f64 = 17.0;
const UPPER: f64 = 210.0;
const LOWER: f64 = 170.0;
const BETWEEN: f64 = 46.0;
/// Highest load as a multiple of the lowest from which the axis of loads is logarithmic.
const WIDE: f64 = 50.0;
/// Points of the curve of the law.
const LAW_POINTS: i32 = 120;

/// Draws it.
pub fn scene(search: &Search) -> Scene {
    if search.capacity.vary.len() > 1 { map::scene(search) } else { knee(search) }
}

/// The chart as an SVG document.
///
/// # Errors
/// The backend failed.
pub fn svg(search: &Search) -> Result<Vec<ChartSvg>, DrawError> {
    Ok(vec![ChartSvg { name: NAME_OF_FILES, about: ABOUT, svg: draw::svg(&scene(search))? }])
}

/// Writes `capacity.svg` and `capacity.png` into `dir`, which exists.
///
/// # Errors
/// It could not be drawn or written.
pub fn render(search: &Search, dir: &Path) -> Result<ChartFile, RenderError> {
    super::write_scene(NAME_OF_FILES, scene(search), dir)
}

fn title(search: &Search) -> String {
    let (limit, vary) = (&search.capacity.limits[0], search.searched());
    if limit.limit.is_none() {
        return format!("Not even {} of {} holds", number::observed(vary.low, &vary.unit), vary.key);
    }
    let knee = limit.knee.map(|knee| format!("; throughput stops growing at {}", number::observed(knee, &vary.unit)));
    format!("All expectations hold up to {}{}", limit_words(limit, &vary.unit), knee.unwrap_or_default())
}

/// One parameter.
fn knee(search: &Search) -> Scene {
    let (limit, vary) = (&search.capacity.limits[0], search.searched());
    let (x, ticks) = loads(search);
    let marks = marks(limit, &vary.unit);
    let top = TOP + 22.0 + marks.len() as f64 * LANE;
    let upper = Panel { left: LEFT, right: RIGHT, top, bottom: top + UPPER };
    let lower = Panel { left: LEFT, right: RIGHT, top: upper.bottom + BETWEEN, bottom: upper.bottom + BETWEEN + LOWER };
    let what = if search.capacity.throughput == "echoed" { "Echoed messages" } else { "Opened connections" };
    let sub = format!("{what} and {} against {}", search.capacity.latency, vary.key);
    let mut scene = sheet::titled(WIDTH, lower.bottom + 50.0 + FOOT, &title(search), &made(search, &sub));
    spread_band(&mut scene, &x, limit, &[&upper, &lower]);
    throughput(&mut scene, search, &x, &upper, what);
    latency(&mut scene, search, &x, &lower);
    draw_marks(&mut scene, &x, &marks, TOP + 10.0, &[&upper, &lower]);
    let scale = if ticks.first().is_some_and(|tick| tick.0 > 0.0) { ", logarithmic" } else { "" };
    lower.x_axis(&mut scene, &x, &ticks, &format!("{} (load{scale})", vary.key));
    sheet::footed(scene, &counted(search), &search.capacity.command)
}

/// The axis of loads: logarithmic where they are spread over more than [`WIDE`], so that the low ones stay apart.
fn loads(search: &Search) -> (Axis, Vec<(f64, String)>) {
    let unit = &search.searched().unit;
    let (low, high) = search.steps.iter().fold((f64::MAX, 0.0_f64), |(low, high), step| (low.min(step.value), high.max(step.value)));
    if low > 0.0 && high > WIDE * low {
        let axis = Axis::log(low, high, LEFT, RIGHT);
        let ticks = axis.log_ticks(200.0, |value| number::observed(value, unit));
        return (axis, ticks);
    }
    let (ticks, end) = value_ticks(high, unit, 8);
    (Axis::linear(0.0, end, LEFT, RIGHT), ticks)
}

/// What is marked on the axis of loads: place, name, ink.
type AxisMark = (f64, String, Ink);

fn marks(limit: &LimitRow, unit: &str) -> Vec<AxisMark> {
    let value = |value: f64| number::observed(value, unit);
    let mut marks: Vec<AxisMark> = Vec::new();
    marks.extend(limit.limit.map(|at| (at, format!("limit: {}", limit_words(limit, unit)), Ink::Strong)));
    for (at, name) in [(limit.knee, "knee of throughput"), (limit.knee_p99, "p99 takes off")] {
        let Some(at) = at else { continue };
        // Two lines on the same place would be one line of two colours.
        match marks.iter_mut().find(|mark| mark.0 == at) {
            Some(mark) => mark.1 += &format!(" · {name}"),
            None => marks.push((at, format!("{name}: {}", value(at)), Ink::Fault)),
        }
    }
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    marks
}

/// Names in lanes from the left to the right and down, so that no line crosses a name.
fn draw_marks(scene: &mut Scene, x: &Axis, marks: &[AxisMark], top: f64, panels: &[&Panel]) {
    for (lane, (value, name, ink)) in marks.iter().enumerate() {
        let (at, y) = (x.at(*value), top + lane as f64 * LANE);
        for (n, panel) in panels.iter().enumerate() {
            let from = if n == 0 { y } else { panel.top };
            let dash: &'static [f64] = if *ink == Ink::Strong { &[] } else { &[5.0, 3.0] };
            scene.line(vec![(at, from), (at, panel.bottom)], *ink, 1.4, dash);
        }
        let style = NAME.in_ink(*ink);
        // A long name goes to the left of its line where it would be cut at the right, if no line before it is in the way.
        let (right, left) = (WIDTH - MARGIN - at - 6.0, at - 6.0 - lane.checked_sub(1).map_or(LEFT, |before| x.at(marks[before].0)));
        if style.width(name) > right && left > right {
            scene.text(at - 6.0, y + 11.0, TextAnchor::End, style, style.fit(name, left));
        } else {
            scene.text(at + 6.0, y + 11.0, TextAnchor::Start, style, style.fit(name, right));
        }
    }
}

fn spread_band(scene: &mut Scene, x: &Axis, limit: &LimitRow, panels: &[&Panel]) {
    if let (Some(low), Some(high)) = (limit.surely_holds.or(limit.limit), limit.surely_fails.or(limit.limit)) {
        for panel in panels {
            scene.rect(x.at(low), panel.top, x.at(high) - x.at(low), panel.bottom - panel.top, Ink::Band);
        }
    }
}

fn throughput(scene: &mut Scene, search: &Search, x: &Axis, panel: &Panel, what: &str) {
    let points = curve(&search.steps, |step| step.throughput_per_s);
    let usl = search.capacity.limits[0].usl.as_ref();
    let law: Vec<(f64, f64)> = usl.zip(points.first().zip(points.last())).map_or_else(Vec::new, |(usl, (first, last))| {
        let (from, to) = (first.0.max(1.0), last.0);
        // Evenly by ratio: the law bends where loads are low.
        let load = |i| from * (to / from).powf(f64::from(i) / f64::from(LAW_POINTS));
        (0..=LAW_POINTS).map(load).map(|n| (n, usl.throughput(n))).collect()
    });
    let most = search.steps.iter().filter_map(|step| step.throughput_per_s).chain(law.iter().map(|point| point.1)).fold(0.0, f64::max);
    let ticks = axis::ticks(most, 4);
    let y = Axis::linear(0.0, ticks.last().copied().unwrap_or(1.0), panel.bottom, panel.top);
    let labels: Vec<(f64, String)> = ticks.into_iter().map(|tick| (tick, number::quantity(tick))).collect();
    panel.y_axis(scene, &y, &labels);
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, format!("{what} per second (count)"));
    let line = |points: &[(f64, f64)]| points.iter().map(|(load, rate)| (x.at(*load), y.at(*rate))).collect();
    scene.line(line(&points), Ink::Series(0), 2.0, &[]);
    if !law.is_empty() {
        scene.line(line(&law), Ink::Series(2), 1.6, &[2.5, 2.5]);
        scene.line(vec![(RIGHT + 8.0, panel.top + 17.0), (RIGHT + 32.0, panel.top + 17.0)], Ink::Series(2), 1.6, &[2.5, 2.5]);
        scene.text(RIGHT + 38.0, panel.top + 21.0, TextAnchor::Start, NOTE, "scalability law");
    }
    for step in &search.steps {
        if let Some(rate) = step.throughput_per_s {
            dot(scene, (x.at(step.value), y.at(rate)), &step.outcome, Ink::Series(0), DOT);
        }
    }
    scene.rule((panel.left, panel.bottom), (panel.right, panel.bottom), Ink::Axis, 1.0);
    scene.line(vec![(RIGHT + 8.0, panel.top), (RIGHT + 32.0, panel.top)], Ink::Series(0), 2.0, &[]);
    scene.text(RIGHT + 38.0, panel.top + 4.0, TextAnchor::Start, LABEL, "median of runs");
    legend(scene, &search.steps, RIGHT + 8.0, panel.top + 46.0, Ink::Series(0));
}

/// Which percentile, its name, ink, width and dashes.
type PercentileLine = (fn(&StepRow) -> Option<u64>, &'static str, Ink, f64, &'static [f64]);
const LINES: [PercentileLine; 2] =
    [(|step| step.p99_us, "p99", Ink::Series(1), 2.0, &[8.0, 3.0]), (|step| step.p50_us, "p50", Ink::Series(0), 2.0, &[])];

fn latency(scene: &mut Scene, search: &Search, x: &Axis, panel: &Panel) {
    scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, format!("{} (logarithmic)", search.capacity.latency));
    let values: Vec<f64> = search.steps.iter().flat_map(|step| [step.p50_us, step.p99_us]).flatten().map(|us| us as f64).collect();
    if values.is_empty() {
        scene.text((panel.left + panel.right) / 2.0, panel.bottom - 40.0, TextAnchor::Middle, NOTE, "nothing of this kind was measured");
        return;
    }
    let (low, high) = values.iter().fold((f64::MAX, 1.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
    let y = Axis::log(low.max(1.0), high, panel.bottom, panel.top);
    panel.y_axis(scene, &y, &y.time_ticks());
    let mut ends = Vec::new();
    for (of, name, ink, width, dash) in LINES {
        let points: Vec<_> =
            curve(&search.steps, |step| of(step).map(|us| us as f64)).iter().map(|(load, us)| (x.at(*load), y.at(*us))).collect();
        // What was never known has no line, and no name.
        let Some(last) = points.last().map(|point| point.1) else { continue };
        ends.push((last, (name, ink, width, dash)));
        scene.line(points, ink, width, dash);
        for step in &search.steps {
            if let Some(us) = of(step) {
                dot(scene, (x.at(step.value), y.at(us as f64)), &step.outcome, ink, DOT - 1.0);
            }
        }
    }
    let (ends, names): (Vec<f64>, Vec<_>) = ends.into_iter().unzip();
    let places = spread(&ends, 15.0, panel.top + 4.0, panel.bottom);
    for ((name, ink, width, dash), place) in names.into_iter().zip(places) {
        scene.line(vec![(RIGHT + 8.0, place), (RIGHT + 32.0, place)], ink, width, dash);
        scene.text(RIGHT + 38.0, place + 4.0, TextAnchor::Start, LABEL, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::Ended;
    use crate::results::fixture::{all, found, nothing, with_law};

    #[test]
    fn no_text_leaves_the_canvas_or_covers_another() {
        for (name, search) in all() {
            scene(&search).assert_readable(name);
        }
    }

    #[test]
    fn it_names_axes_limit_and_knee_and_states_its_runs() {
        let text = draw::svg(&scene(&found())).unwrap();
        for word in [
            "All expectations hold up to 4,000 ± 100 a second",
            "limit: 4,000 ± 100",
            "a second · knee of throughput",
            "p99 takes off: 4,100/s",
            "n = 13 runs of 2.5 s each",
            "Reproduce: ",
            "clients.page.arrive.rate (load)",
        ] {
            assert!(text.contains(word), "{word}");
        }
        assert!(draw::svg(&scene(&with_law())).unwrap().contains("scalability law"));
        assert!(draw::svg(&scene(&nothing())).unwrap().contains("Not even 250/s"));
    }

    #[test]
    fn a_limit_with_both_knees_far_to_the_right_is_named_in_full() {
        let mut search = found();
        for limit in &mut search.capacity.limits {
            (limit.limit, limit.knee, limit.knee_p99) = (Some(6_000.0), Some(6_000.0), Some(6_000.0));
        }
        let text = draw::svg(&scene(&search)).unwrap();
        assert!(text.contains("a second · knee of throughput · p99 takes off"), "{text}");
    }

    #[test]
    fn limits_are_worded_with_their_spread() {
        let edge = |limit: f64, spread: f64| LimitRow {
            limit: Some(limit),
            plus_minus: Some(spread),
            ended: Ended::Edge.name().to_owned(),
            ..LimitRow::default()
        };
        for (row, unit, words) in [
            (edge(3_900.0, 187.5), "per_s", "3,900 ± 190 a second"),
            (edge(40.0, 2.5), "percent", "40 ± 2.5 %"),
            (edge(2.5, 0.123), "s", "2.5 s ± 120 ms"),
            (edge(1_600.0, 0.0), "count", "1,600"),
            (LimitRow { ended: Ended::Generator.name().to_owned(), ..edge(1_600.0, 50.0) }, "count", "at least 1,600"),
            (LimitRow::default(), "count", "none"),
        ] {
            assert_eq!(limit_words(&row, unit), words);
        }
    }

    /// With `CLOSESTORM_CHARTS=DIR` the pictures stay in DIR to be looked at.
    #[test]
    fn files_are_written() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = std::env::var_os("CLOSESTORM_CHARTS").map_or_else(|| temporary.path().to_path_buf(), std::path::PathBuf::from);
        for (name, search) in all() {
            let dir = dir.join(format!("capacity-{name}"));
            std::fs::create_dir_all(&dir).unwrap();
            let file = render(&search, &dir).unwrap();
            assert!(std::fs::read(&file.png).unwrap().starts_with(b"\x89PNG"));
        }
    }
}
