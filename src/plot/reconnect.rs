//! Chart: how long clients were gone, by percentile on a logarithmic axis (as HDR plots have it), a line per cohort.
//!
//! Kaplan–Meier estimates from `reconnects.csv`: outages that did not end are in them, and a line ends where it was not reached. Where
//! there are several seeds, the line is the first, and a band from `runs_reconnect.csv` is around it.

use super::Loaded;
use super::axis::{self, Axis};
use super::bands::{self, BandPlace, Look};
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor, dash, spread};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::survival::{self, PlottedOutage, SurvivalCurve};
use crate::metrics::latency::needed;
use crate::number;
use crate::results::bands::ReconnectBand;
use crate::results::record::ReconnectRow;

const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 262.0;
const HEIGHT: f64 = 540.0;
/// The widest step of the grid of percentiles, in decades: from 89 % to 90 %.
const GRID: f64 = 0.042;
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
    let decades = decades(&lines);
    let of_seeds: Vec<Vec<&ReconnectBand>> = lines.iter().map(|line| of_seeds(loaded, &line.cohort, decades)).collect();
    let ends = || of_seeds.iter().flatten().flat_map(|band| [band.least_us, band.most_us]).flatten().map(|us| us as f64);
    let (least, most) = (times().chain(ends()).fold(f64::MAX, f64::min), times().chain(ends()).fold(0.0, f64::max));
    let wide = least > 0.0 && most / least > 200.0;
    let y = if wide {
        Axis::log(least, most, panel.bottom, panel.top)
    } else {
        Axis::linear(0.0, axis::time_ceiling(most, 5), panel.bottom, panel.top)
    };
    panel.y_axis(&mut scene, &y, &y.time_ticks());
    let name = if wide { "Time to reconnect (logarithmic)" } else { "Time to reconnect" };
    scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, name);
    let x = Axis::linear(0.0, decades, LEFT, RIGHT);
    panel.x_axis(&mut scene, &x, &percentiles(decades), "Percentile of outages, logarithmic (%)");
    draw_bands(&mut scene, &of_seeds, &panel, (&x, &y), MARGIN + NAME.width(name) + 24.0);
    for (n, line) in lines.iter().enumerate() {
        // A thick line would hide a narrow band.
        let widths = if of_seeds[n].is_empty() { (2.4, 1.0) } else { (1.8, 1.0) };
        draw_line(&mut scene, &x, &y, (n, widths), &line.distribution, decades);
    }
    draw_names(&mut scene, &panel, &lines, &y);
    let back: f64 = lines.iter().map(|line| line.distribution.back).sum();
    let more = if left_out > 0 { format!(" · {} left out", number::counted(left_out as u64, "more cohort")) } else { String::new() };
    let counted = format!(
        "n = {}, {} of them ended{more} · thin: percentiles that need more samples (p99 takes {}) · ✗ where a line ends short of all",
        number::counted(outages.round() as u64, "outage"),
        number::count(back.round() as u64),
        needed(0.99)
    );
    sheet::close(scene, loaded, &counted)
}

/// How far the seeds of a cohort lie apart, by percentile up to the end of the axis; nothing where there is one seed.
fn of_seeds<'a>(loaded: &'a Loaded, cohort: &str, decades: f64) -> Vec<&'a ReconnectBand> {
    let bands = loaded.bands.reconnect.iter().filter(|band| band.cohort == cohort && band.seeds > 1);
    bands.filter(|band| place(band.percentile / 100.0) <= decades + 1e-6).collect()
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

/// The line of a cohort.
pub(super) struct ReconnectCurve {
    pub(super) cohort: String,
    /// Stands below its name.
    pub(super) strategy: String,
    pub(super) distribution: SurvivalCurve,
}

/// The lines, and how many cohorts have none because there are too many.
fn lines(loaded: &Loaded) -> (Vec<ReconnectCurve>, usize) {
    let end_us = loaded.summary.measured_ms * 1000;
    let lines = loaded.summary.cohorts.iter().map(|(cohort, row)| {
        let rows = loaded.reconnects.iter().filter(|row| row.cohort == *cohort);
        let outages = rows.map(|row| outage(row, end_us)).collect();
        ReconnectCurve { cohort: cohort.clone(), strategy: row.strategy.clone(), distribution: survival::estimate(outages) }
    });
    let mut lines: Vec<ReconnectCurve> = lines.filter(|line| line.distribution.outages > 0.0).collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    (lines, left_out)
}

/// An outage that did not end was out until the measurement ended, whether or not the client had given up.
pub(crate) fn outage(row: &ReconnectRow, end_us: u64) -> PlottedOutage {
    let time_us = row.reconnect_us.unwrap_or_else(|| end_us.saturating_sub(row.fault_offset_us));
    PlottedOutage { time_us, ended: row.reconnect_us.is_some(), weight: row.weight }
}

fn title(lines: &[ReconnectCurve]) -> String {
    let p = |line: &ReconnectCurve| {
        let quantile = if line.distribution.supported() >= 0.99 { (0.99, "99 %") } else { (0.5, "half") };
        (line.distribution.quantile(quantile.0), quantile.1)
    };
    if let [line] = lines {
        let longest = line.distribution.quantile(1.0);
        // Of a handful no share is known, the longest is.
        if let Some(longest) = longest.filter(|_| line.distribution.supported() < 0.5) {
            let n = line.distribution.outages.round() as u64;
            return format!(
                "{} over within {}",
                if n == 1 { "The outage was".to_string() } else { format!("All {n} outages were") },
                number::time(longest)
            );
        }
        return match p(line) {
            (Some(time), "half") => format!("Half of outages were over within {}", number::time(time)),
            (Some(time), share) => format!("{share} of outages were over within {}", number::time(time)),
            (None, share) => format!("Fewer than {share} of the outages ended: {}", number::percent(line.distribution.reached() * 100.0)),
        };
    }
    let median = |line: &ReconnectCurve| line.distribution.quantile(0.5).unwrap_or(u64::MAX);
    let (Some(fast), Some(slow)) = (lines.iter().min_by_key(|line| median(line)), lines.iter().max_by_key(|line| median(line))) else {
        return String::new();
    };
    let said = |line: &ReconnectCurve| line.distribution.quantile(0.5).map_or_else(|| "not reached".to_string(), number::time);
    if median(slow) == u64::MAX && median(fast) < u64::MAX {
        return format!("Half are back within {} ({}), and never half of {}", said(fast), fast.cohort, slow.cohort);
    }
    format!("Half are back within {} ({}) to {} ({})", said(fast), fast.cohort, said(slow), slow.cohort)
}

/// Length of the axis: as many nines as the largest cohort supports, and what its greatest values need.
fn decades(lines: &[ReconnectCurve]) -> f64 {
    let most = lines.iter().map(|line| line.distribution.outages).fold(1.0, f64::max);
    most.log10().clamp(1.0, 5.0)
}

pub(super) fn percentiles(decades: f64) -> Vec<(f64, String)> {
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

/// `widths`: as far as the samples support it, and beyond.
pub(super) fn draw_line(
    scene: &mut Scene,
    x: &Axis,
    y: &Axis,
    (n, widths): (usize, (f64, f64)),
    distribution: &SurvivalCurve,
    decades: f64,
) {
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
    scene.line(thinned(thin), Ink::Series(n), widths.1, &[]);
    scene.line(thinned(sure), Ink::Series(n), widths.0, dash(n));
    if distribution.reached() < 1.0 - 1e-9
        && let Some((time, share)) = distribution.steps.last()
    {
        scene.text(
            x.at(place(*share).min(decades)),
            y.at(*time as f64) + 4.5,
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
pub(super) fn draw_names(scene: &mut Scene, panel: &Panel, lines: &[ReconnectCurve], y: &Axis) {
    let end = |line: &ReconnectCurve| y.at(line.distribution.steps.last().map_or(0.0, |step| step.0 as f64));
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
    for (name, q) in [("p50", 0.5), ("p90", 0.9)] {
        // What its samples do not give is not said.
        let time = distribution.quantile(q).filter(|_| distribution.supported() >= q);
        parts.extend(time.map(|time| format!("{name} {}", number::time(time))));
    }
    // A line breaks between figures, not within one.
    let parts: Vec<String> = parts.into_iter().map(|part| part.replace(' ', "\u{a0}")).collect();
    parts.join(", ")
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
            detect_us: Some(0),
            backoff_us: 0,
            attempt_us: 0,
            first_reply_us: None,
            reconnect_us: None,
            attempts: 5,
            result: "gave_up".to_string(),
            weight: 2.0,
        };
        assert_eq!(outage(&row, 10_000_000), PlottedOutage { time_us: 7_000_000, ended: false, weight: 2.0 });
    }

    #[test]
    fn several_seeds_are_a_band_around_the_line_of_each_cohort() {
        use super::super::bands::fixture::{fifty_seeds, two_seeds};
        use super::super::scene::Item;
        let areas = |loaded: &Loaded, n: usize| {
            let of_line = |item: &Item| match item {
                Item::Area { points, ink, .. } if *ink == Ink::Series(n) && points.len() > 2 => Some(points.clone()),
                _ => None,
            };
            scene(loaded).items.iter().filter_map(of_line).collect::<Vec<_>>()
        };
        assert!(areas(&super::super::fixture::crash_storm(), 0).is_empty());
        let few = two_seeds();
        let [band] = &areas(&few, 0)[..] else { panic!("one band") };
        assert!(band.iter().all(|(_, top, bottom)| top <= bottom) && band.is_sorted_by(|a, b| a.0 < b.0), "{band:?}");
        assert!(band.last().is_some_and(|end| end.1 < 110.0 && end.2 > 120.0), "to the top, where one seed lost some: {band:?}");
        let many = fifty_seeds();
        for cohort in 0..3 {
            assert_eq!(areas(&many, cohort).len(), 2, "{cohort}");
        }
        let said = |loaded: &Loaded, words: &str| scene(loaded).text_boxes().iter().any(|(.., text)| text.contains(words));
        assert!(said(&few, "least to most of 2 seeds") && said(&many, "p10 to p90 of 50 seeds"));
        assert!(said(&few, "not reached by some"));
    }
}
