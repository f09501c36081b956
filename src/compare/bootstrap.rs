//! Weaker evidence where a side has one to three runs: a block bootstrap over the intervals of the runs.
//!
//! Of each run, blocks of intervals that follow each other are drawn again and again, so that what lasts for several intervals stays together,
//! and the percentile is computed of what was drawn. It says how much the percentile depends on when it was measured. It knows nothing of what
//! differs from one run to the next, so nothing is decided by it. Source: Künsch, "The Jackknife and the Bootstrap for General Stationary
//! Observations" (1989), with blocks around the end of the run (Politis and Romano, 1992).

use super::shift::{CONFIDENCE, difference};
use crate::metrics::survival::Survival;
use crate::seed::{Seed, Stream};

/// How often both sides are drawn.
const DRAWS: usize = 499;
/// Intervals of a side with samples below which there is nothing to draw from.
const FEWEST_INTERVALS: usize = 8;

/// A run as the times of each of its intervals, in order.
pub(super) type IntervalTimes = Vec<Survival>;

/// The interval of the difference of a percentile, new minus base, in µs; `None` with too few intervals. The same runs give the same.
pub(super) fn bootstrap(base: &[IntervalTimes], new: &[IntervalTimes], quantile: f64) -> Option<(f64, f64)> {
    let (base, new) = (ResampledSide::of(base)?, ResampledSide::of(new)?);
    let mut stream = Seed(0).stream("compare/bootstrap");
    let draw = |_| {
        let before = base.draw(quantile, &mut stream);
        difference(new.draw(quantile, &mut stream), before)
    };
    let mut differences: Vec<f64> = (0..DRAWS).map(draw).collect();
    differences.sort_by(f64::total_cmp);
    let beyond = ((1.0 - CONFIDENCE) / 2.0 * (DRAWS + 1) as f64) as usize;
    Some((differences[beyond.max(1) - 1], differences[DRAWS - beyond.max(1)]))
}

/// Samples of all runs of a side in the order of their times, each with the interval that it belongs to.
struct ResampledSide {
    /// Time in µs, whether it was cut there, interval, how many. Those that never end are cut at the end of all times.
    samples: Vec<(u64, bool, usize, f64)>,
    /// Intervals of each run; they are numbered through.
    runs: Vec<usize>,
}

impl ResampledSide {
    fn of(runs: &[IntervalTimes]) -> Option<ResampledSide> {
        let all = || runs.iter().flatten();
        if all().filter(|times| times.count() > 0).count() < FEWEST_INTERVALS {
            return None;
        }
        let mut samples = Vec::new();
        for (at, times) in all().enumerate() {
            samples.extend(times.ended.steps().map(|(us, count)| (us, false, at, count as f64)));
            samples.extend(times.censored.steps().map(|(us, count)| (us, true, at, count as f64)));
            samples.extend((times.never.count() > 0).then(|| (u64::MAX, true, at, times.never.count() as f64)));
        }
        samples.sort_by_key(|sample| (sample.0, sample.1));
        Some(ResampledSide { samples, runs: runs.iter().map(Vec::len).collect() })
    }

    /// The percentile of intervals that were drawn; +∞ where it is not reached.
    fn draw(&self, quantile: f64, stream: &mut Stream) -> f64 {
        let mut times_drawn = vec![0.0_f64; self.runs.iter().sum()];
        let mut first = 0;
        for intervals in self.runs.iter().filter(|intervals| **intervals > 0) {
            // The usual growth of the length of blocks.
            let block = (*intervals as f64).cbrt().ceil() as usize;
            let mut drawn = 0;
            while drawn < *intervals {
                let from = stream.below(*intervals as u64) as usize;
                let length = block.min(intervals - drawn);
                (from..from + length).for_each(|at| times_drawn[first + at % intervals] += 1.0);
                drawn += length;
            }
            first += intervals;
        }
        let mut at_risk: f64 = self.samples.iter().map(|(.., at, count)| times_drawn[*at] * count).sum();
        let mut left = 1.0;
        for (us, cut, at, count) in &self.samples {
            let count = times_drawn[*at] * count;
            if !cut && count > 0.0 {
                left *= 1.0 - count / at_risk;
                // Rounding must not keep the last one at risk.
                if left <= 1.0 - quantile + 1e-9 {
                    return *us as f64;
                }
            }
            at_risk -= count;
        }
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::Latency;

    fn times(ended: &[u64], cut: &[u64]) -> Survival {
        let of = |times: &[u64]| {
            let mut latency = Latency::new();
            times.iter().for_each(|us| latency.record(*us));
            latency
        };
        Survival { ended: of(ended), censored: of(cut), ..Survival::default() }
    }

    /// Intervals of ten samples around a level, which drifts.
    fn run(level: u64, intervals: u64) -> IntervalTimes {
        (0..intervals).map(|at| times(&(0..10).map(|k| level + k * 3 + at % 4).collect::<Vec<_>>(), &[])).collect()
    }

    #[test]
    fn it_finds_what_lies_apart_and_reaches_across_what_does_not() {
        let (low, high) = bootstrap(&[run(1000, 30)], &[run(1100, 30)], 0.5).unwrap();
        assert!(low > 90.0 && high < 110.0 && low <= high, "{low} to {high}");
        let (low, high) = bootstrap(&[run(1000, 30), run(1001, 20)], &[run(1000, 25)], 0.5).unwrap();
        assert!(low <= 0.0 && high >= 0.0, "{low} to {high}");
        assert_eq!(bootstrap(&[run(1000, 30)], &[run(1100, 30)], 0.5), bootstrap(&[run(1000, 30)], &[run(1100, 30)], 0.5));
        assert_eq!(bootstrap(&[run(1000, 7)], &[run(1100, 30)], 0.5), None, "too few intervals");
    }

    #[test]
    fn what_is_not_reached_stays_so() {
        let lost: [IntervalTimes; 1] = [(0..20).map(|_| times(&[5], &[9, 9, 9])).collect()];
        let (low, high) = bootstrap(&[run(1000, 20)], &lost, 0.5).unwrap();
        assert_eq!((low, high), (f64::INFINITY, f64::INFINITY));
        assert_eq!(bootstrap(&lost, &lost, 0.5), Some((0.0, 0.0)));
    }

    #[test]
    fn all_intervals_once_give_the_estimate_itself() {
        let side = ResampledSide::of(&[run(1000, 12)]).unwrap();
        // Every interval is alike but for its drift, so any draw is near the percentile of all.
        let of_all = run(1000, 12).iter().fold(Survival::default(), |mut sum, times| {
            sum.ended.add(&times.ended);
            sum
        });
        let drawn = side.draw(0.9, &mut Seed(3).stream("test"));
        assert!((drawn - of_all.quantile(0.9).unwrap() as f64).abs() <= 3.0, "{drawn}");
    }
}
