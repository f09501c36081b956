//! Distributions of times: the buckets of one HDR histogram of fixed range, so that any two can be added.
//!
//! Nothing here knows what was measured; `distributions` keeps one per metric, cohort and fault. There may be very many, most of them with
//! few samples, so a histogram is made only for more.

use hdrhistogram::Histogram;
use hdrhistogram::iterators::IterationValue;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::sync::LazyLock;
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// Buckets with samples that cost no histogram.
/// At 16 bytes each they take 4 KiB, a forty-sixth of a histogram; with many more, a new one among them would cost more than it saves.
const FEW: usize = 256;

/// The buckets of all distributions, and no sample.
// The bounds are constants that satisfy `low ≥ 1`, `high ≥ 2 · low` and `0 ≤ digits ≤ 5`.
static BUCKETS: LazyLock<Histogram<u64>> =
    LazyLock::new(|| Histogram::new_with_bounds(1, HIGHEST_US, 3).expect("constant bounds are valid"));

/// How many samples are in which buckets.
#[derive(Clone, Debug)]
enum Counts {
    /// Upper edges of at most [`FEW`] buckets with their counts, ascending.
    Few(Vec<(u64, u64)>),
    /// 188 KB.
    Many(Box<Histogram<u64>>),
}

/// A distribution of times in µs, up to one hour, three significant digits; 188 KB, and up to 256 different times 16 bytes each.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: Counts,
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
        Latency { counts: Counts::Few(Vec::new()), clamped: 0, exact: Exact::NONE }
    }

    /// An empty one that has its histogram already: for one that is filled and cleared again and again.
    pub fn with_histogram() -> Latency {
        Latency { counts: Counts::Many(Box::new(BUCKETS.clone())), ..Latency::new() }
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
        self.put(us.min(HIGHEST_US), n);
    }

    /// Counts `n` samples of a time that is at most the highest edge.
    fn put(&mut self, us: u64, n: u64) {
        let list = match &mut self.counts {
            Counts::Many(histogram) => return histogram.saturating_record_n(us, n),
            Counts::Few(list) => list,
        };
        let edge = BUCKETS.highest_equivalent(us);
        match list.binary_search_by_key(&edge, |(edge, _)| *edge) {
            Ok(place) => list[place].1 = list[place].1.saturating_add(n),
            Err(_) if n == 0 => {}
            Err(place) if list.len() < FEW => list.insert(place, (edge, n)),
            Err(_) => self.filled().saturating_record_n(us, n),
        }
    }

    /// Its histogram, from now on.
    fn filled(&mut self) -> &mut Histogram<u64> {
        if let Counts::Few(_) = &self.counts {
            self.counts = Counts::Many(Box::new(self.histogram().into_owned()));
        }
        match &mut self.counts {
            Counts::Many(histogram) => histogram,
            Counts::Few(_) => unreachable!("it was made above"),
        }
    }

    /// Adds all samples of another.
    pub fn add(&mut self, other: &Latency) {
        match &other.counts {
            Counts::Few(list) => list.iter().for_each(|(edge, n)| self.put(*edge, *n)),
            // Both have the same bounds, the only reason for which an addition fails.
            Counts::Many(histogram) => self.filled().add(&**histogram).expect("equal bounds"),
        }
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.exact.add(other.exact);
    }

    /// What is known exactly; `None` without samples.
    pub fn exact(&self) -> Option<Exact> {
        (self.count() > 0).then_some(self.exact)
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
        V2Serializer::new().serialize(&self.histogram(), &mut bytes).expect("a Vec takes all");
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
        for step in histogram.iter_recorded() {
            let edge = step.value_iterated_to();
            if edge > Latency::bucket(HIGHEST_US).1 {
                return None;
            }
            latency.put(edge, step.count_since_last_iteration());
        }
        (latency.clamped, latency.exact) = (clamped, exact);
        Some(latency)
    }

    /// Removes all samples.
    pub fn clear(&mut self) {
        match &mut self.counts {
            Counts::Few(list) => list.clear(),
            Counts::Many(histogram) => histogram.reset(),
        }
        self.clamped = 0;
        self.exact = Exact::NONE;
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        match &self.counts {
            Counts::Few(list) => list.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n)),
            Counts::Many(histogram) => histogram.len(),
        }
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
        let edge = match &self.counts {
            Counts::Few(list) => {
                // As the histogram has it.
                let rank = ((q.min(1.0) * self.count() as f64).ceil() as u64).max(1);
                let mut seen = 0_u64;
                let reached = list.iter().find(|(_, n)| {
                    seen = seen.saturating_add(*n);
                    seen >= rank
                });
                let edge = reached.or(list.last())?.0;
                if q == 0.0 { Latency::bucket(edge).0 } else { edge }
            }
            Counts::Many(histogram) => Some(histogram.value_at_quantile(q)).filter(|_| !histogram.is_empty())?,
        };
        Some(edge.min(self.exact.max).min(HIGHEST_US))
    }

    /// Values in µs with their counts, ascending; a value stands for its bucket, and is none that was greater than all.
    pub fn steps(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets().map(|(edge, count)| (edge.min(self.exact.max).min(HIGHEST_US), count))
    }

    /// Upper edges of buckets in µs with their counts, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (few, many) = match &self.counts {
            Counts::Few(list) => (&list[..], None),
            Counts::Many(histogram) => (&[][..], Some(histogram)),
        };
        let step = |step: IterationValue<u64>| (step.value_iterated_to(), step.count_since_last_iteration());
        few.iter().copied().chain(many.into_iter().flat_map(move |histogram| histogram.iter_recorded().map(step)))
    }

    /// The edges of the bucket in which a time of µs lies.
    pub fn bucket(us: u64) -> (u64, u64) {
        (BUCKETS.lowest_equivalent(us), BUCKETS.highest_equivalent(us))
    }

    /// As a histogram, for writing.
    pub fn histogram(&self) -> Cow<'_, Histogram<u64>> {
        match &self.counts {
            Counts::Few(list) => {
                let mut histogram = BUCKETS.clone();
                list.iter().for_each(|(edge, n)| histogram.saturating_record_n(*edge, *n));
                Cow::Owned(histogram)
            }
            Counts::Many(histogram) => Cow::Borrowed(histogram),
        }
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

impl PartialEq for Latency {
    fn eq(&self, other: &Latency) -> bool {
        (self.clamped, self.exact) == (other.clamped, other.exact) && self.buckets().eq(other.buckets())
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

    /// Few samples are not in a histogram, and must come out as if they were.
    #[test]
    fn few_samples_are_told_as_a_histogram_tells_them() {
        let mut random = crate::seed::Seed(3).stream("few");
        for size in (0..FEW / 4).chain((FEW / 4..2 * FEW).step_by(FEW / 16)) {
            let (mut few, mut many) = (Latency::new(), Latency::with_histogram());
            for _ in 0..size {
                let most = 2_u64 << random.below(33);
                let (us, n) = (random.below(most), 1 + random.below(4));
                few.record_n(us, n);
                many.record_n(us, n);
            }
            assert!(size > FEW || matches!(few.counts, Counts::Few(_)), "{size} cost no histogram");
            let text = |latency: &Latency| {
                let quantiles = [0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0].map(|q| latency.quantile(q));
                let (steps, buckets): (Vec<_>, Vec<_>) = (latency.steps().collect(), latency.buckets().collect());
                let histogram = latency.histogram();
                let ends = (histogram.max(), histogram.min_nz(), histogram.mean().to_bits(), histogram.stdev().to_bits());
                format!("{quantiles:?}{steps:?}{buckets:?}{ends:?}{:?}{}{:?}", latency.times(), latency.count(), latency.encode())
            };
            assert_eq!(text(&few), text(&many), "{size}");
            let (mut here, mut there) = (few.clone(), many.clone());
            here.add(&many);
            there.add(&few);
            assert_eq!((&here, text(&here)), (&there, text(&there)), "{size}");
            assert_eq!(Latency::decode(&few.encode()).as_ref(), Some(&many));
            few.clear();
            assert_eq!(few, Latency::with_histogram());
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
