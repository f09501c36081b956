//! The plaintext of a connection: a frame scanner in each direction, and what faults ask of frames.
//!
//! Close frames end here. The reader above gets end of stream in their place and asks [`Tap::close_frame`]; `ws` runs the closing
//! handshake. So status codes stand as they were on the wire, which `tokio-tungstenite` would rewrite.

use crate::fault::CLOSE;
use crate::fault::{ConnectionEffects, Side};
use crate::seed::Stream;
use crate::transport::Transport;
use crate::transport::send_limit::SendTurns;
use crate::ws::frame::{CloseFrame, FramePiece, PART, PONG, Scanner};
use crate::ws::frame_queue::FrameQueue;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What ends the head of an HTTP message.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Longest message accepted where nobody says another limit: that of the embedded server.
pub(crate) const MAX_MESSAGE: u32 = 16 << 20;

/// A transport whose frames are watched.
#[derive(Debug)]
pub(crate) struct Tap {
    io: Transport,
    /// Frames of the peer must be masked: it is a client.
    peer_masks: bool,
    received: Scanner,
    sent: Scanner,
    phase: StreamPhase,
    /// Frame bytes that came in one read with the end of the head; they go up with the next.
    upward: Vec<u8>,
    close: Option<Box<CloseFrame>>,
    /// Bytes received after the Close frame.
    after_close: u64,
    drop_pongs: bool,
    /// Longest message that the reader above accepts, in bytes.
    max_message: u32,
    /// A frame from elsewhere is half written: the writer above must wait.
    held_back: bool,
    pongs_dropped: u32,
    frames: u64,
    messages: u64,
    meddled: Option<Box<Meddled>>,
}

/// Both directions while a fault meddles with the frames of one of them.
#[derive(Debug)]
struct Meddled {
    incoming: FrameQueue,
    outgoing: FrameQueue,
    /// Where the stream stands behind it.
    sent: Scanner,
    /// The transport broke while bytes waited for it.
    broken: Option<io::Error>,
}

#[derive(Debug)]
enum StreamPhase {
    /// Before the end of the HTTP head; how many bytes of `HEAD_END` have matched.
    Head(u8),
    /// Frames.
    Frames,
    /// Inside a Close frame; its bytes so far.
    Closing(Vec<u8>),
    /// After the Close frame: bytes are counted and dropped (RFC 6455 §1.4, §5.5.1).
    Closed,
}

impl Tap {
    /// Watches `io`, which is before its opening handshake, from this side of the connection.
    pub(crate) fn new(io: Transport, side: Side) -> Self {
        Tap {
            io,
            peer_masks: side == Side::Server,
            received: Scanner::default(),
            sent: Scanner::default(),
            phase: StreamPhase::Head(0),
            upward: Vec::new(),
            close: None,
            after_close: 0,
            drop_pongs: false,
            max_message: MAX_MESSAGE,
            held_back: false,
            pongs_dropped: 0,
            frames: 0,
            messages: 0,
            meddled: None,
        }
    }

    /// The opening handshake is complete: from here on both directions carry frames.
    pub(crate) fn start_frames(&mut self) {
        if let StreamPhase::Head(_) = self.phase {
            self.phase = StreamPhase::Frames;
        }
        self.sent = Scanner::default();
    }

    /// Longest message that the reader above accepts, in bytes.
    pub(crate) fn max_message(&self) -> u32 {
        self.max_message
    }

    /// Sets it. Before the first frame came.
    pub(crate) fn set_max_message(&mut self, bytes: u32) {
        self.max_message = bytes;
    }

    /// The transport below.
    pub(crate) fn transport(&mut self) -> &mut Transport {
        &mut self.io
    }

    /// The transport below.
    pub(crate) fn transport_ref(&self) -> &Transport {
        &self.io
    }

    /// The first Close frame received.
    pub(crate) fn close_frame(&self) -> Option<&CloseFrame> {
        self.close.as_deref()
    }

    /// The received stream stands inside a frame.
    pub(crate) fn mid_frame(&self) -> bool {
        self.received.mid_frame() || matches!(self.phase, StreamPhase::Closing(_))
    }

    /// Whether the received stream stands inside a frame whose length no frame may have.
    pub(crate) fn length_is_illegal(&self) -> bool {
        self.received.length_is_illegal()
    }

    /// Whether the reader above has had whole messages only, once it has read all that came.
    pub(crate) fn is_between_messages(&self) -> bool {
        !self.received.mid_message() && matches!(self.phase, StreamPhase::Frames) && self.upward.is_empty()
    }

    /// Bytes received after the first Close frame.
    pub(crate) fn after_close(&self) -> u64 {
        self.after_close
    }

    /// Whether outgoing pongs vanish.
    pub(crate) fn set_drop_pongs(&mut self, drop: bool) {
        self.drop_pongs = drop;
    }

    /// Applies what a gate does to whole frames. `random` makes the stream of a direction. Call it after the opening handshake.
    pub(crate) fn set_frames(&mut self, gate: &ConnectionEffects, random: impl Fn(&str) -> Stream) {
        match &mut self.meddled {
            Some(meddled) => {
                meddled.incoming.change(gate.read_frames.clone());
                meddled.outgoing.change(gate.write_frames.clone());
            }
            None if gate.read_frames.is_empty() && gate.write_frames.is_empty() => {}
            None => {
                let incoming = FrameQueue::new(gate.read_frames.clone(), random("frames/in"), self.received);
                let outgoing = FrameQueue::new(gate.write_frames.clone(), random("frames/out"), self.sent);
                self.meddled = Some(Box::new(Meddled { incoming, outgoing, sent: self.sent, broken: None }));
            }
        }
    }

    /// Frames of messages that faults did not let pass as they came, as long as one may meddle with them.
    pub(crate) fn meddled(&self) -> u64 {
        self.meddled.as_ref().map_or(0, |meddled| meddled.incoming.meddled() + meddled.outgoing.meddled())
    }

    /// Hands to the transport the outgoing frames that are due. Call it whenever the connection is polled.
    pub(crate) fn poll_frames(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_outgoing(cx);
        if self.meddled.as_ref().is_some_and(|meddled| meddled.incoming.is_idle() && meddled.outgoing.is_idle() && meddled.broken.is_none())
        {
            self.meddled = None;
        }
    }

    /// Ready when no frame is left that is due.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(meddled) = &mut self.meddled else { return Poll::Ready(()) };
        while let Poll::Ready(Some(bytes)) = meddled.outgoing.poll_ready(cx) {
            match poll_write_in_turn(&mut self.io, meddled.sent, cx, bytes) {
                Poll::Ready(Ok(count)) => {
                    meddled.sent.follow(&bytes[..count]);
                    meddled.outgoing.advance(count);
                }
                Poll::Ready(Err(error)) => {
                    let all = bytes.len();
                    meddled.outgoing.advance(all);
                    meddled.broken = Some(error);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        // TLS may keep what it took.
        Pin::new(&mut self.io).poll_flush(cx).map(drop)
    }

    /// Writes, or lets the frames of it go through what meddles with them.
    fn poll_write_below(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.meddled.is_none() {
            return poll_write_in_turn(&mut self.io, self.sent, cx, bytes);
        }
        let blocked = self.poll_outgoing(cx).is_pending();
        let Some(meddled) = &mut self.meddled else { return Poll::Pending };
        if let Some(error) = meddled.broken.take() {
            return Poll::Ready(Err(error));
        }
        if blocked && !meddled.outgoing.has_room() {
            return Poll::Pending;
        }
        meddled.outgoing.push(bytes);
        let _ = self.poll_outgoing(cx);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Reads, or what comes out of what meddles with the frames.
    fn poll_read_below(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(meddled) = &mut self.meddled else { return Pin::new(&mut self.io).poll_read(cx, buffer) };
        let mut scratch = [0; 4096];
        while meddled.incoming.has_room() {
            let mut chunk = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut chunk) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => meddled.incoming.end(),
                Poll::Ready(Ok(())) => meddled.incoming.push(chunk.filled()),
                // A reset overtakes what is on its way.
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        match ready!(meddled.incoming.poll_ready(cx)) {
            None => Poll::Ready(Ok(())),
            Some(bytes) => {
                let count = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..count]);
                meddled.incoming.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Whether the writer above waits. It must be polled again when it no longer does.
    pub(crate) fn hold_back(&mut self, held_back: bool) {
        self.held_back = held_back;
    }

    /// Whether the writer above waits.
    pub(crate) fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Pongs that vanished.
    pub(crate) fn pongs_dropped(&self) -> u32 {
        self.pongs_dropped
    }

    /// Whole frames in both directions so far.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Those of them that are no control frames.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    fn count(&mut self, piece: FramePiece) {
        if piece.ends {
            self.frames += 1;
            self.messages += u64::from(piece.opcode < CLOSE);
        }
    }

    /// Cuts newly received bytes to those that belong to the head, and keeps the rest.
    fn cut_head(&mut self, bytes: &[u8], mut matched: u8) -> usize {
        // Nearly every head comes in one piece.
        let whole = bytes.windows(HEAD_END.len()).position(|part| part == HEAD_END).filter(|_| matched == 0);
        let from = whole.unwrap_or(0);
        for (index, byte) in bytes.iter().enumerate().skip(from) {
            matched = match (*byte == HEAD_END[usize::from(matched)], *byte) {
                (true, _) => matched + 1,
                (false, b'\r') => 1,
                _ => 0,
            };
            if usize::from(matched) == HEAD_END.len() {
                let rest = &bytes[index + 1..];
                self.phase = StreamPhase::Frames;
                let up = self.follow(rest);
                let mut upward = Vec::new();
                Scanner::default().write_in_parts(&rest[..up], u64::from(self.max_message), &mut upward);
                self.upward = upward;
                return index + 1;
            }
        }
        self.phase = StreamPhase::Head(matched);
        bytes.len()
    }

    /// Follows newly received frame bytes; returns how many of them go up.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let piece = self.received.piece(&bytes[at..]);
            self.count(piece);
            if piece.opcode == CLOSE {
                let mut frame = match std::mem::replace(&mut self.phase, StreamPhase::Closed) {
                    StreamPhase::Closing(frame) => frame,
                    _ => Vec::new(),
                };
                frame.extend_from_slice(&bytes[at..at + piece.len.min(256)]);
                if piece.ends || piece.illegal_control {
                    self.close = Some(Box::new(CloseFrame::parse(&frame, piece.illegal_control, self.peer_masks)));
                    self.received = Scanner::default();
                    self.after_close += (bytes.len() - at - piece.len) as u64;
                } else {
                    self.phase = StreamPhase::Closing(frame);
                }
                return at;
            }
            at += piece.len;
        }
        at
    }

    /// Puts what the reader above gets in place of the received bytes in `range`; returns how much of it is there, the rest goes up with the next
    /// read. `scanner` stands before them.
    fn go_up_in_parts(&mut self, mut scanner: Scanner, buffer: &mut ReadBuf<'_>, range: Range<usize>) -> usize {
        let mut out = Vec::with_capacity(range.len() + 64);
        scanner.write_in_parts(&buffer.filled()[range.clone()], u64::from(self.max_message), &mut out);
        buffer.set_filled(range.start);
        let now = out.len().min(buffer.remaining());
        buffer.put_slice(&out[..now]);
        self.upward = out.split_off(now);
        now
    }

    /// The longest prefix of `bytes` that is wholly dropped or wholly sent, and which of both.
    fn run(&self, bytes: &[u8]) -> (usize, bool) {
        let mut scanner = self.sent;
        let first = scanner.piece(bytes);
        let dropped = first.opcode == PONG;
        let mut length = first.len;
        while length < bytes.len() {
            let piece = scanner.piece(&bytes[length..]);
            if (piece.opcode == PONG) != dropped {
                break;
            }
            length += piece.len;
        }
        (length, dropped)
    }

    fn advance_sent(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let piece = self.sent.piece(&bytes[at..]);
            self.count(piece);
            at += piece.len;
        }
    }
}

/// Writes, a frame at a time where frames wait for their turn. The stream stands where `scanner` does.
fn poll_write_in_turn(io: &mut Transport, mut scanner: Scanner, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    let Some(turns) = io.link_mut().send_turns().filter(|_| !bytes.is_empty()) else { return Pin::new(io).poll_write(cx, bytes) };
    let piece = scanner.piece(bytes);
    if piece.begins {
        ready!(turns.poll_frame(cx));
    }
    let written = ready!(Pin::new(&mut *io).poll_write(cx, &bytes[..piece.len]))?;
    if written > 0 {
        io.link_mut().send_turns().into_iter().for_each(SendTurns::frame_begun);
    }
    Poll::Ready(Ok(written))
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let start = buffer.filled().len();
            if !self.upward.is_empty() {
                let count = self.upward.len().min(buffer.remaining());
                buffer.put_slice(&self.upward[..count]);
                self.upward.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if matches!(self.phase, StreamPhase::Closed) {
                // End of stream for the reader above; `poll_after_close` reads on.
                return Poll::Ready(Ok(()));
            }
            match self.poll_read_below(cx, buffer) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            let received = buffer.filled().len() - start;
            if received == 0 {
                return Poll::Ready(Ok(()));
            }
            let up = match self.phase {
                StreamPhase::Head(matched) => self.cut_head(&buffer.filled()[start..], matched),
                _ => {
                    let before = self.received;
                    let up = self.follow(&buffer.filled()[start..]);
                    // No read is so long that such a frame both begins and ends in it.
                    let in_parts = |scanner: &Scanner| scanner.mid_header() || scanner.is_longer_than(PART);
                    if in_parts(&before) || in_parts(&self.received) { self.go_up_in_parts(before, buffer, start..start + up) } else { up }
                }
            };
            buffer.set_filled(start + up);
            if up > 0 || self.close.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Tap {
    /// Reads on after the Close frame: ready when the peer ended TCP. What else comes is counted and dropped.
    pub(crate) fn poll_after_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.poll_outgoing(cx);
        let mut scratch = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.after_close += buffer.filled().len() as u64,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Tap {
    /// Writes frames as they are, pongs included, whatever [`Tap::set_drop_pongs`] says. Not before the opening handshake is complete.
    pub(crate) fn poll_write_all_kinds(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = self.poll_write_below(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.advance_sent(&bytes[..*written]);
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if matches!(self.phase, StreamPhase::Head(_)) {
            return Pin::new(&mut self.io).poll_write(cx, bytes);
        }
        if self.held_back {
            return Poll::Pending;
        }
        let (length, dropped) = if self.drop_pongs { self.run(bytes) } else { (bytes.len(), false) };
        if dropped {
            let before = self.frames;
            self.advance_sent(&bytes[..length]);
            // One write may hold several.
            self.pongs_dropped += u32::try_from(self.frames - before).unwrap_or(u32::MAX);
            return Poll::Ready(Ok(length));
        }
        self.poll_write_all_kinds(cx, &bytes[..length])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outgoing(cx));
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.poll_outgoing(cx);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
