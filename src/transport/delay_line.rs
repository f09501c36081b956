//! One direction of a shaped connection: bytes wait here until their schedule lets them go on.
//!
//! Exists only while a fault shapes the direction, and until it has run empty afterwards.

use crate::fault::shape::{Memory, PathShape};
use crate::seed::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that may wait before back-pressure.
const WAITING_MAX: usize = 4 << 20;
/// Pieces that may wait before back-pressure: each has some memory of its own, however small it is.
const PIECES_MAX: usize = 1 << 16;
/// Taken in at once at most.
const CHUNK_MAX: usize = 64 << 10;
/// Bytes that are held are due as late as this: longer than any run.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// Bytes on their way.
#[derive(Debug)]
pub struct DelayLine {
    shape: PathShape,
    memory: Memory,
    random: Stream,
    begun: Instant,
    queue: VecDeque<(Instant, VecDeque<u8>)>,
    waiting: usize,
    /// The end of the stream waits behind the bytes.
    ended: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    damaged: u64,
}

impl DelayLine {
    /// An empty one.
    pub fn new(shape: PathShape, random: Stream) -> Self {
        DelayLine {
            shape,
            memory: Memory::default(),
            random,
            begun: Instant::now(),
            queue: VecDeque::new(),
            waiting: 0,
            ended: None,
            timer: None,
            damaged: 0,
        }
    }

    /// Another shape from now on. What was held, or late by the old one, is due now if the new one is open.
    pub fn reshape(&mut self, shape: PathShape) {
        let now = Instant::now();
        if shape.is_open() {
            for (due, _) in &mut self.queue {
                *due = (*due).min(now);
            }
            self.ended = self.ended.map(|due| due.min(now));
            self.memory = Memory::default();
        } else if self.shape.hold && !shape.hold {
            self.queue.iter_mut().for_each(|(due, _)| *due = (*due).min(now));
            self.ended = self.ended.map(|due| due.min(now));
        }
        self.shape = shape;
    }

    /// Whether it has nothing to do and nothing waiting.
    pub fn is_idle(&self) -> bool {
        self.shape.is_open() && self.is_empty()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.ended.is_none()
    }

    /// Whether it takes more bytes.
    pub fn has_room(&self) -> bool {
        self.waiting < WAITING_MAX && self.queue.len() < PIECES_MAX && self.ended.is_none()
    }

    /// Bytes that were damaged.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes in what it can of a chunk; returns how much.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let now = Instant::now();
        let mut bytes = bytes[..bytes.len().min(CHUNK_MAX)].to_vec();
        self.damaged += self.shape.damage(&mut bytes, &mut self.random) as u64;
        let mut rest = &bytes[..];
        for piece in self.shape.schedule(&mut self.memory, now - self.begun, bytes.len(), &mut self.random) {
            let (these, others) = rest.split_at(piece.bytes);
            self.queue.push_back((self.at(piece.due, now), these.iter().copied().collect()));
            rest = others;
        }
        self.waiting += bytes.len();
        bytes.len()
    }

    /// Takes the end of the stream in, once: behind everything, and as late as a byte would be.
    pub fn end(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let now = Instant::now();
        let piece = self.shape.schedule(&mut self.memory, now - self.begun, 1, &mut self.random);
        let due = piece.last().map_or(now, |piece| self.at(piece.due, now));
        self.ended = Some(self.queue.back().map_or(due, |(last, _)| due.max(*last)));
    }

    fn at(&self, due: Duration, now: Instant) -> Instant {
        self.begun.checked_add(due).filter(|at| *at < now + NEVER).unwrap_or_else(|| now + NEVER)
    }

    /// How long the last of what waits will take; zero if nothing does.
    pub fn queued_delay(&self) -> Duration {
        let last = self.ended.or(self.queue.back().map(|(due, _)| *due));
        last.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    /// The end of the stream went on.
    pub fn ended(&mut self) {
        self.ended = None;
    }

    /// The bytes that may go on now; `Ready(None)`: the end. Pending wakes the task when the next are due.
    pub fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Option<&[u8]>> {
        let due = match (self.queue.front(), self.ended) {
            (Some((due, _)), _) => *due,
            (None, Some(due)) => due,
            (None, None) => return Poll::Pending,
        };
        if due > Instant::now() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            std::task::ready!(timer.as_mut().poll(cx));
        }
        match self.queue.front_mut() {
            Some((_, bytes)) => Poll::Ready(Some(bytes.make_contiguous())),
            None => Poll::Ready(None),
        }
    }

    /// Says that so many of the bytes that are due went on.
    pub fn advance(&mut self, count: usize) {
        if let Some((_, bytes)) = self.queue.front_mut() {
            bytes.drain(..count);
            self.waiting -= count;
            if bytes.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use std::future::poll_fn;
    use std::task::Waker;
    use tokio::time::advance;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn lane(shape: PathShape) -> DelayLine {
        DelayLine::new(shape, Seed(1).stream("lane"))
    }

    /// What is due now.
    fn due(lane: &mut DelayLine) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(bytes)) = lane.poll_due(&mut cx) {
            let bytes = bytes.to_vec();
            lane.advance(bytes.len());
            all.extend(bytes);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_as_late_as_bytes_are_and_behind_them() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut lane = lane(PathShape { latency: MS(100), ..PathShape::default() });
        lane.push(b"one");
        lane.end();
        advance(MS(99)).await;
        assert_eq!(due(&mut lane), b"");
        advance(MS(2)).await;
        assert_eq!(due(&mut lane), b"one");
        assert_eq!(lane.poll_due(&mut cx), Poll::Ready(None));
        lane.ended();
        lane.end();
        assert!(lane.poll_due(&mut cx).is_pending(), "alone it is late too");
        assert_eq!(lane.queued_delay(), MS(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_keeps_the_end_too_and_another_shape_lets_it_go() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut lane = lane(PathShape { hold: true, ..PathShape::default() });
        lane.push(b"one");
        lane.end();
        advance(Duration::from_secs(3600)).await;
        assert_eq!(due(&mut lane), b"");
        lane.reshape(PathShape { latency: MS(5), ..PathShape::default() });
        assert_eq!(due(&mut lane), b"one");
        assert_eq!(lane.poll_due(&mut cx), Poll::Ready(None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_wait_is_bounded_in_bytes_and_in_pieces() {
        for shape in [PathShape { hold: true, ..PathShape::default() }, PathShape { slice: 1, slice_gap: MS(1), ..PathShape::default() }] {
            let mut lane = lane(shape);
            let chunk = vec![0; 1 << 20];
            while lane.has_room() {
                assert_eq!(lane.push(&chunk), CHUNK_MAX);
            }
            assert!(lane.waiting <= WAITING_MAX + CHUNK_MAX && lane.queue.len() <= PIECES_MAX + CHUNK_MAX);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_lane_has_no_timer_running() {
        let mut lane = lane(PathShape { latency: MS(100), ..PathShape::default() });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(lane.poll_due(&mut cx).is_pending() && lane.timer.is_none());
        lane.push(b"one");
        poll_fn(|cx| lane.poll_due(cx).map(drop)).await;
        lane.advance(3);
        assert!(lane.poll_due(&mut cx).is_pending());
        assert!(lane.timer.as_ref().is_none_or(|timer| timer.is_elapsed()));
    }
}
