//! Where events are recorded: the clock of the run, and the one recorder.

use crate::event::Event;
use crate::metrics::{Live, Recorder, Results, Status};
use crate::net::clock::Clock;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The run's clock and books. Closed books ignore what comes later: our own teardown appears in no count.
#[derive(Debug)]
pub(super) struct Journal {
    start: Instant,
    epoch_ns: u64,
    end: Duration,
    recorder: Mutex<Option<Recorder>>,
    /// All that was recorded, to the nanosecond.
    #[cfg(test)]
    trace: Mutex<Vec<(Duration, Event)>>,
}

impl Journal {
    /// Opens the books; offset 0 is at `epoch_ns` of `clock`, which may be to come, and what happens from `end` on is not recorded.
    pub(super) fn open(recorder: Recorder, end: Duration, clock: Clock, epoch_ns: u64) -> Self {
        let (now, now_ns) = (Instant::now(), clock.now_ns());
        let start = now + Duration::from_nanos(epoch_ns.saturating_sub(now_ns));
        // An epoch that is over already is no instant of tokio's, which do not go back before the first.
        let start = start.checked_sub(Duration::from_nanos(now_ns.saturating_sub(epoch_ns))).unwrap_or(start);
        Journal {
            start,
            epoch_ns,
            end,
            recorder: Mutex::new(Some(recorder)),
            #[cfg(test)]
            trace: Mutex::default(),
        }
    }

    /// Offset in the run.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The instant of an offset.
    pub(super) fn instant(&self, offset: Duration) -> Instant {
        self.start + offset
    }

    /// The offset of a reading of the run's clock, by whichever process; 0 for one before the run.
    pub(super) fn offset(&self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns.saturating_sub(self.epoch_ns))
    }

    /// Records an event that happens now.
    pub(super) fn record(&self, event: &Event) {
        self.record_at(self.now(), event);
    }

    /// Records an event that happened at `at`.
    pub(super) fn record_at(&self, at: Duration, event: &Event) {
        if at >= self.end {
            return;
        }
        if let Some(recorder) = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            recorder.record(at, event);
            #[cfg(test)]
            self.trace.lock().unwrap_or_else(PoisonError::into_inner).push((at, event.clone()));
        }
    }

    /// All that was recorded so far, in that order.
    #[cfg(test)]
    pub(super) fn take_trace(&self) -> Vec<(Duration, Event)> {
        std::mem::take(&mut self.trace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records a notice.
    pub(super) fn notice(&self, text: impl Into<String>) {
        self.record(&Event::Notice { text: text.into() });
    }

    /// Numbers for a progress line.
    pub(super) fn live(&self) -> Live {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Recorder::live).unwrap_or_default()
    }

    /// Closes the books; `None` if they are closed already.
    pub(super) fn close(&self, status: Status) -> Option<Results> {
        let recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(recorder.finish(self.now().min(self.end), status))
    }
}
