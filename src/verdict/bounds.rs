//! The exact one-sided bound by which a few samples can refute a percentile.

/// Confidence of 95 %: what is less likely than this by chance is not taken for chance.
const CHANCE: f64 = 0.05;

/// Whether `k` of `n` samples beyond a limit are more than chance allows where each is beyond it with probability `p` at most:
/// P(Binomial(n, p) ≥ k) ≤ 0.05. Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits" (1934).
pub(super) fn too_many(n: u64, p: f64, k: u64) -> bool {
    // Logarithms there and back are off by some 1e-16.
    tail(n, p, k) <= CHANCE * (1.0 + 1e-9)
}

/// P(Binomial(n, p) ≥ k), for p above 0 and below 1. Takes n - k steps, and k more for the first term.
fn tail(n: u64, p: f64, k: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n {
        return 0.0;
    }
    // In logarithms: the first term may be less than any number.
    let binomial: f64 = (0..k).map(|i| ((n - i) as f64 / (k - i) as f64).ln()).sum();
    let mut term = binomial + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p();
    let odds = p.ln() - (-p).ln_1p();
    let mut sum = term.exp();
    for i in k..n {
        term += ((n - i) as f64 / (i + 1) as f64).ln() + odds;
        sum += term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::needed;
    use proptest::prelude::*;

    #[test]
    fn tails_agree_with_tables() {
        for (n, p, k, expected) in [
            (50, 0.01, 2, 0.089_436_5), // 1 - 0.99⁵⁰ - 50 · 0.01 · 0.99⁴⁹
            (50, 0.01, 3, 0.013_817_2),
            (10, 0.5, 8, 56.0 / 1024.0),
            (4, 0.5, 4, 1.0 / 16.0),
            (1, 0.01, 1, 0.01),
            (28, 0.1, 6, 0.0550069),
            (28, 0.1, 7, 0.0179067),
            (9, 0.3, 0, 1.0),
            (9, 0.3, 10, 0.0),
        ] {
            assert!((tail(n, p, k) - expected).abs() < 2e-6, "{n} {p} {k}: {}", tail(n, p, k));
        }
        assert!(too_many(50, 0.01, 3) && !too_many(50, 0.01, 2));
    }

    /// All of the distribution at once: the sum over each sample in turn.
    fn plain(n: u64, p: f64, k: u64) -> f64 {
        let mut probabilities = vec![0.0; n as usize + 1];
        probabilities[0] = 1.0;
        for sample in 0..n as usize {
            for beyond in (0..=sample).rev() {
                probabilities[beyond + 1] += probabilities[beyond] * p;
                probabilities[beyond] *= 1.0 - p;
            }
        }
        probabilities.iter().skip(k as usize).sum()
    }

    proptest! {
        #[test]
        fn a_tail_is_the_sum_of_its_terms(n in 1..300_u64, tenths in 1..1000_u32, k in 0..301_u64) {
            let p = f64::from(tenths) / 1000.0;
            prop_assert!((tail(n, p, k) - plain(n, p, k)).abs() < 1e-9, "{} {}", tail(n, p, k), plain(n, p, k));
        }

        #[test]
        fn more_beyond_is_less_likely_and_more_samples_make_it_likelier(n in 1..400_u64, tenths in 1..1000_u32, k in 1..400_u64) {
            let p = f64::from(tenths) / 1000.0;
            prop_assert!(tail(n, p, k) <= tail(n, p, k - 1) + 1e-9);
            prop_assert!(tail(n, p, k) <= tail(n + 1, p, k) + 1e-9);
            prop_assert!((0.0..=1.0).contains(&tail(n, p, k)));
        }

        #[test]
        fn from_the_needed_samples_on_none_below_a_lower_limit_is_enough(tenths in 1..1000_u32) {
            // The two meet: n₀ is the first number of samples at which all on one side say something of the quantile.
            let q = f64::from(tenths) / 1000.0;
            let n = needed(q);
            prop_assert!(too_many(n, q, n));
            prop_assert!(n == 1 || !too_many(n - 1, q, n - 1));
        }
    }
}
