//! Quantiles of times of which some are only known to be longer: the Kaplan–Meier estimate.
//!
//! What the end of the run, a deadline or a fault cut is censored: it took at least so long. To leave it out would call a run in which
//! most clients never came back, or most replies never came, a fast one. Source: Kaplan and Meier, "Nonparametric Estimation from
//! Incomplete Observations" (1958).

use super::latency::Times;
use super::latency::{Latency, needed};

/// Times of one kind, however they ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survival {
    /// Of those that ended.
    pub ended: Latency,
    /// Of those that were cut: they took at least so long.
    pub censored: Latency,
    /// Of those that never end, as a client that gave up: how long it took until that was clear. They are +∞ in every quantile, so
    /// they stay at risk for ever.
    pub never: Latency,
}

/// A quantile of times of which some did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// It, µs.
    At(u64),
    /// It was not reached in so many µs, the longest time that was observed.
    Beyond(u64),
    /// It is +∞: too many never end.
    Never,
}

impl Quantile {
    /// It, if it was reached, µs.
    pub fn us(self) -> Option<u64> {
        match self {
            Quantile::At(us) => Some(us),
            Quantile::Beyond(_) | Quantile::Never => None,
        }
    }
}

impl Survival {
    /// All, however they ended.
    pub fn count(&self) -> u64 {
        self.ended.count() + self.censored.count() + self.never.count()
    }

    /// Whether all ended, so that the greatest and the mean are known.
    pub fn is_complete(&self) -> bool {
        self.censored.count() + self.never.count() == 0
    }

    /// Quantile `q` (0 to 1) in µs: the least time t with `S(t) ≤ 1 - q`; `None` if it was not reached.
    ///
    /// `S(t)` is the product over all times tᵢ ≤ t at which something ended of `1 - dᵢ/nᵢ`: dᵢ ended at tᵢ, and nᵢ were at risk,
    /// which is all whose time, ended or censored, is at least tᵢ, and all that never end. Without censoring this is the ordinary
    /// quantile.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        self.steps().find(|step| reached(step.left, q)).map(|step| step.time)
    }

    /// [`quantile`](Survival::quantile), with what is known where it was not reached; `None` without samples.
    pub fn at(&self, q: f64) -> Option<Quantile> {
        if let Some(us) = self.quantile(q) {
            return Some(Quantile::At(us));
        }
        let horizon = self.horizon()?;
        let (left, at_risk) = self.steps().last().map_or((1.0, self.count()), |step| (step.left, step.at_risk));
        // Even if all that were cut later had ended at once, those that never end would be left.
        let left_for_ever = if at_risk == 0 { 0.0 } else { left * self.never.count() as f64 / at_risk as f64 };
        Some(if reached(left_for_ever, q) { Quantile::Beyond(horizon) } else { Quantile::Never })
    }

    /// [`quantile`](Survival::quantile) of each of these, which ascend, in one pass over the samples.
    pub fn quantiles(&self, ascending: impl Iterator<Item = f64>) -> Vec<Option<u64>> {
        let mut steps = self.steps().peekable();
        let at = |q| {
            while steps.next_if(|step| !reached(step.left, q)).is_some() {}
            steps.peek().map(|step| step.time)
        };
        ascending.map(at).collect()
    }

    /// Each time in µs at which something ended, ascending, and the share that lasted longer.
    pub fn curve(&self) -> impl Iterator<Item = (u64, f64)> {
        self.steps().map(|step| (step.time, step.left))
    }

    /// Each time at which something ended, ascending.
    fn steps(&self) -> impl Iterator<Item = SurvivalStep> {
        let mut at_risk = self.count();
        let mut left = 1.0_f64;
        let mut cuts = self.censored.steps().peekable();
        self.ended.steps().map(move |(time, count)| {
            // What was censored at the same time counts as at risk at that time.
            while let Some((_, gone)) = cuts.next_if(|(cut, _)| *cut < time) {
                at_risk -= gone;
            }
            left *= 1.0 - count as f64 / at_risk as f64;
            at_risk -= count;
            SurvivalStep { time, left, at_risk }
        })
    }

    /// The estimate around a limit in µs, where it is known how the samples lie around it.
    ///
    /// Within the bucket of the histogram in which the limit lies, what ended below it counts before what was cut there.
    pub fn around(&self, limit: f64, split: &Split) -> LimitEstimate {
        let (low, _) = bucket(limit);
        let (mut at_risk, mut left, mut ended) = (self.count(), 1.0_f64, 0);
        let mut cuts = self.censored.buckets().take_while(|(cut, _)| *cut < low).peekable();
        for (time, count) in self.ended.buckets().take_while(|(time, _)| *time < low) {
            while let Some((_, gone)) = cuts.next_if(|(cut, _)| *cut < time) {
                at_risk -= gone;
            }
            left *= 1.0 - count as f64 / at_risk as f64;
            (at_risk, ended) = (at_risk - count, ended + count);
        }
        at_risk -= cuts.map(|(_, gone)| gone).sum::<u64>();
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part.min(of) as f64 / of as f64 };
        let before = left * (1.0 - share(split.ended_below.saturating_sub(ended), at_risk));
        let at_risk = self.count().saturating_sub(split.ended_below + split.cut_below);
        LimitEstimate { before, by: before * (1.0 - share(split.ended_equal, at_risk)), at_risk }
    }

    /// How the samples may lie around a limit in µs where only the histograms are known: all of its bucket above it, and all below.
    pub fn splits(&self, limit: f64) -> [Split; 2] {
        let (low, high) = bucket(limit);
        let below = |latency: &Latency, edge: u64| latency.buckets().take_while(|(time, _)| *time <= edge).map(|(_, count)| count).sum();
        let split = |edge: u64| Split { ended_below: below(&self.ended, edge), cut_below: below(&self.censored, edge), ..Split::default() };
        // Buckets are named by their upper edge, so those that end before this one are at most `low - 1`.
        let first = if low == 0 { Split::default() } else { split(low - 1) };
        [first, split(high)]
    }

    /// What a summary shows. `count` is all; `max` and `mean` are null as soon as one did not end, because they are not known.
    pub fn times(&self) -> Times {
        let count = self.count();
        let stated = |q| self.quantile(q).filter(|_| count >= needed(q));
        let complete = self.is_complete();
        Times {
            count,
            censored: self.censored.count(),
            never: self.never.count(),
            observed: self.horizon(),
            min: self.ended.min(),
            p50: stated(0.5),
            p90: stated(0.9),
            p99: stated(0.99),
            p999: stated(0.999),
            max: self.ended.max().filter(|_| complete),
            mean: self.ended.mean().filter(|_| complete).map(|mean| mean.round() as u64),
        }
    }

    /// The mean of all times cut off at a horizon in µs: the area below `S` up to there. `None` without samples.
    ///
    /// It is known where the mean is not, as long as something was observed up to the horizon.
    pub fn restricted_mean(&self, horizon: u64) -> Option<f64> {
        if self.count() == 0 {
            return None;
        }
        let (mut area, mut since, mut left) = (0.0, 0, 1.0);
        for step in self.steps().take_while(|step| step.time < horizon) {
            area += left * (step.time - since) as f64;
            (since, left) = (step.time, step.left);
        }
        Some(area + left * horizon.saturating_sub(since) as f64)
    }

    /// The longest time that was observed, µs: a quantile that was not reached is greater. `None` without samples.
    pub fn horizon(&self) -> Option<u64> {
        self.ended.max().max(self.censored.max()).max(self.never.max())
    }
}

/// The edges of the bucket in which a limit in µs lies.
fn bucket(limit: f64) -> (u64, u64) {
    Latency::bucket((limit.max(0.0) as u64).min(super::latency::HIGHEST_US))
}

/// How samples lie around a limit; the others are above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// That ended below it.
    pub ended_below: u64,
    /// That ended exactly there.
    pub ended_equal: u64,
    /// That were cut below it.
    pub cut_below: u64,
    /// That were cut exactly there.
    pub cut_equal: u64,
}

/// The estimate around a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitEstimate {
    /// `S` just before it.
    pub before: f64,
    /// `S` at it.
    pub by: f64,
    /// How many are known to have lasted up to it.
    pub at_risk: u64,
}

impl LimitEstimate {
    /// Whether quantile `q` is below the limit.
    pub fn reached_before(&self, q: f64) -> bool {
        reached(self.before, q)
    }

    /// Whether it is at most the limit.
    pub fn reached(&self, q: f64) -> bool {
        reached(self.by, q)
    }
}

/// A time in µs at which something ended, the share that lasted longer, and how many of it were at risk beyond.
struct SurvivalStep {
    time: u64,
    left: f64,
    at_risk: u64,
}

/// Whether a share `q` ended where `left` has not.
fn reached(left: f64, q: f64) -> bool {
    // The product of many factors is off by some 1e-16 each.
    left <= 1.0 - q + 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(samples: &[u64]) -> Latency {
        let mut latency = Latency::new();
        samples.iter().for_each(|us| latency.record(*us));
        latency
    }

    fn survival(ended: &[u64], censored: &[u64], never: &[u64]) -> Survival {
        Survival { ended: of(ended), censored: of(censored), never: of(never) }
    }

    #[test]
    fn quantiles_agree_with_a_hand_computed_example() {
        // Ten outages. Returned after 100, 200, 200, 400, 700; censored at 150, 400, 500, 1000, 1000.
        //   t=100: n=10, d=1, S = 9/10          = 0.9
        //   t=200: n=8 (150 is gone), d=2, S    = 0.9 · 6/8 = 0.675
        //   t=400: n=6 (the censored 400 counts), d=1, S = 0.675 · 5/6 = 0.5625
        //   t=700: n=3, d=1, S = 0.5625 · 2/3   = 0.375
        let outages = survival(&[100, 200, 200, 400, 700], &[150, 400, 500, 1000, 1000], &[]);
        for (q, expected) in [
            (0.1, Some(100)),
            (0.11, Some(200)),
            (0.325, Some(200)),
            (0.33, Some(400)),
            (0.4375, Some(400)),
            (0.5, Some(700)),
            (0.625, Some(700)),
            (0.63, None),
            (0.9, None),
        ] {
            assert_eq!(outages.quantile(q), expected, "{q}");
        }
        let several = outages.quantiles([0.1, 0.33, 0.5, 0.5, 0.9].into_iter());
        assert_eq!(several, [Some(100), Some(400), Some(700), Some(700), None]);
        // Those that were cut may have ended a moment later: nothing is known to be for ever.
        assert_eq!(outages.at(0.9), Some(Quantile::Beyond(1000)));
        let times = outages.times();
        assert_eq!((times.count, times.censored, times.p50, times.p90, times.max), (10, 5, Some(700), None, None));
    }

    #[test]
    fn who_gave_up_stays_at_risk_for_ever() {
        // Ten outages: returned after 100, 200, 300, 600; censored at 250, 700; four gave up, after 50, 60, 150 and 400.
        //   t=100: n=10, d=1, S = 0.9
        //   t=200: n=9, d=1, S = 0.9 · 8/9            = 0.8
        //   t=300: n=7 (250 is gone), d=1, S = 0.8 · 6/7 = 0.6857…
        //   t=600: n=6 , d=1, S = 0.6857… · 5/6        = 0.5714…
        // Beyond 600 one censored and the four are at risk: at best S = 0.5714… · 4/5 = 0.4571…, so more than p54.2 is for ever.
        let outages = survival(&[100, 200, 300, 600], &[250, 700], &[50, 60, 150, 400]);
        for (q, expected) in [
            (0.1, Quantile::At(100)),
            (0.2, Quantile::At(200)),
            (0.3142, Quantile::At(300)),
            (0.4285, Quantile::At(600)),
            (0.4286, Quantile::Beyond(700)),
            (0.5428, Quantile::Beyond(700)),
            (0.543, Quantile::Never),
            (0.99, Quantile::Never),
        ] {
            assert_eq!((outages.at(q), outages.quantile(q)), (Some(expected), expected.us()), "{q}");
        }
        let times = outages.times();
        assert_eq!((times.count, times.never, times.p50, times.max, times.mean), (10, 4, None, None, None));
        // Half returned after 8 s, half gave up at 16 s of 20 s: the 90th percentile is not 8 s.
        let half = survival(&[8_000_000; 50], &[], &[6_000_000; 50]);
        assert_eq!((half.at(0.5), half.at(0.9)), (Some(Quantile::At(8_000_000)), Some(Quantile::Never)));
        assert_eq!(survival(&[], &[], &[5]).at(0.5), Some(Quantile::Never));
        assert_eq!(survival(&[], &[], &[]).at(0.5), None);
    }

    #[test]
    fn the_bucket_of_a_limit_is_all_above_it_or_all_below() {
        // Buckets of small times hold one value; that of 10 s holds some milliseconds.
        for (us, near) in [(100, 1), (10_000_000, 20_000)] {
            let outages = survival(&[us - near, us, us + near], &[us - near, us, us, us + near], &[]);
            let split = |ended_below, cut_below| Split { ended_below, cut_below, ..Split::default() };
            assert_eq!(outages.splits(us as f64), [split(1, 1), split(2, 3)], "{us}");
        }
        assert_eq!(survival(&[0, 1], &[], &[]).splits(0.0), [Split::default(), Split { ended_below: 1, ..Split::default() }]);
    }

    #[test]
    fn to_leave_out_what_was_cut_would_make_the_median_too_good() {
        assert_eq!(survival(&[100, 200, 300], &[], &[]).quantile(0.5), Some(200));
        assert_eq!(survival(&[100, 200, 300], &[900, 900, 900, 900], &[]).quantile(0.5), None);
    }

    #[test]
    fn a_mean_up_to_a_horizon_counts_all_that_lasted_longer_as_the_horizon() {
        assert_eq!(survival(&[100, 300], &[], &[]).restricted_mean(500), Some(200.0));
        assert_eq!(survival(&[100, 300], &[], &[50, 60]).restricted_mean(500), Some(350.0));
        assert_eq!(survival(&[100, 700], &[600], &[]).restricted_mean(500), Some((100.0 + 500.0 + 500.0) / 3.0));
        assert_eq!(survival(&[], &[], &[9]).restricted_mean(500), Some(500.0));
        assert_eq!(survival(&[], &[], &[]).restricted_mean(500), None);
    }

    #[test]
    fn without_censoring_it_is_the_ordinary_quantile() {
        let all = survival(&(1..=1000).collect::<Vec<_>>(), &[], &[]);
        for q in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(all.quantile(q), all.ended.quantile(q), "{q}");
        }
    }

    proptest! {
        /// The product of Kaplan and Meier over every sample, without a histogram: at each time those that ended, of all not gone before.
        #[test]
        fn around_a_limit_it_is_the_estimate_of_the_samples_themselves(
            samples in prop::collection::vec((1_u64..40, 0..3_u8), 1..60), limit in 1_u64..42,
        ) {
            let of_kind = |wanted: u8| samples.iter().filter(move |(_, kind)| *kind == wanted).map(|(ms, _)| ms * 1000);
            let counted = |kind: u8, keep: fn(u64, u64) -> bool| of_kind(kind).filter(|us| keep(*us, limit * 1000)).count() as u64;
            let below = |us: u64, limit: u64| us < limit;
            let equal = |us: u64, limit: u64| us == limit;
            let split = Split {
                ended_below: counted(0, below), ended_equal: counted(0, equal), cut_below: counted(1, below), cut_equal: counted(1, equal),
            };
            let plain = |keep: fn(u64, u64) -> bool| {
                let times: BTreeSet<u64> = of_kind(0).filter(|us| keep(*us, limit * 1000)).collect();
                times.into_iter().fold(1.0_f64, |left, time| {
                    let gone = samples.iter().filter(|(ms, kind)| *kind < 2 && ms * 1000 < time).count();
                    left * (1.0 - of_kind(0).filter(|us| *us == time).count() as f64 / (samples.len() - gone) as f64)
                })
            };
            let outages = survival(&of_kind(0).collect::<Vec<_>>(), &of_kind(1).collect::<Vec<_>>(), &of_kind(2).collect::<Vec<_>>());
            let at = outages.around(limit as f64 * 1000.0, &split);
            prop_assert!((at.before - plain(|us, limit| us < limit)).abs() < 1e-12, "{} {}", at.before, plain(|us, limit| us < limit));
            prop_assert!((at.by - plain(|us, limit| us <= limit)).abs() < 1e-12, "{} {}", at.by, plain(|us, limit| us <= limit));
            let lasted = samples.iter().filter(|(ms, kind)| *kind == 2 || *ms >= limit).count() as u64;
            prop_assert_eq!(at.at_risk, lasted);
        }
    }
}
