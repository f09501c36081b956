//! CohortCurves of a time by percentile on a logarithmic axis (as HDR plots have it), one per cohort: in one panel where they are few, in a panel each
//! where they are many.

use super::axis::{self, Axis};
use super::bands::{self, BandPlace, Look};
use super::limits::{self, CurveLimit};
use super::multiples::{Grid, GridAxes, MANY};
use super::scene::{Dash, Ink, LABEL, NAME, NOTE, Scene, TextAnchor, dash, spread};
use super::sheet::{FOOT, MARGIN, Panel, TOP, WIDTH};
use super::survival::SurvivalCurve;
use crate::number;
use crate::results::bands::ReconnectBand;

const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 262.0;
const HEIGHT: f64 = 540.0;
/// The widest step of the grid of percentiles, in decades: from 89 % to 90 %.
const GRID: f64 = 0.042;
/// A line behind another, to compare it with.
const CONTEXT: Ink = Ink::Axis;

/// The line of a cohort.
pub(super) struct CohortCurve {
    pub(super) cohort: String,
    /// Stands below its name.
    pub(super) strategy: String,
    pub(super) distribution: SurvivalCurve,
}

/// What a chart of them draws.
pub(super) struct CohortCurves<'a> {
    /// What the time is, on its axis.
    pub(super) what: &'static str,
    /// What the percentiles are of.
    pub(super) of: &'static str,
    pub(super) lines: &'a [CohortCurve],
    /// All cohorts together.
    pub(super) all: SurvivalCurve,
    /// A band for each line, which may be empty.
    pub(super) of_seeds: Vec<Vec<&'a ReconnectBand>>,
    /// Those far above the curves are left out.
    pub(super) limits: Vec<CurveLimit>,
}

impl CohortCurves<'_> {
    /// Height of the whole chart, in px.
    pub(super) fn height(&self) -> f64 {
        if self.lines.len() < MANY { HEIGHT } else { self.grid().bottom() + 36.0 + FOOT }
    }

    /// Draws them with their axes, names and limits.
    pub(super) fn draw(&self, scene: &mut Scene) {
        let range = CurveRange::of(self);
        if self.lines.len() < MANY {
            self.draw_together(scene, &range);
        } else {
            self.draw_each(scene, &range);
        }
        for limit in &range.limits {
            self.draw_limit(scene, &range, limit);
        }
    }

    fn grid(&self) -> Grid {
        Grid::of(self.lines.len(), TOP + 14.0)
    }

    fn name(&self, range: &CurveRange) -> String {
        format!("{}{}", self.what, if range.is_wide() { " (logarithmic)" } else { "" })
    }

    fn below(&self) -> String {
        format!("Percentile of {}, logarithmic (%)", self.of)
    }

    /// In the one panel, or in those that the limit is on.
    fn draw_limit(&self, scene: &mut Scene, range: &CurveRange, limit: &CurveLimit) {
        let at = place(limit.share);
        if self.lines.len() < MANY {
            let panel = one_panel();
            limits::draw(scene, limit, range.x(&panel).at(at), &range.y(&panel, 5), panel.left);
            return;
        }
        let on = |line: &CohortCurve| line.distribution.back > 0.0 && limit.cohort.as_ref().is_none_or(|cohort| line.cohort == *cohort);
        for (n, _) in self.lines.iter().enumerate().filter(|(_, line)| on(line)) {
            let panel = self.grid().panel(n);
            let label = match &limit.cohort {
                Some(cohort) => limit.label.replacen(&format!("{cohort} "), "", 1),
                None => format!("all: {}", limit.label),
            };
            let limit = CurveLimit { label, ..limit.clone() };
            limits::draw(scene, &limit, range.x(&panel).at(at), &range.y(&panel, 3), panel.left);
        }
    }

    /// A line for each cohort in one panel.
    fn draw_together(&self, scene: &mut Scene, range: &CurveRange) {
        let panel = one_panel();
        let (lines, of_seeds, name) = (self.lines, &self.of_seeds, self.name(range));
        let (x, y) = (range.x(&panel), range.y(&panel, 5));
        panel.y_axis(scene, &y, &y.time_ticks());
        scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, name.as_str());
        panel.x_axis(scene, &x, &percentiles(range.decades), &self.below());
        draw_bands(scene, of_seeds, &panel, (&x, &y), MARGIN + NAME.width(&name) + 24.0);
        for (n, line) in lines.iter().enumerate() {
            // A thick line would hide a narrow band.
            let width = if of_seeds[n].is_empty() { 2.4 } else { 1.8 };
            draw_line(scene, &x, &y, &CurveLook { ink: Ink::Series(n), dash: dash(n), width }, &line.distribution, range.decades);
        }
        draw_names(scene, &panel, lines, &y);
    }

    /// A panel for each cohort, with the line of all together behind its own.
    fn draw_each(&self, scene: &mut Scene, range: &CurveRange) {
        let (grid, name, of_seeds) = (self.grid(), self.name(range), &self.of_seeds);
        scene.text(MARGIN, TOP + 4.0, TextAnchor::Start, NAME, name.as_str());
        let mut left = MARGIN + NAME.width(&name) + 24.0;
        scene.rule((left, TOP), (left + 20.0, TOP), CONTEXT, 1.2);
        scene.text(left + 26.0, TOP + 4.0, TextAnchor::Start, NOTE, "all cohorts together");
        left += 26.0 + NOTE.width("all cohorts together") + 22.0;
        if let Some(seeds) = of_seeds.iter().flatten().map(|band| band.seeds).max() {
            bands::key(scene, (left, TOP + 4.0), seeds, 1, "line: the first");
        }
        let x_ticks: Vec<_> = percentiles(range.decades).into_iter().filter(|(_, label)| label != "75" && label != "95").collect();
        let y_ticks = range.y(&grid.panel(0), 3).time_ticks();
        for (n, line) in self.lines.iter().enumerate() {
            let panel = grid.panel(n);
            let (x, y) = (range.x(&panel), range.y(&panel, 3));
            let count = |n: f64| number::count(n.round() as u64);
            let back = format!(", {} back", count(line.distribution.back));
            let back = if self.of == "outages" { back.as_str() } else { "" };
            let counted = format!("n = {}{back}", count(line.distribution.outages));
            let axes = GridAxes { x: &|panel| range.x(panel), y: &|panel| range.y(panel, 3), x_ticks: &x_ticks, y_ticks: &y_ticks };
            grid.frame(scene, n, (&line.cohort, &[counted, quantiles(&line.distribution).join(", ")]), &axes);
            if line.distribution.back <= 0.0 {
                let style = NOTE.in_ink(Ink::Fault);
                scene.text(
                    (panel.left + panel.right) / 2.0,
                    (panel.top + panel.bottom) / 2.0,
                    TextAnchor::Middle,
                    style,
                    "nobody came back",
                );
                continue;
            }
            draw_line(scene, &x, &y, &CurveLook { ink: CONTEXT, dash: &[], width: 1.2 }, &self.all, range.decades);
            let seeds = of_seeds[n].first().map_or(0, |band| band.seeds);
            bands::draw(scene, &places(&of_seeds[n], &panel, &x, &y), Ink::Series(0), Look::of(seeds, 1));
            draw_line(scene, &x, &y, &CurveLook { ink: Ink::Series(0), dash: &[], width: 2.0 }, &line.distribution, range.decades);
        }
        scene.text(WIDTH / 2.0, grid.bottom() + 18.0, TextAnchor::Middle, NAME, self.below());
    }
}

fn one_panel() -> Panel {
    Panel { left: LEFT, right: RIGHT, top: TOP + 20.0, bottom: HEIGHT - FOOT - 50.0 }
}

/// What the axes show.
struct CurveRange {
    least: f64,
    most: f64,
    decades: f64,
    /// Those that lie on the axes.
    limits: Vec<CurveLimit>,
}

impl CurveRange {
    fn of(curves: &CohortCurves) -> CurveRange {
        let (lines, of_seeds) = (curves.lines, &curves.of_seeds);
        let decades = decades(lines);
        let times = || lines.iter().flat_map(|line| line.distribution.steps.iter().map(|step| step.0 as f64));
        let ends = || of_seeds.iter().flatten().flat_map(|band| [band.least_us, band.most_us]).flatten().map(|us| us as f64);
        let (least, most) = (times().chain(ends()).fold(f64::MAX, f64::min), times().chain(ends()).fold(0.0, f64::max));
        let mut limits = curves.limits.clone();
        // One far above the curve would press it flat: that it holds is seen without.
        limits.retain(|limit| limit.us <= most * 1.6 && place(limit.share) <= decades + 1e-6 && limit.share < 1.0);
        let most = limits.iter().map(|limit| limit.us).fold(most, f64::max);
        CurveRange { least, most, decades, limits }
    }

    fn is_wide(&self) -> bool {
        self.least > 0.0 && self.most / self.least > 200.0
    }

    fn y(&self, panel: &Panel, ticks: usize) -> Axis {
        if self.is_wide() {
            Axis::log(self.least, self.most, panel.bottom, panel.top)
        } else {
            Axis::linear(0.0, axis::time_ceiling(self.most, ticks), panel.bottom, panel.top)
        }
    }

    fn x(&self, panel: &Panel) -> Axis {
        Axis::linear(0.0, self.decades, panel.left, panel.right)
    }
}

/// A band for each line, to the top of the panel where a seed did not come so far, and what they mean from `left` on.
fn draw_bands(scene: &mut Scene, of_seeds: &[Vec<&ReconnectBand>], panel: &Panel, (x, y): (&Axis, &Axis), left: f64) {
    let all = || of_seeds.iter().flatten();
    let Some(seeds) = all().map(|band| band.seeds).max() else { return };
    for (n, band) in of_seeds.iter().enumerate() {
        bands::draw(scene, &places(band, panel, x, y), Ink::Series(n), Look::of(seeds, of_seeds.len()));
    }
    let open = all().any(|band| band.least_us.is_some() && band.most_us.is_none());
    let more = if open { "line: the first · to the top: not reached by some" } else { "line: the first" };
    bands::key(scene, (left, panel.top - 14.0), seeds, of_seeds.len(), more);
}

fn places(band: &[&ReconnectBand], panel: &Panel, x: &Axis, y: &Axis) -> Vec<BandPlace> {
    let height = |us: Option<u64>| us.map_or(panel.top, |us| y.at(us as f64));
    let mut places: Vec<BandPlace> = Vec::new();
    for band in band.iter().take_while(|band| band.least_us.is_some()) {
        let x = x.at(place(band.percentile / 100.0));
        // Percentiles are close together at the left.
        if places.last().is_none_or(|last| x - last.x >= 1.0) {
            places.push(BandPlace { x, y: [band.least_us, band.p10_us, band.p90_us, band.most_us].map(height) });
        }
    }
    // The last percentile is the last one of the grid before the axis ends.
    let end = places.last().copied().filter(|end| end.x < panel.right && panel.right - end.x <= x.at(GRID) - x.at(0.0));
    places.extend(end.map(|end| BandPlace { x: panel.right, ..end }));
    places
}

/// Length of the axis: as many nines as the largest cohort supports, and what its greatest values need.
pub(super) fn decades(lines: &[CohortCurve]) -> f64 {
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
pub(super) fn place(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

/// How a line looks as far as the samples support it; beyond it is thin.
struct CurveLook {
    ink: Ink,
    dash: Dash,
    width: f64,
}

/// Draws it.
fn draw_line(scene: &mut Scene, x: &Axis, y: &Axis, look: &CurveLook, distribution: &SurvivalCurve, decades: f64) {
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
    scene.line(thinned(thin), look.ink, 1.0, &[]);
    scene.line(thinned(sure), look.ink, look.width, look.dash);
    if distribution.reached() < 1.0 - 1e-9
        && let Some((time, share)) = distribution.steps.last()
        && look.ink != CONTEXT
    {
        scene.text(
            x.at(place(*share).min(decades)),
            // Within the panel, also at its top.
            (y.at(*time as f64) + 4.5).max(y.at(f64::MAX) + 13.0),
            TextAnchor::Middle,
            NAME.in_ink(Ink::Fault).sized(13.0),
            "✗",
        );
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
fn draw_names(scene: &mut Scene, panel: &Panel, lines: &[CohortCurve], y: &Axis) {
    let end = |line: &CohortCurve| y.at(line.distribution.steps.last().map_or(0.0, |step| step.0 as f64));
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
            scene.text(text, top + 4.0, TextAnchor::Start, LABEL, LABEL.fit(&format!("{} · {}", line.cohort, line.strategy), room));
            continue;
        }
        scene.text(text, top + 4.0, TextAnchor::Start, NAME, NAME.fit(&line.cohort, room));
        // Numbers go before what the cohort is: they take the second line if they need it.
        let mut notes = NOTE.wrap(&in_numbers(&line.distribution), room, 2);
        notes.extend(NOTE.wrap(&line.strategy, room, 3 - notes.len()));
        for (n, note) in notes.into_iter().enumerate() {
            scene.text(text, top + 20.0 + n as f64 * 16.0, TextAnchor::Start, NOTE, note);
        }
    }
}

fn in_numbers(distribution: &SurvivalCurve) -> String {
    let mut parts = vec![format!("n = {}", number::count(distribution.outages.round() as u64))];
    parts.extend(quantiles(distribution));
    // A line breaks between figures, not within one.
    let parts: Vec<String> = parts.into_iter().map(|part| part.replace(' ', "\u{a0}")).collect();
    parts.join(", ")
}

fn quantiles(distribution: &SurvivalCurve) -> Vec<String> {
    // What its samples do not give is not said.
    let time = |q: f64| distribution.quantile(q).filter(|_| distribution.supported() >= q);
    let said = |(name, q): (&str, f64)| time(q).map(|time| format!("{name} {}", number::time(time)));
    [("p50", 0.5), ("p90", 0.9)].into_iter().filter_map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_stands_in_the_panels_of_whom_it_is_on() {
        let scene = super::super::reconnect::scene(&super::super::fixture::strangers(6, 1));
        let said = |text: &str| scene.text_boxes().iter().filter(|found| found.4 == text).count();
        assert_eq!((said("✗ all: p90 < 4 s"), said("p50 < 3 s")), (6 - 1, 1), "nobody of one cohort came back");
    }

    #[test]
    fn percentile_axis_has_a_decade_for_each_nine() {
        for (quantile, at) in [(0.0, 0.0), (0.9, 1.0), (0.99, 2.0), (0.999, 3.0)] {
            assert!((place(quantile) - at).abs() < 1e-9, "{quantile}");
        }
        assert_eq!(percentiles(3.0).last().map(|tick| tick.1.clone()), Some("99.9".to_string()));
    }
}
