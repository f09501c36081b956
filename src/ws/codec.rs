//! Messages to frames and back: tungstenite's state machine, lent to a connection while it has something to say or to hear.
//!
//! Between two messages a connection keeps none of it: no read buffer, no write buffer. It knows nothing of Close frames, which end in
//! `ws::frame_tap` below it.

use crate::ws::frame_tap::{MAX_MESSAGE, Tap};
use crate::ws::memory::Share;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// tungstenite zero-fills its read buffer before every read, and reads no more than this at once; its default is 128 KiB.
const READ_BUFFER: usize = 4096;
/// More unsent bytes than these, beyond the longest message of either side, fail a send: the peer does not read.
const WRITE_BUFFER_ROOM: usize = 1 << 20;
/// A pong waits for the next one to take its place while more than this would be unsent with it: the longest pong (RFC 6455 §5.5.3).
const PONG_BUFFER_MAX: usize = 125 + 6;
/// State machines that a thread keeps for the next connection: few are in the middle of a message at once.
const SPARE_MAX: usize = 32;

thread_local! {
    /// Of servers, of clients.
    static SPARE: RefCell<[Vec<ProtocolMachine>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// tungstenite's state machine, boxed: it moves from connection to connection.
#[derive(Debug)]
struct ProtocolMachine(Box<Lent>);

#[derive(Debug)]
struct Lent {
    context: WebSocketContext,
    /// Bytes read since the last message, of what its buffers hold.
    received: usize,
    /// Bytes taken since all was flushed, of what its buffers hold.
    queued: usize,
    /// A ping was read, and its pong may still wait behind what the kernel did not take.
    owes_pong: bool,
    /// Its part of the memory for messages.
    share: Share,
}

impl Lent {
    fn new(role: Role) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0).max_write_buffer_size(PONG_BUFFER_MAX);
        Lent { context: WebSocketContext::new(role, Some(config)), received: 0, queued: 0, owes_pong: false, share: Share::default() }
    }

    fn account(&mut self) {
        // Buffers that grow double: what they have is the next power of two at most.
        let room = |bytes: usize| if bytes == 0 { 0 } else { bytes.next_power_of_two() };
        self.share.set(room(self.received) + room(self.queued));
    }
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
        let machine = self.machine(tap);
        let (mut received, mut sent) = (0, 0);
        let polled = pending(machine.context.read(&mut Io { tap, cx, received: &mut received, sent: &mut sent }));
        machine.received += received;
        match &polled {
            // The message is its reader's now.
            Poll::Ready(Ok(Message::Text(_) | Message::Binary(_))) => machine.received = 0,
            Poll::Ready(Ok(message)) => machine.owes_pong |= message.is_ping(),
            Poll::Pending if tap.is_between_messages() => machine.received = 0,
            _ => {}
        }
        machine.account();
        match &polled {
            Poll::Ready(Ok(message)) => self.grown |= message.len() > READ_BUFFER,
            Poll::Ready(Err(_)) => self.failed = true,
            Poll::Pending => {}
        }
        polled
    }

    /// Whether the memory for messages is used up and this connection must end, which had most of it. If not, the task of `cx` is woken when it
    /// must.
    pub(super) fn must_end(&self, cx: &Context<'_>) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.0.share.must_end(cx))
    }

    /// Gives up all that it holds, for good; whether it was in the middle of sending something.
    pub(super) fn drop_all(&mut self) -> bool {
        self.failed = true;
        self.machine.take().is_some_and(|machine| machine.0.queued > 0)
    }

    /// Takes a message, and writes what the kernel takes of it; the rest goes out when flushed.
    pub(super) fn send(&mut self, tap: &mut Tap, cx: &mut Context<'_>, message: Message) -> Result<(), Error> {
        self.grown |= message.len() > READ_BUFFER;
        let machine = self.machine(tap);
        let (mut received, mut sent) = (0, 0);
        machine.queued += message.len();
        let longest = tap.max_message().max(MAX_MESSAGE) as usize;
        machine.context.set_config(|config| config.max_write_buffer_size = longest + WRITE_BUFFER_ROOM);
        let written = machine.context.write(&mut Io { tap, cx, received: &mut received, sent: &mut sent }, message);
        machine.context.set_config(|config| config.max_write_buffer_size = PONG_BUFFER_MAX);
        machine.queued = machine.queued.saturating_sub(sent);
        machine.account();
        match written {
            // It is queued all the same.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            written => {
                self.failed |= written.is_err();
                written
            }
        }
    }

    /// Hands all that is queued to the kernel.
    pub(super) fn poll_flush(&mut self, tap: &mut Tap, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let machine = self.machine(tap);
        let (mut received, mut sent) = (0, 0);
        let mut io = Io { tap, cx, received: &mut received, sent: &mut sent };
        let mut polled = pending(machine.context.flush(&mut io));
        // A pong that found no room is sent by the flush after the one that made room.
        if matches!(polled, Poll::Ready(Ok(()))) && std::mem::take(&mut machine.owes_pong) {
            polled = pending(machine.context.flush(&mut io));
        }
        machine.queued = if polled.is_ready() { 0 } else { machine.queued.saturating_sub(sent) };
        machine.account();
        self.failed |= matches!(polled, Poll::Ready(Err(_)));
        polled
    }

    /// Gives the state machine back, unless something failed. Only between messages in both directions, when nothing is queued.
    pub(super) fn rest(&mut self) {
        let Some(machine) = self.machine.take_if(|_| !self.failed) else { return };
        if std::mem::take(&mut self.grown) || machine.0.share.is_charged() {
            return;
        }
        SPARE.with_borrow_mut(|spare| {
            let spare = &mut spare[usize::from(self.role == Role::Client)];
            if spare.len() < SPARE_MAX {
                spare.push(machine);
            }
        });
    }

    fn machine(&mut self, tap: &Tap) -> &mut Lent {
        let role = self.role;
        let machine = self.machine.get_or_insert_with(|| {
            let spare = SPARE.with_borrow_mut(|spare| spare[usize::from(role == Role::Client)].pop());
            let mut machine = spare.unwrap_or_else(|| ProtocolMachine(Box::new(Lent::new(role))));
            let longest = usize::try_from(tap.max_message()).ok();
            machine.0.context.set_config(|config| (config.max_message_size, config.max_frame_size) = (longest, longest));
            machine
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
    /// Bytes that came through here, in each direction.
    received: &'a mut usize,
    sent: &'a mut usize,
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
        *self.received += buffer.filled().len();
        Ok(buffer.filled().len())
    }
}

impl Write for Io<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = or_would_block(Pin::new(&mut *self.tap).poll_write(self.cx, bytes))?;
        *self.sent += count;
        Ok(count)
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
