//! Chart: how old messages were by their own time when they came, by percentile on a logarithmic axis, a line per cohort.
//!
//! Only what came after the time in it: what came before it has no latency, and the note counts it.

use super::Loaded;
use super::curves::{CohortCurve, CohortCurves};
use super::multiples::PANELS_MAX;
use super::scene::Scene;
use super::sheet::{self, WIDTH};
use super::survival::{self, PlottedOutage, SurvivalCurve};
use crate::metrics::latency::{Latency, needed};
use crate::number;

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
    let all = curve(loaded, |cohort| loaded.summary.cohorts.contains_key(cohort));
    let of_seeds = lines.iter().map(|_| Vec::new()).collect();
    let curves = CohortCurves { what: "Broadcast latency", of: "messages", all, of_seeds, limits: Vec::new(), lines: &lines };
    let mut scene = sheet::open(loaded, WIDTH, curves.height(), &title(&lines), sub);
    curves.draw(&mut scene);
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
fn lines(loaded: &Loaded) -> (Vec<CohortCurve>, usize) {
    let lines = loaded.summary.cohorts.iter().map(|(cohort, row)| {
        let (cohort, strategy) = (cohort.clone(), row.traffic.clone());
        CohortCurve { distribution: curve(loaded, |of| of == cohort), cohort, strategy }
    });
    let mut lines: Vec<CohortCurve> = lines.filter(|line| line.distribution.outages > 0.0).collect();
    let left_out = lines.len().saturating_sub(PANELS_MAX);
    lines.truncate(PANELS_MAX);
    (lines, left_out)
}

/// Of the cohorts that `named` takes.
fn curve(loaded: &Loaded, named: impl Fn(&str) -> bool) -> SurvivalCurve {
    let mut sum = Latency::new();
    let own = loaded.distributions.iter().flatten().filter(|of| of.metric == "broadcast_latency" && of.window.is_none());
    own.filter(|of| named(&of.cohort)).for_each(|of| sum.add(&of.latency));
    let step = |(time_us, n): (u64, u64)| PlottedOutage { time_us, ended: true, weight: n as f64 };
    survival::estimate(sum.steps().map(step).collect())
}

fn title(lines: &[CohortCurve]) -> String {
    let median = |line: &&CohortCurve| line.distribution.quantile(0.5).unwrap_or(u64::MAX);
    let (Some(fast), Some(slow)) = (lines.iter().min_by_key(median), lines.iter().max_by_key(median)) else { return String::new() };
    let [least, most] = [median(&fast), median(&slow)].map(number::time);
    if lines.len() == 1 {
        return format!("Half of messages came within {least} of their time");
    }
    format!("Half of messages came within {least} ({}) to {most} ({}) of their time", fast.cohort, slow.cohort)
}
