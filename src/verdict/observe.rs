//! The number that a run gives for what an expectation is about, whatever its limit: for comparing runs.

use super::count::count;
use super::finding::Known;
use super::losses;
use super::time;
use crate::expect::{Expectation, Limit, Metric, Op, Stat};
use crate::metrics::latency::needed;
use crate::metrics::meta::SeenFrom;
use crate::metrics::survival::{Quantile, Survival};
use crate::results::Evidence;

/// A number of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunNumber {
    /// It: µs, a count, a share from 0 to 1, or per second.
    Known(f64),
    /// A time that was not reached, or that nobody can know because some did not end: it counts as +∞.
    NotReached,
    /// The run does not tell; why, in words.
    Unknown(String),
}

/// The number of a run that an expectation is about, and of a time also all times that it is of. The limit of the expectation plays no part.
///
/// A percentile of fewer samples than it needs is unknown.
pub fn observe(evidence: &Evidence, expectation: &Expectation) -> (RunNumber, Option<Survival>) {
    let metric = expectation.metric;
    if metric.is_time() {
        return match time::times(evidence, expectation) {
            Ok(times) => (of_times(&times, expectation.stat), Some(times)),
            Err(reason) => (RunNumber::Unknown(reason), None),
        };
    }
    let any = |op: Op, value: f64| Expectation { op, limit: with(expectation.limit, value), ..expectation.clone() };
    if metric == Metric::MissedPerOutage {
        let finding = losses::weigh(evidence, &any(Op::AtMost, f64::MAX));
        return (finding.observed.map_or(RunNumber::Unknown(finding.reason), RunNumber::Known), None);
    }
    // Any number is at least 0, so that this says what was seen, and nothing where nothing could be.
    let seen = match count(evidence, &any(Op::AtLeast, 0.0)) {
        Known::Exactly(seen) => seen,
        Known::Nothing(reason) => return (RunNumber::Unknown(reason), None),
    };
    // Of real clients more may have happened than was seen: then the number is not known.
    if evidence.seen_from != SeenFrom::Client
        && let Known::Nothing(reason) = count(evidence, &any(Op::Equal, seen))
    {
        return (RunNumber::Unknown(reason), None);
    }
    (RunNumber::Known(seen), None)
}

fn of_times(times: &Survival, stat: Stat) -> RunNumber {
    let known = |us: Option<f64>| us.map_or(RunNumber::NotReached, RunNumber::Known);
    match stat {
        Stat::Percentile(percentile) => {
            let (samples, least) = (times.count(), needed(percentile.quantile()));
            if samples < least {
                return RunNumber::Unknown(format!("{samples} samples; {percentile} needs {least}"));
            }
            known(times.at(percentile.quantile()).and_then(Quantile::us).map(|us| us as f64))
        }
        Stat::Max => known(times.ended.max().filter(|_| times.is_complete()).map(|us| us as f64)),
        Stat::Mean => known(times.ended.mean().filter(|_| times.is_complete())),
        _ => known(times.ended.min().map(|us| us as f64)),
    }
}

/// A limit of the same unit.
fn with(limit: Limit, value: f64) -> Limit {
    match limit {
        Limit::Micros(_) => Limit::Micros(value),
        // Whole numbers only: counts are.
        Limit::Count(_) => Limit::Count(value as u64),
        Limit::Number(_) => Limit::Number(value),
        Limit::Share(_) => Limit::Share(value),
        Limit::PerSecond(_) => Limit::PerSecond(value),
    }
}
