//! What a policy remembers of one client: facts told by the caller, and counts that `decide` keeps.

use super::Random;
use super::delay::{self, ms};
use super::policy::{Kind, Policy};
use super::poll::Timer;
use std::time::Duration;

/// What one client's policy remembers. Offsets are those of the caller.
#[derive(Clone, Debug)]
pub struct History {
    /// First raw delay of this client.
    pub(super) base_ms: f64,
    /// Start of the last attempt.
    pub(super) attempt: Option<Duration>,
    /// When the last attempt opened.
    pub(super) opened: Option<Duration>,
    /// When it was ready.
    pub(super) ready: Option<Duration>,
    /// An attempt has opened at some time.
    pub(super) connected: bool,
    /// Retries counted since the last reset.
    pub(super) retries: u32,
    /// Attempts that did not open since the last reset.
    pub(super) failures: u32,
    /// The retries since the last reset began with a failed very first connect.
    pub(super) initial: bool,
    /// Previous delay of the formula since the last reset.
    pub(super) previous_ms: Option<f64>,
    /// First attempt of this outage.
    pub(super) outage: Option<Duration>,
    /// Of a polling policy.
    pub(super) timer: Option<Box<Timer>>,
}

impl History {
    /// An attempt began.
    pub fn attempt_started(&mut self, now: Duration) {
        self.attempt = Some(now);
        self.opened = None;
        self.ready = None;
        if let Some(timer) = &mut self.timer {
            timer.attempt_started(now);
        }
    }

    /// The opening handshake is complete.
    pub fn opened(&mut self, now: Duration) {
        self.opened = Some(now);
        self.connected = true;
    }

    /// The connection is ready: `t_ready`.
    pub fn ready(&mut self, now: Duration) {
        self.ready = Some(now);
    }

    /// Retries counted since the last reset.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Attempts that did not open since the last reset.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Time left to the tick of a poll timer.
    pub(super) fn until_tick(&self) -> Option<Duration> {
        self.timer.as_ref()?.until_tick(self.attempt?)
    }

    /// Starts counting anew.
    pub(super) fn reset(&mut self) {
        self.retries = 0;
        self.failures = 0;
        self.previous_ms = None;
        self.outage = None;
        if let Some(timer) = &mut self.timer {
            timer.reset();
        }
    }
}

impl Policy {
    /// A client's history before its first attempt; draws what belongs to the client: its base, then the first poll interval.
    pub fn start(&self, random: Random<'_>) -> History {
        let base_ms = self.base_per_client.map_or(ms(self.base), |bounds| delay::uniform(bounds, random));
        let timer = matches!(self.kind, Kind::Poll(_)).then(|| Box::new(Timer::new(self, random)));
        History {
            base_ms,
            attempt: None,
            opened: None,
            ready: None,
            connected: false,
            retries: 0,
            failures: 0,
            initial: false,
            previous_ms: None,
            outage: None,
            timer,
        }
    }
}
