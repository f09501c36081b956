//! All distributions of a run: one per metric, cohort and fault, made when its first sample comes; and their interval log.
//!
//! Whole-run distributions are kept in memory; those of an interval become one encoded line when the interval is over.
//! `results::hlog` writes and reads the file.

use super::latency::Latency;
use super::metric::{METRICS, TimeMetric};
use super::survival::Survival;
use super::watch::{Around, MetricWatch, Window};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whose distribution: a metric of one cohort, and of one fault or of none. By index in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DistributionKey {
    /// What.
    pub metric: TimeMetric,
    /// Whose.
    pub cohort: u16,
    /// After what.
    pub fault: Option<u16>,
    /// Only what started in it; such a distribution stands beside the one without window, which has all.
    pub window: Option<Window>,
}

/// One interval of one distribution, encoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EncodedInterval {
    /// Start of the interval, whole intervals since the start of the run.
    pub interval: u64,
    /// Index of the tag among the tags of the bank.
    pub key: usize,
    /// The line of the interval log without its tag, with the newline.
    pub text: String,
}

/// Different samples in a row that wait before they cost a histogram of their own.
const PENDING: usize = 1024;
/// Of them a quiet series keeps room for so many.
const PENDING_KEPT: usize = 64;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DistributionSeries {
    total: Latency,
    /// Limits and what lies around them, exactly.
    around: Vec<Around>,
    /// Not in `total` yet: values in µs, and how often each came in a row. Equal ones are frequent, and together they are one.
    #[serde(skip)]
    pending: Vec<(u64, u64)>,
    #[serde(skip)]
    interval: Option<Box<Latency>>,
}

impl DistributionSeries {
    fn new(limits: &[f64]) -> Box<DistributionSeries> {
        let around = limits.iter().copied().map(Around::new).collect();
        Box::new(DistributionSeries { total: Latency::new(), around, pending: Vec::new(), interval: None })
    }

    fn record(&mut self, us: u64) {
        if let Some((last, count)) = self.pending.last_mut()
            && *last == us
        {
            *count += 1;
            return;
        }
        if self.pending.len() == PENDING {
            let mut interval = self.interval.take().unwrap_or_default();
            self.settle(&mut interval);
            self.interval = Some(interval);
        }
        self.pending.push((us, 1));
    }

    /// Counts what is pending, in the whole and in an interval.
    fn settle(&mut self, interval: &mut Latency) {
        for (us, n) in self.pending.drain(..) {
            self.total.record_n(us, n);
            self.around.iter_mut().for_each(|around| around.count(us, n));
            interval.record_n(us, n);
        }
    }
}

/// Distributions of a run by [`DistributionKey`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Distributions {
    cohorts: usize,
    faults: usize,
    /// Length of an interval of the log, µs.
    length: u64,
    /// The interval that is being filled.
    current: u64,
    /// By metric or watch, and cohort: those of no fault (0) and of faults (their index plus one) that have samples, ascending.
    series: Vec<Vec<(u16, Box<DistributionSeries>)>>,
    lines: Vec<EncodedInterval>,
    watches: Vec<MetricWatch>,
}

impl Distributions {
    /// An empty one for this many cohorts and faults, with log intervals of `length`, and what is asked for beside them.
    pub fn new(cohorts: usize, faults: usize, length: Duration, watches: &[MetricWatch]) -> Distributions {
        let rows = (METRICS.len() + watches.len()) * cohorts;
        let length = super::latency::micros(length).max(1);
        Distributions { cohorts, faults, length, current: 0, series: vec![Vec::new(); rows], lines: Vec::new(), watches: watches.to_vec() }
    }

    /// Adds a sample of `us` µs that ended at `at` µs, and began so much before. Earlier than the current interval counts into the current
    /// one. Sums know of it after the next [`close_interval`](Distributions::close_interval).
    pub fn record(&mut self, at: u64, key: DistributionKey, us: u64) {
        self.record_from(at, at.saturating_sub(us), key, us);
    }

    /// The same of a sample that windows place at `start` µs.
    pub fn record_from(&mut self, at: u64, start: u64, key: DistributionKey, us: u64) {
        if at >= (self.current + 1).saturating_mul(self.length) {
            self.close_interval();
            self.current = at / self.length;
        }
        self.add_to(self.slot(key), us);
        for place in 0..self.watches.len() {
            let watch = &self.watches[place];
            if watch.metric() == key.metric && watch.window.is_some_and(|window| window.holds(start)) {
                self.add_to(self.slot(DistributionKey { window: watch.window, ..key }), us);
            }
        }
    }

    fn add_to(&mut self, slot: usize, us: u64) {
        self.at(slot).record(us);
    }

    /// The series of a slot, from now on.
    fn at(&mut self, slot: usize) -> &mut DistributionSeries {
        let (row, fault) = (slot / (self.faults + 1), (slot % (self.faults + 1)) as u16);
        // There are hardly ever more than two.
        let place = self.series[row].iter().position(|(other, _)| *other >= fault).unwrap_or(self.series[row].len());
        if self.series[row].get(place).is_none_or(|(other, _)| *other != fault) {
            let blank = self.blank(slot);
            self.series[row].insert(place, (fault, blank));
        }
        &mut self.series[row][place].1
    }

    /// Those that there are, with their slots, ascending.
    fn slots(&self) -> impl Iterator<Item = (usize, &DistributionSeries)> {
        let width = self.faults + 1;
        self.series
            .iter()
            .enumerate()
            .flat_map(move |(row, list)| list.iter().map(move |(fault, series)| (row * width + usize::from(*fault), &**series)))
    }

    /// An empty series with the limits that are watched there.
    fn blank(&self, slot: usize) -> Box<DistributionSeries> {
        DistributionSeries::new(self.limits(slot))
    }

    fn limits(&self, slot: usize) -> &[f64] {
        let key = self.key(slot);
        let watch = self.watches.iter().find(|watch| watch.metric() == key.metric && watch.window == key.window);
        watch.map_or(&[], |watch| &watch.limits)
    }

    /// Ends the current interval: what it has becomes lines of the log.
    pub fn close_interval(&mut self) {
        let mut scratch: Option<Box<Latency>> = None;
        let width = self.faults + 1;
        let all = self.series.iter_mut().enumerate().flat_map(|(row, list)| list.iter_mut().map(move |of| (row, of)));
        for (key, series) in all.map(|(row, (fault, series))| (row * width + usize::from(*fault), series)) {
            let counted = series.interval.as_ref().is_some_and(|interval| interval.count() > 0);
            if !counted && series.pending.len() <= PENDING_KEPT {
                // A storm comes once in a while, and hundreds of series would keep the room that it took.
                series.pending.shrink_to(PENDING_KEPT);
            }
            if !counted && series.pending.is_empty() {
                continue;
            }
            let mut own = series.interval.take();
            let interval = own.as_mut().unwrap_or_else(|| scratch.get_or_insert_with(|| Box::new(Latency::with_histogram())));
            series.settle(interval);
            let text = encode(interval, self.current * self.length, self.length);
            self.lines.push(EncodedInterval { interval: self.current, key, text });
            interval.clear();
            series.interval = own;
        }
    }

    /// What is asked for beside the histograms.
    pub fn watches(&self) -> &[MetricWatch] {
        &self.watches
    }

    /// The sum of all distributions of a metric that pass the filter, over the whole run.
    pub fn sum(&self, metric: TimeMetric, keep: impl Fn(DistributionKey) -> bool) -> Latency {
        let mut sum = Latency::new();
        // Those of a metric without window stand together: summaries ask for each cohort, and there may be thousands.
        let (first, width) = (metric as usize * self.cohorts, self.faults + 1);
        for (row, list) in (first..).zip(&self.series[first..first + self.cohorts]) {
            let kept = list.iter().filter(|(fault, _)| keep(self.key(row * width + usize::from(*fault))));
            kept.for_each(|(_, series)| sum.add(&series.total));
        }
        sum
    }

    /// The same of those that ended, were cut and never end.
    pub fn survival(&self, metric: TimeMetric, keep: impl Fn(DistributionKey) -> bool) -> Survival {
        let sum = |metric: Option<TimeMetric>| metric.map_or_else(Latency::new, |metric| self.sum(metric, &keep));
        Survival { ended: self.sum(metric, &keep), censored: sum(metric.censored()), never: sum(metric.never()) }
    }

    /// All distributions that have samples, in the order of their keys.
    pub fn each(&self) -> impl Iterator<Item = (DistributionKey, &Latency)> {
        self.slots().map(|(slot, series)| (self.key(slot), &series.total))
    }

    /// The same with what lies around the limits that are watched there.
    pub fn each_around(&self) -> impl Iterator<Item = (DistributionKey, &Latency, &[Around])> {
        self.slots().map(|(slot, series)| (self.key(slot), &series.total, &series.around[..]))
    }

    /// Lines of the interval log with their keys, by interval and key; [`close_interval`](Distributions::close_interval) first.
    pub fn lines(&self) -> Vec<(DistributionKey, &str)> {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort();
        lines.into_iter().map(|line| (self.key(line.key), line.text.as_str())).collect()
    }

    /// Adds another bank of the same plan. Of one interval and key there may then be two lines, which readers add.
    pub fn add(&mut self, other: &Distributions) {
        for (key, latency, around) in other.each_around() {
            let series = self.at(self.slot(key));
            series.total.add(latency);
            series.around.iter_mut().zip(around).for_each(|(mine, theirs)| mine.add(theirs));
        }
        self.lines.extend(other.lines.iter().cloned());
    }

    /// Whether it is one of this many cohorts and faults with these watches, so that all of its indices are in range.
    pub(super) fn fits(&self, cohorts: usize, faults: usize, watches: &[MetricWatch]) -> bool {
        let ascending = |list: &Vec<(u16, Box<DistributionSeries>)>| {
            list.is_sorted_by(|one, next| one.0 < next.0) && list.iter().all(|(fault, _)| usize::from(*fault) <= faults)
        };
        let limits = |(slot, series): (usize, &DistributionSeries)| {
            series.around.iter().map(|around| around.limit).eq(self.limits(slot).iter().copied())
        };
        // One line each, or it would be several, of other tags.
        let line = |line: &EncodedInterval| {
            line.key < self.series.len() * (self.faults + 1) && line.text.find('\n') == line.text.len().checked_sub(1)
        };
        self.watches == watches
            && (self.cohorts, self.faults) == (cohorts, faults)
            && self.series.len() == (METRICS.len() + watches.len()) * cohorts
            && self.length > 0
            && self.series.iter().all(ascending)
            && self.slots().all(limits)
            && self.lines.iter().all(line)
    }

    fn slot(&self, key: DistributionKey) -> usize {
        let fault = key.fault.map_or(0, |fault| usize::from(fault) + 1).min(self.faults);
        let windowed = |watch: &MetricWatch| watch.metric() == key.metric && watch.window == key.window;
        let row = match key.window {
            None => key.metric as usize,
            // Keys with a window are made from a watch, so it is there.
            Some(_) => METRICS.len() + self.watches.iter().position(windowed).unwrap_or(0),
        };
        (row * self.cohorts + usize::from(key.cohort)) * (self.faults + 1) + fault
    }

    fn key(&self, slot: usize) -> DistributionKey {
        let (rest, fault) = (slot / (self.faults + 1), slot % (self.faults + 1));
        let fault = fault.checked_sub(1).map(|fault| fault as u16);
        let row = rest / self.cohorts;
        let watch = row.checked_sub(METRICS.len()).map(|place| &self.watches[place]);
        let metric = watch.map_or_else(|| METRICS[row], MetricWatch::metric);
        DistributionKey { metric, cohort: (rest % self.cohorts) as u16, fault, window: watch.and_then(|watch| watch.window) }
    }
}

/// A line of the interval log without tag, as `1.000,1.000,2.769,<base64>\n`; times in seconds, the maximum in ms.
fn encode(latency: &Latency, start_us: u64, length_us: u64) -> String {
    let mut buffer = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    // The writer states the divisor before each line; it belongs into the head of the file, once.
    builder.with_max_value_divisor(1000.0);
    let (start, length) = (Duration::from_micros(start_us), Duration::from_micros(length_us));
    // A Vec takes every write, and counts of u64 always encode.
    let mut writer = builder.begin_log_with(&mut buffer, &mut serializer).expect("a Vec takes every write");
    writer.write_histogram(&latency.histogram(), start, length, None::<Tag<'_>>).expect("a Vec takes every write");
    let text = String::from_utf8_lossy(&buffer);
    // There are thousands of them: no more room than they need.
    [text.lines().last().unwrap_or_default(), "\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_slots_are_inverse() {
        let bank = Distributions::new(3, 2, Duration::from_secs(1), &watched());
        let windowed = |slot: &usize| *slot >= METRICS.len() * 9;
        for slot in (0..bank.series.len() * 3).filter(|slot| !windowed(slot) || bank.key(*slot).window.is_some()) {
            assert_eq!(bank.slot(bank.key(slot)), slot);
        }
    }

    fn watched() -> Vec<MetricWatch> {
        let names = crate::expect::Names::default();
        let parse = |text: &str| crate::expect::Expectation::parse(text, names).unwrap();
        super::super::watch::watches(&["rtt p50 < 104us", "rtt{from=1s,to=3s} max < 1s", "detect p50 < 7us"].map(parse))
    }

    #[test]
    fn a_window_has_what_started_in_it_and_a_limit_what_lies_around_it() {
        let mut bank = Distributions::new(1, 0, Duration::from_secs(1), &watched());
        let key = DistributionKey { metric: TimeMetric::Rtt, cohort: 0, fault: None, window: None };
        // Ends at 1.0 s but began before; begins at 1.0 s; begins a µs before 3 s and ends later; begins at 3 s.
        for (at, us) in [(1_000_000, 103), (1_000_104, 104), (3_000_104, 105), (3_000_500, 500), (3_000_104, 104)] {
            bank.record(at, key, us);
        }
        bank.record_from(5_000_000, 2_000_000, key, 9);
        bank.close_interval();
        let mut twice = bank.clone();
        twice.add(&bank);
        for (bank, n) in [(&bank, 1), (&twice, 2)] {
            let seen: Vec<_> =
                bank.each_around().map(|(key, latency, around)| (key.window.is_some(), latency.count(), around.to_vec())).collect();
            let all = Around { limit: 104.0, below: 2 * n, equal: 2 * n, above: 2 * n };
            let windowed = Around { limit: 1e6, below: 3 * n, equal: 0, above: 0 };
            assert_eq!(seen, [(false, 6 * n, vec![all]), (true, 3 * n, vec![windowed])]);
            assert_eq!(bank.sum(TimeMetric::Rtt, |_| true).count(), 6 * n, "windows are not counted twice");
        }
    }

    #[test]
    fn intervals_become_lines_and_the_total_keeps_all() {
        let mut bank = Distributions::new(2, 1, Duration::from_secs(1), &[]);
        let key = DistributionKey { metric: TimeMetric::Rtt, cohort: 1, fault: None, window: None };
        (0..5_000).for_each(|i| bank.record(i * 1_000, key, 100 + i % 7));
        bank.record(4_999_000, DistributionKey { metric: TimeMetric::Detect, cohort: 0, fault: Some(0), window: None }, 7);
        bank.close_interval();
        let lines = bank.lines();
        assert_eq!(lines.len(), 6);
        assert!(lines[0].1.starts_with("0.0,1.0,0.106,H") || lines[0].1.starts_with("0.000,1.000,0.106,H"), "{}", lines[0].1);
        assert_eq!(bank.sum(TimeMetric::Rtt, |_| true).count(), 5_000);
        let mut twice = bank.clone();
        twice.add(&bank);
        assert_eq!((twice.sum(TimeMetric::Rtt, |key| key.cohort == 1).count(), twice.lines().len()), (10_000, 12));
    }
}
