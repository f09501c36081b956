//! Times that are the same or drawn: those of `[model]`, and lengths of stays.

use super::model_keys;
use super::reader::{Reader, duration};
use super::tree::TomlValue;
use crate::plan::ServiceTimes;
use std::time::Duration;

/// Quantiles of a measured distribution.
const QUANTILES: std::ops::RangeInclusive<usize> = 2..=100_001;

/// A duration, or a table that says how durations are drawn.
pub(super) fn times(reader: &Reader<'_>, key: &str) -> Option<ServiceTimes> {
    let node = reader.get(key)?;
    if !matches!(node.value, TomlValue::Table(_)) {
        return duration(key, node, reader.sink).map(ServiceTimes::Constant);
    }
    let times = reader.table(key, &model_keys::TIMES)?;
    match times.one_of(&["constant", "uniform", "exponential", "lognormal", "quantiles"])? {
        "constant" => times.duration("constant").map(ServiceTimes::Constant),
        "exponential" => times.positive("exponential").map(ServiceTimes::Exponential),
        "uniform" => {
            let bounds = durations(&times, "uniform");
            let [least, most] = bounds[..] else {
                times.complain("uniform", "`uniform` takes two durations", format!("found {}", bounds.len()), "as [\"1ms\", \"3ms\"]");
                return None;
            };
            Some(ServiceTimes::Uniform(least.min(most), most.max(least)))
        }
        "lognormal" => {
            let shape = times.table("lognormal", &model_keys::LOGNORMAL)?;
            let median = shape.need("median", shape.positive("median"))?;
            let p99 = shape.need("p99", shape.positive("p99"))?;
            if p99 < median {
                shape.complain("p99", "`p99` is below `median`", "found here", "the 99th percentile is at least the median");
            }
            // The 99th percentile of a standard normal distribution is 2.3263.
            Some(ServiceTimes::Lognormal(median, (p99.as_secs_f64() / median.as_secs_f64()).ln().max(0.0) / 2.326_347_874))
        }
        _ => {
            let values = durations(&times, "quantiles");
            if !QUANTILES.contains(&values.len()) || !values.is_sorted() {
                let help = "at least two durations, ascending: the least, the greatest, and between them equally spaced quantiles";
                times.complain("quantiles", "these are not quantiles", format!("found {} durations", values.len()), help);
                return None;
            }
            Some(ServiceTimes::Quantiles(values))
        }
    }
}

fn durations(reader: &Reader<'_>, key: &str) -> Vec<Duration> {
    let Some(node) = reader.get(key) else { return Vec::new() };
    let TomlValue::Array(list) = &node.value else {
        return super::reader::wrong(key, "a list of durations", node, reader.sink).unwrap_or_default();
    };
    // Each is text with a unit; a bare number is complained of by `duration`.
    list.iter().filter_map(|one| duration(key, one, reader.sink)).collect()
}
