//! `bmf.json`: Bencher Metric Format. A benchmark for each expectation, its value the median of all runs, with the least and the most.
//!
//! Times go to Bencher's own measure `latency`, which is in ns. What was not observed is left out: the format knows no missing value.

use super::cases::known;
use super::record::{CiReport, CiRun};
use crate::compare::median;
use crate::results::record::ExpectationRow;
use crate::text::printable;
use serde_json::{Map, Value, json};

/// The file.
pub fn bmf(report: &CiReport) -> Value {
    let mut benchmarks = Map::new();
    for (name, row, values) in observations(report) {
        let (Some(least), Some(most)) = (values.first(), values.last()) else { continue };
        let (measure, factor) = measure(row);
        let mut metric = json!({ "value": median(&values) * factor });
        if report.runs.len() > 1 {
            metric["lower_value"] = json!(least * factor);
            metric["upper_value"] = json!(most * factor);
        }
        benchmarks.insert(name, json!({ measure: metric }));
    }
    Value::Object(benchmarks)
}

/// What was observed of each expectation: a name, a row of it, and a value for each run that knows one, sorted.
pub(super) fn observations(report: &CiReport) -> impl Iterator<Item = (String, &ExpectationRow, Vec<f64>)> {
    let rows = report.runs.iter().take(1).flat_map(|run| run.measured.iter().zip(&run.summary.verdict.expectations));
    rows.map(|(measured, row)| {
        let mut values: Vec<f64> = report.runs.iter().filter_map(|run| values(run, measured)).collect();
        values.sort_by(f64::total_cmp);
        (printable(&format!("{}: {measured}", report.scenario)), row, values)
    })
}

/// What a run observed of this, once.
fn values(run: &CiRun, measured: &str) -> Option<f64> {
    let at = run.measured.iter().position(|one| one == measured)?;
    known(run, run.summary.verdict.expectations.get(at)?)
}

/// Slug of the measure, and how many of its unit are in one of ours.
fn measure(row: &ExpectationRow) -> (&'static str, f64) {
    match row.unit.as_str() {
        "us" => ("latency", 1000.0),
        "percent" => ("share-percent", 1.0),
        "per_s" => ("per-second", 1.0),
        _ => ("count", 1.0),
    }
}
