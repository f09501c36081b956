//! Times of run folders of schema version 1, judged as that version did: nothing that was cut but outages, times at the upper edge of their
//! bucket, and numbers of samples asked for from p99 on.

use super::finding::{Finding, Outcome, fits, shown};
use crate::expect::{Expectation, Op, Stat};
use crate::metrics::latency::needed;
use crate::metrics::survival::Survival;
use crate::results::Evidence;

/// Judges an expectation on times.
pub(super) fn weigh(evidence: &Evidence, expectation: &Expectation) -> Finding {
    let (labels, metric) = (&expectation.labels, expectation.metric.name());
    let times = evidence.times(metric, None, |row| fits(&labels.cohort, Some(&row.cohort)) && fits(&labels.fault, row.fault.as_ref()));
    let samples = times.count();
    let quantile = |q: f64| match q {
        q if q > 0.99 && samples < needed(0.999) => Err(format!("too few samples: p999 takes {}", needed(0.999))),
        q if q > 0.9 && samples < needed(0.99) => Err(format!("too few samples: p99 takes {}", needed(0.99))),
        q => Ok(times.quantile(q).map(|us| us as f64)),
    };
    let known = match expectation.stat {
        _ if labels.from.is_some() || labels.to.is_some() => {
            Err("no data: a run folder with schema version 1 has no time windows".to_owned())
        }
        _ if samples == 0 => Err("no data: nothing of this kind was measured".to_owned()),
        Stat::Percentile(percentile) => quantile(percentile.quantile()),
        Stat::Max => Ok(times.ended.max().map(|us| us as f64).filter(|_| times.is_complete())),
        Stat::Mean if !times.is_complete() => Err("the mean is unknown: some outages did not end".to_owned()),
        Stat::Mean => Ok(times.ended.mean()),
        _ => Ok(times.ended.min().map(|us| us as f64)),
    };
    let limit = expectation.limit.value();
    match known {
        Err(reason) => Finding::of(Outcome::Inconclusive, None, reason),
        Ok(Some(us)) => {
            let outcome = if expectation.op.holds(us, limit) { Outcome::Pass } else { Outcome::Fail };
            Finding::of(outcome, Some(us), format!("observed {}", shown(us, expectation.limit)))
        }
        Ok(None) => not_reached(&times, expectation),
    }
}

/// What was not reached is greater than the longest time observed.
fn not_reached(times: &Survival, expectation: &Expectation) -> Finding {
    let bound = times.horizon().unwrap_or(0) as f64;
    let outcome = match expectation.op {
        Op::Less | Op::AtMost | Op::Equal if bound >= expectation.limit.value() => Outcome::Fail,
        Op::Greater | Op::AtLeast | Op::NotEqual if bound >= expectation.limit.value() => Outcome::Pass,
        _ => Outcome::Inconclusive,
    };
    // Nobody needs the microseconds of a bound.
    Finding::of(outcome, None, format!("not reached in {}", shown((bound / 1e3).floor() * 1e3, expectation.limit)))
}
