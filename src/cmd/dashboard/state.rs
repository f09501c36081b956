//! What the dashboard knows of a run: the latest snapshot, and how it came to it. Pure, and of bounded size however long a run is.

use super::so_far::SoFar;
use crate::expect::Expectation;
use crate::number;
use crate::plan::Plan;
use crate::snapshots::Update;
use crate::units::print_duration;
use std::time::Duration;

/// Points of a line. When there are more, two become one.
const POINTS_MAX: usize = 512;

/// A fault of the plan, as far as it is planned.
pub(super) struct PlannedFault {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) at: Duration,
}

/// A run under way.
pub(super) struct RunState {
    pub(super) name: String,
    pub(super) question: Option<String>,
    pub(super) duration: Duration,
    pub(super) clients: u64,
    pub(super) planned: Vec<PlannedFault>,
    expected: Vec<Expectation>,
    /// Its name, where there is but one.
    only_cohort: Option<String>,
    pub(super) latest: Update,
    /// Seconds and open connections.
    pub(super) open: ChartLine,
    /// Seconds and attempts a second.
    pub(super) attempts: ChartLine,
    /// Snapshots that were lost because the terminal was too slow.
    pub(super) missed: u64,
}

impl RunState {
    pub(super) fn of(plan: &Plan) -> RunState {
        let fault =
            |fault: &crate::plan::Fault| PlannedFault { name: fault.name.clone(), kind: fault.inject.row.kind, at: fault.schedule.at };
        RunState {
            name: plan.name.clone(),
            question: plan.question.clone(),
            duration: plan.duration,
            clients: u64::from(plan.clients()),
            planned: plan.faults.iter().map(fault).collect(),
            expected: plan.expectations.clone(),
            only_cohort: if let [cohort] = &plan.cohorts[..] { Some(cohort.name.clone()) } else { None },
            latest: Update::default(),
            open: ChartLine::new(|_, last| last),
            attempts: ChartLine::new(f64::max),
            missed: 0,
        }
    }

    pub(super) fn add(&mut self, update: Update) {
        let at = update.at.as_secs_f64();
        self.open.push(at, update.state.open as f64);
        self.attempts.push(at, update.rates.attempts);
        self.missed += update.missed;
        self.latest = update;
    }

    /// How far the run is, in 0..=1.
    pub(super) fn share(&self) -> f64 {
        if self.duration.is_zero() { 1.0 } else { (self.latest.at.as_secs_f64() / self.duration.as_secs_f64()).min(1.0) }
    }

    /// All outages so far: those that ended, and those under way, which of a client that gave up it stays.
    pub(super) fn outages(&self) -> u64 {
        self.latest.state.recovered + self.latest.state.disconnected
    }

    /// Quantiles of the time until clients were back, of all outages so far: one that is not reached yet is no number.
    pub(super) fn quantiles(&self) -> [(&'static str, String); 3] {
        let (outages, times) = (self.outages(), &self.latest.state.reconnect);
        [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)].map(|(name, q)| {
            let text = match times.quantile(q, outages) {
                _ if outages == 0 => "—".to_owned(),
                Some(us) => number::time(us),
                None => "not yet".to_owned(),
            };
            (name, text)
        })
    }

    /// Each expectation as written, and how it stands.
    pub(super) fn expectations(&self) -> Vec<(&str, SoFar)> {
        let stands = |expectation| SoFar::of(expectation, &self.latest.state, self.outages(), self.only_cohort.as_deref());
        self.expected.iter().map(|expectation| (expectation.text.as_str(), stands(expectation))).collect()
    }

    /// What a fault does: waits for its time, or what it did.
    pub(super) fn doing(&self, index: usize) -> String {
        let so_far = self.latest.state.faults.get(index).copied().unwrap_or_default();
        let at = self.planned[index].at;
        match so_far.fired {
            0 if at > self.latest.at => {
                let left = Duration::from_secs((at - self.latest.at).as_secs_f64().ceil() as u64);
                format!("in {}", print_duration(left))
            }
            0 => "due".to_owned(),
            1 => format!("fired, hit {}", number::count(so_far.injected)),
            fired => format!("fired {} times, hit {}", number::count(fired), number::count(so_far.injected)),
        }
    }
}

/// A line of a chart over the run so far.
pub(super) struct ChartLine {
    points: Vec<(f64, f64)>,
    /// How two values become one.
    merge: fn(f64, f64) -> f64,
    /// Values in each point, and in the last one so far.
    each: u32,
    filled: u32,
}

impl ChartLine {
    fn new(merge: fn(f64, f64) -> f64) -> ChartLine {
        ChartLine { points: Vec::new(), merge, each: 1, filled: 0 }
    }

    fn push(&mut self, at: f64, value: f64) {
        match self.points.last_mut() {
            Some(last) if self.filled < self.each => *last = (at, (self.merge)(last.1, value)),
            _ => {
                self.points.push((at, value));
                self.filled = 0;
            }
        }
        self.filled += 1;
        if self.points.len() > POINTS_MAX {
            let merge = self.merge;
            self.points =
                self.points.chunks(2).map(|two| two.iter().copied().reduce(|a, b| (b.0, merge(a.1, b.1))).unwrap_or_default()).collect();
            self.each *= 2;
            // The last point was alone: it is half full.
            self.filled = self.each / 2;
        }
    }

    pub(super) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The greatest value.
    pub(super) fn greatest(&self) -> f64 {
        self.points.iter().fold(0.0, |most, (_, value)| value.max(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_a_client_that_gave_up_is_counted_once() {
        let plan = crate::scenario::load(&crate::scenario::Source::of(Some("default")), &Default::default()).unwrap();
        let mut run = RunState::of(&plan);
        let mut update = Update::default();
        // Nine are back, and the tenth has given up: it is still away.
        (update.state.recovered, update.state.disconnected, update.state.lost) = (9, 1, 1);
        update.state.reconnect.add(2_000_000, 9);
        run.add(update);
        assert_eq!(run.outages(), 10);
        assert_eq!(run.quantiles().map(|(_, text)| text), ["2 s", "2 s", "not yet"]);
    }

    #[test]
    fn a_line_is_bounded_and_keeps_its_peak_and_its_last_value() {
        let (mut open, mut attempts) = (ChartLine::new(|_, last| last), ChartLine::new(f64::max));
        for at in 0..100_000 {
            open.push(f64::from(at), f64::from(at));
            attempts.push(f64::from(at), if at == 40_001 { 9.0 } else { 1.0 });
        }
        for line in [&open, &attempts] {
            assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&line.points().len()), "{}", line.points().len());
            assert!(line.points().is_sorted_by(|a, b| a.0 < b.0));
            assert_eq!(line.points().last().map(|point| point.0), Some(99_999.0));
        }
        assert_eq!((open.points().last().map(|point| point.1), attempts.greatest()), (Some(99_999.0), 9.0));
        assert_eq!(attempts.points().iter().filter(|point| point.1 == 9.0).count(), 1);
    }
}
