//! Quantiles of times of which some are only known to be longer: the Kaplan–Meier estimate.
//!
//! Outages that the end of the run cut are censored: they took at least so long. To leave them out would call a run in which most
//! clients never came back a fast one. Source: Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations" (1958).

use super::latency::{Latency, needed};
use crate::results::record::Times;

/// Quantile `q` (0 to 1) in µs: the least time t with `S(t) ≤ 1 - q`; `None` if it was not reached.
///
/// `S(t)` is the product over all times tᵢ ≤ t at which somebody returned of `1 - dᵢ/nᵢ`: dᵢ returned at tᵢ, and nᵢ were at risk,
/// which is all whose time, returned or censored, is at least tᵢ. Without censoring this is the ordinary quantile.
pub fn quantile(returned: &Latency, censored: &Latency, q: f64) -> Option<u64> {
    steps(returned, censored).find(|(_, away)| reached(*away, q)).map(|(time, _)| time)
}

/// [`quantile`] of each of these, which ascend, in one pass over the samples.
pub fn quantiles(returned: &Latency, censored: &Latency, ascending: impl Iterator<Item = f64>) -> Vec<Option<u64>> {
    let mut steps = steps(returned, censored).peekable();
    let at = |q| {
        while steps.next_if(|(_, away)| !reached(*away, q)).is_some() {}
        steps.peek().map(|(time, _)| *time)
    };
    ascending.map(at).collect()
}

/// Each time in µs at which somebody returned, ascending, and `S` from then on.
fn steps(returned: &Latency, censored: &Latency) -> impl Iterator<Item = (u64, f64)> {
    let mut at_risk = returned.count() + censored.count();
    let mut survival = 1.0_f64;
    let mut cuts = censored.steps().peekable();
    returned.steps().map(move |(time, count)| {
        // Who was censored at the same time counts as at risk at that time.
        while let Some((_, gone)) = cuts.next_if(|(cut, _)| *cut < time) {
            at_risk -= gone;
        }
        survival *= 1.0 - count as f64 / at_risk as f64;
        at_risk -= count;
        (time, survival)
    })
}

/// Whether a share `q` is back where `away` is still away.
fn reached(away: f64, q: f64) -> bool {
    // The product of many factors is off by some 1e-16 each.
    away <= 1.0 - q + 1e-9
}

/// What a summary shows. `count` is all outages; `max` and `mean` are null as soon as one is censored, because they are not known.
pub fn times(returned: &Latency, censored: &Latency) -> Times {
    let count = returned.count() + censored.count();
    let stated = |q| quantile(returned, censored, q).filter(|_| count >= needed(q));
    let complete = censored.count() == 0;
    Times {
        count,
        min: returned.min(),
        p50: stated(0.5),
        p90: stated(0.9),
        p99: stated(0.99),
        p999: stated(0.999),
        max: returned.max().filter(|_| complete),
        mean: returned.mean().filter(|_| complete).map(|mean| mean.round() as u64),
    }
}

/// The longest time that was observed, µs: a quantile that was not reached is greater. `None` without outages.
pub fn horizon(returned: &Latency, censored: &Latency) -> Option<u64> {
    returned.max().max(censored.max())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[u64]) -> Latency {
        let mut latency = Latency::new();
        samples.iter().for_each(|us| latency.record(*us));
        latency
    }

    #[test]
    fn quantiles_agree_with_a_hand_computed_example() {
        // Ten outages. Returned after 100, 200, 200, 400, 700; censored at 150, 400, 500; two clients gave up early and stay in
        // the risk set to the end of the run, 1000.
        //   t=100: n=10, d=1, S = 9/10          = 0.9
        //   t=200: n=8 (150 is gone), d=2, S    = 0.9 · 6/8 = 0.675
        //   t=400: n=6 (the censored 400 counts), d=1, S = 0.675 · 5/6 = 0.5625
        //   t=700: n=3, d=1, S = 0.5625 · 2/3   = 0.375
        let (returned, censored) = (of(&[100, 200, 200, 400, 700]), of(&[150, 400, 500, 1000, 1000]));
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
            assert_eq!(quantile(&returned, &censored, q), expected, "{q}");
        }
        let several = quantiles(&returned, &censored, [0.1, 0.33, 0.5, 0.5, 0.9].into_iter());
        assert_eq!(several, [Some(100), Some(400), Some(700), Some(700), None]);
        assert_eq!(horizon(&returned, &censored), Some(1000));
        let times = times(&returned, &censored);
        assert_eq!((times.count, times.p50, times.p90, times.max), (10, Some(700), None, None));
    }

    #[test]
    fn without_give_ups_in_the_risk_set_the_median_would_be_too_good() {
        let returned = of(&[100, 200, 300]);
        assert_eq!(quantile(&returned, &of(&[]), 0.5), Some(200));
        assert_eq!(quantile(&returned, &of(&[900, 900, 900, 900]), 0.5), None);
    }

    #[test]
    fn without_censoring_it_is_the_ordinary_quantile() {
        let returned = of(&(1..=1000).collect::<Vec<_>>());
        for q in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(quantile(&returned, &of(&[]), q), returned.quantile(q), "{q}");
        }
    }
}
