//! Chart: round trips from due time over the run: median, 99th percentile and largest of each interval, a panel per cohort.
//!
//! Percentiles of cohorts cannot be added, so each has its own panel on a shared scale. Intervals without echoes are gaps.

use super::Loaded;
use super::axis::{self, Axis};
use super::marks;
use super::scene::{Dash, Ink, LABEL, NAME, NOTE, Scene, TextAnchor, spread};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use crate::number;
use crate::results::record::{CohortRow, TimelineRow};

const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 130.0;
const BETWEEN: f64 = 40.0;
/// Cohorts beyond this are left out and counted.
const PANELS_MAX: usize = 6;

/// What is drawn of an interval: value, name, ink, width, dashes.
type DrawnStat = (fn(&TimelineRow) -> Option<u64>, &'static str, Ink, f64, Dash);
const STATS: [DrawnStat; 3] = [
    (|row| row.rtt_max_us, "max", Ink::Axis, 1.0, &[2.5, 2.5]),
    (|row| row.rtt_p99_us, "p99", Ink::Series(1), 1.8, &[8.0, 3.0]),
    (|row| row.rtt_p50_us, "p50", Ink::Series(0), 2.4, &[]),
];

/// Whether an echo took any time; where none did, none was modelled.
pub(super) fn applies(loaded: &Loaded) -> bool {
    loaded.timeline.iter().any(|row| row.rtt_max_us.is_some_and(|us| us > 0))
}

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "Round trip of echoed messages from their due time, per interval";
    let has_echo = |cohort: &&str| loaded.timeline.iter().any(|row| row.cohort == **cohort && row.rtt_p50_us.is_some());
    let mut names: Vec<&str> = sheet::cohorts(loaded).into_iter().filter(has_echo).collect();
    if names.is_empty() {
        return sheet::empty(loaded, "No round trips were measured", sub, "No cohort got an echo: give it `traffic = { echo = { … } }`");
    }
    let left_out = names.len().saturating_sub(PANELS_MAX);
    names.truncate(PANELS_MAX);
    let panel_height = if names.len() == 1 { 280.0 } else { 130.0 };
    let interval = sheet::interval_ms(&loaded.timeline) as f64 * 1000.0;
    let end = loaded.timeline.iter().map(|row| row.offset_ms as f64 * 1000.0).fold(0.0, f64::max) + interval;
    let x = Axis::linear(0.0, end.max(loaded.summary.measured_ms as f64 * 1000.0), LEFT, RIGHT);
    let lanes = marks::place(marks::of(loaded), LEFT, RIGHT, WIDTH - MARGIN, |us| x.at(us));
    let top = TOP + 34.0 + lanes.height();
    let bottom = top + names.len() as f64 * (panel_height + BETWEEN) - BETWEEN;
    let mut scene = sheet::open(loaded, WIDTH, bottom + 50.0 + lanes.list_height() + FOOT, &title(loaded), sub);
    let panels: Vec<(f64, f64)> =
        (0..names.len()).map(|n| top + n as f64 * (panel_height + BETWEEN)).map(|top| (top, top + panel_height)).collect();
    lanes.draw_bands(&mut scene, &x, &panels);
    let (low, high) = range(loaded);
    for (n, cohort) in names.iter().enumerate() {
        let panel = Panel { left: LEFT, right: RIGHT, top: panels[n].0, bottom: panels[n].1 };
        let y = Axis::log(low, high, panel.bottom, panel.top);
        panel.y_axis(&mut scene, &y, &y.time_ticks());
        if names.len() > 1 {
            scene.text(LEFT, panel.top - 8.0, TextAnchor::Start, NAME, NAME.fit(cohort, RIGHT - LEFT));
        }
        let rows: Vec<&TimelineRow> = loaded.timeline.iter().filter(|row| row.cohort == *cohort).collect();
        draw_panel(&mut scene, &x, &y, &panel, &rows, interval);
    }
    scene.text(MARGIN, TOP, TextAnchor::Start, NAME, "Round trip (logarithmic)");
    lanes.draw_labels(&mut scene, &x, TOP + 10.0, &panels);
    let (ticks, unit) = axis::offset_ticks(end, 10);
    Panel { left: LEFT, right: RIGHT, top, bottom }.x_axis(&mut scene, &x, &ticks, &format!("Time since the first arrival ({unit})"));
    lanes.draw_list(&mut scene, bottom + 58.0);
    let more = if left_out > 0 { format!(" · {} left out", number::counted(left_out as u64, "more cohort")) } else { String::new() };
    let echoes: u64 = loaded.timeline.iter().map(|row| row.echoed).sum();
    let counted = format!(
        "n = {} in intervals of {} · gaps: no echo came{more}",
        number::counted(echoes, "echoed message"),
        number::time(interval as u64)
    );
    sheet::close(scene, loaded, &counted)
}

fn range(loaded: &Loaded) -> (f64, f64) {
    let values = || loaded.timeline.iter().flat_map(|row| [row.rtt_p50_us, row.rtt_p99_us, row.rtt_max_us]).flatten().map(|us| us as f64);
    (values().fold(f64::MAX, f64::min).max(1.0), values().fold(1.0, f64::max))
}

fn title(loaded: &Loaded) -> String {
    let with: Vec<_> = loaded.summary.cohorts.iter().filter(|(_, cohort)| cohort.messages.rtt_us.count > 0).collect();
    // Cohorts that say different things are not mixed: the median of each.
    if with.windows(2).any(|pair| pair[0].1.traffic != pair[1].1.traffic) {
        let median = |(name, cohort): &(&String, &CohortRow)| cohort.messages.rtt_us.p50.map(|us| (us, name.to_string()));
        let medians: Vec<(u64, String)> = with.iter().filter_map(median).collect();
        return match (medians.iter().min(), medians.iter().max()) {
            (Some((fast, first)), Some((slow, last))) if first != last => {
                format!("Half of the round trips within {} ({first}) to {} ({last})", number::time(*fast), number::time(*slow))
            }
            _ => "Round trips".to_string(),
        };
    }
    let rtt = &loaded.summary.messages.rtt_us;
    let mut parts = Vec::new();
    for (name, value) in [("half within", rtt.p50), ("99 % within", rtt.p99), ("the slowest", rtt.max)] {
        if let Some(us) = value {
            parts.push(format!("{name} {}", number::time(us)));
        }
    }
    if parts.is_empty() { "Round trips".to_string() } else { format!("Round trips: {}", parts.join(", ")) }
}

fn draw_panel(scene: &mut Scene, x: &Axis, y: &Axis, panel: &Panel, rows: &[&TimelineRow], interval: f64) {
    let mut ends = Vec::new();
    for (value, _, ink, width, dash) in STATS {
        let mut run: Vec<(f64, f64)> = Vec::new();
        let mut last = None;
        for row in rows {
            let at = row.offset_ms as f64 * 1000.0;
            match value(row) {
                Some(us) => {
                    run.extend([(x.at(at), y.at(us as f64)), (x.at(at + interval), y.at(us as f64))]);
                    last = run.last().map(|point| point.1);
                }
                None => scene.line(std::mem::take(&mut run), ink, width, dash),
            }
        }
        scene.line(run, ink, width, dash);
        ends.push(last.unwrap_or(panel.bottom));
    }
    let places = spread(&ends, 15.0, panel.top + 4.0, panel.bottom);
    for (n, (_, name, ink, width, dash)) in STATS.iter().enumerate() {
        scene.line(vec![(RIGHT + 8.0, places[n]), (RIGHT + 32.0, places[n])], *ink, *width, dash);
        scene.text(RIGHT + 38.0, places[n] + 4.0, TextAnchor::Start, if n == 2 { NAME } else { LABEL }, *name);
    }
    scene.rule((panel.left, panel.bottom), (panel.right, panel.bottom), Ink::Axis, 1.0);
    if rows.iter().all(|row| row.rtt_p50_us.is_none()) {
        scene.text((panel.left + panel.right) / 2.0, panel.bottom - 20.0, TextAnchor::Middle, NOTE, "no echoes");
    }
}
