//! The log-rank statistic of two curves: a description, never a verdict.
//!
//! It takes each client for a sample. Clients of one run share one server and its queue, so its variance is too small, and with ten thousand
//! clients any difference looks significant.

use crate::metrics::survival::Survival;
use std::collections::BTreeMap;

/// χ² of the log-rank test with one degree of freedom; `None` if nothing ended, or all of it at once.
///
/// At each time at which d of n at risk ended, d₁ of n₁ of the first side: `U = Σ(d₁ − n₁·d/n)`,
/// `V = Σ n₁·n₂·d·(n − d) / (n²·(n − 1))`, `χ² = U²/V`. Those that never end stay at risk.
pub fn log_rank(first: &Survival, second: &Survival) -> Option<f64> {
    // At each time, of each side: how many ended there, and how many were cut there.
    let mut times: BTreeMap<u64, [[u64; 2]; 2]> = BTreeMap::new();
    for (side, survival) in [first, second].into_iter().enumerate() {
        for (kind, latency) in [&survival.ended, &survival.censored].into_iter().enumerate() {
            latency.steps().for_each(|(time, count)| times.entry(time).or_default()[side][kind] += count);
        }
    }
    let mut at_risk = [first.count(), second.count()].map(|count| count as f64);
    let (mut excess, mut variance) = (0.0, 0.0);
    for sides in times.into_values() {
        let [[ended, cut], [other_ended, other_cut]] = sides.map(|side| side.map(|count| count as f64));
        let (all, gone) = (at_risk[0] + at_risk[1], ended + other_ended);
        if gone > 0.0 {
            excess += ended - at_risk[0] * gone / all;
        }
        if gone > 0.0 && all > 1.0 {
            variance += at_risk[0] * at_risk[1] * gone * (all - gone) / (all * all * (all - 1.0));
        }
        at_risk = [at_risk[0] - ended - cut, at_risk[1] - other_ended - other_cut];
    }
    (variance > 0.0).then(|| excess * excess / variance)
}

#[cfg(test)]
mod tests {
    use super::super::oracle::values;
    use super::*;
    use crate::metrics::latency::Latency;

    fn of(ended: &[u64], cut: &[u64]) -> Survival {
        let latency = |times: &[u64]| {
            let mut latency = Latency::new();
            times.iter().for_each(|us| latency.record(*us));
            latency
        };
        Survival { ended: latency(ended), censored: latency(cut), ..Survival::default() }
    }

    #[test]
    fn it_is_that_of_lifelines() {
        for pair in values().log_rank {
            let [one, other] = pair.sides.map(|side| of(&side.ended, &side.cut));
            let found = log_rank(&one, &other).unwrap();
            assert!((found - pair.statistic).abs() < 1e-9, "{found}, lifelines says {}", pair.statistic);
        }
    }

    #[test]
    fn curves_that_are_the_same_do_not_differ() {
        let same = of(&[1, 2, 3, 9], &[4]);
        assert!(log_rank(&same, &same).unwrap() < 1e-12);
        assert_eq!(log_rank(&of(&[], &[5]), &of(&[], &[7])), None);
        assert_eq!(log_rank(&of(&[], &[]), &of(&[3], &[])), None);
    }
}
