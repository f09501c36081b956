//! Limits of expectations on the time to reconnect, where the curve must be beyond, or before.

use super::Loaded;
use super::axis::Axis;
use super::scene::{Ink, NOTE, Scene, TextAnchor};
use crate::expect::{Expectation, Limit, Metric, Names, Stat};
use crate::number;
use crate::results::record::ExpectationRow;
use serde::Serialize;

/// Limits beyond this are not drawn.
const LIMITS_MAX: usize = 12;

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct CurveLimit {
    /// `p99 < 10s`.
    pub(crate) label: String,
    /// Which cohort it is on; `None` for all together.
    #[serde(skip)]
    pub(super) cohort: Option<String>,
    pub(crate) us: f64,
    pub(crate) share: f64,
    /// `pass`, `fail` or `inconclusive`.
    pub(crate) result: String,
}

/// Those that a whole curve decides: not those on a window, or on one fault of several.
pub(crate) fn of(loaded: &Loaded) -> Vec<CurveLimit> {
    let summary = &loaded.summary;
    let cohorts: Vec<String> = summary.cohorts.keys().cloned().collect();
    let faults: Vec<String> = summary.faults.iter().map(|fault| fault.id.clone()).collect();
    let names = Names { cohorts: &cohorts, faults: &faults, ..Names::default() };
    let read = |row: &ExpectationRow| Some((Expectation::parse_as(&row.text, names, true).ok()?, row.result.clone()));
    let read: Vec<_> = summary.verdict.expectations.iter().filter_map(read).collect();
    of_expectations(read.iter().map(|(expectation, result)| (expectation, result.as_str())), faults.len())
}

/// The same of expectations and their results.
pub(crate) fn of_expectations<'a>(expectations: impl Iterator<Item = (&'a Expectation, &'a str)>, faults: usize) -> Vec<CurveLimit> {
    let limit = |(expectation, result): (&Expectation, &str)| {
        let (what, share) = match expectation.stat {
            Stat::Percentile(percentile) => (percentile.to_string(), percentile.quantile()),
            Stat::Max => ("max".to_owned(), 1.0),
            Stat::Min => ("min".to_owned(), 0.0),
            _ => return None,
        };
        let labels = &expectation.labels;
        let whole = labels.from.is_none() && labels.to.is_none() && (labels.fault.is_none() || faults == 1);
        let Limit::Micros(us) = expectation.limit else { return None };
        let of = labels.cohort.as_ref().map_or_else(String::new, |cohort| format!("{cohort} "));
        let label = format!("{of}{what} {} {}", expectation.op.symbol(), number::time(us as u64));
        let (cohort, result) = (labels.cohort.clone(), result.to_owned());
        (whole && expectation.metric == Metric::ReconnectTime).then_some(CurveLimit { label, cohort, us, share, result })
    };
    expectations.filter_map(limit).take(LIMITS_MAX).collect()
}

/// Draws one: it ends at its share of outages, `at` px, and its label stands over it.
pub(super) fn draw(scene: &mut Scene, limit: &CurveLimit, at: f64, y: &Axis, left: f64) {
    let height = y.at(limit.us);
    let from = (at - 90.0).max(left);
    scene.line(vec![(from, height), (at, height)], Ink::Strong, 1.2, &[4.0, 3.0]);
    scene.rule((at, height - 5.0), (at, height + 5.0), Ink::Strong, 1.6);
    let fails = if limit.result == "fail" { "✗ " } else { "" };
    let style = NOTE.in_ink(if limit.result == "fail" { Ink::Fault } else { Ink::Strong });
    let text = format!("{fails}{}", limit.label);
    let (anchor, x) = if at - style.width(&text) < left { (TextAnchor::Start, left + 2.0) } else { (TextAnchor::End, at - 4.0) };
    // Up where another stands already.
    let mut baseline = height - 6.0;
    for _ in 0..4 {
        let before = scene.items.len();
        scene.text(x, baseline, anchor, style, text.as_str());
        let boxes = scene.text_boxes();
        let Some((own, others)) = boxes.split_last() else { return };
        if own.1 >= 0.0 && others.iter().all(|b| own.2 <= b.0 || b.2 <= own.0 || own.3 <= b.1 || b.3 <= own.1) {
            return;
        }
        scene.items.truncate(before);
        baseline -= 14.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn limits_of_expectations_stand_where_they_decide() {
        let limits = of(&fixture::crash_storm());
        let found: Vec<_> = limits.iter().map(|limit| (limit.label.as_str(), limit.us, limit.share, limit.result.as_str())).collect();
        assert_eq!(found, [("p99 < 10 s", 1e7, 0.99, "pass"), ("web p99.9 < 20 s", 2e7, 0.999, "inconclusive")]);
    }

    #[test]
    fn labels_of_limits_at_one_height_do_not_cover_each_other() {
        let mut scene = Scene { width: 400.0, height: 300.0, title: String::new(), items: Vec::new() };
        let y = Axis::linear(0.0, 10e6, 280.0, 20.0);
        for (at, label) in [(200.0, "p95 < 5 s"), (220.0, "p99 < 5 s"), (230.0, "p99.9 < 5 s")] {
            let limit = CurveLimit { label: label.to_string(), us: 5e6, ..CurveLimit::default() };
            draw(&mut scene, &limit, at, &y, 40.0);
        }
        assert_eq!(scene.text_boxes().len(), 3);
        scene.assert_readable("limits");
    }
}
