//! The exact two-sided Mann–Whitney test, and Holm's adjustment for several metrics.
//!
//! Own code, because the exact test of statrs refuses tied values, and runs tie often: counts do, and "not reached" is +∞ in each. Here
//! every split of the values into two sides is counted. Ranks need no finite values.

/// Ranks of all values together, doubled, so that the mean rank of tied values is a whole number: first those of `base`, then those of
/// `new`.
fn doubled_ranks(base: &[f64], new: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = base.iter().chain(new).copied().collect();
    let rank = |value: &f64| {
        let below = all.iter().filter(|other| *other < value).count();
        let equal = all.iter().filter(|other| *other == value).count();
        // Mean of below + 1 to below + equal, doubled.
        2 * below + equal + 1
    };
    all.iter().map(rank).collect()
}

/// In how many ways `chosen` of these give each sum; the index is the sum.
///
/// Counts are floats: of 100 runs a side there are 10⁵⁹ splits, and sums of positive numbers lose no digits that matter.
fn ways(of: &[usize], chosen: usize) -> Vec<f64> {
    let most: usize = of.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for (seen, value) in of.iter().enumerate() {
        for taken in (1..=chosen.min(seen + 1)).rev() {
            let (fewer, more) = ways.split_at_mut(taken);
            more[0][*value..].iter_mut().zip(&fewer[taken - 1]).for_each(|(to, from)| *to += from);
        }
    }
    ways.swap_remove(chosen)
}

/// The exact two-sided p value of Mann and Whitney's test: how often a random split of these values into two sides of these sizes gives
/// a rank sum at least as extreme, which is twice the smaller tail and at most 1. Ties share their mean rank.
///
/// Values may be ±∞, never NaN. 1 where a side is empty. Takes time by the cube of the number of values: 100 a side take about a second.
pub fn mann_whitney(base: &[f64], new: &[f64]) -> f64 {
    let ranks = doubled_ranks(base, new);
    let (fewer, observed) = if base.len() <= new.len() {
        (base.len(), ranks[..base.len()].iter().sum::<usize>())
    } else {
        (new.len(), ranks[base.len()..].iter().sum())
    };
    let ways = ways(&ranks, fewer);
    let all: f64 = ways.iter().sum();
    let low: f64 = ways[..=observed].iter().sum();
    let high: f64 = ways[observed..].iter().sum();
    (2.0 * low.min(high) / all).min(1.0)
}

/// P(U ≤ u) for each u from 0, for untied values of two sides of these sizes.
pub(super) fn cumulative_u(base: usize, new: usize) -> Vec<f64> {
    let (fewer, all) = (base.min(new), base + new);
    let ranks: Vec<usize> = (1..=all).collect();
    let ways = ways(&ranks, fewer);
    let total: f64 = ways.iter().sum();
    let least = fewer * (fewer + 1) / 2;
    let mut sum = 0.0;
    ways[least..=least + base * new]
        .iter()
        .map(|ways| {
            sum += ways / total;
            sum
        })
        .collect()
}

/// The least p value that so many runs can give, without ties: both sides apart.
pub fn least_p(base: usize, new: usize) -> f64 {
    let splits: f64 = (1..=base).map(|k| (new + k) as f64 / k as f64).product();
    (2.0 / splits).min(1.0)
}

/// Holm's adjusted p values, in the order given: of k metrics the smallest p counts k times, the next k - 1 times, and none less than one
/// before it.
///
/// The chance that any of them is called different where none is stays at the level at which the adjusted values are read. Source: Holm, "A
/// Simple Sequentially Rejective Multiple Test Procedure" (1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*one].total_cmp(&p[*other]));
    let (mut adjusted, mut least) = (vec![1.0; p.len()], 0.0_f64);
    for (rank, at) in order.into_iter().enumerate() {
        least = least.max(p[at] * (p.len() - rank) as f64).min(1.0);
        adjusted[at] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{Case, values};
    use super::*;
    use proptest::prelude::*;

    fn near(found: f64, expected: f64, what: &str) {
        assert!((found - expected).abs() < 1e-9, "{what}: {found}, scipy says {expected}");
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        let cases = values().cases;
        assert!(cases.len() >= 15);
        for Case { name, base, new, p, .. } in cases {
            near(mann_whitney(&base, &new), p, &name);
            near(mann_whitney(&new, &base), p, &format!("{name}, sides swapped"));
        }
    }

    #[test]
    fn adjusted_p_values_are_those_of_statsmodels() {
        for family in values().holm {
            for (found, expected) in holm(&family.p).into_iter().zip(family.adjusted) {
                near(found, expected, "holm");
            }
        }
    }

    #[test]
    fn few_runs_cannot_give_a_small_p() {
        for (base, new, expected) in [(1, 1, 1.0), (3, 3, 0.1), (4, 4, 2.0 / 70.0), (5, 5, 2.0 / 252.0), (6, 6, 2.0 / 924.0), (0, 5, 1.0)] {
            near(least_p(base, new), expected, "least p");
            let (low, high): (Vec<f64>, Vec<f64>) = ((0..base).map(|k| k as f64).collect(), (0..new).map(|k| 100.0 + k as f64).collect());
            near(mann_whitney(&low, &high), expected, "both sides apart");
        }
    }

    #[test]
    fn many_runs_are_possible() {
        let side = |from: usize| (0..60).map(|k| (from + 2 * k) as f64).collect::<Vec<_>>();
        let p = mann_whitney(&side(0), &side(1));
        assert!((0.8..1.0).contains(&p), "{p}");
    }

    proptest! {
        /// Each split by itself.
        #[test]
        fn counting_ways_is_counting_splits(
            base in prop::collection::vec(0..6_u8, 1..5), new in prop::collection::vec(0..6_u8, 1..5),
        ) {
            let value = |level: &u8| if *level == 5 { f64::INFINITY } else { f64::from(*level) };
            let (base, new): (Vec<f64>, Vec<f64>) = (base.iter().map(value).collect(), new.iter().map(value).collect());
            let ranks = doubled_ranks(&base, &new);
            let observed: usize = ranks[..base.len()].iter().sum();
            let (mut low, mut high, mut all) = (0, 0, 0);
            for chosen in (0_u32..1 << ranks.len()).filter(|chosen| chosen.count_ones() as usize == base.len()) {
                let sum: usize = ranks.iter().enumerate().filter(|(k, _)| chosen & (1 << k) != 0).map(|(_, rank)| rank).sum();
                all += 1;
                low += i32::from(sum <= observed);
                high += i32::from(sum >= observed);
            }
            let expected = (2.0 * f64::from(low.min(high)) / f64::from(all)).min(1.0);
            prop_assert!((mann_whitney(&base, &new) - expected).abs() < 1e-12);
        }
    }
}
