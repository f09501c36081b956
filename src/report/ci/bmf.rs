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
    let Some(first) = report.runs.first() else { return Value::Object(benchmarks) };
    for (measured, row) in first.measured.iter().zip(&first.summary.verdict.expectations) {
        let name = printable(&format!("{}: {measured}", report.scenario));
        let of_run = |run| values(run, measured);
        let mut values: Vec<f64> = report.runs.iter().flat_map(of_run).collect();
        values.sort_by(f64::total_cmp);
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
