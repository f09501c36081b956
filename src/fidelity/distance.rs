//! Distances of distributions: Kolmogorov and Smirnov's, as it is and after a shift; and of counts over time.

/// Finest shift tried, µs.
const STEP_US: i64 = 500;
/// Parts of a distance: finer than the share of one client in any run, coarser than what subtracting two shares leaves of rounding.
const EXACT: f64 = 1e12;

/// Times in µs with weights; those that did not end lie beyond all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WeightedTimes {
    /// Sorted: time and the share at or below it.
    steps: Vec<(u64, f64)>,
}

/// The best of the shifts tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shifted {
    pub(super) shift_us: i64,
    pub(super) distance: f64,
}

impl WeightedTimes {
    pub(super) fn of(times: impl Iterator<Item = (Option<u64>, f64)>) -> WeightedTimes {
        let mut all: Vec<(Option<u64>, f64)> = times.collect();
        let total: f64 = all.iter().map(|(_, weight)| weight).sum();
        all.retain(|(time, _)| time.is_some());
        all.sort_by_key(|(time, _)| *time);
        let mut sum = 0.0;
        let mut steps: Vec<(u64, f64)> = Vec::with_capacity(all.len());
        for (time, weight) in all {
            sum += weight;
            match (time.unwrap_or(u64::MAX), steps.last_mut()) {
                (time, Some(last)) if last.0 == time => last.1 = sum / total,
                (time, _) => steps.push((time, sum / total)),
            }
        }
        WeightedTimes { steps }
    }

    /// The least time by which a share was back; `None`: not reached.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let at = self.steps.partition_point(|(_, reached)| *reached < share - 1e-9);
        self.steps.get(at).map(|(time, _)| *time)
    }

    /// Largest difference of the two distribution functions, with `shift_us` added to the times of `other`.
    pub(super) fn distance(&self, other: &WeightedTimes, shift_us: i64) -> f64 {
        let time = |step: Option<&(u64, f64)>, shift: i64| step.map_or(i64::MAX, |(time, _)| (*time as i64).saturating_add(shift));
        let (mut mine, mut theirs) = (self.steps.iter().peekable(), other.steps.iter().peekable());
        let (mut a, mut b, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        loop {
            let next = time(mine.peek().copied(), 0).min(time(theirs.peek().copied(), shift_us));
            if next == i64::MAX {
                return most;
            }
            while let Some((_, share)) = mine.next_if(|step| time(Some(step), 0) <= next) {
                a = *share;
            }
            while let Some((_, share)) = theirs.next_if(|step| time(Some(step), shift_us) <= next) {
                b = *share;
            }
            // Shares are fractions of two counts: 5 of 100 are 0.05, not the 0.05000000000000004 that is left of 0.42 - 0.37.
            most = most.max(((a - b).abs() * EXACT).round() / EXACT);
        }
    }

    /// The least distance over shifts of at most `most_ms` either way; the smallest shift among equals.
    pub(super) fn distance_shifted(&self, other: &WeightedTimes, most_ms: f64) -> Shifted {
        let steps = (most_ms * 1e3) as i64 / STEP_US;
        let tried = (-steps..=steps).map(|step| Shifted { shift_us: step * STEP_US, distance: self.distance(other, step * STEP_US) });
        let better = |a: &Shifted, b: &Shifted| a.distance.total_cmp(&b.distance).then(a.shift_us.abs().cmp(&b.shift_us.abs()));
        tried.min_by(better).unwrap_or(Shifted { shift_us: 0, distance: self.distance(other, 0) })
    }
}

/// Largest difference between the shares of two series of counts that had occurred by any interval.
pub(super) fn over_time(real: &[(u64, u64)], simulated: &[(u64, u64)]) -> f64 {
    let spread = |series: &[(u64, u64)]| WeightedTimes::of(series.iter().filter(|(_, n)| *n > 0).map(|(at, n)| (Some(*at), *n as f64)));
    spread(real).distance(&spread(simulated), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(times: &[u64]) -> WeightedTimes {
        WeightedTimes::of(times.iter().map(|time| (Some(*time), 1.0)))
    }

    #[test]
    fn the_distance_is_the_largest_gap_between_the_steps() {
        for (a, b, expected) in [
            (&[1, 2, 3, 4][..], &[1, 2, 3, 4][..], 0.0),
            (&[1, 2, 3, 4], &[11, 12, 13, 14], 1.0),
            (&[1, 2, 3, 4], &[1, 2, 13, 14], 0.5),
            (&[1, 1, 1, 4], &[1, 2, 3, 4], 0.5),
            (&[1, 2], &[1, 1, 2, 2], 0.0), // sizes need not agree
        ] {
            assert!((sample(a).distance(&sample(b), 0) - expected).abs() < 1e-12, "{a:?} {b:?}");
            assert!((sample(b).distance(&sample(a), 0) - expected).abs() < 1e-12, "{b:?} {a:?}");
        }
    }

    #[test]
    fn five_of_a_hundred_are_no_more_than_a_twentieth() {
        let all: Vec<u64> = (0..100).collect();
        for first in 0..=95 {
            let late: Vec<u64> = all.iter().map(|time| if (first..first + 5).contains(time) { first + 5 } else { *time }).collect();
            assert_eq!(sample(&all).distance(&sample(&late), 0), 0.05, "{first}");
        }
    }

    #[test]
    fn who_did_not_come_back_counts() {
        let half = WeightedTimes::of([(Some(1), 1.0), (None, 1.0)].into_iter());
        assert!((half.distance(&sample(&[1, 1]), 0) - 0.5).abs() < 1e-12);
        assert_eq!((half.quantile(0.5), half.quantile(0.9)), (Some(1), None));
    }

    #[test]
    fn a_shift_is_found_and_bounded() {
        let (real, late) = (sample(&[10_000, 20_000, 30_000]), sample(&[15_000, 25_000, 35_000]));
        assert_eq!(real.distance_shifted(&late, 20.0), Shifted { shift_us: -5_000, distance: 0.0 });
        let far = sample(&[60_000, 70_000, 80_000]);
        assert_eq!(real.distance_shifted(&far, 20.0).distance, 1.0);
    }

    #[test]
    fn attempts_over_time_are_compared_by_their_shares() {
        let real = [(0, 10), (100, 0), (200, 10)];
        assert!((over_time(&real, &[(0, 5), (100, 5), (200, 10)]) - 0.25).abs() < 1e-12);
        assert_eq!(over_time(&real, &real), 0.0);
    }
}
