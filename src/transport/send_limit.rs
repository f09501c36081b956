//! A limit on what all connections of a process send together: frames, writes to the kernel and bytes. Who would be over it waits for a turn
//! of its own, first come, first served.
//!
//! Bytes and writes are counted where the kernel takes them, so opening requests, TLS, pings and what faults send are among them; frames where
//! [`Tap`](crate::ws::frame_tap) hands them down.

use crate::lock::lock;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What waited no longer than this kept its time: so late is any timer now and then.
const UNSEEN: Duration = Duration::from_millis(20);
/// What has its turn within this time stands in one entry.
const GRAIN: Duration = Duration::from_millis(1);
/// Bytes that have one turn, at most.
const WRITE_MAX: usize = 16 * 1024;

/// How much may begin in any window of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendRate {
    pub(crate) most: u64,
    pub(crate) window: Duration,
}

/// Turns of one sort: those of the last window, and those that are given out already.
#[derive(Debug)]
struct Turns {
    rate: SendRate,
    /// The first and the last turn of an entry, and how much they have; ascending.
    given: VecDeque<(Instant, Instant, u64)>,
    sum: u64,
    /// When the next is due where turns are spread evenly.
    even: Instant,
    /// Some had to wait: until there is room to spare they begin one by one, as a peer that looks at any second should see no more, and its
    /// clock is not ours.
    spread: bool,
}

impl Turns {
    fn new(rate: SendRate) -> Turns {
        let rate = SendRate { most: rate.most.max(1), ..rate };
        Turns { rate, given: VecDeque::new(), sum: 0, even: Instant::now(), spread: false }
    }

    /// When so much may begin, behind all that has a turn.
    fn free(&self, now: Instant, much: u64) -> Instant {
        let mut at = self.given.back().map_or(now, |(_, last, _)| now.max(*last));
        if self.spread && self.even + UNSEEN > now {
            at = at.max(self.even);
        }
        let mut sum = self.sum;
        for (_, last, held) in &self.given {
            if *last + self.rate.window > at {
                // More than goes in a window goes alone.
                if sum + much <= self.rate.most {
                    break;
                }
                at = *last + self.rate.window;
            }
            sum -= held;
        }
        at
    }

    /// Gives out a turn.
    fn take(&mut self, now: Instant, much: u64) -> Instant {
        let at = self.free(now, much);
        // Nothing comes before it any more: what is over by then is over for good.
        while let Some((_, _, held)) = self.given.front().filter(|(_, last, _)| *last + self.rate.window <= at) {
            self.sum -= held;
            self.given.pop_front();
        }
        self.spread = at > now || self.spread && self.even + UNSEEN > now;
        let gap = self.rate.window.mul_f64(much as f64 / self.rate.most as f64);
        // Timers are late: what that cost is made up for.
        self.even = self.even.max(at.checked_sub(UNSEEN).unwrap_or(at)) + gap;
        self.sum += much;
        match self.given.back_mut() {
            Some((first, last, held)) if at < *first + GRAIN => (*last, *held) = (at, *held + much),
            _ => self.given.push_back((at, at, much)),
        }
        at
    }
}

/// What of a connection has a turn.
#[derive(Clone, Copy, Debug)]
enum Load {
    Frames(u32),
    /// One write of so many bytes.
    Write(usize),
}

#[derive(Debug)]
struct All {
    frames: Turns,
    writes: Turns,
    bytes: Turns,
}

/// The limit that all connections of a process share.
pub(crate) struct SendLimit {
    all: Mutex<All>,
    /// Told whenever something has to wait.
    waits: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for SendLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendLimit").field(&self.all).finish()
    }
}

impl SendLimit {
    /// So much in any window; `waits` is called whenever something has to wait.
    pub(crate) fn new(frames: SendRate, writes: SendRate, bytes: SendRate, waits: impl Fn() + Send + Sync + 'static) -> SendLimit {
        let all = All { frames: Turns::new(frames), writes: Turns::new(writes), bytes: Turns::new(bytes) };
        SendLimit { all: Mutex::new(all), waits: Box::new(waits) }
    }

    /// Whether a message of so many bytes could begin now. It has no turn by that.
    ///
    /// # Errors
    /// It could not before this time.
    pub(crate) fn has_room(&self, bytes: usize) -> Result<(), Instant> {
        let now = Instant::now();
        let all = lock(&self.all);
        let free = all.frames.free(now, 1).max(all.bytes.free(now, bytes.min(WRITE_MAX) as u64));
        drop(all);
        if free <= now {
            return Ok(());
        }
        (self.waits)();
        Err(free)
    }

    /// Waits until so many frames may begin.
    pub(crate) async fn frames(&self, count: u32) {
        if let Some(at) = self.take(Load::Frames(count)) {
            sleep_until(at).await;
        }
    }

    /// Waits until one write of so many bytes may begin.
    pub(crate) async fn write(&self, bytes: usize) {
        if let Some(at) = self.take(Load::Write(bytes)) {
            sleep_until(at).await;
        }
    }

    /// Gives out a turn. When it is, if it is not now.
    fn take(&self, load: Load) -> Option<Instant> {
        let now = Instant::now();
        let mut all = lock(&self.all);
        let at = match load {
            Load::Frames(count) => all.frames.take(now, count.into()),
            Load::Write(bytes) => all.writes.take(now, 1).max(all.bytes.take(now, bytes as u64)),
        };
        drop(all);
        if at <= now {
            return None;
        }
        (self.waits)();
        Some(at)
    }
}

/// How one connection waits for its turns.
#[derive(Debug)]
pub(crate) struct SendTurns {
    limit: Arc<SendLimit>,
    frame: Option<Turn>,
    write: Option<Turn>,
}

/// A turn that is to come, or is now.
#[derive(Debug)]
struct Turn {
    wait: Option<Pin<Box<Sleep>>>,
    /// Bytes of it that are not written.
    left: usize,
}

impl Turn {
    fn of(limit: &SendLimit, load: Load, left: usize) -> Turn {
        Turn { wait: limit.take(load).map(|at| Box::pin(sleep_until(at))), left }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        Poll::Ready(self.left)
    }
}

impl SendTurns {
    pub(crate) fn new(limit: Arc<SendLimit>) -> SendTurns {
        SendTurns { limit, frame: None, write: None }
    }

    /// Ready when one more frame may begin, until it [has](SendTurns::frame_begun).
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.frame.get_or_insert_with(|| Turn::of(&self.limit, Load::Frames(1), 1)).poll(cx).map(drop)
    }

    /// The frame has begun, or goes on.
    pub(crate) fn frame_begun(&mut self) {
        self.frame = None;
    }

    /// Ready with how many of `bytes` may be handed to the kernel now; tell how many of them [were](SendTurns::written).
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<usize> {
        let part = bytes.min(WRITE_MAX);
        let left = ready!(self.write.get_or_insert_with(|| Turn::of(&self.limit, Load::Write(part), part)).poll(cx));
        Poll::Ready(bytes.min(left))
    }

    /// The kernel took so many of them.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.write = self.write.take().filter(|turn| turn.left > bytes).map(|turn| Turn { left: turn.left - bytes, ..turn });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    fn within(turns: &[(Instant, u64)], from: Instant) -> impl Iterator<Item = u64> {
        turns.iter().filter(move |(at, _)| (from..from + SECOND).contains(at)).map(|(_, much)| *much)
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_is_allowed(most in 1_u64..3000, asked in proptest::collection::vec((0_u64..40, 1_u64..400), 1..300)) {
            let mut turns = Turns::new(SendRate { most, window: SECOND });
            let (mut now, mut given) = (Instant::now(), Vec::new());
            for (gap, much) in asked {
                now += Duration::from_millis(gap);
                let free = turns.free(now, much / 2);
                let at = turns.take(now, much);
                prop_assert!(free <= at);
                prop_assert!(at >= now && given.last().is_none_or(|(last, _)| *last <= at), "in the order in which they came");
                given.push((at, much));
            }
            for (index, (from, first)) in given.iter().enumerate() {
                let sum: u64 = within(&given[index..], *from).sum();
                // More than goes in a window goes alone.
                prop_assert!(sum <= most || sum == *first, "{sum} of {most}");
            }
        }
    }

    #[test]
    fn a_burst_of_as_much_as_is_allowed_does_not_wait_and_then_turns_are_even() {
        let (mut turns, now) = (Turns::new(SendRate { most: 50, window: SECOND }), Instant::now());
        assert!((0..50).all(|_| turns.take(now, 1) == now));
        let (next, then) = (turns.take(now, 1), turns.take(now, 1));
        assert!(next >= now + SECOND && then >= next + Duration::from_millis(19), "{next:?} {then:?}");
        let later = now + 5 * SECOND;
        assert!((0..50).all(|_| turns.take(later, 1) == later), "with room to spare they begin at once");
    }

    #[test]
    fn what_is_kept_does_not_grow_with_small_writes() {
        let (mut turns, now) = (Turns::new(SendRate { most: 1 << 20, window: SECOND }), Instant::now());
        for byte in 0..1_200_000 {
            turns.take(now + Duration::from_nanos(1900 * byte), 1);
        }
        assert!(turns.given.len() <= 1002, "{}", turns.given.len());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_of_and_frames_and_bytes_have_turns_of_their_own() {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = told.clone();
        let rate = |most| SendRate { most, window: SECOND };
        let limit = SendLimit::new(rate(10), rate(100), rate(1000), move || {
            tell.fetch_add(1, Ordering::Relaxed);
        });
        let limit = Arc::new(limit);
        let begun = Instant::now();
        limit.frames(10).await;
        assert_eq!((begun.elapsed(), told.load(Ordering::Relaxed)), (Duration::ZERO, 0));
        let mut turn = SendTurns::new(limit.clone());
        let may = std::future::poll_fn(|cx| turn.poll_write(cx, 900)).await;
        assert_eq!((may, begun.elapsed()), (900, Duration::ZERO), "bytes are counted apart from frames");
        turn.written(900);
        assert!(limit.has_room(1).is_err());
        limit.frames(1).await;
        assert!(begun.elapsed() >= SECOND && told.load(Ordering::Relaxed) == 2);
        assert_eq!(std::future::poll_fn(|cx| turn.poll_write(cx, 100)).await, 100);
    }
}
