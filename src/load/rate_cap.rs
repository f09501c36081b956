//! Caps on load: of what begins, at most so many in any window of time. What would be more waits for its turn, first come, first served.

use crate::plan::Shard;
use crate::plan::limits::{LoadCaps, SendCaps, window};
use crate::transport::send_limit::{SendLimit, SendRate};
use crate::units::Rate;
use std::collections::VecDeque;
use std::sync::Arc;
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

/// The caps of a run, or of one process of it.
#[derive(Debug, Default)]
pub(crate) struct RateCap {
    attempts: Option<(FairMutex<RecentAttempts>, String)>,
    /// Frames, writes and bytes.
    pub(crate) sends: Option<Arc<SendLimit>>,
}

impl RateCap {
    /// The part of a shard. `waits` gets the words for what clients send, whenever some of it has to wait.
    pub(crate) fn of(caps: &LoadCaps, shard: Shard, waits: impl Fn(&str) + Send + Sync + 'static) -> RateCap {
        let attempts = caps.attempts.map(|(rate, who)| {
            let (most, window) = window(rate, shard);
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            let begun = RecentAttempts { most, window, last: VecDeque::new(), even: Duration::ZERO, spread: false };
            (FairMutex::new(begun), format!("connection attempts waited: at most {rate} are allowed ({who})"))
        });
        let sends = caps.sends.map(|SendCaps { frames, writes, bytes }| {
            let rate = |rate| {
                let (most, window) = window(rate, shard);
                SendRate { most, window }
            };
            let why = "the target is on another machine; --yes allows more";
            let words =
                format!("messages waited: at most {} frames, {} writes and {bytes} per second are allowed ({why})", frames.0, writes.0);
            let each = (rate(frames), rate(writes), rate(Rate(bytes.0 as f64)));
            Arc::new(SendLimit::new(each.0, each.1, each.2, move || waits(&words)))
        });
        RateCap { attempts, sends }
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
        let cap = RateCap::of(&LoadLimits { elsewhere: true, max_rate: None }.caps(false), Shard::WHOLE, |_| ());
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
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_is_divided_over_parts() {
        let caps = LoadLimits { elsewhere: true, max_rate: None }.caps(false);
        let told = Arc::new(std::sync::Mutex::new(String::new()));
        let words = told.clone();
        let cap = RateCap::of(&caps, Shard { index: 1, of: 4 }, move |why| why.clone_into(&mut words.lock().expect("no panic")));
        let (sends, begun) = (cap.sends.expect("another machine"), tokio::time::Instant::now());
        sends.frames(250).await;
        assert_eq!((begun.elapsed(), &**told.lock().expect("no panic")), (Duration::ZERO, ""));
        sends.frames(1).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let told = told.lock().expect("no panic");
        assert!(told.contains("1000 frames, 2000 writes and 1MiB per second"), "{told}");
    }
}
