//! Distributions of times: one HDR histogram of fixed range each, so that any two can be added.
//!
//! Nothing here knows what was measured; `bank` keeps one per metric, cohort and fault.

use crate::results::record::Times;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Decoder, Serializer as _, V2Serializer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Greatest value in µs: one hour. Greater ones count as this, and are counted.
pub const HIGHEST_US: u64 = 3_600_000_000;
/// Samples without which the quantile `q` (above 0, below 1) is not stated: ⌈ln 0.05 / ln q⌉, at least 1. With fewer there is no
/// distribution-free upper bound of it at 95 % confidence: the greatest of n samples is one as soon as qⁿ ≤ 0.05. 5 for p50, 29 for p90,
/// 59 for p95, 299 for p99, 2,995 for p99.9.
pub fn needed(q: f64) -> u64 {
    (0.05_f64.ln() / q.ln()).ceil().max(1.0) as u64
}

/// A distribution of times in µs, up to one hour, three significant digits; 188 KB.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
    clamped: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency::new()
    }
}

impl Latency {
    /// An empty one.
    pub fn new() -> Latency {
        // The bounds are constants that satisfy `low ≥ 1`, `high ≥ 2 · low` and `0 ≤ digits ≤ 5`.
        Latency { histogram: Histogram::new_with_bounds(1, HIGHEST_US, 3).expect("constant bounds are valid"), clamped: 0 }
    }

    /// One that came from a file, whatever its bounds; what was clamped is not known any more.
    pub fn from_histogram(histogram: &Histogram<u64>) -> Latency {
        let mut latency = Latency::new();
        for step in histogram.iter_recorded() {
            latency.record_n(step.value_iterated_to().min(HIGHEST_US), step.count_since_last_iteration());
        }
        latency
    }

    /// Adds a sample of this many µs.
    pub fn record(&mut self, us: u64) {
        self.record_n(us, 1);
    }

    /// Adds `n` samples of this many µs.
    pub fn record_n(&mut self, us: u64, n: u64) {
        self.clamped += if us > HIGHEST_US { n } else { 0 };
        self.histogram.saturating_record_n(us.min(HIGHEST_US), n);
    }

    /// Adds all samples of another.
    pub fn add(&mut self, other: &Latency) {
        // Both have the same bounds, the only reason for which an addition fails.
        self.histogram.add(&other.histogram).expect("equal bounds");
        self.clamped += other.clamped;
    }

    /// The sum of both.
    pub fn plus(mut self, other: &Latency) -> Latency {
        self.add(other);
        self
    }

    /// As bytes: what was clamped, then the histogram in the V2 format of HdrHistogram. Some hundred bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.clamped.to_be_bytes().to_vec();
        // Writing into a Vec cannot fail, and no count of ours is too great for the format.
        V2Serializer::new().serialize(&self.histogram, &mut bytes).expect("a Vec takes all");
        bytes
    }

    /// From [`encode`](Latency::encode)d bytes; `None` if they are something else.
    pub fn decode(bytes: &[u8]) -> Option<Latency> {
        let (clamped, mut rest) = bytes.split_first_chunk::<8>()?;
        let histogram: Histogram<u64> = Decoder::new().deserialize(&mut rest).ok()?;
        let mut latency = Latency::new();
        latency.histogram.add(&histogram).ok()?;
        latency.clamped = u64::from_be_bytes(*clamped);
        Some(latency)
    }

    /// Removes all samples.
    pub fn clear(&mut self) {
        self.histogram.reset();
        self.clamped = 0;
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Samples above one hour, which count as one hour.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Least, µs, at the upper edge of its bucket as all others: a wait of 3 s is not less than 3 s. `None` without samples.
    pub fn min(&self) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.highest_equivalent(self.histogram.min()).min(HIGHEST_US))
    }

    /// Greatest, µs, at the upper edge of its bucket; `None` without samples.
    pub fn max(&self) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.max().min(HIGHEST_US))
    }

    /// Arithmetic mean, µs; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        (!self.histogram.is_empty()).then(|| self.histogram.mean())
    }

    /// Quantile `q` (0 to 1) in µs, however few the samples; `None` without any.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.value_at_quantile(q).min(self.histogram.max()).min(HIGHEST_US))
    }

    /// Values in µs with their counts, ascending; a value stands for its bucket.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to().min(HIGHEST_US), step.count_since_last_iteration()))
    }

    /// The histogram itself, for writing.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// What a summary shows; high percentiles only where the samples carry them.
    pub fn times(&self) -> Times {
        let stated = |q| self.quantile(q).filter(|_| self.count() >= needed(q));
        Times {
            count: self.count(),
            censored: 0,
            never: 0,
            observed: self.max(),
            min: self.min(),
            p50: stated(0.5),
            p90: stated(0.9),
            p99: stated(0.99),
            p999: stated(0.999),
            max: self.max(),
            mean: self.mean().map(|mean| mean.round() as u64),
        }
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.encode().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Latency, D::Error> {
        Latency::decode(&Vec::deserialize(from)?).ok_or_else(|| D::Error::custom("not a histogram"))
    }
}

/// Whole microseconds, cut off.
pub fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(time.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_need_the_samples_of_their_bound() {
        for (q, samples) in [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2_995), (0.1, 2), (0.001, 1)] {
            assert_eq!(needed(q), samples, "{q}");
            assert!(f64::powi(q, samples as i32) <= 0.05 && (samples == 1 || f64::powi(q, samples as i32 - 1) > 0.05), "{q}");
        }
    }

    #[test]
    fn high_percentiles_need_samples() {
        for (samples, p99, p999) in [(1, false, false), (298, false, false), (299, true, false), (2_994, true, false), (2_995, true, true)]
        {
            let mut latency = Latency::new();
            (1..=samples).for_each(|us| latency.record(us));
            let times = latency.times();
            assert_eq!((times.p99.is_some(), times.p999.is_some()), (p99, p999), "{samples}");
            assert_eq!((times.p50.is_some(), times.p90.is_some(), times.max.is_some()), (samples >= 5, samples >= 29, true), "{samples}");
        }
        assert_eq!(Latency::new().times(), Times::default());
    }

    #[test]
    fn values_above_an_hour_are_clamped_and_counted() {
        let mut latency = Latency::new();
        latency.record(HIGHEST_US + 5);
        latency.record(0);
        assert_eq!((latency.count(), latency.clamped(), latency.min(), latency.max()), (2, 1, Some(0), Some(HIGHEST_US)));
    }

    #[test]
    fn the_least_is_never_below_what_was_recorded() {
        for us in [0, 1, 999, 2047, 1_000_000, 3_000_000, 3_000_319, HIGHEST_US] {
            let mut latency = Latency::new();
            latency.record(us);
            let min = latency.min().expect("a sample");
            assert!(min >= us && min <= us + us / 1000 && Some(min) == latency.max(), "{us}: {min}");
        }
    }

    #[test]
    fn the_percentile_of_a_sum_is_not_the_mean_of_percentiles() {
        let (mut fast, mut slow) = (Latency::new(), Latency::new());
        fast.record_n(800, 9_000);
        slow.record_n(40_000, 200);
        let mean = (fast.quantile(0.99).unwrap() + slow.quantile(0.99).unwrap()) / 2;
        fast.add(&slow);
        assert!(fast.quantile(0.99).unwrap() >= 40_000 && mean < 21_000);
    }
}
