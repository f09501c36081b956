//! `limits.csv`: what `latency.hlog` cannot say of the same distributions, because it has buckets.

use super::hlog::Distribution;
use crate::metrics::book::Results;
use crate::metrics::distributions::DistributionKey;
use crate::metrics::latency::Exact;
use crate::metrics::watch::{Around, Window};
use serde::{Deserialize, Serialize};

/// A row: a distribution, and one of the limits around which its samples were counted. Every distribution has at least one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExactRow {
    /// As in a tag of `latency.hlog`.
    pub metric: String,
    /// Cohort.
    pub cohort: String,
    /// Id of the fault; empty for none.
    pub fault: Option<String>,
    /// Only what started from this second on.
    pub from_s: Option<u32>,
    /// Only what started before this second.
    pub to_s: Option<u32>,
    /// Samples.
    pub count: u64,
    /// Least, exactly.
    pub min_us: Option<u64>,
    /// Greatest, exactly.
    pub max_us: Option<u64>,
    /// Sum of all.
    pub sum_us: Option<u64>,
    /// A limit that was expected of this metric and window.
    pub limit_us: Option<f64>,
    /// Samples below it.
    pub below: Option<u64>,
    /// Samples exactly there.
    pub equal: Option<u64>,
    /// Samples above it.
    pub above: Option<u64>,
}

/// Columns of `limits.csv`.
pub const LIMITS: &[&str] =
    &["metric", "cohort", "fault", "from_s", "to_s", "count", "min_us", "max_us", "sum_us", "limit_us", "below", "equal", "above"];

impl ExactRow {
    fn window(&self) -> Option<Window> {
        self.from_s.or(self.to_s).map(|_| Window { from: self.from_s, to: self.to_s })
    }
}

/// Of results. A window that was expected has a row of each cohort, with or without samples: it was looked for.
pub fn rows(results: &Results) -> Vec<ExactRow> {
    let row = |key: DistributionKey| ExactRow {
        metric: key.metric.name().to_owned(),
        cohort: results.meta.cohort(key.cohort),
        fault: key.fault.map(|fault| results.meta.fault(fault)),
        from_s: key.window.and_then(|window| window.from),
        to_s: key.window.and_then(|window| window.to),
        ..ExactRow::default()
    };
    let mut rows = Vec::new();
    for watch in results.bank.watches().iter().filter(|watch| watch.window.is_some()) {
        let cohorts = 0..results.meta.cohorts.len() as u16;
        rows.extend(cohorts.map(|cohort| row(DistributionKey { metric: watch.metric(), cohort, fault: None, window: watch.window })));
    }
    for (key, latency, around) in results.bank.each_around() {
        let exact = latency.exact();
        let whole = ExactRow {
            count: latency.count(),
            min_us: exact.map(|exact| exact.min),
            max_us: exact.map(|exact| exact.max),
            sum_us: exact.map(|exact| exact.sum),
            ..row(key)
        };
        rows.extend(around.iter().map(|around| ExactRow {
            limit_us: Some(around.limit),
            below: Some(around.below),
            equal: Some(around.equal),
            above: Some(around.above),
            ..whole.clone()
        }));
        if around.is_empty() {
            rows.push(whole);
        }
    }
    rows
}

/// Gives distributions what the rows know of them.
pub fn attach(distributions: &mut [Distribution], rows: &[ExactRow]) {
    for distribution in distributions {
        let of = |row: &&ExactRow| {
            row.metric == distribution.metric
                && row.cohort == distribution.cohort
                && row.fault == distribution.fault
                && row.window() == distribution.window
                && row.count > 0
        };
        for row in rows.iter().filter(of) {
            if let (Some(min), Some(max), Some(sum)) = (row.min_us, row.max_us, row.sum_us) {
                distribution.latency.set_exact(Exact { min, max, sum });
            }
            if let (Some(limit), Some(below), Some(equal), Some(above)) = (row.limit_us, row.below, row.equal, row.above) {
                distribution.around.push(Around { limit, below, equal, above });
            }
        }
    }
}

/// The windows that the run kept, each with its metric.
pub fn windows(rows: &[ExactRow]) -> Vec<(String, Window)> {
    let mut windows: Vec<_> = rows.iter().filter_map(|row| Some((row.metric.clone(), row.window()?))).collect();
    windows.sort();
    windows.dedup();
    windows
}
