//! Chart: open clients over time, and below it a strip of attempts for each cohort; faults and the target's down time are marked.
//!
//! The strips share a scale, so that strategies can be compared by eye. Many cohorts are one line and one strip together, and below them each
//! has a panel with the share of its clients that were open. Marks come from `marks`. Lines and bars are the first of several seeds, and the
//! others a band from `runs_timeline.csv`.

use super::Loaded;
use super::axis::{self, Axis};
use super::bands::{self, BandPlace, Look};
use super::marks::{self, MarkLanes};
use super::multiples::{self, Grid, GridAxes, MANY, PANELS_MAX};
use super::scene::{Ink, LABEL, NAME, NOTE, Scene, TextAnchor, dash, spread};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::number;
use crate::results::bands::{TimelineBand, intervals_per_bin};
use std::collections::HashMap;

const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 172.0;
const OPEN_HEIGHT: f64 = 190.0;
const STRIP: f64 = 66.0;
const STRIP_GAP: f64 = 14.0;

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Open clients per cohort, and attempts to connect";
    if loaded.timeline.is_empty() {
        return sheet::empty(loaded, "No timeline was recorded", sub, "timeline.csv has no rows");
    }
    let each = series(loaded);
    let many = each.len() >= MANY;
    let series = if many { vec![together(loaded, &each)] } else { each.clone() };
    let lanes = marks::place(marks::of(loaded), LEFT, RIGHT, WIDTH - MARGIN, |us| time_axis(loaded).at(us));
    let open_top = TOP + 14.0 + lanes.height();
    let strips_top = open_top + OPEN_HEIGHT + 46.0;
    let strips_bottom = strips_top + series.len() as f64 * (STRIP + STRIP_GAP) - STRIP_GAP;
    let grid = Grid::of(each.len().min(PANELS_MAX), strips_bottom + 88.0);
    let list_top = if many { grid.bottom() + 14.0 } else { strips_bottom + 58.0 };
    let height = list_top + lanes.list_height() + FOOT - 8.0;

    let mut scene = sheet::open(loaded, WIDTH, height, &title(loaded, &each), sub);
    let x = time_axis(loaded);
    let strip = |n: usize| strips_top + n as f64 * (STRIP + STRIP_GAP);
    let mut panels = vec![(open_top, open_top + OPEN_HEIGHT)];
    panels.extend((0..series.len()).map(|n| (strip(n), strip(n) + STRIP)));
    lanes.draw_bands(&mut scene, &x, &panels);
    let open = Panel { left: LEFT, right: RIGHT, top: open_top, bottom: open_top + OPEN_HEIGHT };
    draw_open(&mut scene, &x, &open, &series);
    let strips = Panel { left: LEFT, right: RIGHT, top: strips_top, bottom: strips_bottom };
    draw_strips(&mut scene, &x, &strips, &series);
    lanes.draw_labels(&mut scene, &x, TOP + 10.0, &panels);

    let (ticks, unit) = axis::offset_ticks(length_us(loaded), 10);
    strips.x_axis(
        &mut scene,
        &x,
        &ticks,
        &format!("Time since {} ({unit})", if loaded.summary.is_of_real() { "clients were watched" } else { "the first arrival" }),
    );
    if many {
        draw_each(&mut scene, loaded, &grid, &each, &lanes);
    }
    lanes.draw_list(&mut scene, list_top);
    let clients = number::counted(loaded.summary.population(), "client");
    let attempts = number::counted(series.iter().map(|s| s.attempts.iter().sum::<u64>()).sum(), "attempt");
    let left_out = each.len().saturating_sub(PANELS_MAX);
    let more = if left_out > 0 { format!(" · {} left out", number::counted(left_out as u64, "more cohort")) } else { String::new() };
    let counted = format!("n = {clients}, {attempts} · one bar is {}{more}", number::time(series[0].bin_us));
    sheet::close(scene, loaded, &counted)
}

/// One cohort over time, in bins of equal length.
#[derive(Clone)]
struct Series {
    name: String,
    bin_us: u64,
    open: Vec<u64>,
    attempts: Vec<u64>,
    /// Of the attempts begun in each bin, those that opened, then or later.
    opened: Vec<u64>,
    /// Most attempts in a second.
    peak_per_s: Option<u64>,
    /// Of several seeds, by bin; empty of one, and for all cohorts together: what their seeds have together is not known.
    seeds: Vec<TimelineBand>,
}

impl Series {
    /// The most that is drawn: of the first seed or of any.
    fn most(&self, first: &[u64], of_seed: fn(&TimelineBand) -> u64) -> u64 {
        first.iter().copied().chain(self.seeds.iter().map(of_seed)).max().unwrap_or(0)
    }
}

fn length_us(loaded: &Loaded) -> f64 {
    let rows_end = loaded.timeline.iter().map(|row| row.offset_ms).max().unwrap_or(0) + sheet::interval_ms(&loaded.timeline);
    (rows_end.max(loaded.summary.measured_ms) * 1000) as f64
}

fn time_axis(loaded: &Loaded) -> Axis {
    Axis::linear(0.0, length_us(loaded), LEFT, RIGHT)
}

fn series(loaded: &Loaded) -> Vec<Series> {
    let names = sheet::cohorts_and(loaded, loaded.timeline.iter().map(|row| row.cohort.as_str()));
    let interval = sheet::interval_ms(&loaded.timeline);
    let intervals = (length_us(loaded) / 1000.0 / interval as f64).ceil() as u64;
    let per_bin = intervals_per_bin(intervals);
    let bins = intervals.div_ceil(per_bin) as usize;
    let empty = |name: &String| Series {
        name: name.clone(),
        bin_us: interval * per_bin * 1000,
        open: vec![0; bins],
        attempts: vec![0; bins],
        opened: vec![0; bins],
        peak_per_s: loaded.summary.cohorts.get(name).map(|cohort| cohort.attempts.peak_per_s),
        seeds: of_seeds(loaded, name, interval * per_bin, bins),
    };
    let mut series: Vec<Series> = names.iter().map(empty).collect();
    let mut failed = vec![vec![0; bins]; series.len()];
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(n, name)| (name.as_str(), n)).collect();
    for row in &loaded.timeline {
        let Some(index) = places.get(row.cohort.as_str()).copied() else { continue };
        let bin = ((row.offset_ms / interval / per_bin) as usize).min(bins - 1);
        let last_of_bin = (row.offset_ms / interval + 1).is_multiple_of(per_bin) || row.offset_ms / interval + 1 == intervals;
        series[index].attempts[bin] += row.attempts;
        series[index].opened[bin] += row.opened;
        failed[index][bin] += row.refused + row.timed_out + row.rejected + row.failed;
        if last_of_bin {
            series[index].open[bin] += row.open;
        }
    }
    for (s, failed) in series.iter_mut().zip(&failed) {
        s.opened = by_beginning(&s.attempts, &s.opened, failed);
    }
    series
}

/// All cohorts as one.
fn together(loaded: &Loaded, each: &[Series]) -> Series {
    let sum = |of: fn(&Series) -> &Vec<u64>| -> Vec<u64> {
        let bins = each.iter().map(|s| of(s).len()).max().unwrap_or(0);
        (0..bins).map(|bin| each.iter().map(|s| of(s)[bin]).sum()).collect()
    };
    Series {
        name: format!("{} cohorts", each.len()),
        bin_us: each[0].bin_us,
        open: sum(|s| &s.open),
        attempts: sum(|s| &s.attempts),
        opened: sum(|s| &s.opened),
        peak_per_s: Some(loaded.summary.attempts.peak_per_s),
        seeds: Vec::new(),
    }
}

/// How far the seeds of a cohort lie apart; nothing where there is one seed, or where the bins are not those of the chart.
fn of_seeds(loaded: &Loaded, cohort: &str, bin_ms: u64, bins: usize) -> Vec<TimelineBand> {
    let of_cohort = loaded.bands.timeline.iter().filter(|band| band.cohort == cohort && band.seeds > 1);
    let bands: Vec<TimelineBand> = of_cohort.cloned().collect();
    let fits = bands.len() == bins && bands.iter().enumerate().all(|(bin, band)| band.offset_ms == bin as u64 * bin_ms);
    if fits { bands } else { Vec::new() }
}

/// Of the attempts begun in each bin, how many opened. The file counts outcomes when they come, which under load is later.
///
/// A failure is taken to belong to its own bin, since a refusal comes at once, and beyond that to the oldest attempt under way; an
/// opening to the oldest, since servers answer in order. The totals are exact, the places of a mix are an estimate.
fn by_beginning(attempts: &[u64], opened: &[u64], failed: &[u64]) -> Vec<u64> {
    let mut under_way = attempts.to_vec();
    let mut result = vec![0; attempts.len()];
    let mut oldest = 0;
    for bin in 0..attempts.len() {
        let here = failed[bin].min(under_way[bin]);
        under_way[bin] -= here;
        for (mut left, opens) in [(failed[bin] - here, false), (opened[bin], true)] {
            while left > 0 && oldest <= bin {
                let taken = left.min(under_way[oldest]);
                under_way[oldest] -= taken;
                left -= taken;
                result[oldest] += if opens { taken } else { 0 };
                if under_way[oldest] == 0 {
                    oldest += 1;
                }
            }
        }
    }
    result
}

fn title(loaded: &Loaded, series: &[Series]) -> String {
    let summary = &loaded.summary;
    let affected = summary.reconnect.affected;
    let peak = summary.attempts.peak_per_s;
    let open = number::counted(summary.clients.peak_open, "open client");
    // One at a time is no herd.
    let attempts = if peak > 1 { format!("; up to {} attempts in one second", number::count(peak)) } else { String::new() };
    if let Some(text) = compared(loaded, series) {
        return text;
    }
    if summary.reconnect.unseen {
        return format!("Up to {open}{attempts}");
    }
    if affected == 0 {
        return format!("Up to {open}, no outage{attempts}");
    }
    let bins = series.iter().map(|s| s.open.len()).max().unwrap_or(0);
    let totals: Vec<u64> = (0..bins).map(|bin| series.iter().map(|s| s.open[bin]).sum()).collect();
    let most = totals.iter().max().copied().unwrap_or(0);
    let low = totals.iter().skip_while(|open| **open < most).min().copied().unwrap_or(0);
    format!("{open} fell to {}{attempts}", number::count(low))
}

/// What tells cohorts apart: how hard each hits in its busiest second. `None` where they are alike, there is one, or they differ in size: more
/// clients make more attempts, whatever their strategy.
fn compared(loaded: &Loaded, series: &[Series]) -> Option<String> {
    let sizes = || loaded.summary.cohorts.values().map(|cohort| cohort.clients.planned);
    if sizes().max()? as f64 > 1.2 * sizes().min()? as f64 {
        return None;
    }
    let peaks: Vec<(u64, &str)> = series.iter().map(|s| s.peak_per_s.map(|peak| (peak, s.name.as_str()))).collect::<Option<_>>()?;
    let (low, high) = (peaks.iter().min_by_key(|peak| peak.0)?, peaks.iter().max_by_key(|peak| peak.0)?);
    let differ = peaks.len() > 1 && high.0 as f64 > 1.2 * low.0 as f64;
    let (least, most) = (number::count(low.0), number::count(high.0));
    differ.then(|| format!("Busiest second: {least} attempts ({}) to {most} ({})", low.1, high.1))
}

/// A panel for each cohort: which share of the most that it had open at a time.
fn draw_each(scene: &mut Scene, loaded: &Loaded, grid: &Grid, each: &[Series], lanes: &MarkLanes) {
    let first = grid.panel(0);
    scene.text(MARGIN, first.top - 62.0, TextAnchor::Start, NAME, "Open clients of each cohort (% of its most)");
    let (x_ticks, _) = axis::offset_ticks(length_us(loaded), 3);
    let y_ticks = [0.0, 50.0, 100.0].map(|share| (share, number::trimmed(share, 0)));
    let x = |panel: &Panel| Axis::linear(0.0, length_us(loaded), panel.left, panel.right);
    for (n, s) in each.iter().take(PANELS_MAX).enumerate() {
        let panel = grid.panel(n);
        lanes.draw_bands(scene, &x(&panel), &[(panel.top, panel.bottom)]);
        let attempts: u64 = s.attempts.iter().sum();
        let most = s.most(&s.open, |band| band.open_most);
        let notes = [format!("{} open at most", number::count(most)), busy(attempts, s.peak_per_s, panel.right - panel.left)];
        let y = |panel: &Panel| Axis::linear(0.0, 100.0, panel.bottom, panel.top);
        grid.frame(scene, n, (&s.name, &notes), &GridAxes { x: &x, y: &y, x_ticks: &x_ticks, y_ticks: &y_ticks });
        let counts = Axis::linear(0.0, most as f64, panel.bottom, panel.top);
        bands::draw(scene, &open_band(s, &x(&panel), &counts), Ink::Series(0), Look::of(seeds_of(s), 1));
        lanes.draw_lines(scene, &x(&panel), (panel.top, panel.bottom));
        scene.line(steps(s, &x(&panel), &counts), Ink::Series(0), 1.6, &[]);
    }
}

fn draw_open(scene: &mut Scene, x: &Axis, panel: &Panel, series: &[Series]) {
    let most = series.iter().map(|s| s.most(&s.open, |band| band.open_most)).max().unwrap_or(0) as f64;
    let ticks = axis::count_ticks(most, 4);
    let y = Axis::linear(0.0, ticks[ticks.len() - 1], panel.bottom, panel.top);
    panel.y_axis(scene, &y, &sheet::count_labels(&ticks));
    let name = "Open clients (count)";
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, name);
    scene.rule((LEFT, panel.bottom), (RIGHT, panel.bottom), Ink::Axis, 1.0);
    let seeds = series.iter().map(seeds_of).max().unwrap_or(0);
    for (n, s) in series.iter().enumerate() {
        bands::draw(scene, &open_band(s, x, &y), Ink::Series(n), Look::of(seeds, series.len()));
    }
    if seeds > 0 {
        bands::key(scene, (MARGIN + NAME.width(name) + 24.0, TOP), seeds, series.len(), "line and bars: the first");
    }
    let mut ends = Vec::new();
    for (n, s) in series.iter().enumerate() {
        let points = steps(s, x, &y);
        ends.push(points.last().map_or(panel.bottom, |point| point.1));
        // A thick line would hide a narrow band.
        scene.line(points, Ink::Series(n), if s.seeds.is_empty() { 2.2 } else { 1.5 }, dash(n));
    }
    let places = spread(&ends, 16.0, panel.top + 4.0, panel.bottom);
    for (n, s) in series.iter().enumerate() {
        if (places[n] - ends[n]).abs() > 2.0 {
            scene.rule((RIGHT + 2.0, ends[n]), (RIGHT + 9.0, places[n]), Ink::Series(n), 1.0);
        }
        scene.line(vec![(RIGHT + 10.0, places[n]), (RIGHT + 30.0, places[n])], Ink::Series(n), 2.2, dash(n));
        let now = number::count(s.open.last().copied().unwrap_or(0));
        let room = WIDTH - MARGIN - RIGHT - 36.0 - LABEL.width(&format!(" {now}"));
        scene.text(RIGHT + 35.0, places[n] + 4.0, TextAnchor::Start, LABEL, format!("{} {now}", LABEL.fit(&s.name, room)));
    }
}

/// The number of open clients as known at the end of each bin.
fn steps(series: &Series, x: &Axis, y: &Axis) -> Vec<(f64, f64)> {
    let mut points = vec![(x.at(0.0), y.at(0.0))];
    for (bin, open) in series.open.iter().enumerate() {
        points.push((x.at(((bin as u64 + 1) * series.bin_us) as f64), y.at(*open as f64)));
    }
    points
}

fn seeds_of(series: &Series) -> u64 {
    series.seeds.first().map_or(0, |band| band.seeds)
}

/// The same of the other seeds, at the ends of the bins.
fn open_band(series: &Series, x: &Axis, y: &Axis) -> Vec<BandPlace> {
    let begin = (!series.seeds.is_empty()).then(|| BandPlace { x: x.at(0.0), y: [y.at(0.0); 4] });
    let end = |(bin, band): (usize, &TimelineBand)| {
        let heights = [band.open_least, band.open_p10, band.open_p90, band.open_most].map(|count| y.at(count as f64));
        BandPlace { x: x.at(((bin as u64 + 1) * series.bin_us) as f64), y: heights }
    };
    begin.into_iter().chain(series.seeds.iter().enumerate().map(end)).collect()
}

/// Attempts of the other seeds, in steps as the bars.
fn attempts_band(series: &Series, x: &Axis, y: &Axis) -> Vec<BandPlace> {
    let step = |(bin, band): (usize, &TimelineBand)| {
        let heights = [band.attempts_least, band.attempts_p10, band.attempts_p90, band.attempts_most].map(|count| y.at(count as f64));
        [0, 1].map(|edge| BandPlace { x: x.at(((bin as u64 + edge) * series.bin_us) as f64), y: heights })
    };
    series.seeds.iter().enumerate().flat_map(step).collect()
}

fn draw_strips(scene: &mut Scene, x: &Axis, area: &Panel, series: &[Series]) {
    let most = series.iter().map(|s| s.most(&s.attempts, |band| band.attempts_most)).max().unwrap_or(0) as f64;
    let ticks = axis::count_ticks(most, 2);
    let name = format!("Attempts per {} (count)", number::time(series[0].bin_us));
    scene.text(MARGIN, area.top - 14.0, TextAnchor::Start, NAME, name.as_str());
    let [opened, not] = bar_inks(series.len());
    let colours = [(opened, "opened"), (not, "did not open: refused, timed out, rejected, failed")];
    let end = sheet::key(scene, MARGIN + NAME.width(&name) + 24.0, area.top - 14.0, &colours);
    if series.iter().any(|s| !s.seeds.is_empty()) {
        bands::sign(scene, end, area.top - 14.0, Ink::Strong, "seeds, as above");
    }
    for (n, s) in series.iter().enumerate() {
        let top = area.top + n as f64 * (STRIP + STRIP_GAP);
        let y = Axis::linear(0.0, ticks[ticks.len() - 1], top + STRIP, top);
        for tick in [ticks[0], ticks[ticks.len() - 1]] {
            scene.rule((LEFT, y.at(tick)), (RIGHT, y.at(tick)), Ink::Grid, 1.0);
            scene.text(LEFT - 8.0, y.at(tick) + 4.0, TextAnchor::End, NOTE, number::count(tick as u64));
        }
        draw_bars(scene, x, &y, s, [opened, not]);
        bands::draw(scene, &attempts_band(s, x, &y), Ink::Strong, Look::of(seeds_of(s), 1));
        let room = WIDTH - MARGIN - RIGHT - 10.0;
        scene.text(RIGHT + 10.0, top + 16.0, TextAnchor::Start, NAME, NAME.fit(&s.name, room));
        let (all, not) = (s.attempts.iter().sum::<u64>(), s.attempts.iter().sum::<u64>().saturating_sub(s.opened.iter().sum()));
        let mut notes = vec![number::counted(all, "attempt"), format!("{} did not open", number::count(not))];
        notes.extend(s.peak_per_s.map(|peak| busiest(peak, room)));
        for (line, note) in notes.iter().enumerate() {
            scene.text(RIGHT + 10.0, top + 32.0 + line as f64 * 15.0, TextAnchor::Start, NOTE, NOTE.fit(note, room));
        }
    }
}

/// Attempts and the most in a second in words that fit a small panel; where there is no room for both, the second.
fn busy(attempts: u64, peak_per_s: Option<u64>, room: f64) -> String {
    let attempts = number::counted(attempts, "attempt");
    let Some(peak) = peak_per_s.map(|peak| format!("peak {}/s", number::count(peak))) else { return attempts };
    let both = format!("{attempts}, {peak}");
    if multiples::NOTES.width(&both) <= room { both } else { peak }
}

/// The busiest second in words that fit: the number is never cut.
fn busiest(peak: u64, room: f64) -> String {
    let long = format!("busiest second {}", number::count(peak));
    if NOTE.width(&long) <= room { long } else { format!("peak {}/s", number::count(peak)) }
}

/// Of attempts that opened, and of others. Where colours are cohorts in the panel above, these are none of them.
fn bar_inks(cohorts: usize) -> [Ink; 2] {
    if cohorts == 1 { [Ink::Series(0), Ink::Series(1)] } else { [Ink::Axis, Ink::Strong] }
}

/// A bar for each bin: of the attempts begun in it those that opened below, the others above.
fn draw_bars(scene: &mut Scene, x: &Axis, y: &Axis, series: &Series, [opened_ink, not_ink]: [Ink; 2]) {
    for (bin, attempts) in series.attempts.iter().enumerate() {
        let from = x.at((bin as u64 * series.bin_us) as f64);
        let to = x.at(((bin as u64 + 1) * series.bin_us) as f64);
        let w = (to - from - 0.75).max(1.0);
        let opened = series.opened[bin].min(*attempts);
        let (zero, middle, top) = (y.at(0.0), y.at(opened as f64), y.at(*attempts as f64));
        scene.rect(from, middle, w, zero - middle, opened_ink);
        scene.rect(from, top, w, middle - top, not_ink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_go_back_to_where_their_attempts_began() {
        for (attempts, opened, failed, expected) in [
            ([9, 0, 0], [3, 3, 3], [0, 0, 0], [9, 0, 0]), // a herd that a slow server answers over three bins
            ([5, 5, 5], [0, 0, 5], [5, 5, 0], [0, 0, 5]), // refused twice, then back
            ([4, 0, 2], [0, 0, 2], [0, 4, 0], [0, 0, 2]), // deadlines pass a bin later
            ([4, 4, 0], [0, 0, 4], [0, 4, 0], [4, 0, 0]), // refused at once beside others that wait
            ([7, 0, 0], [2, 0, 0], [0, 0, 0], [2, 0, 0]), // five under way at the end
        ] {
            assert_eq!(by_beginning(&attempts, &opened, &failed), expected, "{attempts:?} {opened:?} {failed:?}");
        }
    }

    #[test]
    fn the_number_of_the_busiest_second_is_never_cut() {
        let room = WIDTH - MARGIN - RIGHT - 10.0;
        for peak in [9, 12_345, 1_268_345, 99_268_345] {
            let text = busiest(peak, room);
            assert!(NOTE.fit(&text, room) == text && text.contains(&number::count(peak)), "{text}");
        }
    }

    #[test]
    fn a_comparison_of_strategies_says_how_hard_each_hits() {
        let title = |loaded: &Loaded| title(loaded, &series(loaded));
        assert!(title(&super::super::fixture::strategies()).starts_with("Busiest second: "));
        assert!(title(&super::super::fixture::crash_storm()).starts_with("1,000 open clients fell to 0"));
    }
}
