//! Chart: how old messages were by their own time when they came, by percentile on a logarithmic axis, a line per cohort.
//!
//! Only what came after the time in it: what came before it has no latency, and the note counts it.

use super::Loaded;
use super::axis::{self, Axis};
use super::reconnect::{ReconnectCurve, draw_line, draw_names, percentiles};
use super::scene::{NAME, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::survival::{self, PlottedOutage};
use crate::metrics::latency::{Latency, needed};
use crate::number;

const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 262.0;
const HEIGHT: f64 = 540.0;
/// Cohorts beyond this are left out and counted.
const LINES_MAX: usize = 20;

/// Whether a message said when it was sent.
pub(super) fn applies(loaded: &Loaded) -> bool {
    loaded.summary.broadcast_latency_us.count > 0 && loaded.distributions.is_some()
}

/// Draws it.
pub(super) fn scene(loaded: &Loaded) -> Scene {
    let sub = "From the time in a message to its arrival; needs one clock";
    let (lines, left_out) = lines(loaded);
    let messages: f64 = lines.iter().map(|line| line.distribution.outages).sum();
    if messages <= 0.0 {
        let help = "No received message had a time: say where by `timestamp` of a dialogue";
        return sheet::empty(loaded, "How old messages were is not known", sub, help);
    }
    let mut scene = sheet::open(loaded, WIDTH, HEIGHT, &title(&lines), sub);
    let panel = Panel { left: LEFT, right: RIGHT, top: TOP + 20.0, bottom: HEIGHT - FOOT - 50.0 };
    let times = || lines.iter().flat_map(|line| line.distribution.steps.iter().map(|step| step.0 as f64));
    let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    let wide = least > 0.0 && most / least > 200.0;
    let y = if wide {
        Axis::log(least, most, panel.bottom, panel.top)
    } else {
        Axis::linear(0.0, axis::time_ceiling(most, 5), panel.bottom, panel.top)
    };
    panel.y_axis(&mut scene, &y, &y.time_ticks());
    let name = if wide { "Broadcast latency (logarithmic)" } else { "Broadcast latency" };
    scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, name);
    let decades = lines.iter().map(|line| line.distribution.outages).fold(1.0, f64::max).log10().clamp(1.0, 5.0);
    let x = Axis::linear(0.0, decades, LEFT, RIGHT);
    panel.x_axis(&mut scene, &x, &percentiles(decades), "Percentile of messages, logarithmic (%)");
    for (n, line) in lines.iter().enumerate() {
        draw_line(&mut scene, &x, &y, (n, (2.4, 1.0)), &line.distribution, decades);
    }
    draw_names(&mut scene, &panel, &lines, &y);
    let early = loaded.summary.broadcast_latency_negative_us.count;
    let early = if early > 0 { format!(" · {} more came before their time: not shown", number::count(early)) } else { String::new() };
    let more = if left_out > 0 { format!(" · {} left out", number::counted(left_out as u64, "more cohort")) } else { String::new() };
    let counted = format!(
        "n = {}{early}{more} · thin: percentiles that need more samples (p99 takes {})",
        number::counted(messages.round() as u64, "message"),
        needed(0.99)
    );
    sheet::close(scene, loaded, &counted)
}

/// The lines, and how many cohorts have none because there are too many.
fn lines(loaded: &Loaded) -> (Vec<ReconnectCurve>, usize) {
    let lines = loaded.summary.cohorts.iter().map(|(cohort, row)| {
        let mut sum = Latency::new();
        let own = loaded.distributions.iter().flatten().filter(|of| of.metric == "broadcast_latency" && of.window.is_none());
        own.filter(|of| of.cohort == *cohort).for_each(|of| sum.add(&of.latency));
        let step = |(time_us, n): (u64, u64)| PlottedOutage { time_us, ended: true, weight: n as f64 };
        let distribution = survival::estimate(sum.steps().map(step).collect());
        ReconnectCurve { cohort: cohort.clone(), strategy: row.traffic.clone(), distribution }
    });
    let mut lines: Vec<ReconnectCurve> = lines.filter(|line| line.distribution.outages > 0.0).collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    (lines, left_out)
}

fn title(lines: &[ReconnectCurve]) -> String {
    let median = |line: &&ReconnectCurve| line.distribution.quantile(0.5).unwrap_or(u64::MAX);
    let (Some(fast), Some(slow)) = (lines.iter().min_by_key(median), lines.iter().max_by_key(median)) else { return String::new() };
    let [least, most] = [median(&fast), median(&slow)].map(number::time);
    if lines.len() == 1 {
        return format!("Half of messages came within {least} of their time");
    }
    format!("Half of messages came within {least} ({}) to {most} ({}) of their time", fast.cohort, slow.cohort)
}
