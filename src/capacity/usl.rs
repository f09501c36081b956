//! The Universal Scalability Law: how throughput grows with the number of those who work at the same time, and why it stops to.
//!
//! `X(N) = λN / (1 + σ(N − 1) + κN(N − 1))`: λ is the throughput of one, σ the share of work that must wait its turn, κ the cost of
//! agreeing with each other, which makes throughput fall again. Source: Gunther, "Guerrilla Capacity Planning" (2007), chapters 4 to 6.
//! `N / X(N)` is linear in `1/λ`, `σ/λ` and `κ/λ`, so the fit of the least relative error in `N / X` needs no iteration; none of
//! the three may be negative.

use crate::seed::Seed;

/// A parameter with the interval that holds it with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Its value.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The law, fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FittedLaw {
    /// Throughput of one, per second.
    pub lambda: Estimate,
    /// Contention, 0 to 1.
    pub sigma: Estimate,
    /// Coherency.
    pub kappa: Estimate,
    /// Share of the variance of the throughput that the law explains, at most 1.
    pub r_squared: f64,
}

impl FittedLaw {
    /// Throughput that the law gives for `n`, per second.
    pub fn throughput(&self, n: f64) -> f64 {
        law([self.lambda.value, self.sigma.value, self.kappa.value], n)
    }

    /// The `n` of the greatest throughput: `√((1 − σ) / κ)`; `None` where it never falls.
    pub fn peak(&self) -> Option<f64> {
        (self.kappa.value > 0.0 && self.sigma.value < 1.0).then(|| ((1.0 - self.sigma.value) / self.kappa.value).sqrt().max(1.0))
    }
}

/// Different `n` that three parameters and a residual need.
pub const POINTS_NEEDED: usize = 5;
/// Least share of the variance that a fit explains to be told at all: below it, the mean of the points says as much.
pub const LEAST_R_SQUARED: f64 = 0.5;
/// Resamplings of the residuals.
const RESAMPLES: usize = 1_000;
/// 97.5th percentile of the normal distribution.
const NORMAL: f64 = 1.96;
/// Smallest resolvable share of a parameter: below it, rounding decides.
const TINY: f64 = 1e-12;

/// Fits the law to `points` of (`n ≥ 1`, throughput), several at one `n` allowed. `None` with fewer than [`POINTS_NEEDED`] different `n`.
///
/// The intervals are percentiles of a residual bootstrap (Efron 1979) of 1,000 draws from the stream `capacity/usl`.
pub fn fit(points: &[(f64, f64)], seed: Seed) -> Option<FittedLaw> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(n, x)| *n >= 1.0 && *x > 0.0).collect();
    let mut different: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
    different.sort_by(f64::total_cmp);
    different.dedup();
    if different.len() < POINTS_NEEDED {
        return None;
    }
    let best = solve(&points)?;
    let fitted: Vec<f64> = points.iter().map(|(n, _)| law(best, *n)).collect();
    // Three parameters bend towards the points, so residuals are too small; and few points know their own spread badly, for which
    // Student's t stands in place of the normal quantile.
    let free = (points.len() - 3).max(1) as f64;
    let widen = (points.len() as f64 / free).sqrt() * students_t(free) / NORMAL;
    let residuals: Vec<f64> = points.iter().zip(&fitted).map(|((_, x), fit)| (x / fit - 1.0) * widen).collect();
    let mut random = seed.stream("capacity/usl");
    let mut draws: [Vec<f64>; 3] = Default::default();
    for _ in 0..RESAMPLES {
        let redrawn: Vec<(f64, f64)> = points
            .iter()
            .zip(&fitted)
            .map(|((n, _), fit)| (*n, (fit * (1.0 + residuals[random.below(residuals.len() as u64) as usize])).max(fit * 0.01)))
            .collect();
        if let Some(found) = solve(&redrawn) {
            draws.iter_mut().zip(found).for_each(|(draws, value)| draws.push(value));
        }
    }
    let [lambda, sigma, kappa] = [0, 1, 2].map(|i| interval(best[i], &mut draws[i]));
    Some(FittedLaw { lambda, sigma, kappa, r_squared: r_squared(&points, &fitted) })
}

/// 97.5th percentile of Student's t, from the first terms of its expansion: within 1 % from 4 degrees of freedom on.
fn students_t(free: f64) -> f64 {
    NORMAL + 2.372 / free + 2.822 / (free * free)
}

/// Throughput of `n` by the law with λ, σ and κ.
pub(crate) fn law([lambda, sigma, kappa]: [f64; 3], n: f64) -> f64 {
    lambda * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0))
}

fn interval(value: f64, draws: &mut [f64]) -> Estimate {
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| draws.get((share * draws.len() as f64) as usize).copied().unwrap_or(value);
    Estimate { value, low: at(0.025).min(value), high: at(0.975).max(value) }
}

fn r_squared(points: &[(f64, f64)], fitted: &[f64]) -> f64 {
    let mean = points.iter().map(|(_, x)| x).sum::<f64>() / points.len() as f64;
    let total: f64 = points.iter().map(|(_, x)| (x - mean).powi(2)).sum();
    let left: f64 = points.iter().zip(fitted).map(|((_, x), fit)| (x - fit).powi(2)).sum();
    if total > 0.0 { 1.0 - left / total } else { 0.0 }
}

/// λ, σ, κ of the least squares over each choice of parameters that are kept at 0; the best one without a negative.
fn solve(points: &[(f64, f64)]) -> Option<[f64; 3]> {
    let largest = points.iter().map(|(n, _)| *n).fold(1.0, f64::max);
    // Columns of about the same size: 1, (N − 1) / max, N (N − 1) / max².
    let features = |n: f64| [1.0, (n - 1.0) / largest, n * (n - 1.0) / (largest * largest)];
    let choices: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[0]];
    let mut best: Option<([f64; 3], f64)> = None;
    for kept in choices {
        let Some(a) = least_squares(points, kept, features) else { continue };
        if a[0] <= TINY || a.iter().any(|value| *value < 0.0) {
            continue;
        }
        let left: f64 = points.iter().map(|(n, x)| (dot(a, features(*n)) * x / n - 1.0).powi(2)).sum();
        if best.is_none_or(|(_, found)| left < found) {
            best = Some((a, left));
        }
    }
    best.map(|(a, _)| [1.0 / a[0], a[1] / largest / a[0], a[2] / (largest * largest) / a[0]])
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Minimises the sum of `(features(n)·a · x/n − 1)²` over the parameters that are kept; the others are 0.
fn least_squares(points: &[(f64, f64)], kept: &[usize], features: impl Fn(f64) -> [f64; 3]) -> Option<[f64; 3]> {
    let size = kept.len();
    // Normal equations with the right side as last column.
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for (n, x) in points {
        let row = features(*n).map(|feature| feature * x / n);
        for (i, a) in kept.iter().enumerate() {
            for (j, b) in kept.iter().enumerate() {
                matrix[i][j] += row[*a] * row[*b];
            }
            matrix[i][size] += row[*a];
        }
    }
    let found = eliminate(matrix)?;
    let mut all = [0.0; 3];
    kept.iter().zip(found).for_each(|(at, value)| all[*at] = value);
    Some(all)
}

/// Gauss's elimination with pivoting; `None` for a singular system.
fn eliminate(mut matrix: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let size = matrix.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        let head = matrix[column].clone();
        if head[column].abs() < TINY {
            return None;
        }
        for (_, row) in matrix.iter_mut().enumerate().filter(|(at, _)| *at != column) {
            let factor = row[column] / head[column];
            row.iter_mut().zip(&head).for_each(|(value, head)| *value -= factor * head);
        }
    }
    Some((0..size).map(|at| matrix[at][size] / matrix[at][at]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 48.0, 40.0, 128.0];

    fn points(parameters: [f64; 3], mut noise: impl FnMut() -> f64) -> Vec<(f64, f64)> {
        LOADS.iter().map(|n| (*n, law(parameters, *n) * (1.0 + noise()))).collect()
    }

    #[test]
    fn known_parameters_are_recovered_exactly_without_noise() {
        for truth in [[995.6, 0.026, 2.1e-4], [10.0, 0.3, 1e-3], [1_000.0, 0.0, 1e-4], [50.0, 0.1, 0.0], [7.0, 0.0, 0.0]] {
            let fit = fit(&points(truth, || 0.0), Seed(1)).unwrap();
            for (found, truth) in [fit.lambda.value, fit.sigma.value, fit.kappa.value].into_iter().zip(truth) {
                assert!((found - truth).abs() <= truth * 1e-6 + 1e-9, "{found} for {truth}: {fit:?}");
            }
            assert!(fit.r_squared > 0.999_999);
        }
    }

    #[test]
    fn with_noise_the_interval_holds_the_truth_as_often_as_it_says() {
        let truth = [1_000.0, 0.05, 3e-4];
        let mut held = [0; 3];
        const TRIALS: u64 = 60;
        for seed in 0..TRIALS {
            let mut random = Seed(seed).stream("noise");
            // Roughly normal with a standard deviation of 3 %.
            let data = points(truth, || ((0..12).map(|_| random.unit()).sum::<f64>() - 6.0) * 0.03);
            let fit = fit(&data, Seed(seed)).unwrap();
            for (i, one) in [fit.lambda, fit.sigma, fit.kappa].into_iter().enumerate() {
                assert!(one.low <= one.value && one.value <= one.high);
                held[i] += u64::from(one.low <= truth[i] && truth[i] <= one.high);
            }
        }
        // 95 % by name; small samples make it a little less.
        assert!(held.iter().all(|n| *n >= TRIALS * 8 / 10), "{held:?} of {TRIALS}");
    }

    #[test]
    fn the_peak_is_where_the_law_has_it() {
        let fit = fit(&points([995.6, 0.026, 2.1e-4], || 0.0), Seed(1)).unwrap();
        let peak = fit.peak().unwrap();
        assert!((peak - ((1.0_f64 - 0.026) / 2.1e-4).sqrt()).abs() < 0.1, "{peak}");
        assert!(fit.throughput(peak) > fit.throughput(peak * 1.2) && fit.throughput(peak) > fit.throughput(peak * 0.8));
        assert_eq!(super::fit(&points([50.0, 0.0, 0.0], || 0.0), Seed(1)).unwrap().peak(), None);
    }

    #[test]
    fn too_few_loads_are_no_fit_and_the_same_seed_gives_the_same_interval() {
        let data = points([10.0, 0.1, 1e-3], || 0.0);
        assert_eq!(fit(&data[..4], Seed(1)), None);
        assert_eq!(fit(&[(4.0, 1.0); 9], Seed(1)), None);
        let mut random = Seed(3).stream("noise");
        let data = points([10.0, 0.1, 1e-3], || random.unit() * 0.1);
        assert_eq!(fit(&data, Seed(1)), fit(&data, Seed(1)));
    }
}
