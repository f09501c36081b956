//! Latencies from the due time, as the floor and the bare loop print them.

use hdrhistogram::Histogram;
use std::fmt;

/// A message that starts more than this after its due time is late.
pub(crate) const LATE_NS: u64 = 20_000_000;

/// What became of messages with due times.
#[derive(Debug, Clone)]
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    late: u64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| unreachable!("bounds as the crate wants them"));
        Latency { histogram, late: 0 }
    }

    pub(crate) fn sent(&mut self, due_ns: u64, now_ns: u64) {
        self.late += u64::from(now_ns.saturating_sub(due_ns) > LATE_NS);
    }

    pub(crate) fn answered(&mut self, due_ns: u64, now_ns: u64) {
        self.histogram.saturating_record(now_ns.saturating_sub(due_ns) / 1000);
    }
}

/// One line: `p50_us=120 p99_us=700 late=0 answered=50000`.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.histogram.value_at_quantile(0.5), self.histogram.value_at_quantile(0.99));
        write!(f, "p50_us={p50} p99_us={p99} late={} answered={}", self.late, self.histogram.len())
    }
}
