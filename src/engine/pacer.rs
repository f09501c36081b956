//! Due times of messages for all clients: one heap, one `timerfd`.
//!
//! tokio's timers count milliseconds, which would show in round trips that count from the due time; a timerfd does not.

use super::control::Command;
use super::registry::Registry;
use crate::arrival::Sends;
use crate::event::ClientIndex;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Shortest time between two wake-ups. A schedule with longer gaps is met to the microsecond; of a denser one several messages go out
/// together, up to this late, because a wake-up for each costs three times the processor time that sending does.
const GRAIN: Duration = Duration::from_micros(250);

/// One client's schedule in the heap.
#[derive(Debug)]
struct Entry {
    due: Duration,
    client: ClientIndex,
    start: Duration,
    number: u64,
    sends: Sends,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.client) == (other.due, other.client)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.client).cmp(&(other.due, other.client))
    }
}

/// Hands clients their due messages.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    heap: Mutex<BinaryHeap<Reverse<Entry>>>,
    added: Notify,
}

impl Pacer {
    /// Begins a client's schedule at offset `start`.
    pub(super) fn begin(&self, client: ClientIndex, start: Duration, sends: Sends) {
        let entry = Entry { due: sends.due(start, 0), client, start, number: 0, sends };
        self.heap.lock().unwrap_or_else(PoisonError::into_inner).push(Reverse(entry));
        self.added.notify_one();
    }

    /// Hands out what is due until `end`, by `now`; runs to the end of the run.
    ///
    /// # Errors
    /// If the kernel has no timer for us.
    pub(super) async fn run(self: Arc<Self>, registry: Arc<Registry>, now: impl Fn() -> Duration, end: Duration) -> io::Result<()> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // Deprecated because the type of its argument might close the descriptor behind its back; an OwnedFd does not, and the
        // replacement is unsafe.
        #[expect(deprecated)]
        let ready = AsyncFd::new(timer.as_fd().try_clone_to_owned()?)?;
        loop {
            let woken = now();
            match self.hand_out(&registry, woken, end) {
                None => self.added.notified().await,
                Some(due) => {
                    let wait = due.max(woken + GRAIN).saturating_sub(now());
                    if wait.is_zero() {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
                    tokio::select! {
                        // Either order is right: both lead to another look at the heap.
                        biased;
                        () = self.added.notified() => {}
                        expired = ready.readable() => {
                            // The expiry stays unread: the next setting of the timer takes it away, and its expiry tells of itself anew.
                            expired?.clear_ready();
                        }
                    }
                }
            }
        }
    }

    /// As [`Pacer::run`], by tokio's timers: late by up to a millisecond, and still while tokio's clock is.
    pub(super) async fn run_by_timers(self: Arc<Self>, registry: Arc<Registry>, now: impl Fn() -> Duration, end: Duration) {
        loop {
            match self.hand_out(&registry, now(), end) {
                None => self.added.notified().await,
                // Either way another look at the heap is right.
                Some(due) => drop(timeout(due.saturating_sub(now()), self.added.notified()).await),
            }
        }
    }

    /// Hands out all that is due; returns the next due offset.
    fn hand_out(&self, registry: &Registry, now: Duration, end: Duration) -> Option<Duration> {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Reverse(next)) = heap.peek() {
            if next.due > now {
                return Some(next.due);
            }
            let Some(Reverse(mut entry)) = heap.pop() else { break };
            registry.slot(entry.client).control.send(Command::Due(entry.due));
            entry.number += 1;
            entry.due = entry.sends.due(entry.start, entry.number);
            if entry.due < end {
                heap.push(Reverse(entry));
            }
        }
        None
    }
}
