//! An open WebSocket connection over [`Tap`], for either role: messages, pings, raw Close frames, and how reading ended.
//!
//! `tungstenite` does the framing of messages, pings and pongs; Close frames bypass it in both directions, because it rewrites
//! some codes. What to do about an ending is `ws::session`'s business.

use crate::close::{INVALID_PAYLOAD, MemoryLimit, NO_STATUS, PROTOCOL_ERROR, TlsEnd};
use crate::fault::{CLOSE, Frame};
use crate::transport::link::Link;
use crate::ws::codec::Codec;
use crate::ws::frame;
use crate::ws::frame::CloseFrame;
use crate::ws::frame_tap::Tap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// What came from the peer.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A whole message.
    Message(Message),
    /// A ping's payload; the pong is queued.
    Ping(Bytes),
    /// A pong's payload.
    Pong(Bytes),
    /// A Close frame; [`Connection::close_frame`] tells which. Comes once.
    Close,
    /// A frame that RFC 6455 forbids; the status code that a healthy peer answers with. Comes once, nothing is read after it.
    Violation(u16),
    /// What came or waits to be sent is more than this side has memory for. Comes once, nothing is read after it.
    TooMuch(MemoryLimit),
    /// TCP ended, or TLS did before it; [`Link::end`] and [`Connection::tls_end`] tell which and how. After an end of TLS that of TCP comes too.
    End,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    tap: Tap,
    codec: Codec,
    masked: bool,
    /// Something may wait in tungstenite's write buffer.
    unflushed: bool,
    /// Raw bytes that follow it.
    raw: Vec<u8>,
    /// How many of them the kernel took. While it is not zero nothing else may be written: it would be in the middle of a frame.
    raw_sent: usize,
    /// Status code in `raw`, not on the wire yet.
    closing: Option<u16>,
    wire_sent: Option<u16>,
    /// tungstenite has said its last word.
    ended: bool,
    /// It was that the peer broke the protocol: a Close frame behind that counts for nothing (RFC 6455 §7.1.7).
    violated: bool,
    mask: u32,
}

impl Connection {
    /// Takes over after the opening handshake, on the side that `role` says. `mask`: where masks of raw frames begin.
    pub(crate) fn new(mut tap: Tap, role: Role, mask: u32) -> Self {
        tap.start_frames();
        Connection {
            tap,
            codec: Codec::new(role),
            masked: role == Role::Client,
            unflushed: false,
            raw: Vec::new(),
            raw_sent: 0,
            closing: None,
            wire_sent: None,
            ended: false,
            violated: false,
            mask,
        }
    }

    /// The tap below.
    pub(crate) fn tap(&mut self) -> &mut Tap {
        &mut self.tap
    }

    /// The plaintext below.
    pub(crate) fn tap_ref(&self) -> &Tap {
        &self.tap
    }

    /// The raw link.
    pub(crate) fn link(&self) -> &Link {
        self.tap.transport_ref().link()
    }

    /// The raw link.
    pub(crate) fn link_mut(&mut self) -> &mut Link {
        self.tap.transport().link_mut()
    }

    /// How TLS ended so far; `None` on ws.
    pub(crate) fn tls_end(&self) -> Option<TlsEnd> {
        self.tap.transport_ref().tls_end()
    }

    /// Whether the bytes that came end inside a frame, or TCP was cut inside a TLS record.
    pub(crate) fn is_cut(&self) -> bool {
        self.tap.mid_frame() || self.tap.transport_ref().mid_record()
    }

    /// The first Close frame received; none that came behind a violation.
    pub(crate) fn close_frame(&self) -> Option<&CloseFrame> {
        self.tap.close_frame().filter(|_| !self.violated)
    }

    /// Status code of the Close frame that is on the wire; 1005 for an empty one.
    pub(crate) fn wire_sent(&self) -> Option<u16> {
        self.wire_sent
    }

    /// Whether everything queued was handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed && self.raw.is_empty()
    }

    /// Queues a message or a ping.
    ///
    /// # Errors
    /// If too much is queued already, or the connection is gone.
    pub(crate) fn queue(&mut self, message: Message) -> Result<(), Error> {
        self.unflushed = true;
        // What the kernel does not take at once goes out in `poll_flush`, with the waker of the task.
        self.codec.send(&mut self.tap, &mut Context::from_waker(Waker::noop()), message)
    }

    /// Queues a Close frame with any status code; `None`: empty body.
    pub(crate) fn queue_close(&mut self, code: Option<u16>, reason: &str) {
        self.queue_frame(&Frame::close(code, reason.as_bytes()));
    }

    /// Queues a frame as it is, allowed or not; goes out behind what is queued already, a pong also where pongs are dropped.
    pub(crate) fn queue_frame(&mut self, frame: &Frame) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mask = (self.masked != frame.wrong_mask).then(|| self.mask.to_be_bytes());
        self.raw.extend(frame::encode(frame, mask));
        if frame.opcode == CLOSE && self.closing.is_none() && self.wire_sent.is_none() {
            self.closing = Some(frame.close_code().unwrap_or(NO_STATUS));
        }
    }

    /// Raw bytes that the kernel has not taken yet.
    pub(crate) fn raw_left(&self) -> usize {
        self.raw.len() - self.raw_sent
    }

    /// Hands what is queued to the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap().is_held_back() {
            ready!(self.poll_raw(cx))?;
        }
        if self.unflushed {
            match ready!(self.codec.poll_flush(&mut self.tap, cx)) {
                Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.unflushed = false,
                Err(error) => {
                    self.unflushed = false;
                    self.forget_raw();
                    return Poll::Ready(Err(into_io(error)));
                }
            }
        }
        ready!(self.poll_raw(cx))?;
        ready!(Pin::new(&mut self.tap).poll_flush(cx))?;
        if let Some(code) = self.closing.take() {
            // A dead path swallows the frame: it is not on the wire.
            if !self.link().discards_writes() {
                self.wire_sent = Some(code);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes raw frames. Between the parts of one, tungstenite must not write: it would end up inside of it.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.raw_sent < self.raw.len() {
            match ready!(self.tap.poll_write_all_kinds(cx, &self.raw[self.raw_sent..])) {
                Ok(written) => {
                    self.raw_sent += written;
                    let rest = self.raw_sent < self.raw.len();
                    self.tap().hold_back(rest);
                }
                Err(error) => {
                    self.forget_raw();
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.forget_raw();
        Poll::Ready(Ok(()))
    }

    /// Gives the memory back too: a frame may have had many megabytes.
    fn forget_raw(&mut self) {
        (self.raw, self.raw_sent) = (Vec::new(), 0);
        self.tap().hold_back(false);
    }

    /// What came, and flushing on the way. While a flush is blocked a server does not read (back-pressure), a client does.
    pub(crate) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.link_mut().poll_shaped(cx);
        self.tap().poll_frames(cx);
        if !self.is_flushed() {
            // A failed write shows as the end of reading, which knows better how TCP ended.
            let blocked = self.poll_flush(cx).is_pending();
            if blocked && !self.masked && !self.ended {
                return Poll::Pending;
            }
        }
        if self.ended {
            return self.tap().poll_after_close(cx).map(|_| Incoming::End);
        }
        if self.codec.must_end(cx) {
            return Poll::Ready(self.end_for_memory());
        }
        let Poll::Ready(next) = self.codec.poll_next(&mut self.tap, cx) else {
            // Nothing begun in either direction: an idle connection has no buffers.
            if !self.unflushed && self.tap.is_between_messages() {
                self.codec.rest();
            }
            return Poll::Pending;
        };
        Poll::Ready(match next {
            Ok(Message::Ping(payload)) => {
                // tungstenite has queued the pong.
                self.unflushed = true;
                Incoming::Ping(payload)
            }
            Ok(Message::Pong(payload)) => Incoming::Pong(payload),
            Ok(message) => Incoming::Message(message),
            Err(last) => {
                self.ended = true;
                self.last_word(last)
            }
        })
    }

    /// Gives up all that is held. A message that is half sent is never sent whole: behind it nothing can be said any more.
    fn end_for_memory(&mut self) -> Incoming {
        (self.ended, self.violated) = (true, true);
        if self.codec.drop_all() {
            self.unflushed = false;
            let _ = self.link_mut().finish();
        }
        Incoming::TooMuch(MemoryLimit::Memory)
    }

    fn last_word(&mut self, last: Error) -> Incoming {
        // A Close frame looks like the end of the stream to tungstenite: any other complaint is about what came before it.
        let code = match last {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(_) => Some(PROTOCOL_ERROR),
            Error::Utf8(_) => Some(INVALID_PAYLOAD),
            Error::Capacity(_) if self.tap.length_is_illegal() => Some(PROTOCOL_ERROR),
            Error::Capacity(_) => {
                self.violated = true;
                return Incoming::TooMuch(MemoryLimit::MaxMessage);
            }
            _ => None,
        };
        self.violated = code.is_some();
        match code {
            Some(code) => Incoming::Violation(code),
            None if self.close_frame().is_some() => Incoming::Close,
            None => Incoming::End,
        }
    }

    /// Reads and drops until the peer ends TCP.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.tap().poll_after_close(cx).map(drop)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
