//! What faults have left on a session: gates, the steps to come, what it may have enough of, and floods.

use crate::fault::{ConnectionEffects, EffectLimit, Flood, InjectionStep, Since};
use crate::plan::Firing;
use crate::seed::Stream;
use crate::ws::connection::Connection;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// What faults have left on this connection; boxed when the first one comes.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) active: Vec<(Firing, ConnectionEffects)>,
    pub(crate) gate: ConnectionEffects,
    pub(crate) scripts: Vec<Script>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) announced: Vec<Firing>,
    pub(crate) pongs_dropped: u32,
    /// Sorted by due time.
    pub(crate) late_pongs: VecDeque<(Instant, Vec<u8>)>,
    pub(crate) floods: Vec<Flooding>,
    /// Since when the machine is suspended.
    pub(super) asleep: Option<Instant>,
}

impl Faults {
    /// A step of a fault that has been told already.
    pub(crate) fn then(&mut self, firing: Firing, step: InjectionStep) {
        self.scripts.push(Script { firing, steps: [step].into(), told: true, pause: None });
    }
}

/// The steps of one injection that are left.
#[derive(Debug)]
pub(crate) struct Script {
    pub(super) firing: Firing,
    pub(super) steps: VecDeque<InjectionStep>,
    /// The owner knows that the fault acts.
    pub(super) told: bool,
    pub(super) pause: Option<Pause>,
}

/// A wait between two steps, while the connection goes on.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    /// It is over, too, when the kernel has taken what was queued.
    pub(super) unless_flushed: bool,
}

impl Pause {
    pub(super) fn is_over(&self, now: Instant, flushed: bool) -> bool {
        self.until <= now || self.unless_flushed && flushed
    }
}

/// What passed on a connection so far, in both directions together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WatchCounts {
    pub(crate) bytes: u64,
    /// Whole frames.
    pub(crate) frames: u64,
    /// Those of them that are no control frames.
    pub(crate) messages: u64,
}

impl WatchCounts {
    /// Of a connection of ours.
    pub(super) fn of(connection: &mut Connection) -> WatchCounts {
        let bytes = connection.link().passed();
        WatchCounts { bytes, frames: connection.tap().frames(), messages: connection.tap().messages() }
    }
}

/// An [`EffectLimit`] being watched.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) firing: Firing,
    pub(crate) enough: EffectLimit,
    /// When `time` is over.
    pub(super) over: Option<Instant>,
    pub(crate) bytes: u64,
    pub(super) frames: u64,
    /// Last count of what ends idleness, and when it was seen to change.
    pub(super) seen: (u64, Instant),
    /// Draws whether a message is one too many.
    pub(crate) random: Stream,
}

impl Watch {
    /// From now on.
    pub(crate) fn new(firing: Firing, enough: EffectLimit, opened: Instant, counts: WatchCounts, mut random: Stream) -> Self {
        let now = Instant::now();
        let since = if enough.since == Since::Open { opened } else { now };
        let over = enough.time.map(|time| since + time + enough.jitter.mul_f64(random.unit()));
        let seen = (if enough.only_messages { counts.messages } else { counts.bytes }, now);
        Watch { firing, enough, over, bytes: counts.bytes, frames: counts.frames, seen, random }
    }

    /// Whether the connection has had enough.
    pub(crate) fn is_enough(&mut self, counts: WatchCounts, now: Instant) -> bool {
        let activity = if self.enough.only_messages { counts.messages } else { counts.bytes };
        if activity != self.seen.0 {
            self.seen = (activity, now);
        }
        self.over.is_some_and(|over| over <= now)
            || self.enough.bytes.is_some_and(|limit| counts.bytes - self.bytes >= limit)
            || self.enough.frames.is_some_and(|limit| counts.frames - self.frames >= limit)
            || self.enough.idle.is_some_and(|idle| self.seen.1 + idle <= now)
    }

    /// When to look again, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.over, self.enough.idle.map(|idle| self.seen.1 + idle)].into_iter().flatten().min()
    }
}

/// A [`Flood`] under way. Due times are exact; a wake-up sends all that is due.
#[derive(Debug)]
pub(crate) struct Flooding {
    pub(crate) firing: Firing,
    pub(crate) flood: Flood,
    pub(crate) begun: Instant,
    pub(crate) sent: u64,
}

impl Flooding {
    pub(crate) fn new(firing: Firing, flood: Flood) -> Self {
        Flooding { firing, flood, begun: Instant::now(), sent: 0 }
    }

    /// Pings due by `now` and not sent.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        let gone = now.saturating_duration_since(self.begun).as_nanos();
        let due = gone * u128::from(self.flood.per_s) / 1_000_000_000 + 1;
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.sent)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Instant {
        let nanos = (u128::from(self.sent) * 1_000_000_000).div_ceil(u128::from(self.flood.per_s));
        self.begun + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
