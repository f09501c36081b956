//! Two files for github-action-benchmark: what is better if it is smaller, and what if it is bigger, as the limits of expectations say.
//!
//! An array of objects with `name`, `unit` and `value`, and `range` and `extra` as texts. It compares by ratio, and anything to 0 has none: a value of 0 is left
//! out, and so is an expectation that says neither.

use super::bmf::observations;
use super::record::CiReport;
use crate::compare::median;
use crate::number;
use crate::results::record::ExpectationRow;
use serde_json::{Value, json};

/// What is better if it is smaller, and what if it is bigger.
pub fn benchmarks(report: &CiReport) -> [Value; 2] {
    let mut files = [Vec::new(), Vec::new()];
    for (name, row, values) in observations(report) {
        let (Some(least), Some(most), Some(at)) = (values.first(), values.last(), better(row)) else { continue };
        let (unit, of_ours) = unit(row);
        let value = median(&values) / of_ours;
        if value <= 0.0 {
            continue;
        }
        let mut entry = json!({ "name": name, "unit": unit, "value": value });
        if values.len() > 1 {
            entry["range"] = format!("{} to {}", number::observed(*least, &row.unit), number::observed(*most, &row.unit)).into();
            entry["extra"] = format!("median of {}", number::counted(values.len() as u64, "run")).into();
        }
        files[at].push(entry);
    }
    files.map(Value::Array)
}

/// Which file an expectation belongs into, if its limit says so. Names in braces are those of users.
fn better(row: &ExpectationRow) -> Option<usize> {
    let limit = row.text.rsplit('}').next().unwrap_or_default();
    match limit.find(['<', '>']).map(|at| limit.as_bytes()[at]) {
        Some(b'<') => Some(0),
        Some(_) => Some(1),
        None => None,
    }
}

/// A unit, and how many of ours are in one of it.
fn unit(row: &ExpectationRow) -> (&'static str, f64) {
    match row.unit.as_str() {
        "us" => ("ms", 1000.0),
        "percent" => ("%", 1.0),
        "per_s" => ("1/s", 1.0),
        "messages" => ("messages", 1.0),
        _ => ("count", 1.0),
    }
}
