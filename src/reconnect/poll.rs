//! The free-running poll timer of Action Cable: ticks go on while connected, so a loss falls anywhere between two of them.
//!
//! Ticks during a connection are walked through when it is lost: they find fresh messages and change nothing but the phase.

use super::delay::{self, Step, duration_ms, ms};
use super::policy::{Policy, Polling};
use super::{Loss, Random};
use std::time::Duration;

/// Ticks of a longer connection are not walked through; the phase has forgotten its start long before.
const WALK_MAX: Duration = Duration::from_secs(3600);

/// One client's timer.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    /// From the first attempt to the first tick.
    first: Duration,
    /// The next tick; `None` before the first attempt.
    next: Option<Duration>,
    /// Stale ticks since the last ready connection.
    stale_ticks: u32,
    /// When the last message came, or the timer started.
    message: Duration,
    /// When the last connection was lost.
    lost: Option<Duration>,
}

impl Timer {
    /// Draws the first interval.
    pub(super) fn new(policy: &Policy, random: Random<'_>) -> Timer {
        Timer { first: interval(policy, 0, random), next: None, stale_ticks: 0, message: Duration::ZERO, lost: None }
    }

    /// The timer starts with the first attempt.
    pub(super) fn attempt_started(&mut self, now: Duration) {
        if self.next.is_none() {
            self.next = Some(now.saturating_add(self.first));
            self.message = now;
        }
    }

    /// From `start` of an attempt to the tick that would find it unfinished.
    pub(super) fn until_tick(&self, start: Duration) -> Option<Duration> {
        self.next?.checked_sub(start).filter(|left| !left.is_zero())
    }

    /// Forgets the stale ticks.
    pub(super) fn reset(&mut self) {
        self.stale_ticks = 0;
    }

    /// The wait until the tick that attempts; `opened` is when the lost connection opened.
    pub(super) fn wait(
        &mut self,
        policy: &Policy,
        polling: &Polling,
        (loss, opened): (&Loss, Option<Duration>),
        now: Duration,
        random: Random<'_>,
    ) -> Duration {
        let mut next = self.next.unwrap_or(now + self.first);
        if let Loss::Closed { .. } = loss {
            next = next.max(now.saturating_sub(WALK_MAX));
            while next <= now {
                next += interval(policy, self.stale_ticks, random);
            }
            self.lost = Some(now);
            self.message = now.saturating_sub(message_age(policy, now.saturating_sub(opened.unwrap_or(now)), random));
        }
        loop {
            let tick = next;
            let stale = tick.saturating_sub(self.message) > polling.stale;
            self.stale_ticks = self.stale_ticks.saturating_add(u32::from(stale));
            next += interval(policy, self.stale_ticks, random);
            self.next = Some(next);
            let recent = self.lost.is_some_and(|lost| tick.saturating_sub(lost) < polling.min_disconnected);
            match stale && !recent {
                true if tick > now => return tick - now,
                // the tick found the attempt still under way
                true if next > now => return polling.reopen_delay,
                _ => {}
            }
        }
    }
}

/// Interval before the tick that follows `n` stale ones; never zero, so that walking ends.
fn interval(policy: &Policy, n: u32, random: Random<'_>) -> Duration {
    let step = Step { k: n, skip: 0, base_ms: ms(policy.base), previous_ms: None };
    duration_ms(delay::delay(policy, &step, random).unwrap_or_default()).max(Duration::from_millis(1))
}

/// Pings come at the heartbeat's interval: the last one is uniformly old, but not older than the connection.
fn message_age(policy: &Policy, open: Duration, random: Random<'_>) -> Duration {
    let interval = policy.heartbeat.map_or(Duration::ZERO, |heartbeat| heartbeat.interval);
    duration_ms(ms(interval.min(open)) * random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconnect::Decision;
    use crate::seed::Seed;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn intervals_are_those_of_the_library() {
        let policy = Policy::preset("actioncable").unwrap();
        for (n, expected) in [8220.0, 7282.95, 8375.3925, 9631.701375, 11076.45658125].into_iter().enumerate() {
            let found = ms(interval(&policy, n as u32, &mut || 0.37));
            assert!((found - expected).abs() < 0.001, "{n}: {found}");
        }
    }

    #[test]
    fn first_attempts_after_a_crash_are_spread_as_sampled_from_the_source() {
        let policy = Policy::preset("actioncable").unwrap();
        let mut waits: Vec<f64> = (0..20_000)
            .map(|client| {
                let mut stream = Seed(1).stream(&format!("client/{client}"));
                let mut random = || stream.unit();
                let mut history = policy.start(&mut random);
                history.attempt_started(s(0));
                history.opened(s(0));
                history.ready();
                match policy.decide(&mut history, &Loss::Closed { code: 1006 }, s(600), &mut random) {
                    Decision::Wait(wait) => wait.as_secs_f64(),
                    Decision::GiveUp(why) => panic!("{why:?}"),
                }
            })
            .collect();
        waits.sort_by(f64::total_cmp);
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        let at = |share: f64| waits[(share * waits.len() as f64) as usize];
        assert!(waits[0] >= 6.0 && waits[waits.len() - 1] < 18.0, "{} to {}", waits[0], waits[waits.len() - 1]);
        for (found, sampled) in [(mean, 10.4), (at(0.5), 10.5), (at(0.95), 14.3)] {
            assert!((found - sampled).abs() < 0.15, "{found} {sampled}");
        }
    }

    #[test]
    fn an_attempt_that_hangs_is_reopened_by_the_next_tick() {
        let policy = Policy::preset("actioncable").unwrap();
        let mut random = || 0.37;
        let mut history = policy.start(&mut random);
        history.attempt_started(s(1));
        assert_eq!(policy.connect_timeout(&history), Some(Duration::from_millis(8220)));
        let now = s(1) + Duration::from_millis(8220);
        let decision = policy.decide(&mut history, &Loss::TimedOut, now, &mut random);
        assert_eq!(decision, Decision::Wait(Duration::from_millis(500)));
        history.attempt_started(now + Duration::from_millis(500));
        assert_eq!(policy.connect_timeout(&history), Some(Duration::from_nanos(7_282_950_000 - 500_000_000)));
    }

    #[test]
    fn a_refused_first_attempt_waits_for_the_tick() {
        let policy = Policy::preset("actioncable").unwrap();
        let mut random = || 0.37;
        let mut history = policy.start(&mut random);
        history.attempt_started(s(0));
        assert_eq!(policy.decide(&mut history, &Loss::Failed, s(2), &mut random), Decision::Wait(Duration::from_millis(6220)));
    }
}
