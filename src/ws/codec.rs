//! Messages to frames and back: tungstenite's state machine, lent to a connection while it has something to say or to hear.
//!
//! Between two messages a connection keeps none of it: no read buffer, no write buffer. It knows nothing of Close frames, which end in
//! `ws::frame_tap` below it.

use crate::ws::frame_tap::Tap;
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
    static SPARE: RefCell<[Vec<ProtocolMachine>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// tungstenite's state machine, boxed: it moves from connection to connection.
#[derive(Debug)]
struct ProtocolMachine(Box<WebSocketContext>);

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
    machine: Option<ProtocolMachine>,
    /// Its buffers have grown: they are not for the next connection.
    grown: bool,
    /// Something failed, and its buffers may hold what nobody will take: it stays with this connection to the end.
    failed: bool,
}

impl Codec {
    pub(super) fn new(role: Role) -> Self {
        Codec { role, machine: None, grown: false, failed: false }
    }

    /// The next message. Polled no more after an error; `ConnectionClosed` and `AlreadyClosed` are among them.
    pub(super) fn poll_next(&mut self, tap: &mut Tap, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        let polled = pending(self.context().read(&mut Io { tap, cx }));
        match &polled {
            Poll::Ready(Ok(message)) => self.grown |= message.len() > READ_BUFFER,
            Poll::Ready(Err(_)) => self.failed = true,
            Poll::Pending => {}
        }
        polled
    }

    /// Takes a message, and writes what the kernel takes of it; the rest goes out when flushed.
    pub(super) fn send(&mut self, tap: &mut Tap, cx: &mut Context<'_>, message: Message) -> Result<(), Error> {
        self.grown |= message.len() > READ_BUFFER;
        match self.context().write(&mut Io { tap, cx }, message) {
            // It is queued all the same.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => {
                self.failed |= sent.is_err();
                sent
            }
        }
    }

    /// Hands all that is queued to the kernel.
    pub(super) fn poll_flush(&mut self, tap: &mut Tap, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = pending(self.context().flush(&mut Io { tap, cx }));
        self.failed |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }

    /// Gives the state machine back, unless something failed. Only between messages in both directions, when nothing is queued.
    pub(super) fn rest(&mut self) {
        let Some(machine) = self.machine.take_if(|_| !self.failed) else { return };
        if std::mem::take(&mut self.grown) {
            return;
        }
        SPARE.with_borrow_mut(|spare| {
            let spare = &mut spare[usize::from(self.role == Role::Client)];
            if spare.len() < SPARE_MAX {
                spare.push(machine);
            }
        });
    }

    fn context(&mut self) -> &mut WebSocketContext {
        let role = self.role;
        let machine = self.machine.get_or_insert_with(|| {
            let spare = SPARE.with_borrow_mut(|spare| spare[usize::from(role == Role::Client)].pop());
            spare.unwrap_or_else(|| ProtocolMachine(Box::new(WebSocketContext::new(role, Some(config())))))
        });
        &mut machine.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Side;
    use crate::transport::Transport;
    use crate::transport::link::Link;
    use std::task::Waker;
    use tokio::net::{TcpListener, TcpStream};

    /// A tap, and the other end of its connection.
    async fn tap() -> (Tap, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut tap = Tap::new(Transport::Plain(Link::new(near.expect("it listens"))), Side::Client);
        tap.start_frames();
        (tap, far.expect("it connects").0)
    }

    fn spare() -> usize {
        SPARE.with_borrow(|spare| spare[1].len())
    }

    #[tokio::test]
    async fn a_connection_at_rest_keeps_nothing_and_what_failed_goes_to_nobody_else() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut tap, _far) = tap().await;
        let (mut first, mut second) = (Codec::new(Role::Client), Codec::new(Role::Client));
        first.send(&mut tap, &mut cx, Message::text("one")).expect("the kernel takes it");
        first.rest();
        assert!(first.machine.is_none() && spare() == 1);
        second.send(&mut tap, &mut cx, Message::binary(vec![7; READ_BUFFER + 1])).expect("the kernel takes it");
        assert_eq!(spare(), 0, "lent again");
        second.rest();
        assert!(second.machine.is_none() && spare() == 0, "grown buffers are dropped");
        tap.transport().link_mut().finish().expect("it is open");
        let failed = (0..2).map(|_| first.send(&mut tap, &mut cx, Message::text("two"))).any(|sent| sent.is_err());
        assert!(failed, "behind our FIN nothing can be written");
        first.rest();
        assert!(first.machine.is_some() && spare() == 0, "its unsent bytes are not for the next connection");
    }
}
