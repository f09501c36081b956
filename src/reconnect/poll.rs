//! The free-running poll timer of Action Cable: ticks go on while connected, so a loss falls anywhere between two of them.
//!
//! Ticks during a connection are walked through when it is lost: they find fresh messages and change nothing but the phase.

use super::Random;
use super::delay::{self, DelayInput};
use super::policy::{Policy, Polling};
use crate::units::{duration_ms, ms};
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

    /// Forgets the stale ticks.
    pub(super) fn reset(&mut self) {
        self.stale_ticks = 0;
    }

    /// The wait until the next attempt. `closed`: an open connection was lost, that opened then, and whether it was ready; else an attempt
    /// failed. Ticks go on during an attempt, and abandon nothing: what they open, they open when it has ended by then.
    pub(super) fn wait(
        &mut self,
        policy: &Policy,
        polling: &Polling,
        closed: Option<(Duration, bool)>,
        now: Duration,
        random: Random<'_>,
    ) -> Duration {
        let mut next = self.next.unwrap_or(now + self.first);
        let ready = closed.filter(|(_, ready)| *ready);
        if ready.is_some() {
            next = next.max(now.saturating_sub(WALK_MAX));
        }
        let mut reopens = None;
        while next <= now {
            // A connection that was ready has heard the server's pings.
            if ready.is_none() && self.attempts_at(next, polling) {
                reopens = Some(next.saturating_add(polling.reopen_delay));
            }
            next += interval(policy, self.stale_ticks, random);
        }
        if closed.is_some() {
            self.lost = Some(now);
        }
        if let Some((opened, _)) = ready {
            self.message = now.saturating_sub(message_age(policy, now.saturating_sub(opened), random));
        }
        self.next = Some(next);
        if let Some(at) = reopens.filter(|at| *at > now) {
            return at - now;
        }
        loop {
            let tick = next;
            let attempts = self.attempts_at(tick, polling);
            next += interval(policy, self.stale_ticks, random);
            self.next = Some(next);
            if attempts {
                return tick - now;
            }
        }
    }

    /// Whether a tick opens a connection; counts those that find no fresh message.
    fn attempts_at(&mut self, tick: Duration, polling: &Polling) -> bool {
        let stale = tick.saturating_sub(self.message) > polling.stale;
        self.stale_ticks = self.stale_ticks.saturating_add(u32::from(stale));
        stale && self.lost.is_none_or(|lost| tick.saturating_sub(lost) >= polling.min_disconnected)
    }
}

/// Interval before the tick that follows `n` stale ones; never zero, so that walking ends.
fn interval(policy: &Policy, n: u32, random: Random<'_>) -> Duration {
    let step = DelayInput { k: n, skip: 0, base_ms: ms(policy.base), previous_ms: None };
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
    use crate::reconnect::{Decision, Loss};
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
    fn an_attempt_that_hangs_is_never_abandoned() {
        let policy = Policy::preset("actioncable").unwrap();
        let mut random = || 0.37;
        // Ticks at 8.22 s, n = 1, then 7.283 s later, and so on; each finds the attempt under way.
        let ticks = [8.220, 15.502_95, 23.878_343, 33.510_044];
        for (failed, expected) in [(8.0, 0.22), (8.3, 0.42), (9.0, 6.502_95), (15.6, 0.402_95), (16.5, 7.378_343)] {
            let mut history = policy.start(&mut random);
            history.attempt_started(Duration::ZERO);
            assert_eq!(policy.connect_timeout(&history), None);
            let decision = policy.decide(&mut history, &Loss::Failed, Duration::from_secs_f64(failed), &mut random);
            let Decision::Wait(wait) = decision else { panic!("{decision:?}") };
            assert!((wait.as_secs_f64() - expected).abs() < 1e-5, "{failed}: {wait:?} of {ticks:?}");
        }
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
