//! Stages: a level that changes evenly from one value to the next, as load testers say "to 500 within a minute, hold, to 0".
//!
//! The same curve says how many clients are there, and how fast messages are sent. It begins at 0; after the last stage it stays as it is.

use std::fmt;
use std::time::Duration;

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadStage {
    /// The level at its end: clients, or messages per second; at least 0.
    pub to: f64,
    /// Its length; zero: at once.
    pub over: Duration,
}

/// Stages one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadStages {
    list: Vec<LoadStage>,
    /// The highest level.
    peak: f64,
}

/// When a client is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// It arrives.
    pub from: Duration,
    /// It leaves; `None`: not before the end of the run.
    pub until: Option<Duration>,
}

/// A stage with its beginning.
struct Leg {
    start: Duration,
    span: Duration,
    low: f64,
    to: f64,
}

impl Leg {
    /// How much of its rate, of a full one of `peak`, passes in all of it, s.
    fn area(&self, peak: f64) -> f64 {
        self.span.as_secs_f64() * f64::midpoint(self.low, self.to) / peak
    }

    /// Change per second; nothing passes in a stage without length.
    fn slope(&self) -> f64 {
        if self.span.is_zero() { 0.0 } else { (self.to - self.low) / self.span.as_secs_f64() }
    }
}

impl LoadStages {
    /// These, in order.
    pub fn new(stages: Vec<LoadStage>) -> LoadStages {
        let peak = stages.iter().map(|stage| stage.to).fold(0.0, f64::max);
        LoadStages { list: stages, peak }
    }

    /// The same, later: it stays at 0 so long first.
    pub fn after(mut self, wait: Duration) -> LoadStages {
        if !wait.is_zero() {
            self.list.insert(0, LoadStage { to: 0.0, over: wait });
        }
        self
    }

    /// The highest level.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// The level above which client `i` of `count` is there: whoever comes last leaves first, and `count` clients have the shape of the stages
    /// whatever their highest level is.
    pub fn place(&self, i: u32, count: u32) -> f64 {
        f64::from(i) * self.peak / f64::from(count.max(1))
    }

    /// The first time in which the level is above `place` and that is not over at `after`.
    pub fn presence(&self, place: f64, after: Duration) -> Option<Presence> {
        let mut since = None;
        for leg in self.legs() {
            match (since, leg.to > place) {
                (None, true) => since = Some(crossing(&leg, place)),
                (Some(from), false) => {
                    let until = crossing(&leg, place);
                    if until > after {
                        return Some(Presence { from, until: Some(until) });
                    }
                    since = None;
                }
                _ => {}
            }
        }
        since.map(|from| Presence { from, until: None })
    }

    /// For how long a full rate would have to go on, s, to send as much as these rates do up to `at`.
    pub fn full_rate_until(&self, at: Duration) -> f64 {
        let mut sum = 0.0;
        for leg in self.legs() {
            let Some(within) = at.checked_sub(leg.start) else { break };
            let part = within.min(leg.span).as_secs_f64();
            sum += part * (leg.low + leg.slope() * part / 2.0) / self.peak;
        }
        let (end, last) = self.end();
        sum + at.saturating_sub(end).as_secs_f64() * last / self.peak
    }

    /// When [`LoadStages::full_rate_until`] reaches so many seconds; [`Duration::MAX`]: never.
    pub(super) fn when(&self, full: f64) -> Duration {
        let mut rest = full;
        for leg in self.legs() {
            let area = leg.area(self.peak);
            if rest < area {
                // s with low·s + slope·s²/2 = rest·peak, in the form that does not divide by a slope of 0.
                let sum = rest * self.peak;
                let root = (leg.low * leg.low + 2.0 * leg.slope() * sum).max(0.0).sqrt();
                return leg.start.saturating_add(super::seconds(2.0 * sum / (leg.low + root).max(f64::MIN_POSITIVE)).min(leg.span));
            }
            rest -= area;
        }
        let (end, last) = self.end();
        end.saturating_add(super::seconds(rest * self.peak / last))
    }

    /// The end of the last stage, and the level from there on.
    fn end(&self) -> (Duration, f64) {
        (self.list.iter().map(|stage| stage.over).sum(), self.list.last().map_or(0.0, |stage| stage.to))
    }

    fn legs(&self) -> impl Iterator<Item = Leg> {
        let begin = (Duration::ZERO, 0.0);
        self.list.iter().scan(begin, |(start, low), stage| {
            let leg = Leg { start: *start, span: stage.over, low: *low, to: stage.to };
            (*start, *low) = (*start + stage.over, stage.to);
            Some(leg)
        })
    }
}

/// When a leg that passes a level is there.
fn crossing(leg: &Leg, level: f64) -> Duration {
    leg.start + leg.span.mul_f64(((level - leg.low) / (leg.to - leg.low)).clamp(0.0, 1.0))
}

impl fmt::Display for LoadStages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, leg) in self.legs().enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            let span = crate::units::print_duration(leg.span);
            match leg.low.total_cmp(&leg.to).is_eq() {
                true => write!(f, "hold {span}")?,
                false => write!(f, "to {} over {span}", leg.to)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(list: &[(f64, u64)]) -> LoadStages {
        LoadStages::new(list.iter().map(|(to, ms)| LoadStage { to: *to, over: Duration::from_millis(*ms) }).collect())
    }

    #[test]
    fn clients_come_and_go_with_the_level() {
        // 4 within 2 s, hold 1 s, 2 at once, 4 again within 1 s, none within 4 s.
        let stages = stages(&[(4.0, 2000), (4.0, 1000), (2.0, 0), (4.0, 1000), (0.0, 4000)]);
        let there = |i, after_ms| {
            let found = stages.presence(stages.place(i, 4), Duration::from_millis(after_ms))?;
            Some((found.from.as_millis() as u64, found.until.map(|until| until.as_millis() as u64)))
        };
        assert_eq!(there(0, 0), Some((0, Some(8000))));
        assert_eq!(there(1, 0), Some((500, Some(7000))));
        assert_eq!((there(2, 0), there(2, 3000)), (Some((1000, Some(3000))), Some((3000, Some(6000)))));
        assert_eq!((there(3, 0), there(3, 3000), there(3, 5000)), (Some((1500, Some(3000))), Some((3500, Some(5000))), None));
        // Eight clients have the same shape.
        assert_eq!(stages.presence(stages.place(2, 8), Duration::ZERO), stages.presence(stages.place(1, 4), Duration::ZERO));
    }

    #[test]
    fn a_level_that_is_only_reached_is_not_passed() {
        let half = stages(&[(5.0, 1000), (10.0, 1000)]);
        let from = |i| half.presence(half.place(i, 10), Duration::ZERO).map(|presence| presence.from.as_millis());
        assert_eq!([from(4), from(5), from(9)], [Some(800), Some(1000), Some(1800)]);
        assert_eq!(half.to_string(), "to 5 over 1s, to 10 over 1s");
    }

    #[test]
    fn messages_follow_the_rate() {
        let rates = stages(&[(0.0, 1000), (10.0, 2000), (10.0, 1000), (5.0, 0), (0.0, 2000), (0.0, 3000), (10.0, 0)]);
        // Seconds at the full rate: none, 1 in the ramp, 1 in the hold, 0.5 in the fall.
        for (at_ms, full) in [(0, 0.0), (1000, 0.0), (2000, 0.25), (3000, 1.0), (4000, 2.0), (6000, 2.5), (9000, 2.5), (10_000, 3.5)] {
            let found = rates.full_rate_until(Duration::from_millis(at_ms));
            assert!((found - full).abs() < 1e-9, "{at_ms}: {found}");
        }
        for (full, at_ms) in [(0.25, 2000), (1.0, 3000), (1.5, 3500), (3.5, 10_000)] {
            assert_eq!(rates.when(full).as_millis(), at_ms, "{full}");
        }
        assert_eq!(stages(&[(5.0, 0), (0.0, 2000)]).when(1.5), Duration::MAX, "the rate has fallen to nothing");
    }
}
