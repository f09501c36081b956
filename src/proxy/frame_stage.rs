//! One direction of a WebSocket connection while a fault acts on its frames: some are swallowed or changed, others are put between them.
//!
//! Exists only while a fault asks for it, and until it has run empty afterwards. Bytes come in as they were cut, are looked at frame by
//! frame, and go out unchanged where no rule takes them. Nothing is put into the middle of a frame, and no message into the middle of
//! another one.

use crate::fault::{CLOSE, CloseAck, End, Frame, Meddle, PONG};
use crate::seed::Stream;
use crate::ws::frame::{Scanner, encode, payload};
use crate::ws::frame_queue::FrameQueue;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// Longest control frame, with its header (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125 + 6;

/// What an endpoint reports of a Close frame without a status code.
const NO_CODE: u16 = 1005;

/// What acts on the frames of a direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageRules {
    /// On all frames.
    pub(crate) meddle: Vec<Meddle>,
    /// On the Close frame that answers the receiver's.
    pub(crate) ack: CloseAck,
    /// Pongs that answer pings of a fault: their length in bytes.
    pub(crate) own_pongs: Vec<u64>,
    /// Whether each message is asked about before it is passed on.
    pub(crate) asks: bool,
    /// Changed frames are masked: they come from a client.
    pub(crate) masks: bool,
}

impl StageRules {
    /// Whether all frames pass.
    pub(crate) fn is_empty(&self) -> bool {
        self.meddle.is_empty() && self.ack == CloseAck::Prompt && self.own_pongs.is_empty() && !self.asks
    }
}

/// Frames on their way.
#[derive(Debug)]
pub(crate) struct FrameStage {
    rules: StageRules,
    queue: FrameQueue,
    /// Where the stream of frames that are looked at stands.
    sent: Scanner,
    inserts: VecDeque<Insert>,
    fate: FrameFate,
    /// A Close frame of ours went out: nothing follows it.
    sealed: bool,
    /// The sender's own Close frame went out.
    closed: bool,
    /// What becomes of TCP in place of an answer to the receiver's Close frame.
    withheld: Option<End>,
    /// What the receiver got in place of the sender's Close frame, since the last look: a code, or nothing.
    in_place: Option<Option<u16>>,
    /// A rule acted since the last look.
    acted: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Frames that are put in.
#[derive(Debug)]
struct Insert {
    bytes: Vec<u8>,
    /// They may stand between the parts of a message.
    control: bool,
    /// Code of the Close frame among them; 1005 if it has none.
    closes: Option<u16>,
}

/// What becomes of the frame that is going out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameFate {
    Passes,
    Vanishes,
    /// And so do the other parts of its message.
    MessageVanishes,
}

/// Whether the stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageEnd {
    /// It does.
    Open,
    /// All of it went out.
    Ended,
}

/// Draws whether a message is to vanish.
pub(crate) type AskMessage<'a> = &'a mut dyn FnMut() -> bool;

impl FrameStage {
    /// An empty one. `at`: where the stream stands; a frame whose beginning is gone already passes.
    pub(crate) fn new(rules: StageRules, at: Scanner, random: Stream) -> Self {
        FrameStage {
            queue: FrameQueue::new(rules.meddle.clone(), random, at),
            rules,
            sent: at,
            inserts: VecDeque::new(),
            fate: FrameFate::Passes,
            sealed: false,
            closed: false,
            withheld: None,
            in_place: None,
            acted: false,
            timer: None,
        }
    }

    /// Other rules from now on.
    pub(crate) fn change(&mut self, rules: StageRules) {
        self.queue.change(rules.meddle.clone());
        if rules.ack == CloseAck::Prompt {
            self.withheld = None;
        }
        self.rules = rules;
    }

    /// Puts frames in at the next place where they may stand.
    pub(crate) fn insert(&mut self, frames: &[Frame], mask: &mut impl FnMut() -> [u8; 4]) {
        if self.sealed || frames.is_empty() {
            return;
        }
        let bytes = |frame: &Frame| encode(frame, (self.rules.masks != frame.wrong_mask).then(&mut *mask));
        let bytes = frames.iter().flat_map(bytes).collect();
        let control = frames.iter().all(|frame| frame.opcode >= CLOSE);
        let closes = frames.iter().find(|frame| frame.opcode == CLOSE).map(code_of);
        self.inserts.push_back(Insert { bytes, control, closes });
    }

    /// Whether all that was put in has gone out.
    pub(crate) fn is_flushed(&self) -> bool {
        self.inserts.is_empty()
    }

    /// What becomes of TCP in place of the answer that was swallowed.
    pub(crate) fn withheld(&self) -> Option<End> {
        self.withheld
    }

    /// The sender's Close frame had gone out before.
    pub(crate) fn set_closed(&mut self) {
        self.closed = true;
    }

    /// Whether something that came in has not gone out.
    pub(crate) fn keeps(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What the receiver got in place of the sender's Close frame since the last call: a code, or nothing.
    pub(crate) fn take_in_place(&mut self) -> Option<Option<u16>> {
        self.in_place.take()
    }

    /// Whether a rule acted since the last call.
    pub(crate) fn take_acted(&mut self) -> bool {
        std::mem::take(&mut self.acted) || self.queue.take_touched()
    }

    /// Whether there is nothing to do and nothing left, so that bytes may pass by it.
    pub(crate) fn is_idle(&self) -> bool {
        let passes = self.fate == FrameFate::Passes && !self.sealed && self.withheld.is_none();
        passes && self.rules.is_empty() && self.inserts.is_empty() && self.queue.is_idle()
    }

    /// Whether it takes more bytes.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    /// Takes in bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.queue.push(bytes);
    }

    /// Takes in the end of the stream.
    pub(crate) fn end(&mut self) {
        self.queue.end();
    }

    /// Moves what may go on to `out`. `closed`: when the receiver's Close frame came. `ask`: see [`StageRules::asks`].
    pub(crate) fn take(&mut self, cx: &mut Context<'_>, closed: Option<Instant>, ask: AskMessage<'_>, out: &mut Vec<u8>) -> StageEnd {
        loop {
            self.put_in(out);
            let ended = self.queue.has_ended();
            let Poll::Ready(ready) = self.queue.poll_ready(cx) else { return StageEnd::Open };
            let Some(bytes) = ready else { return StageEnd::Ended };
            let mut after = self.sent;
            let piece = after.piece(bytes);
            if piece.begins && self.fate != FrameFate::MessageVanishes {
                let look = BeginningFrame { opcode: piece.opcode, bytes: &bytes[..piece.len], whole: piece.ends, ended };
                match decide(&self.rules, self.sealed, closed, &look, ask) {
                    FrameDecision::Pass => self.fate = FrameFate::Passes,
                    FrameDecision::Vanish => self.fate = FrameFate::Vanishes,
                    FrameDecision::VanishWhole => (self.fate, self.acted) = (FrameFate::MessageVanishes, true),
                    FrameDecision::Withhold(end) => {
                        (self.fate, self.acted, self.withheld) = (FrameFate::Vanishes, true, Some(end));
                        self.in_place.get_or_insert(None);
                    }
                    FrameDecision::Replace(frame) => {
                        out.extend(encode(&frame, self.rules.masks.then_some([0x1d, 0x3a, 0x5c, 0x77])));
                        (self.fate, self.acted, self.sealed) = (FrameFate::Vanishes, true, true);
                        self.in_place.get_or_insert(Some(code_of(&frame)));
                    }
                    FrameDecision::More => return StageEnd::Open,
                    FrameDecision::Wait(due) => {
                        self.acted = true;
                        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
                        if timer.deadline() != due {
                            timer.as_mut().reset(due);
                        }
                        if timer.as_mut().poll(cx).is_pending() {
                            return StageEnd::Open;
                        }
                        self.fate = FrameFate::Passes;
                    }
                }
            }
            if self.fate == FrameFate::Passes {
                self.closed |= piece.begins && piece.opcode == CLOSE;
                out.extend_from_slice(&bytes[..piece.len]);
            }
            self.queue.advance(piece.len);
            self.sent = after;
            let over = match self.fate {
                FrameFate::MessageVanishes => !self.sent.mid_message(),
                _ => piece.ends,
            };
            if over {
                self.fate = FrameFate::Passes;
            }
        }
    }

    /// Puts in what may stand here.
    fn put_in(&mut self, out: &mut Vec<u8>) {
        while let Some(first) = self.inserts.front() {
            let here = !self.sent.mid_frame() && (first.control || !self.sent.mid_message());
            if !here && !self.sealed {
                return;
            }
            let Some(insert) = self.inserts.pop_front() else { return };
            if !self.sealed {
                out.extend(insert.bytes);
                self.sealed = insert.closes.is_some();
                // The first one is what the receiver goes by (RFC 6455 §7.1.5).
                let first = insert.closes.filter(|_| !self.closed);
                first.into_iter().for_each(|code| _ = self.in_place.get_or_insert(Some(code)));
            }
        }
    }
}

/// As whoever gets this Close frame tells it: 1005 for an empty body (RFC 6455 §7.1.5).
fn code_of(frame: &Frame) -> u16 {
    frame.close_code().unwrap_or(NO_CODE)
}

/// A frame that begins to go out.
struct BeginningFrame<'a> {
    opcode: u8,
    /// What is there of it.
    bytes: &'a [u8],
    whole: bool,
    /// No more will come.
    ended: bool,
}

/// What becomes of a frame.
enum FrameDecision {
    Pass,
    Vanish,
    /// It and the other parts of its message.
    VanishWhole,
    Withhold(End),
    Replace(Frame),
    /// More of it must be seen.
    More,
    /// It passes then.
    Wait(Instant),
}

fn decide(rules: &StageRules, sealed: bool, closed: Option<Instant>, frame: &BeginningFrame<'_>, ask: AskMessage<'_>) -> FrameDecision {
    match frame.opcode {
        _ if sealed => FrameDecision::Vanish,
        CLOSE => match (rules.ack, closed) {
            (CloseAck::Prompt, _) | (_, None) => FrameDecision::Pass,
            (CloseAck::Delayed(delay), Some(closed)) => match closed.checked_add(delay) {
                Some(due) if due > Instant::now() => FrameDecision::Wait(due),
                _ => FrameDecision::Pass,
            },
            (CloseAck::Code(code), Some(_)) => FrameDecision::Replace(Frame::close(Some(code), b"")),
            (CloseAck::Never(end), Some(_)) => FrameDecision::Withhold(end),
        },
        PONG if !rules.own_pongs.is_empty() => {
            if !frame.whole && !frame.ended && frame.bytes.len() <= CONTROL_MAX {
                return FrameDecision::More;
            }
            let payload = payload(frame.bytes);
            let ours = payload.iter().all(|byte| *byte == b'x') && rules.own_pongs.contains(&(payload.len() as u64));
            if ours { FrameDecision::Vanish } else { FrameDecision::Pass }
        }
        0x1 | 0x2 if rules.asks && ask() => FrameDecision::VanishWhole,
        _ => FrameDecision::Pass,
    }
}

#[cfg(test)]
mod tests;
