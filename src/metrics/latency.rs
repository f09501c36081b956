//! Distributions of times: one HDR histogram of fixed range each, so that any two can be added.
//!
//! Nothing here knows what was measured; `distributions` keeps one per metric, cohort and fault.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Greatest value in µs: one hour. Greater ones count as this, and are counted.
pub const HIGHEST_US: u64 = 3_600_000_000;
/// Samples without which the quantile `q` (above 0, below 1) is not stated: ⌈ln 0.05 / ln q⌉, at least 1. With fewer there is no
/// distribution-free upper bound of it at 95 % confidence: the greatest of n samples is one as soon as qⁿ ≤ 0.05. 5 for p50, 29 for p90,
/// 59 for p95, 299 for p99, 2,995 for p99.9.
pub fn needed(q: f64) -> u64 {
    (CHANCE.ln() / q.ln()).ceil().max(1.0) as u64
}

/// The other way round: the highest quantile that `samples` support.
pub fn supported(samples: f64) -> f64 {
    if samples < 1.0 { 0.0 } else { CHANCE.powf(1.0 / samples) }
}

/// Chance that a bound at 95 % confidence does not hold.
const CHANCE: f64 = 0.05;

/// A distribution of times in µs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Samples, however they ended.
    pub count: u64,
    /// Of them cut: they took at least so long.
    #[serde(default)]
    pub censored: u64,
    /// Of them never to end: the client gave up.
    #[serde(default)]
    pub never: u64,
    /// The longest time observed, ended or not: a quantile that was not reached is greater.
    #[serde(default)]
    pub observed: Option<u64>,
    /// Least of those that ended.
    pub min: Option<u64>,
    /// Median; null below 5 samples.
    pub p50: Option<u64>,
    /// 90th percentile; null below 29 samples.
    pub p90: Option<u64>,
    /// 99th percentile; null below 299 samples.
    pub p99: Option<u64>,
    /// 99.9th percentile; null below 2,995 samples.
    pub p999: Option<u64>,
    /// Greatest; null as soon as one did not end.
    pub max: Option<u64>,
    /// Arithmetic mean; null as soon as one did not end.
    pub mean: Option<u64>,
}

/// A distribution of times in µs, up to one hour, three significant digits; 188 KB.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    histogram: Histogram<u64>,
    clamped: u64,
    /// Exactly, where the samples were recorded here: least (`u64::MAX` without any), greatest, and the sum of all, at most `u64::MAX`.
    exact: Exact,
}

/// What is known exactly of samples, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact {
    /// Least.
    pub min: u64,
    /// Greatest.
    pub max: u64,
    /// Sum.
    pub sum: u64,
}

impl Exact {
    const NONE: Exact = Exact { min: u64::MAX, max: 0, sum: 0 };

    fn add(&mut self, other: Exact) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
    }
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
        Latency {
            histogram: Histogram::new_with_bounds(1, HIGHEST_US, 3).expect("constant bounds are valid"),
            clamped: 0,
            exact: Exact::NONE,
        }
    }

    /// One that came from a file, plain or compressed; what was clamped is not known any more, and every sample stands at the upper edge of
    /// its bucket until [`set_exact`](Latency::set_exact) knows better. `None`: the bytes are no histogram as this program writes it.
    pub fn from_hdr(bytes: &[u8]) -> Option<Latency> {
        let histogram = super::hdr::decode(bytes)?;
        let mut latency = Latency::new();
        for step in histogram.iter_recorded() {
            latency.record_n(step.value_iterated_to().min(HIGHEST_US), step.count_since_last_iteration());
        }
        Some(latency)
    }

    /// Adds a sample of this many µs.
    pub fn record(&mut self, us: u64) {
        self.record_n(us, 1);
    }

    /// Adds `n` samples of this many µs.
    pub fn record_n(&mut self, us: u64, n: u64) {
        self.exact.add(Exact { min: us, max: us, sum: us.saturating_mul(n) });
        self.clamped += if us > HIGHEST_US { n } else { 0 };
        self.histogram.saturating_record_n(us.min(HIGHEST_US), n);
    }

    /// Adds all samples of another.
    pub fn add(&mut self, other: &Latency) {
        // Both have the same bounds, the only reason for which an addition fails.
        self.histogram.add(&other.histogram).expect("equal bounds");
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.exact.add(other.exact);
    }

    /// What is known exactly; `None` without samples.
    pub fn exact(&self) -> Option<Exact> {
        (!self.histogram.is_empty()).then_some(self.exact)
    }

    /// Takes what another file knows exactly.
    pub fn set_exact(&mut self, exact: Exact) {
        self.exact = exact;
    }

    /// The sum of both.
    pub fn plus(mut self, other: &Latency) -> Latency {
        self.add(other);
        self
    }

    /// As bytes: what was clamped and is known exactly, then the histogram in the V2 format of HdrHistogram. Some hundred bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Exact { min, max, sum } = self.exact;
        let mut bytes = [self.clamped, min, max, sum].map(u64::to_be_bytes).concat();
        // Writing into a Vec cannot fail, and no count of ours is too great for the format.
        V2Serializer::new().serialize(&self.histogram, &mut bytes).expect("a Vec takes all");
        bytes
    }

    /// From [`encode`](Latency::encode)d bytes; `None` if they are something else.
    pub fn decode(bytes: &[u8]) -> Option<Latency> {
        let mut rest = bytes;
        let mut number = || {
            let (number, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(u64::from_be_bytes(*number))
        };
        let (clamped, exact) = (number()?, Exact { min: number()?, max: number()?, sum: number()? });
        let histogram = super::hdr::decode(rest)?;
        let mut latency = Latency::new();
        latency.histogram.add(&histogram).ok()?;
        (latency.clamped, latency.exact) = (clamped, exact);
        Some(latency)
    }

    /// Removes all samples.
    pub fn clear(&mut self) {
        self.histogram.reset();
        self.clamped = 0;
        self.exact = Exact::NONE;
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Samples above one hour, which count as one hour.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Least, µs, exactly; `None` without samples.
    pub fn min(&self) -> Option<u64> {
        self.exact().map(|exact| exact.min)
    }

    /// Greatest, µs, exactly, and beyond an hour too; `None` without samples.
    pub fn max(&self) -> Option<u64> {
        self.exact().map(|exact| exact.max)
    }

    /// Arithmetic mean, µs; `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        self.exact().map(|exact| exact.sum as f64 / self.count() as f64)
    }

    /// Quantile `q` (0 to 1) in µs, however few the samples; `None` without any.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.value_at_quantile(q).min(self.exact.max).min(HIGHEST_US))
    }

    /// Values in µs with their counts, ascending; a value stands for its bucket, and is none that was greater than all.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram
            .iter_recorded()
            .map(|step| (step.value_iterated_to().min(self.exact.max).min(HIGHEST_US), step.count_since_last_iteration()))
    }

    /// Upper edges of buckets in µs with their counts, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
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
        assert_eq!((latency.count(), latency.clamped(), latency.min(), latency.max()), (2, 1, Some(0), Some(HIGHEST_US + 5)));
        assert_eq!(latency.quantile(1.0), Some(HIGHEST_US));
        assert_eq!(Latency::decode(&latency.encode()), Some(latency));
    }

    #[test]
    fn the_least_the_greatest_and_the_mean_are_exact() {
        // One bucket of the histogram holds 9.994 s to 10.002 s.
        let (mut latency, mut other) = (Latency::new(), Latency::new());
        latency.record_n(9_996_000, 3);
        other.record(9_997_001);
        latency.add(&other);
        assert_eq!((latency.min(), latency.max(), latency.mean()), (Some(9_996_000), Some(9_997_001), Some(9_996_250.25)));
        assert_eq!(latency.quantile(0.5), Some(9_997_001), "a quantile is none that was greater than all");
        assert_eq!(latency.steps().collect::<Vec<_>>(), [(9_997_001, 4)]);
        latency.clear();
        assert_eq!((latency.min(), latency.max(), latency.mean()), (None, None, None));
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
