//! One direction of a shaped connection: bytes wait here until their schedule lets them go on.
//!
//! Exists only while a fault shapes the direction, and until it has run empty afterwards.

use crate::fault::shape::{Memory, Shape};
use crate::seed::Stream;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that may wait before back-pressure.
const WAITING_MAX: usize = 4 << 20;

/// Bytes on their way.
#[derive(Debug)]
pub struct Lane {
    shape: Shape,
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

impl Lane {
    /// An empty one.
    pub fn new(shape: Shape, random: Stream) -> Self {
        Lane {
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
    pub fn reshape(&mut self, shape: Shape) {
        let now = Instant::now();
        if shape.is_open() {
            for (due, _) in &mut self.queue {
                *due = (*due).min(now);
            }
            self.ended = self.ended.map(|due| due.min(now));
            self.memory = Memory::default();
        } else if self.shape.hold && !shape.hold {
            self.queue.iter_mut().for_each(|(due, _)| *due = (*due).min(now));
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
        self.waiting < WAITING_MAX && self.ended.is_none()
    }

    /// Bytes that were damaged.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes a chunk in.
    pub fn push(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let mut bytes = bytes.to_vec();
        self.damaged += self.shape.damage(&mut bytes, &mut self.random) as u64;
        let mut rest = &bytes[..];
        for piece in self.shape.schedule(&mut self.memory, now - self.begun, bytes.len(), &mut self.random) {
            let due = self.begun.checked_add(piece.due).unwrap_or_else(|| now + std::time::Duration::from_secs(86_400 * 365));
            let (these, others) = rest.split_at(piece.bytes);
            self.queue.push_back((due, these.iter().copied().collect()));
            rest = others;
        }
        self.waiting += bytes.len();
    }

    /// Takes the end of the stream in, behind everything.
    pub fn end(&mut self) {
        let last = self.queue.back().map_or_else(Instant::now, |(due, _)| *due);
        self.ended = Some(last.max(Instant::now() + if self.queue.is_empty() { self.shape.latency } else { std::time::Duration::ZERO }));
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
