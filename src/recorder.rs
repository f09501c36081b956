//! Where events are recorded: the clock of the run, and its observers, of which the recorder is the first.

use crate::event::{ClientIndex, Event, Stage, Stages, UnderWay};
use crate::lock::lock;
use crate::metrics::{Recorder, Results, Snapshot, Status};
use crate::observer::Observer;
use crate::secret::Secrets;
use crate::transport::clock::{Clock, wall_us};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// As good as never.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Who takes each event besides the recorder: nobody, and in tests a list of all.
#[cfg(not(test))]
type Also = ();
#[cfg(test)]
type Also = Vec<(Duration, Event)>;

/// The run's clock and results. Results whose measurement has ended ignore what comes later: our own teardown appears in no count.
#[derive(Debug)]
pub(crate) struct SharedRecorder {
    start: Instant,
    epoch_ns: u64,
    end: Duration,
    /// The recorder, until the measurement ends, and whoever else takes the events.
    observers: Mutex<(Option<Recorder>, Also)>,
    /// What no event may tell.
    secrets: Secrets,
    /// What was under way at the end, as far as it has ended since.
    late: Mutex<BTreeMap<ClientIndex, UnderWay>>,
}

impl SharedRecorder {
    /// Begins the measurement; offset 0 is at `epoch_ns` of `clock`, which may be to come, and what happens from `end` on is not recorded.
    pub(crate) fn open(recorder: Recorder, end: Duration, clock: Clock, epoch_ns: u64) -> Self {
        let (now, now_ns) = (Instant::now(), clock.now_ns());
        let start = now + Duration::from_nanos(epoch_ns.saturating_sub(now_ns));
        // An epoch that is over already is no instant of tokio's, which do not go back before the first.
        let start = start.checked_sub(Duration::from_nanos(now_ns.saturating_sub(epoch_ns))).unwrap_or(start);
        let secrets = recorder.secrets().clone();
        let observers = Mutex::new((Some(recorder), Also::default()));
        SharedRecorder { start, epoch_ns, end, observers, secrets, late: Mutex::default() }
    }

    fn observers(&self) -> MutexGuard<'_, (Option<Recorder>, Also)> {
        lock(&self.observers)
    }

    /// Offset in the run.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The start of the run by the clock for people, µs since 1970. Offsets go on from there, however that clock is set later.
    pub(crate) fn start_wall_us(&self) -> i64 {
        let (now, wall) = (Instant::now(), wall_us());
        let us = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        wall.saturating_add(us(self.start.saturating_duration_since(now))).saturating_sub(us(now.saturating_duration_since(self.start)))
    }

    /// The instant of an offset; what never comes is a century away.
    pub(crate) fn instant(&self, offset: Duration) -> Instant {
        self.start + offset.min(CENTURY)
    }

    /// The offset of a reading of the run's clock, by whichever process; 0 for one before the run.
    pub(crate) fn offset(&self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns.saturating_sub(self.epoch_ns))
    }

    /// Records an event that happens now.
    pub(crate) fn record(&self, event: &Event) {
        self.record_at(self.now(), event);
    }

    /// Records an event that happened at `at`.
    pub(crate) fn record_at(&self, at: Duration, event: &Event) {
        if at >= self.end {
            return self.late(at, event);
        }
        // A server may send back what it was sent: in a redirect, or in the reason of a Close frame.
        let changed = event.without(&self.secrets);
        let mut observers = self.observers();
        if observers.0.is_some() {
            observers.on(at, changed.as_ref().unwrap_or(event));
        }
    }

    /// What ends after the measurement had begun before: so it was under way at the end.
    fn late(&self, at: Duration, event: &Event) {
        let was = match event {
            Event::AttemptFailed { client, stage, times, .. } => (*client, UnderWay::Attempt { stage: *stage, times: *times }),
            Event::Opened { client, tcp, tls, resumed, upgrade, .. } => {
                let times = Stages { tcp: Some(*tcp), tls: *tls, resumed: *resumed, elapsed: *upgrade };
                (*client, UnderWay::Attempt { stage: Stage::Upgrade, times })
            }
            Event::Ended { client, closing: Some(closing), .. } => {
                (*client, UnderWay::Closing { ack: closing.ack, elapsed: closing.total })
            }
            _ => return,
        };
        if let Some(what) = was.1.before(at - self.end) {
            lock(&self.late).entry(was.0).or_insert(what);
        }
    }

    /// The offset of an instant; 0 for one before the run.
    pub(crate) fn offset_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    /// When the measurement ends, if it is to end now or has ended.
    pub(crate) fn end(&self) -> Duration {
        self.now().min(self.end)
    }

    /// When the measurement ends as planned.
    pub(crate) fn planned_end(&self) -> Duration {
        self.end
    }

    /// All that was recorded so far, in that order.
    #[cfg(test)]
    pub(crate) fn take_trace(&self) -> Vec<(Duration, Event)> {
        std::mem::take(&mut self.observers().1)
    }

    /// Records a notice.
    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.record(&Event::Notice { text: text.into() });
    }

    /// How the run stands.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.observers().0.as_ref().map(Recorder::snapshot).unwrap_or_default()
    }

    /// Ends the measurement at `end`, when `under_way` was; `None` if it has ended already.
    pub(crate) fn close(&self, status: Status, end: Duration, under_way: Vec<(ClientIndex, UnderWay)>) -> Option<Results> {
        let mut observers = self.observers();
        observers.0.as_ref()?;
        let mut cut = std::mem::take(&mut *lock(&self.late));
        for (client, what) in under_way {
            cut.entry(client).or_insert(what);
        }
        for (client, what) in cut {
            observers.on(end, &Event::Cut { client, what });
        }
        observers.0.take().map(|recorder| recorder.finish(end, status))
    }
}
