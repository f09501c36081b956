//! Round numbers: people write them, so the roundest of an interval is the likeliest. Numbers of one schedule are rounded together, so that what
//! is printed waits as what was seen.

use super::family::{ParameterEstimate, Quantity};

/// A time this short is none, where the interval reaches zero; in milliseconds.
const NONE_MS: f64 = 20.0;
/// Most digits behind the first.
const DIGITS: i32 = 6;
/// Rounded delays differ from the unrounded ones by at most this share …
const APART: f64 = 0.01;
/// … or this time, in milliseconds.
const APART_MS: f64 = 1.5;

/// The value of fewest digits between `lo` and `hi`, near `value`.
pub(super) fn round(value: f64, lo: f64, hi: f64) -> f64 {
    if lo <= 0.0 && value <= hi && value < NONE_MS {
        return 0.0;
    }
    candidates(value, lo, hi).next().unwrap_or(value)
}

/// Values between `lo` and `hi`, the roundest first.
fn candidates(value: f64, lo: f64, hi: f64) -> impl Iterator<Item = f64> {
    let power = value.abs().max(1e-9).log10().floor() as i32;
    let rounded = (0..=DIGITS).map(move |digits| {
        // By whole powers alone, so that 17 tenths are 1.7 and not a little more.
        let unit = 10_f64.powi((power - digits).abs());
        if power < digits { (value * unit).round() / unit } else { (value / unit).round() * unit }
    });
    rounded.filter(move |rounded| (lo..=hi).contains(rounded))
}

/// Rounds the first delay and how it grows again, where each was rounded by itself and the delays of `attempts` are others than those of the `exact`
/// numbers, up to the longest delay.
pub(super) fn together(estimates: &mut [ParameterEstimate], exact: &[f64], attempts: usize) {
    let place = |wanted: &[Quantity]| estimates.iter().position(|one| wanted.contains(&one.quantity));
    let (Some(base), Some(growth)) = (place(&[Quantity::Base]), place(&[Quantity::Step, Quantity::Factor])) else { return };
    let longest = place(&[Quantity::Cap]).map_or(f64::INFINITY, |cap| exact[cap]);
    let linear = estimates[growth].quantity == Quantity::Step;
    let delay = |base: f64, growth: f64, k: i32| if linear { base + growth * f64::from(k) } else { base * growth.powi(k) };
    let exactly = |k: i32| delay(exact[base], exact[growth], k);
    let last = (1..attempts as i32).take_while(|k| exactly(*k) <= longest).last().unwrap_or(1);
    // What nobody knows better may differ more: a quarter of what the base may be off.
    let share = APART.max((estimates[base].hi - estimates[base].lo) / (8.0 * exact[base].max(0.1)));
    let near = |b: f64, g: f64| (0..=last).all(|k| (delay(b, g, k) - exactly(k)).abs() <= APART_MS.max(share * exactly(k)));
    let (first, grown) = (estimates[base], estimates[growth]);
    let pairs = candidates(exact[base], first.lo, first.hi).flat_map(|b| {
        // The growth that makes up for the rounded base at the last delay.
        let wanted = if linear { (exactly(last) - b) / f64::from(last) } else { (exactly(last) / b.max(0.1)).powf(1.0 / f64::from(last)) };
        candidates(wanted, grown.lo, grown.hi).map(move |g| (b, g))
    });
    let chosen = std::iter::once((first.value, grown.value)).chain(pairs).find(|(b, g)| near(*b, *g));
    (estimates[base].value, estimates[growth].value) = chosen.unwrap_or((exact[base], exact[growth]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(quantity: Quantity, exact: f64, half: f64) -> ParameterEstimate {
        let (lo, hi) = (exact - half, exact + half);
        ParameterEstimate { quantity, value: round(exact, lo, hi), lo, hi }
    }

    #[test]
    fn a_base_and_its_growth_are_rounded_so_that_the_delays_stay() {
        // Apart: 200 and 1.6, and the tenth delay is off by a tenth.
        let exact = [208.0, 1.5853];
        let mut pair = [one(Quantity::Base, exact[0], 9.0), one(Quantity::Factor, exact[1], 0.05)];
        assert_eq!([pair[0].value, pair[1].value], [200.0, 1.6]);
        together(&mut pair, &exact, 10);
        for k in 0..10 {
            let (rounded, wanted) = (pair[0].value * pair[1].value.powi(k), exact[0] * exact[1].powi(k));
            assert!((rounded / wanted - 1.0).abs() < 0.012, "{k}: {rounded} for {wanted} by {pair:?}");
        }
        // What reproduces the delays already stays as round as it is.
        let exact = [130.4, 1.6995];
        let mut pair = [one(Quantity::Base, exact[0], 3.0), one(Quantity::Factor, exact[1], 0.01)];
        together(&mut pair, &exact, 6);
        assert_eq!([pair[0].value, pair[1].value], [130.0, 1.7]);
        // Delays beyond the longest do not count.
        let exact = [100.4, 1.99, 400.0];
        let numbers = || [one(Quantity::Base, 100.4, 2.0), one(Quantity::Factor, 1.99, 0.02), one(Quantity::Cap, 400.0, 2.0)];
        let mut three = numbers();
        together(&mut three, &exact, 30);
        assert_eq!([three[0].value, three[1].value], [100.0, 2.0]);
    }
}
