//! Due times of messages for all clients: one heap, one `timerfd`.
//!
//! tokio's timers count milliseconds, which would show in round trips that count from the due time; a timerfd does not.

use crate::arrival::Sends;
use crate::event::ClientIndex;
use crate::lock::lock;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Shortest time between two wake-ups. A schedule with longer gaps is met to the microsecond; of a denser one several messages go out
/// together, up to this late, because each wake-up, here and at the server, costs several times the processor time that sending does.
const GRAIN: Duration = Duration::from_micros(350);

/// One client's schedule.
#[derive(Debug)]
struct ClientSchedule {
    client: ClientIndex,
    start: Duration,
    /// The next message.
    number: u64,
    sends: Sends,
}

impl ClientSchedule {
    /// When the next message is due.
    fn due(&self) -> Duration {
        self.sends.due(self.start, self.number)
    }
}

/// All schedules, and which of them is due next.
#[derive(Debug, Default)]
struct Agenda {
    schedules: Vec<ClientSchedule>,
    /// Due offset in ns, and place in `schedules`: as little as can be, because a change goes through many of them.
    next: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Agenda {
    fn add(&mut self, schedule: ClientSchedule) {
        self.next.push(Reverse((nanos(schedule.due()), self.schedules.len() as u32)));
        self.schedules.push(schedule);
    }

    /// Calls `hand` for all that is due by `now`, of what is due before `end`, until it says from when on it takes more. Returns whether there
    /// was any, and when to look again.
    fn take(
        &mut self,
        now: Duration,
        end: Duration,
        mut hand: impl FnMut(ClientIndex, Duration) -> Result<(), Duration>,
    ) -> (bool, Option<Duration>) {
        let (now, end) = (nanos(now), nanos(end));
        let mut any = false;
        while let Some(mut first) = self.next.peek_mut() {
            let Reverse((due, place)) = *first;
            if due > now {
                return (any, Some(Duration::from_nanos(due)));
            }
            let schedule = &mut self.schedules[place as usize];
            if let Err(later) = hand(schedule.client, Duration::from_nanos(due)) {
                return (any, Some(later));
            }
            any = true;
            schedule.number += 1;
            first.0.0 = nanos(schedule.due());
            if first.0.0 >= end {
                PeekMut::pop(first);
            }
        }
        (any, None)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Hands clients their due messages.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    agenda: Mutex<Agenda>,
    added: Notify,
}

impl Pacer {
    /// Begins a client's schedule at offset `start`.
    pub(crate) fn begin(&self, client: ClientIndex, start: Duration, sends: Sends) {
        self.agenda().add(ClientSchedule { client, start, number: 0, sends });
        self.added.notify_one();
    }

    fn agenda(&self) -> MutexGuard<'_, Agenda> {
        lock(&self.agenda)
    }

    /// Gives `hand` what is due until `end`, by `now`; runs to the end of the run. An error of `hand` is the offset from which on it takes more.
    ///
    /// # Errors
    /// If the kernel has no timer for us.
    pub(crate) async fn run(
        self: Arc<Self>,
        hand: impl Fn(ClientIndex, Duration) -> Result<(), Duration>,
        now: impl Fn() -> Duration,
        end: Duration,
    ) -> io::Result<()> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // Deprecated because the type of its argument might close the descriptor behind its back; an OwnedFd does not, and the
        // replacement is unsafe.
        #[expect(deprecated)]
        let ready = AsyncFd::new(timer.as_fd().try_clone_to_owned()?)?;
        let hand_out = |now| self.agenda().take(now, end, &hand);
        loop {
            let mut looked = now();
            let (any, mut next) = hand_out(looked);
            if any {
                // What falls due while those are sent goes out with them: now both ends are awake.
                requeue().await;
                looked = now();
                (_, next) = hand_out(looked);
            }
            let Some(due) = next else {
                self.added.notified().await;
                continue;
            };
            let wait = due.max(looked + GRAIN).saturating_sub(now());
            if wait.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
            tokio::select! {
                // Either order is right: both lead to another look at the agenda.
                biased;
                () = self.added.notified() => {}
                expired = ready.readable() => {
                    // The expiry stays unread: the next setting of the timer takes it away, and its expiry tells of itself anew.
                    expired?.clear_ready();
                }
            }
        }
    }

    /// As [`Pacer::run`], by tokio's timers: late by up to a millisecond, and still while tokio's clock is.
    pub(crate) async fn run_by_timers(
        self: Arc<Self>,
        hand: impl Fn(ClientIndex, Duration) -> Result<(), Duration>,
        now: impl Fn() -> Duration,
        end: Duration,
    ) {
        let hand_out = |now| self.agenda().take(now, end, &hand);
        loop {
            match hand_out(now()).1 {
                None => self.added.notified().await,
                // Either way another look at the agenda is right.
                Some(due) => drop(timeout(due.saturating_sub(now()), self.added.notified()).await),
            }
        }
    }
}

/// Lets the tasks run that were woken so far, and no more: `yield_now` would also look for what has come from the kernel.
async fn requeue() {
    let mut queued = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::units::Rate;

    #[test]
    fn every_message_is_handed_out_once_and_none_before_it_is_due() {
        let (end, seed) = (Duration::from_secs(2), Seed(3));
        let mut agenda = Agenda::default();
        let starts: Vec<_> = (0..50).map(|client| Duration::from_millis(client * 7)).collect();
        let sends = |client: u32| Sends::of(ClientIndex(client), Rate(f64::from(1 + client % 3)), seed);
        for (client, start) in (0..).zip(&starts) {
            agenda.add(ClientSchedule { client: ClientIndex(client), start: *start, number: 0, sends: sends(client) });
        }
        let mut handed = vec![0_u64; starts.len()];
        let mut now = Duration::ZERO;
        loop {
            let (_, next) = agenda.take(now, end, |client, due| {
                let place = client.0 as usize;
                assert_eq!(due, sends(client.0).due(starts[place], handed[place]), "in order, at its due time");
                assert!(due <= now);
                handed[place] += 1;
                Ok(())
            });
            let Some(next) = next else { break };
            assert!(next > now, "all that was due is out");
            now = next + Duration::from_millis(3);
        }
        for (client, start) in (0..).zip(&starts) {
            assert_eq!(handed[client as usize], sends(client).count(*start, end), "client {client}");
        }
    }
}
