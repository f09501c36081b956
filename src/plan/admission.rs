//! What an opening handshake meets in a server: a token bucket and one service queue. Pure; offsets are those of the caller.
//!
//! The queue is busy until a point in time that each handshake moves by its cost. The embedded server waits for that point, the
//! simulator computes with it: both call these functions.

use super::{Admit, QueueOrder};
use crate::units::whole_seconds;
use std::collections::VecDeque;
use std::time::Duration;

/// How much slower the first handshakes after a start are, with `slow_start`.
const SLOW_START_FACTOR: f64 = 10.0;

/// An opening handshake that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// There are as many connections as may be.
    pub full: bool,
}

impl Refusal {
    /// There are as many connections as may be.
    pub const FULL: Refusal = Refusal { status: 503, retry_after: None, full: true };
}

/// Token bucket, full at first.
#[derive(Clone, Debug)]
pub struct Bucket {
    admit: Admit,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// A full one at `now`.
    pub fn new(admit: Admit, now: Duration) -> Bucket {
        Bucket { admit, tokens: f64::from(admit.burst), at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&mut self, now: Duration) -> Result<(), Refusal> {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.admit.rate.0;
        self.tokens = (self.tokens + gained).min(f64::from(self.admit.burst));
        self.at = now;
        if self.tokens < 1.0 {
            return Err(Refusal { status: self.admit.reject, retry_after: self.admit.retry_after.map(whole_seconds), full: false });
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

/// The service queue of one server: who waits, and until when each of its places is busy.
#[derive(Clone, Debug)]
pub struct ServiceQueue<T> {
    order: QueueOrder,
    started: Duration,
    slow: Option<Duration>,
    free: Vec<Duration>,
    waiting: VecDeque<(Duration, T)>,
}

impl<T> ServiceQueue<T> {
    /// An empty one of a server that started at `started`.
    pub fn new(order: QueueOrder, parallel: u32, slow: Option<Duration>, started: Duration) -> ServiceQueue<T> {
        ServiceQueue { order, started, slow, free: vec![started; parallel.max(1) as usize], waiting: VecDeque::new() }
    }

    /// Somebody begins to wait.
    pub fn join(&mut self, now: Duration, who: T) {
        self.waiting.push_back((now, who));
    }

    /// Who is next, with the time since which it has waited.
    pub fn take_next(&mut self) -> Option<(Duration, T)> {
        match self.order {
            QueueOrder::Fifo => self.waiting.pop_front(),
            QueueOrder::Lifo => self.waiting.pop_back(),
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Serves one that has waited since `arrived`, at a steady `cost`, which a slow start multiplies; returns begin and end. The place
    /// that is free first serves it: from when both were there, so a caller that comes late loses nothing.
    pub fn serve(&mut self, arrived: Duration, cost: Duration) -> (Duration, Duration) {
        let place = (0..self.free.len()).min_by_key(|place| self.free[*place]).unwrap_or(0);
        let begin = self.free[place].max(arrived);
        let end = begin.saturating_add(self.slowed(begin, cost));
        self.free[place] = end;
        (begin, end)
    }

    /// When the next place is free.
    pub fn free_at(&self) -> Duration {
        self.free.iter().copied().min().unwrap_or(self.started)
    }

    /// Everything that is under way takes so much longer, as in a process that was stopped at `now`.
    pub fn delay(&mut self, now: Duration, by: Duration) {
        self.free.iter_mut().for_each(|free| *free = (*free).max(now).saturating_add(by));
    }

    fn slowed(&self, now: Duration, cost: Duration) -> Duration {
        let age = now.saturating_sub(self.started);
        match self.slow {
            Some(slow) if age < slow => {
                let done = age.as_secs_f64() / slow.as_secs_f64();
                cost.mul_f64(SLOW_START_FACTOR - (SLOW_START_FACTOR - 1.0) * done)
            }
            _ => cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_bucket_refuses_with_its_status_and_refills() {
        let admit = Admit { rate: Rate(10.0), burst: 2, reject: 429, retry_after: Some(ms(3000)) };
        let mut bucket = Bucket::new(admit, ms(5));
        assert!(bucket.take(ms(5)).is_ok() && bucket.take(ms(5)).is_ok());
        assert_eq!(bucket.take(ms(5)), Err(Refusal { status: 429, retry_after: Some(ms(3000)), full: false }));
        assert!(bucket.take(ms(105)).is_ok());
    }

    #[test]
    fn places_are_busy_until_their_handshakes_are_done() {
        let mut line: ServiceQueue<char> = ServiceQueue::new(QueueOrder::Fifo, 2, None, ms(0));
        for (arrived, expected) in [(0, (0, 10)), (0, (0, 10)), (1, (10, 20)), (15, (15, 25)), (30, (30, 40))] {
            let (begin, end) = line.serve(ms(arrived), ms(10));
            assert_eq!((begin, end), (ms(expected.0), ms(expected.1)), "{arrived}");
        }
    }

    #[test]
    fn the_order_says_who_is_next() {
        for (order, expected) in [(QueueOrder::Fifo, "abc"), (QueueOrder::Lifo, "cba")] {
            let mut line = ServiceQueue::new(order, 1, None, ms(0));
            "abc".chars().for_each(|who| line.join(ms(0), who));
            assert_eq!(std::iter::from_fn(|| line.take_next()).map(|(_, who)| who).collect::<String>(), expected);
        }
    }

    #[test]
    fn a_slow_start_is_tenfold_and_falls_linearly() {
        for (age, cost) in [(0, 100), (500, 55), (1000, 10), (2000, 10)] {
            let mut line: ServiceQueue<()> = ServiceQueue::new(QueueOrder::Fifo, 1, Some(ms(1000)), ms(7000));
            let (begin, end) = line.serve(ms(7000 + age), ms(10));
            assert_eq!(end - begin, ms(cost), "{age}");
        }
    }
}
