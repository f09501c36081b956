//! One direction of a connection whose frames are meddled with: whole frames are lost, doubled, damaged, or wait and are overtaken.
//!
//! Exists only while a fault asks for it, and until it has run empty afterwards. Bytes come in as they were cut and go out in whole
//! frames. It never holds anything for good: what waits has a due time, what is too long to wait passes, and a Close frame pushes out
//! what waits before it.

use crate::fault::CLOSE;
use crate::fault::{Meddle, Meddling};
use crate::seed::Stream;
use crate::ws::frame::Scanner;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest frame that is meddled with otherwise than by dropping it; a longer one passes as it comes.
const FRAME_MAX: usize = 1 << 20;
/// Bytes that may wait for their time; beyond them what is due first goes on early.
const WAITING_MAX: usize = 4 << 20;
/// Frames that may wait for their time: small ones cost more than their bytes.
const WAITING_FRAMES_MAX: usize = 4096;
/// Bytes ready to go on, before back-pressure.
const READY_MAX: usize = 256 << 10;

/// Frames on their way.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    rules: Vec<Meddle>,
    random: Stream,
    scanner: Scanner,
    fate: Fate,
    /// What has come of a frame that is not to pass as it comes.
    frame: Vec<u8>,
    /// In the order in which they are due, and came.
    waiting: BTreeMap<QueuePlace, Vec<u8>>,
    waiting_bytes: usize,
    /// Frames that had to wait so far.
    waited: u64,
    /// The one that waits to be overtaken, until so many frames went on.
    behind: Option<(u64, QueuePlace)>,
    ready: VecDeque<u8>,
    /// Frames that went on.
    passed: u64,
    /// Frames of messages that did not pass as they came.
    meddled: u64,
    /// A frame of any sort did not pass as it came since the last look.
    touched: bool,
    ended: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What becomes of the frame that is coming in.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Its bytes go on as they come.
    streams: bool,
    drops: bool,
    doubles: bool,
    /// Bits of its payload.
    flips: u32,
    inverts: bool,
    waits: Option<Duration>,
    by: Option<u32>,
}

/// When a frame is due, and how many waited before it.
type QueuePlace = (Instant, u64);

impl FrameQueue {
    /// An empty one. `scanner` stands where the stream does: a frame whose beginning is gone already passes.
    pub(crate) fn new(rules: Vec<Meddle>, random: Stream, scanner: Scanner) -> Self {
        FrameQueue {
            rules,
            random,
            scanner,
            fate: Fate { streams: true, ..Fate::default() },
            frame: Vec::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            waited: 0,
            behind: None,
            ready: VecDeque::new(),
            passed: 0,
            meddled: 0,
            touched: false,
            ended: false,
            timer: None,
        }
    }

    /// Other rules from now on. Without rules what waits is due now.
    pub(crate) fn change(&mut self, rules: Vec<Meddle>) {
        self.rules = rules;
        if self.rules.is_empty() && !self.streams() {
            self.release_all();
        }
    }

    /// Whether it has nothing to do and nothing in it, so that bytes may pass by it.
    pub(crate) fn is_idle(&self) -> bool {
        self.rules.is_empty() && self.is_empty() && self.frame.is_empty() && !self.fate.drops && !self.ended
    }

    /// Whether the end of the stream was taken in.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }

    /// Frames of messages, not control frames, that did not pass as they came.
    pub(crate) fn meddled(&self) -> u64 {
        self.meddled
    }

    /// Whether a frame of any sort did not pass as it came since the last call.
    pub(crate) fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// Whether it takes more bytes.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.len() < READY_MAX && !self.ended
    }

    /// Takes in bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let piece = self.scanner.piece(&bytes[at..]);
            let these = &bytes[at..at + piece.len];
            at += piece.len;
            if piece.begins {
                self.fate = self.draw(piece.opcode);
            }
            if self.fate.drops {
                // Gone.
            } else if self.fate.streams {
                self.ready.extend(these);
            } else {
                self.frame.extend_from_slice(these);
                if self.frame.len() > FRAME_MAX {
                    self.ready.extend(std::mem::take(&mut self.frame));
                    self.fate = Fate { streams: true, ..Fate::default() };
                }
            }
            if piece.ends {
                self.end_frame();
            }
        }
    }

    /// Takes in the end of the stream: what waits goes on before it.
    pub(crate) fn end(&mut self) {
        if self.streams() {
            // The stream was cut inside a frame: behind that they would be taken for its payload.
            self.waiting.clear();
            self.behind = None;
        }
        self.release_all();
        self.ready.extend(std::mem::take(&mut self.frame));
        self.ended = true;
    }

    /// Draws what becomes of a frame.
    fn draw(&mut self, opcode: u8) -> Fate {
        let mut fate = Fate::default();
        if opcode == CLOSE {
            self.release_all();
            return Fate { streams: true, ..fate };
        }
        for rule in &self.rules {
            if !rule.applies(opcode) || self.random.unit() >= rule.chance {
                continue;
            }
            match rule.how {
                // Those behind a frame that waits to be overtaken are the ones to overtake it.
                Meddling::Reorder { .. } if self.behind.is_some() => {}
                Meddling::Drop => fate.drops = true,
                Meddling::Duplicate => fate.doubles = true,
                Meddling::Reorder { by, within } => {
                    fate.by = Some(by.max(fate.by.unwrap_or(0)));
                    fate.waits = Some(within.max(fate.waits.unwrap_or_default()));
                }
                Meddling::Corrupt { bits } => fate.flips = fate.flips.saturating_add(bits),
                Meddling::Invert => fate.inverts = true,
                Meddling::Delay(delay) => fate.waits = Some(fate.waits.unwrap_or_default() + delay),
            }
        }
        let touched = fate.drops || fate.doubles || fate.inverts || fate.flips > 0 || fate.waits.is_some();
        self.meddled += u64::from(touched && opcode < CLOSE);
        self.touched |= touched;
        Fate { streams: !touched, ..fate }
    }

    fn end_frame(&mut self) {
        let (fate, mut frame) = (std::mem::take(&mut self.fate), std::mem::take(&mut self.frame));
        if fate.drops {
            return;
        }
        if fate.flips > 0 {
            flip(&mut frame[usize::from(self.scanner.header_length())..], fate.flips, &mut self.random);
        }
        if fate.inverts {
            invert(&mut frame, usize::from(self.scanner.header_length()));
        }
        if fate.doubles {
            frame.extend_from_within(..);
        }
        match fate.waits {
            Some(wait) => {
                self.waiting_bytes += frame.len();
                let place = (Instant::now() + wait, self.waited);
                self.waited += 1;
                if let Some(by) = fate.by {
                    self.behind = Some((self.passed + u64::from(by), place));
                }
                self.waiting.insert(place, frame);
                while self.waiting_bytes > WAITING_MAX || self.waiting.len() > WAITING_FRAMES_MAX {
                    self.release_first();
                }
            }
            None => {
                self.ready.extend(frame);
                self.count_passed();
            }
        }
        self.release_due();
    }

    /// A frame went on; the one that it was the last to overtake follows.
    fn count_passed(&mut self) {
        self.passed += 1;
        if let Some((_, place)) = self.behind.filter(|(after, _)| *after <= self.passed) {
            self.release(place);
        }
    }

    fn release(&mut self, place: QueuePlace) {
        if let Some(bytes) = self.waiting.remove(&place) {
            self.waiting_bytes -= bytes.len();
            self.ready.extend(bytes);
        }
        if self.behind.is_some_and(|(_, behind)| behind == place) {
            self.behind = None;
        }
    }

    /// What is due first goes on; whether there was anything.
    fn release_first(&mut self) -> bool {
        let first = self.waiting.keys().next().copied();
        first.into_iter().for_each(|place| self.release(place));
        first.is_some()
    }

    fn release_all(&mut self) {
        while self.release_first() {}
        self.waiting_bytes = 0;
    }

    /// The stream that goes out stands inside a frame that passes as it comes.
    fn streams(&self) -> bool {
        self.scanner.mid_frame() && self.fate.streams
    }

    /// What is due goes on, in the order of due times; never into the middle of a frame.
    fn release_due(&mut self) {
        let now = Instant::now();
        while !self.streams() {
            if self.waiting.keys().next().is_none_or(|(due, _)| *due > now && !self.rules.is_empty()) {
                return;
            }
            self.release_first();
        }
    }

    /// The bytes that may go on now; `Ready(None)`: the end. Pending wakes the task when more are due.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Option<&[u8]>> {
        loop {
            self.release_due();
            if !self.ready.is_empty() {
                return Poll::Ready(Some(self.ready.make_contiguous()));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.streams() {
                return Poll::Pending;
            }
            let Some((due, _)) = self.waiting.keys().next().copied() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            std::task::ready!(timer.as_mut().poll(cx));
        }
    }

    /// Says that so many of the ready bytes went on.
    pub(crate) fn advance(&mut self, count: usize) {
        self.ready.drain(..count);
    }
}

/// Inverts a payload, whether it is masked or not; gives one byte to a frame that has none.
fn invert(frame: &mut Vec<u8>, header: usize) {
    if frame.len() == header {
        frame[1] |= 1;
        frame.push(0);
    } else {
        frame[header..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Flips so many bits, each another one, or all that there are. Whether they are masked makes no difference.
fn flip(payload: &mut [u8], bits: u32, random: &mut Stream) {
    let all = payload.len() as u64 * 8;
    let mut chosen = BTreeSet::new();
    // Floyd's algorithm: as many draws as there are bits to choose.
    for last in all.saturating_sub(bits.into())..all {
        let bit = random.below(last + 1);
        if !chosen.insert(bit) {
            chosen.insert(last);
        }
    }
    for bit in chosen {
        payload[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Frame, PING, PONG, TEXT};
    use crate::seed::Seed;
    use crate::ws::frame::encode;
    use std::task::Waker;
    use tokio::time::advance;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const DATA: u16 = 0b111;

    fn frames(how: Meddling) -> FrameQueue {
        let rules = vec![Meddle { chance: 1.0, opcodes: DATA, how }];
        FrameQueue::new(rules, Seed(1).stream("frames"), Scanner::default())
    }

    fn text(text: &str) -> Vec<u8> {
        encode(&Frame::new(TEXT, text), None)
    }

    fn out(frames: &mut FrameQueue) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(bytes)) = frames.poll_ready(&mut cx) {
            let bytes = bytes.to_vec();
            frames.advance(bytes.len());
            all.extend(bytes);
        }
        all
    }

    /// Pushes byte by byte: cuts must not matter.
    fn push(frames: &mut FrameQueue, bytes: &[u8]) {
        bytes.chunks(1).for_each(|byte| frames.push(byte));
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_frames_are_gone_whole_and_the_rest_is_untouched() {
        let mut lane = frames(Meddling::Drop);
        let (ping, pong) = (encode(&Frame::new(PING, "a"), None), encode(&Frame::new(PONG, "b"), None));
        push(&mut lane, &[text("one"), ping.clone(), text("two"), pong.clone(), encode(&Frame::close(Some(1000), b""), None)].concat());
        assert_eq!(out(&mut lane), [ping, pong, encode(&Frame::close(Some(1000), b""), None)].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn doubled_frames_come_twice_in_a_row() {
        let mut lane = frames(Meddling::Duplicate);
        push(&mut lane, &[text("one"), text("two")].concat());
        assert_eq!(out(&mut lane), [text("one"), text("one"), text("two"), text("two")].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn an_inverted_frame_differs_in_every_byte_of_its_payload_and_has_at_least_one() {
        for mask in [None, Some([1, 2, 3, 4])] {
            let mut lane = frames(Meddling::Invert);
            lane.rules[0].opcodes = 1 << PONG;
            let pong = |payload: &[u8]| encode(&Frame::new(PONG, payload), mask);
            push(&mut lane, &[pong(b"ping"), pong(b""), text("one")].concat());
            let mut one = pong(b"");
            one[1] |= 1;
            one.push(0);
            assert_eq!(out(&mut lane), [pong(&[!b'p', !b'i', !b'n', !b'g']), one, text("one")].concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn damaged_frames_keep_their_headers_and_differ_in_as_many_bits_as_asked() {
        let flipped = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
        for (mask, length, header, bits) in [
            (None, 5, 2, 3),
            (Some([1, 2, 3, 4]), 5, 6, 3),
            (Some([9; 4]), 300, 8, 1000),
            (None, 70_000, 10, 1),
            (None, 2, 2, 16),
            (None, 0, 2, 0),
        ] {
            let mut lane = frames(Meddling::Corrupt { bits: bits.max(1) });
            let frame = encode(&Frame::new(TEXT, vec![b'x'; length]), mask);
            let ping = encode(&Frame::new(PING, "a"), mask);
            push(&mut lane, &[frame.clone(), ping.clone()].concat());
            let (got, rest) = out(&mut lane).split_at_checked(frame.len()).map(|(a, b)| (a.to_vec(), b.to_vec())).expect("as long");
            assert_eq!((&got[..header], rest), (&frame[..header], ping), "{length} bytes");
            assert_eq!(flipped(&got, &frame), bits, "{length} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_is_overtaken_by_as_many_as_asked_or_goes_on_in_time() {
        let mut lane = frames(Meddling::Reorder { by: 2, within: MS(100) });
        lane.rules[0].opcodes = 1 << TEXT;
        let binary = |payload: &str| encode(&Frame::new(2, payload), None);
        push(&mut lane, &[text("late"), binary("1")].concat());
        assert_eq!(out(&mut lane), binary("1"));
        push(&mut lane, &[binary("2"), binary("3")].concat());
        assert_eq!(out(&mut lane), [binary("2"), text("late"), binary("3")].concat());
        push(&mut lane, &text("alone"));
        assert_eq!(out(&mut lane), b"");
        advance(MS(101)).await;
        assert_eq!(out(&mut lane), text("alone"), "nothing overtakes it, but it is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_frame_never_lands_inside_another() {
        let mut lane = frames(Meddling::Delay(MS(50)));
        let binary = encode(&Frame::new(2, "passing"), None);
        push(&mut lane, &text("late"));
        lane.rules[0].chance = 0.0;
        let (head, rest) = binary.split_at(4);
        push(&mut lane, head);
        advance(MS(60)).await;
        assert_eq!(out(&mut lane), head);
        push(&mut lane, rest);
        assert_eq!(out(&mut lane), [rest, &text("late")].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn close_the_end_and_the_revert_push_out_what_waits() {
        let close = encode(&Frame::close(Some(1000), b""), None);
        let mut lane = frames(Meddling::Delay(MS(5000)));
        push(&mut lane, &[text("one"), close.clone()].concat());
        assert_eq!(out(&mut lane), [text("one"), close].concat());
        push(&mut lane, &text("two"));
        lane.change(Vec::new());
        assert_eq!(out(&mut lane), text("two"));
        assert!(lane.is_idle());
        let mut lane = frames(Meddling::Delay(MS(5000)));
        push(&mut lane, &[&text("three")[..], &text("cut")[..3]].concat());
        lane.end();
        assert_eq!(out(&mut lane), [&text("three")[..], &text("cut")[..3]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_and_what_a_frame_may_hold_is_bounded() {
        let mut lane = frames(Meddling::Delay(MS(5000)));
        let long = encode(&Frame::new(2, vec![7; FRAME_MAX + 1]), None);
        lane.push(&long);
        assert_eq!(out(&mut lane), long, "too long to wait: it passes");
        (0..100).for_each(|_| lane.push(&encode(&Frame::new(2, vec![7; 100_000]), None)));
        assert!(lane.waiting_bytes <= WAITING_MAX && !out(&mut lane).is_empty());
        let mut lane = frames(Meddling::Delay(MS(5000)));
        let empty = encode(&Frame::new(2, ""), None);
        (0..WAITING_FRAMES_MAX + 10).for_each(|_| lane.push(&empty));
        assert_eq!((lane.waiting.len(), out(&mut lane)), (WAITING_FRAMES_MAX, empty.repeat(10)), "the first go on early");
    }
}
