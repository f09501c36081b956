//! What a policy remembers of one client: facts told by the caller, and counts that `decide` keeps.

use super::Random;
use super::delay;
use super::policy::{Policy, ScheduleKind};
use super::poll::Timer;
use crate::units::{duration_ms, ms};
use std::time::Duration;

/// What one client's policy remembers. Offsets are those of the caller. Tens of bytes, because the simulator has millions of them.
#[derive(Clone, Debug)]
pub struct History {
    /// Previous delay of the formula since the last reset; not a number where there is none.
    previous_ms: f64,
    /// Start of the last attempt.
    attempt: Offset,
    /// When the last attempt opened.
    opened: Offset,
    /// What few policies need.
    rare: Option<Box<Rare>>,
    /// Retries counted since the last reset.
    pub(super) retries: u32,
    /// Attempts that did not open since the last reset.
    pub(super) failures: u32,
    /// The last attempt was ready.
    ready: bool,
    /// An attempt has opened at some time.
    pub(super) connected: bool,
    /// An attempt was ready at some time.
    ever_ready: bool,
    /// The retries since the last reset began with a failed very first connect.
    pub(super) initial: bool,
}

/// Nanoseconds, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset(u64);

impl Offset {
    const NONE: Offset = Offset(u64::MAX);

    /// 584 years are never reached.
    fn of(at: Duration) -> Offset {
        Offset(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX - 1))
    }

    fn time(self) -> Option<Duration> {
        (self != Offset::NONE).then(|| Duration::from_nanos(self.0))
    }
}

#[derive(Clone, Debug, Default)]
struct Rare {
    /// First raw delay of this client, where each has its own.
    base_ms: Option<f64>,
    /// First attempt of this outage.
    outage: Option<Duration>,
    /// Of a polling policy.
    timer: Option<Timer>,
}

impl History {
    /// An attempt began.
    pub fn attempt_started(&mut self, now: Duration) {
        self.attempt = Offset::of(now);
        self.opened = Offset::NONE;
        self.ready = false;
        if let Some(timer) = self.timer() {
            timer.attempt_started(now);
        }
    }

    /// The opening handshake is complete.
    pub fn opened(&mut self, now: Duration) {
        self.opened = Offset::of(now);
        self.connected = true;
    }

    /// The connection is ready: `t_ready`.
    pub fn ready(&mut self) {
        self.ready = true;
        self.ever_ready = true;
    }

    /// The last attempt counts as one that failed: to the library, nothing opens that is not ready.
    pub(super) fn never_opened(&mut self) {
        self.opened = Offset::NONE;
        self.connected = self.ever_ready;
    }

    /// Start of the last attempt.
    pub fn attempt(&self) -> Option<Duration> {
        self.attempt.time()
    }

    /// When the last attempt opened, if it did.
    pub fn opened_at(&self) -> Option<Duration> {
        self.opened.time()
    }

    /// Whether it was ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Retries counted since the last reset.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Attempts that did not open since the last reset.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// First raw delay of this client of a policy.
    pub(super) fn base_ms(&self, policy: &Policy) -> f64 {
        self.rare.as_ref().and_then(|rare| rare.base_ms).unwrap_or_else(|| ms(policy.base))
    }

    /// Previous delay of the formula since the last reset.
    pub(super) fn previous_ms(&self) -> Option<f64> {
        (!self.previous_ms.is_nan()).then_some(self.previous_ms)
    }

    /// Remembers a delay of the formula.
    pub(super) fn delayed(&mut self, ms: f64) {
        self.previous_ms = ms;
    }

    /// The timer of a polling policy.
    pub(super) fn timer(&mut self) -> Option<&mut Timer> {
        self.rare.as_mut()?.timer.as_mut()
    }

    /// First attempt of this outage; `first` where it begins now.
    pub(super) fn outage(&mut self, first: Duration) -> Duration {
        *self.rare.get_or_insert_default().outage.get_or_insert(first)
    }

    /// Starts counting anew.
    pub(super) fn reset(&mut self) {
        self.retries = 0;
        self.failures = 0;
        self.previous_ms = f64::NAN;
        if let Some(rare) = &mut self.rare {
            rare.outage = None;
            if let Some(timer) = &mut rare.timer {
                timer.reset();
            }
        }
    }
}

impl Policy {
    /// When the attempt now beginning is abandoned; `None`: the library has no such deadline.
    pub fn connect_timeout(&self, history: &History) -> Option<Duration> {
        let timeout = self.connect_timeout?;
        if timeout.factor == 1.0 {
            return Some(timeout.cap.map_or(timeout.first, |cap| timeout.first.min(cap)));
        }
        let grown = duration_ms(ms(timeout.first) * timeout.factor.powi(history.failures().min(1000) as i32));
        Some(timeout.cap.map_or(grown, |cap| grown.min(cap)))
    }

    /// A client's history before its first attempt; draws what belongs to the client: its base, then the first poll interval.
    pub fn start(&self, random: Random<'_>) -> History {
        let base_ms = self.base_per_client.map(|bounds| delay::uniform(bounds, random));
        let timer = matches!(self.kind, ScheduleKind::Poll(_)).then(|| Timer::new(self, random));
        History {
            previous_ms: f64::NAN,
            attempt: Offset::NONE,
            opened: Offset::NONE,
            rare: (base_ms.is_some() || timer.is_some()).then(|| Box::new(Rare { base_ms, outage: None, timer })),
            retries: 0,
            failures: 0,
            ready: false,
            ever_ready: false,
            connected: false,
            initial: false,
        }
    }
}
