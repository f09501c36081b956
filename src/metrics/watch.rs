//! What the expectations ask of times beyond their histogram: how many lie below, at and above a limit, exactly, and windows of starts.
//!
//! A histogram has buckets of 0.1 %, so a limit inside the bucket that decides could not be told from the times in it.

use super::metric::{METRICS, TimeMetric};
use crate::expect::{Expectation, Labels, Limit};
use serde::{Deserialize, Serialize};

/// Which samples, by when what they time started: whole seconds of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// From this second on; `None`: from the beginning.
    pub from: Option<u32>,
    /// Before this second; `None`: to the end.
    pub to: Option<u32>,
}

impl Window {
    /// That of labels, if they have one.
    pub fn of(labels: &Labels) -> Option<Window> {
        let seconds = |time: std::time::Duration| time.as_secs().min(u32::MAX.into()) as u32;
        labels.from.or(labels.to).map(|_| Window { from: labels.from.map(seconds), to: labels.to.map(seconds) })
    }

    /// Whether something that started at `start` µs belongs to it.
    pub fn holds(self, start: u64) -> bool {
        let second = start / 1_000_000;
        self.from.is_none_or(|from| u64::from(from) <= second) && self.to.is_none_or(|to| second < u64::from(to))
    }
}

/// What is kept of one metric beside its histograms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricWatch {
    /// Index of the metric in [`METRICS`].
    metric: usize,
    /// Only what started in it; a distribution of its own.
    pub window: Option<Window>,
    /// Limits in µs around which samples are counted.
    pub limits: Vec<f64>,
}

impl MetricWatch {
    /// The metric.
    pub fn metric(&self) -> TimeMetric {
        METRICS[self.metric]
    }
}

/// What expectations on times ask for, each metric and window once; what was cut and what never ends is watched as what ended.
pub fn watches(expectations: &[Expectation]) -> Vec<MetricWatch> {
    let mut watches: Vec<MetricWatch> = Vec::new();
    for expectation in expectations.iter().filter(|expectation| expectation.metric.is_time()) {
        let (window, name) = (Window::of(&expectation.labels), expectation.timed());
        let Some(ended) = METRICS.into_iter().find(|metric| metric.name() == name) else { continue };
        let Limit::Micros(limit) = expectation.limit else { continue };
        for metric in [Some(ended), ended.censored(), ended.never()].into_iter().flatten() {
            let place = watches.iter().position(|watch| watch.metric() == metric && watch.window == window);
            let place = place.unwrap_or_else(|| {
                watches.push(MetricWatch { metric: metric as usize, window, limits: Vec::new() });
                watches.len() - 1
            });
            let limits = &mut watches[place].limits;
            if !limits.contains(&limit) {
                limits.push(limit);
            }
        }
    }
    watches
}

/// How samples lie around a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Around {
    /// The limit, µs.
    pub limit: f64,
    /// Samples below it.
    pub below: u64,
    /// Samples exactly there.
    pub equal: u64,
    /// Samples above it.
    pub above: u64,
}

impl Around {
    /// No samples around a limit in µs.
    pub fn new(limit: f64) -> Around {
        Around { limit, ..Around::default() }
    }

    /// Counts `n` samples of `us` µs.
    pub fn count(&mut self, us: u64, n: u64) {
        let us = us as f64;
        let side = match () {
            () if us < self.limit => &mut self.below,
            () if us > self.limit => &mut self.above,
            () => &mut self.equal,
        };
        *side += n;
    }

    /// Adds what was counted around the same limit.
    pub fn add(&mut self, other: &Around) {
        self.below += other.below;
        self.equal += other.equal;
        self.above += other.above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Names;

    #[test]
    fn each_metric_and_window_is_watched_once_with_all_of_its_limits() {
        let cohorts = ["web".to_owned()];
        let parse = |text: &str| Expectation::parse(text, Names { cohorts: &cohorts, ..Names::default() }).unwrap();
        let expectations = [
            "reconnect_time max < 10s",
            "reconnect_time{cohort=web} p50 < 2s",
            "reconnect_time{cohort=web} p90 < 10s",
            "reconnect_time{from=10s,to=40s} p99 < 5s",
            "backoff mean < 1s",
            "attempts count > 1",
        ]
        .map(parse);
        let window = Some(Window { from: Some(10), to: Some(40) });
        let (ended, cut, never) = (TimeMetric::ReconnectTime, TimeMetric::ReconnectTimeCensored, TimeMetric::ReconnectTimeNever);
        let found: Vec<_> = watches(&expectations).into_iter().map(|watch| (watch.metric(), watch.window, watch.limits)).collect();
        let mut expected: Vec<_> = [ended, cut, never].map(|metric| (metric, None, vec![1e7, 2e6])).into();
        expected.extend([ended, cut, never].map(|metric| (metric, window, vec![5e6])));
        expected.push((TimeMetric::Backoff, None, vec![1e6]));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_window_has_its_first_and_not_its_last_moment() {
        let window = Window { from: Some(10), to: Some(40) };
        for (start, holds) in [(9_999_999, false), (10_000_000, true), (39_999_999, true), (40_000_000, false)] {
            assert_eq!(window.holds(start), holds, "{start}");
        }
        assert!(Window { from: None, to: Some(1) }.holds(0) && Window { from: Some(1), to: None }.holds(u64::MAX));
    }

    #[test]
    fn samples_are_counted_on_both_sides_of_a_limit_and_at_it() {
        let mut around = Around::new(1_000.5);
        (999..1_003).for_each(|us| around.count(us, 2));
        assert_eq!((around.below, around.equal, around.above), (4, 0, 4));
        let mut around = Around::new(1_000.0);
        (999..1_003).for_each(|us| around.count(us, 1));
        assert_eq!((around.below, around.equal, around.above), (1, 1, 2));
    }
}
