//! What the clients of one cohort went through, for assertions.

use crate::metrics::latency::Times;
use crate::results::record::CohortRow;
use std::time::Duration;

/// What the clients of one cohort went through.
#[derive(Clone, Debug)]
pub struct CohortOutcome {
    row: CohortRow,
}

impl CohortOutcome {
    pub(crate) fn of(row: CohortRow) -> CohortOutcome {
        CohortOutcome { row }
    }

    /// Time to reconnect: from the fault until the client was ready again, one sample an outage.
    pub fn reconnect(&self) -> Percentiles {
        Percentiles(self.row.reconnect.time_us.clone())
    }

    /// Round trips of messages, from when they were due.
    pub fn round_trips(&self) -> Percentiles {
        Percentiles(self.row.messages.rtt_us.clone())
    }

    /// Connections for which the client application saw this close code.
    pub fn closes(&self, code: u16) -> u64 {
        self.row.close_codes.get(&code.to_string()).copied().unwrap_or_default()
    }

    /// All figures, as in `summary.json`.
    pub fn figures(&self) -> &CohortRow {
        &self.row
    }
}

/// Times by percentile. A percentile is `None` where it was not reached, or where there are too few samples to tell: what is asked of it with
/// `is_some_and` then fails.
#[derive(Clone, Debug)]
pub struct Percentiles(Times);

impl Percentiles {
    /// Samples, those that did not end among them.
    pub fn count(&self) -> u64 {
        self.0.count
    }

    /// Of them those that had not ended when the measurement did, or never will.
    pub fn unended(&self) -> u64 {
        self.0.censored + self.0.never
    }

    /// Least of those that ended.
    pub fn min(&self) -> Option<Duration> {
        self.0.min.map(Duration::from_micros)
    }

    /// Median; of at least 5 samples.
    pub fn p50(&self) -> Option<Duration> {
        self.0.p50.map(Duration::from_micros)
    }

    /// 90th percentile; of at least 29 samples.
    pub fn p90(&self) -> Option<Duration> {
        self.0.p90.map(Duration::from_micros)
    }

    /// 99th percentile; of at least 299 samples.
    pub fn p99(&self) -> Option<Duration> {
        self.0.p99.map(Duration::from_micros)
    }

    /// 99.9th percentile; of at least 2,995 samples.
    pub fn p999(&self) -> Option<Duration> {
        self.0.p999.map(Duration::from_micros)
    }

    /// Greatest; `None` as soon as one did not end.
    pub fn max(&self) -> Option<Duration> {
        self.0.max.map(Duration::from_micros)
    }

    /// Arithmetic mean; `None` as soon as one did not end.
    pub fn mean(&self) -> Option<Duration> {
        self.0.mean.map(Duration::from_micros)
    }
}
