//! By how much one side differs from the other: the Hodges–Lehmann shift with its exact interval.
//!
//! The shift is the median of all differences between a run of one side and a run of the other. Its interval holds all shifts that the
//! Mann–Whitney test does not refute, which are between two of these differences in order. Source: Hodges and Lehmann, "Estimates of
//! Location Based on Rank Tests" (1963).

use super::rank::cumulative_u;

/// The share of cases in which the interval has the true shift, at least.
pub const CONFIDENCE: f64 = 0.95;

/// A shift from base to new, in the unit of the values; any part may be ±∞.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Median of all differences, new minus base.
    pub estimate: f64,
    /// Lower end of the interval of at least [`CONFIDENCE`]; -∞ where so few runs have none.
    pub low: f64,
    /// Upper end; +∞ where so few runs have none.
    pub high: f64,
}

impl Shift {
    /// Of runs of both sides; `None` where a side has none.
    ///
    /// "Not reached" is +∞.
    pub fn of(base: &[f64], new: &[f64]) -> Option<Shift> {
        if base.is_empty() || new.is_empty() {
            return None;
        }
        let mut all: Vec<f64> = base.iter().flat_map(|base| new.iter().map(move |new| difference(*new, *base))).collect();
        all.sort_by(f64::total_cmp);
        // So many differences on each side are beyond what chance explains.
        let beyond = cumulative_u(base.len(), new.len()).iter().take_while(|p| **p <= (1.0 - CONFIDENCE) / 2.0).count();
        let (low, high) = match beyond {
            0 => (f64::NEG_INFINITY, f64::INFINITY),
            _ => (all[beyond - 1], all[all.len() - beyond]),
        };
        Some(Shift { estimate: median(&all), low, high })
    }
}

/// New minus base. Two that were not reached do not differ: nothing is known of by how much.
pub(super) fn difference(new: f64, base: f64) -> f64 {
    if new == base { 0.0 } else { new - base }
}

/// The median of sorted values, of which some may be infinite; of an even number the mean of the two in the middle. 0 without values.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(0.0);
    let (low, high) = (middle(sorted.len().saturating_sub(1) / 2), middle(sorted.len() / 2));
    match () {
        () if low == high => low,
        // -∞ and +∞ have no mean; then nothing is known of a shift.
        () if low.is_infinite() && high.is_infinite() => 0.0,
        () => low / 2.0 + high / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{Case, values};
    use super::*;

    #[test]
    fn shifts_are_those_that_scipy_does_not_refute() {
        let mut intervals = 0;
        for Case { name, base, new, estimate, interval, .. } in values().cases {
            let shift = Shift::of(&base, &new).unwrap();
            if let Some(estimate) = estimate {
                assert!((shift.estimate - estimate).abs() < 1e-9, "{name}: {shift:?}, numpy says {estimate}");
            }
            if let Some([low, high]) = interval {
                intervals += 1;
                assert!(
                    (shift.low - low).abs() < 1e-6 && (shift.high - high).abs() < 1e-6,
                    "{name}: {shift:?}, scipy says {low} to {high}"
                );
            }
        }
        assert!(intervals >= 8, "{intervals}");
    }

    #[test]
    fn three_runs_a_side_have_no_interval() {
        let shift = Shift::of(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]).unwrap();
        assert_eq!(shift, Shift { estimate: 10.0, low: f64::NEG_INFINITY, high: f64::INFINITY });
        assert_eq!(Shift::of(&[], &[1.0]), None);
    }

    #[test]
    fn not_reached_takes_part() {
        let never = f64::INFINITY;
        // Reached in every run before, in none now.
        let lost = Shift::of(&[1.0, 2.0, 3.0, 4.0], &[never; 4]).unwrap();
        assert_eq!((lost.estimate, lost.low, lost.high), (never, never, never));
        // In none before and now: no difference.
        let same = Shift::of(&[never; 4], &[never; 4]).unwrap();
        assert_eq!((same.estimate, same.low, same.high), (0.0, 0.0, 0.0));
        let back = Shift::of(&[never; 4], &[5.0; 4]).unwrap();
        assert_eq!(back.estimate, f64::NEG_INFINITY);
        assert_eq!(median(&[f64::NEG_INFINITY, never]), 0.0);
        assert_eq!((median(&[1.0, never]), median(&[f64::NEG_INFINITY, 1.0])), (never, f64::NEG_INFINITY));
    }
}
