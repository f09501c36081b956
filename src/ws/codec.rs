//! Messages to frames and back: tungstenite's state machine, lent to a connection while it has something to say or to hear.
//!
//! Between two messages a connection keeps none of it: no read buffer, no write buffer. It knows nothing of Close frames, which end in
//! `net::tap` below it.

use crate::net::tap::Tap;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// tungstenite zero-fills its read buffer before every read, and reads no more than this at once; its default is 128 KiB.
const READ_BUFFER: usize = 4096;
/// Longest message accepted.
const MESSAGE_MAX: usize = 16 << 20;
/// More unsent bytes than this fail a send: the peer does not read. The longest message must fit, or its echo would be lost unsaid.
const WRITE_BUFFER_MAX: usize = MESSAGE_MAX + (1 << 20);
/// State machines that a thread keeps for the next connection: few are in the middle of a message at once.
const SPARE_MAX: usize = 32;

thread_local! {
    /// Of servers, of clients.
    static SPARE: RefCell<[Vec<Box<WebSocketContext>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The settings of every connection, client and server.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

/// The messages of one connection.
#[derive(Debug)]
pub(super) struct Codec {
    role: Role,
    context: Option<Box<WebSocketContext>>,
    /// Its buffers have grown: they are not for the next connection.
    grown: bool,
}

impl Codec {
    pub(super) fn new(role: Role) -> Self {
        Codec { role, context: None, grown: false }
    }

    /// The next message. Polled no more after an error; `ConnectionClosed` and `AlreadyClosed` are among them.
    pub(super) fn poll_next(&mut self, tap: &mut Tap, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        let polled = pending(self.context().read(&mut Io { tap, cx }));
        if let Poll::Ready(Ok(message)) = &polled {
            self.grown |= message.len() > READ_BUFFER;
        }
        polled
    }

    /// Takes a message, and writes what the kernel takes of it; the rest goes out when flushed.
    pub(super) fn send(&mut self, tap: &mut Tap, cx: &mut Context<'_>, message: Message) -> Result<(), Error> {
        self.grown |= message.len() > READ_BUFFER;
        match self.context().write(&mut Io { tap, cx }, message) {
            // It is queued all the same.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    /// Hands all that is queued to the kernel.
    pub(super) fn poll_flush(&mut self, tap: &mut Tap, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        pending(self.context().flush(&mut Io { tap, cx }))
    }

    /// Gives the state machine back. Only between messages in both directions, when nothing is queued and there was no error.
    pub(super) fn rest(&mut self) {
        let Some(context) = self.context.take() else { return };
        if std::mem::take(&mut self.grown) {
            return;
        }
        SPARE.with_borrow_mut(|spare| {
            let spare = &mut spare[usize::from(self.role == Role::Client)];
            if spare.len() < SPARE_MAX {
                spare.push(context);
            }
        });
    }

    fn context(&mut self) -> &mut WebSocketContext {
        let role = self.role;
        self.context.get_or_insert_with(|| {
            let spare = SPARE.with_borrow_mut(|spare| spare[usize::from(role == Role::Client)].pop());
            spare.unwrap_or_else(|| Box::new(WebSocketContext::new(role, Some(config()))))
        })
    }
}

fn pending<T>(result: Result<T, Error>) -> Poll<Result<T, Error>> {
    match result {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// The tap as tungstenite wants it: blocking calls that would block say so.
struct Io<'a, 'b> {
    tap: &'a mut Tap,
    cx: &'a mut Context<'b>,
}

fn or_would_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Io<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        or_would_block(Pin::new(&mut *self.tap).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Io<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.tap).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.tap).poll_flush(self.cx))
    }
}
