//! Intervals of counts: seconds, and in long runs so many together that a run has a bounded number of them.
//!
//! Decided by the plan alone, so that all parts of a run count alike and can be added.

use crate::expect::{Expectation, Labels};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most intervals of a run, apart from those that windows cut.
const MOST: u32 = 3_600;

/// How the seconds of a run are counted together: up to an hour each by itself, else as many as the smallest power of two with which there
/// are at most 3,600 intervals. One is cut where the window of an expectation begins or ends, so that what is in it is known exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountIntervals {
    /// Length of one that is not cut, s: a power of two.
    width: u32,
    /// Seconds at which one is cut, ascending; none of them begins one anyway.
    cuts: Vec<u32>,
    /// Seconds of the run, the last one perhaps not whole.
    seconds: u32,
}

impl CountIntervals {
    /// Of a run of this length with these expectations.
    pub fn new(duration: Duration, expectations: &[Expectation]) -> CountIntervals {
        let edges = expectations.iter().flat_map(Expectation::windows).flat_map(|labels: &Labels| [labels.from, labels.to]).flatten();
        CountIntervals::cut_at(duration, edges.map(|edge| edge.as_secs()))
    }

    fn cut_at(duration: Duration, edges: impl Iterator<Item = u64>) -> CountIntervals {
        let seconds = u32::try_from(duration.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
        let width = seconds.div_ceil(MOST).next_power_of_two();
        let edges = edges.filter_map(|edge| u32::try_from(edge).ok());
        let mut cuts: Vec<u32> = edges.filter(|edge| *edge < seconds && !edge.is_multiple_of(width)).collect();
        cuts.sort_unstable();
        cuts.dedup();
        CountIntervals { width, cuts, seconds }
    }

    /// Of a run of this length, with intervals of so many seconds, a power of two.
    #[cfg(test)]
    pub fn of_width(width: u32, duration: Duration) -> CountIntervals {
        let mut intervals = CountIntervals { width, ..CountIntervals::new(duration, &[]) };
        intervals.cuts.extend(Some(3).filter(|cut| width > 1 && *cut < intervals.seconds));
        intervals
    }

    /// Number of the interval that a second lies in, and its first second; beyond the end of the run those of the last one.
    #[inline]
    pub fn of(&self, second: u32) -> (usize, u32) {
        let second = second.min(self.seconds - 1);
        if self.width == 1 {
            return (second as usize, second);
        }
        let before = self.cuts.partition_point(|cut| *cut <= second);
        let start = second / self.width * self.width;
        let cut = before.checked_sub(1).map_or(start, |last| self.cuts[last]);
        ((second / self.width) as usize + before, start.max(cut))
    }

    /// Length of the interval that begins with this second, s.
    pub fn length(&self, start: u32) -> u32 {
        let whole = (start / self.width + 1).saturating_mul(self.width).min(self.seconds);
        let cut = self.cuts.get(self.cuts.partition_point(|cut| *cut <= start)).copied();
        cut.map_or(whole, |cut| whole.min(cut)).saturating_sub(start).max(1)
    }

    /// The first seconds of all of them, ascending.
    pub fn starts(&self) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(0), |start| Some(*start + self.length(*start)).filter(|next| *next < self.seconds))
    }

    /// Whether one begins with this second.
    pub fn has(&self, start: u32) -> bool {
        start < self.seconds && self.of(start).1 == start
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.of(self.seconds).0 + 1
    }

    /// Seconds of the run.
    pub fn seconds(&self) -> u32 {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::RunMeta;
    use super::super::shard::tests::{END, record, story};
    use super::super::tests::meta;
    use super::*;
    use crate::results::record::CountRow;
    use crate::results::tables::count_rows;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const HOUR: u64 = 3_600;

    #[test]
    fn a_run_of_an_hour_is_counted_by_second_and_a_longer_one_by_at_most_3600_intervals() {
        for (seconds, width) in [(1, 1), (HOUR, 1), (HOUR + 1, 2), (2 * HOUR, 2), (24 * HOUR, 32), (168 * HOUR, 256)] {
            let intervals = CountIntervals::cut_at(Duration::from_secs(seconds), std::iter::empty());
            assert_eq!(u64::from(intervals.width), width, "{seconds} s");
            assert!((MOST as usize).min(seconds as usize) / 2 <= intervals.count() && intervals.count() <= MOST as usize, "{seconds} s");
        }
        let short = CountIntervals::cut_at(Duration::from_millis(1_200), [1].into_iter());
        assert_eq!((short.count(), short.of(7), short.length(1)), (2, (1, 1), 1));
    }

    proptest! {
        #[test]
        fn each_second_lies_in_one_interval_and_none_reaches_over_an_edge(
            seconds in 1..700_000_u64,
            edges in prop::collection::vec(0..800_000_u64, 0..5),
        ) {
            let intervals = CountIntervals::cut_at(Duration::from_secs(seconds), edges.iter().copied());
            let starts: Vec<u32> = intervals.starts().collect();
            prop_assert_eq!(starts.len(), intervals.count());
            prop_assert!(starts.len() <= MOST as usize + edges.len());
            let mut next = 0;
            for (number, start) in starts.into_iter().enumerate() {
                let length = intervals.length(start);
                prop_assert_eq!(start, next, "no gap");
                prop_assert!(intervals.has(start) && (length == 1 || !intervals.has(start + 1)));
                prop_assert_eq!(intervals.of(start), (number, start));
                prop_assert_eq!(intervals.of(start + length - 1), (number, start));
                prop_assert!(edges.iter().all(|edge| *edge <= u64::from(start) || *edge >= u64::from(start + length)));
                next = start + length;
            }
            prop_assert_eq!(u64::from(next), seconds);
        }
    }

    /// Counts by the interval in which they lie and what they are of.
    fn sums(rows: Vec<CountRow>, intervals: &CountIntervals) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for row in rows {
            let of = CountRow { second: intervals.of(row.second).1, width_s: 0, count: 0, ..row };
            *sums.entry(format!("{of:?}")).or_default() += row.count;
        }
        sums
    }

    #[test]
    fn sums_over_intervals_are_those_over_seconds_and_lateness_is_judged_by_second() {
        for seed in 0..4 {
            let intervals = CountIntervals::of_width(1, END);
            let mut fine = RunMeta { duration: END, intervals, tolerance_us: 10_000, ..meta() };
            (fine.cohorts[0].planned, fine.cohorts[1].planned) = (30, 20);
            fine.errors = vec!["slow_down".to_owned(), "full".to_owned()];
            let coarse = RunMeta { intervals: CountIntervals::of_width(2, END), ..fine.clone() };
            let intervals = coarse.intervals.clone();
            assert_eq!(intervals.starts().collect::<Vec<_>>(), [0, 2, 3, 4]);
            let events = story(&mut crate::seed::Seed(seed).stream("story"));
            let (by_second, together) = (record(&fine, None, &events), record(&coarse, None, &events));
            let (seconds, rows) = (count_rows(&by_second), count_rows(&together));
            assert!(rows.len() < seconds.len() && rows.iter().all(|row| !row.straddles(3)), "{} {}", rows.len(), seconds.len());
            assert_eq!(sums(rows, &intervals), sums(seconds, &intervals));
            assert!(!together.saturated_seconds().is_empty());
            assert_eq!(together.saturated_seconds(), by_second.saturated_seconds());
            assert_eq!(together.late_share_max(), by_second.late_share_max());
            let verdicts = [by_second, together].map(|results| crate::verdict::judge(&crate::results::Evidence::of(&results), &[]));
            assert_eq!(verdicts[0], verdicts[1]);
        }
    }
}
