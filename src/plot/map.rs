//! Chart: what becomes of a scenario at many values of one or two parameters. From `map.json` and `map.csv` alone.
//!
//! Two parameters make a map of cells, pale to dark from recovering to never recovering, with the boundary; one makes a curve.

use super::axis::Axis;
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor, Type, on_heat};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::{ChartFile, ChartSvg, DrawError, RenderError, draw};
use crate::number;
use crate::results::capacity::VaryRow;
use crate::results::map::{Mapped, PointOutcome, PointRow};
use std::path::Path;

/// Name of its files, without extension.
pub const NAME_OF_FILES: &str = "map";
const ABOUT: &str = "where the system recovers, recovers late, or never recovers";
const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - MARGIN;
/// Height of a cell.
const CELL: f64 = 30.0;
const CURVE: f64 = 300.0;
const LEGEND: f64 = 30.0;

/// Draws it.
pub fn scene(mapped: &Mapped) -> Scene {
    if mapped.map.vary.len() > 1 { map(mapped) } else { curve(mapped) }
}

/// The chart as an SVG document.
///
/// # Errors
/// The backend failed.
pub fn svg(mapped: &Mapped) -> Result<Vec<ChartSvg>, DrawError> {
    Ok(vec![ChartSvg { name: NAME_OF_FILES, about: ABOUT, svg: draw::svg(&scene(mapped))? }])
}

/// Writes `map.svg` and `map.png` into `dir`, which exists.
///
/// # Errors
/// It could not be drawn or written.
pub fn render(mapped: &Mapped, dir: &Path) -> Result<ChartFile, RenderError> {
    super::write_scene(NAME_OF_FILES, scene(mapped), dir)
}

/// A value of a varied parameter in words.
pub fn value(vary: &VaryRow, value: f64) -> String {
    number::observed(value, &vary.unit)
}

/// Fill of a cell and ink of what stands in it: the outcomes differ in lightness, so that they differ in grey.
fn inks(outcome: PointOutcome) -> (Ink, Ink) {
    let step = match outcome {
        PointOutcome::Recovers => 0,
        PointOutcome::Late => 2,
        PointOutcome::Never => 4,
    };
    (Ink::Heat(step), on_heat(step))
}

/// What stands in a cell: the time until 99 % are back, or who is away in the end.
fn cell_words(point: &PointRow) -> String {
    match (point.outcome, point.p99_us) {
        (PointOutcome::Never, _) => format!("{:.0} %", point.away_percent),
        (_, Some(us)) => number::time(us),
        (_, None) => "–".to_owned(),
    }
}

fn made(mapped: &Mapped, sub: &str) -> String {
    let map = &mapped.map;
    format!("{sub} · scenario {} · {} · simulated · seed {}", map.scenario, map.target, map.seed)
}

fn title(mapped: &Mapped) -> String {
    let [recovers, late, never] = mapped.map.points;
    let all = recovers + late + never;
    match (never, late) {
        (0, 0) => format!("It recovers in time at all {all} points"),
        (0, _) => format!("It recovers at all points, late at {late} of {all}"),
        (never, _) if never == all => format!("It recovers at none of the {all} points"),
        _ => format!("It never recovers at {never} of {all} points, and recovers late at {late}"),
    }
}

fn counted(mapped: &Mapped) -> String {
    let map = &mapped.map;
    let seeds = if map.runs > 1 { format!(", {} seeds each, medians", map.runs) } else { String::new() };
    let length = number::time(map.duration_ms * 1000);
    format!(
        "{}n = {} points of {length}{seeds}; times are those until 99 % of the outages are over, counted from the fault",
        mapped.stopped(),
        mapped.points.len()
    )
}

/// The outcomes with their fills, in a line at `y`.
fn legend(scene: &mut Scene, mapped: &Mapped, y: f64) {
    let within = number::time(mapped.map.within_us);
    let words = [
        format!("99 % back within {within}: time needed"),
        format!("later than {within}: time needed"),
        "never within the run: % disconnected at its end".to_owned(),
    ];
    let mut x = LEFT;
    for (outcome, words) in PointOutcome::ALL.into_iter().zip(words) {
        scene.rect(x, y - 11.0, 22.0, 14.0, Ink::Axis);
        scene.rect(x + 1.0, y - 10.0, 20.0, 12.0, inks(outcome).0);
        scene.text(x + 29.0, y, TextAnchor::Start, NOTE, words.as_str());
        x += 29.0 + NOTE.width(&words) + 22.0;
    }
}

/// Cells with a value for each column and row; labels are thinned where they would touch.
fn map(mapped: &Mapped) -> Scene {
    let (first, second) = (&mapped.map.vary[0], &mapped.map.vary[1]);
    let columns = mapped.columns();
    let rows: Vec<Vec<Option<&PointRow>>> = mapped.rows().into_iter().rev().collect();
    let top = TOP + 22.0;
    let panel = Panel { left: LEFT, right: RIGHT, top, bottom: top + CELL * rows.len() as f64 };
    let wide = (panel.right - panel.left) / columns.len() as f64;
    let sub = format!("{} against {}", second.key, first.key);
    let mut scene = sheet::titled(WIDTH, panel.bottom + 50.0 + LEGEND + FOOT, &title(mapped), &made(mapped, &sub));
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, NAME.fit(&second.key, RIGHT - MARGIN));
    let style = LABEL.sized(11.0);
    for (i, row) in rows.iter().enumerate() {
        let y = panel.top + CELL * i as f64;
        let label = row.iter().flatten().find_map(|point| point.second).map(|at| value(second, at)).unwrap_or_default();
        scene.text(LEFT - 8.0, y + CELL / 2.0 + 4.0, TextAnchor::End, NOTE, label);
        for (j, point) in row.iter().enumerate().filter_map(|(j, point)| Some((j, (*point)?))) {
            let x = panel.left + wide * j as f64;
            let (fill, ink) = inks(point.outcome);
            scene.rect(x + 0.5, y + 0.5, wide - 1.0, CELL - 1.0, fill);
            let words = cell_words(point);
            if style.width(&words) < wide - 6.0 {
                scene.text(x + wide / 2.0, y + CELL / 2.0 + 4.0, TextAnchor::Middle, style.in_ink(ink), words);
            }
        }
    }
    edges(&mut scene, &rows, &panel, wide);
    let ticks: Vec<_> = columns.iter().map(|column| value(first, *column)).enumerate().collect();
    name_columns(&mut scene, &ticks, &panel, wide, &first.key);
    legend(&mut scene, mapped, panel.bottom + 50.0 + 18.0);
    sheet::footed(scene, &counted(mapped), &mapped.map.command)
}

/// The boundary: where a cell that never recovers has a neighbour that does.
fn edges(scene: &mut Scene, rows: &[Vec<Option<&PointRow>>], panel: &Panel, wide: f64) {
    let never = |i: usize, j: usize| rows.get(i).and_then(|row| *row.get(j)?).map(|point| point.outcome == PointOutcome::Never);
    let differ = |a: Option<bool>, b: Option<bool>| a.zip(b).is_some_and(|(a, b)| a != b);
    for (i, row) in rows.iter().enumerate() {
        for j in 0..row.len() {
            let (x, y) = (panel.left + wide * j as f64, panel.top + CELL * i as f64);
            if differ(never(i, j), never(i, j + 1)) {
                scene.rule((x + wide, y - 1.5), (x + wide, y + CELL + 1.5), Ink::Fault, 3.0);
            }
            if differ(never(i, j), never(i + 1, j)) {
                scene.rule((x - 1.5, y + CELL), (x + wide + 1.5, y + CELL), Ink::Fault, 3.0);
            }
        }
    }
}

/// Names below columns, each n-th where they would touch, and the name of the axis.
fn name_columns(scene: &mut Scene, ticks: &[(usize, String)], panel: &Panel, wide: f64, name: &str) {
    let widest = ticks.iter().map(|(_, label)| NOTE.width(label)).fold(0.0, f64::max);
    let every = ((widest + 8.0) / wide).ceil().max(1.0) as usize;
    for (j, label) in ticks.iter().step_by(every) {
        let x = panel.left + wide * (*j as f64 + 0.5);
        scene.text(x, panel.bottom + 18.0, TextAnchor::Middle, NOTE, label.as_str());
    }
    scene.text((panel.left + panel.right) / 2.0, panel.bottom + 38.0, TextAnchor::Middle, NAME, name);
}

/// Median and 99th percentile at each value, from 0; what is not reached in the run stands above.
fn curve(mapped: &Mapped) -> Scene {
    let vary = &mapped.map.vary[0];
    let top = TOP + 44.0;
    let panel = Panel { left: LEFT, right: RIGHT, top, bottom: top + CURVE };
    let wide = (RIGHT - LEFT) / mapped.points.len().max(1) as f64;
    let longest = mapped.points.iter().filter_map(|point| point.p99_us.max(point.p50_us)).max().unwrap_or(0);
    let end = super::axis::time_ceiling((longest.max(mapped.map.within_us) as f64 * 1.02).max(1.0), 5);
    let y = Axis::linear(0.0, end, panel.bottom, panel.top);
    let sub = format!("time until clients are back, against {}", vary.key);
    let mut scene = sheet::titled(WIDTH, panel.bottom + 50.0 + LEGEND + FOOT, &curve_title(mapped), &made(mapped, &sub));
    stuck_columns(&mut scene, mapped, &panel, wide);
    panel.y_axis(&mut scene, &y, &y.time_ticks());
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, "Time to reconnect");
    let within = y.at(mapped.map.within_us as f64);
    scene.line(vec![(LEFT, within), (RIGHT, within)], Ink::Muted, 1.2, &[2.5, 2.5]);
    for (series, of) in [(1, PointRow::p50 as fn(&PointRow) -> Option<u64>), (0, PointRow::p99)] {
        let at = |(j, point): (usize, &PointRow)| of(point).map(|us| (LEFT + wide * (j as f64 + 0.5), y.at(us as f64)));
        let line: Vec<_> = mapped.points.iter().enumerate().map(at).collect();
        for run in line.split(Option::is_none) {
            let points: Vec<_> = run.iter().flatten().copied().collect();
            scene.line(points.clone(), Ink::Series(series), 2.0, super::scene::dash(1 - series));
            points.iter().for_each(|(x, y)| scene.dot(*x, *y, 4.5, Ink::Series(series)));
        }
    }
    labels(&mut scene, mapped, &panel, &y, wide);
    let ticks: Vec<_> = mapped.points.iter().map(|point| value(vary, point.first)).enumerate().collect();
    scene.rule((LEFT, panel.bottom), (RIGHT, panel.bottom), Ink::Axis, 1.0);
    name_columns(&mut scene, &ticks, &panel, wide, &vary.key);
    curve_legend(&mut scene, mapped, panel.bottom + 50.0 + 18.0);
    sheet::footed(scene, &counted(mapped), &mapped.map.command)
}

/// Bands where it never recovers, with who is away at the end.
fn stuck_columns(scene: &mut Scene, mapped: &Mapped, panel: &Panel, wide: f64) {
    for (j, point) in mapped.points.iter().enumerate().filter(|(_, point)| point.outcome == PointOutcome::Never) {
        let left = panel.left + wide * j as f64;
        scene.rect(left, panel.top, wide, panel.bottom - panel.top, Ink::Down);
        let words = cell_words(point);
        if NAME.width(&words) < wide - 4.0 {
            scene.text(left + wide / 2.0, panel.top - 8.0, TextAnchor::Middle, NAME, words);
        }
    }
}

/// The 99th percentiles, on the side of their points where the line is not.
fn labels(scene: &mut Scene, mapped: &Mapped, panel: &Panel, y: &Axis, wide: f64) {
    let style = NAME.sized(11.5);
    let times: Vec<_> = mapped.points.iter().filter_map(PointRow::p99).collect();
    let falls = times.first() > times.last();
    for (j, point) in mapped.points.iter().enumerate() {
        let Some(us) = point.p99() else { continue };
        let (x, words) = (panel.left + wide * (j as f64 + 0.5), number::time(us));
        let (x, anchor) = if falls { (x + 4.0, TextAnchor::Start) } else { (x - 4.0, TextAnchor::End) };
        if style.width(&words) < wide - 8.0 {
            scene.text(x, y.at(us as f64) - 9.0, anchor, style, words);
        }
    }
}

fn curve_legend(scene: &mut Scene, mapped: &Mapped, y: f64) {
    let mut x = LEFT;
    let entry = |scene: &mut Scene, x: &mut f64, ink: Ink, dash, dot: bool, words: &str| {
        scene.line(vec![(*x, y - 4.0), (*x + 30.0, y - 4.0)], ink, if dot { 2.0 } else { 1.2 }, dash);
        if dot {
            scene.dot(*x + 15.0, y - 4.0, 4.5, ink);
        }
        scene.text(*x + 37.0, y, TextAnchor::Start, NOTE, words);
        *x += 37.0 + Type::width(NOTE, words) + 24.0;
    };
    entry(scene, &mut x, Ink::Series(0), super::scene::dash(1), true, "99 % are back");
    entry(scene, &mut x, Ink::Series(1), super::scene::dash(0), true, "half are back");
    let within = format!("later than {} is late", number::time(mapped.map.within_us));
    entry(scene, &mut x, Ink::Muted, &[2.5, 2.5], false, &within);
    if mapped.points.iter().any(|point| point.outcome == PointOutcome::Never) {
        scene.rect(x, y - 11.0, 22.0, 14.0, Ink::Down);
        scene.text(x + 29.0, y, TextAnchor::Start, NOTE, "not back within the run: % disconnected at its end");
    }
}

fn curve_title(mapped: &Mapped) -> String {
    let vary = &mapped.map.vary[0];
    let never = mapped.points.iter().filter(|point| point.outcome == PointOutcome::Never).count();
    let of = |point: &PointRow| match point.p99_us.filter(|_| point.outcome != PointOutcome::Never) {
        Some(us) => format!("in {} at {}", number::time(us), value(vary, point.first)),
        None => format!("not at {}", value(vary, point.first)),
    };
    match (mapped.points.first(), mapped.points.last()) {
        (Some(low), Some(high)) if never < mapped.points.len() => format!("99 % are back {}, {}", of(low), of(high)),
        _ => title(mapped),
    }
}

impl PointRow {
    fn p50(&self) -> Option<u64> {
        self.p50_us.filter(|_| self.outcome != PointOutcome::Never)
    }

    fn p99(&self) -> Option<u64> {
        self.p99_us.filter(|_| self.outcome != PointOutcome::Never)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::map::fixture::mapped;

    /// With `CLOSESTORM_CHARTS=DIR` the pictures stay in DIR to be looked at.
    #[test]
    fn texts_stay_on_the_canvas_and_apart() {
        for two in [false, true] {
            let scene = scene(&mapped(two));
            scene.assert_readable(if two { "two parameters" } else { "one parameter" });
            if let Some(dir) = std::env::var_os("CLOSESTORM_CHARTS") {
                std::fs::create_dir_all(&dir).unwrap();
                {
                    let png = Path::new(&dir).join(format!("map-{}.png", if two { 2 } else { 1 }));
                    draw::png(&scene, &png, &png).unwrap();
                }
            }
        }
    }

    #[test]
    fn the_boundary_is_drawn_where_outcomes_differ_and_nowhere_else() {
        let edges = |mapped: &Mapped| {
            scene(mapped).items.iter().filter(|item| matches!(item, super::super::scene::Item::Line { ink: Ink::Fault, .. })).count()
        };
        let mut all = mapped(true);
        assert!(edges(&all) > 12, "{}", edges(&all));
        all.points.iter_mut().for_each(|point| point.outcome = PointOutcome::Late);
        assert_eq!(edges(&all), 0);
    }
}
