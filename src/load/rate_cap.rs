//! Caps on load: of what begins, at most so many in any window of time. What would be more waits for its turn, first come, first served.

use crate::lock::lock;
use crate::plan::Shard;
use crate::plan::limits::{LoadCaps, window};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Mutex as FairMutex;
use tokio::time::sleep;

/// A start that waited no longer than this kept its time: so late is any start now and then.
const UNSEEN: Duration = Duration::from_millis(20);

/// Attempts: which began in the last window.
#[derive(Debug)]
struct RecentAttempts {
    most: usize,
    window: Duration,
    /// Offset of each, ascending; at most `most`.
    last: VecDeque<Duration>,
    /// When the next is due where they are spread evenly.
    even: Duration,
    /// Some had to wait: until there is room to spare they begin one by one, as a server that looks at any second should see no more, and its
    /// clock is not ours.
    spread: bool,
}

impl RecentAttempts {
    /// Counts one that may begin now.
    ///
    /// # Errors
    /// It may not before this offset.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        while self.last.front().is_some_and(|at| *at + self.window <= now) {
            self.last.pop_front();
        }
        self.spread &= self.even + UNSEEN > now;
        if self.last.len() >= self.most {
            self.spread = true;
            return Err(self.last.front().map_or(now, |oldest| *oldest + self.window).max(self.even));
        }
        if self.spread && self.even > now {
            return Err(self.even);
        }
        let gap = self.window.div_f64(self.most as f64);
        // Timers are late: what that cost is made up for.
        self.even = self.even.max(now.saturating_sub(UNSEEN)) + gap;
        self.last.push_back(now);
        Ok(())
    }
}

/// Messages: what was sent in the last window, and how much of it.
#[derive(Debug)]
struct RecentMessages {
    most: usize,
    most_bytes: u64,
    window: Duration,
    /// Offset and payload of each, ascending.
    last: VecDeque<(Duration, u64)>,
    bytes: u64,
}

impl RecentMessages {
    /// Counts a message that may go out now.
    ///
    /// # Errors
    /// It may not before this offset.
    fn take(&mut self, now: Duration, bytes: u64) -> Result<(), Duration> {
        while let Some((at, size)) = self.last.front()
            && *at + self.window <= now
        {
            self.bytes -= size;
            self.last.pop_front();
        }
        // One that is larger than all that may go out in a window goes out alone.
        let fits = |count: usize, held: u64| count < self.most && (held == 0 || held + bytes <= self.most_bytes);
        let (mut count, mut held, mut wait) = (self.last.len(), self.bytes, None);
        for (at, size) in &self.last {
            if fits(count, held) {
                break;
            }
            (count, held) = (count - 1, held - size);
            wait = Some(*at + self.window);
        }
        match wait {
            Some(free) => Err(free),
            None => {
                self.last.push_back((now, bytes));
                self.bytes += bytes;
                Ok(())
            }
        }
    }
}

/// The caps of a run, or of one process of it.
#[derive(Debug, Default)]
pub(crate) struct RateCap {
    attempts: Option<(FairMutex<RecentAttempts>, String)>,
    messages: Option<(Mutex<RecentMessages>, String)>,
}

impl RateCap {
    /// The part of a shard.
    pub(crate) fn of(caps: &LoadCaps, shard: Shard) -> RateCap {
        let attempts = caps.attempts.map(|(rate, who)| {
            let (most, window) = window(rate, shard);
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            let begun = RecentAttempts { most, window, last: VecDeque::new(), even: Duration::ZERO, spread: false };
            (FairMutex::new(begun), format!("connection attempts waited: at most {rate} are allowed ({who})"))
        });
        let messages = caps.messages.map(|(rate, bytes)| {
            let (most, window) = window(rate, shard);
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            let most_bytes = bytes.0 / u64::from(shard.of.max(1));
            let sent = RecentMessages { most, most_bytes, window, last: VecDeque::new(), bytes: 0 };
            let why = "the target is on another machine; --yes allows more";
            (Mutex::new(sent), format!("messages waited: at most {rate} and {bytes} per second are allowed ({why})"))
        });
        RateCap { attempts, messages }
    }

    /// Whether attempts may have to wait.
    pub(crate) fn holds_attempts(&self) -> bool {
        self.attempts.is_some()
    }

    /// Waits until an attempt may begin, behind those that came before. The words for it, where anybody would see that it waited.
    pub(crate) async fn attempt(&self, now: impl Fn() -> Duration) -> Option<&str> {
        let (begun, why) = self.attempts.as_ref()?;
        let asked = now();
        // Whoever is first waits with the lock in its hand: those behind it would wait longer.
        let mut begun = begun.lock().await;
        loop {
            let at = now();
            match begun.take(at) {
                Ok(()) => return (at > asked + UNSEEN).then_some(why),
                Err(later) => sleep(later.saturating_sub(at)).await,
            }
        }
    }

    /// Counts a message of so much payload that may go out now.
    ///
    /// # Errors
    /// It may not before this offset; and the words for it.
    pub(crate) fn message(&self, now: Duration, bytes: u32) -> Result<(), (Duration, &str)> {
        let Some((sent, why)) = &self.messages else { return Ok(()) };
        lock(sent).take(now, bytes.into()).map_err(|free| (free, why.as_str()))
    }

    /// How long after the last attempt none counts any more.
    pub(crate) async fn rest(&self) -> Duration {
        match &self.attempts {
            Some((begun, _)) => begun.lock().await.window,
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::limits::LoadLimits;
    use crate::units::{Bytes, Rate};
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn begun(rate: f64) -> RecentAttempts {
        let (most, window) = window(Rate(rate), Shard::WHOLE);
        RecentAttempts { most: most as usize, window, last: VecDeque::new(), even: Duration::ZERO, spread: false }
    }

    #[test]
    fn a_planned_burst_of_as_many_as_are_allowed_does_not_wait() {
        let mut cap = begun(50.0);
        assert!((0..50).all(|_| cap.take(ms(3)).is_ok()));
        assert_eq!(cap.take(ms(3)), Err(ms(1003)));
        // The next ones do not come in a burst again.
        assert_eq!((cap.take(ms(1003)), cap.take(ms(1003))), (Ok(()), Err(ms(1020))));
        // With room to spare they do.
        assert!((0..50).all(|_| cap.take(ms(5000)).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_longer_than_a_timer_is_late_is_told_why() {
        let cap = RateCap::of(&LoadLimits { elsewhere: true, max_rate: None }.caps(false), Shard::WHOLE);
        let start = tokio::time::Instant::now();
        for attempt in 0..50 {
            assert_eq!(cap.attempt(|| start.elapsed()).await, None, "{attempt}");
        }
        let why = cap.attempt(|| start.elapsed()).await.expect("it waited");
        assert!(why.contains("50/s") && why.contains("--yes"), "{why}");
        assert!(start.elapsed() >= Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_is_allowed(rate in 1_u32..80, gaps in proptest::collection::vec((0_u64..60, 0_u64..30), 1..400)) {
            let mut cap = begun(rate.into());
            let (mut now, mut starts) = (Duration::ZERO, Vec::new());
            for (gap, late) in gaps {
                now += ms(gap);
                while let Err(later) = cap.take(now) {
                    prop_assert!(later > now, "it says a time to come");
                    now = later + ms(late);
                }
                starts.push(now);
            }
            for (index, from) in starts.iter().enumerate() {
                let within = starts[index..].iter().take_while(|start| **start < *from + Duration::from_secs(1)).count();
                prop_assert!(within <= rate as usize, "{within} of {rate} from {from:?}");
            }
        }

        #[test]
        fn messages_keep_to_both_limits(sizes in proptest::collection::vec(0_u64..2000, 1..300), gap in 0_u64..30) {
            let (most, most_bytes, second) = (20, 5000, Duration::from_secs(1));
            let mut sent = RecentMessages { most, most_bytes, window: second, last: VecDeque::new(), bytes: 0 };
            let (mut now, mut out) = (Duration::ZERO, Vec::new());
            for size in sizes {
                now += ms(gap);
                while let Err(free) = sent.take(now, size) {
                    prop_assert!(free > now, "it says a time to come");
                    now = free;
                }
                out.push((now, size));
            }
            for (index, (from, _)) in out.iter().enumerate() {
                let within: Vec<u64> = out[index..].iter().take_while(|(at, _)| *at < *from + second).map(|(_, size)| *size).collect();
                prop_assert!(within.len() <= most && within.iter().sum::<u64>() <= most_bytes);
            }
        }
    }

    #[test]
    fn bytes_are_divided_over_parts() {
        let caps = LoadCaps { attempts: None, messages: Some((Rate(1000.0), Bytes(1 << 20))) };
        let cap = RateCap::of(&caps, Shard { index: 1, of: 4 });
        assert!(cap.message(ms(0), 200_000).is_ok());
        let (free, why) = cap.message(ms(0), 100_000).expect_err("too much");
        assert_eq!(free, Duration::from_secs(1));
        assert!(why.contains("1MiB"), "{why}");
    }
}
