//! An open WebSocket connection over [`Tap`], for either role: messages, pings, raw Close frames, and how reading ended.
//!
//! `tokio-tungstenite` does the framing of messages, pings and pongs; Close frames bypass it in both directions, because it rewrites
//! some codes. What to do about an ending is `engine::session`'s business.

use crate::close::{INVALID_PAYLOAD, NO_STATUS, PROTOCOL_ERROR, TOO_BIG};
use crate::fault::{CLOSE, Frame};
use crate::net::frame::{self, CloseFrame};
use crate::net::link::Link;
use crate::net::tap::Tap;
use futures_util::{Sink, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// tungstenite zero-fills its read buffer before every read and keeps it for ever; its default is 128 KiB a connection.
const READ_BUFFER: usize = 4096;
/// Longest message accepted.
const MESSAGE_MAX: usize = 16 << 20;
/// More unsent bytes than this fail a send: the peer does not read. The longest message must fit, or its echo would be lost unsaid.
const WRITE_BUFFER_MAX: usize = MESSAGE_MAX + (1 << 20);

/// The settings of every connection, client and server.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

/// What came from the peer.
#[derive(Debug)]
pub enum Incoming {
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
    /// TCP ended, or TLS did; [`Link::end`] tells how.
    End,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: WebSocketStream<Tap>,
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
    /// Takes over after the opening handshake of a client.
    pub fn client(mut stream: WebSocketStream<Tap>, mask: u32) -> Self {
        stream.get_mut().start_frames();
        Self::new(stream, true, mask)
    }

    /// Takes over after the opening handshake of a server.
    pub async fn server(mut tap: Tap) -> Self {
        tap.start_frames();
        Self::new(WebSocketStream::from_raw_socket(tap, Role::Server, Some(config())).await, false, 0)
    }

    fn new(stream: WebSocketStream<Tap>, masked: bool, mask: u32) -> Self {
        Connection {
            stream,
            masked,
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
    pub fn tap(&mut self) -> &mut Tap {
        self.stream.get_mut()
    }

    /// The raw link.
    pub fn link(&self) -> &Link {
        self.stream.get_ref().transport_ref().link()
    }

    /// The raw link.
    pub fn link_mut(&mut self) -> &mut Link {
        self.stream.get_mut().transport().link_mut()
    }

    /// The first Close frame received; none that came behind a violation.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.stream.get_ref().close_frame().filter(|_| !self.violated)
    }

    /// Status code of the Close frame that is on the wire; 1005 for an empty one.
    pub fn wire_sent(&self) -> Option<u16> {
        self.wire_sent
    }

    /// Whether everything queued was handed to the kernel.
    pub fn is_flushed(&self) -> bool {
        !self.unflushed && self.raw.is_empty()
    }

    /// Queues a message or a ping.
    ///
    /// # Errors
    /// If too much is queued already, or the connection is gone.
    pub fn queue(&mut self, message: Message) -> Result<(), Error> {
        self.unflushed = true;
        Pin::new(&mut self.stream).start_send(message)
    }

    /// Queues a Close frame with any status code; `None`: empty body.
    pub fn queue_close(&mut self, code: Option<u16>, reason: &str) {
        self.queue_frame(&Frame::close(code, reason.as_bytes()));
    }

    /// Queues a frame as it is, allowed or not; goes out behind what is queued already, a pong also where pongs are dropped.
    pub fn queue_frame(&mut self, frame: &Frame) {
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mask = (self.masked != frame.wrong_mask).then(|| self.mask.to_be_bytes());
        self.raw.extend(frame::encode(frame, mask));
        if frame.opcode == CLOSE && self.closing.is_none() && self.wire_sent.is_none() {
            self.closing = Some(frame.close_code().unwrap_or(NO_STATUS));
        }
    }

    /// Raw bytes that the kernel has not taken yet.
    pub fn raw_left(&self) -> usize {
        self.raw.len() - self.raw_sent
    }

    /// Hands what is queued to the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap().is_held_back() {
            ready!(self.poll_raw(cx))?;
        }
        if self.unflushed {
            match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => self.unflushed = false,
                Err(error) => {
                    self.unflushed = false;
                    self.forget_raw();
                    return Poll::Ready(Err(into_io(error)));
                }
            }
        }
        ready!(self.poll_raw(cx))?;
        ready!(Pin::new(self.stream.get_mut()).poll_flush(cx))?;
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
            match ready!(self.stream.get_mut().poll_write_all_kinds(cx, &self.raw[self.raw_sent..])) {
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
    pub fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
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
        Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(Message::Ping(payload))) => {
                // tungstenite has queued the pong.
                self.unflushed = true;
                Incoming::Ping(payload)
            }
            Some(Ok(Message::Pong(payload))) => Incoming::Pong(payload),
            Some(Ok(message)) => Incoming::Message(message),
            other => {
                self.ended = true;
                self.last_word(other)
            }
        })
    }

    fn last_word(&mut self, last: Option<Result<Message, Error>>) -> Incoming {
        // A Close frame looks like the end of the stream to tungstenite: any other complaint is about what came before it.
        let code = match last {
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => None,
            Some(Err(Error::Protocol(_))) => Some(PROTOCOL_ERROR),
            Some(Err(Error::Utf8(_))) => Some(INVALID_PAYLOAD),
            Some(Err(Error::Capacity(_))) => Some(TOO_BIG),
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
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.tap().poll_after_close(cx).map(drop)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
